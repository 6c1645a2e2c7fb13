//! `picsift label` with the model `shapes` in its other forms: quantised, and with one view of an image.

use arrow::array::BooleanArray;
use tempfile::tempdir;

use super::pictures::*;
use super::table::labelled;
use crate::support::*;

#[test]
fn other_forms_of_the_model_answer_alike() {
    let folder = tempdir().unwrap();
    let categories = ["circle", "star", "red shape", "blue square"];
    let run = |name: &str, flags: &[&str]| {
        let list = categories.join(",");
        let mut all = vec!["--categories", list.as_str()];
        all.extend(flags);
        let (table, manifest) = labelled(folder.path(), name, &all);
        let answers: Vec<bool> = categories
            .iter()
            .flat_map(|category| {
                let name = format!("is_{}", category.replace(' ', "_"));
                let answers = column::<BooleanArray>(&table, &name).clone();
                (0..pictures().len()).map(move |row| answers.value(row))
            })
            .collect();
        let model = manifest["model"].clone();
        (answers, model["dtype"].clone(), model["crops"].clone())
    };
    let (plain, dtype, crops) = run("f32", &[]);
    assert_eq!((dtype, crops), ("f32".into(), "reference".into()));
    // Each with the answers of a hundred that must be f32's; of the coarser two only that they still see.
    for (name, flags, expected, least) in [
        ("q8_0", ["--quantize", "q8_0"], ["q8_0", "reference"], 95),
        ("q4k", ["--quantize", "q4k"], ["q4k", "reference"], 75),
        ("global", ["--crops", "global"], ["f32", "global"], 75),
    ] {
        let (answers, dtype, crops) = run(name, &flags);
        assert_eq!([dtype, crops], expected.map(serde_json::Value::from));
        let same = plain.iter().zip(&answers).filter(|(a, b)| a == b).count();
        println!("{name}: {same} of {} answers as with f32", plain.len());
        assert!(
            same * 100 >= plain.len() * least,
            "{name}: {same} of {}",
            plain.len()
        );
    }
}
