//! Rows in which something is no text, told from the others: each says which of its columns could not be read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;

use super::{FILE_COLUMN, ROW_COLUMN, UNREADABLE_COLUMN};
use crate::tables::{Converted, from_bytes};

/// How a column becomes text.
pub(super) type Convert = fn(&ArrayRef, &Field) -> Result<Converted>;

/// What readers of Parquet say of a value that is no text.
const NO_TEXT: &str = "non UTF-8 data";

/// Whether a read ended at a value of a text column that is no text.
pub fn is_no_text(error: &DataFusionError) -> bool {
    error.find_root().to_string().contains(NO_TEXT)
}

/// Rows with bytes in place of text, as text.
pub(super) struct Readable {
    rows: Arc<dyn PartitionStream>,
    schema: SchemaRef,
}

impl Readable {
    /// `rows` with the columns of `schema`.
    pub(super) fn new(rows: Arc<dyn PartitionStream>, schema: SchemaRef) -> Self {
        Self { rows, schema }
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable").finish_non_exhaustive()
    }
}

impl PartitionStream for Readable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = self.rows.execute(context);
        let rows = rows.map(move |batch| told(&batch?, &schema, from_bytes));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}

/// The first partition of a plan.
#[derive(Debug)]
pub(super) struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
}

impl Planned {
    pub(super) fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        let schema = plan.schema();
        Self { plan, schema }
    }
}

impl PartitionStream for Planned {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.plan.execute(0, context) {
            Ok(stream) => stream,
            Err(error) => {
                let failed = futures::stream::once(async { Err(error) });
                Box::pin(RecordBatchStreamAdapter::new(
                    Arc::clone(&self.schema),
                    failed,
                ))
            }
        }
    }
}

/// `batch` with the columns of `schema`, whose rows say what of them is no text.
pub(super) fn told(
    batch: &RecordBatch,
    schema: &SchemaRef,
    convert: Convert,
) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    let mut wrong: Vec<(&str, Vec<bool>)> = Vec::new();
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if [FILE_COLUMN, UNREADABLE_COLUMN, ROW_COLUMN].contains(&field.name().as_str()) {
            columns.push(Arc::clone(column));
            continue;
        }
        let converted = convert(column, field)?;
        columns.push(converted.column);
        if let Some(rows) = converted.wrong {
            wrong.push((field.name(), rows));
        }
    }
    if !wrong.is_empty() {
        let reasons = (0..batch.num_rows()).map(|row| {
            let names = wrong.iter().filter(|(_, rows)| rows[row]);
            sentence(names.map(|(name, _)| *name).collect())
        });
        let reasons: StringArray = reasons.collect();
        columns[schema.index_of(UNREADABLE_COLUMN)?] = Arc::new(reasons);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn sentence(columns: Vec<&str>) -> Option<String> {
    let names: Vec<String> = columns.iter().map(|name| format!("'{name}'")).collect();
    match names.len() {
        0 => None,
        1 => Some(format!("the text in column {} is not UTF-8", names[0])),
        _ => Some(format!(
            "the text in columns {} is not UTF-8",
            names.join(", ")
        )),
    }
}
