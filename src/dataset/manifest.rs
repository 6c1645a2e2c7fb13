//! `_picsift.json`: what was asked of which model, and what came of it.
//!
//! Everything that somebody needs to trust or repeat a labelling, and nothing secret: inputs are named without
//! credentials or query strings.

use std::ops::AddAssign;
use std::time::Duration;

use picsift_udf::{Labelling, RunStats};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cascade::CascadeEntry;
use crate::corrections::CorrectionsEntry;
use crate::input::Position;
use crate::input::files::FileEntry;
use crate::output::writer::WrittenFile;
use picsift_vision::Head;
use picsift_vision::categories::JobCategory;

/// The manifest of a published output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of picsift that wrote it.
    pub picsift: String,
    /// Why rows are missing at the end, where a bound on images or time stopped the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// Model, revision, device, number format and crops.
    pub model: Value,
    /// The categories in the order of their columns.
    pub categories: Vec<CategoryEntry>,
    /// The tables that were read, and how.
    pub input: InputEntry,
    /// The corrections that were applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrections: Option<CorrectionsEntry>,
    /// The cheap model that answered for the model, and what it was promised to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeEntry>,
    /// What became of the rows.
    pub counts: Counts,
    /// Where the time went.
    pub seconds: Seconds,
    /// The files, in the order of their paths.
    pub files: Vec<WrittenFile>,
    /// What the same command needs to know when it is run again.
    pub job: JobEntry,
}

/// One category as it was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CategoryEntry {
    /// Its name.
    pub name: String,
    /// The question as it was put to the model, for a model that reads one.
    pub prompt: Option<String>,
    /// Further nouns that counted.
    pub nouns: Vec<String>,
    /// SHA-256 of what was taught of it, for a category that a head answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Score from which it held.
    pub threshold: f32,
    /// Its BOOLEAN column.
    pub is_column: String,
    /// Its FLOAT column.
    pub score_column: String,
    /// Rows for which it held.
    pub held: u64,
}

/// What was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputEntry {
    /// Files, folders and globs as given.
    pub tables: Vec<String>,
    /// The column of the images.
    pub image_column: String,
    /// The predicate of `--where`.
    pub predicate: Option<String>,
    /// The number of `--limit`.
    pub limit: Option<usize>,
    /// Columns whose values are folders.
    pub partition_by: Vec<String>,
}

/// The job that made an output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobEntry {
    /// Of the run that published last.
    pub id: String,
    /// All that decides what the answers are; see `crate::label::identity`.
    pub identity: Value,
    /// The rows of the input before this are in the output.
    pub through: Position,
    /// The files of the input, by their numbers.
    pub files: Vec<FileEntry>,
}

/// Rows and images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows written.
    pub rows: u64,
    /// Rows with an image.
    pub images: u64,
    /// Images without an answer.
    pub failures: u64,
    /// Images that the model was shown; the others failed, or their answers were known.
    pub asked: u64,
    /// Calls in which the model failed unexpectedly; their images are among the failures.
    pub panics: u64,
    /// Images with different bytes among those that could be decoded.
    pub distinct_images: u64,
    /// Images that look like another among them though their bytes differ; also a lower bound over several runs.
    pub near_duplicates: u64,
    /// Whether `distinct_images` is exact; past a million, and over several runs, it is a lower bound.
    pub distinct_is_exact: bool,
}

impl Counts {
    /// The counts of a run so far, in which the model panicked so many times; rows that are written are not known here.
    pub fn of(stats: &RunStats, panics: u64) -> Self {
        let (distinct_images, distinct_is_exact) = stats.distinct();
        Self {
            rows: 0,
            images: stats.images(),
            failures: stats.failures(),
            asked: stats.asked(),
            panics,
            distinct_images,
            near_duplicates: stats.near_duplicates(),
            distinct_is_exact,
        }
    }

    /// What has come since `before`, of the same run; distinct images are those of the whole run.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            rows: self.rows - before.rows,
            images: self.images - before.images,
            failures: self.failures - before.failures,
            asked: self.asked - before.asked,
            panics: self.panics - before.panics,
            ..self.clone()
        }
    }
}

/// Adds the next part of the same job. Distinct images are counted from the beginning of a run, so the larger number is that of
/// one run, and a lower bound for several.
impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.images += other.images;
        self.failures += other.failures;
        self.asked += other.asked;
        self.panics += other.panics;
        self.distinct_images = self.distinct_images.max(other.distinct_images);
        self.near_duplicates = self.near_duplicates.max(other.near_duplicates);
        self.distinct_is_exact = other.distinct_is_exact;
    }
}

/// Seconds, `fetch` and `decode` summed over images and therefore more than the wall clock's where they overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// At work on what is in the output.
    pub wall: f64,
    /// Waiting for references to be fetched.
    pub fetch: f64,
    /// Decode threads at work.
    pub decode: f64,
    /// The model's thread at work.
    pub model: f64,
}

impl Seconds {
    /// The times of a run that took `wall` and kept the model busy for `model`.
    pub fn of(stats: &RunStats, wall: Duration, model: Duration) -> Self {
        Self {
            wall: wall.as_secs_f64(),
            fetch: stats.fetch().as_secs_f64(),
            decode: stats.decode().as_secs_f64(),
            model: model.as_secs_f64(),
        }
        .rounded()
    }

    /// What has come since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            wall: self.wall - before.wall,
            fetch: self.fetch - before.fetch,
            decode: self.decode - before.decode,
            model: self.model - before.model,
        }
        .rounded()
    }

    fn rounded(self) -> Self {
        let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        Self {
            wall: rounded(self.wall),
            fetch: rounded(self.fetch),
            decode: rounded(self.decode),
            model: rounded(self.model),
        }
    }
}

impl AddAssign<&Seconds> for Seconds {
    fn add_assign(&mut self, other: &Seconds) {
        *self = Self {
            wall: self.wall + other.wall,
            fetch: self.fetch + other.fetch,
            decode: self.decode + other.decode,
            model: self.model + other.model,
        }
        .rounded();
    }
}

/// The entries for a job's categories; `held` counts the rows of each.
pub fn category_entries(
    categories: &[JobCategory],
    labelling: &Labelling,
    added: &picsift_udf::AddedColumns,
    held: &[u64],
) -> Vec<CategoryEntry> {
    categories
        .iter()
        .enumerate()
        .map(|(index, category)| CategoryEntry {
            name: category.spec.category.name.clone(),
            prompt: labelling.questions()[index].text().map(str::to_owned),
            nouns: category.spec.category.nouns.clone(),
            head: category.spec.category.head.as_ref().map(Head::hex),
            threshold: labelling.thresholds()[index],
            is_column: added.is[index].clone(),
            score_column: added.score[index].clone(),
            held: held[index],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use picsift_udf::AddedColumns;
    use picsift_vision::CategorySpec;
    use picsift_vision::{
        Answer, Category, Generation, InputGeometry, Job, Loaded, Model, ModelInfo, Preprocessor,
        Prompt, Question, Questions, RgbImage, Service, ServiceOptions, Views, VisionError,
    };

    use super::*;

    /// A model that reads.
    struct Reader;

    impl Questions for Reader {
        fn category(&self, category: &Category) -> Result<Question, VisionError> {
            let own = format!("Is there a {}?", category.name);
            let prompt = Prompt {
                text: category.prompt.clone().unwrap_or(own).into(),
                tokens: [].into(),
            };
            Ok(Question::YesNo(prompt))
        }

        fn open(&self, _: &str, _: Generation) -> Result<Question, VisionError> {
            Err(VisionError::CannotTalk {
                model: "reader".to_string(),
            })
        }
    }

    impl Preprocessor for Reader {
        fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
            Views::square("reader", image, 1)
        }
    }

    impl Model for Reader {
        fn answer(&mut self, _: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
            Vec::new()
        }
    }

    #[test]
    fn a_category_stands_with_the_question_that_was_asked() {
        let info = ModelInfo {
            name: "reader".to_string(),
            revision: "1".to_string(),
            licence: None,
            device: "cpu".to_string(),
            dtype: "f32",
            crops: Some(picsift_vision::CropPolicy::Global),
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: false,
        };
        let model = serde_json::to_value(&info).unwrap();
        assert_eq!(model["crops"], "global");
        assert_eq!(model["dtype"], "f32");
        let loaded = Loaded {
            info,
            questions: Arc::new(Reader),
            preprocessor: Arc::new(Reader),
            model: Box::new(Reader),
            batch: picsift_vision::BatchAdvice::default(),
        };
        let service = Service::start(loaded, ServiceOptions::default()).unwrap();
        let category = |name: &str, prompt: Option<&str>| JobCategory {
            spec: CategorySpec {
                category: Category {
                    prompt: prompt.map(str::to_owned),
                    ..Category::named(name)
                },
                threshold: None,
            },
            column: name.to_string(),
            head: None,
            min_recall: None,
            min_precision: None,
        };
        let categories = [
            category("dog", None),
            category("cat", Some("Is a cat asleep?")),
        ];
        let specs: Vec<_> = categories.iter().map(|c| c.spec.clone()).collect();
        let labelling = Labelling::new(&service.into(), &specs, None).unwrap();
        let names = categories.each_ref().map(|c| c.column.clone());
        let added = AddedColumns::new(&names, &Schema::empty(), false, None).unwrap();
        let entries = category_entries(&categories, &labelling, &added, &[0, 0]);
        let prompts: Vec<_> = entries.iter().map(|e| e.prompt.as_deref()).collect();
        assert_eq!(prompts, [Some("Is there a dog?"), Some("Is a cat asleep?")]);
    }
}
