//! Pictures as the world writes them (`tests/wild`): each shows what its maker meant at every scale, or is refused by name.

use std::collections::HashMap;
use std::path::PathBuf;

use picsift_images::{Geometry, Limits, RgbPixels, image_info, prepare};

use crate::support::difference;

/// All pixels, crops that JPEGs of the folder reach at full, quarter and eighth scale, and a small copy.
const GEOMETRIES: [Geometry; 5] = [
    Geometry::Full,
    Geometry::CentreCrop {
        short_side: 40,
        size: 36,
    },
    Geometry::CentreCrop {
        short_side: 16,
        size: 16,
    },
    Geometry::CentreCrop {
        short_side: 8,
        size: 8,
    },
    Geometry::Within { side: 20 },
];

/// What a smaller copy may differ besides: a decoder at reduced scale averages blocks where another filter rings, which
/// is seen most where a pixel is a block.
fn scaled(geometry: Geometry) -> f64 {
    match geometry {
        Geometry::Full => 0.0,
        Geometry::CentreCrop { size: 8, .. } => 5.0,
        _ => 2.0,
    }
}

/// What a case must come to.
enum Expected {
    /// The reference picture, to within a mean difference.
    Shows { reference: String, tolerance: f64 },
    /// An error of a kind, with these words.
    Refused { kind: String, words: String },
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wild")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn cases() -> Vec<(String, Expected)> {
    let text = std::fs::read_to_string(folder().join("cases.csv")).unwrap();
    let case = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, outcome, detail, _] = fields[..] else {
            panic!("{line}");
        };
        let expected = match outcome.starts_with("reference/") {
            true => Expected::Shows {
                reference: outcome.to_owned(),
                tolerance: detail.parse().unwrap(),
            },
            false => Expected::Refused {
                kind: outcome.to_owned(),
                words: detail.to_owned(),
            },
        };
        (name.to_owned(), expected)
    };
    text.lines().skip(1).map(case).collect()
}

/// What is wrong with a case under a geometry.
fn complaint(name: &str, expected: &Expected, geometry: Geometry) -> Option<String> {
    let limits = Limits::default();
    let data = bytes(name);
    let got = prepare(&data, geometry, &limits);
    let text = match (expected, got) {
        (Expected::Shows { .. }, Err(error)) => format!("{error}"),
        (
            Expected::Shows {
                reference,
                tolerance,
            },
            Ok(got),
        ) => {
            let want = prepare(&bytes(reference), geometry, &limits).unwrap();
            let size = |pixels: &RgbPixels| (pixels.width, pixels.height);
            if size(&got) != size(&want) {
                format!("{:?} instead of {:?}", size(&got), size(&want))
            } else {
                let (_, mean) = difference(&got, &want);
                let allowed = tolerance + scaled(geometry);
                if mean <= allowed {
                    return None;
                }
                format!("differs by {mean:.2}, {allowed} are allowed")
            }
        }
        (Expected::Refused { .. }, Ok(_)) => "is shown".to_owned(),
        (Expected::Refused { kind, words }, Err(error)) => {
            if error.kind() == kind && error.to_string().contains(words.as_str()) {
                return None;
            }
            format!("{}: {error}", error.kind())
        }
    };
    Some(format!("{name} under {geometry:?}: {text}"))
}

#[test]
fn every_picture_shows_what_its_maker_meant_at_every_scale() {
    let complaints: Vec<String> = cases()
        .iter()
        .flat_map(|(name, expected)| {
            GEOMETRIES
                .iter()
                .filter_map(|geometry| complaint(name, expected, *geometry))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_facts_of_a_picture_are_those_of_its_pixels() {
    for (name, expected) in cases() {
        let data = bytes(&name);
        let info = image_info(&data, &Limits::default());
        if let Expected::Shows { .. } = expected {
            let info = info.unwrap_or_else(|e| panic!("{name}: {e}"));
            let pixels = prepare(&data, Geometry::Full, &Limits::default()).unwrap();
            assert_eq!(
                (info.width, info.height),
                (pixels.width, pixels.height),
                "{name}"
            );
        }
    }
}

/// Whatever in a format changes pixels, with a picture that shows what is made of it. What is not honoured is shown as if it were not
/// there, as Pillow does.
const CHANGES: [(&str, &str, &str); 79] = [
    (
        "JPEG",
        "process: baseline in several scans",
        "jpeg-scans-single-2x2.jpg",
    ),
    ("JPEG", "process: progressive", "jpeg-progressive-2x2.jpg"),
    ("JPEG", "process: extended", "jpeg-extended.jpg"),
    ("JPEG", "process: arithmetic", "jpeg-arithmetic.jpg"),
    ("JPEG", "process: lossless (refused)", "jpeg-lossless.jpg"),
    ("JPEG", "precision of 12 bits (refused)", "jpeg-12-bit.jpg"),
    (
        "JPEG",
        "height behind the scan (refused)",
        "jpeg-height-behind.jpg",
    ),
    ("JPEG", "sampling factors", "jpeg-sampling-1x1-2x1-2x1.jpg"),
    (
        "JPEG",
        "sampling factors of one component",
        "jpeg-grey-2x2.jpg",
    ),
    ("JPEG", "names of the components", "jpeg-rgb-names.jpg"),
    ("JPEG", "Adobe transform", "jpeg-rgb-adobe.jpg"),
    ("JPEG", "JFIF beside Adobe", "jpeg-jfif-adobe-0.jpg"),
    ("JPEG", "inks", "jpeg-cmyk-no-marker.jpg"),
    ("JPEG", "restart interval", "jpeg-restart-blocks-7.jpg"),
    (
        "JPEG",
        "restart interval that is not kept (refused)",
        "jpeg-restart-missing.jpg",
    ),
    (
        "JPEG",
        "restart markers without an interval (refused)",
        "jpeg-restart-unannounced.jpg",
    ),
    ("JPEG", "no Huffman tables", "jpeg-no-tables.jpg"),
    ("JPEG", "EXIF orientation", "turned-long-big.jpg"),
    ("JPEG", "XMP orientation", "turned-xmp.jpg"),
    ("JPEG", "ICC profile", "profile-p3.jpg"),
    ("JPEG", "ICC profile of inks", "profile-inks.jpg"),
    ("PNG", "eXIf", "turned-png-behind.png"),
    ("PNG", "raw profile in text", "turned-png-raw-deflated.png"),
    ("PNG", "XMP in text", "turned-png-xmp.png"),
    ("PNG", "iCCP", "profile-p3.png"),
    ("PNG", "iCCP of grey", "profile-grey.png"),
    ("PNG", "no IEND", "png-no-end.png"),
    ("PNG", "gAMA (not honoured)", "png-gamma-1.png"),
    ("PNG", "cHRM (not honoured)", "png-chromaticities.png"),
    ("PNG", "cICP (not honoured)", "png-cicp-p3.png"),
    (
        "PNG",
        "cICP of a high dynamic range (not honoured)",
        "png-cicp-pq.png",
    ),
    ("WebP", "EXIF", "turned-webp-prefix.webp"),
    ("WebP", "XMP", "turned-webp-xmp.webp"),
    ("WebP", "ICCP", "profile-p3.webp"),
    ("WebP", "flags of what is not there", "webp-no-alpha.webp"),
    ("GIF", "canvas", "gif-canvas-40x30.gif"),
    ("GIF", "colours of the frame", "gif-own-colours.gif"),
    ("GIF", "no colours", "gif-no-colours.gif"),
    ("GIF", "blocks of unknown kinds", "gif-unknown-block.gif"),
    ("GIF", "place of the frame", "gif-frame-over-the-edge.gif"),
    ("BMP", "offset", "bmp-offset-0.bmp"),
    ("BMP", "header", "bmp-os2-2.bmp"),
    ("BMP", "height below zero", "bmp-top-down.bmp"),
    ("BMP", "masks", "bmp-16-masks.bmp"),
    ("BMP", "alpha", "bmp-v5-alpha.bmp"),
    ("BMP", "alpha of nothing", "bmp-v5-alpha-empty.bmp"),
    ("BMP", "masks of 32 bits", "bmp-32-masks.bmp"),
    (
        "BMP",
        "masks that leave a colour out (refused)",
        "bmp-mask-missing.bmp",
    ),
    ("BMP", "run lengths", "bmp-rle8.bmp"),
    (
        "BMP",
        "pixels that no run reaches",
        "bmp-runs-4-skipped.bmp",
    ),
    ("BMP", "JPEG (refused)", "bmp-jpeg.bmp"),
    ("TIFF", "258 BitsPerSample", "tiff-grey-4-black.tif"),
    (
        "TIFF",
        "258 BitsPerSample of 32 (refused)",
        "tiff-32-bit.tif",
    ),
    ("TIFF", "259 Compression", "tiff-fax-g3-2d-fill.tif"),
    (
        "TIFF",
        "259 Compression of another kind (refused)",
        "tiff-unknown.tif",
    ),
    (
        "TIFF",
        "262 PhotometricInterpretation",
        "tiff-grey-8-white.tif",
    ),
    (
        "TIFF",
        "262 PhotometricInterpretation: L*a*b* (refused)",
        "tiff-lab.tif",
    ),
    ("TIFF", "266 FillOrder", "tiff-fill-order.tif"),
    ("TIFF", "274 Orientation", "turned-tiff-4.tif"),
    ("TIFF", "284 PlanarConfiguration", "tiff-planar-tiles.tif"),
    ("TIFF", "317 Predictor", "tiff-16-bit-big.tif"),
    (
        "TIFF",
        "317 Predictor of another kind (refused)",
        "tiff-predictor.tif",
    ),
    ("TIFF", "320 ColorMap", "tiff-palette-4-narrow.tif"),
    ("TIFF", "322 TileWidth", "tiff-lzw-tiles.tif"),
    (
        "TIFF",
        "338 ExtraSamples: premultiplied",
        "tiff-alpha-premultiplied.tif",
    ),
    (
        "TIFF",
        "338 ExtraSamples: no alpha",
        "tiff-extra-unspecified.tif",
    ),
    ("TIFF", "339 SampleFormat", "tiff-float.tif"),
    (
        "TIFF",
        "339 SampleFormat: signed (refused)",
        "tiff-signed.tif",
    ),
    ("TIFF", "347 JPEGTables", "tiff-jpeg-luma.tif"),
    ("TIFF", "530 YCbCrSubSampling", "tiff-luma-2x2.tif"),
    ("TIFF", "34675 ICC profile", "profile-inks.tif"),
    ("TIFF", "next directory", "tiff-pages.tif"),
    ("JPEG XL", "orientation", "jpegxl-turned.jxl"),
    ("JPEG XL", "colour profile", "jpegxl-profile-p3.jxl"),
    (
        "JPEG XL",
        "colours other than sRGB, with loss",
        "jpegxl-profile-p3-lossy.jxl",
    ),
    ("JPEG XL", "alpha", "jpegxl-alpha.jxl"),
    ("JPEG XL", "grey", "jpegxl-grey-alpha.jxl"),
    ("JPEG XL", "depth", "jpegxl-16-bit.jxl"),
    ("JPEG XL", "animation", "jpegxl-animation.jxl"),
];

#[test]
fn each_tag_that_changes_pixels_is_honoured_or_refused() {
    let cases: HashMap<String, Expected> = cases().into_iter().collect();
    for (format, tag, name) in CHANGES {
        let expected = cases
            .get(name)
            .unwrap_or_else(|| panic!("{format}, {tag}: {name} is no case"));
        let refused = matches!(expected, Expected::Refused { .. });
        assert_eq!(refused, tag.ends_with("(refused)"), "{format}, {tag}");
        assert_eq!(
            complaint(name, expected, Geometry::Full),
            None,
            "{format}, {tag}"
        );
    }
}
