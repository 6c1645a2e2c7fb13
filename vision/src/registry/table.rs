//! The models that this build knows by name: where each comes from, under which licence, and how it is loaded.
//!
//! A table and no more.

use candle_core::Device;

use crate::coco_ssd;
use crate::description::DescribedModel;
use crate::efficientnet;
use crate::error::VisionError;
use crate::moondream::{self, Layout};
use crate::options::LoadOptions;
use crate::pocket;
use crate::source::{self, HubFile};

/// The model that needs nothing beyond this program.
pub const DEFAULT_MODEL: &str = pocket::NAME;

/// A model that [`super::load`] knows by name.
#[derive(Debug, Clone, Copy)]
pub struct ModelEntry {
    /// The name that [`super::load`] takes.
    pub name: &'static str,
    /// Further names of the same.
    pub aliases: &'static [&'static str],
    /// What it is, in one line.
    pub description: &'static str,
    /// The licence of its weights, as an SPDX expression.
    pub licence: &'static str,
    /// Whether it can run on a CUDA device.
    pub cuda: bool,
    /// Where its weights are.
    pub origin: Origin,
}

/// Where a model's weights come from.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// This program.
    Embedded(EmbeddedModel),
    /// A repository of the hub.
    Hub(&'static HubModel),
}

/// A model inside this program.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedModel {
    /// Bytes of its weights.
    pub bytes: u64,
    pub(super) describe: fn(&Device, &LoadOptions) -> Result<DescribedModel, VisionError>,
}

/// A model of the hub, pinned to commits.
#[derive(Debug, Clone, Copy)]
pub struct HubModel {
    /// What kind of model it is.
    pub family: Family,
    /// `config.json`.
    pub config: HubFile,
    /// The safetensors file.
    pub weights: HubFile,
    /// `tokenizer.json`.
    pub tokenizer: HubFile,
    /// `preprocessor_config.json`, where the model has one.
    pub preprocessor: Option<HubFile>,
}

/// A kind of model that comes as files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A Moondream2 whose checkpoint has this layout.
    Moondream(Layout),
    /// A SigLIP of either version.
    SigLip,
}

const MOONDREAM: &str = "vikhyatk/moondream2";
const MOONDREAM_2025: &str = "9a7d4024050840e001defacec2b00727e89149e6";
const MOONDREAM_2024: &str = "92d3d73b6fd61ab84d9fe093a9c7fd8c04bf2c0d";

static MODELS: [ModelEntry; 10] = [
    ModelEntry {
        name: pocket::NAME,
        aliases: &[],
        description: "The default: efficientnet-lite0 and coco-ssd together; a noun is answered by whichever knows it, and only \
                      what is needed runs; CPU only",
        licence: "Apache-2.0",
        cuda: false,
        origin: Origin::Embedded(EmbeddedModel {
            bytes: pocket::BYTES,
            describe: |_, options| pocket::describe(options),
        }),
    },
    ModelEntry {
        name: efficientnet::NAME,
        aliases: &[],
        description: "EfficientNet-Lite0, an ImageNet-1k classifier: categories are nouns that cover some of its \
                      1000 classes; CPU only",
        licence: "Apache-2.0",
        cuda: false,
        origin: Origin::Embedded(EmbeddedModel {
            bytes: efficientnet::BYTES,
            describe: |_, options| efficientnet::describe(options),
        }),
    },
    ModelEntry {
        name: coco_ssd::NAME,
        aliases: &[],
        description: "SSD-MobileNetV2, a detector of COCO's 80 things (person, car, chair, dog), wherever in the picture they are; CPU \
                      only",
        licence: "Apache-2.0",
        cuda: false,
        origin: Origin::Embedded(EmbeddedModel {
            bytes: coco_ssd::BYTES,
            describe: |_, options| coco_ssd::describe(options),
        }),
    },
    ModelEntry {
        name: moondream::SHAPES_NAME,
        aliases: &[],
        description: "A tiny vision-language model for tests and demonstrations: it knows drawn shapes, their \
                      colours and nothing else",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Embedded(EmbeddedModel {
            bytes: moondream::SHAPES_BYTES,
            describe: moondream::describe_shapes,
        }),
    },
    ModelEntry {
        name: "moondream2",
        aliases: &["moondream2-2025-06-21"],
        description: "Moondream2 of 2025-06-21, a vision-language model of 2 billion parameters: any category, \
                      and questions in words",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&HubModel {
            family: Family::Moondream(Layout::V2025),
            config: HubFile::new(MOONDREAM, MOONDREAM_2025, source::CONFIG),
            weights: HubFile::new(MOONDREAM, MOONDREAM_2025, source::WEIGHTS).bytes(3_854_538_968),
            // The model's own repository still has the tokenizer of 2024.
            tokenizer: HubFile::new(
                "moondream/starmie-v1",
                "35192e10a54e36eabe0a7cc57a2c1aab371cafc5",
                source::TOKENIZER,
            ),
            preprocessor: None,
        }),
    },
    ModelEntry {
        name: "moondream2-2024-08-26",
        aliases: &[],
        description: "Moondream2 of 2024-08-26, for jobs that pinned it: smaller pictures, weaker answers",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&HubModel {
            family: Family::Moondream(Layout::V2024),
            config: HubFile::new(MOONDREAM, MOONDREAM_2024, source::CONFIG),
            weights: HubFile::new(MOONDREAM, MOONDREAM_2024, source::WEIGHTS),
            tokenizer: HubFile::new(MOONDREAM, MOONDREAM_2024, source::TOKENIZER),
            preprocessor: None,
        }),
    },
    ModelEntry {
        name: "siglip2",
        aliases: &["siglip2-base-patch16-224"],
        description: "SigLIP 2 base of 224 pixels, an image-text encoder: any words, many categories for the price of \
                      one",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&SIGLIP2),
    },
    ModelEntry {
        name: "siglip2-b32",
        aliases: &["siglip2-base-patch32-256"],
        description: "SigLIP 2 base of 256 pixels in patches of 32: a third of siglip2's arithmetic, a little weaker",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&SIGLIP2_B32),
    },
    ModelEntry {
        name: "siglip2-so400m",
        aliases: &["siglip2-so400m-patch14-384"],
        description: "SigLIP 2 of 400 million parameters and 384 pixels: the strongest of the three, forty times the \
                      arithmetic of siglip2",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&SIGLIP2_SO400M),
    },
    ModelEntry {
        name: "siglip",
        aliases: &["siglip-base-patch16-224"],
        description: "SigLIP of 2023, base of 224 pixels, for tables that hold its embeddings; siglip2 answers better",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&SIGLIP),
    },
];

/// A SigLIP of which every file is in one repository.
const fn siglip(repo: &'static str, commit: &'static str) -> HubModel {
    HubModel {
        family: Family::SigLip,
        config: HubFile::new(repo, commit, source::CONFIG),
        weights: HubFile::new(repo, commit, source::WEIGHTS),
        tokenizer: HubFile::new(repo, commit, source::TOKENIZER),
        preprocessor: Some(HubFile::new(repo, commit, source::PREPROCESSOR)),
    }
}

static SIGLIP2: HubModel = {
    let model = siglip(
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
    );
    HubModel {
        weights: model.weights.bytes(1_500_800_904),
        tokenizer: model.tokenizer.bytes(34_363_039),
        ..model
    }
};

static SIGLIP2_B32: HubModel = siglip(
    "google/siglip2-base-patch32-256",
    "94dffa8cb1179de3e03f091dbc3917e5d5a9ae84",
);

static SIGLIP2_SO400M: HubModel = siglip(
    "google/siglip2-so400m-patch14-384",
    "e8e487298228002f3d8a82e0cd5c8ea9c567f57f",
);

static SIGLIP: HubModel = siglip(
    "google/siglip-base-patch16-224",
    "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",
);

/// Every model with a name.
pub fn models() -> &'static [ModelEntry] {
    &MODELS
}

/// The model of this name or alias.
pub(super) fn find(name: &str) -> Option<&'static ModelEntry> {
    models()
        .iter()
        .find(|entry| entry.name == name || entry.aliases.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::is_commit;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = models()
            .iter()
            .flat_map(|entry| entry.aliases.iter().chain([&entry.name]))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn commits_are_whole() {
        for entry in models() {
            let Origin::Hub(hub) = entry.origin else {
                continue;
            };
            let files = [hub.config, hub.weights, hub.tokenizer];
            for file in files.into_iter().chain(hub.preprocessor) {
                assert!(
                    is_commit(file.commit) && file.repo.matches('/').count() == 1,
                    "{file:?}"
                );
            }
        }
    }
}
