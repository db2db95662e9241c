//! The outbox and its storage: what is made durable, read back, and left behind when a spool fails.

use super::entry::{Dropping, Entry, State, Stored};
use super::{BatchId, Outbox, OutboxLedger, OutboxOptions, Saved, SpoolOp};
use crate::flavor::SPOOLS;
use crate::ids::{Pid, Seq};
use crate::wire::batch::DropReason;
use alloc::vec::Vec;

impl Outbox {
    /// Changes to make durable, in order, as one; `None` when there are none or a commit is under way.
    pub fn take_ops(&mut self) -> Option<Vec<SpoolOp>> {
        if self.ops.is_empty() || self.committing.is_some() {
            return None;
        }
        let ops = core::mem::take(&mut self.ops);
        let mut marks = Vec::new();
        for op in &ops {
            match op {
                SpoolOp::Transmit { id, .. } => marks.push(*id),
                // Marks before it belong to old dots.
                SpoolOp::Redot { .. } => marks.clear(),
                SpoolOp::Put { id, .. } => {
                    if let Some(entry) = self.entry(*id) {
                        entry.stored = Stored::Handed;
                    }
                }
                SpoolOp::Remove { .. } => {}
            }
        }
        self.committing = Some(marks);
        // Their removals are among the changes, at the latest.
        self.dropping.iter_mut().for_each(|dropping| dropping.is_handed = true);
        Some(ops)
    }

    /// The changes taken last are durable. Returns how many batches dropped for want of room are gone by that.
    pub fn handle_committed(&mut self) -> u64 {
        for id in self.committing.take().unwrap_or_default() {
            if let Some(entry) = self.entry(id)
                && entry.state == State::Marking
            {
                entry.transmitted = true;
                entry.state = State::Waiting;
            }
        }
        for entry in self.entries.iter_mut().chain(self.dropping.iter_mut().map(|d| &mut d.entry)) {
            if entry.stored == Stored::Handed {
                entry.stored = Stored::Durable;
            }
        }
        let removed: Vec<_> = self.dropping.extract_if(.., |dropping| dropping.is_handed).collect();
        removed.iter().for_each(|dropping| self.count_gone(&dropping.entry, dropping.reason));
        self.shed_memory();
        removed.iter().filter(|dropping| dropping.reason == DropReason::OutboxFull).count() as u64
    }

    /// Storage failed for good: from now on this outbox takes batches in memory only. The next process will
    /// send what the spool has, so this one must not, except under a dot whose mark is durable: then the hub
    /// sees the same dot twice. Stored batches without a mark are left; a batch that may or may not have been
    /// stored is in doubt and never sent under another dot, [`InDoubt::Resend`](crate::limits::InDoubt::Resend) or not: the next process would
    /// send it, too. One never handed over goes on, under a new identity that the spool never sees.
    pub fn handle_spool_lost(&mut self) {
        if !self.is_persistent() {
            return;
        }
        self.options.persistent = false;
        self.committing = None;
        self.ops.clear();
        self.retiring = true;
        for Dropping { entry, seq, is_handed, .. } in core::mem::take(&mut self.dropping) {
            seq.into_iter().for_each(|seq| self.keep_low(seq));
            match entry.stored {
                Stored::Durable if !is_handed => self.count_left(&entry),
                _ => self.count_doubt(&entry),
            }
        }
        let mut at = 0;
        while let Some(entry) = self.entries.get_mut(at) {
            match entry.stored {
                Stored::Durable if entry.transmitted => at += 1,
                Stored::Durable => self.leave(at),
                Stored::Handed => self.doubt(at),
                Stored::No => {
                    entry.state = State::Waiting;
                    at += 1;
                }
            }
        }
    }

    /// The spool works again: what it holds is adopted, as by the next process, and under what it was left with or
    /// `fresh`. Only once this outbox holds nothing of its own, so that no batch has two names; and only when all that
    /// was left is there. `false` otherwise: nothing has changed.
    pub fn handle_spool_reopened(&mut self, saved: &Saved, fresh: Pid) -> bool {
        let events: u64 = saved.batches.iter().map(|batch| batch.events).sum();
        let OutboxLedger { left_batches, left_events, .. } = self.ledger;
        let has_left = saved.batches.len() as u64 >= left_batches && events >= left_events;
        if self.options.persistent || !self.entries.is_empty() || !has_left {
            return false;
        }
        let mut next = Self::restore(OutboxOptions { persistent: true, ..self.options }, saved, fresh);
        next.next_id = next.next_id.max(self.next_id);
        next.level_max = self.level_max;
        next.delta = core::mem::take(&mut self.delta);
        next.ledger = core::mem::take(&mut self.ledger);
        // What was left is held again; what else the spool has was counted as acked, dropped or in doubt.
        next.ledger.frozen_batches += saved.batches.len() as u64 - left_batches;
        next.ledger.frozen_events += events - left_events;
        next.ledger.adopted_events += events - left_events;
        (next.ledger.left_batches, next.ledger.left_events, next.ledger.left_bytes) = (0, 0, 0);
        *self = next;
        true
    }

    /// The next process sends this batch.
    pub(super) fn leave(&mut self, at: usize) {
        let Some(entry) = self.remove(at) else { return };
        self.keep_low(entry.seq);
        self.count_left(&entry);
    }

    /// A batch whose writing failed may be in the spool all the same.
    fn doubt(&mut self, at: usize) {
        let Some(entry) = self.remove(at) else { return };
        self.keep_low(entry.seq);
        self.count_doubt(&entry);
    }

    fn count_left(&mut self, entry: &Entry) {
        self.ledger.left_batches += 1;
        self.ledger.left_events += entry.events;
        self.ledger.left_bytes += entry.bytes as u64;
    }

    fn keep_low(&mut self, seq: Seq) {
        self.left_low = Some(self.left_low.map_or(seq, |low| low.min(seq)));
    }

    /// Payloads beyond the memory limit are left to the disk, newest first.
    fn shed_memory(&mut self) {
        if !self.is_persistent() || !self.ops.is_empty() {
            return;
        }
        for entry in self.entries.iter_mut().rev() {
            if self.memory_bytes <= self.options.limits.memory_bytes_max {
                return;
            }
            if entry.state == State::Waiting && entry.payload.take().is_some() {
                self.memory_bytes -= entry.bytes;
            }
        }
    }

    /// A batch that is to be sent and whose bytes must be read from storage first; answer by
    /// [`handle_loaded`](Self::handle_loaded).
    pub fn poll_load(&mut self) -> Option<BatchId> {
        let wants =
            |entry: &&mut Entry| entry.state == State::Ready && entry.payload.is_none() && !entry.loading;
        let entry = self.entries.iter_mut().find(wants)?;
        entry.loading = true;
        Some(entry.id)
    }

    /// The bytes of a batch; `None` when storage has lost them, which drops the batch and counts it in doubt.
    pub fn handle_loaded(&mut self, id: BatchId, payload: Option<Vec<u8>>) {
        let Some(at) = self.position(id) else { return };
        self.entries[at].loading = false;
        match payload.filter(|payload| payload.len() == self.entries[at].bytes) {
            Some(payload) => {
                self.memory_bytes += payload.len();
                self.entries[at].payload = Some(payload.into());
            }
            // The spool has failed: the next process may read it again.
            None if self.is_left_to_next(at) => self.leave(at),
            None => {
                if let Some(entry) = self.remove(at) {
                    self.count_doubt(&entry);
                }
            }
        }
    }

    /// True for a batch of a spool that has failed: the next process finds it there.
    pub(super) fn is_left_to_next(&self, at: usize) -> bool {
        SPOOLS && !self.options.persistent && self.entries[at].stored == Stored::Durable
    }
}
