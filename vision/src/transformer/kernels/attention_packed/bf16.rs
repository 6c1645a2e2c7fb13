//! Numbers into pairs of bf16 on AVX-512 BF16, and the weights of a softmax among them.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _CMP_NEQ_UQ, _mm512_add_ps, _mm512_cmp_ps_mask,
    _mm512_cvtne2ps_pbh, _mm512_loadu_si512, _mm512_mask_loadu_ps, _mm512_mask_storeu_epi32,
    _mm512_maskz_loadu_ps, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_mul_ps,
    _mm512_permutexvar_epi16, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_sub_ps,
};
use std::mem::transmute;

use super::super::exp::exp16;
use super::LANES;

/// Neighbours together, scaled; zero is what is missing of the last pair.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn along(values: &[f32], scale: f32, units: &mut [u32]) {
    assert!(
        units.len() >= values.len().div_ceil(2),
        "pairs have room for their numbers"
    );
    let scale = _mm512_set1_ps(scale);
    for start in (0..values.len()).step_by(2 * LANES) {
        let left = values.len() - start;
        let [low, high] = [0, LANES].map(|at| {
            // SAFETY: no more is read than is left.
            let values = unsafe {
                _mm512_maskz_loadu_ps(
                    first(left.saturating_sub(at)),
                    values.as_ptr().wrapping_add(start + at),
                )
            };
            _mm512_mul_ps(values, scale)
        });
        // SAFETY: the assertion above.
        unsafe { store(units, start / 2, left.div_ceil(2), pairs(low, high)) };
    }
}

/// Numbers of one place of two rows together; zero is what is missing of the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn across(above: &[f32], below: Option<&[f32]>, units: &mut [u32]) {
    assert!(
        units.len() >= above.len() && below.is_none_or(|below| below.len() == above.len()),
        "pairs have room for their numbers"
    );
    let order: [u16; 2 * LANES] = std::array::from_fn(|at| (at / 2 + at % 2 * LANES) as u16);
    // SAFETY: it is a vector's size.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for start in (0..above.len()).step_by(LANES) {
        let left = above.len() - start;
        let there = first(left);
        // SAFETY: no more is read than is left of rows of one length, and so much is written.
        unsafe {
            let low = _mm512_maskz_loadu_ps(there, above.as_ptr().add(start));
            let high = match below {
                Some(below) => _mm512_maskz_loadu_ps(there, below.as_ptr().add(start)),
                None => _mm512_setzero_ps(),
            };
            let both = _mm512_permutexvar_epi16(order, pairs(low, high));
            store(units, start, left, both);
        }
    }
}

/// The exponentials of a softmax over scores as pairs of neighbours, and their sum before they are rounded. With a NaN among the scores the
/// sum is one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn weigh(scores: &[f32], units: &mut [u32]) -> f32 {
    assert!(
        units.len() >= scores.len().div_ceil(2),
        "pairs have room for their numbers"
    );
    let nothing = _mm512_set1_ps(f32::NEG_INFINITY);
    let load = |at: usize| {
        let there = first(scores.len().saturating_sub(at));
        // SAFETY: no more is read than there is.
        unsafe { _mm512_mask_loadu_ps(nothing, there, scores.as_ptr().wrapping_add(at)) }
    };
    let mut tops = [nothing; 2];
    for start in (0..scores.len()).step_by(2 * LANES) {
        // Of two numbers of which one is none, the second is taken.
        tops = [
            _mm512_max_ps(load(start), tops[0]),
            _mm512_max_ps(load(start + LANES), tops[1]),
        ];
    }
    let top = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(tops[0], tops[1])));
    // What a mask hides is exactly nothing.
    let weight = |score: __m512| {
        let seen = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(score, nothing);
        _mm512_maskz_mov_ps(seen, exp16(_mm512_sub_ps(score, top)))
    };
    let mut sums = [_mm512_setzero_ps(); 2];
    for start in (0..scores.len()).step_by(2 * LANES) {
        let low = weight(load(start));
        let high = weight(load(start + LANES));
        sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
        let left = scores.len() - start;
        // SAFETY: the assertion above.
        unsafe { store(units, start / 2, left.div_ceil(2), pairs(low, high)) };
    }
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}

/// The first so many of a vector.
#[inline]
fn first(count: usize) -> __mmask16 {
    if count < LANES {
        (1 << count) - 1
    } else {
        __mmask16::MAX
    }
}

/// The nearest bf16 of all of `low`, then of all of `high`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 512 bits of which every combination is a value.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// The first `count` units, or all, from `at` on.
///
/// # Safety
/// So many are there, or all.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(units: &mut [u32], at: usize, count: usize, values: __m512i) {
    // SAFETY: the caller's.
    unsafe {
        _mm512_mask_storeu_epi32(units.as_mut_ptr().add(at).cast(), first(count), values);
    }
}
