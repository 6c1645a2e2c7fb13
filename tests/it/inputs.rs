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
