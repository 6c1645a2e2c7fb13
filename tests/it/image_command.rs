//! `picsift image`: JSON for pictures without a table.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_file_gives_an_object_in_the_order_named() {
    let name = |file: &str| format!("{REFERENCES}/images/{file}");
    let (fish, dog) = (name("fish27_149.jpg"), name("dog_008.jpg"));
    let run = picsift(["image", &fish, &dog, "--categories", "fish,dog"]);
    let objects = lines(&stdout(&run));
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["file"], fish.as_str());
    assert_eq!(
        objects[0]["answers"],
        serde_json::json!({"fish": true, "dog": false})
    );
    assert_eq!(objects[0]["labels"], serde_json::json!(["fish"]));
    assert_eq!(objects[0]["label"], "fish");
    assert!(objects[0]["scores"]["fish"].as_f64().unwrap() > 0.5);
    assert_eq!(objects[0]["error"], Value::Null);
    assert_eq!(objects[1]["label"], "dog");
}

#[test]
fn a_folder_gives_its_images_and_their_errors() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/a.JPG"), photo("fish27_149.jpg")).unwrap();
    fs::write(folder.path().join("b.png"), "text").unwrap();
    fs::write(folder.path().join("readme.txt"), "not an image").unwrap();
    let run = picsift([
        "image",
        folder.path().to_str().unwrap(),
        "--categories",
        "fish",
    ]);
    let objects = lines(&stdout(&run));
    assert_eq!(objects.len(), 2);
    assert!(objects[0]["file"].as_str().unwrap().ends_with("/b.png"));
    assert!(
        objects[0]["error"]
            .as_str()
            .unwrap()
            .starts_with("decode: ")
    );
    let keys = |object: &Value| -> Vec<String> {
        let members = object.as_object().unwrap().keys();
        members.cloned().collect()
    };
    assert_eq!(keys(&objects[0]), keys(&objects[1]));
    assert_eq!(objects[0]["answers"], Value::Null);
    assert_eq!(objects[1]["label"], "fish");
}

#[test]
fn what_cannot_be_asked_is_said_first() {
    let fish = format!("{REFERENCES}/images/fish27_149.jpg");
    assert!(
        refused(&picsift(["image", "nowhere.jpg", "--categories", "fish"])).contains("nowhere.jpg")
    );
    assert!(refused(&picsift(["image", &fish])).contains("--categories"));
    assert!(refused(&picsift(["image", &fish, "--ask", "What is it?"])).contains("words"));
}

#[test]
fn limits_on_one_image_are_settings() {
    let fish = format!("{REFERENCES}/images/fish27_149.jpg");
    let error = |limit: &[&str]| {
        let mut args = vec!["image", fish.as_str(), "--categories", "fish"];
        args.extend(limit);
        let said = picsift(args);
        // One that could not be judged, of one.
        let failed = !limit.is_empty();
        assert_eq!(
            said.status.code(),
            Some(i32::from(failed)),
            "{}",
            stderr(&said)
        );
        let objects = lines(&String::from_utf8(said.stdout).unwrap());
        objects[0]["error"]
            .as_str()
            .map(str::to_string)
            .unwrap_or_default()
    };
    assert_eq!(error(&[]), "");
    let said = error(&["--max-image-pixels", "1000"]);
    assert!(
        said.starts_with("decode: ") && said.contains("pixels"),
        "{said}"
    );
    let said = error(&["--max-image-bytes", "1000"]);
    assert!(
        said.starts_with("fetch: ") && said.contains("bytes"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_a_file_like_any_other() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let photo = format!("{REFERENCES}/images/fish27_149.jpg");
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9 1#.jpg"));
    std::fs::copy(photo, &path).unwrap();
    let judged = |file: &OsStr| {
        let args = [
            OsStr::new("image"),
            file,
            OsStr::new("--categories"),
            OsStr::new("fish"),
        ];
        let said = picsift(args);
        assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
        lines(&String::from_utf8(said.stdout).unwrap()).remove(0)
    };
    let named = judged(path.as_os_str());
    assert_eq!(named["error"], serde_json::Value::Null);
    // What is printed names the file, also to picsift.
    let printed = named["file"].as_str().unwrap();
    assert!(
        printed.starts_with("file:///") && printed.contains("caf%E9"),
        "{printed}"
    );
    for file in [OsStr::new(printed), folder.path().as_os_str()] {
        assert_eq!(judged(file), named);
    }
}

#[test]
fn objects_go_on_to_the_gallery_and_to_eval() {
    let folder = tempdir().unwrap();
    for name in ["fish27_149.jpg", "dog_008.jpg"] {
        fs::write(folder.path().join(name), photo(name)).unwrap();
    }
    fs::write(folder.path().join("broken.png"), "text").unwrap();
    let cache = tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args, cache.path());
        stdout(&command.current_dir(folder.path()).output().unwrap())
    };
    let all = ["fish27_149.jpg", "dog_008.jpg", "broken.png"];
    let args = ["image", "--categories", "fish,dog"];
    let printed = run(&[&args[..], &all].concat());
    fs::write(folder.path().join("out.jsonl"), &printed).unwrap();
    let said = run(&["gallery", "out.jsonl", "-o", "pages"]);
    assert!(said.contains("3 rows of"), "{said}");
    assert!(said.contains("1 without a picture"), "{said}");
    assert!(folder.path().join("pages/thumbs/000/000000.jpg").exists());
    fs::write(
        folder.path().join("truth.csv"),
        "key,truth\nfish27_149.jpg,fish\ndog_008.jpg,fish\n",
    )
    .unwrap();
    let said = run(&[
        "eval",
        "out.jsonl",
        "--truth-file",
        "truth.csv",
        "--truth",
        "truth",
        "--format",
        "json",
    ]);
    let report: Value = serde_json::from_str(&said).unwrap();
    let categories = report["categories"].as_array().unwrap();
    let fish = categories.iter().find(|one| one["name"] == "fish");
    assert!(fish.is_some(), "{said}");
    let mut sample = command(["sample", "out.jsonl", "-o", "s.parquet"], cache.path());
    let said = refused(&sample.current_dir(folder.path()).output().unwrap());
    assert!(said.contains("picsift label"), "{said}");
}
