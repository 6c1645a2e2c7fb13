//! Damaged files: every lookup gives the right answer or none, damage is said, and the store goes on.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use picsift_vision::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{ROOMY, Said, asked, content, options, reference, truth, truths};

const IMAGES: u64 = 2000;
const CLASSES: std::ops::Range<u16> = 0..8;

fn fill(store: &Store, images: std::ops::Range<u64>) {
    for image in images {
        store.put(
            &content(image),
            &asked(CLASSES),
            truths(image, CLASSES),
            Some(image),
        );
        let (address, known) = reference(image);
        store.put_reference(&address, known);
    }
    store.flush();
}

/// Looks everything up, and fails where an answer is wrong; gives how many images are known whole.
fn known(store: &Store) -> usize {
    let contents: Vec<_> = (0..IMAGES).map(content).collect();
    let mut known = 0;
    for (image, found) in (0..).zip(store.lookup_many(&contents, &asked(CLASSES))) {
        known += usize::from(found.is_complete());
        assert!(
            found
                .similarity
                .is_none_or(|similarity| similarity == image)
        );
        for (class, answer) in CLASSES.zip(found.answers) {
            assert!(answer.is_none_or(|answer| answer == truth(image, class)));
        }
    }
    for image in (0..IMAGES).step_by(7) {
        let (address, right) = reference(image);
        assert!(store.reference(&address).is_none_or(|known| known == right));
    }
    known
}

/// The files of a store in two states: closed, and as a process leaves it that is killed.
struct Originals {
    home: tempfile::TempDir,
}

impl Originals {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store =
            Store::open(options(&home.path().join("live"), ROOMY, &Said::default())).unwrap();
        fill(&store, 0..IMAGES / 2);
        fill(&store, IMAGES / 2..IMAGES);
        copy(&home.path().join("live"), &home.path().join("killed"));
        drop(store);
        fs::rename(home.path().join("live"), home.path().join("closed")).unwrap();
        Self { home }
    }

    fn copy(&self, state: &str, to: &Path) {
        copy(&self.home.path().join(state), to);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The store's files, but for the lock and the key.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| !path.ends_with("lock") && !path.ends_with("answers.key"))
        .collect();
    files.sort();
    files
}

/// Damages a file in one of the ways that disks and people have; says how.
fn damage(path: &Path, rng: &mut StdRng) -> String {
    let length = fs::metadata(path).unwrap().len();
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    match rng.random_range(0..6) {
        0 | 1 => {
            let mut bytes = fs::read(path).unwrap();
            let flips = rng.random_range(1..40);
            // The first pages have what all others hang on.
            let most = if rng.random() {
                bytes.len()
            } else {
                bytes.len().min(8192)
            };
            for _ in 0..flips {
                if most > 0 {
                    bytes[rng.random_range(0..most)] ^= 1 << rng.random_range(0..8);
                }
            }
            file.write_all(&bytes).unwrap();
            format!("{flips} bits of the first {most} bytes flipped")
        }
        2 => {
            let end = rng.random_range(0..=length);
            file.set_len(end).unwrap();
            format!("cut to {end} of {length} bytes")
        }
        3 => {
            let start = rng.random_range(0..=length) / 512 * 512;
            let mut garbage = vec![0; 4096];
            if rng.random() {
                rng.fill(garbage.as_mut_slice());
            }
            file.seek(SeekFrom::Start(start)).unwrap();
            file.write_all(&garbage).unwrap();
            format!("a sector at {start} overwritten")
        }
        4 => {
            let mut garbage = vec![0; rng.random_range(0..20_000)];
            rng.fill(garbage.as_mut_slice());
            file.set_len(0).unwrap();
            file.write_all(&garbage).unwrap();
            format!("{} bytes of garbage in its place", garbage.len())
        }
        _ => {
            fs::remove_file(path).unwrap();
            "removed".to_owned()
        }
    }
}

#[test]
fn no_damage_ever_makes_a_wrong_answer() {
    let originals = Originals::new();
    let (mut whole, mut told) = (0, 0);
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("store");
        originals.copy(["closed", "killed"][seed as usize % 2], &folder);
        let files = files(&folder);
        let path = &files[rng.random_range(0..files.len())];
        let how = damage(path, &mut rng);
        println!("{seed}: {} {how}", path.display());

        let said = Said::default();
        let store = Store::open(options(&folder, ROOMY, &said)).unwrap();
        let known = known(&store);
        // Whatever is left of it, the store goes on.
        let more = IMAGES + 1..IMAGES + 20;
        fill(&store, more.clone());
        let verified = store.verify().unwrap();
        let again = store.verify().unwrap();
        assert!(again.is_whole(), "{seed}: {again:?}");
        fill(&store, more.clone());
        for image in more {
            let found = store.lookup(&content(image), &asked(CLASSES));
            assert_eq!(found.answers, truths(image, CLASSES), "{seed}");
        }
        assert!(store.is_keeping(), "{seed}: {:?}", said.all());
        let found = verified.damaged_rows + verified.damaged_files.len() as u64 + store.damaged();
        assert!(found == 0 || !said.all().is_empty(), "{seed}: nothing said");
        told += usize::from(!said.all().is_empty());
        whole += usize::from(known == IMAGES as usize);
    }
    // The damage is real, and not every scratch loses everything.
    assert!(told > 100 && whole > 20 && whole < 390, "{told} {whole}");
}

#[test]
fn damage_below_open_stores_makes_no_wrong_answer_either() {
    let originals = Originals::new();
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(1000 + seed);
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("store");
        originals.copy("killed", &folder);
        let said = Said::default();
        let stores = [0, 1].map(|_| Store::open(options(&folder, ROOMY, &said)).unwrap());
        known(&stores[0]);
        // A file that SQLite has mapped must not be cut: that ends any process that uses it.
        let files: Vec<_> = files(&folder)
            .into_iter()
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .collect();
        let path = &files[rng.random_range(0..files.len())];
        println!("{seed}: {} {}", path.display(), damage(path, &mut rng));
        for store in &stores {
            known(store);
            fill(store, IMAGES..IMAGES + 300);
            known(store);
            assert!(store.is_keeping(), "{seed}: {:?}", said.all());
        }
        // Each is right after damage is removed, whichever of the two found it.
        stores[0].verify().unwrap();
        for store in &stores {
            fill(store, IMAGES..IMAGES + 20);
        }
        for (store, image) in stores.iter().zip(IMAGES..) {
            let found = store.lookup(&content(image), &asked(CLASSES));
            assert_eq!(found.answers, truths(image, CLASSES), "{seed}");
        }
    }
}

#[test]
fn damage_is_said_with_the_file_and_the_rest_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    fill(&store, 0..IMAGES);
    drop(store);
    let database = files(home.path()).remove(0);
    // One value, changed in the way that SQLite cannot see.
    let mut bytes = fs::read(&database).unwrap();
    let words = b"picture 1234 of 6picture";
    let at = bytes
        .windows(words.len())
        .position(|window| window == words)
        .unwrap();
    bytes[at + 8] = b'2';
    fs::write(&database, &bytes).unwrap();

    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), IMAGES as usize - 1);
    assert_eq!(store.damaged(), 1);
    // It is removed: it is met no second time.
    assert_eq!(known(&store), IMAGES as usize - 1);
    assert_eq!(store.damaged(), 1);
    assert!(store.verify().unwrap().is_whole());
    let sentences = said.all();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    let name = database.display().to_string();
    assert!(sentences[0].contains("damaged row") && sentences[0].contains(&name));
    drop(store);

    fs::write(&database, "no database").unwrap();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 0);
    let sentences = said.all();
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[1].contains("begun anew") && sentences[1].contains(&name));
}

#[test]
fn a_store_of_another_format_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    fill(&store, 0..10);
    drop(store);
    let database = files(home.path()).remove(0);
    // SQLite's file format: the user version is at byte 60, big-endian.
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&database, bytes).unwrap();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert_eq!(known(&store), 0);
    fill(&store, 0..10);
    assert_eq!(known(&store), 10);
    let sentences = said.all();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(sentences[0].contains("format 99"), "{sentences:?}");
}
