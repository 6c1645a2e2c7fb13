//! What clients read: the places that were named, each tenant its own.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::tempdir;

use super::*;

#[test]
fn clients_read_what_was_named_and_nothing_else() {
    let folder = tempdir().unwrap();
    let (place, outside) = (folder.path().join("place"), folder.path().join("outside"));
    fs::create_dir_all(place.join("deep/er")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret.csv"), "word\nopensesame\n").unwrap();
    fs::write(outside.join("photo.jpg"), photo(&first_photo())).unwrap();
    fs::write(place.join("deep/er/t.csv"), "a\n1\n").unwrap();
    fs::write(place.join("own.jpg"), photo(&first_photo())).unwrap();
    let up = outside.join("photo.jpg");
    fs::write(
        place.join("refs.csv"),
        format!(
            "image\nown.jpg\n../outside/photo.jpg\n{}\nfile://{}\n",
            up.display(),
            up.display()
        ),
    )
    .unwrap();
    std::os::unix::fs::symlink(&outside, place.join("way")).unwrap();
    std::os::unix::fs::symlink(outside.join("photo.jpg"), place.join("link.jpg")).unwrap();
    let allowed = format!("demo={}", place.display());
    let serving = Serving::start(&["--allow-folder", &allowed]);
    assert_eq!(
        serving.rows("SELECT * FROM demo.\"deep/er/t.csv\""),
        [json!({"a": 1})]
    );
    assert_eq!(
        serving.rows("SELECT * FROM demo.\"deep/er\""),
        [json!({"a": 1})]
    );
    let refs = "SELECT image, classify(image, 'dog') IS NULL AS is_lost FROM demo.refs";
    let found = serving.rows(refs);
    let lost: Vec<bool> = found
        .iter()
        .map(|row| row["is_lost"].as_bool().unwrap())
        .collect();
    assert_eq!(lost, [false, true, true, true], "{found:?}");
    let secret = outside.join("secret.csv");
    let (secret, photo, outside) = (secret.display(), up.display(), outside.display());
    for hostile in [
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM \"{secret}\""),
        format!("SELECT * FROM 'file://{secret}'"),
        "SELECT * FROM '/etc/passwd'".to_string(),
        "SELECT * FROM 'http://127.0.0.1:1/x.csv'".to_string(),
        "SELECT * FROM 's3://bucket/x.parquet'".to_string(),
        "SELECT * FROM demo.\"../outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"deep/../../outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"%2e%2e/outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"way/secret.csv\"".to_string(),
        "SELECT * FROM demo.way".to_string(),
        format!("SELECT * FROM demo.\"{secret}\""),
        "SELECT * FROM demo.\"./../outside\"".to_string(),
        "SELECT * FROM demo.\"**/*.csv\"".to_string(),
        "SELECT * FROM demo.\"\"".to_string(),
        format!("COPY (SELECT 1) TO '{outside}/written.csv'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        format!("SELECT load_image('photo.jpg', '{outside}')"),
        format!("SET picsift.base = '{outside}'"),
        "SET picsift.model = '/etc'".to_string(),
        "EXPLAIN SELECT * FROM demo.refs".to_string(),
        "SELECT * FROM read_csv('/etc/passwd')".to_string(),
        "SELECT length(repeat('x', 2000000000))".to_string(),
        "SELECT array_repeat(1, 2000000000)".to_string(),
        "SELECT range(2000000000)".to_string(),
        "SELECT list_repeat(1, 2000000000)".to_string(),
    ] {
        let answer = serving.sql(&hostile);
        assert!(
            [400, 403].contains(&answer.status),
            "{hostile}: {} {}",
            answer.status,
            answer.body
        );
        assert!(
            !answer.body.contains("opensesame"),
            "{hostile}: {}",
            answer.body
        );
    }
    for lost in [
        format!("load_image('{photo}')"),
        format!("load_image('file://{photo}')"),
        "load_image('/etc/passwd')".to_string(),
        "load_image('Cargo.toml')".to_string(),
        "load_image('http://127.0.0.1:1/x.jpg')".to_string(),
        "load_image('http://169.254.169.254/latest')".to_string(),
        "load_image('s3://bucket/x.jpg')".to_string(),
        "load_image('hf://datasets/a/b/x.jpg')".to_string(),
    ] {
        let rows = serving.rows(&format!("SELECT {lost} IS NULL AS lost"));
        assert_eq!(rows, [json!({"lost": true})], "{lost}");
    }
    // Nobody is told where places are.
    let root = folder.path().display().to_string();
    for curious in [
        "SELECT * FROM demo.nothing",
        "SELECT * FROM demo.deep",
        "SELECT * FROM demo.\"way/secret.csv\"",
        "SHOW ALL",
        "SELECT * FROM information_schema.tables",
        "SHOW CREATE TABLE demo.refs",
        "SELECT try_classify(image, 'dog') FROM demo.refs",
    ] {
        let answer = serving.sql(curious);
        assert!(!answer.body.contains(&root), "{curious}: {}", answer.body);
    }
    assert!(!serving.folder.path().join("written.csv").exists());
}

fn first_photo() -> String {
    let folder = root().join(REFERENCES).join("images");
    let mut names: Vec<PathBuf> = walkdir::WalkDir::new(&folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .collect();
    names.sort();
    let name = names[0].strip_prefix(&folder).unwrap();
    name.to_str().unwrap().to_string()
}

#[test]
fn tenants_share_models_and_nothing_else() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let sales = token(&file, "sales", "bob");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("[sales]\nfolders = [\"photos\"]\n{text}")).unwrap();
    let serving = Serving::with(
        folder,
        true,
        &[
            "--allow-folder",
            "photos=datasets/photos",
            "--allow-folder",
            "more=datasets",
        ],
    );
    let query = json!({"sql": "SELECT count(*) FILTER (WHERE classify(image, 'dog')) AS n FROM photos.embedded"});
    let asked = || serving.metric("picsift_images_asked_total");
    let run = |token: &str| {
        let answer = serving.json(token, "/v1/sql", &query);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let first = run(&serving.token);
    let once = asked();
    assert!(once > 100.0);
    assert_eq!(run(&serving.token), first);
    assert_eq!(asked(), once, "a tenant's own answers are known");
    assert!(serving.metric("picsift_cache_hits_total") >= once);
    assert_eq!(run(&sales), first);
    assert_eq!(asked(), 2.0 * once, "another's are not");
    // A tenant reads its own places.
    let other = json!({"sql": "SELECT count(*) AS n FROM more.\"photos/embedded\""});
    assert_eq!(serving.json(&serving.token, "/v1/sql", &other).status, 200);
    let answer = serving.json(&sales, "/v1/sql", &other);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let crossing = json!({"sql": "SELECT load_image('datasets/README.md') IS NULL AS lost"});
    assert!(
        serving
            .json(&sales, "/v1/sql", &crossing)
            .body
            .contains("true")
    );
}

#[test]
fn a_bucket_is_read_with_its_own_keys_below_its_place() {
    let folder = tempdir().unwrap();
    crate::s3::references(folder.path(), 8);
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::copy(
        folder.path().join("in/5.jpg"),
        folder.path().join("other/5.jpg"),
    )
    .unwrap();
    fs::write(folder.path().join("other/t.csv"), "a\n1\n").unwrap();
    let Some(bucket) = crate::s3::Server::start(folder.path()) else {
        return;
    };
    let keys = folder.path().join("web.env");
    fs::write(&keys, bucket.variables()).unwrap();
    let keys = format!("web={}", keys.display());
    let serving = Serving::start(&[
        "--allow-bucket",
        "web=s3://bucket/in",
        "--bucket-keys",
        &keys,
    ]);
    let tables =
        serving.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'web'");
    assert_eq!(tables, [json!({"table_name": "t"})]);
    let rows = serving.rows(
        "SELECT id, classify(image, 'dog') IS NULL AS is_lost FROM web.t WHERE id >= 3 ORDER BY id",
    );
    let lost: Vec<bool> = rows
        .iter()
        .map(|row| row["is_lost"].as_bool().unwrap())
        .collect();
    assert_eq!(
        lost,
        [true, false, false, false, false],
        "{}",
        serving.log()
    );
    for (image, is_lost) in [
        ("in/5.jpg", false),
        ("other/5.jpg", true),
        ("in/../other/5.jpg", true),
    ] {
        let query = format!("SELECT load_image('s3://bucket/{image}') IS NULL AS is_lost");
        assert_eq!(
            serving.rows(&query),
            [json!({"is_lost": is_lost})],
            "{image}\n{}",
            serving.log()
        );
    }
    for hostile in [
        "web.\"../other/t.csv\"",
        "web.\"s3://bucket/other/t.csv\"",
        "'s3://bucket/other/t.csv'",
    ] {
        let answer = serving.sql(&format!("SELECT * FROM {hostile}"));
        assert_eq!(answer.status, 400, "{hostile} {}", answer.body);
    }
}
