//! What a category or a text becomes as a question to a Moondream2: words, and the tokens after the image.
//!
//! Owns the template around a question, the limit of a sequence, and which texts are refused. English is `phrase`'s affair,
//! token ids are [`Vocabulary`]'s. How many questions are asked about an image is not decided here.
//!
//! - A category with a prompt is asked just that, trimmed. Its nouns are for models that read no prompt.
//! - Whitespace of any kind in a category is a blank, so a line break cannot begin a line of the template; other control
//!   characters are refused. A prompt or an open question keeps its line breaks: it is the person's own text.
//! - The template's marks are added as ids, and text never becomes one, see [`Vocabulary::encode`]. Only 2024's template
//!   is text itself, and a prompt there may contain `Answer:` like any other words.

use std::sync::Arc;

use super::phrase;
use super::vocabulary::quoted;
use super::{Config, Layout, Template, Vocabulary, VocabularyError};
use crate::error::VisionError;
use crate::model::{Category, Prompt, Question, Questions};
use crate::options::{Generation, PromptStyle};

/// Why a category or a text cannot be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PromptError {
    /// Nothing but whitespace.
    #[error("{what} is empty; give {expected}")]
    Empty {
        /// What is empty, with the category's name where it has one.
        what: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A control character that is no whitespace.
    #[error(
        "category {name:?} has the control character U+{:04X} in it; leave it out",
        u32::from(*character)
    )]
    Control {
        /// The category's name, or its noun.
        name: String,
        /// The character.
        character: char,
    },
    /// The model has no token for words of the question.
    #[error("the model '{model}' does not know {}", quoted(words))]
    UnknownWords {
        /// The model.
        model: String,
        /// The words, in the order of the question.
        words: Vec<String>,
    },
    /// Image, question and answer do not fit a sequence.
    #[error(
        "the question \"{start}\" is too long for model '{model}': {image} tokens of the image, {question} of the \
         question and {answer} of the answer are {} where {limit} fit; shorten the question or the answer",
        image + question + answer
    )]
    TooLong {
        /// The model.
        model: String,
        /// The beginning of the question.
        start: String,
        /// Tokens of the image prefix.
        image: usize,
        /// Tokens of the question with its template.
        question: usize,
        /// Most tokens of the answer.
        answer: usize,
        /// Tokens of a sequence of this model.
        limit: usize,
    },
    /// The tokenizer cannot take the text.
    #[error("model '{model}' cannot read the question: {source}")]
    Vocabulary {
        /// The model.
        model: String,
        /// What the tokenizer says.
        source: VocabularyError,
    },
}

impl From<PromptError> for VisionError {
    fn from(error: PromptError) -> Self {
        Self::Prompt(Arc::new(error))
    }
}

/// The planning half of a Moondream2.
#[derive(Debug)]
pub struct Prompts {
    model: String,
    vocabulary: Arc<Vocabulary>,
    layout: Layout,
    template: Template,
    /// Tokens of the image prefix.
    prefix: usize,
    /// Most tokens of a sequence.
    context: usize,
}

impl Prompts {
    /// The questions that the model of this name and configuration takes.
    pub fn new(model: impl Into<String>, vocabulary: Arc<Vocabulary>, config: &Config) -> Self {
        Self {
            model: model.into(),
            vocabulary,
            layout: config.layout,
            template: config.template.clone(),
            prefix: config.prefix_tokens(),
            context: config.text.context,
        }
    }

    /// A question with its tokens, for which with the image and an answer of `answer` tokens there is room.
    fn prompt(&self, text: &str, answer: usize) -> Result<Prompt, PromptError> {
        let encode = |text: &str| match self.vocabulary.encode(text) {
            Err(VocabularyError::UnknownWords { words }) => Err(PromptError::UnknownWords {
                model: self.model.clone(),
                words,
            }),
            Err(source) => Err(PromptError::Vocabulary {
                model: self.model.clone(),
                source,
            }),
            Ok(tokens) => Ok(tokens),
        };
        let mut tokens = self.template.before.clone();
        tokens.extend(match self.layout {
            Layout::V2025 => encode(text)?,
            Layout::V2024 => encode(&format!("\n\nQuestion: {text}\n\nAnswer:"))?,
        });
        tokens.extend(&self.template.after);
        let needed = (self.prefix + tokens.len()).saturating_add(answer);
        if needed > self.context {
            return Err(PromptError::TooLong {
                model: self.model.clone(),
                start: start_of(text),
                image: self.prefix,
                question: tokens.len(),
                answer,
                limit: self.context,
            });
        }
        Ok(Prompt {
            text: text.into(),
            tokens: tokens.into(),
        })
    }
}

impl Questions for Prompts {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        if !category.templates.is_empty() {
            return Err(VisionError::NoTemplates {
                model: self.model.clone(),
                category: category.name.clone(),
            });
        }
        let name = noun(&category.name, "the name of a category")?;
        let text = match &category.prompt {
            Some(prompt) => {
                filled(prompt, || format!("the prompt of category '{name}'"))?.to_owned()
            }
            None => {
                let what = format!("a noun of category '{name}'");
                let nouns: Result<Vec<_>, _> = category
                    .nouns
                    .iter()
                    .map(|text| noun(text, &what))
                    .collect();
                match category.style {
                    PromptStyle::Vendor => phrase::question(&name, &nouns?)?,
                    PromptStyle::Shared => phrase::shared_question(&name, &nouns?)?,
                }
            }
        };
        // A yes or no is one token.
        Ok(Question::YesNo(self.prompt(&text, 1)?))
    }

    fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError> {
        let text = filled(text, || "the question".to_owned())?;
        let prompt = self.prompt(text, generation.max_tokens)?;
        Ok(Question::Open(prompt, generation))
    }
}

/// A noun as it goes into a question.
fn noun(text: &str, what: &str) -> Result<String, PromptError> {
    let tidy = phrase::tidy(text);
    if tidy.is_empty() {
        return Err(PromptError::Empty {
            what: what.to_owned(),
            expected: "a noun, such as dog",
        });
    }
    match tidy.chars().find(|c| c.is_control()) {
        Some(character) => Err(PromptError::Control {
            name: tidy,
            character,
        }),
        None => Ok(tidy),
    }
}

/// A person's own text without whitespace at its ends.
fn filled(text: &str, what: impl FnOnce() -> String) -> Result<&str, PromptError> {
    match text.trim() {
        "" => Err(PromptError::Empty {
            what: what(),
            expected: "a question, such as 'Is there a dog in the image?'",
        }),
        text => Ok(text),
    }
}

/// Enough of a question to know it by.
fn start_of(text: &str) -> String {
    const SHOWN: usize = 60;
    let line = phrase::tidy(text);
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
