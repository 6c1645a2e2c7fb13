//! Columns under names of their own, for forms that take columns by their names.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;

/// The schema with a name of its own for each column: readers of JSON and Parquet take columns by their names, and of two alike one
/// would be lost. The second `id` is `id_1`, as DuckDB calls it.
pub(crate) fn distinct(schema: &SchemaRef) -> SchemaRef {
    let mut names: HashSet<String> = HashSet::new();
    let own: HashSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let fields = schema.fields().iter().map(|field| {
        let name = field.name();
        if names.insert(name.clone()) {
            return Arc::clone(field);
        }
        let others = (1..).map(|number| format!("{name}_{number}"));
        let free = others
            .into_iter()
            .find(|other| !own.contains(other) && !names.contains(other))
            .unwrap_or_default();
        names.insert(free.clone());
        Arc::new(field.as_ref().clone().with_name(free))
    });
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The batch with the names of `schema`.
pub(crate) fn under(batch: &RecordBatch, schema: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        batch.columns().to_vec(),
        &options,
    )?)
}
