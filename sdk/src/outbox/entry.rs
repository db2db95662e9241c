//! One batch in the outbox.

use super::spool::{BatchId, Frozen, SavedBatch};
use crate::ids::{Micros, RouteVersion, Seq};
use crate::wire::AckLevel;
use crate::wire::batch::{DropReason, LedgerDelta};
use alloc::boxed::Box;

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
    pub payload: Option<Frozen>,
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
    /// What it reports besides its events.
    pub report: Option<Box<LedgerDelta>>,
}

impl Entry {
    pub fn new(
        id: BatchId,
        seq: Seq,
        events: u64,
        report: LedgerDelta,
        payload: Frozen,
        wanted: AckLevel,
    ) -> Self {
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
            report: (!report.is_empty()).then(|| Box::new(report)),
        }
    }

    pub fn restored(saved: &SavedBatch, wanted: AckLevel) -> Self {
        let report = saved.report.clone();
        let mut entry = Self::new(saved.id, saved.seq, saved.events, report, Frozen::default(), wanted);
        entry.payload = None;
        entry.stored = Stored::Durable;
        entry.bytes = saved.bytes;
        entry.route = saved.route;
        entry.transmitted = saved.route.is_some();
        entry
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

/// A batch given up that the spool may still have: until its removal is durable, a later process may send it.
#[derive(Debug)]
pub(super) struct Dropping {
    pub entry: Entry,
    pub reason: DropReason,
    /// Its number under the present identity; low water stays below it.
    pub seq: Option<Seq>,
    /// Its removal was handed over, and the outcome is not known.
    pub is_handed: bool,
}

/// Batches in order.
#[cfg(feature = "std")]
pub(super) type Entries = alloc::collections::VecDeque<Entry>;

/// Batches in order: a page holds few, and a `VecDeque` is twice the code to download.
#[cfg(not(feature = "std"))]
#[derive(Debug, Default)]
pub(super) struct Entries(alloc::vec::Vec<Entry>);

#[cfg(not(feature = "std"))]
impl Entries {
    pub fn push_back(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    pub fn front(&self) -> Option<&Entry> {
        self.0.first()
    }

    pub fn remove(&mut self, at: usize) -> Option<Entry> {
        (at < self.0.len()).then(|| self.0.remove(at))
    }
}

#[cfg(not(feature = "std"))]
impl core::ops::Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.0
    }
}

#[cfg(not(feature = "std"))]
impl core::ops::DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut [Entry] {
        &mut self.0
    }
}
