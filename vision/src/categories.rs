//! Which categories are asked for: from a list of nouns and from a TOML file.
//!
//! Owns the file's format and the names of columns. Whether a model knows a category is [`crate::Questions`]' to say, and
//! from which score one holds without a threshold of its own is its caller's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::Category;
use crate::options::PromptStyle;

/// Most categories of one job: each is two columns of the output.
pub const MOST: usize = 2000;

/// One category with the threshold from which it holds; unset means the caller's, then the model's default.
#[derive(Debug, Clone, PartialEq)]
pub struct CategorySpec {
    /// Name, prompt and further nouns, as the model takes them.
    pub category: Category,
    /// Score from which the category holds, 0 to 1.
    pub threshold: Option<f32>,
}

impl CategorySpec {
    /// The same in this style.
    pub fn with_style(mut self, style: PromptStyle) -> Self {
        self.category.style = style;
        self
    }

    /// A category given by its plain noun.
    pub fn plain(name: impl Into<String>) -> Self {
        Self {
            category: Category::named(name),
            threshold: None,
        }
    }
}

/// One category of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobCategory {
    /// What is asked and from which score it holds.
    pub spec: CategorySpec,
    /// What follows `is_` and `score_` in the names of its columns.
    pub column: String,
}

/// Why the categories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CategoriesError {
    /// Neither a list nor a file names any.
    #[error("no category is given; use --categories fish,building or --categories-file FILE.toml")]
    None,
    /// The file cannot be read.
    #[error("cannot read the categories file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML of the right form.
    #[error("the categories file {} is wrong: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// More than [`MOST`].
    #[error("there are {0} categories, and at most {MOST} are asked for together")]
    TooMany(usize),
    /// A category stands twice.
    #[error("category '{0}' is given twice")]
    Twice(String),
}

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

/// The categories of `list`, then those of `file`, in their order.
///
/// # Errors
/// [`CategoriesError`] when there are none, one stands twice, or the file cannot be used.
pub fn categories(
    list: &[String],
    file: Option<&Path>,
) -> Result<Vec<JobCategory>, CategoriesError> {
    let mut all: Vec<JobCategory> = list.iter().map(|name| plain(name.trim())).collect();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| CategoriesError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let entries = parse(&text).map_err(|source| CategoriesError::Form {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        all.extend(entries);
    }
    if all.is_empty() {
        return Err(CategoriesError::None);
    }
    if all.len() > MOST {
        return Err(CategoriesError::TooMany(all.len()));
    }
    let mut seen = HashSet::new();
    for category in &all {
        let name = &category.spec.category.name;
        if !seen.insert(name) {
            return Err(CategoriesError::Twice(name.clone()));
        }
    }
    Ok(all)
}

fn plain(name: &str) -> JobCategory {
    JobCategory {
        spec: CategorySpec::plain(name),
        column: column_name(name),
    }
}

/// The categories of a file's text, in its order.
///
/// # Errors
/// What is wrong with it and in which line, where it is not TOML or has other fields than these.
pub fn parse(text: &str) -> Result<Vec<JobCategory>, toml::de::Error> {
    let tables: toml::Table = toml::from_str(text)?;
    let order: Vec<String> = tables.keys().cloned().collect();
    let mut entries: std::collections::HashMap<String, Entry> = toml::from_str(text)?;
    Ok(order
        .into_iter()
        .filter_map(|name| {
            let entry = entries.remove(&name)?;
            Some(JobCategory {
                column: entry.column.unwrap_or_else(|| column_name(&name)),
                spec: CategorySpec {
                    category: Category {
                        name,
                        prompt: entry.prompt,
                        nouns: entry.nouns,
                        templates: entry.templates.into_iter().map(|t| t.0).collect(),
                        style: PromptStyle::default(),
                    },
                    threshold: entry.threshold,
                },
            })
        })
        .collect())
}

/// A category's name as part of a column's: lower case, everything else but letters and digits as `_`.
pub fn column_name(category: &str) -> String {
    category
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("_")
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
    fn names_of_columns_are_plain() {
        let list = ["Polar Bear ".to_string(), "measuring-tape".to_string()];
        let all = categories(&list, None).unwrap();
        assert_eq!(
            names(&all),
            [
                ("Polar Bear", "polar_bear"),
                ("measuring-tape", "measuring_tape")
            ]
        );
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
    fn a_misspelt_key_is_refused_with_its_line() {
        let message = parse("[fish]\ntreshold = 0.3\n").unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("treshold"),
            "{message}"
        );
    }

    #[test]
    fn none_and_twice_are_refused() {
        assert!(matches!(categories(&[], None), Err(CategoriesError::None)));
        let twice = ["fish".to_string(), "fish".to_string()];
        assert!(matches!(
            categories(&twice, None),
            Err(CategoriesError::Twice(_))
        ));
    }
}
