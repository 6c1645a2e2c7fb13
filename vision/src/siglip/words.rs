//! What a category is in words, and words as tokens: canonical text in a template, padded.
//!
//! The published models learnt texts without capitals and punctuation (`canonicalize_text` of big_vision); with them they lose up to 12
//! points of zero-shot accuracy. A text is always padded to all positions, with no mask.

use std::error::Error;
use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::error::VisionError;
use crate::model::{Category, Prompt, Question, Questions};
use crate::options::Generation;
use crate::transformer::TokenizerError;
use crate::transformer::tokenizer::{encode, parse};

/// What is said of a category that comes without words of its own.
const TEMPLATE: &str = "this is a photo of {}.";

/// What is wrong with the words, or with the tokenizer for them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WordsError {
    /// It is no tokenizer, one that these models do not have, or it fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Nothing ends a text.
    #[error(
        "it has no token that ends a text (<eos> or </s>); it is the tokenizer of another model"
    )]
    NoEnd,
    /// Nothing fills the positions behind a text.
    #[error("it has no token that pads a text (<pad>); it is the tokenizer of another model")]
    NoPadding,
    /// An id that the model has no embedding for.
    #[error("its token {id} is outside the model's vocabulary of {vocabulary} tokens")]
    Outside {
        /// The id.
        id: u32,
        /// Ids of the model run from 0 to below this.
        vocabulary: usize,
    },
    /// Nothing is left of a text.
    #[error("'{0}' says nothing without its punctuation; say in words what is meant")]
    Nothing(String),
}

/// The text as the models know texts: underscores are blanks, other ASCII punctuation is gone, no capitals, and white space is one blank.
pub fn canonical(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c == '_' { ' ' } else { c })
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let lower = kept.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The planning half of a SigLIP.
#[derive(Debug)]
pub struct Words {
    name: String,
    tokenizer: Tokenizer,
    positions: usize,
    end: u32,
    padding: u32,
}

impl Words {
    /// The tokenizer in a `tokenizer.json`, for a model of so many positions and tokens.
    ///
    /// # Errors
    /// [`WordsError`] of the tokenizer.
    pub fn from_json(
        name: &str,
        json: &[u8],
        positions: usize,
        vocabulary: usize,
    ) -> Result<Self, WordsError> {
        let (tokenizer, _) = parse(json)?;
        let mark = |name: &str| tokenizer.token_to_id(name);
        let (end, padding) = match (mark("<eos>"), mark("</s>")) {
            (Some(end), _) => (end, mark("<pad>").ok_or(WordsError::NoPadding)?),
            // SigLIP 1 pads with what ends a text, though its vocabulary has a <pad>.
            (None, Some(end)) => (end, end),
            (None, None) => return Err(WordsError::NoEnd),
        };
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if largest as usize >= vocabulary {
            return Err(WordsError::Outside {
                id: largest,
                vocabulary,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            tokenizer,
            positions,
            end,
            padding,
        })
    }

    /// The tokens of a text in its canonical form, cut and padded to all positions.
    ///
    /// # Errors
    /// [`WordsError::Nothing`] for a text of nothing but punctuation; the tokenizer's.
    pub fn prompt(&self, text: &str) -> Result<Prompt, WordsError> {
        let canonical = canonical(text);
        if canonical.is_empty() {
            return Err(WordsError::Nothing(text.to_owned()));
        }
        let encoding = encode(&self.tokenizer, &canonical)?;
        let mut tokens = encoding.get_ids().to_vec();
        tokens.truncate(self.positions.saturating_sub(1));
        tokens.push(self.end);
        tokens.resize(self.positions, self.padding);
        Ok(Prompt {
            text: canonical.into(),
            tokens: tokens.into(),
        })
    }

    /// The same for a caller that knows no SigLIP.
    pub(super) fn text(&self, text: &str) -> Result<Prompt, VisionError> {
        self.prompt(text).map_err(Self::failed)
    }

    fn failed(error: WordsError) -> VisionError {
        let error: Arc<dyn Error + Send + Sync> = Arc::new(error);
        VisionError::Prompt(error)
    }
}

impl Questions for Words {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        let described = |noun: &String| -> Result<Arc<[Prompt]>, WordsError> {
            // Punctuation alone would leave the template, which says nothing of the category.
            if canonical(noun).is_empty() {
                return Err(WordsError::Nothing(noun.clone()));
            }
            let word = |template: &str| self.prompt(&template.replace("{}", noun));
            match category.templates.is_empty() {
                true => Ok([word(TEMPLATE)?].into()),
                false => category
                    .templates
                    .iter()
                    .map(|template| word(template))
                    .collect(),
            }
        };
        let descriptions: Result<Arc<[_]>, _> = match &category.prompt {
            Some(text) => self.prompt(text).map(|prompt| [[prompt].into()].into()),
            None => {
                let nouns = std::iter::once(&category.name).chain(&category.nouns);
                nouns.map(described).collect()
            }
        };
        Ok(Question::Shows(descriptions.map_err(Self::failed)?))
    }

    fn open(&self, _: &str, _: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn texts_are_what_the_models_learnt() {
        for (text, expected) in [
            ("Zebra-crossing, at night!", "zebracrossing at night"),
            ("snow_leopard", "snow leopard"),
            ("  leading \t and\u{a0}trailing ", "leading and trailing"),
            ("ÜNÏCODE", "ünïcode"),
            ("...", ""),
            ("__", ""),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }
}
