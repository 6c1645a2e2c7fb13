//! A page as text and fenced blocks: what of it is to be run, and what is marked as not to be.
//!
//! Of a `console` block each line that begins with `$ ` is a command, lines that begin with `> ` go on with it, and what follows is
//! what it prints. What a block of `python` prints is the block of `text` right behind it; of `sql` nothing is shown. Any block may be marked by the line before it:
//! `<!-- not run: why -->` where it cannot run in a test, `<!-- run by: which test -->` where another test runs it.

/// Kinds of blocks that hold commands; others are data, and nothing of them runs.
const COMMANDS: [&str; 5] = ["console", "sh", "python", "py", "sql"];

/// Kinds that are data.
const DATA: [&str; 5] = ["toml", "yaml", "text", "json", ""];

/// How a block is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// It runs here.
    None,
    /// It cannot run in a test, for this reason.
    NotRun(String),
    /// Another test runs it.
    RunBy(String),
}

/// A fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The word behind its fence.
    pub(super) kind: String,
    /// How it is marked.
    pub(super) mark: Mark,
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// The number of its first line in the page, from 0.
    pub(super) first: usize,
}

/// One command of a `console` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What a shell is given.
    pub(super) command: String,
    /// How many of the block's lines it takes.
    pub(super) lines: usize,
    /// What it prints.
    pub(super) printed: Vec<String>,
}

impl Block {
    /// Whether it holds commands.
    pub(super) fn is_command(&self) -> bool {
        COMMANDS.contains(&self.kind.as_str())
    }

    /// The commands of a `console` block, in their order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for line in &self.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    command: command.to_owned(),
                    lines: 1,
                    printed: Vec::new(),
                });
                continue;
            }
            let step = steps
                .last_mut()
                .unwrap_or_else(|| panic!("a console block begins with {line:?}, no command"));
            match line.strip_prefix("> ") {
                Some(more) if step.printed.is_empty() => {
                    step.command += &format!("\n{more}");
                    step.lines += 1;
                }
                _ => step.printed.push(line.clone()),
            }
        }
        steps
    }
}

/// The fenced blocks of a page.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut mark) = (false, Mark::None);
    for (number, line) in text.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```") {
            if !open {
                assert!(
                    COMMANDS.contains(&kind) || DATA.contains(&kind),
                    "line {}: no kind of block is called {kind:?}",
                    number + 1
                );
                blocks.push(Block {
                    kind: kind.to_owned(),
                    mark: std::mem::replace(&mut mark, Mark::None),
                    lines: Vec::new(),
                    first: number + 1,
                });
            }
            open = !open;
        } else if open {
            let block = blocks.last_mut().expect("a fence was seen");
            block.lines.push(line.to_owned());
        } else {
            mark = marked(line);
        }
    }
    assert!(!open, "a block has no end");
    blocks
}

fn marked(line: &str) -> Mark {
    let comment = line
        .strip_prefix("<!-- ")
        .and_then(|line| line.strip_suffix(" -->"));
    match comment.and_then(|comment| comment.split_once(": ")) {
        Some(("not run", why)) => Mark::NotRun(why.to_owned()),
        Some(("run by", test)) => Mark::RunBy(test.to_owned()),
        _ => Mark::None,
    }
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let text = "\
a\n<!-- not run: weights -->\n```sh\nls\n```\n<!-- not run: nothing -->\nb\n```console\n$ echo a \\\n> b\na b\n$ true\n```\n";
    let found = blocks(text);
    assert_eq!(found[0].mark, Mark::NotRun("weights".into()));
    // A mark is of the block that it stands right before.
    assert_eq!(found[1].mark, Mark::None);
    assert_eq!((found[1].first, found[1].lines.len()), (8, 4));
    let steps = found[1].steps();
    assert_eq!(steps[0].command, "echo a \\\nb");
    assert_eq!(steps[0].printed, ["a b"]);
    assert_eq!(steps[1].command, "true");
    assert!(steps[1].printed.is_empty());
}
