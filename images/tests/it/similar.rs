//! The difference hash on photographs.

use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};
use picsift_images::{Geometry, Limits, RgbPixels, prepare, similarity_hash};

fn photos() -> Vec<RgbImage> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../datasets/photos/references/images");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let photos: Vec<RgbImage> = paths
        .iter()
        .step_by(3)
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            let pixels = prepare(&bytes, Geometry::Full, &Limits::default()).unwrap();
            RgbImage::from_raw(pixels.width, pixels.height, pixels.data).unwrap()
        })
        .collect();
    assert!(photos.len() > 50);
    photos
}

fn hash(image: &RgbImage) -> u64 {
    similarity_hash(&RgbPixels {
        width: image.width(),
        height: image.height(),
        data: image.as_raw().clone(),
    })
}

#[test]
fn a_copy_is_near_and_another_photograph_is_far() {
    let photos = photos();
    let mut copies = Vec::new();
    for photo in &photos {
        let mut encoded = Vec::new();
        JpegEncoder::new_with_quality(&mut encoded, 60)
            .encode_image(photo)
            .unwrap();
        let again = image::load_from_memory(&encoded).unwrap().into_rgb8();
        let image = DynamicImage::from(photo.clone());
        let (width, height) = (photo.width(), photo.height());
        let scaled = |w: u32, h: u32, filter| image.resize_exact(w, h, filter).into_rgb8();
        for copy in [
            again,
            scaled(width / 2, height / 2, FilterType::Triangle),
            scaled(width * 3 / 2, height * 3 / 2, FilterType::CatmullRom),
            scaled(224, 224, FilterType::CatmullRom),
        ] {
            copies.push((hash(photo) ^ hash(&copy)).count_ones());
        }
    }
    let mut others = Vec::new();
    for (i, one) in photos.iter().enumerate() {
        for other in &photos[i + 1..] {
            others.push((hash(one) ^ hash(other)).count_ones());
        }
    }
    copies.sort_unstable();
    others.sort_unstable();
    let (most, largest) = (copies[copies.len() * 98 / 100], copies[copies.len() - 1]);
    println!(
        "98 % of the copies differ in at most {most} bits and all in {largest}; others in {} at least, {} in the middle",
        others[0],
        others[others.len() / 2]
    );
    // The boxes of a nearly flat picture (a slate, a sky) differ by less than a new encoding changes.
    assert!(most <= 3, "{most}");
    assert!(largest < others[0], "{largest} {}", others[0]);
    assert!(others[others.len() / 2] >= 28);
}
