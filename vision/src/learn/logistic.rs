//! Logistic regressions over the same examples, all at once: each pass over the examples serves every problem that is not solved yet.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::examples::Examples;
use super::lbfgs::Minimiser;
use super::metric::Metric;
use super::pass::{Sums, pass};
use super::problem::{Linear, Problem};
use crate::error::VisionError;

/// Examples from which on luck decides before rounding does.
const MANY: f64 = 2_000.0;
/// How much less a direction is penalised that the model itself has for the category: a hundredth.
const FREE: f64 = 9.0;

/// Solves all problems, each to a gradient of `tolerance` of what it may begin with, or in so many steps. `start` has a guess for each.
///
/// Labels and parts are as many as the examples.
///
/// # Errors
/// [`VisionError::Tensor`], which no input of the right shape gives.
pub fn fit(
    examples: &Examples,
    problems: &[Problem<'_>],
    start: Option<&[Linear]>,
    tolerance: f64,
    steps: usize,
) -> Result<Vec<Linear>, VisionError> {
    let none = problems.iter().map(|_| None).collect();
    fit_by(examples, problems, start, none, (tolerance, steps))
}

/// The same where some more examples are taught than those of `small`, whose solutions are `begun`: their curvature leads.
///
/// # Errors
/// As [`fit`].
pub(super) fn refit(
    examples: &Examples,
    problems: &[Problem<'_>],
    (small, alike, begun): (&Examples, &[Problem<'_>], &[Linear]),
    (tolerance, steps): (f64, usize),
) -> Result<Vec<Linear>, VisionError> {
    let (mean, _) = examples.spread();
    let each = problems.par_iter().zip(alike).zip(begun);
    let metrics = each.map(|((problem, alike), begun)| {
        let penalty = 1.0 / (problem.strength * problem.mass(examples));
        Metric::of(small, alike, begun, &mean, penalty)
    });
    let metrics: Vec<Option<Metric>> = metrics.collect::<Result<_, _>>()?;
    fit_by(examples, problems, Some(begun), metrics, (tolerance, steps))
}

fn fit_by(
    examples: &Examples,
    problems: &[Problem<'_>],
    start: Option<&[Linear]>,
    metrics: Vec<Option<Metric>>,
    (tolerance, steps): (f64, usize),
) -> Result<Vec<Linear>, VisionError> {
    let (mean, spread) = examples.spread();
    let mut solved: Vec<Solving<'_>> = Vec::with_capacity(problems.len());
    for ((place, problem), metric) in problems.iter().enumerate().zip(metrics) {
        let guess = start.and_then(|start| start.get(place));
        let mut one = Solving::new(
            examples,
            *problem,
            (&mean, spread),
            guess,
            (tolerance, steps),
        );
        one.minimiser = one.minimiser.with_metric(metric);
        solved.push(one);
    }
    let (mut passes, mut functions) = (0, 0);
    let began = std::time::Instant::now();
    loop {
        let open: Vec<usize> = (0..solved.len())
            .filter(|place| !solved[*place].minimiser.is_done())
            .collect();
        if open.is_empty() {
            break;
        }
        let asked: Vec<(Problem<'_>, Linear)> = open
            .iter()
            .map(|place| (solved[*place].problem, solved[*place].linear(&mean, None)))
            .collect();
        let sums = pass(examples, &asked)?;
        (passes, functions) = (passes + 1, functions + asked.len());
        for (place, sums) in open.into_iter().zip(sums) {
            solved[place].tell(&mean, &sums);
        }
    }
    tracing::debug!(
        examples = examples.len(),
        problems = problems.len(),
        passes,
        functions,
        seconds = began.elapsed().as_secs_f64(),
        "regressions solved"
    );
    let best = |one: &Solving<'_>| one.linear(&mean, Some(one.minimiser.best()));
    Ok(solved.iter().map(best).collect())
}

/// A problem on its way. The minimiser moves `u` and an intercept over centred vectors: the weights are `u`, longer along the free
/// directions, which is the same as penalising these less.
struct Solving<'a> {
    problem: Problem<'a>,
    minimiser: Minimiser,
    /// Sum of the weights of what is taught.
    mass: f64,
}

impl<'a> Solving<'a> {
    fn new(
        examples: &Examples,
        problem: Problem<'a>,
        (mean, spread): (&[f64], f64),
        guess: Option<&Linear>,
        (tolerance, steps): (f64, usize),
    ) -> Self {
        let (mut mass, mut positive) = (0.0, 0.0);
        for (label, weight) in (0..examples.len()).filter_map(|at| problem.taught(at)) {
            mass += f64::from(weight);
            positive += f64::from(label * weight);
        }
        let share = ((positive + 0.5) / (mass + 1.0)).clamp(1e-6, 1.0 - 1e-6);
        let start = match guess {
            Some(guess) => {
                let mut u: Vec<f64> = guess.weights.iter().map(|w| f64::from(*w)).collect();
                let centred: f64 = u.iter().zip(mean).map(|(w, m)| w * m).sum();
                add_along(&mut u, problem.free, -FREE / (1.0 + FREE));
                u.push(f64::from(guess.bias) + centred);
                u
            }
            None => {
                let mut u = vec![0.0; mean.len()];
                u.push((share / (1.0 - share)).ln());
                u
            }
        };
        // Of many examples it need not be closer than a tenth of what as many others would change.
        let by_luck = match mass > MANY {
            true => (share * (1.0 - share) * spread / mass).sqrt() / 10.0 / tolerance,
            false => 0.0,
        };
        let scale = (share * (1.0 - share) * spread.sqrt()).max(by_luck);
        Self {
            problem,
            minimiser: Minimiser::new(start, tolerance, scale, steps),
            mass: mass.max(1e-9),
        }
    }

    /// The function at a place, where the minimiser asks unless another is named.
    fn linear(&self, mean: &[f64], at: Option<&[f64]>) -> Linear {
        let at = at.unwrap_or_else(|| self.minimiser.asks());
        let mut weights = at[..mean.len()].to_vec();
        along(&mut weights, self.problem.free);
        let centred: f64 = weights.iter().zip(mean).map(|(w, m)| w * m).sum();
        Linear {
            bias: (at[mean.len()] - centred) as f32,
            weights: weights.into_iter().map(|w| w as f32).collect(),
        }
    }

    fn tell(&mut self, mean: &[f64], sums: &Sums) {
        let at = self.minimiser.asks();
        let u = &at[..mean.len()];
        let penalty = 1.0 / (self.problem.strength * self.mass);
        let squares: f64 = u.iter().map(|u| u * u).sum();
        let mut gradient: Vec<f64> = sums
            .gradient
            .iter()
            .zip(mean)
            .map(|(sum, mean)| (sum - sums.residual * mean) / self.mass)
            .collect();
        along(&mut gradient, self.problem.free);
        for (gradient, u) in gradient.iter_mut().zip(u) {
            *gradient += penalty * u;
        }
        gradient.push(sums.residual / self.mass);
        let value = sums.loss / self.mass + penalty * squares / 2.0;
        self.minimiser.tell(value, gradient);
    }
}

/// Makes a vector longer along these directions.
pub(super) fn along(vector: &mut [f64], directions: &[Vec<f32>]) {
    add_along(vector, directions, FREE);
}

/// Adds `times` the part of a vector along each of these directions.
fn add_along(vector: &mut [f64], directions: &[Vec<f32>], times: f64) {
    for direction in directions {
        let part: f64 = vector
            .iter()
            .zip(direction)
            .map(|(v, d)| v * f64::from(*d))
            .sum();
        for (value, d) in vector.iter_mut().zip(direction) {
            *value += times * part * f64::from(*d);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::logits;
    use super::super::problem::Labels;
    use super::*;

    /// Points around a circle, those on the right more often true.
    fn circle(count: u16) -> (Examples, Vec<f32>) {
        let mut examples = Examples::new(2);
        let mut labels = Vec::new();
        for at in 0..count {
            let angle = f32::from(at) * 2.399_963;
            assert!(examples.push_vector(&[angle.cos(), angle.sin()]));
            let luck = f32::from(at.wrapping_mul(7919) % 100) / 100.0;
            labels.push(if angle.cos() > luck * 2.0 - 1.0 {
                1.0
            } else {
                0.0
            });
        }
        (examples, labels)
    }

    fn problem(labels: &Labels, strength: f64) -> Problem<'_> {
        Problem {
            labels,
            parts: None,
            strength,
            free: &[],
        }
    }

    /// The gradient of scikit-learn's objective at a solution.
    fn gradient(examples: &Examples, labels: &Labels, strength: f64, at: &Linear) -> Vec<f64> {
        let mut sums = vec![0.0; 3];
        for example in 0..examples.len() {
            let unit = examples.unit(example);
            let logit: f32 = unit
                .iter()
                .zip(&at.weights)
                .map(|(x, w)| x * w)
                .sum::<f32>()
                + at.bias;
            let p = 1.0 / (1.0 + f64::from(-logit).exp());
            let left =
                (p - f64::from(labels.of(example).unwrap())) * f64::from(labels.weight(example));
            sums[0] += left * f64::from(unit[0]);
            sums[1] += left * f64::from(unit[1]);
            sums[2] += left;
        }
        sums[0] += f64::from(at.weights[0]) / strength;
        sums[1] += f64::from(at.weights[1]) / strength;
        sums
    }

    #[test]
    fn a_solution_has_no_slope_left() {
        let (examples, labels) = circle(1500);
        let weights: Vec<f32> = (0..1500_u16).map(|at| 0.5 + f32::from(at % 3)).collect();
        let plain = Labels::new(labels.clone(), None);
        let weighted = Labels::new(labels, Some(weights));
        let problems = [
            problem(&plain, 1.0),
            problem(&plain, 100.0),
            problem(&weighted, 10.0),
        ];
        let found = fit(&examples, &problems, None, 1e-6, 200).unwrap();
        for (problem, found) in problems.iter().zip(&found) {
            let slope = gradient(&examples, problem.labels, problem.strength, found);
            assert!(slope.iter().all(|s| s.abs() < 0.02), "{slope:?}");
        }
        assert!(found[1].weights[0] > 1.0, "{:?}", found[1]);
        // Begun at the end, it stays there.
        let again = fit(&examples, &problems, Some(&found), 1e-6, 0).unwrap();
        for (a, b) in found.iter().zip(&again) {
            assert!((a.weights[0] - b.weights[0]).abs() < 1e-2, "{a:?} {b:?}");
        }
        let said = logits(&examples, &found).unwrap();
        let unit = examples.unit(1499);
        let by_hand = unit[0] * found[0].weights[0] + unit[1] * found[0].weights[1] + found[0].bias;
        assert!((said[0][1499] - by_hand).abs() < 1e-5);
    }

    #[test]
    fn a_free_direction_is_used_before_others_and_what_is_held_back_is_not_seen() {
        let (examples, labels) = circle(40);
        let plain = Labels::new(labels.clone(), None);
        let along = [vec![1.0, 0.0]];
        let free = Problem {
            free: &along,
            ..problem(&plain, 0.1)
        };
        let found = fit(&examples, &[problem(&plain, 0.1), free], None, 1e-6, 200).unwrap();
        assert!(found[1].weights[0] > 2.0 * found[0].weights[0], "{found:?}");
        let parts: Vec<u8> = (0..40).map(|at| at % 2).collect();
        let half = Problem {
            parts: Some((&parts, 0b01)),
            ..problem(&plain, 1.0)
        };
        let mut others = labels;
        for label in others.iter_mut().skip(1).step_by(2) {
            *label = 1.0 - *label;
        }
        let others = Labels::new(others, None);
        let same = Problem {
            labels: &others,
            ..half
        };
        let found = fit(&examples, &[half, same], None, 1e-6, 200).unwrap();
        assert_eq!(found[0], found[1]);
    }
}
