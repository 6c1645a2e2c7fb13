//! Why a noun has no classes, and what a broken table is, each as one sentence.

use std::collections::HashSet;
use std::sync::Arc;

/// More near nouns would not be read.
pub(super) const MOST_NEAR: usize = 5;

/// The table in the program cannot be read: the build is broken, nothing a person did.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WordnetError {
    /// The compressed bytes are damaged.
    #[error("the embedded WordNet table {table} does not decompress")]
    Damaged {
        /// Which of the tables.
        table: &'static str,
        /// What zstd says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A line is not in the format that `data/wordnet/README.md` gives.
    #[error("the embedded WordNet table {table} is malformed in line {line}")]
    Malformed {
        /// Which of the tables.
        table: &'static str,
        /// Counted from 1.
        line: usize,
    },
}

/// A noun that the classes cannot tell apart. The message is one sentence that names nouns which they can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct UnknownNoun {
    pub(super) noun: String,
    pub(super) problem: Problem,
    pub(super) near: Vec<String>,
    /// Whether one of them says what the noun is, as `person` does of a woman.
    pub(super) says_kind: bool,
}

/// Why a noun has no classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// There is no noun.
    Empty,
    /// WordNet does not list it.
    NotListed,
    /// No class is a kind of it.
    NoClass,
    /// So few of its kinds are classes that their absence says nothing.
    TooFew(usize),
    /// So many classes are kinds of it that their presence says nothing.
    TooMany(usize),
}

impl UnknownNoun {
    /// Nouns near it that [`super::Lexicon::classes_of`] accepts, the most helpful first, at most five.
    #[must_use]
    pub fn near(&self) -> &[String] {
        &self.near
    }

    /// One error for a noun that neither of two lists of classes knows: where one of them knows some kinds of it, that is the
    /// reason; the nouns near it are those of both by turns, or where one says what the noun is, of that one.
    pub(super) fn or(self, other: Self) -> Self {
        let (first, second) = match (&self.problem, &other.problem) {
            (Problem::NoClass, Problem::TooFew(_) | Problem::TooMany(_)) => (other, self),
            _ => (self, other),
        };
        let says_kind = first.says_kind || second.says_kind;
        let of = |one: &Self| match one.says_kind == says_kind {
            true => one.near.clone(),
            false => Vec::new(),
        };
        let mut near = Vec::new();
        let mut others = of(&second).into_iter();
        for name in of(&first) {
            near.push(name);
            near.extend(others.next());
        }
        near.extend(others);
        let mut met = HashSet::new();
        near.retain(|name| met.insert(name.clone()));
        near.truncate(MOST_NEAR);
        Self {
            near,
            says_kind,
            ..first
        }
    }

    fn sentence(&self) -> String {
        let noun = &self.noun;
        let problem = match self.problem {
            Problem::Empty => "an empty text is no category: give a noun, such as dog".to_owned(),
            Problem::NotListed => format!("{noun:?} is not an English noun that WordNet lists"),
            Problem::NoClass => format!("the model has no class that is a kind of {noun:?}"),
            Problem::TooFew(classes) => format!(
                "the model knows only {classes} of the thousands of kinds of {noun:?}, too few to tell where there is none"
            ),
            Problem::TooMany(classes) => format!(
                "{classes} of the model's classes are kinds of {noun:?}, so it would hold for every image"
            ),
        };
        match self.near.as_slice() {
            [] => problem,
            near => format!("{problem}; near it, the model knows: {}", near.join(", ")),
        }
    }
}
