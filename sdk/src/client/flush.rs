//! Flushing: when partials become batches, and who waits for them.

use super::driver::{Driver, after};
use super::error::FlushError;
use super::lock;
use super::producer::Stream;
use crate::ids::Micros;
use crate::outbox::{BatchId, OutboxLedger};
use crate::wire::AckLevel;
use crate::wire::batch::{SectionInput, encode_payloads};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// Measuring memory walks all states.
const MEASURE_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Somebody waits until everything emitted before is safe.
#[derive(Debug)]
pub(super) struct Barrier {
    level: AckLevel,
    done: oneshot::Sender<Flushed>,
    /// The last batch it waits for; `None` until everything before it is frozen.
    upto: Option<BatchId>,
    /// What flushes before it had told of.
    told: GivenUp,
}

/// What a flush answers.
#[derive(Debug)]
pub(super) struct Flushed {
    pub result: Result<(), FlushError>,
    /// What whoever gets this has been told of. Whoever gave up waiting has not: the next flush tells it.
    pub told: GivenUp,
}

impl Barrier {
    pub fn new(level: AckLevel, done: oneshot::Sender<Flushed>, told: GivenUp) -> Self {
        Self { level, done, upto: None, told }
    }

    fn answer(self, result: Result<(), FlushError>, told: GivenUp) {
        // Whoever waited may have given up.
        let _ = self.done.send(Flushed { result, told });
    }
}

/// Freezes what is due: for a barrier, because it is old or large, or because memory is short.
pub(super) fn run_due(driver: &mut Driver) {
    let now = driver.now();
    let wanted = driver.barriers.iter().any(|barrier| barrier.upto.is_none());
    let full = driver.shared.gate.full.load(Ordering::Relaxed);
    let due = driver.flush_due.is_some_and(|due| due <= now) || full;
    if wanted && driver.session.has_room() && is_ready(driver) {
        freeze_for_barriers(driver);
    } else if due && driver.session.is_hungry(now) {
        let goes_on = collect(driver) || is_still_used(driver);
        driver.flush_due = goes_on.then(|| after(now, driver.options.flush.age_max));
    } else if due {
        hold(driver, now);
    }
}

/// Nobody emitted since the last flush: the clock stops, and the next event starts it and wakes the driver.
/// Whoever emitted while it still ticked holds an emitter's lock until the event is there to be seen.
fn is_still_used(driver: &Driver) -> bool {
    driver.shared.gate.clock.stop_ticking();
    driver.streams.iter().any(|stream| stream.held().0 > 0)
}

/// Partials cannot leave now: they go on merging (C1), until a spool should have them or memory runs out.
fn hold(driver: &mut Driver, now: Micros) {
    let options = driver.options.flush;
    let spool_due = *driver.spool_due.get_or_insert_with(|| after(now, options.spool_age_max));
    if driver.measure_due.is_some_and(|due| due > now) && spool_due > now {
        return;
    }
    driver.measure_due = Some(after(now, options.age_max.max(MEASURE_INTERVAL_MIN)));
    let bytes: usize = driver.streams.iter().map(|stream| stream.heap_bytes()).sum();
    let short = bytes > options.rollup_bytes_max;
    let spools = driver.options.spool.is_some() && spool_due <= now;
    if spool_due <= now {
        driver.spool_due = Some(after(now, options.spool_age_max));
    }
    if (short || spools) && driver.session.has_room() {
        collect(driver);
    } else {
        driver.shared.gate.pressed.store(short, Ordering::Relaxed);
    }
}

/// True when every stream's events can be rolled up, or the hub has said that it has no such stream.
fn is_ready(driver: &Driver) -> bool {
    let is_answered =
        |stream: &Arc<Stream>| stream.schema().is_some() || stream.is_unknown() || stream.held().1 == 0;
    driver.streams.iter().all(is_answered)
}

fn freeze_for_barriers(driver: &mut Driver) {
    collect(driver);
    let last = driver.session.last_id();
    let unknown: Vec<String> = unknown_streams(driver);
    for mut barrier in std::mem::take(&mut driver.barriers) {
        if barrier.upto.is_some() {
            driver.barriers.push(barrier);
        } else if unknown.is_empty() {
            barrier.upto = Some(last);
            driver.session.require(last, barrier.level);
            driver.barriers.push(barrier);
        } else {
            let told = barrier.told;
            barrier.answer(Err(FlushError::UnknownStreams(unknown.clone())), told);
        }
    }
}

/// Streams with waiting events that the hub says it does not have.
fn unknown_streams(driver: &Driver) -> Vec<String> {
    let is_unknown = |stream: &&Arc<Stream>| stream.is_unknown() && stream.held().1 > 0;
    driver.streams.iter().filter(is_unknown).map(|stream| stream.name.clone()).collect()
}

/// Answers the barriers whose batches are safe or given up.
pub(super) fn release_barriers(driver: &mut Driver) {
    if driver.barriers.is_empty() {
        return;
    }
    let now = GivenUp::of(&driver.session.ledger(), driver.refused);
    for barrier in std::mem::take(&mut driver.barriers) {
        let reached = barrier.upto.is_some_and(|upto| driver.session.has_reached(upto, barrier.level));
        if !reached {
            driver.barriers.push(barrier);
            continue;
        }
        // What was given up since somebody was told, though before this flush was asked for, is told too:
        // a flush that succeeds means that everything taken by `emit` is safe.
        let result = now.since(barrier.told);
        barrier.answer(result, now);
    }
}

/// Events that `emit` took and no ack of this process will cover.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenUp {
    dropped: u64,
    in_doubt: u64,
    left: u64,
    oversized: u64,
}

impl GivenUp {
    /// The callers of `emit` know of what was `refused`.
    fn of(ledger: &OutboxLedger, refused: u64) -> Self {
        let dropped = ledger.dropped.total().saturating_sub(refused);
        let in_doubt = ledger.in_doubt_events;
        Self { dropped, in_doubt, left: ledger.left_events, oversized: ledger.oversized_groups }
    }

    /// Told of both: flushes may end in another order than they were answered in.
    pub fn and(self, other: Self) -> Self {
        Self {
            dropped: self.dropped.max(other.dropped),
            in_doubt: self.in_doubt.max(other.in_doubt),
            left: other.left,
            oversized: self.oversized.max(other.oversized),
        }
    }

    fn since(self, before: Self) -> Result<(), FlushError> {
        let (dropped, in_doubt) = (self.dropped - before.dropped, self.in_doubt - before.in_doubt);
        if dropped + in_doubt > 0 {
            return Err(FlushError::Lost { dropped, in_doubt });
        }
        // What was left may be held again by now: the spool was opened anew.
        match self.left.saturating_sub(before.left) {
            0 => {}
            events => return Err(FlushError::LeftInSpool { events }),
        }
        match self.oversized - before.oversized {
            0 => Ok(()),
            groups => Err(FlushError::Oversized { groups }),
        }
    }
}

/// Takes what all emitters gathered and freezes it. False when there was nothing.
pub(super) fn collect(driver: &mut Driver) -> bool {
    let now = driver.now();
    driver.shared.gate.full.store(false, Ordering::Relaxed);
    driver.shared.gate.pressed.store(false, Ordering::Relaxed);
    driver.spool_due = None;
    let drained: Vec<_> = driver.streams.iter().map(|stream| stream.drain()).collect();
    for drained in &drained {
        driver.refused += drained.refused.total();
        let dropped = drained.refused.iter().chain(drained.lost.iter());
        dropped.for_each(|(reason, events)| driver.session.count_dropped(reason, events));
    }
    let mut report = driver.session.take_delta();
    report.events = drained.iter().map(|drained| drained.events).sum();
    let partials = drained.iter().flat_map(|drained| &drained.partials);
    let sections: Vec<_> = partials.map(SectionInput::from).collect();
    sections.iter().for_each(|section| lock(&driver.shared.status).rejected.merge(&section.rejected));
    let batches = encode_payloads(&report, &sections, &driver.session.batch_limits());
    driver.session.count_oversized(batches.oversized_groups);
    let found = report.events > 0 || !sections.is_empty();
    for payload in batches.payloads {
        driver.session.freeze_encoded(now, payload);
    }
    found
}
