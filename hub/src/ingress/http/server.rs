//! The listener and its connections.

use super::places::{Activity, Patience, Place, Places, is_health};
use super::routes::WATCH;
use crate::api::metrics::{Metrics, Present};
use crate::ingress::addresses::{Addresses, FromAddress};
use crate::ingress::budget::Budget;
use crate::ingress::session::{Close, CloseCode};
use crate::options::LimitOptions;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Requests at a time on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 64;
/// Bytes of headers that may come on top of a frame that fills a connection's budget.
const HEADER_ROOM: u32 = 1024;
/// How long to wait before accepting again after the system refused (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whom a request is from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub IpAddr);

/// The door, open until its token is cancelled.
pub(crate) struct HttpDoor {
    pub listener: TcpListener,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub router: Router,
    pub limits: LimitOptions,
    /// How long a statement may run before its first row.
    pub statement: Duration,
    /// The door's; connections get shares of it.
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
}

impl HttpDoor {
    /// Serves until shutdown, then until what is in flight is answered or `drain_ms` are over.
    pub async fn run(self) {
        let places = Places::new(self.limits.http_connections_max);
        let addresses = Addresses::new(self.limits.address_connections_max);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match addresses.take(peer.ip()) {
                        Some(address) => self.admit((stream, Peer(peer.ip()), address), &places, &mut connections),
                        None => drop(self.metrics.connections_address_refused.inc()),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(self.limits.drain_ms), all).await;
    }

    fn admit(
        &self,
        (stream, peer, address): (TcpStream, Peer, FromAddress),
        places: &Arc<Places>,
        connections: &mut JoinSet<()>,
    ) {
        let (place, was_shed) = places.take();
        if was_shed {
            self.metrics.connections_shed.inc();
        }
        if place.is_spare {
            self.metrics.connections_refused.inc();
        }
        let _ = stream.set_nodelay(true);
        let within = Duration::from_millis(self.limits.frame_ms);
        let idle = Duration::from_millis(self.limits.idle_ms);
        let connection = Connection {
            router: self.router.clone(),
            within,
            patience: Patience { first: within, idle, answer: idle.max(WATCH.max(self.statement) + within) },
            budget: self.budget.within(self.limits.http_session_bytes_max.saturating_add(HEADER_ROOM)),
            metrics: Arc::clone(&self.metrics),
            shutdown: self.shutdown.clone(),
            place,
            peer,
            _address: address,
        };
        connections.spawn(connection.serve(stream, self.tls.clone()));
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

struct Connection {
    router: Router,
    within: Duration,
    patience: Patience,
    budget: Budget,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    place: Place,
    peer: Peer,
    _address: FromAddress,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
        let _present = Present::new(&self.metrics.http_connections);
        tokio::select! {
            biased;
            () = self.place.activity.cut.cancelled() => {}
            () = self.place.activity.overdue(self.patience) => self.metrics.session_ended(CloseCode::Slow),
            () = self.talk(stream, tls) => {}
        }
    }

    async fn talk(&self, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
        let Some(config) = tls else { return self.drive(stream).await };
        match tokio::time::timeout(self.within, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => self.drive(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
            Err(_) => self.metrics.session_ended(CloseCode::Slow),
        }
    }

    async fn drive(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.within)
            .keep_alive(!self.place.is_spare);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .keep_alive_interval(Some(self.within))
            .keep_alive_timeout(self.within);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), Requests::of(self)));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "http connection ended");
        }
    }
}

/// The requests of one connection on their way to the routes.
struct Requests {
    routes: TowerToHyperService<Router>,
    budget: Budget,
    activity: Arc<Activity>,
    peer: Peer,
    is_spare: bool,
}

impl Requests {
    fn of(connection: &Connection) -> Self {
        Self {
            routes: TowerToHyperService::new(connection.router.clone()),
            budget: connection.budget.clone(),
            activity: Arc::clone(&connection.place.activity),
            peer: connection.peer,
            is_spare: connection.place.is_spare,
        }
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin();
        if self.is_spare && !is_health(&request) {
            let close = Close::new(CloseCode::Busy, "the hub has no place for another connection");
            let response = in_flight.until_sent(close.into_response());
            return async { Ok(response) }.boxed();
        }
        request.extensions_mut().insert(self.budget.clone());
        request.extensions_mut().insert(self.peer);
        let answer = self.routes.call(request);
        // Whatever is done for it has limits of its own: a connection that waits for it is not idle.
        let working = in_flight.working();
        async move {
            let answer = answer.await;
            drop(working);
            answer.map(|response| in_flight.until_sent(response))
        }
        .boxed()
    }
}
