//! The world of simulations: chance, time, a network and disks that fail, all from one seed.
//!
//! Owns: faults. Must not know: what is sent or stored, who plays. Whole histories of the real rooms run on it:
//! one hub in `shard::model`; several hubs can share one [`Net`] and have one [`Disk`] and one [`Clock`] each.
//! Invariants: nothing here reads a real clock or real randomness; the same seed gives the same history.

mod clock;
mod disk;
mod net;
mod random;

pub(crate) use clock::Clock;
pub(crate) use disk::{Disk, Fault, Flaw};
pub(crate) use net::{Net, NetFaults};
pub(crate) use random::Random;

/// Seeds for a test: the one of `HEADWATER_SEED`, else the first `HEADWATER_RUNS`, else the first `usual`.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("HEADWATER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEADWATER_RUNS").unwrap_or(usual),
    }
}
