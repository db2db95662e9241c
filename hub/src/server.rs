//! Builds the rooms, owns their tasks, ends them in order.
//!
//! Owns: the sockets, the start and the end of everything, the clock. Must not know: what the rooms do.
//! Invariants: every task lives in a [`JoinSet`] under one cancellation token; shutdown closes the doors
//! first, lets them answer what is in flight, and only then closes the store.

mod hub;
mod rooms;

pub use hub::{Hub, HubError};

use crate::api::metrics::Metrics;
use crate::api::pg::PgDoor;
use crate::api::status::Status;
use crate::api::{Api, routes};
use crate::ingress::Backend;
use crate::ingress::budget::Budget;
use crate::ingress::certificate::{CertificateError, Fingerprint, Identity, reset_key};
use crate::ingress::http::{Door, HttpDoor};
use crate::ingress::quic::{QuicDoor, QuicError, Shared};
use crate::ingress::session::{Policy, VERSIONS};
use crate::options::{LimitOptions, Options};
use headwater::ids::Micros;
use headwater::wire::SessionLimits;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Bytes of headers that may come on top of a frame that fills the whole budget.
const HEADER_ROOM: u32 = 1024;
/// How often a free port pair is looked for when port 0 is asked for.
const PORT_TRIES: usize = 16;

/// The hub's clock: the only place that reads it.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Why the doors do not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DoorError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The QUIC endpoint cannot be made.
    #[error(transparent)]
    Quic(#[from] QuicError),
}

/// Reads the hub's status.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// The open doors: both listeners, serving a [`Backend`].
#[derive(Debug)]
pub struct Doors {
    quic: SocketAddr,
    http: SocketAddr,
    pg: Option<SocketAddr>,
    fingerprint: Fingerprint,
    is_development: bool,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Binds the sockets and starts to serve. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`DoorError::Listen`] when an address cannot be listened on, [`DoorError::Certificate`] or [`DoorError::Quic`]
    /// when the certificate, the reset key or the QUIC endpoint cannot be had.
    pub fn open(
        options: &Options,
        backend: Arc<dyn Backend>,
        status: StatusSource,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DoorError> {
        let identity = Identity::load(&options.listen, &options.storage.data_dir)?;
        if identity.is_authority() {
            tracing::warn!(
                "the certificate in tls_cert is a CA's (basicConstraints CA:TRUE): clients refuse it as a server's; make one \
                 with CA:FALSE (openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE)"
            );
        }
        let (udp, tcp) = bind(options.listen.address.0, options.http_address())?;
        let shutdown = CancellationToken::new();
        let shared = Shared {
            policy: Arc::new(policy(options, &options.limits, backend.as_ref())),
            limits: options.limits.clone(),
            budget: Budget::new(options.limits.ingress_bytes_max.saturating_add(HEADER_ROOM)),
            metrics,
            shutdown: shutdown.clone(),
            backend,
        };
        shared.metrics.watch_ingress(shared.budget.clone());
        let mut doors = Self {
            quic: address(udp.local_addr(), options.listen.address.0)?,
            http: address(tcp.local_addr(), options.http_address())?,
            pg: None,
            fingerprint: identity.fingerprint(),
            is_development: identity.is_development,
            shutdown,
            tasks: JoinSet::new(),
        };
        doors.open_pg(options, &identity, &shared)?;
        doors.open_http(tcp, options, &identity, &shared, status)?;
        let quic = QuicDoor::open(udp, &identity, reset_key(&options.storage.data_dir)?, shared)?;
        doors.tasks.spawn(quic.run());
        Ok(doors)
    }

    fn open_http(
        &mut self,
        socket: TcpListener,
        options: &Options,
        identity: &Identity,
        shared: &Shared,
        status: StatusSource,
    ) -> Result<(), DoorError> {
        let limits = http_limits(&options.limits);
        // HTTP is open to more strangers than QUIC: however many bodies they send, half is left to producers.
        let share = (limits.ingress_bytes_max / 2).max(limits.frame_bytes_max);
        let budget = shared.budget.within(share.saturating_add(HEADER_ROOM));
        let door = Arc::new(Door {
            backend: Arc::clone(&shared.backend),
            policy: Arc::new(policy(options, &limits, shared.backend.as_ref())),
            budget: budget.clone(),
            metrics: Arc::clone(&shared.metrics),
            shutdown: self.shutdown.clone(),
            body_within: Duration::from_millis(options.limits.frame_ms),
        });
        let api = Arc::new(Api { door, status, hub: self.about() });
        let tls = match identity.is_development {
            true => None,
            false => Some(Arc::new(identity.tls(&[b"h2", b"http/1.1"])?)),
        };
        let listener = tokio::net::TcpListener::from_std(socket)
            .map_err(|source| DoorError::Listen { address: self.http, source })?;
        let http = HttpDoor {
            listener,
            tls,
            router: routes(api, origins(options, self.http).as_deref()),
            limits,
            statement: Duration::from_millis(options.sql.timeout_ms),
            budget,
            metrics: Arc::clone(&shared.metrics),
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn(http.run());
        Ok(())
    }

    /// Its default port may be another's: then the hub is there without it.
    fn open_pg(&mut self, options: &Options, identity: &Identity, shared: &Shared) -> Result<(), DoorError> {
        let Some((wanted, may_miss)) = options.pg_address() else { return Ok(()) };
        let failed = |source| DoorError::Listen { address: wanted, source };
        let socket = match TcpListener::bind(wanted) {
            Ok(socket) => socket,
            Err(error) if may_miss => {
                tracing::warn!(%error, address = %wanted, "no PostgreSQL protocol: set pg_address (--pg-listen) to another address, or to off");
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        socket.set_nonblocking(true).map_err(failed)?;
        self.pg = Some(address(socket.local_addr(), wanted)?);
        let limits = &options.limits;
        // As for HTTP: half is left to producers.
        let share = (limits.ingress_bytes_max / 2).max(limits.pg_message_bytes_max);
        let door = PgDoor {
            listener: tokio::net::TcpListener::from_std(socket).map_err(failed)?,
            tls: Arc::new(identity.tls(&[b"postgresql"])?),
            tokens: options.auth.tokens.0.clone(),
            backend: Arc::clone(&shared.backend),
            limits: limits.clone(),
            budget: shared.budget.within(share.saturating_add(HEADER_ROOM)),
            metrics: Arc::clone(&shared.metrics),
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn(door.run());
        Ok(())
    }

    fn about(&self) -> serde_json::Value {
        serde_json::json!({
            "headwater": env!("CARGO_PKG_VERSION"),
            "protocol": VERSIONS,
            "quic_port": self.quic.port(),
            "pg_port": self.pg.map(|address| address.port()),
            "development": self.is_development,
            "fingerprint": self.fingerprint.to_string(),
        })
    }

    /// Where QUIC listens.
    pub fn quic_address(&self) -> SocketAddr {
        self.quic
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the PostgreSQL protocol is spoken, if it is.
    pub fn pg_address(&self) -> Option<SocketAddr> {
        self.pg
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// True when the certificate was made by the hub itself.
    pub fn is_development(&self) -> bool {
        self.is_development
    }

    /// Closes both: nobody new, what is in flight is answered, at most `drain_ms` long.
    pub async fn close(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a door's task ended badly");
            }
        }
    }
}

fn policy(options: &Options, limits: &LimitOptions, backend: &dyn Backend) -> Policy {
    Policy {
        tokens: options.auth.tokens.0.clone(),
        limits: SessionLimits {
            frame_bytes_max: limits.frame_bytes_max,
            batch_groups_max: limits.batch_groups_max,
            key_bytes_max: limits.key_bytes_max,
            pid_lifetime_ms: limits.pid_lifetime_ms,
        },
        streams_max: limits.session_streams_max as usize,
        boot: backend.boot(),
        cluster: backend.cluster(),
    }
}

/// Limits of the HTTP door: those of pages, where they are tighter.
fn http_limits(limits: &LimitOptions) -> LimitOptions {
    LimitOptions {
        frame_bytes_max: limits.frame_bytes_max.min(limits.http_frame_bytes_max),
        batch_groups_max: limits.batch_groups_max.min(limits.http_batch_groups_max),
        key_bytes_max: limits.key_bytes_max.min(limits.http_key_bytes_max),
        ..limits.clone()
    }
}

/// What CORS allows; `None` = any.
fn origins(options: &Options, http: SocketAddr) -> Option<Vec<String>> {
    match &options.listen.cors_origins.0 {
        list if list.is_empty() && http.ip().is_loopback() => None,
        list => Some(list.clone()),
    }
}

/// Both sockets, not blocking. With port 0 on both, one port that is free for UDP and TCP.
fn bind(quic: SocketAddr, http: SocketAddr) -> Result<(UdpSocket, TcpListener), DoorError> {
    let share_port = quic == http && quic.port() == 0;
    let mut tries = 0;
    loop {
        tries += 1;
        let tcp = TcpListener::bind(http).map_err(|source| DoorError::Listen { address: http, source })?;
        let wanted = if share_port { address(tcp.local_addr(), http)? } else { quic };
        match UdpSocket::bind(wanted) {
            Ok(udp) => {
                let quiet = tcp.set_nonblocking(true).and(udp.set_nonblocking(true));
                quiet.map_err(|source| DoorError::Listen { address: http, source })?;
                return Ok((udp, tcp));
            }
            Err(_) if share_port && tries < PORT_TRIES => {}
            Err(source) => return Err(DoorError::Listen { address: wanted, source }),
        }
    }
}

fn address(found: io::Result<SocketAddr>, asked: SocketAddr) -> Result<SocketAddr, DoorError> {
    found.map_err(|source| DoorError::Listen { address: asked, source })
}
