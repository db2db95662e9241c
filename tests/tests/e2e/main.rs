//! End to end: a real hub process, real files, real sockets, the real SDK.

#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]

mod exactly_once;
mod frames;
mod harness;
mod hostile;
mod kill;
mod plans;
mod readme;
mod storage;
