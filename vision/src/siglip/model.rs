//! A SigLIP behind [`crate::Model`]: images to embeddings, embeddings and texts to scores.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::config::{Config, Resampling};
use super::image::ImageTower;
use super::text::{Embedder, TextTower};
use crate::comparison::Comparison;
use crate::device::{Failure, Uploads, device_name};
use crate::embedding::{Embedding, unit};
use crate::error::{VisionError, without_backtrace};
use crate::memory::give_back;
use crate::model::{
    Answer, Job, Model, Preprocessor, Prompt, Question, RgbImage, Staged, Stager, Views,
};
use crate::source::FetchProgress;
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
    images: Arc<ImageTower>,
    width: usize,
    texts: Arc<Embedder>,
    /// The questions that were asked last, with their texts: most jobs ask the same.
    compared: Option<(Arc<[Question]>, Arc<Comparison>)>,
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
        let open = move |_: &dyn FetchProgress| open().map_err(VisionError::from);
        let texts = Arc::new(Embedder::new(name, config, format, open));
        Self::beside(name, config, format, texts, &())
    }

    /// The model in the checkpoint that `texts` opens.
    ///
    /// # Errors
    /// As [`SigLip::read`], and where the checkpoint cannot be had.
    pub(super) fn beside(
        name: &str,
        config: &Config,
        format: &Format,
        texts: Arc<Embedder>,
        progress: &dyn FetchProgress,
    ) -> Result<Self, VisionError> {
        let checkpoint = texts.open(progress)?;
        // It is read when a category is new, which is late to learn that it does not fit.
        TextTower::check(config, &checkpoint)?;
        texts.scale(progress)?;
        let images = ImageTower::read(&config.vision, &checkpoint, format)?;
        drop(checkpoint);
        give_back();
        Ok(Self {
            name: name.to_owned(),
            device: format.device.clone(),
            device_name: device_name(&format.device),
            side: config.vision.side as u32,
            images: Arc::new(images),
            width: config.vision.dim,
            texts,
            compared: None,
        })
    }

    /// Bytes of the weights in memory, which are those of the image tower.
    pub fn weight_bytes(&self) -> usize {
        self.images.weight_bytes()
    }

    /// The embeddings of images, of unit length and not rounded; `None` where what is computed is not finite.
    fn embed(
        &self,
        views: &[(&Views, Option<&Tensor>)],
    ) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        let own = views.iter().map(|(views, staged)| match staged {
            Some(_) => Ok(None),
            None => self.images.prepare(&views.data).map(Some),
        });
        let own: Vec<Option<Tensor>> = own.collect::<candle_core::Result<_>>()?;
        let all = views.iter().zip(&own);
        let all: Vec<&Tensor> = all
            .filter_map(|((_, staged), own)| staged.or(own.as_ref()))
            .collect();
        let patches = self.images.prepared_patches(&all)?;
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
        match Comparison::takes(&job.questions) {
            true => Ok(()),
            false => Err(VisionError::ForeignQuestion {
                model: self.name.clone(),
            }),
        }
    }

    /// The questions with the embeddings of their texts.
    fn comparison(&mut self, questions: &Arc<[Question]>) -> Result<Arc<Comparison>, VisionError> {
        if let Some((known, comparison)) = &self.compared
            && Arc::ptr_eq(known, questions)
        {
            return Ok(Arc::clone(comparison));
        }
        let texts = self.texts.embed(&Comparison::prompts(questions), &())?;
        let scale = self.texts.scale(&())?;
        let comparison = Comparison::new(&self.name, Some(scale), self.width, questions, &texts)?;
        let comparison = Arc::new(comparison);
        self.compared = Some((Arc::clone(questions), Arc::clone(&comparison)));
        Ok(comparison)
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

/// Prepares pictures for the image tower, which it shares with the model, and brings them onto its device.
struct Prepare {
    images: Arc<ImageTower>,
    uploads: Uploads,
    side: u32,
}

impl Stager for Prepare {
    fn stage(&self, views: &Views) -> Option<Staged> {
        if views.side != self.side || views.count() != 1 {
            return None;
        }
        let prepared = self.images.prepare(&views.data).ok()?;
        Some(Box::new(self.uploads.copy(prepared).ok()?))
    }
}

impl Model for SigLip {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        self.answer_staged(jobs, &[])
    }

    fn stager(&self) -> Option<Arc<dyn Stager>> {
        match Uploads::new(&self.device) {
            Ok(uploads) => Some(Arc::new(Prepare {
                images: Arc::clone(&self.images),
                uploads,
                side: self.side,
            })),
            Err(error) => {
                tracing::warn!(model = %self.name, %error, "batches are not made ready ahead");
                None
            }
        }
    }

    fn answer_staged(
        &mut self,
        jobs: &[Job],
        staged: &[Option<Staged>],
    ) -> Vec<Result<Vec<Answer>, VisionError>> {
        let ready = |index: usize| staged.get(index)?.as_ref()?.downcast_ref::<Tensor>();
        let checked: Vec<Result<(), VisionError>> =
            jobs.iter().map(|job| self.check(job)).collect();
        let fit = || {
            let jobs = jobs.iter().enumerate().zip(&checked);
            jobs.filter(|(_, check)| check.is_ok()).map(|(job, _)| job)
        };
        // The texts of all questions at once: the tower is read at most once for a batch.
        let prompts: Vec<&Prompt> = fit()
            .flat_map(|(_, job)| Comparison::prompts(&job.questions))
            .collect();
        let views: Vec<(&Views, Option<&Tensor>)> = fit()
            .map(|(index, job)| (&job.views, ready(index)))
            .collect();
        let embedded = match (views.is_empty(), self.texts.embed(&prompts, &())) {
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
                let unfit = || VisionError::NotFinite {
                    model: self.name.clone(),
                };
                let row = row.ok_or_else(unfit)?;
                let image = Embedding::new(row.clone()).ok_or_else(unfit)?;
                self.comparison(&job.questions)?.answers_of(&image, row)
            }));
        }
        results
    }
}
