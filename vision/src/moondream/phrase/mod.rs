//! A category as a question in English: article, number, casing.
//!
//! Owns how a category's name is put into "Is there ... in the image?". It asks WordNet and the tagger what a word is, and
//! knows nothing of tokens, templates and models. A name that these rules put wrongly can be given with its article (`the
//! White House`, `a Ferrari`), or the category with a prompt of its own.
//!
//! | a category such as | is asked as | because |
//! | --- | --- | --- |
//! | `dog`, `apple`, `MRI scan`, `hour` | a dog, an apple, an MRI scan, an hour | one thing, article by sound (`article`) |
//! | `dogs`, `people`, `red circles`, `glasses` | Are there dogs | WordNet has another singular, or the word is in `PLURALS` |
//! | `water`, `fresh snow` | Is there water | the word is in `MASS` |
//! | `man with glasses`, `people on bikes` | a man with glasses, Are there people on bikes | the word before a preposition decides |
//! | `a dog`, `two dogs`, `some water` | Is there a dog, Are there two dogs | a determiner or number is kept |
//! | `the Eiffel Tower`, `my dogs` | Is the Eiffel Tower, Are my dogs | what is definite is not "there" |
//! | `Dog`, `Polar Bear`, `DOG` | a dog, a polar bear | capitals of a label: WordNet or the tagger has the words as common ones |
//! | `UFO`, `MRI`, `iPhone`, `T-shirt` | a UFO, an MRI, an iPhone | capitals of an acronym or inside a word stay |
//! | `German shepherd`, `French Fries` | a German shepherd, French fries | words for peoples and languages keep theirs |
//! | `Paris`, `Santa Claus`, `Pikachu` | Is Paris in the image | a name: every word is capitalised, and a word of it is no common word |
//! | `Eiffel Tower`, `Statue of Liberty` | Is the Eiffel Tower in the image | a name whose last word, or the one before "of", is a building or water |
//! | `Boston Terrier`, `Ferris Wheel` | a Boston Terrier | a name of another common noun names a kind |
//! | `polar_bear`, a line break | polar bear | underscores and whitespace are blanks |
//!
//! Several nouns are asked for together, "Is there a building, a palace or a castle in the image?"; the first
//! decides the verb.

mod article;
mod names;

use harper_brill::UPOS;

use crate::wordnet::{Lexicon, WordnetError};
use article::article;
use names::{NameForm, lower_labels, name_form, tag};

/// Nouns of visible things without article and plural.
const MASS: &[&str] = &[
    "algae",
    "art",
    "asphalt",
    "bacon",
    "baggage",
    "beer",
    "blood",
    "bread",
    "broccoli",
    "butter",
    "cash",
    "cheese",
    "chocolate",
    "clothing",
    "coffee",
    "concrete",
    "cotton",
    "damage",
    "dirt",
    "dust",
    "equipment",
    "fire",
    "flour",
    "foam",
    "fog",
    "foliage",
    "food",
    "footwear",
    "fruit",
    "fur",
    "furniture",
    "garbage",
    "glassware",
    "gold",
    "graffiti",
    "grass",
    "gravel",
    "hair",
    "handwriting",
    "hay",
    "honey",
    "ice",
    "ivy",
    "jewellery",
    "jewelry",
    "juice",
    "lava",
    "leather",
    "lightning",
    "litter",
    "luggage",
    "machinery",
    "makeup",
    "meat",
    "metal",
    "milk",
    "mist",
    "money",
    "moss",
    "mud",
    "news",
    "nudity",
    "paper",
    "pasta",
    "plastic",
    "pollution",
    "rain",
    "rice",
    "rubbish",
    "rust",
    "salt",
    "sand",
    "seafood",
    "seaweed",
    "shade",
    "silverware",
    "smoke",
    "snow",
    "soil",
    "soup",
    "spaghetti",
    "steam",
    "steel",
    "straw",
    "sugar",
    "sunlight",
    "sunshine",
    "sushi",
    "tea",
    "text",
    "traffic",
    "trash",
    "underwear",
    "vegetation",
    "violence",
    "water",
    "wildlife",
    "wine",
    "wood",
    "wool",
    "writing",
];

/// Plurals that WordNet lists as nouns of their own.
const PLURALS: &[&str] = &[
    "binoculars",
    "cattle",
    "clothes",
    "eyeglasses",
    "fries",
    "glasses",
    "goggles",
    "leggings",
    "overalls",
    "pajamas",
    "pants",
    "people",
    "pliers",
    "police",
    "pyjamas",
    "scissors",
    "shears",
    "shorts",
    "stairs",
    "sunglasses",
    "tights",
    "tongs",
    "trousers",
    "tweezers",
];

/// Words that end the part of a name in which its noun stands.
const PREPOSITIONS: &[&str] = &[
    "above", "at", "behind", "below", "beside", "between", "by", "for", "from", "holding", "in",
    "inside", "into", "near", "of", "on", "over", "riding", "that", "under", "wearing", "which",
    "who", "with", "without",
];

const DEFINITE: &[(&str, Option<Number>)] = &[
    ("the", None),
    ("this", Some(Number::One)),
    ("that", Some(Number::One)),
    ("these", Some(Number::Many)),
    ("those", Some(Number::Many)),
    ("my", None),
    ("your", None),
    ("his", None),
    ("her", None),
    ("its", None),
    ("our", None),
    ("their", None),
];

const INDEFINITE: &[(&str, Option<Number>)] = &[
    ("a", Some(Number::One)),
    ("an", Some(Number::One)),
    ("one", Some(Number::One)),
    ("another", Some(Number::One)),
    ("much", Some(Number::One)),
    ("someone", Some(Number::One)),
    ("something", Some(Number::One)),
    ("anyone", Some(Number::One)),
    ("anything", Some(Number::One)),
    ("any", None),
    ("some", None),
    ("more", None),
    ("at least", None),
    ("at most", None),
    ("more than", None),
    ("fewer than", None),
    ("two", Some(Number::Many)),
    ("three", Some(Number::Many)),
    ("four", Some(Number::Many)),
    ("five", Some(Number::Many)),
    ("six", Some(Number::Many)),
    ("seven", Some(Number::Many)),
    ("eight", Some(Number::Many)),
    ("nine", Some(Number::Many)),
    ("ten", Some(Number::Many)),
    ("eleven", Some(Number::Many)),
    ("twelve", Some(Number::Many)),
    ("both", Some(Number::Many)),
    ("several", Some(Number::Many)),
    ("many", Some(Number::Many)),
    ("few", Some(Number::Many)),
    ("multiple", Some(Number::Many)),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    One,
    Many,
}

/// One noun phrase with what stands before it.
#[derive(Debug, PartialEq, Eq)]
struct Phrase {
    text: String,
    number: Number,
    definite: bool,
}

/// The question whether the image shows a `name` or any of `nouns`; all are tidy and not empty. A name that is no noun is
/// left out where nouns say what is meant.
///
/// # Errors
/// [`WordnetError`] when the program was built with a damaged table.
pub(super) fn question(name: &str, nouns: &[String]) -> Result<String, WordnetError> {
    let phrases = phrases(name, nouns)?;
    let verb = match phrases.first() {
        Some(first) => match (first.number, first.definite) {
            (Number::One, false) => "Is there",
            (Number::Many, false) => "Are there",
            (Number::One, true) => "Is",
            (Number::Many, true) => "Are",
        },
        None => "Is there",
    };
    Ok(format!(
        "{verb} {} in the image?\nAnswer yes or no.",
        list(&phrases)
    ))
}

/// The same with what is asked about at the end, where the tokens of all questions before it are the same: "Is this in the image: a
/// dog". The noun alone is a question's own, and what stands behind it in the template.
///
/// # Errors
/// As [`question`].
pub(super) fn shared_question(name: &str, nouns: &[String]) -> Result<String, WordnetError> {
    let phrases = phrases(name, nouns)?;
    Ok(format!(
        "Answer yes or no. Is this in the image: {}",
        list(&phrases)
    ))
}

/// The category's nouns with their articles, each once.
fn phrases(name: &str, nouns: &[String]) -> Result<Vec<Phrase>, WordnetError> {
    let lexicon = Lexicon::embedded()?;
    let own = (nouns.is_empty() || is_noun(lexicon, name)).then_some(name);
    let mut phrases: Vec<Phrase> = Vec::new();
    for noun in own.into_iter().chain(nouns.iter().map(String::as_str)) {
        let phrase = phrase(lexicon, noun);
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    Ok(phrases)
}

fn list(phrases: &[Phrase]) -> String {
    let texts: Vec<&str> = phrases.iter().map(|phrase| phrase.text.as_str()).collect();
    match texts.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        all => all.join(", "),
    }
}

/// A text with one blank where there was whitespace or an underscore, and none at its ends.
pub(super) fn tidy(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c == '_')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn phrase(lexicon: &Lexicon, name: &str) -> Phrase {
    let (determiners, definite, number, rest) = determiners(name);
    let words: Vec<&str> = rest.split(' ').collect();
    let name_form = if determiners.is_empty() {
        name_form(lexicon, &words)
    } else {
        None
    };
    let cased = if name_form.is_some() || definite {
        rest.to_owned()
    } else {
        lower_labels(lexicon, &words)
    };
    let (head_number, is_mass) = number_of(lexicon, &words);
    let number = number.unwrap_or(head_number);
    let (text, definite) = match name_form {
        _ if !determiners.is_empty() => (format!("{determiners} {cased}"), definite),
        Some(NameForm::Bare) => (cased, true),
        Some(NameForm::The) => (format!("the {cased}"), true),
        _ if number == Number::Many || is_mass => (cased, false),
        _ => (format!("{} {cased}", article(&cased)), false),
    };
    Phrase {
        text,
        number,
        definite,
    }
}

/// The determiners and numbers that a name begins with, in lower case; whether they are definite; the number that they
/// fix; the rest.
fn determiners(name: &str) -> (String, bool, Option<Number>, &str) {
    let mut rest = name;
    let mut taken = String::new();
    let mut definite = false;
    let mut number = None;
    loop {
        let strip = |known: &str| {
            let (start, after) = (rest.get(..known.len())?, rest.get(known.len()..)?);
            (start.eq_ignore_ascii_case(known) && (after.is_empty() || after.starts_with(' ')))
                .then(|| after.trim_start())
        };
        let found = DEFINITE
            .iter()
            .map(|known| (known, true))
            .chain(INDEFINITE.iter().map(|known| (known, false)))
            .find_map(|(&(word, number), definite)| {
                Some((word.to_owned(), number, definite, strip(word)?))
            })
            .or_else(|| {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                let one = if word == "1" {
                    Number::One
                } else {
                    Number::Many
                };
                (!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
                    .then(|| (word.to_owned(), Some(one), false, after))
            });
        // A capital A, or a number, alone or at the end is the thing itself.
        let Some((word, fixed, is_definite, after)) = found.filter(|found| !found.3.is_empty())
        else {
            return (taken, definite, number, rest);
        };
        definite |= is_definite;
        number = fixed.or(number);
        if !taken.is_empty() {
            taken.push(' ');
        }
        taken.push_str(&word);
        rest = after;
    }
}

/// The word that says what the name is: the last one before a preposition.
fn head_of(words: &[&str]) -> usize {
    let ends = |word: &&str| PREPOSITIONS.contains(&word.to_lowercase().as_str());
    let length = words.iter().skip(1).position(ends).map(|at| at + 1);
    length.unwrap_or(words.len()).saturating_sub(1)
}

/// The number of a name, and whether it is a mass.
fn number_of(lexicon: &Lexicon, words: &[&str]) -> (Number, bool) {
    let head = words[head_of(words)].to_lowercase();
    if MASS.contains(&head.as_str()) {
        return (Number::One, true);
    }
    let is_plural = PLURALS.contains(&head.as_str())
        || match lexicon.lemma(&head) {
            Some(lemma) => lemma.replace('-', " ") != head.replace('-', " "),
            // A word that WordNet does not list: only the plain -s tells.
            None => {
                head.len() > 3
                    && head.ends_with('s')
                    && !["ss", "us", "is"].iter().any(|end| head.ends_with(end))
            }
        };
    let number = if is_plural { Number::Many } else { Number::One };
    (number, false)
}

/// Whether the word that a name is about is a noun to WordNet or the tagger.
fn is_noun(lexicon: &Lexicon, name: &str) -> bool {
    let words: Vec<&str> = name.split(' ').collect();
    let head = words[head_of(&words)];
    lexicon.lemma(head).is_some() || matches!(tag(head), Some(UPOS::NOUN | UPOS::PROPN))
}

#[cfg(test)]
mod tests;
