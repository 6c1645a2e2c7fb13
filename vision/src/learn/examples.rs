//! Embeddings as examples: two bytes a number, in pieces that grow without being moved.

use half::f16;
use half::slice::HalfFloatSliceExt;
use sha2::{Digest, Sha256};

use crate::embedding::{Embedding, dot};

/// Examples of a piece, which one thread takes at a time.
pub(super) const PIECE: usize = 1024;

/// Vectors of one width and unit length, kept as embeddings are.
#[derive(Debug, Default)]
pub struct Examples {
    width: usize,
    pieces: Vec<Vec<f16>>,
    /// What each vector is multiplied by to be of unit length again, which rounding took from it.
    scales: Vec<f32>,
}

impl Examples {
    /// None yet, of so many numbers each.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            ..Self::default()
        }
    }

    /// Adds an embedding; false where it is of another width.
    pub fn push(&mut self, embedding: &Embedding) -> bool {
        if embedding.width() != self.width || self.width == 0 {
            return false;
        }
        self.push_halves(embedding.halves());
        true
    }

    /// Adds a vector of any length; false where it is of another width or has no direction.
    pub fn push_vector(&mut self, vector: &[f32]) -> bool {
        if vector.len() != self.width {
            return false;
        }
        let embedding = Embedding::new(vector.to_vec());
        embedding.is_some_and(|embedding| self.push(&embedding))
    }

    fn push_halves(&mut self, halves: &[f16]) {
        if self.len().is_multiple_of(PIECE) {
            self.pieces
                .push(Vec::with_capacity(PIECE.min(64) * self.width));
        }
        let wide = halves.to_f32_vec();
        let length = f64::from(dot(&wide, &wide)).sqrt();
        self.scales.push(match length > 0.0 {
            true => (1.0 / length) as f32,
            false => 0.0,
        });
        if let Some(piece) = self.pieces.last_mut() {
            if piece.len() == piece.capacity() {
                let rest = PIECE * self.width - piece.len();
                piece.reserve_exact(rest.min(piece.len().max(self.width)));
            }
            piece.extend_from_slice(halves);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The numbers of an example as they are kept; the same for the same picture.
    pub fn halves(&self, example: usize) -> &[f16] {
        let at = example % PIECE * self.width;
        &self.pieces[example / PIECE][at..at + self.width]
    }

    /// SHA-256 of all, in their order.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for piece in &self.pieces {
            let bytes = piece.iter().flat_map(|half| half.to_bits().to_le_bytes());
            hash.update(bytes.collect::<Vec<u8>>());
        }
        let digest = hash.finalize();
        std::array::from_fn(|at| digest[at])
    }

    /// These of them, in this order.
    pub fn some(&self, chosen: &[usize]) -> Self {
        let mut some = Self::new(self.width);
        for example in chosen {
            some.push_halves(self.halves(*example));
        }
        some
    }

    /// Pieces, each with the number of its first example.
    pub(super) fn pieces(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        (0..self.pieces.len()).map(|piece| piece * PIECE)
    }

    /// The vectors of the piece that begins with this example, one after the other, of unit length.
    pub(super) fn piece(&self, first: usize) -> Vec<f32> {
        let halves = &self.pieces[first / PIECE];
        let mut wide = halves.to_f32_vec();
        let scales = &self.scales[first..];
        for (row, scale) in wide.chunks_exact_mut(self.width).zip(scales) {
            for value in row {
                *value *= scale;
            }
        }
        wide
    }

    /// An example as a vector of unit length.
    pub fn unit(&self, example: usize) -> Vec<f32> {
        let scale = self.scales[example];
        let wide = self.halves(example).to_f32_vec();
        wide.into_iter().map(|value| value * scale).collect()
    }

    /// The mean of all, and how far from it they are: the mean of the squared distance.
    pub(super) fn spread(&self) -> (Vec<f64>, f64) {
        let mut sums = vec![0.0_f64; self.width];
        for first in self.pieces() {
            let mut within = vec![0.0_f32; self.width];
            for row in self.piece(first).chunks_exact(self.width) {
                for (sum, value) in within.iter_mut().zip(row) {
                    *sum += value;
                }
            }
            for (sum, value) in sums.iter_mut().zip(within) {
                *sum += f64::from(value);
            }
        }
        let count = self.len().max(1) as f64;
        let mean: Vec<f64> = sums.into_iter().map(|sum| sum / count).collect();
        // They are of unit length.
        let squares: f64 = mean.iter().map(|x| x * x).sum();
        (mean, (1.0 - squares).max(1e-6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_what_was_given_at_unit_length() {
        let mut examples = Examples::new(3);
        let count = PIECE + 5;
        for at in 0..count {
            assert!(examples.push_vector(&[at as f32 + 1.0, 2.0, 0.0]));
        }
        assert!(!examples.push_vector(&[0.0; 3]) && !examples.push_vector(&[1.0; 4]));
        assert_eq!(examples.len(), count);
        for at in [0, PIECE - 1, PIECE, count - 1] {
            let unit = Embedding::new(vec![at as f32 + 1.0, 2.0, 0.0]).unwrap();
            let close = examples.unit(at).into_iter().zip(unit.to_unit());
            assert!(close.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
        }
        let some = examples.some(&[count - 1, 0]);
        assert_eq!(some.unit(1), examples.unit(0));
        assert_eq!(examples.piece(PIECE).len(), 15);
        let (mean, spread) = examples.spread();
        assert!(mean[0] > 0.9 && spread < 0.2, "{mean:?} {spread}");
    }
}
