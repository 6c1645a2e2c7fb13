//! Pillow's resize of RGB bytes, bit for bit.
//!
//! The models learnt from what Pillow makes of a picture, and are compared with it: other roundings move the logits
//! further than everything else does together. So the arithmetic is Pillow's (up to version 10): a horizontal pass,
//! then a vertical one, each with weights normalised in f64 and rounded to 22 fractional bits, each rounding and clipping
//! to bytes. `fast_image_resize` has the same filters but does the vertical pass first and keeps 16 bits of the weights:
//! with it 4 to 24 % of the bytes of the golden pictures came out different, by up to 26 levels.
//!
//! Both passes go over the picture once, in bands of a few rows: what lies between them stays in the cache, and memory is
//! bounded by the sizes of the two pictures, whatever their shapes (the weights take about 24 bytes for each row and
//! column). The inner loops run along samples of equal weight and are left to the compiler to vectorise, for the
//! instruction set that `pulp` finds. One thread: callers resize many pictures. What they are for is not known here.

use std::f64::consts::PI;

use pulp::{Arch, Simd, WithSimd};

use crate::model::RgbImage;

/// The kernel that weighs source pixels; when shrinking it is widened by the factor, so nothing is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A sinc windowed by a wider one, three pixels to either side.
    Lanczos,
    /// The cubic with a = -0.5 (Catmull-Rom), two pixels to either side.
    Bicubic,
    /// A triangle, one pixel to either side.
    Bilinear,
}

impl Filter {
    /// Pixels to either side of the centre that have weight.
    fn radius(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    /// The weight at a distance from the centre.
    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Lanczos | Self::Bicubic | Self::Bilinear => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    (x * PI).sin() / (x * PI)
}

/// The picture at another size; a picture without pixels becomes black.
///
/// # Panics
/// When the image fails [`RgbImage::check`].
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    if (image.width, image.height) == (width, height) {
        return image.clone();
    }
    if image.data.is_empty() || width == 0 || height == 0 {
        return RgbImage {
            width,
            height,
            data: vec![0; width as usize * height as usize * 3],
        };
    }
    let columns = taps(image.width, width, filter);
    let rows = taps(image.height, height, filter);
    let data = Arch::new().dispatch(Passes {
        image,
        columns: &columns,
        rows: &rows,
    });
    RgbImage {
        width,
        height,
        data,
    }
}

/// Fractional bits of a weight.
const FRACTION: u32 = 22;

/// Half a level: where every sum begins, so that cutting off the fraction rounds.
const HALF: i32 = 1 << (FRACTION - 1);

/// Which source pixels make one pixel of the result.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// The taps of every pixel along an axis. One of unchanged length has a weight of 1 and otherwise zeros.
fn taps(from: u32, to: u32, filter: Filter) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let stretch = scale.max(1.0);
    let radius = filter.radius() * stretch;
    let inverse = 1.0 / stretch;
    let one = f64::from(1 << FRACTION);
    (0..to)
        .map(|pixel| {
            let centre = (f64::from(pixel) + 0.5) * scale;
            // The casts cut towards 0 and at 0, as is wanted.
            let first = (centre - radius + 0.5) as u32;
            let end = ((centre + radius + 0.5) as u32).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|x| filter.at((f64::from(x) - centre + 0.5) * inverse))
                .collect();
            let sum: f64 = weights.iter().sum();
            Taps {
                first: first as usize,
                weights: weights
                    .iter()
                    .map(|weight| (weight / sum * one).round() as i32)
                    .collect(),
            }
        })
        .collect()
}

/// Rows that go through the horizontal pass together.
const BAND: usize = 16;

/// Samples of a row that the vertical pass sums together.
const LANES: usize = 32;

/// Both passes.
struct Passes<'a> {
    image: &'a RgbImage,
    columns: &'a [Taps],
    rows: &'a [Taps],
}

impl WithSimd for Passes<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<u8> {
        let Self {
            image,
            columns,
            rows,
        } = self;
        let stride = image.width as usize * 3;
        let out_stride = columns.len() * 3;
        let padded = out_stride.next_multiple_of(LANES);
        let mut source = vec![[0; BAND]; stride];
        let mut target = vec![[0; BAND]; padded];
        let mut band = vec![0; BAND * padded];
        let mut sums = vec![HALF; rows.len() * padded];
        let mut data = vec![0; rows.len() * out_stride];
        let height = image.height as usize;

        let mut done = 0;
        for top in (0..height).step_by(BAND) {
            let bottom = (top + BAND).min(height);
            turn_in(&image.data[top * stride..bottom * stride], &mut source);
            let pixels = source.as_chunks().0;
            let out = target.as_chunks_mut().0;
            for (taps, out) in columns.iter().zip(out) {
                *out = weigh_columns(&pixels[taps.first..taps.end()], &taps.weights);
            }
            turn_out(&target, &mut band);
            let results = sums
                .chunks_exact_mut(padded)
                .zip(data.chunks_exact_mut(out_stride));
            for (taps, (sums, out)) in rows.iter().zip(results).skip(done) {
                if taps.first >= bottom {
                    break;
                }
                let (from, to) = (taps.first.max(top), taps.end().min(bottom));
                if from < to {
                    let weights = &taps.weights[from - taps.first..to - taps.first];
                    weigh_rows(&band[(from - top) * padded..], padded, weights, sums);
                }
                if taps.end() <= bottom {
                    levels(sums, out);
                    done += 1;
                }
            }
        }
        data
    }
}

/// Adds weighted samples to their sums.
#[inline(always)]
fn add<const N: usize>(mut sums: [i32; N], samples: &[u8; N], weight: i32) -> [i32; N] {
    for (sum, &sample) in sums.iter_mut().zip(samples) {
        *sum += i32::from(sample) * weight;
    }
    sums
}

/// Rounds and clips sums to bytes.
#[inline(always)]
fn levels(sums: &[i32], samples: &mut [u8]) {
    for (sample, &sum) in samples.iter_mut().zip(sums) {
        *sample = (sum >> FRACTION).clamp(0, 255) as u8;
    }
}

/// One pixel of the result in each row of the band. An array of the three sums would not stay in registers.
#[inline(always)]
fn weigh_columns(pixels: &[[[u8; BAND]; 3]], weights: &[i32]) -> [[u8; BAND]; 3] {
    let mut red = [HALF; BAND];
    let mut green = [HALF; BAND];
    let mut blue = [HALF; BAND];
    for (pixel, &weight) in pixels.iter().zip(weights) {
        red = add(red, &pixel[0], weight);
        green = add(green, &pixel[1], weight);
        blue = add(blue, &pixel[2], weight);
    }
    let mut pixel = [[0; BAND]; 3];
    levels(&red, &mut pixel[0]);
    levels(&green, &mut pixel[1]);
    levels(&blue, &mut pixel[2]);
    pixel
}

/// Adds weighted rows of the band to the sums of a row of the result.
#[inline(always)]
fn weigh_rows(band: &[u8], stride: usize, weights: &[i32], sums: &mut [i32]) {
    for (at, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut lanes = *sums;
        for (row, &weight) in band.chunks(stride).zip(weights) {
            let samples = &row.as_chunks::<LANES>().0[at];
            lanes = add(lanes, samples, weight);
        }
        *sums = lanes;
    }
}

/// Turns up to a band of rows so that the samples of a column lie side by side.
#[inline(always)]
fn turn_in(rows: &[u8], columns: &mut [[u8; BAND]]) {
    let stride = columns.len();
    let (squares, rest) = columns.as_chunks_mut::<BAND>();
    for (at, square) in squares.iter_mut().enumerate() {
        let mut block = [[0; BAND]; BAND];
        for (samples, row) in block.iter_mut().zip(rows.chunks_exact(stride)) {
            *samples = row.as_chunks::<BAND>().0[at];
        }
        *square = transpose(block);
    }
    let at = stride - rest.len();
    for (row, samples) in rows.chunks_exact(stride).enumerate() {
        for (column, &sample) in rest.iter_mut().zip(&samples[at..]) {
            column[row] = sample;
        }
    }
}

/// Turns columns back into rows; their number is a multiple of [`BAND`].
#[inline(always)]
fn turn_out(columns: &[[u8; BAND]], rows: &mut [u8]) {
    let stride = columns.len();
    for (at, square) in columns.as_chunks::<BAND>().0.iter().enumerate() {
        for (samples, row) in transpose(*square).iter().zip(rows.chunks_exact_mut(stride)) {
            row.as_chunks_mut::<BAND>().0[at] = *samples;
        }
    }
}

/// Four rounds of a perfect shuffle, each of which is an interleaving of two vectors.
#[inline(always)]
fn transpose(mut square: [[u8; BAND]; BAND]) -> [[u8; BAND]; BAND] {
    for _ in 0..BAND.ilog2() {
        let mut next = [[0; BAND]; BAND];
        for (pair, (low, high)) in next
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip(square[..BAND / 2].iter().zip(&square[BAND / 2..]))
        {
            for i in 0..BAND / 2 {
                (pair[0][2 * i], pair[0][2 * i + 1]) = (low[i], high[i]);
                (pair[1][2 * i], pair[1][2 * i + 1]) = (low[BAND / 2 + i], high[BAND / 2 + i]);
            }
        }
        square = next;
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        let data = (0..width * height * 3)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        RgbImage {
            width,
            height,
            data,
        }
    }

    fn mirrored(image: &RgbImage) -> RgbImage {
        let rows = image.data.chunks(image.width as usize * 3);
        RgbImage {
            data: rows
                .flat_map(|row| row.chunks(3).rev().flatten().copied())
                .collect(),
            ..*image
        }
    }

    #[test]
    fn bytes_are_those_of_pillow() {
        // What Pillow makes of the same picture.
        let image = picture(5, 4);
        assert_eq!(
            resize(&image, 3, 2, Filter::Lanczos).data,
            [
                68, 164, 91, 181, 127, 107, 162, 59, 155, 151, 65, 150, 97, 135, 148, 123, 204, 93
            ]
        );
        assert_eq!(
            resize(&image, 2, 6, Filter::Bicubic).data,
            [
                137, 121, 89, 142, 35, 205, 117, 166, 84, 181, 69, 154, 94, 184, 98, 200, 122, 92,
                93, 85, 158, 124, 171, 78, 139, 66, 160, 94, 187, 121, 180, 78, 146, 89, 188, 163
            ]
        );
    }

    #[test]
    fn an_unchanged_axis_is_left_alone() {
        for filter in [Filter::Lanczos, Filter::Bicubic] {
            let image = picture(19, 40);
            assert_eq!(resize(&image, 19, 40, filter), image);
            // Rows alike in, rows alike out: nothing has leaked from one column to the next.
            let row = image.data[..57].to_vec();
            let alike = RgbImage {
                data: row.repeat(40),
                ..image
            };
            assert_eq!(resize(&alike, 19, 23, filter).data, row.repeat(23));
        }
    }

    #[test]
    fn mirroring_before_or_after_is_the_same() {
        let image = picture(37, 21);
        for (width, height) in [(80, 50), (16, 9), (5, 60)] {
            assert_eq!(
                resize(&mirrored(&image), width, height, Filter::Lanczos),
                mirrored(&resize(&image, width, height, Filter::Lanczos))
            );
        }
    }

    #[test]
    fn one_colour_stays_that_colour_at_any_size() {
        for (from, to) in [((1, 1), (50, 70)), ((300, 2), (7, 7)), ((3, 5000), (40, 3))] {
            let colour = |(width, height): (u32, u32)| RgbImage {
                width,
                height,
                data: [200, 0, 255].repeat((width * height) as usize),
            };
            for filter in [Filter::Lanczos, Filter::Bicubic] {
                assert_eq!(resize(&colour(from), to.0, to.1, filter), colour(to));
            }
        }
    }

    #[test]
    fn a_picture_without_pixels_becomes_black() {
        let empty = RgbImage {
            width: 0,
            height: 5,
            data: Vec::new(),
        };
        assert_eq!(resize(&empty, 2, 1, Filter::Lanczos).data, [0; 6]);
    }
}
