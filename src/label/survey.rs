//! What a job would do, found out without doing it: nothing is written, and no image is asked about but those of an estimate.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::DataFrame;
use picsift_udf::{Estimate, LocatedTable, annotate, lessons};

use super::journal::Journal;
use super::options::{Existing, LabelOptions};
use super::prepare::PreparedJob;
use super::reading::kept_rows;
use super::sources::Source;
use crate::batches;
use crate::error::AppError;
use crate::input::scan;
use crate::input::select::Rows;

/// What a job would do.
#[derive(Debug)]
pub struct Survey {
    /// The inputs as a person would write them.
    pub inputs: Vec<String>,
    /// Files that they are made of.
    pub files: usize,
    /// Their rows, where no predicate chooses among them.
    pub rows: u64,
    /// The predicate that chooses among them.
    pub predicate: Option<String>,
    /// Most rows that are labelled.
    pub limit: Option<usize>,
    /// The column of the images.
    pub image: String,
    /// The categories.
    pub categories: Vec<String>,
    /// The model, and where it runs.
    pub model: String,
    /// The output as a person would write it.
    pub output: String,
    /// What of the output there is already, and what becomes of it; `None` where there is nothing.
    pub standing: Option<String>,
    /// Columns that the output has beside the table's.
    pub added: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What the images cost, measured on the first of each table; none unless that was asked for.
    pub estimates: Vec<Estimate>,
    /// What the cheap model of a cascade costs; `None` without one, or without estimates.
    pub cascade: Option<CascadeEstimate>,
}

/// What a cascade costs, as far as it is known before its sample was asked about.
#[derive(Debug)]
pub struct CascadeEstimate {
    /// The cheap model.
    pub cheap: String,
    /// What it costs, measured as the dear one is.
    pub estimates: Vec<Estimate>,
    /// Rows of the sample at least, about which both models are asked.
    pub sampled: u64,
}

/// Checks a job as [`LabelJob::plan`](super::LabelJob::plan) does and says what it would do; with `estimate` it asks about a few images.
///
/// # Errors
/// As [`LabelJob::plan`](super::LabelJob::plan), and what the images of an estimate give.
pub async fn survey(options: LabelOptions, estimate: bool) -> Result<Survey, AppError> {
    let job = PreparedJob::new(options).await?;
    job.output.check().await?;
    let context = &job.inference.context;
    let mut rows = 0;
    for source in &job.tables.sources {
        let all: Vec<_> = source
            .files
            .iter()
            .map(|file| (file.clone(), Rows::From(0)))
            .collect();
        let count = scan::count(context, &source.table, &all).await;
        rows += count.map_err(AppError::Plan)?;
    }
    let mut estimates = Vec::new();
    let mut cascade = None;
    if estimate {
        let engine = &job.inference.engine;
        for source in &job.tables.sources {
            let plan = |plan| annotate(engine, plan, &job.annotation(source, None));
            estimates.extend(measured(&job, source, plan).await?);
        }
        if let Some(cheap) = &job.cheap {
            let mut all = Vec::new();
            for source in &job.tables.sources {
                let asked = cheap.lessons(&job, source);
                let plan = |plan| lessons(engine, plan, &asked);
                all.extend(measured(&job, source, plan).await?);
            }
            let limited = job.options.limit.map_or(rows, |most| rows.min(most as u64));
            cascade = Some(CascadeEstimate {
                cheap: cheap.options.cheap.name.clone(),
                estimates: all,
                sampled: cheap.least_sample(limited),
            });
        }
    }
    let notes = job.notes.clone();
    let info = job.inference.model.info();
    let categories = job.columns.categories.iter();
    let added = job.columns.added.fields();
    Ok(Survey {
        files: job
            .tables
            .sources
            .iter()
            .map(|source| source.files.len())
            .sum(),
        rows,
        predicate: job.options.predicate.clone(),
        limit: job.options.limit,
        image: job.tables.image.clone(),
        categories: categories
            .map(|category| category.spec.category.name.clone())
            .collect(),
        model: format!("{} on {}", info.name, info.device),
        output: job.output.target.to_string(),
        standing: standing(&job).await?,
        added: added.iter().map(|field| field.name().clone()).collect(),
        notes,
        inputs: job.tables.shown.clone(),
        estimates,
        cascade,
    })
}

/// What `asked` makes of the rows of a table costs, measured on the first.
async fn measured(
    job: &PreparedJob,
    source: &Source,
    asked: impl FnOnce(LogicalPlan) -> datafusion::common::Result<LogicalPlan>,
) -> Result<Vec<Estimate>, AppError> {
    let context = &job.inference.context;
    let table = Arc::clone(&source.table) as Arc<dyn TableProvider>;
    let table = Arc::new(LocatedTable::new(table, source.base.as_ref()));
    let table = context.read_table(table).map_err(AppError::Plan)?;
    let table = kept_rows(table, job.options.predicate.as_deref())?;
    let (state, plan) = table.into_parts();
    let frame = DataFrame::new(state, asked(plan).map_err(AppError::Plan)?);
    let state = context.state();
    let plan = frame.create_physical_plan().await.map_err(AppError::Plan)?;
    let task = batches::task_context(&state, &plan);
    let found = picsift_udf::estimate(&plan, &task).await;
    found.map_err(AppError::Run)
}

/// What of the output there is.
async fn standing(job: &PreparedJob) -> Result<Option<String>, AppError> {
    let rows = |rows: u64| indicatif::HumanCount(rows);
    if let Some(journal) = Journal::read(job.output.journal()).await? {
        return Ok(Some(format!(
            "an unfinished job has {} rows done; the same job goes on from there, another needs --overwrite",
            rows(journal.rows())
        )));
    }
    let manifest = super::resume::manifest(job.output.manifest().await?, job)?;
    Ok(manifest.map(|manifest| {
        let there = rows(manifest.counts.rows);
        match job.options.existing {
            Existing::Overwrite => format!("its {there} rows are replaced"),
            Existing::Incremental => format!("it has {there} rows; what is new in the input is added"),
            Existing::RetryFailed => format!(
                "of its {there} rows the {} whose image failed are asked again",
                rows(manifest.counts.failures)
            ),
            Existing::Resume => format!(
                "it has {there} rows already; the same job has nothing to do, another needs --overwrite"
            ),
        }
    }))
}
