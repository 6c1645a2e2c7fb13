//! Which categories are asked for: from a list of nouns and from a TOML file.
//!
//! Owns the file's format and the names of columns; which models the file is about, where it says so, is for whoever has a choice of
//! them ([`FileModels`]). Whether a model knows a category is [`crate::Questions`]' to say, and
//! from which score one holds without a threshold of its own is its caller's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::heads::{Head, Heads, HeadsError};
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

    /// The same, answered by what was taught.
    pub fn with_head(mut self, head: Option<Head>) -> Self {
        self.category.head = head;
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
    /// The file that has what was taught of it, as the categories file names it; [`with_heads`] reads it.
    pub head: Option<PathBuf>,
    /// Least recall and precision, 0 to 1, both left out, that a cheap model has to keep which answers for another; unset means the
    /// caller's.
    pub min_recall: Option<f64>,
    /// See `min_recall`.
    pub min_precision: Option<f64>,
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
    /// A file of heads is of no use.
    #[error(transparent)]
    Heads(#[from] HeadsError),
    /// A file of heads is about other categories.
    #[error("{} was taught {known}, which none of the categories {asked} is", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// What it was taught.
        known: String,
        /// The categories.
        asked: String,
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

/// The categories of `list`, then those of `file`, in their order; without either all that the file `heads` was taught. Those that a file
/// of heads is named for, or that `heads` has, are answered by what was taught.
///
/// # Errors
/// [`CategoriesError`] when there are none, one stands twice, or a file cannot be used.
pub fn with_heads(
    list: &[String],
    file: Option<&Path>,
    heads: Option<&Path>,
) -> Result<Vec<JobCategory>, CategoriesError> {
    let heads = heads.map(Heads::read).transpose()?;
    let taught: Vec<String> = match &heads {
        Some(heads) if list.is_empty() && file.is_none() => {
            heads.names().into_iter().map(str::to_owned).collect()
        }
        _ => list.to_vec(),
    };
    let mut all = categories(&taught, file)?;
    let mut read: Vec<Heads> = Vec::new();
    let mut used = false;
    for category in &mut all {
        let name = &category.spec.category.name;
        category.spec.category.head = match &category.head {
            Some(path) => {
                let known = read.iter().position(|heads| heads.path() == path);
                let at = match known {
                    Some(at) => at,
                    None => {
                        read.push(Heads::read(path)?);
                        read.len() - 1
                    }
                };
                Some(read[at].of(name)?.clone())
            }
            None => heads.as_ref().and_then(|heads| heads.get(name)).cloned(),
        };
        used |= heads
            .as_ref()
            .is_some_and(|heads| heads.get(name).is_some());
    }
    match heads {
        Some(heads) if !used => Err(CategoriesError::Strange {
            path: heads.path().to_path_buf(),
            known: heads.names().join(", "),
            asked: names(&all),
        }),
        _ => Ok(all),
    }
}

fn names(categories: &[JobCategory]) -> String {
    let names = categories.iter().map(|one| one.spec.category.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The categories of `list`, then those of `file`, in their order, without what was taught of them.
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
        let mut entries = parse(&text).map_err(|source| CategoriesError::Form {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for head in entries.iter_mut().filter_map(|entry| entry.head.as_mut()) {
            *head = folder.join(&*head);
        }
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
        head: None,
        min_recall: None,
        min_precision: None,
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
    use crate::heads::{HeadModel, to_bytes};

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

    #[test]
    fn none_and_twice_are_refused() {
        assert!(matches!(categories(&[], None), Err(CategoriesError::None)));
        let twice = ["fish".to_string(), "fish".to_string()];
        assert!(matches!(
            categories(&twice, None),
            Err(CategoriesError::Twice(_))
        ));
    }

    #[test]
    fn what_was_taught_is_found_by_name_and_beside_the_file_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let model = HeadModel {
            name: "m".to_owned(),
            revision: "1".to_owned(),
            preprocessing: "full".to_owned(),
            width: 1,
        };
        let head = |name: &str, weight| Head::new(name, &model, vec![weight], 0.0).unwrap();
        let write = |name: &str, heads: &[Head]| {
            let path = folder.path().join(name);
            std::fs::write(&path, to_bytes(heads, "").unwrap()).unwrap();
            path
        };
        let two = write(
            "two.safetensors",
            &[head("dent", 1.0), head("scratch", 2.0)],
        );
        write("one.safetensors", &[head("scratch", 3.0)]);
        let file = folder.path().join("categories.toml");
        std::fs::write(&file, "[scratch]\nhead = 'one.safetensors'\n[fish]\n").unwrap();
        let taught = |list: &[&str], file: Option<&Path>, heads: Option<&Path>| {
            let list: Vec<_> = list.iter().map(|name| name.to_string()).collect();
            let all = with_heads(&list, file, heads).map_err(|error| error.to_string())?;
            let found = all.into_iter().map(|one| one.spec.category);
            Ok::<_, String>(found.map(|one| (one.name, one.head)).collect::<Vec<_>>())
        };
        let named = |name: &str, head: Option<Head>| (name.to_owned(), head);
        assert_eq!(
            taught(&["dent"], Some(&file), Some(&two)),
            Ok(vec![
                named("dent", Some(head("dent", 1.0))),
                named("scratch", Some(head("scratch", 3.0))),
                named("fish", None),
            ])
        );
        let all = taught(&[], None, Some(&two)).unwrap();
        assert_eq!(all[0].0, "dent");
        assert_eq!(all[1], named("scratch", Some(head("scratch", 2.0))));
        let said = taught(&["fish"], None, Some(&two)).unwrap_err();
        assert!(
            said.contains("dent, scratch") && said.contains("fish"),
            "{said}"
        );
        std::fs::write(&file, "[fish]\nhead = 'one.safetensors'\n").unwrap();
        let said = taught(&[], Some(&file), None).unwrap_err();
        assert!(said.contains("no head for category 'fish'"), "{said}");
    }
}
