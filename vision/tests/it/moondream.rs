//! The network against the reference's tensors: every stage, every picture, each answer.
//!
//! Tolerances are the golden folders' own. On the CPU in f32, with both kinds of steps: those of every other device, one of
//! candle's operations after another, are held to the same numbers, and so are, with some of the pictures, the units of which the machine
//! has better ones. `examples/gpu_check` is for a GPU.

use candle_core::{D, DType, Device, IndexOp, Tensor};
use picsift_vision::moondream::{
    Config, Layout, Network, OverlapCrops, Prefix, Request, Squash, Stage,
};
use picsift_vision::transformer::{Checkpoint, Format, Steps, Units};
use picsift_vision::{CropPolicy, Generation, Preprocessor, Views};
use serde_json::Value;

use crate::golden_data::{Golden, GoldenImage, folders, ids, prompts};

/// Rows of the 729 tokens that the goldens keep.
fn kept_rows(x: &Tensor) -> Tensor {
    let rows: Vec<u32> = (0..x.dim(0).unwrap() as u32).step_by(28).collect();
    x.index_select(&Tensor::new(rows, x.device()).unwrap(), 0)
        .unwrap()
}

pub(crate) fn config(golden: &Golden, checkpoint: &Checkpoint<'_>) -> Config {
    Config::of(checkpoint, &golden.config_text()).unwrap()
}

pub(crate) fn network(golden: &Golden, format: &Format) -> Network {
    changed_network(golden, format, |_| {})
}

/// The network of a golden folder under a configuration that is changed.
fn changed_network(golden: &Golden, format: &Format, change: impl FnOnce(&mut Config)) -> Network {
    let bytes = golden.model_bytes();
    let checkpoint = Checkpoint::from_bytes("model.safetensors", &bytes).unwrap();
    let mut config = config(golden, &checkpoint);
    assert_eq!(config.layout, golden.layout());
    change(&mut config);
    Network::read(config, &checkpoint, format).unwrap()
}

/// Every golden folder with its network, computed by either kind of steps.
pub(crate) fn networks() -> impl Iterator<Item = (Golden, Network)> {
    networks_with(|_| {})
}

/// The same cutting pictures into four crops at most, for what holds with any number of them.
pub(crate) fn networks_of_few_crops() -> impl Iterator<Item = (Golden, Network)> {
    networks_with(|config| config.vision.max_crops = 4)
}

fn networks_with(change: fn(&mut Config)) -> impl Iterator<Item = (Golden, Network)> {
    folders().into_iter().flat_map(move |golden| {
        let fused = Format::new(&Device::Cpu, None, None);
        [fused.clone(), fused.plain()].map(|format| {
            let network = changed_network(&golden, &format, change);
            (golden.clone(), network)
        })
    })
}

pub(crate) fn views(golden: &Golden, network: &Network, id: &str) -> Views {
    let vision = &network.config().vision;
    let image = golden.rgb(id);
    match golden.layout() {
        Layout::V2025 => OverlapCrops::new(vision, CropPolicy::Reference).views(image),
        Layout::V2024 => Squash::new(vision, CropPolicy::Reference).views(image),
    }
    .unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let on = |x: &Tensor| {
        x.to_device(&Device::Cpu)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
    };
    let difference = (on(a) - on(b))
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap();
    let difference = difference.to_vec1::<f64>().unwrap();
    difference
        .into_iter()
        .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// Comparisons of one golden folder.
struct Check<'a> {
    golden: &'a Golden,
    worst: std::collections::BTreeMap<String, f64>,
}

impl Check<'_> {
    /// Compares with the golden tensor of this name, if the folder has it; says whether it has.
    fn tensor(&mut self, id: &str, name: &str, ours: &Tensor, tolerance: f64) -> bool {
        let Some(theirs) = self.golden.tensor(&format!("{id}.{name}")) else {
            return false;
        };
        self.number(id, name, largest_difference(ours, &theirs), tolerance);
        true
    }

    fn number(&mut self, id: &str, name: &str, difference: f64, tolerance: f64) {
        let worst = self.worst.entry(name.to_owned()).or_default();
        *worst = worst.max(difference);
        assert!(
            difference <= tolerance,
            "{}: {id}.{name} differs by {difference}, more than {tolerance}",
            self.golden.dir.display()
        );
    }
}

#[test]
fn fused_steps_agree_with_the_reference_of_2024() {
    all_agree(Layout::V2024, &Format::new(&Device::Cpu, None, None));
}

#[test]
fn fused_steps_agree_with_the_reference_of_2025() {
    all_agree(Layout::V2025, &Format::new(&Device::Cpu, None, None));
}

#[test]
fn plain_steps_agree_with_the_reference_of_2024() {
    all_agree(
        Layout::V2024,
        &Format::new(&Device::Cpu, None, None).plain(),
    );
}

#[test]
fn plain_steps_agree_with_the_reference_of_2025() {
    all_agree(
        Layout::V2025,
        &Format::new(&Device::Cpu, None, None).plain(),
    );
}

/// Every stage of all pictures, and greedy answers about them.
fn all_agree(layout: Layout, format: &Format) {
    let golden = folders()
        .into_iter()
        .find(|golden| golden.layout() == layout)
        .unwrap();
    let network = network(&golden, format);
    let fused = matches!(format.steps, Steps::Fused(_));
    // A crop more is a view more, of which one picture shows enough in steps that take several times as long.
    let mut cut = 0;
    agrees(&golden, &network, |views| {
        cut += usize::from(views.count() > 1);
        fused || views.count() == 1 || cut == 1
    });
}

/// In f32 there are two ways: that of AVX2, and another for the rest.
#[test]
fn units_of_which_there_are_better_ones_agree_with_the_reference() {
    if Units::best() == Units::Avx2 || !Units::of_this_machine().any(|units| units == Units::Avx2) {
        println!("this machine computes on {} alone", Units::best());
        return;
    }
    let format = Format::new(&Device::Cpu, None, None).with_units(Units::Avx2);
    for golden in folders() {
        let network = network(&golden, &format);
        agrees(&golden, &network, |views| views.count() == 1);
    }
}

/// How many pictures of one view, and of several, are compared at most: an emulator, which takes minutes for each, is told in
/// `PICSIFT_GOLDEN_PICTURES`.
fn most_pictures() -> usize {
    match std::env::var("PICSIFT_GOLDEN_PICTURES") {
        Ok(most) => most.parse().unwrap(),
        Err(_) => usize::MAX,
    }
}

/// Every stage of the pictures of which these views are wanted, what is answered about them, and a question without one.
fn agrees(golden: &Golden, network: &Network, mut wanted: impl FnMut(&Views) -> bool) {
    let mut check = Check {
        golden,
        worst: Default::default(),
    };
    let mut stopped = 0;
    let (mut compared, most) = ([0, 0], most_pictures());
    for image in golden.images() {
        let views = views(golden, network, image.id);
        let kind = &mut compared[usize::from(views.count() > 1)];
        if *kind < most && wanted(&views) {
            *kind += 1;
            let prefix = stages(network, &image, &views, &mut check);
            stopped += answers(network, &image, &prefix, golden);
        }
    }
    assert!(
        stopped > 0 || most < usize::MAX,
        "{}: some answers end by themselves",
        golden.dir.display()
    );
    text_only(network, &mut check);
    println!(
        "{} {:?}: {} pictures of one view, {} of several; largest differences {:?}",
        golden.dir.display(),
        network.format().steps,
        compared[0],
        compared[1],
        check.worst
    );
}

/// Compares what an image becomes, and the logits of all that is asked about it.
fn stages(
    network: &Network,
    image: &GoldenImage<'_>,
    views: &Views,
    check: &mut Check<'_>,
) -> Prefix {
    let (id, golden) = (image.id, check.golden);
    let (grid, heads) = (
        network.config().vision.tokens(),
        network.config().text.heads,
    );
    let mut seen: Vec<(Stage, Tensor)> = Vec::new();
    let prefix = network
        .encode(&[views], &mut |stage, x| seen.push((stage, x.clone())))
        .unwrap();
    let all = |wanted: Stage| -> Vec<Tensor> {
        seen.iter()
            .filter(|(stage, _)| *stage == wanted)
            .map(|(_, x)| x.clone())
            .collect()
    };
    let picked = |x: &Tensor| {
        let rows = Tensor::new(&[0_u32, 364, 728], x.device()).unwrap();
        x.index_select(&rows, 0).unwrap()
    };

    let patches = Tensor::cat(&all(Stage::Patches), 0).unwrap();
    let ours: Vec<Tensor> = (0..patches.dim(0).unwrap())
        .map(|view| picked(&patches.i(view).unwrap()))
        .collect();
    let ours = if golden.layout() == Layout::V2024 {
        Tensor::stack(&ours, 0).unwrap()
    } else {
        ours[0].clone()
    };
    assert!(check.tensor(id, "patch_rows", &ours, 1e-6));
    // Views go through the encoder a few at a time: the first pass has the overview first.
    let blocks = all(Stage::VisionBlock);
    let layers = network.config().vision.layers + 1;
    let ours: Vec<Tensor> = blocks[..layers]
        .iter()
        .map(|x| picked(&x.narrow(0, 0, grid).unwrap()))
        .collect();
    check.tensor(
        id,
        "vision_block_rows",
        &Tensor::stack(&ours, 0).unwrap(),
        1e-4,
    );
    let overview = all(Stage::VisionOut)[0].i(0).unwrap();
    let mut compared = check.tensor(id, "vision_out", &overview, 1e-4);
    compared |= check.tensor(id, "vision_out_rows", &kept_rows(&overview), 1e-4);
    assert!(compared);
    if let Some(stitched) = all(Stage::Stitched).first() {
        let ours = stitched.narrow(D::Minus1, 0, 8).unwrap();
        check.tensor(id, "recon_ch8", &ours, 1e-4);
    }
    // Where there are no tiles these are the overview's, and a folder may leave them out.
    let pooled = all(Stage::Pooled)[0].clone();
    check.tensor(id, "pooled", &pooled, 1e-4);
    check.tensor(id, "pooled_rows", &kept_rows(&pooled), 1e-4);
    let projected = all(Stage::Projected)[0].i(0).unwrap();
    let mut compared = check.tensor(id, "proj", &projected, 2e-4);
    compared |= check.tensor(id, "proj_rows", &kept_rows(&projected), 2e-4);
    assert!(compared);
    for (layer, entry) in image.entry["kv"].as_array().unwrap().iter().enumerate() {
        cache(check, id, &prefix, layer, entry, heads);
    }

    let prompts = prompts(golden);
    let prompts: Vec<&[u32]> = golden
        .asked(id)
        .into_iter()
        .map(|index| prompts[index as usize].as_slice())
        .collect();
    seen.clear();
    // One question alone and all of them packed: the goldens hold for both.
    for questions in [&prompts[..1], &prompts[..]] {
        seen.clear();
        let logits = network
            .logits(
                Some(&prefix),
                questions,
                Some(&mut |_, x| seen.push((Stage::TextBlock, x.clone()))),
            )
            .unwrap();
        let first: Vec<Tensor> = seen.iter().map(|(_, x)| x.i(0).unwrap()).collect();
        check.tensor(
            id,
            "text_block_last",
            &Tensor::stack(&first, 0).unwrap(),
            1e-3,
        );
        let count = questions.len();
        let part = |name: &str| {
            golden
                .tensor(&format!("{id}.{name}"))
                .map(|x| x.narrow(0, 0, count).unwrap())
        };
        let hidden = &seen.last().unwrap().1;
        check.number(
            id,
            "hidden_last",
            largest_difference(hidden, &part("hidden_last").unwrap()),
            1e-3,
        );
        let difference = match (part("logits"), golden.kept_ids()) {
            (Some(theirs), _) => largest_difference(&logits, &theirs),
            (None, Some(kept)) => {
                let kept = Tensor::new(kept, logits.device()).unwrap();
                largest_difference(
                    &logits.index_select(&kept, 1).unwrap(),
                    &part("logits_kept").unwrap(),
                )
            }
            _ => panic!("{id} has no logits"),
        };
        check.number(id, "logits", difference, 5e-4);
        if let Some(theirs) = part("pair_logprob") {
            let pair = &golden.manifest["pair_ids"];
            let pair: Vec<u32> = ["yes", "no"]
                .iter()
                .map(|word| pair[word].as_u64().unwrap() as u32)
                .collect();
            let ours = candle_nn::ops::log_softmax(&logits, 1).unwrap();
            let ours = ours
                .index_select(&Tensor::new(pair, logits.device()).unwrap(), 1)
                .unwrap();
            check.number(id, "pair_logprob", largest_difference(&ours, &theirs), 3e-4);
        }
    }
    prefix
}

/// Statistics and first values of a layer's keys and values.
fn cache(
    check: &mut Check<'_>,
    id: &str,
    prefix: &Prefix,
    layer: usize,
    entry: &Value,
    heads: usize,
) {
    let (keys, values) = prefix.layer(layer).unwrap();
    for (name, x) in [("k", keys), ("v", values)] {
        let x = x
            .i(0)
            .unwrap()
            .to_device(&Device::Cpu)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap();
        let (tokens, width) = x.dims2().unwrap();
        let all = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let std = (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        let golden = &entry[name];
        check.number(
            id,
            "kv_mean_std",
            (mean - golden["mean"].as_f64().unwrap()).abs(),
            1e-5,
        );
        check.number(
            id,
            "kv_mean_std",
            (std - golden["std"].as_f64().unwrap()).abs(),
            1e-5,
        );
        // The reference of 2025 writes rotated pairs next to each other: its slot 2j is j here, 2j + 1 is j + a quarter.
        let head_dim = width / heads;
        let interleaved = name == "k" && check.golden.layout() == Layout::V2025;
        let slot = |at: usize| {
            if interleaved {
                at / 2 + at % 2 * (head_dim / 4)
            } else {
                at
            }
        };
        for (theirs, start) in [
            ("first8", 0),
            ("last_position_first8", tokens * width - head_dim),
        ] {
            let theirs: Vec<f64> = serde_json::from_value(golden[theirs].clone()).unwrap();
            for (at, theirs) in theirs.into_iter().enumerate() {
                check.number(
                    id,
                    "kv_first8",
                    (all[start + slot(at)] - theirs).abs(),
                    3e-4,
                );
            }
        }
    }
}

/// A question without an image, where the folder has one.
fn text_only(network: &Network, check: &mut Check<'_>) {
    let golden = check.golden;
    let Some(prompt) = golden
        .manifest
        .get("text_only")
        .map(|entry| ids(&entry["prompt_ids"]))
    else {
        return;
    };
    let mut last = None;
    let logits = network
        .logits(
            None,
            &[&prompt],
            Some(&mut |_, x| last = Some(x.i(0).unwrap())),
        )
        .unwrap()
        .i(0)
        .unwrap();
    assert!(check.tensor("textonly", "hidden_last", &last.unwrap(), 1e-3));
    let compared = match golden.kept_ids() {
        Some(kept) => {
            let kept = Tensor::new(kept, logits.device()).unwrap();
            check.tensor(
                "textonly",
                "logits_kept",
                &logits.index_select(&kept, 0).unwrap(),
                5e-4,
            )
        }
        None => check.tensor("textonly", "logits", &logits, 5e-4),
    };
    assert!(compared);
}

/// Compares the greedy answers; gives how many of them end by themselves.
fn answers(network: &Network, image: &GoldenImage<'_>, prefix: &Prefix, golden: &Golden) -> usize {
    let prompts = prompts(golden);
    let generation = Generation {
        max_tokens: golden.manifest["greedy_rules"]["max_new_tokens"]
            .as_u64()
            .unwrap() as usize,
        ..Generation::default()
    };
    let greedy = image.entry["greedy"].as_array().unwrap();
    let requests: Vec<Request<'_>> = greedy
        .iter()
        .map(|entry| Request {
            tokens: &prompts[entry["question"].as_u64().unwrap() as usize],
            generation,
        })
        .collect();
    let answers = network.generate(prefix, &requests, &[0]).unwrap().remove(0);
    let mut stopped = 0;
    for (entry, answer) in greedy.iter().zip(answers) {
        let (ours, theirs) = (answer.unwrap(), ids(&entry["ids"]));
        let certain = entry["compare_prefix_len"].as_u64().unwrap() as usize;
        let place = format!(
            "{} {} question {}",
            golden.dir.display(),
            image.id,
            entry["question"]
        );
        assert_eq!(
            ours[..certain.min(ours.len())],
            theirs[..certain],
            "{place}"
        );
        if certain == theirs.len() && entry["stopped_by_eos"] == true {
            assert_eq!(ours, theirs, "{place}");
            stopped += 1;
        }
    }
    stopped
}
