//! Under which licences the pictures are, as far as the table says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Columns in which a table may say so.
const COLUMNS: [&str; 3] = ["license", "licence", "image_license"];

/// Most that are told apart.
const MOST: usize = 100;

/// Pictures by licence.
#[derive(Debug, Default)]
pub struct Licences {
    /// By the licence's text.
    pub named: BTreeMap<String, u64>,
    /// Under licences beyond the first hundred.
    pub others: u64,
    /// Of which the table says nothing.
    pub unsaid: u64,
}

impl Licences {
    /// Counts the picture of a row with these columns.
    pub fn count(&mut self, columns: &Map<String, Value>) {
        let said = COLUMNS.iter().find_map(|name| columns.get(*name)?.as_str());
        match said.map(str::trim).filter(|text| !text.is_empty()) {
            None => self.unsaid += 1,
            Some(text) if self.named.len() < MOST || self.named.contains_key(text) => {
                *self.named.entry(text.to_string()).or_default() += 1;
            }
            Some(_) => self.others += 1,
        }
    }

    /// The one licence of all pictures as Hugging Face would name it, else `other` or `unknown`.
    pub fn slug(&self) -> String {
        let names: Vec<_> = self.named.keys().collect();
        match names.as_slice() {
            [] => "unknown".to_string(),
            [only] if self.unsaid == 0 => slug(only).unwrap_or_else(|| "other".to_string()),
            _ => "other".to_string(),
        }
    }

    /// Each with its pictures, in words.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<_> = self.named.clone().into_iter().collect();
        let rest = [("(others)", self.others), ("(not said)", self.unsaid)];
        let rest = rest.into_iter().filter(|(_, pictures)| *pictures > 0);
        rows.extend(rest.map(|(name, pictures)| (name.to_string(), pictures)));
        rows
    }
}

/// A licence as Hugging Face names it, if it looks like such a name.
fn slug(licence: &str) -> Option<String> {
    let slug = licence.to_lowercase().replace(' ', "-");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    slug.chars().all(plain).then_some(slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[Option<&str>]) -> Licences {
        let mut licences = Licences::default();
        for text in texts {
            let mut columns = Map::new();
            columns.insert("licence".to_string(), Value::from(*text));
            licences.count(&columns);
        }
        licences
    }

    /// A data set is under one licence only if each of its pictures is.
    #[test]
    fn one_licence_is_that_of_all() {
        assert_eq!(of(&[Some("CC0 1.0"), Some("CC0 1.0")]).slug(), "cc0-1.0");
        assert_eq!(of(&[Some("CC0-1.0"), None]).slug(), "other");
        assert_eq!(of(&[Some("CC0-1.0"), Some("MIT")]).slug(), "other");
        assert_eq!(of(&[Some("ask <us>")]).slug(), "other");
        assert_eq!(of(&[None, Some(" ")]).slug(), "unknown");
        let rows = of(&[Some("MIT"), None, Some("MIT")]).rows();
        let text = str::to_string;
        assert_eq!(rows, [(text("MIT"), 2), (text("(not said)"), 1)]);
    }
}
