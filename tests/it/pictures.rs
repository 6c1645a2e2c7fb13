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
        said.contains("a picture came to") && said.contains("photos"),
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

#[test]
fn a_labelled_folder_finds_its_pictures_again_for_who_labelled_it_and_for_nobody_else() {
    let inside = tempdir().unwrap();
    photos(inside.path());
    let (mine, other) = (tempdir().unwrap(), tempdir().unwrap());
    let run = |user: &Path, args: &[&str]| {
        let mut command = command(args, user);
        command.current_dir(inside.path()).output().unwrap()
    };
    let label = ["label", "photos", "-o", "made/out", "--categories", "dog"];
    fs::create_dir(inside.path().join("made")).unwrap();
    stdout(&run(mine.path(), &label));
    let query = "SELECT count(*) AS n FROM 'made/out' WHERE image_info(image)['width'] > 0";
    let sql = ["sql", "--format", "csv", query];
    assert_eq!(stdout(&run(mine.path(), &sql)), "n\n3\n");
    stdout(&run(mine.path(), &["gallery", "made/out", "-o", "pages"]));
    let thumbs = inside.path().join("pages/thumbs/000");
    assert_eq!(fs::read_dir(thumbs).unwrap().count(), 3);
    // And those of a sample that is drawn of it.
    fs::create_dir(inside.path().join("drawn")).unwrap();
    stdout(&run(
        mine.path(),
        &["sample", "made/out", "-o", "drawn/s.parquet"],
    ));
    stdout(&run(
        mine.path(),
        &["gallery", "drawn/s.parquet", "-o", "drawn/pages"],
    ));
    assert!(
        inside
            .path()
            .join("drawn/pages/thumbs/000/000000.jpg")
            .exists()
    );
    let again = ["label", "made/out", "-o", "again", "--categories", "hammer"];
    stdout(&run(mine.path(), &again));
    let again = read_table(&inside.path().join("again"));
    let hammers = column::<BooleanArray>(&again, "is_hammer").true_count();
    assert_eq!(hammers, 1);

    let elsewhere = ["gallery", "made/out", "-o", "theirs"];
    let said = refused(&run(other.path(), &elsewhere));
    assert!(said.contains("--base"), "{said}");
    // A table that somebody else puts there is not the one that was labelled.
    let manifest = inside.path().join("made/out/_picsift.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["job"]["id"] = "0".repeat(32).into();
    fs::write(&manifest, value.to_string()).unwrap();
    let said = refused(&run(mine.path(), &elsewhere));
    assert!(said.contains("--base"), "{said}");
}

#[test]
fn metadata_beside_pictures_is_joined_by_their_names() {
    let inside = tempdir().unwrap();
    let folder = photos(inside.path());
    fs::write(
        folder.join("metadata.csv"),
        "file_name,caption,stars\ndog.JPG,a dog,5\nsub/é hammer.jpeg,a tool,\ngone.jpg,nothing,1\n",
    )
    .unwrap();
    let cache = tempdir().unwrap();
    let mut command = command(
        [
            "sql",
            "--format",
            "csv",
            "SELECT file, caption, stars + 1 AS more FROM 'photos/' ORDER BY file",
        ],
        cache.path(),
    );
    let output = command.current_dir(inside.path()).output().unwrap();
    assert_eq!(
        stdout(&output),
        "file,caption,more\n\
         broken.png,,\n\
         dog.JPG,a dog,6\n\
         kind=wild/a b#1 100%.webp,,\n\
         sub/é hammer.jpeg,a tool,\n"
    );
    let said = stderr(&output);
    assert!(
        said.contains("no row for 2 of them")
            && said.contains("1 rows of its metadata name no picture"),
        "{said}"
    );
    // Metadata of folders names pictures from there.
    fs::remove_file(folder.join("metadata.csv")).unwrap();
    fs::write(
        folder.join("sub/metadata.jsonl"),
        "{\"file_name\": \"é hammer.jpeg\", \"tags\": [\"tool\", \"steel\"]}\n",
    )
    .unwrap();
    let tags = "SELECT tags[2] AS tag FROM 'photos/' WHERE tags IS NOT NULL";
    assert_eq!(sql(inside.path(), tags), "tag\nsteel\n");
    // What names no pictures is a table as before.
    fs::write(folder.join("sub/metadata.jsonl"), "{\"id\": 7}\n").unwrap();
    assert_eq!(sql(inside.path(), "FROM 'photos/'"), "id\n7\n");
}

#[test]
fn pictures_may_stand_in_the_output_themselves() {
    let inside = tempdir().unwrap();
    let photos = photos(inside.path());
    let out = inside.path().join("out");
    let [photos, out] = [photos, out].map(|path| path.to_str().unwrap().to_owned());
    let label = ["label", &photos, "-o", &out, "--categories", "dog"];
    let drop = ["--embed", "--image-column", "drop"];
    let said = refused(&picsift(label.iter().chain(&drop).copied()));
    assert!(said.contains("--embed"), "{said}");
    stdout(&picsift(label.iter().chain(&["--embed"]).copied()));
    let table = read_table(Path::new(&out));
    let image = column::<arrow::array::StructArray>(&table, "image");
    let bytes: Vec<Option<Vec<u8>>> = image
        .column_by_name("bytes")
        .and_then(|bytes| bytes.as_any().downcast_ref::<arrow::array::BinaryArray>())
        .unwrap()
        .iter()
        .map(|bytes| bytes.map(<[u8]>::to_vec))
        .collect();
    assert_eq!(bytes[1].as_deref(), Some(&photo("dog_008.jpg")[..]));
    assert_eq!(bytes[0].as_deref(), Some(&b"no picture"[..]));
    let features = &table.schema_ref().metadata()["huggingface"];
    assert!(
        features.contains("\"image\":{\"_type\":\"Image\"}"),
        "{features}"
    );
    // The folder is not needed any more.
    fs::remove_dir_all(&photos).unwrap();
    let pages = inside.path().join("pages");
    let pages = pages.to_str().unwrap();
    let said = stdout(&picsift(["gallery", &out, "-o", pages]));
    assert!(said.contains("1 without a picture"), "{said}");
    // Another command, and by name what differs.
    let said = refused(&picsift(label));
    assert!(
        said.contains("no file or folder") || said.contains("pictures in the output"),
        "{said}"
    );
}

#[test]
fn new_pictures_alone_are_labelled() {
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
        let args = args.iter().chain(&["--categories", "dog"]).chain(more);
        command(args, cache.path()).output().unwrap()
    };
    stdout(&label(&[]));
    fs::write(photos.join("a new dog.jpg"), photo("dog_008.jpg")).unwrap();
    fs::write(photos.join("zebra.webp"), photo("giraffe_000.webp")).unwrap();
    let said = refused(&label(&[]));
    assert!(
        said.contains("2 pictures came to") && said.contains("--incremental"),
        "{said}"
    );
    stdout(&label(&["--incremental"]));
    let files = || {
        let table = read_table(&out);
        let files = column::<StringArray>(&table, "file").iter();
        let files: Vec<String> = files.flatten().map(str::to_owned).collect();
        let dogs = column::<BooleanArray>(&table, "is_dog").true_count();
        (files, dogs)
    };
    let (found, dogs) = files();
    assert_eq!(found.len(), 6);
    assert_eq!(found[4..], ["a new dog.jpg", "zebra.webp"]);
    assert_eq!(dogs, 2);
    for more in [&[][..], &["--incremental"]] {
        let said = stdout(&label(more));
        assert!(said.contains("nothing to do"), "{said}");
    }
    fs::write(photos.join("third.jpg"), photo("dog_008.jpg")).unwrap();
    stdout(&label(&["--incremental"]));
    assert_eq!(files().0.len(), 7);
    let said = refused(&label(&["--retry-failed"]));
    assert!(said.contains("--overwrite"), "{said}");
    fs::remove_file(photos.join("zebra.webp")).unwrap();
    let said = refused(&label(&["--incremental"]));
    assert!(
        said.contains("zebra.webp") && said.contains("any more"),
        "{said}"
    );
}

#[test]
fn what_is_taken_of_a_mixed_folder_is_said() {
    let inside = tempdir().unwrap();
    let folder = photos(inside.path());
    fs::write(folder.join("prices.csv"), "id,price\n1,2\n").unwrap();
    let cache = tempdir().unwrap();
    let run = |query: &str| {
        let mut command = command(["sql", "--format", "csv", "-c", query], cache.path());
        command.current_dir(inside.path()).output().unwrap()
    };
    let taken = run("SELECT id FROM 'photos/'");
    assert_eq!(stdout(&taken), "id\n1\n");
    let said = stderr(&taken);
    assert!(
        said.contains("read as CSV") && said.contains("photos/*."),
        "{said}"
    );
    // A table whose pictures lie in a folder of their own is what it looks like.
    let references = root().join(REFERENCES);
    let quiet = run(&format!(
        "SELECT count(*) FROM '{}'",
        references.to_str().unwrap()
    ));
    assert!(!stderr(&quiet).contains("beside it"), "{}", stderr(&quiet));
}
