//! How well scores put true rows before false ones, whatever the threshold.

/// The rows of one score.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tie {
    /// Weight of those that are true.
    pub positive: f64,
    /// Weight of those that are false.
    pub negative: f64,
}

/// Average precision and ROC AUC, summed up while rows come from the highest score to the lowest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ranking {
    positive: f64,
    negative: f64,
    /// Sum of the precision at each score, times the positives there.
    precision: f64,
    /// Area under the curve of positives over negatives, in weight squared.
    area: f64,
}

impl Ranking {
    /// The ranking of `ties`, highest score first.
    pub fn of(ties: impl IntoIterator<Item = Tie>) -> Self {
        let mut ranking = Self::default();
        for tie in ties {
            ranking.push(tie);
        }
        ranking
    }

    /// Adds the rows of the next lower score.
    pub fn push(&mut self, tie: Tie) {
        // Ties count half, as the trapezoidal rule has it.
        self.area += tie.negative * (self.positive + tie.positive / 2.0);
        self.positive += tie.positive;
        self.negative += tie.negative;
        if tie.positive > 0.0 {
            self.precision += tie.positive * self.positive / (self.positive + self.negative);
        }
    }

    /// Sum over the scores of precision times the recall gained, `sum (R_n - R_(n-1)) P_n`; undefined without a true row.
    pub fn average_precision(&self) -> Option<f64> {
        (self.positive > 0.0).then(|| self.precision / self.positive)
    }

    /// Probability that a true row has a higher score than a false one, ties counting half; undefined unless there are both.
    pub fn roc_auc(&self) -> Option<f64> {
        (self.positive > 0.0 && self.negative > 0.0)
            .then(|| self.area / (self.positive * self.negative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tie(positive: u32, negative: u32) -> Tie {
        Tie {
            positive: positive.into(),
            negative: negative.into(),
        }
    }

    #[test]
    fn figures_by_hand() {
        // Scores 0.9 true, 0.8 false, 0.7 true and false, 0.1 false.
        let ranking = Ranking::of([tie(1, 0), tie(0, 1), tie(1, 1), tie(0, 1)]);
        assert_eq!(ranking.average_precision(), Some((1.0 + 2.0 / 4.0) / 2.0));
        assert_eq!(ranking.roc_auc(), Some((3.0 + 1.5) / 6.0));
    }

    #[test]
    fn one_class_has_no_curve() {
        assert_eq!(Ranking::of([tie(0, 3)]).average_precision(), None);
        let all_true = Ranking::of([tie(2, 0)]);
        assert_eq!(all_true.roc_auc(), None);
        assert_eq!(all_true.average_precision(), Some(1.0));
    }
}
