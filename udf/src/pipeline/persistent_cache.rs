//! The answers of earlier runs, on this machine's disk.
//!
//! Lies between the pipeline and the store of answers: the store's calls block, so they run beside tokio's workers; and the store may
//! have answers to some of the questions only, so the open ones are put together to be asked alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use picsift_images::{PIXELS_REVISION, Version};
use picsift_vision::store::{Asked, KnownReference, Store};
use picsift_vision::{Answer, ModelInfo, Question};

use crate::pipeline::memory_cache::{Answers, Content};

/// Sets of open questions that are remembered; rows have a handful of them, unless a table is made to have more.
const MOST_SETS: usize = 256;

/// The store's answers to a set of questions.
pub(crate) struct PersistentAnswerCache {
    store: Store,
    info: ModelInfo,
    questions: Arc<[Question]>,
    asked: Asked,
    sets: Mutex<HashMap<Vec<bool>, OpenQuestions>>,
}

impl fmt::Debug for PersistentAnswerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistentAnswerCache")
            .finish_non_exhaustive()
    }
}

/// Questions that the store has no answer to.
#[derive(Clone)]
pub(crate) struct OpenQuestions {
    pub(crate) questions: Arc<[Question]>,
    asked: Asked,
}

/// What the store has about an image.
#[derive(Debug)]
pub(crate) struct KnownAnswers {
    /// For each question its answer, if it is known.
    pub(crate) answers: Vec<Option<Answer>>,
    /// The image's similarity hash, if that is known.
    pub(crate) similarity: Option<u64>,
}

impl KnownAnswers {
    /// The answers, if all are known.
    pub(crate) fn all(&self) -> Option<Answers> {
        self.answers
            .iter()
            .cloned()
            .collect::<Option<Vec<_>>>()
            .map(Answers::from)
    }

    /// The answers with those to the questions that were open, in their order; `None` if there are too few.
    pub(crate) fn with(self, mut new: impl Iterator<Item = Answer>) -> Option<Answers> {
        let answers = self
            .answers
            .into_iter()
            .map(|known| known.or_else(|| new.next()));
        answers.collect::<Option<Vec<_>>>().map(Answers::from)
    }
}

/// An image that a reference gave before.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) version: Version,
    pub(crate) content: Content,
    pub(crate) answers: Answers,
    pub(crate) similarity: Option<u64>,
}

impl PersistentAnswerCache {
    pub(crate) fn new(store: Store, info: &ModelInfo, questions: &Arc<[Question]>) -> Self {
        Self {
            asked: Asked::new(info, PIXELS_REVISION, questions),
            store,
            info: info.clone(),
            questions: Arc::clone(questions),
            sets: Mutex::default(),
        }
    }

    /// What the store has about an image.
    pub(crate) async fn find(self: &Arc<Self>, content: Content) -> KnownAnswers {
        let kept = Arc::clone(self);
        let found = blocking(move || kept.store.lookup(&content, &kept.asked)).await;
        match found {
            Some(found) => KnownAnswers {
                // The hash is of pixels, and only an answer about the image says of which revision.
                similarity: (found.similarity)
                    .filter(|_| found.answers.iter().any(Option::is_some)),
                answers: found.answers,
            },
            None => KnownAnswers {
                answers: vec![None; self.questions.len()],
                similarity: None,
            },
        }
    }

    /// What the references at these addresses gave, where all answers about that are known. Blocks.
    pub(crate) fn before(&self, addresses: &[Option<String>]) -> Vec<Option<Before>> {
        let seen: Vec<String> = addresses.iter().flatten().map(|a| seen(a)).collect();
        let known = self.store.references(&seen);
        let contents: Vec<Content> = known.iter().flatten().map(|known| known.content).collect();
        let mut found = self.store.lookup_many(&contents, &self.asked).into_iter();
        let mut known = known.into_iter();
        let before = |address: &Option<String>| {
            address.as_ref()?;
            let known = known.next()??;
            let found = found.next()?;
            let found = KnownAnswers {
                answers: found.answers,
                similarity: known.similarity.or(found.similarity),
            };
            Some(Before {
                version: known.version.parse().ok()?,
                content: known.content,
                answers: found.all()?,
                similarity: found.similarity,
            })
        };
        addresses.iter().map(before).collect()
    }

    /// The questions whose answers are not among these.
    pub(crate) fn open(&self, found: &KnownAnswers) -> OpenQuestions {
        let open: Vec<bool> = found.answers.iter().map(Option::is_none).collect();
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(&open) {
            return set.clone();
        }
        let left = self.questions.iter().zip(&open).filter(|(_, open)| **open);
        let questions: Arc<[Question]> = left.map(|(question, _)| question.clone()).collect();
        let set = OpenQuestions {
            asked: Asked::new(&self.info, PIXELS_REVISION, &questions),
            questions,
        };
        if sets.len() >= MOST_SETS {
            sets.clear();
        }
        sets.insert(open, set.clone());
        set
    }

    /// Keeps the answers to questions that were open.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        content: Content,
        open: OpenQuestions,
        answers: Vec<Answer>,
        similarity: u64,
    ) {
        let store = self.store.clone();
        let answers = answers.into_iter().map(Some).collect();
        blocking(move || store.put(&content, &open.asked, answers, Some(similarity))).await;
    }

    /// Remembers what the reference at this address gave.
    pub(crate) async fn keep_reference(
        self: &Arc<Self>,
        address: String,
        version: &Version,
        content: Content,
        similarity: Option<u64>,
    ) {
        let store = self.store.clone();
        let known = KnownReference {
            version: version.to_string(),
            content,
            similarity,
        };
        blocking(move || store.put_reference(&seen(&address), known)).await;
    }
}

/// A reference as it is remembered: its similarity hash is of pixels, which another revision of decoding makes anew.
fn seen(address: &str) -> String {
    format!("pixels {PIXELS_REVISION} of {address}")
}

/// Runs work that waits for a disk; `None` if it panicked, which for what is merely kept counts as nothing known.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use picsift_vision::InputGeometry;
    use picsift_vision::store::{LEAST_BYTES, StoreOptions};

    use super::*;

    fn info() -> ModelInfo {
        ModelInfo {
            name: "test".to_owned(),
            revision: "1".to_owned(),
            licence: None,
            device: "cpu".to_owned(),
            dtype: "f32",
            crops: None,
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: false,
        }
    }

    #[tokio::test]
    async fn what_was_made_of_pixels_of_another_revision_is_not_served() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            folder: home.path().to_owned(),
            max_bytes: LEAST_BYTES,
            notice: Arc::new(|_: &str| {}),
        })
        .unwrap();
        let questions: Arc<[Question]> = [Question::Classes([1].into())].into();
        let (image, address) = ([7; 32], "file:///a.jpg");
        let known = || KnownReference {
            version: "file 1 2 3 4".to_owned(),
            content: image,
            similarity: Some(5),
        };
        // An older program's store.
        let old = Asked::new(&info(), PIXELS_REVISION - 1, &questions);
        store.put(&image, &old, vec![Some(Answer::Score(0.9))], Some(5));
        store.put_reference(address, known());
        store.flush();
        let kept = Arc::new(PersistentAnswerCache::new(
            store.clone(),
            &info(),
            &questions,
        ));
        let found = kept.find(image).await;
        assert_eq!((found.answers, found.similarity), (vec![None], None));
        let address = Some(address.to_owned());
        let before = |kept: &PersistentAnswerCache| {
            let one = std::slice::from_ref(&address);
            kept.before(one).pop().unwrap()
        };
        assert!(before(&kept).is_none());
        let address = address.clone().unwrap();
        assert!(store.reference(&seen(&address)).is_none());
        // Its own.
        let open = kept.open(&kept.find(image).await);
        kept.keep(image, open, vec![Answer::Score(0.1)], 6).await;
        let version = known().version.parse().unwrap();
        kept.keep_reference(address, &version, image, Some(6)).await;
        store.flush();
        let before = before(&kept).unwrap();
        assert_eq!(&before.answers[..], [Answer::Score(0.1)]);
        assert_eq!(before.similarity, Some(6));
    }
}
