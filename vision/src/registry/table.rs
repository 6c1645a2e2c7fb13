//! The models that this build knows by name: where each comes from, under which licence, and how it is loaded.
//!
//! A table and no more.

use candle_core::Device;

use crate::description::DescribedModel;
use crate::efficientnet;
use crate::error::VisionError;
use crate::moondream::{self, Layout};
use crate::options::LoadOptions;
use crate::source::{self, HubFile};

/// The model that needs nothing beyond this program.
pub const DEFAULT_MODEL: &str = efficientnet::NAME;

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
    /// The layout of its checkpoint.
    pub layout: Layout,
    /// `config.json`.
    pub config: HubFile,
    /// The safetensors file.
    pub weights: HubFile,
    /// `tokenizer.json`.
    pub tokenizer: HubFile,
}

const MOONDREAM: &str = "vikhyatk/moondream2";
const MOONDREAM_2025: &str = "9a7d4024050840e001defacec2b00727e89149e6";
const MOONDREAM_2024: &str = "92d3d73b6fd61ab84d9fe093a9c7fd8c04bf2c0d";

static MODELS: [ModelEntry; 4] = [
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
            layout: Layout::V2025,
            config: HubFile::new(MOONDREAM, MOONDREAM_2025, source::CONFIG),
            weights: HubFile::new(MOONDREAM, MOONDREAM_2025, source::WEIGHTS).bytes(3_854_538_968),
            // The model's own repository still has the tokenizer of 2024.
            tokenizer: HubFile::new(
                "moondream/starmie-v1",
                "35192e10a54e36eabe0a7cc57a2c1aab371cafc5",
                source::TOKENIZER,
            ),
        }),
    },
    ModelEntry {
        name: "moondream2-2024-08-26",
        aliases: &[],
        description: "Moondream2 of 2024-08-26, for jobs that pinned it: smaller pictures, weaker answers",
        licence: "Apache-2.0",
        cuda: true,
        origin: Origin::Hub(&HubModel {
            layout: Layout::V2024,
            config: HubFile::new(MOONDREAM, MOONDREAM_2024, source::CONFIG),
            weights: HubFile::new(MOONDREAM, MOONDREAM_2024, source::WEIGHTS),
            tokenizer: HubFile::new(MOONDREAM, MOONDREAM_2024, source::TOKENIZER),
        }),
    },
];

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
            for file in [hub.config, hub.weights, hub.tokenizer] {
                assert!(
                    is_commit(file.commit) && file.repo.matches('/').count() == 1,
                    "{file:?}"
                );
            }
        }
    }
}
