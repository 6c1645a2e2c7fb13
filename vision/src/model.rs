//! What a model is to the rest of the program: pixels and questions in, answers out.
//!
//! A model has two halves. [`Questions`] is the shared one that a planner uses: it turns a category into a
//! [`Question`] or says why not, before any image is read. [`Model`] is the one that runs and is owned by a
//! single thread. Nothing here knows a particular model or how jobs are gathered into batches.

use std::sync::Arc;

use serde::Serialize;

use crate::error::VisionError;

/// An image: row-major RGB, one byte a channel, `data.len() == width * height * 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The samples, `[height, width, 3]`.
    pub data: Vec<u8>,
}

impl RgbImage {
    /// The error of an image whose data does not fit its width and height.
    ///
    /// # Errors
    /// [`VisionError::ImageData`] unless there are exactly three bytes a pixel.
    pub fn check(&self) -> Result<(), VisionError> {
        let expected = u64::from(self.width) * u64::from(self.height) * 3;
        if expected == self.data.len() as u64 {
            return Ok(());
        }
        Err(VisionError::ImageData {
            width: self.width,
            height: self.height,
            expected,
            actual: self.data.len(),
        })
    }
}

/// The pixels that a model wants to see of an image of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputGeometry {
    /// Resize with a bicubic filter so that the short side has `short_side` pixels, then cut `size` x `size`
    /// pixels out of the middle.
    CentreCrop {
        /// Short side after the resize, in pixels.
        short_side: u32,
        /// Side of the square cut out, in pixels.
        size: u32,
    },
}

/// What a person or a manifest wants to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name that [`crate::load`] takes.
    pub name: String,
    /// Which weights these are.
    pub revision: String,
    /// The weights' licence, as an SPDX expression.
    pub licence: &'static str,
    /// Where the model runs, as [`crate::DeviceChoice`] writes it, never `auto`.
    pub device: String,
    /// The number format that the model computes in.
    pub dtype: &'static str,
    /// The pixels that the model takes.
    pub input: InputGeometry,
    /// A score at or above this means yes unless the person says otherwise; 0..=1.
    pub default_threshold: f32,
    /// Whether the model can answer an open question in words.
    pub can_talk: bool,
}

/// A category as a person names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Category {
    /// The name, a noun unless `prompt` or `nouns` say what is meant.
    pub name: String,
    /// The question to ask for it, for models that read one.
    pub prompt: Option<String>,
    /// Further nouns that count as this category.
    pub nouns: Vec<String>,
}

impl Category {
    /// The category that is just this noun.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prompt: None,
            nouns: Vec::new(),
        }
    }
}

/// A question in the form that the model takes it; made by [`Questions`], meaningful to that model only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// How probable is it that the image shows one of these classes? Ascending indices without repeats.
    Classes(Arc<[u16]>),
    /// To be answered in words, as the person asked it; only for a model with [`ModelInfo::can_talk`].
    Open(Arc<str>),
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// How strongly the model says yes, 0..=1, never NaN.
    Score(f32),
    /// The model's own words, to an open question.
    Text(String),
}

/// The planning half of a model: which questions it takes, known before an image is read.
pub trait Questions: Send + Sync {
    /// The question whose score says whether an image belongs to `category`.
    ///
    /// # Errors
    /// When the model does not know the category, or takes no prompt and the category has one.
    fn category(&self, category: &Category) -> Result<Question, VisionError>;

    /// The question that is answered in the model's own words.
    ///
    /// # Errors
    /// [`VisionError::CannotTalk`] when the model only scores.
    fn open(&self, text: &str) -> Result<Question, VisionError>;
}

/// One image and everything to be asked about it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The image, of the size that [`ModelInfo::input`] names.
    pub image: RgbImage,
    /// The questions; many jobs share one list.
    pub questions: Arc<[Question]>,
}

/// The running half of a model.
pub trait Model: Send {
    /// Answers each job: one result per job, in the jobs' order, and in it one answer per question, in the
    /// questions' order. Each image is encoded once, whatever the number of questions.
    ///
    /// An image of the wrong size, or one that yields scores that are not finite, is the error of that job only.
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>>;
}

/// A model that is ready to run.
pub struct Loaded {
    /// What it is.
    pub info: ModelInfo,
    /// Its planning half.
    pub questions: Arc<dyn Questions>,
    /// Its running half.
    pub model: Box<dyn Model>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
