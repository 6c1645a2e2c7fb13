//! Answers in memory, so that no image is asked the same twice.
//!
//! Two bounded caches: by the image's content, for as long as the engine lives (the model is the same, so the answers are),
//! and by its reference, within one run only (what a reference names may change from one run to the next). A lookup of what
//! another caller is computing waits for it. Failures are never cached by content: a retry may succeed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use picsift_vision::{Answer, Question};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, PlaceholderGuard};

use crate::pipeline::base::Folder;
use crate::pipeline::checked::Digest;
use crate::pipeline::outcome::RowError;

/// Bytes of answers in each cache, about.
const ANSWER_BYTES: u64 = 32 << 20;
/// Bytes of a cached entry besides its texts and embeddings.
const ENTRY_BYTES: u64 = 128;
/// Entries that the caches are sized for.
const EXPECTED: usize = 10_000;

/// The questions put to one model, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AskedId([u64; 2]);

impl AskedId {
    /// `model` is all that makes a model's answers what they are.
    pub(crate) fn new(model: &str, questions: &[Question]) -> Self {
        Self([0_u64, 1].map(|salt| {
            let mut hasher = DefaultHasher::new();
            (salt, model, questions).hash(&mut hasher);
            hasher.finish()
        }))
    }
}

/// What the model said of one image.
pub(crate) type Answers = Arc<[Answer]>;

/// Answers by content.
pub(crate) struct MemoryAnswerCache(Cache<(Content, AskedId), Answers, Weight>);

/// SHA-256 of an encoded image.
pub(crate) type Content = [u8; 32];

impl fmt::Debug for MemoryAnswerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAnswerCache")
            .field("len", &self.0.len())
            .finish()
    }
}

/// Answers, or the place to put them once they are known.
pub(crate) type Lookup<'a, K, V> = Result<
    V,
    PlaceholderGuard<
        'a,
        K,
        V,
        Weight,
        quick_cache::DefaultHashBuilder,
        quick_cache::sync::DefaultLifecycle<K, V>,
    >,
>;

impl MemoryAnswerCache {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, ANSWER_BYTES, Weight))
    }

    /// The answers about this image, or the duty to find them.
    pub(crate) async fn find(
        &self,
        content: Content,
        asked: AskedId,
    ) -> Lookup<'_, (Content, AskedId), Answers> {
        self.0.get_value_or_guard_async(&(content, asked)).await
    }
}

/// A reference, what its image must be, and what was asked about it; the same text in another folder is another image.
pub(crate) type Referred = (Arc<str>, Folder, Option<Digest>, AskedId);

/// What was found out about a reference, failures too.
pub(crate) type ByReference = Cache<Referred, Result<Answers, RowError>, Weight>;

/// An empty cache for one run.
pub(crate) fn by_reference() -> ByReference {
    Cache::with_weighter(EXPECTED, ANSWER_BYTES, Weight)
}

/// Weighs entries by their size.
#[derive(Debug, Clone)]
pub(crate) struct Weight;

fn size(answers: &Answers) -> u64 {
    let held: usize = answers.iter().map(Answer::held_bytes).sum();
    ENTRY_BYTES + (size_of_val(&**answers) + held) as u64
}

impl Weighter<(Content, AskedId), Answers> for Weight {
    fn weight(&self, _key: &(Content, AskedId), answers: &Answers) -> u64 {
        size(answers)
    }
}

impl Weighter<Referred, Result<Answers, RowError>> for Weight {
    fn weight(&self, key: &Referred, found: &Result<Answers, RowError>) -> u64 {
        let value = match found {
            Ok(answers) => size(answers),
            Err(error) => ENTRY_BYTES + error.message.len() as u64,
        };
        value + key.0.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Arc::new([Answer::Score(0.5)])
    }

    #[tokio::test]
    async fn one_finds_out_and_the_others_wait() {
        let cache = MemoryAnswerCache::new();
        let asked = AskedId::new("m", &[]);
        let guard = cache.find([1; 32], asked).await.unwrap_err();
        let (found, ()) = futures::join!(cache.find([1; 32], asked), async {
            guard.insert(answers()).unwrap();
        });
        assert_eq!(*found.unwrap(), *answers());
        assert!(cache.find([2; 32], asked).await.is_err());
        assert!(cache.find([1; 32], AskedId::new("n", &[])).await.is_err());
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_place_to_the_next() {
        let cache = MemoryAnswerCache::new();
        let asked = AskedId::new("m", &[]);
        let guard = cache.find([1; 32], asked).await.unwrap_err();
        let (found, ()) = futures::join!(cache.find([1; 32], asked), async { drop(guard) });
        assert!(found.is_err());
    }
}
