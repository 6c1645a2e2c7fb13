//! Answers in tokens: the questions of a batch of images continued one token at a time, all together.
//!
//! Each step adds one token to every question that some image's answer still needs, as further nodes of the packed tree;
//! the prefix is read where it lies throughout, and what a step computes is added to what former ones have. The likeliest tokens are
//! chosen on the device; logits leave it only for answers that are drawn.

use candle_core::{Result, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::network::{Asked, Network, PACKED_TOKENS, Prefix};
use super::tree::runs;
use crate::options::Generation;
use crate::transformer::likeliest;

/// Most logits of one launch, a gigabyte of f32: a model of 51,200 tokens chooses 5,000 at once.
const LOGITS: usize = 1 << 28;

/// An answer that could not be chosen: the logits were no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

/// One question and how it is to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The prompt's token ids.
    pub tokens: &'a [u32],
    /// How many tokens, and how freely chosen.
    pub generation: Generation,
}

/// The answers about one image: for each question the token ids without the end token, or why there are none.
pub type Answers = Vec<std::result::Result<Vec<u32>, NotFinite>>;

/// What an answer's next token is chosen by.
enum Next {
    /// The likeliest, or none where logits are no numbers.
    Likeliest(Option<u32>),
    Logits(Vec<f32>),
}

/// An answer that grows.
struct Answer {
    ids: std::result::Result<Vec<u32>, NotFinite>,
    done: bool,
    sampler: Option<LogitsProcessor>,
}

impl Network {
    /// Answers each question about each image, `[images][questions]`. `seeds` has one number per image: with a temperature
    /// above 0 an image's answers depend on its seed and the question, not on what else is in the batch.
    ///
    /// # Errors
    /// As [`Network::ask`]; a question whose logits are not finite is [`NotFinite`] by itself.
    pub fn generate(
        &self,
        prefix: &Prefix,
        requests: &[Request<'_>],
        seeds: &[u64],
    ) -> Result<Vec<Answers>> {
        let questions: Vec<&[u32]> = requests.iter().map(|request| request.tokens).collect();
        let mut answers: Vec<Answers> = seeds
            .iter()
            .map(|_| Vec::with_capacity(requests.len()))
            .collect();
        // Answers make the trees grow; the bound is for the questions, which are longer.
        for run in runs(&questions, PACKED_TOKENS) {
            let asked = self.start(Some(prefix), &questions[run.clone()], None)?;
            let some = self.continue_all(prefix, asked, &requests[run], seeds)?;
            for (image, some) in answers.iter_mut().zip(some) {
                image.extend(some);
            }
        }
        Ok(answers)
    }

    fn continue_all(
        &self,
        prefix: &Prefix,
        mut asked: Asked,
        requests: &[Request<'_>],
        seeds: &[u64],
    ) -> Result<Vec<Answers>> {
        let mut answers: Vec<Vec<Answer>> = seeds
            .iter()
            .map(|&seed| {
                requests
                    .iter()
                    .map(|request| Answer::new(request, seed))
                    .collect()
            })
            .collect();
        let mut live: Vec<usize> = (0..requests.len()).collect();
        let drawn = |question: usize| requests[question].generation.temperature.get() > 0.0;
        for words in 0.. {
            // What a person never wants to read may be how the model begins, and then its answer is that.
            let barred = self.config().template.barred.filter(|_| words > 0);
            let next = match live.iter().any(|&question| drawn(question)) {
                true => self.in_parts(&asked, |normed| {
                    let rows = self.text.logits(normed)?.to_vec2::<f32>()?;
                    Ok(rows.into_iter().map(Next::Logits).collect())
                })?,
                false => self.in_parts(&asked, |normed| {
                    let chosen = self.text.likeliest(normed, barred)?;
                    Ok(chosen.into_iter().map(Next::Likeliest).collect())
                })?,
            };
            let mut next = next.into_iter();
            for answers in &mut answers {
                for &question in &live {
                    let Some(next) = next.next() else {
                        candle_core::bail!("there are fewer rows of logits than answers");
                    };
                    let max_tokens = requests[question].generation.max_tokens;
                    self.add(&mut answers[question], next, barred, max_tokens)?;
                }
            }
            live.retain(|&question| answers.iter().any(|answers| !answers[question].done));
            if live.is_empty() {
                break;
            }
            let first = asked.tree.len();
            for &question in &live {
                asked.last[question] = asked
                    .tree
                    .push(Some(asked.last[question]), self.config().template.eos);
            }
            // What is fed to an answer that is done does not matter: nothing reads it.
            let next: Vec<u32> = answers
                .iter()
                .flat_map(|answers| {
                    live.iter().map(|&question| {
                        answers[question]
                            .last()
                            .unwrap_or(self.config().template.eos)
                    })
                })
                .collect();
            let tokens = Tensor::from_vec(next, (answers.len(), live.len()), self.device())?;
            let all: Vec<u32> = (0..live.len() as u32).collect();
            asked.hidden = self.step(
                Some(prefix),
                &asked.tree,
                first,
                &tokens,
                &all,
                &mut asked.own,
                None,
            )?;
        }
        Ok(answers
            .into_iter()
            .map(|answers| answers.into_iter().map(|answer| answer.ids).collect())
            .collect())
    }

    /// What `of` makes of the rows of the questions that are live, image by image, as many at once as fit a launch.
    fn in_parts(
        &self,
        asked: &Asked,
        of: impl Fn(&Tensor) -> Result<Vec<Next>>,
    ) -> Result<Vec<Next>> {
        let normed = self.text.normed(&asked.hidden)?;
        let rows = normed.dim(0)?;
        let at_once = (LOGITS / self.config().text.vocab).max(1);
        let mut next = Vec::with_capacity(rows);
        for start in (0..rows).step_by(at_once) {
            next.extend(of(&normed.narrow(0, start, at_once.min(rows - start))?)?);
        }
        Ok(next)
    }

    /// Adds the token that is chosen.
    fn add(
        &self,
        answer: &mut Answer,
        next: Next,
        barred: Option<u32>,
        max_tokens: usize,
    ) -> Result<()> {
        let (false, Ok(ids)) = (answer.done, &mut answer.ids) else {
            return Ok(());
        };
        let chosen = match (&mut answer.sampler, next) {
            (_, Next::Likeliest(chosen)) => chosen,
            (None, Next::Logits(logits)) => likeliest(&logits, barred),
            (Some(_), Next::Logits(logits)) if !logits.iter().all(|logit| logit.is_finite()) => {
                None
            }
            (Some(sampler), Next::Logits(mut logits)) => {
                if let Some(logit) = barred.and_then(|barred| logits.get_mut(barred as usize)) {
                    *logit = f32::NEG_INFINITY;
                }
                Some(sampler.sample(&Tensor::new(logits, &candle_core::Device::Cpu)?)?)
            }
        };
        match chosen {
            None => (answer.ids, answer.done) = (Err(NotFinite), true),
            Some(id) if id == self.config().template.eos => answer.done = true,
            Some(id) => {
                ids.push(id);
                answer.done = ids.len() >= max_tokens;
            }
        }
        Ok(())
    }
}

impl Answer {
    fn new(request: &Request<'_>, seed: u64) -> Self {
        let temperature = f64::from(request.generation.temperature.get());
        let question = request
            .tokens
            .iter()
            .fold(0_u64, |hash, &id| hash.rotate_left(5) ^ u64::from(id));
        Self {
            ids: Ok(Vec::new()),
            done: false,
            sampler: (temperature > 0.0).then(|| {
                LogitsProcessor::from_sampling(seed ^ question, Sampling::All { temperature })
            }),
        }
    }

    fn last(&self) -> Option<u32> {
        self.ids.as_ref().ok().and_then(|ids| ids.last().copied())
    }
}
