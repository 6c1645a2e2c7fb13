//! What an operator asks about images, in whichever form its expressions are: logical, physical, or written down.
//!
//! The logical node, the operator and their codec share it, so that one becomes the other by mapping expressions.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::Result;

use crate::pipeline::cascade::Cascade;
use crate::plan::call::Call;

/// Everything that is asked about one image expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InferenceGroup<E> {
    /// The image, over the input and the columns of other groups.
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

impl<E> InferenceGroup<E> {
    /// The same with other expressions.
    ///
    /// # Errors
    /// The first that `to` gives.
    pub(crate) fn map<F>(&self, to: impl Fn(&E) -> Result<F>) -> Result<InferenceGroup<F>> {
        let column = |column: &AnswerColumn<E>| {
            Ok(AnswerColumn {
                name: column.name.clone(),
                call: Arc::clone(&column.call),
                guard: column.guard.as_ref().map(&to).transpose()?,
            })
        };
        Ok(InferenceGroup {
            image: to(&self.image)?,
            columns: self.columns.iter().map(column).collect::<Result<_>>()?,
        })
    }

    /// The cheap model of its calls, if one answers: the same for all that have one.
    pub(crate) fn cascade(&self) -> Option<&Cascade> {
        let mut calls = self.columns.iter().map(|column| &column.call);
        let call = calls.find(|call| call.cheap.is_some())?;
        call.spec.cascade.as_deref()
    }

    /// The image and the guards.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &E> {
        let guards = self.columns.iter().filter_map(|c| c.guard.as_ref());
        std::iter::once(&self.image).chain(guards)
    }
}

/// The answers' columns, in the order of the groups.
pub(crate) fn answer_fields<E>(groups: &[InferenceGroup<E>]) -> impl Iterator<Item = FieldRef> {
    let columns = groups.iter().flat_map(|group| &group.columns);
    columns.map(|column| Arc::new(column.call.field(&column.name)))
}

/// Groups and predicates as EXPLAIN shows them; `named` with the columns' names, `between` between groups.
pub(crate) fn write<E: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    groups: &[InferenceGroup<E>],
    predicates: &[E],
    named: bool,
    between: &str,
) -> fmt::Result {
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "image={}", group.image)?;
        if let Some(model) = group.columns.iter().find_map(|c| c.call.model_spec()) {
            write!(f, ", model={}", model.name)?;
        }
        if let Some(cascade) = group.cascade() {
            write!(f, ", cheap={}", cascade.model)?;
        }
        f.write_str(", asks=[")?;
        for (index, column) in group.columns.iter().enumerate() {
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
