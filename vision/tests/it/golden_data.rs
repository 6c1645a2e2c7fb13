//! Where the golden data is and how to read it: small random Moondream2 models and what the reference made of some pictures.
//!
//! The repository carries a pruned form (`tests/goldens/README.md`); the variable `PICSIFT_GOLDENS` names full folders
//! instead: one folder with a `manifest.json`, or a folder of such folders. The pictures are read as the reference reads
//! them, which differs from how picsift shows pictures to a model: no EXIF, alpha dropped, 16 bits cut.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use image::{DynamicImage, ImageFormat};
use mozjpeg::decompress::DctMethod;
use picsift_vision::RgbImage;
use picsift_vision::moondream::Layout;
use serde_json::Value;

/// One golden folder.
#[derive(Clone)]
pub(crate) struct Golden {
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Value,
    pub(crate) tensors: HashMap<String, Tensor>,
}

/// A picture of a golden folder.
pub(crate) struct GoldenImage<'a> {
    pub(crate) id: &'a str,
    pub(crate) path: PathBuf,
    /// Its entry in the manifest.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) entry: &'a Value,
}

/// Every golden folder of a Moondream2; at least one.
#[cfg(test)]
pub(crate) fn folders() -> Vec<Golden> {
    folders_in(&goldens())
}

/// Where golden folders are.
#[cfg(test)]
pub(crate) fn goldens() -> PathBuf {
    std::env::var_os("PICSIFT_GOLDENS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens"),
        PathBuf::from,
    )
}

/// This folder, if it is a golden one of a Moondream2, else those in it.
pub(crate) fn folders_in(root: &Path) -> Vec<Golden> {
    let mut all = all_in(root);
    all.retain(|golden| !golden.is_siglip());
    all
}

/// This folder, if it is a golden one, else those in it; at least one.
pub(crate) fn all_in(root: &Path) -> Vec<Golden> {
    let is_golden = |dir: &PathBuf| dir.join("manifest.json").is_file();
    let mut dirs = vec![root.to_owned()];
    if !is_golden(&dirs[0]) {
        let entries = fs::read_dir(root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        dirs = entries.map(|entry| entry.unwrap().path()).collect();
        dirs.retain(is_golden);
        dirs.sort();
    }
    assert!(
        !dirs.is_empty(),
        "no manifest.json in {} or a folder in it",
        root.display()
    );
    dirs.into_iter().map(Golden::open).collect()
}

impl Golden {
    fn open(dir: PathBuf) -> Self {
        let manifest = fs::read(dir.join("manifest.json")).unwrap();
        let tensors = read(&dir, "goldens.safetensors");
        Self {
            manifest: serde_json::from_slice(&manifest).unwrap(),
            tensors: candle_core::safetensors::load_buffer(&tensors, &Device::Cpu).unwrap(),
            dir,
        }
    }

    /// Whether it is of a SigLIP.
    pub(crate) fn is_siglip(&self) -> bool {
        self.config_text().contains("SiglipModel")
    }

    /// The layout of its checkpoint: that of 2024 has a vision part that its configuration says nothing about.
    pub(crate) fn layout(&self) -> Layout {
        let config: Value = serde_json::from_str(&self.config_text()).unwrap();
        if config.get("text_config").is_some() {
            Layout::V2024
        } else {
            Layout::V2025
        }
    }

    /// The pictures in the order of their ids.
    pub(crate) fn images(&self) -> impl Iterator<Item = GoldenImage<'_>> {
        let images = self.manifest["images"].as_object().unwrap();
        images.iter().map(|(id, entry)| {
            let file = entry["file"].as_str().unwrap();
            // The repository's folders share their pictures.
            let parent = self.dir.parent().unwrap();
            let places = [&self.dir, parent].map(|dir| [dir.to_owned(), dir.join("images")]);
            let path = places
                .concat()
                .into_iter()
                .map(|dir| dir.join(file))
                .find(|path| path.is_file());
            GoldenImage {
                id,
                path: path.unwrap_or_else(|| panic!("{} lacks {file}", self.dir.display())),
                entry,
            }
        })
    }

    /// The picture as the reference reads it.
    pub(crate) fn rgb(&self, id: &str) -> RgbImage {
        let image = self.images().find(|image| image.id == id).unwrap();
        pillow(&image.path)
    }

    /// The questions whose logits about a picture are there, by number, in their order.
    pub(crate) fn asked(&self, id: &str) -> Vec<u32> {
        let image = &self.manifest["images"][id];
        match image.get("questions") {
            Some(questions) => ids(questions),
            None => (0..prompts(self).len() as u32).collect(),
        }
    }

    /// A golden tensor, where this folder has it.
    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor> {
        self.tensors.get(name).cloned()
    }

    /// The checkpoint, as safetensors.
    pub(crate) fn model_bytes(&self) -> Vec<u8> {
        read(&self.dir, "model.safetensors")
    }

    /// The checkpoint's `config.json`.
    pub(crate) fn config_text(&self) -> String {
        fs::read_to_string(self.dir.join("config.json")).unwrap()
    }

    /// The ids whose logits mean anything, ascending, in a pruned folder: the columns of its `X.logits_kept`.
    pub(crate) fn kept_ids(&self) -> Option<Vec<u32>> {
        self.tensor("kept_ids").map(|ids| ids.to_vec1().unwrap())
    }
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The prompts of all questions, as token ids after the image.
pub(crate) fn prompts(golden: &Golden) -> Vec<Vec<u32>> {
    let questions = golden.manifest["questions"].as_array().unwrap();
    questions
        .iter()
        .map(|question| {
            let named = ["prompt_ids", "after_image_ids"];
            ids(named.iter().find_map(|name| question.get(name)).unwrap())
        })
        .collect()
}

/// A picture without transparency as Pillow reads it.
pub(crate) fn pillow(path: &Path) -> RgbImage {
    let bytes = fs::read(path).unwrap();
    match image::guess_format(&bytes).unwrap() {
        ImageFormat::Jpeg => jpeg(&bytes),
        _ => other(image::load_from_memory(&bytes).unwrap()),
    }
}

/// A file that may be there compressed.
fn read(dir: &Path, name: &str) -> Vec<u8> {
    let plain = dir.join(name);
    if plain.is_file() {
        return fs::read(plain).unwrap();
    }
    let packed = fs::read(dir.join(format!("{name}.zst"))).unwrap();
    zstd::decode_all(&*packed).unwrap()
}

/// libjpeg's accurate transform and smooth upsampling, which are Pillow's.
fn jpeg(bytes: &[u8]) -> RgbImage {
    let mut decoder = mozjpeg::Decompress::new_mem(bytes).unwrap();
    decoder.dct_method(DctMethod::IntegerSlow);
    decoder.do_fancy_upsampling(true);
    let four = decoder.components().len() == 4;
    let space = if four {
        mozjpeg::ColorSpace::JCS_CMYK
    } else {
        mozjpeg::ColorSpace::JCS_RGB
    };
    let mut decoder = decoder.to_colorspace(space).unwrap();
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    let mut data = decoder.read_scanlines::<u8>().unwrap();
    decoder.finish().unwrap();
    if four {
        data = data.as_chunks().0.iter().copied().flat_map(rgb).collect();
    }
    RgbImage {
        width,
        height,
        data,
    }
}

/// RGB of one pixel as Adobe stores CMYK in a JPEG, which is inverted.
fn rgb(stored: [u8; 4]) -> [u8; 3] {
    let [c, m, y, k] = stored.map(|ink| 255 - u32::from(ink));
    // round(ink * (255 - k) / 255)
    [c, m, y].map(|ink| {
        let light = 255 - k;
        light.saturating_sub((2 * ink * light + 255) / 510) as u8
    })
}

/// The reference's conversion to RGB of what is no JPEG.
fn other(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let data = match image {
        // Grey of 16 bits is clipped, colour of 16 bits loses its low byte.
        DynamicImage::ImageLuma16(grey) => grey
            .iter()
            .flat_map(|&sample| [sample.min(255) as u8; 3])
            .collect(),
        DynamicImage::ImageRgb16(colour) => {
            colour.iter().map(|&sample| (sample >> 8) as u8).collect()
        }
        // Eight bits: grey and palettes to RGB, alpha dropped.
        image => image.into_rgb8().into_raw(),
    };
    RgbImage {
        width,
        height,
        data,
    }
}

/// A folder has what its manifest says, and its files are what they were.
#[test]
fn folders_are_whole() {
    for golden in folders() {
        let name = golden.dir.display();
        for (tensor, entry) in golden.manifest["tensors"].as_object().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(entry[0].clone()).unwrap();
            let found = golden.tensor(tensor).unwrap();
            assert_eq!(found.dims(), shape, "{name}: {tensor}");
        }
        for image in golden.images() {
            let found = sha256(&fs::read(&image.path).unwrap());
            assert_eq!(found, image.entry["file_sha256"], "{name}: {}", image.id);
        }
        let model = golden.model_bytes();
        let weights = candle_core::safetensors::load_buffer(&model, &Device::Cpu).unwrap();
        let head = match golden.layout() {
            Layout::V2025 => "model.text.lm_head.weight",
            Layout::V2024 => "text_model.lm_head.linear.weight",
        };
        let vocabulary = weights[head].dim(0).unwrap();
        if let Some(kept) = golden.kept_ids() {
            assert_eq!(sha256(&model), golden.manifest["pruned"]["model_sha256"]);
            assert!(kept.is_sorted() && kept.iter().all(|&id| (id as usize) < vocabulary));
        }
    }
}

#[cfg(test)]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
