//! The Headwater hub: takes batches of states from producers, keeps them, and answers SQL over them.
//!
//! Owns: the rooms below and how [`server`] wires them together. Must not know: SQL (that is
//! `headwater-sql`) and how states are made or merged (that is `headwater`).

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod api;
pub mod catalog;
pub mod cli;
pub(crate) mod ingest;
pub mod ingress;
pub mod options;
pub mod read;
pub mod server;
pub mod shard;
#[cfg(test)]
mod sim;
pub mod store;
