//! A linear layer in the number format that its weights are kept in.
//!
//! The bias is left to the caller's next step, which touches every output anyway and adds it there.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};

use crate::Quantization;

/// How weights are kept.
#[derive(Debug, Clone)]
pub(super) struct Format {
    pub(super) device: Device,
    /// The number format of activations, and of weights that are not quantised.
    pub(super) dtype: DType,
    pub(super) quantize: Option<Quantization>,
}

/// Weights `[outputs, inputs]` and a bias `[outputs]`.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    weight: Weight,
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Weight {
    Dense(Tensor),
    Quantised(QMatMul),
}

impl Format {
    /// The number format of the blocks that rows of `inputs` weights are kept in: what was asked for if they are a whole
    /// number of its blocks, else 8 bits if of those, else none.
    fn blocks(&self, inputs: usize) -> Option<GgmlDType> {
        let wanted: &[GgmlDType] = match self.quantize {
            None => &[],
            Some(Quantization::Q8_0) => &[GgmlDType::Q8_0],
            Some(Quantization::Q4K) => &[GgmlDType::Q4K, GgmlDType::Q8_0],
        };
        wanted
            .iter()
            .copied()
            .find(|dtype| inputs.is_multiple_of(dtype.block_size()))
    }

    /// The width to which a hidden layer is padded with zeros, so that the products over it can be quantised.
    pub(super) fn padded_hidden(&self, width: usize) -> usize {
        match self.quantize {
            None => width,
            Some(Quantization::Q8_0) => width.next_multiple_of(GgmlDType::Q8_0.block_size()),
            Some(Quantization::Q4K) => width.next_multiple_of(GgmlDType::Q4K.block_size()),
        }
    }
}

impl Linear {
    /// A layer of these weights and bias, in `format.dtype` and on its device.
    ///
    /// # Errors
    /// When the weights cannot be quantised.
    pub(super) fn new(weight: Tensor, mut bias: Tensor, format: &Format) -> Result<Self> {
        let weight = match format.blocks(weight.dim(1)?) {
            Some(blocks) => {
                // Blocks hold numbers only: an output with weights that are none has it in its bias.
                bias = (bias + not_finite(&weight)?.squeeze(1)?)?;
                let quantised = QTensor::quantize(&weight, blocks)?;
                Weight::Quantised(QMatMul::from_qtensor(quantised)?)
            }
            None => Weight::Dense(weight),
        };
        Ok(Self { weight, bias })
    }

    /// A layer that is not quantised.
    pub(super) fn dense(weight: Tensor, bias: Tensor) -> Self {
        Self {
            weight: Weight::Dense(weight),
            bias,
        }
    }

    /// `x` times the weights, `[rows, inputs]` to `[rows, outputs]`, without the bias.
    pub(super) fn product(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Dense(weight) => x.matmul(&weight.t()?),
            Weight::Quantised(weight) => {
                // The product brings `x` into blocks too, in which what is not finite would become a number.
                let product = weight.forward(x)?;
                let mark = not_finite(x)?;
                let on_cpu = x.device().is_cpu();
                if on_cpu && mark.sum_all()?.to_scalar::<f32>()? == 0.0 {
                    return Ok(product);
                }
                product.broadcast_add(&mark)
            }
        }
    }

    /// Bytes of the weights.
    pub(super) fn weight_bytes(&self) -> usize {
        match &self.weight {
            Weight::Dense(weight) => weight.elem_count() * weight.dtype().size_in_bytes(),
            Weight::Quantised(QMatMul::QTensor(weight)) => weight.storage_size_in_bytes(),
            Weight::Quantised(QMatMul::Tensor(weight) | QMatMul::TensorF16(weight)) => {
                weight.elem_count() * weight.dtype().size_in_bytes()
            }
        }
    }

    /// The bias, `[outputs]`.
    pub(super) fn bias(&self) -> &Tensor {
        &self.bias
    }
}

/// 0 for each row of `[rows, columns]` whose values are all finite, else NaN: `[rows, 1]`.
fn not_finite(x: &Tensor) -> Result<Tensor> {
    x.sum_keepdim(1)? * 0.0
}
