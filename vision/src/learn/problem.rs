//! What a regression is asked: labels, which of them are taught, and how strong its weights may be.

use super::examples::Examples;

/// What is true of each example of a category, and how much each counts.
#[derive(Debug, Clone)]
pub struct Labels {
    labels: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl Labels {
    /// Labels from 0 to 1, or NaN where nothing is known; weights are positive and brought to a mean of 1.
    pub fn new(labels: Vec<f32>, weights: Option<Vec<f32>>) -> Self {
        let weights = weights.map(|mut weights| {
            let known = labels
                .iter()
                .zip(&weights)
                .filter(|(label, _)| !label.is_nan());
            let (mut sum, mut count) = (0.0_f64, 0.0_f64);
            for (_, weight) in known {
                sum += f64::from(*weight);
                count += 1.0;
            }
            let scale = if sum > 0.0 { count / sum } else { 1.0 };
            for weight in &mut weights {
                *weight = (f64::from(*weight) * scale) as f32;
            }
            weights
        });
        Self { labels, weights }
    }

    /// The label of an example, where it is known.
    pub fn of(&self, example: usize) -> Option<f32> {
        let label = self.labels.get(example).copied();
        label.filter(|label| !label.is_nan())
    }

    /// How much an example counts.
    pub fn weight(&self, example: usize) -> f32 {
        let weights = self.weights.as_ref();
        weights
            .and_then(|weights| weights.get(example).copied())
            .unwrap_or(1.0)
    }

    /// Whether examples count differently.
    pub fn is_weighted(&self) -> bool {
        self.weights.is_some()
    }

    /// Whether each is yes or no, nothing between.
    pub fn are_hard(&self) -> bool {
        let between = |label: &f32| *label > 0.0 && *label < 1.0;
        !self.labels.iter().any(between)
    }

    /// Of how many something is known.
    pub fn known(&self) -> usize {
        self.labels.iter().filter(|label| !label.is_nan()).count()
    }
}

/// One regression.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// What is true.
    pub labels: &'a Labels,
    /// The part of each example, and which parts are taught; `None` for all.
    pub parts: Option<(&'a [u8], u32)>,
    /// scikit-learn's `C`.
    pub strength: f64,
    /// Directions of unit length, at right angles to each other, that are penalised less.
    pub free: &'a [Vec<f32>],
}

impl Problem<'_> {
    /// Sum of the weights of what is taught.
    pub(super) fn mass(&self, examples: &Examples) -> f64 {
        let taught = (0..examples.len()).filter_map(|example| self.taught(example));
        let mass: f64 = taught.map(|(_, weight)| f64::from(weight)).sum();
        mass.max(1e-9)
    }

    /// Label and weight of an example that is taught.
    pub(super) fn taught(&self, example: usize) -> Option<(f32, f32)> {
        let label = self.labels.of(example)?;
        match self.parts {
            Some((parts, mask)) if mask >> parts[example] & 1 == 0 => None,
            _ => Some((label, self.labels.weight(example))),
        }
    }
}

/// A linear function of a vector of unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// What each number is multiplied by.
    pub weights: Vec<f32>,
    /// What is added.
    pub bias: f32,
}
