//! README and docs: every command in them runs and prints what they show, what is said of flags, functions and settings is what the
//! program says, and links lead somewhere.
//!
//! With `PICSIFT_DOCS=write` the tests write what is printed and said today into the pages instead; then look at the difference.

mod blocks;
mod book;
mod page;
mod reference;
mod runner;

use std::path::{Path, PathBuf};

use crate::support::root;

/// Whether pages are brought up to date rather than compared.
fn writing() -> bool {
    std::env::var("PICSIFT_DOCS").is_ok_and(|value| value == "write")
}

/// The README, and all pages of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let files = walkdir::WalkDir::new(root().join("docs")).sort_by_file_name();
    pages.extend(
        files
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "md")),
    );
    pages
}

/// A page's path below the repository's root.
fn name(page: &Path) -> String {
    page.strip_prefix(root()).unwrap().display().to_string()
}
