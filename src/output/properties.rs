//! How Parquet files are written: compression, row groups and metadata.

use arrow::datatypes::{DataType, Schema};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::session::ROW_GROUP_BYTES;

/// Images are compressed already: their columns are stored as they are, without dictionary and statistics.
pub(crate) fn properties(schema: &Schema) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        // Beside the copy in the stored Arrow schema, because some readers look at one and some at the other.
        .set_key_value_metadata(Some(
            schema
                .metadata()
                .iter()
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
                .collect(),
        ))
        .set_created_by(concat!("picsift ", env!("CARGO_PKG_VERSION")).to_string());
    for path in binary_leaves(schema) {
        builder = builder
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    builder.build()
}

fn binary_leaves(schema: &Schema) -> Vec<ColumnPath> {
    let mut leaves = Vec::new();
    for field in schema.fields() {
        if picsift_udf::is_binary(field.data_type()) {
            leaves.push(ColumnPath::from(vec![field.name().clone()]));
        }
        if let DataType::Struct(fields) = field.data_type() {
            for part in fields
                .iter()
                .filter(|part| picsift_udf::is_binary(part.data_type()))
            {
                leaves.push(ColumnPath::from(vec![
                    field.name().clone(),
                    part.name().clone(),
                ]));
            }
        }
    }
    leaves
}
