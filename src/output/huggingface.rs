//! The metadata by which the Hugging Face `datasets` library knows the columns of a Parquet file.
//!
//! It is a JSON object under the key `huggingface`. Releases up to 2.16 refuse a file with a column that it does not name,
//! and 2.10 invents a column that it names and the file lacks; so it is made to name just the file's columns. A table without
//! the key gets none.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use picsift_udf::is_binary;
use serde_json::{Value, json};

/// Key of the schema's metadata.
const KEY: &str = "huggingface";

/// `schema` whose `huggingface` metadata, where it has any that can be read, names the `added` columns and none of the
/// `absent` ones, which the file will not have.
pub fn with_features(schema: &SchemaRef, added: &[Field], absent: &[String]) -> SchemaRef {
    let Some(text) = schema.metadata().get(KEY) else {
        return Arc::clone(schema);
    };
    // Metadata that is not the library's form is not ours to mend: it stays as it is.
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return Arc::clone(schema);
    };
    let Some(features) = value
        .pointer_mut("/info/features")
        .and_then(Value::as_object_mut)
    else {
        return Arc::clone(schema);
    };
    for field in added {
        features.insert(field.name().clone(), feature(field));
    }
    features.retain(|name, _| !absent.contains(name));
    let mut metadata = schema.metadata().clone();
    metadata.insert(KEY.to_string(), value.to_string());
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// `schema` by which the library knows the column `image` as pictures, and all others but the `absent` ones by their types.
pub fn with_images(schema: &SchemaRef, image: &str, absent: &[String]) -> SchemaRef {
    let known = schema.metadata().get(KEY);
    let known = known.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut value = known.unwrap_or_else(|| {
        let fields = schema.fields().iter();
        let fields = fields.filter(|field| !absent.contains(field.name()));
        let features = fields.map(|field| (field.name().clone(), feature(field)));
        json!({"info": {"features": features.collect::<serde_json::Map<_, _>>()}})
    });
    let features = value.pointer_mut("/info/features");
    if let Some(features) = features.and_then(Value::as_object_mut) {
        features.insert(image.to_string(), json!({"_type": "Image"}));
    }
    let mut metadata = schema.metadata().clone();
    metadata.insert(KEY.to_string(), value.to_string());
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// `schema` whose metadata is that of one file, which has the columns `stored`: columns that other files or folders gave the table, and
/// those that they made wider, are named as they are.
pub fn with_other_files(schema: &SchemaRef, stored: Option<&Schema>) -> SchemaRef {
    let Some(stored) = stored else {
        return Arc::clone(schema);
    };
    let differs = |field: &&FieldRef| match stored.column_with_name(field.name()) {
        None => true,
        // What an image or a list of classes is to the library cannot be told from its type.
        Some((_, theirs)) => {
            let is_plain = !field.data_type().is_nested() && !is_binary(field.data_type());
            is_plain && field.data_type() != theirs.data_type()
        }
    };
    let fields = schema.fields().iter().filter(differs);
    let fields: Vec<Field> = fields.map(|field| field.as_ref().clone()).collect();
    with_features(schema, &fields, &[])
}

/// What `datasets` calls the type of a field.
pub fn feature(field: &Field) -> Value {
    let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
    match field.data_type() {
        DataType::Boolean => value("bool"),
        DataType::Float16 => value("float16"),
        DataType::Float32 => value("float32"),
        DataType::Float64 => value("float64"),
        // "List" is the newer name, which releases before 4.0 do not know; all later ones read this one.
        DataType::Struct(fields) => fields
            .iter()
            .map(|part| (part.name().clone(), feature(part)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        DataType::List(item) => json!({"feature": feature(item), "_type": "Sequence"}),
        DataType::FixedSizeList(item, length) => {
            json!({"feature": feature(item), "length": length, "_type": "Sequence"})
        }
        DataType::Dictionary(_, values) => {
            feature(&Field::new(field.name(), values.as_ref().clone(), true))
        }
        DataType::Date64 => value("date64"),
        DataType::Time32(unit) | DataType::Time64(unit) => {
            let bits = if field.data_type().primitive_width() == Some(4) {
                32
            } else {
                64
            };
            value(&format!("time{bits}[{}]", short(*unit)))
        }
        DataType::Duration(unit) => value(&format!("duration[{}]", short(*unit))),
        DataType::Decimal128(precision, scale) => {
            value(&format!("decimal128({precision}, {scale})"))
        }
        DataType::Decimal256(precision, scale) => {
            value(&format!("decimal256({precision}, {scale})"))
        }
        DataType::Binary | DataType::LargeBinary => value("binary"),
        DataType::LargeUtf8 => value("large_string"),
        DataType::Date32 => value("date32"),
        DataType::Timestamp(unit, zone) => {
            let unit = short(*unit);
            match zone {
                None => value(&format!("timestamp[{unit}]")),
                Some(zone) => value(&format!("timestamp[{unit}, tz={zone}]")),
            }
        }
        integer if integer.is_integer() => value(&integer.to_string().to_lowercase()),
        _ => value("string"),
    }
}

fn short(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use picsift_udf::AddedColumns;

    use super::*;

    fn schema(metadata: &[(&str, &str)]) -> SchemaRef {
        let metadata: HashMap<String, String> = metadata
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        Arc::new(Schema::new_with_metadata(
            vec![Field::new("image", DataType::Binary, true)],
            metadata,
        ))
    }

    fn added() -> Vec<Field> {
        let added = AddedColumns::new(&["fish".to_string()], &Schema::empty(), false, None);
        added.unwrap().fields()
    }

    #[test]
    fn columns_of_other_files_are_named_and_wider_ones_named_anew() {
        let text = r#"{"info": {"features": {"id": {"dtype": "int32", "_type": "Value"}, "image": {"_type": "Image"}}}}"#;
        let metadata = HashMap::from([(KEY.to_string(), text.to_string())]);
        let image = Field::new("image", DataType::Binary, true);
        let stored = Schema::new(vec![Field::new("id", DataType::Int32, true), image.clone()]);
        let folder = Field::new("k", DataType::Utf8, true);
        let all = vec![Field::new("id", DataType::Int64, true), image, folder];
        let all = Arc::new(Schema::new_with_metadata(all, metadata));
        let schema = with_other_files(&all, Some(&stored));
        let value: Value = serde_json::from_str(&schema.metadata()[KEY]).unwrap();
        let features = &value["info"]["features"];
        assert_eq!(features["id"]["dtype"], "int64");
        assert_eq!(features["k"]["dtype"], "string");
        assert_eq!(features["image"], json!({"_type": "Image"}));
    }

    #[test]
    fn the_added_columns_are_named() {
        let text =
            r#"{"info": {"features": {"image": {"_type": "Image"}, "gone": {"_type": "Value"}}}}"#;
        let schema = with_features(
            &schema(&[(KEY, text), ("other", "kept")]),
            &added(),
            &["gone".to_string()],
        );
        assert_eq!(schema.metadata()["other"], "kept");
        let value: Value = serde_json::from_str(&schema.metadata()[KEY]).unwrap();
        let features = &value["info"]["features"];
        assert_eq!(features["image"], json!({"_type": "Image"}));
        assert_eq!(features["is_fish"]["dtype"], "bool");
        assert_eq!(features["score_fish"]["dtype"], "float32");
        assert_eq!(features["labels"]["feature"]["dtype"], "string");
        assert_eq!(features["picsift_error"]["kind"]["dtype"], "string");
        assert_eq!(features.as_object().unwrap().len(), 1 + added().len());
    }

    #[test]
    fn other_metadata_stays_as_it_is() {
        for metadata in [
            &[][..],
            &[(KEY, "no json")],
            &[(KEY, "{}")],
            &[("pandas", "{}")],
        ] {
            let table = schema(metadata);
            assert_eq!(with_features(&table, &added(), &[]), table);
        }
    }
}
