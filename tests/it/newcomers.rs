//! What people try who have not read anything: names of all kinds, files that are no tables, words that are no commands.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::{TempDir, tempdir};

use crate::support::*;

/// A folder of somebody's, with a picture in it.
fn home() -> TempDir {
    let home = tempdir().unwrap();
    fs::create_dir(home.path().join("photos")).unwrap();
    fs::write(home.path().join("photos/dog.jpg"), photo("dog_008.jpg")).unwrap();
    home
}

fn run(home: &Path, args: &[&str]) -> Output {
    let mut command = command(args, home);
    command.current_dir(home).output().unwrap()
}

#[test]
fn names_with_blanks_and_umlauts_work_from_the_folder_to_the_gallery() {
    let home = home();
    let home = home.path();
    fs::create_dir_all(home.join("Meine F\u{f6}tos/sch\u{f6}n")).unwrap();
    let picture = home.join("Meine F\u{f6}tos/sch\u{f6}n/Hund \u{e9}.JPG");
    fs::write(picture, photo("dog_008.jpg")).unwrap();
    let label = [
        "label",
        "Meine F\u{f6}tos",
        "-o",
        "aus g\u{e4}be",
        "--categories",
        "dog",
    ];
    let said = stdout(&run(home, &label));
    assert!(
        said.starts_with("1 row, 1 image (1 distinct), 0 failed"),
        "{said}"
    );
    let rows = stdout(&run(
        home,
        &["sql", "SELECT file, is_dog FROM 'aus g\u{e4}be'"],
    ));
    assert!(
        rows.contains("| sch\u{f6}n/Hund \u{e9}.JPG | true   |"),
        "{rows}"
    );
    // The command that is printed is one that can be copied.
    let said = stdout(&run(
        home,
        &["gallery", "aus g\u{e4}be", "-o", "die seiten"],
    ));
    assert!(
        said.contains("run picsift gallery -o 'die seiten' --serve"),
        "{said}"
    );
}

#[test]
fn what_is_no_table_is_said_with_what_to_do() {
    let home = home();
    let home = home.path();
    fs::create_dir(home.join("phone")).unwrap();
    for n in 0..3 {
        fs::write(home.join(format!("phone/{n}.HEIC")), "heic").unwrap();
    }
    fs::write(home.join("photos.zip"), "PK").unwrap();
    let label = |inputs: &[&str]| {
        let args = [&["label"], inputs, &["-o", "out", "--categories", "dog"]].concat();
        refused(&run(home, &args))
    };
    let said = label(&["phone"]);
    assert!(said.contains("3 .heic; save them as JPEG or PNG"), "{said}");
    let said = label(&["photos.zip"]);
    assert!(
        said.contains("photos.zip' is packed") && said.contains("unpacked"),
        "{said}"
    );
    let said = label(&["photos", "cat"]);
    assert_eq!(
        said,
        "picsift: there is no file or folder 'cat'; a category stands behind a comma: --categories dog,cat"
    );
    assert!(!label(&["fotos"]).contains("comma"));
    assert!(!home.join("out").exists());
}

#[test]
fn a_path_where_a_query_or_a_command_stands_is_understood_as_one() {
    let home = home();
    let said = refused(&run(home.path(), &["photos/"]));
    assert!(
        said.contains("picsift label photos/ --output DIR"),
        "{said}"
    );
    for query in ["photos/", "FROM photos/", "SELECT file FROM photos/*.jpg"] {
        let said = refused(&run(home.path(), &["sql", query]));
        assert!(
            said.contains("a path stands in quotes: FROM 'photos/"),
            "{said}"
        );
    }
}

#[test]
fn tables_of_other_systems_are_read() {
    let home = home();
    let home = home.path();
    // Line ends of Windows, a mark at the beginning, and a column that is called like a word of SQL.
    let table = "\u{feff}id,image,select\r\n1,photos/dog.jpg,a\r\n2,photos/dog.jpg,b\r\n";
    fs::write(home.join("t.csv"), table).unwrap();
    let label = ["label", "t.csv", "-o", "out", "--categories", "dog"];
    stdout(&run(
        home,
        &[&label[..], &["--where", "\"select\" = 'b'"]].concat(),
    ));
    let rows = stdout(&run(
        home,
        &[
            "sql",
            "--format",
            "csv",
            "SELECT id, \"select\", is_dog FROM 'out'",
        ],
    ));
    assert_eq!(rows, "id,select,is_dog\n2,b,true\n");
}
