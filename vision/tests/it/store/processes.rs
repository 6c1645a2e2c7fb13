//! Several processes on one folder, killed ones, and a disk that takes no more. The other process is this test binary,
//! running the one test below that is ignored otherwise.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use picsift_vision::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{ROOMY, Said, asked, content, open, options, truth, truths};

const FOLDER: &str = "PICSIFT_TEST_STORE";
const FIRST: &str = "PICSIFT_TEST_FIRST";
const IMAGES: &str = "PICSIFT_TEST_IMAGES";
const CLASSES: std::ops::Range<u16> = 0..6;

/// Puts images, and prints how many are flushed and what the store says.
#[test]
#[ignore = "another process of the tests beside it"]
fn writes_as_it_is_told() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (first, images) = (number(FIRST), number(IMAGES));
    let said = Said::default();
    let store = Store::open(options(Path::new(&folder), ROOMY, &said)).unwrap();
    for image in first..first + images {
        store.put(
            &content(image),
            &asked(CLASSES),
            truths(image, CLASSES),
            None,
        );
        if image % 250 == 249 {
            store.flush();
            println!("\nflushed {}", image + 1);
        }
    }
    drop(store);
    for sentence in said.all() {
        println!("\nsaid {sentence}");
    }
    println!("\ndone");
}

fn arguments() -> [&'static str; 4] {
    [
        "--exact",
        "store::processes::writes_as_it_is_told",
        "--ignored",
        "--nocapture",
    ]
}

fn prepare(command: &mut Command, folder: &Path, first: u64, images: u64) -> Child {
    command
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .env(IMAGES, images.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn start(folder: &Path, first: u64, images: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    prepare(command.args(arguments()), folder, first, images)
}

/// What it printed with this word before it.
fn lines(child: &mut Child, word: &str) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
        .collect()
}

#[test]
fn processes_write_at_the_same_time_and_nothing_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = (0..3)
        .map(|child| start(home.path(), child * 3000, 3000))
        .collect();
    let store = open(home.path());
    while children
        .iter_mut()
        .any(|child| child.try_wait().unwrap().is_none())
    {
        for image in (0..9000).step_by(100) {
            let found = store.lookup(&content(image), &asked(CLASSES));
            for (class, answer) in CLASSES.zip(found.answers) {
                assert!(answer.is_none_or(|answer| answer == truth(image, class)));
            }
        }
    }
    for child in &mut children {
        assert_eq!(lines(child, "said"), Vec::<String>::new());
        assert!(child.wait().unwrap().success());
    }
    for image in 0..9000 {
        let found = store.lookup(&content(image), &asked(CLASSES));
        assert_eq!(found.answers, truths(image, CLASSES), "{image}");
    }
}

#[test]
fn a_killed_process_loses_what_it_had_not_flushed_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    let mut promised = Vec::new();
    for round in 0..12 {
        let first = round * 1_000_000;
        let mut child = start(home.path(), first, 1_000_000);
        thread::sleep(Duration::from_millis(rng.random_range(20..400)));
        child.kill().unwrap();
        child.wait().unwrap();
        let flushed = lines(&mut child, "flushed").pop();
        let end = flushed.map_or(first, |end| end.parse().unwrap());
        promised.push(first..end);
    }
    assert!(promised.iter().any(|range| !range.is_empty()));
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    for image in promised.into_iter().flatten() {
        let found = store.lookup(&content(image), &asked(CLASSES));
        assert_eq!(found.answers, truths(image, CLASSES), "{image}");
    }
    assert!(store.verify().unwrap().is_whole());
    assert_eq!(said.all(), Vec::<String>::new());
}

/// A limit on the length of files, in blocks of 512 bytes, stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_is_said_once_and_fails_nobody() {
    let home = tempfile::tempdir().unwrap();
    let mut child = start(home.path(), 0, 1000);
    assert!(child.wait().unwrap().success());
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(arguments());
    let mut child = prepare(&mut command, home.path(), 1000, 20_000);
    let sentences = lines(&mut child, "said");
    assert!(child.wait().unwrap().success());
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(
        sentences[0].starts_with("answers are not kept any more: the disk"),
        "{sentences:?}"
    );
    // What was there before is whole.
    let store = open(home.path());
    for image in 0..1000 {
        let found = store.lookup(&content(image), &asked(CLASSES));
        assert_eq!(found.answers, truths(image, CLASSES), "{image}");
    }
    assert!(store.verify().unwrap().is_whole());
}
