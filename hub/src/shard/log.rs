//! How much log a shard group has that is not folded: what a start would have to replay.

use headwater::ids::Lsn;
use std::collections::VecDeque;

/// Sizes of committed log records, oldest first. 16 bytes per record of the unfolded log.
#[derive(Debug, Default)]
pub(super) struct LogSizes {
    records: VecDeque<(Lsn, u64)>,
    bytes: u64,
}

impl LogSizes {
    /// The next record.
    pub fn push(&mut self, lsn: Lsn, bytes: u64) {
        debug_assert!(self.records.back().is_none_or(|(last, _)| *last < lsn), "records come in order");
        self.records.push_back((lsn, bytes));
        self.bytes += bytes;
    }

    /// Forgets what the base holds now.
    pub fn remove_folded(&mut self, folded: Lsn) {
        while let Some((_, bytes)) = self.records.pop_front_if(|(lsn, _)| *lsn <= folded) {
            self.bytes -= bytes;
        }
    }

    /// Bytes of all records that are not folded.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_folded_is_forgotten() {
        let mut log = LogSizes::default();
        (1..=10).for_each(|lsn| log.push(Lsn(lsn), 100 + lsn));
        log.remove_folded(Lsn(3));
        assert_eq!(log.bytes(), (4..=10).map(|lsn| 100 + lsn).sum::<u64>());
        log.remove_folded(Lsn(3));
        log.remove_folded(Lsn(99));
        assert_eq!(log.bytes(), 0);
    }
}
