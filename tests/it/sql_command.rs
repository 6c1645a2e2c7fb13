//! `picsift sql`: statements in, results out.

use std::io::Write;
use std::process::{Command, Stdio};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

const FISH: &str = "SELECT file, classify(image, 'fish') AS is_fish FROM 'datasets/photos/references/' WHERE file LIKE 'fish2%' ORDER BY file LIMIT 3";

#[test]
fn each_format_has_the_same_rows() {
    let run = |format: &str| picsift(["sql", "-c", FISH, "--format", format]);
    let table = stdout(&run("table"));
    assert!(
        table.contains("| file ") && table.contains("| is_fish |") && table.contains("| true "),
        "{table}"
    );
    let csv = stdout(&run("csv"));
    let rows: Vec<_> = csv.lines().collect();
    assert_eq!((rows[0], rows.len()), ("file,is_fish", 4));
    let json = stdout(&run("json"));
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(rows[1].starts_with(first["file"].as_str().unwrap()));
    let parquet = run("parquet");
    assert!(parquet.status.success(), "{}", stderr(&parquet));
    let bytes = bytes::Bytes::from(parquet.stdout);
    let read = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        read.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
        3
    );
}

#[test]
fn images_are_shown_by_their_size() {
    let table = stdout(&picsift([
        "sql",
        "-c",
        "SELECT image FROM 'datasets/photos/embedded/photos.parquet' LIMIT 1",
    ]));
    assert!(table.contains("KiB>") && table.len() < 1000, "{table}");
}

#[test]
fn copy_writes_a_partitioned_folder() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let copy = format!(
        "COPY (SELECT file, classify_label(image, ['fish', 'bird']) AS label FROM 'datasets/photos/embedded/' WHERE truth[1] = 'animal') \
         TO '{}/' STORED AS PARQUET PARTITIONED BY (label)",
        out.display()
    );
    let printed = stdout(&picsift(["sql", "-c", &copy, "--format", "csv"]));
    assert!(printed.starts_with("count\n"), "{printed}");
    assert!(out.join("label=fish").is_dir() && out.join("label=bird").is_dir());
}

#[test]
fn statements_come_from_a_file_and_from_standard_input() {
    let folder = tempdir().unwrap();
    let script = "#!/usr/bin/env -S picsift sql -f\n-- a view over a path\nCREATE VIEW p AS SELECT * FROM 'datasets/photos/references/';\nSELECT count(*) AS n FROM p;\n";
    let path = folder.path().join("q.sql");
    std::fs::write(&path, script).unwrap();
    let from_file = stdout(&picsift([
        "sql",
        "-f",
        path.to_str().unwrap(),
        "--format",
        "csv",
    ]));
    assert_eq!(from_file, "n\n221\n");

    let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args(["sql", "--format", "csv"])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), from_file);
}

#[test]
fn settings_change_what_follows() {
    let script = "SET picsift.threshold = 0.999999; \
        SELECT count(*) AS n FROM 'datasets/photos/references/' WHERE collection = 'animals' AND classify(image, 'animal'); \
        SET picsift.threshold = 0; \
        SELECT count(*) AS n FROM 'datasets/photos/references/' WHERE collection = 'animals' AND classify(image, 'animal');";
    let printed = stdout(&picsift(["sql", "-c", script, "--format", "csv"]));
    let counts: Vec<_> = printed.lines().filter(|line| *line != "n").collect();
    assert_eq!(counts[1], "57");
    assert!(counts[0].parse::<i64>().unwrap() < 57, "{printed}");
}

#[test]
fn a_failed_image_is_null_or_stops_the_query() {
    let query = "SELECT classify(ref, 'dog') AS d, try_classify(ref, 'dog')['error'] AS e FROM (VALUES ('nowhere.jpg')) AS t(ref)";
    let printed = stdout(&picsift(["sql", "-c", query, "--format", "json"]));
    let row: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(row["d"], Value::Null);
    assert!(row["e"].as_str().unwrap().starts_with("fetch: "), "{row}");

    let stopped = picsift([
        "sql",
        "-c",
        &format!("SET picsift.on_error = 'fail'; {query}"),
    ]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(stderr(&stopped).contains("fetch: "), "{}", stderr(&stopped));
    let never = "SET picsift.on_error = 'fail'; SELECT try_classify('nowhere.jpg', 'dog')['value'] IS NULL AS n";
    assert_eq!(
        stdout(&picsift(["sql", "-c", never, "--format", "csv"])),
        "n\ntrue\n"
    );
}

#[test]
fn functions_are_documented_in_sql() {
    let printed = stdout(&picsift([
        "sql",
        "-c",
        "SHOW FUNCTIONS LIKE 'classify%'",
        "--format",
        "json",
    ]));
    for name in [
        "classify",
        "classify_json",
        "classify_label",
        "classify_labels",
        "classify_score",
    ] {
        assert!(
            printed.contains(&format!("\"function_name\":\"{name}\"")),
            "{name} in {printed}"
        );
    }
    let first: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert!(
        first["description"].as_str().unwrap().contains("image"),
        "{first}"
    );
}

#[test]
fn a_slip_at_the_end_of_a_script_shows_before_anything_runs() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("x.csv");
    let script = format!("COPY (SELECT 1) TO '{}'; SELEC 2;", out.display());
    let said = refused(&picsift(["sql", "-c", &script]));
    assert!(said.contains("SELEC"), "{said}");
    assert!(!out.exists());
}

#[test]
fn from_alone_selects_all_columns_wherever_it_stands() {
    let run = |script: &str| stdout(&picsift(["sql", "--format", "csv", script]));
    let values = "(VALUES (1, 'a'), (2, 'b')) AS t(n, x)";
    let all = "n,x\n1,a\n2,b\n";
    assert_eq!(run(&format!("FROM {values}")), all);
    assert_eq!(run(&format!("SELECT * FROM (FROM {values})")), all);
    assert_eq!(run(&format!("WITH w AS (FROM {values}) FROM w")), all);
    assert_eq!(run(&format!("FROM {values} LIMIT 1")), "n,x\n1,a\n");
    assert_eq!(run(&format!("FROM {values} EXCEPT FROM {values}")), "n,x\n");
    assert_eq!(run(&format!("FROM {values} SELECT x LIMIT 1")), "x\na\n");
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.csv");
    run(&format!("COPY (FROM {values}) TO '{}'", path.display()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), all);
}

#[test]
fn what_a_statement_gives_back_is_printed_whatever_kind_it_is() {
    let run = |script: &str| stdout(&picsift(["sql", "--format", "csv", "-c", script]));
    assert_eq!(run("PREPARE q AS SELECT 1 AS x; EXECUTE q"), "x\n1\n");
    assert_eq!(
        run("PREPARE q(INT) AS SELECT $1 + 1 AS x; EXECUTE q(2); DEALLOCATE q"),
        "x\n3\n"
    );
    assert_eq!(
        run("CREATE TABLE t AS SELECT 1 AS x; SET picsift.threshold = 0.5; DROP TABLE t"),
        ""
    );
    assert_eq!(
        run("CREATE TABLE t AS SELECT 1 AS x; SELECT x FROM t WHERE x > 1"),
        "x\n"
    );
    assert!(run("SHOW picsift.threshold").contains("picsift.threshold"));
    assert!(run("CREATE TABLE t AS SELECT 1 AS x; DESCRIBE t").contains("x,Int64"));
    assert!(run("EXPLAIN SELECT 1").contains("plan"));
    let asked = "PREPARE q AS SELECT file, classify(image, 'fish') AS f FROM 'datasets/photos/references/' \
                 WHERE file = 'fish27_149.jpg'; EXECUTE q";
    assert_eq!(run(asked), "file,f\nfish27_149.jpg,true\n");
}

#[test]
fn columns_of_one_name_are_told_apart_where_names_are_all_there_is() {
    let query = "SELECT a.id, b.id FROM (VALUES (1)) AS a(id) CROSS JOIN (VALUES (2)) AS b(id)";
    let run = |format: &str| picsift(["sql", "--format", format, "-c", query]);
    assert_eq!(stdout(&run("json")), "{\"id\":1,\"id_1\":2}\n");
    assert_eq!(stdout(&run("csv")), "id,id\n1,2\n");
    let parquet = bytes::Bytes::from(run("parquet").stdout);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    let names: Vec<_> = reader
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["id", "id_1"]);
}

#[test]
fn images_that_are_lost_are_said_after_each_statement() {
    let bad = "SELECT classify(p, 'dog') AS d FROM (VALUES ('nowhere.jpg'), ('gone.jpg'), ('Cargo.toml'), \
               ('datasets/photos/references/images/dog_008.jpg'), (NULL)) AS t(p)";
    let good = "SELECT classify('datasets/photos/references/images/dog_008.jpg', 'dog') AS d";
    let script = format!("{good}; {bad}; {good}");
    let run = picsift(["sql", "--no-cache", "--format", "json", "-c", &script]);
    for line in stdout(&run).lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let said = stderr(&run);
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(
        warnings[0].starts_with(
            "warning: 3 of 4 images could not be read or judged; most frequent: fetch: "
        ),
        "{said}"
    );
    assert!(
        warnings[0].contains("nowhere.jpg") || warnings[0].contains("gone.jpg"),
        "{said}"
    );
}

#[test]
fn settings_go_back_to_what_the_session_began_with() {
    let settings = "SELECT name, value FROM information_schema.df_settings WHERE name IN \
                    ('picsift.threshold', 'picsift.crops', 'picsift.max_images') ORDER BY name";
    let run = |script: &str| {
        let script = format!("{script}; {settings}");
        stdout(&picsift([
            "sql", "--crops", "global", "--format", "csv", "-c", &script,
        ]))
    };
    let began = "name,value\npicsift.crops,global\npicsift.max_images,\npicsift.threshold,\n";
    let set =
        "SET picsift.threshold = 0.5; SET picsift.crops = 'reference'; SET picsift.max_images = 3";
    assert_ne!(run(set), began);
    let reset = "RESET picsift.threshold; RESET picsift.crops; RESET picsift.max_images";
    assert_eq!(run(&format!("{set}; {reset}")), began);
    let nothing = "SET picsift.threshold = NULL; SET picsift.crops = DEFAULT; SET picsift.max_images = 'none'";
    assert_eq!(run(&format!("{set}; {nothing}")), began);
    let said = refused(&picsift(["sql", "-c", "RESET picsift.treshold"]));
    assert!(
        said.contains("there is no setting picsift.treshold"),
        "{said}"
    );
}

#[test]
fn a_model_that_there_is_not_is_refused_when_it_is_set() {
    for (name, part) in [
        ("nope", "efficientnet-lite0"),
        ("./no/such/folder", "no folder"),
        ("owner/name", "owner/name@COMMIT"),
    ] {
        let said = refused(&picsift([
            "sql",
            "-c",
            &format!("SET picsift.model = '{name}'"),
        ]));
        assert!(said.contains(name) && said.contains(part), "{said}");
    }
    stdout(&picsift([
        "sql",
        "-c",
        "SET picsift.model = 'owner/name@main'",
    ]));
}

#[test]
fn a_person_sees_the_beginning_of_a_long_vector_and_a_program_all_of_it() {
    let query = format!("SELECT embed(image) AS e, [1.5, NULL] AS few FROM '{EMBEDDED}' LIMIT 1");
    let run = |format: &str| {
        let run = picsift([
            "sql",
            "--model",
            "efficientnet-lite0",
            "--format",
            format,
            "-c",
            &query,
        ]);
        stdout(&run)
    };
    let table = run("table");
    assert!(table.contains("... 1280 numbers]"), "{table}");
    assert!(table.contains("[1.5, NULL]"), "{table}");
    assert!(table.lines().all(|line| line.len() < 120), "{table}");
    let row: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    assert_eq!(row["e"].as_array().unwrap().len(), 1280);
}

#[test]
fn what_people_type_elsewhere_is_understood_here() {
    let folder = tempfile::tempdir().unwrap();
    let run = |query: &str| {
        let mut command = command(["sql", "--format", "csv", "-c", query], folder.path());
        command.current_dir(folder.path()).output().unwrap()
    };
    let copy = "COPY (SELECT 'a' AS k, 1 AS n UNION ALL SELECT 'b', 2) TO 'out/' (FORMAT parquet, PARTITION_BY (k)";
    stdout(&run(&format!("{copy})")));
    assert!(folder.path().join("out/k=a").is_dir());
    let sum = |expected: &str| {
        let found = stdout(&run("SELECT sum(n) AS s FROM read_parquet('out/')"));
        assert_eq!(found, format!("s\n{expected}\n"));
    };
    sum("3");
    let said = refused(&run(&format!("{copy})")));
    assert!(
        said.contains("has files already") && said.contains("overwrite true"),
        "{said}"
    );
    stdout(&run(&format!("{copy}, APPEND)")));
    sum("6");
    std::fs::write(folder.path().join("out/notes.txt"), "by hand").unwrap();
    // One that fails takes nothing away.
    let fails = "COPY (SELECT k, n / 0 AS n FROM 'out/') TO 'out/' (FORMAT parquet, PARTITION_BY (k), OVERWRITE)";
    assert!(!run(fails).status.success());
    let left = stdout(&run("SELECT count(*) >= 4 AS all_there FROM 'out/'"));
    assert_eq!(left, "all_there\ntrue\n");
    stdout(&run(&format!("{copy}, OVERWRITE)")));
    sum("3");
    assert!(folder.path().join("out/notes.txt").is_file());
    let described = stdout(&run("DESCRIBE read_parquet('out/')"));
    assert!(described.contains("n,Int64"), "{described}");
    assert_eq!(
        stdout(&run("SUMMARIZE 'out/'")),
        "column_name,column_type,count,nulls,distinct,min,max,mean\n\
         n,Int64,2,0,2,1,2,1.5\n\
         k,Utf8,2,0,2,a,b,\n"
    );
    let bytes = "SUMMARIZE SELECT image FROM 'PHOTOS'"
        .replace("PHOTOS", root().join(EMBEDDED).to_str().unwrap());
    let found = stdout(&run(&bytes));
    assert!(found.contains(",221,0,,,,"), "{found}");
    // A labelled table is written by labelling alone.
    std::fs::write(folder.path().join("out/_picsift.json"), "{\"files\": []}").unwrap();
    let said = refused(&run(&format!("{copy}, APPEND)")));
    assert!(said.contains("labelled table"), "{said}");
}

#[test]
fn what_was_taught_answers_queries_too() {
    let query =
        "SELECT count(*) AS n FROM 'datasets/photos/embedded' WHERE classify(image, 'windmill')";
    let heads = ["--heads", "datasets/photos/heads.safetensors"];
    let args = ["sql", "--format", "csv", "-c", query];
    let found = stdout(&picsift(args.iter().chain(&heads)));
    let count: u32 = found.trim_start_matches("n\n").trim().parse().unwrap();
    assert!(count > 0, "{found}");
}
