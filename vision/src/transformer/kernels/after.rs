//! What follows a product, where it touches every output anyway: one pass over the outputs less if it is done while they are stored.

use candle_core::{Result, Tensor};

use super::Steps;

/// What follows a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After<'a> {
    /// The bias, `[outputs]`.
    Bias(&'a Tensor),
    /// The bias and GELU in its tanh form.
    Gelu(&'a Tensor),
    /// The sum with a tensor of the product's shape, and the bias if there is one.
    Sum(&'a Tensor, Option<&'a Tensor>),
}

impl After<'_> {
    /// As a step of its own. May write over `product`, which must have no other user.
    pub(crate) fn apart(self, steps: Steps, product: Tensor) -> Result<Tensor> {
        match self {
            Self::Bias(bias) => steps.add_bias(product, bias),
            Self::Gelu(bias) => steps.bias_gelu(product, bias),
            Self::Sum(through, Some(bias)) => steps.residual(through, product, bias),
            Self::Sum(through, None) => through + product,
        }
    }
}
