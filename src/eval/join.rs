//! Truth that stands in another table, put beside the rows it is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::functions::expr_fn::{concat, encode, sha256};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, JoinType, cast, col, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::{DIGEST_PREFIX, is_binary, is_text};
use serde::Serialize;

use super::truth::Truth;
use crate::corrections;
use crate::dataset::labels::Labels;
use crate::error::AppError;
use crate::tables::{self, FileTable, name_of, plain};

/// The key of a labelled row.
const KEY: &str = "picsift_key";
/// The key of a row of the truth.
const TRUTH_KEY: &str = "picsift_truth_key";

/// How the two tables fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// Labelled rows whose key is in the truth.
    pub matched: u64,
    /// Labelled rows whose key is not.
    pub without_truth: u64,
    /// Rows of the truth whose key no labelled row has.
    pub unmatched_truth: u64,
}

/// Another table's truth.
pub struct Beside {
    /// The labelled rows with the truth's columns, in any order.
    pub frame: DataFrame,
    /// Where the truth stands in them.
    pub truth: Truth,
    /// How the tables fit.
    pub joined: Joined,
    /// Whether the truth is corrections: about rows that people chose to look at.
    pub chosen: bool,
}

/// Joins the table at `file` to `rows`, those of the labelled table, on `key`: the name of a column of both, or `LABELLED=TRUTH`, else
/// the image column and `key`.
///
/// # Errors
/// A sentence when a column is missing, a key stands twice in the truth, or no key is in both.
pub async fn beside(
    context: &SessionContext,
    labelled: &Labels,
    rows: DataFrame,
    file: &str,
    key: Option<&str>,
    asked: &[String],
) -> Result<Beside, AppError> {
    let location = tables::locate(file).map_err(AppError::Plan)?;
    let table = tables::open(&context.state(), &[location])
        .await
        .map_err(AppError::Plan)?;
    let table = with_text_keys(table, labelled, key);
    let truths = context.read_table(table).map_err(AppError::Plan)?;
    let schema = SchemaRef::new(truths.schema().as_arrow().clone());
    let corrections = ["key", "category", "is"]
        .iter()
        .all(|name| schema.column_with_name(name).is_some());
    if asked.is_empty() && corrections {
        return corrected(context, labelled, rows, file, key).await;
    }
    let (ours, theirs) = keys_of(labelled, &schema, key, file)?;
    if asked.is_empty() {
        return Err(AppError::Usage(format!(
            "say with --truth which column of {file} is the truth"
        )));
    }
    let truth = Truth::resolve(asked, &labelled.categories, &schema)?;
    joined(labelled, rows, (truths, truth), (ours, theirs), file).await
}

/// The truth's table with keys of text where the labelled table's are: in a CSV file 001 looks like a number.
fn with_text_keys(truths: Arc<FileTable>, labelled: &Labels, key: Option<&str>) -> Arc<FileTable> {
    let (ours, theirs) = match key {
        Some(key) => key.split_once('=').unwrap_or((key, key)),
        None => (labelled.image.as_deref().unwrap_or_default(), "key"),
    };
    let is = |schema: &Schema, name: &str, fits: fn(&DataType) -> bool| {
        let field = schema.field_with_name(name);
        field.is_ok_and(|field| fits(field.data_type()))
    };
    let schema = truths.schema();
    if !is(&labelled.schema, ours, is_text) || !is(&schema, theirs, DataType::is_integer) {
        return truths;
    }
    let text = Schema::new(vec![Field::new(theirs, DataType::Utf8, true)]);
    Arc::new(truths.with_types_of(&text))
}

/// As [`beside`], with the truth that people's corrections say.
async fn corrected(
    context: &SessionContext,
    labelled: &Labels,
    rows: DataFrame,
    file: &str,
    key: Option<&str>,
) -> Result<Beside, AppError> {
    let loaded = corrections::load(file).await?;
    let all = loaded.corrections.all();
    let mut said: BTreeMap<&str, Vec<Option<bool>>> = BTreeMap::new();
    for (key, category, is) in all {
        let index = labelled.categories.iter().position(|c| c.name == category);
        let row = said
            .entry(key)
            .or_insert_with(|| vec![None; labelled.categories.len()]);
        if let Some(index) = index {
            row[index] = Some(is);
        }
    }
    let keys: StringArray = said.keys().map(|key| Some(*key)).collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![("key".to_string(), Arc::new(keys))];
    let mut named = Vec::new();
    for index in 0..labelled.categories.len() {
        let truth: BooleanArray = said.values().map(|row| row[index]).collect();
        named.push((truth.null_count() < truth.len()).then(|| format!("c{index}")));
        columns.push((format!("c{index}"), Arc::new(truth)));
    }
    if named.iter().all(Option::is_none) {
        return Err(AppError::Usage(format!(
            "no correction in {file} is about a category of {}",
            labelled.shown
        )));
    }
    let batch = RecordBatch::try_from_iter(columns).map_err(|e| AppError::Run(e.into()))?;
    let truths = context.read_batch(batch).map_err(AppError::Plan)?;
    let ours = match (key, &labelled.image) {
        (None, Some(image)) => {
            let data_type = labelled.schema.field_with_name(image).map(Field::data_type);
            let nameless = data_type.is_ok_and(is_binary);
            nameless.then(|| {
                let digest = encode(sha256(plain(image)), lit("hex"));
                concat(vec![lit(DIGEST_PREFIX), digest])
            })
        }
        _ => None,
    };
    let schema = SchemaRef::new(truths.schema().as_arrow().clone());
    let keys = match ours {
        Some(ours) => (ours, plain("key")),
        None => keys_of(labelled, &schema, key, file)?,
    };
    let beside = joined(labelled, rows, (truths, Truth::Booleans(named)), keys, file).await?;
    Ok(Beside {
        chosen: true,
        ..beside
    })
}

async fn joined(
    labelled: &Labels,
    rows: DataFrame,
    (truths, truth): (DataFrame, Truth),
    (ours, theirs): (Expr, Expr),
    file: &str,
) -> Result<Beside, AppError> {
    // Names that the labelled table cannot have by chance.
    let renamed = |column: &str| format!("picsift_truth_{column}");
    let all: Vec<usize> = (0..labelled.categories.len()).collect();
    let mut columns: Vec<Expr> = Vec::new();
    for column in truth.columns(&all) {
        let expr = plain(&column).alias(renamed(&column));
        if !columns.contains(&expr) {
            columns.push(expr);
        }
    }
    columns.push(cast(theirs, DataType::Utf8).alias(TRUTH_KEY));
    let plan = |frame: datafusion::common::Result<DataFrame>| frame.map_err(AppError::Plan);
    let truths = plan(truths.select(columns))?;
    let truths = plan(truths.filter(col(TRUTH_KEY).is_not_null()))?;
    let rows = plan(rows.with_column(KEY, cast(ours, DataType::Utf8)))?;
    unique(&truths, file).await?;

    let on = |kind| {
        let (left, right) = (rows.clone(), truths.clone());
        plan(left.join(right, kind, &[KEY], &[TRUTH_KEY], None))
    };
    let total = counted(rows.clone()).await?;
    let matched = counted(on(JoinType::LeftSemi)?).await?;
    let unmatched_truth = counted(on(JoinType::RightAnti)?).await?;
    if matched == 0 {
        let ours = example(&rows, KEY).await?;
        let theirs = example(&truths, TRUTH_KEY).await?;
        return Err(AppError::Usage(format!(
            "no row of {} has its key in {file}: keys there look like {theirs}, here like {ours}; --key LABELLED=TRUTH names the columns",
            labelled.shown
        )));
    }
    // The labelled rows on the right, which keep their order if they have one.
    let frame = truths.join(rows, JoinType::Right, &[TRUTH_KEY], &[KEY], None);
    Ok(Beside {
        frame: plan(frame)?,
        truth: truth.renamed(renamed),
        joined: Joined {
            matched,
            without_truth: total - matched,
            unmatched_truth,
        },
        chosen: false,
    })
}

/// The keys of both sides.
fn keys_of(
    labelled: &Labels,
    truths: &SchemaRef,
    key: Option<&str>,
    file: &str,
) -> Result<(Expr, Expr), AppError> {
    let (ours, theirs) = match (key, &labelled.image) {
        (Some(key), _) => {
            let both = key.split_once('=').unwrap_or((key, key));
            (both.0.to_string(), both.1.to_string())
        }
        (None, Some(image)) => {
            let theirs = ["key", image]
                .into_iter()
                .find(|name| truths.column_with_name(name).is_some());
            let theirs = theirs.ok_or_else(|| {
                AppError::Usage(format!(
                    "{file} has no column 'key' or '{image}'; say with --key LABELLED=TRUTH which columns say whose truth it is"
                ))
            })?;
            (image.clone(), theirs.to_string())
        }
        (None, None) => {
            return Err(AppError::Usage(format!(
                "{} has no image column to go by; say with --key LABELLED=TRUTH which columns say whose truth it is",
                labelled.shown
            )));
        }
    };
    let named = |schema: &SchemaRef, column: &str, table: &str| {
        let field = schema.field_with_name(column).map_err(|_| {
            AppError::Usage(format!("{table} has no column '{column}' to be the key"))
        })?;
        name_of(column, field.data_type()).ok_or_else(|| {
            AppError::Usage(format!(
                "column '{column}' of {table} is {}; a key is text, a whole number, or an image with a path",
                field.data_type()
            ))
        })
    };
    Ok((
        named(&labelled.schema, &ours, &labelled.shown)?,
        named(truths, &theirs, file)?,
    ))
}

/// # Errors
/// When a key stands twice: which truth holds?
async fn unique(truths: &DataFrame, file: &str) -> Result<(), AppError> {
    let twice = truths
        .clone()
        .aggregate(vec![col(TRUTH_KEY)], vec![count(lit(1)).alias("rows")])
        .and_then(|groups| groups.filter(col("rows").gt(lit(1))))
        .and_then(|groups| groups.limit(0, Some(1)))
        .map_err(AppError::Plan)?;
    let found = twice.collect().await.map_err(AppError::Run)?;
    match found.iter().find(|batch| batch.num_rows() > 0) {
        None => Ok(()),
        Some(batch) => Err(AppError::Usage(format!(
            "the key '{}' stands more than once in {file}: each row of the truth needs its own",
            batch.column(0).as_string::<i32>().value(0)
        ))),
    }
}

/// Rows of a frame.
pub async fn counted(frame: DataFrame) -> Result<u64, AppError> {
    let rows = frame.count().await.map_err(AppError::Run)?;
    Ok(rows as u64)
}

async fn example(frame: &DataFrame, key: &str) -> Result<String, AppError> {
    let one = frame
        .clone()
        .filter(col(key).is_not_null())
        .and_then(|frame| frame.select(vec![col(key)]))
        .and_then(|frame| frame.limit(0, Some(1)))
        .map_err(AppError::Plan)?;
    let found = one.collect().await.map_err(AppError::Run)?;
    let text = found.iter().find(|batch| batch.num_rows() > 0);
    Ok(text.map_or("nothing".to_string(), |batch| {
        format!("'{}'", batch.column(0).as_string::<i32>().value(0))
    }))
}
