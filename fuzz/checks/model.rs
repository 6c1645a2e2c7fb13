//! Any configuration and any list of tensors: a sentence, or sizes that go together and are not beyond all bounds.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use picsift_vision::moondream::Config;
use picsift_vision::transformer::Checkpoint;

/// The configuration stands before the first zero byte, the file of tensors behind it.
///
/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0);
    let (json, tensors) = input.split_at(end.unwrap_or(input.len()));
    let tensors = tensors.get(1..).unwrap_or_default();
    let checkpoint = match Checkpoint::from_bytes("model.safetensors", tensors) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return assert!(error.to_string().contains("model.safetensors"), "{error}"),
    };
    match Config::of(&checkpoint, &String::from_utf8_lossy(json)) {
        Err(error) => assert!(!error.to_string().trim().is_empty()),
        Ok(Config { text, vision, .. }) => {
            assert!(text.dim > 0 && text.heads > 0 && text.dim % text.heads == 0);
            assert!(vision.tokens() > 0 && vision.tokens() < text.context);
            assert!(text.context <= 1 << 13 && text.layers <= 512 && text.vocab <= 1 << 20);
            assert!(vision.crop * vision.crop * vision.max_crops <= 1 << 24);
        }
    }
}
