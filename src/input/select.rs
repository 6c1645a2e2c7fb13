//! Which rows of a file are read.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use super::files::InputFile;

/// The rows of one file that a job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Those from this place on; 0 is all.
    From(u64),
    /// Those from the first place on and before the second.
    Between(u64, u64),
    /// Those at these places, ascending.
    Only(Arc<[u64]>),
}

impl Rows {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::From(0)
    }

    /// How many of a file's `total` rows they are.
    pub fn count(&self, total: u64) -> u64 {
        match self {
            Self::From(first) => total.saturating_sub(*first),
            Self::Between(first, end) => total.min(*end).saturating_sub(*first),
            Self::Only(places) => places.partition_point(|&place| place < total) as u64,
        }
    }

    /// The same for Parquet's readers, for a file of `total` rows.
    pub fn selection(&self, total: u64) -> RowSelection {
        let ranges: Vec<_> = match self {
            Self::From(first) => std::iter::once((*first).min(total)..total).collect(),
            Self::Between(first, end) => {
                let end = total.min(*end);
                std::iter::once((*first).min(end)..end).collect()
            }
            Self::Only(places) => places
                .iter()
                .filter(|&&place| place < total)
                .map(|&place| place..place + 1)
                .collect(),
        };
        let mut selectors = Vec::new();
        let mut at = 0;
        for range in ranges {
            selectors.push(RowSelector::skip((range.start - at) as usize));
            selectors.push(RowSelector::select((range.end - range.start) as usize));
            at = range.end;
        }
        selectors.push(RowSelector::skip((total - at) as usize));
        RowSelection::from(selectors)
    }

    /// Which of the rows at `places` they are.
    pub fn mask(&self, places: &Int64Array) -> BooleanArray {
        let held = places.values().iter().map(|&place| match self {
            Self::From(first) => place as u64 >= *first,
            Self::Between(first, end) => (*first..*end).contains(&(place as u64)),
            Self::Only(only) => only.binary_search(&(place as u64)).is_ok(),
        });
        held.map(Some).collect()
    }
}

/// What of the chosen rows of `files` comes after the place of a row, a file's number and the rows before it in the file.
pub fn after(files: &[(InputFile, Rows)], (id, row): (u32, u64)) -> Vec<(InputFile, Rows)> {
    let place = files.iter().position(|(file, _)| file.id == id);
    let mut left = files[place.unwrap_or_default()..].to_vec();
    if let (Some(_), Some((_, rows))) = (place, left.first_mut()) {
        *rows = match &*rows {
            Rows::From(first) => Rows::From((row + 1).max(*first)),
            Rows::Between(first, end) => Rows::Between((row + 1).max(*first), *end),
            Rows::Only(places) => {
                Rows::Only(places[places.partition_point(|&place| place <= row)..].into())
            }
        };
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_and_a_mask_choose_the_same_rows() {
        for rows in [
            Rows::From(0),
            Rows::From(3),
            Rows::From(9),
            Rows::Between(0, 2),
            Rows::Between(2, 5),
            Rows::Between(4, 9),
            Rows::Between(8, 9),
            Rows::Only([].into()),
            Rows::Only([0, 2, 3, 5].into()),
            Rows::Only([4, 7].into()),
        ] {
            let mask = rows.mask(&(0..6).collect::<Vec<i64>>().into());
            let by_mask: Vec<usize> = (0..6).filter(|&row| mask.value(row)).collect();
            let (mut at, mut by_selection) = (0, Vec::new());
            for selector in rows.selection(6).iter() {
                if !selector.skip {
                    by_selection.extend(at..at + selector.row_count);
                }
                at += selector.row_count;
            }
            assert_eq!(by_selection, by_mask, "{rows:?}");
            assert_eq!(rows.count(6), by_mask.len() as u64, "{rows:?}");
            assert_eq!(at, 6, "{rows:?}");
        }
    }
}
