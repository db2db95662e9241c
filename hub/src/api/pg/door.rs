//! The listener and its connections.

use super::cancel::Sessions;
use super::lobby::{GUESTS_MAX, Guest, Lobby, SHARE};
use super::opening::{Entrance, Visitor, verifiers};
use super::session::Session;
use super::wire::{End, Stream, Wire, WireLimits};
use crate::api::metrics::{Metrics, Present};
use crate::ingress::Backend;
use crate::ingress::addresses::{Addresses, FromAddress};
use crate::ingress::budget::Budget;
use crate::ingress::session::CloseCode;
use crate::options::LimitOptions;
use headwater_sql::SqlError;
use socket2::{SockRef, TcpKeepalive};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A peer that vanished without a word is noticed within two minutes: a minute of silence, then three questions.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
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
    lobby: Arc<Lobby>,
    places: Arc<Semaphore>,
    addresses: Arc<Addresses>,
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
            lobby: Lobby::new(GUESTS_MAX, SHARE),
            places: Arc::new(Semaphore::new(limits.pg_connections_max as usize)),
            addresses: Addresses::new(address_share(limits)),
            budget: self.budget,
            metrics: self.metrics,
            shutdown: self.shutdown,
        });
        let drain = Duration::from_millis(limits.drain_ms);
        accept(self.listener, &shared, drain).await;
    }
}

/// What one address may have: never all of the places.
fn address_share(limits: &LimitOptions) -> u32 {
    let places = limits.pg_connections_max;
    limits.address_connections_max.min((places - places / 4).max(1))
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>, drain: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let guest = shared.lobby.enter(peer.ip());
                    let connection = Connection { shared: Arc::clone(shared), address: peer.ip() };
                    connections.spawn(connection.serve(stream, guest));
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
    address: IpAddr,
}

/// A session's place.
struct Place {
    _place: OwnedSemaphorePermit,
    _address: FromAddress,
}

impl Connection {
    async fn serve(self, stream: TcpStream, guest: Guest) {
        let _present = Present::new(&self.shared.metrics.pg_connections);
        let _ = stream.set_nodelay(true);
        let _ = keep_alive(&stream);
        if let Err(end) = self.talk(Box::new(stream), guest).await {
            self.shared.count(&end);
        }
    }

    async fn talk(&self, stream: Box<dyn Stream>, guest: Guest) -> Result<(), End> {
        let shared = &self.shared;
        let come = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return Ok(()),
            () = guest.leaves() => {
                shared.metrics.connections_refused.inc();
                return Ok(());
            }
            come = self.come_in(stream) => come?,
        };
        drop(guest);
        let Some((wire, visitor, _place)) = come else { return Ok(()) };
        let own = (visitor.settings, visitor.cancellable);
        let mut session =
            Session::new((wire, self.address), Arc::clone(&shared.backend), own, shared.session_bytes_max);
        match session.run().await {
            Ok(()) => {
                session.wire.farewell(None).await;
                Ok(())
            }
            Err(end) => Err(part(&mut session.wire, end).await),
        }
    }

    /// Up to the first statement; `None` for a client that had come for something else.
    async fn come_in(&self, stream: Box<dyn Stream>) -> Result<Option<(Wire, Visitor, Place)>, End> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.limits.within;
        let opened =
            shared.entrance.open(shared.wire(stream), deadline, |stream| shared.wire(stream)).await?;
        let Some((mut wire, start)) = opened else { return Ok(None) };
        let admit = || shared.admit(self.address);
        match shared.entrance.enter(&mut wire, start, deadline, admit).await {
            Ok((visitor, place)) => Ok(Some((wire, visitor, place))),
            Err(end) => Err(part(&mut wire, end).await),
        }
    }
}

/// A peer that vanishes must not keep its place until the idle timeout.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
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
    /// A place for somebody who has proved who it is.
    fn admit(&self, address: IpAddr) -> Result<Place, End> {
        let too_many = |what| End::Fatal(SqlError::new("53300", what));
        let Some(address) = self.addresses.take(address) else {
            self.metrics.connections_address_refused.inc();
            return Err(too_many("sorry, too many clients of this address already"));
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.connections_refused.inc();
            return Err(too_many("sorry, too many clients already"));
        };
        Ok(Place { _place: place, _address: address })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_vanishes_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let stream = TcpStream::connect(to).await.expect("connect");
        keep_alive(&stream).expect("it can be set");
        assert!(SockRef::from(&stream).keepalive().expect("it can be read"));
    }

    #[test]
    fn no_address_may_have_all_places() {
        let share = |places, address| {
            let limits = LimitOptions {
                pg_connections_max: places,
                address_connections_max: address,
                ..LimitOptions::default()
            };
            address_share(&limits)
        };
        assert_eq!([share(256, 256), share(8, 256), share(256, 3), share(1, 256)], [192, 6, 3, 1]);
    }
}
