//! Columns of tables as expressions, by their very names.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::Expr;
use picsift_udf::is_text;

/// A column by its very name: no part of it is taken for a table's.
pub fn plain(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// What the rows of a column are called: text, a whole number, or the path beside an image's bytes; `None` for all other types.
pub fn name_of(column: &str, data_type: &DataType) -> Option<Expr> {
    match data_type {
        DataType::Struct(fields) if fields.find("path").is_some() => {
            Some(plain(column).field("path"))
        }
        t if is_text(t) || t.is_integer() => Some(plain(column)),
        _ => None,
    }
}
