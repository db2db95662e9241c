//! Histogram over given bounds: exact counts of the values between them.
//!
//! State: counts by bucket. Bucket 0 has the values below the first bound, bucket i those from bound i on (counted
//! from 1) and below the next, as PostgreSQL's `width_bucket(x, bounds)`; NaN is above every bound. Identity: no
//! counts. Merge: addition; more than 2^64 - 1 values are full, which absorbs. Commutative and associative. Exact.
//! Bytes: `FORMAT.md`, "States".

use super::buckets::Buckets;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec;
use alloc::vec::Vec;

/// Counts by bucket; `None` when full.
#[derive(Clone, Debug)]
pub struct Histogram(Option<Counts>);

#[derive(Clone, Debug, Default)]
struct Counts {
    buckets: Buckets,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Some(Counts::default()))
    }
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, bounds: &[f64], x: f64) {
        let Some(counts) = &mut self.0 else { return };
        match counts.total.checked_add(1) {
            Some(total) => {
                counts.total = total;
                // NaN is above all bounds.
                let is_below = |bound: &f64| *bound <= x || x.is_nan();
                counts.buckets.add(bounds.partition_point(is_below) as i32, 1);
            }
            None => self.0 = None,
        }
    }

    /// Merges another histogram over the same bounds.
    pub fn merge(&mut self, other: &Self) {
        let total = self.total().zip(other.total()).and_then(|(mine, theirs)| mine.checked_add(theirs));
        match (&mut self.0, &other.0, total) {
            (Some(mine), Some(theirs), Some(total)) => {
                mine.total = total;
                mine.buckets.merge(&theirs.buckets);
            }
            _ => self.0 = None,
        }
    }

    /// How many values; `None` when a u64 does not hold it.
    pub fn total(&self) -> Option<u64> {
        self.0.as_ref().map(|counts| counts.total)
    }

    /// The counts of all buckets, one more than there are bounds; `None` when full.
    pub fn counts(&self, bounds: usize) -> Option<Vec<u64>> {
        let mut all = vec![0; bounds + 1];
        for (number, count) in self.0.as_ref()?.buckets.iter() {
            if let Some(place) = all.get_mut(number as usize) {
                *place = count;
            }
        }
        Some(all)
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |counts| counts.buckets.heap_bytes())
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, bounds: usize, out: &mut Vec<u8>) {
        match &self.0 {
            Some(counts) => counts.buckets.encode(out),
            None => out.put_varint(bounds as u64 + 2),
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(bounds: usize, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut ahead = bytes.clone();
        if ahead.varint()? == bounds as u64 + 2 {
            *bytes = ahead;
            return Ok(Self(None));
        }
        let mut total = 0;
        let buckets = Buckets::decode(&(0..=bounds as i64), &mut total, bytes)?;
        Ok(Self(Some(Counts { buckets, total })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_width_bucket() {
        let bounds = [0.0, 10.0, 20.0];
        let mut histogram = Histogram::default();
        let values = [-1.0, f64::NEG_INFINITY, -0.0, 9.99, 10.0, 20.0, f64::INFINITY, f64::NAN];
        values.iter().for_each(|x| histogram.add(&bounds, *x));
        assert_eq!(histogram.counts(3), Some(vec![2, 2, 1, 3]));
        assert_eq!(histogram.total(), Some(8));
    }

    #[test]
    fn more_values_than_a_u64_absorb() {
        let most = [&[1, 0][..], &[0xff; 9], &[1]].concat();
        let mut histogram = Histogram::decode(1, &mut Reader::new(&most)).unwrap();
        histogram.add(&[0.0], 1.0);
        let mut out = Vec::new();
        histogram.encode(1, &mut out);
        assert_eq!((histogram.counts(1), out), (None, vec![3]));
    }
}
