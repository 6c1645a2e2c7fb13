//! Whether the rows at hand are still like those that the thresholds were made of, by an audit of what the cheap model decides.
//!
//! A threshold that keeps its promise leaves a known share of mistakes among what it decides. Where an audit finds so many that this share
//! is improbable, the threshold moves past all mistakes that were found.

use super::binomial::at_most;
use super::{Promise, Thresholds};

/// Probability at which a look at an audit takes chance for drift.
const RISK: f64 = 0.001;

/// The share of noes that the promise allows to be wrong, as the sample has it.
pub fn allowed_missed(found: &Thresholds, promise: &Promise) -> f64 {
    let recall = promise.recall.unwrap_or(1.0);
    share((1.0 - recall) * found.held as f64, found.below)
}

/// The share of yeses that the promise allows to be wrong, as the sample has it.
pub fn allowed_mistaken(found: &Thresholds, promise: &Promise) -> f64 {
    let precision = promise.precision.unwrap_or(1.0);
    share(
        (1.0 / precision - 1.0) * (found.held - found.missed) as f64,
        found.above,
    )
}

/// Whether so many wrong of so many audited are too many for a share that is allowed.
pub fn is_drift(wrong: u64, audited: u64, allowed: f64) -> bool {
    if wrong == 0 || allowed >= 1.0 {
        return false;
    }
    // Chances below any that a sample can tell are not nothing.
    1.0 - at_most(wrong - 1, audited, allowed.max(1e-6)) < RISK
}

fn share(wrong: f64, all: u64) -> f64 {
    (wrong / all.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_no_drift_and_many_mistakes_are() {
        assert!(!is_drift(0, 1000, 0.01));
        assert!(!is_drift(14, 1000, 0.01));
        assert!(is_drift(30, 1000, 0.01));
        assert!(!is_drift(1, 1, 1.0));
        assert!(is_drift(2, 10, 0.0));
    }
}
