//! Scenes and their questions as tensors.
//!
//! It owns the choice of picture sizes and how pixels, patches and token rows are laid out. It neither draws nor runs
//! the network.

use std::error::Error;

use candle_core::{Device, Tensor};
use picsift_vision::moondream::{OverlapCrops, VisionConfig};
use picsift_vision::{CropPolicy, Preprocessor, RgbImage, Views};
use rand::Rng;
use rand::rngs::StdRng;

use crate::network::Pictures;
use crate::questions::Asked;
use crate::scene::{Colour, Scene, Shape};
use crate::words::{END, Words};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Classes of the two patch heads: every colour, every shape, and none.
pub(crate) const PATCH_CLASSES: [usize; 2] = [Colour::ALL.len() + 1, Shape::ALL.len() + 1];

/// The size of a picture: mostly one view exactly, else any from 60 x 60 to 300 x 260 that is not too long.
pub(crate) fn size(rng: &mut StdRng, side: u32, other: f64) -> (u32, u32) {
    if !rng.random_bool(other) {
        return (side, side);
    }
    loop {
        let (width, height): (u32, u32) = (rng.random_range(60..=300), rng.random_range(60..=260));
        if f64::from(width.max(height)) <= 1.6 * f64::from(width.min(height)) {
            return (width, height);
        }
    }
}

/// What the model is shown of a scene.
pub(crate) fn views(scene: &Scene, vision: &VisionConfig) -> Result<Views> {
    let image = RgbImage {
        width: scene.width,
        height: scene.height,
        data: scene.draw(),
    };
    Ok(OverlapCrops::new(vision, CropPolicy::Reference).views(image)?)
}

/// The patches of the pictures' views.
pub(crate) fn pictures(views: &[Views], vision: &VisionConfig) -> Result<Pictures> {
    let (side, patch, grid) = (vision.crop, vision.patch, vision.grid());
    let (mut values, mut grids, mut count) = (Vec::new(), Vec::new(), 0);
    for picture in views {
        let tiling = (picture.grid.0 as usize, picture.grid.1 as usize);
        // A single tile is the overview again.
        let shown = if tiling == (1, 1) { 1 } else { picture.count() };
        for view in picture.data.chunks_exact(side * side * 3).take(shown) {
            for token in 0..grid * grid {
                let (top, left) = (token / grid * patch, token % grid * patch);
                for channel in 0..3 {
                    for y in top..top + patch {
                        for x in left..left + patch {
                            let byte = view[(y * side + x) * 3 + channel];
                            values.push((f32::from(byte) / 255.0 - 0.5) / 0.5);
                        }
                    }
                }
            }
        }
        grids.push(tiling);
        count += shown;
    }
    let patches = Tensor::from_vec(
        values,
        (count * grid * grid, 3 * patch * patch),
        &Device::Cpu,
    )?;
    Ok(Pictures { patches, grids })
}

/// For every patch of the overviews, the class of its colour and of its shape.
pub(crate) fn patch_classes(scenes: &[Scene], grid: usize) -> [Vec<u32>; 2] {
    let mut classes = [Vec::new(), Vec::new()];
    for scene in scenes {
        for owner in scene.owners(grid) {
            let object = owner.map(|index| &scene.objects[index]);
            classes[0].push(object.map_or(Colour::ALL.len(), |o| o.colour as usize) as u32);
            classes[1].push(object.map_or(Shape::ALL.len(), |o| o.shape as usize) as u32);
        }
    }
    classes
}

/// Questions as rows of tokens of one length, each with its answer.
#[derive(Debug)]
pub(crate) struct Rows {
    /// `[questions, length]`.
    pub(crate) ids: Vec<u32>,
    pub(crate) length: usize,
    /// The tokens after which an answer's token is to be said, by their place in `ids`, and that token.
    pub(crate) places: Vec<u32>,
    pub(crate) said: Vec<u32>,
}

/// The questions of some pictures, equally many each, with their answers.
pub(crate) fn rows(asked: &[Asked], words: &Words) -> Result<Rows> {
    let mut sequences = Vec::new();
    for question in asked {
        sequences.push((words.prompt(&question.text)?, words.ids(&question.answer)?));
    }
    let length = sequences
        .iter()
        .map(|(prompt, answer)| prompt.len() + answer.len())
        .max()
        .unwrap_or(0);
    let mut rows = Rows {
        ids: Vec::new(),
        length,
        places: Vec::new(),
        said: Vec::new(),
    };
    for (prompt, answer) in sequences {
        let start = rows.ids.len();
        rows.places
            .extend((0..=answer.len()).map(|i| (start + prompt.len() - 1 + i) as u32));
        rows.said.extend(answer.iter().chain([&END]));
        rows.ids.extend(prompt.iter().chain(&answer));
        rows.ids.resize(start + length, END);
    }
    Ok(rows)
}
