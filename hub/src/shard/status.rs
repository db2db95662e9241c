//! What the shard groups say about themselves.

use super::ledger::Ledger;
use crate::store::StoreError;
use headwater::ids::{BootId, Epoch, Lsn, ShardGroupId, ViewId};
use std::time::Duration;

/// All shard groups of this hub at one moment.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// This start of the hub.
    pub boot: BootId,
    /// False while storage refuses writes; reads go on.
    pub storage_ok: bool,
    /// Why.
    pub storage_error: Option<StoreError>,
    /// Totals over all shard groups since the data directory was made.
    pub ledger: Ledger,
    /// Each shard group.
    pub shards: Vec<ShardGroupStatus>,
    /// Each view that ever had a group here.
    pub views: Vec<ViewStatus>,
    /// Bytes of the data file.
    pub file_bytes: u64,
    /// Log commits since this start: the fsyncs that durable acks wait for.
    pub commits: Latency,
    /// How long nothing will be removed by time, the wall clock having jumped ahead; zero when it is believed.
    pub clock_hold: Duration,
    /// How far the wall clock is behind the births that the hub has forgotten: until then every batch is `expired`.
    pub clock_behind: Duration,
}

/// How long something took, in classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// Counts by class: up to [`Latency::BOUNDS`] of the same index, and one class above them all.
    pub counts: [u64; Latency::BOUNDS.len() + 1],
    /// The sum of all.
    pub seconds: f64,
}

impl Latency {
    /// Upper bounds, seconds.
    pub const BOUNDS: [f64; 14] =
        [0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 4.096];

    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.seconds += seconds;
    }
}

/// One shard group.
#[derive(Clone, Debug, Default)]
pub struct ShardGroupStatus {
    /// Which.
    pub group: ShardGroupId,
    /// Its primary's term of office.
    pub epoch: Epoch,
    /// The newest record, durable or not.
    pub last: Lsn,
    /// Everything up to here is fsynced at this hub.
    pub durable: Lsn,
    /// Everything up to here is fsynced at every in-sync replica.
    pub commit: Lsn,
    /// Everything up to here is in the base.
    pub folded: Lsn,
    /// Producers born before this (ms) are refused.
    pub min_birth: u64,
    /// Producers with batches in the log or in the cache of sessions.
    pub sessions: u64,
    /// Groups in the overlay, over all views and layers.
    pub overlay_groups: u64,
    /// Heap bytes of the overlay, roughly.
    pub overlay_bytes: u64,
}

/// One view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewStatus {
    /// Which.
    pub view: ViewId,
    /// Groups in the base, over all shard groups; a key in two shard groups counts twice.
    pub groups: u64,
    /// Groups merged into `(other)` because the view was full; one that comes back counts again when it goes.
    pub other: u64,
    /// Rows and sections that could not be read or merged: they are kept aside, and answers miss them.
    pub quarantined: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_their_class() {
        let mut latency = Latency::default();
        for micros in [0, 250, 251, 4_096_000, 4_096_001] {
            latency.observe(Duration::from_micros(micros));
        }
        assert_eq!(
            (latency.counts[0], latency.counts[1], latency.counts[13], latency.counts[14]),
            (2, 1, 1, 1)
        );
        assert!((latency.seconds - 8.192_502).abs() < 1e-9);
    }
}
