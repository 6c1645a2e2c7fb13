//! The nouns with their classes, and the rules by which senses are kept; the module above gives them.

use std::sync::LazyLock;

use super::error::WordnetError;
use super::fold::fold;
use super::morphology;
use super::table::{ClassList, Noun, Nouns, Sense, Synsets};

/// The nouns of WordNet 3.0 and the image classes of one list under them. Use those in the program, [`Lexicon::embedded`] and
/// [`Lexicon::of`].
#[derive(Debug)]
pub struct Lexicon {
    pub(super) nouns: &'static Nouns,
    pub(super) synsets: &'static Synsets,
    /// The list whose classes are meant.
    pub(super) list: ClassList,
}

static NOUNS: LazyLock<Result<Nouns, WordnetError>> = LazyLock::new(Nouns::embedded);
static SYNSETS: LazyLock<Result<Synsets, WordnetError>> = LazyLock::new(Synsets::embedded);
static IMAGENET: LazyLock<Result<Lexicon, WordnetError>> =
    LazyLock::new(|| read(ClassList::ImageNet));
static COCO: LazyLock<Result<Lexicon, WordnetError>> = LazyLock::new(|| read(ClassList::Coco));

fn read(list: ClassList) -> Result<Lexicon, WordnetError> {
    Ok(Lexicon {
        nouns: NOUNS.as_ref().map_err(Clone::clone)?,
        synsets: SYNSETS.as_ref().map_err(Clone::clone)?,
        list,
    })
}

/// A noun is known when the model has at least one in so many of its kinds.
const KINDS_PER_CLASS: usize = 1000;

/// A sense is kept when it was met at least this part as often as the one met most often.
const RAREST_PART: u32 = 10;

impl Lexicon {
    /// The lexicon in the program with ImageNet's classes, decompressed on first use.
    ///
    /// # Errors
    /// [`WordnetError`] when the program was built with a damaged table.
    pub fn embedded() -> Result<&'static Self, WordnetError> {
        Self::of(ClassList::ImageNet)
    }

    /// The lexicon in the program with the classes of this list, decompressed on first use.
    ///
    /// # Errors
    /// As [`Lexicon::embedded`].
    pub fn of(list: ClassList) -> Result<&'static Self, WordnetError> {
        let lexicon = match list {
            ClassList::ImageNet => &IMAGENET,
            ClassList::Coco => &COCO,
        };
        lexicon.as_ref().map_err(Clone::clone)
    }

    /// For each class of this lexicon's list, by its number, the classes of another list that it is a kind of, or is itself: a robin is a bird.
    pub(crate) fn classes_above(&self, other: ClassList) -> Vec<Vec<u16>> {
        self.synsets.classes_above(self.list, other)
    }

    /// The classes that lie at or under a synset, sorted.
    pub(super) fn cover(&self, synset: u32) -> &'static [u16] {
        self.synsets.cover(self.list, synset)
    }

    /// Whether a noun usually means something of whose kinds the model has too few classes to know it by. What is a class itself
    /// is known by that, whatever its kinds.
    pub(super) fn is_sparse(&self, noun: &Noun<'_>) -> bool {
        let covering: Vec<Sense> = noun
            .senses
            .iter()
            .copied()
            .filter(|sense| !self.cover(sense.synset).is_empty())
            .collect();
        usual(&covering).any(|sense| {
            let most = self.cover(sense.synset).len() * KINDS_PER_CLASS;
            !self.synsets.is_class(self.list, sense.synset)
                && self.synsets.kinds(sense.synset, most + 1) > most
        })
    }

    /// The singular of a noun as WordNet spells it, in lower case; a singular gives itself, no noun gives nothing.
    /// Takes the same forms as [`Lexicon::classes_of`], but for the article.
    #[must_use]
    pub fn lemma(&self, word: &str) -> Option<String> {
        Some(
            morphology::singular(self.nouns, &fold(word))?
                .spelling
                .to_owned(),
        )
    }

    /// How often a noun, singular or plural, was met in WordNet's tagged texts; nothing when it lists no such noun.
    pub(crate) fn met(&self, noun: &str) -> Option<u32> {
        morphology::singular(self.nouns, &fold(noun)).map(|noun| noun.count())
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
        let Some(noun) = self.nouns.find(&fold(noun)) else {
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
        let key = fold(compound);
        let noun = morphology::singular(self.nouns, &key);
        let head = key
            .rsplit(' ')
            .next()
            .and_then(|head| morphology::singular(self.nouns, head));
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
    pub(super) fn classes(&self, key: &str) -> Option<Vec<u16>> {
        self.forms(key)
            .map(|form| self.form(&form))
            .find(|classes| !classes.is_empty())
    }

    /// What a folded noun may mean: itself, or what it may be the plural of.
    pub(super) fn forms(&self, key: &str) -> impl Iterator<Item = String> + use<> {
        std::iter::once(key.to_owned()).chain(morphology::singulars(self.nouns, key))
    }

    /// The classes of a folded noun as it stands; empty when there are none.
    pub(super) fn form(&self, key: &str) -> Vec<u16> {
        let mut classes = self.synsets.classes_named(self.list, key).to_vec();
        let noun = self.nouns.find(key).filter(|noun| !self.is_sparse(noun));
        for sense in noun.map(|noun| self.kept_senses(&noun)).unwrap_or_default() {
            classes.extend(self.cover(sense.synset));
        }
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The senses of a noun that have classes and that a person is likely to mean; the module's
    /// documentation gives the rule.
    pub(super) fn kept_senses(&self, noun: &Noun<'_>) -> Vec<Sense> {
        let classes = |sense: &Sense| self.cover(sense.synset);
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
pub(super) fn usual(senses: &[Sense]) -> impl Iterator<Item = Sense> {
    let most = senses.iter().map(|sense| sense.count).max().unwrap_or(0);
    senses
        .iter()
        .copied()
        .filter(move |sense| sense.count.saturating_mul(RAREST_PART) >= most)
}
