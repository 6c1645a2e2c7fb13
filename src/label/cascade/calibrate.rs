//! The stage of a job that finds out from which scores on the cheap model may decide.
//!
//! Rows are drawn, both models are asked about them a part at a time, and each part is remembered in the journal, as are the thresholds that
//! come of all of them. A job that is carried on draws the same rows, and asks only about those that are not remembered.

use indicatif::HumanCount;

use super::CheapModel;
use super::sample::{Left, SampledRow, ask, draw, embed};
use super::taught::{self, learn};
use crate::cascade::draw::Place;
use crate::cascade::{Judged, size, thresholds};
use crate::dataset::Manifest;
use crate::dataset::cascade::{CascadeCategory, CascadeEntry};
use crate::error::AppError;
use crate::label::active::ActiveRun;
use crate::label::cancel::Cancel;
use crate::label::journal::{Journal, Mode};
use crate::label::options::Existing;
use crate::label::prepare::PreparedJob;
use picsift_udf::CascadeCounts;
use picsift_vision::Head;

/// Rows that are asked about before they are remembered: a minute or two of a large model.
const PART: usize = 250;

/// Share of the rows that have to be spared for thresholds to be worth the cheap model's time.
const LEAST_SPARED: f64 = 0.01;

/// The thresholds of an earlier run that hold for the rows at hand too: those of the same rows.
fn of_before(before: Option<&Manifest>, mode: Mode) -> Option<CascadeEntry> {
    let before = before?;
    let same = match mode {
        Mode::New => false,
        // New files are another table.
        Mode::Append => before.partial.is_some(),
        Mode::Retry => true,
    };
    let entry = before.cascade.clone().filter(|_| same)?;
    Some(CascadeEntry {
        counts: CascadeCounts::default(),
        ..entry
    })
}

/// Finds the thresholds of a job that has none yet and remembers them.
///
/// # Errors
/// As [`find`].
pub(in crate::label) async fn calibrate(
    job: &PreparedJob,
    cheap: &CheapModel,
    active: &mut ActiveRun,
    cancel: &Cancel,
) -> Result<(), AppError> {
    if active.journal.calibrated.is_some() {
        return Ok(());
    }
    if let Some(entry) = of_before(active.before.as_ref(), active.journal.job().mode) {
        return active.journal.calibrated(entry).await;
    }
    let most = active.may_take(job);
    let journal = Some(&mut active.journal);
    let entry = find(job, cheap, &active.left, most, journal, cancel).await?;
    active.journal.calibrated(entry).await
}

/// The thresholds for the rows that are `left`, at most so many; what both models are asked about is remembered in the journal.
///
/// # Errors
/// [`AppError::Usage`] where there are too few rows, or more would have to be asked than may be; [`AppError::Cancelled`]; what is
/// asked by then is remembered.
pub(super) async fn find(
    job: &PreparedJob,
    cheap: &CheapModel,
    left: &Left,
    most: Option<usize>,
    mut journal: Option<&mut Journal>,
    cancel: &Cancel,
) -> Result<CascadeEntry, AppError> {
    let (rows, places) = draw(job, left, most, cheap.options.seed).await?;
    if rows < size::FEWEST_ROWS {
        // What is added to an output may be little.
        return match job.options.existing {
            Existing::Incremental => Ok(nothing(cheap, rows)),
            _ => Err(too_few(rows)),
        };
    }
    let teaches = cheap.promised().any(|place| cheap.to_teach(place));
    let first = match teaches {
        true => size::first_that_teaches(rows),
        false => size::first(rows),
    };
    let mut first = first as usize;
    check_asked(cheap, first as f64, "a first sample alone is")?;
    let mut known = match &mut journal {
        Some(journal) => std::mem::take(&mut journal.sampled),
        None => Vec::new(),
    };
    let taught;
    let mut asking = Asking {
        job,
        cheap,
        left,
        journal,
        cancel,
    };
    asking.ask(&places[..first], &mut known).await?;
    if cheap.head_model().is_some() {
        (taught, first) = learn(&mut asking, &places, &mut known, first).await?;
        asking.cheap = &taught;
    }
    let cheap = asking.cheap;
    let second = second(job, cheap, rows - first as u64, &known[..first]) as usize;
    let last = places.len().min(first + second);
    check_asked(cheap, last as f64, "the sample alone would be")?;
    asking.ask(&places[..last], &mut known).await?;
    let entry = entry(job, cheap, rows, &known, first);
    let expected = last as f64 + (rows as f64 - last as f64) * entry.unsure;
    check_asked(cheap, expected, "with its thresholds they would be about")?;
    Ok(entry)
}

/// That a table has so few rows that no sample of it says anything.
fn too_few(rows: u64) -> AppError {
    AppError::Usage(format!(
        "the input has {rows} rows, and a cascade needs at least {} for its sample; label it without --cascade",
        size::FEWEST_ROWS
    ))
}

/// The cascade that decides nothing about so few rows.
fn nothing(cheap: &CheapModel, rows: u64) -> CascadeEntry {
    CascadeEntry {
        cheap: serde_json::to_value(cheap.model.info()).unwrap_or_default(),
        confidence: cheap.options.confidence,
        audit: cheap.options.audit,
        rows,
        sampled: 0,
        unsure: 1.0,
        categories: Vec::new(),
        counts: CascadeCounts::default(),
        notes: vec![format!(
            "{rows} rows are too few for a sample, so the dear model is asked about all of them"
        )],
    }
}

/// Refuses to ask about more images than may be.
fn check_asked(cheap: &CheapModel, images: f64, what: &str) -> Result<(), AppError> {
    match cheap.options.max_asked {
        Some(most) if images > most as f64 => Err(AppError::Usage(format!(
            "--max-asked {most} is too few images to keep the promise: {what} {}; raise it, or promise less",
            HumanCount(images.ceil() as u64)
        ))),
        _ => Ok(()),
    }
}

/// What asks about a sample.
pub(super) struct Asking<'a> {
    pub(super) job: &'a PreparedJob,
    pub(super) cheap: &'a CheapModel,
    left: &'a Left,
    journal: Option<&'a mut Journal>,
    cancel: &'a Cancel,
}

impl Asking<'_> {
    /// Asks about the places that `known` has nothing of yet, and remembers it.
    ///
    /// # Errors
    /// When rows cannot be read or a model not be had; [`AppError::Cancelled`].
    pub(super) async fn ask(
        &mut self,
        places: &[Place],
        known: &mut Vec<SampledRow>,
    ) -> Result<(), AppError> {
        while known.len() < places.len() {
            let part = &places[known.len()..places.len().min(known.len() + PART)];
            let asked = tokio::select! {
                asked = ask(self.job, self.cheap, self.left, part) => asked?,
                () = self.cancel.stopped() => return Err(cancelled(known.len())),
            };
            if asked.len() != part.len() {
                return Err(AppError::Usage(format!(
                    "{} of {} rows of the sample could not be read again",
                    part.len() - asked.len(),
                    part.len()
                )));
            }
            if let Some(journal) = &mut self.journal {
                journal.sampled(&asked).await?;
            }
            known.extend(asked);
            tracing::info!(rows = known.len(), of = places.len(), "both models asked");
            if self.cancel.is_asked() {
                return Err(cancelled(known.len()));
            }
        }
        Ok(())
    }
}

impl Asking<'_> {
    /// The cheap model's embeddings of the same rows in the same order.
    ///
    /// # Errors
    /// As [`Asking::ask`].
    pub(super) async fn embed(&self, places: &[Place]) -> Result<Vec<Option<Vec<f32>>>, AppError> {
        let mut all = Vec::with_capacity(places.len());
        for part in places.chunks(PART) {
            all.extend(embed(self.job, self.cheap, self.left, part).await?);
        }
        Ok(all)
    }
}

fn cancelled(rows: usize) -> AppError {
    AppError::Cancelled {
        state: format!(
            "{} rows of its sample are asked and kept; the same command goes on from there",
            HumanCount(rows as u64)
        ),
    }
}

/// Rows of the second sample: as many as the category that needs most.
fn second(job: &PreparedJob, cheap: &CheapModel, rows: u64, first: &[SampledRow]) -> u64 {
    let each = cheap.promised().enumerate().map(|(at, place)| {
        let judged = judged(job, first, at, place);
        size::second(rows, &judged, &cheap.promises[place], risk(cheap))
    });
    each.max().unwrap_or(0)
}

/// The risk of one category's promises: all of them hold together with the confidence.
fn risk(cheap: &CheapModel) -> f64 {
    (1.0 - cheap.options.confidence) / cheap.promised().count().max(1) as f64
}

/// The rows that both models have a score of, for the category at `place` of the job, which is the `at`-th of those sampled.
pub(super) fn judged(
    job: &PreparedJob,
    rows: &[SampledRow],
    at: usize,
    place: usize,
) -> Vec<Judged> {
    let threshold = job.columns.labelling.thresholds()[place];
    let both = rows.iter().filter_map(|row| {
        Some(Judged {
            score: row.cheap[at]?,
            holds: row.dear[at]? >= threshold,
        })
    });
    both.collect()
}

fn entry(
    job: &PreparedJob,
    cheap: &CheapModel,
    rows: u64,
    known: &[SampledRow],
    first: usize,
) -> CascadeEntry {
    let second = &known[first..];
    let mut categories = Vec::new();
    for (at, place) in cheap.promised().enumerate() {
        let promise = &cheap.promises[place];
        let found = thresholds(&judged(job, second, at, place), promise, risk(cheap));
        let category = &cheap.specs[place].category;
        let head = category.head.as_ref().map(Head::hex);
        let taught = category.head.as_ref().filter(|_| cheap.taught[place]);
        categories.push(CascadeCategory {
            taught: taught.and_then(taught::write),
            ..CascadeCategory::new(&category.name, head, promise, &found)
        });
    }
    let decided = |row: &SampledRow| {
        let mut each = categories.iter().zip(&row.cheap);
        each.all(|(category, score)| {
            score.is_some_and(|score| {
                category.low.is_some_and(|low| score < low)
                    || category.high.is_some_and(|high| score >= high)
            })
        })
    };
    // Of a category that nothing is promised of, every image is asked about.
    let spared = match categories.len() == cheap.specs.len() {
        true => known.iter().filter(|row| decided(row)).count(),
        false => 0,
    };
    let unsure = 1.0 - spared as f64 / known.len().max(1) as f64;
    let mut notes = Vec::new();
    for category in categories.iter().filter(|category| !category.decides()) {
        notes.push(format!(
            "of '{}' the cheap model decides nothing: {} of {} rows of the sample held, and its scores tell them from the others too \
             little",
            category.name, category.held, category.sampled
        ));
    }
    if 1.0 - unsure < LEAST_SPARED {
        notes.push(
            "no thresholds would spare the dear model anything, so it is asked about every image"
                .to_string(),
        );
        for category in &mut categories {
            (category.low, category.high) = (None, None);
            (category.recall, category.precision) = (1.0, 1.0);
        }
    }
    CascadeEntry {
        sampled: known.len() as u64,
        unsure,
        categories,
        notes,
        ..nothing(cheap, rows)
    }
}
