//! Arithmetic on exact sums: powers and products of doubles as terms, sums and products of whole sums, and ratios of
//! them as doubles.
//!
//! Owns: terms beyond squares, [`Dyadic`]'s ring operations, [`Scaled`]. Must not know: aggregates.
//! Invariants: everything up to a [`Scaled`] is exact; a [`Scaled`] has the relative error of one double (2^-53) and
//! an exponent that no statistic of doubles leaves, so that nothing overflows on the way to an answer that does not.

use super::exact::{Dyadic, ExactSum, split};
#[cfg(feature = "finish")]
use super::math;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A mantissa of a double split in two: its square is `high * 2^53 + low`, both below 2^53.
struct Square {
    /// The mantissa, odd.
    mantissa: i128,
    exponent: i32,
    high: i128,
    low: i128,
}

/// The square of a finite double other than zero.
fn square(x: f64) -> Option<Square> {
    let (mantissa, exponent) = split(x);
    if !x.is_finite() || mantissa == 0 {
        return None;
    }
    let zeros = mantissa.trailing_zeros();
    let mantissa = i128::from(mantissa >> zeros);
    let square = mantissa * mantissa;
    Some(Square {
        mantissa,
        exponent: exponent + zeros as i32,
        high: square >> 53,
        low: square & ((1 << 53) - 1),
    })
}

impl ExactSum {
    /// Adds `x * y`; nothing when either is not finite (the sums beside it remember them).
    pub fn add_product_of(&mut self, x: f64, y: f64) {
        if x.is_finite() && y.is_finite() {
            let ((x, to_x), (y, to_y)) = (split(x), split(y));
            self.add_scaled(i128::from(x) * i128::from(y), to_x + to_y);
        }
    }

    /// Adds `x^3`; nothing when it is not finite.
    pub fn add_cube(&mut self, x: f64) {
        if let Some(Square { mantissa, exponent, high, low }) = square(x) {
            self.add_scaled(low * mantissa, 3 * exponent);
            self.add_scaled(high * mantissa, 3 * exponent + 53);
        }
    }

    /// Adds `x^4`; nothing when it is not finite.
    pub fn add_fourth(&mut self, x: f64) {
        if let Some(Square { exponent, high, low, .. }) = square(x) {
            self.add_scaled(low * low, 4 * exponent);
            self.add_scaled(2 * low * high, 4 * exponent + 53);
            self.add_scaled(high * high, 4 * exponent + 106);
        }
    }
}

impl Dyadic {
    /// A whole number.
    pub fn of(count: u64) -> Self {
        Self::new(false, &[count], 0)
    }

    /// The product.
    pub fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0u64; self.limbs.len() + other.limbs.len()];
        for (i, &a) in self.limbs.iter().enumerate() {
            let mut carry = 0u128;
            for (to, &b) in limbs[i..].iter_mut().zip(&other.limbs) {
                let sum = u128::from(a) * u128::from(b) + u128::from(*to) + carry;
                *to = sum as u64;
                carry = sum >> 64;
            }
            limbs[i + other.limbs.len()] = carry as u64;
        }
        Self::new(self.negative != other.negative, &limbs, self.exponent + other.exponent)
    }

    /// The sum.
    pub fn plus(&self, other: &Self) -> Self {
        self.combined(other, other.negative)
    }

    /// The difference.
    pub fn minus(&self, other: &Self) -> Self {
        self.combined(other, !other.negative)
    }

    /// `self` plus the magnitude of `other` with a sign of its own.
    fn combined(&self, other: &Self, negative: bool) -> Self {
        if other.is_zero() {
            return self.clone();
        }
        if self.is_zero() {
            return Self { negative, ..other.clone() };
        }
        let exponent = self.exponent.min(other.exponent);
        let (mine, theirs) = (self.limbs_from(exponent), other.limbs_from(exponent));
        if self.negative == negative {
            return Self::new(negative, &add(mine, &theirs), exponent);
        }
        match compare(&mine, &theirs) {
            Ordering::Less => Self::new(negative, &subtract(theirs, &mine), exponent),
            _ => Self::new(self.negative, &subtract(mine, &theirs), exponent),
        }
    }

    /// The magnitude in units of `2^exponent`, which is not above its own.
    fn limbs_from(&self, exponent: i32) -> Vec<u64> {
        let up = (self.exponent - exponent) as usize;
        let (whole, bits) = (up / 64, up % 64);
        let mut limbs = vec![0; whole + self.limbs.len() + 1];
        for (i, &limb) in self.limbs.iter().enumerate() {
            limbs[whole + i] |= limb << bits;
            limbs[whole + i + 1] |= if bits == 0 { 0 } else { limb >> (64 - bits) };
        }
        limbs
    }
}

/// Magnitudes of any lengths.
fn compare(a: &[u64], b: &[u64]) -> Ordering {
    let limb = |limbs: &[u64], i: usize| limbs.get(i).copied().unwrap_or(0);
    let differs = (0..a.len().max(b.len())).rev().find(|&i| limb(a, i) != limb(b, i));
    differs.map_or(Ordering::Equal, |i| limb(a, i).cmp(&limb(b, i)))
}

fn add(mut a: Vec<u64>, b: &[u64]) -> Vec<u64> {
    a.resize(a.len().max(b.len()) + 1, 0);
    let mut carry = false;
    for (i, limb) in a.iter_mut().enumerate() {
        let (sum, c1) = limb.overflowing_add(b.get(i).copied().unwrap_or(0));
        let (sum, c2) = sum.overflowing_add(u64::from(carry));
        (*limb, carry) = (sum, c1 | c2);
    }
    a
}

/// `a - b`, which is not negative.
fn subtract(mut a: Vec<u64>, b: &[u64]) -> Vec<u64> {
    let mut borrow = false;
    for (i, limb) in a.iter_mut().enumerate() {
        let (left, b1) = limb.overflowing_sub(b.get(i).copied().unwrap_or(0));
        let (left, b2) = left.overflowing_sub(u64::from(borrow));
        (*limb, borrow) = (left, b1 | b2);
    }
    a
}

/// `mantissa * 2^exponent` with a magnitude of 1..=2, or zero: a double whose exponent does not run out.
#[cfg(feature = "finish")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    mantissa: f64,
    exponent: i32,
}

#[cfg(feature = "finish")]
impl Scaled {
    fn new(mantissa: f64, exponent: i32) -> Self {
        if mantissa == 0.0 {
            return Self { mantissa, exponent: 0 };
        }
        let shift = (mantissa.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        Self { mantissa: mantissa * power_of_two(-shift), exponent: exponent + shift }
    }

    /// The quotient; the divisor is not zero.
    pub fn over(self, other: Self) -> Self {
        Self::new(self.mantissa / other.mantissa, self.exponent - other.exponent)
    }

    /// The root; not of a negative number.
    pub fn root(self) -> Self {
        let odd = self.exponent.rem_euclid(2);
        Self::new(math::sqrt(self.mantissa * power_of_two(odd)), (self.exponent - odd) / 2)
    }

    /// The double; beyond their range an infinity or zero.
    pub fn to_f64(self) -> f64 {
        let exponent = self.exponent.clamp(-2000, 2000);
        let half = exponent / 2;
        self.mantissa * power_of_two(half) * power_of_two(exponent - half)
    }
}

#[cfg(feature = "finish")]
impl ExactSum {
    /// The sum over a count that is not zero. An average of finite doubles is one, also where their sum is beyond them.
    pub(crate) fn average(&self, count: u64) -> f64 {
        let (sum, count) = (self.to_f64(), count as f64);
        match sum.is_infinite() && self.special() == 0 {
            true => Scaled::from(&self.dyadic()).over(count.into()).to_f64().clamp(f64::MIN, f64::MAX),
            false => sum / count,
        }
    }
}

/// Of zero or a normal double.
#[cfg(feature = "finish")]
impl From<f64> for Scaled {
    fn from(x: f64) -> Self {
        Self::new(x, 0)
    }
}

#[cfg(feature = "finish")]
impl From<&Dyadic> for Scaled {
    fn from(exact: &Dyadic) -> Self {
        let bits = exact.bits();
        let mantissa = Dyadic { exponent: 1 - bits, ..exact.clone() }.to_f64();
        Self::new(mantissa, exact.exponent + bits - 1)
    }
}

/// `2^exponent` for what a normal double can be.
#[cfg(feature = "finish")]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(x: f64) -> Dyadic {
        let mut sum = ExactSum::default();
        sum.add(x);
        sum.dyadic()
    }

    fn summed(xs: &[f64], add: fn(&mut ExactSum, f64)) -> Dyadic {
        let mut sum = ExactSum::default();
        xs.iter().for_each(|&x| add(&mut sum, x));
        sum.dyadic()
    }

    #[test]
    fn powers_are_exact_products() {
        for x in [0.1, -3.0, 1e300, -1e-300, 5e-324, f64::MAX, f64::MIN_POSITIVE, 123_456.789] {
            let (one, square) = (exact(x), exact(x).times(&exact(x)));
            assert_eq!(summed(&[x], ExactSum::add_cube), square.times(&one), "{x}");
            assert_eq!(summed(&[x], ExactSum::add_fourth), square.times(&square), "{x}");
            assert_eq!(summed(&[x, x], ExactSum::add_fourth), square.times(&square).times(&Dyadic::of(2)));
            assert_eq!(summed(&[x, -x], ExactSum::add_cube), Dyadic::of(0));
        }
        assert!(summed(&[f64::NAN, f64::INFINITY, -0.0], ExactSum::add_fourth).is_zero());
    }

    #[test]
    fn sums_and_differences_are_exact() {
        let values = [0.0, 1.0, -1.0, 1e300, -1e-300, 0.1, -0.1, 2f64.powi(64), 2f64.powi(-64)];
        for a in values {
            for b in values {
                let sum = summed(&[a, b], ExactSum::add);
                assert_eq!(exact(a).plus(&exact(b)), sum, "{a} + {b}");
                assert_eq!(exact(a).minus(&exact(-b)), sum, "{a} - -{b}");
            }
        }
    }

    /// Two halves of the largest double averaged to an infinity.
    #[cfg(feature = "finish")]
    #[test]
    fn averages_of_what_fits_fit() {
        let average = |xs: &[f64]| {
            let mut sum = ExactSum::default();
            xs.iter().for_each(|&x| sum.add(x));
            sum.average(xs.len() as u64)
        };
        assert_eq!(average(&[1.7e308, 1.7e308]), 1.7e308);
        assert_eq!(average(&[-1.7e308, -1.5e308]), -1.6e308);
        for n in 1..20 {
            // The sum is rounded, and so is the quotient.
            assert!(1.0 - average(&vec![f64::MAX; n]) / f64::MAX <= f64::EPSILON, "{n}");
        }
        assert_eq!(average(&[1.0, 2.0]), 1.5);
        assert_eq!(average(&[f64::INFINITY, 1.0]), f64::INFINITY);
    }

    #[cfg(feature = "finish")]
    #[test]
    fn ratios_do_not_leave_their_range() {
        let scaled = |x: f64| Scaled::from(&exact(x));
        assert_eq!(scaled(f64::MAX).over(scaled(5e-324)).over(scaled(f64::MAX)).to_f64(), f64::INFINITY);
        assert_eq!(scaled(5e-324).over(scaled(f64::MAX)).to_f64(), 0.0);
        assert_eq!(scaled(1.0).over(scaled(3.0)).to_f64(), 1.0 / 3.0);
        assert_eq!(scaled(-6.25).over(scaled(2.5)).to_f64(), -2.5);
        for x in [1.0, 2.0, 4.0, 0.25, 1e300, 1e-300] {
            let root = scaled(x).root().to_f64();
            assert!((root / x.sqrt() - 1.0).abs() <= 2f64.powi(-51), "{x}");
        }
        assert_eq!(scaled(0.0).root().to_f64(), 0.0);
    }
}
