//! From a noun to its classes, or to why it has none and which nouns near it have some.

use super::error::{Problem, UnknownNoun};
use super::fold::fold;
use super::lexicon::Lexicon;
use super::morphology::singular;
use super::near::near;

/// A noun says something when at most so many classes are kinds of it: nine in ten.
const MOST_CLASSES: usize = 900;

impl Lexicon {
    /// The image classes that are kinds of `noun`, sorted and distinct, never empty.
    ///
    /// The noun may be in singular or plural, in any case, of several words with blanks, hyphens or
    /// underscores between them, and with an article. A form that is a noun of its own and has classes is taken as it stands
    /// (`glasses` are spectacles); else as the plural of what it is the plural of.
    ///
    /// # Errors
    /// [`UnknownNoun`] when no class is a kind of it, or too few or too many are.
    pub fn classes_of(&self, noun: &str) -> Result<Vec<u16>, UnknownNoun> {
        let key = fold(noun);
        let bare = without_article(&key);
        let unknown = |problem| {
            let known = singular(&self.nouns, bare);
            UnknownNoun {
                noun: noun.trim().to_owned(),
                problem,
                near: near(self, bare, known.as_ref()),
            }
        };
        match self.classes(&key).or_else(|| self.classes(bare)) {
            Some(classes) if classes.len() > MOST_CLASSES => {
                Err(unknown(Problem::TooMany(classes.len())))
            }
            Some(classes) => Ok(classes),
            None => Err(unknown(self.problem(bare))),
        }
    }

    /// Why a folded noun has no classes.
    fn problem(&self, key: &str) -> Problem {
        if key.is_empty() {
            return Problem::Empty;
        }
        let Some(noun) = singular(&self.nouns, key) else {
            return Problem::NotListed;
        };
        let most = noun
            .senses
            .iter()
            .map(|sense| self.synsets.cover(sense.synset).len())
            .max();
        match most {
            Some(classes) if classes > 0 => Problem::TooFew(classes),
            _ => Problem::NoClass,
        }
    }
}

/// `a dog`, `the dog`: people write categories so, and no noun with classes begins like that.
fn without_article(key: &str) -> &str {
    ["a ", "an ", "the "]
        .iter()
        .find_map(|article| key.strip_prefix(article))
        .unwrap_or(key)
}
