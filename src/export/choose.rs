//! Which classes there are, and which rows are drawn of those that are too large; no image is read for it.

use std::collections::{BinaryHeap, HashMap, HashSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use futures::StreamExt;

use super::split::order;
use crate::dataset::labels::{Labels, texts};
use crate::error::AppError;
use crate::tables::plain;

/// The class of pictures without a label.
pub const UNLABELLED: &str = "unlabelled";

/// Most classes: more are no classes but texts.
const MOST_CLASSES: usize = 10_000;

/// Whether a row's image could be read when it was labelled: only such rows are exported.
fn whole(labelled: &Labels) -> Expr {
    match &labelled.columns.error {
        Some(error) => plain(error).is_null(),
        None => lit(true),
    }
}

/// The column of the class, the one that was `asked` for if any.
///
/// # Errors
/// [`AppError::Usage`] when there is none or it is no text.
pub fn label_column(labelled: &Labels, asked: Option<&str>) -> Result<String, AppError> {
    let Some(label) = asked.map(str::to_string).or(labelled.columns.label.clone()) else {
        return Err(AppError::Usage(format!(
            "{} has no column 'label'; say with --label COLUMN which column is the class",
            labelled.shown
        )));
    };
    match labelled.schema.field_with_name(&label) {
        Ok(field) if picsift_udf::is_string(field.data_type()) => Ok(label),
        Ok(field) => Err(AppError::Usage(format!(
            "--label {label}: the column is {}; a class is text",
            field.data_type()
        ))),
        Err(_) => Err(AppError::Usage(format!(
            "--label {label}: {} has no such column",
            labelled.shown
        ))),
    }
}

/// The classes with their rows, by name, that of pictures without a label last.
///
/// # Errors
/// [`AppError::Usage`] for too many, [`AppError::Run`] while reading.
pub async fn classes(
    labelled: &Labels,
    label: &str,
    unlabelled: bool,
) -> Result<Vec<(String, u64)>, AppError> {
    let groups = labelled
        .frame
        .clone()
        .filter(whole(labelled))
        .and_then(|rows| {
            rows.aggregate(
                vec![plain(label).alias("class")],
                vec![count(lit(1)).alias("rows")],
            )
        })
        .and_then(|groups| groups.limit(0, Some(MOST_CLASSES + 2)))
        .map_err(AppError::Plan)?
        .collect()
        .await
        .map_err(AppError::Run)?;
    let mut classes = Vec::new();
    let mut without = 0;
    for batch in &groups {
        let names = texts(batch.column(0)).map_err(AppError::Run)?;
        let rows = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let count = rows.value(row).max(0) as u64;
            match names.is_valid(row) {
                true => classes.push((names.value(row).to_string(), count)),
                false => without += count,
            }
        }
    }
    if classes.len() > MOST_CLASSES {
        return Err(AppError::Usage(format!(
            "column '{label}' has more than {MOST_CLASSES} different values: is it the class?"
        )));
    }
    classes.sort();
    if unlabelled && without > 0 {
        if classes.iter().any(|(name, _)| name == UNLABELLED) {
            return Err(AppError::Usage(format!(
                "--keep-unlabelled: there is a class '{UNLABELLED}' already"
            )));
        }
        classes.push((UNLABELLED.to_string(), without));
    }
    Ok(classes)
}

/// The places of at most `most` rows of each class, as if drawn by lot. Memory is that of what is drawn.
///
/// # Errors
/// [`AppError::Run`] while reading.
pub async fn chosen(
    labelled: &Labels,
    label: &str,
    most: u64,
    seed: u64,
) -> Result<HashSet<u64>, AppError> {
    let mut columns = vec![plain(label)];
    columns.extend(labelled.columns.error.as_deref().map(plain));
    let mut stream = labelled.stream(columns).await?;
    let mut drawn: HashMap<Option<String>, BinaryHeap<(u64, u64)>> = HashMap::new();
    let mut place = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(AppError::Run)?;
        let labels = texts(batch.column(0)).map_err(AppError::Run)?;
        let failed = batch.columns().get(1);
        for (row, label) in labels.iter().enumerate() {
            if failed.is_none_or(|failed| failed.is_null(row)) {
                let lots = drawn.entry(label.map(str::to_string)).or_default();
                lots.push((order(place, seed), place));
                if lots.len() as u64 > most {
                    lots.pop();
                }
            }
            place += 1;
        }
    }
    let places = drawn.into_values().flatten();
    Ok(places.map(|(_, place)| place).collect())
}
