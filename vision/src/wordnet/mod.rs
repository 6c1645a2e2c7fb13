//! English nouns: what is one, what is its singular, and which image classes are kinds of it.
//!
//! Owns the WordNet table and the rules by which a noun becomes a set of ImageNet classes. It knows
//! classes only as the numbers that the table gives them: no model, score or threshold comes in here.
//!
//! # From a noun to classes
//!
//! A class is under a noun when one of the noun's senses (a WordNet *synset*) is the class's synset or
//! among its hypernyms, at any distance. Most nouns have several senses and only some are meant:
//! asked for a toy, nobody wants toy dogs. WordNet orders the senses of a noun by how often
//! they were met in texts tagged by hand, and gives the counts; but senses never met come last in no
//! particular order, and often several senses are near each other (the `table` to write on and the
//! `table` to eat from). So of the senses that have any class below them these are kept:
//!
//! 1. those met at least a tenth as often as the one met most often; when none was ever met, all;
//! 2. those that share a class with a kept one: two views of one meaning (`food`, `missile`);
//! 3. besides, a class whose own name in the class list is the noun (`rooster`, `plate`).
//!
//! The alternatives do worse on the nouns a person would use (only 92 nouns have covering senses that
//! differ). The first covering sense alone makes an `amphibian` a vehicle, a `plant` a sawmill, a
//! `plate` a hockey puck and a `table` no dining table. All senses make lions `cat`s, lap dogs
//! `toy`s, a carpenter's plane a `plane` and a bubble a `ball`.
//!
//! A noun must also tell images apart. One that nearly every class is a kind of (`object`) would hold for
//! every picture, and one of whose kinds the model has fewer than one in a thousand would hold for
//! none: the 3 classes that are kinds of `person` are a scuba diver, a groom and a baseball player. Both are refused, and
//! said why. Between `person` (3 of 10,297 kinds) or `location` and the next everyday nouns
//! (`substance`, `shape`, `flower`, `paper`) lies a wide gap, so the bound's exact value matters little.
//!
//! What no rule of this kind can know: classes that the model lacks. `mouse` is the computer's, because no
//! class is the animal; `seal` and `kite` are the animals for the same reason; `crane` is the bird and the
//! machine, of which neither was ever met. `bat`, `chicken` and `lamb` have no class at all.

mod morphology;
mod near;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use table::{Noun, Nouns, Sense, Synsets};

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
    noun: String,
    problem: Problem,
    near: Vec<String>,
}

/// Why a noun has no classes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
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
    /// Nouns near it that [`Lexicon::classes_of`] accepts, the most helpful first, at most five.
    #[must_use]
    pub fn near(&self) -> &[String] {
        &self.near
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

/// The nouns of WordNet 3.0 and the image classes under them. Use the one in the program, [`Lexicon::embedded`].
#[derive(Debug)]
pub struct Lexicon {
    nouns: Nouns,
    synsets: Synsets,
}

static EMBEDDED: LazyLock<Result<Lexicon, WordnetError>> = LazyLock::new(|| {
    Ok(Lexicon {
        nouns: Nouns::embedded()?,
        synsets: Synsets::embedded()?,
    })
});

/// A noun is known when the model has at least one in so many of its kinds,
const KINDS_PER_CLASS: usize = 1000;

/// and when at most so many classes are kinds of it: nine in ten.
const MOST_CLASSES: usize = 900;

/// A sense is kept when it was met at least this part as often as the one met most often.
const RAREST_PART: u32 = 10;

impl Lexicon {
    /// The lexicon in the program, decompressed on first use.
    ///
    /// # Errors
    /// [`WordnetError`] when the program was built with a damaged table.
    pub fn embedded() -> Result<&'static Self, WordnetError> {
        EMBEDDED.as_ref().map_err(Clone::clone)
    }

    /// The image classes that are kinds of `noun`, sorted and distinct, never empty.
    ///
    /// The noun may be in singular or plural, in any case, of several words with blanks, hyphens or
    /// underscores between them, and with an article. A form that is a noun of its own and has classes is taken as it stands
    /// (`glasses` are spectacles); else as the plural of what it is the plural of.
    ///
    /// # Errors
    /// [`UnknownNoun`] when no class is a kind of it, or too few or too many are.
    pub fn classes_of(&self, noun: &str) -> Result<Vec<u16>, UnknownNoun> {
        let key = morphology::fold(noun);
        let bare = without_article(&key);
        let unknown = |problem| {
            let known = morphology::singular(&self.nouns, bare);
            UnknownNoun {
                noun: noun.trim().to_owned(),
                problem,
                near: near::near(self, bare, known.as_ref()),
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
        let Some(noun) = morphology::singular(&self.nouns, key) else {
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

    /// Whether a noun usually means something of whose kinds the model has too few classes to know it by.
    fn is_sparse(&self, noun: &Noun<'_>) -> bool {
        let covering: Vec<Sense> = noun
            .senses
            .iter()
            .copied()
            .filter(|sense| !self.synsets.cover(sense.synset).is_empty())
            .collect();
        usual(&covering).any(|sense| {
            let most = self.synsets.cover(sense.synset).len() * KINDS_PER_CLASS;
            self.synsets.kinds(sense.synset, most + 1) > most
        })
    }

    /// The singular of a noun as WordNet spells it, in lower case; a singular gives itself, no noun gives nothing.
    /// Takes the same forms as [`Lexicon::classes_of`], but for the article.
    #[must_use]
    pub fn lemma(&self, word: &str) -> Option<String> {
        Some(
            morphology::singular(&self.nouns, &morphology::fold(word))?
                .spelling
                .to_owned(),
        )
    }

    /// How often a noun, singular or plural, was met in WordNet's tagged texts; nothing when it lists no such noun.
    pub(crate) fn met(&self, noun: &str) -> Option<u32> {
        morphology::singular(&self.nouns, &morphology::fold(noun)).map(|noun| noun.count())
    }

    /// Per sense of a noun as it stands, the most usual first, whether it is any sense of one of these nouns or a kind
    /// or an instance of one; empty when WordNet lists no such noun.
    pub(crate) fn senses_under(&self, noun: &str, kinds: &[&str]) -> Vec<bool> {
        let tops: Vec<u32> = kinds
            .iter()
            .filter_map(|kind| self.nouns.find(kind))
            .flat_map(|kind| kind.senses)
            .map(|sense| sense.synset)
            .collect();
        let Some(noun) = self.nouns.find(&morphology::fold(noun)) else {
            return Vec::new();
        };
        let under = |sense: &Sense| {
            let above = self.synsets.at_or_above(sense.synset);
            above.iter().any(|(synset, _)| tops.contains(synset))
        };
        noun.senses.iter().map(under).collect()
    }

    /// Whether a compound that begins with an adjective is a thing of its own, not just such a noun: WordNet has it as
    /// a kind of its last word (polar bear, hot dog), or it has classes (German shepherd), or it was met in the
    /// tagged texts (comic book). A black cat is not (WordNet means a marten), nor is a white horse (a wave).
    pub(crate) fn is_fixed(&self, compound: &str) -> bool {
        let key = morphology::fold(compound);
        let noun = morphology::singular(&self.nouns, &key);
        let head = key
            .rsplit(' ')
            .next()
            .and_then(|head| morphology::singular(&self.nouns, head));
        let (Some(noun), Some(head)) = (noun, head) else {
            return false;
        };
        let is_kind = |sense: &Sense| {
            let above = self.synsets.at_or_above(sense.synset);
            above
                .iter()
                .any(|&(synset, _)| head.senses.iter().any(|sense| sense.synset == synset))
        };
        noun.count() > 0 || noun.senses.iter().any(is_kind) || self.classes(&key).is_some()
    }

    /// The classes of a folded noun, as it stands or as a plural; nothing when there are none.
    fn classes(&self, key: &str) -> Option<Vec<u16>> {
        let forms = std::iter::once(key.to_owned()).chain(morphology::singulars(&self.nouns, key));
        forms
            .map(|form| self.classes_as_it_stands(&form))
            .find(|classes| !classes.is_empty())
    }

    fn classes_as_it_stands(&self, key: &str) -> Vec<u16> {
        let mut classes = self.synsets.classes_named(key).to_vec();
        let noun = self.nouns.find(key).filter(|noun| !self.is_sparse(noun));
        for sense in noun.map(|noun| self.kept_senses(&noun)).unwrap_or_default() {
            classes.extend(self.synsets.cover(sense.synset));
        }
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The senses of a noun that have classes and that a person is likely to mean; the module's
    /// documentation gives the rule.
    fn kept_senses(&self, noun: &Noun<'_>) -> Vec<Sense> {
        let classes = |sense: &Sense| self.synsets.cover(sense.synset);
        let covering: Vec<Sense> = noun
            .senses
            .iter()
            .copied()
            .filter(|sense| !classes(sense).is_empty())
            .collect();
        let usual: Vec<Sense> = usual(&covering).collect();
        let shares = |a: &Sense, b: &Sense| {
            classes(a)
                .iter()
                .any(|class| classes(b).binary_search(class).is_ok())
        };
        covering
            .into_iter()
            .filter(|sense| {
                usual
                    .iter()
                    .any(|kept| kept == sense || shares(kept, sense))
            })
            .collect()
    }
}

/// Of some senses those met at least a tenth as often as the one met most often.
fn usual(senses: &[Sense]) -> impl Iterator<Item = Sense> {
    let most = senses.iter().map(|sense| sense.count).max().unwrap_or(0);
    senses
        .iter()
        .copied()
        .filter(move |sense| sense.count.saturating_mul(RAREST_PART) >= most)
}

/// `a dog`, `the dog`: people write categories so, and no noun with classes begins like that.
fn without_article(key: &str) -> &str {
    ["a ", "an ", "the "]
        .iter()
        .find_map(|article| key.strip_prefix(article))
        .unwrap_or(key)
}
