//! Headwater's SDK: counts a program's own events at the source.
//!
//! The core is pure (no sockets, clock, threads or randomness) and builds for `wasm32-unknown-unknown`;
//! the default feature `client` adds the native QUIC client.

#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]
extern crate alloc;

pub mod aggregate;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod codec;
#[cfg(feature = "functions")]
pub mod emit;
pub mod expr;
pub mod flavor;
pub mod group;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod outbox;
pub mod plan;
#[cfg(test)]
mod random;
pub mod rollup;
pub mod schema;
pub mod session;
pub mod sketch;
pub mod sort;
pub mod value;
pub mod wire;
