//! The model's parameters: names, shapes, and random values to start from.
//!
//! The names are those of a Moondream2 checkpoint of 2025-06-21, and two heads beside them that only training has.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Var};
use picsift_vision::moondream::Config;
use rand::Rng;
use rand::rngs::StdRng;

/// Names of the two heads that only training has: they say which shape and which colour a patch shows.
pub(crate) const PATCH_HEADS: [&str; 2] = ["patch.colour", "patch.shape"];

/// Random parameters by name.
pub(crate) fn random(
    config: &Config,
    classes: [usize; 2],
    rng: &mut StdRng,
) -> Result<BTreeMap<String, Var>> {
    let mut variables = BTreeMap::new();
    for (name, shape) in shapes(config, classes) {
        // Layers that write to a residual stream start small, so that deep streams do not start loud.
        let writes = name.contains(".proj.") || name.contains(".blocks") && name.contains("fc2.");
        let scale = match shape.as_slice() {
            _ if name.ends_with("pos_emb") => 0.05,
            _ if name.ends_with("wte") => 0.3,
            [_, width] => 1.0 / (*width as f32).sqrt() * if writes { 0.5 } else { 1.0 },
            _ => 0.0,
        };
        let offset = if name.contains("ln") && name.ends_with("weight") {
            1.0
        } else {
            0.0
        };
        // A uniform distribution of this width has the deviation `scale`.
        let width = scale * 3f32.sqrt();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                if width > 0.0 {
                    rng.random_range(-width..width)
                } else {
                    offset
                }
            })
            .collect();
        variables.insert(name, Var::from_vec(values, shape, &Device::Cpu)?);
    }
    Ok(variables)
}

/// Every parameter's name and shape.
fn shapes(config: &Config, classes: [usize; 2]) -> Vec<(String, Vec<usize>)> {
    let (vision, text) = (&config.vision, &config.text);
    let mut shapes = vec![
        (
            "model.vision.pos_emb".to_owned(),
            vec![1, vision.tokens(), vision.dim],
        ),
        ("model.text.wte".to_owned(), vec![text.vocab, text.dim]),
    ];
    let mut layer = |name: String, output: usize, input: Option<usize>| {
        shapes.push((
            format!("{name}.weight"),
            [Some(output), input].into_iter().flatten().collect(),
        ));
        shapes.push((format!("{name}.bias"), vec![output]));
    };
    let mut mlp = |name: String, input: usize, hidden: usize, output: usize| {
        layer(format!("{name}.fc1"), hidden, Some(input));
        layer(format!("{name}.fc2"), output, Some(hidden));
    };
    for i in 0..vision.layers {
        mlp(
            format!("model.vision.blocks.{i}.mlp"),
            vision.dim,
            vision.ff_dim,
            vision.dim,
        );
    }
    mlp(
        "model.vision.proj_mlp".to_owned(),
        2 * vision.dim,
        vision.projection_dim,
        text.dim,
    );
    for i in 0..text.layers {
        mlp(
            format!("model.text.blocks.{i}.mlp"),
            text.dim,
            text.ff_dim,
            text.dim,
        );
    }
    layer(
        "model.vision.patch_emb".to_owned(),
        vision.dim,
        Some(3 * vision.patch * vision.patch),
    );
    layer("model.vision.post_ln".to_owned(), vision.dim, None);
    layer("model.text.post_ln".to_owned(), text.dim, None);
    layer("model.text.lm_head".to_owned(), text.vocab, Some(text.dim));
    for (name, classes) in PATCH_HEADS.into_iter().zip(classes) {
        layer(name.to_owned(), classes, Some(vision.dim));
    }
    for (part, dim, layers, norms) in [
        ("vision", vision.dim, vision.layers, &["ln1", "ln2"][..]),
        ("text", text.dim, text.layers, &["ln"][..]),
    ] {
        for i in 0..layers {
            let block = format!("model.{part}.blocks.{i}");
            for norm in norms {
                layer(format!("{block}.{norm}"), dim, None);
            }
            layer(format!("{block}.attn.qkv"), 3 * dim, Some(dim));
            layer(format!("{block}.attn.proj"), dim, Some(dim));
        }
    }
    shapes
}
