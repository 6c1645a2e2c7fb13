//! SQL over tables and images: text in, Arrow record batches out.
//!
//! A [`Session`] owns which statements there are and how they run; where their rows go is whoever asked's to know.

mod columns;
mod copy;
mod parameters;
mod script;
mod statement;
mod summary;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::common::config::ExtensionOptions;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SQLOptions, SessionConfig, SessionContext};
use picsift_udf::{
    Corrections, Engine, EngineOptions, Losses, PicsiftOptions, RunStats, column_folder, is_text,
};
use url::Url;

use crate::dataset::base_of;
use crate::error::AppError;
use crate::options::ModelOptions;
use crate::tables::{Bases, IMAGE};
use crate::{batches, corrections, session, tables};

pub(crate) use columns::{distinct, under};
use copy::Replaced;
pub use parameters::Parameter;
pub(crate) use parameters::{count, numbered};
pub(crate) use script::{Parsed, parse};

/// What a session begins with.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The model that functions ask unless `SET picsift.model` names another.
    pub model: ModelOptions,
    /// File that `picsift teach` wrote; `None` asks the model alone, unless `SET picsift.heads` names one.
    pub heads: Option<PathBuf>,
    /// File of corrections that win over the model.
    pub corrections: Option<String>,
    /// Streams that a plan runs at once; `None` is the machine's cores.
    pub partitions: Option<usize>,
    /// Limits on an image, what references may reach, where answers are kept.
    pub engine: EngineOptions,
}

/// Where the queries of a session run that are not run here.
#[async_trait::async_trait]
pub trait Elsewhere: Send + Sync {
    /// Whether a plan is to run there, and how it must be planned for that.
    ///
    /// # Errors
    /// [`AppError::Usage`] for what would be wrong there.
    fn fit(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Fit, AppError>;

    /// The rows of a plan.
    ///
    /// # Errors
    /// When it cannot be run there.
    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<SendableRecordBatchStream, AppError>;
}

/// Where a plan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Here: it asks nothing and reads no file.
    Here,
    /// Elsewhere, in parts.
    Parts,
    /// Elsewhere, as one part.
    Whole,
}

/// Tables, settings and models that statements share.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use futures::TryStreamExt;
/// use picsift::sql::{Session, SessionOptions};
///
/// let session = Session::new(SessionOptions::default()).await?;
/// let query = "SELECT file, classify(image, 'dog') FROM 'datasets/photos/references' LIMIT 5";
/// let batches: Vec<_> = session.sql(query).await?.rows.try_collect().await?;
/// let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
/// assert_eq!(rows, 5);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    context: SessionContext,
    engine: Arc<Engine>,
    corrections: Option<Arc<Corrections>>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// What a statement gives.
pub struct Results {
    /// Its rows, as they come.
    pub rows: SendableRecordBatchStream,
    /// Whether it gives nothing, not even a table without rows; its stream must be read to its end all the same.
    pub silent: bool,
    /// What a person should know of the tables that it names.
    pub notes: Vec<String>,
    /// Images that are lost while the rows are read.
    pub losses: Arc<Losses>,
    /// How far the images of its rows are.
    pub stats: Arc<RunStats>,
    /// The column called `image`, where it holds references into one folder that is known, with that folder.
    pub(crate) references: Option<(usize, Arc<Url>)>,
}

/// A statement that is planned, and runs when it is asked to, as often as it is asked.
pub struct Prepared {
    frame: DataFrame,
    silent: bool,
    notes: Vec<String>,
    replaced: Option<Replaced>,
    /// The counters of its runs; `None` gives each run its own.
    stats: Option<Arc<RunStats>>,
    /// Bytes of the values of its parameters, each counted wherever it stands.
    bound: usize,
    /// Rows of a batch at most; `None` is the session's.
    batch: Option<usize>,
}

impl Prepared {
    /// The columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        let schema: &Schema = self.frame.schema().as_arrow();
        tables::plain_columns(&Arc::new(schema.clone()))
    }

    /// Whether it changes something when it runs: a file, a table.
    pub fn is_change(&self) -> bool {
        let plan = self.frame.logical_plan();
        matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Copy(_))
    }

    /// Whether it gives nothing, not even a table without rows.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Refuses it if anything in it does what `allowed` does not.
    ///
    /// # Errors
    /// [`AppError::Plan`] with what is not allowed.
    pub(crate) fn verify(&self, allowed: &SQLOptions) -> Result<(), AppError> {
        let plan = self.frame.logical_plan();
        allowed.verify_plan(plan).map_err(AppError::Plan)
    }

    /// The same, which runs with these counters.
    pub(crate) fn counted(mut self, stats: Arc<RunStats>) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Bytes of the values of its parameters, each counted wherever it stands.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// The same, whose batches have no more than so many rows.
    pub(crate) fn in_batches(mut self, rows: usize) -> Self {
        self.batch = Some(rows);
        self
    }

    /// The same that ends after so many rows.
    ///
    /// # Errors
    /// DataFusion's.
    pub fn limited(&self, rows: usize) -> Result<Self, AppError> {
        let frame = self.frame.clone().limit(0, Some(rows));
        Ok(Self {
            frame: frame.map_err(AppError::Plan)?,
            silent: self.silent,
            notes: self.notes.clone(),
            replaced: self.replaced.clone(),
            stats: self.stats.clone(),
            bound: self.bound,
            batch: self.batch,
        })
    }

    /// Runs it.
    ///
    /// # Errors
    /// What planning its images or starting it gives.
    pub async fn run(&self) -> Result<Results, AppError> {
        let losses = Arc::new(Losses::default());
        let stats = self.stats.clone().unwrap_or_default();
        let references = references(self.frame.logical_plan());
        let (mut state, plan) = self.frame.clone().into_parts();
        state.config_mut().set_extension(Arc::clone(&losses));
        state.config_mut().set_extension(Arc::clone(&stats));
        if let Some(rows) = self.batch {
            let config = state.config().clone();
            let rows = rows.min(config.batch_size());
            *state.config_mut() = config.with_batch_size(rows);
        }
        let plan = state.create_physical_plan(&plan).await;
        let plan = plan.map_err(AppError::Plan)?;
        let task = batches::task_context(&state, &plan);
        let rows = datafusion::physical_plan::execute_stream(plan, task).map_err(AppError::Run)?;
        Ok(Results {
            rows: results(rows, self.replaced.clone()),
            silent: self.silent,
            notes: self.notes.clone(),
            losses,
            stats,
            references,
        })
    }
}

/// A statement that is planned and not run.
pub(crate) struct Planned {
    pub(crate) frame: DataFrame,
    pub(crate) silent: bool,
    pub(crate) notes: Vec<String>,
    /// Files that go when its rows were written in their place.
    replaced: Option<Replaced>,
}

impl Session {
    /// A session; its model is loaded when it is first asked.
    ///
    /// # Errors
    /// When the corrections cannot be read, the model is unknown, or the engine does not start.
    pub async fn new(options: SessionOptions) -> Result<Self, AppError> {
        let corrections = match &options.corrections {
            Some(file) => Some(corrections::load(file).await?.corrections),
            None => None,
        };
        let engine = Arc::new(Engine::new(EngineOptions {
            corrections: corrections.clone(),
            ..options.engine
        })?);
        let partitions = options.partitions.unwrap_or_else(session::cores);
        let context = session::session(&engine, partitions).map_err(AppError::Plan)?;
        session::with_views(&context);
        choose_model(&context, &options.model, options.heads.as_deref()).map_err(AppError::Plan)?;
        find_pictures(&context);
        Ok(Self {
            context,
            engine,
            corrections,
            elsewhere: None,
        })
    }

    /// A session whose tables, functions and settings are those of `context`.
    pub(crate) fn over(context: SessionContext, engine: Arc<Engine>) -> Self {
        Self {
            context,
            engine,
            corrections: None,
            elsewhere: None,
        }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// [`AppError::Plan`] for what is no statement, or no single one; what planning or starting it gives.
    pub async fn sql(&self, statement: &str) -> Result<Results, AppError> {
        self.run(single(statement)?).await
    }

    /// Plans one statement with `values` for `$1` and so on. What it sets up, a setting or a view, is set up at once.
    ///
    /// # Errors
    /// [`AppError::Plan`] for what is no statement, or no single one; [`AppError::Usage`] for values that do not fit it; what planning
    /// gives.
    pub async fn prepare(
        &self,
        statement: &str,
        values: &[Parameter],
    ) -> Result<Prepared, AppError> {
        self.prepare_parsed(single(statement)?, values).await
    }

    /// The same of a statement of [`parse`].
    ///
    /// # Errors
    /// As [`Session::prepare`], of values and planning.
    pub(crate) async fn prepare_parsed(
        &self,
        mut statement: Parsed,
        values: &[Parameter],
    ) -> Result<Prepared, AppError> {
        let bound = parameters::bind(&mut statement.statement, values)?;
        let Planned {
            frame,
            silent,
            notes,
            replaced,
        } = self.planned(statement).await?;
        Ok(Prepared {
            frame,
            silent,
            notes,
            replaced,
            stats: None,
            bound,
            batch: None,
        })
    }

    /// The names in a statement's FROM that are of no table of the session, in order and each once: paths are not among them.
    ///
    /// # Errors
    /// [`AppError::Plan`] for what is no statement, or no single one.
    pub fn unknown_tables(&self, statement: &str) -> Result<Vec<String>, AppError> {
        let statement = single(statement)?;
        let state = self.context.state();
        let named = state.resolve_table_references(&statement.statement);
        let mut unknown: Vec<String> = Vec::new();
        for table in named.map_err(AppError::Plan)? {
            let TableReference::Bare { table: name } = &table else {
                continue;
            };
            let known = self.context.table_exist(table.clone());
            if !known.map_err(AppError::Plan)? && !unknown.iter().any(|one| one.as_str() == &**name)
            {
                unknown.push(name.to_string());
            }
        }
        Ok(unknown)
    }

    /// Runs a statement of [`parse`].
    ///
    /// # Errors
    /// What planning or starting it gives.
    pub(crate) async fn run(&self, statement: Parsed) -> Result<Results, AppError> {
        let (losses, stats) = statement::watch(&self.context);
        let Planned {
            frame,
            silent,
            notes,
            replaced,
        } = self.planned(statement).await?;
        let references = references(frame.logical_plan());
        let (mut state, logical) = frame.into_parts();
        let plan = state.create_physical_plan(&logical).await;
        let mut plan = plan.map_err(AppError::Plan)?;
        let fit = match &self.elsewhere {
            Some(elsewhere) => elsewhere.fit(&plan)?,
            None => Fit::Here,
        };
        if fit == Fit::Whole {
            *state.config_mut() = state.config().clone().with_target_partitions(1);
            let whole = state.create_physical_plan(&logical).await;
            plan = whole.map_err(AppError::Plan)?;
        }
        let task = batches::task_context(&state, &plan);
        let rows = match &self.elsewhere {
            Some(elsewhere) if fit != Fit::Here => {
                elsewhere.run(plan, task.session_config()).await?
            }
            _ => datafusion::physical_plan::execute_stream(plan, task).map_err(AppError::Run)?,
        };
        Ok(Results {
            rows: results(rows, replaced),
            silent,
            notes,
            losses,
            stats,
            references,
        })
    }

    /// Plans a statement, and runs what it sets up.
    ///
    /// # Errors
    /// What planning gives; for a SUMMARIZE what its query does.
    pub(crate) async fn planned(&self, statement: Parsed) -> Result<Planned, AppError> {
        statement::planned(&self.context, statement).await
    }

    /// DataFusion's context, whose tables and functions the statements see.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The same whose queries run elsewhere, as far as they fit there.
    pub fn elsewhere(self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        Self {
            elsewhere: Some(elsewhere),
            ..self
        }
    }

    /// What images are asked with, for one that has queries run elsewhere.
    pub fn shared_engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// What images are asked with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The corrections that were given, and how many images of theirs were asked about.
    pub fn corrections(&self) -> Option<&Corrections> {
        self.corrections.as_deref()
    }
}

/// The rows of a plan as a person gets them, behind which files go that they replace.
fn results(
    rows: SendableRecordBatchStream,
    replaced: Option<Replaced>,
) -> SendableRecordBatchStream {
    let rows = tables::plain_rows(rows);
    match replaced {
        Some(replaced) => replaced.after(rows),
        None => rows,
    }
}

/// The column of references among a plan's rows, which bear the name that a folder's pictures have, with their folder.
fn references(plan: &LogicalPlan) -> Option<(usize, Arc<Url>)> {
    let is_image = |field: &FieldRef| field.name() == IMAGE && is_text(field.data_type());
    let column = plan.schema().fields().iter().position(is_image)?;
    Some((column, column_folder(plan, column)?))
}

/// The statement that a text is.
///
/// # Errors
/// As [`Session::prepare`].
pub(crate) fn single(text: &str) -> Result<Parsed, AppError> {
    let mut statements = parse(text)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (_, others) => Err(AppError::Usage(format!(
            "one statement is wanted, not {}",
            match others {
                0 => "none".to_string(),
                others => (others + 1).to_string(),
            }
        ))),
    }
}

/// Makes the options the settings that the session begins with.
pub(crate) fn choose_model(
    context: &SessionContext,
    model: &ModelOptions,
    heads: Option<&Path>,
) -> datafusion::common::Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    if let Some(settings) = options.extensions.get_mut::<PicsiftOptions>() {
        settings.set("model", &model.name)?;
        settings.load = model.load;
        if let Some(heads) = heads {
            settings.set("heads", &heads.to_string_lossy())?;
        }
        settings.keep_as_defaults();
    }
    Ok(())
}

/// Lets tables that were labelled find their pictures where the tables that they were labelled from have them.
fn find_pictures(context: &SessionContext) {
    let bases = Bases(Box::new(|store, location| {
        Box::pin(async move { base_of(store.as_ref(), &location).await })
    }));
    let state = context.state_ref();
    state.write().config_mut().set_extension(Arc::new(bases));
}
