//! From rows to heads: which rows judge, how strong the penalty is, what each head is worth, and whether more examples would help.

use picsift_images::{hex, sha256};
use picsift_udf::EngineError;
use picsift_vision::learn::{
    Dealt, Examples, FEWEST, Labels, Lesson, Linear, Platt, Validated, all_fit, calibrated, curve,
    deal, final_fit, keys, known, validate,
};
use picsift_vision::{Head, HeadModel, VisionError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::report::{CategoryReport, NOTABLE, Point, Quality};
use super::rows::Lines;
use super::zero_shot::ZeroShot;
use crate::error::AppError;
use crate::eval::figures::{self, count};
use crate::eval::rows::{Row, Rows};

/// Rows by which heads are judged and strengths chosen; of more a sample is drawn for it. All of them are taught in the end.
pub(super) const MOST_JUDGED: usize = 20_000;
/// Rows of either kind that are drawn for a category however many there are, or all that it has.
const LEAST_DRAWN: f64 = 250.0;

/// Categories that go through the examples together: what each needs to be solved is a few megabytes.
const TOGETHER: usize = 24;

/// What is learnt.
pub(super) struct Learning {
    /// Names of the categories.
    pub(super) names: Vec<String>,
    pub(super) lines: Lines,
    pub(super) zero_shot: Vec<ZeroShot>,
    pub(super) model: HeadModel,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Learnt {
    pub(super) heads: Vec<Head>,
    pub(super) categories: Vec<CategoryReport>,
    /// Digest of what it was learnt from.
    pub(super) taught_from: String,
    pub(super) notes: Vec<String>,
}

/// The rows that judge: all, or a sample with what each stands for.
struct Judges {
    examples: Examples,
    /// Of each its place among all.
    chosen: Vec<usize>,
    labels: Vec<Labels>,
    weighted: bool,
}

impl Learning {
    /// Learns all categories. Takes long; for a thread that may.
    ///
    /// # Errors
    /// [`AppError::Usage`] for categories with too few examples of either kind.
    pub(super) fn run(self) -> Result<Learnt, AppError> {
        self.enough_rows()?;
        let judges = self.judges();
        let keys = keys(&judges.examples);
        let dealt: Vec<Dealt> = (judges.labels.iter())
            .map(|labels| deal(&keys, labels))
            .collect();
        self.enough_pictures(&dealt)?;
        let free: Vec<Vec<Vec<f32>>> = self.zero_shot.iter().map(ZeroShot::directions).collect();
        let categories: Vec<Validated<'_>> = (0..self.names.len())
            .map(|at| Validated {
                labels: &judges.labels[at],
                parts: &dealt[at].parts,
                free: &free[at],
            })
            .collect();
        let failed = |error| AppError::Engine(EngineError::Model(error));
        let found =
            grouped(&categories, |some| validate(&judges.examples, some)).map_err(failed)?;
        let at_strength: Vec<(Validated<'_>, f64)> = categories
            .iter()
            .zip(&found)
            .map(|(category, (strength, _))| (*category, *strength))
            .collect();
        let less = |quarters| grouped(&at_strength, |some| curve(&judges.examples, some, quarters));
        let (quarter, half) = (less(1).map_err(failed)?, less(2).map_err(failed)?);
        let functions = self.taught(&judges, &free, &at_strength).map_err(failed)?;

        let mut learnt = Learnt {
            heads: Vec::new(),
            categories: Vec::new(),
            taught_from: self.digest(),
            notes: Vec::new(),
        };
        if judges.chosen.len() < self.lines.examples.len() {
            learnt.notes.push(format!(
                "{} of {} rows, drawn with weights, chose the strengths and judge; all are taught",
                judges.chosen.len(),
                self.lines.examples.len()
            ));
        }
        for (at, name) in self.names.iter().enumerate() {
            let (strength, scores) = &found[at];
            let labels = &judges.labels[at];
            let platt = Platt::fit(&known(labels, scores));
            let said = |score: f64| platt.probability(score);
            let head = calibrated(name, &self.model, &functions[at], platt);
            let head = head.ok_or_else(|| {
                AppError::Usage(format!(
                    "what was learnt of '{name}' is no finite number; look at its truth"
                ))
            })?;
            let seed = self.seed.wrapping_add(at as u64);
            let points = |of: &[Vec<f32>; 2]| -> Option<f64> {
                let each = of.iter().map(|scores| ranked(labels, scores));
                Some(each.collect::<Option<Vec<_>>>()?.iter().sum::<f64>() / 2.0)
            };
            let all = ranked(labels, scores);
            let (a_quarter, a_half) = (points(&quarter[at]), points(&half[at]));
            let (yes, no) = self.counts(at);
            if dealt[at].contradictory > 0 {
                learnt.notes.push(format!(
                    "{name}: {} more than once, with yes and with no",
                    count(
                        dealt[at].contradictory as u64,
                        "picture stands",
                        "pictures stand"
                    )
                ));
            }
            learnt.categories.push(CategoryReport {
                name: name.clone(),
                yes,
                no,
                strength: *strength,
                taught: judged(&judges, labels, scores, seed, said, 0.5),
                zero_shot: self.by_itself(at, &judges, seed),
                curve: [(0.25, a_quarter), (0.5, a_half), (1.0, all)]
                    .into_iter()
                    .map(|(share, average_precision)| Point {
                        share,
                        average_precision,
                    })
                    .collect(),
                more_would_help: a_half
                    .zip(all)
                    .is_some_and(|(half, all)| all - half >= NOTABLE),
                head: head.hex(),
            });
            learnt.heads.push(head);
        }
        Ok(learnt)
    }

    /// Rows that say yes and rows that say no.
    fn counts(&self, category: usize) -> (u64, u64) {
        let truth = &self.lines.truth[category];
        let yes = truth.iter().filter(|label| **label >= 0.5).count();
        let no = truth.iter().filter(|label| **label < 0.5).count();
        (yes as u64, no as u64)
    }

    fn enough_rows(&self) -> Result<(), AppError> {
        let counts = (0..self.names.len()).map(|at| self.counts(at));
        self.enough("rows", counts.collect())
    }

    fn enough_pictures(&self, dealt: &[Dealt]) -> Result<(), AppError> {
        let counts = dealt.iter().map(|one| (one.yes as u64, one.no as u64));
        self.enough("different pictures", counts.collect())
    }

    fn enough(&self, what: &str, counts: Vec<(u64, u64)>) -> Result<(), AppError> {
        let few: Vec<String> = self
            .names
            .iter()
            .zip(counts)
            .filter(|(_, (yes, no))| yes.min(no) < &(FEWEST as u64))
            .map(|(name, (yes, no))| format!("'{name}' has {yes} {what} with yes and {no} with no"))
            .collect();
        if few.is_empty() {
            return Ok(());
        }
        let others = match few.len() < self.names.len() {
            true => "; name the others with --categories to teach them alone",
            false => "",
        };
        let named = match self.lines.strangers.len() {
            0 => String::new(),
            _ => {
                let known: Vec<_> = self.lines.strangers.iter().take(10).cloned().collect();
                format!("; other words of the truth are {}", known.join(", "))
            }
        };
        Err(AppError::Usage(format!(
            "a category is taught from at least {FEWEST} of either kind, but {}{others}{named}",
            few.join(", ")
        )))
    }

    /// All rows where they are few, else some: of each category as many that hold as that do not, as far as there are.
    fn judges(&self) -> Judges {
        let all = &self.lines;
        let own = |place: usize| all.weights.as_ref().map_or(1.0, |weights| weights[place]);
        let rows = all.examples.len();
        if rows <= MOST_JUDGED {
            let labels = all
                .truth
                .iter()
                .map(|truth| Labels::new(truth.clone(), all.weights.clone()));
            return Judges {
                labels: labels.collect(),
                chosen: (0..rows).collect(),
                examples: all.examples.some(&(0..rows).collect::<Vec<_>>()),
                weighted: all.weights.is_some(),
            };
        }
        let each = (MOST_JUDGED as f64 / (2 * self.names.len()) as f64).max(LEAST_DRAWN);
        let shares: Vec<[f64; 2]> = (0..self.names.len())
            .map(|at| {
                let (yes, no) = self.counts(at);
                [no, yes].map(|rows| (each / rows as f64).min(1.0))
            })
            .collect();
        let mut random = StdRng::seed_from_u64(self.seed);
        let (mut chosen, mut weights) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let chance = |(truth, share): (&Vec<f32>, &[f64; 2])| match truth[row] {
                label if label.is_nan() => 0.0,
                label => share[usize::from(label >= 0.5)],
            };
            let chance = all
                .truth
                .iter()
                .zip(&shares)
                .map(chance)
                .fold(0.0, f64::max);
            if random.random::<f64>() < chance {
                chosen.push(row);
                weights.push((f64::from(own(row)) / chance) as f32);
            }
        }
        let some = |truth: &Vec<f32>| chosen.iter().map(|row| truth[*row]).collect();
        let labels = all
            .truth
            .iter()
            .map(|truth| Labels::new(some(truth), Some(weights.clone())));
        Judges {
            labels: labels.collect(),
            examples: all.examples.some(&chosen),
            chosen,
            weighted: true,
        }
    }

    /// What all rows teach, begun where those that judge end.
    fn taught(
        &self,
        judges: &Judges,
        free: &[Vec<Vec<f32>>],
        at: &[(Validated<'_>, f64)],
    ) -> Result<Vec<Linear>, VisionError> {
        let judging = judges.chosen.len();
        let categories: Vec<usize> = (0..at.len()).collect();
        grouped(&categories, |some| {
            let lesson = |category: &usize| -> Lesson<'_> {
                let (one, strength) = &at[*category];
                (one.labels, one.free, *strength)
            };
            let few: Vec<Lesson<'_>> = some.iter().map(lesson).collect();
            let begun = final_fit(&judges.examples, &few)?;
            if judging == self.lines.examples.len() {
                return Ok(begun);
            }
            let labels: Vec<Labels> = some
                .iter()
                .map(|at| Labels::new(self.lines.truth[*at].clone(), self.lines.weights.clone()))
                .collect();
            let all: Vec<Lesson<'_>> = labels
                .iter()
                .zip(some)
                .map(|(labels, category)| (labels, &free[*category][..], at[*category].1))
                .collect();
            let before = (&judges.examples, &few[..], &begun[..]);
            all_fit(&self.lines.examples, &all, before)
        })
    }

    /// How good the model is by itself, on the rows that judge.
    fn by_itself(&self, category: usize, judges: &Judges, seed: u64) -> Option<Quality> {
        let zero = &self.zero_shot[category];
        let threshold = zero.threshold()?;
        let scores = match (&self.lines.scores[category], zero.scores(&judges.examples)) {
            (Some(all), _) => judges.chosen.iter().map(|row| all[*row]).collect(),
            (None, Some(scores)) => scores,
            (None, None) => return None,
        };
        let labels = &judges.labels[category];
        Some(judged(
            judges,
            labels,
            &scores,
            seed,
            |score| score,
            threshold,
        ))
    }

    /// SHA-256 of categories, truth, weights and embeddings.
    fn digest(&self) -> String {
        let mut text = self.names.join("\n").into_bytes();
        let numbers = self.lines.truth.iter().chain(&self.lines.weights).flatten();
        text.extend(numbers.flat_map(|number| number.to_le_bytes()));
        text.extend(self.lines.examples.sha256());
        hex(&sha256(&text))
    }
}

/// What `each` makes of all, some at a time.
fn grouped<T, R>(
    all: &[T],
    each: impl Fn(&[T]) -> Result<Vec<R>, VisionError>,
) -> Result<Vec<R>, VisionError> {
    let mut made = Vec::with_capacity(all.len());
    for some in all.chunks(TOGETHER) {
        made.extend(each(some)?);
    }
    Ok(made)
}

/// The figures of scores, of which `said` makes probabilities.
fn judged(
    judges: &Judges,
    labels: &Labels,
    scores: &[f32],
    seed: u64,
    said: impl Fn(f64) -> f64,
    threshold: f32,
) -> Quality {
    let mut rows = Rows::<u64>::default();
    for (score, label, weight) in known(labels, scores) {
        let score = said(score);
        rows.push(Row {
            truth: Some(label >= 0.5),
            predicted: Some(score as f32 >= threshold),
            score: Some(score),
            weight: judges.weighted.then_some(weight),
        });
    }
    rows.sort();
    let figures = figures::judge(&rows, true, judges.weighted, seed).figures;
    Quality {
        average_precision: figures.average_precision,
        roc_auc: figures.roc_auc,
        f1: figures.f1,
        threshold,
    }
}

/// Average precision of scores of any size.
fn ranked(labels: &Labels, scores: &[f32]) -> Option<f64> {
    let mut rows = Rows::<u64>::default();
    for (score, label, weight) in known(labels, scores) {
        rows.push(Row {
            truth: Some(label >= 0.5),
            predicted: Some(score >= 0.0),
            // Any order-preserving way from all numbers to 0 to 1.
            score: Some(0.5 + score / (1.0 + score.abs()) / 2.0),
            weight: labels.is_weighted().then_some(weight),
        });
    }
    rows.sort();
    rows.summary().ranking.average_precision()
}
