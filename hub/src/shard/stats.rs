//! What a shard group keeps about a view beside its rows (`view-1`).
//!
//! Bytes: version u8 = 2, count varint, then per counter, ascending by tag and without zeros: tag u8, value
//! varint. Tags 0..=2: groups, groups merged into `(other)`, rows and sections in quarantine. Version 1 was two
//! varints, groups and other; it is still read.

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
}

/// Statistics per view of one shard group.
pub type StatsByView = BTreeMap<ViewId, ViewStats>;

const VERSION: u8 = 2;
const COUNTERS: usize = 3;

impl ViewStats {
    /// The plain counters; their positions are their tags.
    fn counters(&mut self) -> [&mut u64; COUNTERS] {
        [&mut self.groups, &mut self.other, &mut self.quarantined]
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
        out
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut stats = Self::default();
        match reader.u8()? {
            VERSION => stats.decode_counters(&mut reader)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_read_back_and_version_1_is_still_read() {
        for stats in [ViewStats::default(), ViewStats { groups: 3, other: 0, quarantined: 900 }] {
            assert_eq!(ViewStats::decode(&stats.encode()), Ok(stats));
        }
        let old = ViewStats { groups: 5, other: 7, quarantined: 0 };
        assert_eq!(ViewStats::decode(&[1, 5, 7]), Ok(old));
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
