//! How shard groups are kept.

use super::record::Window;
use headwater::limits::BatchLimits;
use std::time::Duration;

/// Options of all shard groups of a hub.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// How long the first batch of a group commit waits for others. Default 5 ms; it commits earlier
    /// when half a millisecond brings nothing new. 0 syncs each batch alone; larger values slow busy durable acks.
    pub commit_delay: Duration,
    /// Payload bytes that are committed without waiting longer. Default 256 KiB.
    pub commit_bytes: usize,
    /// How often committed batches are folded into the base. Default 1 s; a fold that takes long makes the
    /// next ones rarer. Longer intervals merge hot groups more often in memory and slow reopening after a crash.
    pub fold_interval: Duration,
    /// Bytes of committed log that start folds early, until less is left. Default 4 MiB: bounds what reopening after a
    /// crash replays (half a million partials or so of small groups, well under a second).
    pub fold_log_bytes: u64,
    /// Heap bytes of the overlay that start a fold early. Default 64 MiB; worst-case memory about twice this.
    pub fold_bytes: usize,
    /// Groups kept per view and shard group, where the view's `group_cap` does not ask for less; the lightest of more
    /// are merged into `(other)`. Default 10,000,000. A view at its cap costs folds up to eight more rows per new one.
    pub view_groups_max: u64,
    /// Page cache of the data file, bytes. Default 256 MiB.
    pub cache_bytes: usize,
    /// What a batch may hold. Default: the native limits.
    pub limits: BatchLimits,
    /// How long after its birth a producer's batches are taken. Default 7 days. Sessions take about 100 bytes
    /// each on disk for this long.
    pub pid_lifetime: Duration,
    /// How far in the future a producer's birth, or a group's time bucket, may be. Default 5 minutes.
    pub future_skew: Duration,
    /// How far in the past a group's time bucket may end, where it is made from `arrival_timestamp`; such
    /// groups are dropped and counted. `None` takes any age. Default 7 days.
    pub late_max: Option<Duration>,
    /// Whether batches that are marked as a backfill may bring groups of any age. Default true.
    pub backfill: bool,
    /// Payload bytes waiting for the writer before `submit` waits. Default 32 MiB; decoded states come on top,
    /// typically two to four times as much.
    pub inbox_bytes: usize,
    /// How often writes are tried again after storage failed. Default 5 s.
    pub retry_interval: Duration,
}

impl ShardOptions {
    /// Which time buckets are taken.
    pub(super) fn window(&self) -> Window {
        Window::new(self.late_max, self.future_skew)
    }
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            commit_delay: Duration::from_millis(5),
            commit_bytes: 256 << 10,
            fold_interval: Duration::from_secs(1),
            fold_log_bytes: 4 << 20,
            fold_bytes: 64 << 20,
            view_groups_max: 10_000_000,
            cache_bytes: 256 << 20,
            limits: BatchLimits::NATIVE,
            pid_lifetime: Duration::from_secs(7 * 24 * 3600),
            future_skew: Duration::from_secs(300),
            late_max: Some(Duration::from_secs(7 * 24 * 3600)),
            backfill: true,
            inbox_bytes: 32 << 20,
            retry_interval: Duration::from_secs(5),
        }
    }
}
