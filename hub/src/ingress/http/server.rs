//! The listener and its connections.

use crate::api::metrics::{Metrics, Present};
use crate::ingress::session::CloseCode;
use crate::options::LimitOptions;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Requests at a time on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 64;
/// How long to wait before accepting again after the system refused (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The door, open until its token is cancelled.
pub(crate) struct HttpDoor {
    pub listener: TcpListener,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub router: Router,
    pub limits: LimitOptions,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
}

impl HttpDoor {
    /// Serves until shutdown, then until what is in flight is answered or `drain_ms` are over.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(self.limits.http_connections_max as usize));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &places, &mut connections),
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

    fn admit(&self, stream: TcpStream, places: &Arc<Semaphore>, connections: &mut JoinSet<()>) {
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            self.metrics.connections_refused.inc();
            return;
        };
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            router: self.router.clone(),
            within: Duration::from_millis(self.limits.frame_ms),
            metrics: Arc::clone(&self.metrics),
            shutdown: self.shutdown.clone(),
        };
        let tls = self.tls.clone();
        connections.spawn(async move {
            connection.serve(stream, tls).await;
            drop(place);
        });
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
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
        let _present = Present::new(&self.metrics.http_connections);
        match tls {
            None => self.drive(stream).await,
            Some(config) => {
                match tokio::time::timeout(self.within, TlsAcceptor::from(config).accept(stream)).await {
                    Ok(Ok(stream)) => self.drive(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
                    Err(_) => self.metrics.session_ended(CloseCode::Slow),
                }
            }
        }
    }

    async fn drive(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.within);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .keep_alive_interval(Some(self.within))
            .keep_alive_timeout(self.within);
        let service = TowerToHyperService::new(self.router.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
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
