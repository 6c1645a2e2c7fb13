//! The key of a store, and the checksums that only its holder can make.
//!
//! Whoever can write a file of the store must not be able to write an answer: rows carry checksums under a key that stands beside the
//! databases, for the owner alone, made once at random. What was copied from another store or written by hand is no row of this one. The
//! key also makes the names of files, so that nothing is taken for this program's work for its name.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use siphasher::sip::SipHasher24;

use super::error::StoreError;

/// The file with the key.
const KEY: &str = "answers.key";

/// What the file begins with.
const HEAD: &str = "picsift answers key 1 ";

/// The key of one store: SipHash-2-4's, which is made for short texts and takes a fraction of what SHA-256 takes.
#[derive(Clone, Copy)]
pub(super) struct Secret(SipHasher24);

impl Secret {
    fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    /// A key that nobody else has, and no file.
    pub(super) fn random() -> Result<Self, StoreError> {
        Ok(Self::new(&random()?))
    }

    /// The checksum of these parts, which cannot run into each other; `kind` tells apart what checksums are of.
    pub(super) fn checksum(&self, kind: u8, parts: &[&[u8]]) -> [u8; 8] {
        let mut hasher = self.0;
        hasher.write(&[kind]);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish().to_le_bytes()
    }

    /// The key in this folder, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the file is something else, or not its owner's alone; [`StoreError::File`].
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(KEY);
        let failed = || StoreError::file("read", &path);
        let refused = |reason: &str| StoreError::Refused {
            folder: folder.to_owned(),
            reason: format!("its file {KEY} {reason}"),
        };
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed())?,
        };
        const OTHER: &str =
            "is no key of such a store; take it away to begin anew, or name another folder";
        if !found.is_file() || found.len() > 1000 {
            return Err(refused(OTHER));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if found.uid() != own_user() {
                return Err(refused("belongs to another user"));
            }
            if found.mode() & 0o077 != 0 {
                return Err(refused(
                    "can be read or written by others; take it away, and kept answers are asked again",
                ));
            }
        }
        let bytes = fs::read(&path).map_err(failed())?;
        if bytes.is_empty() {
            // Whoever made it was killed before it was written.
            return Ok(None);
        }
        let key = str::from_utf8(&bytes).ok().and_then(|text| {
            let digits = text.strip_prefix(HEAD)?.strip_suffix('\n')?;
            let number = u128::from_str_radix(digits, 16).ok()?;
            (digits.len() == 32).then(|| number.to_be_bytes())
        });
        key.map(|key| Some(Self::new(&key)))
            .ok_or_else(|| refused(OTHER))
    }

    /// Makes the key of this folder, which has none. The folder is locked.
    pub(super) fn make(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(KEY);
        let key: [u8; 16] = random()?;
        let text = format!("{HEAD}{:032x}\n", u128::from_be_bytes(key));
        let mut options = File::options();
        options.write(true);
        // An empty one is there already, seen by `read` as its owner's plain file.
        options.create_new(!path.exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let written = options.open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(StoreError::file("write", &path))?;
        Ok(Self::new(&key))
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], StoreError> {
    let mut bytes = [0; BYTES];
    getrandom::getrandom(&mut bytes).map_err(|error| {
        StoreError::file("read", Path::new("the system's random numbers"))(io::Error::from(error))
    })?;
    Ok(bytes)
}

/// The user that this process acts for.
#[cfg(unix)]
pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        assert!(Secret::read(home.path()).unwrap().is_none());
        let made = Secret::make(home.path()).unwrap();
        let read = Secret::read(home.path()).unwrap().unwrap();
        let sum = made.checksum(b'a', &[b"key", b"value"]);
        assert_eq!(read.checksum(b'a', &[b"key", b"value"]), sum);
        assert!(Secret::make(home.path()).is_err() || Secret::read(home.path()).is_ok());
        for (kind, parts) in [
            (b'b', [b"key".as_slice(), b"value"]),
            (b'a', [b"keyv", b"alue"]),
            (b'a', [b"key", b"valu\0"]),
        ] {
            assert_ne!(read.checksum(kind, &parts), sum);
        }
        let other = Secret::random().unwrap();
        assert_ne!(other.checksum(b'a', &[b"key", b"value"]), sum);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = home.path().join(KEY);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let error = Secret::read(home.path()).err().unwrap().to_string();
            assert!(error.contains("by others"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(KEY);
        for text in [
            "mine",
            "picsift answers key 1 12\n",
            "picsift answers key 2 ",
        ] {
            fs::write(&path, text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let error = Secret::read(home.path()).err().unwrap().to_string();
            assert!(error.contains("no key of such a store"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
