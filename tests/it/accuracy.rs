//! How good the embedded models' labels are on the photographs of the repository, by the labels that people gave them.
//!
//! Nothing here is fitted to them: every label with three photographs or more is asked for by its plain noun, and the
//! default threshold decides. `cargo test --release --test it accuracy -- --nocapture` prints the tables.

use arrow::array::{Array, AsArray, BooleanArray, Float32Array, ListArray};
use picsift_vision::{Category, LoadOptions, load};
use tempfile::tempdir;

use crate::support::*;

/// Labels that mean another thing to the people who gave them than to WordNet; printed but not counted. `monument` is given
/// to sights (statues, city walls, ruins, a canyon), none of which is among the few memorials that the model has classes for.
const NOT_COUNTED: [&str; 1] = ["monument"];

/// Area under the ROC curve: how often a photograph with the label scores above one without; ties count half.
fn auc(scores: &[f32], truth: &[bool]) -> f64 {
    let mut wins = 0.0;
    let mut pairs = 0.0;
    for (score, _) in scores.iter().zip(truth).filter(|(_, t)| **t) {
        for (other, _) in scores.iter().zip(truth).filter(|(_, t)| !**t) {
            pairs += 1.0;
            wins += if score > other {
                1.0
            } else if score == other {
                0.5
            } else {
                0.0
            };
        }
    }
    wins / pairs
}

/// Mean of the share of right answers among photographs with the label and among those without.
fn balanced_accuracy(is: &[bool], truth: &[bool]) -> f64 {
    let share = |wanted: bool| {
        let of = truth.iter().filter(|t| **t == wanted).count() as f64;
        is.iter()
            .zip(truth)
            .filter(|(i, t)| **t == wanted && **i == wanted)
            .count() as f64
            / of
    };
    (share(true) + share(false)) / 2.0
}

/// The noun that a label of the table means.
fn noun(label: &str) -> String {
    match label {
        "measuringTape" => "measuring tape".to_string(),
        "screwDriver" => "screwdriver".to_string(),
        other => other.to_string(),
    }
}

#[test]
fn labels_are_good_at_the_default_threshold() {
    let means = judged("pocket", &["person", "scissors", "animal", "building"]);
    assert!(means.0 >= 0.985 && means.1 >= 0.93, "{means:?}");
}

#[test]
fn so_are_those_of_the_classifier_alone() {
    let means = judged("efficientnet-lite0", &["animal", "building"]);
    assert!(means.0 >= 0.97 && means.1 >= 0.93, "{means:?}");
}

/// Prints the figures of a model, of all labels that it knows, these among them; gives the means of AUC and balanced accuracy.
fn judged(name: &str, among: &[&str]) -> (f64, f64) {
    let table = read_table(&root().join(EMBEDDED));
    let lists = column::<ListArray>(&table, "truth");
    let truth: Vec<Vec<String>> = (0..lists.len())
        .map(|row| {
            let list = lists.value(row);
            list.as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_string)
                .collect()
        })
        .collect();
    let mut labels: Vec<String> = truth.iter().flatten().cloned().collect();
    labels.sort();
    labels.dedup();
    let model = load(name, &LoadOptions::default(), &()).unwrap();
    let known = |label: &String| {
        let enough = truth.iter().filter(|row| row.contains(label)).count() >= 3;
        enough
            && model
                .questions
                .category(&Category::named(noun(label)))
                .is_ok()
    };
    labels.retain(known);

    let out = tempdir().unwrap();
    let target = out.path().join("labelled");
    let nouns: Vec<_> = labels.iter().map(|label| noun(label)).collect();
    stdout(&picsift([
        "label",
        EMBEDDED,
        "-o",
        target.to_str().unwrap(),
        "--no-cache",
        "--model",
        name,
        "--categories",
        &nouns.join(","),
    ]));
    let output = read_table(&target);

    let (mut aucs, mut accuracies) = (Vec::new(), Vec::new());
    // In one piece: two tests may print at once.
    let mut printed = format!(
        "{name}\n{:16} {:>6} {:>7} {:>9}\n",
        "label", "photos", "AUC", "balanced"
    );
    for (label, noun) in labels.iter().zip(&nouns) {
        let column_name = noun.replace(' ', "_");
        let scores = column::<Float32Array>(&output, &format!("score_{column_name}"));
        let is: Vec<bool> = column::<BooleanArray>(&output, &format!("is_{column_name}"))
            .iter()
            .map(Option::unwrap)
            .collect();
        let wanted: Vec<bool> = truth.iter().map(|row| row.contains(label)).collect();
        let (area, accuracy) = (
            auc(scores.values(), &wanted),
            balanced_accuracy(&is, &wanted),
        );
        let counted = !NOT_COUNTED.contains(&label.as_str());
        let note = if counted { "" } else { "  not counted" };
        let photographs = wanted.iter().filter(|t| **t).count();
        printed += &format!("{label:16} {photographs:6} {area:7.3} {accuracy:9.3}{note}\n");
        if counted {
            aucs.push(area);
            accuracies.push(accuracy);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means = (mean(&aucs), mean(&accuracies));
    println!(
        "{printed}{:16} {:6} {:7.3} {:9.3}",
        "mean", "", means.0, means.1
    );
    for label in among {
        assert!(labels.iter().any(|known| known == label), "{label}");
    }
    assert!(labels.len() >= 8, "{labels:?}");
    means
}

/// For each photograph the five that are nearest to it: how many show something that it shows.
#[test]
fn what_is_near_shows_the_same() {
    let query = format!(
        "WITH e AS (SELECT file, truth, embed(image) AS e FROM '{EMBEDDED}'), \
         near AS (SELECT a.truth, b.truth AS other, \
                  row_number() OVER (PARTITION BY a.file ORDER BY similarity(a.e, b.e) DESC, b.file) AS place \
                  FROM e a JOIN e b ON a.file <> b.file WHERE cardinality(a.truth) > 0) \
         SELECT avg(CASE WHEN array_has_any(truth, other) THEN 1.0 ELSE 0.0 END) AS precision FROM near WHERE place <= 5"
    );
    let run = picsift([
        "sql",
        "--model",
        "efficientnet-lite0",
        "--format",
        "json",
        "-c",
        &query,
    ]);
    let row: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
    let precision = row["precision"].as_f64().unwrap();
    println!("precision at 5: {precision:.3}");
    assert!(precision >= 0.7, "precision at 5: {precision}");
}
