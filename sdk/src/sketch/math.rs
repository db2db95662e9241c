//! Logarithm, power and root by IEEE basic operations only, so that every build computes the same bits.
//!
//! Platform `ln` and `exp` differ between libms, WASM has none, and one different bit at a bucket's edge
//! would make two producers disagree about a sketch. Errors against the true values, tested below:
//! [`log2`] 2^-45 absolute within 2^-64..2^128, [`exp2`] 2^-46 relative.

/// 2 / ln 2.
const TWO_OVER_LN_2: f64 = 2.885_390_081_777_926_8;
/// ln 2.
#[cfg(feature = "finish")]
const LN_2: f64 = core::f64::consts::LN_2;

/// The base-2 logarithm of a positive normal double.
#[inline]
pub fn log2(x: f64) -> f64 {
    // Moving the split point to sqrt(1/2)..sqrt(2) keeps the series short and its argument below 0.172.
    const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted as i64) >> 52;
    let mantissa = f64::from_bits(x.to_bits().wrapping_sub((exponent as u64) << 52));
    exponent as f64 + log2_ratio((mantissa - 1.0) / (mantissa + 1.0))
}

/// The base-2 logarithm of `(1 + s) / (1 - s)` for `|s| <= 0.2`: the area tangent series up to s^25.
#[inline]
pub fn log2_ratio(s: f64) -> f64 {
    let z = s * s;
    let mut sum = 1.0 / 25.0;
    for divisor in [23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * z + 1.0 / divisor;
    }
    TWO_OVER_LN_2 * s * sum
}

/// `2^y` for `|y| < 1000`.
#[cfg(feature = "finish")]
pub fn exp2(y: f64) -> f64 {
    let whole = if y < 0.0 { (y - 0.5) as i64 } else { (y + 0.5) as i64 };
    let x = (y - whole as f64) * LN_2;
    // Taylor of e^x by Horner; |x| <= ln(2) / 2, so the 16th term is below 2^-68.
    let sum = (1..=16).rev().fold(1.0, |sum, n| 1.0 + x / f64::from(n) * sum);
    sum * f64::from_bits(((whole + 1023) as u64) << 52)
}

/// The square root of a non-negative double, by Newton's iteration from a guess by halving the exponent.
#[cfg(feature = "finish")]
pub fn sqrt(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    if x < f64::MIN_POSITIVE {
        // Subnormals carry no exponent to halve: 2^108 makes them normal, 2^-54 takes its root out again.
        return sqrt(x * f64::from_bits((1023 + 108) << 52)) * f64::from_bits((1023 - 54) << 52);
    }
    let mut root = f64::from_bits((x.to_bits() >> 1) + (0x3ff << 51));
    for _ in 0..6 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// The natural logarithm of a positive normal double.
#[cfg(feature = "sketches")]
pub fn ln(x: f64) -> f64 {
    log2(x) * core::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log2_is_as_good_as_stated() {
        let mut x = 2f64.powi(-64);
        while x < 2f64.powi(128) {
            assert!((log2(x) - x.log2()).abs() <= 2f64.powi(-45), "{x}");
            x *= 1.000_37;
        }
        for e in -64..=128 {
            assert_eq!(log2(2f64.powi(e)), f64::from(e));
        }
        assert!((log2_ratio(0.01) - (1.01f64 / 0.99).log2()).abs() < 1e-15);
        assert!((log2_ratio(0.2) - 1.5f64.log2()).abs() < 1e-15);
    }

    /// The bits themselves are the contract: native, WASM and any other reader must find these.
    #[test]
    fn log2_has_these_bits() {
        for (x, bits) in [(3.0, LOG2_3), (0.1, LOG2_0_1), (123_456.789, LOG2_123456)] {
            assert_eq!(log2(x).to_bits(), bits, "{x} {:#x}", log2(x).to_bits());
        }
    }
    const LOG2_3: u64 = 0x3ff9_5c01_a39f_bd68;
    const LOG2_0_1: u64 = 0xc00a_934f_0979_a371;
    const LOG2_123456: u64 = 0x4030_e9e4_bf2a_1cb2;

    #[cfg(feature = "finish")]
    #[test]
    fn exp2_and_sqrt_are_as_good_as_stated() {
        for i in -6400..12800 {
            let y = f64::from(i) / 100.0 + 0.001;
            assert!((exp2(y) / y.exp2() - 1.0).abs() < 2f64.powi(-46), "{y}");
        }
        for x in [1.0, 2.0, 1e-300, 1e300, 5e-324, 0.25, 3.0, 1e-8] {
            assert!((sqrt(x) / x.sqrt() - 1.0).abs() <= 2f64.powi(-51), "{x}");
        }
        assert_eq!(sqrt(0.0), 0.0);
    }
}
