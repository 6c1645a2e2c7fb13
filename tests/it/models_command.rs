//! `picsift models`: the real binary against a hub in the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::{TempDir, tempdir};

use crate::support::*;

// The hub of picsift-vision's own tests, of which these need a part.
#[allow(dead_code)]
#[path = "../../vision/tests/it/hub/server.rs"]
pub(crate) mod server;

use server::{Fault, Hub, Served};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const MODEL: &str = "owner/name@0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &[u8] = b"weights of a model that is a test";
const SHA256: &str = "926be39960fd6b3152316d8fa0319471a346eddff31cdbe2c0dd05125a9ae945";

struct Scene {
    hub: Hub,
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let file = |name, content: &[u8], etag: &str| Served {
            repo: "owner/name".to_string(),
            commit: COMMIT.to_string(),
            name,
            content: content.to_vec(),
            etag: etag.to_string(),
        };
        Self {
            hub: Hub::start(vec![
                file("config.json", b"{}", "aaaa"),
                file("model.safetensors", WEIGHTS, SHA256),
                file("tokenizer.json", b"[]", "bbbb"),
            ]),
            home: tempdir().unwrap(),
        }
    }

    /// The binary with this hub and a cache of its own.
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_picsift"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HF_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .current_dir(root())
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.home.path());
        command
    }

    fn snapshot(&self) -> PathBuf {
        let repo = self.home.path().join("hub/models--owner--name");
        repo.join("snapshots").join(COMMIT)
    }
}

#[test]
fn the_list_says_what_is_here() {
    let scene = Scene::new();
    for args in [&["models"][..], &["models", "list"]] {
        let said = stdout(&scene.run(args));
        let line = |name: &str| {
            let found = said.lines().find(|line| line.starts_with(name));
            let line = found.unwrap_or_else(|| panic!("no {name} in {said}"));
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_string)
                .collect::<Vec<_>>()
        };
        let built_in = line("efficientnet-lite0");
        assert_eq!(built_in[1], "this program");
        assert_eq!(built_in[3..5], ["Apache-2.0", "yes"]);
        let moondream = line("moondream2 ");
        assert_eq!(
            moondream[1..5],
            [
                "vikhyatk/moondream2@9a7d402405",
                "3.85 GB",
                "Apache-2.0",
                "no"
            ]
        );
        assert!(said.contains("moondream2-2024-08-26"));
    }
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn a_model_is_shown_with_repository_commit_and_files() {
    let scene = Scene::new();
    let said = stdout(&scene.run(&["models", "show", "moondream2"]));
    for part in [
        "also called  ",
        "moondream2-2025-06-21",
        "Apache-2.0",
        "CPU, CUDA",
        "vikhyatk/moondream2@9a7d4024050840e001defacec2b00727e89149e6",
        "3854538968 bytes",
        "moondream/starmie-v1@35192e10a54e36eabe0a7cc57a2c1aab371cafc5",
        "not on this machine",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let said = stdout(&scene.run(&["models", "show", "efficientnet-lite0"]));
    assert!(said.contains("this program"), "{said}");
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn a_model_is_fetched_verified_broken_and_repaired() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::DiesAt(10));
    let run = scene.run(&["models", "fetch", MODEL]);
    let paths = stdout(&run);
    let weights = paths.lines().nth(1).unwrap();
    assert_eq!(std::fs::read(weights).unwrap(), WEIGHTS);
    assert_eq!(Path::new(weights).parent().unwrap(), scene.snapshot());
    let said = stderr(&run);
    for part in [
        "fetching config.json, 2 B",
        "10 of 33 bytes",
        "trying again in 0.5 s",
        "fetching model.safetensors, 10 B of 33 B",
        "fetched model.safetensors, 33 B",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }

    let verify = ["models", "verify", MODEL];
    scene.hub.requests();
    let said = stdout(&scene.run(&verify));
    assert!(
        said.contains("good: model.safetensors, its SHA-256"),
        "{said}"
    );
    assert!(said.contains("here: tokenizer.json"), "{said}");
    assert!(stdout(&scene.run(&["models", "show", MODEL])).contains(SHA256));

    let mut damaged = WEIGHTS.to_vec();
    damaged[5] ^= 1;
    std::fs::write(weights, damaged).unwrap();
    std::fs::remove_file(scene.snapshot().join("tokenizer.json")).unwrap();
    let run = scene.run(&verify);
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stdout.clone()).unwrap();
    let bad: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("bad: "))
        .collect();
    assert_eq!(bad.len(), 2, "{said}");
    assert!(
        bad[0].contains(weights) && bad[0].contains(SHA256),
        "{said}"
    );
    assert!(bad[1].contains("tokenizer.json of owner/name"), "{said}");
    let said = stderr(&run);
    assert!(
        said.contains("2 of the 3 files")
            && said.contains(&format!("picsift models fetch {MODEL}")),
        "{said}"
    );
    assert!(scene.hub.requests().is_empty());

    // What the sentence says helps.
    std::fs::remove_file(weights).unwrap();
    stdout(&scene.run(&["models", "fetch", MODEL]));
    stdout(&scene.run(&verify));
}

#[test]
fn a_folder_is_verified_by_what_is_there() {
    let scene = Scene::new();
    let folder = tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let run = scene.run(&["models", "verify", path]);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        stderr(&run).contains("3 of the 3 files"),
        "{}",
        stderr(&run)
    );
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::write(folder.path().join(name), "{}").unwrap();
    }
    stdout(&scene.run(&["models", "verify", path]));
    assert!(stdout(&scene.run(&["models", "show", path])).contains(path));
}

#[test]
fn there_is_nothing_to_fetch_of_the_model_inside() {
    let scene = Scene::new();
    for command in ["fetch", "verify"] {
        let said = stdout(&scene.run(&["models", command, "efficientnet-lite0"]));
        assert!(said.contains("nothing to"), "{said}");
    }
}

#[test]
fn what_is_wrong_is_one_sentence_with_an_exit_code() {
    let scene = Scene::new();
    let fetch = |model: &str| scene.run(&["models", "fetch", model]);
    assert!(refused(&fetch("resnet")).contains("efficientnet-lite0"));
    assert!(refused(&fetch("owner/name")).contains("owner/name@COMMIT"));
    let other = MODEL.replace('0', "9");
    assert!(refused(&fetch(&other)).contains("no config.json"));
    assert!(refused(&fetch("./nowhere")).contains("no folder"));

    scene.hub.fault("/resolve/", 1, Fault::Status(401));
    assert!(refused(&fetch(MODEL)).contains("HF_TOKEN"));

    let offline = scene
        .command(&["models", "fetch", MODEL])
        .env("HF_HUB_OFFLINE", "1")
        .output();
    assert!(refused(&offline.unwrap()).contains("HF_HUB_OFFLINE"));

    scene.hub.fault("/cdn/", 1, Fault::Damaged);
    let run = fetch(MODEL);
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains(SHA256), "{}", stderr(&run));
}

#[test]
fn a_job_fetches_its_model_first() {
    let scene = Scene::new();
    let image = format!("{REFERENCES}/images/fish27_149.jpg");
    let run = scene.run(&["image", &image, "--categories", "fish", "--model", MODEL]);
    // These weights are none, which is found once they are here.
    assert!(!run.status.success());
    assert!(
        stderr(&run).contains("fetched model.safetensors"),
        "{}",
        stderr(&run)
    );
    assert!(scene.snapshot().join("tokenizer.json").exists());
}

#[test]
fn a_query_is_explained_without_the_weights_of_its_model() {
    let shapes = root().join("vision/data/shapes");
    let file = |repo: &str, commit: &str, name| Served {
        repo: repo.to_string(),
        commit: commit.to_string(),
        name,
        content: std::fs::read(shapes.join(name)).unwrap(),
        etag: name.replace('.', ""),
    };
    let scene = Scene {
        hub: Hub::start(vec![
            file(
                "vikhyatk/moondream2",
                "9a7d4024050840e001defacec2b00727e89149e6",
                "config.json",
            ),
            file(
                "moondream/starmie-v1",
                "35192e10a54e36eabe0a7cc57a2c1aab371cafc5",
                "tokenizer.json",
            ),
        ]),
        home: tempdir().unwrap(),
    };
    let query = "SELECT classify(image, 'circle') FROM 'datasets/photos/references/' LIMIT 1";
    let sql = |query: &str| scene.run(&["sql", "--model", "moondream2", "--no-cache", "-c", query]);
    let asked_for_weights = || {
        let requests = scene.hub.requests();
        requests.iter().any(|r| r.path.ends_with(".safetensors"))
    };
    let said = stdout(&sql(&format!("EXPLAIN {query}")));
    assert!(said.contains("model=moondream2"), "{said}");
    assert!(!asked_for_weights());

    let run = sql(query);
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let said = stderr(&run);
    assert!(said.contains("has no model.safetensors"), "{said}");
    assert!(asked_for_weights());
}
