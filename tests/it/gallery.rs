//! `picsift gallery`: what is in its folder, and what a browser makes of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, BooleanArray, Float32Array, StringArray};
use serde_json::Value;
use tempfile::tempdir;

use crate::resume::signal;
use crate::support::*;

pub(crate) fn labelled(folder: &Path, input: &str) -> String {
    let target = folder.join("labelled").to_str().unwrap().to_string();
    stdout(&picsift([
        "label",
        input,
        "-o",
        &target,
        "--categories",
        "fish,building,animal",
    ]));
    target
}

/// A gallery of the photographs with their truth.
pub(crate) fn judged(folder: &Path) -> std::path::PathBuf {
    let table = labelled(folder, REFERENCES);
    let gallery = folder.join("gallery");
    let place = gallery.to_str().unwrap();
    stdout(&picsift([
        "gallery", &table, "-o", place, "--truth", "truth", "--base", REFERENCES,
    ]));
    gallery
}

/// The argument of a script's one call.
pub(crate) fn data(gallery: &Path, file: &str) -> Value {
    let text = fs::read_to_string(gallery.join("data").join(file)).unwrap();
    let (_, rest) = text.split_once('(').unwrap();
    let inside = rest.trim_end().strip_suffix(");").unwrap();
    let start = inside.find(['{', '[']).unwrap();
    serde_json::from_str(&inside[start..]).unwrap()
}

#[test]
fn a_gallery_has_every_row_and_its_picture() {
    let out = tempdir().unwrap();
    let table = labelled(out.path(), REFERENCES);
    let gallery = out.path().join("gallery");
    let args = [
        "gallery",
        &table,
        "-o",
        gallery.to_str().unwrap(),
        "--base",
        REFERENCES,
        "--truth",
        "truth",
    ];
    let said = stdout(&picsift(args));
    assert!(
        said.contains("221 rows") && said.contains("0 without a picture"),
        "{said}"
    );
    let meta = data(&gallery, "meta.js");
    assert_eq!(
        (&meta["rows"], &meta["title"]),
        (&Value::from(221), &Value::from("labelled"))
    );
    assert_eq!(meta["model"], "pocket");
    // The table's other columns, which are read when a picture is large; what is an answer stands elsewhere.
    let columns: Vec<&str> = meta["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(
        columns.contains(&"license") && columns.contains(&"truth"),
        "{columns:?}"
    );
    for name in [
        "image",
        "is_fish",
        "score_fish",
        "label",
        "labels",
        "answers",
        "picsift_error",
    ] {
        assert!(!columns.contains(&name), "{columns:?}");
    }
    let beside = &data(&gallery, "columns-0.js")[0];
    let place = columns.iter().position(|name| *name == "license").unwrap();
    assert_eq!(beside.as_array().unwrap().len(), columns.len());
    assert!(!beside[place].as_str().unwrap().is_empty(), "{beside}");
    let names = data(&gallery, "names-0.js");
    assert_eq!(names.as_array().unwrap().len(), 221);
    assert_eq!(names[0], data(&gallery, "rows-0.js")[0]["reference"]);
    let fish = &meta["categories"][0];
    assert_eq!(
        (&fish["name"], &fish["truth"]),
        (&Value::from("fish"), &Value::from(true))
    );
    assert_eq!(fish["evaluation"]["support"], 28.0);
    let sum = |class: &str| -> u64 {
        let bins = fish["histogram"]["truth"][class].as_array().unwrap();
        bins.iter().map(|bin| bin.as_u64().unwrap()).sum()
    };
    assert_eq!((sum("yes"), sum("no")), (28, 193));
    let rows: Vec<Value> = (0..5)
        .map(|chunk| data(&gallery, &format!("rows-{chunk}.js")))
        .collect();
    let rows: Vec<&Value> = rows
        .iter()
        .flat_map(|rows| rows.as_array().unwrap())
        .collect();
    assert_eq!(rows.len(), 221);
    for (number, row) in rows.iter().enumerate() {
        let thumb = fs::read(gallery.join(format!("thumbs/000/{number:06}.jpg"))).unwrap();
        let info = picsift_images::image_info(&thumb, &Default::default()).unwrap();
        assert!(info.width.max(info.height) <= 192);
        let (width, height) = (
            row["width"].as_f64().unwrap(),
            row["height"].as_f64().unwrap(),
        );
        let shape = f64::from(info.width) / f64::from(info.height);
        assert!((shape / (width / height) - 1.0).abs() < 0.02, "{row}");
        assert!(
            gallery
                .join(format!("pictures/000/{number:06}.jpg"))
                .is_file()
        );
    }

    let said = refused(&picsift(args));
    assert!(said.contains("--overwrite"), "{said}");
    stdout(&picsift(
        [&args[..], &["--overwrite", "--no-pictures", "--limit", "5"]].concat(),
    ));
    assert!(!gallery.join("pictures").exists() && !gallery.join("data/rows-1.js").exists());
    fs::remove_file(gallery.join("_picsift_gallery.json")).unwrap();
    let said = refused(&picsift([&args[..], &["--overwrite"]].concat()));
    assert!(said.contains("did not write it"), "{said}");
    // Nothing is left beside it.
    let left: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Truth of another table stands beside its rows, which keep their order, however many of them it is about.
#[test]
fn truth_of_another_table_moves_no_row() {
    let out = tempdir().unwrap();
    let table = labelled(out.path(), REFERENCES);
    let rows = read_table(Path::new(&table));
    let keys = column::<StringArray>(&rows, "image");
    let gallery = out.path().join("gallery");
    let truth = out.path().join("truth.parquet");
    for about in [vec![200, 7, 30], (0..keys.len()).rev().collect()] {
        let names: Vec<_> = about.iter().map(|row| keys.value(*row)).collect();
        let holds: Vec<_> = about.iter().map(|row| row % 2 == 1).collect();
        write_table(
            &truth,
            vec![
                ("key", array(StringArray::from(names))),
                ("fish", array(BooleanArray::from(holds))),
            ],
        );
        stdout(&picsift([
            "gallery",
            &table,
            "-o",
            gallery.to_str().unwrap(),
            "--overwrite",
            "--no-pictures",
            "--base",
            REFERENCES,
            "--truth-file",
            truth.to_str().unwrap(),
            "--truth",
            "fish=fish",
        ]));
        let column = data(&gallery, "category-0.js");
        let codes = base64(column["truth"].as_str().unwrap());
        assert_eq!(codes.len(), keys.len());
        for (row, code) in codes.into_iter().enumerate() {
            let shown = &data(&gallery, &format!("rows-{}.js", row / 50))[row % 50];
            assert_eq!(shown["key"], keys.value(row));
            let known = about.contains(&row);
            assert_eq!(code, if known { (row % 2) as u8 } else { 2 }, "{row}");
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

/// Names and errors that would be markup, and images that are none.
fn hostile(path: &Path) -> usize {
    let names = [
        "<script>window.hacked = true</script>.jpg",
        "\"><img src=x onerror=\"window.hacked = true\">",
        "</script><script>window.hacked = true</script>",
        "javascript:window.hacked=true//.png",
        "\u{202e}gpj.exe\u{2028}\u{2029}",
    ];
    let rows = 2 * names.len();
    let names: Vec<_> = names.iter().cycle().take(rows).copied().collect();
    let good = photo("dam1_055.jpg");
    let images: Vec<&[u8]> = (0..rows)
        .map(|row| {
            if row < rows / 2 {
                good.as_slice()
            } else {
                b"<html>"
            }
        })
        .collect();
    let fields = vec![
        arrow::datatypes::Field::new("bytes", arrow::datatypes::DataType::Binary, true),
        arrow::datatypes::Field::new("path", arrow::datatypes::DataType::Utf8, true),
    ];
    let images = arrow::array::StructArray::new(
        fields.into(),
        vec![
            array(BinaryArray::from_vec(images)),
            array(StringArray::from(names)),
        ],
        None,
    );
    let scores: Vec<f32> = (0..rows).map(|row| row as f32 / rows as f32).collect();
    let answers: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
    write_table(
        path,
        vec![
            ("image", array(images)),
            ("is_fish", array(BooleanArray::from(answers.clone()))),
            ("score_fish", array(Float32Array::from(scores))),
            ("is_<b>cat</b>", array(BooleanArray::from(answers.clone()))),
            ("truth", array(BooleanArray::from(answers))),
            ("label", array(StringArray::from(vec!["<i>fish</i>"; rows]))),
        ],
    );
    rows
}

/// The Python that drives Chromium; `None` where this machine has none and need not have one.
pub(crate) fn browser() -> Option<String> {
    let python = python("playwright").and_then(|python| {
        let found = Command::new("chromium").arg("--version").output();
        found
            .map(|_| python)
            .map_err(|error| format!("chromium cannot be run: {error}"))
    });
    match python {
        Ok(python) => Some(python),
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// Chromium over a gallery, where there is one.
pub(crate) fn browse(gallery: &Path, shots: &Path, url: Option<&str>) -> Option<Value> {
    let mut command = Command::new(browser()?);
    command
        .arg("tests/gallery/browser.py")
        .args([gallery, shots])
        .current_dir(root());
    if let Some(url) = url {
        command.args(["--url", url]);
    }
    let run = command.output().unwrap();
    Some(serde_json::from_str(&stdout(&run)).unwrap())
}

/// Screenshots to be looked at, in the folder of the build.
pub(crate) fn shots(name: &str) -> std::path::PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_picsift"))
        .ancestors()
        .nth(2)
        .unwrap();
    target.join("gallery-screenshots").join(name)
}

#[test]
fn a_browser_corrects_and_a_job_takes_it() {
    let out = tempdir().unwrap();
    let gallery = judged(out.path());
    let shots = shots("photographs");
    let Some(found) = browse(&gallery, &shots, None) else {
        return;
    };
    assert!(found["first_bytes"].as_u64().unwrap() < 2 << 20, "{found}");
    assert!(found["open_seconds"].as_f64().unwrap() < 5.0, "{found}");
    let corrections = shots.join("corrections.jsonl");
    let again = out.path().join("again");
    stdout(&picsift([
        "label",
        REFERENCES,
        "-o",
        again.to_str().unwrap(),
        "--categories",
        "fish,building,animal",
        "--corrections",
        corrections.to_str().unwrap(),
    ]));
    let rows = read_table(&again);
    let (names, fish) = (
        column::<StringArray>(&rows, "image"),
        column::<BooleanArray>(&rows, "is_fish"),
    );
    let sources = column::<StringArray>(&rows, "label_source");
    let flipped = found["flipped"].as_array().unwrap();
    assert_eq!(flipped.len(), 3);
    for one in flipped {
        let row = (0..names.len())
            .find(|row| names.value(*row) == one["key"])
            .unwrap();
        assert_eq!(fish.value(row), one["is"].as_bool().unwrap());
        assert_eq!(sources.value(row), "person");
    }
    let people = sources.iter().filter(|source| *source == Some("person"));
    assert_eq!(people.count(), 3);
}

#[test]
fn hostile_texts_stay_texts() {
    let out = tempdir().unwrap();
    let path = out.path().join("hostile.parquet");
    let rows = hostile(&path);
    let gallery = out.path().join("gallery");
    let args = [
        "gallery",
        path.to_str().unwrap(),
        "-o",
        gallery.to_str().unwrap(),
        "--title",
        "<script>window.hacked = true</script>",
        "--truth",
        "fish=truth",
    ];
    let said = stdout(&picsift(args));
    assert!(
        said.contains(&format!("{} without a picture", rows / 2)),
        "{said}"
    );
    let row = &data(&gallery, "rows-0.js")[rows - 1];
    assert_eq!(row["error"]["stage"], "decode");
    assert!(row["width"].is_null());
    for file in ["meta.js", "rows-0.js", "category-0.js"] {
        let text = fs::read_to_string(gallery.join("data").join(file)).unwrap();
        assert!(!text.contains('<') && !text.contains('\u{2028}'), "{file}");
    }
    // The browser's own check says that no script of the data ran.
    browse(&gallery, &shots("hostile"), None);
}

/// A gallery that is stopped is not there, nor anything of it.
#[test]
fn a_gallery_that_is_stopped_leaves_nothing() {
    let out = tempdir().unwrap();
    let path = out.path().join("many.parquet");
    let photos = read_table(&root().join(EMBEDDED));
    let many = arrow::compute::concat_batches(&photos.schema(), &vec![photos.clone(); 10]).unwrap();
    let images = many.column_by_name("image").unwrap();
    let answers = array(BooleanArray::from(vec![true; many.num_rows()]));
    write_table(
        &path,
        vec![("image", Arc::clone(images)), ("is_fish", answers)],
    );
    let gallery = out.path().join("gallery");
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let child = Command::new(env!("CARGO_BIN_EXE_picsift"))
            .args(["gallery", path.to_str().unwrap(), "-o"])
            .arg(&gallery)
            .arg("--pictures")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its hidden folder shows that it has begun to listen and to write.
        let begun = || fs::read_dir(out.path()).unwrap().count() > 1;
        while !begun() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        signal(&child, name);
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", stderr(&done));
        assert!(stderr(&done).contains("no gallery was written"));
        assert!(
            !begun(),
            "{:?}",
            fs::read_dir(out.path()).unwrap().collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_is_no_gallery_is_said() {
    let out = tempdir().unwrap();
    let place = out.path().join("gallery");
    let place = place.to_str().unwrap();
    for (args, part) in [
        (vec!["gallery", "-o", place], "name the labelled table"),
        (
            vec!["gallery", "-o", place, "--serve"],
            "there is no gallery",
        ),
        (vec!["gallery", EMBEDDED, "-o", place], "label it first"),
        (
            vec!["gallery", EMBEDDED, "-o", "s3://bucket/gallery"],
            "local folder",
        ),
    ] {
        let said = refused(&picsift(args));
        assert!(said.contains(part), "{said}");
        assert!(!Path::new(place).exists());
    }
}
