//! The room that the store takes.

use std::fs;
use std::path::Path;

use picsift_vision::Answer;
use picsift_vision::store::{LEAST_BYTES, Store};

use super::{Said, asked, content, options};

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

/// The answer to one question about this image, 600 bytes long.
fn long(image: u64) -> Vec<Option<Answer>> {
    vec![Some(Answer::Text(format!("{image:0600}")))]
}

#[test]
fn the_oldest_make_room_for_the_newest() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::default();
    let asked = asked([0]);
    let store = Store::open(options(home.path(), LEAST_BYTES, &said)).unwrap();
    let images = 40_000;
    let mut largest = 0;
    for image in 0..images {
        store.put(&content(image), &asked, long(image), None);
        if image % 500 == 0 {
            largest = largest.max(size(home.path()));
        }
    }
    store.flush();
    largest = largest.max(size(home.path()));
    assert!(largest <= LEAST_BYTES / 10 * 11, "{largest}");
    assert!(largest >= LEAST_BYTES / 10 * 8, "{largest}");

    let contents: Vec<_> = (0..images).map(content).collect();
    let found = store.lookup_many(&contents, &asked);
    let first = found.iter().position(|found| found.is_complete()).unwrap();
    for (image, found) in (0..).zip(&found).skip(first) {
        assert_eq!(found.answers, long(image));
    }
    // Half of the room is always used; some of it is the slack of pages.
    let kept = images - first as u64;
    assert!(kept * 600 > LEAST_BYTES / 3 && kept < images / 2, "{kept}");
    assert_eq!(said.all(), Vec::<String>::new());
}

#[test]
fn a_lower_limit_takes_effect_when_the_store_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::default();
    let asked = asked([0]);
    let store = Store::open(options(home.path(), 3 * LEAST_BYTES, &said)).unwrap();
    for image in 0..30_000 {
        store.put(&content(image), &asked, long(image), None);
    }
    drop(store);
    assert!(size(home.path()) > LEAST_BYTES);
    let store = Store::open(options(home.path(), LEAST_BYTES, &said)).unwrap();
    assert!(size(home.path()) <= LEAST_BYTES);
    assert!(store.info().unwrap().bytes <= LEAST_BYTES);
}
