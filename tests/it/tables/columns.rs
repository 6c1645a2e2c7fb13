//! Which columns a table has: by their names, of types that hold the values of all files.

use std::fs;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray, TimestampSecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{ids, images, label, labelled, rows};
use crate::support::*;

/// An order that does not depend on that of an object's keys.
fn sort(values: &mut [Value]) {
    values.sort_by_key(|value| {
        let mut letters = value.to_string().into_bytes();
        letters.sort_unstable();
        letters
    });
}

/// Two files of a table whose column `v` is this in the one and that in the other.
fn pair(one: &ArrayRef, two: &ArrayRef) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, values) in [("a.parquet", one), ("b.parquet", two)] {
        write_table(
            &folder.path().join(name),
            vec![("v", Arc::clone(values)), ("image", images(values.len()))],
        );
    }
    folder
}

#[test]
fn types_of_files_are_widened_where_nothing_is_lost() {
    let text = |values: Vec<&str>| array(StringArray::from(values));
    let dictionary =
        |values: Vec<&str>| array(values.into_iter().collect::<DictionaryArray<Int32Type>>());
    let structure = |parts: Vec<(&str, ArrayRef)>| {
        let fields: Fields = parts
            .iter()
            .map(|(name, part)| Field::new(*name, part.data_type().clone(), true))
            .collect();
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        array(StructArray::new(fields, parts, None))
    };
    let list = |values: ArrayRef| {
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        cast(&values, &DataType::List(item)).unwrap()
    };
    let large_list = |values: ArrayRef| {
        let item = Arc::new(Field::new("element", values.data_type().clone(), true));
        cast(&values, &DataType::LargeList(item)).unwrap()
    };
    let int = |value: i32| array(Int32Array::from(vec![value]));
    for (a, b, expected) in [
        (int(7), ids(&[1 << 40]), json!([7, 1_i64 << 40])),
        (
            array(Int8Array::from(vec![-3])),
            int(70_000),
            json!([-3, 70_000]),
        ),
        (
            array(Float32Array::from(vec![0.5])),
            array(Float64Array::from(vec![0.1])),
            json!([0.5, 0.1]),
        ),
        (
            int(3),
            array(Float64Array::from(vec![0.1])),
            json!([3.0, 0.1]),
        ),
        (
            text(vec!["x"]),
            array(LargeStringArray::from(vec!["y"])),
            json!(["x", "y"]),
        ),
        (
            text(vec!["x"]),
            cast(&text(vec!["y"]), &DataType::Utf8View).unwrap(),
            json!(["x", "y"]),
        ),
        (dictionary(vec!["x"]), text(vec!["y"]), json!(["x", "y"])),
        (
            array(TimestampSecondArray::from(vec![1])),
            array(TimestampMillisecondArray::from(vec![1500])),
            json!(["1970-01-01T00:00:01", "1970-01-01T00:00:01.500"]),
        ),
        (
            array(Date32Array::from(vec![1])),
            cast(&array(Date32Array::from(vec![2])), &DataType::Date64).unwrap(),
            json!(["1970-01-02T00:00:00", "1970-01-03T00:00:00"]),
        ),
        (
            array(
                Decimal128Array::from(vec![125])
                    .with_precision_and_scale(5, 2)
                    .unwrap(),
            ),
            array(
                Decimal128Array::from(vec![1])
                    .with_precision_and_scale(9, 3)
                    .unwrap(),
            ),
            json!([1.25, 0.001]),
        ),
        (
            array(NullArray::new(1)),
            text(vec!["y"]),
            json!([null, "y"]),
        ),
        (
            structure(vec![("a", int(1)), ("b", text(vec!["x"]))]),
            structure(vec![
                ("b", text(vec!["y"])),
                ("c", int(2)),
                ("a", ids(&[3])),
            ]),
            json!([{"a": 1, "b": "x", "c": null}, {"a": 3, "b": "y", "c": 2}]),
        ),
        (list(int(1)), large_list(ids(&[2])), json!([[1], [2]])),
        (
            list(structure(vec![("a", int(1))])),
            list(structure(vec![("b", int(5)), ("a", int(2))])),
            json!([[{"a": 1, "b": null}], [{"a": 2, "b": 5}]]),
        ),
    ] {
        for (first, second, swapped) in [(&a, &b, false), (&b, &a, true)] {
            let folder = pair(first, second);
            let path = folder.path().display();
            let query = |order: &str| format!("SELECT v FROM '{path}' {order}");
            let mut found: Vec<Value> = rows(&query(""))
                .iter()
                .map(|row| row["v"].clone())
                .collect();
            let mut wanted = expected.as_array().unwrap().clone();
            if swapped {
                wanted.reverse();
            }
            // One stream for each file: which comes first is not said.
            sort(&mut found);
            sort(&mut wanted);
            assert_eq!(
                found,
                wanted,
                "{} and {}",
                first.data_type(),
                second.data_type()
            );
            let table = labelled(&[folder.path()], &["--image", "image"]);
            assert_eq!(table.num_rows(), 2);
            let again = tempdir().unwrap();
            let copy = again.path().join("t.parquet");
            write_table(
                &copy,
                vec![("v", Arc::clone(table.column_by_name("v").unwrap()))],
            );
            let copied = rows(&format!("SELECT v FROM '{}'", copy.display()));
            let mut copied: Vec<Value> = copied.iter().map(|row| row["v"].clone()).collect();
            sort(&mut copied);
            assert_eq!(
                copied,
                wanted,
                "label: {} and {}",
                first.data_type(),
                second.data_type()
            );
        }
    }
}

#[test]
fn the_least_and_greatest_of_a_widened_column_are_those_of_all_files() {
    let folder = pair(&array(Int32Array::from(vec![5, 9])), &ids(&[1 << 40]));
    let path = folder.path().display();
    let query = format!("SELECT min(v) AS a, max(v) AS b, count(v) AS n FROM '{path}'");
    assert_eq!(rows(&query), [json!({"a": 5, "b": 1_i64 << 40, "n": 3})]);
    let query = format!("SELECT count(*) AS n FROM '{path}' WHERE v > 6 AND v < 10");
    assert_eq!(rows(&query), [json!({"n": 1})]);
}

#[test]
fn types_that_have_nothing_in_common_are_refused_with_both_files() {
    let time = |zone: Option<&str>| {
        let times = TimestampSecondArray::from(vec![1]);
        array(match zone {
            Some(zone) => times.with_timezone(zone),
            None => times,
        })
    };
    for (a, b) in [
        (ids(&[1]), array(StringArray::from(vec!["x"]))),
        (ids(&[1]), array(Float64Array::from(vec![0.5]))),
        (time(None), time(Some("UTC"))),
        (ids(&[1]), new_null_array(&DataType::Boolean, 1)),
    ] {
        let folder = pair(&a, &b);
        let query = format!("SELECT v FROM '{}'", folder.path().display());
        for output in [
            picsift(["sql", "-c", &query]),
            label(&[folder.path()], &[]).1,
        ] {
            let said = refused(&output);
            for part in [
                "column 'v'",
                "a.parquet",
                "b.parquet",
                &a.data_type().to_string(),
                &b.data_type().to_string(),
            ] {
                assert!(said.contains(part), "no {part} in {said}");
            }
        }
    }
}

#[test]
fn an_image_struct_without_paths_and_a_dictionary_of_paths_hold_images() {
    let folder = tempdir().unwrap();
    let fields: Fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Null, true),
    ]
    .into();
    let parts = vec![images(1), array(NullArray::new(1))];
    let image = array(StructArray::new(fields, parts, None));
    let structs = folder.path().join("structs.parquet");
    write_table(&structs, vec![("image", image)]);
    let paths: DictionaryArray<Int32Type> = vec!["fish.jpg"].into_iter().collect();
    let references = folder.path().join("references.parquet");
    write_table(&references, vec![("image", array(paths))]);
    fs::write(folder.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    for path in [structs, references] {
        let query = format!(
            "SELECT classify(image, 'fish') AS f FROM '{}'",
            path.display()
        );
        assert_eq!(rows(&query), [json!({"f": true})]);
        let (folder, output) = label(&[&path], &[]);
        assert!(stdout(&output).contains("1 image (1 distinct), 0 failed"));
        let rows = rows(&format!(
            "SELECT is_fish FROM '{}'",
            folder.path().join("out").display()
        ));
        assert_eq!(rows, [json!({"is_fish": true})]);
    }
}

#[test]
fn columns_of_files_with_large_row_groups_are_found_by_their_names() {
    let folder = tempdir().unwrap();
    let text = |value: &str| array(StringArray::from(vec![value]));
    let large: Vec<u8> = (0..150_000_000_u32).map(|at| (at / 7) as u8).collect();
    let batch = RecordBatch::try_from_iter([
        ("id", array(Int32Array::from(vec![0]))),
        ("image", images(1)),
        ("width", text("w0")),
        ("height", text("h0")),
        ("raw", array(BinaryArray::from_vec(vec![&large]))),
    ])
    .unwrap();
    let plain = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .build();
    let file = fs::File::create(folder.path().join("0.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(plain)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    write_table(
        &folder.path().join("1.parquet"),
        vec![
            ("height", text("h1")),
            ("id", ids(&[1 << 40])),
            ("width", text("w1")),
            ("image", images(1)),
        ],
    );
    let table = labelled(&[folder.path()], &["--image", "image"]);
    assert_eq!(
        *column::<Int64Array>(&table, "id"),
        Int64Array::from(vec![0, 1 << 40])
    );
    for (name, values) in [("width", ["w0", "w1"]), ("height", ["h0", "h1"])] {
        assert_eq!(
            *column::<StringArray>(&table, name),
            StringArray::from(values.to_vec())
        );
    }
    assert_eq!(table.column_by_name("raw").unwrap().null_count(), 1);
}

#[test]
fn tables_that_are_named_one_by_one_are_matched_by_names_in_the_order_of_the_first() {
    let folder = tempdir().unwrap();
    let (first, second) = (folder.path().join("x"), folder.path().join("y"));
    for path in [&first, &second] {
        fs::create_dir(path).unwrap();
    }
    write_table(
        &first.join("t.parquet"),
        vec![
            ("id", array(Int32Array::from(vec![1]))),
            ("w", ids(&[10])),
            ("image", images(1)),
        ],
    );
    let other = |columns: Vec<(&str, ArrayRef)>| write_table(&second.join("t.parquet"), columns);
    other(vec![
        ("image", images(1)),
        ("w", ids(&[20])),
        ("id", ids(&[1 << 40])),
    ]);
    let table = labelled(&[&first, &second], &["--where", "w > 0"]);
    assert_eq!(table.schema().field(0).name(), "id");
    assert_eq!(table.column_by_name("id"), Some(&ids(&[1, 1 << 40])));
    assert_eq!(table.column_by_name("w"), Some(&ids(&[10, 20])));
    other(vec![("image", images(1)), ("id", ids(&[2]))]);
    let said = refused(&label(&[&first, &second], &[]).1);
    assert!(
        said.contains("different columns") && said.contains("'w'"),
        "{said}"
    );
}

#[test]
fn a_name_that_stands_twice_is_refused_with_its_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![field("v"), field("v")]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![ids(&[1]), ids(&[2])]).unwrap();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let csv = folder.path().join("t.csv");
    fs::write(&csv, "v,file,v\n1,a.jpg,2\n").unwrap();
    for path in [path, csv] {
        let query = format!("SELECT 1 FROM '{}'", path.display());
        for output in [
            picsift(["sql", "-c", &query]),
            label(&[&path], &[]).1,
            picsift(["eval", path.to_str().unwrap()]),
        ] {
            let said = refused(&output);
            let name = path.display().to_string();
            assert!(
                said.contains("two columns named 'v'") && said.contains(&name),
                "{said}"
            );
        }
    }
}

#[test]
fn text_files_of_a_table_need_the_same_header() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let query = format!("SELECT * FROM '{}' ORDER BY id", folder.path().display());
    write("a.csv", "id,width,height\n1,10,20\n");
    write("b.csv", "id,width,height\n2,1.5,x\n");
    write("empty.csv", "");
    assert_eq!(
        rows(&query),
        [
            json!({"id": 1, "width": 10.0, "height": "20"}),
            json!({"id": 2, "width": 1.5, "height": "x"})
        ]
    );
    for other in ["id,height,width\n2,20,10\n", "id,width\n2,10\n"] {
        write("b.csv", other);
        let said = refused(&picsift(["sql", "-c", &query]));
        assert!(
            said.contains("b.csv") && said.contains("same header"),
            "{said}"
        );
    }
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.jsonl", "{\"id\": 1, \"width\": 10, \"height\": 20}\n");
    write("b.jsonl", "{\"height\": 0.5, \"id\": 2, \"more\": true}\n");
    let query = format!(
        "SELECT id, width, height, more FROM '{}' ORDER BY id",
        folder.path().display()
    );
    assert_eq!(
        rows(&query),
        [
            json!({"id": 1, "width": 10, "height": 20.0, "more": null}),
            json!({"id": 2, "width": null, "height": 0.5, "more": true})
        ]
    );
}
