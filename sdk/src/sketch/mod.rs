//! The algorithms behind the states, one per file, each without columns, groups or specs.
//!
//! Owns: exact sums ([`exact`], [`wide`]), distinct counts ([`hll`]), quantiles ([`ddsketch`], `tdigest`), heavy
//! hitters (`frequent`), membership (`bloom`), their arithmetic (`math`,
//! `rational`). Must not know: aggregates, values' SQL types.
//! Invariants: native and WASM give the same bits: only integer arithmetic and the IEEE basic operations
//! are used, never the platform's libm.

#[cfg(feature = "sketches")]
pub mod area;
#[cfg(feature = "sketches")]
pub mod bloom;
#[cfg(feature = "sketches")]
mod buckets;
#[cfg(feature = "sketches")]
pub mod counter;
#[cfg(feature = "sketches")]
pub mod countmin;
pub mod ddsketch;
pub mod exact;
#[cfg(feature = "sketches")]
pub mod exphist;
#[cfg(feature = "sketches")]
pub mod frequent;
#[cfg(feature = "sketches")]
mod hashes;
#[cfg(feature = "sketches")]
pub mod histogram;
pub mod hll;
#[cfg(feature = "sketches")]
pub mod key;
pub(crate) mod math;
#[cfg(feature = "sketches")]
pub mod rational;
#[cfg(feature = "sketches")]
pub mod stays;
#[cfg(feature = "sketches")]
pub mod tdigest;
#[cfg(feature = "sketches")]
pub mod theta;
#[cfg(feature = "sketches")]
pub mod timeline;
pub mod wide;
