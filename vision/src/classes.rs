//! What a category means to a model of fixed classes: the classes that WordNet puts under its nouns.
//!
//! A model may be made of several networks, each with a list of its own; then a class's number is its number in its list, counted on
//! from the lists before. What becomes of the classes' probabilities is each model's own.

use crate::embedding::Embedding;
use crate::error::VisionError;
use crate::model::{Answer, Category, Embeddings, Job, Question, Questions, Views};
use crate::options::{ComputeDtype, Generation, LoadOptions};
use crate::wordnet::{ClassList, Lexicon, UnknownNoun, classes_in};

/// The questions of a model whose classes are these lists, one after the other.
#[derive(Debug)]
pub(crate) struct ClassQuestions {
    /// The model's name.
    pub(crate) model: &'static str,
    /// Its lists; at least one.
    pub(crate) lists: &'static [ClassList],
    /// Numbers of an embedding, where it makes any.
    pub(crate) width: Option<usize>,
}

impl ClassQuestions {
    /// The classes of one noun in all lists that know it.
    fn classes_of(&self, lexicons: &[&Lexicon], noun: &str) -> Result<Vec<u16>, UnknownNoun> {
        let mut first = 0;
        let mut classes = Vec::new();
        for (found, list) in classes_in(lexicons, noun)?.iter().zip(self.lists) {
            classes.extend(found.iter().map(|class| first + class));
            first += list.count();
        }
        Ok(classes)
    }
}

impl Questions for ClassQuestions {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        if category.prompt.is_some() {
            return Err(VisionError::NoPrompt {
                model: self.model.to_owned(),
                category: category.name.clone(),
            });
        }
        if !category.templates.is_empty() {
            return Err(VisionError::NoTemplates {
                model: self.model.to_owned(),
                category: category.name.clone(),
            });
        }
        let unknown = |source| VisionError::UnknownCategory {
            model: self.model.to_owned(),
            category: category.name.clone(),
            source,
        };
        let lexicons = self.lists.iter().map(|&list| Lexicon::of(list));
        let lexicons = lexicons.collect::<Result<Vec<_>, _>>()?;
        // A name need not be a noun where nouns say what is meant; each of those must be one.
        let mut classes = match self.classes_of(&lexicons, &category.name) {
            Err(_) if !category.nouns.is_empty() => Vec::new(),
            classes => classes.map_err(unknown)?,
        };
        for noun in &category.nouns {
            classes.extend(self.classes_of(&lexicons, noun).map_err(unknown)?);
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(Question::Classes(classes.into()))
    }

    fn open(&self, _text: &str, _generation: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: self.model.to_owned(),
        })
    }

    fn embeddings(&self) -> Option<Embeddings> {
        Some(Embeddings {
            width: self.width?,
            texts: None,
        })
    }
}

/// A network's features as the embedding of an image.
///
/// # Errors
/// [`VisionError::NotFinite`].
pub(crate) fn embedding(model: &str, features: &[f32]) -> Result<Answer, VisionError> {
    let embedding = Embedding::new(features.to_vec()).map(Answer::Embedding);
    embedding.ok_or_else(|| VisionError::NotFinite {
        model: model.to_owned(),
    })
}

/// Refuses other number formats than f32 for a model that has kernels for that alone.
///
/// # Errors
/// [`VisionError::OptionUnsupported`] when it is to be quantised or to compute in bf16.
pub(crate) fn f32_only(model: &str, options: &LoadOptions) -> Result<(), VisionError> {
    let refused = |option: String, reason| VisionError::OptionUnsupported {
        model: model.to_owned(),
        option,
        reason,
    };
    if let Some(quantization) = options.quantize {
        return Err(refused(
            format!("quantize = {quantization}"),
            "it is small and has f32 kernels of its own; leave the option out",
        ));
    }
    if let Some(ComputeDtype::Bf16) = options.dtype {
        return Err(refused(
            format!("dtype = {}", ComputeDtype::Bf16),
            "it runs on the CPU, in f32; leave the option out",
        ));
    }
    Ok(())
}

/// The classes that a question is about.
///
/// # Errors
/// [`VisionError::ForeignQuestion`] for another kind of question, [`VisionError::UnknownClass`] for a class past the `count` of the model.
pub(crate) fn classes<'a>(
    model: &str,
    question: &'a Question,
    count: u16,
) -> Result<&'a [u16], VisionError> {
    let Question::Classes(classes) = question else {
        return Err(VisionError::ForeignQuestion {
            model: model.to_owned(),
        });
    };
    // They ascend.
    match classes.last() {
        Some(&class) if class >= count => Err(VisionError::UnknownClass {
            model: model.to_owned(),
            class,
            classes: usize::from(count),
        }),
        _ => Ok(classes),
    }
}

/// Whether the views are one square of this side.
///
/// # Errors
/// [`VisionError::ImageSize`] when they are not.
pub(crate) fn fits(model: &str, views: &Views, side: usize) -> Result<(), VisionError> {
    if views.side as usize == side && views.data.len() == side * side * 3 {
        return Ok(());
    }
    Err(VisionError::ImageSize {
        model: model.to_owned(),
        expected: format!("1 x {side} x {side}"),
        actual: format!("{} x {} x {}", views.count(), views.side, views.side),
    })
}

/// Refuses what is no number: NaN and infinity.
///
/// # Errors
/// [`VisionError::NotFinite`].
pub(crate) fn finite(model: &str, values: &[f32]) -> Result<(), VisionError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(VisionError::NotFinite {
            model: model.to_owned(),
        }),
    }
}

/// Answers a batch: `fit` checks each job, `run` computes a row for each of those that are fit, together, and `score` answers a job by
/// its row. What is wrong with a job is its own error; what is wrong with the run is that of all that were in it.
pub(crate) fn answered<T, R>(
    model: &str,
    jobs: &[Job],
    fit: impl Fn(&Job) -> Result<T, VisionError>,
    run: impl FnOnce(&[&Job], &[T]) -> Result<Vec<R>, VisionError>,
    score: impl Fn(&Job, &R) -> Result<Vec<Answer>, VisionError>,
) -> Vec<Result<Vec<Answer>, VisionError>> {
    let mut fitting = Vec::with_capacity(jobs.len());
    let mut parts = Vec::with_capacity(jobs.len());
    let mut checked = Vec::with_capacity(jobs.len());
    for job in jobs {
        checked.push(fit(job).map(|part| {
            fitting.push(job);
            parts.push(part);
        }));
    }
    let rows = match fitting.is_empty() {
        true => Ok(Vec::new()),
        false => run(&fitting, &parts),
    };
    let mut next = 0;
    jobs.iter()
        .zip(checked)
        .map(|(job, checked)| {
            checked?;
            let row = rows.as_ref().map_err(Clone::clone)?.get(next);
            next += 1;
            let missing = || VisionError::AnswerCount {
                model: model.to_owned(),
                what: "jobs",
                expected: fitting.len(),
                actual: next,
            };
            score(job, row.ok_or_else(missing)?)
        })
        .collect()
}
