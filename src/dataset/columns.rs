//! Which column of a table holds the images when nobody says.
//!
//! Pure rules over a schema.

use arrow::datatypes::{DataType, Schema};
use picsift_udf::{IMAGE_TYPES, is_binary, is_image_struct, is_image_type, is_text};

/// Names of text columns that are taken for references to images, best first: those of one line are equally good.
const NAMES: [&[&str]; 2] = [
    &[
        "image",
        "img",
        "picture",
        "photo",
        "image_path",
        "image_url",
        "image_file",
        "image_uri",
        "img_path",
        "img_url",
    ],
    &[
        "path",
        "url",
        "uri",
        "file",
        "file_name",
        "filename",
        "filepath",
        "file_path",
        "href",
        "src",
    ],
];

/// The image column: `asked` if it can be one, else the only candidate.
///
/// Candidates are columns of image bytes (BINARY or STRUCT<bytes, path>), or, where there are none, text columns named
/// like an image, then like a file.
///
/// # Errors
/// A sentence that names the columns there are.
pub fn image_column(schema: &Schema, asked: Option<&str>) -> Result<String, String> {
    if let Some(name) = asked {
        return match schema.column_with_name(name) {
            None => Err(format!(
                "the table has no column '{name}'; its columns are {}",
                listed(&all(schema))
            )),
            Some((_, field)) if !is_image_type(field.data_type()) => Err(format!(
                "column '{name}' is {}; images are {IMAGE_TYPES}",
                field.data_type()
            )),
            Some(_) => Ok(name.to_string()),
        };
    }
    let holding = named(schema, |_, data_type| {
        is_binary(data_type)
            || matches!(data_type, DataType::Struct(fields) if is_image_struct(fields))
    });
    let tiers = std::iter::once(holding).chain(NAMES.iter().map(|names| {
        named(schema, |name, data_type| {
            is_text(data_type) && names.contains(&name.to_ascii_lowercase().as_str())
        })
    }));
    for candidates in tiers {
        match candidates.as_slice() {
            [] => continue,
            [only] => return Ok(only.clone()),
            several => {
                return Err(format!(
                    "columns {} could each hold the images; say which with --image COLUMN",
                    listed(several)
                ));
            }
        }
    }
    Err(format!(
        "no column looks like images ({IMAGE_TYPES}); name it with --image COLUMN; the columns are {}",
        listed(&all(schema))
    ))
}

fn named(schema: &Schema, keep: impl Fn(&str, &DataType) -> bool) -> Vec<String> {
    schema
        .fields()
        .iter()
        .filter(|field| keep(field.name(), field.data_type()))
        .map(|field| field.name().clone())
        .collect()
}

fn all(schema: &Schema) -> Vec<String> {
    named(schema, |_, _| true)
}

fn listed(names: &[String]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Fields};

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(
            columns
                .iter()
                .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                .collect::<Vec<_>>(),
        )
    }

    fn image_struct() -> DataType {
        DataType::Struct(Fields::from(vec![
            Field::new("bytes", DataType::Binary, true),
            Field::new("path", DataType::Utf8, true),
        ]))
    }

    #[test]
    fn bytes_win_over_paths() {
        let table = schema(&[("file", DataType::Utf8), ("picture", image_struct())]);
        assert_eq!(image_column(&table, None).unwrap(), "picture");
    }

    #[test]
    fn paths_may_stand_in_a_dictionary() {
        let paths = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(
            image_column(&schema(&[("path", paths)]), None).unwrap(),
            "path"
        );
    }

    #[test]
    fn bytes_of_every_layout_are_found() {
        let dictionary = |value| DataType::Dictionary(Box::new(DataType::Int32), Box::new(value));
        for layout in [
            DataType::LargeBinary,
            DataType::BinaryView,
            dictionary(DataType::Binary),
            dictionary(DataType::BinaryView),
        ] {
            let table = schema(&[("path", DataType::Utf8View), ("data", layout)]);
            assert_eq!(image_column(&table, None).unwrap(), "data");
        }
        let table = schema(&[("path", dictionary(DataType::Utf8View))]);
        assert_eq!(image_column(&table, None).unwrap(), "path");
    }

    #[test]
    fn an_image_path_wins_over_a_file_name() {
        let table = schema(&[
            ("file", DataType::Utf8),
            ("Image", DataType::Utf8),
            ("label", DataType::Utf8),
        ]);
        assert_eq!(image_column(&table, None).unwrap(), "Image");
    }

    #[test]
    fn two_candidates_are_a_question_for_the_person() {
        let table = schema(&[("a", DataType::Binary), ("b", image_struct())]);
        let message = image_column(&table, None).unwrap_err();
        assert!(
            message.contains("a, b") && message.contains("--image"),
            "{message}"
        );
        assert_eq!(image_column(&table, Some("b")).unwrap(), "b");
    }

    #[test]
    fn a_wrong_choice_names_what_there_is() {
        let table = schema(&[("id", DataType::Int64), ("image", DataType::Utf8)]);
        assert!(
            image_column(&table, Some("img"))
                .unwrap_err()
                .contains("id, image")
        );
        assert!(
            image_column(&table, Some("id"))
                .unwrap_err()
                .contains("Int64")
        );
        assert!(
            image_column(&schema(&[("id", DataType::Int64)]), None)
                .unwrap_err()
                .contains("--image")
        );
    }
}
