//! SQL and `picsift image` with the model `shapes`: booleans, labels, JSON, words and nouns.

use std::collections::HashSet;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::pictures::*;
use crate::support::*;

/// The rows of a query over the pictures' table `t`, in the order of their files; the row without an image is the last.
fn rows(columns: &str) -> Vec<Value> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write_pictures(&path, &pictures());
    let sql = format!(
        "SET picsift.model = 'shapes'; SELECT file, {columns} FROM '{}' ORDER BY file",
        path.display()
    );
    let rows = lines(&stdout(&picsift(["sql", "-c", &sql, "--format", "json"])));
    assert_eq!(rows.len(), pictures().len() + 1);
    for (row, picture) in rows.iter().zip(pictures()) {
        assert_eq!(row["file"], picture.file);
    }
    rows
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Asserts that the row without an image has nothing but its name.
fn no_image(rows: &[Value], columns: &[&str]) {
    let last = rows.last().unwrap();
    assert_eq!(last["file"], "none");
    for column in columns {
        assert_eq!(last[column], Value::Null, "{column}");
    }
}

#[test]
fn functions_say_what_is_drawn() {
    let rows = rows(
        "classify(image, 'square') AS is_square, classify_score(image, 'square') AS score, \
         classify_label(image, ['circle', 'square', 'triangle', 'star', 'cross']) AS label, \
         classify_json(image, ['red shape', 'crosses']) AS json",
    );
    no_image(&rows, &["is_square", "score", "label", "json"]);
    let (mut booleans, mut labels, mut members) =
        (YesNo::default(), Share::default(), YesNo::default());
    for (row, picture) in rows.iter().zip(&pictures()) {
        let (is, score) = (&row["is_square"], row["score"].as_f64().unwrap());
        assert_eq!(*is, score >= 0.5);
        booleans.count(picture, "square", is.as_bool().unwrap());
        let label = row["label"].as_str();
        labels.count(label.is_some_and(|label| picture.shows(label)), || {
            format!("{label:?} for {}", picture.file)
        });
        let json: Value = serde_json::from_str(row["json"].as_str().unwrap()).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 2);
        members.count(picture, "red shape", json["red shape"].as_bool().unwrap());
        // "crosses" is "cross" in the table of what is drawn.
        members.count(picture, "cross", json["crosses"].as_bool().unwrap());
    }
    booleans.hold("classify");
    labels.hold("classify_label");
    members.hold("classify_json");
}

#[test]
fn colours_are_said_in_words() {
    let columns: Vec<_> = SHAPES
        .iter()
        .map(|shape| format!("ask(image, 'What colour is the {shape}?') AS {shape}"))
        .collect();
    let rows = rows(&columns.join(", "));
    no_image(&rows, &SHAPES);
    let mut share = Share::default();
    for (row, picture) in rows.iter().zip(&pictures()) {
        for shape in SHAPES {
            if let Some(colour) = picture.colour_of(shape) {
                let said = row[shape].as_str().unwrap();
                share.count(said == colour, || {
                    format!("'{said}' for the {colour} {shape} in {}", picture.file)
                });
            }
        }
    }
    share.hold("What colour is it?");
}

#[test]
fn nouns_of_a_description_are_the_shapes() {
    let question = "'What is in the image?'";
    let rows = rows(&format!(
        "ask(image, {question}) AS text, ask_classes(image, {question}) AS nouns"
    ));
    no_image(&rows, &["text", "nouns"]);
    let mut share = Share::default();
    for (row, picture) in rows.iter().zip(&pictures()) {
        let text = row["text"].as_str().unwrap();
        let mut named: Vec<_> = text
            .split([' ', ','])
            .filter(|word| SHAPES.contains(word))
            .collect();
        let mut met = HashSet::new();
        named.retain(|shape| met.insert(*shape));
        assert_eq!(row["nouns"], json!(named), "the nouns of '{text}'");
        let objects: Vec<_> = picture
            .objects
            .iter()
            .map(|(shape, colour)| format!("{colour} {shape}"))
            .collect();
        share.count(objects.iter().all(|object| text.contains(object)), || {
            format!("'{text}' for {objects:?} in {}", picture.file)
        });
    }
    share.hold("What is in the image?");
}

/// The objects that `picsift image` prints of all pictures.
fn image(flags: &[&str]) -> Vec<Value> {
    let mut args = vec!["image", FOLDER, "--model", "shapes"];
    args.extend(flags);
    let objects = lines(&stdout(&picsift(args)));
    assert_eq!(objects.len(), pictures().len(), "one for each picture");
    objects
}

#[test]
fn files_get_answers_and_words() {
    let question = "How many shapes are there?";
    let objects = image(&["--categories", "red circle", "--ask", question]);
    let (mut circles, mut counts) = (YesNo::default(), Share::default());
    for (object, picture) in objects.iter().zip(&pictures()) {
        assert_eq!(object["file"], format!("{FOLDER}/{}", picture.file));
        assert_eq!(object["error"], Value::Null);
        let answer = object["answers"]["red circle"].as_bool().unwrap();
        let score = object["scores"]["red circle"].as_f64().unwrap();
        assert_eq!(answer, score >= 0.5);
        assert_eq!(object["label"].as_str(), answer.then_some("red circle"));
        circles.count(picture, "red circle", answer);
        let text = object["text"].as_str().unwrap();
        let right = ["one", "two", "three"][picture.objects.len() - 1];
        counts.count(text == right, || {
            format!("'{text}', not {right}, for {}", picture.file)
        });
    }
    counts.hold(question);
    circles.hold("picsift image");
}

#[test]
fn an_answer_is_as_long_and_as_free_as_was_said() {
    let texts = |flags: &[&str]| -> Vec<String> {
        let question = ["--ask", "What is in the image?"];
        let objects = image(&[&question[..], flags].concat());
        let text = |object: &Value| object["text"].as_str().unwrap().to_owned();
        objects.iter().map(text).collect()
    };
    let whole = texts(&[]);
    for (whole, cut) in whole.iter().zip(texts(&["--max-tokens", "1"])) {
        assert!(
            whole.len() > cut.len() && whole.starts_with(&cut),
            "{whole}"
        );
        assert_eq!(cut.split_whitespace().count(), 1, "{cut}");
    }
    assert_eq!(whole, texts(&["--temperature", "0"]));
    let free = texts(&["--temperature", "2"]);
    assert!(free.iter().all(|text| !text.is_empty()));
    assert_ne!(whole, free, "other words at a high temperature");
}
