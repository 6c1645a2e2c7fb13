//! The crop, against the crops that Pillow made (`tests/data/make.py`).

use picsift_images::{Geometry, ImageError, Limits, prepare};

use crate::support::{busy, data, difference, encode, full, jpeg};

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 64,
    size: 56,
};

#[test]
fn crops_equal_those_of_pillow() {
    for name in ["wide", "tall", "small"] {
        let got = prepare(&data(&format!("{name}.png")), CROP, &Limits::default()).unwrap();
        let want = full(&data(&format!("{name}_crop.png")));
        let (largest, mean) = difference(&got, &want);
        println!("{name}: largest difference {largest}, mean {mean:.4}");
        // The rounding of the filter's fixed-point weights differs, nothing else.
        assert!(largest <= 1 && mean < 0.3, "{name}: {largest} {mean}");
    }
}

#[test]
fn a_big_jpeg_looks_the_same_at_reduced_scale() {
    // Sides that no scale divides, so that the last block is partial.
    for (width, height) in [(1203, 805), (805, 1203), (1031, 611)] {
        let image =
            image::imageops::resize(&busy(60, 60), width, height, image::imageops::CatmullRom);
        let bytes = jpeg(&image);
        let decoded = full(&bytes);
        let lossless =
            image::RgbImage::from_raw(decoded.width, decoded.height, decoded.data).unwrap();
        let want = prepare(
            &encode(&lossless.into(), image::ImageFormat::Png),
            CROP,
            &Limits::default(),
        )
        .unwrap();
        let got = prepare(&bytes, CROP, &Limits::default()).unwrap();
        let (largest, mean) = difference(&got, &want);
        println!("{width} x {height}: largest difference {largest}, mean {mean:.3}");
        assert!(largest <= 16 && mean < 2.0, "{largest} {mean}");
    }
}

#[test]
fn extreme_shapes_work() {
    for (width, height) in [(1, 1), (1, 300), (900, 2), (64, 64), (56, 57)] {
        let bytes = encode(&busy(width, height).into(), image::ImageFormat::Png);
        let pixels = prepare(&bytes, CROP, &Limits::default()).unwrap();
        assert_eq!(
            (pixels.width, pixels.height, pixels.data.len()),
            (56, 56, 56 * 56 * 3)
        );
        let pixels = prepare(&jpeg(&busy(width, height)), CROP, &Limits::default()).unwrap();
        assert_eq!((pixels.width, pixels.height), (56, 56));
    }
}

#[test]
fn impossible_crops_are_refused() {
    for (short_side, size) in [(64, 65), (64, 0), (0, 0)] {
        let error = prepare(
            &jpeg(&busy(9, 9)),
            Geometry::CentreCrop { short_side, size },
            &Limits::default(),
        );
        assert!(matches!(error, Err(ImageError::BadGeometry { .. })));
    }
}
