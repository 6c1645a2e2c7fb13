//! A scan of chosen rows of a table's files in which each row knows its place.
//!
//! Parquet is read by DataFusion's scan, which numbers rows itself and so may still leave out row groups that a predicate
//! rules out. Local files with row groups too large to hold are read a page at a time (`pages`). CSV and JSON are
//! read from their beginning and counted, Arrow too; rows that are not wanted are dropped. What of a row is no text the row says itself (`readable`).

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, UInt32Type};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::RowNumber;
use parquet::file::metadata::ParquetMetaData;

use super::files::InputFile;
use super::pages::{self, Pages};
use super::readable::{Planned, Readable, told};
use super::select::Rows;
use super::{FILE_COLUMN, ROW_COLUMN, UNREADABLE_COLUMN};
use crate::tables::{
    BoundedParquet, FileTable, Kind, MarkedStores, NamedFiles, Texts, bytes_reader, bytes_schema,
    from_marked,
};

/// Files whose footers are read at once.
const FILES_AT_ONCE: usize = 32;

/// The columns of `table`, and behind them a row's file, what of it cannot be read, and its place.
pub fn positioned_schema(table: &Schema) -> SchemaRef {
    let mut fields: Vec<FieldRef> = table.fields().iter().cloned().collect();
    fields.extend([file_field(), unreadable_field(), row_field()]);
    Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))
}

fn file_field() -> FieldRef {
    Arc::new(Field::new(FILE_COLUMN, DataType::UInt32, false))
}

fn unreadable_field() -> FieldRef {
    Arc::new(Field::new(UNREADABLE_COLUMN, DataType::Utf8, true))
}

/// The field by which Parquet's readers know that rows are to be numbered.
pub(super) fn row_field() -> FieldRef {
    let field = Field::new(ROW_COLUMN, DataType::Int64, false);
    Arc::new(field.with_extension_type(RowNumber))
}

/// The chosen rows of `files`, which are files of `table`, in that order. Where a text is none, they say so with [`Texts::Bytes`] and end
/// there with [`Texts::Checked`], which costs less; of other formats than Parquet they always say so.
///
/// # Errors
/// When a file's footer is needed to choose rows and cannot be read.
pub async fn scan(
    state: &SessionState,
    table: &FileTable,
    files: &[(InputFile, Rows)],
    texts: Texts,
) -> Result<Arc<dyn TableProvider>> {
    let schema = positioned_schema(&table.schema());
    let rows: Arc<dyn PartitionStream> = match (table.kind(), texts) {
        (Kind::Parquet, Texts::Checked) => match pages::needed(table, files).await? {
            Some(files) => Arc::new(Pages::new(files, Arc::clone(&schema), texts)),
            None => return Ok(Arc::new(Numbered::of(state, table, files).await?)),
        },
        (Kind::Parquet, Texts::Bytes) => {
            let table = table.with_types_of(&bytes_schema(table.file_schema()));
            let rows: Arc<dyn PartitionStream> = match pages::needed(&table, files).await? {
                Some(files) => {
                    let schema = positioned_schema(&table.schema());
                    Arc::new(Pages::new(files, schema, texts))
                }
                None => {
                    let numbered = Numbered::of(state, &table, files).await?;
                    let plan = bytes_reader(numbered.plan(state, None, None).await?);
                    // No rule sees a plan inside of another.
                    let plan = BoundedParquet.optimize(plan, state.config_options())?;
                    let plan = NamedFiles.optimize(plan, state.config_options())?;
                    Arc::new(Planned::new(plan))
                }
            };
            Arc::new(Readable::new(rows, Arc::clone(&schema)))
        }
        _ => {
            let numbered = Numbered::of(state, table, files).await?;
            let plan = numbered.plan(state, None, None).await?;
            Arc::new(Counted {
                is_lines: table.kind() != Kind::Arrow,
                rows: files.iter().map(|(f, rows)| (f.id, rows.clone())).collect(),
                plan: NamedFiles.optimize(plan, state.config_options())?,
                schema: Arc::clone(&schema),
            })
        }
    };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![rows])?))
}

/// How many rows [`scan`] would give.
///
/// # Errors
/// When a file cannot be read.
pub async fn count(
    context: &datafusion::prelude::SessionContext,
    table: &FileTable,
    files: &[(InputFile, Rows)],
) -> Result<u64> {
    if !is_parquet(table) {
        let table = scan(&context.state(), table, files, Texts::Checked).await?;
        return Ok(context.read_table(table)?.count().await? as u64);
    }
    let mut rows = 0;
    for (file, wanted) in files {
        rows += wanted.count(total(&context.state(), table, file).await?);
    }
    Ok(rows)
}

/// Rows of each row group of each file, in their order; of other formats than Parquet a file is one group. Several files are looked at at once.
///
/// # Errors
/// When a file cannot be read.
pub async fn row_groups(
    context: &datafusion::prelude::SessionContext,
    table: &FileTable,
    files: &[InputFile],
) -> Result<Vec<Vec<u64>>> {
    let state = &context.state();
    let groups = files.iter().map(|file| async move {
        if !is_parquet(table) {
            let all = [(file.clone(), Rows::From(0))];
            return Ok(vec![count(context, table, &all).await?]);
        }
        let footer = footer(state, table, file).await?;
        let groups = footer.row_groups().iter();
        Ok(groups.map(|group| group.num_rows().max(0) as u64).collect())
    });
    futures::stream::iter(groups)
        .buffered(FILES_AT_ONCE)
        .try_collect()
        .await
}

fn is_parquet(table: &FileTable) -> bool {
    table.kind() == Kind::Parquet
}

/// Rows of a Parquet file, by its footer.
async fn total(state: &SessionState, table: &FileTable, file: &InputFile) -> Result<u64> {
    let footer = footer(state, table, file).await?;
    Ok(footer.file_metadata().num_rows().max(0) as u64)
}

async fn footer(
    state: &SessionState,
    table: &FileTable,
    file: &InputFile,
) -> Result<Arc<ParquetMetaData>> {
    let store = state.runtime_env().object_store(table.store_url()?)?;
    let meta = &file.file.object_meta;
    DFParquetMetadata::new(store.as_ref(), meta)
        .with_file_metadata_cache(Some(
            state.runtime_env().cache_manager.get_file_metadata_cache(),
        ))
        .fetch_metadata()
        .await
}

async fn group(
    state: &SessionState,
    table: &FileTable,
    files: &[(InputFile, Rows)],
    parquet: bool,
) -> Result<FileGroup> {
    let mut group = Vec::new();
    for (file, rows) in files {
        let mut part = file.file.clone();
        part.partition_values
            .extend([ScalarValue::UInt32(Some(file.id)), ScalarValue::Utf8(None)]);
        if parquet && !rows.is_all() {
            let selection = rows.selection(total(state, table, file).await?);
            part = part.with_extension(ParquetRowSelection::new(selection));
        }
        group.push(part);
    }
    Ok(FileGroup::new(group))
}

/// DataFusion's scan of a list of files, with the number of each row's file and, for Parquet, the row's.
#[derive(Debug)]
struct Numbered {
    format: Arc<dyn datafusion::datasource::file_format::FileFormat>,
    store: ObjectStoreUrl,
    table_schema: TableSchema,
    group: FileGroup,
    schema: SchemaRef,
}

impl Numbered {
    async fn of(
        state: &SessionState,
        table: &FileTable,
        files: &[(InputFile, Rows)],
    ) -> Result<Self> {
        let rows = is_parquet(table);
        let group = group(state, table, files, rows).await?;
        let mut folders = table.partitions().to_vec();
        folders.extend([file_field(), unreadable_field()]);
        let mut builder = TableSchema::builder(Arc::clone(table.file_schema()))
            .with_table_partition_cols(folders);
        if rows {
            builder = builder.with_virtual_columns(vec![row_field()]);
        }
        Ok(Self {
            format: Arc::clone(table.format()),
            store: table.store_url()?,
            table_schema: builder.build(),
            group,
            schema: positioned_schema(&table.schema()),
        })
    }

    async fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = self.format.file_source(self.table_schema.clone());
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_group(self.group.clone())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }
}

#[async_trait]
impl TableProvider for Numbered {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan(state, projection, limit).await
    }
}

/// Numbers the rows of a scan whose format cannot, and drops those that are not wanted.
#[derive(Debug)]
struct Counted {
    /// Whether its files are of text, in which what is none can be marked.
    is_lines: bool,
    rows: std::collections::HashMap<u32, Rows>,
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
}

impl PartitionStream for Counted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = self.rows.clone();
        // Their readers end at what is no text, unless it is marked.
        let context = match self.is_lines {
            true => Arc::new(MarkedStores::under(&context)),
            false => context,
        };
        let stream = Planned::new(Arc::clone(&self.plan)).execute(context);
        let mut counter = Counter::default();
        let out = Arc::clone(&schema);
        let counted = stream.map(move |batch| {
            let numbered = counter.number(&batch?, &rows, &out)?;
            told(&numbered, &out, from_marked)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, counted))
    }
}

/// How far a stream of whole files has come.
#[derive(Debug, Default)]
struct Counter {
    file: Option<u32>,
    rows: i64,
}

impl Counter {
    /// `batch`, of one file and with its number in the last column but one, with the rows' places; only wanted rows.
    fn number(
        &mut self,
        batch: &RecordBatch,
        rows: &std::collections::HashMap<u32, Rows>,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let files = batch.columns().iter().rev().nth(1);
        let files = files.map(|c| c.as_primitive::<UInt32Type>().values());
        let file = files.and_then(|files| files.first().copied());
        if self.file != file && file.is_some() {
            (self.file, self.rows) = (file, 0);
        }
        let end = self.rows + batch.num_rows() as i64;
        let places: Int64Array = (self.rows..end).collect::<Vec<_>>().into();
        self.rows = end;
        let wanted = file.and_then(|file| rows.get(&file));
        let mask = wanted
            .filter(|rows| !rows.is_all())
            .map(|r| r.mask(&places));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(places));
        let numbered = RecordBatch::try_new(Arc::clone(schema), columns)?;
        Ok(match mask {
            Some(mask) => filter_record_batch(&numbered, &mask)?,
            None => numbered,
        })
    }
}

/// File and row of the last row of a batch with a row's place in it; `None` for an empty one.
pub fn last_place(batch: &RecordBatch) -> Option<(u32, u64)> {
    let last = batch.num_rows().checked_sub(1)?;
    let file = batch.column_by_name(FILE_COLUMN)?;
    let row = batch.column_by_name(ROW_COLUMN)?;
    Some((
        file.as_primitive::<UInt32Type>().value(last),
        row.as_primitive::<Int64Type>().value(last) as u64,
    ))
}
