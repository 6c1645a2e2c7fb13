//! The largest sizes that a configuration may have. They come from a file that anybody can write, and decide what is allocated before
//! a tensor is read: each is several times what a published model has.

use super::{Config, ConfigError};

/// Widths of streams.
const WIDTH: usize = 1 << 14;
/// Hidden widths.
const HIDDEN: usize = 1 << 16;
/// Blocks, and attention heads.
const BLOCKS: usize = 512;
/// Rows of the embedding.
const VOCABULARY: usize = 1 << 20;
/// Positions: the mask of a sequence has its square.
const CONTEXT: usize = 1 << 13;
/// Side of a view in pixels.
const SIDE: usize = 1 << 11;
/// Local crops.
const CROPS: usize = 64;
/// Pixels of all local crops.
const PIXELS: usize = 1 << 24;
/// Tokens of an image.
const IMAGE: usize = 1 << 12;
/// Tokens of one part of a template.
const TEMPLATE: usize = 256;

/// Refuses what is 0 or too large, before anything is computed from it.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let (text, vision) = (&config.text, &config.vision);
    let sizes = [
        ("text dimensions", text.dim, WIDTH),
        ("hidden text dimensions", text.ff_dim, HIDDEN),
        ("text blocks", text.layers, BLOCKS),
        ("text heads", text.heads, BLOCKS),
        ("tokens in its vocabulary", text.vocab, VOCABULARY),
        ("tokens of context", text.context, CONTEXT),
        ("vision dimensions", vision.dim, WIDTH),
        ("hidden vision dimensions", vision.ff_dim, HIDDEN),
        ("vision blocks", vision.layers, BLOCKS),
        ("vision heads", vision.heads, BLOCKS),
        ("pixels on a side of a crop", vision.crop, SIDE),
        ("pixels on a side of a patch", vision.patch, SIDE),
        ("crops", vision.max_crops, CROPS),
        (
            "hidden projection dimensions",
            vision.projection_dim,
            HIDDEN,
        ),
    ];
    for (what, size, most) in sizes {
        if size == 0 {
            let zero = format!("one of its sizes is 0: the number of {what}");
            return Err(ConfigError::Sizes(zero));
        }
        if size > most {
            return Err(too_many(what, size, most));
        }
    }
    let sizes = [
        ("patches of margin", vision.overlap_margin, SIDE),
        (
            "tokens before a question",
            config.template.before.len(),
            TEMPLATE,
        ),
        (
            "tokens after a question",
            config.template.after.len(),
            TEMPLATE,
        ),
        ("tokens of an image", vision.tokens(), IMAGE),
        (
            "pixels in all crops",
            vision.max_crops * vision.crop * vision.crop,
            PIXELS,
        ),
    ];
    for (what, size, most) in sizes {
        if size > most {
            return Err(too_many(what, size, most));
        }
    }
    Ok(())
}

fn too_many(what: &str, size: usize, most: usize) -> ConfigError {
    ConfigError::Sizes(format!(
        "it says that it has {size} {what}; at most {most} are possible"
    ))
}
