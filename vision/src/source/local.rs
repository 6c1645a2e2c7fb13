//! A model in a folder: its files, and a name for their content that is cheap to find.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::SourceError;
use super::verify::hex;
use super::{CONFIG, ModelFiles, TOKENIZER, WEIGHTS};

/// Stretches of the weights that are hashed, and bytes of each.
const SAMPLES: u64 = 64;
const SAMPLE: u64 = 64 << 10;

/// Digits of the hash that are shown.
const SHOWN: usize = 12;

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
    Ok(ModelFiles {
        name: path.display().to_string(),
        revision: fingerprint(&config, &tokenizer, &weights)?,
        licence: None,
        config,
        weights,
        tokenizer,
    })
}

/// What [`ModelFiles::revision`] says of a folder.
fn fingerprint(config: &Path, tokenizer: &Path, weights: &Path) -> Result<String, SourceError> {
    let mut hash = Sha256::new();
    for path in [config, tokenizer] {
        let text = std::fs::read(path).map_err(SourceError::file("read", path))?;
        // With the lengths, the same bytes cut in other places are another model.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(&text);
    }
    samples(weights, &mut hash).map_err(SourceError::file("read", weights))?;
    let mut digits = hex(hash.finalize());
    digits.truncate(SHOWN);
    Ok(format!("sampled-sha256:{digits}"))
}

fn samples(weights: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = File::open(weights)?;
    let bytes = file.metadata()?.len();
    hash.update(bytes.to_le_bytes());
    let mut buffer = Vec::new();
    if bytes <= SAMPLES * SAMPLE {
        file.read_to_end(&mut buffer)?;
        hash.update(&buffer);
        return Ok(());
    }
    // The first one begins with the names and shapes of the tensors; the last one ends with the file.
    let last = bytes - SAMPLE;
    for sample in 0..SAMPLES {
        let at = u128::from(last) * u128::from(sample) / u128::from(SAMPLES - 1);
        // No more than `last`, so it fits.
        file.seek(SeekFrom::Start(at as u64))?;
        buffer.clear();
        file.by_ref().take(SAMPLE).read_to_end(&mut buffer)?;
        hash.update(&buffer);
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
            small.starts_with("sampled-sha256:") && small.len() == 15 + SHOWN,
            "{small}"
        );
    }

    #[test]
    fn large_weights_are_told_apart_by_start_end_and_length() {
        let zeros = vec![0; (SAMPLES * SAMPLE) as usize + 4096];
        let plain = revision(&zeros);
        for at in [0, zeros.len() - 1] {
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
