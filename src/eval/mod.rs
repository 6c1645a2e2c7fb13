//! How good the answers of a labelled table are, given the truth.
//!
//! [`truth`] finds what is true of a row (or [`join`]s it from another table), [mod@gather] reads what counts into compact
//! [`rows`], [`figures`] and [`sweep`] say what follows, [`report`] shows it. The formulas are `picsift-udf`'s, which the SQL
//! aggregates use too. No image is opened here.

pub mod figures;
pub mod gather;
pub mod join;
pub mod matrix;
pub mod mistakes;
pub mod report;
pub mod rows;
pub mod sweep;
pub mod thresholds;
pub mod truth;
pub mod words;

use std::path::Path;

use arrow::datatypes::DataType;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::dataset::labels::stem;
use crate::dataset::{Labels, WEIGHT};
use crate::error::AppError;
use crate::session;
use crate::tables::name_of;
use figures::{Judged, judge, overall};
use gather::{Gathered, Reading, gather};
use join::{Joined, counted};
use matrix::Matrix;
use picsift_vision::categories::column_name;
use report::{CategoryReport, Evaluation, SweepReport};
use rows::{Packed, Rows};
use sweep::Goal;
use thresholds::Chosen;
use truth::Truth;

/// Bytes of rows that are held at once; categories that do not fit are read in a further pass.
const PASS_BYTES: u64 = 512 << 20;

/// Words of the truth that a report names.
const SHOWN_WORDS: usize = 10;

/// What is true of the rows of a labelled table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TruthOptions {
    /// A column of labels (one as text, or a list), a BOOLEAN column for a single category, `CATEGORY=COLUMN`, or a pattern such as
    /// `truth_{}`; several together.
    pub columns: Vec<String>,
    /// Another table that has the truth.
    pub file: Option<String>,
    /// The column that says which row is which, in both tables or as `LABELLED=TRUTH`; `None` is the image's reference, and `key` in
    /// the truth.
    pub key: Option<String>,
}

impl TruthOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.file.is_none()
    }
}

/// What is to be judged, and how.
#[derive(Debug, Clone, Default)]
pub struct EvalOptions {
    /// The labelled tables.
    pub inputs: Vec<String>,
    /// What is true.
    pub truth: TruthOptions,
    /// Worst mistakes kept for each category.
    pub mistakes: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// What a better threshold is to reach, if one is looked for.
    pub goal: Option<Goal>,
}

/// Compares answers and truth.
///
/// # Errors
/// [`AppError::Usage`] and [`AppError::Plan`] for a command or tables that do not fit, [`AppError::Run`] while reading.
pub async fn evaluate(options: &EvalOptions) -> Result<Evaluation, AppError> {
    let asked = &options.truth;
    let context = session::of_columns(session::cores())?;
    let labelled = Labels::open(&context, &options.inputs).await?;
    let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
    let (frame, truth, joined) = match &asked.file {
        Some(file) => {
            let key = asked.key.as_deref();
            let beside = join::beside(
                &context,
                &labelled,
                labelled.frame.clone(),
                file,
                key,
                &asked.columns,
            )
            .await?;
            if beside.chosen {
                notes.push(
                    "the truth is corrections: the figures are those of rows that people chose to look at, not of the whole table".to_string(),
                );
            }
            (beside.frame, beside.truth, Some(beside.joined))
        }
        None if asked.columns.is_empty() => {
            return Err(AppError::Usage(
                "say what is true: --truth COLUMN of the table, or --truth-file FILE with --truth COLUMN".to_string(),
            ));
        }
        None => (
            labelled.frame.clone(),
            Truth::resolve(&asked.columns, &labelled.categories, &labelled.schema)?,
            None,
        ),
    };
    let schema = &labelled.schema;
    let key = match asked.key.as_deref().or(labelled.image.as_deref()) {
        None => None,
        Some(column) => {
            let column = column.split('=').next().unwrap_or(column);
            let field = schema.field_with_name(column).map_err(|_| {
                AppError::Usage(format!(
                    "--key {column}: {} has no such column",
                    labelled.shown
                ))
            })?;
            name_of(column, field.data_type())
        }
    };
    let weighted = schema
        .field_with_name(WEIGHT)
        .is_ok_and(|field| field.data_type().is_numeric());
    let reading = Reading {
        frame,
        categories: labelled.categories.clone(),
        truth,
        key,
        weight: weighted.then(|| WEIGHT.to_string()),
        label: labelled.columns.label.clone(),
        mistakes: options.mistakes,
    };
    let rows = counted(labelled.frame.clone()).await?;
    let wide = labelled.categories.iter().any(|category| {
        let score = category.score_column.as_deref();
        score.is_some_and(|score| {
            schema
                .field_with_name(score)
                .is_ok_and(|field| *field.data_type() == DataType::Float64)
        })
    });
    let judging = Judging {
        weighted,
        seed: options.seed,
        goal: options.goal,
    };
    let read = match wide {
        true => passes::<u64>(reading, rows, &judging).await,
        false => passes::<u32>(reading, rows, &judging).await,
    };
    let read = read.map_err(AppError::Run)?;
    finish(options, &labelled, joined, read, weighted, notes)
}

/// How rows are judged.
struct Judging {
    weighted: bool,
    seed: u64,
    goal: Option<Goal>,
}

/// One category, judged.
struct Outcome {
    judged: Judged,
    choice: Option<Result<sweep::Choice, String>>,
    /// Rows that had a truth.
    with_truth: u64,
}

/// All that was read.
struct Read {
    outcomes: Vec<Outcome>,
    worst: Vec<mistakes::Worst>,
    matrix: Option<Matrix>,
    /// Words of the truth that no category has, most frequent first.
    strangers: Vec<(String, u64)>,
    rows: u64,
}

/// Reads and judges all categories, as many at a time as fit.
async fn passes<K: Packed>(
    mut reading: Reading,
    rows: u64,
    judging: &Judging,
) -> datafusion::common::Result<Read> {
    let row_bytes = match judging.weighted {
        true => size_of::<(K, f64)>(),
        false => size_of::<K>(),
    };
    let each = rows.saturating_mul(row_bytes as u64).max(1);
    let at_once = usize::try_from(PASS_BYTES / each)
        .unwrap_or(usize::MAX)
        .max(1);
    let all: Vec<usize> = (0..reading.categories.len()).collect();
    let mut read = Read {
        outcomes: Vec::new(),
        worst: Vec::new(),
        matrix: None,
        strangers: Vec::new(),
        rows: 0,
    };
    for (pass, some) in all.chunks(at_once).enumerate() {
        let Gathered {
            mut rows,
            worst,
            matrix,
            words,
            read: counted,
        } = gather::<K>(&reading, some).await?;
        read.worst.extend(worst);
        if pass == 0 {
            read.matrix = matrix;
            read.strangers = words.strangers.into_iter().collect();
            read.strangers
                .sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            read.rows = counted;
            // What is about whole rows is the same in every pass.
            reading.label = None;
        }
        let (categories, first) = (&reading.categories, some[0]);
        let outcomes = tokio::task::block_in_place(|| {
            let judged = rows.par_iter_mut().enumerate().map(|(place, rows)| {
                let index = first + place;
                outcome(
                    rows,
                    categories[index].score_column.is_some(),
                    index,
                    judging,
                )
            });
            judged.collect::<Vec<_>>()
        });
        read.outcomes.extend(outcomes);
    }
    Ok(read)
}

fn outcome<K: Packed>(
    rows: &mut Rows<K>,
    scores: bool,
    index: usize,
    judging: &Judging,
) -> Outcome {
    rows.sort();
    // Each category draws its own numbers.
    let seed = judging.seed.wrapping_add(index as u64);
    let judged = judge(rows, scores, judging.weighted, seed);
    let choice = judging.goal.map(|goal| match scores {
        true => sweep::sweep(rows, goal),
        false => Err("it has no column of scores".to_string()),
    });
    let with_truth = rows.scored() + rows.without_answer + rows.without_score();
    Outcome {
        judged,
        choice,
        with_truth,
    }
}

fn finish(
    options: &EvalOptions,
    labelled: &Labels,
    joined: Option<Joined>,
    read: Read,
    weighted: bool,
    mut notes: Vec<String>,
) -> Result<Evaluation, AppError> {
    if read.outcomes.iter().all(|outcome| outcome.with_truth == 0) {
        return Err(AppError::Usage(format!(
            "no row of {} has a truth for any of its categories: {}",
            labelled.shown,
            match read.rows {
                0 => "the table is empty".to_string(),
                rows => format!("the truth is NULL in all of its {rows} rows"),
            }
        )));
    }
    if weighted {
        notes.push(format!(
            "rows are weighted by {WEIGHT}: counts and figures are estimates for the table that was sampled"
        ));
    }
    if let Some(joined) = &joined {
        notes.push(format!(
            "{} matched by key; {} without truth, {} of the truth without a row",
            figures::count(joined.matched, "row", "rows"),
            figures::count(joined.without_truth, "row", "rows"),
            figures::count(joined.unmatched_truth, "row", "rows"),
        ));
    }
    if !read.strangers.is_empty() {
        let shown: Vec<_> = read
            .strangers
            .iter()
            .take(SHOWN_WORDS)
            .map(|(word, rows)| format!("{} ({rows})", picsift_images::shown(word)))
            .collect();
        let more = read.strangers.len().saturating_sub(SHOWN_WORDS);
        notes.push(format!(
            "in the truth but no category here: {}{}",
            shown.join(", "),
            if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            }
        ));
    }
    let goal = options.goal.map(Goal::said).unwrap_or_default();
    let mut categories = Vec::with_capacity(read.outcomes.len());
    let mut judged = Vec::with_capacity(read.outcomes.len());
    for ((category, outcome), worst) in labelled
        .categories
        .iter()
        .zip(read.outcomes)
        .zip(read.worst)
    {
        let sweep = outcome.choice.map(|choice| match choice {
            Ok(choice) => SweepReport {
                goal: goal.clone(),
                choice: Some(choice),
                reason: None,
            },
            Err(reason) => SweepReport {
                goal: goal.clone(),
                choice: None,
                reason: Some(reason),
            },
        });
        let one = outcome.judged;
        categories.push(CategoryReport {
            name: category.name.clone(),
            column: category.is_column.clone(),
            prompt: category.prompt.clone(),
            threshold: category.threshold,
            rows: one.confusion.total(),
            support: one.confusion.support(),
            counts: one.confusion.into(),
            figures: one.figures.clone(),
            notes: one.notes.clone(),
            mistakes: worst.finish(),
            sweep,
        });
        judged.push(one);
    }
    Ok(Evaluation {
        picsift: env!("CARGO_PKG_VERSION").to_string(),
        labelled: labelled.shown.clone(),
        model: labelled.model().cloned(),
        rows: read.rows,
        weighted,
        seed: options.seed,
        joined,
        overall: overall(&judged, weighted),
        matrix: read
            .matrix
            .map(|matrix| matrix.report(&labelled.categories, weighted)),
        categories,
        notes,
    })
}

/// Writes the thresholds that were found into the categories file at `path`; the rest of it stays. How many.
///
/// # Errors
/// [`AppError::Usage`] when none was found or the file cannot be used.
pub fn keep_thresholds(path: &Path, evaluation: &Evaluation) -> Result<usize, AppError> {
    let chosen: Vec<Chosen> = evaluation
        .categories
        .iter()
        .filter_map(|category| {
            let choice = category.sweep.as_ref()?.choice?;
            let stem = stem(&category.column);
            Some(Chosen {
                name: category.name.clone(),
                column: (stem != column_name(&category.name)).then(|| stem.to_string()),
                threshold: choice.threshold,
            })
        })
        .collect();
    if chosen.is_empty() {
        return Err(AppError::Usage(format!(
            "no category has a threshold to be written to {}: see the notes",
            path.display()
        )));
    }
    thresholds::write(path, &chosen)?;
    Ok(chosen.len())
}
