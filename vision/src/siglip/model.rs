//! A SigLIP behind [`crate::Model`]: images to embeddings, embeddings and texts to scores.

use candle_core::{DType, Device};

use super::config::{Config, Resampling};
use super::image::ImageTower;
use super::text::{Embedder, TextTower, unit};
use crate::device::{Failure, device_name};
use crate::error::{VisionError, without_backtrace};
use crate::model::{Answer, Job, Model, Preprocessor, Prompt, Question, RgbImage, Views};
use crate::transformer::resize::resize;
use crate::transformer::{Checkpoint, Format, Read};

/// Squashes a picture to the square that the image tower reads.
#[derive(Debug, Clone, Copy)]
pub struct Square {
    pub(super) side: u32,
    pub(super) resampling: Resampling,
}

impl Resampling {
    /// What squashes pictures to this side in pixels.
    pub fn square(self, side: usize) -> Square {
        Square {
            side: side as u32,
            resampling: self,
        }
    }
}

impl Preprocessor for Square {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        image.check_not_empty()?;
        Ok(Views {
            side: self.side,
            grid: (1, 1),
            data: resize(&image, self.side, self.side, self.resampling.filter).data,
        })
    }
}

/// Both towers: that of images in memory, that of texts when it is needed.
pub struct SigLip {
    name: String,
    device: Device,
    device_name: String,
    side: u32,
    images: ImageTower,
    texts: Embedder,
    /// What a cosine is multiplied by.
    scale: f32,
    /// What is added to it.
    bias: f32,
}

impl SigLip {
    /// The model in the checkpoint that `open` opens, now and whenever there are new texts.
    ///
    /// # Errors
    /// [`VisionError::Checkpoint`] when a tensor is missing or does not fit the configuration.
    pub fn read(
        name: &str,
        config: &Config,
        format: &Format,
        open: impl Fn() -> Read<Checkpoint<'static>> + Send + Sync + 'static,
    ) -> Result<Self, VisionError> {
        let checkpoint = open()?;
        // It is read when a category is new, which is late to learn that it does not fit.
        TextTower::check(config, &checkpoint)?;
        // Texts are few, and quantising their tower would take longer than embedding them.
        let plain = Format {
            quantize: None,
            ..format.clone()
        };
        Ok(Self {
            name: name.to_owned(),
            device: format.device.clone(),
            device_name: device_name(&format.device),
            side: config.vision.side as u32,
            images: ImageTower::read(&config.vision, &checkpoint, format)?,
            scale: number(&checkpoint, "logit_scale")?.exp(),
            bias: number(&checkpoint, "logit_bias")?,
            texts: Embedder::new(name, config, &plain, open),
        })
    }

    /// Bytes of the weights in memory, which are those of the image tower.
    pub fn weight_bytes(&self) -> usize {
        self.images.weight_bytes()
    }

    /// The embeddings of images, of unit length; `None` where what is computed is not finite.
    fn embed(&self, views: &[&Views]) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        let pictures: Vec<&[u8]> = views.iter().map(|views| &*views.data).collect();
        let patches = self.images.patches(&pictures)?;
        let pooled = self.images.pool(&self.images.tokens(&patches, |_| {})?)?;
        let rows: Vec<Vec<f32>> = pooled.to_dtype(DType::F32)?.to_vec2()?;
        Ok(rows.into_iter().map(unit).collect())
    }

    fn check(&self, job: &Job) -> Result<(), VisionError> {
        let (views, side) = (&job.views, self.side);
        if views.side != side || views.count() != 1 {
            return Err(VisionError::ImageSize {
                model: self.name.clone(),
                expected: format!("1 x {side} x {side}"),
                actual: format!("{} x {} x {}", views.count(), views.side, views.side),
            });
        }
        match job
            .questions
            .iter()
            .all(|q| matches!(q, Question::Shows(_)))
        {
            true => Ok(()),
            false => Err(VisionError::ForeignQuestion {
                model: self.name.clone(),
            }),
        }
    }

    /// The score of each question about an image.
    fn scores(
        &mut self,
        image: &[f32],
        questions: &[Question],
    ) -> Result<Vec<Answer>, VisionError> {
        questions
            .iter()
            .map(|question| {
                let Question::Shows(descriptions) = question else {
                    return Err(VisionError::ForeignQuestion {
                        model: self.name.clone(),
                    });
                };
                let mut best = f32::NEG_INFINITY;
                for wordings in descriptions.iter() {
                    let text = self.texts.mean(wordings)?;
                    let products = image.iter().zip(text.iter());
                    best = best.max(products.map(|(image, text)| image * text).sum());
                }
                let score = sigmoid(f64::from(self.scale * best + self.bias));
                match score.is_finite() {
                    true => Ok(Answer::Score(score as f32)),
                    false => Err(VisionError::NotFinite {
                        model: self.name.clone(),
                    }),
                }
            })
            .collect()
    }

    fn failure(&self, error: candle_core::Error) -> VisionError {
        let error = without_backtrace(error);
        let (model, device) = (self.name.clone(), self.device_name.clone());
        match Failure::of(&self.device, &error) {
            Failure::OutOfMemory => VisionError::OutOfMemory {
                model,
                device,
                views: 1,
            },
            Failure::Lost => VisionError::DeviceLost {
                model,
                device,
                reason: error.to_string(),
            },
            _ => VisionError::tensor(&self.name, "reading an image")(error),
        }
    }
}

/// A tensor of one number.
fn number(checkpoint: &Checkpoint<'_>, name: &str) -> Read<f32> {
    let one = checkpoint.tensor(name, &[1], DType::F32, &Device::Cpu)?;
    let number = one.get(0).and_then(|one| one.to_scalar());
    number.map_err(|source| checkpoint.unusable(name, source))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Model for SigLip {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let checked: Vec<Result<(), VisionError>> =
            jobs.iter().map(|job| self.check(job)).collect();
        let fit = || jobs.iter().zip(&checked).filter(|(_, check)| check.is_ok());
        // The texts of all questions at once: the tower is read at most once for a batch.
        let prompts: Vec<&Prompt> = fit()
            .flat_map(|(job, _)| job.questions.iter())
            .filter_map(|question| match question {
                Question::Shows(descriptions) => Some(descriptions.iter()),
                _ => None,
            })
            .flatten()
            .flat_map(|wordings| wordings.iter())
            .collect();
        let views: Vec<&Views> = fit().map(|(job, _)| &job.views).collect();
        let embedded = match (views.is_empty(), self.texts.embed(&prompts)) {
            (true, _) => Ok(Vec::new()),
            (false, Err(error)) => Err(error),
            (false, Ok(_)) => self.embed(&views).map_err(|error| self.failure(error)),
        };
        let mut next = 0;
        let mut results = Vec::with_capacity(jobs.len());
        for (job, check) in jobs.iter().zip(checked) {
            results.push(check.and_then(|()| {
                let row = embedded.as_ref().map_err(Clone::clone)?.get(next);
                next += 1;
                let row = row.and_then(Option::as_ref);
                let row = row.ok_or_else(|| VisionError::NotFinite {
                    model: self.name.clone(),
                })?;
                self.scores(row, &job.questions)
            }));
        }
        results
    }
}
