//! The native client: events by serde in, states over QUIC out, SQL answers back.
//!
//! Owns: sockets, tasks, the clock, the disk spool; it drives the pure [`crate::session`]. Must not know: how
//! states are made or what batches mean.
//! Invariants: one task owns the session; handles only talk to it; every task ends with the client.
//!
//! ```no_run
//! use headwater::client::{Client, ConnectOptions};
//! use headwater::wire::AckLevel;
//!
//! #[derive(serde::Serialize)]
//! struct PageView<'a> {
//!     url: &'a str,
//!     latency_ms: f64,
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ConnectOptions::new("hub.example.com:7171")).await?;
//! let pageviews = client.stream("pageviews");
//! pageviews.emit(&PageView { url: "/", latency_ms: 12.5 })?;
//! client.flush(AckLevel::Durable).await?;
//! let top: Vec<(String, i64)> = client.query_as("SELECT url, count FROM by_url").await?;
//! client.close().await;
//! # Ok(())
//! # }
//! ```

mod blocking;
mod coarse;
mod connection;
mod driver;
mod env;
mod error;
mod flush;
mod long_keys;
mod options;
mod peer;
mod producer;
mod query;
mod spool;
mod stats;
#[cfg(test)]
mod tests;
mod tls;
mod waiting;

pub use blocking::BlockingClient;
pub use error::{ConnectError, FlushError, QueryError};
pub use options::{ConnectOptions, Fingerprint, FingerprintError, Trust};
pub use producer::{EmitError, Emitter};
pub use query::Rows;
pub use spool::DiskSpool;
pub use stats::{Stats, WireBytes};
pub use tls::{ALPN, fingerprint};

use crate::ids::{Micros, Pid};
use crate::outbox::{OutboxLedger, Saved, Spool, SpoolError};
use crate::schema::StreamSchema;
use crate::session::{ClientSession, SessionOptions};
use crate::wire::batch::DropCounts;
use crate::wire::{AckLevel, Query};
use connection::Dialer;
use driver::{Driver, SharedSpool};
use flush::{Flushed, GivenUp};
use producer::{Gate, Stream};
use quinn::Connection;
use serde::de::DeserializeOwned;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Commands on their way to the driver: flushes of as many tasks at once.
const COMMAND_QUEUE: usize = 64;

/// What hubs promise: plans reach connected producers within it.
const PLANS_TRAVEL: Duration = Duration::from_secs(1);

/// A bare connection to the first address of the options: for programs that speak the protocol of
/// [`crate::wire`] themselves, with sequence numbers of their own.
///
/// # Errors
/// The options cannot be used, or no hub answers there.
// For `headwater load`; quinn's types are no part of what this crate promises.
#[doc(hidden)]
pub async fn dial(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    Ok(Dialer::new(options)?.dial().await?.0)
}

/// What handles ask of the driver.
#[derive(Debug)]
enum Command {
    Flush { level: AckLevel, done: oneshot::Sender<Flushed> },
}

/// Where the client stands with its hub.
#[derive(Clone, Debug)]
enum Link {
    /// No attempt has ended yet.
    Starting,
    /// A session is open.
    Up(Connection),
    /// None is; why the last attempt or connection failed.
    Down(ConnectError),
}

impl Link {
    /// True when waiting does not help: it is up, closed, or its only hub (`alone`) does not trust the client or the
    /// other way around.
    fn is_settled(&self, alone: bool) -> bool {
        match self {
            Self::Starting => false,
            Self::Up(_) | Self::Down(ConnectError::Closed) => true,
            Self::Down(ConnectError::Unauthorized { .. } | ConnectError::Untrusted { .. }) => alone,
            Self::Down(_) => false,
        }
    }
}

/// What the driver and the handles share.
#[derive(Debug)]
struct Shared {
    gate: Arc<Gate>,
    streams: Mutex<Vec<Arc<Stream>>>,
    status: Mutex<Status>,
    link: watch::Sender<Link>,
    /// What connections that ended had sent and received.
    past_wire: Mutex<WireBytes>,
    plans_changed: Notify,
}

/// What the driver publishes.
#[derive(Debug, Default)]
struct Status {
    outbox: OutboxLedger,
    pid: Pid,
    is_connected: bool,
    rejected: DropCounts,
    spool_error: Option<SpoolError>,
    spool_reopened: u64,
    /// What flushes have told of.
    told: GivenUp,
}

impl Shared {
    /// What was open is not any more; why, unless that is known already.
    fn set_ended(&self, why: impl FnOnce() -> ConnectError) {
        let is_up = matches!(*self.link.borrow(), Link::Up(_));
        if is_up {
            self.set_failed(why());
        }
    }

    fn is_down(&self) -> bool {
        matches!(*self.link.borrow(), Link::Down(_))
    }

    fn set_failed(&self, error: ConnectError) {
        self.set_link(Link::Down(error));
    }

    /// Only the driver calls this, so nobody changes the link in between.
    fn set_link(&self, link: Link) {
        if let Link::Up(connection) = self.link.send_replace(link) {
            lock(&self.past_wire).add(&connection);
        }
    }

    /// Bytes of all connections so far.
    fn wire(&self) -> WireBytes {
        let mut wire = *lock(&self.past_wire);
        if let Link::Up(connection) = &*self.link.borrow() {
            wire.add(connection);
        }
        wire
    }
}

/// What all handles of one client hold; dropping the last one ends the driver.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    options: ConnectOptions,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
    driver: Mutex<Option<JoinHandle<CloseReport>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The driver still sends what it can within the close timeout, if the runtime lives that long.
        self.cancel.cancel();
    }
}

/// What was not acked when a client was closed. All zero when everything was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Batches in the disk spool: the next process sends them.
    pub left_batches: u64,
    /// Their events.
    pub left_events: u64,
    /// Events that were sent, never acked, and are in no spool: they may or may not count. In `Stats::in_doubt`, too.
    pub in_doubt_events: u64,
    /// Events that count nowhere: never sent and in no spool, or their stream never had a plan. In `Stats::dropped`
    /// as [`DropReason::Closed`](crate::wire::batch::DropReason::Closed), too.
    pub dropped_events: u64,
}

/// A connection to a cluster: cheap to clone, safe to share.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Connects, inside a tokio runtime. With [`ConnectOptions::lazy`] it returns at once.
    ///
    /// # Errors
    /// The options cannot be used, the spool is in use or damaged, or no session was opened within
    /// `connect_timeout`: then the reason of the last attempt.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let client = Self::start(options).await?;
        if !client.handle.options.lazy {
            client.connected().await?;
        }
        Ok(client)
    }

    /// Connects from a plain thread, with a runtime of its own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_blocking(options: ConnectOptions) -> Result<BlockingClient, ConnectError> {
        BlockingClient::connect(options)
    }

    async fn start(options: ConnectOptions) -> Result<Self, ConnectError> {
        let dialer = Dialer::new(&options)?;
        let (spool, saved) = open_spool(&options).await?;
        let start = Instant::now();
        let wall = wall_clock();
        let gate = Arc::new(Gate {
            clock: coarse::CoarseClock::new(start, wall.0),
            wake: Notify::new(),
            pressed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            value_bytes_max: options.value_bytes_max,
            waiting_bytes_max: options.flush.waiting_bytes_max,
            groups_max: options.flush.groups_max,
        });
        let session =
            ClientSession::new(session_options(&options), random(), Micros(0), wall, saved.as_ref());
        let shared = Arc::new(Shared {
            gate,
            streams: Mutex::default(),
            status: Mutex::default(),
            link: watch::channel(Link::Starting).0,
            past_wire: Mutex::default(),
            plans_changed: Notify::new(),
        });
        let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
        let cancel = CancellationToken::new();
        let driver = Driver::new(session, shared.clone(), options.clone(), dialer, inbox, spool);
        let driver = Mutex::new(Some(tokio::spawn(driver.run(cancel.clone()))));
        Ok(Self { handle: Arc::new(Handle { shared, options, commands, cancel, driver }) })
    }

    /// Waits for an open session.
    async fn connected(&self) -> Result<Connection, ConnectError> {
        let mut link = self.handle.shared.link.subscribe();
        let alone = self.handle.options.addresses.len() == 1;
        let wait = async {
            match link.wait_for(|link| link.is_settled(alone)).await.as_deref() {
                Ok(Link::Up(connection)) => Ok(connection.clone()),
                Ok(Link::Down(error)) => Err(error.clone()),
                _ => Err(ConnectError::Closed),
            }
        };
        match tokio::time::timeout(self.handle.options.connect_timeout, wait).await {
            Ok(result) => result,
            Err(_) => Err(match &*self.handle.shared.link.borrow() {
                Link::Down(error) => error.clone(),
                _ => self.timed_out(),
            }),
        }
    }

    fn timed_out(&self) -> ConnectError {
        ConnectError::TimedOut { address: self.handle.options.addresses.join(", ") }
    }

    /// An emitter for a stream. It may be used at once: events wait, within bounds, until the hub has sent the
    /// stream's schema and plans.
    pub fn stream(&self, name: &str) -> Emitter {
        let shared = &self.handle.shared;
        let mut streams = lock(&shared.streams);
        let stream = match streams.iter().find(|stream| stream.name == name) {
            Some(stream) => stream.clone(),
            None => {
                streams.push(Arc::new(Stream::new(name, shared.gate.clone())));
                shared.gate.wake.notify_one();
                streams[streams.len() - 1].clone()
            }
        };
        drop(streams);
        Emitter::new(stream, self.handle.clone())
    }

    /// Waits until the hub has sent a stream's schema; for column batches, which need it.
    ///
    /// # Errors
    /// The hub says that it has no such stream, and does not get one within a second; or it says nothing within
    /// `connect_timeout`.
    pub async fn schema(&self, stream: &str) -> Result<StreamSchema, ConnectError> {
        let emitter = self.stream(stream);
        let answered = self.wait_for_plans(|| emitter.schema().is_some() || emitter.is_unknown());
        let timeout = self.handle.options.connect_timeout;
        tokio::time::timeout(timeout, answered).await.map_err(|_| self.timed_out())?;
        // Made by another program a moment ago, it is on its way.
        let made = self.wait_for_plans(|| emitter.schema().is_some());
        let _ = tokio::time::timeout(PLANS_TRAVEL, made).await;
        emitter.schema().ok_or_else(|| ConnectError::UnknownStream(stream.into()))
    }

    async fn wait_for_plans(&self, done: impl Fn() -> bool) {
        loop {
            let changed = self.handle.shared.plans_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if done() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until everything emitted before the call, by any thread, is safe at `level` (or the strongest level
    /// the hub gives); a query then sees it. Waits as long as it takes: wrap it in a timeout to give up; what is lost
    /// meanwhile the next flush tells.
    /// [`Stats::connect_error`] says why there is no connection meanwhile.
    ///
    /// # Errors
    /// Something was dropped or is in doubt, events wait for a stream that does not exist, or the client was closed.
    pub async fn flush(&self, level: AckLevel) -> Result<(), FlushError> {
        let (done, wait) = oneshot::channel();
        let sent = self.handle.commands.send(Command::Flush { level, done }).await;
        sent.map_err(|_| FlushError::Closed)?;
        let Flushed { result, told } = wait.await.map_err(|_| FlushError::Closed)?;
        let mut status = lock(&self.handle.shared.status);
        status.told = status.told.and(told);
        result
    }

    /// Runs one SQL statement.
    ///
    /// # Errors
    /// The hub refused it (with SQLSTATE and position), or there is no hub within `query_timeout`.
    pub async fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        let options = &self.handle.options;
        let query = Query { sql: sql.into(), read_level: options.read_level, token: options.token.clone() };
        let run = async {
            let connection = self.connected().await.map_err(|error| match error {
                ConnectError::Closed => QueryError::Closed,
                error => QueryError::Disconnected(error.to_string()),
            })?;
            query::run(&connection, &query, options.frame.body_bytes_max, options.answer_bytes_max).await
        };
        tokio::time::timeout(options.query_timeout, run).await.unwrap_or(Err(QueryError::TimedOut))
    }

    /// Runs one SQL statement and reads its rows as `T` ([`Rows::into_typed`]).
    ///
    /// # Errors
    /// As [`Client::query`], or a row does not fit `T`.
    pub async fn query_as<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, QueryError> {
        self.query(sql).await?.into_typed()
    }

    /// The ledger: what became of every event so far.
    pub fn stats(&self) -> Stats {
        Stats::gather(&self.handle.shared)
    }

    /// Flushes, waits for acks up to `close_timeout`, ends the connection, and says what was not acked: [`Client::stats`]
    /// then has every event as acked, dropped, in doubt, or in the outbox, which is the spool. Emitters refuse events from
    /// now on. Closing again returns an empty report.
    pub async fn close(&self) -> CloseReport {
        self.handle.cancel.cancel();
        let driver = lock(&self.handle.driver).take();
        match driver {
            Some(driver) => driver.await.unwrap_or_default(),
            None => CloseReport::default(),
        }
    }
}

async fn open_spool(options: &ConnectOptions) -> Result<(Option<SharedSpool>, Option<Saved>), ConnectError> {
    let Some(path) = options.spool.clone() else { return Ok((None, None)) };
    let open = tokio::task::spawn_blocking(move || {
        let mut spool = DiskSpool::open(&path)?;
        let saved = spool.load()?;
        Ok::<_, SpoolError>((spool, saved))
    });
    let (spool, saved) = open.await.map_err(|error| SpoolError::Io(error.to_string()))??;
    let spool: SharedSpool = Arc::new(Mutex::new(spool));
    Ok((Some(spool), Some(saved)))
}

fn session_options(options: &ConnectOptions) -> SessionOptions {
    SessionOptions {
        token: options.token.clone(),
        level: options.level,
        outbox: options.outbox,
        batch: options.batch,
        times: options.times(),
        persistent: options.spool.is_some(),
        ..SessionOptions::default()
    }
}

/// The operating system's random numbers. Without them identities could collide, so their absence is fatal.
fn random() -> crate::session::Random {
    Box::new(|bytes| {
        let filled = getrandom::fill(bytes);
        assert!(filled.is_ok(), "the operating system has no random numbers: {filled:?}");
    })
}

fn wall_clock() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Data behind these locks is whole at every point where a panic could happen.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
