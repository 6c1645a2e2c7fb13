//! Which files are a table's.

use std::fs;

use arrow::array::{Date32Array, Int64Array};
use serde_json::json;
use tempfile::tempdir;

use super::{ids, images, label, labelled, one, rows};
use crate::support::*;

#[test]
fn what_programs_leave_beside_data_is_not_read_unless_it_is_named() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (id, name) in [
        "a.parquet",
        "_temporary/0/b.parquet",
        ".staging/c.parquet",
        "_tmp.parquet",
        "sub/.ipynb_checkpoints/d.parquet",
        "_delta_log/1.json",
    ]
    .iter()
    .enumerate()
    {
        one(at(name), id as i64);
    }
    let read = |name: &str| -> Vec<i64> {
        let query = format!("SELECT id FROM '{}' ORDER BY id", at(name).display());
        rows(&query)
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(read(""), [0]);
    assert_eq!(read("_tmp.parquet"), [3]);
    assert_eq!(read(".staging/"), [2]);
    assert_eq!(read("_temporary/*/*.parquet"), [1]);
    assert_eq!(read("_t*"), [1, 3]);
    let table = labelled(&[folder.path()], &[]);
    assert_eq!(
        *column::<Int64Array>(&table, "id"),
        Int64Array::from(vec![0])
    );
    let external = format!(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'; SELECT id FROM t",
        folder.path().display()
    );
    assert_eq!(rows(&external), [json!({"id": 0})]);
    fs::remove_file(at("a.parquet")).unwrap();
    let said = refused(&picsift([
        "sql",
        "-c",
        &format!("SELECT * FROM '{}'", folder.path().display()),
    ]));
    assert!(
        said.contains("5 files") && said.contains("begin with _ or ."),
        "{said}"
    );
}

#[test]
fn a_partition_may_begin_with_an_underscore() {
    let folder = tempdir().unwrap();
    one(folder.path().join("_k=x/a.parquet"), 1);
    let query = format!("SELECT id, _k FROM '{}'", folder.path().display());
    assert_eq!(rows(&query), [json!({"id": 1, "_k": "x"})]);
}

#[test]
fn files_of_a_format_are_one_table_whatever_their_names_end_in() {
    let folder = tempdir().unwrap();
    for (id, name) in ["a.parquet", "b.pq", "c.PARQUET", "d.Parq"]
        .iter()
        .enumerate()
    {
        one(folder.path().join(name), id as i64);
    }
    for name in ["x.csv", "y.CSV", "z.json", "w.avro"] {
        fs::write(folder.path().join(name), "id\n1\n").unwrap();
    }
    fs::write(folder.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    let all = ids(&[0, 1, 2, 3]);
    let (target, output) = label(&[folder.path()], &[]);
    let left_out = "is read as Parquet; 1 .avro, 2 .csv and 1 .json files in it are left out";
    assert!(stderr(&output).contains(left_out), "{}", stderr(&output));
    stdout(&output);
    let table = read_table(&target.path().join("out"));
    assert_eq!(table.column_by_name("id"), Some(&all));
    let query = format!("SELECT count(*) AS n FROM '{}'", folder.path().display());
    let twice = format!("{query}; {query}");
    let output = picsift(["sql", "--format", "json", "-c", &twice]);
    assert_eq!(stdout(&output), "{\"n\":4}\n{\"n\":4}\n");
    assert_eq!(
        stderr(&output).matches(left_out).count(),
        1,
        "{}",
        stderr(&output)
    );
    let table = labelled(&[&folder.path().join("c.PARQUET")], &[]);
    assert_eq!(table.num_rows(), 1);
    let external = format!(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'; SELECT count(*) AS n FROM t",
        folder.path().display()
    );
    assert_eq!(rows(&external), [json!({"n": 4})]);
}

#[test]
fn text_formats_are_known_by_any_case_too() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (name, text) in [
        ("t.CSV", "id,file\n1,a.jpg\n"),
        ("t.tsv", "id\tfile\n1\ta.jpg\n"),
        ("t.JSONL", "{\"id\": 1, \"file\": \"a.jpg\"}\n"),
        ("t.Json", "{\"id\": 1, \"file\": \"a.jpg\"}\n"),
    ] {
        let path = write(name, text);
        assert_eq!(
            rows(&format!("SELECT * FROM '{path}'")),
            [json!({"id": 1, "file": "a.jpg"})],
            "{name}"
        );
    }
}

#[test]
fn a_folders_key_that_is_a_column_too_is_one_column() {
    let folder = tempdir().unwrap();
    for (k, day) in [(1, 10), (2, 11)] {
        let path = folder.path().join(format!("k={k}/day=1970-01-{day}"));
        fs::create_dir_all(&path).unwrap();
        write_table(
            &path.join("0.parquet"),
            vec![
                ("k", ids(&[k])),
                ("id", ids(&[k * 10])),
                ("day", array(Date32Array::from(vec![day - 1]))),
                ("image", images(1)),
            ],
        );
    }
    let path = folder.path().display();
    let all = format!("SELECT id, k, day FROM '{path}' WHERE k > 1 AND day > DATE '1970-01-01'");
    assert_eq!(rows(&all), [json!({"id": 20, "k": 2, "day": "1970-01-11"})]);
    let names = rows(&format!("DESCRIBE '{path}'"));
    assert_eq!(
        names.iter().filter(|row| row["column_name"] == "k").count(),
        1
    );
    let table = labelled(&[folder.path()], &[]);
    assert_eq!(table.column_by_name("k"), Some(&ids(&[1, 2])));
}

#[test]
fn a_null_folder_is_null_in_rows_and_in_what_is_known_of_them() {
    let folder = tempdir().unwrap();
    one(folder.path().join("k=a/0.parquet"), 1);
    one(
        folder.path().join("k=__HIVE_DEFAULT_PARTITION__/0.parquet"),
        2,
    );
    let path = folder.path().display();
    let ask = |what: &str| rows(&format!("SELECT {what}"));
    assert_eq!(
        ask(&format!("id FROM '{path}' WHERE k IS NULL")),
        [json!({"id": 2})]
    );
    assert_eq!(
        ask(&format!("id FROM '{path}' WHERE k <> 'b'")),
        [json!({"id": 1})]
    );
    assert_eq!(
        ask(&format!(
            "count(k) AS n, min(k) AS a, max(k) AS b, count(*) AS c FROM '{path}'"
        )),
        [json!({"n": 1, "a": "a", "b": "a", "c": 2})]
    );
}

#[test]
fn files_that_are_broken_say_their_names() {
    let folder = tempdir().unwrap();
    one(folder.path().join("a.parquet"), 1);
    let broken = folder.path().join("b.parquet");
    let whole = fs::read(folder.path().join("a.parquet")).unwrap();
    for content in [
        &[] as &[u8],
        b"PAR1",
        b"<html>not found</html>",
        &whole[..whole.len() - 9],
    ] {
        fs::write(&broken, content).unwrap();
        let name = broken.display().to_string();
        let query = format!("SELECT * FROM '{}'", folder.path().display());
        for output in [
            picsift(["sql", "-c", &query]),
            label(&[folder.path()], &[]).1,
        ] {
            let said = refused(&output);
            assert!(said.contains(&name) && said.contains("Parquet"), "{said}");
        }
    }
}
