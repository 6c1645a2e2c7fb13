//! What a model is to the rest of the program: pixels and questions in, answers out.
//!
//! A model has two halves. [`Questions`] is the shared one that a planner uses: it turns a category into a
//! [`Question`] or says why not, before any image is read. [`Model`] is the one that runs and is owned by a
//! single thread. Nothing here knows a particular model or how jobs are gathered into batches.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;

use crate::embedding::Embedding;
use crate::error::VisionError;
use crate::heads::Head;
use crate::options::{CropPolicy, Generation, PromptStyle};
use crate::source::FetchProgress;

/// An image: row-major RGB, one byte a channel, `data.len() == width * height * 3`. The default has no pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// [`RgbImage::check`], and the error of an image without pixels.
    pub(crate) fn check_not_empty(&self) -> Result<(), VisionError> {
        self.check()?;
        if self.data.is_empty() {
            return Err(VisionError::EmptyImage {
                width: self.width,
                height: self.height,
            });
        }
        Ok(())
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
    /// All pixels, upright: the model's [`Preprocessor`] makes its own views of them.
    Full,
    /// The whole image, upright, made so small with a bicubic filter that its longer side is at most `side`; never enlarged.
    Within {
        /// Longest side in pixels.
        side: u32,
    },
    /// What the questions need, as [`Preprocessor::inputs`] says.
    PerQuestion,
}

/// What a model is shown of one image: squares of pixels, all of one size.
///
/// Which part of the image each square is, and whether the whole image is one of them, is between a model's
/// [`Preprocessor`] and its [`Model`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Views {
    /// Side of each square in pixels.
    pub side: u32,
    /// Rows and columns of the grid in which tiles of the image lie; (1, 1) where it was not cut up.
    pub grid: (u32, u32),
    /// The samples, `[views, side, side, 3]`, RGB.
    pub data: Vec<u8>,
}

impl Views {
    /// The single view that is this square image.
    ///
    /// # Errors
    /// [`VisionError::ImageData`] unless there are exactly three bytes a pixel, [`VisionError::ImageSize`] unless
    /// the image has `side` x `side` pixels.
    pub fn square(model: &str, image: RgbImage, side: u32) -> Result<Self, VisionError> {
        image.check()?;
        if (image.width, image.height) != (side, side) {
            return Err(VisionError::ImageSize {
                model: model.to_owned(),
                expected: format!("{side} x {side}"),
                actual: format!("{} x {}", image.width, image.height),
            });
        }
        Ok(Self {
            side,
            grid: (1, 1),
            data: image.data,
        })
    }

    /// Number of squares.
    pub fn count(&self) -> usize {
        let square = self.side as usize * self.side as usize * 3;
        self.data.len().checked_div(square).unwrap_or(0)
    }
}

/// What a person or a manifest wants to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name that [`crate::load`] takes.
    pub name: String,
    /// Which weights these are: other files have another revision, because answers are kept under it.
    pub revision: String,
    /// The weights' licence, as an SPDX expression, where it is known.
    pub licence: Option<&'static str>,
    /// Where the model runs, as [`crate::DeviceChoice`] writes it, never `auto`; several devices with commas between.
    pub device: String,
    /// The number format that the model computes in: `f32`, `bf16`, or `q8_0` or `q4k` for quantised weights.
    pub dtype: &'static str,
    /// How an image is cut into views, for a model that cuts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crops: Option<CropPolicy>,
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
    /// Further nouns that count as this category; a model that reads questions asks for any of them.
    pub nouns: Vec<String>,
    /// Sentences in which `{}` stands for each noun, for a model that compares texts with images: the mean of them counts. None are the
    /// model's own.
    pub templates: Vec<String>,
    /// How it is put where there is no `prompt`, for models that read questions; others refuse all but the default.
    pub style: PromptStyle,
    /// What was taught of it, which answers in the place of the model's own knowledge: then only the name of the rest matters.
    pub head: Option<Head>,
}

impl Category {
    /// The category that is just this noun.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prompt: None,
            nouns: Vec::new(),
            templates: Vec::new(),
            style: PromptStyle::default(),
            head: None,
        }
    }
}

/// A question in the form that the model takes it; made by [`Questions`], meaningful to that model only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// How probable is it that the image shows one of these classes? Ascending indices without repeats.
    Classes(Arc<[u16]>),
    /// How well does the best of these descriptions fit the image? Each is in one or several wordings, whose mean counts.
    Shows(Arc<[Arc<[Prompt]>]>),
    /// What is the image as a vector? Only for a model with [`Questions::embeddings`].
    Embedding,
    /// What does a head say of the image's embedding? No model is asked this: a [`Comparison`](crate::Comparison) answers it.
    Taught(Head),
    /// To be answered yes or no; the answer is a score.
    YesNo(Prompt),
    /// To be answered in words; only for a model with [`ModelInfo::can_talk`].
    Open(Prompt, Generation),
}

impl Question {
    /// The question in words, for a model that reads.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Classes(_) | Self::Embedding | Self::Taught(_) => None,
            Self::Shows(descriptions) => descriptions.first()?.first().map(|prompt| &*prompt.text),
            Self::YesNo(prompt) | Self::Open(prompt, _) => Some(&prompt.text),
        }
    }
}

/// A question in words and as the model's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prompt {
    /// The words, without the template around them.
    pub text: Arc<str>,
    /// The token ids after the image, template included.
    pub tokens: Arc<[u32]>,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// How strongly the model says yes, 0..=1, never NaN.
    Score(f32),
    /// The model's own words, to an open question.
    Text(String),
    /// The image as a vector.
    Embedding(Embedding),
}

impl Answer {
    /// The score, of an answer that is one.
    pub fn score(&self) -> Option<f32> {
        match self {
            Self::Score(score) => Some(*score),
            Self::Text(_) | Self::Embedding(_) => None,
        }
    }

    /// The words, of an answer in words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Score(_) | Self::Embedding(_) => None,
        }
    }

    /// The vector, of an answer that is one.
    pub fn embedding(&self) -> Option<&Embedding> {
        match self {
            Self::Embedding(embedding) => Some(embedding),
            Self::Score(_) | Self::Text(_) => None,
        }
    }

    /// Bytes that it holds beside itself.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Score(_) => 0,
            Self::Text(text) => text.len(),
            Self::Embedding(embedding) => 2 * embedding.width(),
        }
    }
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
    /// [`VisionError::CannotTalk`] when the model only scores; when the text is too long for the model.
    fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError>;

    /// What the model's embeddings are; `None` for a model that embeds nothing.
    fn embeddings(&self) -> Option<Embeddings> {
        None
    }
}

/// The embeddings of a model: it answers [`Question::Embedding`].
#[derive(Clone)]
pub struct Embeddings {
    /// Numbers of a vector.
    pub width: usize,
    /// What embeds texts into the same space; with it every [`Question::Shows`] is answered from an image's embedding alone, by a
    /// [`Comparison`](crate::Comparison).
    pub texts: Option<Arc<dyn TextEmbeddings>>,
}

impl std::fmt::Debug for Embeddings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embeddings")
            .field("width", &self.width)
            .field("texts", &self.texts.is_some())
            .finish()
    }
}

/// How a cosine becomes a score: `sigmoid(factor * cosine + bias)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What the cosine is multiplied by.
    pub factor: f32,
    /// What is added to it.
    pub bias: f32,
}

/// The half of a model that embeds texts. It reads of the weights what it needs and needs no image tower.
pub trait TextEmbeddings: Send + Sync {
    /// A text in its own words, as the model's tokens.
    ///
    /// # Errors
    /// [`VisionError::Prompt`] for one that says nothing.
    fn prompt(&self, text: &str) -> Result<Prompt, VisionError>;

    /// The embedding of each text, of unit length. Blocks, where they are new or the weights must be fetched first.
    ///
    /// # Errors
    /// When the weights cannot be had or read; [`VisionError::NotFinite`].
    fn embed(
        &self,
        texts: &[&Prompt],
        progress: &dyn FetchProgress,
    ) -> Result<Vec<Arc<[f32]>>, VisionError>;

    /// How the cosine of an image and a text becomes a score. Blocks as [`TextEmbeddings::embed`].
    ///
    /// # Errors
    /// When the weights cannot be had or read.
    fn scale(&self, progress: &dyn FetchProgress) -> Result<Scale, VisionError>;
}

/// The part of a model that makes views of an image. It runs on the callers' threads, so that the model's own
/// thread is kept for arithmetic and jobs that wait are small.
pub trait Preprocessor: Send + Sync {
    /// The views of an image of the size that [`ModelInfo::input`] names.
    ///
    /// # Errors
    /// [`VisionError::ImageData`] or [`VisionError::ImageSize`] when the image is not what the model takes.
    fn views(&self, image: RgbImage) -> Result<Views, VisionError>;

    /// The pixels that the views for these questions are made of, where [`ModelInfo::input`] says that it depends on them; `None` where it
    /// names the one way in which the model sees all images.
    fn inputs(&self, _questions: &[Question]) -> Option<Vec<InputGeometry>> {
        None
    }

    /// The views that show what [`Preprocessor::inputs`] asked for: one image for each, each with what it is.
    ///
    /// # Errors
    /// As [`Preprocessor::views`].
    fn views_of(&self, images: Vec<(InputGeometry, RgbImage)>) -> Result<Views, VisionError> {
        let image = images.into_iter().next().map(|(_, image)| image);
        self.views(image.unwrap_or_default())
    }
}

/// One image and everything to be asked about it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the model is shown of the image; from the model's [`Preprocessor`].
    pub views: Views,
    /// The questions; many jobs share one list.
    pub questions: Arc<[Question]>,
}

/// The running half of a model.
pub trait Model: Send {
    /// Answers each job: one result per job, in the jobs' order, and in it one answer per question, in the
    /// questions' order. Each image is encoded once, whatever the number of questions.
    ///
    /// Views that do not fit the model, or that yield scores that are not finite, are the error of that job only.
    /// Jobs that did not fit the device's memory together get [`VisionError::OutOfMemory`], and the service asks
    /// again with fewer. A call that panicked may be followed by others, so nothing half-done is kept.
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>>;

    /// What makes views ready for [`Model::answer_staged`] while the model is at work; `None` for a model that has nothing to do for
    /// an image but its arithmetic.
    fn stager(&self) -> Option<Arc<dyn Stager>> {
        None
    }

    /// The same as [`Model::answer`], with what this model's [`Stager`] has made of each job's views, where it has.
    fn answer_staged(
        &mut self,
        jobs: &[Job],
        _staged: &[Option<Staged>],
    ) -> Vec<Result<Vec<Answer>, VisionError>> {
        self.answer(jobs)
    }
}

/// What a [`Stager`] makes of an image's views; meaningful to its model only.
pub type Staged = Box<dyn Any + Send>;

/// The half of a model that makes views ready for its device, on a thread of its own, while the model computes another batch. What
/// lies ready is at most one batch.
pub trait Stager: Send + Sync {
    /// The views as the model's arithmetic takes them; `None` where they do not fit the model or the device's memory, which is for
    /// [`Model::answer_staged`] to find out and say.
    fn stage(&self, views: &Views) -> Option<Staged>;
}

/// How many images a model likes to be given at once, where it runs and as it was loaded. A larger batch should pay
/// only in memory; the model's thread answers none of a batch before all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAdvice {
    /// Most images; at least 1.
    pub max_images: usize,
    /// Most views, summed over the images; at least 1. An image with more goes alone.
    pub max_views: usize,
}

impl BatchAdvice {
    /// Batches that wait while one runs.
    pub(crate) const WAITING: usize = 2;

    /// How many images should be on their way at once to a model on so many devices: for each the batch that it runs, one that
    /// waits and one that is made ready. More would only hold memory, and for a model that sees large images much of it.
    pub fn images_ahead(self, devices: usize) -> usize {
        self.max_images
            .saturating_mul(1 + Self::WAITING)
            .saturating_mul(devices.max(1))
    }
}

impl Default for BatchAdvice {
    /// 32 images of one view.
    fn default() -> Self {
        Self {
            max_images: 32,
            max_views: 32,
        }
    }
}

/// A model that is ready to run.
pub struct Loaded {
    /// What it is.
    pub info: ModelInfo,
    /// Its planning half.
    pub questions: Arc<dyn Questions>,
    /// What makes its views.
    pub preprocessor: Arc<dyn Preprocessor>,
    /// Its running half.
    pub model: Box<dyn Model>,
    /// How many images it likes to be given at once.
    pub batch: BatchAdvice,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
