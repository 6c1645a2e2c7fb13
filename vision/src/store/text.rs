//! Embeddings of texts, kept as answers are: under a key of the text's tokens, in the place of an image's.

use sha2::{Digest, Sha256};

use super::question::NO_PIXELS;
use super::{Asked, Store};
use crate::embedding::Embedding;
use crate::model::{Answer, ModelInfo, Prompt, Question};

impl Store {
    /// The embeddings of these texts by a model, those that are known.
    pub fn texts(&self, model: &ModelInfo, texts: &[&Prompt]) -> Vec<Option<Embedding>> {
        let keys: Vec<_> = texts.iter().map(|text| key(text)).collect();
        let found = self.lookup_many(&keys, &asked(model));
        let embedding = |answers: Vec<Option<Answer>>| match answers.into_iter().next()?? {
            Answer::Embedding(embedding) => Some(embedding),
            Answer::Score(_) | Answer::Text(_) => None,
        };
        let found = found.into_iter().map(|found| embedding(found.answers));
        let mut found: Vec<_> = found.collect();
        found.resize(texts.len(), None);
        found
    }

    /// Keeps the embeddings of texts by a model. Blocks while the writer is behind.
    pub fn put_texts(&self, model: &ModelInfo, texts: &[&Prompt], embeddings: &[Embedding]) {
        let asked = asked(model);
        for (text, embedding) in texts.iter().zip(embeddings) {
            let answer = Answer::Embedding(embedding.clone());
            self.put(&key(text), &asked, vec![Some(answer)], None);
        }
    }
}

fn asked(model: &ModelInfo) -> Asked {
    Asked::new(model, NO_PIXELS, &[Question::Embedding])
}

fn key(text: &Prompt) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("picsift text");
    for token in text.tokens.iter() {
        hash.update(token.to_le_bytes());
    }
    hash.finalize().into()
}
