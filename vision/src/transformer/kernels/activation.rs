//! Bias, activation and residual sums: one pass over memory each.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::exp::exp;
use super::{Steps, contiguous};

/// Values that one task takes: enough to be worth a task, few enough to stay in the cache.
const CHUNK: usize = 1 << 15;

impl Steps {
    /// `x + bias`, `[rows, n]` and `[n]`. May write over `x`, which must have no other user.
    pub(crate) fn add_bias(self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain => x.broadcast_add(bias),
            Self::Fused(cpu) => {
                x.inplace_op2(bias, &AddBias(cpu.units.arch()))?;
                Ok(x)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                cuda::epilogue(&x, bias, cuda::Epilogue::Add)?;
                Ok(x)
            }
        }
    }

    /// `gelu(x + bias)`, `[rows, n]` and `[n]`, in the tanh form of GELU:
    /// `x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel, arXiv:1606.08415). May write over `x`,
    /// which must have no other user.
    pub(crate) fn bias_gelu(self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain => x.broadcast_add(bias)?.gelu(),
            Self::Fused(cpu) => {
                x.inplace_op2(bias, &BiasGelu(cpu.units.arch()))?;
                Ok(x)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                cuda::epilogue(&x, bias, cuda::Epilogue::Gelu)?;
                Ok(x)
            }
        }
    }

    /// `x + y + bias`, `[rows, n]`, `[rows, n]` and `[n]`. May write over `y`, which must have no other user.
    pub(crate) fn residual(self, x: &Tensor, y: Tensor, bias: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain => (x + y.broadcast_add(bias)?)?.contiguous(),
            Self::Fused(cpu) => {
                y.inplace_op3(&x.contiguous()?, bias, &Residual(cpu.units.arch()))?;
                Ok(y)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                cuda::epilogue(&y, bias, cuda::Epilogue::Residual(&x.contiguous()?))?;
                Ok(y)
            }
        }
    }
}

/// GELU in its tanh form.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    /// -2 sqrt(2 / pi).
    const SCALE: f32 = -1.595_769;
    x / (1.0 + exp(SCALE * (x + 0.044715 * x * x * x)))
}

struct AddBias(Arch);

struct BiasGelu(Arch);

struct Residual(Arch);

/// Runs `row` over each row of `x`, `bias.len()` values wide, on all threads.
fn rows(x: &mut [f32], bias: &[f32], arch: Arch, row: impl Fn(&mut [f32], &[f32]) + Sync) {
    let width = bias.len().max(1);
    let share = (CHUNK / width).max(1) * width;
    x.par_chunks_mut(share).for_each(|chunk| {
        arch.dispatch(Rows {
            values: chunk,
            width,
            bias,
            row: &row,
        });
    });
}

/// `row` over rows that lie one behind the other.
struct Rows<'a, F> {
    values: &'a mut [f32],
    width: usize,
    bias: &'a [f32],
    row: &'a F,
}

impl<F: Fn(&mut [f32], &[f32])> NullaryFnOnce for Rows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for values in self.values.chunks_exact_mut(self.width) {
            (self.row)(values, self.bias);
        }
    }
}

/// `y = x + y + bias` over rows that lie one behind the other.
struct Sums<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
    bias: &'a [f32],
    width: usize,
}

impl NullaryFnOnce for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.x.chunks_exact(self.width);
        for (y, x) in self.y.chunks_exact_mut(self.width).zip(rows) {
            for ((y, &x), &bias) in y.iter_mut().zip(x).zip(self.bias) {
                *y = x + *y + bias;
            }
        }
    }
}

fn values<'a>(
    op: &'static str,
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("{op} takes f32");
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&mut values[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op }),
    }
}

impl InplaceOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<()> {
        let bias = contiguous(self.name(), bias.as_slice::<f32>()?, bias_at)?;
        rows(
            values(self.name(), x, x_at)?,
            bias,
            self.0,
            #[inline(always)]
            |row, bias| {
                for (x, &bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
            },
        );
        Ok(())
    }
}

impl InplaceOp2 for BiasGelu {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<()> {
        let bias = contiguous(self.name(), bias.as_slice::<f32>()?, bias_at)?;
        rows(
            values(self.name(), x, x_at)?,
            bias,
            self.0,
            #[inline(always)]
            |row, bias| {
                for (x, &bias) in row.iter_mut().zip(bias) {
                    *x = gelu(*x + bias);
                }
            },
        );
        Ok(())
    }
}

impl InplaceOp3 for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(
        &self,
        y: &mut CpuStorage,
        y_at: &Layout,
        x: &CpuStorage,
        x_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<()> {
        let x = contiguous(self.name(), x.as_slice::<f32>()?, x_at)?;
        let bias = contiguous(self.name(), bias.as_slice::<f32>()?, bias_at)?;
        let y = values(self.name(), y, y_at)?;
        let width = bias.len().max(1);
        let share = (CHUNK / width).max(1) * width;
        let arch = self.0;
        y.par_chunks_mut(share)
            .zip(x.par_chunks(share))
            .for_each(|(y, x)| arch.dispatch(Sums { y, x, bias, width }));
        Ok(())
    }
}
