//! Every block of commands runs, or says by a mark why not; and nobody marks one silently.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::page::{Block, Mark, blocks};
use super::runner::{Runner, steady};
use super::{name, pages, writing};
use crate::shell;
use crate::support::*;

/// How many blocks of each page are marked as not run here, and as run by another test. Whoever marks one changes a number here.
const MARKED: [(&str, usize, usize); 11] = [
    ("README.md", 3, 0),
    ("docs/cascade.md", 2, 0),
    ("docs/long-jobs.md", 2, 0),
    ("docs/many-machines.md", 1, 5),
    ("docs/models.md", 1, 0),
    ("docs/prompt-styles.md", 1, 0),
    ("docs/python.md", 2, 9),
    ("docs/queries.md", 1, 0),
    ("docs/schedules.md", 2, 0),
    ("docs/serve.md", 3, 1),
    ("docs/teaching.md", 0, 1),
];

#[test]
fn what_is_not_run_is_marked_and_counted() {
    let mut found = BTreeMap::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let (mut not_run, mut elsewhere) = (0, 0);
        for block in blocks(&text) {
            let at = format!("{} line {}", name(&page), block.first + 1);
            match &block.mark {
                Mark::NotRun(why) => {
                    assert!(block.is_command(), "{at}: data needs no mark");
                    assert!(!why.is_empty(), "{at}: say why");
                    not_run += 1;
                }
                Mark::RunBy(test) => {
                    let (path, _) = test.split_once("::").unwrap_or((test, ""));
                    assert!(root().join(path).exists(), "{at}: there is no {path}");
                    elsewhere += 1;
                }
                Mark::None => assert!(
                    !["sh", "py"].contains(&block.kind.as_str()),
                    "{at}: a block of {} shows no output; make it console or python, or mark it",
                    block.kind
                ),
            }
        }
        if (not_run, elsewhere) != (0, 0) {
            found.insert(name(&page), (not_run, elsewhere));
        }
    }
    let expected: BTreeMap<_, _> = MARKED
        .iter()
        .map(|(page, not_run, elsewhere)| (page.to_string(), (*not_run, *elsewhere)))
        .collect();
    assert_eq!(found, expected);
}

/// Runs a page's blocks in `runner`, those that nothing marks; `served` is called when a gallery is.
pub(super) fn run(page: &Path, runner: &mut Runner, served: &mut dyn FnMut(&Runner)) {
    let text = fs::read_to_string(page).unwrap();
    let mut lines: Vec<Option<String>> = text.lines().map(|line| Some(line.to_owned())).collect();
    let mut wrong = Vec::new();
    let blocks = blocks(&text);
    for (number, block) in blocks.iter().enumerate() {
        if block.mark != Mark::None {
            continue;
        }
        let at = format!("{} line {}", name(page), block.first + 1);
        let mut differs = |place: std::ops::Range<usize>, printed: &str, shown: &str| {
            wrong.push(format!(
                "{at}: it is shown as\n{shown}\nand prints\n{printed}"
            ));
            for line in &mut lines[place.clone()] {
                *line = None;
            }
            // What is printed stands where what was shown began: behind the line before it.
            let before = lines[place.start - 1].as_mut().unwrap();
            *before = format!("{before}\n{}", printed.trim_end_matches('\n'));
        };
        match block.kind.as_str() {
            "console" => console(block, runner, served, &mut differs),
            "python" => {
                let printed = runner
                    .python(&block.lines.join("\n"))
                    .unwrap_or_else(|said| panic!("{at}: {said}"));
                // A block of text right behind it is what it prints.
                let behind = block.first + block.lines.len() + 3;
                let shown = blocks.get(number + 1);
                if let Some(shown) = shown.filter(|b| b.kind == "text" && b.first == behind) {
                    let place = behind..behind + shown.lines.len();
                    let shown = shown.lines.join("\n");
                    if steady(&printed, runner.folder()) != shown {
                        differs(place, &printed, &shown);
                    }
                } else {
                    assert!(
                        printed.is_empty(),
                        "{at}: what it prints is not shown: {printed}"
                    );
                }
            }
            "sql" => {
                let said = runner.run(&format!(
                    "picsift sql --format csv <<'EOF'\n{}\nEOF",
                    block.lines.join("\n")
                ));
                assert!(!said.contains("picsift: "), "{at}: {said}");
            }
            _ => {}
        }
    }
    if writing() && !wrong.is_empty() {
        let text: Vec<_> = lines.into_iter().flatten().collect();
        fs::write(page, text.join("\n") + "\n").unwrap();
    } else {
        assert!(
            wrong.is_empty(),
            "{}\n(PICSIFT_DOCS=write writes what is printed today)",
            wrong.join("\n\n")
        );
    }
}

fn console(
    block: &Block,
    runner: &mut Runner,
    served: &mut dyn FnMut(&Runner),
    differs: &mut dyn FnMut(std::ops::Range<usize>, &str, &str),
) {
    let mut line = block.first;
    for step in block.steps() {
        let printed = runner.run(&step.command);
        let shown = step.printed.join("\n");
        let at = line + step.lines;
        line = at + step.printed.len();
        if steady(&printed, runner.folder()) != steady(&shown, runner.folder()) {
            let folder = runner.folder().canonicalize().unwrap();
            let printed = printed.replace(&folder.display().to_string(), "/home/ada");
            differs(at..line, &printed, &shown);
        }
        if step.command.contains(" --serve") {
            served(runner);
        }
    }
}

/// The README is somebody's first hour: it labels a folder of their own, asks by SQL, looks at it in a browser where three pictures are
/// corrected, labels again, exports, and reads the result in pandas.
#[test]
fn the_first_hour_goes_as_the_readme_says() {
    let Some(browser) = crate::gallery::browser() else {
        return;
    };
    let mut runner = Runner::new();
    let mut corrected = 0;
    run(&root().join("README.md"), &mut runner, &mut |runner| {
        let gallery = runner.folder().join("pages");
        let run = std::process::Command::new(&browser)
            .arg("tests/gallery/first_hour.py")
            .args([runner.link(), "fish"])
            .current_dir(root())
            .output()
            .unwrap();
        stdout(&run);
        let kept = fs::read_to_string(gallery.join("corrections.jsonl")).unwrap();
        corrected += kept.lines().count();
    });
    assert_eq!(corrected, 3);
    typed_queries(&runner);
}

/// The README's queries typed into the shell, which show the same rows there.
fn typed_queries(runner: &Runner) {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let mut typed = 0;
    for block in blocks(&text).iter().filter(|block| block.kind == "console") {
        for step in block.steps() {
            let query = step.command.strip_prefix("picsift sql \"");
            let Some(query) = query.and_then(|query| query.strip_suffix('"')) else {
                continue;
            };
            let statement = format!("{query};");
            let mut lines: Vec<&str> = statement.lines().collect();
            lines.push("exit");
            let shown = shell::typed_in(runner.folder(), "xterm", "62;22c", &lines);
            let Some(shown) = shown else { return };
            for row in &step.printed {
                assert!(shown.contains(row), "no {row} in {shown}");
            }
            typed += 1;
        }
    }
    assert!(typed >= 2, "{typed}");
}

#[test]
fn the_commands_of_the_book_run_and_print_what_is_shown() {
    if python("pandas, polars, duckdb, pyarrow, datasets").is_err()
        && std::env::var_os("PICSIFT_REQUIRE_READERS").is_none()
    {
        eprintln!("skipped: there is no Python that has tests/readers/requirements.txt");
        return;
    }
    let pages: Vec<_> = pages().into_iter().skip(1).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    // Two at a time: a page is a few seconds of one command after the other.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(page) =
                    pages.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    run(page, &mut Runner::new(), &mut |_| ());
                }
            });
        }
    });
}
