//! How a column is made of what became of its rows' images.
//!
//! Owns the types alone; which function has which kernel is the functions' to say.

use arrow::array::ArrayRef;
use bytes::Bytes;
use datafusion::common::Result;
use picsift_images::ImageInfo;
use picsift_vision::Embedding;

use crate::functions::labelling::{Labelling, RowPrediction};
use crate::pipeline::outcome::Outcome;

/// Scores of each row's categories, and what people said of them, to a column.
pub(crate) type ScoresKernel = fn(&Labelling, &[RowPrediction]) -> Result<ArrayRef>;

/// The step from rows to a column: one value a row, in their order. What it takes says what has to be found out about an image.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    /// The encoded file.
    Bytes(fn(&[Outcome<Bytes>]) -> Result<ArrayRef>),
    /// What its header says.
    Info(fn(&[Outcome<ImageInfo>]) -> Result<ArrayRef>),
    /// The scores of a labelling's categories, in their order.
    Scores(ScoresKernel),
    /// The model's words.
    Texts(fn(&[Outcome<String>]) -> Result<ArrayRef>),
    /// The model's embedding of the image, and how wide those are.
    Embeddings(fn(&[Outcome<Embedding>], usize) -> Result<ArrayRef>, usize),
}
