//! Answers that are kept on this machine, so that no image is asked the same question twice.
//!
//! A folder of SQLite databases, shared by all processes that are given it. It knows images by the SHA-256 of their encoded
//! bytes and questions by [`QuestionId`]; it refuses to know how images are fetched and what an answer is used for. It
//! also remembers which content a reference had at which version, so that a caller can know an image without opening it.
//!
//! What it promises: a lookup gives what was put or nothing, whatever happened to the files; putting never fails and costs
//! microseconds, except that the caller waits while the writer is behind; the files take no more room than they may.
//! What is damaged is said in a sentence, removed and begun anew. What a kill or a power cut can take is the last batch.
//!
//! `question` names questions, `secret` has the key of the checksums, `record` packs rows and seals them, `database` is one SQLite file, `files` makes and removes, `folder`
//! has all of them and makes room by removing the oldest whole, `reader` looks up, `text` keeps embeddings of texts, `writer` is the thread that writes, `report`
//! counts and verifies. Answers are found newest first and are not moved when they are found: the store forgets in the
//! order in which it learnt. The folder must be on a disk of this machine, because SQLite's log needs memory that
//! processes share.

mod database;
mod error;
mod files;
mod folder;
mod question;
mod reader;
mod record;
mod report;
mod secret;
mod text;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::model::Answer;
pub use error::StoreError;
use folder::Folder;
pub use folder::Notice;
pub use question::{ANSWERS_VERSION, Asked, QuestionId, is_kept};
pub use reader::Found;
use reader::Reader;
pub use record::KnownReference;
use record::{image_key, reference_key};
pub use report::{ModelAnswers, StoreInfo, VerifyReport};
use writer::{Entry, Message, WAITING, Writer};

/// The smallest store: with less, the log of one batch would be a large part of it.
pub const LEAST_BYTES: u64 = 16 << 20;

/// Readers that are kept open between lookups; each has a connection of up to 2 MB for every generation.
const IDLE_READERS: usize = 8;

/// Most bytes of the texts and embeddings of one image's answers; a row with more is not kept.
const MOST_HELD: usize = 256 << 10;

/// Most bytes of a reference's version; a longer one is not kept.
const MOST_VERSION: usize = 1024;

/// Where a store is, and how large it may become.
#[derive(Clone)]
pub struct StoreOptions {
    /// The folder; it is made if need be, and may have other files in it.
    pub folder: PathBuf,
    /// The room that the store's files may take, in bytes, at least [`LEAST_BYTES`]. It is kept within a tenth.
    pub max_bytes: u64,
    /// Receives damage and a store that keeps nothing any more. Called on any thread, with one sentence.
    pub notice: Notice,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("folder", &self.folder)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// `PICSIFT_CACHE`, else `picsift` in `XDG_CACHE_HOME`, else `~/.cache/picsift`; an empty variable counts as none.
///
/// # Errors
/// [`StoreError::NoHome`] when neither variable is set and there is no home folder.
pub fn default_folder() -> Result<PathBuf, StoreError> {
    folder_of(
        |name| std::env::var_os(name).map(PathBuf::from),
        std::env::home_dir(),
    )
}

fn folder_of(
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, StoreError> {
    let filled = |path: PathBuf| (!path.as_os_str().is_empty()).then_some(path);
    let variable = |name| variable(name).and_then(filled);
    variable("PICSIFT_CACHE")
        .or_else(|| {
            variable("XDG_CACHE_HOME")
                .or_else(|| Some(home.and_then(filled)?.join(".cache")))
                .map(|caches| caches.join("picsift"))
        })
        .ok_or(StoreError::NoHome)
}

/// A store of answers that is open. Clones share it; when the last one is dropped, what was put is written first.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    folder: Arc<Folder>,
    readers: Mutex<Vec<Reader>>,
    /// Gone once the store is being dropped, which ends the writer.
    messages: Option<SyncSender<Message>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store, and begins it if there is none. Damage that is seen at once is said and removed. In a folder that
    /// cannot be written, what is there can be looked up and nothing is kept, which is said.
    ///
    /// # Errors
    /// [`StoreError::TooSmall`]; [`StoreError::File`] when the folder cannot be made or listed; [`StoreError::Busy`] when
    /// another process keeps it locked; [`StoreError::Thread`].
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        if options.max_bytes < LEAST_BYTES {
            return Err(StoreError::TooSmall {
                max_bytes: options.max_bytes,
                least: LEAST_BYTES,
            });
        }
        let folder = Folder::open(&options.folder, options.max_bytes, options.notice)?;
        folder.generations()?;
        let folder = Arc::new(folder);
        let (messages, received) = sync_channel(WAITING);
        let writer = Writer::new(Arc::clone(&folder));
        let writer = thread::Builder::new()
            .name("picsift-store".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|source| StoreError::Thread {
                source: Arc::new(source),
            })?;
        let store = Self(Arc::new(Inner {
            folder,
            readers: Mutex::default(),
            messages: Some(messages),
            writer: Some(writer),
        }));
        // What is damaged at its beginning is found now.
        store.read(|reader, folder| reader.look_around(folder));
        Ok(store)
    }

    /// What is known of an image with this SHA-256. What was put a moment ago may not be found yet.
    pub fn lookup(&self, content: &[u8; 32], asked: &Asked) -> Found {
        let mut found = self.lookup_many(std::slice::from_ref(content), asked);
        found.pop().unwrap_or_default()
    }

    /// What is known of each of these images, in their order; quicker than one after the other.
    pub fn lookup_many(&self, contents: &[[u8; 32]], asked: &Asked) -> Vec<Found> {
        let keys: Vec<_> = contents.iter().map(image_key).collect();
        self.read(|reader, folder| reader.answers(folder, &keys, asked))
    }

    /// Keeps answers about the image with this SHA-256: one, or None, for each of the questions. Answers that are not
    /// [kept](is_kept) and answers of more than 256 KiB are passed over. Blocks while the writer is behind.
    pub fn put(
        &self,
        content: &[u8; 32],
        asked: &Asked,
        answers: Vec<Option<Answer>>,
        similarity: Option<u64>,
    ) {
        let held: usize = answers.iter().flatten().map(Answer::held_bytes).sum();
        let nothing = asked.known(&answers).next().is_none() && similarity.is_none();
        if nothing || held > MOST_HELD {
            return;
        }
        self.send(Message::Put(Entry::Answers {
            image: image_key(content),
            asked: asked.clone(),
            answers,
            similarity,
        }));
    }

    /// What is known of a reference: an address with everything that tells it from others.
    pub fn reference(&self, reference: &str) -> Option<KnownReference> {
        let key = reference_key(reference);
        self.read(|reader, folder| reader.reference(folder, &key))
    }

    /// What is known of each of these references, in their order; quicker than one after the other.
    pub fn references(&self, references: &[String]) -> Vec<Option<KnownReference>> {
        let keys: Vec<_> = references.iter().map(|text| reference_key(text)).collect();
        self.read(|reader, folder| {
            let known = keys.iter().map(|key| reader.reference(folder, key));
            known.collect()
        })
    }

    /// Remembers what a reference is, in place of what it was. A version of more than 1 KiB is passed over. Blocks while the
    /// writer is behind.
    pub fn put_reference(&self, reference: &str, known: KnownReference) {
        if known.version.len() <= MOST_VERSION {
            let key = reference_key(reference);
            self.send(Message::Put(Entry::Reference { key, known }));
        }
    }

    /// Waits until all that was put is written, or given up.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.send(Message::Flush(done)) {
            // The writer is gone only if it is done.
            let _ = wait.recv();
        }
    }

    /// Damaged rows that this process has met and removed.
    pub fn damaged(&self) -> u64 {
        self.0.folder.damaged()
    }

    /// Whether answers are still kept; false once a disk took no more of them.
    pub fn is_keeping(&self) -> bool {
        !self.0.folder.is_off()
    }

    /// How much there is of what. Reads all of the store: seconds for each gigabyte.
    ///
    /// # Errors
    /// [`StoreError::File`] or [`StoreError::Database`] when the disk fails, [`StoreError::Busy`].
    pub fn info(&self) -> Result<StoreInfo, StoreError> {
        self.flush();
        report::info(&self.0.folder)
    }

    /// Removes everything. Other processes that have the store open go on with an empty one.
    ///
    /// # Errors
    /// [`StoreError::File`] or [`StoreError::Database`] when the files cannot be removed or begun anew,
    /// [`StoreError::Busy`].
    pub fn clear(&self) -> Result<(), StoreError> {
        let (done, wait) = sync_channel(1);
        if self.send(Message::Clear(done))
            && let Ok(cleared) = wait.recv()
        {
            return cleared;
        }
        self.0.folder.clear()
    }

    /// Reads everything and compares every checksum; removes what is damaged. Seconds for each gigabyte.
    ///
    /// # Errors
    /// [`StoreError::File`] or [`StoreError::Database`] when the disk fails, [`StoreError::Busy`].
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.flush();
        report::verify(&self.0.folder)
    }

    /// Whether the writer will get it.
    fn send(&self, message: Message) -> bool {
        if self.0.folder.is_off() && matches!(message, Message::Put(_)) {
            return false;
        }
        let messages = self.0.messages.as_ref();
        messages.is_some_and(|messages| messages.send(message).is_ok())
    }

    /// Runs this with a reader that no other thread has.
    fn read<T>(&self, look: impl FnOnce(&mut Reader, &Folder) -> T) -> T {
        let idle = || {
            self.0
                .readers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let reader = idle().pop();
        let mut reader = reader.unwrap_or_default();
        let result = look(&mut reader, &self.0.folder);
        let mut idle = idle();
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.0.folder.path)
            .field("max_bytes", &self.0.folder.max_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_is_where_the_nearest_variable_says() {
        let folder = |variables: &[(&str, &str)], home: Option<&str>| {
            folder_of(
                |name| {
                    let found = variables.iter().find(|(known, _)| *known == name);
                    found.map(|(_, value)| PathBuf::from(value))
                },
                home.map(PathBuf::from),
            )
        };
        let (own, xdg) = (("PICSIFT_CACHE", "/own"), ("XDG_CACHE_HOME", "/xdg"));
        assert_eq!(folder(&[own, xdg], None).unwrap(), Path::new("/own"));
        assert_eq!(folder(&[xdg], None).unwrap(), Path::new("/xdg/picsift"));
        assert_eq!(
            folder(&[("PICSIFT_CACHE", "")], Some("/home/me")).unwrap(),
            Path::new("/home/me/.cache/picsift")
        );
        let error = folder(&[], None).unwrap_err().to_string();
        assert!(error.contains("PICSIFT_CACHE"), "{error}");
    }
}
