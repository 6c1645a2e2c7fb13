//! How answers and references are packed into the values of a row, and the checksum that each carries.
//!
//! SQLite keeps no checksum of its pages, so a flipped bit in a value would be read as another value. Eight bytes of checksum over
//! key and value make that, and a value under another row's key, one chance in 2^64. They are made with the store's [`Secret`], so that
//! nobody else writes a row that is read.
//!
//! The answers of a row: one byte that says what follows; the similarity hash, if there is one, in 8 bytes; the answers in
//! the order of their set; 8 bytes of checksum. Where all answers are scores each is the 4 bytes of an f32, else
//! each has a byte before it that tells what it is; words have their length in 4 bytes, an embedding its width, and each of its numbers 2
//! bytes of an f16. All numbers are little-endian.

use half::f16;
use sha2::{Digest, Sha256};

use super::question::{QuestionId, first};
use super::secret::Secret;
use crate::embedding::Embedding;
use crate::model::Answer;

/// The key of an image or of a reference: 16 bytes of a SHA-256.
///
/// Among 2^40 images the chance that any two share a key is below 2^-48; a wrong answer by accident needs hardware far
/// better than any to be the likelier cause. Half the bytes make rows a fifth smaller.
pub(super) type Key = [u8; 16];

/// Bytes of a checksum.
const CHECKSUM: usize = 8;

/// Bits of the first byte.
const SIMILARITY: u8 = 1;
const MIXED: u8 = 2;

/// What stands before an answer in a row of more than scores.
const SCORE: u8 = 0;
const TEXT: u8 = 1;
const EMBEDDING: u8 = 2;

/// The key of an image with this SHA-256.
pub(super) fn image_key(content: &[u8; 32]) -> Key {
    std::array::from_fn(|at| content[at])
}

/// The key of a reference.
pub(super) fn reference_key(reference: &str) -> Key {
    first(Sha256::new_with_prefix(reference))
}

/// The questions whose answers are together in a row, ascending.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) ids: Vec<QuestionId>,
    pub(super) digest: Key,
}

impl Set {
    pub(super) fn new(ids: Vec<QuestionId>) -> Self {
        let mut hash = Sha256::new();
        for id in &ids {
            hash.update(id.as_bytes());
        }
        let digest = first(hash);
        Self { ids, digest }
    }

    /// The set that was written as these bytes.
    pub(super) fn read(bytes: &[u8], digest: &[u8]) -> Option<Self> {
        let (ids, rest) = bytes.as_chunks::<16>();
        let set = Self::new(ids.iter().copied().map(QuestionId::from_bytes).collect());
        (rest.is_empty() && set.digest == digest && set.ids.is_sorted()).then_some(set)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.ids.iter().flat_map(|id| *id.as_bytes()).collect()
    }
}

/// One answer in a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packed<'a> {
    Score(f32),
    Text(&'a str),
    /// Two bytes a number.
    Embedding(&'a [u8]),
}

impl From<Packed<'_>> for Answer {
    fn from(packed: Packed<'_>) -> Self {
        match packed {
            Packed::Score(score) => Self::Score(score),
            Packed::Text(text) => Self::Text(text.to_owned()),
            Packed::Embedding(bytes) => {
                let (halves, _) = bytes.as_chunks::<2>();
                let halves = halves.iter().map(|half| f16::from_le_bytes(*half));
                Self::Embedding(Embedding::from_halves(halves))
            }
        }
    }
}

/// The value of an image's row: answers in the order of `set`.
pub(super) fn pack_answers(
    secret: &Secret,
    image: &Key,
    set: &Set,
    answers: &[&Answer],
    similarity: Option<u64>,
) -> Vec<u8> {
    let mixed = !answers
        .iter()
        .all(|answer| matches!(answer, Answer::Score(_)));
    let held: usize = answers.iter().map(|answer| answer.held_bytes()).sum();
    let mut out = Vec::with_capacity(17 + 5 * answers.len() + held);
    out.push(u8::from(similarity.is_some()) * SIMILARITY + u8::from(mixed) * MIXED);
    out.extend(similarity.into_iter().flat_map(u64::to_le_bytes));
    for answer in answers {
        match answer {
            Answer::Score(score) => {
                if mixed {
                    out.push(SCORE);
                }
                out.extend(score.to_le_bytes());
            }
            Answer::Text(text) => {
                out.push(TEXT);
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
            }
            Answer::Embedding(embedding) => {
                out.push(EMBEDDING);
                out.extend((embedding.width() as u32).to_le_bytes());
                out.extend(
                    embedding
                        .halves()
                        .iter()
                        .flat_map(|half| half.to_le_bytes()),
                );
            }
        }
    }
    seal(secret, b'a', [image, &set.digest], out)
}

/// What an image's row says: the similarity hash, and the answers in the order of `set`. None for a damaged row.
pub(super) fn unpack_answers<'a>(
    secret: &Secret,
    image: &Key,
    set: &Set,
    value: &'a [u8],
) -> Option<(Option<u64>, Vec<Packed<'a>>)> {
    let mut input = Input(unseal(secret, b'a', [image, &set.digest], value)?);
    let flags = input.byte()?;
    let similarity = match flags & SIMILARITY {
        0 => None,
        _ => Some(u64::from_le_bytes(input.array()?)),
    };
    let mut answers = Vec::with_capacity(set.ids.len());
    for _ in &set.ids {
        let kind = if flags & MIXED == 0 {
            SCORE
        } else {
            input.byte()?
        };
        answers.push(match kind {
            SCORE => Packed::Score(f32::from_le_bytes(input.array()?)),
            TEXT => {
                let length = u32::from_le_bytes(input.array()?);
                Packed::Text(str::from_utf8(input.take(length as usize)?).ok()?)
            }
            EMBEDDING => {
                let width = u32::from_le_bytes(input.array()?) as usize;
                Packed::Embedding(input.take(width.checked_mul(2)?)?)
            }
            _ => return None,
        });
    }
    input.0.is_empty().then_some((similarity, answers))
}

/// What is known of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownReference {
    /// The version that it had, as its fetcher writes versions: only the same text is the same version.
    pub version: String,
    /// SHA-256 of the encoded image that it gave.
    pub content: [u8; 32],
    /// The image's similarity hash, where one was computed.
    pub similarity: Option<u64>,
}

/// The value of a reference's row.
pub(super) fn pack_reference(secret: &Secret, key: &Key, known: &KnownReference) -> Vec<u8> {
    let mut out = Vec::with_capacity(49 + known.version.len());
    out.push(u8::from(known.similarity.is_some()) * SIMILARITY);
    out.extend(known.similarity.into_iter().flat_map(u64::to_le_bytes));
    out.extend(known.content);
    out.extend(known.version.as_bytes());
    seal(secret, b'r', [key, &[0; 16]], out)
}

/// What a reference's row says; None for a damaged row.
pub(super) fn unpack_reference(secret: &Secret, key: &Key, value: &[u8]) -> Option<KnownReference> {
    let mut input = Input(unseal(secret, b'r', [key, &[0; 16]], value)?);
    let similarity = match input.byte()? & SIMILARITY {
        0 => None,
        _ => Some(u64::from_le_bytes(input.array()?)),
    };
    Some(KnownReference {
        similarity,
        content: input.array()?,
        version: str::from_utf8(input.0).ok()?.to_owned(),
    })
}

/// The checksum of a question as people read it.
pub(super) fn question_checksum(
    secret: &Secret,
    id: &[u8; 16],
    model: &str,
    revision: &str,
    words: &str,
) -> [u8; CHECKSUM] {
    let parts: [&[u8]; 4] = [id, model.as_bytes(), revision.as_bytes(), words.as_bytes()];
    secret.checksum(b'q', &parts)
}

fn checksum(secret: &Secret, kind: u8, keys: [&Key; 2], value: &[u8]) -> [u8; CHECKSUM] {
    secret.checksum(kind, &[keys[0], keys[1], value])
}

fn seal(secret: &Secret, kind: u8, keys: [&Key; 2], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(secret, kind, keys, &value);
    value.extend(checksum);
    value
}

fn unseal<'a>(secret: &Secret, kind: u8, keys: [&Key; 2], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, found) = value.split_last_chunk::<CHECKSUM>()?;
    (checksum(secret, kind, keys, value) == *found).then_some(value)
}

/// The bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        self.take(BYTES)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        use std::sync::OnceLock;
        static SECRET: OnceLock<Secret> = OnceLock::new();
        let secret = SECRET.get_or_init(|| Secret::random().unwrap());
        *secret
    }

    fn set(questions: u8) -> Set {
        let ids = (0..questions).map(|byte| QuestionId::from_bytes([byte; 16]));
        Set::new(ids.collect())
    }

    fn round_trip(answers: &[Answer], similarity: Option<u64>) -> Vec<u8> {
        let (secret, set) = (secret(), set(answers.len() as u8));
        let refs: Vec<_> = answers.iter().collect();
        let value = pack_answers(&secret, &[7; 16], &set, &refs, similarity);
        let (found, back) = unpack_answers(&secret, &[7; 16], &set, &value).unwrap();
        assert_eq!(found, similarity);
        let back: Vec<Answer> = back.into_iter().map(Answer::from).collect();
        assert_eq!(back, answers);
        value
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let scores: Vec<_> = [0.0, -0.0, 1.0, f32::MIN_POSITIVE, 0.1]
            .into_iter()
            .map(Answer::Score)
            .collect();
        assert_eq!(round_trip(&scores, Some(u64::MAX)).len(), 1 + 8 + 20 + 8);
        let mixed = [Answer::Text("größer".to_owned()), Answer::Score(0.3)];
        round_trip(&mixed, None);
        round_trip(&[], Some(1));
        let embedding = Embedding::new((0..768).map(|i| i as f32 - 99.0).collect()).unwrap();
        let value = round_trip(&[Answer::Embedding(embedding.clone())], Some(5));
        assert_eq!(value.len(), 1 + 8 + 5 + 2 * 768 + 8);
        let wordy = Answer::Text("größer".to_owned());
        round_trip(&[wordy, Answer::Embedding(embedding)], None);
    }

    #[test]
    fn no_changed_bit_and_no_cut_is_read() {
        let answers = [
            Answer::Embedding(Embedding::new(vec![1.0, 2.0]).unwrap()),
            Answer::Text("a dog".to_owned()),
        ];
        let value = round_trip(&answers, Some(3));
        let secret = secret();
        for bit in 0..value.len() * 8 {
            let mut other = value.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(
                unpack_answers(&secret, &[7; 16], &set(2), &other).is_none(),
                "{bit}"
            );
        }
        for end in 0..value.len() {
            assert!(unpack_answers(&secret, &[7; 16], &set(2), &value[..end]).is_none());
        }
        assert!(unpack_answers(&secret, &[8; 16], &set(2), &value).is_none());
        assert!(unpack_answers(&secret, &[7; 16], &set(3), &value).is_none());
        // Of another store.
        let other = Secret::random().unwrap();
        assert!(unpack_answers(&other, &[7; 16], &set(2), &value).is_none());
    }

    #[test]
    fn references_come_back_or_not_at_all() {
        let known = KnownReference {
            version: "etag \"a\"".to_owned(),
            content: [9; 32],
            similarity: Some(5),
        };
        let key = reference_key("https://example.org/a.jpg");
        let secret = secret();
        let value = pack_reference(&secret, &key, &known);
        assert_eq!(unpack_reference(&secret, &key, &value), Some(known));
        for bit in 0..value.len() * 8 {
            let mut other = value.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack_reference(&secret, &key, &other).is_none(), "{bit}");
        }
    }
}
