//! Text to token ids and back, over a checkpoint's `tokenizer.json`.
//!
//! Owns which tokens a person's text may become, which tokens mean yes and no, and whether the tokenizer is the model's
//! own. It does not know what is asked or where the file came from; the loader names the file in its errors.
//!
//! # Reserved tokens
//!
//! A text must not speak for the template: `<|endoftext|>` in a category is thirteen characters and no end. So these
//! tokens never come out of [`Vocabulary::encode`], and [`Vocabulary::decode`] leaves them out:
//!
//! 1. every added token that the file calls special;
//! 2. the template's first, last and barred token;
//! 3. every other added token, and every other token of the template, whose text holds anything but letters, digits and
//!    whitespace (`<|coord|>`, `[INST]`), whether the file calls it special or not.
//!
//! What rule 3 leaves are words: 2025's template has the ordinary word `query` between two special tokens, and a
//! question may well contain it; 2024's tokenizer has added tokens for runs of blanks, without which indented text would
//! become other tokens than in training.

use std::collections::HashSet;
use std::ops::Range;

use tokenizers::{Encoding, Tokenizer};

use super::{Config, Layout};
use crate::transformer::tokenizer::{self, TokenizerError, form, guarded};

/// What is wrong with a tokenizer, or with a text for it. The loader adds which file it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VocabularyError {
    /// It is no tokenizer, one that these models do not have, or it fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer was made for another model.
    #[error(
        "it is the tokenizer of another model: token {id}, which the template uses as a mark, is {found} in it; \
         revision {} uses {}", layout.revision(), home(*layout)
    )]
    Foreign {
        /// The layout of the checkpoint.
        layout: Layout,
        /// The id of the mark.
        id: u32,
        /// What the tokenizer has at that id.
        found: String,
    },
    /// An id that the model has no embedding for.
    #[error("token {id} {place} is outside the model's vocabulary of {vocab} tokens")]
    Outside {
        /// The id.
        id: u32,
        /// Where it was met.
        place: &'static str,
        /// Ids of the model run from 0 to below this.
        vocab: usize,
    },
    /// No single token means yes, or none means no.
    #[error("it has no token for '{word}', so questions cannot be answered with yes or no")]
    NoToken {
        /// The missing word.
        word: &'static str,
    },
    /// Words of a text that the tokenizer knows only as unknown.
    #[error("the tokenizer does not know {}", quoted(words))]
    UnknownWords {
        /// The words, each once, in the order of the text.
        words: Vec<String>,
    },
    /// The tokenizer's own model reads a text as a mark of the template.
    #[error("the tokenizer reads part of the text as its mark '{mark}'; leave that out")]
    Mark {
        /// The mark.
        mark: String,
    },
}

fn home(layout: Layout) -> &'static str {
    match layout {
        Layout::V2025 => {
            "the tokenizer of moondream/starmie-v1, not the one beside the model's weights"
        }
        Layout::V2024 => "the tokenizer beside that revision's weights",
    }
}

/// `the word 'dog'` or `the words 'dog', 'cat'`; of long words the beginning, of many the first.
pub(super) fn quoted(words: &[String]) -> String {
    const LETTERS: usize = 60;
    const WORDS: usize = 20;
    let short = |word: &String| match word.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("'{}...'", &word[..end]),
        None => format!("'{word}'"),
    };
    let mut list: Vec<_> = words.iter().take(WORDS).map(short).collect();
    if words.len() > WORDS {
        list.push("...".to_owned());
    }
    let noun = if list.len() == 1 { "word" } else { "words" };
    format!("the {noun} {}", list.join(", "))
}

/// The tokenizer of a model.
#[derive(Debug)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    reserved: HashSet<u32>,
    unknown: Option<u32>,
    yes: Vec<u32>,
    no: Vec<u32>,
}

impl Vocabulary {
    /// The tokenizer in a `tokenizer.json`, checked against the model's configuration.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`] when it is no tokenizer, [`VocabularyError::Foreign`] when the first or last token of the
    /// template is no special token of it, [`VocabularyError::Outside`] when it or the template has an id that the model
    /// lacks, [`VocabularyError::NoToken`] when no token is `yes` or none is `no`.
    pub fn from_json(json: &[u8], config: &Config) -> Result<Self, VocabularyError> {
        let (tokenizer, unknown) = tokenizer::parse(json)?;
        guarded(|| Self::build(tokenizer, unknown, config))
    }

    fn build(
        mut tokenizer: Tokenizer,
        unknown: Option<u32>,
        config: &Config,
    ) -> Result<Self, VocabularyError> {
        check(&tokenizer, config)?;
        let reserved = reserve(&mut tokenizer, config).map_err(form)?;
        let tokens = tokenizer.get_vocab(true);
        let spellings = |word: &'static str| {
            let mut ids: Vec<u32> = tokens
                .iter()
                .filter(|(token, id)| is_spelling(token, word) && !reserved.contains(id))
                .map(|(_, &id)| id)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            match ids.is_empty() {
                true => Err(VocabularyError::NoToken { word }),
                false => Ok(ids),
            }
        };
        let (yes, no) = (spellings("yes")?, spellings("no")?);
        Ok(Self {
            tokenizer,
            reserved,
            unknown,
            yes,
            no,
        })
    }

    /// The tokens of a text, none of them reserved (see the module), nothing added around them.
    ///
    /// # Errors
    /// [`VocabularyError::UnknownWords`] when the tokenizer lacks words of the text, [`VocabularyError::Mark`] when it
    /// has a word of the text for a mark of the template only.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, VocabularyError> {
        let encoding = self.encoding(text)?;
        let words = self.unknown_in(text, &encoding);
        if !words.is_empty() {
            return Err(VocabularyError::UnknownWords { words });
        }
        let ids = encoding.get_ids();
        if let Some(&id) = ids.iter().find(|id| self.reserved.contains(id)) {
            return Err(VocabularyError::Mark {
                mark: self.tokenizer.id_to_token(id).unwrap_or_default(),
            });
        }
        Ok(ids.to_vec())
    }

    /// The text of tokens without reserved ones and without whitespace at either end. Ids without a token are skipped:
    /// a model's vocabulary may be padded beyond its tokenizer's.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`] when the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, VocabularyError> {
        let ids: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !self.reserved.contains(id))
            .collect();
        Ok(tokenizer::decode(&self.tokenizer, &ids)?.trim().to_owned())
    }

    /// The words of a text that the tokenizer has only as its unknown token, each once; empty for a tokenizer that
    /// can spell anything.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`] when the tokenizer fails.
    pub fn unknown_words(&self, text: &str) -> Result<Vec<String>, VocabularyError> {
        Ok(self.unknown_in(text, &self.encoding(text)?))
    }

    /// The tokens that are `yes` in any casing, with or without a leading blank; ascending, at least one.
    pub fn yes(&self) -> &[u32] {
        &self.yes
    }

    /// The tokens that are `no` in any casing, with or without a leading blank; ascending, at least one.
    pub fn no(&self) -> &[u32] {
        &self.no
    }

    fn encoding(&self, text: &str) -> Result<Encoding, VocabularyError> {
        Ok(tokenizer::encode(&self.tokenizer, text)?)
    }

    fn unknown_in(&self, text: &str, encoding: &Encoding) -> Vec<String> {
        let mut words = Vec::new();
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        for (_, &(begin, end)) in tokens.filter(|(id, _)| Some(**id) == self.unknown) {
            let word = &text[word_around(text, begin..end)];
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        words
    }
}

/// Whether the tokenizer goes with the model.
fn check(tokenizer: &Tokenizer, config: &Config) -> Result<(), VocabularyError> {
    let (template, vocab) = (&config.template, config.text.vocab);
    let outside = |id: u32, place| VocabularyError::Outside { id, place, vocab };
    let ids = [template.bos, template.eos];
    let ids = ids
        .iter()
        .chain(&template.before)
        .chain(&template.after)
        .chain(&template.barred);
    if let Some(&id) = ids.into_iter().find(|&&id| id as usize >= vocab) {
        return Err(outside(id, "of the template"));
    }
    let added = tokenizer.get_added_tokens_decoder();
    for id in [template.bos, template.eos] {
        if !added.get(&id).is_some_and(|token| token.special) {
            return Err(VocabularyError::Foreign {
                layout: config.layout,
                id,
                found: match tokenizer.id_to_token(id) {
                    Some(token) => format!("the ordinary text '{token}'"),
                    None => "missing".to_owned(),
                },
            });
        }
    }
    match tokenizer.get_vocab(true).into_values().max() {
        Some(id) if id as usize >= vocab => Err(outside(id, "of the tokenizer")),
        _ => Ok(()),
    }
}

/// The reserved tokens. Those of them that the file does not call special are made so, and special tokens are made text
/// where they stand in a text.
fn reserve(tokenizer: &mut Tokenizer, config: &Config) -> Result<HashSet<u32>, tokenizers::Error> {
    let template = &config.template;
    let mut reserved = HashSet::from([template.bos, template.eos]);
    reserved.extend(template.barred);
    let added = tokenizer.get_added_tokens_decoder();
    for (&id, token) in &added {
        if token.special || !is_words(&token.content) {
            reserved.insert(id);
        }
    }
    for &id in template.before.iter().chain(&template.after) {
        let token = tokenizer.decode(&[id], false)?;
        if !is_words(&token) {
            reserved.insert(id);
        }
    }
    let marks: Vec<_> = added
        .into_iter()
        .filter(|(id, token)| reserved.contains(id) && !token.special)
        .map(|(_, token)| token.special(true))
        .collect();
    tokenizer.add_special_tokens(marks)?;
    tokenizer.set_encode_special_tokens(true);
    Ok(reserved)
}

fn is_words(token: &str) -> bool {
    token
        .chars()
        .all(|c| c.is_alphanumeric() || c.is_whitespace())
}

/// Whether a token is this word in any casing, after at most one leading blank as the token itself, byte-level (`Ġ`) or
/// metaspace (`▁`) tokenizers write it.
fn is_spelling(token: &str, word: &str) -> bool {
    token
        .strip_prefix([' ', '\u{120}', '\u{2581}'])
        .unwrap_or(token)
        .eq_ignore_ascii_case(word)
}

/// The whole word of which `part` (byte offsets) is a piece; `part` itself where it is punctuation.
fn word_around(text: &str, part: Range<usize>) -> Range<usize> {
    let (Some(head), Some(piece), Some(tail)) = (
        text.get(..part.start),
        text.get(part.clone()),
        text.get(part.end..),
    ) else {
        return 0..text.len();
    };
    if !piece.contains(char::is_alphanumeric) {
        return part;
    }
    let before = head.len() - head.trim_end_matches(char::is_alphanumeric).len();
    let after = tail.len() - tail.trim_start_matches(char::is_alphanumeric).len();
    part.start - before..part.end + after
}
