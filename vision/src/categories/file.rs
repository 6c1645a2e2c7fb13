//! The categories file: a TOML table for each category, and before them the models that it is about.
//!
//! Owns its form and in which line it is wrong; what becomes of the categories is the module's above.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::{CategoriesError, CategorySpec, JobCategory, column_name};
use crate::model::Category;
use crate::options::PromptStyle;

/// One table of the categories file: `[building]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Question for models that read one.
    prompt: Option<String>,
    /// Score from which the category holds, 0 to 1.
    threshold: Option<f32>,
    /// What follows `is_` and `score_`.
    column: Option<String>,
    /// Further nouns that count.
    #[serde(default)]
    nouns: Vec<String>,
    /// Sentences around a noun, for models that compare texts with images.
    #[serde(default)]
    templates: Vec<Template>,
    /// A file that `picsift teach` wrote, from this file's folder.
    head: Option<PathBuf>,
    /// Least recall and precision of a cheap model that answers for another.
    min_recall: Option<Share>,
    /// See `min_recall`.
    min_precision: Option<Share>,
}

/// A share that can be promised: from 0 to 1, both left out.
#[derive(Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        match share > 0.0 && share < 1.0 {
            true => Ok(Self(share)),
            false => Err(format!(
                "{share} cannot be promised; it must be a number between 0 and 1, such as 0.95"
            )),
        }
    }
}

/// A sentence in which `{}` stands for a noun.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Template(String);

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.contains("{}") {
            true => Ok(Self(text)),
            false => Err(format!(
                "the template {text:?} has no {{}}, which stands for the noun, as in 'a photo of {{}}.'"
            )),
        }
    }
}

/// The models that a categories file is about: its thresholds are theirs. A name stands before the first category, `model = "coco-ssd"`;
/// a category of that name is a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileModels {
    /// The model that answers.
    pub model: Option<String>,
    /// A cheaper one that answers for it where it is sure enough.
    pub cascade: Option<String>,
}

/// The models that the file at `path` is about.
///
/// # Errors
/// [`CategoriesError::Read`] and [`CategoriesError::Form`].
pub fn models_of(path: &Path) -> Result<FileModels, CategoriesError> {
    let text = std::fs::read_to_string(path).map_err(|source| CategoriesError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let written = Written::of(&text).map_err(|source| CategoriesError::Form {
        path: path.to_path_buf(),
        source: Box::new(source),
    })?;
    Ok(written.models)
}

/// A file as it stands.
struct Written {
    models: FileModels,
    /// In the order of the file.
    entries: Vec<(String, Entry)>,
}

impl Written {
    fn of(text: &str) -> Result<Self, toml::de::Error> {
        let whole: toml::Table = toml::from_str(text)?;
        Reader(&whole).deserialize(toml::de::Deserializer::parse(text)?)
    }
}

/// Reads a file whose values are known: a text is a setting, everything else is to be a category.
struct Reader<'a>(&'a toml::Table);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Written;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Written;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table for each category")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut written = Written {
            models: FileModels::default(),
            entries: Vec::with_capacity(self.0.len()),
        };
        while let Some(key) = map.next_key::<String>()? {
            let is_text = self.0.get(&key).is_some_and(toml::Value::is_str);
            match key.as_str() {
                "model" if is_text => written.models.model = Some(map.next_value()?),
                "cascade" if is_text => written.models.cascade = Some(map.next_value()?),
                _ => written.entries.push((key, map.next_value()?)),
            }
        }
        Ok(written)
    }
}

/// The categories of a file's text, in its order.
///
/// # Errors
/// What is wrong with it and in which line, where it is not TOML or has other fields than these.
pub fn parse(text: &str) -> Result<Vec<JobCategory>, toml::de::Error> {
    let entries = Written::of(text)?.entries;
    Ok(entries
        .into_iter()
        .map(|(name, entry)| JobCategory {
            head: entry.head,
            min_recall: entry.min_recall.map(|share| share.0),
            min_precision: entry.min_precision.map(|share| share.0),
            column: entry.column.unwrap_or_else(|| column_name(&name)),
            spec: CategorySpec {
                category: Category {
                    name,
                    prompt: entry.prompt,
                    nouns: entry.nouns,
                    templates: entry.templates.into_iter().map(|t| t.0).collect(),
                    style: PromptStyle::default(),
                    head: None,
                },
                threshold: entry.threshold,
            },
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(categories: &[JobCategory]) -> Vec<(&str, &str)> {
        categories
            .iter()
            .map(|c| (c.spec.category.name.as_str(), c.column.as_str()))
            .collect()
    }

    #[test]
    fn a_template_has_a_place_for_the_noun() {
        let entries = parse("[dog]\ntemplates = ['a photo of {}.', 'a drawing of {}']\n").unwrap();
        assert_eq!(entries[0].spec.category.templates.len(), 2);
        let said = parse("[cat]\n[dog]\ntemplates = ['a photo of a dog']\n").unwrap_err();
        assert!(said.to_string().contains("has no {}"), "{said}");
        assert!(said.to_string().contains("line 3"), "{said}");
    }

    #[test]
    fn a_file_gives_its_categories_in_its_order() {
        let entries = parse(
            "[zebra]\n[building]\nnouns = ['palace', 'castle']\nthreshold = 0.3\ncolumn = 'house'\nprompt = 'Is there one?'\n",
        )
        .unwrap();
        assert_eq!(names(&entries), [("zebra", "zebra"), ("building", "house")]);
        assert_eq!(entries[1].spec.threshold, Some(0.3));
        assert_eq!(entries[1].spec.category.nouns, ["palace", "castle"]);
        assert_eq!(
            entries[1].spec.category.prompt.as_deref(),
            Some("Is there one?")
        );
    }

    #[test]
    fn a_file_may_say_which_models_it_is_about() {
        let text = "model = 'coco-ssd'\ncascade = 'efficientnet-lite0'\n[person]\n[cascade]\n";
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("duplicate key"), "{error}");
        let text = "model = 'coco-ssd'\n[person]\n[cascade]\n";
        let known = parse(text).unwrap();
        assert_eq!(
            names(&known),
            [("person", "person"), ("cascade", "cascade")]
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let models = models_of(&path).unwrap();
        assert_eq!(
            (models.model.as_deref(), models.cascade),
            (Some("coco-ssd"), None)
        );
        let error = parse("[dog]\n[model]\nprompt = 3\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 3"), "{error}");
        assert!(parse("modle = 'x'\n").is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_line() {
        let message = parse("[fish]\ntreshold = 0.3\n").unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("treshold"),
            "{message}"
        );
    }
}
