//! Arrow columns that several results share.
//!
//! Owns builders only; what goes into them is decided elsewhere.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};

/// LIST<UTF8> with nullable items named `item`, as most readers write it.
pub(crate) fn text_list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// A column of [`text_list_type`]; `None` gives NULL.
pub(crate) fn text_lists<L, T>(rows: impl IntoIterator<Item = Option<L>>) -> ArrayRef
where
    L: IntoIterator<Item = T>,
    T: AsRef<str>,
{
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let valid = row.is_some();
        for text in row.into_iter().flatten() {
            builder.values().append_value(text);
        }
        builder.append(valid);
    }
    Arc::new(builder.finish())
}
