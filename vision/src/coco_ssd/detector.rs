//! SSD-MobileNetV2 as a [`Model`]: a category's score is the surest of its things.
//!
//! The weights are part of the program (17.5 MB). Things that nobody asks about are not computed.

use std::sync::Arc;

use super::{Heads, INPUT, Network, SIDE, squashed};
use crate::classes::{ClassQuestions, answered, classes, f32_only, finite, fits};
use crate::description::{DescribedModel, ModelDescription};
use crate::error::VisionError;
use crate::model::{
    Answer, BatchAdvice, Job, Loaded, Model, ModelInfo, Preprocessor, RgbImage, Views,
};
use crate::options::LoadOptions;
use crate::squares::in_passes;
use crate::wordnet::ClassList;

/// The model's name.
pub const NAME: &str = "coco-ssd";

/// The published checkpoint that the weights were taken from, and the form that they were given.
pub(crate) const REVISION: &str = "ssd_mobilenet_v2_coco_2018_03_29-i8f16";

static WEIGHTS: &[u8] = include_bytes!("../../data/coco-ssd/model.safetensors");

/// Bytes of the embedded weights.
pub const BYTES: u64 = WEIGHTS.len() as u64;

/// Most images that one thread takes through the network at once.
const IMAGES_PER_PASS: usize = 2;

/// The score below which its makers leave a detection out: the one with which the model zoo froze its detectors.
pub(crate) const THRESHOLD: f32 = 0.3;

/// Describes the embedded model. It sees one view of each image whatever the crops, so that option means nothing to it.
///
/// # Errors
/// [`VisionError::OptionUnsupported`] when it is to be quantised or to compute in bf16.
pub fn describe(options: &LoadOptions) -> Result<DescribedModel, VisionError> {
    f32_only(NAME, options)?;
    let info = ModelInfo {
        name: NAME.to_owned(),
        revision: REVISION.to_owned(),
        licence: Some("Apache-2.0"),
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: INPUT,
        default_threshold: THRESHOLD,
        can_talk: false,
    };
    let description = ModelDescription {
        info,
        questions: Arc::new(ClassQuestions {
            model: NAME,
            lists: &[ClassList::Coco],
            width: None,
        }),
        batch: BatchAdvice::default(),
    };
    let described = description.clone();
    Ok(DescribedModel::new(description, move |_| {
        let ModelDescription {
            info,
            questions,
            batch,
        } = described.clone();
        Ok(Loaded {
            info,
            questions,
            preprocessor: Arc::new(Squash),
            model: Box::new(Detector::read(NAME)?),
            batch,
        })
    }))
}

/// The whole picture as a square.
struct Squash;

impl Preprocessor for Squash {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        image.check_not_empty()?;
        Ok(Views {
            side: SIDE as u32,
            grid: (1, 1),
            data: squashed(&image),
        })
    }
}

/// The network, and the predictors that were last asked for.
pub(crate) struct Detector {
    /// Whose part it is.
    model: &'static str,
    network: Network,
    heads: Option<(Vec<u16>, Heads)>,
}

impl Detector {
    /// Reads the embedded weights, for this model.
    ///
    /// # Errors
    /// [`VisionError::Tensor`] when they do not fit the network.
    pub(crate) fn read(model: &'static str) -> Result<Self, VisionError> {
        let network = Network::from_safetensors(WEIGHTS)
            .map_err(VisionError::tensor(model, "reading its weights"))?;
        Ok(Self {
            model,
            network,
            heads: None,
        })
    }

    /// How surely each of these classes is in each square: a row for each square, in it a presence, 0..=1, for each class.
    ///
    /// # Errors
    /// [`VisionError::Tensor`] when a square or a class is none of the network's.
    pub(crate) fn presences(
        &mut self,
        squares: &[&[u8]],
        classes: &[u16],
    ) -> Result<Vec<Vec<f32>>, VisionError> {
        self.compute(squares, classes)
            .map_err(VisionError::tensor(self.model, "running the network"))
    }

    fn compute(
        &mut self,
        squares: &[&[u8]],
        classes: &[u16],
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        if classes.is_empty() || squares.is_empty() {
            return Ok(vec![Vec::new(); squares.len()]);
        }
        let heads = match &self.heads {
            Some((of, heads)) if of == classes => heads,
            _ => {
                let heads = self.network.heads(classes)?;
                &self.heads.insert((classes.to_vec(), heads)).1
            }
        };
        let logits = in_passes(squares, SIDE, IMAGES_PER_PASS, |images| {
            self.network.logits(images, heads)
        })?;
        candle_nn::ops::sigmoid(&logits)?.to_vec2()
    }
}

/// The classes of several lists, ascending and each once.
pub(crate) fn union<'a>(lists: impl Iterator<Item = &'a [u16]>) -> Vec<u16> {
    let mut all: Vec<u16> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The largest presence among some classes, of presences in the order of `all`; 0 without classes.
pub(crate) fn surest(presences: &[f32], all: &[u16], classes: &[u16]) -> f32 {
    let of = |class| {
        let place = all.binary_search(class).ok()?;
        presences.get(place).copied()
    };
    classes.iter().filter_map(of).fold(0.0, f32::max)
}

impl Model for Detector {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let model = self.model;
        let count = ClassList::Coco.count();
        let asked = |job: &Job| -> Result<Vec<u16>, VisionError> {
            let questions = job.questions.iter();
            let lists = questions.map(|question| classes(model, question, count));
            let lists = lists.collect::<Result<Vec<_>, _>>()?;
            Ok(union(lists.into_iter()))
        };
        answered(
            model,
            jobs,
            |job| {
                fits(model, &job.views, SIDE)?;
                asked(job)
            },
            |jobs, asked: &[Vec<u16>]| {
                let all = union(asked.iter().map(Vec::as_slice));
                let squares: Vec<_> = jobs.iter().map(|job| &*job.views.data).collect();
                let rows = self.presences(&squares, &all)?;
                Ok(rows.into_iter().map(|row| (row, all.clone())).collect())
            },
            |job, (presences, all)| {
                finite(model, presences)?;
                let score = |question| {
                    let classes = classes(model, question, count)?;
                    Ok(Answer::Score(surest(presences, all, classes)))
                };
                job.questions.iter().map(score).collect()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Answers are kept under the revision: other weights need another one.
    #[test]
    fn the_revision_names_these_weights() {
        let hash: String = Sha256::digest(WEIGHTS)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            (REVISION, hash.as_str()),
            (
                "ssd_mobilenet_v2_coco_2018_03_29-i8f16",
                "57f008396858c39ae33af2d939a5cbcddb22030a77a3882683fbddd7c11543d8"
            )
        );
    }
}
