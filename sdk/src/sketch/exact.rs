//! An exact sum of doubles: no rounding until the end, so the order of addition cannot matter.
//!
//! State: the dyadic rational `M * 2^E`, held as a 128-bit fixed-point window (the common case, a few
//! nanoseconds per addition) plus, for sums whose terms lie too far apart, a two's complement big number.
//! Identity: zero. Merge: exact addition. Infinities and NaNs are remembered as flags beside the finite sum.
//! Bytes (`FORMAT.md`, "States"): `head = len << 2 | special << 1 | negative` as a varint, the special
//! flags when there are any, then for `len > 0` the exponent E (zigzag) and the odd magnitude M
//! (little-endian, no leading zero byte). Above 24 bytes, which only terms of very different size reach, the
//! magnitude is written as literals and runs of 00 or ff, so that few events never cost more than themselves
//! (at worst 11 bytes each, 300 in all). After Kulisch; see also Neal, "Fast exact summation using small
//! and large superaccumulators" (arXiv:1505.05571).

use crate::codec::{DecodeError, Reader, Writer};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Longest magnitude in bytes: 2148 bits below the point, 2 * 1024 above it, and 64 of a count. A sum that is
/// [`Dyadic::within`] its count never needs more.
const MAGNITUDE_BYTES_MAX: usize = (2148 + 2 * 1024 + 64_usize).div_ceil(8);
/// Magnitudes up to this length are written as they are.
const PLAIN_BYTES_MAX: usize = 24;
/// Shorter runs of equal bytes stay in their literal.
const RUN_MIN: usize = 4;
/// A window that no exponent reaches: the first addition places it.
const NOWHERE: i32 = 1 << 20;
/// The exponent that [`split`] gives infinities and NaNs.
const NOT_FINITE: i32 = 0x7ff - 1075;
/// Binades kept free below the first term, so that smaller ones still fit the window.
const SLACK: i32 = 32;

/// Non-finite terms seen, as bits.
pub(crate) mod special {
    pub const POSITIVE_INFINITY: u8 = 1;
    pub const NEGATIVE_INFINITY: u8 = 2;
    pub const NAN: u8 = 4;

    /// The flag of a double; 0 for a finite one.
    pub fn of(x: f64) -> u8 {
        match x {
            f64::INFINITY => POSITIVE_INFINITY,
            f64::NEG_INFINITY => NEGATIVE_INFINITY,
            x if x.is_nan() => NAN,
            _ => 0,
        }
    }
}

/// An exact sum.
#[derive(Clone, Debug)]
pub struct ExactSum {
    /// The window: `window * 2^base`.
    window: i128,
    /// What did not fit the window.
    big: Option<Box<Big>>,
    base: i32,
    special: u8,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { window: 0, big: None, base: NOWHERE, special: 0 }
    }
}

/// `mantissa * 2^exponent` of a finite double.
#[inline]
pub(crate) fn split(x: f64) -> (i64, i32) {
    let bits = x.to_bits();
    let biased = (bits >> 52) as i32 & 0x7ff;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (mantissa, exponent) =
        if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    (if (bits as i64) < 0 { -mantissa } else { mantissa }, exponent)
}

impl ExactSum {
    /// Reads what [`ExactSum::add`] will change.
    #[inline]
    pub fn touch(&self) -> u64 {
        self.window as u64
    }

    /// Adds a double.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let (mantissa, exponent) = split(x);
        let shift = exponent.wrapping_sub(self.base) as u32;
        // 54 signed bits shifted by less than 64 fit an i128; the sum may still leave it.
        if shift < 64 && exponent != NOT_FINITE {
            let (sum, overflow) = self.window.overflowing_add(i128::from(mantissa) << shift);
            if !overflow {
                self.window = sum;
                return;
            }
        }
        self.add_outside(x);
    }

    #[cold]
    #[inline(never)]
    fn add_outside(&mut self, x: f64) {
        let flag = special::of(x);
        self.special |= flag;
        if flag == 0 {
            let (mantissa, exponent) = split(x);
            self.add_scaled(i128::from(mantissa), exponent);
        }
    }

    /// Adds the square of a double; non-finite values are ignored (the sum beside it remembers them).
    #[inline]
    pub fn add_square(&mut self, x: f64) {
        if x.is_finite() {
            let (mantissa, exponent) = split(x);
            self.add_scaled(i128::from(mantissa) * i128::from(mantissa), 2 * exponent);
        }
    }

    /// Adds `mantissa * 2^exponent`.
    pub fn add_scaled(&mut self, mantissa: i128, exponent: i32) {
        if mantissa == 0 {
            return;
        }
        let zeros = mantissa.trailing_zeros() as i32;
        let (mantissa, exponent) = (mantissa >> zeros, exponent + zeros);
        if self.window == 0 {
            self.base = exponent - SLACK.min(room(mantissa) - 1).max(0);
        }
        let fits =
            self.try_add(mantissa, exponent) || (self.widen(exponent) && self.try_add(mantissa, exponent));
        if !fits {
            self.spill();
            self.big.get_or_insert_default().add(mantissa, exponent);
        }
    }

    fn try_add(&mut self, mantissa: i128, exponent: i32) -> bool {
        let shift = exponent - self.base;
        if shift < 0 || shift >= room(mantissa) {
            return false;
        }
        match self.window.checked_add(mantissa << shift) {
            Some(sum) => {
                self.window = sum;
                true
            }
            None => false,
        }
    }

    /// Moves the window so that it can hold a term with lowest bit `exponent`, if it has the room.
    fn widen(&mut self, exponent: i32) -> bool {
        let zeros = self.window.trailing_zeros() as i32;
        let lowest = self.base + zeros;
        let base = exponent.min(lowest);
        let shift = lowest - base;
        let window = self.window >> zeros;
        let fits = shift < room(window) - 1;
        if fits {
            // One spare bit stays free for the addition itself.
            self.window = window << shift;
            self.base = base;
        }
        fits
    }

    fn spill(&mut self) {
        if self.window != 0 {
            self.big.get_or_insert_default().add(self.window, self.base);
            self.window = 0;
        }
        self.base = NOWHERE;
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.special |= other.special;
        self.add_scaled(other.window, other.base);
        if let Some(big) = &other.big {
            self.big.get_or_insert_default().merge(big);
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.big.as_ref().map_or(0, |b| core::mem::size_of::<Big>() + b.limbs.capacity() * 8)
    }

    /// Non-finite terms seen, bits of [`special`].
    #[cfg(feature = "sketches")]
    pub(crate) fn special(&self) -> u8 {
        self.special
    }

    /// The finite part in lowest terms.
    pub fn dyadic(&self) -> Dyadic {
        match &self.big {
            None => Dyadic::new(self.window < 0, &split_limbs(self.window.unsigned_abs()), self.base),
            Some(big) => {
                let mut big = (**big).clone();
                if self.window != 0 {
                    big.add(self.window, self.base);
                }
                big.dyadic()
            }
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.dyadic().encode(self.special, out);
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or
    /// [`DecodeError::Invalid`] when they are not those of a sum.
    pub fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = bytes.varint()?;
        let special = if head & 2 == 0 { 0 } else { bytes.u8()? };
        if (special == 0) != (head & 2 == 0) || special > 7 {
            return Err(DecodeError::Invalid("sum flags"));
        }
        let mut sum = Self { special, ..Self::default() };
        if head >> 2 > MAGNITUDE_BYTES_MAX as u64 {
            return Err(DecodeError::TooLarge("sum"));
        }
        let len = (head >> 2) as usize;
        if len == 0 {
            return if head & 1 == 0 { Ok(sum) } else { Err(DecodeError::Invalid("negative zero sum")) };
        }
        let exponent = bytes.zigzag()?;
        let magnitude = if len > PLAIN_BYTES_MAX {
            Cow::Owned(read_runs(len, bytes)?)
        } else {
            Cow::Borrowed(bytes.bytes(len)?)
        };
        if !(-2148..=2176).contains(&exponent) || magnitude[0] & 1 == 0 || magnitude[len - 1] == 0 {
            return Err(DecodeError::Invalid("sum"));
        }
        sum.add_magnitude(head & 1 == 1, &magnitude, exponent as i32);
        Ok(sum)
    }

    fn add_magnitude(&mut self, negative: bool, magnitude: &[u8], exponent: i32) {
        for (i, chunk) in magnitude.chunks(8).enumerate() {
            let mut limb = [0; 8];
            limb[..chunk.len()].copy_from_slice(chunk);
            let limb = i128::from(u64::from_le_bytes(limb));
            self.add_scaled(if negative { -limb } else { limb }, exponent + 64 * i as i32);
        }
    }

    /// `count * squares - sum^2`, exactly: N^2 times the variance. Never negative for the sums of values.
    pub fn spread(count: u64, sum: &Dyadic, squares: &Dyadic) -> Self {
        let mut spread = Self::default();
        for (i, &limb) in squares.limbs.iter().enumerate() {
            spread.add_product(false, limb, count, squares.exponent + 64 * i as i32);
        }
        for (i, &a) in sum.limbs.iter().enumerate() {
            for (j, &b) in sum.limbs.iter().enumerate() {
                spread.add_product(true, a, b, 2 * sum.exponent + 64 * (i + j) as i32);
            }
        }
        spread
    }

    fn add_product(&mut self, negative: bool, a: u64, b: u64, exponent: i32) {
        let product = u128::from(a) * u128::from(b);
        for (i, half) in split_limbs(product).into_iter().enumerate() {
            let half = i128::from(half);
            self.add_scaled(if negative { -half } else { half }, exponent + 64 * i as i32);
        }
    }

    /// The sum as SQL sees it: NaN for NaN or opposite infinities, else the correctly rounded double.
    pub fn to_f64(&self) -> f64 {
        match self.special {
            0 => self.dyadic().to_f64(),
            special::POSITIVE_INFINITY => f64::INFINITY,
            special::NEGATIVE_INFINITY => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }
}

/// One more than `mantissa` can be shifted left inside an i128 without losing its sign.
fn room(mantissa: i128) -> i32 {
    mantissa.unsigned_abs().leading_zeros() as i32
}

fn split_limbs(x: u128) -> [u64; 2] {
    [x as u64, (x >> 64) as u64]
}

/// `sum of limbs[i] * 2^(64 * (start + i))`, two's complement; the top limb is pure sign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Big {
    start: i32,
    limbs: Vec<u64>,
}

impl Big {
    fn add(&mut self, mantissa: i128, exponent: i32) {
        let limb = exponent.div_euclid(64);
        let shift = exponent.rem_euclid(64) as u32;
        // 128 bits shifted by up to 63: three limbs, the third holding the sign.
        let low = (mantissa << shift) as u128;
        let high = if shift == 0 { mantissa >> 127 } else { mantissa >> (128 - shift) };
        self.add_limbs(limb, &[low as u64, (low >> 64) as u64, high as u64]);
    }

    /// Adds a finite double.
    #[cfg(any(test, not(feature = "sketches")))]
    pub(crate) fn add_double(&mut self, x: f64) {
        let (mantissa, exponent) = split(x);
        let shift = exponent.rem_euclid(64) as u32;
        // The upper half of the mantissa, shifted by less than 64, without a number of more bits.
        let high = mantissa >> 1 >> (63 - shift);
        self.add_limbs(exponent.div_euclid(64), &[(mantissa << shift) as u64, high as u64]);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if !other.limbs.is_empty() {
            self.add_limbs(other.start, &other.limbs);
        }
    }

    /// Adds a two's complement number whose lowest limb is number `start`.
    fn add_limbs(&mut self, start: i32, limbs: &[u64]) {
        self.reserve(start, limbs.len());
        let sign = sign_limb(limbs[limbs.len() - 1]);
        let mut carry = false;
        for (i, mine) in self.limbs[(start - self.start) as usize..].iter_mut().enumerate() {
            let (sum, c1) = mine.overflowing_add(limbs.get(i).copied().unwrap_or(sign));
            let (sum, c2) = sum.overflowing_add(u64::from(carry));
            *mine = sum;
            carry = c1 | c2;
        }
    }

    /// Grows to cover `len` limbs from `start` and one more above, so that a carry cannot be lost.
    fn reserve(&mut self, start: i32, len: usize) {
        if self.limbs.is_empty() {
            self.start = start;
            self.limbs = vec![0];
        }
        if start < self.start {
            let missing = (self.start - start) as usize;
            let mut limbs = vec![0; missing];
            limbs.extend_from_slice(&self.limbs);
            self.limbs = limbs;
            self.start = start;
        }
        let top = self.limbs[self.limbs.len() - 1];
        let wanted = (start - self.start) as usize + len + 1;
        // A top limb that is not pure sign also needs one above it.
        let spare = usize::from(top != sign_limb(top));
        if wanted > self.limbs.len() || spare > 0 {
            self.limbs.resize(wanted.max(self.limbs.len() + spare), sign_limb(top));
        }
    }

    pub(crate) fn dyadic(mut self) -> Dyadic {
        let negative = self.limbs.last().is_some_and(|&top| sign_limb(top) != 0);
        if negative {
            let mut carry = true;
            for limb in &mut self.limbs {
                (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
            }
        }
        Dyadic::new(negative, &self.limbs, self.start * 64)
    }
}

fn sign_limb(top: u64) -> u64 {
    ((top as i64) >> 63) as u64
}

/// A dyadic rational in lowest terms: `magnitude * 2^exponent`, the magnitude odd; zero has no limbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dyadic {
    /// Below zero.
    pub negative: bool,
    /// Little-endian limbs, odd, without leading zero limbs.
    pub limbs: Vec<u64>,
    /// Power of two.
    pub exponent: i32,
}

impl Dyadic {
    /// Brings `limbs * 2^exponent` into lowest terms.
    pub fn new(negative: bool, limbs: &[u64], exponent: i32) -> Self {
        let len = limbs.iter().rposition(|&l| l != 0).map_or(0, |i| i + 1);
        let Some(first) = limbs.iter().position(|&l| l != 0) else {
            return Self { negative: false, limbs: Vec::new(), exponent: 0 };
        };
        let zeros = limbs[first].trailing_zeros();
        let limbs = &limbs[first..len];
        let mut odd: Vec<u64> = Vec::with_capacity(limbs.len());
        for (i, &limb) in limbs.iter().enumerate() {
            let above = limbs.get(i + 1).copied().unwrap_or(0);
            odd.push(if zeros == 0 { limb } else { (limb >> zeros) | (above << (64 - zeros)) });
        }
        if odd.last() == Some(&0) {
            odd.pop();
        }
        Self { negative, limbs: odd, exponent: exponent + 64 * first as i32 + zeros as i32 }
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    /// The bits of the magnitude.
    pub fn bits(&self) -> i32 {
        self.limbs.last().map_or(0, |top| 64 * self.limbs.len() as i32 - top.leading_zeros() as i32)
    }

    /// The power of two just above the absolute value; meaningless for zero.
    pub fn ceiling(&self) -> i32 {
        self.bits() + self.exponent
    }

    /// True when `|self| <= count * 2^power`.
    pub fn within(&self, count: u64, power: i32) -> bool {
        let Some((&top, below)) = self.limbs.split_last() else { return true };
        if count == 0 {
            return false;
        }
        let count_bits = 64 - count.leading_zeros() as i32;
        match self.ceiling().cmp(&(power + count_bits)) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                // Both with their highest bit at the top: then the bits below decide.
                let zeros = top.leading_zeros();
                let next = below.last().copied().unwrap_or(0);
                let high = if zeros == 0 { top } else { (top << zeros) | (next >> (64 - zeros)) };
                let bound = count << count.leading_zeros();
                // An odd magnitude of more than 64 bits has one below `high`.
                high < bound || (high == bound && self.bits() <= 64)
            }
        }
    }

    pub(crate) fn encode(&self, special: u8, out: &mut Vec<u8>) {
        let len = (self.bits() as u64).div_ceil(8);
        out.put_varint(len << 2 | u64::from(special != 0) << 1 | u64::from(self.negative));
        if special != 0 {
            out.push(special);
        }
        if len > 0 {
            out.put_zigzag(i64::from(self.exponent));
            let start = out.len();
            self.limbs.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
            out.truncate(start + len as usize);
            if len > PLAIN_BYTES_MAX as u64 {
                let magnitude = out.split_off(start);
                put_runs(&magnitude, out);
            }
        }
    }

    /// The nearest double, ties to even; overflow is an infinity.
    pub fn to_f64(&self) -> f64 {
        let Some((&top, below)) = self.limbs.split_last() else {
            return 0.0;
        };
        let (next, rest) = below.split_last().map_or((0, below), |(&n, rest)| (n, rest));
        let both = (u128::from(top) << 64 | u128::from(next)) << top.leading_zeros();
        let sticky = both as u64 != 0 || rest.iter().any(|&l| l != 0);
        let value = round((both >> 64) as u64, sticky, self.ceiling() - 1);
        if self.negative { -value } else { value }
    }
}

/// Writes bytes as literals (length, bytes) and runs (length << 1, + 1 for ff), in turn, until all are written.
/// A run is as long as it can be, and at least [`RUN_MIN`].
fn put_runs(bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < bytes.len() {
        let literal = (at..bytes.len()).find(|&i| run_len(&bytes[i..]) >= RUN_MIN).unwrap_or(bytes.len());
        out.put_blob(&bytes[at..literal]);
        at = literal;
        if at < bytes.len() {
            let run = run_len(&bytes[at..]);
            out.put_varint((run as u64) << 1 | u64::from(bytes[at] & 1));
            at += run;
        }
    }
}

/// How many bytes at the start are all 00 or all ff.
fn run_len(bytes: &[u8]) -> usize {
    match bytes[0] {
        fill @ (0 | 0xff) => bytes.iter().position(|&b| b != fill).unwrap_or(bytes.len()),
        _ => 0,
    }
}

/// Reads what [`put_runs`] wrote for `len` bytes, and nothing else.
fn read_runs(len: usize, bytes: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let before = bytes.peek_rest();
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        out.extend_from_slice(bytes.blob(len - out.len())?);
        if out.len() < len {
            let run = bytes.varint()?;
            if run >> 1 > (len - out.len()) as u64 {
                return Err(DecodeError::TooLarge("run"));
            }
            let fill = if run & 1 == 1 { 0xff } else { 0 };
            out.resize(out.len() + (run >> 1) as usize, fill);
        }
    }
    let mut again = Vec::new();
    put_runs(&out, &mut again);
    let canonical = before[..before.len() - bytes.remaining()] == again[..];
    if canonical { Ok(out) } else { Err(DecodeError::Invalid("runs of a sum")) }
}

/// The double nearest to `top * 2^(exponent - 63)` plus a bit more when `sticky`; `top` has its highest bit set.
fn round(top: u64, sticky: bool, exponent: i32) -> f64 {
    if exponent > 1023 {
        return f64::INFINITY;
    }
    let kept = 53 - (-1022 - exponent).max(0);
    if kept < 0 {
        return 0.0;
    }
    let mantissa = if kept == 0 { 0 } else { top >> (64 - kept) };
    let lost = top << kept;
    let half = 1 << 63;
    let up = lost > half || (lost == half && (sticky || mantissa & 1 == 1));
    let rounded = mantissa + u64::from(up);
    // For a normal number the mantissa's highest bit adds the one missing from the exponent; a carry out
    // of the mantissa moves to the next binade, or from the subnormals to the normals, or to infinity.
    let biased = (exponent + 1022).max(0) as u64;
    f64::from_bits((biased << 52) + rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&v| sum.add(v));
        sum
    }

    fn bytes(sum: &ExactSum) -> Vec<u8> {
        let mut out = Vec::new();
        sum.encode(&mut out);
        out
    }

    #[test]
    fn cancels_exactly_at_any_distance() {
        assert_eq!(sum(&[1e308, 1.0, -1e308]).to_f64(), 1.0);
        assert_eq!(sum(&[1e308, 5e-324, -1e308]).to_f64(), 5e-324);
        assert_eq!(sum(&[1e16, 1.0, 1.0, -1e16]).to_f64(), 2.0);
        assert_eq!(sum(&[0.1; 10]).to_f64(), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).to_f64(), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).to_f64(), f64::INFINITY);
        assert_eq!(bytes(&sum(&[3.5, 1e200, -3.5, -1e200])), bytes(&sum(&[])));
    }

    #[test]
    fn a_single_double_survives() {
        for x in [0.0, 1.0, -0.1, f64::MIN_POSITIVE, 5e-324, -2.5e-310, f64::MAX, 123_456.789] {
            assert_eq!(sum(&[x]).to_f64(), x);
            let encoded = bytes(&sum(&[x]));
            let decoded = ExactSum::decode(&mut Reader::new(&encoded)).unwrap();
            assert_eq!((decoded.to_f64(), bytes(&decoded)), (x, encoded));
        }
    }

    #[test]
    fn rounds_to_nearest_even() {
        let ulp = 2f64.powi(-52);
        assert_eq!(sum(&[1.0, ulp / 2.0]).to_f64(), 1.0);
        assert_eq!(sum(&[1.0 + ulp, ulp / 2.0]).to_f64(), 1.0 + 2.0 * ulp);
        assert_eq!(sum(&[1.0, ulp / 2.0, 1e-300]).to_f64(), 1.0 + ulp);
        assert_eq!(sum(&[f64::MIN_POSITIVE, -5e-324]).to_f64(), f64::MIN_POSITIVE - 5e-324);
    }

    #[test]
    fn squares_are_exact() {
        let mut squares = ExactSum::default();
        [0.1, -0.1, 1e-200, 1e200].iter().for_each(|&x| squares.add_square(x));
        let mut other = ExactSum::default();
        [1e200, 0.1, 1e-200, -0.1].iter().for_each(|&x| other.add_square(x));
        assert_eq!(bytes(&squares), bytes(&other));
        let mut one = ExactSum::default();
        one.add_square(1.0 + 2f64.powi(-52));
        one.add(-1.0);
        one.add(-(2f64.powi(-51)));
        assert_eq!(one.to_f64(), 2f64.powi(-104));
    }

    #[test]
    fn distant_terms_cost_their_own_bytes_only() {
        let spread = sum(&[1e300, -3.5, 5e-324, -1e-100]);
        let encoded = bytes(&spread);
        assert!(encoded.len() <= 4 * 11, "{}", encoded.len());
        let decoded = ExactSum::decode(&mut Reader::new(&encoded)).unwrap();
        assert_eq!(bytes(&decoded), encoded);
    }

    #[test]
    fn bounds_are_exact() {
        let dyadic = |limbs: &[u64], exponent| Dyadic::new(false, limbs, exponent);
        for (count, power) in [(1, 0), (3, 1024), (6, 1024), (u64::MAX, 2048), (1 << 63, -5)] {
            let most = dyadic(&[count], power);
            assert!(most.within(count, power) && !most.within(count - 1, power), "{count} {power}");
            // The least bit more, near and far below.
            assert!(!dyadic(&[1, count], power - 64).within(count, power), "{count} {power}");
            assert!(!dyadic(&[1, 0, 0, count], power - 192).within(count, power), "{count} {power}");
            assert!(dyadic(&[u64::MAX, count - 1], power - 64).within(count, power), "{count} {power}");
        }
        assert!(dyadic(&[], 0).within(0, 0) && !dyadic(&[1], -1074).within(0, 1024));
        assert_eq!(MAGNITUDE_BYTES_MAX, 533);
    }

    /// An infinity after values near the end of the range once counted as 2^1024.
    #[test]
    fn specials_are_seen_beside_huge_values() {
        for huge in [f64::MAX, 1e300, 1e292, -1e308] {
            assert_eq!(sum(&[huge, f64::INFINITY]).to_f64(), f64::INFINITY);
            assert_eq!(sum(&[huge, huge, f64::NEG_INFINITY]).to_f64(), f64::NEG_INFINITY);
            assert!(sum(&[huge, f64::NAN]).to_f64().is_nan());
        }
    }

    #[test]
    fn specials_do_not_depend_on_order() {
        assert!(sum(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).to_f64().is_nan());
        assert_eq!(sum(&[1.0, f64::NEG_INFINITY]).to_f64(), f64::NEG_INFINITY);
        assert!(sum(&[f64::NAN, f64::INFINITY]).to_f64().is_nan());
        let encoded = bytes(&sum(&[1.5, f64::INFINITY]));
        let decoded = ExactSum::decode(&mut Reader::new(&encoded)).unwrap();
        assert_eq!(bytes(&decoded), encoded);
    }
}
