//! From a sample that both models were asked about to the scores at which the cheap one may decide.
//!
//! The sample is uniform and without replacement. The lower threshold is an order statistic: below the (k + 1)-th lowest score of the
//! sample's yeses lie more than 1 - recall of all yeses with a probability of at most the risk, where k is the largest count that is so
//! improbable. The upper one goes down from the top past as many noes as are improbable among what would be labelled yes at that
//! precision. Both are tests in a fixed order that end at the first failure (Angelopoulos et al. 2021, "Learn then Test"): shares only grow
//! on the way, so that the first threshold that breaks the promise is passed with a probability of at most the risk, and none has to be paid
//! for the search. Where the lower threshold lies is known when the upper one is sought; what lies above it is then still a uniform sample.

use super::Promise;
use super::binomial::{at_most, largest_rare, upper_share};

/// One row of a sample, for one category.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The cheap model's score, 0 to 1.
    pub score: f32,
    /// Whether the category holds for the dear model.
    pub holds: bool,
}

/// Where the cheap model decides about a category, and what the sample says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// A score below is a no; minus infinity where none is.
    pub low: f32,
    /// A score from here on is a yes; infinity where none is.
    pub high: f32,
    /// Rows of the sample, and those of them that hold.
    pub sampled: u64,
    /// See `sampled`.
    pub held: u64,
    /// Rows of the sample below `low`, and those of them that hold.
    pub below: u64,
    /// See `below`.
    pub missed: u64,
    /// Rows of the sample from `high` on, and those of them that do not hold.
    pub above: u64,
    /// See `above`.
    pub mistaken: u64,
    /// Lower bounds of recall and precision at the risk that was allowed to each; 1 where nothing is decided.
    pub recall: f64,
    /// See `recall`.
    pub precision: f64,
}

/// The widest thresholds that keep the promise with a probability of at least 1 - `risk`. A promise that is not made is not used up: without
/// one of recall nothing is a no, without one of precision nothing a yes.
pub fn thresholds(sample: &[Judged], promise: &Promise, risk: f64) -> Thresholds {
    let risk = match promise.recall.and(promise.precision) {
        Some(_) => risk / 2.0,
        None => risk,
    };
    let mut yes: Vec<f32> = sample
        .iter()
        .filter(|row| row.holds)
        .map(|row| row.score)
        .collect();
    yes.sort_by(f32::total_cmp);
    let held = yes.len() as u64;
    let allowed = promise
        .recall
        .and_then(|recall| largest_rare(held, 1.0 - recall, risk));
    let low = allowed.and_then(|most| yes.get(most as usize).copied());
    let above = |row: &&Judged| low.is_none_or(|low| row.score > low);
    let held_above = yes
        .iter()
        .filter(|score| low.is_none_or(|low| **score > low))
        .count() as u64;
    let mut no: Vec<f32> = sample
        .iter()
        .filter(|row| !row.holds)
        .filter(above)
        .map(|row| row.score)
        .collect();
    no.sort_by(|a, b| b.total_cmp(a));
    let high = promise.precision.and_then(|precision| {
        // One no more is passed as long as so few among what would be labelled yes are improbable.
        let rare = |noes: u64| at_most(noes, held_above + noes, 1.0 - precision) <= risk;
        let (mut passed, mut first) = (0, no.len() as u64 + 1);
        if !rare(passed) {
            return None;
        }
        while first - passed > 1 {
            let middle = passed.midpoint(first);
            match rare(middle) {
                true => passed = middle,
                false => first = middle,
            }
        }
        match no.get(passed as usize) {
            Some(first) => Some(first.next_up()),
            // All are passed: what is no no is a yes.
            None => Some(low.map_or(0.0, f32::next_up)),
        }
    });
    let missed = yes
        .iter()
        .filter(|score| low.is_some_and(|low| **score < low))
        .count() as u64;
    let mistaken = no
        .iter()
        .filter(|score| high.is_some_and(|high| **score >= high))
        .count() as u64;
    Thresholds {
        low: low.unwrap_or(f32::NEG_INFINITY),
        high: high.unwrap_or(f32::INFINITY),
        sampled: sample.len() as u64,
        held,
        below: sample
            .iter()
            .filter(|row| low.is_some_and(|low| row.score < low))
            .count() as u64,
        missed,
        above: sample
            .iter()
            .filter(|row| high.is_some_and(|high| row.score >= high))
            .count() as u64,
        mistaken,
        recall: low.map_or(1.0, |_| 1.0 - upper_share(missed, held, risk)),
        precision: high.map_or(1.0, |_| {
            1.0 - upper_share(mistaken, held_above + mistaken, risk)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(share: f64) -> Promise {
        Promise {
            recall: Some(share),
            precision: Some(share),
        }
    }

    /// So many noes with scores up to 0.4, so many yeses from 0.6 on.
    fn apart(no: usize, yes: usize) -> Vec<Judged> {
        let row = |holds: bool, at: usize, of: usize| Judged {
            score: 0.4 * at as f32 / of as f32 + if holds { 0.6 } else { 0.0 },
            holds,
        };
        let no = (0..no).map(|at| row(false, at, no));
        no.chain((0..yes).map(|at| row(true, at, yes))).collect()
    }

    #[test]
    fn what_a_sample_cannot_show_is_not_decided() {
        // 36 yeses that are all found say no more than a recall of 0.9 with 97.7 %.
        let few = thresholds(&apart(500, 35), &both(0.9), 0.05);
        assert_eq!((few.low, few.high), (f32::NEG_INFINITY, f32::INFINITY));
        let enough = thresholds(&apart(500, 40), &both(0.9), 0.05);
        assert_eq!(enough.low, 0.6);
        assert!(enough.high <= enough.low.next_up(), "{enough:?}");
        assert!(
            enough.recall >= 0.9 && enough.precision >= 0.9,
            "{enough:?}"
        );
    }

    #[test]
    fn without_a_promise_of_recall_nothing_is_a_no_and_without_one_of_precision_nothing_a_yes() {
        let recall = Promise {
            recall: Some(0.9),
            precision: None,
        };
        let found = thresholds(&apart(500, 100), &recall, 0.05);
        assert!(found.low > 0.0 && found.high == f32::INFINITY && found.precision == 1.0);
        let precision = Promise {
            recall: None,
            precision: Some(0.9),
        };
        let found = thresholds(&apart(500, 100), &precision, 0.05);
        assert!(found.low == f32::NEG_INFINITY && found.high < 0.6 && found.recall == 1.0);
    }

    #[test]
    fn a_sample_without_rows_or_of_one_kind_decides_nothing_or_only_what_it_shows() {
        let none = thresholds(&[], &both(0.9), 0.05);
        assert_eq!((none.low, none.high), (f32::NEG_INFINITY, f32::INFINITY));
        let no = thresholds(&apart(500, 0), &both(0.9), 0.05);
        assert_eq!((no.low, no.high), (f32::NEG_INFINITY, f32::INFINITY));
        let yes = thresholds(&apart(0, 500), &both(0.9), 0.05);
        assert!(yes.high <= yes.low.next_up());
    }

    #[test]
    fn rows_of_one_score_are_decided_alike() {
        let rows: Vec<Judged> = (0..400)
            .map(|at| Judged {
                score: 0.5,
                holds: at % 4 == 0,
            })
            .collect();
        let found = thresholds(&rows, &both(0.9), 0.05);
        assert_eq!((found.below, found.above), (0, 0), "{found:?}");
        assert!(found.low <= 0.5 && found.high > 0.5);
    }

    /// Samples of one table again and again: a promise is broken about as often as it may be, so that nothing is given away either.
    #[test]
    fn a_promise_is_broken_as_often_as_was_allowed_and_not_more() {
        const ROWS: usize = 20_000;
        const DRAWS: usize = 2000;
        const SAMPLE: usize = 600;
        let mut number = 0x1234_5678_9abc_def1_u64;
        let mut chance = move || {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            (number >> 11) as f32 / (1u64 << 53) as f32
        };
        // A fifth holds; scores are triangles that overlap.
        let mut table: Vec<Judged> = (0..ROWS)
            .map(|_| {
                let holds = chance() < 0.2;
                let score = (chance() + chance()) / 2.0 * 0.7 + if holds { 0.3 } else { 0.0 };
                Judged { score, holds }
            })
            .collect();
        let all = table.iter().filter(|row| row.holds).count() as f64;
        let (mut recall, mut precision) = (0, 0);
        for _ in 0..DRAWS {
            for at in 0..SAMPLE {
                let other = at + (chance() * (ROWS - at) as f32) as usize;
                table.swap(at, other.min(ROWS - 1));
            }
            let found = thresholds(&table[..SAMPLE], &both(0.8), 0.2);
            let count =
                |of: &dyn Fn(&Judged) -> bool| table.iter().filter(|row| of(row)).count() as f64;
            let missed = count(&|row| row.holds && row.score < found.low);
            let mistaken = count(&|row| !row.holds && row.score >= found.high);
            recall += usize::from(missed > 0.2 * all);
            precision += usize::from(mistaken > 0.25 * (all - missed));
        }
        // A tenth each is allowed; counts are whole, so that a little less is used.
        let most = DRAWS / 10;
        assert!(recall <= most && precision <= most, "{recall} {precision}");
        assert!(
            recall >= DRAWS / 25 && precision >= DRAWS / 50,
            "{recall} {precision}"
        );
    }
}
