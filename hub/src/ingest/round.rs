//! One flush: rows of several requests, aggregated, frozen, handed over, answered.
//!
//! Owns: that the rows of a request are in one flush, and who is told what. Must not know: who waits when.

use super::Shared;
use crate::server::now;
use crate::shard::Outcome;
use futures::StreamExt;
use headwater::ids::{RouteVersion, ViewId};
use headwater::limits::BatchLimits;
use headwater::plan::Plan;
use headwater::rollup::{Rollup, RollupOptions, ViewPartials};
use headwater::schema::StreamSchema;
use headwater::value::column::{Column, ColumnBatch, ColumnData};
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame, Refused, RefusedCode};
use headwater_sql::source::{CatalogSnapshot, Insertion};
use headwater_sql::{InsertLevel, SqlError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Batches of one flush that are on their way at a time.
const ON_THEIR_WAY: usize = 8;

/// Whom to tell.
pub(super) type Reply = oneshot::Sender<Result<(), SqlError>>;

/// Rows that somebody brought.
pub(super) struct Request {
    pub insertion: Insertion,
    /// `None`: it was answered when it came.
    pub reply: Option<Reply>,
    /// Its share of what may wait, until it is aggregated.
    pub place: OwnedSemaphorePermit,
}

impl Request {
    pub(super) fn rows(&self) -> u64 {
        self.insertion.batches.iter().map(|batch| batch.rows() as u64).sum()
    }
}

/// A load that is complete.
pub(super) struct Frozen {
    pub payloads: Vec<Vec<u8>>,
    pub events: u64,
    pub level: InsertLevel,
    pub reply: Option<Reply>,
}

/// What a round has to do.
#[derive(Default)]
pub(super) struct Work {
    pub requests: Vec<Request>,
    pub frozen: Vec<Frozen>,
}

/// Those who wait for a flush.
#[derive(Default)]
struct Waiting {
    received: Vec<Reply>,
    durable: Vec<Reply>,
    /// Events that nobody waits for.
    unwatched: u64,
}

impl Waiting {
    fn add(&mut self, level: InsertLevel, reply: Option<Reply>, events: u64) {
        match (reply, level) {
            (Some(reply), InsertLevel::Durable) => self.durable.push(reply),
            (Some(reply), _) => self.received.push(reply),
            (None, _) => self.unwatched += events,
        }
    }

    fn tell_received(&mut self, result: &Result<(), SqlError>) {
        self.received.drain(..).for_each(|reply| drop(reply.send(result.clone())));
    }

    fn tell(&mut self, result: &Result<(), SqlError>) {
        self.tell_received(result);
        self.durable.drain(..).for_each(|reply| drop(reply.send(result.clone())));
    }
}

/// Does it all; how many events of requests that were answered before are not durable.
pub(super) async fn run(shared: &Shared, work: Work) -> u64 {
    let mut lost = 0;
    for Frozen { payloads, events, level, reply } in work.frozen {
        let mut waiting = Waiting::default();
        waiting.add(level, reply, events);
        lost += hand_over(shared, payloads, &mut waiting).await;
    }
    if !work.requests.is_empty() {
        let (payloads, mut waiting) = aggregate(shared, work.requests).await;
        lost += waiting.1;
        lost += hand_over(shared, payloads, &mut waiting.0).await;
    }
    lost
}

/// The rows of all requests as payloads; those whose stream is gone are told so.
async fn aggregate(shared: &Shared, requests: Vec<Request>) -> (Vec<Vec<u8>>, (Waiting, u64)) {
    let catalog = shared.catalog.snapshot();
    let limits = shared.options.limits;
    let (mut waiting, mut lost, mut events) = (Waiting::default(), 0, 0);
    let mut rollups: Vec<(Option<Vec<ViewId>>, Rollup)> = Vec::new();
    for request in requests {
        let (rows, Insertion { stream, batches, level, targets }) = (request.rows(), request.insertion);
        if !is_same_stream(&catalog, &stream.schema) {
            match request.reply {
                Some(reply) => drop(reply.send(Err(gone(&stream.schema.name)))),
                None => lost += rows,
            }
            continue;
        }
        let known =
            rollups.iter().position(|(of, rollup)| *of == targets && *rollup.schema() == stream.schema);
        let at = known.unwrap_or_else(|| {
            let rollup = rollup(&catalog, &stream.schema, targets.as_deref(), &limits);
            rollups.push((targets, rollup));
            rollups.len() - 1
        });
        if let Some((_, rollup)) = rollups.get_mut(at) {
            for batch in &batches {
                rollup.push(batch);
                tokio::task::yield_now().await;
            }
        }
        events += rows;
        waiting.add(level, request.reply, rows);
        drop(request.place);
    }
    (payloads(events, &together(rollups), &limits), (waiting, lost))
}

/// What all rollups gathered, one entry per view and version: rows with other `stream_targets` may feed the same views.
fn together(rollups: Vec<(Option<Vec<ViewId>>, Rollup)>) -> Vec<ViewPartials> {
    let mut streams: Vec<Rollup> = Vec::new();
    for (_, mut rollup) in rollups {
        match streams.iter_mut().find(|known| known.schema() == rollup.schema()) {
            Some(known) => known.merge(rollup.drain()),
            None => streams.push(rollup),
        }
    }
    streams.iter_mut().flat_map(Rollup::drain).collect()
}

/// A flush as payloads.
pub(super) fn payloads(events: u64, partials: &[ViewPartials], limits: &BatchLimits) -> Vec<Vec<u8>> {
    let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
    let report = LedgerDelta { events, ..LedgerDelta::default() };
    let encoded = encode_payloads(&report, &sections, limits);
    if encoded.oversized_groups > 0 {
        let groups = encoded.oversized_groups;
        tracing::warn!(groups, "groups that alone are larger than a batch may be are left out");
    }
    encoded.payloads.into_iter().map(|payload| payload.bytes).collect()
}

/// A rollup by the newest plans.
pub(super) fn rollup(
    catalog: &CatalogSnapshot,
    schema: &StreamSchema,
    targets: Option<&[ViewId]>,
    limits: &BatchLimits,
) -> Rollup {
    let mut rollup = Rollup::new(schema.clone(), RollupOptions { key_bytes_max: limits.key_bytes_max });
    for (view, error) in rollup.set_plans(schema.clone(), plans(catalog, schema, targets)) {
        tracing::warn!(%view, %error, "this build cannot run a view's plan");
    }
    rollup
}

/// The plans of a stream's views that are fed.
fn plans(catalog: &CatalogSnapshot, schema: &StreamSchema, targets: Option<&[ViewId]>) -> Vec<Plan> {
    let is_fed = |view: ViewId| targets.is_none_or(|targets| targets.contains(&view));
    let fed = catalog.views.iter().filter(|v| v.plan.stream == schema.id && v.is_active() && is_fed(v.id));
    fed.map(|view| view.plan.clone()).collect()
}

/// False when the stream was dropped; another one of its name has another id.
pub(super) fn is_same_stream(catalog: &CatalogSnapshot, schema: &StreamSchema) -> bool {
    catalog.streams.iter().any(|stream| stream.schema == *schema)
}

pub(super) fn gone(name: &str) -> SqlError {
    SqlError::new("42P01", format!("stream \"{name}\" was dropped or changed while rows were on their way"))
        .with_hint("none of them is counted")
}

/// How far the batches of a flush have come.
struct Progress<'a> {
    batches: usize,
    received: usize,
    durable: usize,
    has_failed: bool,
    waiting: &'a mut Waiting,
}

impl Progress<'_> {
    fn received(&mut self) {
        self.received += 1;
        if self.received == self.batches {
            self.waiting.tell_received(&Ok(()));
        }
    }
}

/// Hands payloads to the shard groups and tells those who wait; events nobody waits for that are not durable.
async fn hand_over(shared: &Shared, payloads: Vec<Vec<u8>>, waiting: &mut Waiting) -> u64 {
    let batches = payloads.len();
    let progress = Mutex::new(Progress { batches, received: 0, durable: 0, has_failed: false, waiting });
    let delivered = futures::stream::iter(payloads)
        .map(|payload| deliver(shared, payload, &progress))
        .buffer_unordered(ON_THEIR_WAY);
    let failed = delivered.filter_map(|result| async { result.err() }).collect::<Vec<_>>().await;
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    let refused = failed.first().map(|refused| explain(refused, progress.durable, batches));
    let result = refused.map_or(Ok(()), Err);
    progress.waiting.tell(&result);
    if result.is_err() { progress.waiting.unwatched } else { 0 }
}

/// Hands one payload over and follows it. One that is refused because of the producer's identity goes again under
/// another: one transmission has one answer here, so that it is not held is certain.
async fn deliver(shared: &Shared, payload: Vec<u8>, progress: &Mutex<Progress<'_>>) -> Result<(), Refused> {
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    if lock().has_failed {
        return Ok(());
    }
    let mut refused = submit(shared, payload.clone(), &lock).await;
    if let Err(Refused { code: RefusedCode::Expired | RefusedCode::BornInFuture, pid, .. }) = refused {
        shared.flight.abandon(pid);
        refused = submit(shared, payload, &lock).await;
    }
    match &refused {
        Ok(()) => lock().durable += 1,
        Err(_) => lock().has_failed = true,
    }
    refused
}

async fn submit<'p, 'w: 'p>(
    shared: &Shared,
    payload: Vec<u8>,
    lock: &(impl Fn() -> MutexGuard<'p, Progress<'w>> + Sync),
) -> Result<(), Refused> {
    let (dot, low_water) = shared.flight.take(now()).await;
    let frame = BatchFrame {
        pid: dot.pid,
        seq: dot.seq,
        low_water,
        route: RouteVersion::default(),
        level: AckLevel::Durable,
        backfill: false,
        payload,
    };
    let mut submission = shared.shards.submit(frame).await;
    let mut was_received = false;
    let result = loop {
        match submission.next().await {
            Some(Outcome::Ack(ack)) if ack.level >= AckLevel::Durable => break Ok(()),
            Some(Outcome::Ack(_)) => {
                was_received = true;
                lock().received();
            }
            Some(Outcome::Refused(refused)) => break Err(refused),
            None => break Ok(()),
        }
    };
    shared.flight.settle(dot);
    if result.is_ok() && !was_received {
        lock().received();
    }
    result
}

/// What a refusal means for those whose rows it has.
fn explain(refused: &Refused, durable: usize, batches: usize) -> SqlError {
    let error = match refused.code {
        RefusedCode::Unavailable => {
            let message = format!("events could not be written: {}", refused.message);
            SqlError::new("58030", message).with_hint("whether they are counted is not known")
        }
        RefusedCode::TooLarge => SqlError::new("54000", refused.message.clone()),
        _ => SqlError::new("55000", format!("events were refused: {}", refused.message)),
    };
    if durable == 0 {
        return error;
    }
    let message = format!("{} (of {batches} batches {durable} are counted)", error.message);
    SqlError { message, ..error }
}

/// Bytes that a batch of rows takes, about.
pub(super) fn bytes_of(batch: &ColumnBatch) -> usize {
    let column = |column: &Column| match &column.data {
        ColumnData::Bool(v) => v.len(),
        ColumnData::Int(v) => 8 * v.len(),
        ColumnData::Float(v) => 8 * v.len(),
        ColumnData::Bytes(v) => v.data.len() + 4 * v.len(),
        other => 16 * other.len(),
    };
    batch.columns.iter().map(column).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_is_known() {
        let refused = |code| Refused {
            pid: Default::default(),
            seq: headwater::ids::Seq(1),
            code,
            message: "no".into(),
            retry_after_ms: 0,
        };
        let error = explain(&refused(RefusedCode::Unavailable), 0, 1);
        assert_eq!((error.code, error.message.as_str()), ("58030", "events could not be written: no"));
        assert!(error.hint.is_some_and(|hint| hint.contains("not known")));
        let error = explain(&refused(RefusedCode::TooLarge), 2, 3);
        assert_eq!((error.code, error.message.as_str()), ("54000", "no (of 3 batches 2 are counted)"));
    }

    #[test]
    fn levels_are_told_when_they_are_reached() {
        let mut waiting = Waiting::default();
        let (received, mut is_received) = oneshot::channel();
        let (durable, mut is_durable) = oneshot::channel();
        waiting.add(InsertLevel::Received, Some(received), 1);
        waiting.add(InsertLevel::Durable, Some(durable), 1);
        waiting.add(InsertLevel::Async, None, 7);
        let mut progress =
            Progress { batches: 2, received: 0, durable: 0, has_failed: false, waiting: &mut waiting };
        progress.received();
        assert!(is_received.try_recv().is_err(), "one of two batches");
        progress.received();
        assert_eq!(is_received.try_recv(), Ok(Ok(())));
        assert!(is_durable.try_recv().is_err());
        progress.waiting.tell(&Ok(()));
        assert_eq!((is_durable.try_recv(), waiting.unwatched), (Ok(Ok(())), 7));
    }
}
