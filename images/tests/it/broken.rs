//! Damaged, hostile and oversized images.

use image::{DynamicImage, ImageFormat};
use picsift_images::{Geometry, ImageError, Limits, Stage, image_info, prepare};

use crate::support::{busy, data, difference, encode, full, jpeg, quadrants};

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 64,
    size: 56,
};

fn error(bytes: &[u8], geometry: Geometry) -> ImageError {
    let error = prepare(bytes, geometry, &Limits::default())
        .map(|_| ())
        .expect_err("it must not decode");
    assert_eq!(error.stage(), Stage::Decode);
    error
}

/// Cuts `bytes` at many places: each piece is truncated, or shows exactly the whole picture (only the end marker or
/// trailing bytes are gone). Never a half picture.
fn assert_no_half_picture(what: &str, bytes: &[u8], geometry: Geometry, steps: usize) {
    let whole = prepare(bytes, geometry, &Limits::default()).unwrap();
    let lengths = (1..=16)
        .map(|n| bytes.len() - n)
        .chain((1..steps).map(|i| bytes.len() * i / steps));
    for length in lengths.filter(|&length| length > 16) {
        match prepare(&bytes[..length], geometry, &Limits::default()) {
            Ok(pixels) => {
                // Without its end marker a big JPEG is decoded at full scale, hence not bit for bit the same.
                let (largest, _) = difference(&pixels, &whole);
                let allowed = if what == "big jpeg" { 24 } else { 0 };
                assert!(
                    largest <= allowed,
                    "{what}: half a picture from {length} of {} bytes",
                    bytes.len()
                );
            }
            Err(ImageError::Truncated { .. }) => {}
            Err(other) => panic!("{what} cut at {length} of {}: {other}", bytes.len()),
        }
    }
}

#[test]
fn a_truncated_image_is_never_half_a_picture() {
    let small = busy(150, 110);
    let image = DynamicImage::from(small.clone());
    for geometry in [Geometry::Full, CROP] {
        assert_no_half_picture("jpeg", &jpeg(&small), geometry, 120);
        assert_no_half_picture("flat jpeg", &jpeg(&quadrants()), geometry, 120);
        assert_no_half_picture("big jpeg", &jpeg(&busy(700, 500)), geometry, 60);
        for name in [
            "progressive.jpg",
            "subsampled.jpg",
            "ycck.jpg",
            "lossy.webp",
            "wide.png",
            "alpha.webp",
        ] {
            assert_no_half_picture(name, &data(name), geometry, 60);
        }
        for format in [
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::Gif,
        ] {
            assert_no_half_picture(
                &format!("{format:?}"),
                &encode(&image, format),
                geometry,
                60,
            );
        }
    }
}

#[test]
fn truncation_is_named() {
    let bytes = jpeg(&busy(300, 200));
    let text = error(&bytes[..bytes.len() / 2], CROP).to_string();
    assert_eq!(
        text,
        format!(
            "the JPEG image is truncated: its data ends after {} bytes, before the picture does",
            bytes.len() / 2
        )
    );
    // Zeros where the rest of a download should be.
    let mut padded = bytes.clone();
    padded[bytes.len() / 2..].fill(0);
    assert!(matches!(
        error(&padded, CROP),
        ImageError::Truncated { .. } | ImageError::Corrupt { .. }
    ));
}

#[test]
fn damage_inside_a_jpeg_is_not_shown_as_grey() {
    // A code that no table has: ones only, as entropy-coded data writes them.
    let mut bytes = jpeg(&busy(150, 110));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].copy_from_slice(&[0xFF, 0].repeat(20));
    assert!(matches!(error(&bytes, CROP), ImageError::Corrupt { .. }));
    // The first half of a picture, then another picture; at full scale and at reduced scale.
    for (width, height) in [(150, 110), (1200, 900)] {
        let whole = jpeg(&busy(width, height));
        let mut bytes = whole[..whole.len() / 2].to_vec();
        bytes.extend(&whole);
        assert!(
            matches!(error(&bytes, CROP), ImageError::Corrupt { .. }),
            "{width}"
        );
    }
}

#[test]
fn real_world_flaws_still_decode() {
    let plain = jpeg(&busy(150, 110));
    let want = full(&plain);
    let mut trailing = plain.clone();
    trailing.extend(b"\0\0 some trailing garbage \xff\xd8\xff\xe0");
    assert_eq!(full(&trailing), want);
    // Stray bytes between two segments.
    let mut stray = plain[..20].to_vec();
    stray.extend([0; 7]);
    stray.extend(&plain[20..]);
    assert_eq!(full(&stray), want);
    let mut fill = plain[..20].to_vec();
    fill.extend([0xFF; 5]);
    fill.extend(&plain[20..]);
    assert_eq!(full(&fill), want);
    // No end marker.
    assert_eq!(full(&plain[..plain.len() - 2]), want);
    for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
        let mut bytes = encode(&quadrants().into(), format);
        bytes.extend([0; 100]);
        assert_eq!(
            (full(&bytes).width, full(&bytes).height),
            (48, 32),
            "{format:?}"
        );
    }
}

#[test]
fn what_is_no_image_is_named() {
    assert!(error(b"", CROP).to_string().contains("0 bytes"));
    assert!(
        error(b"<html><body>404", CROP)
            .to_string()
            .contains("an HTML page")
    );
    assert!(
        error(b"plain words", CROP)
            .to_string()
            .contains("a text file")
    );
    assert!(matches!(
        error(&[0xFF, 0xD8, 0xFF, 0xD9], CROP),
        ImageError::Corrupt { .. }
    ));
}

#[test]
fn damage_never_panics() {
    let mut state = 0x2545_F491_4F6C_DD17_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let image = DynamicImage::from(busy(64, 48));
    let limits = Limits {
        max_pixels: 1 << 20,
        ..Limits::default()
    };
    let mut samples: Vec<Vec<u8>> = [
        "progressive.jpg",
        "ycck.jpg",
        "cmyk_plain.jpg",
        "lossy.webp",
        "animated.gif",
        "palette_transparent.png",
    ]
    .map(data)
    .into();
    samples.push(jpeg(&busy(700, 500)));
    samples.extend(
        [
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::Gif,
        ]
        .map(|format| encode(&image, format)),
    );
    for sample in &samples {
        for _ in 0..150 {
            let mut bytes = sample.clone();
            for _ in 0..1 + random() % 4 {
                let at = (random() as usize) % bytes.len();
                bytes[at] = random() as u8;
            }
            let _ = prepare(&bytes, CROP, &limits);
            let _ = image_info(&bytes, &limits);
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| {
            if c & 1 == 1 {
                c >> 1 ^ 0xEDB8_8320
            } else {
                c >> 1
            }
        })
    })
}

/// The first chunk of a PNG of this size, and some nonsense as its data.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend(width.to_be_bytes());
    ihdr.extend(height.to_be_bytes());
    ihdr.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&ihdr);
    png.extend(crc(&ihdr).to_be_bytes());
    let idat = b"IDATnonsense";
    png.extend([0, 0, 0, 8]);
    png.extend(idat);
    png.extend(crc(idat).to_be_bytes());
    png
}

#[test]
fn huge_images_are_refused_by_their_header() {
    let mut jpeg = jpeg(&quadrants());
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    let mut gif = encode(&quadrants().into(), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    let mut bmp = encode(&quadrants().into(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000i32.to_le_bytes());
    let mut webp = data("lossy.webp");
    let frame = webp
        .windows(3)
        .position(|w| w == [0x9D, 0x01, 0x2A])
        .unwrap();
    webp[frame + 3..frame + 7].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    let mut tiff = encode(&quadrants().into(), ImageFormat::Tiff);
    // Width, height and rows per strip, so that the header agrees with itself.
    for tag in [[0x00, 0x01], [0x01, 0x01], [0x16, 0x01]] {
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
        let entry = (directory + 2..)
            .step_by(12)
            .find(|&at| tiff[at..at + 2] == tag)
            .unwrap();
        tiff[entry + 2..entry + 4].copy_from_slice(&4u16.to_le_bytes());
        tiff[entry + 8..entry + 12].copy_from_slice(&100_000u32.to_le_bytes());
    }
    for (what, bytes) in [
        ("png", png_header(100_000, 100_000)),
        ("jpeg", jpeg),
        ("gif", gif),
        ("bmp", bmp),
        ("webp", webp),
        ("tiff", tiff),
    ] {
        let begun = std::time::Instant::now();
        for result in [
            prepare(&bytes, CROP, &Limits::default()).map(|_| ()),
            image_info(&bytes, &Limits::default()).map(|_| ()),
        ] {
            let error = result.expect_err(what);
            assert!(
                matches!(error, ImageError::TooManyPixels { .. }),
                "{what}: {error}"
            );
        }
        assert!(
            begun.elapsed().as_millis() < 100,
            "{what} took {:?}",
            begun.elapsed()
        );
    }
    let text = error(&png_header(100_000, 100_000), CROP).to_string();
    assert_eq!(
        text,
        "the image has 100000 x 100000 pixels, 100000000 are allowed"
    );
}

#[test]
fn limits_are_settings() {
    let bytes = jpeg(&quadrants());
    let pixels = Limits {
        max_pixels: 48 * 32 - 1,
        ..Limits::default()
    };
    assert!(matches!(
        prepare(&bytes, CROP, &pixels),
        Err(ImageError::TooManyPixels {
            width: 48,
            height: 32,
            ..
        })
    ));
    let size = Limits {
        max_bytes: bytes.len() as u64 - 1,
        ..Limits::default()
    };
    assert!(matches!(
        prepare(&bytes, CROP, &size),
        Err(ImageError::TooManyBytes { .. })
    ));
    assert!(matches!(
        image_info(&bytes, &size),
        Err(ImageError::TooManyBytes { .. })
    ));
    let enough = Limits {
        max_pixels: 48 * 32,
        max_bytes: bytes.len() as u64,
        ..Limits::default()
    };
    assert!(prepare(&bytes, CROP, &enough).is_ok());
}

/// Some decoders print what stands in the file; a row's error is one sentence all the same.
#[test]
fn an_error_does_not_quote_the_file() {
    // A TIFF with 5000 sample formats.
    let count = 5000_u32;
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let entries = [
        (256_u16, 4_u16, 1, 4),
        (257, 4, 1, 4),
        (262, 3, 1, 1),
        (339, 3, count, 62),
    ];
    tiff.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        tiff.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        tiff.extend([u32::to_le_bytes(count), u32::to_le_bytes(value)].concat());
    }
    tiff.extend([0; 4]);
    assert_eq!(tiff.len(), 62);
    tiff.extend((0..count).flat_map(|n| (n as u16).to_le_bytes()));
    let text = error(&tiff, Geometry::Full).to_string();
    assert_eq!(
        text,
        "the TIFF image cannot be decoded: samples of different formats is not supported; save it as an ordinary JPEG or PNG first"
    );
}
