//! What a hub, a network and a disk can do to a download, and what the person is told.

use std::time::Instant;

use picsift_vision::registry::fetch;

use super::server::{Fault, Hub};
use super::*;

/// Where the connections of these tests break.
const HALF: usize = WEIGHTS / 2;

#[test]
fn a_connection_that_breaks_goes_on_where_it_broke() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::DiesAt(HALF));
    let told = Told::default();
    let files = fetch(&format!("owner/name@{COMMIT}"), &scene.settings, &told).unwrap();
    scene.assert_whole(&files);
    assert_eq!(Scene::starts(&scene.hub.requests()), [0, HALF]);
    let told = told.lines();
    assert!(
        told[3].starts_with("again: ") && told[3].contains("150000 of 300000"),
        "{told:?}"
    );
    assert_eq!(told[4], "model.safetensors 150000/300000 +150000");
    assert_eq!(told[5], "finished");
}

#[test]
fn a_connection_that_keeps_breaking_is_given_up_and_resumed_by_the_next_run() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", usize::MAX, Fault::DiesAt(HALF));
    let error = scene.refused();
    for part in [
        "model.safetensors of owner/name",
        "150000 of 300000 bytes",
        "run it again",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // The first brought half, the others nothing.
    assert_eq!(
        Scene::starts(&scene.hub.requests()),
        [0, HALF, HALF, HALF, HALF]
    );
    assert!(!scene.weights_blob().exists());

    scene.hub.heal();
    scene.assert_whole(&scene.fetch().unwrap());
    assert_eq!(Scene::starts(&scene.hub.requests()), [HALF]);
}

#[test]
fn a_server_that_ignores_where_to_go_on_costs_a_whole_download_and_nothing_more() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::DiesAt(HALF));
    scene.hub.fault("/cdn/", 1, Fault::WholeAgain);
    scene.assert_whole(&scene.fetch().unwrap());
    assert_eq!(Scene::starts(&scene.hub.requests()), [0, HALF, 0]);
}

#[test]
fn a_server_error_may_pass() {
    let scene = Scene::new();
    scene.hub.fault("/resolve/", 2, Fault::Status(500));
    scene.assert_whole(&scene.fetch().unwrap());

    let scene = Scene::new();
    scene.hub.fault("/resolve/", usize::MAX, Fault::Status(503));
    let error = scene.refused();
    assert!(
        error.contains("HTTP 503") && error.contains("config.json"),
        "{error}"
    );
    assert_eq!(scene.hub.requests().len(), 4);
}

#[test]
fn a_refusal_is_final_and_says_what_a_token_is_for() {
    for status in [401, 403] {
        let mut scene = Scene::new();
        scene
            .hub
            .fault("/resolve/", usize::MAX, Fault::Status(status));
        let error = scene.refused();
        for part in [
            format!("HTTP {status}"),
            "config.json of owner/name".to_owned(),
            "private or gated".to_owned(),
            "set HF_TOKEN".to_owned(),
        ] {
            assert!(error.contains(&part), "{error}");
        }
        assert_eq!(scene.hub.requests().len(), 1);
        scene.settings.token = Some("secret".to_owned());
        let error = scene.refused();
        assert!(
            error.contains("ask for access") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let scene = Scene::with(model("owner/name", OTHER, 1));
    let error = scene.refused();
    assert!(
        error.contains(&format!("no config.json of owner/name@{COMMIT}")),
        "{error}"
    );
    assert_eq!(scene.hub.requests().len(), 1);
}

#[test]
fn content_with_another_hash_is_removed() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::Damaged);
    let error = scene.refused();
    for part in ["model.safetensors", &scene.files[1].etag, "removed"] {
        assert!(error.contains(part), "{error}");
    }
    let snapshot = scene.cached("snapshots").join(COMMIT);
    assert!(!scene.weights_blob().exists());
    assert!(
        snapshot
            .join("model.safetensors")
            .symlink_metadata()
            .is_err()
    );
    assert!(snapshot.join("config.json").exists());
    scene.assert_whole(&scene.fetch().unwrap());
}

#[test]
fn a_damaged_part_is_not_kept() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.cached("blobs")).unwrap();
    let part = scene.weights_blob().with_extension("part");
    for garbage in [1000, WEIGHTS, WEIGHTS + 1] {
        std::fs::write(&part, vec![7; garbage]).unwrap();
        let files = scene.fetch().unwrap();
        scene.assert_whole(&files);
        std::fs::remove_file(scene.weights_blob()).unwrap();
    }
}

#[test]
fn content_that_ends_too_early_is_removed() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::EndsAt(HALF));
    let error = scene.refused();
    for part in ["model.safetensors", "150000 bytes", "300000", "removed"] {
        assert!(error.contains(part), "{error}");
    }
    scene.assert_whole(&scene.fetch().unwrap());
}

#[test]
fn no_network_is_said_at_once() {
    let mut scene = Scene::new();
    // The port of a listener that is gone.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    scene.settings.endpoint = format!("http://{address}");
    let begun = Instant::now();
    let error = scene.refused();
    assert!(begun.elapsed() < Duration::from_secs(2));
    for part in [
        &scene.settings.endpoint,
        "cannot be reached",
        "config.json of owner/name",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let mut scene = Scene::new();
    scene.settings.patience = Duration::from_secs(1);
    scene.hub.fault("/cdn/", 1, Fault::Silent);
    let begun = Instant::now();
    let error = scene.refused();
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert!(
        error.contains("nothing of model.safetensors") && error.contains("1 s"),
        "{error}"
    );
}

#[test]
fn an_answer_that_no_hub_gives_is_an_error_and_not_a_panic() {
    for fault in [Fault::Lost, Fault::Page] {
        let scene = Scene::new();
        scene.hub.fault("config.json", usize::MAX, fault);
        let error = scene.refused();
        assert!(error.contains("config.json of owner/name"), "{error}");
    }
    // Names that lead out of the cache.
    for etag in ["../../../evil", "/tmp/evil", ""] {
        let mut files = model("owner/name", COMMIT, 1);
        files[0].etag = etag.to_owned();
        let error = Scene::with(files).refused();
        assert!(error.contains("no etag of a hub"), "{error}");
    }
}

#[test]
fn a_file_that_another_process_fetches_is_left_to_it() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.cached("blobs")).unwrap();
    let path = scene.weights_blob().with_extension("lock");
    let lock = std::fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let error = scene.refused();
    assert!(
        error.contains("another process") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
    lock.unlock().unwrap();
    scene.assert_whole(&scene.fetch().unwrap());
}

#[test]
fn a_cache_that_cannot_be_written_is_said() {
    let mut scene = Scene::new();
    let file = scene.home.path().join("file");
    std::fs::write(&file, "").unwrap();
    scene.settings.cache = file.join("hub");
    let error = scene.refused();
    assert!(
        error.contains("cannot write below") && error.contains("file/hub"),
        "{error}"
    );
}

/// The token is for the hub alone, whatever it leads to.
#[test]
fn the_token_goes_to_no_other_server() {
    let mut scene = Scene::new();
    scene.settings.token = Some("secret".to_owned());
    let other = Hub::start(scene.files.clone());
    scene.hub.lead("/resolve/", &other.endpoint());
    scene.assert_whole(&scene.fetch().unwrap());
    let (own, others) = (scene.hub.requests(), other.requests());
    assert!(!own.is_empty() && !others.is_empty());
    assert!(own.iter().all(|request| request.token.is_some()));
    assert!(
        others.iter().all(|request| request.token.is_none()),
        "{others:?}"
    );
}

#[test]
fn redirects_end_and_lead_to_the_web() {
    let scene = Scene::new();
    let own = scene.hub.endpoint();
    for (to, part) in [
        (own.as_str(), "more than 5 times"),
        ("file:///etc/passwd", "web address"),
        ("ftp://127.0.0.1", "neither http nor https"),
    ] {
        scene.hub.lead("/", to);
        let error = scene.refused();
        assert!(error.contains(part), "{error}");
        assert!(scene.hub.requests().len() <= 6);
    }
}

#[test]
fn files_larger_than_any_model_has_are_not_begun() {
    for (file, path) in [
        ("config.json", "config.json"),
        ("model.safetensors", "/cdn/"),
    ] {
        let scene = Scene::new();
        scene.hub.fault(path, usize::MAX, Fault::Endless);
        let error = scene.refused();
        assert!(
            error.contains(file) && error.contains("1125899906842624 bytes"),
            "{error}"
        );
        assert!(Hub::starts(&scene.hub.requests(), path).is_empty());
    }
}

/// More than the hub said that there is.
#[test]
fn content_without_end_is_cut() {
    let scene = Scene::new();
    scene.hub.fault("/cdn/", 1, Fault::TooMuch);
    let error = scene.refused();
    assert!(
        error.contains("300001 bytes") && error.contains("removed"),
        "{error}"
    );
    scene.assert_whole(&scene.fetch().unwrap());
}
