//! A model in a folder: its files, and a name for their content.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::error::SourceError;
use super::verify::shown;
use super::{CONFIG, ModelFiles, PREPROCESSOR, TOKENIZER, WEIGHTS};

/// Bytes of the weights that one thread hashes at a time.
const STRETCH: u64 = 16 << 20;

/// Most bytes of a configuration or tokenizer; those of the largest models have a quarter.
pub(super) const MOST_TEXT: u64 = 64 << 20;

/// The files of the model in this folder.
///
/// # Errors
/// [`SourceError::FolderIncomplete`] when one is missing, [`SourceError::File`] when one cannot be read.
pub(crate) fn folder(path: &Path) -> Result<ModelFiles, SourceError> {
    let missing: Vec<_> = [CONFIG, WEIGHTS, TOKENIZER]
        .into_iter()
        .filter(|name| !path.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        return Err(SourceError::FolderIncomplete {
            folder: path.to_owned(),
            missing: missing.join(", "),
        });
    }
    let [config, weights, tokenizer] = [CONFIG, WEIGHTS, TOKENIZER].map(|name| path.join(name));
    let preprocessor = Some(path.join(PREPROCESSOR)).filter(|file| file.is_file());
    Ok(ModelFiles {
        name: path.display().to_string(),
        revision: fingerprint(&config, &tokenizer, preprocessor.as_deref(), &weights)?,
        licence: None,
        config,
        weights,
        tokenizer,
        preprocessor,
    })
}

/// Reads a model's configuration or tokenizer, which are texts of a bounded length.
pub(crate) fn read_text(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::open(path)?
        .take(MOST_TEXT + 1)
        .read_to_end(&mut text)?;
    match read as u64 > MOST_TEXT {
        true => Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it has more than {} MB", MOST_TEXT >> 20),
        )),
        false => Ok(text),
    }
}

/// What [`ModelFiles::revision`] says of a folder.
fn fingerprint(
    config: &Path,
    tokenizer: &Path,
    preprocessor: Option<&Path>,
    weights: &Path,
) -> Result<String, SourceError> {
    let mut hash = Sha256::new();
    for path in [config, tokenizer].into_iter().chain(preprocessor) {
        let text = read_text(path).map_err(SourceError::file("read", path))?;
        // With the lengths, the same bytes cut in other places are another model.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(&text);
    }
    stretches(weights, &mut hash).map_err(SourceError::file("read", weights))?;
    Ok(format!("tree-sha256:{}", shown(hash)))
}

/// Adds the length of a file and the hashes of its stretches: one hash over gigabytes would keep one thread busy for longer
/// than the model takes to load.
fn stretches(weights: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let bytes = File::open(weights)?.metadata()?.len();
    hash.update(bytes.to_le_bytes());
    let digests = (0..bytes.div_ceil(STRETCH))
        .into_par_iter()
        .map(|stretch| {
            let mut file = File::open(weights)?;
            file.seek(SeekFrom::Start(stretch * STRETCH))?;
            let mut buffer = Vec::with_capacity(STRETCH.min(bytes) as usize);
            file.take(STRETCH).read_to_end(&mut buffer)?;
            Ok(Sha256::digest(&buffer))
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    for digest in digests {
        hash.update(digest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(weights: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG), "{}").unwrap();
        std::fs::write(folder.path().join(TOKENIZER), "{}").unwrap();
        std::fs::write(folder.path().join(WEIGHTS), weights).unwrap();
        folder
    }

    fn revision(weights: &[u8]) -> String {
        folder(model(weights).path()).unwrap().revision
    }

    #[test]
    fn the_same_files_elsewhere_have_the_same_revision() {
        let small = revision(b"weights");
        assert_eq!(small, revision(b"weights"));
        assert_ne!(small, revision(b"weightS"));
        assert!(
            small.starts_with("tree-sha256:") && small.len() == 12 + 12,
            "{small}"
        );
    }

    #[test]
    fn large_weights_are_told_apart_by_every_byte() {
        let zeros = vec![0; STRETCH as usize + 4096];
        let plain = revision(&zeros);
        for at in [0, 12_345_678, zeros.len() - 1] {
            let mut other = zeros.clone();
            other[at] = 1;
            assert_ne!(plain, revision(&other), "{at}");
        }
        assert_ne!(plain, revision(&zeros[1..]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = model(b"weights");
        std::fs::remove_file(folder.path().join(TOKENIZER)).unwrap();
        std::fs::remove_file(folder.path().join(CONFIG)).unwrap();
        let error = super::folder(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("has no config.json, tokenizer.json"),
            "{error}"
        );
    }
}
