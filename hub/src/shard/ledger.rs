//! The ledger: running totals of a shard group, so that every event can be accounted for.
//!
//! Totals of applied batches change in the same transaction as the states they count (rule P7). Duplicates
//! and refusals change no state; they are written with the next fold and may be a second short after a crash.
//!
//! What producers report is theirs to invent: one batch reports at most `REPORT_MAX` of anything, and totals have
//! 128 bits, so that no number of batches pins them.
//!
//! Bytes (`ledger-1`): version u8 = 1, count varint, then per counter, ascending by tag and without zeros:
//! tag u8, value varint of up to 128 bits.

use headwater::codec::{DecodeError, Reader, Writer};
use headwater::wire::RefusedCode;
use headwater::wire::batch::{DropCounts, DropReason, LedgerDelta};

/// A running total.
pub type Total = u128;

/// Totals by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals([Total; DropReason::ALL.len()]);

impl Totals {
    /// Counts more.
    pub fn add(&mut self, reason: DropReason, count: Total) {
        if let Some(at) = DropReason::ALL.iter().position(|r| *r == reason) {
            self.0[at] = self.0[at].saturating_add(count);
        }
    }

    /// Adds a producer's counts.
    pub fn report(&mut self, counts: &DropCounts) {
        counts.iter().for_each(|(reason, count)| self.add(reason, count.into()));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(reason, count)| self.add(reason, count));
    }

    /// All totals, zeros included, in tag order.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, Total)> {
        DropReason::ALL.into_iter().zip(self.0)
    }

    /// The sum over all reasons.
    pub fn total(&self) -> Total {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

const VERSION: u8 = 1;

/// Running totals. Event counts are events, each counted once however many views read it, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Batches folded or waiting to be folded.
    pub batches: Total,
    /// Events those stand for, as their producers report.
    pub events: Total,
    /// Groups in those batches, over all views.
    pub groups: Total,
    /// Batches that were already known and were acknowledged again.
    pub duplicates: Total,
    /// Events that producers lost before any view, by reason.
    pub dropped: Totals,
    /// Events that single views rejected, by reason; an event may be counted by several views.
    pub rejected: Totals,
    /// Batches that producers gave up in doubt (C6).
    pub in_doubt_batches: Total,
    /// The events of those.
    pub in_doubt_events: Total,
    /// Sections of views that no longer exist.
    pub view_dropped_sections: Total,
    /// Events in those sections; an event may be in several.
    pub view_dropped_events: Total,
    /// Groups whose time bucket was too old.
    pub late_groups: Total,
    /// Groups whose time bucket was in the future.
    pub future_groups: Total,
    /// Groups merged into `(other)` because their view was full.
    pub other_groups: Total,
    /// Groups in sections of views that no longer exist.
    pub view_dropped_groups: Total,
    /// Rows of the base and sections of log records set aside because they cannot be read or merged.
    pub quarantined: Total,
    refused: [Total; REFUSED.len()],
}

/// Codes in the order of their counters: of their tags on the wire, which only grow, as what is stored must.
const REFUSED: [RefusedCode; RefusedCode::ALL.len()] = RefusedCode::ALL;

/// Tags of the three families; plain counters are below.
const REFUSED_TAG: u8 = 32;
const DROPPED_TAG: u8 = 64;
const REJECTED_TAG: u8 = 128;

impl Ledger {
    /// Counts a refused batch.
    pub fn refuse(&mut self, code: RefusedCode) {
        if let Some(at) = REFUSED.iter().position(|c| *c == code) {
            self.refused[at] += 1;
        }
    }

    /// Refused batches by code, zeros included.
    pub fn refused(&self) -> impl Iterator<Item = (RefusedCode, Total)> {
        REFUSED.into_iter().zip(self.refused)
    }

    /// Adds a producer's report.
    pub fn report(&mut self, delta: &LedgerDelta) {
        self.events = self.events.saturating_add(delta.events.into());
        self.dropped.report(&delta.dropped);
        self.in_doubt_batches = self.in_doubt_batches.saturating_add(delta.in_doubt_batches.into());
        self.in_doubt_events = self.in_doubt_events.saturating_add(delta.in_doubt_events.into());
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut theirs = other.clone();
        for (mine, theirs) in self.counters().into_iter().zip(theirs.counters()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.dropped.merge(&other.dropped);
        self.rejected.merge(&other.rejected);
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The plain counters; their positions are their tags.
    fn counters(&mut self) -> [&mut Total; 13] {
        [
            &mut self.batches,
            &mut self.events,
            &mut self.groups,
            &mut self.duplicates,
            &mut self.in_doubt_batches,
            &mut self.in_doubt_events,
            &mut self.view_dropped_sections,
            &mut self.view_dropped_events,
            &mut self.late_groups,
            &mut self.future_groups,
            &mut self.other_groups,
            &mut self.view_dropped_groups,
            &mut self.quarantined,
        ]
    }

    /// The ledger's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = self.clone();
        let mut all: Vec<(u8, Total)> = Vec::new();
        all.extend(copy.counters().into_iter().enumerate().map(|(tag, value)| (tag as u8, *value)));
        all.extend(self.refused.iter().enumerate().map(|(at, value)| (REFUSED_TAG + at as u8, *value)));
        all.extend(self.dropped.iter().map(|(reason, value)| (DROPPED_TAG + reason as u8, value)));
        all.extend(self.rejected.iter().map(|(reason, value)| (REJECTED_TAG + reason as u8, value)));
        all.retain(|(_, value)| *value > 0);
        let mut out = vec![VERSION];
        out.put_varint(all.len() as u64);
        for (tag, value) in all {
            out.push(tag);
            out.put_varint128(value);
        }
        out
    }

    /// Reads a ledger's bytes.
    ///
    /// # Errors
    /// Any [`DecodeError`] but [`DecodeError::Checksum`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            0 => return Err(DecodeError::Invalid("ledger version")),
            _ => return Err(DecodeError::TooNew),
        }
        let mut ledger = Self::default();
        let mut previous = None;
        for _ in 0..reader.count(2, 256)? {
            let tag = reader.u8()?;
            let value = reader.varint128()?;
            if previous.is_some_and(|p| p >= tag) || ledger.set(tag, value).is_none() {
                return Err(DecodeError::Invalid("ledger tag"));
            }
            previous = Some(tag);
        }
        reader.finish()?;
        Ok(ledger)
    }

    fn set(&mut self, tag: u8, value: Total) -> Option<()> {
        match tag {
            REJECTED_TAG.. => self.rejected.add(DropReason::from_tag(tag - REJECTED_TAG)?, value),
            DROPPED_TAG.. => self.dropped.add(DropReason::from_tag(tag - DROPPED_TAG)?, value),
            REFUSED_TAG.. => *self.refused.get_mut(usize::from(tag - REFUSED_TAG))? = value,
            _ => **self.counters().get_mut(usize::from(tag))? = value,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.counters().into_iter().enumerate().for_each(|(i, c)| *c = (1 << 64) + i as Total);
        REFUSED.into_iter().for_each(|code| ledger.refuse(code));
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            ledger.dropped.add(reason, i as Total + 1);
            ledger.rejected.add(reason, 1 << i);
        }
        ledger
    }

    #[test]
    fn every_counter_reads_back() {
        for ledger in [Ledger::default(), full()] {
            assert_eq!(Ledger::decode(&ledger.encode()), Ok(ledger));
        }
    }

    #[test]
    fn merging_adds_every_counter() {
        let mut twice = full();
        twice.merge(&full());
        assert_eq!(twice.counters().map(|c| *c)[2], (2 << 64) + 4);
        assert_eq!(twice.refused().map(|r| r.1).sum::<Total>(), 22);
        assert_eq!(twice.dropped.total(), 2 * full().dropped.total());
        assert_eq!(twice.rejected.total(), 2 * full().rejected.total());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let good = full().encode();
        for len in 0..good.len() {
            assert!(Ledger::decode(&good[..len]).is_err());
        }
        assert_eq!(Ledger::decode(&[1, 1, 250, 1]), Err(DecodeError::Invalid("ledger tag")));
        assert_eq!(Ledger::decode(&[2, 0]), Err(DecodeError::TooNew));
    }
}
