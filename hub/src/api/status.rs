//! What the hub knows about itself at one moment: the one source of `/v1/status`, `/metrics`, the system
//! tables and `headwater status`.

use serde::Serialize;
use std::collections::BTreeMap;

/// One moment of the hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// The hub's version.
    pub version: String,
    /// This start of it.
    pub boot: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// The catalog's version.
    pub catalog: u64,
    /// Streams in the catalog.
    pub streams: u64,
    /// The views.
    pub views: Vec<ViewStatus>,
    /// What happened to events and batches.
    pub ledger: Ledger,
    /// The store.
    pub storage: Storage,
    /// How long nothing will be removed by time, the clock having jumped ahead.
    pub clock_hold_seconds: u64,
    /// How far the clock is behind births that are forgotten: until then every batch is refused as expired.
    pub clock_behind_seconds: u64,
    /// The shard groups.
    pub shard_groups: Vec<ShardGroup>,
}

/// A view's size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub name: String,
    /// The stream it reads.
    pub stream: String,
    /// Groups in its base.
    pub groups: u64,
    /// Groups merged into its `(other)` group because it was full.
    pub other: u64,
    /// Rows and sections of batches that could not be read or merged: kept aside, and missing in answers.
    pub quarantined: u64,
}

/// What happened to events and batches since the data directory was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Events in batches that were applied.
    pub applied: u64,
    /// Batches that were applied.
    pub batches: u64,
    /// Batches that had been applied before, and were acked again.
    pub duplicates: u64,
    /// Batches refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Events lost before any view, as producers report them, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events that single views rejected, by reason; one event may be counted by several views.
    pub rejected: BTreeMap<String, u64>,
    /// Events whose batch may or may not have been applied, as producers report them.
    pub in_doubt: u64,
    /// The batches of those.
    pub in_doubt_batches: u64,
    /// Groups in applied batches, over all views.
    pub groups: u64,
    /// Groups left out because their time bucket was too old.
    pub late_groups: u64,
    /// Groups left out because their time bucket lies in the future.
    pub future_groups: u64,
    /// Groups merged into the `(other)` group of a view that was full.
    pub other_groups: u64,
    /// Groups for views that were dropped meanwhile.
    pub view_dropped_groups: u64,
    /// Events in them; an event may be in the groups of several views.
    pub view_dropped_events: u64,
    /// Rows and parts of batches set aside because they could not be read or merged.
    pub quarantined: u64,
}

impl Ledger {
    /// Events that producers account for: applied, dropped or in doubt, as they report. Derived here, not measured:
    /// what was generated is more by what is still in rollups and outboxes, and only producers know that.
    pub fn accounted(&self) -> u64 {
        let dropped = self.dropped.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
        self.applied.saturating_add(dropped).saturating_add(self.in_doubt)
    }
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Storage {
    /// False after a failed write: reads go on, writes are refused.
    pub is_ok: bool,
    /// Why.
    pub error: Option<String>,
    /// Bytes of the data file.
    pub file_bytes: u64,
    /// Log commits by how long they took: upper bound in seconds (`null` = any), count.
    pub commits: Vec<(Option<f64>, u64)>,
    /// All of them together, seconds.
    pub commit_seconds: f64,
}

/// One shard group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShardGroup {
    /// Its number.
    pub id: u16,
    /// Its primary's term of office.
    pub epoch: u64,
    /// The newest log record.
    pub last: u64,
    /// The newest one that is fsynced.
    pub durable: u64,
    /// The newest one that every in-sync replica holds.
    pub committed: u64,
    /// The newest one that is folded into the base.
    pub folded: u64,
    /// Producers in its memory: heard since this start and not idle for long. More are remembered on disk.
    pub sessions: u64,
    /// Groups waiting in memory for a fold.
    pub overlay_groups: u64,
    /// Their bytes.
    pub overlay_bytes: u64,
}

/// A name, a help text, a value.
pub type Figure = (&'static str, &'static str, u64);

impl Status {
    /// What only grows.
    pub fn counters(&self) -> [Figure; 13] {
        let ledger = &self.ledger;
        [
            (
                "events_accounted",
                "Derived: events applied + dropped + in doubt; what is still in outboxes only producers know",
                ledger.accounted(),
            ),
            ("events_applied", "Events in applied batches", ledger.applied),
            ("batches_applied", "Batches applied", ledger.batches),
            ("batches_duplicate", "Batches that had been applied before", ledger.duplicates),
            ("events_in_doubt", "Events that may or may not have been applied, as reported", ledger.in_doubt),
            ("batches_in_doubt", "Batches of those", ledger.in_doubt_batches),
            ("groups_applied", "Groups in applied batches, over all views", ledger.groups),
            ("groups_late", "Groups left out: their time bucket was too old", ledger.late_groups),
            ("groups_future", "Groups left out: their time bucket lies in the future", ledger.future_groups),
            ("groups_other", "Groups merged into (other): their view was full", ledger.other_groups),
            ("groups_view_dropped", "Groups for views that were dropped", ledger.view_dropped_groups),
            ("events_view_dropped", "Events in those, counted per view", ledger.view_dropped_events),
            ("quarantined", "Rows and parts of batches set aside as unreadable", ledger.quarantined),
        ]
    }

    /// What goes up and down.
    pub fn gauges(&self) -> [Figure; 12] {
        let sum = |of: fn(&ShardGroup) -> u64| self.shard_groups.iter().map(of).sum::<u64>();
        [
            ("uptime_seconds", "Seconds since this start", self.uptime_seconds),
            ("storage_ok", "1 while the storage takes writes", u64::from(self.storage.is_ok)),
            ("log_sync_lag", "Log records not yet fsynced", sum(|g| g.last.saturating_sub(g.durable))),
            ("log_fold_lag", "Log records not yet folded", sum(|g| g.last.saturating_sub(g.folded))),
            ("overlay_groups", "Groups waiting in memory for a fold", sum(|g| g.overlay_groups)),
            ("overlay_bytes", "Bytes of those groups", sum(|g| g.overlay_bytes)),
            (
                "producers",
                "Producers in memory: heard since this start and not idle for long; more are on disk",
                sum(|g| g.sessions),
            ),
            ("file_bytes", "Bytes of the data file", self.storage.file_bytes),
            (
                "clock_hold_seconds",
                "Seconds until time removes again: the clock jumped ahead, 0 when it is believed",
                self.clock_hold_seconds,
            ),
            (
                "clock_behind_seconds",
                "Seconds the clock is behind forgotten births: until then all batches are refused",
                self.clock_behind_seconds,
            ),
            ("streams", "Streams in the catalog", self.streams),
            ("views", "Views in the catalog", self.views.len() as u64),
        ]
    }
}
