//! Where a figure lies with 95 % confidence.

use serde::{Deserialize, Serialize};

/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Wilson's score interval for a share of `successes` in `trials` (Wilson 1927; Brown, Cai and DasGupta 2001 advise it), which
/// holds for few trials and for shares near 0 and 1 too; undefined without a trial.
pub fn wilson(successes: f64, trials: f64) -> Option<Interval> {
    if trials <= 0.0 {
        return None;
    }
    let share = successes / trials;
    let scale = 1.0 + Z * Z / trials;
    let centre = (share + Z * Z / (2.0 * trials)) / scale;
    let half =
        Z / scale * (share * (1.0 - share) / trials + Z * Z / (4.0 * trials * trials)).sqrt();
    // At the ends it holds the share itself, which rounding may miss.
    Some(Interval {
        low: (centre - half).clamp(0.0, share),
        high: (centre + half).clamp(share, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_published() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263.
        let interval = wilson(81.0, 263.0).unwrap();
        assert!((interval.low - 0.2553).abs() < 5e-5, "{interval:?}");
        assert!((interval.high - 0.3662).abs() < 5e-5, "{interval:?}");
        assert_eq!(wilson(0.0, 10.0).unwrap().low, 0.0);
        assert_eq!(wilson(10.0, 10.0).unwrap().high, 1.0);
        assert_eq!(wilson(0.0, 0.0), None);
    }
}
