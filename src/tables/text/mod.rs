//! Text that is no text: values of a column of text whose bytes are no UTF-8.
//!
//! Readers end at the first such value, and some take it for text unseen. Here is how a file is read so that every value is looked at
//! ([`checked`]), and how what cannot be read so is read as bytes ([`bytes_reader`], [`MarkedStores`]) and becomes text again, row by row
//! ([`from_bytes`], [`from_marked`]). What follows for a row is its reader's to say.

mod columns;
mod marked;
mod parquet;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

pub use columns::{Converted, from_bytes, from_marked};
pub(super) use marked::MarkedStore;
pub use marked::MarkedStores;
pub(super) use parquet::checked;
pub use parquet::{Texts, bytes_reader, file_reader};

/// The same columns with bytes in place of text.
pub fn bytes_schema(schema: &Schema) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| bytes_field(field).unwrap_or_else(|| Arc::clone(field)));
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn bytes_field(field: &FieldRef) -> Option<FieldRef> {
    let data_type = bytes_type(field.data_type())?;
    Some(Arc::new(Field::clone(field).with_data_type(data_type)))
}

/// The type with bytes in place of text; `None` where there is none in it.
fn bytes_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::Utf8View => DataType::BinaryView,
        DataType::List(item) => DataType::List(bytes_field(item)?),
        DataType::LargeList(item) => DataType::LargeList(bytes_field(item)?),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(bytes_field(item)?, *length)
        }
        DataType::Map(entries, sorted) => DataType::Map(bytes_field(entries)?, *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(bytes_type(value)?))
        }
        DataType::Struct(fields) => {
            let bytes: Vec<Option<FieldRef>> = fields.iter().map(bytes_field).collect();
            if bytes.iter().all(Option::is_none) {
                return None;
            }
            let all = bytes.into_iter().zip(fields);
            DataType::Struct(
                all.map(|(b, f)| b.unwrap_or_else(|| Arc::clone(f)))
                    .collect(),
            )
        }
        _ => return None,
    })
}

/// Whether values of this type, which stand in one column of Parquet, are text.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        DataType::RunEndEncoded(_, value) => is_text(value.data_type()),
        _ => false,
    }
}
