//! Where a column of a plan comes from: the folder of the table that holds it.
//!
//! Relative references in a table mean files beside that table, and a function sees only their text. Walking
//! the plan finds the table again without marking the data, so that no location of this machine can leak into a
//! result's schema. [`walk`] does that, [`place`] lets each row of a UNION of several folders say which is its own, and [`table`] keeps
//! the lineage of tables in memory. What becomes of a column without a folder is [`crate::pipeline::base`]'s to say.

mod place;
mod table;
mod walk;

use std::sync::Arc;

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::logical_expr::LogicalPlan;
use url::Url;

use crate::pipeline::base::Base;

pub(crate) use place::expose;
pub(crate) use table::receive;
pub use table::{LocatedTable, execute};
pub(crate) use walk::{Around, Known, is_lateral, lineage, recursive};

/// Where the references in a column, or of an expression, come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lineage {
    /// There are none: NULLs, no rows, truth values.
    Nothing,
    /// The person's own text.
    Typed,
    /// A table in this folder.
    Folder(Arc<Url>),
    /// Several places at once, or an unknown one.
    Unknown,
    /// For each branch of a UNION its own; `union` is the way to that node, by places among a node's inputs.
    Branches { union: Vec<usize>, of: Vec<Lineage> },
}

impl Lineage {
    /// Of a value that is made of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (
                Self::Branches { union, of },
                Self::Branches {
                    union: other,
                    of: others,
                },
            ) if union == other => {
                let of = of.into_iter().zip(others).map(|(a, b)| a.and(b)).collect();
                Self::branches(union, of)
            }
            (Self::Branches { .. }, Self::Branches { .. }) => Self::Unknown,
            (Self::Branches { union, of }, one) | (one, Self::Branches { union, of }) => {
                let of = of.into_iter().map(|branch| branch.and(one.clone()));
                Self::branches(union, of.collect())
            }
            (Self::Typed, one) | (one, Self::Typed) => one,
            (Self::Folder(a), Self::Folder(b)) if a == b => Self::Folder(a),
            (Self::Folder(_), Self::Folder(_)) => Self::Unknown,
        }
    }

    /// Of a column whose rows are from either.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (a, b) if a == b => a,
            _ => Self::Unknown,
        }
    }

    /// Of the rows of a UNION.
    fn branches(union: Vec<usize>, of: Vec<Self>) -> Self {
        let mut some = of.iter().filter(|branch| **branch != Self::Nothing);
        match some.next() {
            None => Self::Nothing,
            Some(first) if !first.is_split() && some.all(|other| other == first) => first.clone(),
            Some(_) => Self::Branches { union, of },
        }
    }

    fn is_split(&self) -> bool {
        matches!(self, Self::Branches { .. })
    }

    /// As seen from a node of which the column's plan is the input of this place.
    fn above(mut self, input: usize) -> Self {
        if let Self::Branches { union, .. } = &mut self {
            union.insert(0, input);
        }
        self
    }

    /// Where rows are no longer those of the branches.
    fn settled(self) -> Self {
        match self {
            Self::Branches { .. } => Self::Unknown,
            other => other,
        }
    }

    /// How many folders a row may choose from.
    fn places(&self) -> usize {
        match self {
            Self::Branches { of, .. } => of.iter().map(Self::places).sum(),
            _ => 1,
        }
    }

    /// What a call about `images` is told; `typed` is the folder for what has none.
    pub(crate) fn base(&self, typed: Option<&Arc<Url>>, images: &str) -> Base {
        match self {
            Self::Nothing | Self::Typed => Base::Here,
            Self::Folder(folder) => Base::At(Arc::clone(folder)),
            Self::Unknown => match typed {
                Some(folder) => Base::At(Arc::clone(folder)),
                None => Base::Unknown(images.to_string()),
            },
            Self::Branches { of, .. } => {
                let mut bases = Vec::with_capacity(self.places());
                for branch in of {
                    match branch.base(typed, images) {
                        Base::Several(own) => bases.extend(own),
                        // The same for all of its rows, though they have several places.
                        one => bases.extend(vec![one; branch.places()]),
                    }
                }
                match bases.first() {
                    Some(first) if bases.iter().all(|base| base == first) => first.clone(),
                    _ => Base::Several(bases),
                }
            }
        }
    }
}

/// The folder that relative references in a column of a plan's rows belong to; `None` where it is not one, or not known.
pub fn column_folder(plan: &LogicalPlan, column: usize) -> Option<Arc<Url>> {
    let columns = walk::columns(plan, &Around::Top);
    match columns.into_iter().nth(column)? {
        Lineage::Folder(folder) => Some(folder),
        _ => None,
    }
}

/// The folder that relative references of a table at `url` are relative to: itself, or a file's parent.
pub fn table_base(url: &ListingTableUrl) -> Option<Url> {
    let location: &Url = url.as_ref();
    if url.is_collection() {
        Some(location.clone())
    } else {
        location.join(".").ok()
    }
}
