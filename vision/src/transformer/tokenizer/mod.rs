//! The one border to the tokenizer library: what a `tokenizer.json` may be made of, and what becomes of the library's panics.
//!
//! Which tokens mean what is each model's own to know.

mod parts;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokenizers::{Encoding, Tokenizer};

use parts::File;

/// Most bytes of a text; a context of thousands of tokens has room for less.
const MOST_TEXT: usize = 32 << 10;

/// What is wrong with a tokenizer, or with a text for it. The loader adds which file it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenizerError {
    /// The bytes are no `tokenizer.json` that the tokenizer library reads.
    #[error("it is not a tokenizer: {source}")]
    Form {
        /// The library's error.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The tokenizer does what those of these models do not.
    #[error("its {kind} {what}")]
    Part {
        /// What kind of part.
        kind: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A text that no context has room for.
    #[error("the text has {bytes} bytes; at most {limit} can be asked")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The tokenizer library panicked.
    #[error("the tokenizer failed unexpectedly: it is damaged, or made for another program")]
    Panicked,
    /// The tokenizer library failed.
    #[error("the tokenizer failed: {source}")]
    Failed {
        /// The library's error.
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// A tokenizer as its file says, without the file's settings for batches in training, which would cut or pad texts without a word;
/// and the id of the token that stands for what has none.
///
/// # Errors
/// [`TokenizerError`] of the file.
pub(crate) fn parse(json: &[u8]) -> Result<(Tokenizer, Option<u32>), TokenizerError> {
    let file: File = serde_json::from_slice(json).map_err(|error| form(error.into()))?;
    file.check()?;
    guarded(|| {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(form)?;
        tokenizer.with_truncation(None).map_err(form)?;
        tokenizer.with_padding(None);
        let unknown = match &file.model.unk_token {
            Some(token) => tokenizer.token_to_id(token),
            None => file.model.unk_id,
        };
        Ok((tokenizer, unknown))
    })
}

/// The tokens of a text, nothing added around them.
///
/// # Errors
/// [`TokenizerError`] of the text.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Encoding, TokenizerError> {
    if text.len() > MOST_TEXT {
        return Err(TokenizerError::TooLong {
            bytes: text.len(),
            limit: MOST_TEXT,
        });
    }
    guarded(|| tokenizer.encode(text, false).map_err(failed))
}

/// The text of tokens, special ones left out.
///
/// # Errors
/// [`TokenizerError::Failed`] when the tokenizer's decoder fails.
pub(crate) fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String, TokenizerError> {
    guarded(|| tokenizer.decode(ids, true).map_err(failed))
}

/// Runs the library, which panics on some files that it reads.
pub(crate) fn guarded<T, E: From<TokenizerError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    // What a panic leaves half done is not used again, or only read.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(TokenizerError::Panicked.into()))
}

/// The error of a file that the library does not take.
pub(crate) fn form(source: tokenizers::Error) -> TokenizerError {
    TokenizerError::Form {
        source: Arc::from(source),
    }
}

fn failed(source: tokenizers::Error) -> TokenizerError {
    TokenizerError::Failed {
        source: Arc::from(source),
    }
}
