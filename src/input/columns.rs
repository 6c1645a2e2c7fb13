//! The columns of one table in the order and of the types that another has.
//!
//! Tables that are labelled together are one to the job; columns are the same by their names.

use arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, cast};

use super::{FILE_COLUMN, ROW_COLUMN, UNREADABLE_COLUMN};

/// The columns of `schema` of rows that have those of `theirs`; `None` where they are the same.
pub fn columns_as(schema: &Schema, theirs: &Schema) -> Option<Vec<Expr>> {
    let mut same = true;
    let columns = schema.fields().iter().enumerate().map(|(place, field)| {
        let column = Expr::Column(Column::from_name(field.name()));
        match theirs.column_with_name(field.name()) {
            Some((their_place, their)) => {
                let same_type = their.data_type() == field.data_type();
                same &= place == their_place && same_type;
                match same_type {
                    true => column,
                    false => cast(column, field.data_type().clone()).alias(field.name()),
                }
            }
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    (!same).then_some(columns)
}

/// `columns`, then a row's place and what of it could not be read.
pub fn with_place(columns: &[Expr]) -> Vec<Expr> {
    let place = [FILE_COLUMN, UNREADABLE_COLUMN, ROW_COLUMN];
    let place = place.map(|name| Expr::Column(Column::from_name(name)));
    columns.iter().cloned().chain(place).collect()
}
