//! The exponential function in a form that compilers vectorise.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_max_ps, _mm512_min_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_sub_ps,
};

/// 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, so that an integer times the first is exact.
const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// `e^x` with a relative error below 2e-7, for `x` from -87 to 88 and clamped to that range; NaN stays NaN.
///
/// `x = n ln 2 + r` with integer `n`, found by adding a number so large that the sum has no fraction bits; then the
/// Taylor polynomial of `e^r` for `|r| <= ln 2 / 2`, and `2^n` put together from its bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2.0) - n * LN2.1;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// [`exp`] of 16 numbers, with products and sums rounded once.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn exp16(x: __m512) -> __m512 {
    let number = |x: f32| _mm512_set1_ps(x);
    // Of two numbers of which one is none, the second is taken.
    let x = _mm512_min_ps(number(88.0), _mm512_max_ps(number(-87.0), x));
    let n = _mm512_fmadd_ps(x, number(std::f32::consts::LOG2_E), number(ROUND));
    let n = _mm512_sub_ps(n, number(ROUND));
    let r = _mm512_fnmadd_ps(n, number(LN2.0), x);
    let r = _mm512_fnmadd_ps(n, number(LN2.1), r);
    let mut p = number(1.0 / 5040.0);
    for factor in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        p = _mm512_fmadd_ps(p, r, number(1.0 / factor));
    }
    _mm512_scalef_ps(p, n)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn agrees_with_the_standard_library() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01 + 0.003;
            let x = x.clamp(-87.0, 88.0);
            let right = f64::from(x).exp();
            let error = (f64::from(exp(x)) - right).abs() / right;
            assert!(error < 2e-7, "{x}: {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
        assert_eq!(exp(0.0), 1.0);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn sixteen_at_once_agree_too() {
        use std::arch::x86_64::{_mm512_loadu_ps, _mm512_storeu_ps};

        if !is_x86_feature_detected!("avx512f") {
            println!("left out: this machine has no AVX-512");
            return;
        }
        let sixteen = |x: [f32; 16]| {
            let mut found = [0.0; 16];
            // SAFETY: the machine has the instructions, and both are vectors' sizes.
            unsafe {
                let exp = super::exp16(_mm512_loadu_ps(x.as_ptr()));
                _mm512_storeu_ps(found.as_mut_ptr(), exp);
            }
            found
        };
        for step in -8700..=8784 {
            let x: [f32; 16] = std::array::from_fn(|at| (step + at as i32) as f32 * 0.01 + 0.003);
            let x = x.map(|x| x.clamp(-87.0, 88.0));
            for (x, found) in x.into_iter().zip(sixteen(x)) {
                let right = f64::from(x).exp();
                let error = (f64::from(found) - right).abs() / right;
                assert!(error < 2e-7, "{x}: {error}");
            }
        }
        let mut odd = [0.0; 16];
        odd[..3].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, f32::INFINITY]);
        let found = sixteen(odd);
        assert!(found[0].is_nan() && found[1] < 2e-38 && found[2] > 1e38 && found[3] == 1.0);
    }
}
