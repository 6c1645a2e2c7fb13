//! The singular of a noun, by WordNet's own method (`morphy`, the one that NLTK uses): first the table of
//! irregular plurals, then rules that exchange an ending, each result checked against the nouns.

use super::table::{Noun, Nouns};

/// What a plural ends with, and what its singular ends with instead.
const ENDINGS: [(&str, &str); 9] = [
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
];

/// The forms that may be the singular of `key`, unchecked: irregular ones first. Of several words the last changes.
pub(super) fn singulars(nouns: &Nouns, key: &str) -> Vec<String> {
    let mut forms = irregular(nouns, key);
    forms.extend(regular(key));
    forms
}

fn irregular(nouns: &Nouns, key: &str) -> Vec<String> {
    let whole = nouns.irregular(key);
    match key.rsplit_once(' ') {
        Some((before, last)) if whole.is_empty() => nouns
            .irregular(last)
            .iter()
            .map(|form| format!("{before} {form}"))
            .collect(),
        _ => whole.to_vec(),
    }
}

/// Words of one or two letters and those in -ss are no plurals (`as`, `boss`); WordNet's own program says so too.
fn regular(key: &str) -> Vec<String> {
    if key.len() <= 2 || key.ends_with("ss") {
        return Vec::new();
    }
    let exchange = |&(plural, singular): &(&str, &str)| {
        let stem = key.strip_suffix(plural)?;
        (!stem.is_empty() && !stem.ends_with(' ')).then(|| format!("{stem}{singular}"))
    };
    ENDINGS.iter().filter_map(exchange).collect()
}

/// The singular of `key`, or nothing when WordNet has no such noun.
///
/// Some plurals are nouns of their own too (`glasses`, `stairs`, `cows`, `men`). The table of irregular plurals
/// is believed; else the form wins that was met more often in WordNet's tagged texts, the given one
/// when that is no difference: `men` is man, `cows` is cow, `stairs`, `gas` and `sunglasses` are themselves.
pub(super) fn singular<'a>(nouns: &'a Nouns, key: &str) -> Option<Noun<'a>> {
    if let Some(noun) = irregular(nouns, key)
        .iter()
        .find_map(|form| nouns.find(form))
    {
        return Some(noun);
    }
    let mut best = nouns.find(key);
    for noun in regular(key).iter().filter_map(|form| nouns.find(form)) {
        if best
            .as_ref()
            .is_none_or(|known| noun.count() > known.count())
        {
            best = Some(noun);
        }
    }
    best
}
