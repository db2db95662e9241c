//! The hub's faces beside the frames: SQL, health, metrics and status over HTTP, and the PostgreSQL protocol (`pg`).
//!
//! Owns: the routes, formats and status codes. Must not know: how statements run or what is counted.

pub(crate) mod events;
pub mod format;
pub mod metrics;
pub(crate) mod pg;
pub mod sql;
pub mod status;
pub mod text;

use crate::ingress::http::{Door, router};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use status::Status;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long browsers may remember what CORS allows.
const PREFLIGHT_AGE: Duration = Duration::from_secs(24 * 3600);

/// What the API needs besides the door.
pub(crate) struct Api {
    pub door: Arc<Door>,
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// What `/v1/hub` tells anybody: where to connect and what to pin.
    pub hub: serde_json::Value,
}

/// All routes of the HTTP face. `origins`: what CORS allows; `None` = any.
pub(crate) fn routes(api: Arc<Api>, origins: Option<&[String]>) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(full_status))
        .route("/metrics", get(metrics_text))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), authorize));
    Router::new()
        .route("/v1/sql", post(sql::run))
        .route("/v1/events", post(events::run))
        .route("/v1/hub", get(about))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .with_state(Arc::clone(&api))
        .merge(router(Arc::clone(&api.door)))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn(check_encoding))
        .layer(middleware::from_fn_with_state(allowed(origins), check_origin))
        .layer(cors(origins))
        .layer(middleware::map_response(no_sniff))
}

fn cors(origins: Option<&[String]>) -> CorsLayer {
    let origin = match origins {
        None => AllowOrigin::from(Any),
        Some(list) if list.iter().any(|o| o == "*") => AllowOrigin::from(Any),
        Some(list) => AllowOrigin::list(list.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    let layer =
        CorsLayer::new().allow_origin(origin).allow_methods(Any).allow_headers(Any).max_age(PREFLIGHT_AGE);
    // A page from the internet may reach a development hub on loopback.
    if origins.is_none() { layer.allow_private_network(true) } else { layer }
}

/// The origins whose pages may call; `None` = any.
fn allowed(origins: Option<&[String]>) -> Option<Arc<[String]>> {
    origins.filter(|list| !list.iter().any(|o| o == "*")).map(Arc::from)
}

/// CORS keeps a page from reading an answer, not from sending a statement: a POST of text is sent without asking first.
async fn check_origin(
    State(allowed): State<Option<Arc<[String]>>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(origin) = allowed.and_then(|allowed| foreign_origin(&request, &allowed)) {
        let message =
            format!("pages of {origin} may not call this hub: listen.cors_origins lists those that may");
        return sql::error(StatusCode::FORBIDDEN, "28000", &message);
    }
    next.run(request).await
}

/// Nothing here unpacks bodies: what is packed would be taken for bad text.
async fn check_encoding(request: Request, next: Next) -> Response {
    let encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let packed = encodings.map(|value| value.to_str().unwrap_or("?").trim());
    match packed.into_iter().find(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")) {
        Some(name) => {
            let message = format!("Content-Encoding {name} is not taken: send the body as it is");
            sql::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "0A000", &message)
        }
        None => next.run(request).await,
    }
}

/// Whose page asks, if it is neither listed nor of this address.
fn foreign_origin(request: &Request, allowed: &[String]) -> Option<String> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = text(header::ORIGIN)?;
    let host = text(header::HOST).or_else(|| request.uri().authority().map(|host| host.as_str()));
    let is_own = host.is_some() && origin.split_once("://").map(|(_, host)| host) == host;
    (!is_own && !allowed.iter().any(|listed| listed == origin)).then(|| origin.to_owned())
}

async fn nowhere(uri: Uri) -> Response {
    let message = format!(
        "there is nothing at {}; SQL goes to /v1/sql, events to /v1/events, and the hub tells about itself at /v1/hub, \
         /v1/status, /metrics, /healthz and /readyz",
        uri.path()
    );
    sql::error(StatusCode::NOT_FOUND, "08P01", &message)
}

async fn other_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}; /v1/sql and /v1/events take POST", uri.path());
    sql::error(StatusCode::METHOD_NOT_ALLOWED, "08P01", &message)
}

async fn no_sniff(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Status and metrics tell names of views: they are for holders of a token.
async fn authorize(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let token = crate::ingress::http::token(request.headers(), request.uri());
    match api.door.policy.check(token.as_deref()) {
        Ok(()) => next.run(request).await,
        Err(close) => sql::unauthorized(&close),
    }
}

async fn about(State(api): State<Arc<Api>>) -> Response {
    axum::Json(api.hub.clone()).into_response()
}

/// 200 while the hub takes writes and is not shutting down.
async fn ready(State(api): State<Arc<Api>>) -> Response {
    if api.door.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    let status = (api.status)();
    let fault = match (status.storage.is_ok, status.clock_behind_seconds) {
        (true, 0) => return "ready\n".into_response(),
        (true, _) => "the clock is behind births that are forgotten: every batch is expired\n",
        (false, _) => "storage stopped writes after a failure\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, fault).into_response()
}

async fn full_status(State(api): State<Arc<Api>>) -> Response {
    axum::Json(json!((api.status)())).into_response()
}

async fn metrics_text(State(api): State<Arc<Api>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match api.door.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
