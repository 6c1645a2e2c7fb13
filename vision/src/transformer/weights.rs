//! Layers read from a checkpoint: each asks for its tensors by name and says what shape it needs.

use std::cell::Cell;

use candle_core::{Result, Tensor};
use candle_nn::ops::layer_norm;

use super::checkpoint::{Checkpoint, Read};
use super::format::Format;
use super::linear::Linear;

/// Reads layers from a checkpoint in one number format.
pub(crate) struct Reader<'a> {
    pub(crate) checkpoint: &'a Checkpoint<'a>,
    pub(crate) format: &'a Format,
    /// Bytes that the weights read so far take.
    pub(crate) bytes: Cell<usize>,
    /// Epsilon of every layer norm.
    pub(crate) epsilon: f32,
}

impl Reader<'_> {
    /// A tensor as it is.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Read<Tensor> {
        self.checkpoint
            .tensor(name, shape, self.format.dtype, &self.format.device)
    }

    /// A tensor in the number format that it has in the file.
    pub(crate) fn stored(&self, name: &str, shape: &[usize]) -> Read<Tensor> {
        let dtype = self.checkpoint.dtype(name).unwrap_or(self.format.dtype);
        let tensor = self
            .checkpoint
            .tensor(name, shape, dtype, &self.format.device)?;
        self.count(tensor.elem_count() * dtype.size_in_bytes());
        Ok(tensor)
    }

    fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// `name.weight`, `[outputs, inputs]`, and `name.bias`.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Read<Linear> {
        self.padded_linear(name, (inputs, inputs), (outputs, outputs))
    }

    /// `name.weight`, the filters of a convolution that does not overlap, `[outputs, channels, height, width]`, and `name.bias`, as a
    /// layer over the vectors of its patches.
    pub(crate) fn convolution(&self, name: &str, shape: [usize; 4]) -> Read<Linear> {
        let [outputs, channels, height, width] = shape;
        let file_name = format!("{name}.weight");
        let weight = self.tensor(&file_name, &shape)?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        let linear = weight
            .reshape((outputs, channels * height * width))
            .and_then(|weight| Linear::new(weight, bias, self.format))
            .map_err(|source| self.checkpoint.unusable(&file_name, source))?;
        self.count(linear.weight_bytes());
        Ok(linear)
    }

    /// Layers of equal sizes that take the same inputs, as one: their outputs follow each other.
    pub(crate) fn joined_linear(
        &self,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Read<Linear> {
        if let [name] = names {
            return self.linear(name, inputs, outputs);
        }
        let parts = names.iter().map(|name| {
            Read::Ok((
                self.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
                self.tensor(&format!("{name}.bias"), &[outputs])?,
            ))
        });
        let (weights, biases): (Vec<_>, Vec<_>) =
            parts.collect::<Read<Vec<_>>>()?.into_iter().unzip();
        let build = || {
            let (weight, bias) = (Tensor::cat(&weights, 0)?, Tensor::cat(&biases, 0)?);
            Linear::new(weight, bias, self.format)
        };
        let name = names.first().map_or("", String::as_str);
        let linear = build().map_err(|source| self.checkpoint.unusable(name, source))?;
        self.count(linear.weight_bytes());
        Ok(linear)
    }

    /// The two layers of an MLP, `name.fc1` and `name.fc2`, around a hidden layer that may be padded with zeros: GELU of 0
    /// is 0, so the result is the same.
    pub(crate) fn mlp(
        &self,
        name: &str,
        inputs: usize,
        hidden: usize,
        outputs: usize,
    ) -> Read<[Linear; 2]> {
        let padded = self.format.padded_hidden(hidden);
        Ok([
            self.padded_linear(&format!("{name}.fc1"), (inputs, inputs), (hidden, padded))?,
            self.padded_linear(&format!("{name}.fc2"), (hidden, padded), (outputs, outputs))?,
        ])
    }

    /// `name.weight` and `name.bias` of `width` values.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Read<Norm> {
        Ok(Norm {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.tensor(&format!("{name}.bias"), &[width])?,
            epsilon: self.epsilon,
        })
    }

    fn padded_linear(
        &self,
        name: &str,
        inputs: (usize, usize),
        outputs: (usize, usize),
    ) -> Read<Linear> {
        let file_name = format!("{name}.weight");
        let weight = self.tensor(&file_name, &[outputs.0, inputs.0])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs.0])?;
        let build = || {
            let weight = weight
                .pad_with_zeros(0, 0, outputs.1 - outputs.0)?
                .pad_with_zeros(1, 0, inputs.1 - inputs.0)?;
            let bias = bias.pad_with_zeros(0, 0, outputs.1 - outputs.0)?;
            Linear::new(weight.contiguous()?, bias.contiguous()?, self.format)
        };
        let linear = build().map_err(|source| self.checkpoint.unusable(&file_name, source))?;
        self.count(linear.weight_bytes());
        Ok(linear)
    }
}

/// Layer norm over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    /// The norm with these weights and biases, `[width]` each.
    pub(crate) fn new(weight: Tensor, bias: Tensor, epsilon: f32) -> Self {
        Self {
            weight,
            bias,
            epsilon,
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }
}
