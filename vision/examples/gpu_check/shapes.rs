//! Many images and categories at once against few: where a kernel counts further than it can, memory that is not its own
//! is read or written, which shows here and under a memory checker.

use picsift_vision::Views;
use picsift_vision::moondream::{Config, Network};
use picsift_vision::transformer::Checkpoint;
use serde_json::json;

use super::{Outcome, Run, largest, values};

/// As `together` allows, for embeddings whose values are a few units.
const ALLOWED: [f64; 2] = [1e-3, 0.5];

pub(super) fn run(run: &mut Run) -> Outcome {
    let &[images, categories] = run.args.shape.as_slice() else {
        return Err("--shape is IMAGES,CATEGORIES".into());
    };
    // The 2B model's widths and heads, so its launches; two layers of each kind, the last one being a special case.
    let mut config = Config::v2025("{}")?;
    config.vision.layers = 2;
    config.text.layers = 2;
    let network = Network::read(config, &Checkpoint::random(1), &run.format())?;
    let config = network.config();
    let side = config.vision.crop;
    let views: Vec<Views> = (0..images as u32)
        .map(|seed| Views {
            side: side as u32,
            grid: (1, 1),
            data: (0..(side * side * 3) as u32)
                .map(|at| (at.wrapping_add(seed << 20).wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        })
        .collect();
    let views: Vec<&Views> = views.iter().collect();
    let questions: Vec<Vec<u32>> = (0..categories as u32)
        .map(|category| {
            let words = (100..104).chain([1000 + category]).chain(200..210);
            let template = &config.template;
            let before = template.before.iter().copied();
            before
                .chain(words)
                .chain(template.after.iter().copied())
                .collect()
        })
        .collect();
    let questions: Vec<&[u32]> = questions.iter().map(Vec::as_slice).collect();
    let width = config.text.dim;

    let ask = |images: &[&Views], questions: &[&[u32]]| -> candle_core::Result<Vec<f32>> {
        let prefix = network.encode(images, &mut |_, _| {})?;
        values(&network.ask(Some(&prefix), questions, None)?)
    };
    let all = ask(&views, &questions)?;
    let row =
        |image: usize, category: usize| &all[(image * categories + category) * width..][..width];
    let mut worst = 0.0_f64;
    // The first, the last and one between of either.
    for image in [0, images / 2, images - 1] {
        for category in [0, categories / 2, categories - 1] {
            let alone = ask(&views[image..=image], &questions[category..=category])?;
            worst = worst.max(largest(row(image, category), &alone));
        }
    }
    let allowed = ALLOWED[usize::from(network.dtype() != candle_core::DType::F32)];
    run.say(
        "shapes",
        worst <= allowed,
        json!({ "images": images, "categories": categories, "dtype": run.args.dtype.name(), "worst": worst,
                "allowed": allowed }),
    );
    Ok(())
}
