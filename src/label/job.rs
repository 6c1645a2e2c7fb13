//! A labelling job, checked: every mistake in the command or its input that can be found without reading an image.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::{
    AddedColumns, Annotation, AtEnd, Engine, EngineError, EngineOptions, InferenceQuota, Labelling,
    LocatedTable, OnError, RunStats, output_schema,
};
use picsift_vision::Service;

use super::begin::Work;
use super::columns::image_column;
use super::destination::{open_output, without_query};
use super::identity::{Parts, identity};
use super::journal::Mode;
use super::run::Tally;
use super::sources::{Opened, Source, open};
use crate::cli::{ImageColumn, LabelArgs, ModelArgs, SHARD_ROWS};
use crate::corrections::{self, CorrectionsEntry, Loaded};
use crate::error::AppError;
use crate::input::columns::with_place;
use crate::input::files::InputFile;
use crate::input::rows::ShardSize;
use crate::input::scan;
use crate::input::select::Rows;
use crate::output::huggingface;
use crate::output::publish::Output;
use crate::session;
use crate::tables;
use picsift_vision::categories::{JobCategory, categories};

/// A shard, unless its rows are set: what a kill may cost, and what a file holds at least. Half a gigabyte of images stays well
/// within a temporary folder, and ten minutes are what somebody would do again without thinking.
const SHARD: ShardSize = ShardSize {
    rows: SHARD_ROWS,
    bytes: 512 << 20,
    time: Duration::from_secs(600),
};

/// Everything that a run needs.
pub struct Job {
    /// Fetcher, decode pool and models.
    pub engine: Arc<Engine>,
    /// The model's service.
    pub service: Service,
    /// The session that tables are read in.
    pub context: SessionContext,
    /// What is read, in the order given.
    pub sources: Vec<Source>,
    /// The inputs as given, without query strings.
    pub inputs: Vec<String>,
    /// The column of the images.
    pub image: String,
    /// Counts and times of the run.
    pub stats: Arc<RunStats>,
    /// How much the run may ask.
    pub allowance: Arc<InferenceQuota>,
    /// The model as it was asked for.
    pub model: ModelArgs,
    /// The threshold of categories that have none.
    pub threshold: Option<f32>,
    /// The categories in the order of their columns.
    pub categories: Vec<JobCategory>,
    /// The categories checked against the model.
    pub labelling: Labelling,
    /// Names of the added columns.
    pub added: AddedColumns,
    /// Schema of a labelled batch: the table's columns and metadata, then the added columns.
    pub schema: SchemaRef,
    /// Columns that become folders.
    pub partition_by: Vec<String>,
    /// Columns that are left out of the output.
    pub dropped: Vec<String>,
    /// The predicate of `--where`.
    pub predicate: Option<String>,
    /// The number of `--limit`.
    pub limit: Option<usize>,
    /// What a failed image does.
    pub on_error: OnError,
    /// The output.
    pub output: Output,
    /// Whether a former output is replaced.
    pub overwrite: bool,
    /// Whether new files of the input are added to a former output.
    pub incremental: bool,
    /// Whether the failed rows of a former output are asked again.
    pub retry_failed: bool,
    /// The share of failed images from which on the job stops, 0 to 1.
    pub max_error_ratio: Option<f64>,
    /// What of the input makes a shard.
    pub shard: ShardSize,
    /// The corrections that are applied.
    pub corrections: Option<CorrectionsEntry>,
    /// What else a person should know before it begins.
    pub notes: Vec<String>,
    /// All that decides what the answers are.
    pub identity: serde_json::Value,
}

impl Job {
    /// Checks the command and opens its tables; no image is read and nothing written.
    ///
    /// # Errors
    /// The first thing that is wrong, with an exit code of 2.
    pub async fn resolve(args: LabelArgs) -> Result<Self, AppError> {
        let categories = categories(
            &args.categories.categories,
            args.categories.categories_file.as_deref(),
        )
        .map_err(|error| AppError::Usage(error.to_string()))?;
        let locations = args
            .inputs
            .iter()
            .map(|input| tables::locate(input))
            .collect::<Result<Vec<_>, _>>()
            .map_err(AppError::Plan)?;
        let corrections = match &args.corrections {
            Some(file) => Some(corrections::load(file).await?),
            None => None,
        };
        let engine = Arc::new(Engine::new(EngineOptions {
            corrections: corrections.as_ref().map(|c| Arc::clone(&c.corrections)),
            ..args
                .limits
                .engine_options(Some(&args.cache), Some(&args.fetch))?
        })?);
        let output = open_output(&args.output, &locations, &engine)?;
        let model = engine.model(&args.model.model, &args.model.load_options())?;
        let specs: Vec<_> = categories
            .iter()
            .map(|category| category.spec.clone())
            .collect();
        let labelling =
            Labelling::new(&model, &specs, args.categories.threshold).map_err(AppError::Plan)?;
        let service = model.service().map_err(EngineError::from)?;

        // One stream keeps the rows in their order; the images of a stream are judged many at a time anyhow.
        let context = session::session(&engine, 1).map_err(AppError::Plan)?;
        let stats = Arc::new(RunStats::default());
        let allowance = InferenceQuota::new(args.max_images, args.max_seconds, AtEnd::Stop);
        let allowance = Arc::new(allowance);
        {
            let state = context.state_ref();
            let mut state = state.write();
            state.config_mut().set_extension(Arc::clone(&stats));
            state.config_mut().set_extension(Arc::clone(&allowance));
        }
        let Opened {
            sources,
            schema: table_schema,
            named_again,
        } = open(&context, &locations).await?;
        let image = image_column(&table_schema, args.image.as_deref()).map_err(AppError::Usage)?;
        let names: Vec<_> = categories
            .iter()
            .map(|category| category.column.clone())
            .collect();
        let added = AddedColumns::new(&names, &table_schema, corrections.is_some())
            .map_err(AppError::Plan)?;
        let schema = output_schema(&table_schema, &added);
        let dropped = match args.image_column {
            ImageColumn::Keep => Vec::new(),
            ImageColumn::Drop => vec![image.clone()],
        };
        let partition_by = partition_columns(&args.partition_by, &schema, &added)?;
        let absent = [partition_by.as_slice(), dropped.as_slice()].concat();
        let schema = huggingface::with_features(&schema, &added.fields(), &absent);

        let (corrections, notes) = match corrections {
            Some(loaded) => {
                let fit = fitting(&loaded, &context, &sources, &image, &categories).await?;
                (Some(fit.0), fit.1)
            }
            None => (None, Vec::new()),
        };
        let left_out = sources.iter().filter_map(|source| source.table.note());
        let again = match named_again {
            0 => None,
            1 => Some("note: a file is named more than once; it is read once".to_string()),
            many => Some(format!(
                "note: {many} files are named more than once; each is read once"
            )),
        };
        let notes = left_out
            .map(str::to_string)
            .chain(again)
            .chain(notes)
            .collect();
        let identity = identity(&Parts {
            model: service.info(),
            categories: &categories,
            labelling: &labelling,
            added: &added,
            schema: &schema,
            image: &image,
            predicate: args.predicate.as_deref(),
            limit: args.limit,
            partition_by: &partition_by,
            dropped: &dropped,
            corrections: corrections.as_ref().map(|c| c.digest.as_str()),
        });
        let job = Self {
            engine,
            service,
            context,
            sources,
            inputs: locations
                .iter()
                .map(tables::shown)
                .map(without_query)
                .collect(),
            image,
            stats,
            allowance,
            model: args.model,
            threshold: args.categories.threshold,
            categories,
            labelling,
            added,
            schema,
            partition_by,
            dropped,
            predicate: args.predicate,
            limit: args.limit,
            on_error: args.on_error,
            output,
            overwrite: args.overwrite,
            incremental: args.incremental,
            retry_failed: args.retry_failed,
            max_error_ratio: args.max_error_ratio,
            shard: ShardSize {
                rows: args.shard_rows.get(),
                ..SHARD
            },
            corrections,
            notes,
            identity,
        };
        for source in &job.sources {
            let rows = Arc::clone(&source.table) as Arc<dyn TableProvider>;
            job.kept_rows(job.context.read_table(rows).map_err(AppError::Plan)?)?;
        }
        Ok(job)
    }

    /// All files of the input with their sources; their numbers begin at 0.
    pub fn files(&self) -> Vec<(usize, InputFile)> {
        let sources = self.sources.iter().enumerate();
        let files = sources.flat_map(|(place, s)| s.files.iter().map(move |file| (place, file)));
        files
            .zip(0..)
            .map(|((source, file), id)| (source, InputFile { id, ..file.clone() }))
            .collect()
    }

    /// Those of the chosen rows of a source's files that the predicate keeps, each with its place.
    ///
    /// # Errors
    /// When the predicate is no SQL, names columns that are not there, or is not boolean, or a file cannot be read.
    pub async fn rows_of(
        &self,
        source: &Source,
        files: &[(InputFile, Rows)],
    ) -> Result<DataFrame, AppError> {
        let rows = scan::scan(&self.context.state(), &source.table, files).await;
        let rows = rows.map_err(AppError::Plan)?;
        // A predicate may ask about images too.
        let rows = Arc::new(LocatedTable::new(rows, source.base.as_ref()));
        let rows = self.context.read_table(rows).map_err(AppError::Plan)?;
        let rows = match &source.columns {
            None => rows,
            Some(columns) => rows.select(with_place(columns)).map_err(AppError::Plan)?,
        };
        self.kept_rows(rows)
    }

    fn kept_rows(&self, rows: DataFrame) -> Result<DataFrame, AppError> {
        let Some(predicate) = &self.predicate else {
            return Ok(rows);
        };
        let condition = rows.parse_sql_expr(predicate).map_err(AppError::Plan)?;
        rows.filter(condition).map_err(AppError::Plan)
    }

    /// Rows that the limit leaves to this run; `None` is no limit.
    pub fn left(&self, work: &Work) -> Option<usize> {
        if work.journal.job().mode == Mode::Retry {
            return None;
        }
        self.limit
            .map(|limit| limit.saturating_sub(work.rows() as usize))
    }

    /// Stops a job in which too many images fail, once there are `enough` images to say so.
    ///
    /// # Errors
    /// [`AppError::TooManyErrors`].
    pub(super) fn check_failures(&self, tally: &Tally, enough: u64) -> Result<(), AppError> {
        let Tally { images, failures } = *tally;
        match self.max_error_ratio {
            Some(most) if images >= enough && failures as f64 > most * images as f64 => {
                Err(AppError::TooManyErrors(format!(
                    "{failures} of {images} images failed, more than --max-error-ratio {most} allows{}",
                    match self.stats.last_failure() {
                        Some(last) => format!(" (the last: {last})"),
                        None => String::new(),
                    }
                )))
            }
            _ => Ok(()),
        }
    }

    /// What is asked of a source's images.
    pub fn annotation(&self, source: &Source) -> Annotation {
        Annotation {
            image: self.image.clone(),
            base: source.base.clone(),
            model: self.model.model.clone(),
            load: self.model.load_options(),
            categories: self.categories.iter().map(|c| c.spec.clone()).collect(),
            threshold: self.threshold,
            added: self.added.clone(),
            on_error: self.on_error,
        }
    }

    /// The number of rows of the whole job to expect, where the tables' own counts tell it; `done` of them are done.
    ///
    /// # Errors
    /// When a table cannot be read or has no rows.
    pub async fn expected_rows(&self, work: &Work, done: u64) -> Result<Option<u64>, AppError> {
        let limit = self.left(work).map(|left| left as u64 + done);
        if self.predicate.is_some() && work.journal.job().mode != Mode::Retry {
            return Ok(limit);
        }
        let mut rows = done;
        for (source, files) in &work.left {
            let count = scan::count(&self.context, &self.sources[*source].table, files);
            rows += count.await.map_err(AppError::Plan)?;
        }
        if rows == 0 && work.journal.job().mode == Mode::New {
            return Err(AppError::Usage(format!(
                "the table {} has no rows",
                self.inputs.join(", ")
            )));
        }
        Ok(Some(limit.map_or(rows, |limit| rows.min(limit))))
    }
}

/// Compares corrections with the job's tables and categories.
///
/// # Errors
/// As [`Loaded::check`].
async fn fitting(
    loaded: &Loaded,
    context: &SessionContext,
    sources: &[Source],
    image: &str,
    categories: &[JobCategory],
) -> Result<(CorrectionsEntry, Vec<String>), AppError> {
    let names: Vec<_> = categories
        .iter()
        .map(|category| category.spec.category.name.as_str())
        .collect();
    let tables = sources
        .iter()
        .map(|source| Arc::clone(&source.table) as Arc<dyn TableProvider>);
    let fit = loaded.check(context, tables, image, &names).await?;
    let entry = CorrectionsEntry {
        file: loaded.shown.clone(),
        digest: loaded.digest(&names),
        images: loaded.corrections.images(),
        matched: fit.matched,
    };
    Ok((entry, fit.notes))
}

fn partition_columns(
    asked: &[String],
    schema: &Schema,
    added: &AddedColumns,
) -> Result<Vec<String>, AppError> {
    let added_names: Vec<_> = added
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut columns = Vec::new();
    for name in asked {
        // 'label' means the answer even where the table's own column of that name made it move aside.
        let name = if name == "label" { &added.label } else { name };
        let Some((_, field)) = schema.column_with_name(name) else {
            let table: Vec<_> = schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .filter(|n| !added_names.iter().any(|a| a == n))
                .collect();
            return Err(AppError::Usage(format!(
                "--partition-by: there is no column '{name}'; the columns are {}, and label",
                table.join(", ")
            )));
        };
        if added_names.contains(name) && *name != added.label {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is an answer; only the table's own columns and 'label' can be folders"
            )));
        }
        if field.data_type().is_nested() || picsift_udf::is_binary(field.data_type()) {
            return Err(AppError::Usage(format!(
                "--partition-by: column '{name}' is {}, which cannot be a folder's name",
                field.data_type()
            )));
        }
        if columns.contains(name) {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is given twice"
            )));
        }
        columns.push(name.clone());
    }
    Ok(columns)
}
