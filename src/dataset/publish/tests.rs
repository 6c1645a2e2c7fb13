//! Publishing that is broken off, and places that are odd.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;

fn publication(how: How, files: &[&str], removed: &[&str]) -> Publication {
    let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    Publication {
        how,
        manifest: manifest(files).into(),
        files: owned(files),
        removed: owned(removed),
        failures: None,
    }
}

fn manifest(files: &[&str]) -> String {
    let files: Vec<_> = files
        .iter()
        .map(|path| serde_json::json!({"path": path}))
        .collect();
    serde_json::json!({"files": files}).to_string()
}

fn stage(output: &Output, name: &str) {
    let path = output.finished(false).folder().unwrap().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, name).unwrap();
}

#[tokio::test]
async fn a_new_output_appears_whole_and_replaces_the_former_one() {
    let root = tempfile::tempdir().unwrap();
    let output = Output::local(&root.path().join("out")).unwrap();
    stage(&output, "a=1/part");
    assert!(output.target.list().await.unwrap().is_empty());
    let first = publication(How::Whole, &["a=1/part"], &[]);
    output.publish(first).await.unwrap();
    assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "a=1/part"]);
    stage(&output, "b");
    output
        .publish(publication(How::Whole, &["b"], &[]))
        .await
        .unwrap();
    assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "b"]);
    output.clear_work().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// Killed behind the two renames: the former content stands in the work.
#[tokio::test]
async fn a_replacing_that_was_broken_off_loses_nobodys_files() {
    let root = tempfile::tempdir().unwrap();
    let output = Output::local(&root.path().join("out")).unwrap();
    stage(&output, "b");
    let new = publication(How::Whole, &["b"], &[]);
    output.publish(new).await.unwrap();
    let old = root.path().join(".out.picsift/old");
    std::fs::create_dir_all(&old).unwrap();
    for (name, text) in [
        (MANIFEST, manifest(&["a"])),
        ("a", "a".into()),
        ("notes", "mine".into()),
    ] {
        std::fs::write(old.join(name), text).unwrap();
    }
    output.clear_work().await.unwrap();
    assert_eq!(
        output.target.list().await.unwrap(),
        [MANIFEST, "b", "notes"]
    );
}

#[tokio::test]
async fn what_is_added_stands_beside_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let output = Output::local(&root.path().join("out")).unwrap();
    stage(&output, "a");
    output
        .publish(publication(How::Whole, &["a"], &[]))
        .await
        .unwrap();
    stage(&output, "b");
    for _ in 0..2 {
        // The second time stands for a run after a crash.
        let added = publication(How::Beside, &["b"], &["a"]);
        output.publish(added).await.unwrap();
        assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "b"]);
    }
}

#[tokio::test]
async fn an_object_store_has_a_manifest_only_while_the_folder_is_whole() {
    let output = Output::remote(RemotePrefix {
        store: Arc::new(InMemory::new()),
        path: "out".into(),
        shown: "s3://b/out".to_string(),
    })
    .unwrap();
    let wait = async |name: &str, first: bool| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, name).unwrap();
        output.finished(first).take(&file, name).await.unwrap();
    };
    wait("a", true).await;
    let first = publication(How::Whole, &["a"], &[]);
    output.publish(first).await.unwrap();
    assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "a"]);
    wait("b", false).await;
    let seen = output.target.list().await.unwrap();
    assert_eq!(seen, [MANIFEST, "_picsift_work/data/b.waiting", "a"]);
    // Killed while files are put in place.
    let former = output.manifest().await.unwrap().unwrap();
    output
        .target
        .replace(PUBLISHING, former.clone())
        .await
        .unwrap();
    output.target.remove(MANIFEST).await.unwrap();
    assert_eq!(output.manifest().await.unwrap().unwrap(), former);
    let second = publication(How::Whole, &["b"], &["a"]);
    output.publish(second).await.unwrap();
    assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "b"]);
}

#[tokio::test]
async fn what_others_wrote_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("out");
    let output = Output::local(&path).unwrap();
    output.check().await.unwrap();
    std::fs::create_dir(&path).unwrap();
    output.check().await.unwrap();
    std::fs::write(path.join("thesis.txt"), "").unwrap();
    let refused = output.check().await.unwrap_err().to_string();
    assert!(refused.contains("did not write it"), "{refused}");
    std::fs::write(path.join(MANIFEST), "{}").unwrap();
    output.check().await.unwrap();
}

#[tokio::test]
async fn a_bucket_is_no_folder() {
    let folder = |path: &str| RemotePrefix {
        store: Arc::new(InMemory::new()),
        path: path.into(),
        shown: format!("s3://b/{path}"),
    };
    assert!(Output::remote(folder("")).is_err());
    let output = Output::remote(folder("x/out")).unwrap();
    assert_eq!(output.failures_shown(), "s3://b/x/out/_picsift_errors.pq");
}

fn first(files: Vec<Gathered>) -> FirstPublication {
    let paths: Vec<&str> = files
        .iter()
        .flat_map(|files| files.paths.iter().map(String::as_str))
        .collect();
    FirstPublication {
        manifest: manifest(&paths).into(),
        files,
        failures: None,
    }
}

/// Two tries with a file each, as programs have left them.
async fn gathered(output: &Output) -> Vec<Gathered> {
    let mut all = Vec::new();
    for (attempt, path) in [
        ("0a", "a=1/part-00000-0a.parquet"),
        ("0b", "part-00001-0b.parquet"),
    ] {
        let from = Finished::of_attempt(output.work.below(attempt));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, path).unwrap();
        from.take(&file, path).await.unwrap();
        let paths = vec![path.to_string()];
        all.push(Gathered { from, paths });
    }
    all
}

#[tokio::test]
async fn what_several_have_made_is_published_once_whoever_comes_second() {
    let root = tempfile::tempdir().unwrap();
    let mounted = root.path().join("disk");
    std::fs::create_dir(&mounted).unwrap();
    let remote = RemotePrefix {
        store: Arc::new(InMemory::new()),
        path: "out".into(),
        shown: "s3://b/out".to_string(),
    };
    for output in [
        Output::local(&root.path().join("out")).unwrap(),
        Output {
            work: OutputStore::Local(mounted.join(WORK_INSIDE)),
            target: OutputStore::Local(mounted.clone()),
        },
        Output::remote(remote).unwrap(),
    ] {
        let files = gathered(&output).await;
        let readable = async || {
            let names = output.target.list().await.unwrap().into_iter();
            names
                .filter(|name| name.ends_with(".parquet") && !name.starts_with(WORK_INSIDE))
                .count()
        };
        assert_eq!(readable().await, 0, "nothing before");
        output.publish_first(first(files.clone())).await.unwrap();
        // One that had begun to publish the same, and one that is late with other words.
        output.publish_first(first(files)).await.unwrap();
        let there = output.manifest().await.unwrap().unwrap();
        assert_eq!(listed_files(&there).unwrap().len(), 2);
        assert_eq!(readable().await, 2, "{output:?}");
        let read = output.target.read("part-00001-0b.parquet").await.unwrap();
        assert_eq!(read.unwrap(), "part-00001-0b.parquet");
    }
}

#[tokio::test]
async fn a_lost_file_and_a_place_that_is_taken_publish_nothing() {
    let root = tempfile::tempdir().unwrap();
    let output = Output::local(&root.path().join("out")).unwrap();
    let mut files = gathered(&output).await;
    files[0].paths.push("part-00002-0a.parquet".to_string());
    let said = output
        .publish_first(first(files.clone()))
        .await
        .unwrap_err();
    assert!(
        said.to_string()
            .contains("'part-00002-0a.parquet' is recorded"),
        "{said}"
    );
    assert!(output.target.list().await.unwrap().is_empty());
    files[0].paths.pop();
    output.target.replace("notes", "mine").await.unwrap();
    output
        .publish_first(first(files.clone()))
        .await
        .unwrap_err();
    assert_eq!(output.target.list().await.unwrap(), ["notes"]);
    output.target.remove("notes").await.unwrap();
    output.publish_first(first(files)).await.unwrap();
    assert_eq!(output.target.list().await.unwrap().len(), 3);
}
