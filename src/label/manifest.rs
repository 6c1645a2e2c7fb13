//! `_picsift.json`: what was asked of which model, and what came of it.
//!
//! Everything that somebody needs to trust or repeat a labelling, and nothing secret: inputs are named without
//! credentials or query strings.

use std::time::Duration;

use picsift_udf::{Labelling, RunStats};
use picsift_vision::ModelInfo;
use serde::Serialize;

use super::categories::JobCategory;
use crate::output::writer::WrittenFile;

/// The manifest of one finished job.
#[derive(Debug, Serialize)]
pub struct Manifest {
    /// Version of picsift that wrote it.
    pub picsift: &'static str,
    /// Why rows are missing at the end, where a bound on images or time stopped the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// Model, revision, device, number format and crops.
    pub model: ModelInfo,
    /// The categories in the order of their columns.
    pub categories: Vec<CategoryEntry>,
    /// The tables that were read, and how.
    pub input: InputEntry,
    /// What became of the rows.
    pub counts: Counts,
    /// Where the time went.
    pub seconds: Seconds,
    /// The files, in the order of their paths.
    pub files: Vec<WrittenFile>,
}

/// One category as it was asked.
#[derive(Debug, Serialize)]
pub struct CategoryEntry {
    /// Its name.
    pub name: String,
    /// The question as it was put to the model, for a model that reads one.
    pub prompt: Option<String>,
    /// Further nouns that counted.
    pub nouns: Vec<String>,
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
#[derive(Debug, Serialize)]
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

/// Rows and images.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Rows written.
    pub rows: u64,
    /// Rows with an image.
    pub images: u64,
    /// Images without an answer.
    pub failures: u64,
    /// Calls in which the model failed unexpectedly; their images are among the failures.
    pub panics: u64,
    /// Images with different bytes among those that could be decoded.
    pub distinct_images: u64,
    /// Whether `distinct_images` is exact; past a million it is a lower bound.
    pub distinct_is_exact: bool,
}

impl Counts {
    /// The counts of a finished run that wrote so many rows and in which the model panicked so many times.
    pub fn of(stats: &RunStats, rows: u64, panics: u64) -> Self {
        let (distinct_images, distinct_is_exact) = stats.distinct();
        Self {
            rows,
            images: stats.images(),
            failures: stats.failures(),
            panics,
            distinct_images,
            distinct_is_exact,
        }
    }
}

/// Seconds, `fetch` and `decode` summed over images and therefore more than the wall clock's where they overlap.
#[derive(Debug, Clone, Serialize)]
pub struct Seconds {
    /// From start to published output.
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
        let rounded = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        Self {
            wall: rounded(wall),
            fetch: rounded(stats.fetch()),
            decode: rounded(stats.decode()),
            model: rounded(model),
        }
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
    use picsift_udf::{AddedColumns, CategorySpec};
    use picsift_vision::{
        Answer, Category, Generation, InputGeometry, Job, Loaded, Model, Preprocessor, Prompt,
        Question, Questions, RgbImage, Service, ServiceOptions, Views, VisionError,
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
        };
        let categories = [
            category("dog", None),
            category("cat", Some("Is a cat asleep?")),
        ];
        let specs: Vec<_> = categories.iter().map(|c| c.spec.clone()).collect();
        let labelling = Labelling::new(&service, &specs, None).unwrap();
        let names = categories.each_ref().map(|c| c.column.clone());
        let added = AddedColumns::new(&names, &Schema::empty()).unwrap();
        let entries = category_entries(&categories, &labelling, &added, &[0, 0]);
        let prompts: Vec<_> = entries.iter().map(|e| e.prompt.as_deref()).collect();
        assert_eq!(prompts, [Some("Is there a dog?"), Some("Is a cat asleep?")]);
    }
}
