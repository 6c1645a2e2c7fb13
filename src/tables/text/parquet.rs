//! How Parquet's reader is told what of a file is text.
//!
//! It takes the words of a column's annotation: what is annotated as UTF-8 is looked at while it is decoded, and the first wrong value
//! ends the read. What a file's Arrow schema, or a table's, alone calls text, and what is annotated as JSON, it takes for text without a look.
//! So annotations are written anew in what the reader is given: of all text as UTF-8, or of none.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::{bytes_schema, is_text};

/// How a file's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// As text; the first value that is none ends the read.
    Checked,
    /// As bytes.
    Bytes,
}

/// A reader of a file that is at hand.
///
/// # Errors
/// Parquet's, for a file that is none.
pub fn file_reader<T: ChunkReader + 'static>(
    file: T,
    options: ArrowReaderOptions,
    texts: Texts,
) -> ParquetResult<ParquetRecordBatchReaderBuilder<T>> {
    let read = ArrowReaderMetadata::load(&file, options.clone())?;
    let metadata = match texts {
        Texts::Checked => checked(read.metadata(), None)?,
        Texts::Bytes => as_bytes(read.metadata())?,
    };
    let read = match Arc::ptr_eq(&metadata, read.metadata()) {
        true => read,
        false => ArrowReaderMetadata::try_new(metadata, options)?,
    };
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(
        file, read,
    ))
}

/// What a reader should know of a file, so that it looks at all that it will give as text: what the file calls so, and the columns that
/// `table` does.
pub(in crate::tables) fn checked(
    metadata: &Arc<ParquetMetaData>,
    table: Option<&Schema>,
) -> ParquetResult<Arc<ParquetMetaData>> {
    let file = metadata.file_metadata();
    let columns = file.schema_descr().columns();
    let unseen = |place: usize| {
        let column = &columns[place];
        column.physical_type() == PhysicalType::BYTE_ARRAY
            && column.converted_type() != ConvertedType::UTF8
    };
    // Most files with pictures have some of these, and others none.
    if !(0..columns.len()).any(unseen) {
        return Ok(Arc::clone(metadata));
    }
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    let mut texts = leaves(schema.fields(), columns.len())?;
    for (place, text) in texts.iter_mut().enumerate() {
        let path = columns[place].path().parts();
        let [name] = path else { continue };
        let asked = table.and_then(|table| table.field_with_name(name).ok());
        *text |= asked.is_some_and(|field| is_text(field.data_type()));
    }
    let wrong = |place: usize| texts[place] && unseen(place);
    if !(0..columns.len()).any(wrong) {
        return Ok(Arc::clone(metadata));
    }
    let schema = annotated(&file.schema_descr().root_schema_ptr(), &mut 0, &|place| {
        wrong(place).then_some((ConvertedType::UTF8, Some(LogicalType::String)))
    })?;
    Ok(with_schema(
        metadata,
        schema,
        file.key_value_metadata().cloned(),
    ))
}

/// The same for a reader that is to give bytes for all text.
fn as_bytes(metadata: &Arc<ParquetMetaData>) -> ParquetResult<Arc<ParquetMetaData>> {
    let file = metadata.file_metadata();
    let width = file.schema_descr().num_columns();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    let texts = leaves(schema.fields(), width)?;
    // What Arrow's schema says besides (time zones, the width of offsets) stays.
    let hint = encode_arrow_schema(&bytes_schema(&schema));
    let mut values = file.key_value_metadata().cloned().unwrap_or_default();
    values.retain(|value| value.key != ARROW_SCHEMA_META_KEY);
    values.push(KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), hint));
    let schema = annotated(&file.schema_descr().root_schema_ptr(), &mut 0, &|place| {
        texts[place].then_some((ConvertedType::NONE, None))
    })?;
    Ok(with_schema(metadata, schema, Some(values)))
}

/// For each column of a file whether it is text.
fn leaves(fields: &Fields, width: usize) -> ParquetResult<Vec<bool>> {
    let mut texts = Vec::with_capacity(width);
    for field in fields {
        leaf(field.data_type(), &mut texts);
    }
    match texts.len() == width {
        true => Ok(texts),
        false => Err(ParquetError::General(format!(
            "its {width} columns and the {} of its Arrow schema differ",
            texts.len()
        ))),
    }
}

fn leaf(data_type: &DataType, texts: &mut Vec<bool>) {
    let mut inner = |field: &FieldRef| leaf(field.data_type(), texts);
    match data_type {
        DataType::Struct(fields) => fields.iter().for_each(inner),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => inner(item),
        other => texts.push(is_text(other)),
    }
}

type Annotation = (ConvertedType, Option<LogicalType>);

/// The schema with other annotations of its columns, which are numbered as they come.
fn annotated(
    node: &TypePtr,
    place: &mut usize,
    change: &dyn Fn(usize) -> Option<Annotation>,
) -> ParquetResult<TypePtr> {
    match node.as_ref() {
        Type::GroupType { basic_info, fields } => {
            let fields = fields.iter().map(|field| annotated(field, place, change));
            Ok(Arc::new(Type::GroupType {
                basic_info: basic_info.clone(),
                fields: fields.collect::<ParquetResult<_>>()?,
            }))
        }
        Type::PrimitiveType {
            basic_info,
            physical_type,
            ..
        } => {
            let changed = change(*place);
            *place += 1;
            let Some((converted, logical)) = changed else {
                return Ok(Arc::clone(node));
            };
            let made = Type::primitive_type_builder(basic_info.name(), *physical_type)
                .with_repetition(basic_info.repetition())
                .with_converted_type(converted)
                .with_logical_type(logical)
                .with_id(basic_info.has_id().then(|| basic_info.id()))
                .build()?;
            Ok(Arc::new(made))
        }
    }
}

fn with_schema(
    metadata: &ParquetMetaData,
    schema: TypePtr,
    values: Option<Vec<KeyValue>>,
) -> Arc<ParquetMetaData> {
    let file = metadata.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_string),
        values,
        Arc::new(SchemaDescriptor::new(schema)),
        file.column_orders().cloned(),
    );
    let made = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .set_column_index(metadata.column_index().cloned())
        .set_offset_index(metadata.offset_index().cloned());
    Arc::new(made.build())
}

/// A scan of Parquet whose readers give bytes for all text; other plans as they are.
pub fn bytes_reader(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let made = || {
        let scan = plan.downcast_ref::<DataSourceExec>()?;
        let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
        let source = config.file_source().downcast_ref::<ParquetSource>()?;
        let inner = Arc::clone(source.parquet_file_reader_factory()?);
        let factory = Arc::new(Factory { inner });
        let source = source.clone().with_parquet_file_reader_factory(factory);
        let config = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source));
        Some(DataSourceExec::from_data_source(config.build()))
    };
    match made() {
        Some(scan) => scan,
        None => plan,
    }
}

#[derive(Debug)]
struct Factory {
    inner: Arc<dyn ParquetFileReaderFactory>,
}

impl ParquetFileReaderFactory for Factory {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let inner = self.inner.create_reader(partition, file, hint, metrics)?;
        Ok(Box::new(BytesReader(inner)))
    }
}

struct BytesReader(Box<dyn AsyncFileReader + Send>);

impl AsyncFileReader for BytesReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { as_bytes(&self.0.get_metadata(options).await?) }.boxed()
    }
}
