//! What people are used to from other programs: a manual page, a file of settings, errors in one form, a look at the machine.

use std::fs;

use tempfile::tempdir;

use crate::support::*;

#[test]
fn settings_of_a_file_hold_until_a_flag_says_otherwise() {
    let inside = tempdir().unwrap();
    let folder = inside.path();
    fs::write(folder.join("pets.toml"), "[dog]\n").unwrap();
    fs::write(
        folder.join("picsift.toml"),
        "model = 'efficientnet-lite0'\ncategories_file = 'pets.toml'\n",
    )
    .unwrap();
    fs::create_dir(folder.join("picsift")).unwrap();
    fs::write(
        folder.join("picsift/picsift.toml"),
        "model = 'pocket'\ncache = '../kept'\n",
    )
    .unwrap();
    fs::write(folder.join("a.jpg"), photo("dog_008.jpg")).unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args, folder);
        command
            .current_dir(folder)
            .env_remove("PICSIFT_CACHE")
            .output()
            .unwrap()
    };
    let said = stdout(&run(&["config"]));
    for line in [
        "model            efficientnet-lite0",
        "categories_file  pets.toml",
        "device           auto",
    ] {
        assert!(said.contains(line), "no {line} in {said}");
    }
    let from = said.lines().next().unwrap();
    assert!(from.ends_with("  picsift.toml"), "{said}");
    let run_here = run(&["label", "a.jpg", "-o", "out"]);
    stdout(&run_here);
    assert!(stderr(&run_here).contains("picsift.toml in this folder"));
    let manifest = fs::read_to_string(folder.join("out/_picsift.json")).unwrap();
    assert!(manifest.contains("efficientnet-lite0"), "{manifest}");
    assert!(folder.join("kept").is_dir());
    let args = ["label", "a.jpg", "-o", "named", "--model", "pocket"];
    stdout(&run(&[&args[..], &["--categories", "cat"]].concat()));
    let table = read_table(&folder.join("named"));
    assert!(table.column_by_name("is_cat").is_some());
    assert!(table.column_by_name("is_dog").is_none());

    fs::write(folder.join("picsift.toml"), "modle = 'pocket'\n").unwrap();
    let said = refused(&run(&["label", "a.jpg", "-o", "wrong"]));
    assert!(said.contains("picsift.toml: line 1"), "{said}");
    // What reads no settings is not kept by a wrong one.
    assert!(stdout(&run(&["--version"])).starts_with("picsift "));
}

#[test]
fn mistakes_in_flags_are_said_as_all_others_are() {
    for (args, said) in [
        (
            &["label", "t", "-o", "o", "--categoris", "dog"][..],
            "picsift: unexpected argument '--categoris' found; a similar argument exists: '--categories'; picsift label --help says \
             what there is",
        ),
        (
            &["sample", "t", "-o", "s", "--per-category", "5"],
            "picsift: invalid value '5' for '--per-category <ROWS>': it must be a whole number, at least 20; picsift sample --help \
             says what there is",
        ),
        (
            &["cache", "info", "--cache-size", "1"],
            "picsift: invalid value '1' for '--cache-size <BYTES>': it must be a whole number, at least 16777216; picsift cache \
             info --help says what there is",
        ),
    ] {
        assert_eq!(refused(&picsift(args)), said);
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let page = stdout(&picsift(["man"]));
    assert!(
        page.starts_with(".ie") && page.contains(".TH picsift 1"),
        "{page}"
    );
    let label = stdout(&picsift(["man", "label"]));
    assert!(
        label.contains("partition") && label.contains("KEPT ANSWERS"),
        "{label}"
    );
    let folder = tempdir().unwrap();
    let place = folder.path().join("man1");
    stdout(&picsift(["man", "--output", place.to_str().unwrap()]));
    for name in ["picsift.1", "picsift-label.1", "picsift-cache-info.1"] {
        assert!(place.join(name).is_file(), "{name}");
    }
    let said = refused(&picsift(["man", "nothing"]));
    assert!(said.contains("no command 'nothing'"), "{said}");
}

#[test]
fn a_short_help_has_what_people_need_first_and_a_long_one_all() {
    let [short, long] = ["-h", "--help"].map(|flag| stdout(&picsift(["label", flag])));
    for flag in ["--categories", "--output", "--model", "--where"] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    for flag in [
        "--host-rate",
        "--lease",
        "--max-image-memory",
        "--log-format",
    ] {
        assert!(!short.contains(flag), "{flag} in {short}");
        assert!(long.contains(flag), "{flag}");
    }
    assert!(short.lines().count() <= 60, "{short}");
    for heading in ["What is asked:", "Which rows:", "Output:", "Model:"] {
        assert!(long.contains(heading), "{heading} in {long}");
    }
    // No sign of a colour where none is wanted.
    let cache = tempdir().unwrap();
    let mut plain = command(["label", "--nothing"], cache.path());
    let plain = plain
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "0")
        .output()
        .unwrap();
    assert!(!stderr(&plain).contains('\u{1b}'));
}

#[test]
fn a_look_at_the_machine_says_what_to_do() {
    let cache = tempdir().unwrap();
    let run = |place: &std::path::Path| {
        let mut command = command(["doctor"], cache.path());
        command
            .env("PICSIFT_CACHE", place)
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap()
    };
    let well = stdout(&run(cache.path()));
    for name in ["CPU", "GPU", "cache", "models", "hub", "settings"] {
        assert!(well.contains(&format!("  {name} ")), "no {name} in {well}");
    }
    assert!(well.contains("pocket"), "{well}");
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    let unwell = run(&file);
    assert_eq!(unwell.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unwell.stdout).into_owned();
    assert!(
        said.contains("bad   cache") && said.contains("--no-cache"),
        "{said}"
    );
}
