//! Files that somebody else wrote: none of what they say is served, nothing of theirs is run or removed.

use std::fs;
use std::path::{Path, PathBuf};

use picsift_vision::Answer;
use picsift_vision::store::Store;
use rusqlite::Connection;

use super::{ROOMY, Said, asked, content, open, options, truths};

const IMAGES: u64 = 50;

fn fill(folder: &Path) {
    let store = open(folder);
    for image in 0..IMAGES {
        store.put(&content(image), &asked(0..2), truths(image, 0..2), None);
    }
}

fn database(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|end| end == "db"))
        .unwrap()
}

/// How many images are known, all with their right answers.
fn known(store: &Store) -> usize {
    let known = (0..IMAGES).filter(|image| {
        let found = store.lookup(&content(*image), &asked(0..2));
        let whole = found.is_complete();
        assert!(!whole || found.answers == truths(*image, 0..2), "{found:?}");
        whole
    });
    known.count()
}

#[test]
fn a_row_that_was_written_by_hand_is_not_served() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path());
    let forged = Connection::open(database(home.path())).unwrap();
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = forged
        .prepare("SELECT image, asked, packed FROM answers")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (number, (image, set, packed)) in rows.iter().enumerate() {
        let mut packed = packed.clone();
        match number % 3 {
            // Another score.
            0 => packed[1..5].copy_from_slice(&0.987_f32.to_le_bytes()),
            // Another image's row, with its checksum.
            1 => packed = rows[(number + 1) % rows.len()].2.clone(),
            _ => continue,
        }
        let sql = "UPDATE answers SET packed = ?1 WHERE image = ?2 AND asked = ?3";
        forged.execute(sql, (packed, image, set)).unwrap();
    }
    drop(forged);
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), IMAGES as usize / 3);
    assert!(said.all()[0].contains("damaged row"), "{:?}", said.all());
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn a_file_of_another_store_is_not_served() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(theirs.path());
    drop(open(ours.path()));
    // In the place of ours, and beside it.
    fs::copy(database(theirs.path()), database(ours.path())).unwrap();
    let beside = ours
        .path()
        .join(database(theirs.path()).file_name().unwrap());
    fs::copy(database(theirs.path()), &beside).unwrap();
    let said = Said::default();
    let store = Store::open(options(ours.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 0);
    let said = said.all();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("older version or another key"), "{said:?}");
    assert!(said[1].contains("under another key"), "{said:?}");
    assert!(!beside.exists());
    // Theirs goes on without having noticed.
    assert_eq!(known(&open(theirs.path())), IMAGES as usize);
}

#[test]
fn other_tables_views_and_triggers_are_never_run() {
    let endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)";
    for sql in [
        format!(
            "DROP TABLE answers; CREATE VIEW answers AS {endless} SELECT CAST(n AS BLOB) image, 1 asked, x'00' packed FROM r;"
        ),
        format!(
            "CREATE TRIGGER t BEFORE INSERT ON answers BEGIN SELECT 1 FROM ({endless} SELECT n FROM r) WHERE n < 0; END;"
        ),
        "DROP TABLE answers; CREATE TABLE answers(image BLOB, asked INT, packed);".to_owned(),
        "CREATE TABLE more(n INT);".to_owned(),
        "CREATE INDEX i ON answers(length(packed));".to_owned(),
        "DELETE FROM seal;".to_owned(),
    ] {
        let home = tempfile::tempdir().unwrap();
        fill(home.path());
        let forged = Connection::open(database(home.path())).unwrap();
        forged.execute_batch(&sql).unwrap();
        drop(forged);
        let said = Said::default();
        let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
        assert_eq!(known(&store), 0, "{sql}");
        store.put(&content(1), &asked(0..2), truths(1, 0..2), None);
        store.flush();
        assert_eq!(known(&store), 1, "{sql}");
        assert!(store.is_keeping(), "{sql}");
        assert_eq!(said.all().len(), 1, "{sql}: {:?}", said.all());
    }
}

#[test]
fn a_name_that_was_forged_is_not_shown() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path());
    let forged = Connection::open(database(home.path())).unwrap();
    forged
        .execute("UPDATE questions SET model = char(27) || '[2J'", [])
        .unwrap();
    drop(forged);
    let info = open(home.path()).info().unwrap();
    assert_eq!(info.models.len(), 1);
    assert_eq!(info.models[0].model, "unknown");
    assert_eq!(info.answers, 2 * IMAGES);
}

/// What the version before keys left: asked again, said once, and gone.
#[test]
fn a_store_without_keys_is_begun_anew_and_said_once() {
    let home = tempfile::tempdir().unwrap();
    for number in [7, 8] {
        let path = home.path().join(format!("answers-{number:020}.db"));
        let old = Connection::open(path).unwrap();
        let tables = "CREATE TABLE answers (image BLOB, asked INTEGER, packed BLOB)";
        let all = format!(
            "PRAGMA journal_mode = WAL; {tables}; PRAGMA application_id = {}; PRAGMA user_version = 1;",
            0x7073_6674
        );
        old.execute_batch(&all).unwrap();
    }
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 0);
    store.put(&content(1), &asked(0..2), truths(1, 0..2), None);
    drop(store);
    let sentences = said.all();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(sentences[0].contains("asked again"), "{sentences:?}");
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 1);
    assert_eq!(said.all().len(), 1, "{:?}", said.all());
    assert!(!home.path().join("answers-00000000000000000007.db").exists());
}

/// A folder of somebody's work that is named by mistake.
#[test]
fn nothing_of_a_project_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let mine = [
        "new.db",
        "answers-00000000000000000007.db",
        "lock",
        "unfinished.db",
    ];
    for name in mine {
        fs::write(home.path().join(name), "mine").unwrap();
    }
    let other = home.path().join("answers-00000000000000000008.db");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE mine(n INT); PRAGMA application_id = 7;")
        .unwrap();
    let store = open(home.path());
    store.put(
        &content(1),
        &asked([1]),
        vec![Some(Answer::Score(0.5))],
        None,
    );
    store.flush();
    store.verify().unwrap();
    store.clear().unwrap();
    drop(store);
    for name in mine {
        assert_eq!(
            fs::read_to_string(home.path().join(name)).unwrap(),
            "mine",
            "{name}"
        );
    }
    assert!(other.exists());
}

#[test]
fn without_its_key_a_store_is_another() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path());
    let key = home.path().join("answers.key");
    let text = fs::read(&key).unwrap();
    // Cut short.
    fs::write(&key, &text[..30]).unwrap();
    let error = Store::open(options(home.path(), ROOMY, &Said::default())).unwrap_err();
    assert!(error.to_string().contains("take it away"), "{error}");
    fs::write(&key, &text).unwrap();
    assert_eq!(known(&open(home.path())), IMAGES as usize);
    fs::remove_file(&key).unwrap();
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 0);
    assert_eq!(said.all().len(), 1, "{:?}", said.all());
}
