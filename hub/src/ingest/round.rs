//! One flush: rows of several requests, aggregated, frozen, handed over, answered.
//!
//! Owns: that the rows of a request are in one flush, and who is told what. Must not know: who waits when.

use super::{Shared, gather};
use crate::server::now;
use crate::shard::Outcome;
use futures::StreamExt;
use headwater::ids::RouteVersion;
use headwater::wire::{AckLevel, BatchFrame, Refused, RefusedCode};
use headwater_sql::source::Insertion;
use headwater_sql::{InsertLevel, SqlError};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Batches of one flush that are on their way at a time.
const ON_THEIR_WAY: usize = 8;

/// Whom to tell.
pub(super) type Reply = oneshot::Sender<Result<(), SqlError>>;

/// Rows that somebody brought.
pub(super) struct Request {
    pub insertion: Insertion,
    /// Of its rows, about.
    pub bytes: usize,
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

/// Who brought rows, while they are aggregated.
struct Claimant {
    level: InsertLevel,
    reply: Option<Reply>,
    rows: u64,
    _place: OwnedSemaphorePermit,
}

impl Claimant {
    fn split(request: Request) -> (Insertion, Self) {
        let rows = request.rows();
        let Request { insertion, reply, place, .. } = request;
        let claimant = Self { level: insertion.level, reply, rows, _place: place };
        (insertion, claimant)
    }

    /// Its rows are not counted; how many nobody could be told of.
    fn refuse(self, error: SqlError) -> u64 {
        match self.reply {
            Some(reply) => {
                drop(reply.send(Err(error)));
                0
            }
            None => self.rows,
        }
    }
}

/// Those who wait for a flush.
#[derive(Default)]
struct Waiting {
    received: Vec<Reply>,
    durable: Vec<Reply>,
    /// Events of those who wait until it is received.
    receiving: u64,
    /// Events that nobody waits for, or not any more.
    unwatched: u64,
}

impl Waiting {
    fn add(&mut self, level: InsertLevel, reply: Option<Reply>, events: u64) {
        match (reply, level) {
            (Some(reply), InsertLevel::Durable) => self.durable.push(reply),
            (Some(reply), _) => {
                self.received.push(reply);
                self.receiving += events;
            }
            (None, _) => self.unwatched += events,
        }
    }

    fn tell_received(&mut self, result: &Result<(), SqlError>) {
        self.received.drain(..).for_each(|reply| drop(reply.send(result.clone())));
        let events = std::mem::take(&mut self.receiving);
        // They were told that all is well: what becomes of them now is told by a flush only.
        if result.is_ok() {
            self.unwatched += events;
        }
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
    let (mut rows, mut claimants): (VecDeque<_>, VecDeque<_>) =
        work.requests.into_iter().map(Claimant::split).unzip();
    while !rows.is_empty() {
        let Some((flush, rest)) = aggregate(shared, rows).await else {
            let failed = || SqlError::new("XX000", "the rows could not be aggregated");
            return lost + claimants.into_iter().map(|claimant| claimant.refuse(failed())).sum::<u64>();
        };
        rows = rest;
        let mut waiting = Waiting::default();
        for (outcome, claimant) in
            flush.outcomes.into_iter().zip(std::iter::from_fn(|| claimants.pop_front()))
        {
            match outcome {
                Ok(()) => waiting.add(claimant.level, claimant.reply, claimant.rows),
                Err(error) => lost += claimant.refuse(error),
            }
        }
        lost += hand_over(shared, flush.payloads, &mut waiting).await;
    }
    lost
}

/// One flush of the rows, and what is left of them; on a thread that nobody else waits for. `None`: it ended badly.
async fn aggregate(
    shared: &Shared,
    mut rows: VecDeque<Insertion>,
) -> Option<(gather::Flush, VecDeque<Insertion>)> {
    let (catalog, options) = (shared.catalog.snapshot(), shared.options);
    let gathering = tokio::task::spawn_blocking(move || {
        let flush = gather::flush(&mut rows, &catalog, &options.limits, options.load_bytes);
        (flush, rows)
    });
    gathering.await.inspect_err(|error| tracing::error!(%error, "rows could not be aggregated")).ok()
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
        assert_eq!(is_durable.try_recv(), Ok(Ok(())));
    }

    /// A flush said that nothing was lost, although rows were that had been answered as received.
    #[test]
    fn what_was_told_to_be_received_is_lost_when_it_is_not_durable() {
        let failed = Err(SqlError::new("58030", "no"));
        let lost = |received_first: bool| {
            let mut waiting = Waiting::default();
            let (reply, mut answer) = oneshot::channel();
            waiting.add(InsertLevel::Received, Some(reply), 3);
            waiting.add(InsertLevel::Async, None, 7);
            if received_first {
                waiting.tell_received(&Ok(()));
            }
            waiting.tell(&failed);
            (answer.try_recv().expect("told").is_ok(), waiting.unwatched)
        };
        assert_eq!(lost(true), (true, 10));
        assert_eq!(lost(false), (false, 7), "who is told so now has not lost anything silently");
    }
}
