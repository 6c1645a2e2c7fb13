//! A relative reference is read from its table's folder or not at all: folders with other pictures of the same names, and references that
//! climb out of theirs.

use std::path::{Path, PathBuf};

use arrow::array::StringArray;
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// `tab`, `tab2` and `cwd`, each with a file `pics/1.txt` that holds the folder's name; the first two with a table `t.parquet` of `id` and
/// `file`. Beside them `secret.txt`.
struct Scene(TempDir);

impl Scene {
    fn new(references: &[&str]) -> Self {
        let scene = Self(tempdir().unwrap());
        std::fs::write(scene.path("secret.txt"), "secret").unwrap();
        for name in ["tab", "tab2", "cwd"] {
            let folder = scene.path(name);
            std::fs::create_dir_all(folder.join("pics")).unwrap();
            std::fs::write(folder.join("pics/1.txt"), name).unwrap();
            if name == "cwd" {
                continue;
            }
            let secret = scene.text("secret.txt");
            let files = references
                .iter()
                .map(|file| file.replace("SECRET", &secret));
            let ids: Vec<i64> = (1..=references.len() as i64).collect();
            write_table(
                &folder.join("t.parquet"),
                vec![
                    ("id", array(arrow::array::Int64Array::from(ids))),
                    ("file", array(StringArray::from_iter_values(files))),
                ],
            );
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs statements in the folder `cwd`; `$1`, `$2` and `ROOT` in them are the tables and the folder around them.
    fn sql(&self, statements: &[&str]) -> std::process::Output {
        let mut args = vec!["sql".to_string(), "--format".into(), "csv".into()];
        for statement in statements {
            let statement = statement
                .replace("$2", &format!("'{}'", self.text("tab2/t.parquet")))
                .replace("$1", &format!("'{}'", self.text("tab/t.parquet")))
                .replace("ROOT", &self.0.path().display().to_string());
            args.extend(["-c".to_string(), statement]);
        }
        let cache = tempdir().unwrap();
        let mut command = command(args, cache.path());
        command.current_dir(self.path("cwd")).output().unwrap()
    }

    /// The lines behind the header that the last query prints.
    fn lines(&self, statements: &[&str]) -> Vec<String> {
        let printed = stdout(&self.sql(statements));
        printed.lines().skip(1).map(str::to_string).collect()
    }
}

const READ: &str = "arrow_cast(load_image(file), 'Utf8') AS text";

#[test]
fn files_are_read_beside_their_table_however_the_query_is_put() {
    let scene = Scene::new(&["pics/1.txt"]);
    let union = "(SELECT * FROM $1 UNION ALL SELECT id + 1, file FROM $2)";
    let read = |from: &str| format!("SELECT {READ} FROM {from} ORDER BY id");
    let queries = [
        (read("$1"), vec!["tab"]),
        (read("(SELECT id, trim(file) AS file FROM $1)"), vec!["tab"]),
        (
            read("(SELECT id, coalesce(file, '') || '' AS file FROM $1)"),
            vec!["tab"],
        ),
        (read(union), vec!["tab", "tab2"]),
        (
            read(&format!(
                "(SELECT id, concat('./', file) AS file FROM {union} WHERE id > 0)"
            )),
            vec!["tab", "tab2"],
        ),
        (
            "SELECT arrow_cast(load_image('pics/1.txt'), 'Utf8') AS text".to_string(),
            vec!["cwd"],
        ),
        (
            "SELECT arrow_cast(load_image(file, '../tab2'), 'Utf8') AS text FROM $1".to_string(),
            vec!["tab2"],
        ),
    ];
    for (query, expected) in &queries {
        assert_eq!(&scene.lines(&[query]), expected, "{query}");
    }
    let create = "CREATE TABLE m AS SELECT * FROM $1";
    let query = format!("SELECT {READ} FROM m ORDER BY id");
    assert_eq!(scene.lines(&[create, &query]), ["tab"]);
    let view = format!("CREATE VIEW v AS SELECT * FROM {union}");
    let query = format!("SELECT {READ} FROM v ORDER BY id");
    assert_eq!(scene.lines(&[&view, &query]), ["tab", "tab2"]);
}

#[test]
fn a_reference_without_a_folder_stops_the_query_and_a_person_can_name_one() {
    let scene = Scene::new(&["pics/1.txt"]);
    let insert = "INSERT INTO m SELECT * FROM $2";
    let create = "CREATE TABLE m AS SELECT * FROM $1";
    let query = format!("SELECT {READ} FROM m");
    for on_error in ["null", "fail"] {
        let set = format!("SET picsift.on_error = '{on_error}'");
        let output = scene.sql(&[&set, create, insert, &query]);
        let said = stderr(&output);
        assert!(!output.status.success());
        assert!(
            said.contains(
                "the reference 'pics/1.txt' in file is relative, and the folder that it belongs to is not known; name it \
                 with SET picsift.base = 'FOLDER' or load_image(file, 'FOLDER')"
            ),
            "{said}"
        );
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    for base in ["ROOT/tab2", "../tab2", "file://ROOT/tab2/"] {
        let set = format!("SET picsift.base = '{base}'");
        let lines = scene.lines(&[create, insert, &set, &query]);
        // The count of inserted rows comes first.
        assert_eq!(&lines[lines.len() - 2..], ["tab2", "tab2"], "{base}");
        let taken_back = ["SET picsift.base = none", query.as_str()];
        let output = scene.sql(&[&[create, insert, &set][..], &taken_back].concat());
        assert!(stderr(&output).contains("is not known"));
    }
    let shown = stdout(&scene.sql(&["SET picsift.base = '../tab'", "SHOW picsift.base"]));
    assert!(
        shown.contains("/cwd/../tab") || shown.contains("/tab"),
        "{shown}"
    );
    for (base, expected) in [
        ("nowhere", "the folder 'nowhere' does not exist"),
        ("ROOT/tab/t.parquet", "is a file, not a folder"),
    ] {
        let said = stderr(&scene.sql(&[&format!("SET picsift.base = '{base}'")]));
        assert!(
            said.contains("picsift.base") && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn no_way_leads_out_of_the_folder() {
    let scene = Scene::new(&[
        "../secret.txt",
        "SECRET",
        "file://SECRET",
        "pics/../../secret.txt",
    ]);
    let both = "(SELECT * FROM $1 UNION ALL SELECT * FROM $2)";
    let create = "CREATE TABLE m AS SELECT * FROM $1";
    let mixed = "INSERT INTO m SELECT * FROM $2";
    let at = "SET picsift.base = 'ROOT/tab'";
    let from = |from: &str| format!("SELECT {READ}, file FROM {from}");
    let cases: [(Vec<&str>, String); 5] = [
        (vec![], from("$1")),
        (vec![], from(both)),
        (vec![], from("(SELECT trim(file) AS file FROM $1)")),
        (vec![create], from("m")),
        (vec![create, mixed, at], from("m")),
    ];
    for (before, query) in &cases {
        let all = [&before[..], &[query.as_str()]].concat();
        let printed = stdout(&scene.sql(&all));
        let lines: Vec<_> = printed
            .lines()
            .filter(|line| line.contains("secret.txt"))
            .collect();
        assert!(lines.len() >= 4, "{printed}");
        assert!(
            lines.iter().all(|line| line.starts_with(',')),
            "{query}: {printed}"
        );
        let strict = [&["SET picsift.on_error = 'fail'"], &all[..]].concat();
        let said = stderr(&scene.sql(&strict));
        assert!(
            said.contains("leads out of its table's folder"),
            "{query}: {said}"
        );
    }
    let typed = "SELECT arrow_cast(load_image(file, 'ROOT/tab'), 'Utf8') AS text, file FROM $2";
    let printed = stdout(&scene.sql(&[typed]));
    assert!(
        printed.lines().skip(1).all(|line| line.starts_with(',')),
        "{printed}"
    );
    // The folder around them may be read where a person names it.
    let typed = "SELECT arrow_cast(load_image(file, 'ROOT/tab/pics/../..'), 'Utf8') AS text FROM $2 WHERE file LIKE 'file:%'";
    assert_eq!(scene.lines(&[typed]), ["secret"]);
}

/// A folder with a table of the reference `pics/1.jpg` and that photograph.
fn pictured(folder: &Path, picture: &str) -> String {
    std::fs::create_dir_all(folder.join("pics")).unwrap();
    std::fs::write(folder.join("pics/1.jpg"), photo(picture)).unwrap();
    let files = array(StringArray::from(vec!["pics/1.jpg"]));
    write_table(&folder.join("t.parquet"), vec![("file", files)]);
    folder.join("t.parquet").display().to_string()
}

#[test]
fn a_jobs_predicate_asks_about_the_tables_own_pictures() {
    let scene = tempdir().unwrap();
    let fish = pictured(&scene.path().join("fish"), "fish17_143.jpg");
    let hammer = pictured(&scene.path().join("hammer"), "hammer8_122.jpg");
    let target = scene.path().join("out");
    let target = target.to_str().unwrap();
    let cache = tempdir().unwrap();
    let args = [
        "label",
        &fish,
        &hammer,
        "-o",
        target,
        "--categories",
        "fish",
        "--where",
        "classify(file, 'fish')",
    ];
    // Another picture of that name is in the current folder.
    let mut label = command(args, cache.path());
    stdout(
        &label
            .current_dir(scene.path().join("hammer"))
            .output()
            .unwrap(),
    );
    let table = read_table(Path::new(target));
    assert_eq!(table.num_rows(), 1);
    let fish = column::<arrow::array::BooleanArray>(&table, "is_fish");
    assert!(fish.value(0));
}

#[test]
fn what_was_labelled_in_two_folders_is_exported_from_neither_by_chance() {
    let scene = tempdir().unwrap();
    let fish = pictured(&scene.path().join("fish"), "fish17_143.jpg");
    let other = pictured(&scene.path().join("other"), "fish11_145.jpg");
    let target = scene.path().join("out").display().to_string();
    stdout(&picsift([
        "label",
        &fish,
        &other,
        "-o",
        &target,
        "--categories",
        "fish",
    ]));
    let exported = scene.path().join("exported").display().to_string();
    let cache = tempdir().unwrap();
    let args = [
        "export",
        &target,
        "-o",
        &exported,
        "--format",
        "imagefolder",
    ];
    let mut export = command(args, cache.path());
    let output = export
        .current_dir(scene.path().join("fish"))
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    assert!(
        said.contains("the folder of its table is not known; --base names it"),
        "{said}"
    );
}

#[test]
fn kept_answers_are_those_of_each_folder() {
    let scene = tempdir().unwrap();
    let fish = pictured(&scene.path().join("fish"), "fish17_143.jpg");
    let hammer = pictured(&scene.path().join("hammer"), "hammer8_122.jpg");
    let query = format!(
        "SELECT classify(file, 'fish') AS fish FROM (SELECT 1 AS n, file FROM '{fish}' UNION ALL SELECT 2, file FROM '{hammer}') ORDER BY n"
    );
    let cache = tempdir().unwrap();
    for run in 0..2 {
        let args = ["sql", "--format", "csv", "-c", query.as_str()];
        let printed = stdout(&command(args, cache.path()).output().unwrap());
        let lines: Vec<_> = printed.lines().skip(1).collect();
        assert_eq!(lines, ["true", "false"], "run {run}");
    }
}
