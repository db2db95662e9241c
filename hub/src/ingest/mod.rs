//! Events of those without an SDK: INSERT, COPY, `POST /v1/events`.
//!
//! Owns: a producer of the hub's own, which aggregates their rows by the SDK's rollup and hands its batches to the
//! shard groups as any producer would; the readers of lines ([`lines`], [`events`]). Must not know: how batches are
//! kept, SQL, sockets.
//! Invariants: a request is all or nothing, because its rows are typed before one is aggregated and are in one flush;
//! what is answered at a level is as safe as the level says; a request that fails after its batch was handed over says
//! that its outcome is not known. There is no outbox: a request is answered only when its batches are.

mod actor;
mod block;
pub mod events;
mod flight;
mod gather;
pub(crate) mod json;
pub mod lines;
mod load;
mod pace;
mod round;
mod rows;

pub use load::{Load, Loading};
pub use pace::Pace;

use crate::catalog::Catalog;
use crate::ingress::addresses::Addresses;
use crate::shard::Shards;
use actor::{Actor, Message};
use headwater::limits::BatchLimits;
use headwater_sql::source::Insertion;
use headwater_sql::{InsertLevel, SqlError, TableWriter};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Requests that wait to be taken.
const INBOX: usize = 1_024;
/// The unit of the bound of what waits.
const PLACE_BYTES: usize = 1 << 10;

/// Limits of ingest.
#[derive(Clone, Copy, Debug)]
pub struct IngestOptions {
    /// Of the batches.
    pub limits: BatchLimits,
    /// After half of this the producer has a new identity.
    pub pid_lifetime: Duration,
    /// Bytes of rows that wait to be aggregated; more wait outside.
    pub queue_bytes: usize,
    /// COPYs and bodies of events at a time; more are refused with 53300.
    pub loads_max: usize,
    /// Bytes of the groups, or rows for a table, of each.
    pub load_bytes: usize,
    /// Bytes of one line of these.
    pub line_bytes: usize,
    /// Bytes of one body of events.
    pub body_bytes: usize,
    /// In which rows of a load must come, [`Pace::BYTES`] at a time.
    pub pace: Duration,
}

/// What everybody here works with.
struct Shared {
    catalog: Catalog,
    shards: Shards,
    options: IngestOptions,
    flight: flight::Flight,
}

/// A handle; clones share the producer.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Message>,
    places: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Ingest {
    /// A producer, and the task that drives it until [`Ingest::shutdown`].
    pub fn new(
        catalog: Catalog,
        shards: Shards,
        options: IngestOptions,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let flight = flight::Flight::new(options.pid_lifetime);
        let shared = Arc::new(Shared { catalog, shards, options, flight });
        let (inbox, messages) = mpsc::channel(INBOX);
        let ingest = Self {
            shared: Arc::clone(&shared),
            inbox,
            places: Arc::new(Semaphore::new(options.queue_bytes.div_ceil(PLACE_BYTES).max(1))),
            loads: Arc::new(Semaphore::new(options.loads_max)),
            addresses: Addresses::new(address_share(options.loads_max)),
        };
        (ingest, Actor::new(shared).run(messages))
    }

    /// Counts rows, and returns when they are as safe as asked for.
    ///
    /// # Errors
    /// `42P01` when the stream was dropped meanwhile; `53200` when its groups take too much memory; `57P01` when the hub
    /// shuts down; `58030` when storage failed: whether the rows are counted is not known then.
    pub async fn insert(&self, insertion: Insertion) -> Result<(), SqlError> {
        if insertion.batches.is_empty() {
            return Ok(());
        }
        let bytes: usize = insertion.batches.iter().map(gather::bytes_of).sum();
        let claimed = bytes.min(self.shared.options.queue_bytes);
        let places = u32::try_from(claimed.div_ceil(PLACE_BYTES).max(1)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.places).acquire_many_owned(places).await.map_err(|_| stopping())?;
        let is_async = insertion.level == InsertLevel::Async;
        let (reply, answer) = oneshot::channel();
        let request = round::Request { insertion, bytes, reply: (!is_async).then_some(reply), place };
        self.send(Message::Rows(Box::new(request))).await?;
        if is_async { Ok(()) } else { answer.await.unwrap_or_else(|_| Err(stopping())) }
    }

    /// Waits until everything that was taken before is durable.
    ///
    /// # Errors
    /// `58030` when events that were answered before they were durable, and of which no flush before this one told, are
    /// not: how many, it says.
    pub async fn flush(&self) -> Result<(), SqlError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Flush(reply)).await?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Begins a load of many rows; `writer` has those for a table. Its place among them it takes when rows come.
    ///
    /// # Errors
    /// `42P01` and its kind for where they are to go.
    pub fn load(&self, loading: &Loading, writer: &TableWriter) -> Result<Load, SqlError> {
        Load::new(self.clone(), loading, writer)
    }

    /// Takes nothing more, and returns when everything taken is answered.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Shutdown(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    async fn send(&self, message: Message) -> Result<(), SqlError> {
        self.inbox.send(message).await.map_err(|_| stopping())
    }
}

/// Loads that one address may have at a time: never all of them.
fn address_share(loads_max: usize) -> u32 {
    u32::try_from((loads_max - loads_max / 4).max(1)).unwrap_or(u32::MAX)
}

fn stopping() -> SqlError {
    SqlError::new("57P01", "the hub is shutting down")
}
