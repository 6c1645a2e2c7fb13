//! Simulated tables: cheap scores of many shapes, and what a dear model says of each row.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How the cheap scores are related to the dear answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Two bell curves, far from each other.
    Apart,
    /// Two bell curves that overlap.
    Overlapping,
    /// Probabilities that are right.
    Calibrated,
    /// Apart, but some yeses look like clear noes.
    Hidden,
    /// Apart, but some noes look like clear yeses.
    Crowded,
    /// A handful of different scores.
    Stepped,
    /// Scores that say nothing.
    Flat,
    /// Scores that say the opposite.
    Inverted,
}

pub(crate) const SHAPES: [Shape; 8] = [
    Shape::Apart,
    Shape::Overlapping,
    Shape::Calibrated,
    Shape::Hidden,
    Shape::Crowded,
    Shape::Stepped,
    Shape::Flat,
    Shape::Inverted,
];

/// A table of one category.
pub(crate) struct Table {
    /// What the scores are like; who only counts broken promises does not ask.
    #[allow(dead_code)]
    pub(crate) shape: Shape,
    pub(crate) scores: Vec<f32>,
    pub(crate) holds: Vec<bool>,
}

impl Table {
    /// The table of a number: shapes in turn, 0.5 % to 50 % yeses, a dear model that is sure of itself or not.
    pub(crate) fn simulated(number: u64, rows: usize) -> Self {
        let mut random = StdRng::seed_from_u64(number ^ 0x5ca1_ab1e);
        let shape = SHAPES[number as usize % SHAPES.len()];
        let frequency = 0.005 * 100f64.powf(random.random::<f64>());
        // A soft one says yes by chance where it is not sure.
        let soft = (number / SHAPES.len() as u64).is_multiple_of(2);
        let logistic = |x: f64| (1.0 / (1.0 + (-x).exp())) as f32;
        let distance = random.random_range(3.0..5.0);
        let (mut scores, mut holds) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for _ in 0..rows {
            let mut yes = random.random::<f64>() < frequency;
            // A standard bell curve (Box and Muller 1958).
            let (far, turn): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
            let noise = (-2.0 * far.ln()).sqrt() * (std::f64::consts::TAU * turn).cos();
            let centred = |distance: f64, yes: bool| distance * (f64::from(yes) - 0.5) + noise;
            let score = match shape {
                Shape::Apart => logistic(centred(distance, yes)),
                Shape::Overlapping => logistic(centred(distance / 2.0, yes)),
                Shape::Calibrated => {
                    // With the mean that yeses have.
                    let probability = random.random::<f64>().powf((1.0 - frequency) / frequency);
                    yes = random.random::<f64>() < probability;
                    probability as f32
                }
                Shape::Hidden => {
                    let hidden = random.random::<f64>() < 0.08;
                    logistic(centred(distance, yes && !hidden))
                }
                Shape::Crowded => {
                    let crowd = random.random::<f64>() < 0.02;
                    logistic(centred(distance, yes || crowd))
                }
                Shape::Stepped => (logistic(centred(distance, yes)) * 12.0).round() / 12.0,
                Shape::Flat => random.random(),
                Shape::Inverted => logistic(-centred(distance, yes)),
            };
            if soft && random.random::<f64>() < 0.01 {
                yes = random.random::<f64>() < frequency;
            }
            scores.push(score);
            holds.push(yes);
        }
        Self {
            shape,
            scores,
            holds,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.scores.len()
    }

    /// All rows in an order by chance.
    pub(crate) fn shuffled(&self, seed: u64) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..self.rows()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.random_range(0..=at));
        }
        order
    }
}

/// What came of a way to choose thresholds on a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Rows that the dear model was asked about.
    pub(crate) asked: usize,
    pub(crate) recall: f64,
    pub(crate) precision: f64,
}

/// The labels of thresholds, where the dear model was asked about the rows between them and those that `sampled` marks.
pub(crate) fn outcome(table: &Table, sampled: &[bool], low: f32, high: f32) -> Outcome {
    let (mut asked, mut found, mut missed, mut mistaken) = (0, 0u64, 0u64, 0u64);
    for ((&score, &holds), &sampled) in table.scores.iter().zip(&table.holds).zip(sampled) {
        let between = score >= low && score < high;
        asked += usize::from(between || sampled);
        let labelled = if between { holds } else { score >= high };
        found += u64::from(holds && labelled);
        missed += u64::from(holds && !labelled);
        mistaken += u64::from(!holds && labelled);
    }
    let share = |of: u64, other: u64| match of + other {
        0 => 1.0,
        all => of as f64 / all as f64,
    };
    Outcome {
        asked,
        recall: share(found, missed),
        precision: share(found, mistaken),
    }
}
