//! The routes that carry frames.

use crate::api::metrics::Metrics;
use crate::ingress::budget::{Budget, Taken};
use crate::ingress::session::{Close, CloseCode, Policy, Session};
use crate::ingress::{Backend, Outcome};
use crate::server::now;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use headwater::codec::Reader;
use headwater::ids::CatalogVersion;
use headwater::wire::{self, BatchFrame, ClockReply, ClockRequest, Frame, Hello, encode_frame};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a watch waits for news before it answers 204; below the usual 30 s of proxies.
pub(super) const WATCH: Duration = Duration::from_secs(25);

/// What every request shares.
pub(crate) struct Door {
    pub backend: Arc<dyn Backend>,
    pub policy: Arc<Policy>,
    /// Of the whole door; a connection brings its own, as an extension of its requests.
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
    /// A body must be complete within this.
    pub body_within: Duration,
}

/// The routes.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/session", post(session))
        .route("/v1/batch", post(batch))
        .route("/v1/resume", post(resume))
        .route("/v1/clock", post(clock))
        .route("/v1/watch", post(watch))
        .with_state(door)
}

/// An answer made of one frame.
struct Reply<T>(T);

impl<T: wire::Body> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        framed(StatusCode::OK, encode_frame(&self.0))
    }
}

fn framed(status: StatusCode, frame: Vec<u8>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, frame).into_response()
}

impl IntoResponse for Close {
    fn into_response(self) -> Response {
        let status = match self.code {
            CloseCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            CloseCode::Unauthorized => StatusCode::UNAUTHORIZED,
            CloseCode::Slow => StatusCode::REQUEST_TIMEOUT,
            CloseCode::Busy | CloseCode::Done => StatusCode::SERVICE_UNAVAILABLE,
            CloseCode::Malformed | CloseCode::Protocol | CloseCode::Version => StatusCode::BAD_REQUEST,
        };
        framed(status, encode_frame(&self.failure()))
    }
}

async fn session(State(door): State<Arc<Door>>, request: Request) -> Result<impl IntoResponse, Close> {
    let token = presented(&door, &request)?;
    let (bytes, _held) = body(&door, request).await?;
    let hello = with_token(door.frame(&bytes)?.decode()?, token);
    let catalog = Arc::clone(&door.backend.catalog().borrow());
    let welcome = Session::new(Arc::clone(&door.policy)).handle_hello(hello, now(), &catalog)?;
    Ok(Reply(welcome))
}

/// Answers with the strongest ack the batch asked for, or the refusal.
async fn batch(State(door): State<Arc<Door>>, request: Request) -> Result<Response, Close> {
    let token = token(request.headers(), request.uri());
    door.policy.check(token.as_deref())?;
    let (bytes, _held) = body(&door, request).await?;
    let frame: BatchFrame = door.frame(&bytes)?.decode()?;
    if frame.backfill {
        return Err(Close::new(CloseCode::Unauthorized, "a backfill comes over QUIC"));
    }
    door.metrics.batches.inc();
    door.metrics.batch_bytes.inc_by(bytes.len() as u64);
    let mut outcomes = door.backend.submit(frame, &door.policy.limits).await;
    let mut last = None;
    while let Some(outcome) = outcomes.next().await {
        last = Some(outcome);
    }
    match last {
        Some(Outcome::Ack(ack)) => Ok(Reply(ack).into_response()),
        Some(Outcome::Refused(refused)) => {
            door.metrics.refused(refused.code);
            Ok(Reply(refused).into_response())
        }
        None => Err(Close::new(CloseCode::Done, "the hub is going away")),
    }
}

async fn resume(State(door): State<Arc<Door>>, request: Request) -> Result<Response, Close> {
    let token = token(request.headers(), request.uri());
    door.policy.check(token.as_deref())?;
    let (bytes, _held) = body(&door, request).await?;
    let resume = door.frame(&bytes)?.decode()?;
    match door.backend.resume(resume).await {
        Ok(resumed) => Ok(Reply(resumed).into_response()),
        Err(refused) => {
            door.metrics.refused(refused.code);
            Ok(Reply(refused).into_response())
        }
    }
}

async fn clock(State(door): State<Arc<Door>>, request: Request) -> Result<impl IntoResponse, Close> {
    let (bytes, _held) = body(&door, request).await?;
    let request: ClockRequest = door.frame(&bytes)?.decode()?;
    Ok(Reply(ClockReply { sent: request.sent, time: now() }))
}

/// Long poll: a Hello frame, and the catalog version the client knows: `?catalog=N`, or a varint after the
/// frame. Answers `Plans` as soon as the catalog is newer, 204 when it is not within 25 s (or the hub goes
/// away).
async fn watch(State(door): State<Arc<Door>>, request: Request) -> Result<Response, Close> {
    let known = known_catalog(request.uri())?;
    let token = presented(&door, &request)?;
    let (bytes, held) = body(&door, request).await?;
    let (hello, known) = door.watch_request(&bytes, known)?;
    let hello = with_token(hello, token);
    drop((bytes, held));
    let mut catalog = door.backend.catalog();
    let mut session = Session::new(Arc::clone(&door.policy));
    let snapshot = Arc::clone(&catalog.borrow());
    session.handle_hello(hello, now(), &snapshot)?;
    tokio::select! {
        biased;
        () = door.shutdown.cancelled() => Ok(StatusCode::NO_CONTENT.into_response()),
        newer = tokio::time::timeout(WATCH, catalog.wait_for(|c| c.version > known)) => match newer {
            Ok(Ok(newest)) => Ok(Reply(session.plans(&newest)?).into_response()),
            _ => Ok(StatusCode::NO_CONTENT.into_response()),
        },
    }
}

impl Door {
    fn bytes_max(&self) -> usize {
        self.policy.limits.frame_bytes_max as usize
    }

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Close> {
        Ok(Frame::read_only(bytes, self.bytes_max())?)
    }

    fn watch_request(
        &self,
        bytes: &[u8],
        known: Option<CatalogVersion>,
    ) -> Result<(Hello, CatalogVersion), Close> {
        if let Some(known) = known {
            return Ok((self.frame(bytes)?.decode()?, known));
        }
        let truncated = || Close::new(CloseCode::Malformed, "truncated");
        let (frame, length) = Frame::read(bytes, self.bytes_max())?.ok_or_else(truncated)?;
        let mut rest = Reader::new(bytes.get(length..).unwrap_or_default());
        let known = CatalogVersion(rest.varint()?);
        rest.finish()?;
        Ok((frame.decode()?, known))
    }
}

/// `?catalog=N`.
fn known_catalog(uri: &Uri) -> Result<Option<CatalogVersion>, Close> {
    let query = uri.query().unwrap_or_default();
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("catalog=")) else { return Ok(None) };
    let version = text.parse().map_err(|_| Close::new(CloseCode::Malformed, "catalog is not a number"))?;
    Ok(Some(CatalogVersion(version)))
}

async fn body(door: &Door, request: Request) -> Result<(Vec<u8>, Taken), Close> {
    let (parts, content) = request.into_parts();
    read(door, &parts.extensions, content).await
}

/// A request's whole body, bounded in bytes and in time, with its share of the budget.
pub(crate) async fn read(
    door: &Door,
    extensions: &Extensions,
    body: Body,
) -> Result<(Vec<u8>, Taken), Close> {
    // A frame's header comes on top of its body.
    let bytes_max = door.bytes_max() + wire::FRAME_HEADER_BYTES_MAX + 10;
    let too_large = || Close::new(CloseCode::TooLarge, format!("the body is above {bytes_max} bytes"));
    let busy = || Close::new(CloseCode::Busy, "the hub has no room for more bodies");
    let claim = HttpBody::size_hint(&body).upper().unwrap_or(bytes_max as u64);
    let claim = usize::try_from(claim).ok().filter(|bytes| *bytes <= bytes_max).ok_or_else(too_large)?;
    let claim = u32::try_from(claim.max(1)).unwrap_or(u32::MAX);
    let deadline = Instant::now() + door.body_within;
    let budget = extensions.get::<Budget>().unwrap_or(&door.budget);
    let taken = timeout_at(deadline, budget.claim(claim)).await.map_err(|_| busy())?;
    let mut taken = taken.ok_or_else(|| Close::new(CloseCode::Done, "the hub is going away"))?;
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    let slow = || Close::new(CloseCode::Slow, "the body was not complete in time");
    while let Some(chunk) = timeout_at(deadline, chunks.next()).await.map_err(|_| slow())? {
        let chunk = chunk.map_err(|_| Close::new(CloseCode::Malformed, "the body was cut short"))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        timeout_at(deadline, taken.arrived(chunk.len())).await.map_err(|_| busy())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, taken))
}

/// The request's token, where it brings one: then it decides, before the body is read. Without one a Hello frame
/// may still bring its own.
fn presented(door: &Door, request: &Request) -> Result<Option<String>, Close> {
    let token = token(request.headers(), request.uri());
    if token.is_some() {
        door.policy.check(token.as_deref())?;
    }
    Ok(token)
}

fn with_token(hello: Hello, token: Option<String>) -> Hello {
    Hello { token: token.map(Into::into).or(hello.token), ..hello }
}

/// `Authorization: Bearer ...`, or `?token=...` for beacons, which cannot set headers.
pub(crate) fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, token)) = header.and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(token.trim().into());
    }
    let query = uri.query()?;
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(decoded)
}

/// A part of a query without its `%xx`.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
