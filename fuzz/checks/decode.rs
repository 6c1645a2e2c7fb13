//! Any bytes as an image: an error of one sentence, or pixels that agree with the header and keep the limits.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use picsift_images::{Geometry, ImageError, Limits, Stage, image_info, prepare};

/// Pixels of the largest picture; few, so that an input takes milliseconds.
const MOST_PIXELS: u64 = 1 << 18;

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 40,
    size: 32,
};

fn check(error: &ImageError) {
    assert_eq!(error.stage(), Stage::Decode, "{error}");
    assert!(
        !matches!(
            error,
            ImageError::BadGeometry { .. } | ImageError::Resize { .. }
        ),
        "{error}"
    );
    assert!(error.to_string().len() < 2_000, "{error}");
}

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(bytes: &[u8]) {
    let limits = Limits {
        max_pixels: MOST_PIXELS,
        ..Limits::default()
    };
    let info = image_info(bytes, &limits);
    if let Err(error) = &info {
        check(error);
    }
    match prepare(bytes, Geometry::Full, &limits) {
        Ok(pixels) => {
            let count = u64::from(pixels.width) * u64::from(pixels.height);
            assert!((1..=MOST_PIXELS).contains(&count));
            assert_eq!(pixels.data.len() as u64, 3 * count);
            let info = info.expect("what has pixels has a header");
            assert_eq!((info.width, info.height), (pixels.width, pixels.height));
        }
        Err(error) => check(&error),
    }
    match prepare(bytes, CROP, &limits) {
        Ok(pixels) => {
            assert_eq!((pixels.width, pixels.height), (32, 32));
            assert_eq!(pixels.data.len(), 3 * 32 * 32);
        }
        Err(error) => check(&error),
    }
}
