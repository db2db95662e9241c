//! The PostgreSQL protocol, version 3.0: psql, Grafana and drivers.
//!
//! Owns: messages, types on the wire, sessions with their settings and transactions, who may come in. Must not know:
//! how statements run: that is behind [`Backend`](crate::ingress::Backend).
//! Invariants: no byte of a stranger panics or costs more memory than it has; a statement's rows are sent as they
//! come, and wait for the client; a connection that ends stops what it runs.
//!
//! The messages are read and written here, and not by a library: those there are panic on messages that end too
//! early, and read texts that are not UTF-8 as something else.

mod binary;
mod cancel;
mod control;
mod copying;
mod door;
mod extended;
mod holding;
mod lines;
mod lobby;
mod message;
mod opening;
mod parameter;
mod reply;
mod running;
mod scram;
mod session;
mod settings;
mod types;
mod wire;

pub(crate) use door::PgDoor;
