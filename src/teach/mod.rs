//! Teaching a category: from a table with truth, or from corrections, to a file of heads.
//!
//! `truth` says what is true of a row, `rows` reads it with the row's embedding, `zero_shot` is what the model says by itself,
//! `learning` makes heads and figures of them, [`report`] shows these. The arithmetic is `picsift_vision::learn`'s. Images are
//! asked about as in any query, so that one whose embedding is kept, or stands in the table, is not opened.

mod learning;
pub mod report;
mod rows;
mod truth;
mod zero_shot;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::exec_datafusion_err;
use datafusion::prelude::SessionContext;
use picsift_udf::{Engine, EngineOptions, ImageSource, Losses, ModelHandle, RunStats, table_base};
use picsift_vision::categories::{JobCategory, categories};
use picsift_vision::{VisionError, heads};
use url::Url;

use crate::corrections;
use crate::dataset::columns::image_column;
use crate::dataset::{LabelledCategory, Labels};
use crate::disk;
use crate::error::AppError;
use crate::eval::figures::count;
use crate::eval::words::folded;
use crate::options::{CategoryOptions, ModelOptions};
use crate::session;
use crate::tables;
use learning::{Learning, Learnt};
use report::Report;
use rows::{Lines, Reading};
use truth::Lesson;
use zero_shot::ZeroShot;

/// What is taught, and where it goes.
#[derive(Debug, Clone, Default)]
pub struct TeachOptions {
    /// Tables with images or embeddings: outputs of `picsift label`, or any others.
    pub inputs: Vec<String>,
    /// Local file that gets the heads.
    pub output: String,
    /// Whether a file that is there is replaced.
    pub overwrite: bool,
    /// What is true: as of [`crate::eval::TruthOptions::columns`], or columns of numbers from 0 to 1.
    pub truth: Vec<String>,
    /// A file of corrections, in the place of columns.
    pub corrections: Option<String>,
    /// The categories; none are those of the table or of the corrections.
    pub categories: CategoryOptions,
    /// Whose embeddings are learnt from.
    pub model: ModelOptions,
    /// Column of the images; `None` is the only candidate.
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to; `None` is that of the table that was labelled.
    pub base: Option<String>,
    /// Seed of samples and of intervals.
    pub seed: u64,
    /// Limits on an image, what references may reach, where answers are kept.
    pub engine: EngineOptions,
}

/// Teaches the categories and writes their heads.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn teach(options: &TeachOptions) -> Result<Report, AppError> {
    let given = Path::new(&options.output);
    check_output(options, given)?;
    let output = std::path::absolute(given).map_err(AppError::file("write", given))?;
    if options.truth.is_empty() == options.corrections.is_none() {
        return Err(AppError::Usage(
            "say what is true, in one way: --truth COLUMN of the table, or --corrections FILE"
                .to_string(),
        ));
    }
    let engine = Arc::new(Engine::new(options.engine.clone())?);
    let handle = engine.model(&options.model.name, &options.model.load)?;
    let Some(model) = handle.head_model() else {
        let model = handle.info().name.clone();
        return Err(AppError::Usage(
            VisionError::CannotEmbed { model }.to_string(),
        ));
    };
    // One stream, so that rows come in their order and what is learnt of them is the same every time.
    let context = session::session(&engine, 1).map_err(AppError::Plan)?;
    let (stats, losses) = watched(&context);
    let labelled = Labels::open_any(&context, &options.inputs).await?;
    let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
    let image = image(options, &labelled)?;
    let base = base(options, &labelled)?;
    let loaded = match &options.corrections {
        Some(file) => Some(corrections::load(file).await?),
        None => None,
    };
    let asked = asked(options, &labelled, loaded.as_ref())?;
    let known: Vec<LabelledCategory> = asked.iter().map(|one| named(one, &labelled)).collect();
    let lesson = lesson(
        options,
        &labelled,
        loaded.as_ref(),
        &known,
        image.as_deref(),
        &mut notes,
    )
    .await?;
    check_folder(options, &labelled, image.as_deref()).await?;
    let zero_shot = zero_shot(&asked, &handle, &engine, &labelled).await?;
    let reading = Reading {
        labelled: &labelled,
        categories: &known,
        lesson: &lesson,
        zero_shot: &zero_shot,
        image: image.as_deref(),
        base,
        handle: &handle,
        model: &options.model,
    };
    let lines = rows::read(&context, &engine, &reading).await?;
    notes.extend(losses.said().map(|lost| format!("warning: {lost}")));
    let taught = lines.examples.len();
    check_rows(&lines, &labelled, &losses)?;
    if lines.lost > 0 {
        notes.push(format!(
            "{} left out: the image has no embedding",
            count(lines.lost as u64, "row", "rows")
        ));
    }
    let learning = Learning {
        names: known.iter().map(|one| one.name.clone()).collect(),
        lines,
        zero_shot,
        model: model.clone(),
        seed: options.seed,
    };
    let Learnt {
        heads,
        categories,
        taught_from,
        notes: learnt,
    } = disk::blocking(move || learning.run()).await?;
    notes.extend(learnt);
    let Some(bytes) = heads::to_bytes(&heads, &taught_from) else {
        return Err(AppError::Usage(
            "there is nothing to write: no category was taught".to_string(),
        ));
    };
    disk::blocking(move || disk::replace(&output, &bytes)).await?;
    Ok(Report {
        picsift: env!("CARGO_PKG_VERSION").to_string(),
        labelled: labelled.shown,
        model: model.name,
        revision: model.revision,
        rows: taught as u64,
        asked: stats.asked(),
        fetched: stats.fetched(),
        taught_from,
        categories,
        notes,
    })
}

fn check_output(options: &TeachOptions, output: &Path) -> Result<(), AppError> {
    let shown = output.display();
    if options.output.contains("://") || output.is_dir() || options.output.ends_with('/') {
        return Err(AppError::Usage(format!(
            "the output '{shown}' must be a local file, such as heads.safetensors"
        )));
    }
    if output.symlink_metadata().is_ok() && !(options.overwrite && output.is_file()) {
        return Err(AppError::Usage(format!(
            "the output {shown} is there already; name another{}",
            if output.is_file() {
                " or replace it with --overwrite"
            } else {
                ""
            }
        )));
    }
    Ok(())
}

/// What the session counts, and which images it loses.
fn watched(context: &SessionContext) -> (Arc<RunStats>, Arc<Losses>) {
    let (stats, losses) = (Arc::new(RunStats::default()), Arc::new(Losses::default()));
    let state = context.state_ref();
    let mut state = state.write();
    state.config_mut().set_extension(Arc::clone(&stats));
    state.config_mut().set_extension(Arc::clone(&losses));
    (stats, losses)
}

fn image(options: &TeachOptions, labelled: &Labels) -> Result<Option<String>, AppError> {
    match &options.image {
        Some(image) => image_column(&labelled.schema, Some(image))
            .map(Some)
            .map_err(AppError::Usage),
        None => Ok(labelled.image.clone()),
    }
}

fn base(options: &TeachOptions, labelled: &Labels) -> Result<Option<Url>, AppError> {
    match &options.base {
        None => Ok(labelled.base.clone()),
        Some(text) => {
            let location = tables::locate(text).map_err(AppError::Plan)?;
            Ok(table_base(&location))
        }
    }
}

/// The categories that are taught.
fn asked(
    options: &TeachOptions,
    labelled: &Labels,
    loaded: Option<&corrections::Loaded>,
) -> Result<Vec<JobCategory>, AppError> {
    let CategoryOptions { names, file, .. } = &options.categories;
    let usage =
        |error: picsift_vision::categories::CategoriesError| AppError::Usage(error.to_string());
    if !names.is_empty() || file.is_some() {
        return categories(names, file.as_deref()).map_err(usage);
    }
    let found: Vec<String> = match loaded {
        Some(loaded) => {
            let all = loaded.corrections.all();
            let mut names: Vec<String> = all.iter().map(|(_, name, _)| name.to_string()).collect();
            names.sort();
            names.dedup();
            names
        }
        None => {
            // Those of the table that have a truth of their own.
            let all = labelled.categories.iter();
            let has = |category: &&LabelledCategory| {
                options.truth.iter().any(|text| match text.split_once('=') {
                    Some((name, _)) => folded(name) == folded(&category.name),
                    None if text.contains("{}") => {
                        [&category.name, category.stem()].iter().any(|name| {
                            labelled
                                .schema
                                .column_with_name(&text.replace("{}", name))
                                .is_some()
                        })
                    }
                    None => true,
                })
            };
            all.filter(has)
                .map(|category| category.name.clone())
                .collect()
        }
    };
    let named = options.truth.iter().filter_map(|text| text.split_once('='));
    let found = match found.is_empty() {
        true => named.map(|(name, _)| name.to_string()).collect(),
        false => found,
    };
    if found.is_empty() {
        return Err(AppError::Usage(format!(
            "{} has no categories of its own to teach; name them: --categories scratch,dent",
            labelled.shown
        )));
    }
    categories(&found, None).map_err(usage)
}

/// A category by the names under which its truth may stand.
fn named(category: &JobCategory, labelled: &Labels) -> LabelledCategory {
    let name = &category.spec.category.name;
    let known = labelled.categories.iter().find(|known| known.name == *name);
    known.cloned().unwrap_or_else(|| LabelledCategory {
        name: name.clone(),
        prompt: None,
        threshold: None,
        is_column: format!("is_{}", category.column),
        score_column: None,
    })
}

async fn lesson(
    options: &TeachOptions,
    labelled: &Labels,
    loaded: Option<&corrections::Loaded>,
    known: &[LabelledCategory],
    image: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Lesson, AppError> {
    let Some(loaded) = loaded else {
        return Lesson::of_columns(&options.truth, known, &labelled.schema);
    };
    if let Some((key, category)) = &loaded.contradiction {
        return Err(AppError::Usage(format!(
            "the corrections in {} contradict each other: '{key}' is {category} and is not, and no time says which came last; keep one \
             of the lines",
            loaded.shown
        )));
    }
    let Some(image) = image else {
        return Err(AppError::Usage(format!(
            "{} has no image column that corrections could be about; say which with --image COLUMN",
            labelled.shown
        )));
    };
    let names: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
    // A session of its own: this one's plans are for what is asked.
    let context = session::of_columns(1)?;
    let table = Arc::clone(&labelled.table) as Arc<dyn datafusion::catalog::TableProvider>;
    let fit = loaded.check(&context, [table], image, &names).await?;
    notes.extend(fit.notes);
    let field = labelled.schema.field_with_name(image);
    let data_type = field
        .map(Field::data_type)
        .map_err(|e| AppError::Plan(e.into()))?;
    Lesson::of_corrections(Arc::clone(&loaded.corrections), image, data_type)
}

/// Refuses a table whose references lead to a folder that it may not name, before an image is asked about.
async fn check_folder(
    options: &TeachOptions,
    labelled: &Labels,
    image: Option<&str>,
) -> Result<(), AppError> {
    let Some(image) = image.filter(|_| options.base.is_none()) else {
        return Ok(());
    };
    let field = labelled.schema.field_with_name(image);
    if !field.is_ok_and(|field| picsift_udf::is_text(field.data_type())) {
        return Ok(());
    }
    let column = tables::plain(image);
    let first = labelled
        .frame
        .clone()
        .filter(column.clone().is_not_null())
        .and_then(|frame| frame.select(vec![column]))
        .and_then(|frame| frame.limit(0, Some(1)));
    for batch in first
        .map_err(AppError::Plan)?
        .collect()
        .await
        .map_err(AppError::Run)?
    {
        let sources = picsift_udf::image_sources(batch.column(0)).map_err(AppError::Run)?;
        for source in sources.iter().flatten() {
            if let ImageSource::Reference(_) = source {
                labelled.check_folder(source)?;
            }
        }
    }
    Ok(())
}

async fn zero_shot(
    asked: &[JobCategory],
    handle: &ModelHandle,
    engine: &Arc<Engine>,
    labelled: &Labels,
) -> Result<Vec<ZeroShot>, AppError> {
    // Words that are new may take the model's text tower.
    tokio::task::block_in_place(|| {
        let each = asked
            .iter()
            .map(|one| ZeroShot::of(&one.spec, handle, engine.store(), labelled));
        each.collect()
    })
}

/// Refuses rows without one that can be learnt from.
fn check_rows(lines: &Lines, labelled: &Labels, losses: &Losses) -> Result<(), AppError> {
    if !lines.examples.is_empty() {
        return Ok(());
    }
    match lines.lost {
        0 => Err(AppError::Usage(format!(
            "nothing is known of any row of {}: its truth is NULL throughout",
            labelled.shown
        ))),
        lost => {
            let why = losses
                .said()
                .unwrap_or_else(|| "their images are NULL".to_string());
            Err(AppError::Run(exec_datafusion_err!(
                "none of the {lost} rows with a truth has an embedding: {why}"
            )))
        }
    }
}
