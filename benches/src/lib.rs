//! Workloads and measuring, shared by the programs of this crate: same seed, same rows, everywhere.
//!
//! Owns: what is measured and how a figure is taken. Must not know: which engine runs it.
#![allow(clippy::missing_errors_doc, reason = "not published: what fails here ends the measurement")]

pub mod hub;
pub mod measure;
#[cfg(feature = "peers")]
pub mod peers;
pub mod plans;
pub mod wire;
pub mod workload;
