//! From a model's files to the model.

use candle_core::Device;

use crate::error::VisionError;
use crate::model::Loaded;
use crate::options::LoadOptions;
use crate::source::ModelFiles;

/// Loads a Moondream2.
///
/// # Errors
/// Always, as the tensors cannot be read yet.
pub fn load(
    files: &ModelFiles,
    _device: &Device,
    _options: &LoadOptions,
) -> Result<Loaded, VisionError> {
    Err(VisionError::OptionUnsupported {
        model: files.name.clone(),
        option: "its weights".to_owned(),
        reason: "this build finds and verifies them, but cannot read them yet",
    })
}
