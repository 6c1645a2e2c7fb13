//! Rows with text that is none: each is a failure of its own, and the others are labelled.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::support::*;

const WRONG: &[u8] = b"caf\xe9 \xff";

/// Text with these bytes, whatever they are.
fn unchecked(values: &[&[u8]]) -> StringArray {
    let bytes = BinaryArray::from_iter_values(values);
    // SAFETY: it is only written to a file, which looks at no character.
    unsafe { StringArray::new_unchecked(bytes.offsets().clone(), bytes.values().clone(), None) }
}

/// Rows of a photograph with a text, which is wrong in the rows of `wrong`.
fn texts(rows: usize, wrong: &[usize]) -> StringArray {
    let names: Vec<String> = (0..rows).map(|row| format!("text {row}")).collect();
    let values: Vec<&[u8]> = names
        .iter()
        .enumerate()
        .map(|(row, name)| match wrong.contains(&row) {
            true => WRONG,
            false => name.as_bytes(),
        })
        .collect();
    unchecked(&values)
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group: usize, dictionary: bool) {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, name == "country"));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_dictionary_enabled(dictionary)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn images(rows: usize) -> ArrayRef {
    array(StringArray::from(vec!["fish.jpg"; rows]))
}

fn ids(rows: usize) -> ArrayRef {
    array((0..rows as i64).collect::<Int64Array>())
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn label(&self, table: &str, out: &str, more: &[&str]) -> std::process::Output {
        let (table, out) = (self.path(table), self.path(out));
        let mut all = vec![
            "label",
            table.to_str().unwrap(),
            "-o",
            out.to_str().unwrap(),
        ];
        all.extend(["--categories", "fish"]);
        all.extend(more);
        command(all, &self.path("cache")).output().unwrap()
    }

    /// The answer and the failure of each row, by its id.
    fn rows(&self, out: &str) -> HashMap<i64, (Option<bool>, Option<String>)> {
        let all = read_table(&self.path(out));
        let ids = column::<Int64Array>(&all, "id");
        let is = column::<BooleanArray>(&all, "is_fish");
        let errors = errors(&all).into_iter().enumerate();
        let rows = errors.map(|(row, error)| {
            let answer = is.is_valid(row).then(|| is.value(row));
            (ids.value(row), (answer, error))
        });
        rows.collect()
    }

    /// Asserts that these rows of `total` failed for that reason, and all others were answered.
    fn failed(&self, out: &str, total: i64, wrong: &[i64], reason: &str) {
        let rows = self.rows(out);
        assert_eq!(rows.len(), total as usize);
        for id in 0..total {
            let expected = match wrong.contains(&id) {
                true => (None, Some(format!("read: {reason}"))),
                false => (Some(true), None),
            };
            assert_eq!(rows[&id], expected, "row {id}");
        }
        let list = self.path(out).join("_picsift_errors.pq");
        let query = format!(
            "SELECT row, stage, kind FROM '{}' ORDER BY row",
            list.display()
        );
        let said = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
        let listed: Vec<String> = wrong
            .iter()
            .map(|row| format!("{row},read,text\n"))
            .collect();
        assert_eq!(said, format!("row,stage,kind\n{}", listed.concat()));
    }
}

#[test]
fn text_that_is_none_is_its_rows_failure() {
    let place = Place::new();
    for (name, dictionary) in [("plain", false), ("dictionary", true)] {
        let table = format!("{name}.parquet");
        let columns = vec![
            ("id", ids(300)),
            ("image", images(300)),
            ("country", array(texts(300, &[0, 17, 150, 299])) as ArrayRef),
        ];
        write(&place.path(&table), columns, 100, dictionary);
        let said = stdout(&place.label(&table, name, &["--shard-rows", "64"]));
        assert!(
            said.contains("300 rows") && said.contains("4 failed"),
            "{said}"
        );
        let reason = "the text in column 'country' is not UTF-8";
        place.failed(name, 300, &[0, 17, 150, 299], reason);
        let all = read_table(&place.path(name));
        let country = column::<StringArray>(&all, "country");
        assert!(country.is_null(17) && country.value(18) == "text 18");
        // It is so however often it is read.
        let said = stdout(&place.label(&table, name, &["--retry-failed"]));
        assert!(said.contains("4 failed"), "{said}");
        assert_eq!(place.rows(name).len(), 300);
    }
    let output = place.label("plain.parquet", "strict", &["--on-error", "fail"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("column 'country' is not UTF-8 in row 0 of")
            && said.contains("plain.parquet"),
        "{said}"
    );
    let more = [
        "--where",
        "id > 10 AND country <> 'text 20'",
        "--partition-by",
        "country",
        "--limit",
        "5",
    ];
    stdout(&place.label("plain.parquet", "some", &more));
    let rows = place.rows("some");
    let mut found: Vec<i64> = rows.keys().copied().collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [11, 12, 13, 14, 15],
        "a value that is none is NULL to a predicate"
    );
}

#[test]
fn it_may_stand_in_the_reference_or_be_nested() {
    let place = Place::new();
    let mut names = vec![b"fish.jpg".as_slice(); 6];
    names[2] = b"fi\xffsh.jpg";
    let list = |wrong: usize| {
        let texts = texts(12, &[2 * wrong + 1]);
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths([2; 6]);
        array(ListArray::new(item, offsets, Arc::new(texts), None)) as ArrayRef
    };
    let inner: ArrayRef = array(texts(6, &[4]));
    let field = Arc::new(Field::new("title", DataType::Utf8, true));
    let nested: ArrayRef = array(StructArray::from(vec![(field, inner)]));
    let keys = Int32Array::from(vec![0, 0, 1, 1, 0, 2]);
    let values = unchecked(&[b"a", b"b", WRONG]);
    let coded = DictionaryArray::<Int32Type>::new(keys, Arc::new(values));
    let columns = vec![
        ("id", ids(6)),
        ("image", array(unchecked(&names)) as ArrayRef),
        ("tags", list(3)),
        ("about", nested),
        ("kind", array(coded)),
    ];
    write(&place.path("t.parquet"), columns, 100, true);
    stdout(&place.label("t.parquet", "out", &[]));
    let rows = place.rows("out");
    let reason = |id: i64| rows[&id].1.clone().unwrap_or_default();
    for (id, name) in [(2, "image"), (3, "tags"), (4, "about"), (5, "kind")] {
        assert!(
            reason(id).contains(&format!("column '{name}'")),
            "{id}: {}",
            reason(id)
        );
        assert_eq!(rows[&id].0, None);
    }
    assert_eq!([&rows[&0], &rows[&1]], [&(Some(true), None); 2]);
}

/// A Parquet file of one column `note` with this annotation, and that Arrow type besides.
fn annotated(path: &Path, annotation: &str, arrow: Option<DataType>) {
    let message = format!(
        "message m {{ required int64 id; required binary image (UTF8); required binary note {annotation}; }}"
    );
    let schema = Arc::new(parse_message_type(&message).unwrap());
    let hint = arrow.map(|note| {
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("image", DataType::Utf8, false),
            Field::new("note", note, false),
        ];
        let hint = encode_arrow_schema(&arrow::datatypes::Schema::new(fields));
        vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), hint)]
    });
    let properties = WriterProperties::builder()
        .set_key_value_metadata(hint)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let ids = column.typed::<parquet::data_type::Int64Type>();
    ids.write_batch(&[0, 1, 2], None, None).unwrap();
    column.close().unwrap();
    for values in [
        [b"fish.jpg".as_slice(); 3],
        [b"\"a\"".as_slice(), WRONG, b"\"c\""],
    ] {
        let mut column = group.next_column().unwrap().unwrap();
        let values = values.map(|value| ByteArray::from(value.to_vec()));
        let bytes = column.typed::<ByteArrayType>();
        bytes.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// Parquet's reader takes some columns for text without a look.
#[test]
fn no_annotation_makes_text_of_what_is_none() {
    let place = Place::new();
    for (name, annotation, arrow) in [
        ("json", "(JSON)", None),
        ("hint", "", Some(DataType::Utf8)),
        ("large", "", Some(DataType::LargeUtf8)),
        ("enum", "(ENUM)", Some(DataType::Utf8)),
    ] {
        let table = format!("{name}.parquet");
        annotated(&place.path(&table), annotation, arrow);
        stdout(&place.label(&table, name, &[]));
        place.failed(name, 3, &[1], "the text in column 'note' is not UTF-8");
        let query = format!("SELECT note FROM '{}'", place.path(&table).display());
        let output = picsift(["sql", "--format", "csv", "-c", &query]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains("UTF-8"), "{}", stderr(&output));
    }
    // A table may call text what its file calls bytes.
    annotated(&place.path("bytes.parquet"), "", None);
    let file = place.path("bytes.parquet");
    let query = format!(
        "CREATE EXTERNAL TABLE t (id BIGINT, image VARCHAR, note VARCHAR) STORED AS PARQUET LOCATION '{}'; SELECT note FROM t",
        file.display()
    );
    let output = picsift(["sql", "--format", "csv", "-c", &query]);
    assert_ne!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn lines_that_are_no_text_fail_by_themselves() {
    let place = Place::new();
    let mut csv = b"id,image,country\n".to_vec();
    let mut json = Vec::new();
    for row in 0..200 {
        let country: &[u8] = match row {
            3 | 170 => WRONG,
            _ => "caf\u{e9}".as_bytes(),
        };
        csv.extend(
            format!("{row},fish.jpg,")
                .bytes()
                .chain(country.iter().copied()),
        );
        csv.push(b'\n');
        json.extend(format!("{{\"id\": {row}, \"image\": \"fish.jpg\", \"country\": \"").bytes());
        json.extend(country.iter().copied().chain(b"\"}\n".iter().copied()));
    }
    std::fs::write(place.path("t.csv"), csv).unwrap();
    std::fs::write(place.path("t.json"), json).unwrap();
    for name in ["csv", "json"] {
        stdout(&place.label(&format!("t.{name}"), name, &["--shard-rows", "64"]));
        let reason = "the text in column 'country' is not UTF-8";
        place.failed(name, 200, &[3, 170], reason);
        let all = read_table(&place.path(name));
        let country = column::<StringArray>(&all, "country");
        assert!(country.is_null(3) && country.value(4) == "caf\u{e9}");
    }
}

/// A value whose folder fits, in a path that does not.
#[test]
fn a_path_that_is_too_long_is_its_rows_failure() {
    let place = Place::new();
    let long = "x".repeat(240);
    let names: Vec<String> = (0..18).map(|column| format!("c{column}")).collect();
    let mut columns = vec![("id", ids(3)), ("image", images(3))];
    for name in &names {
        let values = StringArray::from(vec!["a", long.as_str(), "b"]);
        columns.push((name, array(values) as ArrayRef));
    }
    write_table(&place.path("t.parquet"), columns);
    let joined = names.join(",");
    let more = ["--partition-by", &joined, "--where", "id >= 0"];
    let said = stdout(&place.label("t.parquet", "out", &more));
    assert!(
        said.contains("3 rows") && said.contains("1 failed"),
        "{said}"
    );
    let rows = place.rows("out");
    let failure = rows[&1].1.clone().unwrap();
    assert!(
        failure.starts_with("write: ") && failure.contains("there is room for"),
        "{failure}"
    );
}
