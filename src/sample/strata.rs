//! Which rows are alike, and how many of each kind are drawn.
//!
//! Rows of one stratum have one probability to be drawn, which is never 0: so a weight of one over it makes a drawn row stand for
//! those that were not (Horvitz and Thompson 1952), whatever it was drawn for.

/// What decides how likely a row is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Rows whose score is near the threshold more often than others.
    Uncertainty,
    /// Every row alike.
    Random,
    /// Every tenth of the scores, yes and no apart, as often as every other.
    Stratified,
}

/// Upper ends of the distances from score to threshold that are told apart; each is drawn half as much as the one before.
const DISTANCES: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.4];

/// Parts of the scores that are told apart.
const TENTHS: usize = 10;

/// The strata of one category.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strata {
    /// What decides.
    pub by: By,
    /// Score from which the category holds.
    pub threshold: f64,
}

impl Strata {
    /// How many there are, empty ones among them.
    pub fn count(&self) -> usize {
        match self.by {
            By::Random => 1,
            By::Uncertainty => DISTANCES.len() + 1,
            By::Stratified => 2 * TENTHS,
        }
    }

    /// The stratum of a row with this answer and score.
    pub fn of(&self, answer: bool, score: Option<f64>) -> usize {
        match self.by {
            By::Random => 0,
            By::Uncertainty => {
                // Without a score there is no telling how doubtful it is: not at all, then.
                let distance = score.map_or(f64::INFINITY, |s| (s - self.threshold).abs());
                DISTANCES.iter().take_while(|end| distance > **end).count()
            }
            By::Stratified => {
                let tenth = score.map_or(0, |s| (s.clamp(0.0, 1.0) * TENTHS as f64) as usize);
                2 * tenth.min(TENTHS - 1) + usize::from(answer)
            }
        }
    }

    /// What part of the sample each is to have, not summing up to anything.
    fn share(&self, stratum: usize) -> f64 {
        match self.by {
            By::Random | By::Stratified => 1.0,
            By::Uncertainty => 0.5_f64.powi(stratum as i32),
        }
    }

    /// How many of `sizes` rows are drawn from each stratum when `wanted` are drawn in all: at least one of each that has any,
    /// so that no row is out of reach, and otherwise by shares. More than `wanted` only if there are more strata.
    pub fn allocate(&self, wanted: u64, sizes: &[u64]) -> Vec<u64> {
        let mut drawn: Vec<u64> = sizes.iter().map(|size| u64::from(*size > 0)).collect();
        let mut left = wanted.saturating_sub(drawn.iter().sum());
        while left > 0 {
            // The one that has least of what it should, of those that have rows left.
            let next = (0..sizes.len())
                .filter(|stratum| drawn[*stratum] < sizes[*stratum])
                .min_by(|a, b| {
                    let filled = |s: usize| drawn[s] as f64 / self.share(s);
                    filled(*a).total_cmp(&filled(*b))
                });
            let Some(stratum) = next else { break };
            drawn[stratum] += 1;
            left -= 1;
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wanted_is_drawn_and_no_stratum_is_left_out() {
        let doubt = Strata {
            by: By::Uncertainty,
            threshold: 0.5,
        };
        assert_eq!(doubt.of(true, Some(0.5)), 0);
        assert_eq!(doubt.of(false, Some(0.42)), 2);
        assert_eq!(doubt.of(false, Some(0.0)), 5);
        assert_eq!(doubt.of(false, None), 5);
        let drawn = doubt.allocate(63, &[1000; 6]);
        assert_eq!(drawn.iter().sum::<u64>(), 63);
        assert!(drawn.windows(2).all(|pair| pair[0] >= pair[1]), "{drawn:?}");
        assert_eq!(drawn[0], 32);
        assert_eq!(
            doubt.allocate(20, &[2, 0, 0, 0, 0, 1000]),
            [2, 0, 0, 0, 0, 18]
        );
        assert_eq!(doubt.allocate(20, &[3, 0, 0, 0, 1, 4]), [3, 0, 0, 0, 1, 4]);
        assert_eq!(doubt.allocate(2, &[9; 6]), [1; 6]);
    }

    #[test]
    fn a_tenth_of_the_scores_is_two_strata() {
        let tenths = Strata {
            by: By::Stratified,
            threshold: 0.5,
        };
        assert_eq!(tenths.of(false, Some(0.05)), 0);
        assert_eq!(tenths.of(true, Some(0.05)), 1);
        assert_eq!(tenths.of(true, Some(1.0)), 19);
        assert!(tenths.of(true, Some(1.0)) < tenths.count());
    }
}
