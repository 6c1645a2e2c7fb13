//! What is true of each row: which columns say so, and the yes or no of each category in them.
//!
//! Truth is a boolean per category (also as a word or a number), a list of labels (also in a text), one label, or corrections that
//! people made. How words are compared is [`super::words`]'s.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Result, exec_err};
use picsift_udf::is_text;

use super::words::{self, Words, folded};
use crate::dataset::labels::{LabelledCategory, texts};
use crate::error::AppError;

/// Which columns say what is true.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// A column of yes and no for each category that has one: BOOLEAN, text or whole numbers.
    Booleans(Vec<Option<String>>),
    /// A column of text: one label a row, or several with `|`, `;` or `,` between them, or as a JSON list.
    Label(String),
    /// A column of lists of labels.
    Labels(String),
}

impl Truth {
    /// What `asked` (`--truth`) means among the columns of `schema`.
    ///
    /// # Errors
    /// A sentence: a column or category that is not there, or of another type.
    pub fn resolve(
        asked: &[String],
        categories: &[LabelledCategory],
        schema: &Schema,
    ) -> Result<Self, AppError> {
        if let [only] = asked
            && !only.contains('=')
            && !only.contains("{}")
        {
            return one_column(only, categories, schema);
        }
        let mut columns = vec![None; categories.len()];
        for text in asked {
            if let Some((name, column)) = text.split_once('=') {
                let index = categories
                    .iter()
                    .position(|category| folded(&category.name) == folded(name))
                    .ok_or_else(|| {
                        AppError::Usage(format!(
                            "--truth {text}: '{name}' is no category of the table; those are {}",
                            names(categories)
                        ))
                    })?;
                boolean(column, schema, text)?;
                columns[index] = Some(column.to_string());
            } else if text.contains("{}") {
                for (category, place) in categories.iter().zip(&mut columns) {
                    let named = [category.name.as_str(), category.stem()]
                        .map(|name| text.replace("{}", name))
                        .into_iter()
                        .find(|column| schema.column_with_name(column).is_some());
                    if let Some(column) = named {
                        boolean(&column, schema, text)?;
                        *place = Some(column);
                    }
                }
            } else {
                return Err(AppError::Usage(format!(
                    "--truth {text}: of several, each is CATEGORY=COLUMN or a pattern such as truth_{{}}"
                )));
            }
        }
        if columns.iter().all(Option::is_none) {
            return Err(AppError::Usage(format!(
                "--truth {}: no such column for any of the categories {}; the columns are {}",
                asked.join(" --truth "),
                names(categories),
                columns_of(schema)
            )));
        }
        Ok(Self::Booleans(columns))
    }

    /// The columns that have to be read for the categories of these numbers.
    pub fn columns(&self, categories: &[usize]) -> Vec<String> {
        match self {
            Self::Booleans(columns) => categories
                .iter()
                .filter_map(|index| columns[*index].clone())
                .collect(),
            Self::Label(column) | Self::Labels(column) => vec![column.clone()],
        }
    }

    /// The same with other names of columns.
    pub fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Booleans(columns) => Self::Booleans(
                columns
                    .into_iter()
                    .map(|column| column.map(|column| name(&column)))
                    .collect(),
            ),
            Self::Label(column) => Self::Label(name(&column)),
            Self::Labels(column) => Self::Labels(name(&column)),
        }
    }
}

fn one_column(
    column: &str,
    categories: &[LabelledCategory],
    schema: &Schema,
) -> Result<Truth, AppError> {
    let Some((_, field)) = schema.column_with_name(column) else {
        return Err(AppError::Usage(format!(
            "--truth {column}: there is no such column; the columns are {}",
            columns_of(schema)
        )));
    };
    match field.data_type() {
        t if is_text(t) => Ok(Truth::Label(column.to_string())),
        DataType::List(item) | DataType::LargeList(item) if is_text(item.data_type()) => {
            Ok(Truth::Labels(column.to_string()))
        }
        t if categories.len() == 1 && says_yes_or_no(t) => {
            Ok(Truth::Booleans(vec![Some(column.to_string())]))
        }
        DataType::Boolean => Err(AppError::Usage(format!(
            "--truth {column}: one BOOLEAN column cannot be the truth of {} categories; name one for each (--truth CATEGORY={column} ...) \
             or a pattern such as truth_{{}}",
            categories.len()
        ))),
        other => Err(AppError::Usage(format!(
            "--truth {column}: the column is {other}; truth is BOOLEAN, one label as text, or a list of labels"
        ))),
    }
}

fn boolean(column: &str, schema: &Schema, text: &str) -> Result<(), AppError> {
    match schema.column_with_name(column) {
        None => Err(AppError::Usage(format!(
            "--truth {text}: there is no column '{column}'; the columns are {}",
            columns_of(schema)
        ))),
        Some((_, field)) if !says_yes_or_no(field.data_type()) && !is_text(field.data_type()) => {
            Err(AppError::Usage(format!(
                "--truth {text}: column '{column}' is {}, not BOOLEAN, nor yes or no as text or 0 and 1",
                field.data_type()
            )))
        }
        Some(_) => Ok(()),
    }
}

fn says_yes_or_no(data_type: &DataType) -> bool {
    *data_type == DataType::Boolean || data_type.is_integer()
}

fn names(categories: &[LabelledCategory]) -> String {
    let names: Vec<_> = categories.iter().map(|c| c.name.as_str()).collect();
    names.join(", ")
}

fn columns_of(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    names.join(", ")
}

/// The truth of a batch.
pub struct Said {
    /// Per category asked for, whether it holds; NULL where the truth is unknown.
    pub holds: Vec<BooleanArray>,
    /// Of truth with one label a row, the number of its category; the outer `None` is an unknown truth, the inner one another word.
    pub label: Option<Vec<Option<Option<usize>>>>,
}

/// Reads `columns`, those of [`Truth::columns`] for the same `categories`.
///
/// # Errors
/// Arrow's, for a column of another type than was resolved.
pub fn said(
    truth: &Truth,
    categories: &[usize],
    columns: &[ArrayRef],
    rows: usize,
    words: &mut Words,
) -> Result<Said> {
    match truth {
        Truth::Booleans(named) => {
            let mut columns = columns.iter();
            let holds = categories
                .iter()
                .map(|index| {
                    let column = named[*index].as_ref().and_then(|_| columns.next());
                    match column {
                        Some(column) => yes_or_no(column),
                        None => Ok(BooleanArray::new_null(rows)),
                    }
                })
                .collect::<Result<_>>()?;
            Ok(Said { holds, label: None })
        }
        Truth::Label(_) => {
            let texts = texts(&columns[0])?;
            let labels: Vec<Option<Vec<Option<usize>>>> = texts
                .iter()
                .map(|text| text.map(|text| words.categories(text)))
                .collect();
            let holds = categories
                .iter()
                .map(|index| {
                    let rows = labels.iter();
                    rows.map(|row| row.as_ref().map(|row| row.contains(&Some(*index))))
                        .collect()
                })
                .collect();
            // Of several labels none is the label of its row.
            let one = |row: Option<Vec<Option<usize>>>| match row?.as_slice() {
                [] => Some(None),
                [only] => Some(*only),
                _ => None,
            };
            Ok(Said {
                holds,
                label: Some(labels.into_iter().map(one).collect()),
            })
        }
        Truth::Labels(_) => {
            let lists = cast(&columns[0], &DataType::new_list(DataType::Utf8, true))?;
            let lists = lists.as_list::<i32>();
            let texts = texts(lists.values())?;
            let mut builders: Vec<_> = categories
                .iter()
                .map(|_| BooleanBuilder::with_capacity(rows))
                .collect();
            let mut found = Vec::new();
            for (row, range) in lists.offsets().windows(2).enumerate() {
                if lists.is_null(row) {
                    builders.iter_mut().for_each(BooleanBuilder::append_null);
                    continue;
                }
                found.clear();
                for place in range[0] as usize..range[1] as usize {
                    if texts.is_valid(place) {
                        found.extend(words.category(texts.value(place)));
                    }
                }
                for (builder, index) in builders.iter_mut().zip(categories) {
                    builder.append_value(found.contains(index));
                }
            }
            let holds = builders.iter_mut().map(BooleanBuilder::finish).collect();
            Ok(Said { holds, label: None })
        }
    }
}

/// Yes and no of a column of [`Truth::Booleans`].
fn yes_or_no(column: &ArrayRef) -> Result<BooleanArray> {
    if *column.data_type() == DataType::Boolean {
        return Ok(column.as_boolean().clone());
    }
    let texts = texts(column)?;
    let mut values = BooleanBuilder::with_capacity(texts.len());
    for text in &texts {
        match text.map(|text| words::yes_or_no(text).ok_or(text)) {
            None => values.append_null(),
            Some(Ok(value)) => values.append_value(value),
            Some(Err(text)) => {
                return exec_err!("the truth '{text}' is neither yes nor no (true, false, 1, 0)");
            }
        }
    }
    Ok(values.finish())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{ListBuilder, StringBuilder};
    use arrow::datatypes::Field;

    use super::*;

    fn category(name: &str, stem: &str) -> LabelledCategory {
        LabelledCategory {
            name: name.to_string(),
            prompt: None,
            threshold: Some(0.5),
            is_column: format!("is_{stem}"),
            score_column: None,
        }
    }

    fn schema() -> Schema {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        Schema::new(vec![
            field("tags", DataType::new_list(DataType::Utf8, true)),
            field("class", DataType::Utf8),
            field("really_dog", DataType::Boolean),
            field("really_polar_bear", DataType::Boolean),
            field("n", DataType::Int64),
        ])
    }

    #[test]
    fn a_column_is_what_its_type_says() {
        let both = [category("dog", "dog"), category("polar bear", "polar_bear")];
        let resolve = |asked: &[&str], categories: &[LabelledCategory]| {
            let asked: Vec<_> = asked.iter().map(|text| text.to_string()).collect();
            Truth::resolve(&asked, categories, &schema()).map_err(|error| error.to_string())
        };
        assert_eq!(
            resolve(&["tags"], &both),
            Ok(Truth::Labels("tags".to_string()))
        );
        assert_eq!(
            resolve(&["class"], &both),
            Ok(Truth::Label("class".to_string()))
        );
        let columns = |dog: Option<&str>, bear: Option<&str>| {
            Ok(Truth::Booleans(vec![
                dog.map(str::to_string),
                bear.map(str::to_string),
            ]))
        };
        assert_eq!(
            resolve(&["really_{}"], &both),
            columns(Some("really_dog"), Some("really_polar_bear"))
        );
        assert_eq!(
            resolve(&["Polar_Bear=really_dog"], &both),
            columns(None, Some("really_dog"))
        );
        assert_eq!(
            resolve(&["really_dog"], &both[..1]),
            Ok(Truth::Booleans(vec![Some("really_dog".to_string())]))
        );
        for (wrong, part) in [
            ("really_dog", "2 categories"),
            ("n", "Int64"),
            ("cat=really_dog", "no category"),
            ("dog=tags", "not BOOLEAN"),
            ("no_{}", "no such column"),
            ("nothing", "really_dog"),
        ] {
            let error = resolve(&[wrong], &both).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }

    #[test]
    fn lists_are_read_by_their_words() {
        let categories = [category("measuring tape", "t"), category("dog", "dog")];
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("measuringTape"), Some("cat")]);
        lists.append_null();
        lists.append_value(Vec::<Option<&str>>::new());
        lists.append_value([Some("Dog"), Some("measuring_tape"), None]);
        let column: ArrayRef = Arc::new(lists.finish());
        let mut words = Words::new(&categories);
        let truth = Truth::Labels("tags".to_string());
        let said = said(&truth, &[1, 0], &[column], 4, &mut words).unwrap();
        let expected = |values: [Option<bool>; 4]| BooleanArray::from(values.to_vec());
        assert_eq!(
            said.holds,
            [
                expected([Some(false), None, Some(false), Some(true)]),
                expected([Some(true), None, Some(false), Some(true)]),
            ]
        );
        assert_eq!(words.strangers, HashMap::from([("cat".to_string(), 1)]));
    }
}
