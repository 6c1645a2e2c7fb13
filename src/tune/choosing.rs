//! From what models said of each row to plans: the best wording and threshold of each category on one half of the rows, cascades of two
//! models, and the frontier among them. The other half judges.

use std::collections::HashMap;

use picsift_udf::metrics::Confusion;
use picsift_vision::{HEAD_THRESHOLD, PromptStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Candidate;
use super::candidates::Tried;
use super::reading::{Known, Scores};
use super::report::{CategoryPlan, PlanReport, Report};
use crate::error::AppError;
use crate::eval::figures::{count, judge, overall};
use crate::eval::rows::{Row, Rows};
use crate::eval::sweep::{Goal, sweep};

/// Rows of either kind that a category needs: half of them choose, half judge.
const FEWEST: usize = 8;

/// What a cheap model of a cascade promises, of recall and precision alike.
const PROMISES: [f64; 3] = [0.8, 0.9, 0.95];

/// A model that was asked about every row.
pub(super) struct Trial {
    pub(super) candidate: Candidate,
    pub(super) seconds: f64,
    pub(super) scores: Scores,
}

/// All that was asked.
pub(super) struct Trials {
    tried: Vec<Tried>,
    trials: Vec<Trial>,
    truth: Known,
    /// Rows that choose, and rows that judge.
    halves: [Vec<usize>; 2],
    /// Rows without a score of one of the models.
    lost: usize,
    seed: u64,
}

/// A way to label.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The model that answers, of a cascade the dear one.
    pub(super) model: usize,
    /// The cheap model of a cascade, and what it promises.
    pub(super) cascade: Option<(usize, f64)>,
    /// What is asked, by category.
    pub(super) parts: Vec<Part>,
    /// Share of the rows that the dear model of a cascade is asked about.
    asked: Option<f64>,
    seconds: f64,
    /// Mean F1 on the rows that choose.
    f1: f64,
}

/// How a plan asks for one category.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The wording, by its place in [`Tried::wordings`].
    pub(super) wording: usize,
    /// Its place among those that the model takes.
    of_model: usize,
    pub(super) threshold: f32,
    /// The question, where the wording is in a style that a categories file has no word for.
    pub(super) prompt: Option<String>,
    band: Option<Band>,
}

/// Where a cheap model leaves a category open.
#[derive(Debug, Clone, Copy)]
struct Band {
    /// The place of the wording among those that the cheap model takes.
    of_cheap: usize,
    low: f32,
    high: f32,
}

/// Refuses categories of which too little is known.
///
/// # Errors
/// [`AppError::Usage`], which says how much more is needed.
pub(super) fn check(tried: &[Tried], truth: &Known) -> Result<(), AppError> {
    for (one, known) in tried.iter().zip(&truth.0) {
        let of = |is: bool| known.iter().filter(|said| **said == Some(is)).count();
        let (yes, no) = (of(true), of(false));
        if yes < FEWEST || no < FEWEST {
            return Err(AppError::Usage(format!(
                "'{}' is true of {} and not of {no}: of either kind at least {FEWEST} are needed, half of which choose and half judge",
                one.name(),
                count(yes as u64, "row", "rows"),
            )));
        }
    }
    Ok(())
}

impl Trials {
    /// # Errors
    /// [`AppError::Usage`] where too few rows are left whose images every model could judge.
    pub(super) fn new(
        tried: Vec<Tried>,
        trials: Vec<Trial>,
        truth: Known,
        seed: u64,
    ) -> Result<Self, AppError> {
        let all = |row: usize| {
            let scores = trials
                .iter()
                .flat_map(|trial| trial.scores.iter().flatten());
            scores.map(move |scores| scores[row])
        };
        let rows = truth.rows();
        let whole: Vec<usize> = (0..rows)
            .filter(|row| all(*row).all(|s| !s.is_nan()))
            .collect();
        let left = Known(
            (truth.0.iter())
                .map(|known| whole.iter().map(|row| known[*row]).collect())
                .collect(),
        );
        check(&tried, &left)?;
        // The same picture twice has the same scores of everything: both copies are on one side.
        let mut pictures: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut units: Vec<Vec<usize>> = Vec::new();
        for row in &whole {
            let key: Vec<u32> = all(*row).map(f32::to_bits).collect();
            let unit = *pictures.entry(key).or_insert_with(|| {
                units.push(Vec::new());
                units.len() - 1
            });
            units[unit].push(*row);
        }
        let halves = halves(&truth, units, seed);
        Ok(Self {
            lost: rows - whole.len(),
            tried,
            trials,
            truth,
            halves,
            seed,
        })
    }

    /// The frontier, and which of it is chosen: the best that takes at most `within` seconds per thousand images.
    ///
    /// # Errors
    /// [`AppError::Usage`] where all take longer.
    pub(super) fn report(&self, within: Option<f64>) -> Result<(Report, Plan), AppError> {
        let own: Vec<Plan> = (0..self.trials.len())
            .map(|model| self.as_it_comes(model))
            .collect();
        let mut plans = own.clone();
        plans.extend((0..self.trials.len()).map(|model| self.tuned(model)));
        for dear in 0..self.trials.len() {
            for cheap in 0..self.trials.len() {
                if self.trials[cheap].seconds < self.trials[dear].seconds {
                    plans.extend(
                        PROMISES
                            .iter()
                            .filter_map(|p| self.cascade(cheap, dear, *p)),
                    );
                }
            }
        }
        let tried = plans.len() as u64;
        let frontier = frontier(plans);
        let affordable = frontier
            .iter()
            .rposition(|plan| within.is_none_or(|most| plan.seconds <= most));
        let Some(chosen) = affordable else {
            return Err(AppError::Usage(format!(
                "everything takes more than --within {} seconds per thousand images; the cheapest, {}, takes {:.2}",
                within.unwrap_or_default(),
                self.trials[frontier[0].model].candidate.name,
                frontier[0].seconds
            )));
        };
        let mut notes = Vec::new();
        if self.lost > 0 {
            notes.push(format!(
                "{} left out, whose image could not be judged",
                count(self.lost as u64, "row", "rows")
            ));
        }
        let report = Report {
            picsift: env!("CARGO_PKG_VERSION").to_string(),
            table: String::new(),
            chosen_by: self.halves[0].len() as u64,
            judged_by: self.halves[1].len() as u64,
            tried,
            asked: 0,
            kept: 0,
            timed: 0,
            frontier: frontier.iter().map(|plan| self.judged(plan)).collect(),
            as_they_come: own.iter().map(|plan| self.judged(plan)).collect(),
            chosen,
            notes,
        };
        Ok((report, frontier[chosen].clone()))
    }

    /// A model in its first wordings, with the thresholds that it would have.
    fn as_it_comes(&self, model: usize) -> Plan {
        let parts = self.tried.iter().enumerate().map(|(category, one)| {
            let part = self.part(model, category, 0);
            let given = one.category.spec.threshold;
            Part {
                threshold: given.unwrap_or(part.threshold),
                ..part
            }
        });
        let seconds = self.trials[model].seconds;
        self.plan(model, None, parts.collect(), seconds)
    }

    /// A model with the best wordings and thresholds.
    fn tuned(&self, model: usize) -> Plan {
        let places = |category: usize| 0..self.trials[model].candidate.usable[category].len();
        let parts =
            (0..self.tried.len()).map(|category| self.best(model, category, places(category)));
        self.plan(model, None, parts.collect(), self.trials[model].seconds)
    }

    /// The best of some wordings of a category; of equals the first.
    fn best(&self, model: usize, category: usize, places: impl Iterator<Item = usize>) -> Part {
        let trial = &self.trials[model];
        let mut best: Option<(Part, f64)> = None;
        for of_model in places {
            let scores = &trial.scores[category][of_model];
            let mut rows = Rows::<u32>::default();
            for &row in &self.halves[0] {
                rows.push(Row {
                    truth: self.truth.0[category][row],
                    predicted: Some(false),
                    score: Some(f64::from(scores[row])),
                    weight: None,
                });
            }
            rows.sort();
            let (threshold, f1) = match sweep(&rows, Goal::BestF1) {
                Ok(choice) => (choice.threshold, choice.f1),
                Err(_) => (trial.candidate.handle.info().default_threshold, 0.0),
            };
            if best.as_ref().is_none_or(|(_, top)| f1 > top + 1e-9) {
                let part = Part {
                    threshold,
                    ..self.part(model, category, of_model)
                };
                best = Some((part, f1));
            }
        }
        best.map_or_else(|| self.part(model, category, 0), |(part, _)| part)
    }

    /// A category in one of the wordings that the model takes, with its usual threshold.
    fn part(&self, model: usize, category: usize, of_model: usize) -> Part {
        let candidate = &self.trials[model].candidate;
        let wording = candidate.usable[category][of_model];
        let asked = &self.tried[category].wordings[wording].spec.category;
        let question = match asked.style == PromptStyle::default() {
            true => None,
            false => candidate.handle.category(asked).ok(),
        };
        Part {
            wording,
            of_model,
            threshold: match asked.head.is_some() {
                true => HEAD_THRESHOLD,
                false => candidate.handle.info().default_threshold,
            },
            prompt: question.and_then(|question| question.text().map(str::to_string)),
            band: None,
        }
    }

    /// The dear model with its best wordings among those that both take, after the cheap one; `None` where there are none or nothing is
    /// spared. A head is the cheap model's, as it is of a job.
    fn cascade(&self, cheap: usize, dear: usize, promise: f64) -> Option<Plan> {
        let (first, second) = (&self.trials[cheap], &self.trials[dear]);
        let mut parts = Vec::new();
        for (category, one) in self.tried.iter().enumerate() {
            let taught = |wording: usize| one.wordings[wording].spec.category.head.is_some();
            let (of_first, of_second) = (
                &first.candidate.usable[category],
                &second.candidate.usable[category],
            );
            let head = of_first.iter().position(|wording| taught(*wording));
            let both = (0..of_second.len()).filter(|place| {
                let wording = of_second[*place];
                !taught(wording) && (head.is_some() || of_first.contains(&wording))
            });
            let both: Vec<usize> = both.collect();
            if both.is_empty() {
                return None;
            }
            let mut part = self.best(dear, category, both.into_iter());
            let same = of_first.iter().position(|wording| *wording == part.wording);
            part.band = Some(self.band(cheap, head.or(same)?, dear, category, &part, promise));
            parts.push(part);
        }
        let rows: usize = self.halves.iter().map(Vec::len).sum();
        let open = self.halves.iter().flatten().filter(|row| {
            let mut each = parts.iter().enumerate();
            each.any(|(category, part)| {
                part.band.is_some_and(|band| {
                    let score = first.scores[category][band.of_cheap][**row];
                    score >= band.low && score < band.high
                })
            })
        });
        let asked = open.count() as f64 / rows as f64;
        if asked >= 1.0 {
            return None;
        }
        let seconds = first.seconds + asked * second.seconds;
        let plan = self.plan(dear, Some((cheap, promise)), parts, seconds);
        Some(Plan {
            asked: Some(asked),
            ..plan
        })
    }

    /// The widest thresholds of the cheap model that keep the promise on the rows that choose, as a large sample would find them.
    fn band(
        &self,
        cheap: usize,
        of_cheap: usize,
        dear: usize,
        category: usize,
        part: &Part,
        promise: f64,
    ) -> Band {
        let said = &self.trials[dear].scores[category][part.of_model];
        let scores = &self.trials[cheap].scores[category][of_cheap];
        let of = |holds: bool| {
            let rows = self.halves[0].iter();
            let mut of: Vec<f32> = rows
                .filter(|row| (said[**row] >= part.threshold) == holds)
                .map(|row| scores[*row])
                .collect();
            of.sort_by(f32::total_cmp);
            of
        };
        let (yes, no) = (of(true), of(false));
        let missed = ((1.0 - promise) * yes.len() as f64) as usize;
        let low = yes.get(missed).copied().unwrap_or(f32::NEG_INFINITY);
        let mistaken =
            ((1.0 / promise - 1.0) * (yes.len() - missed.min(yes.len())) as f64) as usize;
        let open: Vec<f32> = no.into_iter().rev().filter(|score| *score >= low).collect();
        let high = match open.get(mistaken) {
            Some(score) => score.next_up(),
            None => low,
        };
        Band {
            of_cheap,
            low,
            high,
        }
    }

    fn plan(
        &self,
        model: usize,
        cascade: Option<(usize, f64)>,
        parts: Vec<Part>,
        seconds: f64,
    ) -> Plan {
        let mut plan = Plan {
            model,
            cascade,
            parts,
            asked: None,
            seconds,
            f1: 0.0,
        };
        let each = (0..self.tried.len()).map(|category| {
            let mut counts = Confusion::default();
            for &row in &self.halves[0] {
                if let Some(is) = self.truth.0[category][row] {
                    counts.count(is, self.holds(&plan, category, row), 1.0);
                }
            }
            counts.f1().unwrap_or(0.0)
        });
        plan.f1 = each.sum::<f64>() / self.tried.len() as f64;
        plan
    }

    /// What the plan says of a row.
    fn holds(&self, plan: &Plan, category: usize, row: usize) -> bool {
        let part = &plan.parts[category];
        let dear =
            || self.trials[plan.model].scores[category][part.of_model][row] >= part.threshold;
        match plan.cascade.zip(part.band) {
            None => dear(),
            Some(((cheap, _), band)) => {
                let score = self.trials[cheap].scores[category][band.of_cheap][row];
                match (score < band.low, score >= band.high) {
                    (true, _) => false,
                    (_, true) => true,
                    _ => dear(),
                }
            }
        }
    }

    /// A plan with its figures on the rows that judge.
    fn judged(&self, plan: &Plan) -> PlanReport {
        let each = (0..self.tried.len()).map(|category| {
            let mut rows = Rows::<u32>::default();
            for &row in &self.halves[1] {
                rows.push(Row {
                    truth: self.truth.0[category][row],
                    predicted: Some(self.holds(plan, category, row)),
                    score: None,
                    weight: None,
                });
            }
            rows.sort();
            judge(&rows, false, false, self.seed.wrapping_add(category as u64))
        });
        let judged: Vec<_> = each.collect();
        let name = |model: usize| self.trials[model].candidate.name.clone();
        let categories = self.tried.iter().zip(&plan.parts).zip(&judged);
        PlanReport {
            model: name(plan.model),
            cascade: plan.cascade.map(|(cheap, _)| name(cheap)),
            promise: plan.cascade.map(|(_, promise)| promise),
            asked: plan.asked,
            seconds_per_thousand: plan.seconds,
            f1: overall(&judged, false).macro_mean.f1,
            f1_of_choosing: plan.f1,
            categories: categories
                .map(|((one, part), judged)| CategoryPlan {
                    name: one.name().to_string(),
                    wording: one.wordings[part.wording].said.clone(),
                    threshold: part.threshold,
                    f1: judged.figures.f1,
                })
                .collect(),
        }
    }
}

/// The plans of which none that costs as little is as good, cheapest first.
fn frontier(mut plans: Vec<Plan>) -> Vec<Plan> {
    plans.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then(b.f1.total_cmp(&a.f1)));
    let mut best = f64::NEG_INFINITY;
    plans.retain(|plan| {
        let better = plan.f1 > best + 1e-9;
        best = best.max(plan.f1);
        better
    });
    plans
}

/// Deals units of rows into two halves, each with its share of every category's yeses, those of the rarest first (Sechidis et al. 2011).
fn halves(truth: &Known, units: Vec<Vec<usize>>, seed: u64) -> [Vec<usize>; 2] {
    let mut random = StdRng::seed_from_u64(seed);
    let mut units: Vec<Option<Vec<usize>>> = units.into_iter().map(Some).collect();
    for at in (1..units.len()).rev() {
        units.swap(at, random.random_range(0..=at));
    }
    let yes = |category: usize, rows: &[usize]| {
        rows.iter()
            .filter(|row| truth.0[category][**row] == Some(true))
            .count()
    };
    let all: Vec<usize> = units.iter().flatten().flatten().copied().collect();
    let mut order: Vec<usize> = (0..truth.0.len()).collect();
    order.sort_by_key(|category| yes(*category, &all));
    let mut halves = [Vec::new(), Vec::new()];
    for category in order.into_iter().map(Some).chain([None]) {
        for unit in &mut units {
            let Some(rows) = unit.take_if(|rows| category.is_none_or(|c| yes(c, rows) > 0)) else {
                continue;
            };
            let has = |half: &Vec<usize>| (category.map_or(0, |c| yes(c, half)), half.len());
            let to = usize::from(has(&halves[1]) < has(&halves[0]));
            halves[to].extend(rows);
        }
    }
    halves
}
