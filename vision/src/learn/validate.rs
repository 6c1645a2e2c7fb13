//! Cross-validation: how strong the penalty should be, what each example's score is when it took no part, and what fewer examples give.

use super::examples::Examples;
use super::folds::{FOLDS, fold, mask};
use super::logistic::{fit, refit};
use super::pass::logits;
use super::platt::softplus;
use super::problem::{Labels, Linear, Problem};
use crate::error::VisionError;

/// The gradient at which a fit of a fold is near enough, and its most steps.
const TOLERANCE: f64 = 1e-4;
const STEPS: usize = 150;
/// The same of the fit that is kept.
const FINAL_TOLERANCE: f64 = 2e-5;
const FINAL_STEPS: usize = 300;
/// Strengths without a better one after which weaker penalties are not tried.
const PATIENCE: usize = 2;

/// What there is of one category.
#[derive(Debug, Clone, Copy)]
pub struct Validated<'a> {
    /// What is true.
    pub labels: &'a Labels,
    /// The part of each example, by [`super::deal`].
    pub parts: &'a [u8],
    /// Directions of unit length, at right angles to each other, that are penalised less.
    pub free: &'a [Vec<f32>],
}

/// The strengths that are tried, scikit-learn's `C`, the strongest penalty first: half decades around one over the examples' spread.
pub fn strengths(examples: &Examples) -> Vec<f64> {
    let (_, spread) = examples.spread();
    (-2..=8)
        .map(|half| 10_f64.powf(f64::from(half) / 2.0) / spread)
        .collect()
}

/// Of each category the strength with the least log loss out of fold, and the scores at it: of each example from the fold that it took no part in.
///
/// # Errors
/// As [`fit`].
pub fn validate(
    examples: &Examples,
    categories: &[Validated<'_>],
) -> Result<Vec<(f64, Vec<f32>)>, VisionError> {
    struct Trial {
        best: Option<(f64, f64, Vec<f32>)>,
        worse: usize,
        start: Vec<Linear>,
    }
    let mut trials: Vec<Trial> = categories
        .iter()
        .map(|_| Trial {
            best: None,
            worse: 0,
            start: Vec::new(),
        })
        .collect();
    for strength in strengths(examples) {
        let open: Vec<usize> = (0..trials.len())
            .filter(|at| trials[*at].worse < PATIENCE)
            .collect();
        let mut problems = Vec::with_capacity(open.len() * FOLDS);
        let mut start = Vec::with_capacity(open.len() * FOLDS);
        for at in &open {
            for fold in 0..FOLDS {
                problems.push(problem(&categories[*at], mask(fold, 0, 4), strength));
            }
            start.append(&mut trials[*at].start);
        }
        let start = (start.len() == problems.len()).then_some(&start[..]);
        let found = fit(examples, &problems, start, TOLERANCE, STEPS)?;
        let said = logits(examples, &found)?;
        for ((at, found), said) in open.iter().zip(found.chunks(FOLDS)).zip(said.chunks(FOLDS)) {
            let (category, trial) = (&categories[*at], &mut trials[*at]);
            trial.start = found.to_vec();
            let scores = held_back(category, said);
            let loss = log_loss(category.labels, &scores);
            match &trial.best {
                Some((least, ..)) if *least <= loss => trial.worse += 1,
                _ => (trial.best, trial.worse) = (Some((loss, strength, scores)), 0),
            }
        }
    }
    let best = trials.into_iter().map(|trial| trial.best);
    Ok(best
        .flatten()
        .map(|(_, strength, scores)| (strength, scores))
        .collect())
}

/// The same scores where only a share of the other folds is taught: of each category, for each of `quarters` (1 or 2 of 4) two lists, each of
/// other examples.
///
/// # Errors
/// As [`fit`].
pub fn curve(
    examples: &Examples,
    categories: &[(Validated<'_>, f64)],
    quarters: usize,
) -> Result<Vec<[Vec<f32>; 2]>, VisionError> {
    let mut problems = Vec::with_capacity(categories.len() * FOLDS * 2);
    for (category, strength) in categories {
        for first in [0, 2] {
            for fold in 0..FOLDS {
                problems.push(problem(category, mask(fold, first, quarters), *strength));
            }
        }
    }
    let found = fit(examples, &problems, None, TOLERANCE, STEPS)?;
    let said = logits(examples, &found)?;
    let each = categories.iter().zip(said.chunks(2 * FOLDS));
    Ok(each
        .map(|((category, _), said)| {
            let (one, other) = said.split_at(FOLDS);
            [held_back(category, one), held_back(category, other)]
        })
        .collect())
}

/// What all examples of one category are: labels, free directions and strength.
pub type Lesson<'a> = (&'a Labels, &'a [Vec<f32>], f64);

/// The functions that all examples of each category teach, each at its strength.
///
/// # Errors
/// As [`fit`].
pub fn final_fit(
    examples: &Examples,
    categories: &[Lesson<'_>],
) -> Result<Vec<Linear>, VisionError> {
    fit(
        examples,
        &whole(categories),
        None,
        FINAL_TOLERANCE,
        FINAL_STEPS,
    )
}

/// The same of many examples, of which `some`, with `lessons` of the same categories, have `begun` teaching.
///
/// # Errors
/// As [`fit`].
pub fn all_fit(
    examples: &Examples,
    categories: &[Lesson<'_>],
    (some, lessons, begun): (&Examples, &[Lesson<'_>], &[Linear]),
) -> Result<Vec<Linear>, VisionError> {
    let before = (some, &whole(lessons)[..], begun);
    let limits = (FINAL_TOLERANCE, FINAL_STEPS);
    refit(examples, &whole(categories), before, limits)
}

fn whole<'a>(categories: &[Lesson<'a>]) -> Vec<Problem<'a>> {
    let one = |(labels, free, strength): &Lesson<'a>| Problem {
        labels,
        parts: None,
        strength: *strength,
        free,
    };
    categories.iter().map(one).collect()
}

fn problem<'a>(category: &Validated<'a>, mask: u32, strength: f64) -> Problem<'a> {
    Problem {
        labels: category.labels,
        parts: Some((category.parts, mask)),
        strength,
        free: category.free,
    }
}

/// Of each example what the function says that did not see its fold; NaN where nothing is known of it.
fn held_back(category: &Validated<'_>, said: &[Vec<f32>]) -> Vec<f32> {
    let one = |(example, part): (usize, &u8)| match category.labels.of(example) {
        Some(_) => said[fold(*part)][example],
        None => f32::NAN,
    };
    category.parts.iter().enumerate().map(one).collect()
}

fn log_loss(labels: &Labels, scores: &[f32]) -> f64 {
    let each = scores.iter().enumerate().filter_map(|(example, score)| {
        let (label, score) = (f64::from(labels.of(example)?), f64::from(*score));
        Some(f64::from(labels.weight(example)) * (softplus(score) - label * score))
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use super::super::{deal, keys};
    use super::*;

    /// Vectors in which the first number says something and the rest is noise.
    fn noisy(count: usize, signal: f32) -> (Examples, Labels) {
        let (mut examples, mut labels) = (Examples::new(20), Vec::new());
        let mut state = 1_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        for at in 0..count {
            let positive = at % 3 == 0;
            let mut vector: Vec<f32> = (0..20).map(|_| noise()).collect();
            vector[0] += if positive { signal } else { -signal };
            assert!(examples.push_vector(&vector));
            labels.push(f32::from(u8::from(positive)));
        }
        (examples, Labels::new(labels, None))
    }

    #[test]
    fn noise_wants_a_strong_penalty_and_its_scores_say_nothing() {
        let (examples, labels) = noisy(300, 0.0);
        let parts = deal(&keys(&examples), &labels).parts;
        let category = |labels| Validated {
            labels,
            parts: &parts,
            free: &[],
        };
        let found = validate(&examples, &[category(&labels)]).unwrap();
        let weakest = strengths(&examples);
        assert!(found[0].0 <= weakest[2], "{found:?}");
        let (examples, labels) = noisy(300, 0.4);
        let parts = deal(&keys(&examples), &labels).parts;
        let clear = Validated {
            labels: &labels,
            parts: &parts,
            free: &[],
        };
        let found = validate(&examples, &[clear]).unwrap();
        let right = (0..300).filter(|at| (found[0].1[*at] > 0.0) == (labels.of(*at) == Some(1.0)));
        assert!(right.count() > 260);
        // The fewer are taught, the more are wrong.
        let few = curve(&examples, &[(clear, found[0].0)], 1).unwrap();
        let loss = |scores: &[f32]| log_loss(&labels, scores);
        assert!(loss(&few[0][0]) + loss(&few[0][1]) > 2.0 * loss(&found[0].1));
        let whole = final_fit(&examples, &[(&labels, &[], found[0].0)]).unwrap();
        assert!(whole[0].weights[0] > 1.0);
        // Begun by a part of them it ends where it ends without.
        let half: Vec<usize> = (0..150).collect();
        let (some, known) = (
            examples.some(&half),
            half.iter().map(|at| labels.of(*at).unwrap()),
        );
        let known = Labels::new(known.collect(), None);
        let lesson = [(&known, &[][..], found[0].0)];
        let begun = final_fit(&some, &lesson).unwrap();
        let all = [(&labels, &[][..], found[0].0)];
        let led = all_fit(&examples, &all, (&some, &lesson, &begun)).unwrap();
        assert!(begun[0] != whole[0]);
        for (a, b) in led[0].weights.iter().zip(&whole[0].weights) {
            assert!((a - b).abs() < 1e-2, "{a} {b}");
        }
    }
}
