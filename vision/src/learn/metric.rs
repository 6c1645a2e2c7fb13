//! The curvature of a regression, found on some of its examples: with it a fit of all of them takes a few passes instead of a hundred.

use candle_core::{Device, Tensor};

use super::examples::Examples;
use super::logistic::along;
use super::pass::wrong;
use super::problem::{Linear, Problem};
use crate::error::VisionError;

/// A positive matrix as the product of a lower triangle and its mirror image.
#[derive(Debug)]
pub(super) struct Metric {
    size: usize,
    /// The triangle's rows, each of full length.
    rows: Vec<f64>,
}

impl Metric {
    /// The curvature of a problem's objective, over its mass, where `at` is its solution: of the weights, then the intercept. `None` where
    /// the examples are too few to say.
    ///
    /// # Errors
    /// As [`super::fit`].
    pub(super) fn of(
        examples: &Examples,
        problem: &Problem<'_>,
        at: &Linear,
        mean: &[f64],
        penalty: f64,
    ) -> Result<Option<Self>, VisionError> {
        let width = examples.width();
        let size = width + 1;
        let mut sums = vec![0.0_f64; size * size];
        let mut mass = 0.0;
        for first in examples.pieces() {
            let vectors = examples.piece(first);
            let mut scaled = Vec::with_capacity(vectors.len() / width * size);
            for (row, vector) in vectors.chunks_exact(width).enumerate() {
                let Some((_, weight)) = problem.taught(first + row) else {
                    continue;
                };
                mass += f64::from(weight);
                let logit = crate::embedding::dot(vector, &at.weights) + at.bias;
                let probability = 1.0 / (1.0 + f64::from(-logit).exp());
                let root = (f64::from(weight) * probability * (1.0 - probability)).sqrt();
                let mut centred: Vec<f64> = vector
                    .iter()
                    .zip(mean)
                    .map(|(x, m)| f64::from(*x) - m)
                    .collect();
                along(&mut centred, problem.free);
                scaled.extend(centred.into_iter().map(|x| (root * x) as f32));
                scaled.push(root as f32);
            }
            let product = || {
                let rows = scaled.len() / size;
                let scaled = Tensor::from_vec(scaled, (rows, size), &Device::Cpu)?;
                scaled.t()?.matmul(&scaled)?.flatten_all()?.to_vec1::<f32>()
            };
            for (sum, value) in sums.iter_mut().zip(product().map_err(wrong)?) {
                *sum += f64::from(value);
            }
        }
        let mass = mass.max(1e-9);
        for sum in &mut sums {
            *sum /= mass;
        }
        for at in 0..width {
            sums[at * size + at] += penalty;
        }
        Ok(Self::decomposed(sums, size))
    }

    fn decomposed(mut rows: Vec<f64>, size: usize) -> Option<Self> {
        for row in 0..size {
            let (above, from) = rows.split_at_mut(row * size);
            let own = &mut from[..size];
            for column in 0..row {
                let other = &above[column * size..column * size + column + 1];
                let dot: f64 = own[..column].iter().zip(other).map(|(a, b)| a * b).sum();
                own[column] = (own[column] - dot) / other[column];
            }
            let squares: f64 = own[..row].iter().map(|x| x * x).sum();
            let rest = own[row] - squares;
            if rest <= 1e-12 {
                return None;
            }
            own[row] = rest.sqrt();
        }
        Some(Self { size, rows })
    }

    /// What the matrix makes `vector` of, in its place.
    pub(super) fn solve(&self, vector: &mut [f64]) {
        for row in 0..self.size {
            let own = &self.rows[row * self.size..][..=row];
            let dot: f64 = own[..row]
                .iter()
                .zip(&vector[..row])
                .map(|(a, b)| a * b)
                .sum();
            vector[row] = (vector[row] - dot) / own[row];
        }
        for row in (0..self.size).rev() {
            let own = &self.rows[row * self.size..][..=row];
            vector[row] /= own[row];
            let value = vector[row];
            for (rest, part) in vector[..row].iter_mut().zip(own) {
                *rest -= value * part;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_solved() {
        let matrix = vec![4.0, 2.0, 0.5, 2.0, 3.0, 1.0, 0.5, 1.0, 2.0];
        let metric = Metric::decomposed(matrix.clone(), 3).unwrap();
        let mut solved = [1.0, -2.0, 3.0];
        metric.solve(&mut solved);
        for (row, wanted) in matrix.chunks(3).zip([1.0, -2.0, 3.0]) {
            let back: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
            assert!((back - wanted).abs() < 1e-12, "{back} {wanted}");
        }
        assert!(Metric::decomposed(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
