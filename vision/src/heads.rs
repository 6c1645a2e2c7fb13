//! Heads: categories that were taught over a model's embeddings, and the file that holds them.
//!
//! Owns the file's form, what a head is bound to, and the step from an embedding to a probability. How heads are taught is
//! [`crate::learn`]'s, which embeddings there are is the model's. A head says nothing about embeddings of another model: whoever uses one
//! holds [`HeadModel`] against the model at hand first.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::embedding::dot;

/// Most bytes of a file: two thousand heads of the widest embeddings there are.
const MOST_BYTES: u64 = 64 << 20;
/// What the metadata calls the form of the file.
const FORM: &str = "picsift heads 1";
/// The probability from which a taught category holds unless something else is said.
pub const HEAD_THRESHOLD: f32 = 0.5;

/// Whose embeddings a head is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeadModel {
    /// The model's name.
    pub name: String,
    /// Which weights of it.
    pub revision: String,
    /// How its pictures are made: size, cut, and the revision of decoding and resizing.
    pub preprocessing: String,
    /// Numbers of an embedding.
    pub width: usize,
}

impl HeadModel {
    /// Why a head that was taught for this is of no use to `model`; `None` where it is.
    pub fn unlike(&self, model: &Self) -> Option<String> {
        let both = [
            ("model", &self.name, &model.name),
            ("revision", &self.revision, &model.revision),
            ("preprocessing", &self.preprocessing, &model.preprocessing),
        ];
        let differs = both.into_iter().find(|(_, of, now)| of != now);
        match differs {
            Some((what, of, now)) => Some(format!("{what} '{of}', and here it is '{now}'")),
            None if self.width != model.width => Some(format!(
                "embeddings {} wide, and here they are {} wide",
                self.width, model.width
            )),
            None => None,
        }
    }
}

/// What was taught of one category: a probability that is calibrated, of an embedding. Cheap to clone.
#[derive(Clone)]
pub struct Head(Arc<Inner>);

struct Inner {
    category: String,
    model: HeadModel,
    weights: Vec<f32>,
    bias: f32,
    digest: [u8; 32],
}

impl Head {
    /// A head of these weights, as many as the embeddings are wide; `None` where they are not, or one is no finite number.
    pub fn new(category: &str, model: &HeadModel, weights: Vec<f32>, bias: f32) -> Option<Self> {
        let finite = bias.is_finite() && weights.iter().all(|weight| weight.is_finite());
        if !finite || weights.len() != model.width || category.trim().is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for text in [
            FORM,
            category,
            &model.name,
            &model.revision,
            &model.preprocessing,
        ] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        for number in weights.iter().chain([&bias]) {
            hash.update(number.to_le_bytes());
        }
        let digest = hash.finalize();
        Some(Self(Arc::new(Inner {
            category: category.to_owned(),
            model: model.clone(),
            weights,
            bias,
            digest: std::array::from_fn(|at| digest[at]),
        })))
    }

    /// The category that it was taught.
    pub fn category(&self) -> &str {
        &self.0.category
    }

    /// Whose embeddings it is about.
    pub fn model(&self) -> &HeadModel {
        &self.0.model
    }

    /// SHA-256 of all that its answers follow from.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// The same in hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.0.digest)
    }

    /// How probable the category is, 0 to 1, for an embedding of unit length; `None` for one of another width or without a finite answer.
    pub fn probability(&self, unit: &[f32]) -> Option<f32> {
        if unit.len() != self.0.weights.len() {
            return None;
        }
        let logit = f64::from(dot(unit, &self.0.weights)) + f64::from(self.0.bias);
        let probability = (1.0 / (1.0 + (-logit).exp())) as f32;
        probability.is_finite().then_some(probability)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for Head {}

impl Hash for Head {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} {})", self.0.category, self.hex())
    }
}

/// Why a file of heads is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// It cannot be read.
    #[error("cannot read the heads {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is no file of heads.
    #[error("{} holds no heads: {reason}; picsift teach writes such files", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It has none for a category.
    #[error("{} has no head for category '{category}'; it has {known}", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
        /// The category.
        category: String,
        /// Those that it has.
        known: String,
    },
}

/// Heads that were taught together. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    heads: Arc<[Head]>,
    path: PathBuf,
}

impl Heads {
    /// Reads a file of heads.
    ///
    /// # Errors
    /// [`HeadsError`].
    pub fn read(path: &Path) -> Result<Self, HeadsError> {
        let failed = |source| HeadsError::Read {
            path: path.to_owned(),
            source,
        };
        let wrong = |reason: String| HeadsError::Form {
            path: path.to_owned(),
            reason,
        };
        // Asked before it is opened: a pipe that nobody writes to would keep the program waiting.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(wrong("it is no file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(failed)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(wrong(format!("it has more than {MOST_BYTES} bytes")));
        }
        Ok(Self {
            heads: parse(&bytes).map_err(wrong)?.into(),
            path: path.to_owned(),
        })
    }

    /// The head of a category, by its name as it was taught.
    pub fn get(&self, category: &str) -> Option<&Head> {
        self.heads.iter().find(|head| head.category() == category)
    }

    /// The head of a category.
    ///
    /// # Errors
    /// [`HeadsError::Absent`].
    pub fn of(&self, category: &str) -> Result<&Head, HeadsError> {
        self.get(category).ok_or_else(|| HeadsError::Absent {
            path: self.path.clone(),
            category: category.to_owned(),
            known: self.names().join(", "),
        })
    }

    /// The categories, in the order in which they were taught.
    pub fn names(&self) -> Vec<&str> {
        self.heads.iter().map(Head::category).collect()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Heads as the bytes of a file, the same for the same heads. `taught_from` is the digest of what they were taught from.
///
/// The file is safetensors: `weights` of the shape `[categories, width]` and `bias` of `[categories]`, F32, by which a category's
/// probability is `sigmoid(weights . embedding + bias)`; the metadata says whose embeddings these are and which category each row is.
///
/// `None` where there is none, or they are of different models.
pub fn to_bytes(heads: &[Head], taught_from: &str) -> Option<Vec<u8>> {
    let model = heads.first()?.model();
    if heads.iter().any(|head| head.model() != model) {
        return None;
    }
    let names: Vec<&str> = heads.iter().map(Head::category).collect();
    let (count, weights) = (heads.len(), 4 * heads.len() * model.width);
    let header = json!({
        "__metadata__": {
            "form": FORM,
            "model": model.name,
            "revision": model.revision,
            "preprocessing": model.preprocessing,
            "width": model.width.to_string(),
            "categories": serde_json::to_string(&names).ok()?,
            "taught_from": taught_from,
        },
        "weights": {"dtype": "F32", "shape": [count, model.width], "data_offsets": [0, weights]},
        "bias": {"dtype": "F32", "shape": [count], "data_offsets": [weights, weights + 4 * count]},
    });
    let mut header = serde_json::to_string(&header).ok()?;
    // What follows begins at a multiple of eight, as the format wants it.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let weights = heads.iter().flat_map(|head| &head.0.weights);
    for number in weights.chain(heads.iter().map(|head| &head.0.bias)) {
        bytes.extend(number.to_le_bytes());
    }
    Some(bytes)
}

/// The heads of a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Vec<Head>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let empty = HashMap::new();
    let said = metadata.metadata().as_ref().unwrap_or(&empty);
    let text = |key: &str| {
        let found = said.get(key).cloned();
        found.ok_or_else(|| format!("its metadata has no '{key}'"))
    };
    let form = text("form")?;
    if form != FORM {
        return Err(format!(
            "it is of the form '{form}', and this picsift reads '{FORM}'"
        ));
    }
    let width = text("width")?;
    let model = HeadModel {
        name: text("model")?,
        revision: text("revision")?,
        preprocessing: text("preprocessing")?,
        width: width
            .parse()
            .map_err(|_| format!("its width is '{width}'"))?,
    };
    let names: Vec<String> = serde_json::from_str(&text("categories")?)
        .map_err(|error| format!("its categories are no list: {error}"))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let numbers = |name: &str, shape: &[usize]| {
        let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            return Err(format!(
                "its '{name}' is {:?} of shape {:?} where F32 of shape {shape:?} is wanted",
                tensor.dtype(),
                tensor.shape()
            ));
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        Ok(numbers
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect::<Vec<f32>>())
    };
    if names.is_empty() || model.width == 0 {
        return Err("it has no category".to_owned());
    }
    let weights = numbers("weights", &[names.len(), model.width])?;
    let bias = numbers("bias", &[names.len()])?;
    let mut heads: Vec<Head> = Vec::with_capacity(names.len());
    for ((name, weights), bias) in names
        .iter()
        .zip(weights.chunks_exact(model.width))
        .zip(bias)
    {
        if heads.iter().any(|head| head.category() == name) {
            return Err(format!("category '{name}' stands in it twice"));
        }
        let head = Head::new(name, &model, weights.to_vec(), bias);
        let unfit = || format!("the head of '{name}' has no finite weights, or no name");
        heads.push(head.ok_or_else(unfit)?);
    }
    Ok(heads)
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> HeadModel {
        HeadModel {
            name: "m".to_owned(),
            revision: "1".to_owned(),
            preprocessing: "full".to_owned(),
            width: 2,
        }
    }

    fn heads() -> Vec<Head> {
        vec![
            Head::new("scratch", &model(), vec![1.0, -2.0], 0.5).unwrap(),
            Head::new("a \"b\"", &model(), vec![0.0, 3.0], -1.0).unwrap(),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = to_bytes(&heads(), "digest").unwrap();
        assert_eq!(bytes, to_bytes(&heads(), "digest").unwrap());
        let read = parse(&bytes).unwrap();
        assert_eq!(read, heads());
        assert_eq!(read[1].category(), "a \"b\"");
        let said = read[0].probability(&[0.6, 0.8]).unwrap();
        let expected = 1.0 / (1.0 + 0.5_f64.exp());
        assert!((f64::from(said) - expected).abs() < 1e-6, "{said}");
        assert_eq!(read[0].probability(&[1.0; 3]), None);
    }

    #[test]
    fn another_head_is_another() {
        let first = &heads()[0];
        let others = [
            Head::new("scratch", &model(), vec![1.0, -2.0], 0.6),
            Head::new("dent", &model(), vec![1.0, -2.0], 0.5),
            Head::new(
                "scratch",
                &HeadModel {
                    revision: "2".to_owned(),
                    ..model()
                },
                vec![1.0, -2.0],
                0.5,
            ),
        ];
        assert!(others.iter().all(|other| other.as_ref() != Some(first)));
        assert!(Head::new("scratch", &model(), vec![1.0], 0.5).is_none());
        assert!(Head::new("scratch", &model(), vec![1.0, f32::NAN], 0.5).is_none());
    }

    #[test]
    fn what_is_no_file_of_heads_is_refused_with_what_is_wrong() {
        let whole = to_bytes(&heads(), "").unwrap();
        for end in [0, 7, 40, whole.len() - 1] {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        let text = String::from_utf8_lossy(&whole).into_owned();
        let header = text.find("picsift heads 1").unwrap();
        let mut other = whole.clone();
        other[header + 14] = b'2';
        let said = parse(&other).unwrap_err();
        assert!(said.contains("picsift heads 2"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let said = Heads::read(folder.path()).unwrap_err().to_string();
        assert!(said.contains("it is no file"), "{said}");
        let path = folder.path().join("heads.safetensors");
        std::fs::write(&path, &whole).unwrap();
        let read = Heads::read(&path).unwrap();
        let said = read.of("dent").unwrap_err().to_string();
        assert!(said.contains("scratch"), "{said}");
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_nothing_worse() {
        let whole = to_bytes(&heads(), "").unwrap();
        for at in 0..whole.len() {
            for flipped in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flipped;
                if let Ok(read) = parse(&damaged) {
                    assert!(
                        read.iter()
                            .all(|head| head.probability(&[0.6, 0.8]).is_some())
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_head_is_bound_to_is_said() {
        let mut other = model();
        assert_eq!(model().unlike(&other), None);
        other.width = 3;
        assert!(model().unlike(&other).unwrap().contains("3 wide"));
        other.name = "n".to_owned();
        assert!(model().unlike(&other).unwrap().contains("'n'"));
    }
}
