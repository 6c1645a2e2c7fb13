//! The training loop.
//!
//! It owns the schedule, the loss and what is written when. A step draws new scenes from the seed and its own number,
//! so that a run can be repeated; it works on several small batches at once, one a thread, and adds up their gradients,
//! because tensors this small do not keep two cores busy one operation at a time.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{D, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use picsift_vision::moondream::Config;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

use crate::batch::{PATCH_CLASSES, patch_classes, pictures, rows, size, views};
use crate::checkpoint;
use crate::network::Network;
use crate::parameters;
use crate::questions;
use crate::scene::{Mix, Scene};
use crate::words::Words;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Gradients are added up over this many batches of [`PICTURES`] pictures a step.
const BATCHES: u64 = 4;
const PICTURES: usize = 8;
/// Questions about each picture.
const QUESTIONS: usize = 8;
/// Share of pictures that are not of one view's size.
const OTHER_SIZES: f64 = 0.2;
const LEARNING_RATE: f64 = 2e-3;
const WARM_UP: usize = 100;
const WEIGHT_DECAY: f64 = 0.02;
/// Weight of the patch heads' loss, which falls to 0 over the run.
const PATCH_WEIGHT: f64 = 0.5;
/// Gradients longer than this are shortened to it.
const LONGEST_GRADIENT: f64 = 1.0;
/// A line is printed after this many steps, and weights are written after ten times as many.
const REPORT: usize = 25;

/// The losses of some batches, added up: of the answers, of the patch heads.
#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    answers: f64,
    patches: f64,
    /// Share of answer tokens that were the likeliest.
    right: f64,
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
}

/// Trains a model of this configuration and writes its weights into the folder.
pub(crate) fn train(config: Config, plan: Plan, folder: &Path) -> Result<Network> {
    let words = Words::new()?;
    let variables = parameters::random(
        &config,
        PATCH_CLASSES,
        &mut StdRng::seed_from_u64(plan.seed),
    )?;
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
    let mut optimizer = AdamW::new(list.clone(), settings)?;
    let started = Instant::now();
    let mut sum = Losses::default();
    for step in 0..plan.steps {
        let share = step as f64 / plan.steps as f64;
        let done = (0..BATCHES)
            .into_par_iter()
            .map(|batch| {
                let number = step as u64 * BATCHES + batch;
                batch_gradient(
                    &network,
                    &words,
                    plan.seed,
                    number,
                    PATCH_WEIGHT * (1.0 - share),
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let mut gradients: Option<GradStore> = None;
        for (losses, part) in done {
            sum.answers += losses.answers / BATCHES as f64;
            sum.patches += losses.patches / BATCHES as f64;
            sum.right += losses.right / BATCHES as f64;
            match &mut gradients {
                Some(all) => all.extend(part)?,
                None => gradients = Some(part),
            }
        }
        let mut gradients = gradients.ok_or("a step has at least one batch")?;
        shorten(&mut gradients, &list)?;
        let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (share * std::f64::consts::PI).cos());
        optimizer.set_learning_rate(LEARNING_RATE * warm * (0.01 + 0.99 * cosine));
        optimizer.step(&gradients)?;
        if (step + 1) % REPORT == 0 {
            let seconds = started.elapsed().as_secs_f64();
            let mean = |sum: f64| sum / REPORT as f64;
            eprintln!(
                "step {:5}  {seconds:6.0} s  {:5.0} ms/step  answers {:.4}  right {:.4}  patches {:.4}",
                step + 1,
                1e3 * seconds / (step + 1) as f64,
                mean(sum.answers),
                mean(sum.right),
                mean(sum.patches),
            );
            sum = Losses::default();
        }
        if (step + 1) % (10 * REPORT) == 0 || step + 1 == plan.steps {
            checkpoint::write(folder, &variables)?;
        }
    }
    checkpoint::read(folder)
}

/// The gradient of one batch of new scenes.
fn batch_gradient(
    network: &Network,
    words: &Words,
    seed: u64,
    number: u64,
    patch_weight: f64,
) -> Result<(Losses, GradStore)> {
    let vision = &network.config.vision;
    // Scenes to measure with have the upper half of the seeds.
    let mut rng = StdRng::seed_from_u64((seed << 32).wrapping_add(number + 1) >> 1);
    let scenes: Vec<Scene> = (0..PICTURES)
        .map(|_| {
            let size = size(&mut rng, vision.crop as u32, OTHER_SIZES);
            Scene::random(&mut rng, size, Mix::Seen)
        })
        .collect();
    let asked: Vec<_> = scenes
        .iter()
        .flat_map(|scene| questions::about(scene, QUESTIONS, Mix::Seen, &mut rng))
        .collect();
    let shown = scenes
        .iter()
        .map(|scene| views(scene, vision))
        .collect::<Result<Vec<_>>>()?;
    let shown = pictures(&shown, vision)?;
    let rows = rows(&asked, words)?;

    let features = network.encode(&shown.patches)?;
    let (global, embeddings) = network.project(&features, &shown.grids)?;
    let prefix = network.prefix(&embeddings)?;
    let logits = network.logits(&prefix, &rows.ids, rows.length, &rows.places)?;
    let said = Tensor::new(&rows.said[..], logits.device())?;
    let answers = candle_nn::loss::cross_entropy(&logits, &said)?;
    let right = logits
        .argmax(D::Minus1)?
        .eq(&said)?
        .to_dtype(candle_core::DType::F32)?
        .mean_all()?;

    let mut patches = Tensor::zeros((), answers.dtype(), answers.device())?;
    let classes = patch_classes(&scenes, vision.grid());
    for (logits, classes) in network.patch_logits(&global)?.iter().zip(classes) {
        let classes = Tensor::new(classes, logits.device())?;
        patches = (patches + candle_nn::loss::cross_entropy(logits, &classes)?)?;
    }
    let loss = ((&answers + (&patches * patch_weight)?)? / BATCHES as f64)?;
    let losses = Losses {
        answers: f64::from(answers.to_scalar::<f32>()?),
        patches: f64::from(patches.to_scalar::<f32>()?),
        right: f64::from(right.to_scalar::<f32>()?),
    };
    Ok((losses, loss.backward()?))
}

/// Scales all gradients so that together they are not longer than [`LONGEST_GRADIENT`].
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
    let length = square.sqrt();
    if length > LONGEST_GRADIENT {
        for variable in variables {
            if let Some(gradient) = gradients.remove(variable) {
                gradients.insert(variable, (gradient * (LONGEST_GRADIENT / length))?);
            }
        }
    }
    Ok(())
}
