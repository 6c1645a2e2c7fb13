//! A cascade in queries: calibrated once, used by name, and refused where it does not belong.

use super::*;

/// Runs statements and gives their rows as JSON.
fn query(cache: &Path, statements: &str) -> Vec<Value> {
    let args = ["sql", "--format", "json", "-c", statements];
    let said = stdout(&command(args, cache).output().unwrap());
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A cascade for 'person' over the copies, with its heads beside it.
fn calibrated(folder: &Path, cache: &Path) -> PathBuf {
    let photos = Photos::get();
    let (table, file) = (photos.table(), folder.join("cascade.toml"));
    let heads = folder.join("heads.safetensors");
    std::fs::copy(photos.heads(), &heads).unwrap();
    let mut args = vec![
        "calibrate",
        table.to_str().unwrap(),
        "-o",
        file.to_str().unwrap(),
    ];
    args.extend(photos.flags(heads.to_str().unwrap()));
    args.extend(["--categories", "person"]);
    let said = stdout(&command(args, cache).output().unwrap());
    assert!(
        said.contains("rows sampled") && said.contains("person: no below"),
        "{said}"
    );
    file
}

#[test]
fn a_query_asks_the_dear_model_only_where_the_cheap_one_is_unsure() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = calibrated(folder.path(), cache.path());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("heads = \"heads.safetensors\""), "{text}");
    let set = format!(
        "SET picsift.model = 'coco-ssd'; SET picsift.cascade = '{}';",
        file.display()
    );
    let table = photos.table().display().to_string();
    let rows = query(
        cache.path(),
        &format!(
            "{set} SELECT id, classify(image, 'person') AS is, classify_score(image, 'person') AS score FROM '{table}' ORDER BY id"
        ),
    );
    let truth = photos.truth();
    let right: &BooleanArray = column(&truth, "is_person");
    assert_eq!(rows.len(), truth.num_rows());
    let holds = |row: usize| rows[row]["is"].as_bool().unwrap();
    let all = 0..rows.len();
    let both = all
        .clone()
        .filter(|row| holds(*row) && right.value(*row))
        .count() as f64;
    let found = all.filter(|row| holds(*row)).count() as f64;
    assert!(both / right.true_count() as f64 >= 0.8 && both / found >= 0.8);

    // Both models are named, and what was asked and spared is counted.
    let plan = query(
        cache.path(),
        &format!("{set} EXPLAIN SELECT classify(image, 'person') FROM '{table}'"),
    );
    let plan = serde_json::to_string(&plan).unwrap();
    assert!(
        plan.contains("model=coco-ssd, cheap=efficientnet-lite0"),
        "{plan}"
    );
    let plain = query(
        cache.path(),
        &format!(
            "{set} SET picsift.cascade = 'none'; EXPLAIN SELECT classify(image, 'person') FROM '{table}'"
        ),
    );
    assert!(!serde_json::to_string(&plain).unwrap().contains("cheap="));
    let counted = query(
        cache.path(),
        &format!(
            "{set} EXPLAIN ANALYZE SELECT classify(image, 'person') FROM '{table}' WHERE id < 600"
        ),
    );
    let counted = serde_json::to_string(&counted).unwrap();
    let count = |name: &str| -> u64 {
        let (_, rest) = counted
            .split_once(&format!("{name}="))
            .unwrap_or_else(|| panic!("{counted}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    assert_eq!(
        count("spared") + count("unsure") + count("audited"),
        600,
        "{counted}"
    );
    assert!(count("spared") > 200, "{counted}");

    // A LIMIT still pays for tens of images, and a CASE for those that it needs.
    let limited = query(
        cache.path(),
        &format!(
            "{set} SELECT CASE WHEN id % 2 = 0 THEN classify(image, 'person') END AS is FROM '{table}' ORDER BY id LIMIT 4"
        ),
    );
    let is: Vec<_> = limited.iter().map(|row| row["is"].is_boolean()).collect();
    assert_eq!(is, [true, false, true, false]);
}

#[test]
fn a_cascade_of_other_models_or_questions_is_refused() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = calibrated(folder.path(), cache.path());
    let table = photos.table().display().to_string();
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        let path = folder.path().join(name);
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.display().to_string()
    };
    let revision = text
        .lines()
        .find(|line| line.starts_with("revision"))
        .unwrap();
    let question = text
        .lines()
        .find(|line| line.starts_with("cheap_question"))
        .unwrap();
    let good = file.display().to_string();
    for (path, before, said) in [
        (
            good.clone(),
            "SET picsift.model = 'pocket';",
            "spares the model 'coco-ssd', and 'pocket' is asked",
        ),
        (
            good.clone(),
            "SET picsift.threshold = 0.9;",
            "a threshold 0.3 of 'person', and here it is 0.9",
        ),
        (
            wrong("a.toml", revision, "revision = \"1\""),
            "",
            "calibrated with revision 1 of 'coco-ssd'",
        ),
        (
            wrong("b.toml", question, "cheap_question = \"00\""),
            "",
            "another question about 'person' to 'efficientnet-lite0'",
        ),
        (wrong("c.toml", "audit", "audlt"), "", "is no cascade"),
        (
            wrong("d.toml", "heads.safetensors", "none.safetensors"),
            "",
            "cannot read the heads",
        ),
        ("no/such.toml".to_string(), "", "cannot read the cascade"),
    ] {
        let statements = format!(
            "SET picsift.model = 'coco-ssd'; {before} SET picsift.cascade = '{path}'; \
             SELECT classify(image, 'person') FROM '{table}' LIMIT 1"
        );
        let args = ["sql", "-c", &statements];
        let output = command(args, cache.path()).output().unwrap();
        assert!(!output.status.success(), "{path}");
        assert!(
            stderr(&output).contains(said),
            "{path}: {}",
            stderr(&output)
        );
    }
    // Of a category that it is not about the model answers as ever.
    let statements = format!(
        "SET picsift.model = 'coco-ssd'; SET picsift.cascade = '{good}'; SELECT classify(image, 'bird') AS is FROM '{table}' LIMIT 1"
    );
    assert!(query(cache.path(), &statements)[0]["is"].is_boolean());
}
