//! A linear layer in the number format that its weights are kept in.
//!
//! A product comes with what follows it, where that touches every output anyway: bias, activation, the sum with what goes
//! through. On a CUDA device in bf16 both are one launch, with weights of 8 bits on a CPU it is done where a tile of the product is stored,
//! elsewhere it is a step of [`Steps`].

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Module, Result, Tensor};

use super::format::{BLOCK, Format};
#[cfg(target_arch = "x86_64")]
use super::kernels::Int8;
#[cfg(feature = "cuda")]
use super::kernels::cuda;
use super::kernels::{After, Steps};
#[cfg(target_arch = "x86_64")]
use crate::options::Quantization;

/// Weights `[outputs, inputs]` and a bias `[outputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Tensor,
    #[cfg(feature = "cuda")]
    products: Option<cuda::Products>,
}

#[derive(Debug, Clone)]
enum Weight {
    Dense(Tensor),
    #[cfg(target_arch = "x86_64")]
    Int8(Int8),
    Quantised {
        weight: QMatMul,
        /// Zeros that follow each row of weights, and must follow each row of inputs.
        padding: usize,
    },
}

impl Linear {
    /// A layer of these weights and bias, in `format.dtype` and on its device.
    ///
    /// # Errors
    /// When the weights cannot be quantised.
    pub(crate) fn new(weight: Tensor, mut bias: Tensor, format: &Format) -> Result<Self> {
        if format.quantize.is_some() {
            // Blocks hold numbers only: an output with weights that are none has it in its bias.
            bias = (bias + not_finite(&weight)?.squeeze(1)?)?;
        }
        #[cfg(target_arch = "x86_64")]
        if let Steps::Fused(cpu) = format.steps
            && format.quantize == Some(Quantization::Q8_0)
            && let Some(weight) = Int8::new(&weight, cpu.units)?
        {
            return Ok(Self {
                weight: Weight::Int8(weight),
                bias,
                #[cfg(feature = "cuda")]
                products: None,
            });
        }
        let weight = match format.blocks() {
            Some(blocks) => {
                let inputs = weight.dim(1)?;
                let padding = inputs.next_multiple_of(BLOCK) - inputs;
                let padded = weight.pad_with_zeros(1, 0, padding)?.contiguous()?;
                Weight::Quantised {
                    weight: QMatMul::from_qtensor(QTensor::quantize(&padded, blocks)?)?,
                    padding,
                }
            }
            None => Weight::Dense(weight),
        };
        Ok(Self {
            weight,
            bias,
            #[cfg(feature = "cuda")]
            products: format.products()?,
        })
    }

    /// A layer that is not quantised.
    pub(crate) fn dense(weight: Tensor, bias: Tensor) -> Self {
        Self {
            weight: Weight::Dense(weight),
            bias,
            #[cfg(feature = "cuda")]
            products: None,
        }
    }

    /// `x` times the weights plus the bias, `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, steps: Steps, x: &Tensor) -> Result<Tensor> {
        self.followed(steps, x, After::Bias(&self.bias))
    }

    /// The GELU of [`Linear::forward`], in its tanh form.
    pub(crate) fn gelu(&self, steps: Steps, x: &Tensor) -> Result<Tensor> {
        self.followed(steps, x, After::Gelu(&self.bias))
    }

    /// `through`, `[rows, outputs]`, plus `x` times the weights, plus `bias` (which need not be this layer's own) if there is one.
    pub(crate) fn add_to(
        &self,
        steps: Steps,
        through: &Tensor,
        x: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        self.followed(steps, x, After::Sum(through, bias))
    }

    /// Product and what follows: at once where that can be.
    fn followed(&self, steps: Steps, x: &Tensor, after: After<'_>) -> Result<Tensor> {
        #[cfg(target_arch = "x86_64")]
        if let Weight::Int8(weight) = &self.weight {
            return weight.product(x, Some(after));
        }
        #[cfg(feature = "cuda")]
        if let (Some(products), Weight::Dense(weight)) = (&self.products, &self.weight)
            && let Some(out) = products.product(x, weight, after)?
        {
            return Ok(out);
        }
        after.apart(steps, self.product(x)?)
    }

    /// `x` times the weights, `[rows, inputs]` to `[rows, outputs]`, without the bias.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Dense(weight) => x.matmul(&weight.t()?),
            #[cfg(target_arch = "x86_64")]
            Weight::Int8(weight) => weight.product(x, None),
            Weight::Quantised { weight, padding } => {
                let product = match padding {
                    0 => weight.forward(x)?,
                    padding => weight.forward(&x.pad_with_zeros(1, 0, *padding)?)?,
                };
                // The product brings `x` into blocks too, in which what is not finite would become a number.
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
    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.weight {
            Weight::Dense(weight) => weight.elem_count() * weight.dtype().size_in_bytes(),
            #[cfg(target_arch = "x86_64")]
            Weight::Int8(weight) => weight.bytes(),
            Weight::Quantised { weight, .. } => match weight {
                QMatMul::QTensor(weight) => weight.storage_size_in_bytes(),
                QMatMul::Tensor(weight) | QMatMul::TensorF16(weight) => {
                    weight.elem_count() * weight.dtype().size_in_bytes()
                }
            },
        }
    }

    /// The bias, `[outputs]`.
    pub(crate) fn bias(&self) -> &Tensor {
        &self.bias
    }
}

/// 0 for each row of `[rows, columns]` whose values are all finite, else NaN: `[rows, 1]`.
fn not_finite(x: &Tensor) -> Result<Tensor> {
    x.sum_keepdim(1)? * 0.0
}
