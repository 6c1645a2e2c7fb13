//! The book's contents name every page, and links of all pages lead to files, headings and pages that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{name, pages};
use crate::support::root;

/// Targets of a text's links, with the number of their line from 1; what stands in fences and code is no link.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            found.push((number + 1, target.to_owned()));
        }
    }
    found
}

/// What a heading is called in an address, as GitHub and mdBook have it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    lines
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let book = root().join("docs").canonicalize().unwrap();
    let others = ["ARCHITECTURE.md", "SECURITY.md", "datasets/README.md"].map(|n| root().join(n));
    for page in pages().into_iter().chain(others) {
        let text = fs::read_to_string(&page).unwrap();
        for (line, target) in links(&text) {
            let at = format!("{} line {line}: {target}", name(&page));
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let place = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let Ok(place) = place.canonicalize() else {
                broken.push(at);
                continue;
            };
            if page.starts_with(root().join("docs")) && !place.starts_with(&book) {
                broken.push(format!(
                    "{at}: the book is read without the repository around it"
                ));
            }
            if !heading.is_empty()
                && !anchors(&fs::read_to_string(&place).unwrap()).contains(heading)
            {
                broken.push(format!("{at}: no heading is called so"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// mdBook takes a folder with a `book.toml` and a `SUMMARY.md`, which lists the pages that it builds and no others.
#[test]
fn the_contents_name_every_page_once() {
    let folder = root().join("docs");
    let settings = fs::read_to_string(folder.join("book.toml")).unwrap();
    let settings: toml::Table = settings.parse().unwrap();
    assert_eq!(settings["book"]["src"].as_str(), Some("."));
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    let mut listed: Vec<_> = links(&summary).into_iter().map(|(_, page)| page).collect();
    listed.sort();
    let mut there: Vec<_> = pages()
        .iter()
        .filter_map(|page| page.strip_prefix(&folder).ok())
        .filter(|page| *page != Path::new("SUMMARY.md"))
        .map(|page| page.display().to_string())
        .collect();
    there.sort();
    assert_eq!(listed, there);
    for line in summary.lines().filter(|line| line.contains("](")) {
        let depth = line.len() - line.trim_start().len();
        let entry = line.trim_start();
        assert!(
            depth.is_multiple_of(2)
                && (entry.starts_with("- [") || depth == 0 && entry.starts_with('[')),
            "mdBook would not take {line:?}"
        );
    }
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() <= 150, "{}", text.lines().count());
    // A line of it is what a machine reads to know how to test.
    assert!(text.lines().any(|line| line.starts_with("cargo test ")));
}

#[test]
fn headings_are_called_as_pages_have_them() {
    for (heading, expected) in [
        ("How good: `picsift eval`", "how-good-picsift-eval"),
        ("Are the labels any good?", "are-the-labels-any-good"),
        ("pocket", "pocket"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
    let text = "# A b\n```sh\n# no heading\n[x](y)\n```\n`[a](b)` [c](d#e)";
    assert_eq!(links(text), [(6, "d#e".to_owned())]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a-b"]);
}
