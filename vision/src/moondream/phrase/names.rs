//! Capitals: which words are names, which only carry a label's capital, which are acronyms.
//!
//! A capital says little by itself, people write labels as `Dog`, `Polar Bear` and `DOG`. So WordNet and the tagger are asked
//! what the word is without it. WordNet's table does not tell an instance (Paris) from a kind (city), hence the lists of
//! what names are usually kinds of.

use harper_brill::{Tagger, UPOS, brill_tagger};

use super::head_of;
use crate::wordnet::Lexicon;

/// Capitals mark these whatever they describe (German, French, Sunday).
const CAPITAL_KINDS: &[&str] = &["inhabitant", "natural language", "calendar day"];
/// A name whose first sense is one of these is a place,
const PLACES: &[&str] = &["municipality", "administrative district", "continent"];
/// and one whose senses are all among these is nothing common.
const NAMED: &[&str] = &[
    "person",
    "spiritual being",
    "municipality",
    "administrative district",
    "continent",
];
/// Names of these take an article.
const LANDMARKS: &[&str] = &["building", "structure", "sculpture", "body of water"];

/// How a name that is no category of things is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameForm {
    /// Is Paris in the image?
    Bare,
    /// Is the Eiffel Tower in the image?
    The,
    /// A kind of a common noun, and so with an article after all: a Boston Terrier.
    Kind,
}

/// Whether these words are a name, and of what sort.
pub(super) fn name_form(lexicon: &Lexicon, words: &[&str]) -> Option<NameForm> {
    let is_small = |word: &str| {
        let key = word.to_lowercase();
        matches!(key.as_str(), "of" | "the" | "de" | "la" | "du" | "and")
    };
    if !words
        .iter()
        .all(|word| is_capitalised(word) || is_small(word))
    {
        return None;
    }
    let is_name = |(at, word): (usize, &&str)| {
        let after_of = at > 0 && words[at - 1].eq_ignore_ascii_case("of") && is_capitalised(word);
        after_of || is_name_word(lexicon, word, at + 1 == words.len())
    };
    if !words.iter().enumerate().any(is_name) && !is_place(lexicon, words) {
        return None;
    }
    let head = words[head_of(words)];
    let is_one_word = words.len() == 1;
    Some(
        if is_one_word || is_name_word(lexicon, head, true) || is_place(lexicon, words) {
            NameForm::Bare
        } else if lexicon
            .senses_under(head, LANDMARKS)
            .first()
            .is_some_and(|under| *under)
        {
            NameForm::The
        } else {
            NameForm::Kind
        },
    )
}

/// Whether WordNet has the words together for a place (New York), and not for a kind of one (Ghost Town).
fn is_place(lexicon: &Lexicon, words: &[&str]) -> bool {
    let senses = lexicon.senses_under(&words.join(" "), PLACES);
    let ends_common = words
        .last()
        .is_some_and(|last| tag(last) == Some(UPOS::NOUN));
    words.len() > 1 && senses.first().is_some_and(|under| *under) && !ends_common
}

/// Whether a capitalised word is a name rather than a common word or an adjective of a people. The tagger's word alone will
/// not do: it has `tiger` and `van` for names.
fn is_name_word(lexicon: &Lexicon, word: &str, is_last: bool) -> bool {
    if !is_capitalised(word) || keeps_capital(lexicon, word) {
        return false;
    }
    let named = lexicon.senses_under(word, NAMED);
    let only_named = named.iter().all(|under| *under);
    match tag(word) {
        _ if named.is_empty() && lexicon.lemma(word).is_some() => false,
        Some(UPOS::PROPN) => {
            let place = lexicon.senses_under(word, PLACES);
            only_named || place.first().is_some_and(|under| *under)
        }
        Some(_) => false,
        // A surname before a noun (Eiffel Tower); alone it may be a profession (Firefighter).
        None => named.is_empty() || (only_named && !is_last && lexicon.met(word) == Some(0)),
    }
}

/// The name with the capitals of a label in lower case.
pub(super) fn lower_labels(lexicon: &Lexicon, words: &[&str]) -> String {
    let all_shout = words.iter().all(|word| is_upper(word));
    let lower = |word: &&str| {
        let is_label = if is_upper(word) {
            all_shout && is_shouted(lexicon, word)
        } else {
            is_capitalised(word)
                && !keeps_capital(lexicon, word)
                && !is_name_word(lexicon, word, true)
        };
        if is_label {
            word.to_lowercase()
        } else {
            (*word).to_owned()
        }
    };
    words.iter().map(lower).collect::<Vec<_>>().join(" ")
}

/// One capital, at the start of a part of the word: `Dog`, `Black-Footed`, but not `T-shirt`, `McDonald` or `UFO`.
fn is_capitalised(word: &str) -> bool {
    let mut parts = word.split('-');
    let starts = |part: &str| part.chars().next().is_some_and(char::is_uppercase);
    let first = parts
        .next()
        .is_some_and(|part| starts(part) && part.chars().count() > 1);
    first
        && word
            .split('-')
            .all(|part| !part.chars().skip(1).any(char::is_uppercase))
}

/// Two letters or more, all capitals.
pub(super) fn is_upper(word: &str) -> bool {
    word.chars().filter(|c| c.is_uppercase()).count() > 1 && !word.chars().any(char::is_lowercase)
}

/// Whether a word in capitals is an ordinary one (`DOG`) rather than an acronym (`UFO`, `SUV`, `DNA`, `TV`): three
/// letters or more with a vowel among them, and met more than once in WordNet's texts or, from four letters on, known to the tagger.
fn is_shouted(lexicon: &Lexicon, word: &str) -> bool {
    let letters = word.chars().count();
    let has_vowel = word.contains(['A', 'E', 'I', 'O', 'U', 'Y']);
    let is_common = lexicon.met(word).is_some_and(|met| met > 1)
        || (letters > 3 && tag(word).is_some_and(|tag| tag != UPOS::PROPN));
    letters > 2 && has_vowel && is_common
}

fn keeps_capital(lexicon: &Lexicon, word: &str) -> bool {
    let key = word.to_lowercase();
    let senses = lexicon.senses_under(&key, CAPITAL_KINDS);
    senses.first().is_some_and(|under| *under)
}

/// What the tagger has a word for on its own.
pub(super) fn tag(word: &str) -> Option<UPOS> {
    let tags = brill_tagger().tag_sentence(&[word.to_owned()]);
    tags.into_iter().next().flatten()
}
