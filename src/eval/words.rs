//! Words of the truth: which category each means, and which say yes or no.
//!
//! Words are compared by their letters and digits alone, in lower case: `measuringTape` is `measuring tape`.

use std::collections::HashMap;

use crate::dataset::labels::LabelledCategory;

/// Words whose category is remembered; others are looked up again.
const REMEMBERED: usize = 100_000;

/// Words of the truth that no category has, kept for the report.
const STRANGERS: usize = 1000;

/// What a text says, if it says yes or no.
pub fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "y" | "true" | "t" | "1" => Some(true),
        "no" | "n" | "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// The members of a list of texts in a text, as JSON writes it or Python with single quotes.
fn list(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    let json = serde_json::from_str(text);
    json.or_else(|_| serde_json::from_str(&text.replace('\'', "\"")))
        .ok()
}

/// A word by its letters and digits, in lower case.
pub fn folded(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Finds the category of a word.
#[derive(Debug)]
pub struct Words {
    /// Names as they stand, which go before other spellings: `hot dog` is not `hotdog` where both are categories.
    by_name: HashMap<String, usize>,
    by_folded: HashMap<String, usize>,
    known: HashMap<String, Option<usize>>,
    /// Words that no category has, with how many rows have them.
    pub strangers: HashMap<String, u64>,
    /// The only category there is: then yes and no are about it.
    only: bool,
}

impl Words {
    /// For these categories.
    pub fn new(categories: &[LabelledCategory]) -> Self {
        let named = categories.iter().enumerate();
        Self {
            only: categories.len() == 1,
            by_name: named.clone().map(|(i, c)| (c.name.clone(), i)).collect(),
            by_folded: named.map(|(i, c)| (folded(&c.name), i)).collect(),
            known: HashMap::new(),
            strangers: HashMap::new(),
        }
    }

    /// The categories that a text names, `None` for each word that is none: the whole text, or what stands between its `|`, `;` or `,`,
    /// or the members of a list in it as JSON or Python writes it. Of a single category, yes and no say whether it holds.
    pub fn categories(&mut self, text: &str) -> Vec<Option<usize>> {
        let text = text.trim();
        if text.is_empty() {
            return Vec::new();
        }
        if let Some(whole) = self.known_category(text) {
            return vec![Some(whole)];
        }
        if let Some(holds) = yes_or_no(text).filter(|_| self.only) {
            return vec![holds.then_some(0)];
        }
        if let Some(list) = list(text) {
            return list.iter().map(|word| self.category(word)).collect();
        }
        match ['|', ';', ',']
            .into_iter()
            .find(|mark| text.contains(*mark))
        {
            Some(mark) => {
                let words = text.split(mark).map(str::trim);
                let words = words.filter(|word| !word.is_empty());
                words.map(|word| self.category(word)).collect()
            }
            None => vec![self.category(text)],
        }
    }

    /// The category of this name or another spelling of it.
    fn known_category(&self, word: &str) -> Option<usize> {
        let exact = self.by_name.get(word);
        exact.or_else(|| self.by_folded.get(&folded(word))).copied()
    }

    /// The number of the word's category.
    pub fn category(&mut self, word: &str) -> Option<usize> {
        let found = match self.known.get(word) {
            Some(found) => *found,
            None => {
                let found = self.known_category(word);
                if self.known.len() < REMEMBERED {
                    self.known.insert(word.to_string(), found);
                }
                found
            }
        };
        if found.is_none() {
            if let Some(rows) = self.strangers.get_mut(word) {
                *rows += 1;
            } else if self.strangers.len() < STRANGERS {
                self.strangers.insert(word.to_string(), 1);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(name: &str, stem: &str) -> LabelledCategory {
        LabelledCategory {
            name: name.to_string(),
            prompt: None,
            threshold: Some(0.5),
            is_column: format!("is_{stem}"),
            score_column: None,
        }
    }

    #[test]
    fn the_very_name_goes_before_another_spelling() {
        let mut words = Words::new(&[category("hot dog", "a"), category("hotdog", "b")]);
        let found = ["hot dog", "hotdog", "Hotdog"].map(|word| words.category(word));
        assert_eq!(found, [Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn a_text_may_name_several() {
        let all = [
            category("dog", "dog"),
            category("red car", "red_car"),
            category("a, b", "ab"),
        ];
        let mut words = Words::new(&all);
        for (text, expected) in [
            ("dog", vec![Some(0)]),
            ("dog|red car", vec![Some(0), Some(1)]),
            (" Dog ; cat ;", vec![Some(0), None]),
            ("red_car, dog", vec![Some(1), Some(0)]),
            (r#"["red car", "dog"]"#, vec![Some(1), Some(0)]),
            ("['red car']", vec![Some(1)]),
            ("[]", vec![]),
            ("", vec![]),
            // A name may have the marks in it.
            ("a, b", vec![Some(2)]),
            ("yes", vec![None]),
        ] {
            assert_eq!(words.categories(text), expected, "{text}");
        }
        assert_eq!(words.strangers["cat"], 1);
        let mut words = Words::new(&all[..1]);
        for (text, expected) in [("yes", Some(0)), ("No", None), ("1", Some(0)), ("0", None)] {
            assert_eq!(words.categories(text), [expected], "{text}");
        }
        assert!(words.strangers.is_empty());
    }
}
