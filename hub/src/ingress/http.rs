//! The HTTP door: the same session machine, one request at a time.
//!
//! Owns: the listener, TLS, connections, and the routes that carry frames: `/v1/session`, `/v1/batch`,
//! `/v1/resume`, `/v1/clock`, `/v1/watch`. Must not know: what frames lead to. The SQL and health routes are
//! [`crate::api`]'s.
//! Invariants: at most `http_connections_max` connections and a few spare ones for health; a body is bounded
//! in bytes and in time, and costs what arrived of it; a protocol-level answer (ack, refusal) is a frame with status 200, so that no proxy rewrites it; only what
//! is wrong with the request itself is a 4xx, with a `Failure` frame.

mod places;
mod routes;
mod server;

pub(crate) use routes::{Door, decoded, read, router, token};
pub(crate) use server::{HttpDoor, Peer};
