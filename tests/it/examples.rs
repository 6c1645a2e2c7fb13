//! The queries and jobs of sql/ run as they stand.

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use crate::support::*;

#[test]
fn every_query_of_the_sql_folder_runs() {
    let mut queries: Vec<_> = fs::read_dir(root().join("sql"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    queries.sort();
    assert!(queries.len() >= 5, "{queries:?}");
    let out = tempdir().unwrap();
    for query in queries {
        // Their output goes to out/ below the current folder: a copy of the data's place keeps the repository clean.
        let data = out.path().join("datasets");
        if !data.exists() {
            std::os::unix::fs::symlink(root().join("datasets"), &data).unwrap();
        }
        let run = Command::new(env!("CARGO_BIN_EXE_picsift"))
            .args(["sql", "--format", "csv", "-f", query.to_str().unwrap()])
            .current_dir(out.path())
            .output()
            .unwrap();
        let printed = stdout(&run);
        let name = query.file_stem().unwrap().to_str().unwrap();
        // The first things that people see show the product at its best.
        match name {
            "01_first_look" => assert_eq!(
                printed,
                "file,collection,label\n\
                 cat_010.webp,animals,cat\n\
                 dog_008.jpg,animals,dog\n\
                 horse_009.jpg,animals,horse\n\
                 chair_081.jpg,objects,chair\n\
                 hammer1_102.jpg,tools,hammer\n\
                 hammer2_101.jpg,tools,hammer\n"
            ),
            "05_broken_images" => {
                assert!(
                    printed.contains("missing.jpg") && printed.contains("photos.csv"),
                    "{printed}"
                );
                assert!(
                    printed.contains("does not exist") && printed.contains("is a text file"),
                    "{printed}"
                );
            }
            _ => {}
        }
        assert!(printed.lines().count() >= 2, "{name} printed {printed:?}");
    }
}

#[test]
fn the_job_with_a_categories_file_runs() {
    let out = tempdir().unwrap();
    let target = out.path().join("labelled");
    let run = picsift([
        "label",
        REFERENCES,
        "-o",
        target.to_str().unwrap(),
        "--categories-file",
        "sql/categories.toml",
        "--limit",
        "30",
    ]);
    assert!(stdout(&run).contains("30 rows"));
}
