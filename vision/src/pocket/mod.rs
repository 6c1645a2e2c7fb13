//! The default model: a classifier and a detector that know more together than either, both inside the program.
//!
//! ImageNet's 1000 classes (`efficientnet-lite0`) are breeds, species, buildings and devices, of whatever the picture is about; COCO's 80
//! things (`coco-ssd`) are what is everywhere: people, cars, chairs, wherever in the picture they are. A noun is answered by
//! whichever has classes under it, an embedding is the classifier's, and a job runs only the networks that its nouns need, each over pixels of its own.
//!
//! Its classes are ImageNet's, numbered from 0, and COCO's, numbered from 1000 on. What becomes of two answers to one noun is `score`'s.

mod model;
mod score;
mod views;

use std::sync::Arc;

use crate::classes::{ClassQuestions, f32_only};
use crate::coco_ssd;
use crate::description::{DescribedModel, ModelDescription};
use crate::efficientnet;
use crate::error::VisionError;
use crate::model::{BatchAdvice, InputGeometry, Loaded, ModelInfo};
use crate::options::LoadOptions;
use crate::wordnet::ClassList;

use model::Pocket;
use views::Both;

/// The model's name.
pub const NAME: &str = "pocket";

/// Bytes of the embedded weights of both networks.
pub const BYTES: u64 = efficientnet::BYTES + coco_ssd::BYTES;

/// How what both say is made one; to be raised when that changes.
const COMBINATION: u32 = 1;

/// Images of a batch, each of up to two views.
const IMAGES: usize = 32;

/// Describes the embedded model. Which views it sees of an image depends on the questions and not on the crops, so that option means
/// nothing to it.
///
/// # Errors
/// [`VisionError::OptionUnsupported`] when it is to be quantised or to compute in bf16.
pub fn describe(options: &LoadOptions) -> Result<DescribedModel, VisionError> {
    f32_only(NAME, options)?;
    let info = ModelInfo {
        name: NAME.to_owned(),
        revision: format!(
            "{COMBINATION} of {} and {}",
            efficientnet::REVISION,
            coco_ssd::REVISION
        ),
        licence: Some("Apache-2.0"),
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: InputGeometry::PerQuestion,
        default_threshold: score::THRESHOLD,
        can_talk: false,
    };
    let description = ModelDescription {
        info,
        questions: Arc::new(ClassQuestions {
            model: NAME,
            lists: &[ClassList::ImageNet, ClassList::Coco],
            width: Some(efficientnet::WIDTH),
        }),
        batch: BatchAdvice {
            max_images: IMAGES,
            max_views: 2 * IMAGES,
        },
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
            preprocessor: Arc::new(Both),
            model: Box::new(Pocket::default()),
            batch,
        })
    }))
}
