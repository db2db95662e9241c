//! Shard groups: batches in, merged partials out, each batch counted once.
//!
//! Owns: admission of batches, the protocol core ([`core::ShardCore`]), the log, the overlay, folds, scans, and
//! the one writer thread that owns the data file. Must not know: sockets, sessions with clients, SQL text.
//! Invariants: what is acknowledged as durable is fsynced and readable; nothing is folded past the commit
//! point; after a storage failure writes are refused and reads go on. Tables and transactions: `hub/DESIGN.md`.

mod admit;
mod cap;
mod clock;
pub mod core;
mod fold;
mod janitor;
mod ledger;
mod log;
mod open;
mod options;
mod output;
mod overlay;
mod quarantine;
pub mod record;
mod route;
mod scan;
pub mod session;
mod shared;
mod stats;
mod status;
mod views;
mod writer;

#[cfg(test)]
mod altered;
#[cfg(test)]
mod chained;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod explosion;
#[cfg(test)]
mod jump;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use ledger::Ledger;
pub use options::{QuarantineOptions, ShardOptions, SweepOptions};
pub use quarantine::Quarantined;
pub use status::{Latency, ShardGroupStatus, ShardStatus, ViewStatus};

use crate::catalog::Catalog;
use crate::store::marker::{self, HUB_FILE};
use crate::store::tables::HUB_TABLES;
use crate::store::{RedbOptions, RedbStore, Store, StoreError};
use futures::stream::BoxStream;
use headwater::group::GroupTable;
use headwater::ids::{BootId, Pid, Seq, ViewId};
use headwater::limits::BatchLimits;
use headwater::wire::{Ack, AckLevel, BatchFrame, Refused, RefusedCode, Resume, Resumed, SessionLimits};
use headwater_sql::SqlError;
use headwater_sql::source::ScanRequest;
use shared::{Message, Shared};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// A handle to all shard groups of this hub; clones share them. The writer thread ends, with everything
/// accepted durable, on [`Shards::shutdown`] or when the last handle is dropped.
#[derive(Clone)]
pub struct Shards {
    shared: Arc<Shared>,
}

impl Shards {
    /// Opens the data file of `dir`, which [`Catalog::open`] has made a data directory, and replays the log.
    ///
    /// # Errors
    /// Anything that [`StoreError`] names.
    pub fn open(dir: &Path, options: ShardOptions, catalog: Catalog) -> Result<Self, StoreError> {
        let redb = RedbOptions { cache_bytes: options.cache_bytes, create: true };
        let file = dir.join(HUB_FILE);
        // Where the catalog's file could not be looked at before it was opened.
        let is_used = !catalog.snapshot().streams.is_empty();
        if is_used && file.metadata().map_or(0, |m| m.len()) == 0 {
            return Err(StoreError::Corrupted(format!("{} is missing or empty", file.display())));
        }
        let store = RedbStore::open(&file, HUB_TABLES, redb)?;
        marker::sync_directory(dir)?;
        Self::with_store(Arc::new(store), options, catalog, Clock::system())
    }

    /// Shard groups in a store of the caller's, by clocks of the caller's.
    pub(crate) fn with_store(
        store: Arc<dyn Store>,
        options: ShardOptions,
        catalog: Catalog,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let shared = writer::start(store, options, catalog, clock)?;
        Ok(Self { shared })
    }

    /// Hands in a batch. Waits for room in the bounded inbox; decoding and validation happen here, on the
    /// caller's task.
    pub async fn submit(&self, batch: BatchFrame) -> Submission {
        self.submit_within(batch, self.shared.options.limits).await
    }

    /// As [`Shards::submit`], for a door whose limits may be tighter than the hub's.
    pub async fn submit_through(&self, batch: BatchFrame, door: &SessionLimits) -> Submission {
        self.submit_within(batch, self.shared.options.limits.within(door)).await
    }

    async fn submit_within(&self, batch: BatchFrame, limits: BatchLimits) -> Submission {
        let (pid, seq) = (batch.pid, batch.seq);
        let last = batch.level.max(AckLevel::Durable);
        let outcomes = match self.shared.submit(batch, limits).await {
            Ok(outcomes) => Source::Writer(outcomes),
            Err(refused) => Source::Refused(Some(refused)),
        };
        Submission { outcomes, pid, seq, last, done: false }
    }

    /// Tells what is held of a producer (C5).
    ///
    /// # Errors
    /// [`RefusedCode::Unavailable`] while storage cannot be read or the hub shuts down.
    pub async fn resume(&self, resume: Resume) -> Result<Resumed, Refused> {
        let unavailable =
            || refused(resume.pid, resume.low_water, RefusedCode::Unavailable, "the hub is shutting down");
        let (reply, answer) = oneshot::channel();
        self.shared.send(Message::Resume(resume, reply)).map_err(|()| unavailable())?;
        answer.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Removes the rows of a view that are past its `ttl` now, instead of within a minute; how many those were.
    ///
    /// # Errors
    /// `58030` when storage failed, `57P01` when the hub shuts down.
    pub async fn expire(&self, view: ViewId) -> Result<u64, SqlError> {
        let mut rows = 0;
        for begin in std::iter::once(true).chain(std::iter::repeat(false)) {
            let (reply, answer) = oneshot::channel();
            let stopping = || SqlError::new("57P01", "the hub is shutting down");
            self.shared.send(Message::Expire(view, begin, reply)).map_err(|()| stopping())?;
            let expired = answer.await.map_err(|_| stopping())?;
            let expired =
                expired.map_err(|e| SqlError::new("58030", format!("storage cannot be written: {e}")))?;
            rows += expired.rows;
            if expired.is_done {
                break;
            }
        }
        Ok(rows)
    }

    /// Folds until nothing is left: views that read the output of others have seen all that was acknowledged before. Without
    /// such views there is nothing to wait for.
    ///
    /// # Errors
    /// `58030` when storage failed, `57P01` when the hub shuts down.
    pub async fn settle(&self) -> Result<(), SqlError> {
        if !self.shared.views().has_chains() {
            return Ok(());
        }
        let stopping = || SqlError::new("57P01", "the hub is shutting down");
        let (reply, answer) = oneshot::channel();
        self.shared.send(Message::Settle(reply)).map_err(|()| stopping())?;
        let settled = answer.await.map_err(|_| stopping())?;
        settled.map_err(|e| SqlError::new("58030", format!("storage cannot be written: {e}")))
    }

    /// Merged partials of a view, in chunks by ascending key range; every group is in exactly one chunk.
    /// Both read levels answer alike while every shard group has one copy: what is durable is committed.
    pub fn scan(&self, request: ScanRequest) -> BoxStream<'static, Result<GroupTable, SqlError>> {
        scan::scan(self.shared.clone(), request)
    }

    /// Takes the snapshots of all scans, as their age would.
    #[cfg(test)]
    fn end_scans(&self) {
        self.shared.leases.end_older(std::time::Duration::ZERO);
    }

    /// This start of the hub.
    pub fn boot(&self) -> BootId {
        self.shared.boot
    }

    /// Counters and positions; cheap.
    pub fn status(&self) -> ShardStatus {
        self.shared.status()
    }

    /// What was set aside because it could not be read or merged.
    ///
    /// # Errors
    /// Storage failed.
    pub fn quarantine(&self) -> Result<Vec<Quarantined>, StoreError> {
        quarantine::list(&*self.shared.store.snapshot()?)
    }

    /// Makes everything accepted durable, folds it, and stops. Batches that come later are refused as
    /// unavailable.
    ///
    /// # Errors
    /// Storage failed: what was acknowledged is safe in the log, the rest was refused.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.shared.send(Message::Shutdown(reply)).is_err() {
            return Ok(());
        }
        let result = answer.await.unwrap_or(Err(StoreError::Closed));
        self.join_writer().await;
        result
    }

    /// Waits until the writer thread has let go of the files: the directory can be opened again as soon as
    /// the last handle is dropped.
    async fn join_writer(&self) {
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the writer thread ended badly");
            }
        }
    }
}

/// What became of a batch, step by step.
#[derive(Debug)]
pub struct Submission {
    outcomes: Source,
    pid: Pid,
    seq: Seq,
    /// The ack after which nothing follows.
    last: AckLevel,
    done: bool,
}

#[derive(Debug)]
enum Source {
    Writer(mpsc::UnboundedReceiver<Outcome>),
    Refused(Option<Refused>),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is this safe.
    Ack(Ack),
    /// It is not taken; the last outcome.
    Refused(Refused),
}

impl Submission {
    /// The next outcome: Ack(Received)? (not for duplicates), Ack(Durable), Ack(Replicated) when the batch
    /// asks for it; or one Refused. `None` after the last.
    pub async fn next(&mut self) -> Option<Outcome> {
        if self.done {
            return None;
        }
        let next = match &mut self.outcomes {
            Source::Refused(refused) => refused.take().map(Outcome::Refused),
            Source::Writer(outcomes) => match outcomes.recv().await {
                // The writer is gone without a word: the batch may or may not be durable.
                None => {
                    let message = "the hub stopped before the batch was durable";
                    Some(Outcome::Refused(refused(self.pid, self.seq, RefusedCode::Unavailable, message)))
                }
                some => some,
            },
        };
        self.done = match &next {
            None | Some(Outcome::Refused(_)) => true,
            Some(Outcome::Ack(ack)) => ack.level >= self.last,
        };
        next
    }
}

/// A refusal with the hub's advice on when to try again.
fn refused(pid: Pid, seq: Seq, code: RefusedCode, message: &str) -> Refused {
    let retry_after_ms = if code == RefusedCode::Unavailable { 1_000 } else { 0 };
    Refused { pid, seq, code, message: message.into(), retry_after_ms }
}
