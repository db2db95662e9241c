//! How shard groups are kept.

use super::record::Window;
use headwater::limits::BatchLimits;
use std::time::Duration;

/// The sweep of views above their cap (`cap`): how much of it one fold does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Rows that one fold may look at. Default 16,384: some ten milliseconds.
    pub rows: u64,
    /// As many more for every row the fold made. Default 8: a view of a cap above `exact_rows` stays below about 5/4 of it.
    pub rows_per_new: u64,
    /// Rows read at a time. Default 1,024: what is decoded of them is held in memory.
    pub page_rows: u64,
    /// Up to this many rows one fold sees all of them: their weights are compared as they are, 8 bytes each. Default 8,192.
    pub exact_rows: u64,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self { rows: 16_384, rows_per_new: 8, page_rows: 1_024, exact_rows: 8_192 }
    }
}

/// Bounds of one shard group's quarantine. What does not fit is counted and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineOptions {
    /// Rows. Default 10,000.
    pub rows_max: u64,
    /// Bytes of keys and states on disk. Default 64 MiB: the worst case is this times the shard groups.
    pub bytes_max: u64,
}

impl Default for QuarantineOptions {
    fn default() -> Self {
        Self { rows_max: 10_000, bytes_max: 64 << 20 }
    }
}

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
    /// How a view that is above its cap is swept. All copies of a shard group need the same.
    pub sweep: SweepOptions,
    /// Bytes of keys and states that one chunk of a scan takes from the base, and again from the overlay. Default 1 MiB.
    pub scan_chunk_bytes: usize,
    /// What a shard group keeps of states that could not be read or merged.
    pub quarantine: QuarantineOptions,
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
    /// Bytes of batches waiting for the writer, and of the states that they become, before `submit` waits. Default 32 MiB.
    /// Full sketches take two to four times their bytes on top; a batch that alone is larger waits alone, and takes up to
    /// seventy times its frame where a view has hundreds of aggregates that are empty.
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
            sweep: SweepOptions::default(),
            scan_chunk_bytes: 1 << 20,
            quarantine: QuarantineOptions::default(),
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
