//! What each category could be called: as it was given, as a file of candidates says, and in words that models of one kind like.
//!
//! A model takes some of them and refuses others (a classifier reads no prompt); which differ for it its questions say.

use std::collections::BTreeMap;
use std::path::Path;

use picsift_udf::ModelHandle;
use picsift_vision::categories::{
    CategoriesError, JobCategory, categories, column_name, with_heads,
};
use picsift_vision::{CategorySpec, PromptStyle, Question, VisionError};
use serde::Deserialize;

use crate::error::AppError;
use crate::options::CategoryOptions;

/// Most wordings of a category.
const MOST: usize = 64;

/// Sets of templates that are tried with models that compare texts with images, beside their own.
const TEMPLATES: [&[&str]; 3] = [
    &["{}"],
    &[
        "a photo of {}.",
        "a picture with {} in it.",
        "there is {} in this scene.",
    ],
    &[
        "a good photo of {}.",
        "a bad photo of {}.",
        "a close-up photo of {}.",
        "{} in the distance.",
    ],
];

/// A category and what it could be called.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// As it was given.
    pub(super) category: JobCategory,
    /// The file of its head, where it has one.
    pub(super) heads: Option<std::path::PathBuf>,
    /// Its wordings, of which the first is as it was given.
    pub(super) wordings: Vec<Wording>,
}

/// One way to ask for a category.
#[derive(Debug, Clone)]
pub(super) struct Wording {
    /// In words, for a person.
    pub(super) said: String,
    /// What is asked; its threshold is the category's.
    pub(super) spec: CategorySpec,
}

impl Tried {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.category.spec.category.name
    }

    /// The places of the wordings that this model takes, each question once.
    ///
    /// # Errors
    /// Why it takes none.
    pub(super) fn usable(&self, model: &ModelHandle) -> Result<Vec<usize>, VisionError> {
        let mut questions: Vec<Question> = Vec::new();
        let mut places = Vec::new();
        let mut first = None;
        for (place, wording) in self.wordings.iter().enumerate() {
            match model.category(&wording.spec.category) {
                Ok(question) if questions.contains(&question) => {}
                Ok(question) => {
                    questions.push(question);
                    places.push(place);
                }
                // Of what was taught to another model it need not know anything.
                Err(error) if wording.spec.category.head.is_none() => {
                    first.get_or_insert(error);
                }
                Err(_) => {}
            }
        }
        match first {
            Some(error) if places.is_empty() => Err(error),
            _ => Ok(places),
        }
    }
}

/// A file of candidates. Everything in a list is one candidate.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Questions for every category, in which `{}` stands for its name.
    #[serde(default)]
    prompts: Vec<Sentence>,
    /// Sets of sentences for every category, in which `{}` stands for a noun.
    #[serde(default)]
    templates: Vec<Vec<Sentence>>,
    #[serde(default)]
    category: BTreeMap<String, WrittenCategory>,
}

/// What is tried for one category.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCategory {
    #[serde(default)]
    prompts: Vec<String>,
    /// Sets of further nouns.
    #[serde(default)]
    nouns: Vec<Vec<String>>,
    #[serde(default)]
    templates: Vec<Vec<Sentence>>,
}

/// A text in which `{}` stands for the category.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Sentence(String);

impl TryFrom<String> for Sentence {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.contains("{}") {
            true => Ok(Self(text)),
            false => Err(format!(
                "{text:?} has no {{}}, which stands for the category, as in 'Is there {{}} in the picture?'"
            )),
        }
    }
}

/// The categories with what they could be called.
///
/// # Errors
/// [`AppError::Usage`] where there is no category, a file cannot be read or is wrong, or there are too many wordings.
pub(super) fn tried(
    options: &CategoryOptions,
    file: Option<&Path>,
) -> Result<Vec<Tried>, AppError> {
    let written = match file {
        Some(file) => read(file)?,
        None => Written::default(),
    };
    let usage = |error: CategoriesError| AppError::Usage(error.to_string());
    let given = !options.names.is_empty() || options.file.is_some() || options.heads.is_some();
    let all = match given {
        true => with_heads(
            &options.names,
            options.file.as_deref(),
            options.heads.as_deref(),
        ),
        false => categories(&written.category.keys().cloned().collect::<Vec<_>>(), None),
    };
    let all = all.map_err(usage)?;
    let known = |name: &str| all.iter().any(|one| one.spec.category.name == name);
    if let (Some(file), Some(stranger)) = (file, written.category.keys().find(|name| !known(name)))
    {
        return Err(AppError::Usage(format!(
            "{} has candidates for '{stranger}', which is none of the categories",
            file.display()
        )));
    }
    let each = all.into_iter().map(|category| {
        let heads = category.head.clone().or_else(|| {
            let head = category.spec.category.head.as_ref();
            head.and(options.heads.clone())
        });
        let one = Tried {
            wordings: wordings(&category, &written),
            heads,
            category,
        };
        match one.wordings.len() <= MOST {
            true => Ok(one),
            false => Err(AppError::Usage(format!(
                "'{}' has {} wordings, and at most {MOST} are tried",
                one.name(),
                one.wordings.len()
            ))),
        }
    });
    each.collect()
}

fn read(file: &Path) -> Result<Written, AppError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        AppError::Usage(format!(
            "cannot read the candidates in {}: {error}",
            file.display()
        ))
    })?;
    toml::from_str(&text).map_err(|error| {
        AppError::Usage(format!(
            "the file of candidates {} is wrong: {error}",
            file.display()
        ))
    })
}

fn wordings(category: &JobCategory, written: &Written) -> Vec<Wording> {
    let given = CategorySpec {
        threshold: None,
        ..category.spec.clone()
    };
    let name = given.category.name.clone();
    let bare = given.clone().with_head(None);
    let mut all = Vec::new();
    let mut add = |said: String, spec: CategorySpec| all.push(Wording { said, spec });
    match given.category.head {
        Some(_) => {
            add("as it was taught".to_string(), given);
            add("by its name".to_string(), bare.clone());
        }
        None => add("as it is".to_string(), given),
    }
    let mut shared = bare.clone();
    shared.category.style = PromptStyle::Shared;
    let none = WrittenCategory::default();
    let own = written.category.get(&name).unwrap_or(&none);
    for nouns in &own.nouns {
        let mut spec = bare.clone();
        spec.category.nouns.clone_from(nouns);
        add(format!("nouns {}", nouns.join(", ")), spec);
    }
    let general = written
        .prompts
        .iter()
        .map(|text| text.0.replace("{}", &name));
    for prompt in own.prompts.iter().cloned().chain(general) {
        let mut spec = bare.clone();
        spec.category.prompt = Some(prompt.clone());
        add(format!("'{prompt}'"), spec);
    }
    let usual = TEMPLATES.map(|set| set.iter().map(|text| (*text).to_string()).collect());
    let texts = |set: &Vec<Sentence>| set.iter().map(|text| text.0.clone()).collect();
    let sets = own.templates.iter().chain(&written.templates).map(texts);
    for templates in sets.chain(usual) {
        let templates: Vec<String> = templates;
        let mut spec = bare.clone();
        spec.category.templates.clone_from(&templates);
        // A prompt says everything by itself.
        if spec.category.prompt.is_none() {
            add(format!("in '{}'", templates.join("', '")), spec);
        }
    }
    if shared.category.prompt.is_none() {
        add("in the shared style".to_string(), shared);
    }
    all
}

/// Whether a category's column has another name than `label` would give it.
pub(super) fn has_own_column(category: &JobCategory) -> bool {
    category.column != column_name(&category.spec.category.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("candidates.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_says_what_is_tried_for_all_and_for_one() {
        let (_folder, path) = file(
            "prompts = ['Do you see {}?']\n[category.dog]\nnouns = [['puppy'], ['puppy', 'hound']]\nprompts = ['A dog?']\n[category.cat]\n",
        );
        let all = tried(&CategoryOptions::default(), Some(&path)).unwrap();
        let names: Vec<_> = all.iter().map(Tried::name).collect();
        assert_eq!(names, ["cat", "dog"]);
        let said: Vec<_> = all[1]
            .wordings
            .iter()
            .map(|one| one.said.as_str())
            .collect();
        assert_eq!(
            said[..5],
            [
                "as it is",
                "nouns puppy",
                "nouns puppy, hound",
                "'A dog?'",
                "'Do you see dog?'"
            ]
        );
        assert_eq!(all[0].wordings.len() + 3, all[1].wordings.len());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        for (text, said) in [
            ("prompts = ['Do you see it?']\n", "has no {}"),
            ("[category.dog]\nprompt = 'a'\n", "line 2"),
            ("[category.dog]\nnouns = ['a']\n", "line 2"),
            ("", "no category is given"),
        ] {
            let (_folder, path) = file(text);
            let error = tried(&CategoryOptions::default(), Some(&path)).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        let (_folder, path) = file("[category.dog]\n");
        let cat = CategoryOptions {
            names: vec!["cat".to_string()],
            ..CategoryOptions::default()
        };
        let error = tried(&cat, Some(&path)).unwrap_err().to_string();
        assert!(error.contains("none of the categories"), "{error}");
    }
}
