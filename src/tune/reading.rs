//! The rows that are tried: what is true of each, and what a model says of its image in every wording.
//!
//! Each model is asked in a pass of its own over the same rows; a pass reads the truth too, so that its rows are known to be those of the
//! first. What a model was asked before is kept and not asked again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use datafusion::common::exec_datafusion_err;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::TryStreamExt;
use picsift_udf::{Engine, InferenceQuota, Lessons, Losses, RunStats, lessons, table_base};
use url::Url;

use super::candidates::Tried;
use super::{Candidate, TuneOptions};
use crate::batches;
use crate::dataset::columns::image_column;
use crate::dataset::{LabelledCategory, Labels};
use crate::error::AppError;
use crate::eval::join;
use crate::eval::truth::{Truth, said};
use crate::eval::words::Words;
use crate::session;
use crate::tables::{self, plain};

/// Most rows with a truth. What a few hundred do not tell, a few thousand do.
pub(super) const MOST_ROWS: usize = 20_000;

/// The rows with a truth.
pub(super) struct Reading {
    labelled: Labels,
    rows: DataFrame,
    truth: Truth,
    image: String,
    base: Option<Url>,
    engine: Arc<Engine>,
    categories: Vec<LabelledCategory>,
    stats: Arc<RunStats>,
    notes: Vec<String>,
}

/// What is true: for each category whether it holds of each row; `None` where that is not known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known(pub(super) Vec<Vec<Option<bool>>>);

impl Known {
    pub(super) fn rows(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }
}

/// Scores by category and wording, in the order of [`Candidate::usable`]; NaN where the image has none.
pub(super) type Scores = Vec<Vec<Vec<f32>>>;

/// What a model said.
pub(super) enum Answers {
    /// About every row.
    All(Scores),
    /// The budget ended after so many rows.
    Part(usize),
}

/// What the passes cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// Images that models were shown.
    pub(super) asked: u64,
    /// Images of which everything was known.
    pub(super) kept: u64,
}

impl Reading {
    /// Opens the tables, in a session of one stream over `engine`, whose images come off `quota`.
    ///
    /// # Errors
    /// What is wrong with the tables, the truth or the column of images.
    pub(super) async fn open(
        options: &TuneOptions,
        engine: &Arc<Engine>,
        quota: &Arc<InferenceQuota>,
        tried: &[Tried],
    ) -> Result<Self, AppError> {
        let context = session::session(engine, 1).map_err(AppError::Plan)?;
        let stats = watched(&context, quota);
        let mut labelled = Labels::open_any(&context, &options.inputs).await?;
        let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
        let categories: Vec<_> = tried.iter().map(|one| named(one, &labelled)).collect();
        labelled.categories.clone_from(&categories);
        let image = match (&options.image, &labelled.image) {
            (None, Some(image)) => image.clone(),
            (given, _) => {
                image_column(&labelled.schema, given.as_deref()).map_err(AppError::Usage)?
            }
        };
        let base = match &options.base {
            None => labelled.base.clone(),
            Some(text) => table_base(&tables::locate(text).map_err(AppError::Plan)?),
        };
        let asked = &options.truth;
        let (rows, truth) = match &asked.file {
            Some(file) => {
                let (frame, key) = (labelled.frame.clone(), asked.key.as_deref());
                let beside =
                    join::beside(&context, &labelled, frame, file, key, &asked.columns).await?;
                if beside.chosen {
                    notes.push(
                        "the truth is corrections: the figures are those of rows that people chose to look at, not of the whole table"
                            .to_string(),
                    );
                }
                (beside.frame, beside.truth)
            }
            None => {
                let truth = Truth::resolve(&asked.columns, &categories, &labelled.schema)?;
                (labelled.frame.clone(), truth)
            }
        };
        // Of rows that nothing is known of no image is opened.
        let columns = truth.columns(&(0..categories.len()).collect::<Vec<_>>());
        let known = columns.iter().map(|column| plain(column).is_not_null());
        let rows = match known.reduce(Expr::or) {
            Some(known) => rows.filter(known).map_err(AppError::Plan)?,
            None => rows,
        };
        Ok(Self {
            labelled,
            rows,
            truth,
            image,
            base,
            engine: Arc::clone(engine),
            categories,
            stats,
            notes,
        })
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn shown(&self) -> String {
        self.labelled.shown.clone()
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            asked: self.stats.asked(),
            kept: self.stats.images().saturating_sub(self.stats.asked()),
        }
    }

    /// What is true of each row.
    ///
    /// # Errors
    /// [`AppError::Usage`] where there is none, or more than [`MOST_ROWS`].
    pub(super) async fn truth(&self) -> Result<Known, AppError> {
        let frame = self.rows.clone().select(self.truth_columns());
        let frame = frame
            .and_then(|frame| frame.limit(0, Some(MOST_ROWS + 1)))
            .map_err(AppError::Plan)?;
        let (known, _) = self.read(frame, 0).await?;
        match known.rows() {
            0 => Err(AppError::Usage(format!(
                "nothing is known of any row of {}: its truth is NULL throughout",
                self.labelled.shown
            ))),
            rows if rows > MOST_ROWS => Err(AppError::Usage(format!(
                "more than {MOST_ROWS} rows of {} have a truth; a few thousand by chance tell as much: write them to a table of their own",
                self.labelled.shown
            ))),
            _ => Ok(known),
        }
    }

    /// What the candidate says of each row in each wording.
    ///
    /// # Errors
    /// When rows cannot be read or the model not be had.
    pub(super) async fn ask(
        &self,
        candidate: &Candidate,
        tried: &[Tried],
        truth: &Known,
    ) -> Result<Answers, AppError> {
        let names = columns(candidate);
        let frame = self.asked(candidate, tried)?;
        let mut selected = self.truth_columns();
        selected.extend(names.iter().flatten().map(|name| plain(name)));
        let frame = frame.select(selected).map_err(AppError::Plan)?;
        let (known, mut scores) = self.read(frame, names.iter().map(Vec::len).sum()).await?;
        let rows = known.rows();
        if rows < truth.rows() {
            return Ok(Answers::Part(rows));
        }
        if known != *truth {
            return Err(AppError::Run(exec_datafusion_err!(
                "the rows of {} are not those that they were a moment ago",
                self.labelled.shown
            )));
        }
        let mut scores = scores.drain(..);
        let each = names
            .iter()
            .map(|names| scores.by_ref().take(names.len()).collect());
        Ok(Answers::All(each.collect()))
    }

    /// The rows with everything that the candidate says of them.
    ///
    /// # Errors
    /// A planning error for images that are none.
    pub(super) fn asked(
        &self,
        candidate: &Candidate,
        tried: &[Tried],
    ) -> Result<DataFrame, AppError> {
        let names = columns(candidate);
        let mut categories = Vec::new();
        for ((one, usable), names) in tried.iter().zip(&candidate.usable).zip(names) {
            for (wording, name) in usable.iter().zip(names) {
                categories.push((one.wordings[*wording].spec.clone(), name));
            }
        }
        let wanted = Lessons {
            image: self.image.clone(),
            base: self.base.clone(),
            digest: None,
            model: candidate.name.clone(),
            load: candidate.load,
            embedding: None,
            categories,
        };
        let (state, plan) = self.rows.clone().into_parts();
        let plan = lessons(&self.engine, plan, &wanted).map_err(AppError::Plan)?;
        Ok(DataFrame::new(state, plan))
    }

    fn truth_columns(&self) -> Vec<Expr> {
        let all: Vec<usize> = (0..self.categories.len()).collect();
        let columns = self.truth.columns(&all);
        columns.iter().map(|column| plain(column)).collect()
    }

    /// The truth of a frame's rows, whose columns come first, and the `scores` columns behind them.
    async fn read(
        &self,
        frame: DataFrame,
        scores: usize,
    ) -> Result<(Known, Vec<Vec<f32>>), AppError> {
        let all: Vec<usize> = (0..self.categories.len()).collect();
        let width = self.truth_columns().len();
        let mut known = Known(vec![Vec::new(); self.categories.len()]);
        let mut read = vec![Vec::new(); scores];
        let mut words = Words::new(&self.categories);
        let mut stream = batches::stream(frame).await.map_err(AppError::Run)?;
        while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
            let columns: &[ArrayRef] = &batch.columns()[..width];
            let truth = said(&self.truth, &all, columns, batch.num_rows(), &mut words)
                .map_err(AppError::Run)?;
            for (known, holds) in known.0.iter_mut().zip(&truth.holds) {
                known.extend(holds.iter());
            }
            add_scores(&mut read, &batch, width);
        }
        Ok((known, read))
    }
}

fn add_scores(read: &mut [Vec<f32>], batch: &RecordBatch, first: usize) {
    for (scores, column) in read.iter_mut().zip(&batch.columns()[first..]) {
        let column = column.as_primitive::<Float32Type>();
        let score = |row| {
            if column.is_valid(row) {
                column.value(row)
            } else {
                f32::NAN
            }
        };
        scores.extend((0..column.len()).map(score));
    }
}

/// The names of a candidate's columns of scores, by category and wording.
fn columns(candidate: &Candidate) -> Vec<Vec<String>> {
    let each = candidate.usable.iter().enumerate();
    let each = each.map(|(category, usable)| {
        let name = |wording: &usize| format!("picsift_{category}_{wording}");
        usable.iter().map(name).collect()
    });
    each.collect()
}

/// What a session counts; its images come off the quota.
fn watched(context: &SessionContext, quota: &Arc<InferenceQuota>) -> Arc<RunStats> {
    let stats = Arc::new(RunStats::default());
    let state = context.state_ref();
    let mut state = state.write();
    let config = state.config_mut();
    config.set_extension(Arc::clone(&stats));
    config.set_extension(Arc::new(Losses::default()));
    config.set_extension(Arc::clone(quota));
    stats
}

/// A category by the names under which its truth may stand.
fn named(one: &Tried, labelled: &Labels) -> LabelledCategory {
    let known = labelled
        .categories
        .iter()
        .find(|known| known.name == one.name());
    known.cloned().unwrap_or_else(|| LabelledCategory {
        name: one.name().to_string(),
        prompt: None,
        threshold: None,
        is_column: format!("is_{}", one.category.column),
        score_column: None,
    })
}
