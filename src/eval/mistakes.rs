//! Which answers were most wrong: the surest of those that the truth denies.

use std::cmp::Ordering;

use serde::Serialize;

/// An answer that the truth denies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    /// What the row's image is called.
    pub key: Option<String>,
    /// What is true.
    pub truth: bool,
    /// What was answered.
    pub predicted: bool,
    /// The model's score, where there is one.
    pub score: Option<f64>,
}

impl Mistake {
    /// How sure the wrong answer was, 0 to 1.
    fn sureness(&self) -> f64 {
        match (self.score, self.predicted) {
            (Some(score), true) => score,
            (Some(score), false) => 1.0 - score,
            (None, _) => 0.0,
        }
    }

    /// Surest first; of equals by their keys, so that the order of the rows does not matter.
    fn order(&self, other: &Self) -> Ordering {
        other
            .sureness()
            .total_cmp(&self.sureness())
            .then_with(|| self.key.cmp(&other.key))
    }
}

/// The worst so far, at most `most`.
#[derive(Debug, Clone)]
pub struct Worst {
    most: usize,
    kept: Vec<Mistake>,
}

impl Worst {
    /// Keeps so many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            kept: Vec::new(),
        }
    }

    /// Adds one if it is among the worst; `key` is only made then.
    pub fn push(
        &mut self,
        truth: bool,
        predicted: bool,
        score: Option<f64>,
        key: impl FnOnce() -> Option<String>,
    ) {
        let mut mistake = Mistake {
            key: None,
            truth,
            predicted,
            score,
        };
        let full = self.kept.len() == self.most;
        if self.most == 0
            || full
                && self
                    .kept
                    .last()
                    .is_some_and(|last| last.sureness() > mistake.sureness())
        {
            return;
        }
        mistake.key = key();
        let place = self
            .kept
            .partition_point(|kept| kept.order(&mistake) != Ordering::Greater);
        self.kept.insert(place, mistake);
        self.kept.truncate(self.most);
    }

    /// Adds what others have kept.
    pub fn merge(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.kept.sort_by(Mistake::order);
        self.kept.truncate(self.most);
    }

    /// The worst, surest first.
    pub fn finish(self) -> Vec<Mistake> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_are_kept_whatever_the_order() {
        let rows: [(&str, bool, f64); 5] = [
            ("a", true, 0.6),
            ("b", false, 0.1),
            ("c", true, 0.95),
            ("d", false, 0.4),
            ("e", true, 0.9),
        ];
        let kept = |rows: &[(&str, bool, f64)]| {
            let mut worst = Worst::new(3);
            for (key, predicted, score) in rows {
                worst.push(!predicted, *predicted, Some(*score), || {
                    Some(key.to_string())
                });
            }
            worst
        };
        let keys = |worst: Worst| {
            let keys = worst.finish().into_iter().filter_map(|mistake| mistake.key);
            keys.collect::<Vec<_>>()
        };
        assert_eq!(keys(kept(&rows)), ["c", "b", "e"]);
        let reversed: Vec<_> = rows.iter().rev().copied().collect();
        assert_eq!(keys(kept(&reversed)), ["c", "b", "e"]);
        let mut halves = kept(&rows[..2]);
        halves.merge(kept(&rows[2..]));
        assert_eq!(keys(halves), ["c", "b", "e"]);
    }
}
