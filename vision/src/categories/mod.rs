//! Which categories are asked for: from a list of nouns and from a TOML file.
//!
//! Owns the names of columns and, in `file`, the file's form; which models the file is about, where it says so, is for whoever has a
//! choice of them ([`FileModels`]). Whether a model knows a category is [`crate::Questions`]' to say, and
//! from which score one holds without a threshold of its own is its caller's.

mod file;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::heads::{Head, Heads, HeadsError};
use crate::model::Category;
use crate::options::PromptStyle;
pub use file::{FileModels, models_of, parse};

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
