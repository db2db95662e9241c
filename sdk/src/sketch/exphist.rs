//! Exponential histogram of OpenTelemetry's data model: buckets whose width follows the values.
//!
//! State: a scale, counts of the positive and of the negative values by bucket, and a count of zeros. At scale s
//! bucket i has the magnitudes above `base^i` up to and including `base^(i + 1)`, with `base = 2^(2^-s)`. The scale is
//! the highest of -10..=20 at which neither side spans more than `buckets_max` buckets. Both depend only on the values: a
//! bucket of scale 20 decides the one of every lower scale, and halving the scale joins two neighbours. So merge (halve to
//! the lower scale, add, halve until it fits) is commutative and associative. Identity: empty, at scale 20. More than
//! 2^64 - 1 values are full, which absorbs. NaNs and infinities are not counted, as OpenTelemetry's data points have no
//! place for them.
//! Answer: a quantile is within a relative error of `(base - 1) / (base + 1)`. At the default of 160 buckets and values
//! within a factor of 900 the scale is 4 and the error 2.2 %. Powers of two are where the data model wants them; other
//! magnitudes closer to a bound than 2^-45 of their binary logarithm may be in the neighbouring bucket, the same
//! everywhere.
//! After the OpenTelemetry metrics data model ("ExponentialHistogram") and Masson et al. (DDSketch), 2019.
//! Bytes: `FORMAT.md`, "States".

use super::buckets::Buckets;
use super::math;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;

/// The highest scale: about a million buckets for each doubling.
pub const SCALE_MAX: i32 = 20;
/// The lowest scale: all doubles in three buckets.
pub const SCALE_MIN: i32 = -10;
/// Bucket of the smallest and of the largest double, at the highest scale.
const NUMBERS: (i32, i32) = (-(1_074 << SCALE_MAX) - 1, (1_024 << SCALE_MAX) - 1);
/// In place of the scale: nothing but this.
const HEAD_EMPTY: u64 = 0;
/// In place of the scale: more values than can be counted.
const HEAD_FULL: u64 = 1;
/// What is added to the scale.
const HEAD_SCALE: i32 = 2 - SCALE_MIN;

/// A histogram.
#[derive(Clone, Debug)]
pub struct ExpHistogram {
    scale: i32,
    full: bool,
    total: u64,
    zero: u64,
    positive: Buckets,
    negative: Buckets,
}

impl Default for ExpHistogram {
    fn default() -> Self {
        let (positive, negative) = (Buckets::default(), Buckets::default());
        Self { scale: SCALE_MAX, full: false, total: 0, zero: 0, positive, negative }
    }
}

/// The bucket of a positive, finite magnitude at the highest scale.
fn number(x: f64) -> i32 {
    // Subnormal doubles have no exponent to take.
    let log = if x < f64::MIN_POSITIVE { math::log2(x * TWO_54) - 54.0 } else { math::log2(x) };
    let place = log * f64::from(1 << SCALE_MAX);
    let whole = place as i64;
    // The smallest integer from `place` on, less one: a magnitude at a bound belongs below it.
    let up = whole + i64::from((whole as f64) < place);
    (up - 1).clamp(i64::from(NUMBERS.0), i64::from(NUMBERS.1)) as i32
}

const TWO_54: f64 = (1u64 << 54) as f64;

/// How often buckets from `low` to `high` must be halved to be no more than `max`.
fn halvings((low, high): (i32, i32), max: u16) -> u32 {
    let span = |by: &u32| i64::from(high >> by) - i64::from(low >> by);
    (0..i32::BITS).find(|by| span(by) < i64::from(max)).unwrap_or(0)
}

fn joined(a: Option<(i32, i32)>, b: Option<(i32, i32)>) -> Option<(i32, i32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

impl ExpHistogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, max: u16, x: f64) {
        if !x.is_finite() || self.full {
            return;
        }
        let Some(total) = self.total.checked_add(1) else { return self.fill() };
        self.total = total;
        if x == 0.0 {
            self.zero += 1;
            return;
        }
        let number = number(x.abs()) >> (SCALE_MAX - self.scale);
        let side = if x > 0.0 { &self.positive } else { &self.negative };
        let by = joined(side.ends(), Some((number, number))).map_or(0, |ends| halvings(ends, max));
        self.halve(by);
        let side = if x > 0.0 { &mut self.positive } else { &mut self.negative };
        side.add(number >> by, 1);
    }

    fn fill(&mut self) {
        *self = Self { full: true, total: u64::MAX, ..Self::default() };
    }

    fn halve(&mut self, by: u32) {
        self.scale -= by as i32;
        self.positive.halve(by);
        self.negative.halve(by);
    }

    /// Merges another histogram of the same number of buckets.
    pub fn merge(&mut self, max: u16, other: &Self) {
        let total = self.total.checked_add(other.total);
        let (Some(total), false) = (total, self.full || other.full) else { return self.fill() };
        let mut other = other.clone();
        let scale = self.scale.min(other.scale);
        self.halve((self.scale - scale) as u32);
        other.halve((other.scale - scale) as u32);
        let sides = [(&self.positive, &other.positive), (&self.negative, &other.negative)];
        let needed = sides.map(|(a, b)| joined(a.ends(), b.ends()).map_or(0, |ends| halvings(ends, max)));
        let by = needed[0].max(needed[1]);
        self.halve(by);
        other.halve(by);
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        self.zero += other.zero;
        self.total = total;
    }

    /// How many values; `None` when a u64 does not hold it.
    pub fn total(&self) -> Option<u64> {
        if self.full { None } else { Some(self.total) }
    }

    /// The scale.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// How many zeros.
    pub fn zeros(&self) -> u64 {
        self.zero
    }

    /// The largest relative error of a quantile: `(base - 1) / (base + 1)`.
    #[cfg(feature = "finish")]
    pub fn relative_error(&self) -> f64 {
        let base = bound(1, self.scale);
        if base.is_finite() { (base - 1.0) / (base + 1.0) } else { 1.0 }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.positive.heap_bytes() + self.negative.heap_bytes()
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.full {
            return out.put_varint(HEAD_FULL);
        }
        if self.total == 0 {
            return out.put_varint(HEAD_EMPTY);
        }
        out.put_varint((self.scale + HEAD_SCALE) as u64);
        out.put_varint(self.zero);
        self.positive.encode(out);
        self.negative.encode(out);
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(max: u16, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("scale");
        let head = bytes.varint()?;
        let mut state = Self::default();
        match head {
            HEAD_EMPTY => return Ok(state),
            HEAD_FULL => {
                state.fill();
                return Ok(state);
            }
            _ => {}
        }
        let scales = i64::from(SCALE_MIN)..=i64::from(SCALE_MAX);
        let scale = i64::try_from(head).map_err(|_| WRONG)? - i64::from(HEAD_SCALE);
        if !scales.contains(&scale) {
            return Err(WRONG);
        }
        state.scale = scale as i32;
        let shift = SCALE_MAX - state.scale;
        let range = i64::from(NUMBERS.0 >> shift)..=i64::from(NUMBERS.1 >> shift);
        state.zero = bytes.varint()?;
        state.total = state.zero;
        state.positive = Buckets::decode(&range, &mut state.total, bytes)?;
        state.negative = Buckets::decode(&range, &mut state.total, bytes)?;
        if state.total > 0 && state.is_highest(max) { Ok(state) } else { Err(WRONG) }
    }

    /// True when both sides fit, and no higher scale would do for the values, whichever they were: what spans at most
    /// half of the buckets would have fitted before the last halving.
    fn is_highest(&self, max: u16) -> bool {
        let span = |side: &Buckets| side.ends().map_or(0, |(low, high)| i64::from(high) - i64::from(low) + 1);
        let widest = span(&self.positive).max(span(&self.negative));
        widest <= i64::from(max) && (self.scale == SCALE_MAX || 2 * widest > i64::from(max))
    }
}

/// `2^(number * 2^-scale)`: infinite above the largest double, 0 below the smallest.
#[cfg(feature = "finish")]
fn bound(number: i64, scale: i32) -> f64 {
    // Powers of two by halving and doubling: exact.
    let unit = (0..scale.abs()).fold(1.0, |unit, _| if scale > 0 { unit * 0.5 } else { unit * 2.0 });
    let log = number as f64 * unit;
    if log >= 1_024.0 {
        return f64::INFINITY;
    }
    // In two factors where the function or its result leaves the normal doubles.
    let half = (log / 2.0) as i64 as f64;
    math::exp2(half) * math::exp2(log - half)
}

/// A bucket as a reader sees it: values from `low` to `high`; which of the two is included depends on the sign.
#[cfg(feature = "finish")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How many values.
    pub count: u64,
}

#[cfg(feature = "finish")]
impl ExpHistogram {
    /// The buckets that have values, ascending; zeros are from 0 to 0.
    pub fn buckets(&self) -> Vec<Bucket> {
        let ends = |number: i32| {
            let number = i64::from(number);
            (bound(number, self.scale), bound(number + 1, self.scale).min(f64::MAX))
        };
        let negative = self.negative.iter().rev().map(|(number, count)| {
            let (low, high) = ends(number);
            Bucket { low: -high, high: 0.0 - low, count }
        });
        let zero = Some(Bucket { low: 0.0, high: 0.0, count: self.zero }).filter(|zero| zero.count > 0);
        let positive = self.positive.iter().map(|(number, count)| {
            let (low, high) = ends(number);
            Bucket { low, high, count }
        });
        negative.chain(zero).chain(positive).collect()
    }

    /// A value within [`ExpHistogram::relative_error`] of the one at rank `q * (n - 1)`, rounded down; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q * self.total.checked_sub(1)? as f64) as u128;
        let buckets = self.buckets();
        let mut seen = 0u128;
        let found = buckets.iter().find(|bucket| {
            seen += u128::from(bucket.count);
            seen > rank
        });
        let bucket = found.or(buckets.last())?;
        // The harmonic mean of the ends is as far from one as from the other, relatively.
        let (low, high) = (bucket.low, bucket.high);
        let (near, far) = if high > 0.0 { (low, high) } else { (high, low) };
        Some(if far == 0.0 { 0.0 } else { 2.0 * near / (1.0 + near / far) })
    }
}

#[cfg(all(test, feature = "finish"))]
mod tests {
    use super::*;

    fn histogram(max: u16, values: impl IntoIterator<Item = f64>) -> ExpHistogram {
        let mut histogram = ExpHistogram::default();
        values.into_iter().for_each(|x| histogram.add(max, x));
        histogram
    }

    #[test]
    fn powers_of_two_are_the_upper_ends_of_their_buckets() {
        for exponent in [-1_074, -1_073, -1_022, -1, 0, 1, 10, 1_023] {
            let x = bound(exponent, 0);
            assert_eq!(i64::from(number(x)), (exponent << 20) - 1, "2^{exponent}");
        }
        assert_eq!((number(f64::from_bits(1)), number(f64::MAX)), NUMBERS);
        assert_eq!(bound(2, 1), 2.0);
        assert!((bound(1, 1) / 2f64.sqrt() - 1.0).abs() < 1e-14);
        assert_eq!(bound(1, -10), f64::INFINITY);
    }

    /// The example of the data model: at scale 0 the values 1, 2, 4 are in buckets -1, 0, 1.
    #[test]
    fn the_scale_is_the_highest_that_fits() {
        let one = histogram(160, [1.0]);
        assert_eq!((one.scale(), one.positive.ends()), (20, Some((-1, -1))));
        let few = histogram(4, [1.0, 2.0, 4.0]);
        assert_eq!((few.scale(), few.positive.ends()), (0, Some((-1, 1))));
        let wide = histogram(4, [f64::from_bits(1), f64::MAX]);
        assert_eq!((wide.scale(), wide.positive.ends()), (-10, Some((-2, 0))));
        let thousand = histogram(160, (2..1_000).map(f64::from));
        assert_eq!(thousand.scale(), 4);
    }

    #[test]
    fn order_does_not_matter() {
        let values = [5e-324, 3.0, -2.0, 1e300, 0.0, 7.5, -1e-9, f64::MAX, 42.0];
        let mut bytes = Vec::new();
        histogram(5, values).encode(&mut bytes);
        for turn in 0..values.len() {
            let (left, right) = (&values[turn..], &values[..turn]);
            let mut merged = histogram(5, left.iter().copied().rev());
            merged.merge(5, &histogram(5, right.iter().copied()));
            let mut other = Vec::new();
            merged.encode(&mut other);
            assert_eq!(bytes, other, "{turn}");
        }
    }

    #[test]
    fn quantiles_are_within_the_stated_error() {
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i - 2_000) * 0.37).collect();
        let histogram = histogram(160, values.iter().copied());
        for q in [0.0, 0.01, 0.2, 0.25, 0.5, 0.9, 0.999, 1.0] {
            let truth = values[(q * 9_999.0) as usize];
            let found = histogram.quantile(q).unwrap();
            assert!(
                (found - truth).abs() <= truth.abs() * histogram.relative_error() + 1e-9,
                "{q}: {found} for {truth}"
            );
        }
        assert_eq!(ExpHistogram::default().quantile(0.5), None);
    }

    #[test]
    fn a_scale_that_no_values_give_is_refused() {
        let decode = |bytes: &[u8]| ExpHistogram::decode(4, &mut Reader::new(bytes)).map(|_| ());
        assert_eq!(decode(&[32, 0, 1, 0, 1, 0]), Ok(()));
        assert!(decode(&[31, 0, 1, 0, 1, 0]).is_err(), "one value fits at scale 20");
        assert!(decode(&[32, 0, 2, 0, 1, 3, 1, 0]).is_err(), "five buckets");
        assert!(decode(&[32, 0, 0, 0]).is_err() && decode(&[33, 0, 0, 0]).is_err());
        assert_eq!(decode(&[31, 0, 2, 0, 1, 1, 1, 0]), Ok(()));
    }
}
