//! What is best for the price: models, wordings, thresholds and cascades tried on rows whose truth is known.
//!
//! `candidates` says what is tried, `reading` asks each model about the rows, `timing` what that costs, `choosing` makes plans of the
//! answers, [`report`] shows the best of them and `writing` makes a categories file of one. What chooses is one half of the rows; what is
//! said of a plan is measured on the other, which has chosen nothing: not its wordings and thresholds, and not the plan among the others.
//! A bound over all that was tried would hold for both halves too, but grows with each candidate that nobody wants.

mod candidates;
mod choosing;
mod reading;
pub mod report;
mod timing;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use picsift_udf::{AtEnd, Engine, EngineOptions, InferenceQuota, ModelHandle};
use picsift_vision::moondream::SHAPES_NAME;
use picsift_vision::registry::inspect;
use picsift_vision::{DeviceChoice, HubSettings, LoadOptions, models};

use crate::disk;
use crate::error::AppError;
use crate::eval::TruthOptions;
use crate::eval::figures::count;
use crate::options::CategoryOptions;
use candidates::Tried;
use choosing::{Trial, Trials};
use reading::{Answers, Reading};
use report::Report;

/// Most models that are tried.
const MOST_MODELS: usize = 16;

/// What is tried, on what, and where the best goes.
#[derive(Debug, Clone, Default)]
pub struct TuneOptions {
    /// Tables with images, of which some rows have a truth.
    pub inputs: Vec<String>,
    /// What is true.
    pub truth: TruthOptions,
    /// The categories; their names, prompts, nouns, templates and heads are the first wordings. None are those of `candidates`.
    pub categories: CategoryOptions,
    /// A TOML file of further wordings.
    pub candidates: Option<PathBuf>,
    /// The models; none are those whose files are on this machine.
    pub models: Vec<String>,
    /// Where they run.
    pub device: DeviceChoice,
    /// Local file that gets the categories as they are chosen; `None` writes nothing.
    pub output: Option<String>,
    /// Whether a file that is there is replaced.
    pub overwrite: bool,
    /// Most seconds per thousand images of what is chosen; `None` is the best at any price.
    pub within: Option<f64>,
    /// Most images that models are shown, all of them together; `None` is no bound.
    pub max_images: Option<u64>,
    /// Column of the images; `None` is the only candidate.
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to; `None` is that of the table.
    pub base: Option<String>,
    /// Seed of the halves and of intervals.
    pub seed: u64,
    /// Limits on an image, what references may reach, where answers are kept.
    pub engine: EngineOptions,
}

/// Tries what there is and writes the best of it, if that is wanted.
///
/// # Errors
/// [`AppError`]; the output is as it was before then. What models have answered by then is kept.
pub async fn tune(options: &TuneOptions) -> Result<Report, AppError> {
    let output = options.output.as_deref().map(|output| {
        check_output(output, options.overwrite)?;
        std::path::absolute(output).map_err(AppError::file("write", Path::new(output)))
    });
    let output = output.transpose()?;
    if options.truth.is_empty() {
        return Err(AppError::Usage(
            "say what is true: --truth COLUMN of the table, or --truth-file FILE".to_string(),
        ));
    }
    let tried = candidates::tried(&options.categories, options.candidates.as_deref())?;
    let engine = Arc::new(Engine::new(options.engine.clone())?);
    let quota = Arc::new(InferenceQuota::new(options.max_images, None, AtEnd::Stop));
    let reading = Reading::open(options, &engine, &quota, &tried).await?;
    let truth = reading.truth().await?;
    choosing::check(&tried, &truth)?;
    let mut notes = reading.notes().to_vec();
    if tried.iter().any(|one| one.heads.is_some()) {
        notes.push(
            "what was taught is judged fairly only by rows that it was not taught by: teach it with others than these"
                .to_string(),
        );
    }
    let mut candidates = candidates(options, &engine, &tried, &mut notes)?;
    let speeds = timing::time(options, &engine, &quota, &tried, &candidates).await?;
    for (candidate, speed) in candidates.iter_mut().zip(&speeds) {
        candidate.seconds = speed.map(|speed| speed.seconds);
    }
    // The cheap ones first, so that a budget buys as many as it can.
    candidates.sort_by(|a, b| {
        let price = |one: &Candidate| one.seconds.unwrap_or(f64::INFINITY);
        price(a).total_cmp(&price(b))
    });
    let mut trials = Vec::new();
    for candidate in candidates {
        let out_of_budget = |rows: usize| {
            format!(
                "{} left out: --max-images {} ended after {rows} of its {}; what was answered is kept, so that a larger number goes on from there",
                candidate.name,
                options.max_images.unwrap_or_default(),
                count(truth.rows() as u64, "row", "rows"),
            )
        };
        let Some(seconds) = candidate.seconds else {
            notes.push(out_of_budget(0));
            continue;
        };
        match reading.ask(&candidate, &tried, &truth).await? {
            Answers::All(scores) => trials.push(Trial {
                candidate,
                seconds,
                scores,
            }),
            Answers::Part(rows) => notes.push(out_of_budget(rows)),
        }
    }
    if trials.is_empty() {
        return Err(AppError::Usage(format!(
            "nothing was tried to its end: {}",
            notes.join("; ")
        )));
    }
    let counted = reading.counted();
    let (shown, seed, within) = (reading.shown(), options.seed, options.within);
    let categories = tried.clone();
    let found = disk::blocking(move || {
        let trials = Trials::new(categories, trials, truth, seed)?;
        trials.report(within)
    });
    let (mut report, chosen) = found.await?;
    let timed = speeds
        .iter()
        .flatten()
        .map(|speed| speed.images)
        .sum::<u64>();
    report.table = shown;
    report.timed = timed;
    report.asked = counted.asked;
    report.kept = counted.kept;
    notes.append(&mut report.notes);
    report.notes = notes;
    if let Some(output) = output {
        let text = writing::text(&report, &chosen, &tried, &output)?;
        disk::blocking(move || disk::replace(&output, text.as_bytes())).await?;
    }
    Ok(report)
}

/// A model that is tried.
pub(crate) struct Candidate {
    name: String,
    load: LoadOptions,
    handle: ModelHandle,
    /// For each category the wordings that it takes and that differ for it, by their places.
    usable: Vec<Vec<usize>>,
    /// Seconds that a thousand images take; `None` where that is not known.
    seconds: Option<f64>,
}

/// The models that are tried: those that know all categories.
fn candidates(
    options: &TuneOptions,
    engine: &Engine,
    tried: &[Tried],
    notes: &mut Vec<String>,
) -> Result<Vec<Candidate>, AppError> {
    let names = match options.models.is_empty() {
        false => options.models.clone(),
        true => at_hand()?,
    };
    if names.len() > MOST_MODELS {
        return Err(AppError::Usage(format!(
            "{} models are too many to be tried together; name at most {MOST_MODELS}",
            names.len()
        )));
    }
    let mut all: Vec<Candidate> = Vec::new();
    for name in names {
        let load = LoadOptions {
            device: options.device,
            ..LoadOptions::default()
        };
        let handle = engine.model(&name, &load)?;
        let same = |known: &&Candidate| {
            let (a, b) = (known.handle.info(), handle.info());
            (&a.name, &a.revision) == (&b.name, &b.revision)
        };
        if let Some(known) = all.iter().find(same) {
            return Err(AppError::Usage(format!(
                "--models names {} twice, as {} and {name}",
                handle.info().name,
                known.name
            )));
        }
        let each = tried.iter().map(|one| one.usable(&handle));
        match each.collect::<Result<Vec<_>, _>>() {
            Ok(usable) => all.push(Candidate {
                name,
                load,
                handle,
                usable,
                seconds: None,
            }),
            Err(error) => notes.push(format!("{name} left out: {error}")),
        }
    }
    match all.is_empty() {
        false => Ok(all),
        true => Err(AppError::Usage(format!(
            "no model takes every category: {}",
            notes.join("; ")
        ))),
    }
}

/// The names of models whose files are on this machine, but for the toy that knows drawn shapes alone.
fn at_hand() -> Result<Vec<String>, AppError> {
    let settings = HubSettings::from_env()?;
    let mut names = Vec::new();
    for entry in models() {
        if entry.name != SHAPES_NAME && inspect(entry.name, &settings)?.complete() {
            names.push(entry.name.to_string());
        }
    }
    Ok(names)
}

fn check_output(given: &str, overwrite: bool) -> Result<(), AppError> {
    let output = Path::new(given);
    if given.contains("://") || output.is_dir() || given.ends_with('/') {
        return Err(AppError::Usage(format!(
            "the output '{given}' must be a local file, such as categories.toml"
        )));
    }
    match output.symlink_metadata().is_ok() && !(overwrite && output.is_file()) {
        false => Ok(()),
        true => Err(AppError::Usage(format!(
            "the output {given} is there already; name another or replace it with --overwrite"
        ))),
    }
}
