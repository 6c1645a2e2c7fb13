//! Every step of the network against its definition, computed in f64: whatever computes them must agree.
//!
//! One suite for all kinds of steps, number formats and devices, called by the tests on the CPU and by the check of a GPU.
//! It owns definitions and tolerances; it knows nothing of models or checkpoints.

mod attention;

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

use super::format::Format;
use super::kernels::{Rotary, Steps};
use super::linear::Linear;
use super::patches::{on_device, prepared};
use super::weights::Norm;
use attention::Shape;

/// How far one step is from its definition, for inputs of one shape.
#[derive(Debug, Clone)]
pub struct Deviation {
    /// The step.
    pub step: &'static str,
    /// The shape of its inputs.
    pub shape: String,
    /// The largest `|ours - exact| / (1 + |exact|)`; NaN where ours has one, as an output has that was not written.
    pub worst: f64,
    /// What it may be at most.
    pub allowed: f64,
}

impl Deviation {
    /// Whether it is within what is allowed.
    pub fn holds(&self) -> bool {
        self.worst <= self.allowed
    }
}

/// Takes every step through shapes that a network has and some that are awkward: one row, odd counts, heads of 64 and 72.
///
/// # Errors
/// The tensor library's.
pub fn deviations(format: &Format) -> Result<Vec<Deviation>> {
    let suite = Suite {
        format,
        seed: Cell::new(1),
    };
    let mut found = Vec::new();
    for (rows, width) in [(1, 64), (7, 72), (193, 1152), (730, 2048)] {
        found.extend(suite.rows(rows, width)?);
        found.push(suite.choose(rows, width)?);
    }
    for (rows, inputs, outputs) in [(1, 64, 3), (7, 588, 1152), (130, 2048, 300)] {
        found.extend(suite.products(rows, inputs, outputs)?);
    }
    for (views, side, patch) in [(1, 28, 14), (3, 45, 14), (2, 378, 14)] {
        found.push(suite.patches(views, side, patch)?);
    }
    for (batch, tokens, heads, head_dim) in [(1, 1, 1, 64), (3, 37, 2, 64), (2, 730, 4, 64)] {
        found.push(suite.rotate(batch, tokens, heads, head_dim)?);
    }
    // Heads of the vision encoder and of the language model; queries, keys of the prefix, keys of their own.
    for shape in [
        Shape::new(1, 1, 72).rows(1).keys(&[1]),
        Shape::new(2, 3, 72).rows(729).keys(&[729]),
        Shape::new(2, 2, 64).rows(37).keys(&[37]).masked(),
        Shape::new(3, 2, 64).rows(5).keys(&[730, 5]).masked(),
        Shape::new(1, 2, 64).rows(97).keys(&[211, 97]).masked(),
        Shape::new(2, 1, 64).rows(3).keys(&[19, 14]).masked(),
        // A head of an odd number of dimensions, more than one vector of them, keys that end within a pair.
        Shape::new(1, 3, 33).rows(26).keys(&[17, 5, 3]),
    ] {
        found.push(suite.attention(&shape)?);
    }
    Ok(found)
}

/// The format itself where each kind of step agrees with its definition on its device, else, with a warning, the same with plain
/// steps: a card or a driver on which a kernel goes wrong costs time and no answers. Takes a fraction of a second.
pub(crate) fn checked(format: &Format) -> Format {
    match format.steps {
        Steps::Fused(_) | Steps::Plain => format.clone(),
        #[cfg(feature = "cuda")]
        Steps::Cuda(_) => {
            let wrong = match few(&format.apart()) {
                Ok(found) => found.into_iter().find(|found| !found.holds()),
                Err(error) => {
                    tracing::warn!(%error, "fused steps cannot be computed; plain ones are taken");
                    return format.clone().plain();
                }
            };
            match wrong {
                None => format.clone(),
                Some(wrong) => {
                    tracing::warn!(?wrong, "fused steps are wrong here; plain ones are taken");
                    format.clone().plain()
                }
            }
        }
    }
}

/// Each kind of step once.
#[cfg(feature = "cuda")]
fn few(format: &Format) -> Result<Vec<Deviation>> {
    let suite = Suite {
        format,
        seed: Cell::new(1),
    };
    let mut found = suite.rows(7, 1152)?;
    found.push(suite.choose(7, 1152)?);
    found.extend(suite.products(65, 1152, 304)?);
    found.push(suite.patches(2, 45, 14)?);
    found.push(suite.rotate(2, 37, 2, 64)?);
    for shape in [
        Shape::new(1, 2, 72).rows(131).keys(&[131]),
        Shape::new(2, 2, 64).rows(37).keys(&[131, 37]).masked(),
    ] {
        found.push(suite.attention(&shape)?);
    }
    Ok(found)
}

struct Suite<'a> {
    format: &'a Format,
    seed: Cell<u64>,
}

/// A tensor as the step takes it, and what is in it.
struct Input {
    tensor: Tensor,
    values: Vec<f64>,
}

impl Suite<'_> {
    /// Random numbers from -2 to 2, as the number format holds them.
    fn input(&self, shape: &[usize]) -> Result<Input> {
        let mut state = self.seed.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        self.seed.set(self.seed.get() + 1);
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|_| {
                // Xorshift (Marsaglia 2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1_u32 << 24) as f32 * 4.0 - 2.0
            })
            .collect();
        let held = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.format.dtype)?;
        Ok(Input {
            tensor: held.to_device(&self.format.device)?,
            values: exact(&held)?,
        })
    }

    /// Leaves NaN in the memory that the next tensor of so many elements is likely to get.
    fn poison(&self, elements: usize) -> Result<()> {
        let (device, dtype) = (&self.format.device, self.format.dtype);
        Tensor::full(f32::NAN, elements, device)?.to_dtype(dtype)?;
        device.synchronize()
    }

    /// Compares; `exact` and `half` are what f32 and bf16 may be off.
    fn compare(
        &self,
        step: &'static str,
        shape: String,
        ours: &Tensor,
        expected: &[f64],
        [single, half]: [f64; 2],
    ) -> Result<Deviation> {
        let ours = exact(ours)?;
        if ours.len() != expected.len() {
            candle_core::bail!("{step} of {shape} gave {} values", ours.len());
        }
        let off = ours
            .iter()
            .zip(expected)
            .map(|(ours, exact)| (ours - exact).abs() / (1.0 + exact.abs()));
        let worst = off.fold(0.0, |worst, off| {
            if off > worst || off.is_nan() {
                off
            } else {
                worst
            }
        });
        Ok(Deviation {
            step,
            shape,
            worst,
            allowed: if self.format.dtype == DType::F32 {
                single
            } else {
                half
            },
        })
    }

    /// Bias, activation, residual sum and norm of rows.
    fn rows(&self, rows: usize, width: usize) -> Result<Vec<Deviation>> {
        let steps = self.format.steps;
        let shape = || format!("{rows} x {width}");
        let fresh = |x: &Input| x.tensor.copy();
        let x = self.input(&[rows, width])?;
        let y = self.input(&[rows, width])?;
        let bias = self.input(&[width])?;
        let column = |at: usize| at % width;

        self.poison(rows * width)?;
        let ours = steps.add_bias(fresh(&x)?, &bias.tensor)?;
        let expected: Vec<f64> = (0..rows * width)
            .map(|at| x.values[at] + bias.values[column(at)])
            .collect();
        let add_bias = self.compare("add bias", shape(), &ours, &expected, [1e-6, 8e-3])?;

        self.poison(rows * width)?;
        let ours = steps.bias_gelu(fresh(&x)?, &bias.tensor)?;
        let gelu: Vec<f64> = expected.iter().map(|&x| gelu(x)).collect();
        let bias_gelu = self.compare("bias and gelu", shape(), &ours, &gelu, [2e-6, 1.6e-2])?;

        self.poison(rows * width)?;
        let ours = steps.residual(&x.tensor, fresh(&y)?, &bias.tensor)?;
        let sum: Vec<f64> = expected.iter().zip(&y.values).map(|(x, y)| x + y).collect();
        let residual = self.compare("residual", shape(), &ours, &sum, [1e-6, 1.6e-2])?;

        self.poison(rows * width)?;
        let norm = Norm::new(y.tensor.get(0)?, bias.tensor.clone(), 1e-5);
        let ours = norm.forward(&x.tensor)?;
        let mut expected = Vec::with_capacity(rows * width);
        for row in x.values.chunks_exact(width) {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            expected.extend(
                row.iter()
                    .enumerate()
                    .map(|(at, x)| (x - mean) * scale * y.values[at] + bias.values[at]),
            );
        }
        let norm = self.compare("layer norm", shape(), &ours, &expected, [5e-6, 1.6e-2])?;
        Ok(vec![add_bias, bias_gelu, residual, norm])
    }

    /// The likeliest of each row; what is counted is the rows in which it is another.
    fn choose(&self, rows: usize, width: usize) -> Result<Deviation> {
        let logits = self.input(&[rows, width])?;
        // What is likeliest in the first row is barred in all.
        let highest = |row: &[f64], barred: Option<u32>| {
            let mut best = None;
            for (id, &x) in (0_u32..).zip(row) {
                if Some(id) != barred && best.is_none_or(|(_, top)| x > top) {
                    best = Some((id, x));
                }
            }
            best.map(|(id, _)| id)
        };
        let barred = highest(&logits.values[..width], None);
        let chosen = self.format.steps.choose(&logits.tensor, barred)?;
        let expected = logits.values.chunks_exact(width);
        let wrong = chosen
            .iter()
            .zip(expected)
            .filter(|(chosen, row)| **chosen != highest(row, barred));
        Ok(Deviation {
            step: "choose",
            shape: format!("{rows} x {width}"),
            worst: (wrong.count() + chosen.len().abs_diff(rows)) as f64,
            allowed: 0.0,
        })
    }

    /// A product by itself and with what follows it.
    fn products(&self, rows: usize, inputs: usize, outputs: usize) -> Result<Vec<Deviation>> {
        let steps = self.format.steps;
        let x = self.input(&[rows, inputs])?;
        let weight = self.input(&[outputs, inputs])?;
        let bias = self.input(&[outputs])?;
        let through = self.input(&[rows, outputs])?;
        let plain = Format {
            quantize: None,
            ..self.format.clone()
        };
        let linear = Linear::new(weight.tensor.clone(), bias.tensor.clone(), &plain)?;
        let product: Vec<f64> = x
            .values
            .chunks_exact(inputs)
            .flat_map(|x| {
                weight
                    .values
                    .chunks_exact(inputs)
                    .map(|weight| dot(x, weight))
            })
            .collect();
        let with_bias = product
            .iter()
            .zip(bias.values.iter().cycle())
            .map(|(product, bias)| product + bias);
        let with_bias: Vec<f64> = with_bias.collect();
        let shape = || format!("{rows} x {inputs} x {outputs}");
        // Roundings of a sum wander off with the root of their number; of TF32's they would be a thousand times larger.
        let single = 4e-6 * (inputs as f64).sqrt();
        // Where what follows makes a large product small, its rounding stays.
        let largest = product.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let followed = [2.0 * single, 8e-3 + largest / 256.0];

        self.poison(rows * outputs)?;
        let ours = linear.product(&x.tensor)?;
        let alone = self.compare("product", shape(), &ours, &product, [single, 8e-3])?;
        self.poison(rows * outputs)?;
        let ours = linear.forward(steps, &x.tensor)?;
        let biased = self.compare("product and bias", shape(), &ours, &with_bias, followed)?;
        self.poison(rows * outputs)?;
        let ours = linear.gelu(steps, &x.tensor)?;
        let expected: Vec<f64> = with_bias.iter().map(|&x| gelu(x)).collect();
        let active = self.compare("product and gelu", shape(), &ours, &expected, followed)?;
        let sum = |product: &[f64]| -> Vec<f64> {
            let both = product.iter().zip(&through.values);
            both.map(|(product, through)| product + through).collect()
        };
        self.poison(rows * outputs)?;
        let ours = linear.add_to(steps, &through.tensor, &x.tensor, None)?;
        let added = self.compare("product and sum", shape(), &ours, &sum(&product), followed)?;
        self.poison(rows * outputs)?;
        let bias = Some(linear.bias());
        let ours = linear.add_to(steps, &through.tensor, &x.tensor, bias)?;
        let expected = sum(&with_bias);
        let both = self.compare("product, bias, sum", shape(), &ours, &expected, followed)?;
        Ok(vec![alone, biased, active, added, both])
    }

    fn patches(&self, views: usize, side: usize, patch: usize) -> Result<Deviation> {
        let pixels: Vec<u8> = self
            .input(&[views * side * side * 3])?
            .values
            .iter()
            .map(|x| (x * 63.0 + 128.0) as u8)
            .collect();
        let grid = side / patch;
        self.poison(views * grid * grid * 3 * patch * patch)?;
        let ready = prepared(&pixels, (side, patch), self.format)?;
        let ours = on_device(&[&ready], patch, self.format)?;
        let mut expected = Vec::with_capacity(ours.elem_count());
        for place in 0..views * grid * grid {
            let (view, place) = (place / (grid * grid), place % (grid * grid));
            let (top, left) = (place / grid * patch, place % grid * patch);
            for at in 0..3 * patch * patch {
                let (channel, row, column) = (at / (patch * patch), at / patch % patch, at % patch);
                let pixel = (view * side + top + row) * side + left + column;
                expected.push((f64::from(pixels[pixel * 3 + channel]) / 255.0 - 0.5) / 0.5);
            }
        }
        let shape = format!("{views} of {side}, patches of {patch}");
        self.compare("patches", shape, &ours, &expected, [1e-6, 8e-3])
    }

    fn rotate(
        &self,
        batch: usize,
        tokens: usize,
        heads: usize,
        head_dim: usize,
    ) -> Result<Deviation> {
        let width = 3 * heads * head_dim;
        let qkv = self.input(&[batch, tokens, width])?;
        // Positions as a tree of questions has them: some more than once, not from 0.
        let positions: Vec<u32> = (0..tokens as u32).map(|at| at + 3 - at % 3).collect();
        let all = Rotary::new(head_dim, tokens + 4, self.format)?;
        self.poison(batch * tokens * width)?;
        let rotary = all.at(&positions)?;
        let steps = self.format.steps;
        let (q, room) = steps.rotate(qkv.tensor.copy()?, &rotary, heads, None)?;
        let keys = room.keys()?;
        let ours = Tensor::cat(&[q, keys.k, keys.v], 2)?;
        let half = head_dim / 4;
        let mut expected = qkv.values;
        for (row, values) in expected.chunks_exact_mut(width).enumerate() {
            let position = f64::from(positions[row % tokens]);
            for head in values[..2 * heads * head_dim].chunks_exact_mut(head_dim) {
                for j in 0..half {
                    let angle = position * 10_000_f64.powf(-2.0 * j as f64 / (2 * half) as f64);
                    let (a, b) = (head[j], head[j + half]);
                    head[j] = a * angle.cos() - b * angle.sin();
                    head[j + half] = a * angle.sin() + b * angle.cos();
                }
            }
        }
        let shape = format!("{batch} x {tokens}, {heads} heads of {head_dim}");
        self.compare("rotate", shape, &ours, &expected, [2e-4, 2.4e-2])
    }
}

/// GELU in the tanh form.
fn gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The values of a tensor.
fn exact(x: &Tensor) -> Result<Vec<f64>> {
    x.to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}

#[cfg(test)]
mod tests {
    use super::super::Units;
    use super::*;
    use crate::options::{ComputeDtype, Quantization};

    #[test]
    fn every_kind_of_step_agrees_with_its_definition() {
        let single = Format::new(&Device::Cpu, None, None);
        let half = Format::new(&Device::Cpu, Some(ComputeDtype::Bf16), None);
        let quantised = Format::new(&Device::Cpu, None, Some(Quantization::Q8_0));
        let quantised = quantised.with_rounded_attention();
        let mut formats = vec![single.clone().plain(), half];
        for units in Units::tested() {
            formats.push(single.clone().with_units(units));
            formats.push(quantised.clone().with_units(units));
        }
        for format in formats {
            let found = deviations(&format).unwrap();
            let wrong: Vec<_> = found.iter().filter(|found| !found.holds()).collect();
            assert!(
                wrong.is_empty(),
                "{:?} {:?}: {wrong:#?}",
                format.dtype,
                format.steps
            );
            for step in ["attention", "bias and gelu", "rotate", "layer norm"] {
                let of_step = found.iter().filter(|found| found.step == step);
                let worst = of_step.map(|found| found.worst).fold(0.0, f64::max);
                println!("{:?} {:?} {step}: {worst:.1e}", format.dtype, format.steps);
            }
        }
    }
}
