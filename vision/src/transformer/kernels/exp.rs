//! The exponential function in a form that compilers vectorise.

/// `e^x` with a relative error below 2e-7, for `x` from -87 to 88 and clamped to that range; NaN stays NaN.
///
/// `x = n ln 2 + r` with integer `n`, found by adding a number so large that the sum has no fraction bits; then the
/// Taylor polynomial of `e^r` for `|r| <= ln 2 / 2`, and `2^n` put together from its bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that `n` times the first is exact.
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
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
}
