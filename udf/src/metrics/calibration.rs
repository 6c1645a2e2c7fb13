//! Whether a score means what it says: of the rows with score 0.8, eight of ten are true.

/// Bins of the expected calibration error, of equal width over 0 to 1 (Guo et al. 2017, "On Calibration of Modern Neural
/// Networks", use 15).
pub const CALIBRATION_BINS: usize = 15;

/// Brier score and expected calibration error, summed up row by row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calibration {
    weight: f64,
    squared: f64,
    /// Sum of truth minus score, by bin of the score.
    gap: [f64; CALIBRATION_BINS],
}

impl Calibration {
    /// Adds a row with a score within 0 to 1.
    pub fn push(&mut self, truth: bool, score: f64, weight: f64) {
        let gap = f64::from(u8::from(truth)) - score;
        self.push_sum(score, weight, weight * gap, weight * gap * gap);
    }

    /// Adds rows whose scores are all near `score`: their weight, and the sums of `truth - score` and of its square.
    pub(super) fn push_sum(&mut self, score: f64, weight: f64, gap: f64, squared: f64) {
        let bin = (score * CALIBRATION_BINS as f64) as usize;
        self.weight += weight;
        self.squared += squared;
        // The last bin has its upper end too.
        self.gap[bin.min(CALIBRATION_BINS - 1)] += gap;
    }

    /// Adds what others have summed up.
    pub fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        self.squared += other.squared;
        for (gap, more) in self.gap.iter_mut().zip(other.gap) {
            *gap += more;
        }
    }

    /// Mean squared difference of score and truth, 0 the best; undefined without rows.
    pub fn brier(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.squared / self.weight)
    }

    /// Mean over the rows of the distance between share of true rows and mean score in their bin; undefined without rows.
    pub fn expected_error(&self) -> Option<f64> {
        let gaps: f64 = self.gap.iter().map(|gap| gap.abs()).sum();
        (self.weight > 0.0).then(|| gaps / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let mut rows = Calibration::default();
        rows.push(true, 1.0, 1.0);
        rows.push(false, 0.5, 1.0);
        rows.push(true, 0.5, 2.0);
        // (0 + 0.25 + 2 * 0.25) / 4, and one bin of 3 rows of which 2 are true at a mean score of 0.5.
        assert_eq!(rows.brier(), Some(0.1875));
        assert_eq!(rows.expected_error(), Some(0.125));
        assert_eq!(Calibration::default().brier(), None);
    }
}
