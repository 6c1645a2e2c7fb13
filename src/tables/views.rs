//! Text as views while a query runs, plain in what a query gives.
//!
//! Comparing, hashing and gathering views is cheaper, so DataFusion reads Parquet's text as views. Readers downstream, and the
//! `datasets` library, know STRING better. So views begin at the scan and end where rows leave: here is both, and no other module
//! needs to know.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, dml::CopyTo};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, cast as physical_cast};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use futures::TryStreamExt;

/// Whether the session reads text as views: DataFusion's own setting.
pub(super) fn wanted(state: &dyn Session) -> bool {
    let options = state.config_options();
    options.execution.parquet.schema_force_view_types
}

/// The same columns with text as views. Text inside lists and structs stays as it is.
pub(super) fn with_views(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => retyped(field, DataType::Utf8View),
        _ => Arc::clone(field),
    });
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The type without views of text; `None` where there are none in it.
fn without_views(data_type: &DataType) -> Option<DataType> {
    let inner = |field: &FieldRef| Some(retyped(field, without_views(field.data_type())?));
    Some(match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::List(item) => DataType::List(inner(item)?),
        DataType::LargeList(item) => DataType::LargeList(inner(item)?),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item)?, *length),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries)?, *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(without_views(value)?))
        }
        DataType::Struct(fields) => {
            let plain: Vec<Option<FieldRef>> = fields.iter().map(inner).collect();
            if plain.iter().all(Option::is_none) {
                return None;
            }
            let all = plain.into_iter().zip(fields);
            DataType::Struct(
                all.map(|(p, f)| p.unwrap_or_else(|| Arc::clone(f)))
                    .collect(),
            )
        }
        _ => return None,
    })
}

fn retyped(field: &FieldRef, data_type: DataType) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The same columns without views; `None` where there are none.
fn plain_schema(schema: &Schema) -> Option<SchemaRef> {
    let plain: Vec<Option<DataType>> = schema
        .fields()
        .iter()
        .map(|field| without_views(field.data_type()))
        .collect();
    if plain.iter().all(Option::is_none) {
        return None;
    }
    let fields = schema.fields().iter().zip(plain);
    let fields = fields.map(|(field, plain)| match plain {
        Some(plain) => retyped(field, plain),
        None => Arc::clone(field),
    });
    let fields: Vec<FieldRef> = fields.collect();
    Some(Arc::new(Schema::new_with_metadata(
        fields,
        schema.metadata().clone(),
    )))
}

/// The same columns with plain text.
pub fn without(schema: &SchemaRef) -> SchemaRef {
    plain_schema(schema).unwrap_or_else(|| Arc::clone(schema))
}

/// The rows with plain text.
pub fn plain_rows(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let Some(schema) = plain_schema(&rows.schema()) else {
        return rows;
    };
    let plain = Arc::clone(&schema);
    let rows = rows.and_then(move |batch| {
        let columns = batch.columns().iter().zip(plain.fields());
        let columns = columns
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<std::result::Result<Vec<_>, _>>();
        let batch = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&plain), columns));
        futures::future::ready(batch.map_err(Into::into))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// A plan that gives the rows of `input` with plain text.
pub(super) fn plain_plan(input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let Some(plain) = plain_schema(&schema) else {
        return Ok(input);
    };
    let columns = plain.fields().iter().enumerate().map(|(place, field)| {
        let column = Arc::new(PhysicalColumn::new(field.name(), place)) as Arc<dyn PhysicalExpr>;
        let column = physical_cast(column, &schema, field.data_type().clone())?;
        Ok((column, field.name().clone()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
}

/// Makes the text plain of what COPY writes. Runs when the types of all expressions are known.
#[derive(Debug)]
pub struct PlainCopies;

impl AnalyzerRule for PlainCopies {
    fn name(&self) -> &str {
        "plain_copies"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plain = plan.transform_down(|node| match node {
            LogicalPlan::Copy(copy) => match plain_input(&copy.input)? {
                Some(input) => Ok(Transformed::yes(LogicalPlan::Copy(CopyTo {
                    input: Arc::new(input),
                    ..copy
                }))),
                None => Ok(Transformed::no(LogicalPlan::Copy(copy))),
            },
            other => Ok(Transformed::no(other)),
        });
        Ok(plain?.data)
    }
}

fn plain_input(input: &Arc<LogicalPlan>) -> Result<Option<LogicalPlan>> {
    let columns = input.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match without_views(field.data_type()) {
            Some(plain) => datafusion::logical_expr::cast(column, plain)
                .alias_qualified(qualifier.cloned(), field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    if columns
        .iter()
        .all(|column| matches!(column, Expr::Column(_)))
    {
        return Ok(None);
    }
    let plain = Projection::try_new(columns, Arc::clone(input))?;
    Ok(Some(LogicalPlan::Projection(plain)))
}
