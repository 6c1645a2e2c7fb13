//! The custom ops against candle's own convolutions, over sizes and channels that leave ragged edges.

use candle_core::{DType, Device, Tensor};
use picsift_vision::ops::{
    Depthwise, InvertedResidual, PeakHead, Pointwise, PooledHead, Stem, from_blocks, to_blocks,
};

/// Largest difference from candle's result; the results are of the order of 1.
const TOLERANCE: f32 = 1e-4;

/// Values in -1..1 that look random and are the same on every run.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    let values = values(shape.iter().product(), seed);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Adds TensorFlow's `SAME` padding.
fn padded(x: &Tensor, kernel: usize, stride: usize) -> Tensor {
    let mut x = x.clone();
    for dim in [2, 3] {
        let size = x.dim(dim).unwrap();
        let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        x = x.pad_with_zeros(dim, total / 2, total - total / 2).unwrap();
    }
    x
}

fn convolution(x: &Tensor, w: &Tensor, bias: &[f32], stride: usize, groups: usize) -> Tensor {
    let kernel = w.dim(3).unwrap();
    let bias = Tensor::new(bias, &Device::Cpu).unwrap();
    padded(x, kernel, stride)
        .conv2d(w, 0, stride, 1, groups)
        .unwrap()
        .broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap())
        .unwrap()
}

fn relu6(x: &Tensor) -> Tensor {
    x.clamp(0.0, 6.0).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims());
    let distance = (actual - expected).unwrap().abs().unwrap();
    let distance: f32 = distance.max_all().unwrap().to_scalar().unwrap();
    assert!(distance < TOLERANCE, "{distance} in {:?}", actual.shape());
}

#[test]
fn pointwise_is_candles_convolution() {
    for (n, inputs, outputs, h, w) in [
        (1, 1, 1, 1, 1),
        (2, 3, 5, 3, 7),
        (1, 27, 32, 5, 5),
        (3, 40, 112, 7, 7),
        (1, 33, 200, 2, 9),
    ] {
        let x = tensor(&[n, inputs, h, w], 1);
        let weights = tensor(&[outputs, inputs, 1, 1], 2);
        let bias = values(outputs, 3);
        for relu in [false, true] {
            let op = Pointwise::new(inputs, &flat(&weights), &bias, relu).unwrap();
            let y = to_blocks(&x).unwrap().apply_op1_no_bwd(&op).unwrap();
            let plain = convolution(&x, &weights, &bias, 1, 1);
            let expected = if relu { relu6(&plain) } else { plain };
            assert_close(&from_blocks(&y, outputs).unwrap(), &expected);
        }
    }
}

#[test]
fn depthwise_is_candles_grouped_convolution() {
    for (n, channels, h, w) in [(1, 1, 1, 1), (2, 24, 7, 5), (1, 40, 13, 11), (1, 16, 8, 30)] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let x = tensor(&[n, channels, h, w], 4);
            let weights = tensor(&[channels, 1, kernel, kernel], 5);
            let bias = values(channels, 6);
            let op = Depthwise::new(kernel, stride, &flat(&weights), &bias).unwrap();
            let y = to_blocks(&x).unwrap().apply_op1_no_bwd(&op).unwrap();
            let expected = relu6(&convolution(&x, &weights, &bias, stride, channels));
            assert_close(&from_blocks(&y, channels).unwrap(), &expected);
        }
    }
}

#[test]
fn an_inverted_residual_is_its_layers_one_after_the_other() {
    // The larger images are computed in several strips, the smaller ones whole.
    for (n, inputs, hidden, outputs, h, w) in [
        (2, 16, 96, 16, 7, 7),
        (1, 24, 144, 24, 57, 60),
        (1, 40, 240, 80, 29, 28),
        (3, 24, 24, 20, 6, 9),
        (1, 16, 480, 16, 40, 3),
    ] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let x = tensor(&[n, inputs, h, w], 7);
            // Small weights, so that ReLU6 cuts some values and not most.
            let scaled = |shape: &[usize], seed| (tensor(shape, seed) * 0.2).unwrap();
            let expand = scaled(&[hidden, inputs, 1, 1], 8);
            let filter = scaled(&[hidden, 1, kernel, kernel], 9);
            let project = scaled(&[outputs, hidden, 1, 1], 10);
            let (b1, b2, b3) = (values(hidden, 11), values(hidden, 12), values(outputs, 13));

            let expands = hidden != inputs;
            let op = InvertedResidual::new(
                expands.then(|| Pointwise::new(inputs, &flat(&expand), &b1, true).unwrap()),
                Depthwise::new(kernel, stride, &flat(&filter), &b2).unwrap(),
                Pointwise::new(hidden, &flat(&project), &b3, false).unwrap(),
            )
            .unwrap();
            let y = to_blocks(&x).unwrap().apply_op1_no_bwd(&op).unwrap();

            let middle = if expands {
                relu6(&convolution(&x, &expand, &b1, 1, 1))
            } else {
                x.clone()
            };
            let middle = relu6(&convolution(&middle, &filter, &b2, stride, hidden));
            let mut expected = convolution(&middle, &project, &b3, 1, 1);
            if stride == 1 && inputs == outputs {
                expected = (expected + &x).unwrap();
            }
            assert_close(&from_blocks(&y, outputs).unwrap(), &expected);
        }
    }
}

#[test]
fn stem_and_head_are_candles_layers() {
    let bytes: Vec<u8> = values(2 * 11 * 14 * 3, 14)
        .into_iter()
        .map(|value| (value * 127.0 + 128.0) as u8)
        .collect();
    let images = Tensor::from_vec(bytes, (2, 11, 14, 3), &Device::Cpu).unwrap();
    let weights = tensor(&[20, 3, 3, 3], 15);
    let bias = values(20, 16);
    let stem = Stem::new((127.0, 128.0), &flat(&weights), &bias).unwrap();
    let y = images.apply_op1_no_bwd(&stem).unwrap();
    let x = images.to_dtype(DType::F32).unwrap();
    let x = x.permute((0, 3, 1, 2)).unwrap();
    let x = x.affine(1.0 / 128.0, -127.0 / 128.0).unwrap();
    let expected = relu6(&convolution(&x, &weights, &bias, 2, 1));
    assert_close(&from_blocks(&y, 20).unwrap(), &expected);

    let weights = tensor(&[48, 20, 1, 1], 17);
    let bias = values(48, 18);
    let head = PooledHead::new(Pointwise::new(20, &flat(&weights), &bias, true).unwrap());
    let pooled = y.apply_op1_no_bwd(&head).unwrap();
    let expected = relu6(&convolution(&expected, &weights, &bias, 1, 1));
    assert_close(&pooled, &expected.mean((2, 3)).unwrap());
}

#[test]
fn a_peak_head_is_the_maximum_of_candles_convolution() {
    for (n, inputs, outputs, h, w) in [
        (1, 1, 1, 1, 1),
        (2, 20, 5, 1, 3),
        (2, 33, 7, 4, 1),
        (3, 16, 18, 5, 6),
        (1, 40, 50, 2, 2),
    ] {
        let x = tensor(&[n, inputs, h, w], 20);
        let weights = tensor(&[outputs, inputs, 3, 3], 21);
        let bias = values(outputs, 22);
        // The head's weights have the taps before the inputs.
        let by_tap = weights.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        let head = PeakHead::new(inputs, &flat(&by_tap), &bias).unwrap();
        let peaks = to_blocks(&x).unwrap().apply_op1_no_bwd(&head).unwrap();
        let plain = convolution(&x, &weights, &bias, 1, 1);
        let expected = plain.flatten_from(2).unwrap().max(2).unwrap();
        assert_close(&peaks, &expected);
    }
}

#[test]
fn layers_that_do_not_fit_together_are_refused() {
    assert!(Pointwise::new(3, &[0.0; 5], &[0.0; 2], true).is_err());
    assert!(Depthwise::new(4, 1, &[0.0; 16], &[0.0]).is_err());
    assert!(Depthwise::new(3, 1, &[0.0; 8], &[0.0]).is_err());
    assert!(Stem::new((0.0, 1.0), &[0.0; 26], &[0.0]).is_err());
    assert!(PeakHead::new(2, &[0.0; 17], &[0.0]).is_err());
    assert!(PeakHead::new(2, &[], &[]).is_err());
    let depthwise = Depthwise::new(3, 1, &[0.0; 18], &[0.0; 2]).unwrap();
    let project = Pointwise::new(3, &[0.0; 3], &[0.0], false).unwrap();
    assert!(InvertedResidual::new(None, depthwise.clone(), project).is_err());
    let wrong = tensor(&[1, 2, 4, 4, 16], 19);
    assert!(wrong.apply_op1_no_bwd(&depthwise).is_err());
}
