//! Tensors of a checkpoint by name, with errors that name file, tensor, found and expected shape.
//!
//! Owns the memory map for as long as a model is being loaded, no longer: what a model keeps is its own copy in its own
//! number format. Which tensors a model has, and what they are called, is the model's to know.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use candle_core::safetensors::{Load, MmapedSafetensors, SliceSafetensors};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::tensor::TensorView;

use crate::error::{VisionError, without_backtrace};

/// Most bytes of the list of tensors: some 50,000 of them, a hundred times what a model has.
const MOST_HEADER: u64 = 8 << 20;

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be opened, or is cut short or no safetensors file.
    #[error("{file} is not a whole safetensors file: {source}")]
    File {
        /// The file.
        file: String,
        /// What the reader says.
        #[source]
        source: Box<candle_core::Error>,
    },
    /// The list of tensors before them is longer than that of any model.
    #[error(
        "{file} is no checkpoint of a model: its list of tensors has {bytes} bytes, at most {limit} are possible"
    )]
    Header {
        /// The file.
        file: String,
        /// Bytes of the list.
        bytes: u64,
        /// How many it may have.
        limit: u64,
    },
    /// The tensors are those of another model or revision.
    #[error(
        "{file} has a layout that is not known (its first tensor is '{tensor}'); known are {known}"
    )]
    Layout {
        /// The file.
        file: String,
        /// A tensor that shows it.
        tensor: String,
        /// The checkpoints that can be loaded.
        known: &'static str,
    },
    /// A tensor that the model needs is not there.
    #[error(
        "{file} has no tensor '{tensor}', which should be of shape {expected:?}; the checkpoint is incomplete or of another revision"
    )]
    Missing {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "tensor '{tensor}' in {file} has shape {found:?}, but config.json calls for {expected:?}"
    )]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor is of a type that holds no weights, or could not be brought to the device.
    #[error("tensor '{tensor}' in {file} cannot be used: {source}")]
    Tensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The tensor library's reason.
        #[source]
        source: Box<candle_core::Error>,
    },
}

impl From<CheckpointError> for VisionError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(Arc::new(error))
    }
}

/// What reading from a checkpoint gives.
pub type Read<T> = Result<T, CheckpointError>;

/// An open checkpoint.
pub struct Checkpoint<'a> {
    name: String,
    source: Source<'a>,
}

enum Source<'a> {
    Mapped(MmapedSafetensors),
    Bytes(SliceSafetensors<'a>),
    Random(u64),
}

impl<'a> Checkpoint<'a> {
    /// Maps a safetensors file.
    ///
    /// # Errors
    /// [`CheckpointError::File`] when it cannot be opened, or is cut short or something else.
    pub fn open(path: &Path) -> Read<Self> {
        let name = path.display().to_string();
        let mut first = [0; 8];
        // A file that cannot be read, or has less, is the library's to name.
        if let Ok(mut file) = std::fs::File::open(path)
            && file.read_exact(&mut first).is_ok()
        {
            check_header(&name, first, file.metadata().map_or(0, |found| found.len()))?;
        }
        // SAFETY: the map is read while the model is loaded and then closed. A file that another program cuts short
        // meanwhile ends this process, as it does for every program that maps its weights; the cache of the hub writes
        // files whole and never changes them.
        match unsafe { MmapedSafetensors::new(path) } {
            Ok(mapped) => Ok(Self {
                name,
                source: Source::Mapped(mapped),
            }),
            Err(source) => Err(CheckpointError::File {
                file: name,
                source: Box::new(without_backtrace(source)),
            }),
        }
    }

    /// A checkpoint in memory; `name` stands for its file in errors.
    ///
    /// # Errors
    /// [`CheckpointError::File`] when the bytes are no safetensors file.
    pub fn from_bytes(name: &str, bytes: &'a [u8]) -> Read<Self> {
        if let Some(first) = bytes.first_chunk() {
            check_header(name, *first, bytes.len() as u64)?;
        }
        match SliceSafetensors::new(bytes) {
            Ok(tensors) => Ok(Self {
                name: name.to_owned(),
                source: Source::Bytes(tensors),
            }),
            Err(source) => Err(CheckpointError::File {
                file: name.to_owned(),
                source: Box::new(without_backtrace(source)),
            }),
        }
    }

    /// A checkpoint that has every tensor that is asked for, of small random numbers: for measuring how
    /// fast a model of some size is, where its weights are not at hand.
    pub fn random(seed: u64) -> Self {
        Self {
            name: "random weights".to_owned(),
            source: Source::Random(seed),
        }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its tensors are made as they are asked for.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self.source, Source::Random(_))
    }

    /// The error of a checkpoint that is none of the `known` ones.
    pub(crate) fn unknown(&self, known: &'static str) -> CheckpointError {
        CheckpointError::Layout {
            file: self.name.clone(),
            tensor: self.first_tensor(),
            known,
        }
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        self.view(tensor).map(|view| view.shape().to_vec())
    }

    /// A tensor in the number format and on the device that are wanted.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is not there, has another shape, or cannot be converted or copied.
    pub fn tensor(
        &self,
        tensor: &str,
        expected: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Read<Tensor> {
        if let Source::Random(seed) = self.source {
            return random(seed, tensor, expected)
                .and_then(|values| values.to_device(device)?.to_dtype(dtype))
                .map_err(|source| self.unusable(tensor, source));
        }
        let view = self.expect(tensor, expected)?;
        // The conversion runs where the weights will be: half the bytes to move when the file has 16 bits.
        view.load(device)
            .and_then(|loaded| loaded.to_dtype(dtype))
            .map_err(|source| self.unusable(tensor, source))
    }

    /// Rows of a matrix in the order of their numbers, `[rows, columns]`: no others are read of the file.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`], and for a number that is no row.
    pub(crate) fn rows(
        &self,
        tensor: &str,
        (height, width): (usize, usize),
        rows: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Read<Tensor> {
        let gathered = || -> candle_core::Result<Tensor> {
            if let Source::Random(seed) = self.source {
                let rows = rows.iter().map(|&row| {
                    let seed = seed.wrapping_add(u64::from(row));
                    random(seed, tensor, &[1, width])
                });
                return Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0);
            }
            let Some(view) = self.view(tensor) else {
                candle_core::bail!("it is not there")
            };
            let dtype = DType::try_from(view.dtype())?;
            let bytes = width * dtype.size_in_bytes();
            let mut data = Vec::with_capacity(rows.len() * bytes);
            for &row in rows {
                let start = row as usize * bytes;
                match view.data().get(start..start + bytes) {
                    Some(row) => data.extend_from_slice(row),
                    None => candle_core::bail!("it has no row {row}"),
                }
            }
            Tensor::from_raw_buffer(&data, dtype, &[rows.len(), width], &Device::Cpu)
        };
        if !self.is_random() {
            self.expect(tensor, &[height, width])?;
        }
        gathered()
            .and_then(|rows| rows.to_device(device)?.to_dtype(dtype))
            .map_err(|source| self.unusable(tensor, source))
    }

    /// The number format that a tensor has in the file, if it is there and of one that the tensor library knows.
    pub fn dtype(&self, tensor: &str) -> Option<DType> {
        DType::try_from(self.view(tensor)?.dtype()).ok()
    }

    /// Numbers in all tensors of the file; 0 where they are made as they are asked for.
    pub(crate) fn elements(&self) -> u64 {
        let names = match &self.source {
            Source::Mapped(tensors) => tensors.tensors(),
            Source::Bytes(tensors) => tensors.tensors(),
            Source::Random(_) => Vec::new(),
        };
        let count = |shape: &[usize]| shape.iter().map(|&size| size as u64).product::<u64>();
        names.iter().map(|(_, view)| count(view.shape())).sum()
    }

    /// The error of a tensor that the tensor library could not use.
    pub(crate) fn unusable(&self, tensor: &str, source: candle_core::Error) -> CheckpointError {
        CheckpointError::Tensor {
            file: self.name.clone(),
            tensor: tensor.to_owned(),
            source: Box::new(without_backtrace(source)),
        }
    }

    /// A tensor of this shape in the file.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`] or [`CheckpointError::Shape`].
    pub(crate) fn expect(&self, tensor: &str, expected: &[usize]) -> Read<TensorView<'_>> {
        let view = self.view(tensor).ok_or_else(|| CheckpointError::Missing {
            file: self.name.clone(),
            tensor: tensor.to_owned(),
            expected: expected.to_vec(),
        })?;
        if view.shape() != expected {
            return Err(CheckpointError::Shape {
                file: self.name.clone(),
                tensor: tensor.to_owned(),
                found: view.shape().to_vec(),
                expected: expected.to_vec(),
            });
        }
        Ok(view)
    }

    /// A tensor in the file.
    fn view(&self, tensor: &str) -> Option<TensorView<'_>> {
        match &self.source {
            Source::Mapped(tensors) => tensors.get(tensor).ok(),
            Source::Bytes(tensors) => tensors.get(tensor).ok(),
            Source::Random(_) => None,
        }
    }

    fn first_tensor(&self) -> String {
        let names = match &self.source {
            Source::Mapped(tensors) => tensors.tensors(),
            Source::Bytes(tensors) => tensors.tensors(),
            Source::Random(_) => Vec::new(),
        };
        names
            .into_iter()
            .map(|(name, _)| name)
            .min()
            .unwrap_or_else(|| "none at all".to_owned())
    }
}

/// Refuses a list of tensors that would take much memory to read; its length stands first. One that is longer than the file is none.
fn check_header(file: &str, first: [u8; 8], whole: u64) -> Read<()> {
    match u64::from_le_bytes(first) {
        bytes if bytes > MOST_HEADER && bytes <= whole => Err(CheckpointError::Header {
            file: file.to_owned(),
            bytes,
            limit: MOST_HEADER,
        }),
        _ => Ok(()),
    }
}

/// Small random numbers: weights between -0.04 and 0.04, vectors (biases and the scales of norms) around 0.5.
fn random(seed: u64, tensor: &str, shape: &[usize]) -> candle_core::Result<Tensor> {
    /// Values that one task makes.
    const CHUNK: usize = 1 << 16;
    let start = tensor
        .bytes()
        .fold(seed, |hash, byte| hash.rotate_left(7) ^ u64::from(byte));
    let centre = if shape.len() == 1 { 0.5 } else { 0.0 };
    let mut values = vec![0_f32; shape.iter().product()];
    values
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(index, values)| {
            // Xorshift (Marsaglia 2003) from a state of its own for each chunk.
            let mut state = start
                .wrapping_add(index as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                | 1;
            for value in values {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *value = centre + 0.08 * ((state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5);
            }
        });
    Tensor::from_vec(values, shape, &Device::Cpu)
}
