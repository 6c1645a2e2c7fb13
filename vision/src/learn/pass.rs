//! One pass over the examples for many functions: what each says, its loss and its gradient.

use candle_core::{Device, Tensor};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::examples::Examples;
use super::problem::{Linear, Problem};
use crate::error::VisionError;

/// Pieces whose sums are held at once.
const TOGETHER: usize = 16;

/// What each function says of each example: a list for each function.
///
/// # Errors
/// As [`super::fit`].
pub fn logits(examples: &Examples, functions: &[Linear]) -> Result<Vec<Vec<f32>>, VisionError> {
    let weights = matrix(functions, examples.width())?;
    let mut all = vec![Vec::with_capacity(examples.len()); functions.len()];
    for first in examples.pieces() {
        let said = product(&vectors(examples, first)?, &weights)?;
        for row in said.chunks_exact(functions.len().max(1)) {
            for ((all, said), function) in all.iter_mut().zip(row).zip(functions) {
                all.push(said + function.bias);
            }
        }
    }
    Ok(all)
}

/// What a pass over the examples gives of one function.
#[derive(Clone, Default)]
pub(super) struct Sums {
    pub(super) loss: f64,
    /// Of the residuals.
    pub(super) residual: f64,
    /// Of the residuals times the vectors.
    pub(super) gradient: Vec<f64>,
}

/// Loss and gradient of all functions, in one pass. The sums are taken in the same order whatever the number of threads.
pub(super) fn pass(
    examples: &Examples,
    asked: &[(Problem<'_>, Linear)],
) -> Result<Vec<Sums>, VisionError> {
    let functions: Vec<Linear> = asked.iter().map(|(_, function)| function.clone()).collect();
    let weights = matrix(&functions, examples.width())?;
    let mut all = vec![
        Sums {
            gradient: vec![0.0; examples.width()],
            ..Sums::default()
        };
        asked.len()
    ];
    let pieces: Vec<usize> = examples.pieces().collect();
    for some in pieces.chunks(TOGETHER) {
        let sums = some
            .par_iter()
            .map(|first| piece(examples, *first, asked, &weights));
        for sums in sums.collect::<Result<Vec<_>, _>>()? {
            let gradients = sums.gradient.chunks_exact(examples.width().max(1));
            for ((all, gradient), (loss, residual)) in all.iter_mut().zip(gradients).zip(&sums.each)
            {
                all.loss += loss;
                all.residual += residual;
                for (sum, value) in all.gradient.iter_mut().zip(gradient) {
                    *sum += f64::from(*value);
                }
            }
        }
    }
    Ok(all)
}

/// A piece's share of the sums.
struct PieceSums {
    /// Loss and residual of each function.
    each: Vec<(f64, f64)>,
    /// The gradients, one function after the other.
    gradient: Vec<f32>,
}

fn piece(
    examples: &Examples,
    first: usize,
    asked: &[(Problem<'_>, Linear)],
    weights: &Tensor,
) -> Result<PieceSums, VisionError> {
    let vectors = vectors(examples, first)?;
    let mut said = product(&vectors, weights)?;
    let mut each = vec![(0.0_f64, 0.0_f64); asked.len()];
    // What was said becomes what is left of it.
    for (row, said) in said.chunks_exact_mut(asked.len().max(1)).enumerate() {
        for ((said, (problem, function)), (loss, residual)) in
            said.iter_mut().zip(asked).zip(&mut each)
        {
            let Some((label, weight)) = problem.taught(first + row) else {
                *said = 0.0;
                continue;
            };
            let logit = *said + function.bias;
            let (label, weight) = (f64::from(label), f64::from(weight));
            let wide = f64::from(logit);
            let small = (-wide.abs()).exp();
            let probability = if wide >= 0.0 { 1.0 } else { small } / (1.0 + small);
            *loss += weight * (wide.max(0.0) + small.ln_1p() - label * wide);
            let left = weight * (probability - label);
            *residual += left;
            *said = left as f32;
        }
    }
    let rows = said.len() / asked.len().max(1);
    let gradient = || {
        let left = Tensor::from_vec(said, (rows, asked.len()), &Device::Cpu)?;
        left.t()?.matmul(&vectors)?.flatten_all()?.to_vec1::<f32>()
    };
    Ok(PieceSums {
        each,
        gradient: gradient().map_err(wrong)?,
    })
}

/// The vectors of a piece as a matrix, a row for each.
fn vectors(examples: &Examples, first: usize) -> Result<Tensor, VisionError> {
    let vectors = examples.piece(first);
    let rows = vectors.len() / examples.width().max(1);
    Tensor::from_vec(vectors, (rows, examples.width()), &Device::Cpu).map_err(wrong)
}

/// The weights of functions as a matrix, a row for each.
fn matrix(functions: &[Linear], width: usize) -> Result<Tensor, VisionError> {
    let weights: Vec<f32> = functions.iter().flat_map(|f| f.weights.clone()).collect();
    Tensor::from_vec(weights, (functions.len(), width), &Device::Cpu).map_err(wrong)
}

/// Every vector with every function's weights, functions side by side.
fn product(vectors: &Tensor, weights: &Tensor) -> Result<Vec<f32>, VisionError> {
    let product = || vectors.matmul(&weights.t()?)?.flatten_all()?.to_vec1();
    product().map_err(wrong)
}

pub(super) fn wrong(error: candle_core::Error) -> VisionError {
    VisionError::tensor("what is taught", "learning")(error)
}
