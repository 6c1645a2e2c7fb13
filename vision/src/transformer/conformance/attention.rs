//! Attention against its definition.

use candle_core::Result;

use super::super::kernels::{Keys, Steps};
use super::{Deviation, Input, Suite, dot};

/// The sizes of an attention.
pub(super) struct Shape {
    batch: usize,
    heads: usize,
    head_dim: usize,
    rows: usize,
    keys: Vec<usize>,
    masked: bool,
}

impl Shape {
    pub(super) fn new(batch: usize, heads: usize, head_dim: usize) -> Self {
        Self {
            batch,
            heads,
            head_dim,
            rows: 1,
            keys: Vec::new(),
            masked: false,
        }
    }

    pub(super) fn rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    pub(super) fn keys(self, keys: &[usize]) -> Self {
        Self {
            keys: keys.to_vec(),
            ..self
        }
    }

    pub(super) fn masked(self) -> Self {
        Self {
            masked: true,
            ..self
        }
    }
}

impl Suite<'_> {
    pub(super) fn attention(&self, shape: &Shape) -> Result<Deviation> {
        let &Shape {
            batch,
            heads,
            head_dim,
            rows,
            ..
        } = shape;
        let width = heads * head_dim;
        let q = self.input(&[batch, rows, width])?;
        let pieces: Vec<(Input, Input)> = shape
            .keys
            .iter()
            .map(|&keys| {
                let shape = [batch, keys, width];
                Ok((self.input(&shape)?, self.input(&shape)?))
            })
            .collect::<Result<_>>()?;
        let last = shape.keys.last().copied().unwrap_or(0);
        // Every query sees itself and each third key before it, as in a tree of questions.
        let first = last.saturating_sub(rows);
        let sees = |row: usize, key: usize| {
            !shape.masked || key == first + row || (key < first + row && key.is_multiple_of(3))
        };
        let mask: Vec<f32> = (0..rows * last)
            .map(|at| match sees(at / last, at % last) {
                true => 0.0,
                false => f32::NEG_INFINITY,
            })
            .collect();
        let steps = self.format.steps;
        let mask = steps.mask(mask, (rows, last), &self.format.device)?;
        let keys: Vec<Keys> = pieces
            .iter()
            .map(|(k, v)| Keys {
                k: k.tensor.clone(),
                v: v.tensor.clone(),
            })
            .collect();
        let keys: Vec<&Keys> = keys.iter().collect();
        self.poison(batch * rows * width)?;
        let mask = shape.masked.then_some(&mask);
        let ours = steps.attention(&q.tensor, &keys, mask, heads)?;

        let scale = 1.0 / (head_dim as f64).sqrt();
        let mut expected = vec![0.0; batch * rows * width];
        for (place, out) in expected.chunks_exact_mut(head_dim).enumerate() {
            let (image, row, head) = (place / heads / rows, place / heads % rows, place % heads);
            let query = &q.values[place * head_dim..][..head_dim];
            let mut seen: Vec<(f64, &[f64])> = Vec::new();
            for (index, (k, v)) in pieces.iter().enumerate() {
                let count = shape.keys[index];
                for key in 0..count {
                    if index + 1 < pieces.len() || sees(row, key) {
                        let at = ((image * count + key) * heads + head) * head_dim;
                        let score = scale * dot(query, &k.values[at..][..head_dim]);
                        seen.push((score, &v.values[at..][..head_dim]));
                    }
                }
            }
            let top = seen
                .iter()
                .map(|(score, _)| *score)
                .fold(f64::MIN, f64::max);
            let sum: f64 = seen.iter().map(|(score, _)| (score - top).exp()).sum();
            for (score, value) in seen {
                let weight = (score - top).exp() / sum;
                for (out, value) in out.iter_mut().zip(value) {
                    *out += weight * value;
                }
            }
        }
        let shape = format!(
            "{batch} x {rows}, {heads} heads of {head_dim}, keys {:?}{}",
            shape.keys,
            if shape.masked { " masked" } else { "" }
        );
        // candle's softmax sums bf16 in bf16 on a CPU and in f32 on a GPU.
        let half = if self.format.device.is_cpu() {
            0.15
        } else {
            3e-2
        };
        let single = match self.format.steps {
            Steps::Fused(cpu) if cpu.bf16 => 1e-2,
            _ => 1e-5,
        };
        self.compare("attention", shape, &ours, &expected, [single, half])
    }
}
