//! Every format and pixel type that is promised, by its colours.

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use picsift_images::{Geometry, ImageInfo, Limits, image_info, prepare, sha256};

use crate::support::{
    QUADRANTS, assert_near, at, data, difference, encode, full, jpeg, orientation, quadrants,
    quarters, with_exif,
};

fn info(bytes: &[u8]) -> ImageInfo {
    image_info(bytes, &Limits::default()).unwrap()
}

#[track_caller]
fn assert_quadrants(bytes: &[u8], tolerance: u8) {
    let pixels = full(bytes);
    assert_eq!((pixels.width, pixels.height), (48, 32));
    assert_eq!(pixels.data.len(), 48 * 32 * 3);
    for (got, want) in quarters(&pixels).into_iter().zip(QUADRANTS) {
        assert_near(got, want, tolerance);
    }
}

#[test]
fn lossless_formats_give_the_very_pixels() {
    let image = DynamicImage::from(quadrants());
    for (format, name) in [
        (ImageFormat::Png, "png"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Tiff, "tiff"),
        (ImageFormat::WebP, "webp"),
    ] {
        let bytes = encode(&image, format);
        assert_eq!(full(&bytes).data, quadrants().into_raw(), "{name}");
        let info = info(&bytes);
        assert_eq!(
            (info.format, info.width, info.height, info.channels),
            (name, 48, 32, 3)
        );
        assert_eq!(
            (info.bytes, info.sha256),
            (bytes.len() as u64, sha256(&bytes))
        );
    }
}

#[test]
fn jpegs_of_every_kind() {
    assert_quadrants(&jpeg(&quadrants()), 6);
    for (name, channels) in [
        ("progressive.jpg", 3),
        ("subsampled.jpg", 3),
        ("cmyk_adobe.jpg", 4),
        ("cmyk_plain.jpg", 4),
        ("ycck.jpg", 4),
    ] {
        println!("{name}");
        assert_quadrants(&data(name), 8);
        let info = info(&data(name));
        assert_eq!(
            (info.format, info.channels, info.width, info.height),
            ("jpeg", channels, 48, 32)
        );
    }
    let grey = encode(
        &DynamicImage::from(quadrants()).into_luma8().into(),
        ImageFormat::Jpeg,
    );
    assert_eq!(info(&grey).channels, 1);
    let [r, g, b] = at(&full(&grey), 5, 5);
    assert!(r == g && g == b && r.abs_diff(67) < 8, "{r} {g} {b}");
}

#[test]
fn lossy_webp() {
    assert_quadrants(&data("lossy.webp"), 12);
}

#[test]
fn alpha_is_composited_on_white() {
    let pixels = full(&data("alpha.webp"));
    assert_eq!(at(&pixels, 5, 5), [255, 255, 255]);
    assert_near(at(&pixels, 40, 5), QUADRANTS[1], 12);
    assert_eq!(info(&data("alpha.webp")).channels, 4);

    // A quarter of red on white: 255, and 255 - 64 for the other two.
    let rgba = ImageBuffer::from_pixel(2, 2, Rgba([255u8, 0, 0, 64]));
    assert_eq!(
        at(&full(&encode(&rgba.into(), ImageFormat::Png)), 0, 0),
        [255, 191, 191]
    );
    let grey = ImageBuffer::from_pixel(2, 2, LumaA([0u8, 128]));
    let bytes = encode(&grey.into(), ImageFormat::Png);
    assert_eq!(
        (at(&full(&bytes), 1, 1), info(&bytes).channels),
        ([127, 127, 127], 2)
    );
}

#[test]
fn transparent_colours_of_palettes_and_keys() {
    let pixels = full(&data("palette_transparent.png"));
    let row: Vec<_> = (0..4).map(|x| at(&pixels, x, 0)).collect();
    assert_eq!(
        row,
        [[255, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]]
    );
    let pixels = full(&data("grey_transparent.png"));
    assert_eq!(
        [
            at(&pixels, 0, 0)[0],
            at(&pixels, 1, 0)[0],
            at(&pixels, 0, 1)[0]
        ],
        [0, 255, 200]
    );
    let pixels = full(&data("transparent.gif"));
    assert_eq!(
        (at(&pixels, 0, 0), at(&pixels, 1, 0)),
        ([255, 0, 0], [255, 255, 255])
    );
    let pixels = full(&data("one_bit.png"));
    assert_eq!((at(&pixels, 0, 0), at(&pixels, 1, 0)), ([0; 3], [255; 3]));
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let rgb = ImageBuffer::from_pixel(2, 2, Rgb([65535u16, 257 * 100, 257 * 7 + 1]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        assert_eq!(
            at(&full(&encode(&rgb.clone().into(), format)), 1, 1),
            [255, 100, 7]
        );
    }
    let grey = ImageBuffer::from_pixel(2, 2, Luma([257u16 * 50]));
    assert_eq!(
        at(&full(&encode(&grey.into(), ImageFormat::Png)), 0, 1),
        [50; 3]
    );
    let rgba = ImageBuffer::from_pixel(2, 2, Rgba([0u16, 0, 65535, 0]));
    assert_eq!(
        at(&full(&encode(&rgba.into(), ImageFormat::Png)), 0, 1),
        [255; 3]
    );
}

#[test]
fn animations_show_their_first_frame() {
    for name in ["animated.gif", "animated.webp"] {
        let pixels = full(&data(name));
        assert_eq!(
            (pixels.width, pixels.height, at(&pixels, 3, 3)),
            (20, 10, [255, 0, 0]),
            "{name}"
        );
    }
}

#[test]
fn orientation_turns_full_images_and_their_size() {
    // For each EXIF value, the quarters as shown, row after row: 0 red, 1 green, 2 blue, 3 sand.
    let shown = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];
    let plain = jpeg(&quadrants());
    for (value, shown) in (1..).zip(shown) {
        let bytes = with_exif(&plain, &orientation(value));
        let size = if value < 5 { (48, 32) } else { (32, 48) };
        let pixels = full(&bytes);
        assert_eq!((pixels.width, pixels.height), size, "orientation {value}");
        assert_eq!((info(&bytes).width, info(&bytes).height), size);
        for (got, want) in quarters(&pixels).into_iter().zip(shown) {
            assert_near(got, QUADRANTS[want], 6);
        }
        // Cropping before turning is an optimisation: it must show what cropping after turning shows.
        let geometry = Geometry::CentreCrop {
            short_side: 21,
            size: 17,
        };
        let upright = image::RgbImage::from_raw(pixels.width, pixels.height, pixels.data).unwrap();
        let want = prepare(
            &encode(&upright.into(), ImageFormat::Png),
            geometry,
            &Limits::default(),
        )
        .unwrap();
        let got = prepare(&bytes, geometry, &Limits::default()).unwrap();
        let (largest, _) = difference(&got, &want);
        assert!(largest <= 1, "orientation {value}: {largest}");
    }
}

#[test]
fn orientation_of_other_formats() {
    for name in ["oriented.png", "oriented.webp", "oriented.tiff"] {
        let pixels = full(&data(name));
        assert_eq!((pixels.width, pixels.height), (32, 48), "{name}");
        assert_eq!(quarters(&pixels)[0], QUADRANTS[2], "{name}");
        assert_eq!(
            (info(&data(name)).width, info(&data(name)).height),
            (32, 48)
        );
    }
}

#[test]
fn a_broken_exif_block_is_ignored() {
    let plain = jpeg(&quadrants());
    let long = orientation(6);
    for exif in [
        &b""[..],
        b"garbage",
        b"II*\0\xff\xff\xff\xff",
        &long[..12],
        &orientation(77),
    ] {
        assert_quadrants(&with_exif(&plain, exif), 6);
    }
}
