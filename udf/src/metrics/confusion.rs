//! Yes and no answers against the truth.

use std::ops::{Add, AddAssign};

/// The weights of the rows by truth and answer; each row weighs 1 unless it stands for others. Counts are exact to 2^53.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Confusion {
    /// True, and answered yes.
    pub true_positive: f64,
    /// False, but answered yes.
    pub false_positive: f64,
    /// True, but answered no.
    pub false_negative: f64,
    /// False, and answered no.
    pub true_negative: f64,
}

impl Confusion {
    /// Counts a row of this weight.
    pub fn count(&mut self, truth: bool, predicted: bool, weight: f64) {
        *match (truth, predicted) {
            (true, true) => &mut self.true_positive,
            (false, true) => &mut self.false_positive,
            (true, false) => &mut self.false_negative,
            (false, false) => &mut self.true_negative,
        } += weight;
    }

    /// Weight of the rows for which the truth is yes.
    pub fn support(&self) -> f64 {
        self.true_positive + self.false_negative
    }

    /// Weight of the rows that were answered yes.
    pub fn predicted(&self) -> f64 {
        self.true_positive + self.false_positive
    }

    /// Weight of all rows.
    pub fn total(&self) -> f64 {
        self.support() + self.false_positive + self.true_negative
    }

    /// Of the rows answered yes the share that is true; undefined without any.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.predicted())
    }

    /// Of the true rows the share answered yes; undefined without any.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.support())
    }

    /// Of the false rows the share answered no; undefined without any.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negative, self.false_positive + self.true_negative)
    }

    /// Harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`; undefined when no row is true or answered yes.
    pub fn f1(&self) -> Option<f64> {
        ratio(2.0 * self.true_positive, self.support() + self.predicted())
    }

    /// Mean of recall and specificity; undefined unless there are true and false rows.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.recall()? + self.specificity()?) / 2.0)
    }
}

impl AddAssign for Confusion {
    fn add_assign(&mut self, other: Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }
}

impl Add for Confusion {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let counts = Confusion {
            true_positive: 6.0,
            false_positive: 2.0,
            false_negative: 3.0,
            true_negative: 9.0,
        };
        assert_eq!(counts.precision(), Some(0.75));
        assert_eq!(counts.recall(), Some(6.0 / 9.0));
        assert_eq!(counts.f1(), Some(12.0 / 17.0));
        assert_eq!(
            counts.balanced_accuracy(),
            Some((6.0 / 9.0 + 9.0 / 11.0) / 2.0)
        );
    }

    #[test]
    fn a_ratio_over_nothing_is_undefined() {
        let mut counts = Confusion::default();
        assert_eq!(counts.f1(), None);
        counts.count(true, false, 1.0);
        assert_eq!(counts.precision(), None);
        assert_eq!(counts.recall(), Some(0.0));
        assert_eq!(counts.balanced_accuracy(), None);
        assert_eq!(counts.f1(), Some(0.0));
    }
}
