//! What is true of each row that is taught: columns that say yes or no, columns of probabilities, or corrections.
//!
//! Which columns mean what is `crate::eval`'s to know; what is added here is truth between yes and no, as another model's score, and
//! which rows need not be looked at because nothing is known of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Schema};
use datafusion::common::{Result, exec_err};
use datafusion::functions::expr_fn::{concat, encode, sha256};
use datafusion::logical_expr::{Expr, cast as cast_to, lit};
use picsift_udf::{Corrections, DIGEST_PREFIX, is_binary};

use crate::dataset::LabelledCategory;
use crate::error::AppError;
use crate::eval::truth::{Truth, said};
use crate::eval::words::{Words, folded};
use crate::tables::{name_of, plain};

/// Where the truth stands.
pub(super) enum Lesson {
    /// Columns of yes and no, or of labels.
    Columns(Truth),
    /// A column of numbers from 0 to 1 for each category that has one; BOOLEAN too.
    Soft(Vec<Option<String>>),
    /// What people corrected, found by the key of each row's image.
    Corrections(Arc<Corrections>, Expr),
}

impl Lesson {
    /// What `asked` (`--truth`) means among the columns of `schema`.
    ///
    /// # Errors
    /// As [`Truth::resolve`].
    pub(super) fn of_columns(
        asked: &[String],
        categories: &[LabelledCategory],
        schema: &Schema,
    ) -> std::result::Result<Self, AppError> {
        let soft = soft(asked, categories, schema);
        match soft.iter().any(Option::is_some) {
            true => Ok(Self::Soft(soft)),
            false => Truth::resolve(asked, categories, schema).map(Self::Columns),
        }
    }

    /// Corrections of a table whose images are in `image`.
    ///
    /// # Errors
    /// [`AppError::Usage`] where its images have no keys.
    pub(super) fn of_corrections(
        corrections: Arc<Corrections>,
        image: &str,
        data_type: &DataType,
    ) -> std::result::Result<Self, AppError> {
        let key = match name_of(image, data_type) {
            Some(name) => name,
            None if is_binary(data_type) => {
                let digest = encode(sha256(plain(image)), lit("hex"));
                concat(vec![lit(DIGEST_PREFIX), digest])
            }
            None => {
                return Err(AppError::Usage(format!(
                    "the images in column '{image}' have no names that corrections could mean: it is {data_type}"
                )));
            }
        };
        Ok(Self::Corrections(corrections, cast_to(key, DataType::Utf8)))
    }

    /// The rows of which anything is known.
    pub(super) fn predicate(&self, categories: &[String]) -> Option<Expr> {
        let known = |columns: Vec<String>| {
            let each = columns
                .into_iter()
                .map(|column| plain(&column).is_not_null());
            each.reduce(Expr::or)
        };
        match self {
            Self::Columns(truth) => {
                known(truth.columns(&(0..categories.len()).collect::<Vec<_>>()))
            }
            Self::Soft(columns) => known(columns.iter().flatten().cloned().collect()),
            Self::Corrections(corrections, key) => {
                let all = corrections.all().into_iter();
                let ours = all.filter(|(_, category, _)| categories.iter().any(|c| c == category));
                let mut keys: Vec<&str> = ours.map(|(key, ..)| key).collect();
                keys.dedup();
                Some(
                    key.clone()
                        .in_list(keys.into_iter().map(lit).collect(), false),
                )
            }
        }
    }

    /// What has to be read of each row.
    pub(super) fn columns(&self, categories: usize) -> Vec<Expr> {
        match self {
            Self::Columns(truth) => {
                let columns = truth.columns(&(0..categories).collect::<Vec<_>>());
                columns.iter().map(|column| plain(column)).collect()
            }
            Self::Soft(columns) => columns
                .iter()
                .flatten()
                .map(|column| plain(column))
                .collect(),
            Self::Corrections(_, key) => vec![key.clone()],
        }
    }

    /// The truth of a batch, whose columns are those of [`Lesson::columns`]: for each category a number from 0 to 1 a row, or NaN where
    /// nothing is known.
    ///
    /// # Errors
    /// For a truth that is neither yes nor no, or no number from 0 to 1.
    pub(super) fn read(
        &self,
        categories: &[String],
        columns: &[ArrayRef],
        rows: usize,
        words: &mut Words,
    ) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Columns(truth) => {
                let all: Vec<usize> = (0..categories.len()).collect();
                let said = said(truth, &all, columns, rows, words)?;
                let number =
                    |holds: Option<bool>| holds.map_or(f32::NAN, |is| f32::from(u8::from(is)));
                let each = said
                    .holds
                    .iter()
                    .map(|holds| holds.iter().map(number).collect());
                Ok(each.collect())
            }
            Self::Soft(named) => {
                let mut columns = columns.iter();
                let one = |name: &Option<String>| match name.as_ref().zip(columns.next()) {
                    Some((name, column)) => soft_column(name, column),
                    None => Ok(vec![f32::NAN; rows]),
                };
                named.iter().map(one).collect()
            }
            Self::Corrections(corrections, _) => {
                let none = StringArray::new_null(rows);
                let keys = columns
                    .first()
                    .map_or(&none, |keys| keys.as_string::<i32>());
                let mut all = vec![vec![f32::NAN; rows]; categories.len()];
                for row in (0..rows).filter(|row| keys.is_valid(*row)) {
                    let said = corrections.said(keys.value(row), categories);
                    for (all, said) in all.iter_mut().zip(said) {
                        if let Some(is) = said {
                            all[row] = f32::from(u8::from(is));
                        }
                    }
                }
                Ok(all)
            }
        }
    }
}

/// The column of each category, where one of them holds numbers between yes and no.
fn soft(asked: &[String], categories: &[LabelledCategory], schema: &Schema) -> Vec<Option<String>> {
    let number = |column: &str| {
        let field = schema.field_with_name(column);
        field.is_ok_and(|f| f.data_type().is_floating())
    };
    let usable = |column: &str| {
        let field = schema.field_with_name(column);
        number(column) || field.is_ok_and(|f| *f.data_type() == DataType::Boolean)
    };
    let mut found = vec![None; categories.len()];
    for text in asked {
        for (category, place) in categories.iter().zip(&mut found) {
            let column = match text.split_once('=') {
                Some((name, column)) => {
                    (folded(name) == folded(&category.name)).then(|| column.to_string())
                }
                None if text.contains("{}") => {
                    let names = [category.name.as_str(), category.stem()];
                    let mut columns = names.into_iter().map(|name| text.replace("{}", name));
                    columns.find(|column| usable(column))
                }
                None => (categories.len() == 1).then(|| text.clone()),
            };
            if let Some(column) = column.filter(|column| usable(column)) {
                *place = Some(column);
            }
        }
    }
    match found.iter().flatten().any(|column| number(column)) {
        true => found,
        false => vec![None; categories.len()],
    }
}

fn soft_column(name: &str, column: &ArrayRef) -> Result<Vec<f32>> {
    let numbers = cast(column, &DataType::Float32)?;
    let numbers = numbers.as_primitive::<Float32Type>();
    let mut all = Vec::with_capacity(numbers.len());
    for number in numbers {
        match number {
            Some(number) if !(0.0..=1.0).contains(&number) => {
                return exec_err!(
                    "the truth {number} in column '{name}' is no probability: it must be from 0 to 1"
                );
            }
            number => all.push(number.unwrap_or(f32::NAN)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array};
    use arrow::datatypes::Field;

    use super::*;

    fn category(name: &str) -> LabelledCategory {
        LabelledCategory {
            name: name.to_string(),
            prompt: None,
            threshold: None,
            is_column: format!("is_{name}"),
            score_column: None,
        }
    }

    #[test]
    fn numbers_between_yes_and_no_are_truth_too() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![
            field("p_dog", DataType::Float64),
            field("p_cat", DataType::Boolean),
            field("tags", DataType::Utf8),
        ]);
        let both = [category("dog"), category("cat")];
        let lesson = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|text| text.to_string()).collect();
            Lesson::of_columns(&asked, &both, &schema).unwrap()
        };
        let named = |column: &str| Some(column.to_string());
        let Lesson::Soft(columns) = lesson(&["p_{}"]) else {
            panic!("not soft");
        };
        assert_eq!(columns, [named("p_dog"), named("p_cat")]);
        assert!(matches!(lesson(&["cat=p_cat"]), Lesson::Columns(_)));
        assert!(matches!(lesson(&["tags"]), Lesson::Columns(_)));
        let dog: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.25), None]));
        let cat: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false)]));
        let names = ["dog".to_string(), "cat".to_string()];
        let mut words = Words::new(&both);
        let read = lesson(&["p_{}"])
            .read(&names, &[dog, cat], 2, &mut words)
            .unwrap();
        assert!(read[0][0] == 0.25 && read[0][1].is_nan());
        assert_eq!(read[1], [1.0, 0.0]);
        let wrong: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        assert!(
            soft_column("p", &wrong)
                .unwrap_err()
                .to_string()
                .contains("1.5")
        );
    }
}
