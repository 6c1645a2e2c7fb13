//! What a hub serves arrives, once, and is called by its commit.

use picsift_vision::registry::fetch;

use super::server::Hub;
use super::*;

#[test]
fn a_model_is_fetched_once() {
    let scene = Scene::new();
    let told = Told::default();
    let name = format!("owner/name@{COMMIT}");
    let files = fetch(&name, &scene.settings, &told).unwrap();
    scene.assert_whole(&files);
    assert_eq!(files.name, name);
    assert_eq!(files.revision, COMMIT);
    assert_eq!(files.licence, None);
    assert_eq!(
        told.lines(),
        [
            "config.json 0/500 +500",
            "finished",
            "model.safetensors 0/300000 +300000",
            "finished",
            "tokenizer.json 0/3000 +3000",
            "finished",
        ]
    );
    assert!(!scene.hub.requests().is_empty());

    assert_eq!(scene.fetch().unwrap(), files);
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn the_token_is_sent() {
    let mut scene = Scene::new();
    scene.settings.token = Some("secret".to_owned());
    scene.fetch().unwrap();
    let requests = scene.hub.requests();
    let hub: Vec<_> = requests
        .iter()
        .filter(|request| request.path.contains("/resolve/"))
        .collect();
    assert!(!hub.is_empty());
    assert!(
        hub.iter()
            .all(|request| request.token.as_deref() == Some("Bearer secret"))
    );
}

#[test]
fn a_branch_is_the_commit_that_it_means_today() {
    let mut files = model("owner/name", COMMIT, 1);
    files.extend(model("owner/name", OTHER, 10));
    let mut scene = Scene::with(files);
    scene.hub.branch("main", COMMIT);
    let first = scene.fetch_as("owner/name@main").unwrap();
    assert_eq!(first.revision, COMMIT);
    scene.assert_whole(&first);

    scene.hub.branch("main", OTHER);
    let second = scene.fetch_as("owner/name@main").unwrap();
    assert_eq!(second.revision, OTHER);

    scene.settings.offline = true;
    scene.hub.requests();
    assert_eq!(scene.fetch_as("owner/name@main").unwrap(), second);
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn content_that_another_commit_has_too_is_not_fetched_again() {
    let mut files = model("owner/name", COMMIT, 1);
    files.extend(model("owner/name", OTHER, 1));
    let scene = Scene::with(files);
    scene.fetch().unwrap();
    scene.hub.requests();
    let other = scene.fetch_as(&format!("owner/name@{OTHER}")).unwrap();
    scene.assert_whole(&other);
    assert_eq!(other.revision, OTHER);
    assert!(Hub::starts(&scene.hub.requests(), "").is_empty());
}

#[test]
fn a_file_of_another_length_than_the_registry_knows_is_not_begun() {
    let scene = Scene::with(model(
        "vikhyatk/moondream2",
        "9a7d4024050840e001defacec2b00727e89149e6",
        1,
    ));
    let error = scene.fetch_as("moondream2").unwrap_err().to_string();
    assert!(
        error.contains("300000") && error.contains("3854538968"),
        "{error}"
    );
    assert!(Scene::starts(&scene.hub.requests()).is_empty());
}

#[test]
fn a_model_inside_the_program_has_no_files() {
    let scene = Scene::new();
    let error = scene
        .fetch_as("efficientnet-lite0")
        .unwrap_err()
        .to_string();
    assert!(error.contains("inside this program"), "{error}");
    assert!(scene.hub.requests().is_empty());
}
