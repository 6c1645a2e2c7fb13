//! The rows of one category, as little of each as the figures need: score, truth and answer in four bytes.
//!
//! A score within 0 to 1 is a number whose bits order as it does and whose two highest bits are clear, so that truth and answer
//! fit beside it: sorting these numbers sorts the rows. Rows that stand for others have their weight beside them.

use std::collections::BTreeMap;

use picsift_udf::metrics::{Calibration, Cell, CellBuilder, Confusion, Ranking, Tie};
use rayon::slice::ParallelSliceMut;

/// Score, truth and answer in one number that orders by score.
pub trait Packed: Copy + Ord + Send + Sync + 'static {
    /// Packs a score within 0 to 1.
    fn pack(score: f64, truth: bool, predicted: bool) -> Self;
    /// Score, truth and answer.
    fn unpack(self) -> (f64, bool, bool);
}

/// For scores of 32 bits.
impl Packed for u32 {
    fn pack(score: f64, truth: bool, predicted: bool) -> Self {
        ((score as f32).to_bits() << 2) | (u32::from(truth) << 1) | u32::from(predicted)
    }

    fn unpack(self) -> (f64, bool, bool) {
        (
            f32::from_bits(self >> 2).into(),
            self & 2 != 0,
            self & 1 != 0,
        )
    }
}

/// For scores of 64 bits.
impl Packed for u64 {
    fn pack(score: f64, truth: bool, predicted: bool) -> Self {
        (score.to_bits() << 2) | (u64::from(truth) << 1) | u64::from(predicted)
    }

    fn unpack(self) -> (f64, bool, bool) {
        (f64::from_bits(self >> 2), self & 2 != 0, self & 1 != 0)
    }
}

/// What is known of one row of a category.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Whether the category holds.
    pub truth: Option<bool>,
    /// What was answered.
    pub predicted: Option<bool>,
    /// The model's score.
    pub score: Option<f64>,
    /// How many rows of the whole table it stands for; `None` for itself alone.
    pub weight: Option<f64>,
}

/// Rows that count, and how many do not.
#[derive(Debug, Clone)]
pub struct Rows<K> {
    plain: Vec<K>,
    weighted: Vec<(K, f64)>,
    /// Rows with truth and answer but no score, by truth, answer and the bits of their weight.
    unscored: BTreeMap<(bool, bool, u64), u64>,
    /// Rows whose truth is unknown.
    pub without_truth: u64,
    /// Rows with a truth but no answer.
    pub without_answer: u64,
    /// Rows whose score is no number within 0 to 1.
    pub outside: u64,
}

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            weighted: Vec::new(),
            unscored: BTreeMap::new(),
            without_truth: 0,
            without_answer: 0,
            outside: 0,
        }
    }
}

/// Rows that are alike, or one that has a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Their score.
    pub score: f64,
    /// Whether the category holds.
    pub truth: bool,
    /// What was answered.
    pub predicted: bool,
    /// The weight of each.
    pub weight: f64,
    /// How many.
    pub rows: f64,
}

impl<K: Packed> Rows<K> {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        let Some(truth) = row.truth else {
            self.without_truth += 1;
            return;
        };
        let Some(predicted) = row.predicted else {
            self.without_answer += 1;
            return;
        };
        let weight = row.weight.unwrap_or(1.0);
        let Some(score) = row.score.filter(|score| (0.0..=1.0).contains(score)) else {
            self.outside += u64::from(row.score.is_some());
            let alike = (truth, predicted, weight.to_bits());
            *self.unscored.entry(alike).or_default() += 1;
            return;
        };
        // Zero has two signs, of which one orders last.
        let packed = K::pack(score + 0.0, truth, predicted);
        match row.weight {
            None => self.plain.push(packed),
            Some(weight) => self.weighted.push((packed, weight)),
        }
    }

    /// Adds what others have gathered.
    pub fn merge(&mut self, mut other: Self) {
        self.plain.append(&mut other.plain);
        self.weighted.append(&mut other.weighted);
        for (alike, rows) in other.unscored {
            *self.unscored.entry(alike).or_default() += rows;
        }
        self.without_truth += other.without_truth;
        self.without_answer += other.without_answer;
        self.outside += other.outside;
    }

    /// Puts the highest score first, as all that follows wants it.
    pub fn sort(&mut self) {
        self.plain.par_sort_unstable_by(|a, b| b.cmp(a));
        self.weighted
            .sort_unstable_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    }

    /// The rows that have a score, in their order.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let plain = self.plain.chunk_by(|a, b| a == b);
        let plain = plain.map(|alike| run(alike[0], 1.0, alike.len() as f64));
        let weighted = self.weighted.chunk_by(|a, b| a == b);
        // A table has weights for all of its rows or for none.
        let weighted = weighted.map(|alike| run(alike[0].0, alike[0].1, alike.len() as f64));
        plain.chain(weighted)
    }

    /// How many rows have truth, answer and score.
    pub fn scored(&self) -> u64 {
        (self.plain.len() + self.weighted.len()) as u64
    }

    /// How many rows have truth and answer, but no score.
    pub fn without_score(&self) -> u64 {
        self.unscored.values().sum()
    }

    /// Those rows: truth, answer, the weight of each, and how many are alike.
    fn unscored(&self) -> impl Iterator<Item = (bool, bool, f64, f64)> {
        let alike = self.unscored.iter();
        alike.map(|((truth, predicted, weight), rows)| {
            (*truth, *predicted, f64::from_bits(*weight), *rows as f64)
        })
    }

    /// All that the figures need, in one pass over sorted rows.
    pub fn summary(&self) -> Summary {
        let (mut confusion, mut ranking) = (Confusion::default(), Ranking::default());
        for (truth, predicted, weight, rows) in self.unscored() {
            confusion.count(truth, predicted, weight * rows);
        }
        let mut calibration = Calibration::default();
        let (mut tie, mut last) = (Tie::default(), f64::NAN);
        for run in self.runs() {
            let weight = run.weight * run.rows;
            confusion.count(run.truth, run.predicted, weight);
            calibration.push(run.truth, run.score, weight);
            if run.score != last {
                ranking.push(std::mem::take(&mut tie));
                last = run.score;
            }
            *match run.truth {
                true => &mut tie.positive,
                false => &mut tie.negative,
            } += weight;
        }
        ranking.push(tie);
        Summary {
            confusion,
            ranking,
            calibration,
        }
    }

    /// The rows in groups that are drawn together.
    pub fn cells(&self) -> Vec<Cell> {
        let (mut positive, mut negative) = (0.0, 0.0);
        for run in self.runs() {
            *match run.truth {
                true => &mut positive,
                false => &mut negative,
            } += run.rows;
        }
        let mut cells = CellBuilder::new(positive, negative);
        for run in self.runs() {
            cells.push(
                Some(run.score),
                run.truth,
                run.predicted,
                run.weight,
                run.rows,
            );
        }
        for (truth, predicted, weight, rows) in self.unscored() {
            cells.push(None, truth, predicted, weight, rows);
        }
        cells.finish()
    }
}

fn run(packed: impl Packed, weight: f64, rows: f64) -> Run {
    let (score, truth, predicted) = packed.unpack();
    Run {
        score,
        truth,
        predicted,
        weight,
        rows,
    }
}

/// What a pass over the rows gives.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// Answers against truth, of all rows.
    pub confusion: Confusion,
    /// Scores in their order.
    pub ranking: Ranking,
    /// Scores against truth.
    pub calibration: Calibration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_a_row_and_its_order() {
        let scores = [0.0, f64::from(f32::MIN_POSITIVE), 0.25, 0.5, 1.0];
        for pair in scores.windows(2) {
            assert!(u32::pack(pair[0], true, true) < u32::pack(pair[1], false, false));
            assert!(u64::pack(pair[0], true, true) < u64::pack(pair[1], false, false));
        }
        for score in scores {
            for (truth, predicted) in [(false, false), (false, true), (true, false), (true, true)] {
                let row = (score, truth, predicted);
                assert_eq!(u32::pack(score, truth, predicted).unpack(), row);
                assert_eq!(u64::pack(score, truth, predicted).unpack(), row);
            }
        }
    }

    #[test]
    fn rows_that_do_not_count_are_counted() {
        let mut rows = Rows::<u32>::default();
        let mut push = |truth, predicted, score| {
            rows.push(Row {
                truth,
                predicted,
                score,
                weight: None,
            });
        };
        push(None, Some(true), Some(0.5));
        push(Some(true), None, None);
        push(Some(true), Some(true), None);
        push(Some(false), Some(true), Some(1.5));
        push(Some(false), Some(true), Some(f64::NAN));
        push(Some(true), Some(false), Some(-0.0));
        push(Some(false), Some(false), Some(0.0));
        rows.sort();
        assert_eq!((rows.without_truth, rows.without_answer), (1, 1));
        assert_eq!((rows.outside, rows.scored()), (2, 2));
        let summary = rows.summary();
        assert_eq!(summary.confusion.total(), 5.0);
        assert_eq!(summary.confusion.false_positive, 2.0);
        // Zero is one score, whatever its sign.
        assert_eq!(summary.ranking.roc_auc(), Some(0.5));
    }
}
