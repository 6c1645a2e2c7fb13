//! What a model says of a category without having been taught: the measure of what teaching brings, and where it follows from the
//! embedding, an input of what is taught.

use picsift_udf::ModelHandle;
use picsift_vision::learn::Examples;
use picsift_vision::store::Store;
use picsift_vision::{Answer, CategorySpec, Comparison, Embedding, Question};

use crate::dataset::{LabelledCategory, Labels};
use crate::error::AppError;

/// Directions of texts that are used as inputs: a category of more nouns has told enough by then.
const MOST_DIRECTIONS: usize = 8;

/// Where the model's own scores of a category come from.
pub(super) enum ZeroShot {
    /// Of the embedding, by the category's words; the score from which it holds.
    Texts(Comparison, f32),
    /// This column of the labelled table, which the same model wrote.
    Column(String, f32),
    /// It is asked.
    Asked(CategorySpec, f32),
    /// The model does not know the category.
    Unknown,
}

impl ZeroShot {
    /// What there is for a category. Blocks where its words are new to a model that embeds texts.
    ///
    /// # Errors
    /// [`AppError::Engine`] where words cannot be embedded.
    pub(super) fn of(
        spec: &CategorySpec,
        handle: &ModelHandle,
        store: Option<&Store>,
        labelled: &Labels,
    ) -> Result<Self, AppError> {
        // What a file of categories says of an earlier head is no knowledge of the model's.
        let spec = spec.clone().with_head(None);
        let Ok(question) = handle.category(&spec.category) else {
            return Ok(Self::Unknown);
        };
        let threshold = spec.threshold.unwrap_or(handle.info().default_threshold);
        let by_text = handle.embeddings().is_some_and(|e| e.texts.is_some());
        if by_text && matches!(question, Question::Shows(_)) {
            let compared = handle.compare(&[question], store);
            let compared = compared.map_err(picsift_udf::EngineError::from)?;
            return Ok(Self::Texts(compared, threshold));
        }
        Ok(match written(&spec, handle, labelled) {
            Some((column, threshold)) => Self::Column(column, threshold),
            None => Self::Asked(spec, threshold),
        })
    }

    /// What the model has to be asked.
    pub(super) fn asked(&self) -> Option<&CategorySpec> {
        match self {
            Self::Asked(spec, _) => Some(spec),
            _ => None,
        }
    }

    /// Whether its scores come with the rows.
    pub(super) fn is_column(&self) -> bool {
        matches!(self, Self::Column(..) | Self::Asked(..))
    }

    /// The score from which the category holds.
    pub(super) fn threshold(&self) -> Option<f32> {
        match self {
            Self::Texts(_, threshold) | Self::Column(_, threshold) | Self::Asked(_, threshold) => {
                Some(*threshold)
            }
            Self::Unknown => None,
        }
    }

    /// The scores of examples, where they follow from embeddings.
    pub(super) fn scores(&self, examples: &Examples) -> Option<Vec<f32>> {
        let Self::Texts(compared, _) = self else {
            return None;
        };
        let one = |example: usize| {
            let embedding = Embedding::new(examples.unit(example))?;
            let answers = compared.answers(&embedding).ok()?;
            answers.first().and_then(Answer::score)
        };
        Some(
            (0..examples.len())
                .map(|example| one(example).unwrap_or(f32::NAN))
                .collect(),
        )
    }

    /// The directions of the category's words among the embeddings, each of unit length and at right angles to the others.
    pub(super) fn directions(&self) -> Vec<Vec<f32>> {
        let Self::Texts(compared, _) = self else {
            return Vec::new();
        };
        let mut all: Vec<Vec<f32>> = Vec::new();
        for text in compared.descriptions().take(MOST_DIRECTIONS) {
            let mut rest: Vec<f64> = text.iter().map(|x| f64::from(*x)).collect();
            for known in &all {
                let part: f64 = rest.iter().zip(known).map(|(a, b)| a * f64::from(*b)).sum();
                for (value, known) in rest.iter_mut().zip(known) {
                    *value -= part * f64::from(*known);
                }
            }
            let length = rest.iter().map(|x| x * x).sum::<f64>().sqrt();
            // Words that say the same again point nowhere new.
            if length > 0.05 {
                all.push(rest.into_iter().map(|x| (x / length) as f32).collect());
            }
        }
        all
    }
}

/// The column of the labelled table that has the scores which this model would give, and the score from which the category held.
fn written(spec: &CategorySpec, handle: &ModelHandle, labelled: &Labels) -> Option<(String, f32)> {
    let manifest = labelled.manifest.as_ref()?;
    let info = handle.info();
    let same =
        |key: &str, value: &str| manifest.model.get(key).and_then(|v| v.as_str()) == Some(value);
    if !same("name", &info.name) || !same("revision", &info.revision) || !same("dtype", info.dtype)
    {
        return None;
    }
    let asked = &spec.category;
    let plain = asked.prompt.is_none() && asked.templates.is_empty();
    let entry = manifest.categories.iter().find(|entry| {
        entry.name == asked.name && entry.head.is_none() && entry.nouns == asked.nouns && plain
    })?;
    let known = |category: &&LabelledCategory| category.name == entry.name;
    let column = labelled
        .categories
        .iter()
        .find(known)?
        .score_column
        .clone()?;
    Some((column, spec.threshold.unwrap_or(entry.threshold)))
}
