//! What is computed together against the same computed alone: packed questions, batched images.

use picsift_vision::moondream::{Network, Prefix};
use serde_json::json;

use super::golden_data::prompts;
use super::{Outcome, Run, largest, network, values, views};

/// Largest difference of a logit that may come of other things being computed beside it: another order of additions, and in
/// bf16 another rounding of each.
const ALLOWED: [f64; 2] = [1e-4, 0.5];

pub(super) fn run(run: &mut Run) -> Outcome {
    for golden in run.goldens()? {
        let network = network(&golden, &run.format())?;
        let prompts = prompts(&golden);
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let ids: Vec<String> = golden
            .images()
            .map(|image| image.id.to_owned())
            .take(4)
            .collect();
        let views = ids
            .iter()
            .map(|id| views(&golden, &network, id))
            .collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = views.iter().collect();
        let together = network.encode(&views, &mut |_, _| {})?;
        let packed = logits(&network, &together, &prompts)?;
        let (mut questions, mut images) = (0.0_f64, 0.0_f64);
        for (image, views) in views.iter().enumerate() {
            let alone = network.encode(&[views], &mut |_, _| {})?;
            let rows = &packed[image * prompts.len()..][..prompts.len()];
            let own = logits(&network, &alone, &prompts)?;
            for (index, prompt) in prompts.iter().enumerate() {
                images = images.max(largest(&rows[index], &own[index]));
                let single = logits(&network, &alone, &[prompt])?;
                questions = questions.max(largest(&own[index], &single[0]));
            }
        }
        let half = usize::from(network.dtype() != candle_core::DType::F32);
        for (check, worst) in [("packed", questions), ("batch", images)] {
            let allowed = ALLOWED[half];
            run.say(
                check,
                worst <= allowed,
                json!({ "dtype": run.args.dtype.name(), "worst": worst, "allowed": allowed }),
            );
        }
    }
    Ok(())
}

fn logits(
    network: &Network,
    prefix: &Prefix,
    questions: &[&[u32]],
) -> candle_core::Result<Vec<Vec<f32>>> {
    let logits = network.logits(Some(prefix), questions, None)?;
    let vocabulary = logits.dim(1)?;
    Ok(values(&logits)?
        .chunks(vocabulary)
        .map(<[f32]>::to_vec)
        .collect())
}
