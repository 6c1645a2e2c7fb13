//! Drawing rows: so many of each stratum, each row as likely as the others of its stratum, the same for the same seed.
//!
//! Every row gets a number that looks random and depends on seed, category and place alone; the smallest numbers of a
//! stratum are drawn. One pass keeps no more than may be drawn.

use std::collections::{BTreeMap, BinaryHeap};

use super::strata::Strata;

/// File and row of a place in the table.
pub type Place = (u32, u64);

/// The draw for one category.
#[derive(Debug)]
pub struct Draw {
    strata: Strata,
    most: usize,
    salt: u64,
    sizes: Vec<u64>,
    /// The smallest numbers of each stratum, largest first.
    lowest: Vec<BinaryHeap<(u64, Place)>>,
}

/// What came of a draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    strata: Strata,
    /// Rows of each stratum.
    pub sizes: Vec<u64>,
    /// Rows drawn of each.
    pub drawn: Vec<u64>,
    /// Where they are.
    pub places: Vec<Place>,
}

impl Draw {
    /// Draws at most `wanted` rows for the category of this number.
    pub fn new(strata: Strata, wanted: usize, seed: u64, category: usize) -> Self {
        Self {
            strata,
            most: wanted.max(1),
            salt: mixed(seed ^ mixed(category as u64 + 1)),
            sizes: vec![0; strata.count()],
            lowest: vec![BinaryHeap::new(); strata.count()],
        }
    }

    /// Shows it a row that has an answer.
    pub fn push(&mut self, place: Place, answer: bool, score: Option<f64>) {
        let stratum = self.strata.of(answer, score);
        self.sizes[stratum] += 1;
        let number = mixed(self.salt ^ mixed(u64::from(place.0) << 40 ^ place.1));
        let lowest = &mut self.lowest[stratum];
        if lowest.len() < self.most {
            lowest.push((number, place));
        } else if lowest.peek().is_some_and(|top| (number, place) < *top) {
            lowest.pop();
            lowest.push((number, place));
        }
    }

    /// The rows that are drawn.
    pub fn finish(self) -> Drawn {
        let drawn = self.strata.allocate(self.most as u64, &self.sizes);
        let mut places = Vec::new();
        for (lowest, drawn) in self.lowest.into_iter().zip(&drawn) {
            let lowest = lowest.into_sorted_vec();
            places.extend(
                lowest
                    .into_iter()
                    .take(*drawn as usize)
                    .map(|(_, place)| place),
            );
        }
        Drawn {
            strata: self.strata,
            sizes: self.sizes,
            drawn,
            places,
        }
    }
}

impl Drawn {
    /// How likely a row with this answer and score is drawn for this category; 0 without an answer.
    pub fn probability(&self, answer: Option<bool>, score: Option<f64>) -> f64 {
        let Some(answer) = answer else {
            return 0.0;
        };
        let stratum = self.strata.of(answer, score);
        match self.sizes[stratum] {
            0 => 0.0,
            size => self.drawn[stratum] as f64 / size as f64,
        }
    }
}

/// One over the probability that a row is drawn for any category, each drawing for itself.
pub fn weight(probabilities: impl IntoIterator<Item = f64>) -> f64 {
    let missed: f64 = probabilities.into_iter().map(|p| 1.0 - p).product();
    1.0 / (1.0 - missed)
}

/// All places that are drawn, file by file, ascending.
pub fn places(draws: &[Drawn]) -> BTreeMap<u32, Vec<u64>> {
    let mut all: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (file, row) in draws.iter().flat_map(|drawn| &drawn.places) {
        all.entry(*file).or_default().push(*row);
    }
    for rows in all.values_mut() {
        rows.sort_unstable();
        rows.dedup();
    }
    all
}

/// A number that looks random (SplitMix64, Steele, Lea and Flood 2014).
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use picsift_udf::metrics::Confusion;

    use super::super::strata::By;
    use super::*;

    /// Two categories: answer, score and truth of each row.
    type Row = [(bool, f64, bool); 2];

    /// Scores that are often wrong, so that sampling by them would mislead without weights.
    fn population() -> Vec<Row> {
        let unit = |n: u64| mixed(n) as f64 / u64::MAX as f64;
        (0..2000)
            .map(|row| {
                [0, 1].map(|category| {
                    let score = unit(row * 2 + category).powi(3);
                    let truth = unit(90_000 + row * 2 + category) < 0.1 + 0.6 * score;
                    (score >= 0.5, score, truth)
                })
            })
            .collect()
    }

    fn sample(rows: &[Row], by: By, seed: u64) -> [Confusion; 2] {
        let drawn = [0, 1].map(|category| {
            let strata = Strata { by, threshold: 0.5 };
            let mut draw = Draw::new(strata, 60, seed, category);
            for (place, row) in rows.iter().enumerate() {
                let (answer, score, _) = row[category];
                draw.push((0, place as u64), answer, Some(score));
            }
            draw.finish()
        });
        let mut estimates = [Confusion::default(); 2];
        for place in places(&drawn).into_values().flatten() {
            let row = &rows[place as usize];
            let chances = drawn.iter().zip(row);
            let weight =
                weight(chances.map(|(drawn, row)| drawn.probability(Some(row.0), Some(row.1))));
            for (estimate, (answer, _, truth)) in estimates.iter_mut().zip(row) {
                estimate.count(*truth, *answer, weight);
            }
        }
        estimates
    }

    /// The mean of the estimates over many samples is the count in the whole table: each within four of its standard errors.
    #[test]
    fn weighted_counts_are_unbiased() {
        let rows = population();
        let parts = |counts: &Confusion| {
            [
                counts.true_positive,
                counts.false_positive,
                counts.false_negative,
                counts.true_negative,
            ]
        };
        for by in [By::Random, By::Uncertainty, By::Stratified] {
            let samples: Vec<_> = (0..600).map(|seed| sample(&rows, by, seed)).collect();
            for category in 0..2 {
                let mut whole = Confusion::default();
                for row in &rows {
                    whole.count(row[category].2, row[category].0, 1.0);
                }
                for (part, expected) in parts(&whole).into_iter().enumerate() {
                    let found: Vec<f64> = samples
                        .iter()
                        .map(|sample| parts(&sample[category])[part])
                        .collect();
                    let runs = found.len() as f64;
                    let mean = found.iter().sum::<f64>() / runs;
                    let spread = found.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / runs;
                    let error = (spread / runs).sqrt();
                    assert!(
                        (mean - expected).abs() < 4.0 * error,
                        "{by:?} {category} {part}: {mean} of {expected}, {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_rows_in_any_order() {
        let rows = population();
        let draw = |order: &mut dyn Iterator<Item = usize>, seed| {
            let strata = Strata {
                by: By::Uncertainty,
                threshold: 0.5,
            };
            let mut draw = Draw::new(strata, 50, seed, 0);
            for place in order {
                let (answer, score, _) = rows[place][0];
                draw.push((0, place as u64), answer, Some(score));
            }
            draw.finish()
        };
        let forwards = draw(&mut (0..rows.len()), 1);
        assert_eq!(forwards.places.len(), 50);
        assert_eq!(forwards, draw(&mut (0..rows.len()).rev(), 1));
        assert_ne!(forwards.places, draw(&mut (0..rows.len()), 2).places);
    }
}
