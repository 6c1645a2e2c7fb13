//! `picsift gallery`: a labelled table as static pages, to look at and to correct.
//!
//! [`rows`] turns the table into thumbnails and scripts, [`data`] owns the form of those, `assets/` holds the pages, [`serve`] shows
//! the folder on this machine and takes corrections, [`kept`] is their file, [`plain`] reads the folder without following links. How good the labels are is `crate::eval`'s to say.

mod assets;
pub mod data;
pub mod kept;
mod plain;
pub mod rows;
pub mod serve;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::functions_window::expr_fn::row_number;
use datafusion::prelude::DataFrame;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use picsift_udf::Engine;
use serde_json::Value;
use url::Url;

use crate::batches;
use crate::cli::{GalleryArgs, TruthArgs};
use crate::error::AppError;
use crate::eval::gather::plain;
use crate::eval::join::{self, counted};
use crate::eval::truth::Truth;
use crate::eval::{self, report::Evaluation};
use crate::labelled::{Labelled, LabelledCategory};
use crate::output::folder::{self, Folder};
use crate::printer::{note, say};
use crate::{session, signals, tables};
use assets::ASSETS;
use data::{CHUNK, CategoryMeta, Column, Meta, VERSION};
use rows::{Made, Making};

/// The file that says that picsift made the folder.
pub const MARKER: &str = "_picsift_gallery.json";

/// Rows up to which larger copies are made unless something else is said.
const PICTURE_ROWS: u64 = 2000;

/// Most rows: thumbnails of more are no gallery but a disk full of them.
const MOST_ROWS: u64 = 1_000_000;

/// The threshold that is drawn where the table's own is not known.
const THRESHOLD: f32 = 0.5;

/// The place of a row in the table.
const PLACE: &str = "picsift_place";

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn gallery(args: GalleryArgs) -> Result<(), AppError> {
    let shown_only = args.inputs.is_empty();
    if shown_only && !args.serve {
        return Err(AppError::Usage(
            "name the labelled table that the gallery is of".to_string(),
        ));
    }
    if !shown_only {
        signals::unless_stopped(make(&args), "no gallery was written").await?;
    }
    if args.serve {
        serve::serve(Path::new(&args.output), args.port).await?;
    }
    Ok(())
}

async fn make(args: &GalleryArgs) -> Result<(), AppError> {
    let started = Instant::now();
    let folder = Folder::begin(&args.output, MARKER, args.overwrite)?;
    let corrected = kept::read(Path::new(&args.output))?;
    let engine = Arc::new(Engine::new(
        args.limits.engine_options(None, Some(&args.fetch))?,
    )?);
    let context = session::session(&engine, 1).map_err(AppError::Plan)?;
    session::keep_joins(&context);
    let labelled = Labelled::open(&context, &args.inputs).await?;
    let Some(image) = args.image.clone().or(labelled.image.clone()) else {
        return Err(AppError::Usage(format!(
            "{} has no image column to show; say which with --image COLUMN",
            labelled.shown
        )));
    };
    let evaluation = match args.truth.is_empty() {
        true => None,
        false => {
            let wanted = eval::Wanted {
                inputs: &args.inputs,
                truth: &args.truth,
                mistakes: 0,
                seed: 0,
                goal: None,
            };
            Some(eval::evaluate(&wanted).await?)
        }
    };
    let (frame, truth) = truth(&context, &labelled, &args.truth).await?;
    let rows = counted(labelled.frame.clone()).await?;
    let rows = args.limit.map_or(rows, |limit| rows.min(limit as u64));
    if rows > MOST_ROWS {
        return Err(AppError::Usage(format!(
            "{rows} rows are too many for a gallery (at most {MOST_ROWS}); take some with --limit, or draw them with picsift sample"
        )));
    }
    let pictures = match (args.pictures, args.no_pictures) {
        (true, _) => true,
        (_, true) => false,
        _ => {
            let few = rows <= PICTURE_ROWS;
            if !few {
                note!(
                    "more than {PICTURE_ROWS} rows: thumbnails alone are made; --pictures makes larger copies too"
                );
            }
            few
        }
    };
    let making = Making {
        engine: &engine,
        labelled: &labelled,
        image: &image,
        base: base(args, &labelled)?,
        truth,
        pictures,
        corrected: corrected.into_iter().map(|one| one.key).collect(),
        folder: folder.path(),
        bar: bar(rows),
    };
    let rows = selected(frame, &making, args.limit).map_err(AppError::Plan)?;
    let stream = batches::stream(rows).await.map_err(AppError::Run)?;
    let made = making.run(stream).await?;
    making.bar.finish_and_clear();
    let index = describe(args, &labelled, &made, evaluation.as_ref(), pictures)?;
    let former = Path::new(&args.output);
    let corrections = tokio::task::block_in_place(|| publish(folder, former, &index, &made))?;
    if corrections > 0 {
        say!("{corrections} corrections of the gallery that was there are kept");
    }
    say(args, &labelled, &made, started);
    Ok(())
}

/// The rows with their truth, where one is asked for.
async fn truth(
    context: &datafusion::prelude::SessionContext,
    labelled: &Labelled,
    asked: &TruthArgs,
) -> Result<(DataFrame, Option<Truth>), AppError> {
    let frame = labelled.frame.clone();
    match &asked.file {
        Some(file) => {
            let key = asked.key.as_deref();
            // A plan knows rows to be in order only by a column that says so; then it needs no sort.
            let rows = frame.window(vec![row_number().alias(PLACE)]);
            let rows = rows.map_err(AppError::Plan)?;
            let beside = join::beside(context, labelled, rows, file, key, &asked.columns).await?;
            let frame = beside.frame.sort(vec![plain(PLACE).sort(true, false)]);
            let frame = frame.map_err(AppError::Plan)?;
            Ok((frame, Some(beside.truth)))
        }
        None if asked.columns.is_empty() => Ok((frame, None)),
        None => {
            let truth = Truth::resolve(&asked.columns, &labelled.categories, &labelled.schema)?;
            Ok((frame, Some(truth)))
        }
    }
}

fn base(args: &GalleryArgs, labelled: &Labelled) -> Result<Option<Url>, AppError> {
    match &args.base {
        None => Ok(labelled.base.clone()),
        Some(text) => {
            let location = tables::locate(text).map_err(AppError::Plan)?;
            Ok(picsift_udf::table_base(&location))
        }
    }
}

/// The columns that a gallery needs.
fn selected(
    frame: DataFrame,
    making: &Making<'_>,
    limit: Option<usize>,
) -> datafusion::common::Result<DataFrame> {
    let labelled = making.labelled;
    let mut names = vec![making.image.to_string()];
    for category in &labelled.categories {
        names.push(category.is_column.clone());
        names.extend(category.score_column.clone());
    }
    let own = &labelled.columns;
    names.extend(
        [&own.label, &own.source, &own.error]
            .into_iter()
            .flatten()
            .cloned(),
    );
    let all: Vec<usize> = (0..labelled.categories.len()).collect();
    names.extend(making.truth.iter().flat_map(|truth| truth.columns(&all)));
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    let frame = frame.select(once.iter().map(|name| plain(name)).collect::<Vec<_>>())?;
    match limit {
        Some(limit) => frame.limit(0, Some(limit)),
        None => Ok(frame),
    }
}

fn describe(
    args: &GalleryArgs,
    labelled: &Labelled,
    made: &Made,
    evaluation: Option<&Evaluation>,
    pictures: bool,
) -> Result<Meta, AppError> {
    let part = |name: &str| {
        let value = labelled.model()?.get(name)?.as_str()?;
        Some(value.to_string())
    };
    let mut categories = Vec::new();
    for (index, (category, column)) in labelled.categories.iter().zip(&made.columns).enumerate() {
        let judged = evaluation.and_then(|evaluation| evaluation.categories.get(index));
        let judged = judged
            .map(serde_json::to_value)
            .transpose()
            .map_err(AppError::json)?;
        categories.push(category_meta(category, column, judged));
    }
    let title = args.title.clone().unwrap_or_else(|| named(&labelled.shown));
    let id = picsift_images::sha256(format!("{}\n{}", labelled.shown, args.output).as_bytes());
    Ok(Meta {
        version: VERSION,
        title,
        id: picsift_images::hex(&id[..8]),
        model: part("name"),
        revision: part("revision"),
        rows: made.rows,
        chunk: CHUNK,
        pictures,
        categories,
        errors: made.errors.len(),
        notes: evaluation.map(|e| e.notes.clone()).unwrap_or_default(),
        serve: None,
    })
}

/// What a gallery of this table is called: the end of its path, for the rest is this machine's own business.
fn named(shown: &str) -> String {
    let end = shown.trim_end_matches('/').rsplit('/').next();
    end.filter(|end| !end.is_empty())
        .unwrap_or(shown)
        .to_string()
}

fn category_meta(
    category: &LabelledCategory,
    column: &Column,
    evaluation: Option<Value>,
) -> CategoryMeta {
    let [refused, held, unknown] = column.counts();
    CategoryMeta {
        name: category.name.clone(),
        prompt: category.prompt.clone(),
        threshold: category.threshold.unwrap_or(THRESHOLD),
        held,
        refused,
        unknown,
        histogram: column.histogram(),
        truth: column.truth.is_some(),
        evaluation,
    }
}

/// Writes what is known only at the end, and puts the folder in the place of `former`, whose corrections it takes over: how many.
fn publish(folder: Folder, former: &Path, meta: &Meta, made: &Made) -> Result<usize, AppError> {
    let path = folder.path();
    for (name, text) in ASSETS {
        folder::write(path, name, text)?;
    }
    for (index, column) in made.columns.iter().enumerate() {
        folder::write(
            path,
            &format!("data/category-{index}.js"),
            column.script(index),
        )?;
    }
    let errors = data::script("errors", "", &made.errors).map_err(AppError::json)?;
    folder::write(path, "data/errors.js", errors)?;
    let script = data::script("meta", "", meta).map_err(AppError::json)?;
    folder::write(path, "data/meta.js", script)?;
    let names: Vec<_> = meta.categories.iter().map(|c| c.name.as_str()).collect();
    let marker = serde_json::json!({
        "picsift": env!("CARGO_PKG_VERSION"),
        "version": VERSION,
        "rows": meta.rows,
        "categories": names,
    });
    folder::write(path, MARKER, format!("{marker}\n"))?;
    // Read again: somebody may have gone on correcting, and must wait until the new gallery is there.
    let writing = former.is_dir().then(|| kept::lock(former)).transpose()?;
    let corrections = kept::take_over(former, path, &made.corrected)?;
    folder.publish(&[kept::CORRECTIONS, kept::LOCK])?;
    drop(writing);
    Ok(corrections)
}

fn bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} images, {per_sec}, {eta} left",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn say(args: &GalleryArgs, labelled: &Labelled, made: &Made, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "{} rows of {}, {} without a picture; {} of copies in {seconds:.1} s ({:.0} images/s)",
        made.rows,
        labelled.shown,
        made.errors.len(),
        HumanBytes(made.bytes),
        made.rows as f64 / seconds.max(1e-9),
    );
    if made.credentials > 0 {
        note!(
            "{} references have a query or password, which may be a credential; data/ has them, for corrections need their keys: think before you publish it",
            made.credentials
        );
    }
    if !args.serve {
        say!(
            "open {} in a browser, or run picsift gallery -o {} --serve to keep corrections there",
            Path::new(&args.output).join("index.html").display(),
            args.output
        );
    }
}
