//! Counts by bucket number, only of buckets that have any: what the histograms hold.
//!
//! Invariants: ascending by number, no count is 0. Whoever owns them keeps all counts together within a u64.

use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Counts by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets(Vec<(i32, u64)>);

impl Buckets {
    /// Counts `count` more in a bucket; `count` is not 0.
    #[inline]
    pub fn add(&mut self, number: i32, count: u64) {
        match self.0.binary_search_by_key(&number, |bucket| bucket.0) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (number, count)),
        }
    }

    /// Counts all of the other's.
    pub fn merge(&mut self, other: &Self) {
        if self.0.is_empty() {
            return self.clone_from(other);
        }
        let (mut merged, mut rest) = (Vec::with_capacity(self.0.len().max(other.0.len())), &other.0[..]);
        for &(number, count) in &self.0 {
            let before = rest.partition_point(|theirs| theirs.0 < number);
            merged.extend_from_slice(&rest[..before]);
            rest = &rest[before..];
            let same = rest.first().filter(|theirs| theirs.0 == number).map_or(0, |theirs| theirs.1);
            rest = &rest[usize::from(same > 0)..];
            merged.push((number, count + same));
        }
        merged.extend_from_slice(rest);
        self.0 = merged;
    }

    /// Joins each `2^by` neighbours.
    pub fn halve(&mut self, by: u32) {
        if by == 0 {
            return;
        }
        let mut joined: Vec<(i32, u64)> = Vec::with_capacity(self.0.len());
        for &(number, count) in &self.0 {
            match joined.last_mut().filter(|last| last.0 == number >> by) {
                Some(last) => last.1 += count,
                None => joined.push((number >> by, count)),
            }
        }
        self.0 = joined;
    }

    /// The lowest and the highest number.
    pub fn ends(&self) -> Option<(i32, i32)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }

    /// All, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(i32, u64)>()
    }

    /// How many, then for each its number (the first as zigzag, the others as the distance less 1) and its count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.0.len() as u64);
        let mut before = None;
        for &(number, count) in &self.0 {
            match before {
                None => out.put_zigzag(i64::from(number)),
                Some(before) => out.put_varint((i64::from(number) - i64::from(before) - 1) as u64),
            }
            before = Some(number);
            out.put_varint(count);
        }
    }

    /// Reads buckets with numbers inside of `range`, and adds their counts to `total`.
    pub fn decode(
        range: &RangeInclusive<i64>,
        total: &mut u64,
        bytes: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("bucket");
        let len = bytes.count(2, (range.end() - range.start()) as usize + 1)?;
        let mut buckets: Vec<(i32, u64)> = Vec::with_capacity(len);
        for _ in 0..len {
            let number = match buckets.last() {
                None => bytes.zigzag()?,
                Some(before) => {
                    let distance = i64::try_from(bytes.varint()?).map_err(|_| WRONG)?;
                    distance.checked_add(i64::from(before.0) + 1).ok_or(WRONG)?
                }
            };
            let count = bytes.varint()?;
            if !range.contains(&number) || count == 0 {
                return Err(WRONG);
            }
            *total = total.checked_add(count).ok_or(WRONG)?;
            buckets.push((number as i32, count));
        }
        Ok(Self(buckets))
    }
}
