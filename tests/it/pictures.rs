//! A folder of pictures where a table is wanted: `picsift label photos/`, `FROM 'photos/'`.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, StringArray};
use tempfile::tempdir;

use crate::support::*;

/// A folder with pictures of several formats, in folders too, and what lies beside pictures.
fn photos(inside: &Path) -> PathBuf {
    let folder = inside.join("photos");
    for (path, of) in [
        ("dog.JPG", "dog_008.jpg"),
        ("kind=wild/a b#1 100%.webp", "giraffe_000.webp"),
        ("sub/é hammer.jpeg", "hammer1_102.jpg"),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, photo(of)).unwrap();
    }
    for (path, text) in [
        ("broken.png", "no picture"),
        ("phone.heic", "of a phone"),
        ("notes.txt", "by hand"),
        (".hidden.jpg", "left by a program"),
        ("sub/.thumbs/dog.jpg", "left by a program"),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn sql(folder: &Path, query: &str) -> String {
    let cache = tempdir().unwrap();
    let mut command = command(["sql", "--format", "csv", "-c", query], cache.path());
    stdout(&command.current_dir(folder).output().unwrap())
}

#[test]
fn pictures_are_rows_with_their_paths_and_folders() {
    let inside = tempdir().unwrap();
    photos(inside.path());
    let rows = "SELECT * FROM 'photos/' ORDER BY file";
    assert_eq!(
        sql(inside.path(), rows),
        "file,image,kind\n\
         broken.png,broken.png,\n\
         dog.JPG,dog.JPG,\n\
         kind=wild/a b#1 100%.webp,kind=wild/a b#1 100%.webp,wild\n\
         sub/é hammer.jpeg,sub/é hammer.jpeg,\n"
    );
    let labels = "SELECT file, array_to_string(classify_labels(image, ['dog', 'giraffe', 'hammer']), '+') AS labels \
                  FROM 'photos/' ORDER BY file";
    assert_eq!(
        sql(inside.path(), labels),
        "file,labels\n\
         broken.png,\n\
         dog.JPG,dog\n\
         kind=wild/a b#1 100%.webp,giraffe\n\
         sub/é hammer.jpeg,hammer\n"
    );
    for (query, count) in [
        ("SELECT count(*) AS n FROM 'photos/' WHERE kind = 'wild'", 1),
        ("SELECT count(*) AS n FROM 'photos/sub/*.jpeg'", 1),
        ("SELECT count(*) AS n FROM 'photos/dog.JPG'", 1),
        (
            "SELECT count(*) AS n FROM 'photos/' a JOIN 'photos/' b USING (file)",
            4,
        ),
    ] {
        assert_eq!(
            sql(inside.path(), query),
            format!("n\n{count}\n"),
            "{query}"
        );
    }
}

#[test]
fn what_is_left_out_of_a_folder_is_said() {
    let inside = tempdir().unwrap();
    photos(inside.path());
    let cache = tempdir().unwrap();
    let mut command = command(
        ["sql", "-c", "SELECT count(*) FROM 'photos/'"],
        cache.path(),
    );
    let said = stderr(&command.current_dir(inside.path()).output().unwrap());
    assert!(
        said.contains("table of its 4 pictures") && said.contains("1 .heic"),
        "{said}"
    );
}

#[test]
fn nothing_is_written_among_pictures() {
    let inside = tempdir().unwrap();
    photos(inside.path());
    let cache = tempdir().unwrap();
    let query = "INSERT INTO 'photos/' SELECT file, image, kind FROM 'photos/'";
    let mut command = command(["sql", "-c", query], cache.path());
    let said = refused(&command.current_dir(inside.path()).output().unwrap());
    assert!(said.contains("folder of pictures"), "{said}");
}

#[test]
fn a_folder_of_no_pictures_says_so() {
    let inside = tempdir().unwrap();
    fs::create_dir(inside.path().join("docs")).unwrap();
    fs::write(inside.path().join("docs/notes.txt"), "by hand").unwrap();
    let docs = inside.path().join("docs");
    let out = inside.path().join("out");
    let [docs, out] = [docs, out].map(|path| path.to_str().unwrap().to_owned());
    let said = refused(&picsift([
        "label",
        &docs,
        "-o",
        &out,
        "--categories",
        "dog",
    ]));
    assert!(
        said.contains("holds no .parquet") && said.contains("no picture"),
        "{said}"
    );
}

#[test]
fn a_folder_is_labelled_and_taken_up_and_a_new_picture_is_noticed() {
    let inside = tempdir().unwrap();
    let photos = photos(inside.path());
    let out = inside.path().join("out");
    let cache = tempdir().unwrap();
    let label = |more: &[&str]| {
        let args = [
            "label",
            photos.to_str().unwrap(),
            "-o",
            out.to_str().unwrap(),
        ];
        let args = args
            .iter()
            .chain(&["--categories", "dog,hammer"])
            .chain(more);
        command(args, cache.path()).output().unwrap()
    };
    stdout(&label(&[]));
    let table = read_table(&out);
    let files: Vec<_> = column::<StringArray>(&table, "file")
        .iter()
        .flatten()
        .collect();
    assert_eq!(
        files,
        [
            "broken.png",
            "dog.JPG",
            "kind=wild/a b#1 100%.webp",
            "sub/é hammer.jpeg"
        ]
    );
    let of = |name: &str| -> Vec<_> { column::<BooleanArray>(&table, name).iter().collect() };
    assert_eq!(of("is_dog"), [None, Some(true), Some(false), Some(false)]);
    assert_eq!(
        of("is_hammer"),
        [None, Some(false), Some(false), Some(true)]
    );

    assert!(stdout(&label(&[])).contains("nothing to do"));
    fs::write(photos.join("another.jpg"), photo("dog_008.jpg")).unwrap();
    let said = refused(&label(&[]));
    assert!(
        said.contains("has changed since") && said.contains("photos"),
        "{said}"
    );
    // What is known of a picture is not asked again.
    let said = stdout(&label(&["--overwrite"]));
    assert!(
        said.contains("5 rows") && said.contains("4 images were not asked again"),
        "{said}"
    );
}

#[test]
fn a_labelled_folder_becomes_a_gallery() {
    let inside = tempdir().unwrap();
    photos(inside.path());
    let [photos, out, pages] = ["photos", "out", "pages"].map(|name| {
        let path = inside.path().join(name);
        path.to_str().unwrap().to_owned()
    });
    stdout(&picsift([
        "label",
        &photos,
        "-o",
        &out,
        "--categories",
        "dog",
    ]));
    stdout(&picsift(["gallery", &out, "--base", &photos, "-o", &pages]));
    assert!(Path::new(&pages).join("index.html").is_file());
}
