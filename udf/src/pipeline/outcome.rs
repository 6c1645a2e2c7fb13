//! What became of one image.
//!
//! Owns the three ways a row can end: NULL, a value, an error. Why an image failed is known here only as text.

use std::fmt;
use std::sync::Arc;

use picsift_images::ImageError;
use picsift_vision::VisionError;
use url::Url;

/// Why one image has no answer: the stage that failed, a word for reports and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// `fetch`, `decode` or `model`.
    pub stage: &'static str,
    /// What went wrong in one stable word, `not_found` or `truncated`; see [`ImageError::kind`].
    pub kind: &'static str,
    /// What went wrong in a sentence.
    pub message: String,
    /// What the table calls the image, without credentials; `None` where it has no name.
    pub reference: Option<Arc<str>>,
}

/// An image whose failure ends its query, as `picsift.on_error = 'fail'` wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {error}")]
pub struct FailedImage {
    /// What the query calls it.
    pub name: String,
    /// Why it has no answer.
    pub error: RowError,
}

impl RowError {
    /// The same with names as they are below the folder of the image's table.
    pub(crate) fn beside(mut self, folder: Option<&Url>) -> Self {
        if let Some(folder) = folder {
            self.message = picsift_images::beside(&self.message, folder);
        }
        self
    }

    /// A failure of the model's stage.
    pub(crate) fn model(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            stage: "model",
            kind,
            message: message.into(),
            reference: None,
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.message)
    }
}

impl From<ImageError> for RowError {
    fn from(error: ImageError) -> Self {
        let stage = match error.stage() {
            picsift_images::Stage::Fetch => "fetch",
            picsift_images::Stage::Decode => "decode",
        };
        Self {
            stage,
            kind: error.kind(),
            message: error.to_string(),
            reference: None,
        }
    }
}

impl From<VisionError> for RowError {
    fn from(error: VisionError) -> Self {
        let kind = match error {
            VisionError::OutOfMemory { .. } => "out_of_memory",
            VisionError::Panicked { .. } => "panicked",
            VisionError::NotFinite { .. } => "not_finite",
            VisionError::EmptyImage { .. }
            | VisionError::ImageSize { .. }
            | VisionError::ImageData { .. } => "unfit_image",
            VisionError::Tensor { .. } => "tensor",
            _ => "refused",
        };
        Self::model(kind, error.to_string())
    }
}

/// What became of one row: `None` for a NULL or unrequested image, else the value or why there is none.
pub type Outcome<T> = Option<Result<T, RowError>>;

/// The value of a row that has one.
pub(crate) fn value<T>(row: &Outcome<T>) -> Option<&T> {
    row.as_ref()?.as_ref().ok()
}

/// Why a row failed, if it did.
pub(crate) fn failure<T>(row: &Outcome<T>) -> Option<String> {
    row.as_ref()?.as_ref().err().map(ToString::to_string)
}
