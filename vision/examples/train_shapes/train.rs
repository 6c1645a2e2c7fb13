//! The training loop.
//!
//! It owns the schedule and what is written when. A step draws new scenes from the seed and its own number, so that a
//! run can be repeated; it works on several small batches at once, one a thread, and adds up their gradients, because
//! tensors this small do not keep two cores busy one operation at a time.
//!
//! The first part of a run teaches the encoder alone, by what every patch shows, and begins with scenes on black: on all
//! backgrounds at once little about shapes was learned in thousands of steps. What an edge looks like depends on the
//! colours on both sides, and an answer says little about which patch it is about.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::Var;
use candle_core::backprop::GradStore;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use picsift_vision::moondream::Config;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

use crate::batch::PATCH_CLASSES;
use crate::gradient::{Lesson, PICTURES, Progress, gradient};
use crate::network::Network;
use crate::words::Words;
use crate::{checkpoint, parameters};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Gradients are added up over this many batches a step.
const BATCHES: u64 = 4;
const LEARNING_RATE: f64 = 1.5e-3;
/// The layer that reads patches learns at this share of the rate: neighbouring pixels are nearly equal, so that all of
/// a row's weights move one way, and at the full rate a patch's mean brightness would swing with every step.
const PATCH_RATE: f64 = 0.02;
const WARM_UP: usize = 100;
const WEIGHT_DECAY: f64 = 0.02;
/// Gradients longer than this are shortened to it.
const LONGEST_GRADIENT: f64 = 1.0;
/// Share of the steps that teach the encoder alone.
const ENCODER_ALONE: f64 = 0.45;
/// Shares of the steps until which all scenes are on black and from which on none is.
const ON_BLACK: (f64, f64) = (0.12, 0.3);
/// A line is printed after this many steps, and weights are written after ten times as many.
const REPORT: usize = 25;

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
}

impl Plan {
    fn share(self, step: usize) -> f64 {
        step as f64 / self.steps as f64
    }

    fn lesson(self, step: usize) -> Lesson {
        let share = self.share(step);
        let questions = share >= ENCODER_ALONE;
        Lesson {
            on_black: ((ON_BLACK.1 - share) / (ON_BLACK.1 - ON_BLACK.0)).clamp(0.0, 1.0),
            questions,
            patch_weight: if questions {
                0.5 * (1.0 - share) / (1.0 - ENCODER_ALONE)
            } else {
                1.0
            },
        }
    }

    /// The learning rate: up over the first steps, then down along a cosine.
    fn rate(self, step: usize) -> f64 {
        let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (self.share(step) * std::f64::consts::PI).cos());
        LEARNING_RATE * warm * (0.01 + 0.99 * cosine)
    }

    /// The seed of a batch's scenes. Scenes to measure with have the upper half of all seeds.
    fn scenes(self, step: usize, batch: u64) -> u64 {
        ((self.seed << 32) + step as u64 * BATCHES + batch) & (u64::MAX >> 1)
    }
}

/// Trains a model of this configuration and writes its weights into the folder.
pub(crate) fn train(config: Config, plan: Plan, folder: &Path) -> Result<Network> {
    let words = Words::new()?;
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let variables = parameters::random(&config, PATCH_CLASSES, &mut rng)?;
    let tensors = variables
        .iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect();
    let network = Network::new(config, tensors);
    let count: usize = variables.values().map(|v| v.elem_count()).sum();
    eprintln!(
        "{count} parameters, {} pictures a step",
        BATCHES as usize * PICTURES
    );
    let list: Vec<Var> = variables.values().cloned().collect();
    let settings = ParamsAdamW {
        beta2: 0.98,
        weight_decay: WEIGHT_DECAY,
        ..ParamsAdamW::default()
    };
    let (patches, others): (Vec<_>, Vec<_>) = variables
        .clone()
        .into_iter()
        .partition(|(name, _)| name == parameters::PATCHES);
    let group = |part: Vec<(String, Var)>, scale: f64| -> Result<(AdamW, f64)> {
        let variables = part.into_iter().map(|(_, variable)| variable).collect();
        Ok((AdamW::new(variables, settings.clone())?, scale))
    };
    let mut groups = [group(others, 1.0)?, group(patches, PATCH_RATE)?];
    let started = Instant::now();
    let mut sum = Progress::default();
    for step in 0..plan.steps {
        let parts = (0..BATCHES)
            .into_par_iter()
            .map(|batch| {
                gradient(
                    &network,
                    &words,
                    plan.scenes(step, batch),
                    plan.lesson(step),
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let mut gradients: Option<GradStore> = None;
        for (progress, part) in parts {
            sum += progress;
            match &mut gradients {
                Some(all) => all.extend(part)?,
                None => gradients = Some(part),
            }
        }
        let mut gradients = gradients.ok_or("a step has at least one batch")?;
        shorten(&mut gradients, &list)?;
        for (optimizer, scale) in &mut groups {
            optimizer.set_learning_rate(plan.rate(step) * *scale);
            optimizer.step(&gradients)?;
        }
        if (step + 1) % REPORT == 0 {
            report(step + 1, started, sum);
            sum = Progress::default();
        }
        if (step + 1) % (10 * REPORT) == 0 || step + 1 == plan.steps {
            checkpoint::write(folder, &variables)?;
        }
    }
    checkpoint::read(folder)
}

fn report(steps: usize, started: Instant, sum: Progress) {
    let seconds = started.elapsed().as_secs_f64();
    let mean = |sum: f64| sum / (REPORT as f64 * BATCHES as f64);
    eprintln!(
        "step {steps:5}  {seconds:6.0} s  patches {:.4}  shapes {:.3}  answers {:.4}  right {:.4}",
        mean(sum.patches),
        mean(sum.shapes),
        mean(sum.answers),
        mean(sum.right),
    );
}

/// Divides the sum of the batches' gradients into their mean, no longer than [`LONGEST_GRADIENT`].
fn shorten(gradients: &mut GradStore, variables: &[Var]) -> Result<()> {
    let mut square = 0.0;
    for variable in variables {
        if let Some(gradient) = gradients.get(variable) {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    if !square.is_finite() {
        return Err("the gradient is not finite: train with a smaller learning rate".into());
    }
    let mean = 1.0 / BATCHES as f64;
    let scale = mean * (LONGEST_GRADIENT / (square.sqrt() * mean)).min(1.0);
    for variable in variables {
        if let Some(gradient) = gradients.remove(variable) {
            gradients.insert(variable, (gradient * scale)?);
        }
    }
    Ok(())
}
