//! What is in the cache is used, whoever wrote it, and nothing else where the network is forbidden.

use picsift_vision::registry::inspect;
use picsift_vision::source::Proof;

use super::*;

/// The cache as Python's `huggingface_hub` leaves it: no `refs` for a commit.
fn write_snapshot(scene: &Scene, links: bool) {
    let snapshot = scene.cached("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(scene.cached("blobs")).unwrap();
    for file in &scene.files {
        let blob = scene.cached("blobs").join(&file.etag);
        if links {
            std::fs::write(blob, &file.content).unwrap();
            let target = format!("../../blobs/{}", file.etag);
            std::os::unix::fs::symlink(target, snapshot.join(file.name)).unwrap();
        } else {
            std::fs::write(snapshot.join(file.name), &file.content).unwrap();
        }
    }
}

#[test]
fn a_cache_that_python_wrote_needs_no_network() {
    for links in [true, false] {
        let scene = Scene::new();
        write_snapshot(&scene, links);
        let files = scene.fetch().unwrap();
        scene.assert_whole(&files);
        assert_eq!(files.revision, COMMIT);
        assert!(scene.hub.requests().is_empty());
    }
}

#[test]
fn offline_uses_the_cache() {
    let mut scene = Scene::new();
    let files = scene.fetch().unwrap();
    scene.settings.offline = true;
    scene.hub.requests();
    assert_eq!(scene.fetch().unwrap(), files);
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn offline_says_what_is_missing_and_how_to_get_it() {
    let mut scene = Scene::new();
    scene.settings.offline = true;
    std::fs::create_dir_all(scene.cached("snapshots").join(COMMIT)).unwrap();
    std::fs::write(
        scene.cached("snapshots").join(COMMIT).join("config.json"),
        "{}",
    )
    .unwrap();
    let error = scene.refused();
    assert!(!error.contains("config.json"), "{error}");
    for part in [
        "model.safetensors of owner/name@0123",
        "tokenizer.json of",
        "HF_HUB_OFFLINE",
        &format!("picsift models fetch owner/name@{COMMIT}"),
        scene.settings.cache.to_str().unwrap(),
    ] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    let error = scene.fetch_as("owner/name@main").unwrap_err().to_string();
    assert!(error.contains("config.json of owner/name@main"), "{error}");
    assert!(scene.hub.requests().is_empty());
}

#[test]
fn offline_does_not_take_weights_that_were_cut_short() {
    let mut scene = Scene::new();
    scene.settings.offline = true;
    let snapshot = scene
        .settings
        .cache
        .join("models--vikhyatk--moondream2/snapshots/9a7d4024050840e001defacec2b00727e89149e6");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("model.safetensors"), "short").unwrap();
    let error = scene.fetch_as("moondream2").unwrap_err().to_string();
    assert!(error.contains("5 of 3854538968 bytes"), "{error}");
    assert!(
        error.contains("tokenizer.json of moondream/starmie-v1"),
        "{error}"
    );
}

#[test]
fn verifying_finds_a_changed_byte_and_fetching_again_repairs_it() {
    let scene = Scene::new();
    scene.fetch().unwrap();
    let look = || inspect(&format!("owner/name@{COMMIT}"), &scene.settings).unwrap();
    let proofs: Vec<_> = look()
        .files
        .iter()
        .map(|file| file.verify().unwrap())
        .collect();
    // Nothing but the weights has a hash that could be known.
    assert_eq!(proofs, [Proof::Presence, Proof::Hash, Proof::Presence]);

    let mut content = scene.files[1].content.clone();
    content[12_345] ^= 1;
    std::fs::write(scene.weights_blob(), content).unwrap();
    let error = look().files[1].verify().unwrap_err().to_string();
    for part in [
        "model.safetensors",
        &scene.files[1].etag,
        "fetch the model again",
    ] {
        assert!(error.contains(part), "{error}");
    }

    std::fs::remove_file(scene.weights_blob()).unwrap();
    assert!(!look().complete());
    scene.assert_whole(&scene.fetch().unwrap());
    assert!(look().complete());
    assert_eq!(look().files[1].verify().unwrap(), Proof::Hash);
}

#[test]
fn a_folder_and_a_snapshot_are_models_too() {
    let scene = Scene::new();
    let files = scene.fetch().unwrap();
    let snapshot = files.weights.parent().unwrap().to_str().unwrap();
    let found = scene.fetch_as(snapshot).unwrap();
    assert_eq!(found.name, snapshot);
    assert_eq!(found.weights, files.weights);
    assert!(
        found.revision.starts_with("tree-sha256:"),
        "{}",
        found.revision
    );
    // The hub's name for the content is known there as well.
    let found = inspect(snapshot, &scene.settings).unwrap();
    assert_eq!(found.files[1].verify().unwrap(), Proof::Hash);

    let folder = scene.home.path().join("copy");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let error = scene
        .fetch_as(folder.to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no model.safetensors, tokenizer.json"),
        "{error}"
    );
    let found = inspect(folder.to_str().unwrap(), &scene.settings).unwrap();
    assert!(!found.complete());
    assert!(
        found.files[1]
            .verify()
            .unwrap_err()
            .to_string()
            .contains("model.safetensors is not")
    );
}

/// Links that other people put into the cache, or that a whole cache is made of: read, and never written or removed through.
#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_never_changed() {
    use std::os::unix::fs::symlink;
    let weights = |scene: &Scene| {
        scene
            .cached("snapshots")
            .join(COMMIT)
            .join("model.safetensors")
    };
    // The blobs of another cache, with other content than the hub's.
    let scene = Scene::new();
    let other = scene.home.path().join("other/blobs");
    std::fs::create_dir_all(&other).unwrap();
    let victim = other.join(&scene.files[1].etag);
    let reset = || {
        std::fs::write(&victim, "of somebody else").unwrap();
        let _ = std::fs::remove_dir_all(&scene.settings.cache);
        std::fs::create_dir_all(weights(&scene).parent().unwrap()).unwrap();
        std::fs::create_dir_all(scene.cached("blobs")).unwrap();
    };
    let whole = |link: &std::path::Path| {
        assert!(link.is_symlink(), "{}", link.display());
        assert_eq!(
            std::fs::read_to_string(&victim).unwrap(),
            "of somebody else"
        );
    };
    for link in [
        scene.weights_blob(),
        scene.weights_blob().with_extension("part"),
        scene.weights_blob().with_extension("lock"),
    ] {
        reset();
        symlink(&victim, &link).unwrap();
        let error = scene.refused();
        assert!(error.contains("is a link"), "{error}");
        whole(&link);
    }
    // A folder of them.
    reset();
    std::fs::remove_dir(scene.cached("blobs")).unwrap();
    symlink(&other, scene.cached("blobs")).unwrap();
    let error = scene.refused();
    assert!(error.contains("is a link"), "{error}");
    whole(&scene.cached("blobs"));
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
    // A snapshot's file that leads elsewhere, of a model whose length is known.
    let commit = "9a7d4024050840e001defacec2b00727e89149e6";
    let mut files = model("vikhyatk/moondream2", commit, 1);
    files.truncate(2);
    let known = Scene::with(files);
    let folder = known
        .settings
        .cache
        .join("models--vikhyatk--moondream2/snapshots")
        .join(commit);
    std::fs::create_dir_all(&folder).unwrap();
    let pointer = folder.join("model.safetensors");
    symlink(&victim, &pointer).unwrap();
    known.fetch_as("moondream2").unwrap_err();
    whole(&pointer);
}

/// A link of the cache's own layout whose content is gone is no link that leads elsewhere.
#[cfg(unix)]
#[test]
fn content_that_is_gone_comes_to_its_place() {
    let scene = Scene::new();
    write_snapshot(&scene, true);
    std::fs::remove_file(scene.weights_blob()).unwrap();
    scene.assert_whole(&scene.fetch().unwrap());
    assert_eq!(
        std::fs::read_dir(scene.weights_blob().parent().unwrap())
            .unwrap()
            .count(),
        4,
        "the lock is new"
    );
}
