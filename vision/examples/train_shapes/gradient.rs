//! The gradient of one small batch of new scenes.
//!
//! It owns what a batch holds and what its loss is. When which loss counts, and what is done with gradients, is the
//! training loop's.

use std::error::Error;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Tensor};
use candle_nn::loss::cross_entropy;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::batch::{PATCH_CLASSES, patch_classes, pictures, rows, size, views};
use crate::network::Network;
use crate::questions;
use crate::scene::{Mix, Scene};
use crate::words::Words;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Pictures of a batch.
pub(crate) const PICTURES: usize = 8;
/// Questions about each picture.
const QUESTIONS: usize = 6;
/// Share of pictures that are not of one view's size, where there are such.
const OTHER_SIZES: f64 = 0.2;

/// What a batch is to teach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lesson {
    /// Share of scenes on a black background.
    pub(crate) on_black: f64,
    /// Whether there are questions and pictures of all sizes; else patches of single views alone.
    pub(crate) questions: bool,
    /// Weight of the patch heads' loss.
    pub(crate) patch_weight: f64,
}

/// How a batch went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Loss of the answers, and the share of their tokens that were the likeliest.
    pub(crate) answers: f64,
    pub(crate) right: f64,
    /// Loss of the patch heads, and the share of the objects' patches whose likeliest shape was the right one.
    pub(crate) patches: f64,
    pub(crate) shapes: f64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.right += other.right;
        self.patches += other.patches;
        self.shapes += other.shapes;
    }
}

fn number(scalar: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar.to_scalar::<f32>()?))
}

/// The gradient of the batch that this seed draws.
pub(crate) fn gradient(
    network: &Network,
    words: &Words,
    seed: u64,
    lesson: Lesson,
) -> Result<(Progress, GradStore)> {
    let vision = &network.config.vision;
    let mut rng = StdRng::seed_from_u64(seed);
    let other_sizes = if lesson.questions { OTHER_SIZES } else { 0.0 };
    let scenes: Vec<Scene> = (0..PICTURES)
        .map(|_| {
            let size = size(&mut rng, vision.crop as u32, other_sizes);
            let scene = Scene::random(&mut rng, size, Mix::Seen);
            if rng.random_bool(lesson.on_black) {
                scene.on_black()
            } else {
                scene
            }
        })
        .collect();
    let shown = scenes
        .iter()
        .map(|scene| views(scene, vision))
        .collect::<Result<Vec<_>>>()?;
    let shown = pictures(&shown, vision)?;
    let features = network.encode(&shown.patches)?;
    let overviews = network.overviews(&features, &shown.grids)?;
    let mut progress = Progress::default();

    let classes = patch_classes(&scenes, vision.grid());
    let mut loss = Tensor::zeros((), DType::F32, features.device())?;
    let heads = network.patch_logits(&overviews)?;
    for (logits, classes) in heads.iter().zip(&classes) {
        loss = (loss + cross_entropy(logits, &Tensor::new(&classes[..], logits.device())?)?)?;
    }
    progress.patches = number(&loss)?;
    let likeliest = heads[1].argmax(D::Minus1)?.to_vec1::<u32>()?;
    let none = PATCH_CLASSES[1] as u32 - 1;
    let objects = likeliest
        .iter()
        .zip(&classes[1])
        .filter(|(_, class)| **class != none);
    let (right, all) = objects.fold((0, 0), |sum, (a, b)| (sum.0 + u32::from(a == b), sum.1 + 1));
    progress.shapes = f64::from(right) / f64::from(all.max(1));
    loss = (loss * lesson.patch_weight)?;

    if lesson.questions {
        let asked: Vec<_> = scenes
            .iter()
            .flat_map(|scene| questions::about(scene, QUESTIONS, Mix::Seen, &mut rng))
            .collect();
        let rows = rows(&asked, words)?;
        let prefix = network.prefix(&network.project(&features, &overviews, &shown.grids)?)?;
        let logits = network.logits(&prefix, &rows.ids, rows.length, &rows.places)?;
        let said = Tensor::new(&rows.said[..], logits.device())?;
        let answers = cross_entropy(&logits, &said)?;
        let right = logits
            .argmax(D::Minus1)?
            .eq(&said)?
            .to_dtype(DType::F32)?
            .mean_all()?;
        (progress.answers, progress.right) = (number(&answers)?, number(&right)?);
        loss = (loss + answers)?;
    }
    Ok((progress, loss.backward()?))
}
