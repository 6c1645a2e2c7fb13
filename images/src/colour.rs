//! Colour profiles: pixels of another colour space become sRGB, and inks become light.
//!
//! A profile that is sRGB, or as good as, converts nothing, and neither does one that is broken or of another kind of picture. What is
//! made of a profile is kept: pictures of one source share it, and making it takes longer than converting a small picture.

use std::sync::{Arc, Mutex, PoisonError};

use moxcms::{
    ColorProfile, DataColorSpace, Layout, ParsingOptions, Transform8BitExecutor, TransformOptions,
};

use crate::shaper::Shaper;

/// What the samples of a picture are before its profile is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// One channel, here as three equal ones.
    Grey,
    /// Red, green and blue.
    Rgb,
    /// Four inks, 255 for full.
    Cmyk,
}

/// A way to sRGB that changes something. Clones share it.
#[derive(Clone)]
pub(crate) enum Conversion {
    /// Each level of grey.
    Grey(Arc<[u8; 256]>),
    Matrix(Arc<Shaper>),
    Rgb(Arc<Transform8BitExecutor>),
    Inks(Arc<Transform8BitExecutor>),
}

/// Largest profile that is applied, and largest table in one. Those of printers have about half a megabyte.
const MOST_BYTES: usize = 4 << 20;

/// How many profiles are kept with their conversions.
const KEPT: usize = 8;

/// How far colours may be from sRGB's in a profile that is as good as sRGB, of 255: what rounding and simpler curves do.
const AS_GOOD: u8 = 2;

/// How far a conversion may move the middle grey for its curve to be like sRGB's: means of colours are then the same before and behind
/// it. One of linear light moves it by 60.
const ALIKE: u8 = 32;

/// Pixels that are converted at once.
const PIECE: usize = 1 << 10;

struct Kept {
    profile: Vec<u8>,
    space: Space,
    conversion: Option<Conversion>,
}

/// The last used first.
static CONVERSIONS: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// What `profile` does to a picture of `space`; `None` where it leaves the pixels as they are.
pub(crate) fn conversion(profile: &[u8], space: Space) -> Option<Conversion> {
    if profile.len() > MOST_BYTES {
        return None;
    }
    let is_it = |kept: &Kept| kept.space == space && kept.profile == profile;
    {
        let mut all = CONVERSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(is_it) {
            all[..=at].rotate_right(1);
            return all[0].conversion.clone();
        }
    }
    let conversion = make(profile, space);
    let mut all = CONVERSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|kept| !is_it(kept));
    all.truncate(KEPT - 1);
    let kept = Kept {
        profile: profile.to_vec(),
        space,
        conversion: conversion.clone(),
    };
    all.insert(0, kept);
    conversion
}

fn make(profile: &[u8], space: Space) -> Option<Conversion> {
    let bounds = ParsingOptions {
        max_profile_size: MOST_BYTES,
        max_allowed_clut_size: MOST_BYTES,
        ..ParsingOptions::default()
    };
    let profile = ColorProfile::new_from_slice_with_options(profile, bounds).ok()?;
    let (layout, space) = match (space, profile.color_space) {
        (Space::Grey, DataColorSpace::Gray) => (Layout::Gray, Space::Grey),
        (Space::Grey | Space::Rgb, DataColorSpace::Rgb) => (Layout::Rgb, Space::Rgb),
        (Space::Cmyk, DataColorSpace::Cmyk) => (Layout::Rgba, Space::Cmyk),
        _ => return None,
    };
    let transform = profile
        .create_transform_8bit(
            layout,
            &ColorProfile::new_srgb(),
            Layout::Rgb,
            TransformOptions::default(),
        )
        .ok()?;
    match space {
        Space::Grey => grey(&*transform),
        Space::Rgb if is_as_good_as_srgb(&*transform) => None,
        Space::Rgb => Some(match Shaper::of(&profile, &*transform) {
            Some(shaper) => Conversion::Matrix(shaper.into()),
            None => Conversion::Rgb(transform),
        }),
        Space::Cmyk => Some(Conversion::Inks(transform)),
    }
}

fn grey(transform: &Transform8BitExecutor) -> Option<Conversion> {
    let levels: [u8; 256] = std::array::from_fn(|level| level as u8);
    let mut colours = [0; 3 * 256];
    transform.transform(&levels, &mut colours).ok()?;
    let converted: [u8; 256] = std::array::from_fn(|level| colours[3 * level + 1]);
    let changes = levels
        .iter()
        .zip(&converted)
        .any(|(from, to)| from.abs_diff(*to) > AS_GOOD);
    changes.then(|| Conversion::Grey(Arc::new(converted)))
}

/// Whether colours all over the cube stay what they are.
fn is_as_good_as_srgb(transform: &Transform8BitExecutor) -> bool {
    let steps = || (0..=255_u8).step_by(51);
    let colours: Vec<u8> = steps()
        .flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b])))
        .collect();
    let mut converted = vec![0; colours.len()];
    // One that does not convert is as good as none.
    transform.transform(&colours, &mut converted).is_err()
        || colours
            .iter()
            .zip(&converted)
            .all(|(from, to)| from.abs_diff(*to) <= AS_GOOD)
}

impl Conversion {
    /// Whether means of colours are others behind the conversion than before it.
    pub(crate) fn bends_light(&self) -> bool {
        let mut grey = [128; 3];
        self.apply(&mut grey);
        grey[1].abs_diff(128) > ALIKE
    }

    /// Converts interleaved R, G, B in place.
    pub(crate) fn apply(&self, data: &mut [u8]) {
        match self {
            Conversion::Grey(levels) => {
                data.iter_mut()
                    .for_each(|sample| *sample = levels[usize::from(*sample)]);
            }
            Conversion::Matrix(shaper) => shaper.apply(data),
            Conversion::Rgb(transform) => {
                let mut piece = [0; 3 * PIECE];
                for out in data.chunks_mut(3 * PIECE) {
                    let from = &mut piece[..out.len()];
                    from.copy_from_slice(out);
                    if transform.transform(from, out).is_err() {
                        out.copy_from_slice(from);
                    }
                }
            }
            // Inks are light already.
            Conversion::Inks(_) => {}
        }
    }

    /// Inks, 255 for full, to R, G, B; false where this is no conversion of inks.
    pub(crate) fn inks(&self, inks: &[u8], out: &mut [u8]) -> bool {
        match self {
            Conversion::Inks(transform) => transform.transform(inks, out).is_ok(),
            _ => false,
        }
    }
}

/// Inks to light without a profile, as Pillow does it: each colour is what its ink and the black leave.
pub(crate) fn plain_inks(inks: &[u8], out: &mut [u8]) {
    for (ink, light) in inks
        .as_chunks::<4>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<3>().0)
    {
        let left = u32::from(255 - ink[3]);
        for (ink, light) in ink.iter().zip(light) {
            *light = (left - (left * u32::from(*ink) + 127) / 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(profile: ColorProfile) -> Vec<u8> {
        profile.encode().unwrap()
    }

    #[test]
    fn srgb_and_what_is_broken_convert_nothing() {
        let srgb = encoded(ColorProfile::new_srgb());
        assert!(conversion(&srgb, Space::Rgb).is_none());
        assert!(conversion(&srgb, Space::Grey).is_none());
        let p3 = encoded(ColorProfile::new_display_p3());
        for broken in [&b""[..], b"no profile", &p3[..p3.len() / 2], &[0; 4000]] {
            assert!(conversion(broken, Space::Rgb).is_none());
        }
        // A profile of another kind of picture.
        assert!(conversion(&p3, Space::Cmyk).is_none());
        let grey = encoded(ColorProfile::new_gray_with_gamma(1.0));
        assert!(conversion(&grey, Space::Rgb).is_none());
    }

    #[test]
    fn wide_colours_become_those_of_srgb_with_them() {
        let p3 = encoded(ColorProfile::new_display_p3());
        for _ in 0..2 {
            let conversion = conversion(&p3, Space::Rgb).unwrap();
            let mut pixels = [[200, 120, 90], [255, 255, 255], [0, 0, 0]]
                .concat()
                .repeat(3000);
            conversion.apply(&mut pixels);
            // As lcms converts it.
            for pixel in pixels.chunks(9) {
                assert!(pixel[0].abs_diff(214) <= 1, "{pixel:?}");
                assert!(pixel[1].abs_diff(116) <= 1, "{pixel:?}");
                assert!(pixel[2].abs_diff(82) <= 1, "{pixel:?}");
                assert_eq!(pixel[3..], [255, 255, 255, 0, 0, 0]);
            }
        }
        let linear = encoded(ColorProfile::new_gray_with_gamma(1.0));
        let mut pixels = [0, 0, 0, 55, 55, 55, 255, 255, 255];
        conversion(&linear, Space::Grey).unwrap().apply(&mut pixels);
        assert_eq!((pixels[0], pixels[8]), (0, 255));
        assert!(pixels[3].abs_diff(128) <= 1, "{pixels:?}");
    }

    #[test]
    fn many_profiles_do_not_pile_up() {
        for gamma in 0..3 * KEPT {
            let profile = ColorProfile::new_gray_with_gamma(1.0 + gamma as f32 / 10.0);
            conversion(&encoded(profile), Space::Grey);
        }
        assert!(CONVERSIONS.lock().unwrap().len() <= KEPT);
    }
}
