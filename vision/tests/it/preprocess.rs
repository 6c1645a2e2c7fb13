//! The pictures of the golden folders: the bytes that the models see of them are the reference's.
//!
//! Where decoding gives the reference's pixels, everything after it must give its bytes.

use candle_core::Tensor;
use picsift_vision::moondream::{Config, Layout, OverlapCrops, Squash, VisionConfig};
use picsift_vision::{CropPolicy, Preprocessor, RgbImage, Views};

use crate::golden_data::{Golden, GoldenImage, folders, sha256};

/// Pixels from the reference's decoder may differ from ours by this much on average and at most.
const DECODER: (f64, u8) = (0.25, 8);

/// The preprocessor of a folder's layout. The 2024 files do not tell the sizes that it needs: they are the published ones.
fn preprocessor(golden: &Golden, policy: CropPolicy) -> Box<dyn Preprocessor> {
    match golden.layout() {
        Layout::V2025 => Box::new(OverlapCrops::new(&vision(&golden.config_text()), policy)),
        Layout::V2024 => Box::new(Squash::new(&vision("{}"), policy)),
    }
}

fn vision(config: &str) -> VisionConfig {
    Config::v2025(config).unwrap().vision
}

/// Asserts that two runs of bytes are as near as two decoders are.
fn assert_near(ours: &[u8], theirs: &[u8], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let differences = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let most = differences.clone().max().unwrap();
    let mean = differences.map(f64::from).sum::<f64>() / ours.len() as f64;
    assert!(
        mean <= DECODER.0 && most <= DECODER.1,
        "{what}: {mean} on average, {most} at most"
    );
}

/// Every `step`-th pixel of an image from `first` on, in both directions.
fn grid(image: &RgbImage, first: usize, step: usize) -> Vec<u8> {
    let rows = image.data.chunks(image.width as usize * 3);
    rows.skip(first)
        .step_by(step)
        .flat_map(|row| row.chunks(3).skip(first).step_by(step).flatten().copied())
        .collect()
}

fn bytes(tensor: Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Whether the picture's pixels are the reference's; those of a JPEG may be near them instead.
fn decoded_exactly(golden: &Golden, image: &GoldenImage<'_>, rgb: &RgbImage) -> bool {
    let size = (u64::from(rgb.width), u64::from(rgb.height));
    let expected = [&image.entry["width"], &image.entry["height"]].map(|side| side.as_u64());
    assert_eq!((Some(size.0), Some(size.1)), (expected[0], expected[1]));
    if sha256(&rgb.data) == image.entry["rgb_sha256"] {
        return true;
    }
    assert_eq!(image.entry["format"], "JPEG", "{}", image.id);
    println!("{}: other pixels than the reference's", image.id);
    let theirs = golden.tensor(&format!("{}.rgb_grid", image.id)).unwrap();
    assert_near(&grid(rgb, 0, 8), &bytes(theirs), image.id);
    false
}

fn squares(views: &Views) -> impl Iterator<Item = RgbImage> {
    let size = views.side as usize * views.side as usize * 3;
    views.data.chunks_exact(size).map(|square| RgbImage {
        width: views.side,
        height: views.side,
        data: square.to_vec(),
    })
}

/// The picture that a grid of tiles was cut from.
fn joined(views: &Views) -> RgbImage {
    let tiles: Vec<RgbImage> = squares(views).collect();
    let line = views.side as usize * 3;
    let mut data = Vec::with_capacity(views.data.len());
    for row in tiles.chunks(views.grid.1 as usize) {
        for y in 0..views.side as usize {
            for tile in row {
                data.extend_from_slice(&tile.data[y * line..][..line]);
            }
        }
    }
    RgbImage {
        width: views.side * views.grid.1,
        height: views.side * views.grid.0,
        data,
    }
}

fn pair(entry: &serde_json::Value, names: [&str; 2]) -> (u32, u32) {
    let [first, second] = names.map(|name| u32::try_from(entry[name].as_u64().unwrap()).unwrap());
    (first, second)
}

#[test]
fn views_are_those_of_the_reference() {
    for golden in folders() {
        let preprocessor = preprocessor(&golden, CropPolicy::Reference);
        for image in golden.images() {
            let rgb = golden.rgb(image.id);
            let exact = decoded_exactly(&golden, &image, &rgb);
            let views = preprocessor.views(rgb).unwrap();
            match golden.layout() {
                Layout::V2025 => check_crops(&golden, &image, &views, exact),
                Layout::V2024 => check_squashed(&golden, &image, &views, exact),
            }
        }
    }
}

fn check_crops(golden: &Golden, image: &GoldenImage<'_>, views: &Views, exact: bool) {
    let id = image.id;
    let tiling = pair(&image.entry["tiling"], ["rows", "cols"]);
    assert_eq!(views.grid, tiling, "{id}");
    let mut expected = image.entry["crop_sha256"].as_array().unwrap().clone();
    assert_eq!(expected.len() as u32, 1 + tiling.0 * tiling.1);
    if tiling == (1, 1) {
        // The one local crop is the overview again.
        assert_eq!(expected.pop(), expected.first().cloned());
    }
    assert_eq!(views.count(), expected.len(), "{id}");
    let theirs = golden.tensor(&format!("{id}.crop_grid")).unwrap();
    for (at, (square, hash)) in squares(views).zip(&expected).enumerate() {
        let (what, theirs) = (format!("{id}, crop {at}"), bytes(theirs.get(at).unwrap()));
        let ours = grid(&square, 3, 7);
        if exact {
            assert_eq!(sha256(&square.data), *hash, "{what}");
            assert!(ours == theirs, "{what}");
        } else {
            assert_near(&ours, &theirs, &what);
        }
    }
}

fn check_squashed(golden: &Golden, image: &GoldenImage<'_>, views: &Views, exact: bool) {
    let id = image.id;
    let whole = joined(views);
    let size = pair(&image.entry["chosen_size"], ["width", "height"]);
    assert_eq!((whole.width, whole.height), size, "{id}");
    // The reference counts the overview of several tiles, and 0 x 0 tiles where there is one.
    let views_in_all = views.count() + usize::from(views.count() > 1);
    assert_eq!(image.entry["n_views"], views_in_all, "{id}");
    let theirs = bytes(golden.tensor(&format!("{id}.resized_grid")).unwrap());
    let ours = grid(&whole, 3, 7);
    if exact {
        assert_eq!(sha256(&whole.data), image.entry["resized_sha256"], "{id}");
        assert!(ours == theirs, "{id}");
    } else {
        assert_near(&ours, &theirs, id);
    }
}

#[test]
fn the_overview_alone_is_the_first_view() {
    for golden in folders() {
        let global = preprocessor(&golden, CropPolicy::Global);
        let reference = preprocessor(&golden, CropPolicy::Reference);
        for image in golden.images() {
            let rgb = golden.rgb(image.id);
            let views = global.views(rgb.clone()).unwrap();
            assert_eq!((views.count(), views.grid), (1, (1, 1)), "{}", image.id);
            if golden.layout() == Layout::V2025 {
                let all = reference.views(rgb).unwrap();
                assert!(all.data.starts_with(&views.data), "{}", image.id);
            }
        }
    }
}
