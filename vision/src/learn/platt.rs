//! Scores as probabilities: Platt's scaling (Platt 1999, in the form of Lin, Lin and Weng 2007).
//!
//! Two numbers, which a handful of examples can say; isotonic regression says more where there are thousands, but of few it makes steps,
//! and steps tie what the scores told apart.

/// `sigmoid(slope * score + offset)`; the slope is never negative, so that the order stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Platt {
    /// What a score is multiplied by.
    pub slope: f64,
    /// What is added.
    pub offset: f64,
}

/// Least slope: scores that tell nothing keep their order and say next to the share of the positives.
const LEAST: f64 = 1e-6;
const STEPS: usize = 100;

impl Platt {
    /// From scores that their examples took no part in: score, label from 0 to 1, weight.
    pub fn fit(examples: &[(f64, f64, f64)]) -> Self {
        let positive: f64 = examples
            .iter()
            .map(|(_, label, weight)| label * weight)
            .sum();
        let all: f64 = examples.iter().map(|(.., weight)| weight).sum();
        let negative = all - positive;
        // Never quite certain, the less so the fewer there are.
        let (yes, no) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
        let target = |label: f64| label * yes + (1.0 - label) * no;
        let loss = |of: Self| -> f64 {
            let one = |(score, label, weight): &(f64, f64, f64)| {
                let logit = of.logit(*score);
                weight * (softplus(logit) - target(*label) * logit)
            };
            examples.iter().map(one).sum()
        };
        let mut at = Self {
            slope: 1.0,
            offset: 0.0,
        };
        let mut value = loss(at);
        for _ in 0..STEPS {
            let (mut g, mut h) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
            for (score, label, weight) in examples {
                let p = at.probability(*score);
                let (residual, curve) = (weight * (p - target(*label)), weight * p * (1.0 - p));
                g[0] += residual * score;
                g[1] += residual;
                h[0] += curve * score * score;
                h[1] += curve * score;
                h[2] += curve;
            }
            let determinant = h[0] * h[2] - h[1] * h[1];
            if determinant.abs() < f64::MIN_POSITIVE || g[0].abs() + g[1].abs() < 1e-9 * all {
                break;
            }
            let step = [
                (h[2] * g[0] - h[1] * g[1]) / determinant,
                (h[0] * g[1] - h[1] * g[0]) / determinant,
            ];
            let mut share = 1.0;
            let better = std::iter::repeat_with(|| {
                let next = Self {
                    slope: at.slope - share * step[0],
                    offset: at.offset - share * step[1],
                };
                share /= 2.0;
                (next, loss(next))
            });
            match better.take(30).find(|(_, next)| *next < value) {
                Some((next, lower)) => (at, value) = (next, lower),
                None => break,
            }
        }
        if at.slope >= LEAST && at.slope.is_finite() && at.offset.is_finite() {
            return at;
        }
        Self {
            slope: LEAST,
            offset: (positive.max(0.5) / negative.max(0.5)).ln(),
        }
    }

    /// The log odds of a score.
    pub fn logit(self, score: f64) -> f64 {
        self.slope * score + self.offset
    }

    /// The probability of a score.
    pub fn probability(self, score: f64) -> f64 {
        1.0 / (1.0 + (-self.logit(score)).exp())
    }
}

/// `ln(1 + exp(x))`.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_shares() {
        // Of those with score 2 four in five hold, of those with score -1 one in ten.
        let mut examples = Vec::new();
        for at in 0..1000 {
            examples.push((2.0, f64::from(u8::from(at % 5 != 0)), 1.0));
            examples.push((-1.0, f64::from(u8::from(at % 10 == 0)), 1.0));
        }
        let platt = Platt::fit(&examples);
        assert!((platt.probability(2.0) - 0.8).abs() < 0.01, "{platt:?}");
        assert!((platt.probability(-1.0) - 0.1).abs() < 0.01, "{platt:?}");
        // Weights are rows.
        let few = [
            (2.0, 1.0, 800.0),
            (2.0, 0.0, 200.0),
            (-1.0, 1.0, 100.0),
            (-1.0, 0.0, 900.0),
        ];
        let weighted = Platt::fit(&few);
        assert!((weighted.slope - platt.slope).abs() < 1e-3, "{weighted:?}");
    }

    #[test]
    fn few_are_never_certain_and_the_order_stays() {
        let platt = Platt::fit(&[(1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 1.0)]);
        assert!(platt.probability(1.0) < 0.9, "{platt:?}");
        let inverted = Platt::fit(&[(1.0, 0.0, 5.0), (-1.0, 1.0, 5.0)]);
        assert!(inverted.slope > 0.0 && (inverted.probability(0.0) - 0.5).abs() < 0.01);
    }
}
