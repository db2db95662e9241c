//! What becomes of batches that were sent: acks, refusals, resumed sessions, silence.

use super::entry::{Entry, State};
use super::{BatchId, Outbox, RefusedOutcome};
use crate::ids::{Micros, Pid, Seq};
use crate::wire::batch::DropReason;
use crate::wire::{AckLevel, RefusedCode, Resumed, SEQ_WINDOW};

impl Outbox {
    /// The hub holds a batch at `level`. Returns its events once it has left the outbox.
    pub fn handle_ack(&mut self, pid: Pid, seq: Seq, level: AckLevel) -> Option<u64> {
        let at = self.find(pid, seq)?;
        let entry = &mut self.entries[at];
        if !entry.transmitted {
            return None;
        }
        entry.reached = entry.reached.max(Some(level));
        if level < entry.wanted.min(self.level_max) {
            if entry.state == State::InFlight && level >= entry.sent_level {
                // A stronger level was asked for after it was sent: ask again, with the same dot and bytes.
                entry.state = State::Waiting;
            }
            return None;
        }
        self.remove_acked(at)
    }

    fn remove_acked(&mut self, at: usize) -> Option<u64> {
        let entry = self.remove(at)?;
        self.ledger.acked_batches += 1;
        self.ledger.acked_events += entry.events;
        Some(entry.events)
    }

    pub(super) fn remove_reached(&mut self) {
        let level_max = self.level_max;
        let done = |entry: &Entry| entry.reached >= Some(entry.wanted.min(level_max));
        while let Some(at) = self.entries.iter().position(done) {
            self.remove_acked(at);
        }
    }

    /// The hub does not take a batch. Retryable refusals keep it back until `retry_at`.
    pub fn handle_refused(
        &mut self,
        pid: Pid,
        seq: Seq,
        code: RefusedCode,
        retry_at: Micros,
    ) -> RefusedOutcome {
        let Some(at) = self.find(pid, seq).filter(|at| self.entries[*at].transmitted) else {
            return RefusedOutcome::Unknown;
        };
        match code {
            RefusedCode::Expired | RefusedCode::BornInFuture => return RefusedOutcome::Expired,
            // The window is the hub's floor against our low water: asking again with a higher one can succeed.
            RefusedCode::WindowExceeded => {}
            code if code.is_retryable() => {}
            code => return self.skip(at, code),
        }
        self.entries[at].wait_until(retry_at);
        RefusedOutcome::Retry
    }

    fn skip(&mut self, at: usize, code: RefusedCode) -> RefusedOutcome {
        // Two outboxes under one identity: leave it as soon as possible.
        self.retiring |= code == RefusedCode::DotConflict;
        self.ledger.count_refused(code);
        let events = self.entries[at].events;
        if self.is_left_to_next(at) {
            // The next process finds it, is refused, and counts it.
            self.leave(at);
        } else if let Some(entry) = self.remove(at) {
            self.count_lost(entry, DropReason::Refused);
        }
        RefusedOutcome::Skipped { events }
    }

    /// What the hub holds (C5): those batches are acked, the other transmitted ones are sent again. Returns
    /// the acked events and whether the identity has expired.
    pub fn handle_resumed(&mut self, resumed: &Resumed) -> (u64, bool) {
        if resumed.pid != self.pid {
            return (0, false);
        }
        let (mut acked, mut at) = (0, 0);
        while let Some(seq) = self.entries.get(at).map(|entry| entry.seq) {
            let gone = match holds(resumed, seq) {
                true => self.handle_ack(resumed.pid, seq, resumed.level),
                false => None,
            };
            acked += gone.unwrap_or(0);
            at += usize::from(gone.is_none());
        }
        (acked, resumed.expired)
    }

    /// A batch was sent and will not be answered: its stream broke, or its answer is overdue.
    pub fn handle_send_failed(&mut self, id: BatchId, retry_at: Micros) {
        if let Some(entry) = self.entry(id)
            && matches!(entry.state, State::InFlight | State::Ready)
        {
            entry.wait_until(retry_at);
        }
    }

    /// The connection is gone: nothing is in flight any more.
    pub fn handle_disconnected(&mut self) {
        for entry in self.entries.iter_mut() {
            if matches!(entry.state, State::InFlight | State::Ready) {
                entry.wait_until(Micros(i64::MIN));
            }
        }
    }

    /// Batches sent before `before` and still not answered go back to waiting.
    pub fn handle_overdue(&mut self, before: Micros) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::InFlight) {
            if entry.sent_at <= before {
                entry.wait_until(Micros(i64::MIN));
            }
        }
    }

    /// When the next kept-back batch may be sent, or the oldest answer is overdue after `patience`.
    pub fn next_due(&self, patience: Micros) -> Option<Micros> {
        let due = |entry: &Entry| match entry.state {
            State::InFlight => Some(Micros(entry.sent_at.0.saturating_add(patience.0))),
            State::Waiting if entry.retry_at.0 > i64::MIN => Some(entry.retry_at),
            _ => None,
        };
        self.entries.iter().take(2 * SEQ_WINDOW as usize).filter_map(due).min()
    }
}

fn holds(resumed: &Resumed, seq: Seq) -> bool {
    match seq.0.checked_sub(resumed.floor.0) {
        None | Some(0) => true,
        Some(above @ 1..=64) => resumed.bitmap >> (above - 1) & 1 == 1,
        Some(_) => false,
    }
}
