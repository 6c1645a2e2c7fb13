//! For a noun without image classes: nouns near it that have some. Only runs to word an error, so it may
//! look at the whole table.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::error::MOST_NEAR as MOST;
use super::fold::fold;
use super::lexicon::{Lexicon, usual};
use super::table::Noun;

/// A hypernym over more classes than a tenth of them all (object, device, organism) says nothing; of a short list over more than ten.
fn widest(lexicon: &Lexicon) -> usize {
    (usize::from(lexicon.list.count()) / 10).max(10)
}

/// Nor does one that is further up than this (substance for the sky).
const FURTHEST: usize = 3;
/// What every thing that a picture can show is a kind of; what is none of them (happiness, a summer) is near to nothing in it.
const THING: &str = "physical entity";
/// Whoever is one is near to that word alone: other kinds of people would be no help.
const PERSON: &str = "person";
/// Nouns that WordNet puts so much under that neither they nor what is beside the unknown noun below them says anything: a road is no
/// pipe because both are ways.
const VAGUE: [&str; 23] = [
    "agent",
    "area",
    "building complex",
    "causal agent",
    "conveyance",
    "covering",
    "creation",
    "facility",
    "fluid",
    "framework",
    "geographic point",
    "location",
    "matter",
    "natural object",
    "part",
    "product",
    "region",
    "structure",
    "substance",
    "supporting structure",
    "surface",
    "way",
    "works",
];
/// How many hypernyms to name before the nouns beside the unknown one.
const HYPERNYMS: usize = 2;
/// Letters of a word that two compounds have in common.
const LEAST_LETTERS: usize = 4;
/// Words of a compound that is named.
const MOST_WORDS: usize = 3;
/// How alike two spellings must be, from 0 to 1 as Jaro and Winkler count it.
const ALIKE: f64 = 0.9;

/// At most five nouns that `classes_of` accepts, the most helpful first: the nearest hypernyms (`ruminant` for
/// a giraffe) and the nouns most used under them (`sheep`). For what WordNet does not list: the head of
/// a compound (`car` for a blue car), else nouns spelt alike, else those that share a word with it.
/// Beside them whether one says what the noun is: without that they are only other kinds of the same.
pub(super) fn near(lexicon: &Lexicon, key: &str, noun: Option<&Noun<'_>>) -> (Vec<String>, bool) {
    let mut near = Vec::new();
    let mut says_kind = true;
    let meant = noun.and_then(|noun| noun.senses.first());
    let is_person = meant.is_some_and(|sense| is_kind(lexicon, sense.synset, PERSON));
    if is_person && lexicon.classes(PERSON).is_some() {
        near.push(PERSON.to_owned());
    } else if let Some(noun) = noun {
        let above = hypernyms(lexicon, noun);
        // That a man is a primate is no answer where another list knows people.
        says_kind = !above.is_empty() && !is_person;
        near.extend(
            above
                .iter()
                .take(HYPERNYMS)
                .map(|&(_, name)| name.to_owned()),
        );
        for &(synset, _) in &above {
            near.extend(under(lexicon, synset));
        }
        // Where what is above has no name that is known either (a tree is a plant): the kinds that are.
        for (_, _, synset) in telling(lexicon, noun) {
            near.extend(under(lexicon, synset));
        }
    } else if let Some(head) = head(lexicon, key) {
        near.push(head);
    } else {
        near.extend(spelt_alike(lexicon, key));
        near.extend(sharing_a_word(lexicon, key));
    }
    let mut met = HashSet::new();
    let near = near.into_iter().filter(|name| met.insert(name.clone()));
    (near.take(MOST).collect(), says_kind)
}

/// The longest end of a compound that has classes: English puts the kind last.
fn head(lexicon: &Lexicon, key: &str) -> Option<String> {
    let mut rest = key;
    while let Some((_, end)) = rest.split_once(' ') {
        if lexicon.classes(end).is_some() {
            return Some(lexicon.lemma(end).unwrap_or_else(|| end.to_owned()));
        }
        rest = end;
    }
    None
}

/// Named synsets above the noun's usual senses with few enough classes, the nearest first; of those with the same
/// classes only the nearest.
fn hypernyms<'a>(lexicon: &'a Lexicon, noun: &Noun<'_>) -> Vec<(u32, &'a str)> {
    let mut above = telling(lexicon, noun);
    above.sort_unstable();
    let mut met = HashSet::new();
    above.retain(|&(.., synset)| met.insert(lexicon.cover(synset)));
    above
        .iter()
        .filter_map(|&(.., synset)| Some((synset, name(lexicon, synset)?.1)))
        .collect()
}

/// The synsets at or above a noun's usual senses that say something of it: how far up, of which sense, and which; sense by sense.
fn telling(lexicon: &Lexicon, noun: &Noun<'_>) -> Vec<(usize, usize, u32)> {
    let mut telling = Vec::new();
    for (order, sense) in usual(&noun.senses).enumerate() {
        for (synset, distance) in lexicon.synsets.at_or_above(sense.synset) {
            let classes = lexicon.cover(synset).len();
            let names = lexicon.synsets.names(synset);
            if (1..=widest(lexicon)).contains(&classes)
                && distance <= FURTHEST
                && !names.iter().any(|name| VAGUE.contains(&name.as_str()))
                && is_kind(lexicon, synset, THING)
            {
                telling.push((distance, order, synset));
            }
        }
    }
    telling
}

/// Whether a synset is the first sense of a noun, or a kind of it.
fn is_kind(lexicon: &Lexicon, synset: u32, noun: &str) -> bool {
    let first = lexicon.nouns.find(noun);
    let first = first.and_then(|noun| noun.senses.first().map(|sense| sense.synset));
    let mut above = lexicon.synsets.at_or_above(synset).into_iter();
    first.is_some_and(|first| above.any(|(synset, _)| synset == first))
}

/// The nouns under a synset that were met most often in WordNet's tagged texts: the familiar ones.
fn under(lexicon: &Lexicon, root: u32) -> Vec<String> {
    let mut names: Vec<(Reverse<u32>, &str)> = lexicon
        .synsets
        .covering(lexicon.list)
        .filter(|&(synset, _)| {
            synset != root
                && lexicon
                    .synsets
                    .at_or_above(synset)
                    .iter()
                    .any(|&(above, _)| above == root)
        })
        .filter_map(|(synset, _)| name(lexicon, synset))
        .map(|(count, name)| (Reverse(count), name))
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .take(MOST)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// A word of the synset that means it here, and how often it does: the synset must be among the senses kept.
fn name(lexicon: &Lexicon, synset: u32) -> Option<(u32, &str)> {
    lexicon.synsets.names(synset).iter().find_map(|word| {
        let noun = lexicon.nouns.find(&fold(word))?;
        if lexicon.is_sparse(&noun) {
            return None;
        }
        let sense = lexicon
            .kept_senses(&noun)
            .into_iter()
            .find(|sense| sense.synset == synset)?;
        Some((sense.count, word.as_str()))
    })
}

/// The words that may have classes: those of the synsets that cover some, and the names of the classes.
fn words(lexicon: &Lexicon) -> impl Iterator<Item = &str> {
    let words = lexicon
        .synsets
        .covering(lexicon.list)
        .flat_map(|(_, names)| names.iter().map(String::as_str));
    words.chain(lexicon.synsets.class_names(lexicon.list))
}

/// Nouns with classes that differ by few letters: one in three at most, never more than two; alike on the whole, or with the same letters.
fn spelt_alike(lexicon: &Lexicon, key: &str) -> Vec<String> {
    let most = (key.chars().count() / 3).min(2);
    let mut alike: Vec<(usize, &str)> = words(lexicon)
        .map(|word| (strsim::osa_distance(key, word), word))
        .filter(|&(distance, word)| {
            let is_alike =
                || strsim::jaro_winkler(key, word) >= ALIKE || letters(key) == letters(word);
            distance <= most && is_alike()
        })
        .filter(|&(_, word)| lexicon.classes(&fold(word)).is_some())
        .collect();
    alike.sort_unstable();
    alike.into_iter().map(|(_, word)| word.to_owned()).collect()
}

/// The letters of a word, in the order of the alphabet.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Compounds with classes that have a word of this compound (`measuring cup` for a measuring tape), those alike first; not for the sake of
/// its small words, and none that are descriptions.
fn sharing_a_word(lexicon: &Lexicon, key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split(' ').collect();
    if parts.len() < 2 {
        return Vec::new();
    }
    let says = |part: &str| part.len() >= LEAST_LETTERS && parts.contains(&part);
    let is_compound = |word: &str| (2..=MOST_WORDS).contains(&word.split(' ').count());
    let mut sharing: Vec<(f64, &str)> = words(lexicon)
        .filter(|word| is_compound(word) && word.split(' ').any(says))
        .filter(|word| lexicon.classes(&fold(word)).is_some())
        .map(|word| (strsim::jaro_winkler(key, word), word))
        .collect();
    sharing.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    sharing
        .into_iter()
        .map(|(_, word)| word.to_owned())
        .collect()
}
