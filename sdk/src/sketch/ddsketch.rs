//! DDSketch: quantiles of doubles with a relative error, merged exactly.
//!
//! State: up to [`RAW_MAX`] values themselves; above, counts in buckets whose bounds grow by
//! `gamma = (1 + alpha) / (1 - alpha)`: value x > 0 is in bucket `ceil(log2(x) / log2(gamma))`, negative
//! values likewise by magnitude, and one bucket holds zero. Which form it is depends only on the count, and
//! buckets only on the values, so merge (addition) is commutative and associative. Identity: empty. Buckets
//! are never collapsed; instead the range is clamped: magnitudes below 2^-64 count as zero, above 2^128
//! (and infinities) as 2^128. NaN is not counted.
//! Error: a quantile is within `alpha` (relative, plus 1e-9 for the arithmetic) of the true one for
//! magnitudes inside the range; exact from raw values. Rank: the value at rank `q * (n - 1)` from 0,
//! interpolated between neighbours, as PostgreSQL's `percentile_cont`.
//! Worst case: `192 / log2(gamma)` buckets for each sign, 16 bytes each: 2 x 106 kB at 1 %, 2 x 10 MB at 0.01 %.
//! After Masson, Rim, Lee 2019 (arXiv:1908.10693). Bytes: `FORMAT.md`, "States".

use super::math;
use crate::codec::{DecodeError, Reader, Writer};
use crate::flavor::SMALL;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Values kept as they are.
pub const RAW_MAX: usize = 8;
/// Magnitudes below count as zero.
const MAGNITUDE_MIN: f64 = f64::from_bits((1023 - 64) << 52);
/// Magnitudes above count as this.
const MAGNITUDE_MAX: f64 = f64::from_bits((1023 + 128) << 52);

/// What all sketches of one relative error share.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// 1 / log2(gamma).
    buckets_per_octave: f64,
    #[cfg(feature = "finish")]
    alpha: f64,
    index_min: i32,
    index_max: i32,
}

impl Mapping {
    /// A relative error in millionths, 100..=200_000.
    pub fn new(alpha_ppm: u32) -> Self {
        let alpha = f64::from(alpha_ppm) / 1e6;
        // gamma = (1 + alpha) / (1 - alpha), so alpha itself is the argument of the series.
        let buckets_per_octave = 1.0 / math::log2_ratio(alpha);
        let mut mapping = Self {
            buckets_per_octave,
            #[cfg(feature = "finish")]
            alpha,
            index_min: 0,
            index_max: 0,
        };
        mapping.index_min = mapping.index(MAGNITUDE_MIN);
        mapping.index_max = mapping.index(MAGNITUDE_MAX);
        mapping
    }

    /// The bucket of a magnitude inside the range.
    #[inline]
    fn index(&self, magnitude: f64) -> i32 {
        let exact = math::log2(magnitude) * self.buckets_per_octave;
        let cut = exact as i32;
        cut + i32::from(f64::from(cut) < exact)
    }

    /// Where a value that is not NaN is counted.
    #[inline]
    pub fn place(&self, x: f64) -> Place {
        let magnitude = x.abs();
        if magnitude < MAGNITUDE_MIN {
            return Place::Zero;
        }
        let index = self.index(if magnitude > MAGNITUDE_MAX { MAGNITUDE_MAX } else { magnitude });
        if x < 0.0 { Place::Negative(index) } else { Place::Positive(index) }
    }

    /// The value that stands for a bucket: at most `alpha` away from everything in it.
    #[cfg(feature = "finish")]
    fn value(&self, index: i32) -> f64 {
        math::exp2(f64::from(index) / self.buckets_per_octave) * (1.0 - self.alpha)
    }
}

/// A bucket of a sketch.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// That of zero.
    Zero,
    /// One of the negative values.
    Negative(i32),
    /// One of the positive values.
    Positive(i32),
}

/// Raw values or buckets.
#[derive(Clone, Debug)]
pub struct DdSketch(Repr);

#[derive(Clone, Debug)]
enum Repr {
    /// Ascending.
    Raw(Vec<f64>),
    Buckets(Box<Store>),
}

#[derive(Clone, Debug, Default)]
struct Store {
    zero: u64,
    negative: Buckets,
    positive: Buckets,
}

/// Counts by bucket, ascending by index, none of them 0.
#[derive(Clone, Debug, Default)]
struct Buckets {
    indices: Vec<i32>,
    counts: Vec<u64>,
    /// Index less position of the bucket last found. Most gaps are in the tails, so that it holds for most
    /// buckets and saves the search.
    shift: i32,
}

impl Default for DdSketch {
    fn default() -> Self {
        Self(Repr::Raw(Vec::new()))
    }
}

impl DdSketch {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, mapping: &Mapping, x: f64) {
        if !x.is_nan() {
            self.add_placed(mapping, x, mapping.place(x));
        }
    }

    /// Adds a value that is not NaN and whose place is known.
    #[inline]
    pub fn add_placed(&mut self, mapping: &Mapping, x: f64, place: Place) {
        match &mut self.0 {
            Repr::Buckets(store) => store.add(place),
            Repr::Raw(_) => self.add_raw(mapping, x + 0.0),
        }
    }

    /// Reads what tells where a bucket is.
    #[inline]
    pub fn touch(&self) -> u64 {
        match &self.0 {
            Repr::Buckets(store) => store.positive.shift as u64 ^ store.negative.shift as u64,
            Repr::Raw(values) => values.len() as u64,
        }
    }

    /// Reads the bucket where it was last found.
    #[inline]
    pub fn touch_bucket(&self, place: Place) -> u64 {
        match (&self.0, place) {
            (Repr::Buckets(store), Place::Positive(index)) => store.positive.touch(index),
            (Repr::Buckets(store), Place::Negative(index)) => store.negative.touch(index),
            _ => 0,
        }
    }

    #[inline(never)]
    fn add_raw(&mut self, mapping: &Mapping, x: f64) {
        let Repr::Raw(values) = &mut self.0 else { return };
        if values.len() < RAW_MAX {
            let at = values.partition_point(|v| *v <= x);
            return values.insert(at, x);
        }
        self.store(mapping).add(mapping.place(x));
    }

    /// The buckets, made from the raw values if need be.
    fn store(&mut self, mapping: &Mapping) -> &mut Store {
        if let Repr::Raw(values) = &self.0 {
            let mut store = Box::new(Store::default());
            values.iter().for_each(|&x| store.add(mapping.place(x)));
            self.0 = Repr::Buckets(store);
        }
        match &mut self.0 {
            Repr::Buckets(store) => store,
            Repr::Raw(_) => unreachable!("turned into buckets above"),
        }
    }

    /// Merges another sketch of the same mapping.
    pub fn merge(&mut self, mapping: &Mapping, other: &Self) {
        match &other.0 {
            Repr::Raw(values) => values.iter().for_each(|&x| self.add(mapping, x)),
            Repr::Buckets(theirs) => {
                let mine = self.store(mapping);
                mine.zero = mine.zero.saturating_add(theirs.zero);
                mine.negative.merge(&theirs.negative);
                mine.positive.merge(&theirs.positive);
            }
        }
    }

    /// How many values; 2^64 - 1 when there are more.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Repr::Raw(values) => values.len() as u64,
            Repr::Buckets(store) => u64::try_from(store.count()).unwrap_or(u64::MAX),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Raw(values) => values.capacity() * 8,
            Repr::Buckets(s) => {
                core::mem::size_of::<Store>() + s.negative.heap_bytes() + s.positive.heap_bytes()
            }
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Raw(values) => {
                out.put_varint(values.len() as u64);
                values.iter().for_each(|x| out.extend_from_slice(&x.to_bits().to_le_bytes()));
            }
            Repr::Buckets(store) => {
                out.put_varint(RAW_MAX as u64 + 1);
                out.put_varint(store.zero);
                store.negative.encode(out);
                store.positive.encode(out);
            }
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or
    /// [`DecodeError::Invalid`] when they are not those of a sketch.
    pub fn decode(mapping: &Mapping, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        if count <= RAW_MAX as u64 {
            return Ok(Self(Repr::Raw(read_raw(count as usize, bytes)?)));
        }
        if count != RAW_MAX as u64 + 1 {
            return Err(DecodeError::Invalid("sketch form"));
        }
        let store = Store {
            zero: bytes.varint()?,
            negative: Buckets::decode(mapping, bytes)?,
            positive: Buckets::decode(mapping, bytes)?,
        };
        if store.count() <= RAW_MAX as u128 {
            return Err(DecodeError::Invalid("buckets for few values"));
        }
        Ok(Self(Repr::Buckets(Box::new(store))))
    }
}

fn read_raw(count: usize, bytes: &mut Reader<'_>) -> Result<Vec<f64>, DecodeError> {
    let raw = bytes.bytes(count * 8)?;
    let values: Vec<f64> = raw.as_chunks().0.iter().map(|&eight| f64::from_le_bytes(eight)).collect();
    let canonical = values.is_sorted() && !values.iter().any(|x| x.is_nan() || x.to_bits() == 1 << 63);
    if canonical { Ok(values) } else { Err(DecodeError::Invalid("raw values")) }
}

impl Store {
    #[inline]
    fn add(&mut self, place: Place) {
        match place {
            Place::Zero => self.zero = self.zero.saturating_add(1),
            Place::Negative(index) => self.negative.add(index, 1),
            Place::Positive(index) => self.positive.add(index, 1),
        }
    }

    fn count(&self) -> u128 {
        u128::from(self.zero) + self.negative.count() + self.positive.count()
    }
}

impl Buckets {
    #[inline]
    fn add(&mut self, index: i32, count: u64) {
        let guess = index.wrapping_sub(self.shift) as usize;
        if self.indices.get(guess) == Some(&index) {
            self.counts[guess] = self.counts[guess].saturating_add(count);
            return;
        }
        match self.indices.binary_search(&index) {
            Ok(at) => {
                self.counts[at] = self.counts[at].saturating_add(count);
                self.shift = index.wrapping_sub(at as i32);
            }
            Err(at) => {
                self.indices.insert(at, index);
                self.counts.insert(at, count);
            }
        }
    }

    #[inline]
    fn touch(&self, index: i32) -> u64 {
        let guess = index.wrapping_sub(self.shift) as usize;
        match (self.indices.get(guess), self.counts.get(guess)) {
            (Some(&index), Some(&count)) => index as u64 ^ count,
            _ => 0,
        }
    }

    fn merge(&mut self, other: &Self) {
        if SMALL {
            return other.iter().for_each(|(index, count)| self.add(index, count));
        }
        if self.indices.is_empty() {
            self.clone_from(other);
            return;
        }
        // Merging from both ends into new vectors: one insertion per bucket would be quadratic.
        let (mut indices, mut counts) = (Vec::new(), Vec::new());
        let mut theirs = other.iter().peekable();
        for (index, count) in self.iter() {
            while let Some((i, c)) = theirs.next_if(|&(i, _)| i < index) {
                indices.push(i);
                counts.push(c);
            }
            let same = theirs.next_if(|&(i, _)| i == index).map_or(0, |(_, c)| c);
            indices.push(index);
            counts.push(count.saturating_add(same));
        }
        for (i, c) in theirs {
            indices.push(i);
            counts.push(c);
        }
        *self = Self { indices, counts, shift: 0 };
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> + '_ {
        self.indices.iter().copied().zip(self.counts.iter().copied())
    }

    fn count(&self) -> u128 {
        self.counts.iter().map(|&c| u128::from(c)).sum()
    }

    fn heap_bytes(&self) -> usize {
        self.indices.capacity() * 4 + self.counts.capacity() * 8
    }

    /// How many, then for each bucket its distance from the one before (the first: from index 0, zigzag)
    /// and its count.
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.indices.len() as u64);
        let mut before = None;
        for (index, count) in self.iter() {
            match before {
                None => out.put_zigzag(i64::from(index)),
                Some(before) => out.put_varint((index - before - 1) as u64),
            }
            before = Some(index);
            out.put_varint(count);
        }
    }

    fn decode(mapping: &Mapping, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("bucket");
        let range = i64::from(mapping.index_min)..=i64::from(mapping.index_max);
        let len = bytes.count(2, (mapping.index_max - mapping.index_min) as usize + 1)?;
        let mut buckets =
            Self { indices: Vec::with_capacity(len), counts: Vec::with_capacity(len), shift: 0 };
        let mut before = None;
        for _ in 0..len {
            let index = match before {
                None => bytes.zigzag()?,
                Some(before) => i64::try_from(bytes.varint()?)
                    .ok()
                    .and_then(|d| d.checked_add(before + 1))
                    .ok_or(WRONG)?,
            };
            let count = bytes.varint()?;
            if !range.contains(&index) || count == 0 {
                return Err(WRONG);
            }
            before = Some(index);
            buckets.indices.push(index as i32);
            buckets.counts.push(count);
        }
        Ok(buckets)
    }
}

#[cfg(feature = "finish")]
impl DdSketch {
    /// The value at rank `q * (n - 1)`, interpolated; `None` when empty.
    pub fn quantile(&self, mapping: &Mapping, q: f64) -> Option<f64> {
        let count = self.count();
        let rank = q * count.checked_sub(1)? as f64;
        let below = rank as u64;
        let part = rank - below as f64;
        let low = self.at_rank(mapping, below);
        if part == 0.0 {
            return Some(low);
        }
        let high = self.at_rank(mapping, below + 1);
        // Equal infinities must not become NaN.
        Some(if low == high { low } else { low + (high - low) * part })
    }

    fn at_rank(&self, mapping: &Mapping, rank: u64) -> f64 {
        let store = match &self.0 {
            Repr::Raw(values) => return values.get(rank as usize).copied().unwrap_or(0.0),
            Repr::Buckets(store) => store,
        };
        let negative = store.negative.iter().rev().map(|(i, c)| (-mapping.value(i), c));
        let zero = core::iter::once((0.0, store.zero));
        let positive = store.positive.iter().map(|(i, c)| (mapping.value(i), c));
        let mut seen = 0u128;
        let mut last = 0.0;
        for (value, count) in negative.chain(zero).chain(positive).filter(|&(_, count)| count > 0) {
            seen += u128::from(count);
            last = value;
            if seen > u128::from(rank) {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(mapping: &Mapping, values: impl IntoIterator<Item = f64>) -> DdSketch {
        let mut sketch = DdSketch::default();
        values.into_iter().for_each(|x| sketch.add(mapping, x));
        sketch
    }

    fn bytes(sketch: &DdSketch) -> Vec<u8> {
        let mut out = Vec::new();
        sketch.encode(&mut out);
        out
    }

    #[test]
    fn every_magnitude_is_in_its_bucket() {
        for alpha_ppm in [100, 10_000, 200_000] {
            let mapping = Mapping::new(alpha_ppm);
            let alpha = f64::from(alpha_ppm) / 1e6;
            let gamma = (1.0 + alpha) / (1.0 - alpha);
            let mut x = MAGNITUDE_MIN;
            while x < MAGNITUDE_MAX {
                let upper = gamma.powi(mapping.index(x));
                assert!(x <= upper * (1.0 + 1e-9) && x >= upper / gamma * (1.0 - 1e-9), "{x} at {alpha}");
                x *= 1.017;
            }
        }
    }

    #[test]
    fn extremes_are_clamped_not_lost() {
        let mapping = Mapping::new(10_000);
        let odd =
            [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, -0.0, f64::NAN, 1.0, 2.0, 3.0, 4.0, 5.0];
        let sketch = sketch(&mapping, odd);
        let encoded = bytes(&sketch);
        let decoded = DdSketch::decode(&mapping, &mut Reader::new(&encoded)).unwrap();
        assert_eq!(bytes(&decoded), encoded);
        assert!(matches!(&decoded.0, Repr::Buckets(s) if s.count() == 10 && s.zero == 2));
    }

    #[test]
    fn non_canonical_forms_are_refused() {
        let mapping = Mapping::new(10_000);
        let few = [9, 0, 0, 1, 0, 8];
        assert_eq!(
            DdSketch::decode(&mapping, &mut Reader::new(&few)).unwrap_err(),
            DecodeError::Invalid("buckets for few values")
        );
        assert!(DdSketch::decode(&mapping, &mut Reader::new(&[9, 0, 0, 1, 0, 9])).is_ok());
        assert!(DdSketch::decode(&mapping, &mut Reader::new(&[9, 9, 0, 1, 0, 0])).is_err());
        assert!(DdSketch::decode(&mapping, &mut Reader::new(&[10])).is_err());
        let mut unsorted = bytes(&sketch(&mapping, [1.0, 2.0]));
        unsorted[1..].rotate_left(8);
        assert!(DdSketch::decode(&mapping, &mut Reader::new(&unsorted)).is_err());
    }

    #[cfg(feature = "finish")]
    #[test]
    fn quantiles_keep_the_stated_error() {
        for alpha_ppm in [100, 10_000, 100_000] {
            let mapping = Mapping::new(alpha_ppm);
            let mut values: Vec<f64> =
                (0..5000).map(|i| (f64::from(i) * 0.37).sin() * 1.7f64.powi(i % 40)).collect();
            let sketch = sketch(&mapping, values.iter().copied());
            values.sort_by(f64::total_cmp);
            for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = q * (values.len() - 1) as f64;
                let (low, high) = (values[rank as usize], values[rank.ceil() as usize]);
                let exact = low + (high - low) * rank.fract();
                let bound = (low.abs().max(high.abs())) * (f64::from(alpha_ppm) / 1e6 + 1e-9);
                let got = sketch.quantile(&mapping, q).unwrap();
                assert!((got - exact).abs() <= bound, "q={q}: {got} for {exact}");
            }
        }
    }

    #[cfg(feature = "finish")]
    #[test]
    fn few_values_are_exact() {
        let mapping = Mapping::new(200_000);
        let sketch = sketch(&mapping, [4.0, 1.0, 2.0, 3.0]);
        assert_eq!(sketch.quantile(&mapping, 0.5), Some(2.5));
        assert_eq!(sketch.quantile(&mapping, 1.0), Some(4.0));
        assert_eq!(DdSketch::default().quantile(&mapping, 0.5), None);
    }
}
