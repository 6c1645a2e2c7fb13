//! A labelling job, checked: every mistake in its options or its input that can be found without reading an image.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::prelude::SessionContext;
use picsift_udf::{
    Annotation, AtEnd, Cascade, Engine, EngineError, EngineOptions, InferenceQuota, Losses,
    ModelHandle, RunStats, is_digest_type,
};
use picsift_vision::ServiceStats;
use picsift_vision::store::{Store, StoreOptions};
use tempfile::TempDir;

use super::cascade::CheapModel;
use super::columns::OutputColumns;
use super::destination::open_output;
use super::embedded::BYTES_COLUMN;
use super::identity::{Parts, identity};
use super::options::LabelOptions;
use super::reading::kept_rows;
use super::sources::{Opened, Source, open, pin};
use crate::corrections::{self, CorrectionsEntry, Loaded};
use crate::dataset::columns::image_column;
use crate::dataset::publish::Output;
use crate::dataset::{Manifest, origins};
use crate::disk::blocking;
use crate::error::{AppError, innermost};
use crate::input::files::InputFile;
use crate::input::rows::ShardSize;
use crate::session;
use crate::tables;

/// A shard's other bounds beside its rows: what a kill may cost. Half a gigabyte of images stays well within a temporary folder, and
/// ten minutes are what somebody would do again without thinking.
const SHARD_BYTES: usize = 512 << 20;
const SHARD_TIME: Duration = Duration::from_secs(600);

/// Bytes of a sample's answers, where none are to outlive the job: half a million rows with a handful of categories.
const SAMPLE_BYTES: u64 = 128 << 20;

/// Everything that a run needs.
pub struct PreparedJob {
    /// What was asked for.
    pub options: LabelOptions,
    /// What images are asked with.
    pub inference: Inference,
    /// What is read.
    pub tables: InputTables,
    /// What is written.
    pub columns: OutputColumns,
    /// Where it is written.
    pub output: Output,
    /// The cheap model that answers where it may.
    pub cheap: Option<CheapModel>,
    /// The corrections that are applied.
    pub corrections: Option<CorrectionsEntry>,
    /// What a person should know before it begins.
    pub notes: Vec<String>,
    /// All that decides what the answers are.
    pub identity: serde_json::Value,
    /// Where the answers of a cascade's sample are, where none are to outlive the job; dropped behind the engine that has it open.
    _kept: Option<TempDir>,
}

/// The engine of a job, and what it counts.
pub struct Inference {
    /// Fetcher, decode pool and models.
    pub engine: Arc<Engine>,
    /// The model; its weights are read when it is known that there is something to do.
    pub model: ModelHandle,
    /// The session that tables are read in.
    pub context: SessionContext,
    /// Counts and times of the run.
    pub stats: Arc<RunStats>,
    /// How much the run may ask.
    pub quota: Arc<InferenceQuota>,
    /// The images that the run loses, and why.
    pub losses: Arc<Losses>,
}

/// The tables of a job.
pub struct InputTables {
    /// Groups of files that are read as one table, in the order given.
    pub sources: Vec<Source>,
    /// The inputs as given, without credentials.
    pub shown: Vec<String>,
    /// The column of the images.
    pub image: String,
}

impl PreparedJob {
    /// Checks the options and opens the tables; no image is read and nothing written.
    ///
    /// # Errors
    /// The first thing that is wrong, with an exit code of 2.
    pub async fn new(options: LabelOptions) -> Result<Self, AppError> {
        Self::beside(options, None).await
    }

    /// The same with the models of an engine.
    ///
    /// # Errors
    /// As [`PreparedJob::new`].
    pub async fn beside(options: LabelOptions, models: Option<&Engine>) -> Result<Self, AppError> {
        if options.limit == Some(0) {
            return Err(AppError::Usage(
                "--limit 0 leaves no row to label; give at least 1, or leave it out".to_string(),
            ));
        }
        if options.embed && !options.keep_images {
            return Err(AppError::Usage(
                "--embed puts the pictures into the image column, which --image-column drop leaves out; take one of them".to_string(),
            ));
        }
        let mut categories = options.categories.resolve()?;
        let locations = located(&options.inputs)?;
        let loaded = match &options.corrections {
            Some(file) => Some(corrections::load(file).await?),
            None => None,
        };
        let mut own = EngineOptions {
            corrections: loaded.as_ref().map(|c| Arc::clone(&c.corrections)),
            ..options.engine.clone()
        };
        let kept = match options.cascade.is_some() && own.store.is_none() {
            true => Some(keep_for_now(&mut own)?),
            false => None,
        };
        let engine = Arc::new(match models {
            Some(models) => models.beside(own)?,
            None => Engine::new(own)?,
        });
        let output = open_output(&options.output, &locations, &engine)?;
        let model = engine.model(&options.model.name, &options.model.load)?;
        let cheap = match &options.cascade {
            Some(cascade) => Some(CheapModel::new(
                &engine,
                cascade,
                &options.model,
                &model,
                &mut categories,
            )?),
            None => None,
        };
        // One stream keeps the rows in their order; the images of a stream are judged many at a time anyhow.
        let context = session::session(&engine, 1).map_err(AppError::Plan)?;
        let Opened {
            sources,
            schema: table,
            named_again,
        } = open(&context, &locations).await?;
        pin(&context, &sources);
        let image = image_column(&table, options.image.as_deref()).map_err(AppError::Usage)?;
        if let Some(digest) = &options.digest {
            check_digests(&table, digest)?;
        }
        let columns = OutputColumns::new(&model, categories, &options, &table, &image)?;
        let tables = InputTables {
            sources,
            shown: locations.iter().map(tables::shown).collect(),
            image,
        };
        let (corrections, notes) = match loaded {
            Some(loaded) => {
                let (entry, notes) = fitting(&loaded, &context, &tables, &columns).await?;
                (Some(entry), notes)
            }
            None => (None, Vec::new()),
        };
        let inference = Inference::new(engine, model, context, &options);
        let identity = identity(&Parts {
            model: inference.model.info(),
            categories: &columns.categories,
            labelling: &columns.labelling,
            added: &columns.added,
            schema: &columns.schema,
            image: &tables.image,
            digest: options.digest.as_deref(),
            embed: options.embed,
            predicate: options.predicate.as_deref(),
            limit: options.limit,
            partition_by: &columns.partition_by,
            dropped: &columns.dropped,
            corrections: corrections.as_ref().map(|c| c.digest.as_str()),
            cascade: cheap.as_ref().map(CheapModel::identity),
        });
        let job = Self {
            notes: all_notes(&tables, named_again, notes),
            options,
            inference,
            tables,
            columns,
            output,
            cheap,
            corrections,
            identity,
            _kept: kept,
        };
        for source in &job.tables.sources {
            let rows = Arc::clone(&source.table) as Arc<dyn TableProvider>;
            let rows = job.inference.context.read_table(rows);
            let predicate = job.options.predicate.as_deref();
            kept_rows(rows.map_err(AppError::Plan)?, predicate)?;
        }
        tracing::info!(
            files = job.tables.sources.iter().map(|s| s.files.len()).sum::<usize>(),
            categories = job.columns.categories.len(),
            model = %job.inference.model.info().name,
            device = %job.inference.model.info().device,
            output = %job.output.target,
            "job prepared"
        );
        Ok(job)
    }

    /// What of the input makes a shard.
    pub fn shard_size(&self) -> ShardSize {
        ShardSize {
            rows: self.options.shard_rows.get(),
            bytes: SHARD_BYTES,
            time: SHARD_TIME,
        }
    }

    /// All files of the input with their sources; their numbers begin at 0.
    pub fn files(&self) -> Vec<(usize, InputFile)> {
        let sources = self.tables.sources.iter().enumerate();
        let files = sources.flat_map(|(place, s)| s.files.iter().map(move |file| (place, file)));
        files
            .zip(0..)
            .map(|((source, file), id)| (source, InputFile { id, ..file.clone() }))
            .collect()
    }

    /// Remembers on this machine which tables the output was labelled from, so that later commands find its pictures.
    pub(super) async fn remember(&self, manifest: &Manifest) {
        let (target, job) = (self.output.target.clone(), manifest.job.id.clone());
        let tables = self.tables.shown.clone();
        let remembered = blocking(move || {
            origins::remember(&target, &job, &tables);
            Ok(())
        });
        // It fails only when the program ends meanwhile.
        drop(remembered.await);
    }

    /// What is asked of a source's images, by which cascade.
    pub fn annotation(&self, source: &Source, cascade: Option<Arc<Cascade>>) -> Annotation {
        Annotation {
            image: self.tables.image.clone(),
            digest: self.options.digest.clone(),
            base: source.base.clone(),
            model: self.options.model.name.clone(),
            load: self.options.model.load,
            categories: self.columns.specs(),
            threshold: self.options.categories.threshold,
            added: self.columns.added.clone(),
            bytes: self.options.embed.then(|| BYTES_COLUMN.to_string()),
            on_error: self.options.on_error,
            cascade,
        }
    }
}

/// Gives an engine a folder for answers that is gone with the job: what a cascade's sample was asked is not asked again in the run, whatever
/// questions are left open then.
fn keep_for_now(engine: &mut EngineOptions) -> Result<TempDir, AppError> {
    let folder = tempfile::tempdir().map_err(AppError::file(
        "make a folder for the sample's answers in",
        std::env::temp_dir(),
    ))?;
    engine.store = Some(Store::open(StoreOptions {
        folder: folder.path().to_path_buf(),
        max_bytes: SAMPLE_BYTES,
        // Who keeps nothing has nothing to lose.
        notice: Arc::new(|_| ()),
    })?);
    Ok(folder)
}

/// Refuses a column that holds no digests.
fn check_digests(table: &Schema, column: &str) -> Result<(), AppError> {
    match table.field_with_name(column) {
        Err(_) => Err(AppError::Usage(format!(
            "the table has no column '{column}' for --sha256"
        ))),
        Ok(field) if !is_digest_type(field.data_type()) => Err(AppError::Usage(format!(
            "column '{column}' is {}; --sha256 names one with 64 hexadecimal digits or 32 bytes a row",
            field.data_type()
        ))),
        Ok(_) => Ok(()),
    }
}

fn located(inputs: &[String]) -> Result<Vec<ListingTableUrl>, AppError> {
    let locations = inputs.iter().enumerate().map(|(place, input)| {
        let is_word = place > 0 && input.chars().all(|c| c.is_alphanumeric() || c == ' ');
        tables::locate(input).map_err(|error| match is_word {
            // What stands behind the inputs' flags is an input again.
            true => AppError::Usage(format!(
                "{}; a category stands behind a comma: --categories dog,cat",
                innermost(&error)
            )),
            false => AppError::Plan(error),
        })
    });
    locations.collect()
}

impl Inference {
    fn new(
        engine: Arc<Engine>,
        model: ModelHandle,
        context: SessionContext,
        options: &LabelOptions,
    ) -> Self {
        let stats = Arc::new(RunStats::default());
        let most = [
            options.max_images,
            options.cascade.as_ref().and_then(|c| c.max_asked),
        ];
        let most = most.into_iter().flatten().min();
        let quota = InferenceQuota::new(most, options.max_time, AtEnd::Stop);
        let quota = Arc::new(quota);
        let losses = Arc::new(Losses::default());
        {
            let state = context.state_ref();
            let mut state = state.write();
            state.config_mut().set_extension(Arc::clone(&stats));
            state.config_mut().set_extension(Arc::clone(&quota));
            state.config_mut().set_extension(Arc::clone(&losses));
        }
        Self {
            engine,
            model,
            context,
            stats,
            quota,
            losses,
        }
    }

    /// Reads the model's weights, unless that is done.
    ///
    /// # Errors
    /// [`AppError::Engine`] when they cannot be had or not be loaded.
    pub fn start(&self) -> Result<(), AppError> {
        self.model.service().map(drop).map_err(EngineError::from)?;
        Ok(())
    }

    /// What the model has done so far.
    pub fn model_stats(&self) -> ServiceStats {
        let running = self.model.running();
        running.map(|service| service.stats()).unwrap_or_default()
    }
}

/// What the tables leave out, what was named more than once, and `others`.
fn all_notes(tables: &InputTables, named_again: usize, others: Vec<String>) -> Vec<String> {
    let left_out = tables
        .sources
        .iter()
        .filter_map(|source| source.table.note());
    let again = match named_again {
        0 => None,
        1 => Some("note: a file is named more than once; it is read once".to_string()),
        many => Some(format!(
            "note: {many} files are named more than once; each is read once"
        )),
    };
    left_out
        .map(str::to_string)
        .chain(again)
        .chain(others)
        .collect()
}

/// Compares corrections with the job's tables and categories.
///
/// # Errors
/// As [`Loaded::check`].
async fn fitting(
    loaded: &Loaded,
    context: &SessionContext,
    tables: &InputTables,
    columns: &OutputColumns,
) -> Result<(CorrectionsEntry, Vec<String>), AppError> {
    let names: Vec<_> = columns
        .categories
        .iter()
        .map(|category| category.spec.category.name.as_str())
        .collect();
    let providers = tables
        .sources
        .iter()
        .map(|source| Arc::clone(&source.table) as Arc<dyn TableProvider>);
    let fit = loaded
        .check(context, providers, &tables.image, &names)
        .await?;
    let entry = CorrectionsEntry {
        file: loaded.shown.clone(),
        digest: loaded.digest(&names),
        images: loaded.corrections.images(),
        matched: fit.matched,
    };
    Ok((entry, fit.notes))
}
