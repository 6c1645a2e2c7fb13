//! A Moondream2 behind [`crate::Model`]: images to prefixes, prefixes and prompts to scores and words.
//!
//! Owns what an answer is, and which error a failure becomes. It knows neither files nor queues.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::generate::{NotFinite, Request};
use super::network::{Network, Prefix, Prepared};
use super::vocabulary::Vocabulary;
use crate::device::{Failure, Uploads};
use crate::error::{VisionError, without_backtrace};
use crate::model::{
    Answer, Job, Model, Preprocessor, Prompt, Question, RgbImage, Staged, Stager, Views,
};
use crate::options::Generation;
use crate::transformer::Linear;
use crate::transformer::{Checkpoint, Read};

/// Most questions about one image: far more than a person has, and a bound on what one job may cost.
pub const MAX_QUESTIONS: usize = 1000;

/// A network with its words.
pub struct Moondream {
    pub(super) name: String,
    pub(super) device: String,
    network: Arc<Network>,
    vocabulary: Arc<Vocabulary>,
    yes_no: YesNo,
}

/// The rows of the head for every token that says yes or no: all that a boolean question needs of it.
#[derive(Debug, Clone)]
struct YesNo {
    rows: Linear,
    /// The first so many rows say yes.
    yes: usize,
}

/// A failure's error, with what was being done.
type Result<T> = std::result::Result<T, VisionError>;

impl Moondream {
    /// A network with the vocabulary that belongs to it; `checkpoint` is the one that the network was read from.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] when the head cannot be read.
    pub fn new(
        name: &str,
        device: &str,
        network: Network,
        vocabulary: Arc<Vocabulary>,
        checkpoint: &Checkpoint<'_>,
    ) -> Read<Self> {
        let ids = [vocabulary.yes(), vocabulary.no()].concat();
        Ok(Self {
            name: name.to_owned(),
            device: device.to_owned(),
            yes_no: YesNo {
                rows: network.head_rows(checkpoint, &ids)?,
                yes: vocabulary.yes().len(),
            },
            network: Arc::new(network),
            vocabulary,
        })
    }

    /// Takes an image of as many views as there can be and a question through the network: what this device cannot do
    /// at all is an error here, before anything is asked, and its driver compiles the kernels now.
    ///
    /// # Errors
    /// [`VisionError::OutOfMemory`] when one image is too much, [`VisionError::Device`] when the driver or the card is too
    /// old, [`VisionError::DeviceLost`] or [`VisionError::Tensor`].
    pub(super) fn warm_up(&self, preprocessor: &dyn Preprocessor) -> Result<()> {
        // So large that it is cut into all the views that an image may have, a third wider than high.
        let side = self.network.config().vision.crop as u32;
        let (width, height) = (8 * side, 6 * side);
        let views = preprocessor.views(RgbImage {
            width,
            height,
            data: vec![128; 3 * width as usize * height as usize],
        })?;
        let prompt = Prompt {
            text: "".into(),
            tokens: [self.network.config().template.eos].into(),
        };
        let prefix = self.encode(&[&views])?;
        self.score(&prefix, &[&prompt])?;
        let waited = self.network.device().synchronize();
        waited.map_err(|error| self.failure("warming up", views.count(), error))
    }

    /// Reads images, each given by its views, for any number of questions.
    ///
    /// # Errors
    /// [`VisionError::OutOfMemory`], or [`VisionError::Tensor`] when the views are not those of this model.
    pub fn encode(&self, images: &[&Views]) -> Result<Prefix> {
        let images: Vec<(&Views, Option<&Prepared>)> =
            images.iter().map(|&views| (views, None)).collect();
        self.encode_staged(&images)
    }

    /// The same where some have been prepared.
    fn encode_staged(&self, images: &[(&Views, Option<&Prepared>)]) -> Result<Prefix> {
        let most = images.iter().map(|(views, _)| views.count()).max();
        let encode = || {
            let prepared = images.iter().map(|&(views, prepared)| match prepared {
                Some(prepared) => Ok(prepared.clone()),
                None => self.network.prepare(views),
            });
            let prepared: Vec<Prepared> = prepared.collect::<candle_core::Result<_>>()?;
            let prepared: Vec<&Prepared> = prepared.iter().collect();
            self.network.encode_prepared(&prepared, &mut |_, _| {})
        };
        encode().map_err(|error| self.failure("reading an image", most.unwrap_or(0), error))
    }

    /// How strongly the model says yes to each question about each image, `[images][questions]`: P(yes) / (P(yes) + P(no))
    /// of the first token of the answer, over all spellings of both. 0 to 1, or NaN where a logit is not finite.
    ///
    /// # Errors
    /// [`VisionError::OutOfMemory`] or [`VisionError::Tensor`].
    pub fn score(&self, prefix: &Prefix, questions: &[&Prompt]) -> Result<Vec<Vec<f32>>> {
        if questions.is_empty() {
            return Ok(vec![Vec::new(); prefix.images()]);
        }
        let tokens: Vec<&[u32]> = questions.iter().map(|prompt| &*prompt.tokens).collect();
        let logits = || -> candle_core::Result<Vec<Vec<f32>>> {
            let asked = self.network.ask(Some(prefix), &tokens, None)?;
            self.yes_no
                .rows
                .forward(self.network.format().steps, &asked)?
                .to_dtype(DType::F32)?
                .to_vec2()
        };
        let logits = logits().map_err(|error| self.failure("scoring questions", 0, error))?;
        let scores: Vec<f32> = logits
            .iter()
            .map(|row| share(row, self.yes_no.yes))
            .collect();
        Ok(scores
            .chunks(questions.len())
            .map(<[f32]>::to_vec)
            .collect())
    }

    /// The model's words on each question about each image, `[images][questions]`. `seeds` has a number per image, from
    /// which with a temperature above 0 the words follow.
    ///
    /// # Errors
    /// [`VisionError::OutOfMemory`] or [`VisionError::Tensor`] for all; [`VisionError::NotFinite`] for one answer.
    pub fn answer(
        &self,
        prefix: &Prefix,
        questions: &[(&Prompt, Generation)],
        seeds: &[u64],
    ) -> Result<Vec<Vec<Result<String>>>> {
        let requests: Vec<Request<'_>> = questions
            .iter()
            .map(|(prompt, generation)| Request {
                tokens: &prompt.tokens,
                generation: *generation,
            })
            .collect();
        let images = self
            .network
            .generate(prefix, &requests, seeds)
            .map_err(|error| self.failure("answering questions", 0, error))?;
        let words = |ids: std::result::Result<Vec<u32>, NotFinite>| match ids {
            Err(NotFinite) => Err(self.not_finite()),
            Ok(ids) => self
                .vocabulary
                .decode(&ids)
                .map_err(|source| VisionError::Words {
                    model: self.name.clone(),
                    source: Arc::new(source),
                }),
        };
        Ok(images
            .into_iter()
            .map(|answers| answers.into_iter().map(words).collect())
            .collect())
    }

    /// Answers jobs that all have these questions.
    fn answer_alike(
        &self,
        jobs: &[(&Job, Option<&Prepared>)],
        questions: &[Question],
    ) -> Result<Vec<Result<Vec<Answer>>>> {
        let images: Vec<(&Views, Option<&Prepared>)> = jobs
            .iter()
            .map(|&(job, prepared)| (&job.views, prepared))
            .collect();
        let yes_no: Vec<&Prompt> = questions
            .iter()
            .filter_map(|question| match question {
                Question::YesNo(prompt) => Some(prompt),
                _ => None,
            })
            .collect();
        let open: Vec<(&Prompt, Generation)> = questions
            .iter()
            .filter_map(|question| match question {
                Question::Open(prompt, generation) => Some((prompt, *generation)),
                _ => None,
            })
            .collect();
        let prefix = self.encode_staged(&images)?;
        // What ran out of memory on the questions says how many views there were too.
        let most = images.iter().map(|(views, _)| views.count()).max();
        let seen = |error| match error {
            VisionError::OutOfMemory { model, device, .. } => VisionError::OutOfMemory {
                model,
                device,
                views: most.unwrap_or(0),
            },
            other => other,
        };
        let scores = self.score(&prefix, &yes_no).map_err(seen)?;
        let words = if open.is_empty() {
            jobs.iter().map(|_| Vec::new()).collect()
        } else {
            let drawn = open
                .iter()
                .any(|(_, generation)| generation.temperature.get() > 0.0);
            // Of no use where the likeliest words are taken.
            let seeds = images.iter().map(|(views, _)| match drawn {
                true => seed(views),
                false => 0,
            });
            let seeds: Vec<u64> = seeds.collect();
            self.answer(&prefix, &open, &seeds).map_err(seen)?
        };
        let in_order = |(scores, words): (Vec<f32>, Vec<Result<String>>)| {
            let (mut scores, mut words) = (scores.into_iter(), words.into_iter());
            questions
                .iter()
                .map(|question| match question {
                    Question::YesNo(_) => match scores.next() {
                        Some(score) if score.is_finite() => Ok(Answer::Score(score)),
                        _ => Err(self.not_finite()),
                    },
                    Question::Open(..) => words
                        .next()
                        .unwrap_or_else(|| Err(self.not_finite()))
                        .map(Answer::Text),
                    Question::Classes(_)
                    | Question::Shows(_)
                    | Question::Embedding
                    | Question::Taught(_) => Err(self.foreign()),
                })
                .collect()
        };
        Ok(scores.into_iter().zip(words).map(in_order).collect())
    }

    fn check(&self, job: &Job) -> Result<()> {
        if job.questions.len() > MAX_QUESTIONS {
            return Err(VisionError::TooManyQuestions {
                model: self.name.clone(),
                asked: job.questions.len(),
                limit: MAX_QUESTIONS,
            });
        }
        if job
            .questions
            .iter()
            .any(|question| !matches!(question, Question::YesNo(_) | Question::Open(..)))
        {
            return Err(self.foreign());
        }
        if !self.network.fits(&job.views) {
            let side = self.network.config().vision.crop;
            let (count, side_given) = (job.views.count(), job.views.side);
            let (rows, cols) = job.views.grid;
            return Err(VisionError::ImageSize {
                model: self.name.clone(),
                expected: format!(
                    "{} views of {side} x {side}",
                    self.network.views_of(job.views.grid)
                ),
                actual: format!(
                    "{count} of {side_given} x {side_given} in a grid of {rows} x {cols}"
                ),
            });
        }
        Ok(())
    }

    fn foreign(&self) -> VisionError {
        VisionError::ForeignQuestion {
            model: self.name.clone(),
        }
    }

    fn not_finite(&self) -> VisionError {
        VisionError::NotFinite {
            model: self.name.clone(),
        }
    }

    fn failure(&self, stage: &'static str, views: usize, error: candle_core::Error) -> VisionError {
        let (model, device) = (self.name.clone(), self.device.clone());
        let error = without_backtrace(error);
        match Failure::of(self.network.device(), &error) {
            Failure::OutOfMemory => VisionError::OutOfMemory {
                model,
                device,
                views,
            },
            Failure::Lost => VisionError::DeviceLost {
                model,
                device,
                reason: error.to_string(),
            },
            Failure::DriverTooOld => VisionError::Device {
                device,
                reason: format!(
                    "its driver is older than the CUDA toolkit that this program was built with ({error}); update the \
                     driver, build with an older toolkit, or choose 'cpu'"
                ),
            },
            Failure::CardTooOld => VisionError::Device {
                device,
                reason: format!(
                    "it is older than the cards that this program was built for ({error}); build it with \
                     CUDA_COMPUTE_CAP set to the card's, or choose 'cpu'"
                ),
            },
            Failure::Other => VisionError::tensor(&self.name, stage)(error),
        }
    }
}

/// Prepares views for the network, which it shares with the model, and brings them onto its device.
struct Prepare {
    network: Arc<Network>,
    uploads: Uploads,
}

impl Stager for Prepare {
    fn stage(&self, views: &Views) -> Option<Staged> {
        let prepared = self.network.prepare(views).ok()?;
        Some(Box::new(prepared.uploaded(&self.uploads).ok()?))
    }
}

impl Model for Moondream {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>>> {
        self.answer_staged(jobs, &[])
    }

    fn stager(&self) -> Option<Arc<dyn Stager>> {
        match Uploads::new(self.network.device()) {
            Ok(uploads) => Some(Arc::new(Prepare {
                network: Arc::clone(&self.network),
                uploads,
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
    ) -> Vec<Result<Vec<Answer>>> {
        let prepared = |index: usize| staged.get(index)?.as_ref()?.downcast_ref::<Prepared>();
        let mut results: Vec<Option<Result<Vec<Answer>>>> = jobs
            .iter()
            .map(|job| match self.check(job) {
                Err(error) => Some(Err(error)),
                Ok(()) if job.questions.is_empty() => Some(Ok(Vec::new())),
                Ok(()) => None,
            })
            .collect();
        while let Some(first) = results.iter().position(Option::is_none) {
            let questions = &jobs[first].questions;
            let alike: Vec<usize> = (first..jobs.len())
                .filter(|&index| {
                    results[index].is_none()
                        && (Arc::ptr_eq(&jobs[index].questions, questions)
                            || jobs[index].questions == *questions)
                })
                .collect();
            let some: Vec<(&Job, Option<&Prepared>)> = alike
                .iter()
                .map(|&index| (&jobs[index], prepared(index)))
                .collect();
            match self.answer_alike(&some, questions) {
                Ok(answers) => {
                    for (index, answers) in alike.into_iter().zip(answers) {
                        results[index] = Some(answers);
                    }
                }
                Err(error) => {
                    for index in alike {
                        results[index] = Some(Err(error.clone()));
                    }
                }
            }
        }
        results.into_iter().flatten().collect()
    }
}

/// The share of yes in the probabilities of a row of logits, of which the first `yes` say yes. NaN unless all are finite.
fn share(logits: &[f32], yes: usize) -> f32 {
    if !logits.iter().all(|logit| logit.is_finite()) {
        return f32::NAN;
    }
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = |logits: &[f32]| {
        logits
            .iter()
            .map(|logit| f64::from(logit - top).exp())
            .sum::<f64>()
    };
    let (yes, no) = logits.split_at(yes);
    let (yes, no) = (sum(yes), sum(no));
    (yes / (yes + no)) as f32
}

/// A number that follows from what an image shows.
fn seed(views: &Views) -> u64 {
    let mut hasher = DefaultHasher::new();
    views.data.hash(&mut hasher);
    hasher.finish()
}

impl Network {
    /// The rows of the head for these ids, not quantised.
    fn head_rows(&self, checkpoint: &Checkpoint<'_>, ids: &[u32]) -> Read<Linear> {
        let (weight, bias) = self.head_names();
        let text = &self.config().text;
        let read = |name: &str, shape: &[usize]| {
            let tensor = checkpoint.tensor(name, shape, self.dtype(), self.device())?;
            Tensor::new(ids, self.device())
                .and_then(|ids| tensor.index_select(&ids, 0))
                .map_err(|source| checkpoint.unusable(name, source))
        };
        Ok(Linear::dense(
            read(&weight, &[text.vocab, text.dim])?,
            read(&bias, &[text.vocab])?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_share_counts_every_spelling() {
        // e^1 + e^2 against e^3.
        let right =
            (1.0_f32.exp() + 2.0_f32.exp()) / (1.0_f32.exp() + 2.0_f32.exp() + 3.0_f32.exp());
        assert!((share(&[1.0, 2.0, 3.0], 2) - right).abs() < 1e-6);
        assert_eq!(share(&[500.0, -500.0], 1), 1.0);
        assert_eq!(share(&[-500.0, 500.0], 1), 0.0);
        assert!(share(&[f32::NAN, 1.0], 1).is_nan());
        assert!(share(&[f32::INFINITY, 1.0], 1).is_nan());
    }
}
