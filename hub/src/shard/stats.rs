//! What a shard group keeps about a view beside its rows (`view-2`).
//!
//! Bytes: version u8 = 2, count varint, then per counter, ascending by tag and without zeros: tag u8, value
//! varint. Tags 0..=5: groups, groups merged into `(other)`, what could not be read or merged, floor, how much of that is
//! kept in quarantine, and its bytes. Then nothing, or
//! a sweep: lo, hi, ties, base (varints), count varint, then per bucket, ascending: bucket u8, rows varint; the hand (the
//! rest). Version 1 was two varints, groups and other; it is still read.

use headwater::codec::{DecodeError, Reader, Writer};
use headwater::ids::ViewId;
use std::collections::BTreeMap;

/// One view in one shard group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewStats {
    /// Rows in the base, without `(other)`.
    pub groups: u64,
    /// Groups merged into `(other)` for want of room.
    pub other: u64,
    /// Rows of the base and sections of log records that could not be read or merged.
    pub quarantined: u64,
    /// How many of those are kept.
    pub kept: u64,
    /// Bytes of those.
    pub kept_bytes: u64,
    /// The largest weight a group had when it was merged into `(other)`: what any absent key weighs at most.
    pub floor: u64,
    /// While the view has more groups than it may have: how far its sweep is.
    pub sweep: Option<Sweep>,
}

/// A walk over the rows of a full view that merges the lightest into `(other)`, some rows per fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Rows that weigh less go.
    pub lo: u64,
    /// Rows from `lo` to here go, too, while there are `ties`.
    pub hi: u64,
    /// How many of those.
    pub ties: u64,
    /// The view's floor when this revolution began.
    pub base: u64,
    /// Rows that stay, by weight above `base` ([`bucket`]): the next revolution's `lo` and `hi` come from it.
    pub rows: BTreeMap<u8, u64>,
    /// The group key to go on from.
    pub hand: Vec<u8>,
}

/// The heaviest class.
pub const CLASS_MAX: u8 = 251;

/// Weights in 252 classes, four per power of two.
pub fn bucket(weight: u64) -> u8 {
    match weight {
        0..4 => weight as u8,
        _ => {
            let power = weight.ilog2();
            ((power - 1) * 4 + (weight >> (power - 2) & 3) as u32) as u8
        }
    }
}

/// The smallest weight of a class.
pub fn bucket_min(bucket: u8) -> u64 {
    match bucket {
        0..4 => bucket.into(),
        _ => (4 + u64::from(bucket) % 4) << (bucket / 4 - 1),
    }
}

/// Statistics per view of one shard group.
pub type StatsByView = BTreeMap<ViewId, ViewStats>;

const VERSION: u8 = 2;
const COUNTERS: usize = 6;

impl ViewStats {
    /// The plain counters; their positions are their tags.
    fn counters(&mut self) -> [&mut u64; COUNTERS] {
        let Self { groups, other, quarantined, floor, kept, kept_bytes, .. } = self;
        [groups, other, quarantined, floor, kept, kept_bytes]
    }

    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = self.clone();
        let all = copy.counters().into_iter().enumerate().map(|(tag, value)| (tag as u8, *value));
        let all: Vec<(u8, u64)> = all.filter(|(_, value)| *value > 0).collect();
        let mut out = vec![VERSION];
        out.put_varint(all.len() as u64);
        for (tag, value) in all {
            out.push(tag);
            out.put_varint(value);
        }
        if let Some(sweep) = &self.sweep {
            for value in [sweep.lo, sweep.hi, sweep.ties, sweep.base, sweep.rows.len() as u64] {
                out.put_varint(value);
            }
            for (bucket, rows) in &sweep.rows {
                out.push(*bucket);
                out.put_varint(*rows);
            }
            out.extend_from_slice(&sweep.hand);
        }
        out
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut stats = Self::default();
        match reader.u8()? {
            VERSION => {
                stats.decode_counters(&mut reader)?;
                stats.sweep = if reader.is_empty() { None } else { Some(Sweep::decode(&mut reader)?) };
            }
            1 => (stats.groups, stats.other) = (reader.varint()?, reader.varint()?),
            0 => return Err(DecodeError::Invalid("view statistics version")),
            _ => return Err(DecodeError::TooNew),
        }
        reader.finish()?;
        Ok(stats)
    }

    fn decode_counters(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let mut previous = None;
        for _ in 0..reader.count(2, 256)? {
            let tag = reader.u8()?;
            let value = reader.varint()?;
            let mut counters = self.counters();
            let counter = counters.get_mut(usize::from(tag)).filter(|_| previous.is_none_or(|p| p < tag));
            **counter.ok_or(DecodeError::Invalid("view statistics tag"))? = value;
            previous = Some(tag);
        }
        Ok(())
    }
}

impl Sweep {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (lo, hi, ties, base) = (reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?);
        let mut rows = BTreeMap::new();
        for _ in 0..reader.count(2, 256)? {
            let bucket = reader.u8()?;
            if rows.last_key_value().is_some_and(|last| *last.0 >= bucket) {
                return Err(DecodeError::Invalid("sweep"));
            }
            rows.insert(bucket, reader.varint()?);
        }
        let hand = reader.bytes(reader.remaining())?.to_vec();
        Ok(Self { lo, hi, ties, base, rows, hand })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_read_back_and_version_1_is_still_read() {
        let some = ViewStats { groups: 3, quarantined: 900, floor: 1 << 40, ..ViewStats::default() };
        let rows = BTreeMap::from([(3, 700), (251, 1)]);
        let sweep = Sweep { lo: 5, hi: 6, ties: 7, base: 8, rows, hand: b"key".to_vec() };
        let swept = ViewStats { sweep: Some(sweep), ..some.clone() };
        let started = ViewStats { sweep: Some(Sweep::default()), ..some.clone() };
        for stats in [ViewStats::default(), some, swept, started] {
            assert_eq!(ViewStats::decode(&stats.encode()), Ok(stats));
        }
        let old = ViewStats { groups: 5, other: 7, ..ViewStats::default() };
        assert_eq!(ViewStats::decode(&[1, 5, 7]), Ok(old));
    }

    #[test]
    fn classes_of_weight_are_in_order_and_a_quarter_of_a_power_wide() {
        let weights = (0..64).flat_map(|p| [0u64, 1, 3].map(|d| (1u64 << p).saturating_add(d << p >> 2)));
        let mut weights: Vec<u64> = weights.chain([0, u64::MAX]).collect();
        weights.sort_unstable();
        assert!(weights.windows(2).all(|w| bucket(w[0]) <= bucket(w[1])));
        for weight in weights {
            let min = bucket_min(bucket(weight));
            assert!(min <= weight && weight - min <= min / 4, "{weight} {min}");
            assert_eq!(bucket(min), bucket(weight));
        }
        assert_eq!(bucket(u64::MAX), CLASS_MAX);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert_eq!(ViewStats::decode(&[3, 0]), Err(DecodeError::TooNew));
        let tag = Err(DecodeError::Invalid("view statistics tag"));
        assert_eq!(ViewStats::decode(&[2, 1, 99, 1]), tag);
        assert_eq!(ViewStats::decode(&[2, 2, 1, 1, 1, 1]), tag);
        assert!(ViewStats::decode(&[2, 1, 0]).is_err());
    }
}
