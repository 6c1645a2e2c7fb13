//! From a noun to its classes, or to why it has none and which nouns near it have some.

use super::error::{Problem, UnknownNoun};
use super::fold::fold;
use super::lexicon::Lexicon;
use super::morphology::singular;
use super::near::near;

/// A noun says something when at most so many in ten of all classes are kinds of it. Between the widest that do, seven in ten (an artifact
/// among COCO's things), and those that do not, nine in ten, lies a gap.
const MOST_IN_TEN: usize = 8;

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
        let classes = classes_in(&[self], noun)?;
        Ok(classes.into_iter().flatten().collect())
    }

    fn unknown(&self, noun: &str, bare: &str, problem: Problem) -> UnknownNoun {
        let known = singular(self.nouns, bare);
        let (near, says_kind) = near(self, bare, known.as_ref());
        UnknownNoun {
            noun: noun.trim().to_owned(),
            problem,
            near,
            says_kind,
        }
    }

    /// Why a folded noun has no classes.
    fn problem(&self, key: &str) -> Problem {
        if key.is_empty() {
            return Problem::Empty;
        }
        let Some(noun) = singular(self.nouns, key) else {
            return Problem::NotListed;
        };
        let most = noun
            .senses
            .iter()
            .map(|sense| self.cover(sense.synset).len())
            .max();
        match most {
            Some(classes) if classes > 0 => Problem::TooFew(classes),
            _ => Problem::NoClass,
        }
    }
}

/// What [`Lexicon::classes_of`] gives, for each of several lists of classes; empty for one that does not know the noun. All take it in the
/// same form, the first one that any of them knows.
///
/// # Errors
/// [`UnknownNoun`] when none of them knows it, or it is true of nearly all classes of one.
pub(crate) fn classes_in(lexicons: &[&Lexicon], noun: &str) -> Result<Vec<Vec<u16>>, UnknownNoun> {
    let key = fold(noun);
    let bare = without_article(&key);
    let forms = lexicons.first().map(|first| {
        let forms = first.forms(&key);
        forms.chain(first.forms(bare).collect::<Vec<_>>())
    });
    let found = forms.into_iter().flatten().find_map(|form| {
        let all = lexicons.iter();
        let classes: Vec<_> = all.map(|lexicon| lexicon.form(&form)).collect();
        classes
            .iter()
            .any(|classes| !classes.is_empty())
            .then_some(classes)
    });
    let is_wide = |lexicon: &Lexicon, classes: &Vec<u16>| {
        classes.len() * 10 > usize::from(lexicon.list.count()) * MOST_IN_TEN
    };
    let problems = match found {
        Some(classes) => {
            let pairs = lexicons.iter().zip(&classes);
            let wide: Vec<_> = pairs
                .filter(|(lexicon, classes)| is_wide(lexicon, classes))
                .map(|(lexicon, classes)| (*lexicon, Problem::TooMany(classes.len())))
                .collect();
            if wide.is_empty() {
                return Ok(classes);
            }
            wide
        }
        None => lexicons
            .iter()
            .map(|lexicon| (*lexicon, lexicon.problem(bare)))
            .collect(),
    };
    let unknown = problems
        .into_iter()
        .map(|(lexicon, problem)| lexicon.unknown(noun, bare, problem));
    // Without a list nothing is known.
    Err(unknown.reduce(UnknownNoun::or).unwrap_or(UnknownNoun {
        noun: noun.trim().to_owned(),
        problem: Problem::NoClass,
        near: Vec::new(),
        says_kind: false,
    }))
}

/// `a dog`, `the dog`: people write categories so, and no noun with classes begins like that.
fn without_article(key: &str) -> &str {
    ["a ", "an ", "the "]
        .iter()
        .find_map(|article| key.strip_prefix(article))
        .unwrap_or(key)
}
