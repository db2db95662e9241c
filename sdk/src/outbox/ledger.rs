//! What became of all batches of an outbox.

use crate::wire::RefusedCode;
use crate::wire::batch::DropCounts;
use alloc::vec::Vec;

/// Totals since the outbox was opened. Always: `frozen_batches = acked_batches + dropped_batches +
/// dropped_in_doubt_batches + held_batches`, and the same in events, where those counted in doubt and not sent
/// again are `in_doubt_events - resent_events`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxLedger {
    /// Batches frozen, and adopted from a process before.
    pub frozen_batches: u64,
    /// Their events.
    pub frozen_events: u64,
    /// Events of batches adopted from a process before; they are in `frozen_events` too.
    pub adopted_events: u64,
    /// Batches acked at the level they waited for.
    pub acked_batches: u64,
    /// Their events.
    pub acked_events: u64,
    /// Batches given up that certainly count nowhere.
    pub dropped_batches: u64,
    /// Events dropped by reason: of those batches, and counted before freezing.
    pub dropped: DropCounts,
    /// Batches that may or may not have been counted (C6).
    pub in_doubt_batches: u64,
    /// Their events.
    pub in_doubt_events: u64,
    /// Those of them that were dropped.
    pub dropped_in_doubt_batches: u64,
    /// Those of them that were sent again under a new identity; they are still held, acked or dropped.
    pub resent_batches: u64,
    /// Their events.
    pub resent_events: u64,
    /// Batches in the outbox now.
    pub held_batches: u64,
    /// Their events.
    pub held_events: u64,
    /// Their payload bytes.
    pub held_bytes: u64,
    /// Those of their events that may have left under the present dots: in doubt if the outbox ends now (C6).
    pub held_transmitted_events: u64,
    /// Batches among those held that only the next process can send: the spool failed and has them.
    pub left_batches: u64,
    /// Their events.
    pub left_events: u64,
    /// Their payload bytes.
    pub left_bytes: u64,
    /// Groups that no batch can hold, and that were left out: groups of views, never in the counts of events.
    pub oversized_groups: u64,
    /// Batches refused for good, by code.
    pub refused: Vec<(RefusedCode, u64)>,
}

impl OutboxLedger {
    pub(super) fn count_refused(&mut self, code: RefusedCode) {
        match self.refused.iter_mut().find(|entry| entry.0 == code) {
            Some(entry) => entry.1 += 1,
            None => self.refused.push((code, 1)),
        }
    }
}
