//! Exact tails of the binomial distribution, by which a share of a population is bounded from a sample of it.
//!
//! Sampling is without replacement here, whose counts spread less: for counts as far below their mean as a tail of one half or less
//! lies, the binomial tail is the larger (Uhlmann 1966), so that what it bounds holds. No normal approximation enters.

/// The largest count that is so improbable: of `draws` each of which hits with the chance `share`, at most so many hit with a probability
/// of at most `risk`. `None` where even no hit at all is more probable than that.
///
/// `share` lies within 0 to 1, both left out, and `risk` as well.
pub fn largest_rare(draws: u64, share: f64, risk: f64) -> Option<u64> {
    let mut tail = Tail::new(draws, share);
    let most = risk.ln();
    if tail.log > most {
        return None;
    }
    while tail.hits < draws && tail.next() <= most {}
    // The last step went too far, unless there was none left.
    match tail.log <= most {
        true => Some(tail.hits),
        false => Some(tail.hits - 1),
    }
}

/// The probability that at most `hits` of `draws` hit.
pub fn at_most(hits: u64, draws: u64, share: f64) -> f64 {
    let mut tail = Tail::new(draws, share);
    while tail.hits < hits.min(draws) {
        tail.next();
    }
    tail.log.exp()
}

/// The largest share of hits, 0 to 1, for which at most `hits` of `draws` have a probability of `risk`: an upper bound of the share in the
/// population, with a confidence of 1 - `risk` (Clopper and Pearson 1934).
pub fn upper_share(hits: u64, draws: u64, risk: f64) -> f64 {
    if hits >= draws {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    // Halving sixty times is past the last bit.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        match at_most(hits, draws, middle) > risk {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// The fewest draws without a hit that are as improbable as `risk`, where each hits with the chance `share`.
pub fn fewest_draws(share: f64, risk: f64) -> u64 {
    (risk.ln() / (-share).ln_1p()).ceil().max(1.0) as u64
}

/// The logarithm of a lower tail, a hit further each step.
struct Tail {
    draws: u64,
    odds: f64,
    hits: u64,
    /// Logarithms of the probability of just so many hits, and of at most so many.
    term: f64,
    log: f64,
}

impl Tail {
    fn new(draws: u64, share: f64) -> Self {
        let none = draws as f64 * (-share).ln_1p();
        Self {
            draws,
            odds: share.ln() - (-share).ln_1p(),
            hits: 0,
            term: none,
            log: none,
        }
    }

    fn next(&mut self) -> f64 {
        let ways = (self.draws - self.hits) as f64 / (self.hits + 1) as f64;
        self.term += ways.ln() + self.odds;
        self.hits += 1;
        let (more, less) = match self.term > self.log {
            true => (self.term, self.log),
            false => (self.log, self.term),
        };
        self.log = (more + (less - more).exp().ln_1p()).min(0.0);
        self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs(), "{a} and {b}");
    }

    #[test]
    fn tails_are_those_of_exact_fractions() {
        // By exact fractions.
        near(at_most(3, 20, 0.3), 0.107_086_804_503_731);
        near(at_most(0, 28, 0.1), 0.052_334_763_302_736);
        near(at_most(50, 1000, 0.1).ln(), -18.932_312_086_827);
        near(at_most(20, 20, 0.3), 1.0);
        // By bisection of the exact tail.
        assert!((upper_share(2, 50, 0.05) - 0.120_61).abs() < 1e-4);
        assert_eq!(upper_share(5, 5, 0.05), 1.0);
    }

    #[test]
    fn the_largest_rare_count_is_the_last_that_is() {
        for draws in [1, 28, 29, 30, 61, 200, 5000] {
            for share in [0.02, 0.1, 0.5] {
                for risk in [0.001, 0.025, 0.05] {
                    match largest_rare(draws, share, risk) {
                        None => assert!(at_most(0, draws, share) > risk),
                        Some(most) => {
                            assert!(at_most(most, draws, share) <= risk * (1.0 + 1e-9));
                            assert!(at_most(most + 1, draws, share) > risk);
                        }
                    }
                }
            }
        }
        assert_eq!(fewest_draws(0.1, 0.05), 29);
        assert_eq!(largest_rare(28, 0.1, 0.05), None);
        assert_eq!(largest_rare(29, 0.1, 0.05), Some(0));
    }

    /// The bound is used on samples without replacement: there a rare count must be at least as rare.
    #[test]
    fn without_replacement_what_is_rare_is_rarer() {
        let choose = |n: u64, k: u64| -> f64 {
            (0..k).map(|i| ((n - i) as f64 / (k - i) as f64).ln()).sum()
        };
        for population in 1..=45u64 {
            for hits in 1..population {
                for draws in 1..=population {
                    let share = hits as f64 / population as f64;
                    let Some(most) = largest_rare(draws, share, 0.05) else {
                        continue;
                    };
                    let least = (draws + hits).saturating_sub(population);
                    let ways = (least..=most.min(hits)).filter(|k| draws - k <= population - hits);
                    let tail: f64 = ways
                        .map(|k| {
                            let of = choose(hits, k) + choose(population - hits, draws - k);
                            (of - choose(population, draws)).exp()
                        })
                        .sum();
                    assert!(
                        tail <= 0.05,
                        "{most} of {draws} from {hits} in {population}: {tail}"
                    );
                }
            }
        }
    }
}
