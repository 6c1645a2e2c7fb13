//! What the two networks are shown of an image, and how both come in one set of views.
//!
//! Views are squares of one size. The detector's square has 300 pixels, the classifier's 224: alone it comes as it is, beside the
//! detector's it lies in the top left corner of a second square of 300, whose rest is black and looked at by nobody.

use crate::coco_ssd;
use crate::efficientnet;
use crate::error::VisionError;
use crate::model::{InputGeometry, Preprocessor, Question, RgbImage, Views};
use crate::transformer::resize::{Filter, resize};
use crate::wordnet::ClassList;

use super::NAME;

/// Sides of the squares, in pixels.
const LARGE: usize = coco_ssd::SIDE;
const SMALL: usize = efficientnet::SIDE as usize;

/// Which networks are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) classifier: bool,
    pub(super) detector: bool,
}

impl Parts {
    /// Those that these questions need.
    pub(super) fn of(questions: &[Question]) -> Self {
        let first = ClassList::ImageNet.count();
        let any = |is: fn(u16, u16) -> bool| {
            questions.iter().any(|question| match question {
                Question::Classes(classes) => classes.iter().any(|&class| is(class, first)),
                // The classifier's features.
                Question::Embedding => is(0, first),
                _ => false,
            })
        };
        Self {
            classifier: any(|class, first| class < first),
            detector: any(|class, first| class >= first),
        }
    }
}

/// The squares in a set of views.
pub(super) struct Squares<'a> {
    pub(super) views: &'a Views,
}

impl<'a> Squares<'a> {
    /// The square of the classifier.
    pub(super) fn classifier(&self) -> Option<Vec<u8>> {
        let data = &self.views.data;
        let (side, count) = (self.views.side as usize, self.views.count());
        if side == SMALL && data.len() == SMALL * SMALL * 3 {
            return Some(data.clone());
        }
        if side != LARGE || count != 2 {
            return None;
        }
        let rows = data.get(LARGE * LARGE * 3..)?.chunks_exact(LARGE * 3);
        let rows = rows.take(SMALL).map(|row| &row[..SMALL * 3]);
        Some(rows.collect::<Vec<_>>().concat())
    }

    /// The square of the detector.
    pub(super) fn detector(&self) -> Option<&'a [u8]> {
        let views = self.views;
        let is_whole = views.data.len() == views.count() * LARGE * LARGE * 3;
        match views.side as usize == LARGE && is_whole {
            true => views.data.get(..LARGE * LARGE * 3),
            false => None,
        }
    }
}

/// Makes the views of both networks.
pub(super) struct Both;

impl Preprocessor for Both {
    /// The views of both, of an image of any size.
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        image.check_not_empty()?;
        let crop = centre(&image);
        self.views_of(vec![(efficientnet::INPUT, crop), (coco_ssd::INPUT, image)])
    }

    fn inputs(&self, questions: &[Question]) -> Option<Vec<InputGeometry>> {
        let parts = Parts::of(questions);
        let classifier = parts.classifier.then_some(efficientnet::INPUT);
        let detector = parts.detector.then_some(coco_ssd::INPUT);
        let inputs: Vec<_> = classifier.into_iter().chain(detector).collect();
        Some(match inputs.is_empty() {
            // Something must be decoded, so that a broken image is one.
            true => vec![efficientnet::INPUT],
            false => inputs,
        })
    }

    fn views_of(&self, images: Vec<(InputGeometry, RgbImage)>) -> Result<Views, VisionError> {
        let (mut small, mut large) = (None, None);
        for (input, image) in images {
            match input {
                efficientnet::INPUT => {
                    small = Some(Views::square(NAME, image, efficientnet::SIDE)?);
                }
                _ => {
                    image.check_not_empty()?;
                    large = Some(coco_ssd::squashed(&image));
                }
            }
        }
        let data = match (small, large) {
            (Some(small), None) => return Ok(small),
            (None, large) => large.unwrap_or_default(),
            (Some(small), Some(mut data)) => {
                data.resize(2 * LARGE * LARGE * 3, 0);
                let corner = data[LARGE * LARGE * 3..].chunks_exact_mut(LARGE * 3);
                for (row, pixels) in corner.zip(small.data.chunks_exact(SMALL * 3)) {
                    row[..SMALL * 3].copy_from_slice(pixels);
                }
                data
            }
        };
        Ok(Views {
            side: LARGE as u32,
            grid: (1, 1),
            data,
        })
    }
}

/// The middle of an image as the classifier wants it, for a caller who has the whole one.
fn centre(image: &RgbImage) -> RgbImage {
    let InputGeometry::CentreCrop { short_side, size } = efficientnet::INPUT else {
        return image.clone();
    };
    let (width, height) = (image.width, image.height);
    let long = |long: u32, short: u32| {
        (f64::from(short_side) * f64::from(long) / f64::from(short)).round_ties_even() as u32
    };
    let (width, height) = match width <= height {
        true => (short_side, long(height, width)),
        false => (long(width, height), short_side),
    };
    let resized = resize(image, width, height, Filter::Bicubic);
    let (left, top) = ((width - size) / 2, (height - size) / 2);
    let rows = resized.data.chunks_exact(width as usize * 3);
    let data = rows.skip(top as usize).take(size as usize).flat_map(|row| {
        row[left as usize * 3..(left + size) as usize * 3]
            .iter()
            .copied()
    });
    RgbImage {
        width: size,
        height: size,
        data: data.collect(),
    }
}
