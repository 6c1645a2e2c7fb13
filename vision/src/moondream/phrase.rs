//! A category as a question in English: article, number, casing.
//!
//! Owns how a category's name is put into "Is there ... in the image?". It asks WordNet and the tagger what a word is, and
//! knows nothing of tokens, templates and models. A name that these rules put wrongly can be given with its article (`the
//! White House`, `a Ferrari`), or the category with a prompt of its own.
//!
//! | a category such as | is asked as | because |
//! | --- | --- | --- |
//! | `dog`, `apple`, `MRI scan`, `hour` | a dog, an apple, an MRI scan, an hour | one thing, article by sound (see [`article`]) |
//! | `dogs`, `people`, `red circles`, `glasses` | Are there dogs | WordNet has another singular, or the word is in [`PLURALS`] |
//! | `water`, `fresh snow` | Is there water | the word is in [`MASS`] |
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

use harper_brill::{Tagger, UPOS, brill_tagger};

use crate::wordnet::{Lexicon, WordnetError};

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
    "butter",
    "cash",
    "cheese",
    "chocolate",
    "clothing",
    "coffee",
    "concrete",
    "cotton",
    "dirt",
    "dust",
    "equipment",
    "fire",
    "flour",
    "foam",
    "fog",
    "foliage",
    "food",
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
    ("any", None),
    ("some", None),
    ("no", None),
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
    let lexicon = Lexicon::embedded()?;
    let own = (nouns.is_empty() || is_noun(lexicon, name)).then_some(name);
    let mut phrases: Vec<Phrase> = Vec::new();
    for noun in own.into_iter().chain(nouns.iter().map(String::as_str)) {
        let phrase = phrase(lexicon, noun);
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    let verb = match phrases.first() {
        Some(first) => match (first.number, first.definite) {
            (Number::One, false) => "Is there",
            (Number::Many, false) => "Are there",
            (Number::One, true) => "Is",
            (Number::Many, true) => "Are",
        },
        None => "Is there",
    };
    let texts: Vec<&str> = phrases.iter().map(|phrase| phrase.text.as_str()).collect();
    let list = match texts.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        all => all.join(", "),
    };
    Ok(format!("{verb} {list} in the image?\nAnswer yes or no."))
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
    if rest.is_empty() {
        // `one`, `the`: no more than text.
        return Phrase {
            text: name.to_owned(),
            number: Number::One,
            definite: false,
        };
    }
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

/// How a name that is no category of things is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameForm {
    /// Is Paris in the image?
    Bare,
    /// Is the Eiffel Tower in the image?
    The,
    /// A kind of a common noun, and so with an article after all: a Boston Terrier.
    Kind,
}

/// Whether these words are a name, and of what sort.
fn name_form(lexicon: &Lexicon, words: &[&str]) -> Option<NameForm> {
    let is_small = |word: &str| matches!(word, "of" | "the" | "de" | "la" | "du" | "and");
    if !words
        .iter()
        .all(|word| is_capitalised(word) || is_small(word))
    {
        return None;
    }
    let is_name = |(at, word): (usize, &&str)| {
        let after_of = at > 0 && words[at - 1] == "of" && is_capitalised(word);
        after_of || is_name_word(lexicon, word, at + 1 == words.len())
    };
    if !words.iter().enumerate().any(is_name) {
        return None;
    }
    let head = words[head_of(words)];
    let is_one_word = words.len() == 1;
    Some(if is_one_word || is_name_word(lexicon, head, true) {
        NameForm::Bare
    } else if lexicon
        .senses_under(head, LANDMARKS)
        .first()
        .is_some_and(|under| *under)
    {
        NameForm::The
    } else {
        NameForm::Kind
    })
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
fn lower_labels(lexicon: &Lexicon, words: &[&str]) -> String {
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
fn is_upper(word: &str) -> bool {
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

/// Whether the word that a name is about is a noun to WordNet or the tagger.
fn is_noun(lexicon: &Lexicon, name: &str) -> bool {
    let words: Vec<&str> = name.split(' ').collect();
    let head = words[head_of(&words)];
    lexicon.lemma(head).is_some() || matches!(tag(head), Some(UPOS::NOUN | UPOS::PROPN))
}

/// What the tagger has a word for on its own.
fn tag(word: &str) -> Option<UPOS> {
    let tags = brill_tagger().tag_sentence(&[word.to_owned()]);
    tags.into_iter().next().flatten()
}

/// `a` or `an` before a phrase, by the sound it begins with. English spells sounds badly, so the rules by letters have
/// exceptions: a silent h, a u or eu spoken like you, `one`, letters and acronyms spoken letter by letter (an MRI, a UFO), numbers
/// (an 8-bit, an 18-wheeler).
fn article(phrase: &str) -> &'static str {
    // Beginnings that sound unlike their first letter; of two that fit, the longer decides.
    const AN: &[&str] = &[
        "hour", "honest", "honor", "honour", "heir", "unid", "unig", "unim", "unin", "8", "11-",
        "18-", "11th", "18th",
    ];
    const A: &[&str] = &[
        "eu", "ewe", "one", "once", "ouija", "ubi", "ufo", "uku", "uni", "ura", "uri", "uro",
        "usa", "use", "usu", "ute", "uti", "uto",
    ];
    let first = phrase
        .split([' ', '-', '\u{2019}', '\''])
        .next()
        .unwrap_or_default();
    let letters = first.chars().filter(|c| c.is_alphabetic()).count();
    let vowels = first.chars().filter(|c| "AEIOU".contains(*c)).count();
    let spelled = (is_upper(first) && (letters < 4 || vowels < 2))
        || (letters == 1 && first.chars().count() == 1 && phrase.len() > 1);
    let is_an = if spelled {
        first
            .to_uppercase()
            .starts_with(['A', 'E', 'F', 'H', 'I', 'L', 'M', 'N', 'O', 'R', 'S', 'X'])
    } else {
        let key = phrase.to_lowercase();
        let longest = |list: &[&str]| {
            let fitting = list.iter().filter(|start| key.starts_with(**start));
            fitting.map(|start| start.len()).max().unwrap_or(0)
        };
        match longest(AN).cmp(&longest(A)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => key.starts_with(['a', 'e', 'i', 'o', 'u']),
        }
    };
    if is_an { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        let mut wrong = Vec::new();
        for &(name, expected) in cases {
            let question = question(&tidy(name), &[]).unwrap();
            let asked = question
                .strip_suffix(" in the image?\nAnswer yes or no.")
                .unwrap();
            if asked != expected {
                wrong.push(format!("{name}: {asked}, expected {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_article_goes_by_sound() {
        check(&[
            ("dog", "Is there a dog"),
            ("apple", "Is there an apple"),
            ("hour", "Is there an hour"),
            ("heirloom", "Is there an heirloom"),
            ("horse", "Is there a horse"),
            ("unicorn", "Is there a unicorn"),
            ("uniform", "Is there a uniform"),
            ("unidentified object", "Is there an unidentified object"),
            ("umbrella", "Is there an umbrella"),
            ("utensil", "Is there a utensil"),
            ("urn", "Is there an urn"),
            ("European flag", "Is there a European flag"),
            ("one-way sign", "Is there a one-way sign"),
            ("onion", "Is there an onion"),
            ("UFO", "Is there a UFO"),
            ("MRI scan", "Is there an MRI scan"),
            ("X-ray", "Is there an X-ray"),
            ("T-shirt", "Is there a T-shirt"),
            ("NASA logo", "Is there a NASA logo"),
            ("LED lamp", "Is there an LED lamp"),
            ("8-bit game", "Is there an 8-bit game"),
            ("18-wheeler", "Is there an 18-wheeler"),
            ("3D model", "Is there a 3D model"),
            ("iPhone", "Is there an iPhone"),
            ("x", "Is there a x"),
        ]);
    }

    #[test]
    fn plurals_and_masses_take_none() {
        check(&[
            ("dogs", "Are there dogs"),
            ("people", "Are there people"),
            ("red circles", "Are there red circles"),
            ("glasses", "Are there glasses"),
            ("geese", "Are there geese"),
            ("men", "Are there men"),
            ("TVs", "Are there TVs"),
            ("labradoodles", "Are there labradoodles"),
            ("headphones", "Are there headphones"),
            ("bus", "Is there a bus"),
            ("octopus", "Is there an octopus"),
            ("lens", "Is there a lens"),
            ("sheep", "Is there a sheep"),
            ("glass", "Is there a glass"),
            ("water", "Is there water"),
            ("fresh snow", "Is there fresh snow"),
            ("grass", "Is there grass"),
            ("text", "Is there text"),
            ("food", "Is there food"),
            ("water bottle", "Is there a water bottle"),
            ("glass of wine", "Is there a glass of wine"),
            ("bottles of water", "Are there bottles of water"),
            ("man with glasses", "Is there a man with glasses"),
            ("people on a bike", "Are there people on a bike"),
            ("cats and dogs", "Are there cats and dogs"),
        ]);
    }

    #[test]
    fn a_determiner_is_kept() {
        check(&[
            ("a dog", "Is there a dog"),
            ("An Apple", "Is there an apple"),
            ("two dogs", "Are there two dogs"),
            ("3 red circles", "Are there 3 red circles"),
            ("1 dog", "Is there 1 dog"),
            ("one dog", "Is there one dog"),
            ("some water", "Is there some water"),
            ("some dogs", "Are there some dogs"),
            ("several sheep", "Are there several sheep"),
            ("at least two dogs", "Are there at least two dogs"),
            ("at least one person", "Is there at least one person"),
            ("a pair of scissors", "Is there a pair of scissors"),
            ("the Eiffel Tower", "Is the Eiffel Tower"),
            ("The White House", "Is the White House"),
            ("my dogs", "Are my dogs"),
            ("the two dogs", "Are the two dogs"),
            ("a", "Is there an a"),
            ("the", "Is there the"),
            ("theatre", "Is there a theatre"),
        ]);
    }

    #[test]
    fn capitals_of_a_label_go_and_those_of_a_name_stay() {
        check(&[
            ("Dog", "Is there a dog"),
            ("DOG", "Is there a dog"),
            ("TRAFFIC LIGHT", "Is there a traffic light"),
            ("MRI SCAN", "Is there an MRI scan"),
            ("SUV", "Is there an SUV"),
            ("TV", "Is there a TV"),
            ("DNA", "Is there a DNA"),
            ("Polar bear", "Is there a polar bear"),
            ("Polar Bear", "Is there a polar bear"),
            ("polar_bear", "Is there a polar bear"),
            ("Red Circles", "Are there red circles"),
            ("People", "Are there people"),
            ("Van", "Is there a van"),
            ("Tiger", "Is there a tiger"),
            ("Turkey", "Is there a turkey"),
            ("Firefighter", "Is there a firefighter"),
            ("Smartphone", "Is there a smartphone"),
            ("Zebra", "Is there a zebra"),
            ("German shepherd", "Is there a German shepherd"),
            ("German Shepherd", "Is there a German shepherd"),
            ("French Fries", "Are there French fries"),
            ("Siberian Husky", "Is there a Siberian husky"),
            ("Boston Terrier", "Is there a Boston Terrier"),
            ("Ferris Wheel", "Is there a Ferris Wheel"),
            ("Paris", "Is Paris"),
            ("London", "Is London"),
            ("Berlin", "Is Berlin"),
            ("Pikachu", "Is Pikachu"),
            ("Santa Claus", "Is Santa Claus"),
            ("Mona Lisa", "Is Mona Lisa"),
            ("Eiffel Tower", "Is the Eiffel Tower"),
            ("Brooklyn Bridge", "Is the Brooklyn Bridge"),
            ("Statue of Liberty", "Is the Statue of Liberty"),
            ("a Ferrari", "Is there a Ferrari"),
        ]);
    }

    #[test]
    fn several_nouns_are_asked_for_together() {
        let nouns = |list: &[&str]| {
            list.iter()
                .map(|noun| (*noun).to_owned())
                .collect::<Vec<_>>()
        };
        let ask = |name, list: &[&str]| question(name, &nouns(list)).unwrap();
        assert_eq!(
            ask("building", &["palace", "castle", "tower", "Castle"]),
            "Is there a building, a palace, a castle or a tower in the image?\nAnswer yes or no."
        );
        assert_eq!(
            ask("people", &["animal"]),
            "Are there people or an animal in the image?\nAnswer yes or no."
        );
        // A name that is no noun says nothing to the model.
        assert_eq!(
            ask("outdoorsy", &["tree"]),
            "Is there a tree in the image?\nAnswer yes or no."
        );
    }

    #[test]
    fn line_breaks_and_blanks_are_one_blank() {
        assert_eq!(tidy(" polar\n\t bear\u{2028}cub "), "polar bear cub");
        assert_eq!(tidy(" \n_ "), "");
    }
}
