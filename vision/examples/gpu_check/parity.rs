//! Logits of the goldens' small models against those of the reference.

use candle_core::{Device, Tensor};
use picsift_vision::ComputeDtype;
use picsift_vision::moondream::{Network, Stage};
use picsift_vision::transformer::Format;
use serde_json::{Value, json};

use super::golden_data::{Golden, prompts};
use super::{Outcome, Run, largest, network, values, views};

/// What the goldens allow in f32.
const SINGLE: f64 = 5e-4;

/// How much further than bf16 on a CPU a GPU's bf16 may be off, root mean square over all logits. Rounding differs from one
/// order of additions to another, the size of its effect does not.
const HALF: f64 = 1.3;

pub(super) fn run(run: &mut Run) -> Outcome {
    for golden in run.goldens()? {
        match run.args.dtype {
            ComputeDtype::F32 => single(run, &golden)?,
            ComputeDtype::Bf16 => half(run, &golden)?,
        }
    }
    Ok(())
}

fn single(run: &mut Run, golden: &Golden) -> Outcome {
    let ours = network(golden, &run.format())?;
    let (mut worst, mut count) = (0.0_f64, 0);
    for image in golden.images() {
        let views = views(golden, &ours, image.id)?;
        let prefix = ours.encode(&[&views], &mut |_, _| {})?;
        let off = off(golden, image.id, &logits(&ours, &prefix, golden)?)?;
        count += off.len();
        worst = off.iter().map(|off| off.abs()).fold(worst, nan_or_more);
    }
    let holds = worst <= SINGLE && count > 0;
    run.say(
        "parity",
        holds,
        json!({ "goldens": name(golden), "dtype": "f32", "logits": count, "worst": shown(worst), "allowed": SINGLE }),
    );
    if !holds {
        first_difference(run, golden, &ours)?;
    }
    Ok(())
}

/// Where a network leaves the way of the CPU's: the first image's stages, in their order.
fn first_difference(run: &mut Run, golden: &Golden, ours: &Network) -> Outcome {
    let theirs = network(golden, &Format::new(&Device::Cpu, None, None).plain())?;
    let Some(image) = golden.images().next() else {
        return Ok(());
    };
    let views = views(golden, ours, image.id)?;
    let stages = |network: &Network| -> Result<Vec<(Stage, Vec<f32>)>, candle_core::Error> {
        let mut seen = Vec::new();
        let mut failed = None;
        let mut watch = |stage, x: &Tensor| match values(x) {
            Ok(values) => seen.push((stage, values)),
            Err(error) => failed = Some(error),
        };
        let prefix = network.encode(&[&views], &mut watch)?;
        let prompts = prompts(golden);
        network.ask(Some(&prefix), &[&prompts[0]], Some(&mut watch))?;
        failed.map_or(Ok(seen), Err)
    };
    for (at, ((stage, ours), (_, theirs))) in stages(ours)?.iter().zip(stages(&theirs)?).enumerate()
    {
        run.say(
            "stage",
            true,
            json!({ "at": at, "stage": format!("{stage:?}"), "worst": shown(largest(ours, &theirs)) }),
        );
    }
    Ok(())
}

/// Pictures of a folder that are taken through bf16 on a CPU, which has no fast way to compute in it.
const PICTURES: usize = 3;

fn half(run: &mut Run, golden: &Golden) -> Outcome {
    let emulated = Format::new(&Device::Cpu, Some(ComputeDtype::Bf16), None);
    let [ours, emulated] = [run.format(), emulated].map(|format| network(golden, &format));
    let (ours, emulated) = (ours?, emulated?);
    let mut squares = [0.0_f64; 2];
    let mut worst = [0.0_f64; 2];
    let mut count = 0;
    for image in golden.images().take(PICTURES) {
        let views = views(golden, &ours, image.id)?;
        for (at, network) in [&ours, &emulated].into_iter().enumerate() {
            let prefix = network.encode(&[&views], &mut |_, _| {})?;
            let off = off(golden, image.id, &logits(network, &prefix, golden)?)?;
            count += off.len();
            squares[at] += off.iter().map(|off| off * off).sum::<f64>();
            worst[at] = off.iter().map(|off| off.abs()).fold(worst[at], nan_or_more);
        }
    }
    let [ours, emulated] = squares.map(|sum| (sum / (count as f64 / 2.0)).sqrt());
    run.say(
        "parity",
        ours <= HALF * emulated && count > 0,
        json!({
            "goldens": name(golden), "dtype": "bf16", "logits": count / 2, "rms": shown(ours), "rms_cpu": emulated,
            "worst": shown(worst[0]), "worst_cpu": worst[1], "allowed": HALF * emulated,
        }),
    );
    Ok(())
}

/// The logits of all questions about an image, `[questions, vocabulary]`.
fn logits(
    network: &Network,
    prefix: &picsift_vision::moondream::Prefix,
    golden: &Golden,
) -> candle_core::Result<Tensor> {
    let prompts = prompts(golden);
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    network
        .logits(Some(prefix), &prompts, None)?
        .to_device(&Device::Cpu)
}

/// How far they are from the reference's, of those that the folder keeps.
fn off(golden: &Golden, id: &str, ours: &Tensor) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let (ours, theirs) = match (golden.tensor(&format!("{id}.logits")), golden.kept_ids()) {
        (Some(theirs), _) => (ours.clone(), theirs),
        (None, Some(kept)) => {
            let theirs = golden.tensor(&format!("{id}.logits_kept"));
            let kept = Tensor::new(kept, &Device::Cpu)?;
            (ours.index_select(&kept, 1)?, theirs.ok_or("no logits")?)
        }
        _ => return Err(format!("{id} has no logits").into()),
    };
    // A picture may have been asked the first questions only, or some of them.
    let questions = golden.asked(id);
    let index = Tensor::new(questions, &Device::Cpu)?;
    let ours = values(&ours.index_select(&index, 0)?)?;
    let theirs = values(&theirs)?;
    if ours.len() != theirs.len() {
        return Err(format!("{id} has {} logits, not {}", theirs.len(), ours.len()).into());
    }
    let off = ours.iter().zip(theirs);
    Ok(off.map(|(ours, theirs)| f64::from(ours - theirs)).collect())
}

fn nan_or_more(most: f64, off: f64) -> f64 {
    if off > most || off.is_nan() {
        off
    } else {
        most
    }
}

/// JSON has no NaN.
fn shown(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

fn name(golden: &Golden) -> String {
    let name = golden.dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
