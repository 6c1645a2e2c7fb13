//! Colours that a curve for each channel and a matrix make sRGB, which is what nearly all profiles of cameras and screens do.
//!
//! A colour is three look-ups that are added, and one look-up for each sum: two to three times as fast as the general way of the library,
//! by which it is checked when it is made.

use moxcms::{ColorProfile, Transform8BitExecutor};

/// Bits of a sum. The sums of the three colours lie in one number, so that they are added at once.
const SUM: u32 = 21;

/// Bits of a sum that are looked up: 1/8192 of full light.
const INDEX: u32 = 15;

/// What full light is in a sum, which goes from -1 to 3 times that: colours of wide spaces may lie so far outside of sRGB.
const FULL: f64 = (1_u32 << (SUM - 2)) as f64;

/// How far the result may be from the library's, of 255: rounding.
const ROUNDING: u8 = 1;

pub(crate) struct Shaper {
    /// The linear red, green and blue that a level of a channel brings.
    channels: [[u64; 256]; 3],
    /// The level for each sum.
    curve: [u8; 1 << INDEX],
}

impl Shaper {
    /// The way from `profile` to sRGB; `None` where it takes more than curves and a matrix, as `transform` shows.
    pub(crate) fn of(
        profile: &ColorProfile,
        transform: &Transform8BitExecutor,
    ) -> Option<Box<Shaper>> {
        let curves = [
            profile.build_r_linearize_table::<u8, 256, 8>(true).ok()?,
            profile.build_g_linearize_table::<u8, 256, 8>(true).ok()?,
            profile.build_b_linearize_table::<u8, 256, 8>(true).ok()?,
        ];
        let to_light = ColorProfile::new_srgb().rgb_to_xyz_matrix().inverse();
        let matrix = to_light.mat_mul(profile.rgb_to_xyz_matrix()).v;
        let mut shaper = Box::new(Shaper {
            channels: [[0; 256]; 3],
            curve: std::array::from_fn(level),
        });
        for (colour, row) in matrix.iter().enumerate() {
            // Sums begin at -1, and are rounded where they are cut.
            let zero = FULL + f64::from(1_u32 << (SUM - INDEX - 1));
            let (mut least, mut most) = (zero, zero);
            for (channel, (parts, curve)) in shaper.channels.iter_mut().zip(&curves).enumerate() {
                let parts_of = curve
                    .iter()
                    .map(|&light| row[channel] * f64::from(light) * FULL);
                let parts_of: Vec<f64> = parts_of.map(f64::round).collect();
                least += parts_of.iter().copied().fold(f64::INFINITY, f64::min);
                most += parts_of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let first = if channel == 0 { zero } else { 0.0 };
                for (all, part) in parts.iter_mut().zip(parts_of) {
                    let part = ((part + first) as i64).cast_unsigned();
                    *all = all.wrapping_add(part << (SUM * colour as u32));
                }
            }
            // What goes beyond would run into the next sum. A number that is none is no part of a range either.
            if !(least >= 0.0 && most < 4.0 * FULL) {
                return None;
            }
        }
        shaper.is_like(transform).then_some(shaper)
    }

    /// Whether colours all over the cube become what `transform` makes of them.
    fn is_like(&self, transform: &Transform8BitExecutor) -> bool {
        let steps = || (0..=255_u8).step_by(15);
        let colours: Vec<u8> = steps()
            .flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b])))
            .collect();
        let mut expected = vec![0; colours.len()];
        let done = transform.transform(&colours, &mut expected);
        let mut converted = colours;
        self.apply(&mut converted);
        let mut pairs = expected.iter().zip(&converted);
        done.is_ok() && pairs.all(|(one, other)| one.abs_diff(*other) <= ROUNDING)
    }

    /// Converts interleaved R, G, B in place.
    pub(crate) fn apply(&self, data: &mut [u8]) {
        const MASK: u64 = (1 << INDEX) - 1;
        const CUT: u32 = SUM - INDEX;
        let [red, green, blue] = &self.channels;
        let level = |sum: u64| self.curve[(sum & MASK) as usize];
        let sum = |pixel: &[u8]| {
            let at = |channel: usize| usize::from(pixel[channel]);
            red[at(0)]
                .wrapping_add(green[at(1)])
                .wrapping_add(blue[at(2)])
        };
        let of = |sum: u64, colour: usize| level(sum >> (CUT + SUM * colour as u32));
        // Four at once, so that one waits less for the other.
        let (blocks, rest) = data.as_chunks_mut::<12>();
        for block in blocks {
            let sums: [u64; 4] = std::array::from_fn(|at| sum(&block[3 * at..3 * at + 3]));
            *block = std::array::from_fn(|at| of(sums[at / 3], at % 3));
        }
        for pixel in rest.as_chunks_mut::<3>().0 {
            let sum = sum(pixel);
            *pixel = std::array::from_fn(|at| of(sum, at));
        }
    }
}

/// The level of sRGB for a sum.
fn level(index: usize) -> u8 {
    let light = index as f64 / f64::from(1_u32 << (INDEX - 2)) - 1.0;
    let level = match light {
        ..=0.003_130_8 => 12.92 * light,
        _ => 1.055 * light.powf(1.0 / 2.4) - 0.055,
    };
    (level * 255.0).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use moxcms::{Layout, TransformOptions};

    use super::*;

    #[test]
    fn profiles_of_a_matrix_are_taken_where_the_library_agrees() {
        let srgb = ColorProfile::new_srgb();
        let to_srgb = |profile: &ColorProfile| {
            let options = TransformOptions::default();
            let transform = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options);
            transform.unwrap()
        };
        for profile in [
            ColorProfile::new_display_p3(),
            ColorProfile::new_adobe_rgb(),
            ColorProfile::new_bt2020(),
        ] {
            assert!(Shaper::of(&profile, &*to_srgb(&profile)).is_some());
        }
        // Colours that lie too far outside.
        let wide = ColorProfile::new_pro_photo_rgb();
        assert!(Shaper::of(&wide, &*to_srgb(&wide)).is_none());
        // A matrix that is not what the transform does.
        let p3 = ColorProfile::new_display_p3();
        assert!(Shaper::of(&p3, &*to_srgb(&ColorProfile::new_adobe_rgb())).is_none());
    }
}
