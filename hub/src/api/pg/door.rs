//! The listener and its connections.

use super::cancel::Sessions;
use super::opening::{Entrance, turn_away, verifiers};
use super::session::Session;
use super::wire::{End, Stream, Wire, WireLimits};
use crate::api::metrics::{Metrics, Present};
use crate::ingress::Backend;
use crate::ingress::addresses::{Addresses, FromAddress};
use crate::ingress::budget::Budget;
use crate::ingress::session::CloseCode;
use crate::options::LimitOptions;
use headwater_sql::SqlError;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections above the limit: they may cancel a statement, and are told why they cannot stay.
const SPARE: usize = 32;
/// How long to wait before accepting again after the system refused (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that may come on top of a message that fills a connection's budget.
const HEADER_ROOM: u32 = 1_024;

/// What the door is opened with.
pub(crate) struct PgDoor {
    pub listener: TcpListener,
    pub tls: Arc<rustls::ServerConfig>,
    pub tokens: Vec<String>,
    pub backend: Arc<dyn Backend>,
    pub limits: LimitOptions,
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
}

/// What its connections share.
struct Shared {
    entrance: Entrance,
    backend: Arc<dyn Backend>,
    limits: WireLimits,
    session_bytes_max: usize,
    message_bytes_max: u32,
    budget: Budget,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

impl PgDoor {
    /// Serves until shutdown, then until statements in flight are answered or `drain_ms` are over.
    pub async fn run(self) {
        let Ok(verifiers) = verifiers(&self.tokens) else {
            tracing::error!("the system has no random numbers: no PostgreSQL protocol");
            return;
        };
        let limits = &self.limits;
        let shared = Arc::new(Shared {
            entrance: Entrance {
                tls: TlsAcceptor::from(self.tls),
                verifiers: Arc::new(verifiers),
                sessions: Arc::new(Sessions::default()),
            },
            backend: self.backend,
            limits: WireLimits {
                message_bytes_max: limits.pg_message_bytes_max as usize,
                within: Duration::from_millis(limits.frame_ms),
                idle: Duration::from_millis(limits.pg_idle_ms),
            },
            session_bytes_max: limits.pg_session_bytes_max as usize,
            message_bytes_max: limits.pg_message_bytes_max,
            budget: self.budget,
            metrics: self.metrics,
            shutdown: self.shutdown,
        });
        let places = Arc::new(Semaphore::new(limits.pg_connections_max as usize));
        let addresses = Addresses::new(limits.address_connections_max);
        let drain = Duration::from_millis(limits.drain_ms);
        accept(self.listener, &shared, places, &addresses, drain).await;
    }
}

async fn accept(
    listener: TcpListener,
    shared: &Arc<Shared>,
    places: Arc<Semaphore>,
    addresses: &Arc<Addresses>,
    drain: Duration,
) {
    let spare = Arc::new(Semaphore::new(SPARE));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(address) = addresses.take(peer.ip()) else {
                        shared.metrics.connections_address_refused.inc();
                        continue;
                    };
                    let connection = Connection::new(Arc::clone(shared), address, (&places, &spare));
                    connections.spawn(connection.serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    let _ = tokio::time::timeout(drain, all).await;
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

struct Connection {
    shared: Arc<Shared>,
    /// `None`: there is none, it may only cancel a statement.
    place: Option<OwnedSemaphorePermit>,
    spare: Option<OwnedSemaphorePermit>,
    _address: FromAddress,
}

impl Connection {
    fn new(
        shared: Arc<Shared>,
        address: FromAddress,
        (places, spare): (&Arc<Semaphore>, &Arc<Semaphore>),
    ) -> Self {
        let place = Arc::clone(places).try_acquire_owned().ok();
        let spare = place.is_none().then(|| Arc::clone(spare).try_acquire_owned().ok()).flatten();
        if place.is_none() {
            shared.metrics.connections_refused.inc();
        }
        Self { shared, place, spare, _address: address }
    }

    async fn serve(self, stream: TcpStream) {
        if self.place.is_none() && self.spare.is_none() {
            return;
        }
        let _present = Present::new(&self.shared.metrics.pg_connections);
        let _ = stream.set_nodelay(true);
        if let Err(end) = self.talk(Box::new(stream)).await {
            self.shared.count(&end);
        }
    }

    async fn talk(&self, stream: Box<dyn Stream>) -> Result<(), End> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.limits.within;
        let opened = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return Ok(()),
            opened = shared.entrance.open(shared.wire(stream), deadline, |stream| shared.wire(stream)) => opened?,
        };
        let Some((mut wire, start)) = opened else { return Ok(()) };
        if self.place.is_none() {
            turn_away(wire, &shared.shutdown).await;
            return Ok(());
        }
        let visitor = match shared.entrance.enter(&mut wire, start, deadline).await {
            Ok(visitor) => visitor,
            Err(end) => return Err(part(&mut wire, end).await),
        };
        let own = (visitor.settings, visitor.cancellable);
        let mut session = Session::new(wire, Arc::clone(&shared.backend), own, shared.session_bytes_max);
        match session.run().await {
            Ok(()) => {
                session.wire.farewell(None).await;
                Ok(())
            }
            Err(end) => Err(part(&mut session.wire, end).await),
        }
    }
}

/// Tells the client why, where that can help.
async fn part(wire: &mut Wire, end: End) -> End {
    let error = match &end {
        End::Gone | End::Slow => return end,
        End::Fatal(error) => error.clone(),
        End::Malformed(error) => SqlError::new(error.code(), error.to_string()),
        End::TooLarge(bytes) => SqlError::new("54000", format!("a message of {bytes} bytes is too long"))
            .with_hint("the option pg_message_bytes_max is the limit"),
    };
    wire.farewell(Some(&error)).await;
    end
}

impl Shared {
    fn wire(&self, stream: Box<dyn Stream>) -> Wire {
        let budget = self.budget.within(self.message_bytes_max.saturating_add(HEADER_ROOM));
        Wire::new(stream, self.limits.clone(), budget, self.shutdown.clone())
    }

    fn count(&self, end: &End) {
        let code = match end {
            End::Gone => return,
            End::Slow => CloseCode::Slow,
            End::Malformed(_) => CloseCode::Malformed,
            End::TooLarge(_) => CloseCode::TooLarge,
            End::Fatal(error) if error.code == "28P01" => CloseCode::Unauthorized,
            End::Fatal(_) => return,
        };
        self.metrics.session_ended(code);
    }
}
