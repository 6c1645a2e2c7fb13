//! A labelled table as static pages, to look at and to correct.
//!
//! [`rows`] turns the table into thumbnails and scripts, [`data`] owns the form of those, `assets/` holds the pages, [`serve`] shows
//! the folder on this machine and takes corrections, whose file is `crate::corrections`'. How good the labels are is `crate::eval`'s to
//! say.

mod assets;
mod beside;
pub mod data;
pub mod rows;
pub mod serve;

use std::path::Path;
use std::sync::Arc;

use datafusion::functions_window::expr_fn::row_number;
use datafusion::prelude::DataFrame;
use picsift_udf::{Engine, EngineOptions};
use serde_json::Value;
use url::Url;

use crate::batches;
use crate::corrections::kept;
use crate::dataset::folder::{self, Folder};
use crate::dataset::{LabelledCategory, Labels};
use crate::error::AppError;
use crate::eval::join::{self, counted};
use crate::eval::truth::Truth;
use crate::eval::{self, EvalOptions, TruthOptions, report::Evaluation};
use crate::session;
use crate::tables::{self, plain};
use assets::ASSETS;
use beside::MOST_COLUMNS;
use data::{CHUNK, CategoryMeta, Column, Meta, NAMES, VERSION};
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

/// What a gallery shows, and where it goes.
#[derive(Debug, Clone)]
pub struct GalleryOptions {
    /// The labelled tables.
    pub inputs: Vec<String>,
    /// Local folder that gets the pages.
    pub output: String,
    /// Whether an earlier gallery is replaced; what was corrected in it stays.
    pub overwrite: bool,
    /// What the pages are headed; `None` is the end of the table's path.
    pub title: Option<String>,
    /// Column of the images; `None` is the one that was labelled.
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to; `None` is that of the table that was labelled.
    pub base: Option<String>,
    /// Most rows; `None` is all.
    pub limit: Option<usize>,
    /// Whether larger copies are made beside the thumbnails; `None` makes them of up to 2,000 rows.
    pub pictures: Option<bool>,
    /// What is true, where disagreement is to be looked for.
    pub truth: TruthOptions,
    /// Limits on an image and what references may reach.
    pub engine: EngineOptions,
}

/// A gallery that was written.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// Rows that it shows.
    pub rows: usize,
    /// Rows without a picture.
    pub without_picture: usize,
    /// Bytes of thumbnails and copies.
    pub bytes: u64,
    /// The labelled tables as a person would write them.
    pub labelled: String,
    /// Corrections of the gallery that was there before.
    pub corrections: usize,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Makes a gallery. `begun` is told how many rows there are, `made` is called when one of them is done.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn gallery(
    args: &GalleryOptions,
    begun: impl FnOnce(u64),
    made: &(dyn Fn() + Sync),
) -> Result<Gallery, AppError> {
    let folder = Folder::begin(&args.output, MARKER, args.overwrite)?;
    let corrected = kept::read(Path::new(&args.output))?;
    let engine = Arc::new(Engine::new(args.engine.clone())?);
    let context = session::session(&engine, 1).map_err(AppError::Plan)?;
    session::keep_joins(&context);
    let labelled = Labels::open(&context, &args.inputs).await?;
    let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
    let Some(image) = args.image.clone().or(labelled.image.clone()) else {
        return Err(AppError::Usage(format!(
            "{} has no image column to show; say which with --image COLUMN",
            labelled.shown
        )));
    };
    let evaluation = match args.truth.is_empty() {
        true => None,
        false => {
            let options = EvalOptions {
                inputs: args.inputs.clone(),
                truth: args.truth.clone(),
                ..EvalOptions::default()
            };
            Some(eval::evaluate(&options).await?)
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
    let pictures = args.pictures.unwrap_or(rows <= PICTURE_ROWS);
    if args.pictures.is_none() && !pictures {
        notes.push(format!(
            "more than {PICTURE_ROWS} rows: thumbnails alone are made; --pictures makes larger copies too"
        ));
    }
    let mut columns = beside::columns(&labelled, &image);
    if columns.len() > MOST_COLUMNS {
        notes.push(format!(
            "the first {MOST_COLUMNS} of {} other columns are shown",
            columns.len()
        ));
        columns.truncate(MOST_COLUMNS);
    }
    let making = Making {
        columns,
        engine: &engine,
        labelled: &labelled,
        image: &image,
        base: base(args, &labelled)?,
        truth,
        pictures,
        corrected: corrected.into_iter().map(|one| one.key).collect(),
        folder: folder.path(),
        made,
    };
    begun(rows);
    let rows = selected(frame, &making, args.limit).map_err(AppError::Plan)?;
    let stream = batches::stream(rows).await.map_err(AppError::Run)?;
    let made = making.run(stream).await?;
    let index = describe(args, &making, &made, evaluation.as_ref())?;
    let former = Path::new(&args.output);
    let corrections = tokio::task::block_in_place(|| publish(folder, former, &index, &made))?;
    if made.credentials > 0 {
        notes.push(format!(
            "{} references have a query or password, which may be a credential; data/ has them, for corrections need their keys: think before you publish it",
            made.credentials
        ));
    }
    notes.extend(made.losses.said().map(|lost| format!("warning: {lost}")));
    Ok(Gallery {
        rows: made.rows,
        without_picture: made.errors.len(),
        bytes: made.bytes,
        labelled: labelled.shown,
        corrections,
        notes,
    })
}

/// The rows with their truth, where one is asked for.
async fn truth(
    context: &datafusion::prelude::SessionContext,
    labelled: &Labels,
    asked: &TruthOptions,
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

fn base(args: &GalleryOptions, labelled: &Labels) -> Result<Option<Url>, AppError> {
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
    names.extend(making.columns.iter().cloned());
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
    args: &GalleryOptions,
    making: &Making<'_>,
    made: &Made,
    evaluation: Option<&Evaluation>,
) -> Result<Meta, AppError> {
    let labelled = making.labelled;
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
        names: NAMES,
        columns: making.columns.clone(),
        pictures: making.pictures,
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
