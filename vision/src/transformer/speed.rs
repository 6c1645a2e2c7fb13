//! How fast steps are by themselves, for benches: products and attention of given shapes on random input.
//!
//! What a whole model takes says nothing of where it goes. Beside [`conformance`](super::conformance), which asks whether they are right.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{Device, Result, Tensor};

use super::format::Format;
use super::kernels::Keys;
use super::linear::Linear;

/// Seconds of a product of `[rows, inputs]` by weights `[outputs, inputs]`: the best of several in `least` time.
///
/// # Errors
/// The tensor library's.
pub fn product(
    format: &Format,
    (rows, inputs, outputs): (usize, usize, usize),
    least: Duration,
) -> Result<f64> {
    let random = |shape: &[usize]| Tensor::rand(-1_f32, 1.0, shape, &format.device);
    let weight = random(&[outputs, inputs])?.to_dtype(format.dtype)?;
    let bias = random(&[outputs])?.to_dtype(format.dtype)?;
    let linear = Linear::new(weight, bias, format)?;
    let x = random(&[rows, inputs])?.to_dtype(format.dtype)?;
    best(&format.device, least, || linear.product(&x).map(drop))
}

/// Seconds of attention of `[batch, rows, heads * head_dim]` over as many keys, as a network with weights in this format computes it.
///
/// # Errors
/// The tensor library's.
pub fn attention(
    format: &Format,
    (batch, rows, keys): (usize, usize, usize),
    (heads, head_dim): (usize, usize),
    least: Duration,
) -> Result<f64> {
    let format = format.with_rounded_attention();
    let random = |tokens: usize| {
        Tensor::rand(
            -1_f32,
            1.0,
            (batch, tokens, heads * head_dim),
            &format.device,
        )?
        .to_dtype(format.dtype)
    };
    let q = random(rows)?;
    let keys = Keys {
        k: random(keys)?,
        v: random(keys)?,
    };
    best(&format.device, least, || {
        let seen = format.steps.attention(&q, &[&keys], None, heads)?;
        black_box(seen);
        Ok(())
    })
}

/// Seconds of the fastest, the first aside.
fn best(device: &Device, least: Duration, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    step()?;
    device.synchronize()?;
    let (mut fastest, begun) = (Duration::MAX, Instant::now());
    while fastest == Duration::MAX || begun.elapsed() < least {
        let started = Instant::now();
        step()?;
        device.synchronize()?;
        fastest = fastest.min(started.elapsed());
    }
    Ok(fastest.as_secs_f64())
}
