//! The nouns of an English text: what a model's answer to "What animals are there?" names.
//!
//! Owns how a text is cut into words and which of them count as nouns. A part-of-speech tagger (harper's Brill
//! tagger, Universal Dependencies tags) says what a word is in its sentence, WordNet gives its singular and
//! knows compounds. It only extracts: "I don't see any animals." has the noun animal, and "a lot
//! of birds in the picture" has lot, bird and picture, as NLTK has it. What a noun may be used for is the caller's affair.
//!
//! The rules, beside "what the tagger calls a noun":
//! - Neighbours that WordNet lists as one noun are one (`fire truck`, `polar bear`, `living room`), the longest first;
//!   with an adjective only those that are a thing of their own: a black cat is a cat.
//! - Proper nouns count when WordNet lists them, in lower case like all (`eiffel tower`); other names do not.
//! - A word that the tagger has not learnt (`goat`, `zebra`) counts when WordNet lists it, unless a noun follows
//!   directly, which it then describes (a `black-and-white` cat). One that WordNet has not either (`smartphone`)
//!   counts where English asks for a noun: after an article, a number or an adjective, or alone in a list.
//! - A verb that stands alone in a list (`saw, hammer`) counts when WordNet lists it as a noun, a participle does not.
//! - A word in -ing with an object after it (riding a bike) is a verb, whatever the tagger says.

use std::collections::HashSet;

use harper_brill::{Tagger, UPOS, brill_tagger};
use unicode_segmentation::UnicodeSegmentation;

use crate::wordnet::{Lexicon, WordnetError};

/// WordNet has longer compounds, but no answer does.
const LONGEST_COMPOUND: usize = 4;

/// The nouns of `text`: singular, lower case, each once, in the order in which they are first met. A text without
/// nouns gives an empty list; so may one that is not English.
///
/// # Errors
/// [`WordnetError`] when the program was built with a damaged table.
pub fn nouns(text: &str) -> Result<Vec<String>, WordnetError> {
    let lexicon = Lexicon::embedded()?;
    let mut met = HashSet::new();
    let mut nouns = Vec::new();
    for sentence in sentences(text) {
        for noun in nouns_of_sentence(lexicon, &sentence) {
            if met.insert(noun.clone()) {
                nouns.push(noun);
            }
        }
    }
    Ok(nouns)
}

/// The words and punctuation marks of each line and sentence, as the tagger learnt to see them: `dog` `'s`, `do` `n't`.
fn sentences(text: &str) -> Vec<Vec<String>> {
    let mut sentences = vec![Vec::new()];
    for line in text.lines() {
        let mut sentence: Vec<String> = Vec::new();
        for token in tokens(line) {
            let ends = matches!(token.as_str(), "." | "!" | "?" | ";");
            sentence.push(token);
            if ends {
                sentences.push(std::mem::take(&mut sentence));
            }
        }
        sentences.push(sentence);
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// Unicode's word boundaries, but a word with hyphens inside is one, and a clitic is one of its own.
fn tokens(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    // Whether the last of `words` ends with a letter or digit, or with a hyphen after one, and may go on.
    let mut open = false;
    for part in line.split_word_bounds() {
        let is_word = part.contains(char::is_alphanumeric);
        match words.last_mut() {
            Some(word) if open && (part == "-" || part == "\u{2010}") && !word.ends_with('-') => {
                word.push('-')
            }
            Some(word) if open && is_word && word.ends_with('-') => word.push_str(part),
            _ => {
                open = is_word;
                if !part.trim().is_empty() {
                    words.push(part.replace('\u{2019}', "'"));
                }
            }
        }
    }
    words
        .iter()
        .flat_map(|word| clitics(word))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn clitics(word: &str) -> [&str; 2] {
    let (head, tail) = match word.find('\'') {
        Some(at)
            if at > 0
                && word[..at].ends_with(['n', 'N'])
                && word[at..].eq_ignore_ascii_case("'t") =>
        {
            word.split_at(at - 1)
        }
        Some(at) if at > 0 && at + 1 < word.len() => word.split_at(at),
        _ => (word, ""),
    };
    [head.trim_end_matches('-'), tail]
}

fn nouns_of_sentence(lexicon: &Lexicon, words: &[String]) -> Vec<String> {
    let tags = brill_tagger().tag_sentence(words);
    let sentence = Sentence {
        lexicon,
        words,
        tags,
    };
    let mut nouns = Vec::new();
    let mut position = 0;
    while position < words.len() {
        if let Some((compound, length)) = sentence.compound(position) {
            nouns.push(compound);
            position += length;
        } else {
            nouns.extend(sentence.noun(position));
            position += 1;
        }
    }
    nouns
}

struct Sentence<'a> {
    lexicon: &'a Lexicon,
    words: &'a [String],
    /// One per word; nothing for a word that the tagger has not learnt.
    tags: Vec<Option<UPOS>>,
}

impl Sentence<'_> {
    fn tag(&self, position: usize) -> Option<UPOS> {
        self.tags.get(position).copied().flatten()
    }

    fn is_word(&self, position: usize) -> bool {
        self.words
            .get(position)
            .is_some_and(|word| word.contains(char::is_alphabetic))
    }

    fn is_unlearnt(&self, position: usize) -> bool {
        self.is_word(position) && self.tag(position).is_none()
    }

    fn is_tagged_noun(&self, position: usize) -> bool {
        self.is_word(position) && matches!(self.tag(position), Some(UPOS::NOUN | UPOS::PROPN))
    }

    /// A participle may begin a compound (living room, jumping spider) but is no noun alone.
    fn is_participle(&self, position: usize) -> bool {
        let form = self
            .words
            .get(position)
            .map(|word| word.to_lowercase())
            .unwrap_or_default();
        self.tag(position) == Some(UPOS::VERB) && (form.ends_with("ing") || form.ends_with("ed"))
    }

    /// The longest compound that begins here, in the singular, and how many words it has.
    fn compound(&self, position: usize) -> Option<(String, usize)> {
        let leads = |at: usize| {
            self.is_tagged_noun(at)
                || self.is_unlearnt(at)
                || self.is_participle(at)
                || (self.is_word(at) && self.tag(at) == Some(UPOS::ADJ))
        };
        let leading = (position..)
            .take_while(|&at| leads(at))
            .take(LONGEST_COMPOUND - 1)
            .count();
        (2..=leading + 1).rev().find_map(|length| {
            let last = position + length - 1;
            if !self.is_tagged_noun(last) && !self.is_unlearnt(last) {
                return None;
            }
            let lemma = self.lexicon.lemma(&self.words[position..=last].join(" "))?;
            let only_nouns = (position..last).all(|at| self.is_tagged_noun(at));
            (only_nouns || self.lexicon.is_fixed(&lemma)).then_some((lemma, length))
        })
    }

    /// The word as a noun in the singular, if it is one here.
    fn noun(&self, position: usize) -> Option<String> {
        if !self.is_word(position) {
            return None;
        }
        let word = self.words[position].to_lowercase();
        let known = self.lexicon.lemma(&word);
        match self.tag(position) {
            Some(UPOS::NOUN)
                if word.ends_with("ing") && self.tag(position + 1) == Some(UPOS::DET) =>
            {
                None
            }
            Some(UPOS::NOUN) => Some(known.unwrap_or_else(|| regular_singular(&word))),
            Some(UPOS::PROPN) => known,
            Some(UPOS::VERB) if self.stands_alone(position) && !self.is_participle(position) => {
                known
            }
            Some(UPOS::ADJ) if self.closes_phrase(position) => known,
            None if self.is_tagged_noun(position + 1) || self.is_unlearnt(position + 1) => None,
            None if self.asks_for_noun(position) => {
                Some(known.unwrap_or_else(|| regular_singular(&word)))
            }
            None => known,
            Some(_) => None,
        }
    }

    /// Behind an article with nothing after it that it could describe: a red square.
    fn closes_phrase(&self, position: usize) -> bool {
        let is_adjective = |at: usize| self.tag(at) == Some(UPOS::ADJ);
        let opening = (0..position).rev().find(|&at| !is_adjective(at));
        // A black and a white cat: one adjective before "and" may describe what comes later.
        let is_lone = |at| at + 1 == position && self.tag(position + 1) == Some(UPOS::CCONJ);
        let is_open = opening
            .is_some_and(|at| matches!(self.tag(at), Some(UPOS::DET | UPOS::NUM)) && !is_lone(at));
        let next = (position + 1..self.words.len())
            .find(|&at| self.is_word(at) && self.tag(at) != Some(UPOS::CCONJ));
        is_open
            && next.is_none_or(|at| {
                matches!(
                    self.tag(at),
                    Some(UPOS::DET | UPOS::NUM | UPOS::ADP | UPOS::AUX)
                )
            })
    }

    /// Nothing but punctuation or `and` on either side.
    fn stands_alone(&self, position: usize) -> bool {
        let separates = |at: usize| !self.is_word(at) || self.tag(at) == Some(UPOS::CCONJ);
        position.checked_sub(1).is_none_or(separates) && separates(position + 1)
    }

    fn asks_for_noun(&self, position: usize) -> bool {
        let before = position.checked_sub(1).and_then(|before| self.tag(before));
        matches!(before, Some(UPOS::DET | UPOS::NUM | UPOS::ADJ)) || self.stands_alone(position)
    }
}

/// For a noun that WordNet does not list (`labradoodles`), whose singular cannot be checked: only the plain -s.
fn regular_singular(word: &str) -> String {
    let plural = word.len() > 3
        && word.ends_with('s')
        && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if plural {
        word[..word.len() - 1].to_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(super::nouns(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn an_adjective_that_closes_its_phrase_is_a_noun() {
        check("A square.", &["square"]);
        check("a red square", &["square"]);
        check(
            "a blue square, an orange square and a red circle",
            &["square", "circle"],
        );
        check(
            "There is a small yellow square in the corner.",
            &["square", "corner"],
        );
        check("A big black, fluffy dog and a white cat.", &["dog", "cat"]);
        check("A bright red and white cat.", &["cat"]);
        check("A black and a white cat.", &["cat"]);
    }

    #[test]
    fn sentences_give_their_nouns_in_the_singular() {
        check(
            "A black dog and two cats on a sofa.",
            &["dog", "cat", "sofa"],
        );
        check(
            "There are three geese, a man with glasses and some children.",
            &["goose", "man", "glass", "child"],
        );
        check(
            "In the picture there is a man riding a bike.",
            &["picture", "man", "bike"],
        );
        check(
            "The animals are a sheep, a goat, and a cow.",
            &["animal", "sheep", "goat", "cow"],
        );
        check("A DOG. The dog's tail! Two DOGS?", &["dog", "tail"]);
    }

    #[test]
    fn short_answers_do_too() {
        check("Yes, dogs.", &["dog"]);
        check("Dogs.", &["dog"]);
        check("dog", &["dog"]);
        check(
            "A BLACK DOG AND TWO CATS ON A SOFA",
            &["dog", "cat", "sofa"],
        );
        check(
            "saw, hammer, drill and nails",
            &["saw", "hammer", "drill", "nail"],
        );
        check("fly", &["fly"]);
    }

    #[test]
    fn lists_are_read() {
        check("cat, dog, horse", &["cat", "dog", "horse"]);
        check("- cat\n- dog\n", &["cat", "dog"]);
        check("* two cats\r\n* one **dog**", &["cat", "dog"]);
        check("1. dog\n2. cat\n3. dog", &["dog", "cat"]);
        check("cat/dog & \u{201c}horse\u{201d}", &["cat", "dog", "horse"]);
    }

    #[test]
    fn a_text_without_nouns_gives_none() {
        for text in [
            "",
            " \n\t",
            "No.",
            "Yes.",
            "There is one.",
            "...",
            "-",
            "'",
            "\u{1f436}\u{1f431}",
            "123",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn it_only_extracts() {
        check("I don't see any animals.", &["animal"]);
        check(
            "There are a lot of birds in this image.",
            &["lot", "bird", "image"],
        );
    }

    #[test]
    fn compounds_that_wordnet_lists_are_one_noun() {
        check(
            "A polar bear and two fire trucks.",
            &["polar bear", "fire truck"],
        );
        check(
            "a living room with a mother-in-law in a T-shirt",
            &["living room", "mother-in-law", "t-shirt"],
        );
        check("A dog, truck", &["dog", "truck"]);
        check(
            "a hot dog and two German shepherds",
            &["hot dog", "german shepherd"],
        );
    }

    #[test]
    fn adjectives_that_only_describe_make_no_compound() {
        check(
            "A black cat, a white horse and some white sheep.",
            &["cat", "horse", "sheep"],
        );
    }

    #[test]
    fn proper_nouns_count_when_wordnet_lists_them() {
        check("The Eiffel Tower in Paris.", &["eiffel tower", "paris"]);
        check("Zxqvy has a German shepherd", &["german shepherd"]);
    }

    #[test]
    fn words_that_the_tagger_has_not_learnt_are_judged_by_wordnet_and_place() {
        check("Two zebras and a giraffe", &["zebra", "giraffe"]);
        check("A black-and-white cat", &["cat"]);
        check("a smartphone, labradoodles", &["smartphone", "labradoodle"]);
    }

    #[test]
    fn other_languages_do_not_fail() {
        check(
            "\u{72ac}\u{3068}\u{732b}\u{304c}\u{3044}\u{307e}\u{3059}",
            &[],
        );
        check("Ja, cafe\u{301} \u{1f436} dog", &["cafe\u{301}", "dog"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_distinct_lower_case_nouns(text in "\\PC{0,60}|[a-zA-Z '’.,\\-\n]{0,80}") {
            let nouns = super::nouns(&text).unwrap();
            let distinct: HashSet<&String> = nouns.iter().collect();
            prop_assert_eq!(distinct.len(), nouns.len());
            for noun in &nouns {
                prop_assert!(!noun.trim().is_empty() && *noun == noun.to_lowercase(), "{:?}", noun);
            }
        }

        #[test]
        fn words_of_the_tagger_in_any_order_do_not_fail(
            words in prop::collection::vec(prop::sample::select(vec![
                "a", "the", "dog", "dogs", "polar", "bear", "riding", "'s", "n't", "-", "--", ",", ".", "and",
                "zebra", "T-", "-shirt", "o'", "\u{301}",
            ]), 0..12),
        ) {
            prop_assert!(super::nouns(&words.join(" ")).is_ok());
            prop_assert!(super::nouns(&words.concat()).is_ok());
        }
    }
}
