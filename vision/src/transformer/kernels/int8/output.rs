//! Where sums go, and what follows them: it is done while they are in registers, or at least in the cache.

use std::arch::x86_64::{
    __m512, __mmask16, _mm512_add_ps, _mm512_div_ps, _mm512_fmadd_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
};

use super::super::activation::gelu;
use super::super::exp::exp16;
use super::super::target::Target;

/// What is done to an output: what goes through is added, then the bias, then comes GELU; whichever of them there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish<'a> {
    /// `[rows, outputs]`.
    pub(super) through: Option<&'a [f32]>,
    /// `[outputs]`.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) gelu: bool,
}

/// `[rows, outputs]` that several threads write at once, each to columns of its own.
pub(super) struct Output<'a> {
    pub(super) target: Target,
    finish: Finish<'a>,
}

impl<'a> Output<'a> {
    /// Into this memory, which has room for all rows of so many outputs.
    ///
    /// # Panics
    /// When what follows is of other shapes: a mistake in this crate.
    pub(super) fn new(
        values: &mut Vec<f32>,
        (rows, outputs): (usize, usize),
        finish: Finish<'a>,
    ) -> Self {
        assert!(
            values.capacity() >= rows * outputs
                && finish.through.is_none_or(|x| x.len() == rows * outputs)
                && finish.bias.is_none_or(|x| x.len() == outputs),
            "what follows a product has its shape"
        );
        let target = Target {
            values: values.as_mut_ptr(),
            columns: outputs,
        };
        Self { target, finish }
    }

    /// Stores 16 sums, finished, from this row and column on; those of `there` alone.
    ///
    /// # Safety
    /// The machine has AVX-512, those are outputs of the row, and nobody else writes to them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn store(
        &self,
        row: usize,
        column: usize,
        there: __mmask16,
        mut sums: __m512,
    ) {
        let at = row * self.target.columns + column;
        // SAFETY: outputs of the row are there in all of them.
        unsafe {
            if let Some(through) = self.finish.through {
                let through = _mm512_maskz_loadu_ps(there, through.as_ptr().wrapping_add(at));
                sums = _mm512_add_ps(through, sums);
            }
            if let Some(bias) = self.finish.bias {
                let bias = _mm512_maskz_loadu_ps(there, bias.as_ptr().wrapping_add(column));
                sums = _mm512_add_ps(sums, bias);
            }
            if self.finish.gelu {
                sums = gelu16(sums);
            }
            _mm512_mask_storeu_ps(self.target.at(row, column), there, sums);
        }
    }

    /// Finishes `width` sums that are stored from this row and column on.
    ///
    /// # Safety
    /// They are outputs of the row, and nobody else reads or writes them.
    #[inline(always)]
    pub(super) unsafe fn finish(&self, row: usize, column: usize, width: usize) {
        // SAFETY: as this function's.
        let sums = unsafe { std::slice::from_raw_parts_mut(self.target.at(row, column), width) };
        if let Some(through) = self.finish.through {
            let through = &through[row * self.target.columns + column..];
            for (sum, through) in sums.iter_mut().zip(through) {
                *sum += through;
            }
        }
        if let Some(bias) = self.finish.bias {
            for (sum, bias) in sums.iter_mut().zip(&bias[column..]) {
                *sum += bias;
            }
        }
        if self.finish.gelu {
            for sum in sums {
                *sum = gelu(*sum);
            }
        }
    }
}

/// [`gelu`] of 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
fn gelu16(x: __m512) -> __m512 {
    let number = |x: f32| _mm512_set1_ps(x);
    let square = _mm512_mul_ps(x, x);
    // -2 sqrt(2 / pi) times x (1 + 0.044715 x^2).
    let inner = _mm512_fmadd_ps(square, number(-1.595_769 * 0.044715), number(-1.595_769));
    let power = _mm512_mul_ps(x, inner);
    _mm512_div_ps(x, _mm512_add_ps(number(1.0), exp16(power)))
}
