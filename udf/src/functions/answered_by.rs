//! Who answered about each category: the column `answered_by` of a labelling by two models.
//!
//! Not a function of SQL: its type has a part for each category, which a query would have to name anyhow.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};

/// For each category `cheap`, `dear` or `person`; NULL as a whole for a NULL image, and for one that failed and that nobody decided.
#[derive(Debug, Default)]
pub(crate) struct AnsweredBy {
    names: Vec<String>,
}

impl ImageFunction for AnsweredBy {
    fn name(&self) -> &'static str {
        "answered_by"
    }

    fn documentation(&self) -> Option<&Documentation> {
        None
    }

    fn operand(&self) -> Operand {
        Operand::Categories
    }

    fn return_type(&self) -> DataType {
        answered_by_type(&self.names)
    }

    fn of_categories(&self, names: &[String]) -> Option<Arc<dyn ImageFunction>> {
        let names = names.to_vec();
        Some(Arc::new(Self { names }))
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(answerers)
    }
}

/// STRUCT of a nullable UTF8 for each category, by its name.
pub(crate) fn answered_by_type(names: &[String]) -> DataType {
    DataType::Struct(parts(names))
}

fn parts(names: &[String]) -> Fields {
    let fields = names.iter();
    fields
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect()
}

fn answerers(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let names = labelling.names();
    let columns = (0..names.len()).map(|category| {
        let answerers: StringArray = rows.iter().map(|row| row.answered_by(category)).collect();
        Arc::new(answerers) as ArrayRef
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let known: NullBuffer = rows
        .iter()
        .map(|row| (0..names.len()).any(|category| row.answered_by(category).is_some()))
        .collect::<Vec<_>>()
        .into();
    Ok(Arc::new(StructArray::try_new(
        parts(names),
        columns,
        Some(known),
    )?))
}
