//! Models, wordings, thresholds and cascades tried on the photographs, whose truth is known.

mod refused;

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::resume::signal;
use crate::support::*;

/// Runs `tune` over the photographs with embedded images.
fn run(cache: &Path, more: &[&str]) -> Output {
    let args = [&["tune", EMBEDDED, "--truth", "truth"][..], more].concat();
    command(args, cache).output().unwrap()
}

/// The report of a run that must succeed.
fn tuned(cache: &Path, more: &[&str]) -> Value {
    let said = stdout(&run(cache, &[more, &["--format", "json"]].concat()));
    serde_json::from_str(&said).unwrap()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// What `label` makes of the photographs with this categories file: its manifest, and the rows.
fn labelled(
    folder: &Path,
    cache: &Path,
    file: &Path,
    more: &[&str],
) -> (Value, arrow::array::RecordBatch) {
    let output = folder.join("labelled");
    let (out, file) = (output.to_str().unwrap(), file.to_str().unwrap());
    let args = [
        &[
            "label",
            EMBEDDED,
            "-o",
            out,
            "--overwrite",
            "--categories-file",
            file,
        ][..],
        more,
    ]
    .concat();
    stdout(&command(args, cache).output().unwrap());
    let text = std::fs::read_to_string(output.join("_picsift.json")).unwrap();
    (serde_json::from_str(&text).unwrap(), read_table(&output))
}

#[test]
fn the_best_wording_is_found_judged_by_other_rows_and_taken_by_label() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let cache = at("cache");
    let file = at("candidates.toml");
    std::fs::write(
        &file,
        "[category.building]\nnouns = [['palace', 'castle', 'tower', 'bridge']]\n[category.fish]\n",
    )
    .unwrap();
    let chosen = at("categories.toml");
    let models = ["--models", "efficientnet-lite0,pocket"];
    let first = tuned(
        &cache,
        &[&models[..], &["--categories", "building,fish"]].concat(),
    );
    assert_eq!(
        first["chosen_by"].as_u64().unwrap() + first["judged_by"].as_u64().unwrap(),
        221
    );
    assert!(first["chosen_by"].as_u64().unwrap().abs_diff(111) <= 2);
    assert_eq!(first["asked"], 2 * 221);

    // A wording more costs its own calls alone: nothing but it is asked of the images.
    let flags = [
        "--candidates",
        file.to_str().unwrap(),
        "-o",
        chosen.to_str().unwrap(),
    ];
    let second = tuned(&cache, &[&models[..], &flags].concat());
    assert_eq!(second["asked"], 2 * 221);
    let again = tuned(&cache, &[&models[..], &flags[..2]].concat());
    assert_eq!(
        (&again["asked"], &again["kept"]),
        (&Value::from(0), &Value::from(2 * 221))
    );
    assert_eq!(
        again["as_they_come"][0]["f1"],
        second["as_they_come"][0]["f1"]
    );

    // No plan of the frontier costs more than one that is better, by the rows that chose.
    let frontier = second["frontier"].as_array().unwrap();
    for pair in frontier.windows(2) {
        let of = |plan: &Value, key: &str| number(&plan[key]);
        assert!(of(&pair[0], "seconds_per_thousand") <= of(&pair[1], "seconds_per_thousand"));
        assert!(of(&pair[0], "f1_of_choosing") < of(&pair[1], "f1_of_choosing"));
    }
    let best = &frontier[second["chosen"].as_u64().unwrap() as usize];
    let f1 = |figure: &Value| number(&figure["value"]);
    assert!(
        number(&best["f1"]["low"]) <= f1(&best["f1"])
            && f1(&best["f1"]) <= number(&best["f1"]["high"])
    );
    assert!(
        number(&best["f1"]["low"]) < number(&best["f1"]["high"]),
        "{best}"
    );
    let building = &best["categories"][0];
    assert_eq!(building["wording"], "nouns palace, castle, tower, bridge");
    // By the other rows too; what one fish more or less among them does to the mean, CPUs differ by.
    for plain in second["as_they_come"].as_array().unwrap() {
        assert!(
            number(&best["f1_of_choosing"]) > number(&plain["f1_of_choosing"]),
            "{plain}"
        );
        let of_plain = &plain["categories"][0];
        assert!(f1(&building["f1"]) > f1(&of_plain["f1"]), "{plain}");
    }

    // What was written is what was chosen, models and all.
    let text = std::fs::read_to_string(&chosen).unwrap();
    assert!(text.starts_with("# Chosen by picsift tune"), "{text}");
    let (manifest, table) = labelled(folder.path(), &cache, &chosen, &[]);
    assert_eq!(manifest["model"]["name"], best["model"]);
    assert_eq!(manifest["counts"]["asked"], 0);
    let thresholds: Vec<_> = manifest["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["threshold"])
        .collect();
    assert_eq!(
        thresholds,
        [&building["threshold"], &best["categories"][1]["threshold"]]
    );
    assert_eq!(table.num_rows(), 221);
    let words = run(&cache, &[&models[..], &flags[..2]].concat());
    let said = stdout(&words);
    assert!(
        said.contains("nouns palace, castle") && said.contains("as they come"),
        "{said}"
    );
    assert!(
        stderr(&words).contains("models were shown 0 images for answers"),
        "{}",
        stderr(&words)
    );
}

#[test]
fn a_cascade_is_tried_and_label_takes_it_with_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (cache, heads, chosen) = (at("cache"), at("heads.safetensors"), at("categories.toml"));
    let teach = [
        "teach",
        EMBEDDED,
        "--truth",
        "truth",
        "--categories",
        "person",
        "--model",
        "efficientnet-lite0",
    ];
    let args = [&teach[..], &["-o", heads.to_str().unwrap()]].concat();
    stdout(&command(args, &cache).output().unwrap());
    let flags = [
        "--models",
        "efficientnet-lite0,coco-ssd",
        "--categories",
        "person",
        "--heads",
        heads.to_str().unwrap(),
    ];
    let report = tuned(&cache, &flags);
    // Each model as it comes and as it is best, and cascades at three promises: of what lite0 was taught coco-ssd is no cheap model.
    let own = report["as_they_come"].as_array().unwrap();
    let price = |model: &str| {
        number(&own.iter().find(|plan| plan["model"] == model).unwrap()["seconds_per_thousand"])
    };
    let cheaper = price("efficientnet-lite0") < price("coco-ssd");
    assert_eq!(report["tried"], if cheaper { 7 } else { 4 });
    let all = tuned(
        &cache,
        &[&flags[..], &["-o", chosen.to_str().unwrap()]].concat(),
    );
    let text = std::fs::read_to_string(&chosen).unwrap();
    let head = text.contains("head = \"heads.safetensors\"");
    let best = &all["frontier"][all["chosen"].as_u64().unwrap() as usize];
    assert_eq!(
        head,
        best["model"] == "efficientnet-lite0" || !best["cascade"].is_null(),
        "{text}"
    );

    // The file of a cascade, as tune writes it.
    std::fs::write(
        &chosen,
        "model = 'coco-ssd'\ncascade = 'efficientnet-lite0'\n[person]\nhead = 'heads.safetensors'\nthreshold = 0.35\nmin_recall = 0.7\nmin_precision = 0.7\n",
    )
    .unwrap();
    let (manifest, _) = labelled(folder.path(), &cache, &chosen, &[]);
    assert_eq!(manifest["model"]["name"], "coco-ssd");
    assert_eq!(manifest["cascade"]["cheap"]["name"], "efficientnet-lite0");
    // Who names another model means that one alone.
    let (manifest, _) = labelled(
        folder.path(),
        &cache,
        &chosen,
        &["--model", "efficientnet-lite0"],
    );
    assert_eq!(manifest["model"]["name"], "efficientnet-lite0");
    assert!(manifest["cascade"].is_null());
}

#[test]
fn a_budget_buys_what_it_can_and_what_was_paid_is_kept() {
    let cache = tempfile::tempdir().unwrap();
    let flags = [
        "--models",
        "efficientnet-lite0,coco-ssd",
        "--categories",
        "animal,building",
    ];
    // coco-ssd does not know buildings.
    let known = run(
        cache.path(),
        &[&flags[..], &["--max-images", "300"]].concat(),
    );
    assert!(
        stderr(&known).contains("coco-ssd left out"),
        "{}",
        stderr(&known)
    );
    let flags = [
        "--models",
        "efficientnet-lite0,pocket",
        "--categories",
        "fish",
        "--max-images",
    ];
    let cut = run(
        cache.path(),
        &[&flags[..], &["400", "--format", "json"]].concat(),
    );
    let said = stderr(&cut);
    assert!(
        said.contains("--max-images 400 ended after") && said.contains("of its 221 rows"),
        "{said}"
    );
    let report: Value = serde_json::from_str(&stdout(&cut)).unwrap();
    let paid = number(&report["asked"]) + number(&report["timed"]);
    assert_eq!(paid, 400.0);
    assert_eq!(report["as_they_come"].as_array().unwrap().len(), 1);
    // A larger one goes on from there.
    let report = tuned(cache.path(), &[&flags[..], &["1000"]].concat());
    assert_eq!(report["as_they_come"].as_array().unwrap().len(), 2);
    assert!(number(&report["asked"]) < 221.0, "{}", report["asked"]);
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_paid() {
    let cache = tempfile::tempdir().unwrap();
    let args = [
        "tune",
        EMBEDDED,
        "--truth",
        "truth",
        "--categories",
        "fish,building",
        "--models",
        "efficientnet-lite0,pocket",
    ];
    let mut child = command(args, cache.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As soon as an answer is kept.
    let kept = || {
        let said = stdout(&command(["cache", "info"], cache.path()).output().unwrap());
        said.contains("answers to")
    };
    while !kept() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("what models have answered is kept"),
        "{}",
        stderr(&output)
    );
    let report = tuned(cache.path(), &args[4..]);
    assert!(
        number(&report["kept"]) > 0.0 && number(&report["asked"]) < 442.0,
        "{report}"
    );
}
