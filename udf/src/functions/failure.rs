//! Why an image has no answer: the column `picsift_error` of a labelling.
//!
//! Not a function of SQL, where `try_classify` tells the same.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::RowError;

/// Stage, kind, message and reference of a failure; NULL when all is well, and for a NULL image.
#[derive(Debug, Default)]
pub(crate) struct Failure;

impl ImageFunction for Failure {
    fn name(&self) -> &'static str {
        "failure"
    }

    fn documentation(&self) -> Option<&Documentation> {
        None
    }

    fn operand(&self) -> Operand {
        Operand::Categories
    }

    fn return_type(&self) -> DataType {
        failure_type()
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(errors)
    }

    fn tells_errors(&self) -> bool {
        true
    }
}

/// The type of `picsift_error`: STRUCT of nullable UTF8, NULL as a whole where nothing failed. `reference` is NULL for an image
/// without a name.
pub(crate) fn failure_type() -> DataType {
    DataType::Struct(parts())
}

fn parts() -> Fields {
    ["stage", "kind", "message", "reference"]
        .map(|name| Field::new(name, DataType::Utf8, true))
        .to_vec()
        .into()
}

fn errors(_labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let errors: Vec<Option<&RowError>> = rows
        .iter()
        .map(|row| row.outcome().as_ref()?.as_ref().err())
        .collect();
    let text = |part: for<'a> fn(&'a RowError) -> Option<&'a str>| -> ArrayRef {
        let texts: StringArray = errors.iter().map(|error| part((*error)?)).collect();
        Arc::new(texts)
    };
    let failed: NullBuffer = errors
        .iter()
        .map(Option::is_some)
        .collect::<Vec<_>>()
        .into();
    Ok(Arc::new(StructArray::try_new(
        parts(),
        vec![
            text(|error| Some(error.stage)),
            text(|error| Some(error.kind)),
            text(|error| Some(&error.message)),
            text(|error| error.reference.as_deref()),
        ],
        Some(failed),
    )?))
}
