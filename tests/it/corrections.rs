//! Corrections: they win over the model in jobs and queries, are marked, survive a re-run, and say what does not fit.

use std::fs;
use std::path::Path;

use arrow::array::{Array, BooleanArray, Float32Array, ListArray, StringArray};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::*;

/// Lines of a corrections file.
fn lines(all: &[(&str, &str, bool)]) -> String {
    let line = |(key, category, is): &(&str, &str, bool)| {
        json!({"key": key, "row": 3, "category": category, "was": null, "is": is, "who": "ada", "when": "2026-01-01T00:00:00Z"})
            .to_string()
            + "\n"
    };
    all.iter().map(line).collect()
}

const FLIPPED: [(&str, &str, bool); 4] = [
    ("dog_008.jpg", "fish", true),
    ("fish27_149.jpg", "fish", false),
    ("cat_010.webp", "building", true),
    ("elsewhere.jpg", "fish", true),
];

/// What a job wrote of one file.
fn row(folder: &Path, file: &str) -> Value {
    let table = read_table(folder);
    let files = column::<StringArray>(&table, "file");
    let row = (0..files.len())
        .find(|row| files.value(*row) == file)
        .unwrap();
    let is = |name: &str| {
        let column = column::<BooleanArray>(&table, name);
        column.is_valid(row).then(|| column.value(row))
    };
    let text = |name: &str| {
        let column = column::<StringArray>(&table, name);
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let labels = column::<ListArray>(&table, "labels").value(row);
    let labels = labels.as_any().downcast_ref::<StringArray>().unwrap();
    json!({
        "fish": is("is_fish"),
        "building": is("is_building"),
        "labels": labels.iter().flatten().collect::<Vec<_>>(),
        "label": text("label"),
        "answers": text("answers"),
        "source": text("label_source"),
    })
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("_picsift.json")).unwrap()).unwrap()
}

#[test]
fn three_flipped_labels_win_and_stay() {
    let out = tempdir().unwrap();
    let cache = out.path().join("cache");
    let file = out.path().join("corrections.jsonl");
    fs::write(&file, lines(&FLIPPED)).unwrap();
    let (file, target) = (file.to_str().unwrap(), out.path().join("labelled"));
    let mut args = vec!["label", EMBEDDED, "-o", target.to_str().unwrap()];
    args.extend(["--categories", "fish,building"]);
    stdout(&command(&args, &cache).output().unwrap());
    assert!(read_table(&target).column_by_name("label_source").is_none());

    let corrected = [&args[..], &["--corrections", file]].concat();
    // Another job: its answers would be others.
    let said = refused(&command(&corrected, &cache).output().unwrap());
    assert!(!said.is_empty());
    let corrected = [&corrected[..], &["--overwrite"]].concat();
    let run = command(&corrected, &cache).output().unwrap();
    stdout(&run);
    let said = stderr(&run);
    assert!(
        said.contains("corrections: 3 of 4 corrected images are in the table, 1 are not"),
        "{said}"
    );
    // Nothing is asked again for it.
    assert_eq!(manifest(&target)["counts"]["asked"], 0);
    assert_eq!(manifest(&target)["corrections"]["matched"], 3);
    let person = |fish, building, labels: Value, label: Value, answers: &str| json!({"fish": fish, "building": building, "labels": labels, "label": label, "answers": answers, "source": "person"});
    assert_eq!(
        row(&target, "dog_008.jpg"),
        person(
            true,
            false,
            json!(["fish"]),
            json!("fish"),
            r#"{"fish": true, "building": false}"#
        )
    );
    assert_eq!(
        row(&target, "fish27_149.jpg"),
        person(
            false,
            false,
            json!([]),
            json!(null),
            r#"{"fish": false, "building": false}"#
        )
    );
    assert_eq!(
        row(&target, "cat_010.webp"),
        person(
            false,
            true,
            json!(["building"]),
            json!("building"),
            r#"{"fish": false, "building": true}"#
        )
    );
    assert_eq!(row(&target, "goldentemple_184.jpg")["source"], "model");
    // The score stays the model's.
    let table = read_table(&target);
    let scores = column::<Float32Array>(&table, "score_fish");
    let files = column::<StringArray>(&table, "file");
    let fish = (0..files.len()).find(|row| files.value(*row) == "fish27_149.jpg");
    assert!(scores.value(fish.unwrap()) > 0.5);

    // The same command again: nothing to do. Without the corrections: refused, not lost.
    let again = &corrected[..corrected.len() - 1];
    let said = stdout(&command(again, &cache).output().unwrap());
    assert!(said.contains("nothing to do"), "{said}");
    let said = refused(&command(&args, &cache).output().unwrap());
    assert!(said.contains("corrections"), "{said}");
    // The same corrections in another file and order are the same.
    let mut turned = FLIPPED;
    turned.reverse();
    let other = out.path().join("other.jsonl");
    fs::write(&other, lines(&turned)).unwrap();
    let same = [&args[..], &["--corrections", other.to_str().unwrap()]].concat();
    let said = stdout(&command(&same, &cache).output().unwrap());
    assert!(said.contains("nothing to do"), "{said}");
}

#[test]
fn a_query_and_an_evaluation_take_them_too() {
    let out = tempdir().unwrap();
    let path = out.path().join("corrections.parquet");
    let texts = |texts: [&str; 3]| array(StringArray::from(texts.to_vec()));
    write_table(
        &path,
        vec![
            (
                "key",
                texts([
                    "images/dog_008.jpg",
                    "images/dog_008.jpg",
                    "images/cat_010.webp",
                ]),
            ),
            ("category", texts(["dog", "dog", "cat"])),
            ("is", array(BooleanArray::from(vec![true, false, true]))),
            (
                "when",
                texts([
                    // Four in the morning of the second, by the clock of the next line.
                    "2026-01-01T23:00:00-05:00",
                    "2026-01-02T01:00:00Z",
                    "2026-01-01",
                ]),
            ),
        ],
    );
    let file = path.to_str().unwrap();
    // The later word about the dog is that it is one.
    let query = format!(
        "SELECT file, classify(image, 'dog') AS dog, label_source(image, ['dog', 'cat']) AS source, \
         classify_label(image, ['dog', 'cat']) AS label FROM '{REFERENCES}' \
         WHERE file IN ('dog_008.jpg', 'cat_010.webp', 'dam1_055.jpg') ORDER BY file"
    );
    let run = picsift([
        "sql",
        "--format",
        "csv",
        "-c",
        &query,
        "--corrections",
        file,
    ]);
    assert_eq!(
        stdout(&run),
        "file,dog,source,label\ncat_010.webp,false,person,cat\ndam1_055.jpg,false,model,\ndog_008.jpg,true,person,dog\n"
    );
    let said = stderr(&run);
    assert!(
        said.contains("corrections: 2 of 2 corrected images came up"),
        "{said}"
    );
    // A predicate decides by them.
    let query = format!(
        "SELECT file FROM '{REFERENCES}' WHERE classify(image, 'cat') \
         AND file IN ('dog_008.jpg', 'cat_010.webp', 'dam1_055.jpg')"
    );
    let run = picsift([
        "sql",
        "--format",
        "csv",
        "-c",
        &query,
        "--corrections",
        file,
    ]);
    assert_eq!(stdout(&run), "file\ncat_010.webp\n");

    let target = out.path().join("labelled");
    let target = target.to_str().unwrap();
    stdout(&picsift([
        "label",
        REFERENCES,
        "-o",
        target,
        "--categories",
        "dog",
    ]));
    let run = picsift(["eval", target, "--truth-file", file, "--format", "json"]);
    let found: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(found["joined"]["matched"], 2);
    let note = found["notes"][0].as_str().unwrap();
    assert!(note.contains("chose to look at"), "{note}");
    assert_eq!(found["categories"][0]["counts"]["true_positive"], 1.0);
}

#[test]
fn what_does_not_fit_is_said() {
    let out = tempdir().unwrap();
    let file = out.path().join("corrections.jsonl");
    let path = file.to_str().unwrap();
    let target = out.path().join("labelled");
    let label = |text: &str| {
        fs::write(&file, text).unwrap();
        let target = target.to_str().unwrap();
        picsift([
            "label",
            EMBEDDED,
            "-o",
            target,
            "--categories",
            "fish",
            "--corrections",
            path,
        ])
    };
    for (text, part) in [
        (lines(&[("x.jpg", "fish", true)]), "none of the 1 images"),
        (lines(&[("dog_008.jpg", "cow", true)]), "no correction in"),
        (r#"{"key": "a", "category": "fish"}"#.to_string(), "no column 'is'"),
        (
            r#"{"key": "a", "category": "fish", "is": "yes"}"#.to_string(),
            "not true or false",
        ),
        (
            "{\"key\": \"a\", \"category\": \"fish\", \"is\": true}\n{\"key\": \"a\", \"category\": \"fish\"}\n".to_string(),
            "row 2 lacks",
        ),
    ] {
        let said = refused(&label(&text));
        assert!(said.contains(part), "{said}");
        assert!(!target.exists());
    }
}

/// A picture that cannot be read has what a person said of it, and its error.
#[test]
fn a_broken_image_can_be_corrected() {
    let out = tempdir().unwrap();
    let table = out.path().join("table.parquet");
    let images = arrow::array::BinaryArray::from_vec(vec![b"broken", b"broken too"]);
    write_table(&table, vec![("image", array(images))]);
    let digest = picsift_images::hex(&picsift_images::sha256(b"broken"));
    let file = out.path().join("corrections.jsonl");
    fs::write(&file, lines(&[(&format!("sha256:{digest}"), "fish", true)])).unwrap();
    let target = out.path().join("labelled");
    stdout(&picsift([
        "label",
        table.to_str().unwrap(),
        "-o",
        target.to_str().unwrap(),
        "--categories",
        "fish,building",
        "--corrections",
        file.to_str().unwrap(),
    ]));
    let table = read_table(&target);
    let fish = column::<BooleanArray>(&table, "is_fish");
    assert_eq!(fish.iter().collect::<Vec<_>>(), [Some(true), None]);
    let building = column::<BooleanArray>(&table, "is_building");
    assert_eq!(building.null_count(), 2);
    let texts = |name: &str| {
        let texts = column::<StringArray>(&table, name);
        texts
            .iter()
            .map(|text| text.map(str::to_string))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("label"), [Some("fish".to_string()), None]);
    assert_eq!(texts("label_source"), [Some("person".to_string()), None]);
    assert_eq!(
        texts("answers")[0].as_deref(),
        Some(r#"{"fish": true, "building": null}"#)
    );
    assert!(errors(&table)[0].is_some());
}

#[test]
fn a_person_wins_in_a_labeller_too_by_name_below_its_base_or_by_content() {
    use picsift::label::Labeler;
    use picsift::label::options::LabelOptions;
    use picsift::options::CategoryOptions;
    use picsift_udf::{Corrections, Engine, EngineOptions, ImageSource};

    let photos = root().join(REFERENCES).join("images");
    let base = photos.to_str().unwrap();
    let dog = photo("dog_008.jpg");
    let digest = picsift_images::hex(&picsift_images::sha256(&dog));
    let said = [
        ("fish27_149.jpg".to_owned(), false),
        (format!("sha256:{digest}"), true),
    ];
    let said = said.map(|(key, is)| (key, "fish".to_owned(), is));
    let engine = EngineOptions {
        corrections: Some(Corrections::new(said).into()),
        ..EngineOptions::default()
    };
    let options = LabelOptions {
        categories: CategoryOptions {
            names: vec!["fish".to_owned(), "dog".to_owned()],
            ..CategoryOptions::default()
        },
        ..LabelOptions::new(Vec::<String>::new(), "-")
    };
    let engine = Engine::new(engine).unwrap();
    let labeler = Labeler::new(engine.into(), options).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = |image: ImageSource| {
        let labels = runtime.block_on(labeler.image(image, Some(base)));
        let labels = labels.unwrap().unwrap();
        (labels.label, labels.answers.unwrap()["fish"].clone())
    };
    let path = |name: &str| ImageSource::Reference(format!("{base}/{name}"));
    assert_eq!(found(path("fish27_149.jpg")), (None, json!(false)));
    assert_eq!(
        found(ImageSource::Bytes(dog.into())),
        (Some("fish".to_owned()), json!(true))
    );
    assert_eq!(
        found(path("fish28_146.jpg")),
        (Some("fish".to_owned()), json!(true))
    );
}
