//! The QUIC door: drives the session machine with quinn.
//!
//! Owns: the endpoint, connections, which stream is whose. Must not know: what frames lead to.
//! Invariants: at most `connections_max` connections, each with a bounded number of streams and bytes; a
//! stream's trouble ends its own connection only; on shutdown what is in flight is answered first.

mod connection;
mod stream;

use super::Backend;
use super::addresses::{Addresses, FromAddress};
use super::budget::Budget;
use super::certificate::{CertificateError, Identity};
use super::frames::FrameLimits;
use super::session::{CloseCode, Policy};
use crate::api::metrics::{Metrics, Present};
use crate::options::LimitOptions;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig,
    TransportConfig, VarInt,
};
use ring::hmac;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The protocol's name in TLS.
pub const ALPN: &[u8] = b"headwater/1";

/// Long enough never to collide among the connections of one hub.
const CONNECTION_ID_BYTES: usize = 8;

/// Bytes of headers that may come on top of a frame that fills a connection's budget.
const HEADER_ROOM: u32 = 1024;
/// How long connections have to say goodbye when the drain took all its time.
const GOODBYE: Duration = Duration::from_millis(250);

/// Bytes of packets kept for connections that wait to be accepted.
const INCOMING_BYTES_MAX: u64 = 4 << 20;

/// Why the door does not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuicError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS settings lack what QUIC needs.
    #[error("tls cannot carry quic: {0}")]
    Tls(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The socket cannot be used.
    #[error("udp: {0}")]
    Socket(#[from] std::io::Error),
}

/// What every connection shares.
pub(crate) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub policy: Arc<Policy>,
    pub limits: LimitOptions,
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
}

impl Shared {
    /// Limits of one connection's frames.
    pub fn frames(&self) -> FrameLimits {
        FrameLimits {
            body_bytes_max: self.limits.frame_bytes_max as usize,
            complete_within: Duration::from_millis(self.limits.frame_ms),
            budget: self.budget.within(self.limits.session_bytes_max.saturating_add(HEADER_ROOM)),
        }
    }
}

/// The door, open until its token is cancelled.
pub struct QuicDoor {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

impl QuicDoor {
    /// Opens it on a bound socket.
    pub(crate) fn open(
        socket: UdpSocket,
        identity: &Identity,
        reset_key: [u8; 32],
        shared: Shared,
    ) -> Result<Self, QuicError> {
        let crypto = QuicServerConfig::try_from(identity.tls(&[ALPN])?)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport(&shared.limits)));
        config.max_incoming(shared.limits.connections_max as usize);
        config.incoming_buffer_size_total(INCOMING_BYTES_MAX);
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config(reset_key), Some(config), socket, runtime)?;
        Ok(Self { endpoint, shared: Arc::new(shared) })
    }

    /// Serves until shutdown, then until what is in flight is answered or `drain_ms` are over.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(self.shared.limits.connections_max as usize));
        let addresses = Addresses::new(self.shared.limits.address_connections_max);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, (&places, &addresses), &mut connections),
                    None => break,
                },
            }
        }
        // Nobody new; those who are here get their answers.
        self.endpoint.set_server_config(None);
        let end = tokio::time::Instant::now() + Duration::from_millis(self.shared.limits.drain_ms);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let _ = tokio::time::timeout_at(end, all).await;
        self.endpoint.close(VarInt::from_u32(CloseCode::Done as u32), b"shutdown");
        // The goodbye takes a moment also where the others took all there was.
        let end = end.max(tokio::time::Instant::now() + GOODBYE);
        let _ = tokio::time::timeout_at(end, self.endpoint.wait_idle()).await;
    }

    fn admit(
        &self,
        incoming: Incoming,
        (places, addresses): (&Arc<Semaphore>, &Arc<Addresses>),
        connections: &mut JoinSet<()>,
    ) {
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            self.shared.metrics.connections_refused.inc();
            incoming.refuse();
            return;
        };
        // Above half of the places, or of its own share, an address has to prove itself before it costs a handshake
        // or, forged, its owner's share.
        let address = incoming.remote_address().ip();
        let is_busy = places.available_permits() < self.shared.limits.connections_max as usize / 2;
        if (is_busy || addresses.is_crowded(address))
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            let _ = incoming.retry();
            return;
        }
        let Some(address) = addresses.take(address) else {
            self.shared.metrics.connections_address_refused.inc();
            incoming.refuse();
            return;
        };
        connections.spawn(serve(incoming, Arc::clone(&self.shared), (place, address)));
    }
}

async fn serve(incoming: Incoming, shared: Arc<Shared>, place: (OwnedSemaphorePermit, FromAddress)) {
    let peer = incoming.remote_address();
    let metrics = Arc::clone(&shared.metrics);
    match incoming.await {
        Ok(connection) => {
            let _present = Present::new(&metrics.quic_connections);
            connection::serve(connection, shared).await;
        }
        Err(error) => tracing::debug!(%peer, %error, "handshake failed"),
    }
    drop(place);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// Reset tokens come from a key that outlives the process.
fn endpoint_config(reset_key: [u8; 32]) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset_key)));
    config.cid_generator(|| Box::new(ConnectionIds));
    config
}

/// Random connection ids. Quinn's own are signed with a key of the process, which makes the next process drop
/// the packets of old connections in silence instead of resetting them.
struct ConnectionIds;

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        let filled = getrandom::fill(&mut bytes);
        assert!(filled.is_ok(), "the operating system has no random numbers: {filled:?}");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn transport(limits: &LimitOptions) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(limits.connection_window_bytes))
        .send_window(u64::from(limits.connection_window_bytes))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_millis(limits.idle_ms)).ok())
        .keep_alive_interval(Some(Duration::from_millis(limits.keep_alive_ms)));
    config
}
