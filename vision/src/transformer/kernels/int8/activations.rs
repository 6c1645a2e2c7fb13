//! Activations in blocks of 8 bits, as the weights are.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::{BLOCK, inverse};

/// Rows of activations in blocks, of numbers of type `T` from -127 to 127.
pub(super) struct Activations<T> {
    /// `[rows, blocks * 32]`.
    pub(super) values: Vec<T>,
    /// `[rows, blocks]`: scale, and -128 times the sum of the block.
    pub(super) scales: Vec<f32>,
    pub(super) offsets: Vec<i32>,
}

/// A whole number that a block is made of.
pub(super) trait Whole: Copy + Default + Send + Sync {
    /// The number, which it holds.
    fn of(number: i32) -> Self;
}

impl Whole for i8 {
    #[inline(always)]
    fn of(number: i32) -> Self {
        number as Self
    }
}

impl Whole for i16 {
    #[inline(always)]
    fn of(number: i32) -> Self {
        number as Self
    }
}

impl<T: Whole> Activations<T> {
    /// `source`, `[rows, inputs]`.
    pub(super) fn new(source: &[f32], rows: usize, inputs: usize, arch: Arch) -> Self {
        let blocks = inputs.div_ceil(BLOCK);
        let mut values = vec![T::default(); rows * blocks * BLOCK];
        let mut scales = vec![0_f32; rows * blocks];
        let mut offsets = vec![0_i32; rows * blocks];
        values
            .par_chunks_mut(blocks * BLOCK)
            .zip(scales.par_chunks_mut(blocks))
            .zip(offsets.par_chunks_mut(blocks))
            .zip(source.par_chunks(inputs))
            .for_each(|(((values, scales), offsets), row)| {
                arch.dispatch(Quantise {
                    row,
                    values,
                    scales,
                    offsets,
                });
            });
        Self {
            values,
            scales,
            offsets,
        }
    }
}

/// Brings a row into blocks.
struct Quantise<'a, T> {
    row: &'a [f32],
    values: &'a mut [T],
    scales: &'a mut [f32],
    offsets: &'a mut [i32],
}

impl<T: Whole> NullaryFnOnce for Quantise<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (block, values) in self.values.chunks_exact_mut(BLOCK).enumerate() {
            let row = &self.row[block * BLOCK..self.row.len().min((block + 1) * BLOCK)];
            let largest = magnitude(row);
            let scale = largest / 127.0;
            let inverse = inverse(scale);
            let mut sum = 0_i32;
            for (value, &x) in values.iter_mut().zip(row) {
                let quantised = rounded(x * inverse);
                *value = T::of(quantised);
                sum = sum.wrapping_add(quantised);
            }
            // A NaN among the inputs stays one in the outputs.
            self.scales[block] = if largest.is_finite() { scale } else { f32::NAN };
            self.offsets[block] = sum.wrapping_mul(-128);
        }
    }
}

/// The largest magnitude, or none that is finite where one of the values is not: without their signs, numbers are ordered as their bits are,
/// and whole numbers are what every instruction set compares a vector of at once.
#[inline(always)]
fn magnitude(values: &[f32]) -> f32 {
    const SIGN: u32 = 1 << 31;
    let bits = values
        .iter()
        .fold(0, |largest: u32, x| largest.max(x.to_bits() & !SIGN));
    f32::from_bits(bits)
}

/// The nearest whole number, of two the even one, of a value between -2^22 and 2^22. What is added leaves no bits for a fraction and the
/// number in the last ones, which unlike a call to round every instruction set does to a vector at once. No number gives any.
#[inline(always)]
fn rounded(x: f32) -> i32 {
    /// 1.5 * 2^23.
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
}
