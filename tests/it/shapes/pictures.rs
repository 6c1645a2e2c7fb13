//! The drawn pictures with what is on them, and how right answers are counted.

use std::path::{Path, PathBuf};

use arrow::array::{BinaryArray, StringArray};

use crate::support::*;

/// The shapes that the model knows.
pub(super) const SHAPES: [&str; 5] = ["circle", "square", "triangle", "star", "cross"];

/// One picture and the shapes on it with their colours.
pub(super) struct Picture {
    pub(super) file: String,
    pub(super) objects: Vec<(String, String)>,
}

/// The folder of the pictures, relative to the repository.
pub(super) const FOLDER: &str = "vision/tests/data/shapes";

/// Every picture, in the order of their names.
pub(super) fn pictures() -> Vec<Picture> {
    let table = std::fs::read_to_string(root().join(FOLDER).join("scenes.csv")).unwrap();
    let mut pictures: Vec<_> = table
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<_> = line.split(',').map(str::to_owned).collect();
            let objects = cells[1..]
                .chunks(2)
                .filter(|pair| !pair[0].is_empty())
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            Picture {
                file: cells[0].clone(),
                objects,
            }
        })
        .collect();
    pictures.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(
        pictures.len() >= 8,
        "{} pictures are too few",
        pictures.len()
    );
    pictures
}

impl Picture {
    pub(super) fn path(&self) -> PathBuf {
        root().join(FOLDER).join(&self.file)
    }

    /// Whether the picture shows what a category such as `red circle`, `star`, `blue shape` or `circles` names.
    pub(super) fn shows(&self, category: &str) -> bool {
        let (colour, noun) = match category.split_once(' ') {
            Some((colour, noun)) => (Some(colour), noun),
            None => (None, category),
        };
        self.objects.iter().any(|(shape, its_colour)| {
            let is_noun = noun == "shape" || noun == shape || noun.strip_suffix('s') == Some(shape);
            is_noun && colour.is_none_or(|colour| colour == its_colour)
        })
    }

    /// The colour of the only object of a shape.
    pub(super) fn colour_of(&self, shape: &str) -> Option<&str> {
        let mut found = self.objects.iter().filter(|(own, _)| own == shape);
        match (found.next(), found.next()) {
            (Some((_, colour)), None) => Some(colour),
            _ => None,
        }
    }
}

/// Writes all pictures as a table of `file` and the bytes `image`, and behind them a row without an image.
pub(super) fn write_pictures(path: &Path, pictures: &[Picture]) {
    let bytes: Vec<_> = pictures
        .iter()
        .map(|picture| std::fs::read(picture.path()).unwrap())
        .collect();
    let images = bytes.iter().map(|bytes| Some(bytes.as_slice()));
    let files = pictures.iter().map(|picture| picture.file.as_str());
    write_table(
        path,
        vec![
            (
                "file",
                array(StringArray::from_iter_values(files.chain(["none"]))),
            ),
            ("image", array(BinaryArray::from_iter(images.chain([None])))),
        ],
    );
}

/// How many answers were right.
#[derive(Default)]
pub(super) struct Share {
    asked: usize,
    wrong: Vec<String>,
}

impl Share {
    /// Counts an answer, which `what` describes.
    pub(super) fn count(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        self.asked += 1;
        if !is_right {
            self.wrong.push(what());
        }
    }

    fn print(&self, of: &str) {
        let Self { asked, wrong } = self;
        println!(
            "{of}: {} of {asked} right; wrong: {wrong:?}",
            asked - wrong.len()
        );
    }

    /// Prints the share and asserts that at most one answer in ten is wrong, or a single one.
    pub(super) fn hold(&self, of: &str) {
        self.print(of);
        self.check(of);
    }

    fn check(&self, of: &str) {
        let Self { asked, wrong } = self;
        let right = asked - wrong.len();
        assert!(*asked > 0, "{of}: nothing was asked");
        assert!(
            wrong.len() <= (asked / 10).max(1),
            "{of}: only {right} of {asked} right: {wrong:?}"
        );
    }
}

/// Right answers among questions whose answer is yes and among those whose answer is no, apart: a model that says no to
/// everything is right of most categories.
#[derive(Default)]
pub(super) struct YesNo {
    yes: Share,
    no: Share,
}

impl YesNo {
    /// Counts the answer to whether the picture shows the category.
    pub(super) fn count(&mut self, picture: &Picture, category: &str, answer: bool) {
        let truth = picture.shows(category);
        let share = if truth { &mut self.yes } else { &mut self.no };
        share.count(answer == truth, || {
            format!("{category} in {}", picture.file)
        });
    }

    /// [`Share::hold`] of both.
    pub(super) fn hold(&self, of: &str) {
        let shares = [(&self.yes, "what is there"), (&self.no, "what is not")]
            .map(|(share, which)| (share, format!("{of}, {which}")));
        // Both are seen before one fails.
        for (share, of) in &shares {
            share.print(of);
        }
        for (share, of) in &shares {
            share.check(of);
        }
    }
}
