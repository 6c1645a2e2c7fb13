//! Embeddings: vectors that stand near each other where what they were made of is alike.
//!
//! Owns their number format and arithmetic. It knows neither what was embedded nor which model did it; vectors of different models
//! have nothing to say to each other, and who compares them sees to that.

use std::fmt;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The embedding of an image as a model gives it and as it is kept: f16, nearly of unit length. What is computed with it is
/// [`Embedding::to_unit`], so that an answer does not depend on whether the embedding came from the model or was kept.
#[derive(Clone, PartialEq)]
pub struct Embedding(Arc<[f16]>);

impl Embedding {
    /// The vector at unit length, rounded; `None` for one without a direction: zero, or with a part that is no number.
    pub fn new(vector: Vec<f32>) -> Option<Self> {
        let unit = unit(vector)?;
        Some(Self(unit.into_iter().map(f16::from_f32).collect()))
    }

    /// An embedding of these numbers.
    pub(crate) fn from_halves(halves: impl Iterator<Item = f16>) -> Self {
        Self(halves.collect())
    }

    /// The numbers as they are kept.
    pub fn halves(&self) -> &[f16] {
        &self.0
    }

    /// Its numbers, of which there are as many as the model's embeddings are wide.
    pub fn width(&self) -> usize {
        self.0.len()
    }

    /// The vector, of unit length to the precision of f32.
    pub fn to_unit(&self) -> Vec<f32> {
        let wide = self.0.to_f32_vec();
        // One that was not made here may have no length; then it is near nothing.
        unit(wide).unwrap_or_else(|| vec![0.0; self.0.len()])
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({} wide)", self.0.len())
    }
}

/// The vector at unit length; `None` where it has no direction.
pub(crate) fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let squares = vector.iter().map(|&x| f64::from(x).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for value in &mut vector {
        *value = (f64::from(*value) / length) as f32;
    }
    Some(vector)
}

/// Sums that are kept apart, so that the compiler may compute them side by side. The result is the same on every machine.
const LANES: usize = 16;

/// The dot product of two vectors of one length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_of_unit_length_whatever_it_was_made_of() {
        for vector in [vec![3.0, 4.0], vec![1e-20, 1e-20, 0.0], vec![2.0; 1280]] {
            let unit = Embedding::new(vector).unwrap().to_unit();
            assert!((dot(&unit, &unit) - 1.0).abs() < 1e-6);
        }
        for vector in [vec![], vec![0.0; 4], vec![f32::NAN, 1.0]] {
            assert!(Embedding::new(vector).is_none());
        }
    }

    #[test]
    fn a_dot_product_takes_every_part() {
        for width in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..width).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|x| x * 2.0).sum();
            assert_eq!(dot(&a, &vec![2.0; width]), expected, "{width}");
        }
    }
}
