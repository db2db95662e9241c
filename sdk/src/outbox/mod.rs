//! The outbox: frozen batches from their freezing to their ack. Rules C1 to C6 of the exactly-once protocol.
//!
//! Owns: dots, what was transmitted, the send window, what is in doubt, the ledger of batches. Must not know:
//! connections, clocks, what is in a payload besides its report, real storage (it asks for changes and is
//! told when they are durable).
//!
//! Call order: [`freeze`](Outbox::freeze) or a `handle_*`, then [`pump`](Outbox::pump); then
//! [`take_ops`](Outbox::take_ops), make them durable, [`handle_committed`](Outbox::handle_committed) and
//! `pump` again; then [`poll_send`](Outbox::poll_send) until it has nothing.
//!
//! Invariants:
//! - a batch's bytes never change, and its dot never changes once it was transmitted;
//! - no byte leaves before the mark "transmitted" is durable (C2);
//! - at most `in_flight_max` batches are in flight, and `seq - low_water < 64` (C3);
//! - one identity at a time: a new one starts only when no transmitted batch is left, so that after a crash
//!   no number can be used twice;
//! - what a failed spool may hold is left to the next process, which will send it, or to the time when it works again:
//!   see [`handle_spool_lost`](Outbox::handle_spool_lost);
//! - frozen = acked + dropped + in doubt + held, in batches and in events.

mod answers;
mod entry;
mod ledger;
mod spool;
mod storage;
#[cfg(test)]
mod tests;

pub use ledger::OutboxLedger;
pub use spool::{BatchId, Frozen, MemorySpool, Saved, SavedBatch, Spool, SpoolError, SpoolOp};

use crate::flavor::SPOOLS;
use crate::ids::{Micros, Pid, RouteVersion, Seq};
use crate::limits::{InDoubt, OutboxLimits, Overflow};
use crate::wire::batch::{DropReason, LedgerDelta};
use crate::wire::{AckLevel, BatchFrame, SEQ_WINDOW};
use alloc::vec::Vec;
use entry::{Dropping, Entries, Entry, State, Stored};

/// What an outbox is made with.
#[derive(Clone, Copy, Debug)]
pub struct OutboxOptions {
    /// How much it holds.
    pub limits: OutboxLimits,
    /// The level at which batches leave it, where the hub can give it (C4).
    pub level: AckLevel,
    /// True when a spool keeps it beyond the process: changes are asked for by [`Outbox::take_ops`].
    pub persistent: bool,
}

/// What became of a batch that the hub refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedOutcome {
    /// Not ours, or not here any more.
    Unknown,
    /// It stays and is sent again later.
    Retry,
    /// It was given up and counted: sending it again is useless.
    Skipped {
        /// Its events.
        events: u64,
    },
    /// The hub has forgotten this identity: call [`Outbox::expire`].
    Expired,
}

/// Frozen batches, oldest first.
#[derive(Debug)]
pub struct Outbox {
    options: OutboxOptions,
    pid: Pid,
    next_seq: Seq,
    next_id: BatchId,
    entries: Entries,
    /// The strongest level the hub gives.
    level_max: AckLevel,
    /// This identity is to be replaced as soon as nothing transmitted is left.
    retiring: bool,
    /// The lowest number under this identity that a failed spool may hold: the hub must go on to expect it.
    left_low: Option<Seq>,
    bytes: u64,
    memory_bytes: usize,
    ops: Vec<SpoolOp>,
    /// Batches whose mark is being made durable; `Some` while a commit is under way.
    committing: Option<Vec<BatchId>>,
    /// Batches given up that the spool may still have: held until their removal is durable.
    dropping: Vec<Dropping>,
    delta: LedgerDelta,
    ledger: OutboxLedger,
}

impl Outbox {
    /// An outbox born now, with a new identity.
    pub fn new(options: OutboxOptions, pid: Pid) -> Self {
        let mut outbox = Self {
            options,
            pid,
            next_seq: Seq(1),
            next_id: BatchId(1),
            entries: Entries::default(),
            level_max: AckLevel::Replicated,
            retiring: false,
            left_low: None,
            bytes: 0,
            memory_bytes: 0,
            ops: Vec::new(),
            committing: None,
            dropping: Vec::new(),
            delta: LedgerDelta::default(),
            ledger: OutboxLedger::default(),
        };
        outbox.push_op(|| SpoolOp::Redot { pid, dots: Vec::new() });
        outbox
    }

    /// The outbox of a process before this one. Its identity is used only to drain what was transmitted:
    /// the last commits may have been lost, and with them the highest numbers given out.
    pub fn restore(options: OutboxOptions, saved: &Saved, fresh: Pid) -> Self {
        let Some(pid) = saved.pid.filter(|_| !saved.batches.is_empty()) else {
            return Self::new(options, fresh);
        };
        let mut outbox = Self::new(options, pid);
        outbox.ops.clear();
        outbox.retiring = true;
        for batch in &saved.batches {
            outbox.entries.push_back(Entry::restored(batch, options.level));
            outbox.next_id = BatchId(batch.id.0 + 1);
            outbox.next_seq = outbox.next_seq.max(batch.seq.next());
            outbox.bytes += batch.bytes as u64;
            outbox.ledger.frozen_batches += 1;
            outbox.ledger.frozen_events += batch.events;
            outbox.ledger.adopted_events += batch.events;
        }
        outbox.renew_if_drained(fresh);
        outbox
    }

    /// The identity in use.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The lowest batch not acked (C3).
    pub fn low_water(&self) -> Seq {
        let low = self.entries.front().map_or(self.next_seq, |entry| entry.seq);
        if !SPOOLS {
            return low;
        }
        let dropping = self.dropping.iter().filter_map(|dropping| dropping.seq);
        dropping.chain(self.left_low).fold(low, Seq::min)
    }

    /// Batches held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Payload bytes held, in memory or on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What became of all batches so far.
    pub fn ledger(&self) -> OutboxLedger {
        let mut ledger = self.ledger.clone();
        let dropping: u64 = self.dropping().iter().map(|dropping| dropping.entry.events).sum();
        let entries: u64 = self.entries.iter().map(|entry| entry.events).sum();
        ledger.held_batches = ledger.left_batches + (self.entries.len() + self.dropping().len()) as u64;
        ledger.held_events = ledger.left_events + entries + dropping;
        ledger.held_bytes = ledger.left_bytes + self.bytes;
        let transmitted = self.entries.iter().filter(|entry| entry.transmitted);
        ledger.held_transmitted_events = transmitted.map(|entry| entry.events).sum();
        ledger
    }

    /// Batches given up so far that certainly count nowhere.
    pub fn dropped_batches(&self) -> u64 {
        self.ledger.dropped_batches
    }

    /// Batches acked so far.
    pub fn acked_batches(&self) -> u64 {
        self.ledger.acked_batches
    }

    /// The newest batch frozen.
    pub fn last_id(&self) -> BatchId {
        BatchId(self.next_id.0 - 1)
    }

    /// True when some batch was transmitted and not acked: after a reconnect, the hub must be asked (C5).
    pub fn has_transmitted(&self) -> bool {
        self.entries.iter().any(|entry| entry.transmitted)
    }

    /// True when a batch frozen now could leave at once; otherwise unsent partials are better merged (C1).
    pub fn is_hungry(&self) -> bool {
        let busy = self.busy();
        busy == self.entries.len()
            && busy < self.options.limits.in_flight_max
            && !self.retiring
            && self.has_room()
    }

    /// False when a full outbox asks its owner to wait. One flush may still go over the limit by its own size.
    pub fn has_room(&self) -> bool {
        self.options.limits.overflow == Overflow::DropOldest || self.bytes < self.bytes_max()
    }

    fn is_persistent(&self) -> bool {
        SPOOLS && self.options.persistent
    }

    /// None without a spool.
    fn dropping(&self) -> &[Dropping] {
        if SPOOLS { &self.dropping } else { &[] }
    }

    fn bytes_max(&self) -> u64 {
        let limits = &self.options.limits;
        if self.is_persistent() { limits.disk_bytes_max } else { limits.memory_bytes_max as u64 }
    }

    /// What the next flush should report about lost events and doubts; it is then on its way.
    pub fn take_delta(&mut self) -> LedgerDelta {
        core::mem::take(&mut self.delta)
    }

    /// Counts events that were lost before they were frozen; the next flush reports them.
    pub fn count_dropped(&mut self, reason: DropReason, events: u64) {
        self.delta.dropped.add(reason, events);
        self.ledger.dropped.add(reason, events);
    }

    /// Counts groups that no batch can hold. They are no events: an event's other groups may well be in batches.
    pub fn count_oversized(&mut self, groups: u64) {
        self.ledger.oversized_groups += groups;
    }

    /// Freezes a payload: it gets the next number, for good unless it is never transmitted (C2).
    pub fn freeze(&mut self, payload: Vec<u8>, events: u64) -> BatchId {
        // A payload that makes no sense is refused by the hub; it has nothing to report.
        let report = LedgerDelta::peek(&payload).unwrap_or_default();
        self.freeze_reporting(payload, events, LedgerDelta { events: 0, ..report })
    }

    /// Like [`freeze`](Self::freeze), when it is known what the payload reports besides its events.
    pub fn freeze_reporting(&mut self, payload: Vec<u8>, events: u64, report: LedgerDelta) -> BatchId {
        let room = self.bytes_max().saturating_sub(payload.len() as u64);
        if self.options.limits.overflow == Overflow::DropOldest {
            self.drop_oldest(room);
        }
        let (id, seq) = (self.next_id, self.next_seq);
        let payload: Frozen = payload.into();
        self.next_id = BatchId(id.0 + 1);
        self.next_seq = seq.next();
        self.bytes += payload.len() as u64;
        self.memory_bytes += payload.len();
        self.ledger.frozen_batches += 1;
        self.ledger.frozen_events += events;
        self.push_op(|| SpoolOp::Put { id, seq, events, report: report.clone(), payload: payload.clone() });
        self.entries.push_back(Entry::new(id, seq, events, report, payload, self.options.level));
        id
    }

    fn drop_oldest(&mut self, room: u64) {
        while self.bytes > room {
            // What was never transmitted can be dropped and counted exactly; the rest is in doubt.
            let fresh =
                self.entries.iter().position(|entry| !entry.transmitted && entry.state == State::Waiting);
            let at = fresh.or_else(|| (!self.entries.is_empty()).then_some(0));
            if let Some(at) = at.filter(|at| self.is_left_to_next(*at)) {
                self.leave(at);
                continue;
            }
            match at.and_then(|at| self.remove(at)) {
                Some(entry) if entry.transmitted => self.count_doubt(&entry),
                Some(entry) => self.count_lost(entry, DropReason::OutboxFull),
                None => return,
            }
        }
    }

    /// Sets the strongest level the hub gives; batches wait for no more than that.
    pub fn set_level_max(&mut self, level: AckLevel) {
        self.level_max = level;
        self.remove_reached();
    }

    /// Asks for `level` for every batch up to `upto`, where it is stronger than the usual one.
    pub fn require(&mut self, upto: BatchId, level: AckLevel) {
        self.entries.iter_mut().filter(|entry| entry.id <= upto).for_each(|entry| {
            entry.wanted = entry.wanted.max(level);
        });
    }

    /// True when no batch up to `upto` is held below `level` (or below the best the hub gives).
    pub fn has_reached(&self, upto: BatchId, level: AckLevel) -> bool {
        let level = Some(level.min(self.level_max));
        if self.dropping().iter().any(|dropping| dropping.entry.id <= upto) {
            return false;
        }
        self.entries.iter().take_while(|entry| entry.id <= upto).all(|entry| entry.reached >= level)
    }

    /// Chooses what may be sent: oldest first, within the window. Call it when something changed and the hub
    /// takes batches.
    pub fn pump(&mut self, now: Micros, route: RouteVersion) {
        let low = self.low_water().0;
        let (mut busy, persistent) = (self.busy(), self.is_persistent());
        for entry in self.entries.iter_mut().take_while(|entry| entry.seq.0 - low < SEQ_WINDOW) {
            if entry.retry_at <= now {
                entry.retry_at = Micros(i64::MIN);
            }
            let due = entry.state == State::Waiting && entry.retry_at <= now;
            let allowed = entry.transmitted || !self.retiring;
            if !due || !allowed || busy >= self.options.limits.in_flight_max {
                continue;
            }
            busy += 1;
            if entry.transmitted || !persistent {
                entry.transmit(route);
                entry.state = State::Ready;
            } else {
                entry.state = State::Marking;
                entry.route = Some(route);
                self.ops.push(SpoolOp::Transmit { id: entry.id, route });
            }
        }
    }

    fn busy(&self) -> usize {
        self.entries.iter().filter(|entry| entry.state != State::Waiting).count()
    }

    /// The next batch to send, now.
    pub fn poll_send(&mut self, now: Micros) -> Option<(BatchId, BatchFrame)> {
        let (pid, low_water) = (self.pid, self.low_water());
        let level_max = self.level_max;
        let entry =
            self.entries.iter_mut().find(|entry| entry.state == State::Ready && entry.payload.is_some())?;
        entry.state = State::InFlight;
        entry.sent_at = now;
        entry.sent_level = entry.wanted.min(level_max);
        let frame = BatchFrame {
            pid,
            seq: entry.seq,
            low_water,
            route: entry.route.unwrap_or_default(),
            level: entry.sent_level,
            backfill: false,
            payload: entry.payload.as_deref().map(<[u8]>::to_vec).unwrap_or_default(),
        };
        Some((entry.id, frame))
    }

    /// Retires this identity: it is replaced as soon as nothing transmitted is left; until then nothing else
    /// is transmitted under it.
    pub fn retire(&mut self) {
        self.retiring = true;
    }

    /// Takes a new identity when this one is retiring and drained (its batches get new dots). True when it did.
    pub fn renew_if_drained(&mut self, fresh: Pid) -> bool {
        let renews = self.wants_identity();
        if renews {
            self.redot(fresh);
        }
        renews
    }

    /// True when a new identity is due and possible: the caller then passes one.
    pub fn wants_identity(&self) -> bool {
        let busy = |entry: &Entry| entry.transmitted || entry.state != State::Waiting;
        self.retiring && !self.entries.iter().any(busy)
    }

    /// The hub has forgotten this identity (C6). Transmitted batches are in doubt: dropped, or kept to be sent
    /// under the new identity, and counted either way; the others just get new dots. Returns the batches and
    /// events in doubt.
    pub fn expire(&mut self, fresh: Pid) -> (u64, u64) {
        let before = (self.ledger.in_doubt_batches, self.ledger.in_doubt_events);
        let mut at = 0;
        while at < self.entries.len() {
            if !self.entries[at].transmitted {
                at += 1;
            } else if self.is_left_to_next(at) {
                // The spool has failed and the next process finds this batch marked: the doubt is its to resolve.
                self.leave(at);
            } else if self.options.limits.in_doubt == InDoubt::Resend {
                let events = self.entries[at].events;
                self.delta_doubt(events);
                self.ledger.resent_batches += 1;
                self.ledger.resent_events += events;
                at += 1;
            } else if let Some(entry) = self.remove(at) {
                self.count_doubt(&entry);
            }
        }
        self.redot(fresh);
        (self.ledger.in_doubt_batches - before.0, self.ledger.in_doubt_events - before.1)
    }

    /// The owner ends: what no spool keeps is given up and counted. What was transmitted is in doubt, the rest is dropped.
    pub fn abandon(&mut self) {
        while !self.is_persistent() && !self.is_empty() {
            if self.is_left_to_next(0) {
                self.leave(0);
            } else if let Some(entry) = self.remove(0) {
                match entry.transmitted {
                    true => self.count_doubt(&entry),
                    false => self.count_gone(&entry, DropReason::Closed),
                }
            }
        }
    }

    fn redot(&mut self, pid: Pid) {
        self.pid = pid;
        self.retiring = false;
        self.next_seq = Seq(1);
        for entry in self.entries.iter_mut() {
            entry.redot(self.next_seq);
            self.next_seq = self.next_seq.next();
        }
        if SPOOLS {
            self.left_low = None;
            self.dropping.iter_mut().for_each(|dropping| dropping.seq = None);
            // Marks under way belong to the old dots.
            self.committing.iter_mut().for_each(Vec::clear);
        }
        if self.is_persistent() {
            let dots = self.entries.iter().map(|entry| (entry.id, entry.seq)).collect();
            self.ops.push(SpoolOp::Redot { pid, dots });
        }
    }

    fn count_doubt(&mut self, entry: &Entry) {
        self.delta_doubt(entry.events);
        self.ledger.dropped_in_doubt_batches += 1;
    }

    fn delta_doubt(&mut self, events: u64) {
        self.delta.in_doubt_batches += 1;
        self.delta.in_doubt_events += events;
        self.ledger.in_doubt_batches += 1;
        self.ledger.in_doubt_events += events;
    }

    /// A batch that is given up and counts nowhere, unless the spool goes on to have it.
    fn count_lost(&mut self, entry: Entry, reason: DropReason) {
        if self.is_persistent() && entry.stored != Stored::No {
            let seq = Some(entry.seq);
            let entry = Entry { payload: None, ..entry };
            self.dropping.push(Dropping { entry, reason, seq, is_handed: false });
        } else {
            self.count_gone(&entry, reason);
        }
    }

    /// A batch that certainly counts nowhere: its events are lost, and what it had to report is still to be
    /// reported.
    fn count_gone(&mut self, entry: &Entry, reason: DropReason) {
        if let Some(report) = &entry.report {
            self.delta.merge(report);
        }
        self.ledger.dropped_batches += 1;
        self.count_dropped(reason, entry.events);
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.bytes as u64;
        if entry.payload.is_some() {
            self.memory_bytes -= entry.bytes;
        }
        self.push_op(|| SpoolOp::Remove { id: entry.id });
        Some(entry)
    }

    fn push_op(&mut self, op: impl FnOnce() -> SpoolOp) {
        if self.is_persistent() {
            self.ops.push(op());
        }
    }

    fn position(&self, id: BatchId) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    fn entry(&mut self, id: BatchId) -> Option<&mut Entry> {
        self.position(id).and_then(|at| self.entries.get_mut(at))
    }

    fn find(&self, pid: Pid, seq: Seq) -> Option<usize> {
        if pid != self.pid {
            return None;
        }
        self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()
    }
}
