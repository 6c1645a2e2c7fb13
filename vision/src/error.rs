//! What can go wrong in this crate, each as one sentence that says what was wrong and what would be right.
//!
//! Errors are cloneable: one failed batch answers every job in it, and a plan may hold on to an error. What is wrong with
//! the weights or the words of one kind of model is that model's own error, held here without its type.

use std::error::Error;
use std::sync::Arc;

use crate::source::SourceError;
use crate::wordnet::{UnknownNoun, WordnetError};

/// An error of a model, of a question put to it, or of the service in front of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// A model could not be found, fetched or verified.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A text that names no device.
    #[error("'{text}' is no device; expected auto, cpu, cuda, cuda:N or cuda:all")]
    UnknownDevice {
        /// The text.
        text: String,
    },
    /// The device is asked for but cannot be used here.
    #[error("device '{device}' cannot be used: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why not, and what would help.
        reason: String,
    },
    /// The model runs on the CPU only and another device was asked for.
    #[error(
        "model '{model}' runs on the CPU only, not on device '{device}'; choose 'cpu' or 'auto'"
    )]
    CpuOnly {
        /// The model.
        model: String,
        /// The device asked for.
        device: String,
    },
    /// A text that is no value of a model's option.
    #[error("'{text}' is no value of {option}; expected {known}")]
    UnknownOption {
        /// The option.
        option: &'static str,
        /// The text.
        text: String,
        /// What would be right.
        known: &'static str,
    },
    /// The model exists in one form only, and another one was asked for.
    #[error("model '{model}' cannot be loaded with {option}: {reason}")]
    OptionUnsupported {
        /// The model.
        model: String,
        /// The option with its value.
        option: String,
        /// Why not.
        reason: &'static str,
    },
    /// A category that the model has no class for.
    #[error("model '{model}' cannot score category '{category}': {source}; {ANY_WORDS}")]
    UnknownCategory {
        /// The model.
        model: String,
        /// The category's name.
        category: String,
        /// Which noun is unknown, and the near nouns that are known.
        source: UnknownNoun,
    },
    /// Several of the categories that were given together; see [`VisionError::together`].
    #[error("model '{model}' cannot score {} of the categories: {}; {ANY_WORDS}", unknown.len(), listed(unknown))]
    UnknownCategories {
        /// The model.
        model: String,
        /// The categories' names, each with what is unknown of it; at least two.
        unknown: Vec<(String, UnknownNoun)>,
    },
    /// The noun table in this program cannot be read.
    #[error(transparent)]
    Wordnet(#[from] WordnetError),
    /// A category or a text that cannot be put to a model that reads.
    #[error(transparent)]
    Prompt(Arc<dyn Error + Send + Sync>),
    /// A prompt was given to a model that reads none.
    #[error(
        "model '{model}' takes no prompt, but category '{category}' has one; leave the prompt out or \
         name further nouns that count instead"
    )]
    NoPrompt {
        /// The model.
        model: String,
        /// The category's name.
        category: String,
    },
    /// Templates were given to a model that puts nouns into sentences of its own, or reads none.
    #[error(
        "model '{model}' takes no templates, but category '{category}' has some; leave them out, or choose a model that compares texts \
         with images, such as siglip2"
    )]
    NoTemplates {
        /// The model.
        model: String,
        /// The category's name.
        category: String,
    },
    /// Another style of prompts was asked of a model that reads no questions.
    #[error(
        "model '{model}' reads no questions, so prompt_style = {style} means nothing to it; leave it out"
    )]
    NoPromptStyle {
        /// The model.
        model: String,
        /// The style.
        style: String,
    },
    /// A question in words was put to a model that cannot answer in words.
    #[error(
        "model '{model}' cannot answer in words: it only scores categories, so ask it for categories \
         or choose one that can talk, such as moondream2"
    )]
    CannotTalk {
        /// The model.
        model: String,
    },
    /// An image is to be embedded by a model that does not embed.
    #[error(
        "model '{model}' embeds no images; choose one that does: pocket or efficientnet-lite0, or siglip2, siglip2-b32, siglip2-so400m \
         and siglip, which embed texts too"
    )]
    CannotEmbed {
        /// The model.
        model: String,
    },
    /// A text is to be embedded by a model that embeds images alone.
    #[error(
        "model '{model}' embeds images but no texts; choose siglip2, siglip2-b32, siglip2-so400m or siglip, or compare images with images"
    )]
    CannotEmbedTexts {
        /// The model.
        model: String,
    },
    /// What was taught of a category is about embeddings of another model.
    #[error(
        "model '{model}' cannot use the head of category '{category}': it was taught with {taught}; teach it again with \
         picsift teach --model {model}, or choose the model that it was taught with"
    )]
    ForeignHead {
        /// The model.
        model: String,
        /// The category.
        category: String,
        /// What it was taught with, and what is here.
        taught: String,
    },
    /// A question names a class that the model does not have: it was made for another model.
    #[error("class {class} is not one of the {classes} classes of model '{model}'")]
    UnknownClass {
        /// The model.
        model: String,
        /// The class index asked for.
        class: u16,
        /// How many classes the model has.
        classes: usize,
    },
    /// A question was made for another kind of model.
    #[error("model '{model}' was given a question that was made for another model")]
    ForeignQuestion {
        /// The model.
        model: String,
    },
    /// More questions about one image than the model takes.
    #[error(
        "model '{model}' takes {limit} questions about an image, not {asked}; ask them in several runs"
    )]
    TooManyQuestions {
        /// The model.
        model: String,
        /// How many were asked.
        asked: usize,
        /// How many it takes.
        limit: usize,
    },
    /// A file of a model cannot be read or is not what it should be.
    #[error("{file}: {reason}")]
    ModelFile {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        reason: Arc<dyn Error + Send + Sync>,
    },
    /// A model's weights cannot be used.
    #[error(transparent)]
    Checkpoint(Arc<dyn Error + Send + Sync>),
    /// The tokens of an answer make no text.
    #[error("model '{model}' gave an answer that is no text: {source}")]
    Words {
        /// The model.
        model: String,
        /// What the tokenizer says.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The image is not of the size the model takes.
    #[error("model '{model}' takes images of {expected} pixels, but this one has {actual}")]
    ImageSize {
        /// The model.
        model: String,
        /// Width x height expected.
        expected: String,
        /// Width x height given.
        actual: String,
    },
    /// An image without pixels.
    #[error("an image of {width} x {height} pixels shows nothing; it needs at least one pixel")]
    EmptyImage {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Width, height and data of an image contradict each other.
    #[error(
        "an RGB image of {width} x {height} pixels needs {expected} bytes, but it has {actual}"
    )]
    ImageData {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes that width and height call for.
        expected: u64,
        /// Bytes given.
        actual: usize,
    },
    /// The model computed something that is no number for this image.
    #[error("model '{model}' gave no finite scores for this image")]
    NotFinite {
        /// The model.
        model: String,
    },
    /// The jobs of a batch did not fit the device's memory together.
    #[error(
        "model '{model}' ran out of memory on device '{device}' with {views} views of this image; use \
         --crops global, --quantize q8_0, or a device with more memory"
    )]
    OutOfMemory {
        /// The model.
        model: String,
        /// Where it runs.
        device: String,
        /// Views of the image.
        views: usize,
    },
    /// The weights alone are more than the device has room for.
    #[error(
        "model '{model}' needs {} for its weights, but device '{device}' has {} free; use --quantize q8_0 or a device \
         with more memory", gigabytes(*needed), free.map_or_else(|| "less".to_owned(), gigabytes)
    )]
    ModelTooLarge {
        /// The model.
        model: String,
        /// Where it was to run.
        device: String,
        /// Bytes of the weights.
        needed: u64,
        /// Bytes that were free, where the device can say.
        free: Option<u64>,
    },
    /// The device is broken for this process: whatever is asked of it next fails as well.
    #[error(
        "device '{device}' of model '{model}' failed and answers nothing more: {reason}. What was done before counts; \
         start again to go on, and if it fails again look at the card (nvidia-smi)"
    )]
    DeviceLost {
        /// The model.
        model: String,
        /// Where it ran.
        device: String,
        /// The driver's words.
        reason: String,
    },
    /// The tensor library failed.
    #[error("model '{model}' failed while {stage}: {source}")]
    Tensor {
        /// The model.
        model: String,
        /// What was being done.
        stage: &'static str,
        /// The library's error.
        source: Arc<candle_core::Error>,
    },
    /// The model panicked; the jobs of that batch get this error, later ones are answered again.
    #[error("model '{model}' failed unexpectedly: {message}")]
    Panicked {
        /// The model.
        model: String,
        /// The panic's message.
        message: String,
    },
    /// The model gave another number of answers than it was asked questions.
    #[error("model '{model}' gave {actual} answers to {expected} {what}")]
    AnswerCount {
        /// The model.
        model: String,
        /// What was counted: `jobs` or `questions`.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many came.
        actual: usize,
    },
    /// An option of the service is out of range.
    #[error("the service's {option} must be at least 1")]
    ServiceOption {
        /// The option's name.
        option: &'static str,
    },
    /// The model's thread could not be started.
    #[error("the thread for model '{model}' could not be started: {source}")]
    Thread {
        /// The model.
        model: String,
        /// The system's error.
        source: Arc<std::io::Error>,
    },
    /// The service's thread has ended.
    #[error("the service of model '{model}' has stopped")]
    Closed {
        /// The model.
        model: String,
    },
}

/// What answers categories that a model of fixed classes does not know.
const ANY_WORDS: &str =
    "any words are answered with --model siglip2 or --model moondream2 (in SQL: SET picsift.model)";

fn listed(unknown: &[(String, UnknownNoun)]) -> String {
    let each = unknown
        .iter()
        .map(|(category, why)| format!("'{category}': {why}"));
    each.collect::<Vec<_>>().join("; ")
}

/// Bytes in the unit of a card's memory.
fn gigabytes(bytes: u64) -> String {
    match bytes as f64 {
        some if some < 1e9 => format!("{:.1} MB", some / 1e6),
        many => format!("{:.1} GB", many / 1e9),
    }
}

impl VisionError {
    /// One error for the categories that were given together: those that the model does not know are named at once. Where there is another
    /// error, the first such; `None` where there is none at all.
    pub fn together(errors: Vec<Self>) -> Option<Self> {
        let mut unknown = Vec::new();
        for error in errors {
            match error {
                Self::UnknownCategory {
                    model,
                    category,
                    source,
                } => unknown.push((model, category, source)),
                other => return Some(other),
            }
        }
        let (model, ..) = unknown.first()?;
        let model = model.clone();
        if unknown.len() > 1 {
            let unknown = unknown.into_iter();
            return Some(Self::UnknownCategories {
                model,
                unknown: unknown.map(|(_, name, why)| (name, why)).collect(),
            });
        }
        let (model, category, source) = unknown.pop()?;
        Some(Self::UnknownCategory {
            model,
            category,
            source,
        })
    }

    /// Whether no further job of the model can succeed, whatever its image: the end of a run, not the error of a row.
    pub fn ends_all(&self) -> bool {
        matches!(self, Self::DeviceLost { .. } | Self::Closed { .. })
    }

    /// A function for `map_err` that wraps an error of the tensor library with the model and what it was doing.
    pub(crate) fn tensor(
        model: &str,
        stage: &'static str,
    ) -> impl FnOnce(candle_core::Error) -> Self {
        move |source| Self::Tensor {
            model: model.to_owned(),
            stage,
            source: Arc::new(without_backtrace(source)),
        }
    }
}

/// The tensor library's error without the backtrace that it carries, and would print, where RUST_BACKTRACE is set.
pub(crate) fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        other => other,
    }
}
