//! Why an image has no answer: the column `picsift_error` of a labelling.
//!
//! Not a function of SQL, where `try_classify` tells the same.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;

use crate::labelling::Labelling;
use crate::marker::{ImageFunction, Operand};
use crate::outcome::{Kernel, Outcome, failure};

/// Stage and reason of a failure; NULL when all is well, and for a NULL image.
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
        DataType::Utf8
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(errors)
    }

    fn tells_errors(&self) -> bool {
        true
    }
}

fn errors(_labelling: &Labelling, rows: &[Outcome<Vec<f32>>]) -> Result<ArrayRef> {
    let errors: StringArray = rows.iter().map(failure).collect();
    Ok(Arc::new(errors))
}
