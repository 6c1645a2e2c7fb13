//! A small table to annotate that stands for the whole one.
//!
//! Rows are drawn for each category by [`strata`]; [`draw`] chooses them and knows how likely each was. A drawn row
//! weighs one over that, so that `picsift eval` on the sample estimates the figures of the whole table. The table is read twice:
//! its answers to draw, and only the drawn rows to write.

pub mod draw;
pub mod strata;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::cast;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;

use crate::batches;
use crate::dataset::labels::METADATA;
use crate::dataset::store::OutputStore;
use crate::dataset::{LabelledCategory, Labels, WEIGHT, origins};
use crate::disk;
use crate::error::AppError;
use crate::input::files::{self, InputFile};
use crate::input::select::Rows;
use crate::input::{FILE_COLUMN, ROW_COLUMN, scan};
use crate::output::huggingface;
use crate::output::properties::properties;
use crate::session;
use crate::tables::{Texts, plain};
use draw::{Draw, Drawn, places, weight};
use strata::{By, Strata};

/// Fewest rows for a category: less cannot reach every stratum and leave a choice.
pub const LEAST: u64 = 20;

/// The threshold of a category whose own is not known.
const THRESHOLD: f64 = 0.5;

/// What is drawn of a labelled table, and where it goes.
#[derive(Debug, Clone)]
pub struct SampleOptions {
    /// The labelled tables.
    pub inputs: Vec<String>,
    /// Local Parquet file that gets the sample.
    pub output: String,
    /// Rows to draw for each category, at least [`LEAST`]; a row may serve several.
    pub per_category: u64,
    /// Which rows are drawn more often.
    pub by: By,
    /// Seed of the draw.
    pub seed: u64,
    /// Whether a file that is there is replaced.
    pub overwrite: bool,
}

/// A sample that was written.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Rows in the file.
    pub rows: u64,
    /// The labelled tables as a person would write them.
    pub labelled: String,
    /// Of each category its name, the rows drawn for it and those they stand for.
    pub categories: Vec<(String, u64, u64)>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Draws the sample and writes it.
///
/// # Errors
/// [`AppError`]; the output is not there then.
pub async fn sample(args: &SampleOptions) -> Result<Sample, AppError> {
    let output = Path::new(&args.output);
    if args.output.contains("://") || output.is_dir() || args.output.ends_with('/') {
        return Err(AppError::Usage(format!(
            "the output '{}' must be a local Parquet file, such as sample.parquet",
            args.output
        )));
    }
    if output.symlink_metadata().is_ok() && !(args.overwrite && output.is_file()) {
        return Err(AppError::Usage(format!(
            "the output {} is there already; name another{}",
            output.display(),
            if output.is_file() {
                " or replace it with --overwrite"
            } else {
                ""
            }
        )));
    }
    // One stream, so that rows are in their order.
    let context = session::of_columns(1)?;
    let labelled = Labels::open(&context, &args.inputs).await?;
    if labelled.of_objects {
        return Err(AppError::Usage(format!(
            "{} is what picsift image printed, of which no sample is drawn; label its pictures with picsift label first",
            labelled.shown
        )));
    }
    let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
    notes.extend(check(&labelled, args.by)?);
    let files = files::list(
        &context.state(),
        &labelled.table,
        labelled.table.locations(),
    )
    .await
    .map_err(AppError::Plan)?;
    let drawn = drawn(&context, &labelled, &files, args)
        .await
        .map_err(AppError::Run)?;
    let rows: u64 = drawn.iter().map(|one| one.places.len() as u64).sum();
    if rows == 0 {
        return Err(AppError::Usage(format!(
            "{} has no row with an answer to draw from",
            labelled.shown
        )));
    }
    let rows = write(&context, &labelled, &files, &drawn, output).await?;
    // What this user may see of the table's pictures, they may of the sample's.
    if let Some(manifest) = labelled
        .manifest
        .as_ref()
        .filter(|_| labelled.base.is_some())
    {
        let (place, manifest) = (OutputStore::Local(output.to_path_buf()), manifest.clone());
        let remembered = disk::blocking(move || {
            origins::remember(&place, &manifest.job.id, &manifest.input.tables);
            Ok(())
        });
        drop(remembered.await);
    }
    let drawn = labelled.categories.iter().zip(&drawn);
    Ok(Sample {
        rows,
        categories: drawn
            .map(|(category, drawn)| {
                let rows = drawn.places.len() as u64;
                (category.name.clone(), rows, drawn.sizes.iter().sum())
            })
            .collect(),
        labelled: labelled.shown,
        notes,
    })
}

/// What a person should know of the draw.
fn check(labelled: &Labels, by: By) -> Result<Vec<String>, AppError> {
    if labelled.schema.column_with_name(WEIGHT).is_some() {
        return Err(AppError::Usage(format!(
            "{} is a sample already: it has a column {WEIGHT}",
            labelled.shown
        )));
    }
    let unscored = labelled
        .categories
        .iter()
        .find(|c| c.score_column.is_none());
    if by == By::Uncertainty
        && let Some(category) = unscored
    {
        return Err(AppError::Usage(format!(
            "category '{}' has no scores to be uncertain by; use --by random or --by stratified",
            category.name
        )));
    }
    let unknown = labelled.categories.iter();
    let unknown = unknown.filter(|c| by == By::Uncertainty && c.threshold.is_none());
    let note = |category: &LabelledCategory| {
        let name = &category.name;
        format!("the threshold of '{name}' is not known: {THRESHOLD} is taken")
    };
    Ok(unknown.map(note).collect())
}

fn strata_of(category: &LabelledCategory, by: By) -> Strata {
    Strata {
        by,
        threshold: category.threshold.map_or(THRESHOLD, f64::from),
    }
}

/// Reads all answers and draws.
async fn drawn(
    context: &SessionContext,
    labelled: &Labels,
    files: &[InputFile],
    args: &SampleOptions,
) -> Result<Vec<Drawn>> {
    let all: Vec<_> = files.iter().map(|f| (f.clone(), Rows::From(0))).collect();
    let table = scan::scan(&context.state(), &labelled.table, &all, Texts::Checked).await?;
    let mut columns = vec![plain(FILE_COLUMN), plain(ROW_COLUMN)];
    for (place, category) in labelled.categories.iter().enumerate() {
        columns.push(plain(&category.is_column).alias(format!("is{place}")));
        if let Some(score) = &category.score_column {
            columns.push(cast(plain(score), DataType::Float64).alias(format!("score{place}")));
        }
    }
    let answered = context.read_table(table)?.select(columns)?;
    let mut stream = batches::stream(answered).await?;
    let wanted = usize::try_from(args.per_category).unwrap_or(usize::MAX);
    let mut draws: Vec<Draw> = labelled
        .categories
        .iter()
        .enumerate()
        .map(|(index, category)| Draw::new(strata_of(category, args.by), wanted, args.seed, index))
        .collect();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let files = batch.column(0).as_primitive::<UInt32Type>().values();
        let rows = batch.column(1).as_primitive::<Int64Type>().values();
        let answers = answers(&labelled.categories, &batch.columns()[2..]);
        for (draw, (is, scores)) in draws.iter_mut().zip(&answers) {
            for row in 0..batch.num_rows() {
                if is.is_valid(row) {
                    let place = (files[row], rows[row] as u64);
                    draw.push(place, is.value(row), known(scores.as_ref(), row));
                }
            }
        }
    }
    Ok(draws.into_iter().map(Draw::finish).collect())
}

type Answers = (arrow::array::BooleanArray, Option<Float64Array>);

/// Answers and scores of each category, from columns in their order.
fn answers(categories: &[LabelledCategory], columns: &[ArrayRef]) -> Vec<Answers> {
    let mut columns = columns.iter();
    let mut answers = Vec::with_capacity(categories.len());
    for category in categories {
        let Some(is) = columns.next() else { break };
        let scores = category.score_column.as_ref().and_then(|_| columns.next());
        let scores = scores.map(|scores| scores.as_primitive::<Float64Type>().clone());
        answers.push((is.as_boolean().clone(), scores));
    }
    answers
}

fn known(scores: Option<&Float64Array>, row: usize) -> Option<f64> {
    scores.and_then(|scores| scores.is_valid(row).then(|| scores.value(row)))
}

/// Writes the drawn rows with their weights and a column for each category's truth; how many.
async fn write(
    context: &SessionContext,
    labelled: &Labels,
    files: &[InputFile],
    drawn: &[Drawn],
    output: &Path,
) -> Result<u64, AppError> {
    let mut chosen = Vec::new();
    for (file, rows) in places(drawn) {
        if let Some(input) = files.iter().find(|input| input.id == file) {
            chosen.push((input.clone(), Rows::Only(rows.into())));
        }
    }
    let schema = schema(context, labelled).await?;
    let table = scan::scan(&context.state(), &labelled.table, &chosen, Texts::Checked)
        .await
        .map_err(AppError::Run)?;
    let own: Vec<_> = labelled
        .schema
        .fields()
        .iter()
        .map(|field| plain(field.name()))
        .collect();
    let whole = context
        .read_table(table)
        .and_then(|frame| frame.select(own))
        .map_err(AppError::Run)?;
    let mut stream = batches::stream(whole).await.map_err(AppError::Run)?;

    let folder = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let file = tempfile::NamedTempFile::new_in(folder).map_err(AppError::file("write", output))?;
    let failed = |error| AppError::Run(DataFusionError::from(error));
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties(&schema)))
        .map_err(failed)?;
    let mut written = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(AppError::Run)?;
        written += batch.num_rows() as u64;
        let batch = weighted(labelled, drawn, &batch, &schema).map_err(AppError::Run)?;
        writer = disk::blocking(move || {
            writer.write(&batch).map_err(failed)?;
            Ok(writer)
        })
        .await?;
    }
    let file = writer.into_inner().map_err(failed)?;
    disk::open_to_others(file.path())?;
    file.persist(output)
        .map_err(|error| AppError::file("write", output)(error.error))?;
    Ok(written)
}

/// The table's columns, the weight, and an empty truth for each category whose column is not there yet.
async fn schema(context: &SessionContext, labelled: &Labels) -> Result<SchemaRef, AppError> {
    let mut added = vec![Field::new(WEIGHT, DataType::Float64, false)];
    for category in &labelled.categories {
        let name = format!("truth_{}", category.stem());
        if labelled.schema.column_with_name(&name).is_none() {
            added.push(Field::new(name, DataType::Boolean, true));
        }
    }
    let stored = match labelled.table.locations().first() {
        Some(first) => crate::tables::stored_schema(&context.state(), first)
            .await
            .map_err(AppError::Plan)?,
        None => None,
    };
    let own = crate::tables::with_metadata_of(&labelled.schema, stored.as_deref());
    let own = huggingface::with_other_files(&own, stored.as_deref());
    let mut metadata = own.metadata().clone();
    if let Some(manifest) = &labelled.manifest {
        // Which questions were asked and where the images are; not which files there were.
        let mut manifest = manifest.clone();
        manifest.files.clear();
        manifest.job.files.clear();
        if let Ok(text) = serde_json::to_string(&manifest) {
            metadata.insert(METADATA.to_string(), text);
        }
    }
    let mut fields: Vec<_> = own.fields().iter().cloned().collect();
    fields.extend(added.iter().cloned().map(Arc::new));
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    Ok(huggingface::with_features(&schema, &added, &[]))
}

fn weighted(
    labelled: &Labels,
    drawn: &[Drawn],
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let mut columns = Vec::new();
    for category in &labelled.categories {
        let names = [Some(&category.is_column), category.score_column.as_ref()];
        for (name, data_type) in names
            .into_iter()
            .zip([DataType::Boolean, DataType::Float64])
        {
            if let Some(column) = name.and_then(|name| batch.column_by_name(name)) {
                columns.push(arrow::compute::cast(column, &data_type)?);
            }
        }
    }
    let answers = answers(&labelled.categories, &columns);
    let weights: Float64Array = (0..batch.num_rows())
        .map(|row| {
            let chances = drawn.iter().zip(&answers).map(|(drawn, (is, scores))| {
                let answer = is.is_valid(row).then(|| is.value(row));
                drawn.probability(answer, known(scores.as_ref(), row))
            });
            Some(weight(chances))
        })
        .collect();
    let mut all = batch.columns().to_vec();
    all.push(Arc::new(weights));
    let rows = batch.num_rows();
    let empty = schema.fields()[all.len()..]
        .iter()
        .map(|field| new_null_array(field.data_type(), rows));
    all.extend(empty);
    Ok(RecordBatch::try_new(Arc::clone(schema), all)?)
}
