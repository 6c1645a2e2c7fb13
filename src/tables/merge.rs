//! One schema for the files of a table: columns by their names, each of a type that holds the values of all files.
//!
//! Pure: it knows schemas and what the files that have them are called, and reads none.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::widen::{Values, field};

/// Why a file cannot be part of a table: the values of a column have no type that holds those of all files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "column '{column}' is {theirs} in '{file}' but {ours} in '{first}'; no type holds both without loss, so read the files \
     apart or write them alike"
)]
pub(super) struct Conflict {
    column: String,
    /// The file whose type is another.
    file: String,
    theirs: String,
    /// A file from which the table's type is.
    first: String,
    ours: String,
}

/// The schema of the files seen so far.
#[derive(Debug)]
pub(super) struct Merge {
    values: Values,
    columns: Vec<Column>,
    places: HashMap<String, usize>,
    /// The schema that the last file had: most files of a table have the same, and need no second look.
    last: Option<SchemaRef>,
    /// Files behind that one that have it too, not yet counted with its columns.
    alike: usize,
    files: usize,
}

#[derive(Debug)]
struct Column {
    field: FieldRef,
    /// The file from which its type is.
    file: String,
    /// In how many files it is.
    files: usize,
}

impl Merge {
    /// No file yet.
    pub(super) fn new(values: Values) -> Self {
        Self {
            values,
            columns: Vec::new(),
            places: HashMap::new(),
            last: None,
            alike: 0,
            files: 0,
        }
    }

    /// Adds the columns of `file`: those that there are become wide enough, new ones stand behind.
    ///
    /// # Errors
    /// [`Conflict`], when a column has no common type.
    pub(super) fn add(
        &mut self,
        schema: &SchemaRef,
        file: impl FnOnce() -> String,
    ) -> Result<(), Conflict> {
        self.files += 1;
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.fields() == schema.fields())
        {
            self.alike += 1;
            return Ok(());
        }
        self.count_alike();
        let file = file();
        for theirs in schema.fields() {
            match self.places.get(theirs.name()) {
                None => {
                    self.places
                        .insert(theirs.name().clone(), self.columns.len());
                    self.columns.push(Column {
                        field: Arc::clone(theirs),
                        file: file.clone(),
                        files: 1,
                    });
                }
                Some(&place) => {
                    let column = &mut self.columns[place];
                    let Some(both) = field(&column.field, theirs, self.values) else {
                        return Err(Conflict {
                            column: theirs.name().clone(),
                            file: file.clone(),
                            theirs: theirs.data_type().to_string(),
                            first: column.file.clone(),
                            ours: column.field.data_type().to_string(),
                        });
                    };
                    if both.data_type() != column.field.data_type() {
                        column.file.clone_from(&file);
                    }
                    column.field = both;
                    column.files += 1;
                }
            }
        }
        self.last = Some(Arc::clone(schema));
        Ok(())
    }

    fn count_alike(&mut self) {
        let alike = std::mem::take(&mut self.alike);
        for field in self.last.iter().flat_map(|last| last.fields()) {
            if let Some(&place) = self.places.get(field.name()) {
                self.columns[place].files += alike;
            }
        }
    }

    /// The schema of all: a column that a file lacks may be NULL.
    pub(super) fn finish(mut self) -> SchemaRef {
        self.count_alike();
        let files = self.files;
        let fields = self.columns.into_iter().map(|column| {
            let may_be_null = column.field.is_nullable() || column.files < files;
            match may_be_null == column.field.is_nullable() {
                true => column.field,
                false => Arc::new(column.field.as_ref().clone().with_nullable(may_be_null)),
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), false));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn merged(files: &[SchemaRef]) -> Result<Vec<(String, DataType, bool)>, Conflict> {
        let mut merge = Merge::new(Values::Typed);
        for (file, schema) in files.iter().enumerate() {
            merge.add(schema, || format!("{file}.parquet"))?;
        }
        let fields = merge.finish();
        let parts = |f: &FieldRef| (f.name().clone(), f.data_type().clone(), f.is_nullable());
        Ok(fields.fields().iter().map(parts).collect())
    }

    #[test]
    fn columns_are_one_by_their_names_in_the_order_of_the_first_file() {
        let files = [
            schema(&[("id", DataType::Int32), ("width", DataType::Utf8)]),
            schema(&[
                ("height", DataType::Utf8),
                ("width", DataType::Utf8),
                ("id", DataType::Int64),
            ]),
            schema(&[
                ("height", DataType::Utf8),
                ("width", DataType::Utf8),
                ("id", DataType::Int64),
            ]),
        ];
        let text = str::to_string;
        assert_eq!(
            merged(&files).unwrap(),
            [
                (text("id"), DataType::Int64, false),
                (text("width"), DataType::Utf8, false),
                (text("height"), DataType::Utf8, true),
            ]
        );
    }

    #[test]
    fn a_column_that_a_later_file_lacks_may_be_null() {
        let files = [
            schema(&[("id", DataType::Int32), ("width", DataType::Utf8)]),
            schema(&[("id", DataType::Int32)]),
        ];
        let nullable: Vec<_> = merged(&files).unwrap().into_iter().map(|c| c.2).collect();
        assert_eq!(nullable, [false, true]);
    }

    #[test]
    fn types_without_a_common_one_are_said_with_both_files() {
        let files = [
            schema(&[("id", DataType::Int32)]),
            schema(&[("id", DataType::Int64)]),
            schema(&[("id", DataType::Utf8)]),
        ];
        let said = merged(&files).unwrap_err().to_string();
        assert!(
            said.starts_with("column 'id' is Utf8 in '2.parquet' but Int64 in '1.parquet'"),
            "{said}"
        );
    }
}
