//! What the network is shown of a picture: all of it, squashed to a square as TensorFlow's preprocessor does it.
//!
//! The preprocessor samples without a filter: it takes two neighbours of every row and column that it looks at, and nothing of what
//! lies between them. The pictures that the network learnt from have 640 pixels at most, of which it sees about every second one. A larger
//! picture is therefore made as small first, filtered, so that the network is shown what it knows and nothing is skipped.

use crate::model::{InputGeometry, RgbImage};

use super::SIDE;

/// The pixels that [`squashed`] takes.
pub(crate) const INPUT: InputGeometry = InputGeometry::Within { side: 640 };

/// Two neighbours along an axis, and how far it is from the first to the second.
struct Between {
    low: usize,
    high: usize,
    part: f32,
}

/// The neighbours of each place of the square: place i lies at i times the scale, corners and centres are not aligned.
fn axis(length: usize) -> Vec<Between> {
    let scale = length as f32 / SIDE as f32;
    let between = |place: usize| {
        let at = place as f32 * scale;
        let low = (at.floor() as usize).min(length - 1);
        Between {
            low,
            high: (low + 1).min(length - 1),
            part: at - low as f32,
        }
    };
    (0..SIDE).map(between).collect()
}

/// The picture as a square of 300 x 300 pixels; of a picture without pixels, nothing.
pub(crate) fn squashed(image: &RgbImage) -> Vec<u8> {
    let (width, height) = (image.width as usize, image.height as usize);
    if image.data.is_empty() {
        return Vec::new();
    }
    let columns = axis(width);
    let mut square = Vec::with_capacity(SIDE * SIDE * 3);
    for row in axis(height) {
        let line = |y: usize| &image.data[y * width * 3..(y + 1) * width * 3];
        let (top, bottom) = (line(row.low), line(row.high));
        for column in &columns {
            let mix = |line: &[u8], channel: usize| {
                let at = |x: usize| f32::from(line[x * 3 + channel]);
                let left = at(column.low);
                left + (at(column.high) - left) * column.part
            };
            for channel in 0..3 {
                let upper = mix(top, channel);
                let value = upper + (mix(bottom, channel) - upper) * row.part;
                square.push(value.round_ties_even() as u8);
            }
        }
    }
    square
}
