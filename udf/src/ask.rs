//! What an operator asks about images, in whichever form its expressions are: logical, physical, or written down.
//!
//! The logical node, the operator and their codec share it, so that one becomes the other by mapping expressions.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::Result;

use crate::call::Call;

/// Everything that is asked about one image expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ask<E> {
    /// The image, over the input and the columns of other asks.
    pub(crate) image: E,
    pub(crate) columns: Vec<AnswerColumn<E>>,
}

/// One call's column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AnswerColumn<E> {
    pub(crate) name: String,
    pub(crate) call: Arc<Call>,
    /// Rows for which this is not true are not asked and get NULL; `None` asks all.
    pub(crate) guard: Option<E>,
}

impl<E> Ask<E> {
    /// The same with other expressions.
    ///
    /// # Errors
    /// The first that `to` gives.
    pub(crate) fn map<F>(&self, to: impl Fn(&E) -> Result<F>) -> Result<Ask<F>> {
        let column = |column: &AnswerColumn<E>| {
            Ok(AnswerColumn {
                name: column.name.clone(),
                call: Arc::clone(&column.call),
                guard: column.guard.as_ref().map(&to).transpose()?,
            })
        };
        Ok(Ask {
            image: to(&self.image)?,
            columns: self.columns.iter().map(column).collect::<Result<_>>()?,
        })
    }

    /// The image and the guards.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &E> {
        let guards = self.columns.iter().filter_map(|c| c.guard.as_ref());
        std::iter::once(&self.image).chain(guards)
    }
}

/// The answers' columns, in the order of the asks.
pub(crate) fn answer_fields<E>(asks: &[Ask<E>]) -> impl Iterator<Item = FieldRef> {
    let columns = asks.iter().flat_map(|ask| &ask.columns);
    columns.map(|column| {
        let data_type = column.call.function.return_type();
        Arc::new(Field::new(&column.name, data_type, true))
    })
}

/// Asks and predicates as EXPLAIN shows them; `named` with the columns' names, `between` between asks.
pub(crate) fn write<E: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    asks: &[Ask<E>],
    predicates: &[E],
    named: bool,
    between: &str,
) -> fmt::Result {
    for (index, ask) in asks.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "image={}", ask.image)?;
        if let Some(model) = ask.columns.iter().find_map(|c| c.call.model_spec()) {
            write!(f, ", model={}", model.name)?;
        }
        f.write_str(", asks=[")?;
        for (index, column) in ask.columns.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}", column.call)?;
            if named {
                write!(f, " AS {}", column.name)?;
            }
            if let Some(guard) = &column.guard {
                write!(f, " where {guard}")?;
            }
        }
        f.write_str("]")?;
    }
    for (index, predicate) in predicates.iter().enumerate() {
        let before = if index > 0 { " AND " } else { ", keeps " };
        write!(f, "{before}{predicate}")?;
    }
    Ok(())
}
