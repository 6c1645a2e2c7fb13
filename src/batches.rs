//! How many rows of a plan go together.
//!
//! Rows may carry images. DataFusion's 8192 rows of 100 KB would be 800 MB, in every filter, join and sort that gathers full
//! batches; so a plan that carries bytes runs with batches that hold a few megabytes of them, and every other plan
//! as DataFusion runs it. Only sizes are decided here; what a plan does is not.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::{InferExec, is_binary};

/// Bytes of images that a batch should hold, about.
const BATCH_BYTES: u64 = 8 << 20;

/// Rows of a batch with images whose size is not known: 6 MB where one has 100 KB.
pub const IMAGE_ROWS: usize = 64;

/// The rows of `frame`, in batches of a fitting size.
///
/// # Errors
/// DataFusion's, from planning or starting.
pub async fn stream(frame: DataFrame) -> Result<SendableRecordBatchStream> {
    let (state, plan) = frame.into_parts();
    let plan = state.create_physical_plan(&plan).await?;
    let context = task_context(&state, &plan);
    execute_stream(plan, context)
}

/// The rows of `frame`, for a caller that opens their images and holds those of a batch together.
///
/// # Errors
/// DataFusion's, from planning or starting.
pub async fn image_stream(frame: DataFrame) -> Result<SendableRecordBatchStream> {
    let (mut state, plan) = frame.into_parts();
    let rows = state.config().batch_size().min(IMAGE_ROWS);
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    stream(DataFrame::new(state, plan)).await
}

/// Runs a statement as [`picsift_udf::execute`] does, which for one that makes a table in memory runs its query.
///
/// # Errors
/// The statement's.
pub async fn execute(context: &SessionContext, plan: LogicalPlan) -> Result<DataFrame> {
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(making)) = &plan else {
        return picsift_udf::execute(context, plan).await;
    };
    let state = context.state();
    let query = state.create_physical_plan(&making.input).await?;
    let rows = task_context(&state, &query).session_config().batch_size();
    let set = |rows: usize| {
        let state = context.state_ref();
        let mut state = state.write();
        *state.config_mut() = state.config().clone().with_batch_size(rows);
    };
    set(rows);
    let made = picsift_udf::execute(context, plan).await;
    set(state.config().batch_size());
    made
}

/// The session's context for running `plan`: its batch size, or a smaller one where rows carry images.
pub fn task_context(state: &SessionState, plan: &Arc<dyn ExecutionPlan>) -> Arc<TaskContext> {
    let config = state.config().clone();
    let rows =
        rows_together(plan).map_or(config.batch_size(), |rows| rows.min(config.batch_size()));
    Arc::new(TaskContext::from(state).with_session_config(config.with_batch_size(rows)))
}

/// Rows of a batch of a plan that carries bytes; `None` for one that does not.
pub(crate) fn rows_together(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let own = match plan.is::<InferExec>() || plan.children().is_empty() {
        true => own_rows(plan),
        false => None,
    };
    let inputs = plan.children().into_iter().filter_map(rows_together);
    inputs.chain(own).min()
}

/// The same for a node by itself, which is where bytes come from: a table, or pictures that are loaded.
fn own_rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let schema = plan.schema();
    let inputs: usize = plan
        .children()
        .iter()
        .map(|c| c.schema().fields().len())
        .sum();
    let mut made = schema.fields().iter().skip(inputs);
    if !made.any(|field| holds_bytes(field.data_type())) {
        return None;
    }
    let bytes = bytes_of_a_row(plan).unwrap_or(BATCH_BYTES / IMAGE_ROWS as u64);
    Some(usize::try_from(BATCH_BYTES / bytes.max(1)).map_or(usize::MAX, |rows| rows.max(1)))
}

fn holds_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| holds_bytes(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_bytes(item.data_type()),
        DataType::Dictionary(_, values) => holds_bytes(values),
        other => is_binary(other),
    }
}

/// The mean bytes of a row in the file where they are largest; `None` where some file's rows are not counted. Images are
/// compressed already, so that a file's size is about that of its rows.
fn bytes_of_a_row(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let mut files = HashMap::new();
    for file in config.file_groups.iter().flat_map(|group| group.iter()) {
        let rows = file.statistics.as_ref()?.num_rows.get_value().copied()?;
        // A file that is read in parts stands there more than once.
        files.insert(&file.object_meta.location, (file.object_meta.size, rows));
    }
    let means = files
        .into_values()
        .map(|(bytes, rows)| bytes / (rows as u64).max(1));
    means.max()
}
