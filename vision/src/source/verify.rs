//! Whether a file is the one that it should be: its length, and its SHA-256 where one is known.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::SourceError;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A digest as people write it.
pub(super) fn hex(digest: impl AsRef<[u8]>) -> String {
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The first 12 digits of a hash: enough to tell models apart, short enough to read out.
pub(crate) fn shown(hash: Sha256) -> String {
    const DIGITS: usize = 12;
    let mut digits = hex(hash.finalize());
    digits.truncate(DIGITS);
    digits
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, SourceError> {
    let mut file = File::open(path).map_err(SourceError::file("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(SourceError::file("read", path))?;
        if read == 0 {
            return Ok(hex(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Checks a file's length and hash where they are known; an error ends with `help`.
///
/// # Errors
/// [`SourceError::WrongSize`], [`SourceError::WrongHash`], or [`SourceError::File`] when it cannot be read.
pub(super) fn check(
    path: &Path,
    bytes: Option<u64>,
    hash: Option<&str>,
    help: &'static str,
) -> Result<(), SourceError> {
    if let Some(expected) = bytes {
        let found = std::fs::metadata(path)
            .map_err(SourceError::file("read", path))?
            .len();
        if found != expected {
            return Err(SourceError::WrongSize {
                path: path.to_owned(),
                expected,
                found,
                help,
            });
        }
    }
    if let Some(expected) = hash {
        let found = sha256(path)?;
        if found != expected {
            return Err(SourceError::WrongHash {
                path: path.to_owned(),
                expected: expected.to_owned(),
                found,
                help,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_standard_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
