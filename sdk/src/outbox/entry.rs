//! One batch in the outbox.

use super::spool::{BatchId, SavedBatch};
use crate::ids::{Micros, RouteVersion, Seq};
use crate::wire::AckLevel;
use crate::wire::batch::LedgerDelta;
use alloc::boxed::Box;
use alloc::sync::Arc;

/// Where a batch is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not being sent.
    Waiting,
    /// Chosen; its mark "transmitted" is not durable yet.
    Marking,
    /// May be sent now.
    Ready,
    /// Sent, not answered at the level asked for.
    InFlight,
}

/// What the spool has of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing: it was never handed over.
    No,
    /// It was handed over, and the outcome is not known.
    Handed,
    /// All of it.
    Durable,
}

/// A frozen batch.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: BatchId,
    pub seq: Seq,
    pub events: u64,
    /// `None` while only the spool has them.
    pub payload: Option<Arc<[u8]>>,
    pub bytes: usize,
    pub state: State,
    /// A byte of it may have left under the present dot.
    pub transmitted: bool,
    pub route: Option<RouteVersion>,
    pub wanted: AckLevel,
    pub reached: Option<AckLevel>,
    pub sent_level: AckLevel,
    pub sent_at: Micros,
    pub retry_at: Micros,
    pub loading: bool,
    pub stored: Stored,
    /// What it reports besides its events, for as long as its payload is not in memory.
    pub report: Option<Box<LedgerDelta>>,
}

impl Entry {
    pub fn new(id: BatchId, seq: Seq, events: u64, payload: Arc<[u8]>, wanted: AckLevel) -> Self {
        Self {
            id,
            seq,
            events,
            bytes: payload.len(),
            payload: Some(payload),
            state: State::Waiting,
            transmitted: false,
            route: None,
            wanted,
            reached: None,
            sent_level: wanted,
            sent_at: Micros(0),
            retry_at: Micros(i64::MIN),
            loading: false,
            stored: Stored::No,
            report: None,
        }
    }

    pub fn restored(saved: &SavedBatch, wanted: AckLevel) -> Self {
        let mut entry = Self::new(saved.id, saved.seq, saved.events, Arc::new([]), wanted);
        entry.payload = None;
        entry.stored = Stored::Durable;
        entry.bytes = saved.bytes;
        entry.route = saved.route;
        entry.transmitted = saved.route.is_some();
        entry
    }

    /// Leaves the payload to the disk, but not what it reports. False when it was there already.
    pub fn shed(&mut self) -> bool {
        self.report = self.take_report().filter(|report| !report.is_empty()).map(Box::new);
        self.payload.take().is_some()
    }

    /// What it reports besides its events; `None` when it was stored by another process and not read since.
    pub fn take_report(&mut self) -> Option<LedgerDelta> {
        let Some(payload) = self.payload.as_deref() else { return self.report.take().map(|report| *report) };
        let report = LedgerDelta::peek(payload).ok()?;
        Some(LedgerDelta { events: 0, ..report })
    }

    /// The route of the first transmission stays.
    pub fn transmit(&mut self, route: RouteVersion) {
        self.transmitted = true;
        self.route.get_or_insert(route);
    }

    pub fn wait_until(&mut self, retry_at: Micros) {
        self.state = State::Waiting;
        self.retry_at = retry_at;
    }

    /// A new dot: nothing of it has left under that one.
    pub fn redot(&mut self, seq: Seq) {
        self.seq = seq;
        self.transmitted = false;
        self.route = None;
        self.reached = None;
        self.wait_until(Micros(i64::MIN));
    }
}
