//! Logits of eight photographs against those that the reference implementation computed in f32.

use candle_core::{DType, Device, Tensor};
use picsift_vision::efficientnet::{Config, Network};

const WEIGHTS: &[u8] = include_bytes!("../../data/efficientnet-lite0/model.f16.safetensors");
const GOLDENS: &[u8] = include_bytes!("../../data/efficientnet-lite0/goldens.safetensors");

/// Largest difference of a logit from the reference's; the logits lie between -4 and 15.
const TOLERANCE: f32 = 1e-3;

fn network() -> Network {
    Network::from_safetensors(&Config::lite0(), WEIGHTS).unwrap()
}

/// The golden images as bytes `[8, 224, 224, 3]` and their logits `[8, 1000]`.
fn goldens() -> (Tensor, Tensor) {
    let tensors = candle_core::safetensors::load_buffer(GOLDENS, &Device::Cpu).unwrap();
    let mut names: Vec<_> = tensors
        .keys()
        .filter_map(|name| name.strip_prefix("input."))
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), 8);
    let stack = |prefix: &str| {
        let rows: Vec<_> = names
            .iter()
            .map(|name| tensors[&format!("{prefix}.{name}")].clone())
            .collect();
        Tensor::stack(&rows, 0).unwrap()
    };
    // The goldens' input is normalised as (byte - 127) / 128 with channels first.
    let bytes = stack("input")
        .affine(128.0, 127.0)
        .unwrap()
        .round()
        .unwrap()
        .to_dtype(DType::U8)
        .unwrap()
        .permute((0, 2, 3, 1))
        .unwrap()
        .contiguous()
        .unwrap();
    (bytes, stack("logits"))
}

fn distance(left: &Tensor, right: &Tensor) -> f32 {
    let difference = (left - right).unwrap().abs().unwrap();
    difference.max_all().unwrap().to_scalar().unwrap()
}

#[test]
fn logits_agree_with_the_reference() {
    let (images, expected) = goldens();
    let network = network();
    let logits = network.logits(&network.features(&images).unwrap()).unwrap();
    let distance = distance(&logits, &expected);
    println!("largest difference: {distance:e}");
    assert!(distance < TOLERANCE, "{distance}");
}

/// A batch's rows differ from the same images run alone by no more than this.
const BATCH_TOLERANCE: f32 = 1e-5;

#[test]
fn a_batched_row_equals_a_single_row() {
    let (images, _) = goldens();
    let network = network();
    let batched = network.logits(&network.features(&images).unwrap()).unwrap();
    for row in 0..images.dim(0).unwrap() {
        let features = network
            .features(&images.narrow(0, row, 1).unwrap())
            .unwrap();
        let single = network.logits(&features).unwrap();
        let distance = distance(&single, &batched.narrow(0, row, 1).unwrap());
        assert!(distance < BATCH_TOLERANCE, "row {row}: {distance}");
    }
}
