//! The threshold that the truth speaks for: best F1, or most of one figure while the other is kept.

use picsift_udf::metrics::Confusion;
use serde::Serialize;

use super::rows::{Packed, Rows};

/// What a threshold is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The highest F1.
    BestF1,
    /// The highest recall with at least this precision.
    Precision(f64),
    /// The highest precision with at least this recall.
    Recall(f64),
}

impl Goal {
    /// In words.
    pub fn said(self) -> String {
        match self {
            Self::BestF1 => "best F1".to_string(),
            Self::Precision(least) => format!("most recall with a precision of at least {least}"),
            Self::Recall(least) => format!("most precision with a recall of at least {least}"),
        }
    }
}

/// A threshold and what it gives on the rows that it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// Score from which the category holds.
    pub threshold: f32,
    /// Precision there.
    pub precision: f64,
    /// Recall there.
    pub recall: f64,
    /// F1 there.
    pub f1: f64,
}

/// The threshold for sorted rows.
///
/// # Errors
/// Why there is none, in words.
pub fn sweep<K: Packed>(rows: &Rows<K>, goal: Goal) -> Result<Choice, String> {
    if rows.outside > 0 {
        return Err("its scores are not all within 0 to 1".to_string());
    }
    let mut all = Confusion::default();
    for run in rows.runs() {
        all.count(run.truth, false, run.weight * run.rows);
    }
    if all.total() == 0.0 {
        return Err("no row has truth, answer and score".to_string());
    }
    if all.support() == 0.0 {
        return Err("the truth is never yes".to_string());
    }
    let mut best: Option<(Choice, f64)> = None;
    let mut counts = all;
    let mut runs = rows.runs().peekable();
    while let Some(run) = runs.next() {
        let weight = run.weight * run.rows;
        match run.truth {
            true => {
                counts.true_positive += weight;
                counts.false_negative -= weight;
            }
            false => {
                counts.false_positive += weight;
                counts.true_negative -= weight;
            }
        }
        let below = runs.peek().map(|next| next.score);
        if below == Some(run.score) {
            continue;
        }
        let (Some(precision), Some(recall), Some(f1)) =
            (counts.precision(), counts.recall(), counts.f1())
        else {
            continue;
        };
        let worth = match goal {
            Goal::BestF1 => f1,
            Goal::Precision(least) if precision >= least => recall,
            Goal::Recall(least) if recall >= least => precision,
            Goal::Precision(_) | Goal::Recall(_) => continue,
        };
        // Of equals the highest threshold, which says yes the least often.
        if best.is_none_or(|(_, top)| worth > top) {
            let threshold = between(below.unwrap_or(0.0), run.score);
            let choice = Choice {
                threshold,
                precision,
                recall,
                f1,
            };
            best = Some((choice, worth));
        }
    }
    let unreached = || match goal {
        Goal::BestF1 => "no threshold gives an F1".to_string(),
        Goal::Precision(least) => format!("no threshold reaches a precision of {least}"),
        Goal::Recall(least) => format!("no threshold reaches a recall of {least}"),
    };
    best.map(|(choice, _)| choice).ok_or_else(unreached)
}

/// A number above `low` and not above `high`, with as few digits as that takes, near the middle: scores of other rows fall between
/// those of these.
fn between(low: f64, high: f64) -> f32 {
    let middle = (low + high) / 2.0;
    for digits in 1..=9 {
        let scale = 10_f64.powi(digits);
        let rounded = ((middle * scale).round() / scale) as f32;
        if low < f64::from(rounded) && f64::from(rounded) <= high {
            return rounded;
        }
    }
    // Nearest below, so that the row itself still holds.
    let nearest = high as f32;
    match f64::from(nearest) > high {
        true => nearest.next_down(),
        false => nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Row;
    use super::*;

    fn rows(rows: &[(f64, bool)]) -> Rows<u32> {
        let mut all = Rows::default();
        for (score, truth) in rows {
            all.push(Row {
                truth: Some(*truth),
                predicted: Some(false),
                score: Some(*score),
                weight: None,
            });
        }
        all.sort();
        all
    }

    #[test]
    fn each_goal_has_its_threshold() {
        let rows = rows(&[
            (0.95, true),
            (0.9, false),
            (0.8, true),
            (0.7, true),
            (0.4, false),
            (0.3, true),
            (0.1, false),
        ]);
        let best = sweep(&rows, Goal::BestF1).unwrap();
        assert_eq!((best.precision, best.recall), (4.0 / 6.0, 1.0));
        let sure = sweep(&rows, Goal::Precision(1.0)).unwrap();
        assert_eq!((sure.threshold, sure.recall), (0.92, 0.25));
        let wide = sweep(&rows, Goal::Recall(1.0)).unwrap();
        assert_eq!((wide.threshold, wide.precision), (0.2, 4.0 / 6.0));
        let error = sweep(&rows, Goal::Precision(1.1)).unwrap_err();
        assert!(error.contains("no threshold reaches"), "{error}");
    }

    #[test]
    fn a_threshold_parts_neighbours() {
        let high = f32::from_bits(0.5_f32.to_bits() + 1);
        let threshold = between(0.5, high.into());
        assert!(0.5 < threshold && threshold <= high);
        assert_eq!(between(0.2, 0.8), 0.5);
        assert_eq!(between(0.0, 0.0), 0.0);
    }

    #[test]
    fn without_a_true_row_there_is_none() {
        let error = sweep(&rows(&[(0.5, false)]), Goal::BestF1).unwrap_err();
        assert_eq!(error, "the truth is never yes");
    }
}
