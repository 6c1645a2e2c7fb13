//! `picsift eval`: how good the answers of a labelled table are, given the truth.
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

use arrow::datatypes::DataType;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::cli::{EvalArgs, ReportForm, TruthArgs};
use crate::error::AppError;
use crate::labelled::Labelled;
use crate::printer::note;
use crate::session;
use figures::{Judged, judge, overall};
use gather::{Gathered, Reading, gather, name_of};
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

/// The column that says how many rows one stands for, as `picsift sample` writes it.
pub const WEIGHT: &str = "picsift_weight";

/// Words of the truth that a report names.
const SHOWN_WORDS: usize = 10;

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; nothing is written then.
pub async fn eval(args: EvalArgs) -> Result<(), AppError> {
    let wanted = Wanted {
        inputs: &args.inputs,
        truth: &args.truth,
        mistakes: args.mistakes,
        seed: args.seed,
        goal: args.sweep.then(|| goal(&args)),
    };
    let evaluation = evaluate(&wanted).await?;
    let text = match args.format {
        ReportForm::Table => report::table(&evaluation)?,
        ReportForm::Markdown => report::markdown(&evaluation),
        ReportForm::Json => report::json(&evaluation)?,
    };
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(AppError::Terminal)?;
    if args.sweep {
        keep_thresholds(&args, &evaluation)?;
    }
    Ok(())
}

/// What is to be judged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The labelled tables.
    pub inputs: &'a [String],
    /// What is true.
    pub truth: &'a TruthArgs,
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
pub async fn evaluate(wanted: &Wanted<'_>) -> Result<Evaluation, AppError> {
    let asked = wanted.truth;
    let partitions = std::thread::available_parallelism().map_or(2, |n| n.get());
    let context = session::of_columns(partitions)?;
    let labelled = Labelled::open(&context, wanted.inputs).await?;
    let mut notes = Vec::new();
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
        mistakes: wanted.mistakes,
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
        seed: wanted.seed,
        goal: wanted.goal,
    };
    let read = match wide {
        true => passes::<u64>(reading, rows, &judging).await,
        false => passes::<u32>(reading, rows, &judging).await,
    };
    let read = read.map_err(AppError::Run)?;
    finish(wanted, &labelled, joined, read, weighted, notes)
}

fn goal(args: &EvalArgs) -> Goal {
    match (args.min_precision, args.min_recall) {
        (Some(least), _) => Goal::Precision(least),
        (None, Some(least)) => Goal::Recall(least),
        (None, None) => Goal::BestF1,
    }
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
    wanted: &Wanted<'_>,
    labelled: &Labelled,
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
    let goal = wanted.goal.map(Goal::said).unwrap_or_default();
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
        seed: wanted.seed,
        joined,
        overall: overall(&judged, weighted),
        matrix: read
            .matrix
            .map(|matrix| matrix.report(&labelled.categories, weighted)),
        categories,
        notes,
    })
}

/// Writes the thresholds that were found, or prints them as a categories file.
fn keep_thresholds(args: &EvalArgs, evaluation: &Evaluation) -> Result<(), AppError> {
    let chosen: Vec<Chosen> = evaluation
        .categories
        .iter()
        .filter_map(|category| {
            let choice = category.sweep.as_ref()?.choice?;
            let stem = truth::stem(&category.column);
            Some(Chosen {
                name: category.name.clone(),
                column: (stem != column_name(&category.name)).then(|| stem.to_string()),
                threshold: choice.threshold,
            })
        })
        .collect();
    let Some(path) = &args.categories_file else {
        return Ok(());
    };
    if chosen.is_empty() {
        return Err(AppError::Usage(format!(
            "no category has a threshold to be written to {}: see the notes",
            path.display()
        )));
    }
    thresholds::write(path, &chosen)?;
    note!(
        "{} written to {}; label takes them with --categories-file",
        figures::count(chosen.len() as u64, "threshold", "thresholds"),
        path.display()
    );
    Ok(())
}
