//! The model's parameters: names, shapes, and random values to start from.
//!
//! The names are those of a Moondream2 checkpoint of 2025-06-21, and two heads beside them that only training has.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};
use picsift_vision::moondream::Config;
use rand::Rng;
use rand::rngs::StdRng;

/// Names of the two heads that only training has: they say which shape and which colour a patch shows.
pub(crate) const PATCH_HEADS: [&str; 2] = ["patch.colour", "patch.shape"];

/// The position embedding of the patches.
const POSITIONS: &str = "model.vision.pos_emb";

/// Sines and cosines of row and column, so that which patches are neighbours need not be found out.
fn positions(grid: usize, dim: usize) -> Vec<f32> {
    let frequencies = dim / 4;
    (0..grid * grid)
        .flat_map(|token| {
            (0..dim).map(move |i| {
                let place = if i < dim / 2 {
                    token / grid
                } else {
                    token % grid
                };
                // From one period over two grids to one over two patches.
                let octave = (i % frequencies) as f32 / frequencies as f32;
                let angle = place as f32 * std::f32::consts::PI * (grid as f32).powf(octave - 1.0);
                0.5 * if (i / frequencies).is_multiple_of(2) {
                    angle.sin()
                } else {
                    angle.cos()
                }
            })
        })
        .collect()
}

/// The layer that reads the patches.
pub(crate) const PATCHES: &str = "model.vision.patch_emb.weight";

/// The longest cosine waves over a patch, each in brightness and two colour contrasts. Random weights see little
/// but a patch's mean colour, and finding edges from there takes most of a short training.
fn waves(patch: usize, dim: usize) -> Vec<f32> {
    const AXES: [[f32; 3]; 3] = [[0.6, 0.6, 0.6], [0.8, -0.8, 0.0], [0.4, 0.4, -0.8]];
    let mut orders: Vec<(usize, usize)> =
        (0..patch * patch).map(|i| (i / patch, i % patch)).collect();
    orders.sort_by_key(|&(u, v)| (u * u + v * v, u));
    let wave = |order: usize, place: usize| {
        ((place as f32 + 0.5) * order as f32 * std::f32::consts::PI / patch as f32).cos()
    };
    (0..dim)
        .flat_map(|i| {
            let (axis, (u, v)) = (AXES[i % 3], orders[i / 3]);
            let scale = if (u, v) == (0, 0) { 1.0 } else { 4.0 } / (patch * patch) as f32;
            (0..3 * patch * patch).map(move |j| {
                let (channel, y, x) = (j / (patch * patch), j / patch % patch, j % patch);
                scale * axis[channel] * wave(u, y) * wave(v, x)
            })
        })
        .collect()
}

/// Random parameters by name.
pub(crate) fn random(
    config: &Config,
    classes: [usize; 2],
    rng: &mut StdRng,
) -> Result<BTreeMap<String, Var>> {
    let mut variables = BTreeMap::new();
    for (name, shape) in shapes(config, classes) {
        let fixed = match name.as_str() {
            POSITIONS => Some(positions(config.vision.grid(), config.vision.dim)),
            PATCHES => Some(waves(config.vision.patch, config.vision.dim)),
            _ => None,
        };
        if let Some(values) = fixed {
            variables.insert(name, Var::from_vec(values, shape, &Device::Cpu)?);
            continue;
        }
        // Layers that write to a residual stream start small, so that deep streams do not start loud.
        let writes = name.contains(".proj.") || name.contains(".blocks") && name.contains("fc2.");
        let scale = match shape.as_slice() {
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
    for layer in 0..config.vision.layers {
        look_near(&format!("model.vision.blocks.{layer}.attn"), &variables)?;
    }
    Ok(variables)
}

/// Changes random attention so that a patch looks at patches like it, near ones before all, and what it takes from them is
/// their difference from itself: keys like queries, and the last layer like the values' negative transpose. This is
/// what trained attention tends to (Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023).
fn look_near(name: &str, variables: &BTreeMap<String, Var>) -> Result<()> {
    let (qkv, proj) = (
        &variables[&format!("{name}.qkv.weight")],
        &variables[&format!("{name}.proj.weight")],
    );
    let dim = proj.dim(0)?;
    let [q, k, v] = [0, 1, 2].map(|part| qkv.narrow(0, part * dim, dim));
    let (q, v) = (q?, v?);
    let k = ((&q * 0.95)? + (k? * 0.3)?)?;
    let back = ((proj.as_tensor() - v.t()?)? * 0.4)?;
    qkv.set(&Tensor::cat(&[&q, &k, &v], 0)?)?;
    proj.set(&back)
}

/// Every parameter's name and shape.
fn shapes(config: &Config, classes: [usize; 2]) -> Vec<(String, Vec<usize>)> {
    let (vision, text) = (&config.vision, &config.text);
    let mut shapes = vec![
        (POSITIONS.to_owned(), vec![1, vision.tokens(), vision.dim]),
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
