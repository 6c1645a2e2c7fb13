//! `picsift label`: which tables its inputs name, and in which order they are read.

use std::fs;

use arrow::array::StringArray;
use tempfile::tempdir;

use crate::support::*;

#[test]
fn several_inputs_are_read_in_their_order_and_limited_together() {
    let folder = tempdir().unwrap();
    let image = || {
        array(arrow::array::BinaryArray::from_vec(vec![
            &photo(
                "fish27_149.jpg"
            );
            2
        ]))
    };
    for name in ["b", "a"] {
        let id = array(StringArray::from(vec![
            format!("{name}1"),
            format!("{name}2"),
        ]));
        write_table(
            &folder.path().join(format!("{name}.parquet")),
            vec![("id", id), ("image", image())],
        );
    }
    let target = folder.path().join("out");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    stdout(&picsift([
        "label",
        &path("b.parquet"),
        &path("a.parquet"),
        "-o",
        target.to_str().unwrap(),
        "--categories",
        "fish",
        "--limit",
        "3",
    ]));
    let table = read_table(&target);
    let ids: Vec<_> = column::<StringArray>(&table, "id")
        .iter()
        .flatten()
        .map(str::to_string)
        .collect();
    assert_eq!(ids, ["b1", "b2", "a1"]);
}

#[test]
fn a_glob_names_files_in_several_folders() {
    let folder = tempdir().unwrap();
    for name in ["a", "b", "c"] {
        let image = array(StringArray::from(vec!["fish.jpg"]));
        fs::create_dir(folder.path().join(name)).unwrap();
        write_table(
            &folder.path().join(name).join("t.parquet"),
            vec![("image", image)],
        );
    }
    fs::write(folder.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    let target = tempdir().unwrap();
    let output = target.path().join("labelled");
    let label = |input: &str| {
        let input = folder.path().join(input);
        let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
        picsift(["label", input, "-o", output, "--categories", "fish"])
    };
    let said = stdout(&label("[ab]/*.parquet"));
    assert!(
        said.contains("2 rows, 2 images (1 distinct), 0 failed"),
        "{said}"
    );
    fs::remove_dir_all(&output).unwrap();
    let said = refused(&label("d*/*.parquet"));
    assert!(said.contains("nothing matches"), "{said}");
}

#[test]
fn a_json_array_is_a_table_and_one_of_texts_says_what_is_wanted() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    fs::write(path("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    fs::write(
        path("rows.json"),
        " [\n  {\"image\": \"fish.jpg\", \"id\": 1, \"note\": \"a, ] b\"},\n  {\"image\": \"gone.jpg\", \"id\": 2}\n]\n",
    )
    .unwrap();
    let rows = path("rows.json");
    let query = format!("SELECT id, note FROM '{rows}' ORDER BY id");
    let found = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    assert_eq!(found, "id,note\n1,\"a, ] b\"\n2,\n");
    let out = path("out");
    stdout(&picsift([
        "label",
        &rows,
        "-o",
        &out,
        "--categories",
        "fish",
    ]));
    let table = read_table(folder.path().join("out").as_path());
    let fish = column::<arrow::array::BooleanArray>(&table, "is_fish");
    assert_eq!(fish.iter().collect::<Vec<_>>(), [Some(true), None]);

    // Also where it is larger than what is looked at, and would be read in parts.
    let many: Vec<String> = (0..300_000)
        .map(|id| format!("{{\"id\": {id}, \"text\": \"{:060}\"}}", id % 7))
        .collect();
    fs::write(path("many.json"), format!("[{}]", many.join(",\n"))).unwrap();
    let query = format!(
        "SELECT count(*) AS n, sum(id) AS s FROM '{}'",
        path("many.json")
    );
    let found = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    assert_eq!(found, "n,s\n300000,44999850000\n");

    let urls: Vec<String> = (0..500)
        .map(|n| format!("\"https://example.org/{n}.jpg\""))
        .collect();
    fs::write(path("urls.json"), format!("[{}]", urls.join(","))).unwrap();
    let said = refused(&picsift([
        "label",
        &path("urls.json"),
        "-o",
        &path("none"),
        "--categories",
        "fish",
    ]));
    assert!(said.contains("is no object") && said.len() < 300, "{said}");
    // Nor does a line that is no record print itself whole.
    fs::write(
        path("line.jsonl"),
        format!("{}\n", urls.join("").replace("\"\"", "")),
    )
    .unwrap();
    let query = format!("FROM '{}'", path("line.jsonl"));
    let said = refused(&picsift(["sql", "-c", &query]));
    assert!(said.contains("line.jsonl") && said.len() < 500, "{said}");
}

#[test]
fn what_datasets_saves_to_a_disk_is_a_table() {
    use arrow::ipc::writer::StreamWriter;

    let folder = tempdir().unwrap();
    let saved = folder.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let fields = arrow::datatypes::Fields::from(vec![
        arrow::datatypes::Field::new("bytes", arrow::datatypes::DataType::Binary, true),
        arrow::datatypes::Field::new("path", arrow::datatypes::DataType::Utf8, true),
    ]);
    let rows = |names: &[&str]| {
        let bytes: Vec<Vec<u8>> = names.iter().map(|name| photo(name)).collect();
        let bytes = arrow::array::BinaryArray::from_iter_values(&bytes);
        let paths = StringArray::from(names.to_vec());
        let image =
            arrow::array::StructArray::new(fields.clone(), vec![array(bytes), array(paths)], None);
        let id = StringArray::from(names.to_vec());
        arrow::array::RecordBatch::try_from_iter([("id", array(id)), ("image", array(image))])
            .unwrap()
    };
    let parts = [
        &["fish27_149.jpg", "dog_008.jpg"][..],
        &["giraffe_000.webp"],
    ];
    for (number, names) in parts.iter().enumerate() {
        let file = saved.join(format!("data-0000{number}-of-00002.arrow"));
        let batch = rows(names);
        let mut writer =
            StreamWriter::try_new(fs::File::create(file).unwrap(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
    for (name, text) in [
        ("state.json", "{\"_split\": null}"),
        ("dataset_info.json", "{}"),
    ] {
        fs::write(saved.join(name), text).unwrap();
    }
    fs::write(saved.join("cache-0123456789abcdef.arrow"), "left over").unwrap();
    let saved = saved.to_str().unwrap();
    let query = format!("SELECT count(*) AS n FROM '{saved}'");
    let run = picsift(["sql", "--format", "csv", "-c", &query]);
    assert_eq!(stdout(&run), "n\n3\n");
    assert!(!stderr(&run).contains("left out"), "{}", stderr(&run));
    let out = folder.path().join("out");
    let args = [
        "label",
        saved,
        "-o",
        out.to_str().unwrap(),
        "--categories",
        "fish,dog",
    ];
    stdout(&picsift(args));
    let table = read_table(&out);
    let label: Vec<_> = column::<StringArray>(&table, "label").iter().collect();
    assert_eq!(label, [Some("fish"), Some("dog"), None]);
    // A file that is cut off says so.
    let first = format!("{saved}/data-00000-of-00002.arrow");
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
    let said = refused(&picsift(["sql", "-c", &query]));
    assert!(
        said.contains("cut off") && said.contains("data-00000"),
        "{said}"
    );
}

#[test]
fn a_batch_that_is_not_what_its_columns_say_is_an_error_with_its_file() {
    use std::panic::catch_unwind;

    use arrow::ipc::reader::StreamReader;
    use arrow::ipc::writer::StreamWriter;

    let folder = tempdir().unwrap();
    let batch = arrow::array::RecordBatch::try_from_iter([
        ("id", array(arrow::array::Int64Array::from(vec![1, 2]))),
        ("file", array(StringArray::from(vec!["a.jpg", "b.jpg"]))),
    ])
    .unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    let schema_ends = writer.get_ref().len();
    writer.write(&batch).unwrap();
    let whole = writer.into_inner().unwrap();
    // Whether it is an error, and whether it ends the thread that reads it.
    let read = |bytes: &[u8]| {
        catch_unwind(|| {
            let batches = StreamReader::try_new(bytes, None)?;
            batches.collect::<Result<Vec<_>, _>>()
        })
        .map(|read| read.is_ok())
    };
    // The lowest bytes of its numbers: a length that became large would end these tests for want of memory.
    let numbers = (schema_ends + 8..whole.len() - 8).step_by(8);
    let damaged = numbers.flat_map(|at| (0..4).map(move |byte| (at, byte)));
    let (mut errors, mut ends) = (0, 0);
    for (at, byte) in damaged {
        let mut wrong = whole.clone();
        wrong[at] = byte;
        match read(&wrong) {
            Ok(true) => continue,
            // Each takes a run of the program.
            Ok(false) if errors == 10 => continue,
            Ok(false) => errors += 1,
            Err(_) => ends += 1,
        }
        let file = folder.path().join("damaged.arrow");
        fs::write(&file, wrong).unwrap();
        let query = format!("SELECT id, file FROM '{}'", file.display());
        let run = picsift(["sql", "-c", &query]);
        let said = stderr(&run);
        // What the reader says itself stands above it.
        let last = said.trim().lines().last().unwrap_or_default();
        assert!(
            matches!(run.status.code(), Some(1 | 2)) && last.contains("damaged.arrow"),
            "{at} {byte}: {said}"
        );
    }
    assert!(errors > 0 && ends > 0, "{errors} {ends}");
}

#[test]
fn a_file_that_is_damaged_among_others_is_named() {
    let folder = tempdir().unwrap();
    let place = |format: &str| {
        let place = folder.path().join(format);
        fs::create_dir(&place).unwrap();
        place
    };
    let ids = arrow::array::Int64Array::from_iter_values(0..5000);
    let images: Vec<String> = (0..5000).map(|row| format!("{row}.jpg")).collect();
    let columns = || {
        let images = StringArray::from(images.clone());
        vec![("id", array(ids.clone())), ("image", array(images))]
    };
    let parquet = place("parquet");
    for name in ["good.parquet", "wrong.parquet"] {
        write_table(&parquet.join(name), columns());
    }
    // Not its footer, by which it is planned.
    let wrong = parquet.join("wrong.parquet");
    let mut bytes = fs::read(&wrong).unwrap();
    for byte in &mut bytes[4..3000] {
        *byte ^= 0x5a;
    }
    fs::write(&wrong, bytes).unwrap();
    let lines = |line: &str, wrong: &str| [line.repeat(3000), wrong.to_string()];
    let json = place("json");
    let csv = place("csv");
    for (place, end, header, [good, wrong]) in [
        (
            &json,
            "jsonl",
            "",
            lines("{\"id\": 1, \"image\": \"a.jpg\"}\n", "{\"id\": \"x\"}\n"),
        ),
        (
            &csv,
            "csv",
            "id,image\n",
            lines("1,a.jpg\n", "1,a.jpg,2,3\n"),
        ),
    ] {
        fs::write(place.join(format!("good.{end}")), format!("{header}{good}")).unwrap();
        let wrong = format!("{header}{good}{wrong}");
        fs::write(place.join(format!("wrong.{end}")), wrong).unwrap();
    }
    for (place, format) in [(parquet, "Parquet"), (json, "JSON"), (csv, "CSV")] {
        let query = format!("SELECT sum(id), max(image) FROM '{}/'", place.display());
        let out = folder.path().join("out");
        let (input, output) = (place.to_str().unwrap(), out.to_str().unwrap());
        for args in [
            &["sql", "-c", &query][..],
            &["label", input, "-o", output, "--categories", "fish"],
        ] {
            let run = picsift(args);
            let said = stderr(&run);
            let wrong = place.join("wrong").display().to_string();
            assert!(!run.status.success());
            assert!(
                said.contains(&format!("cannot read '{wrong}.")) && said.contains(format),
                "{said}"
            );
            assert!(!said.contains("good."), "{said}");
        }
    }
}
