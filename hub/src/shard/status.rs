//! What the shard groups say about themselves.

use super::ledger::Ledger;
use crate::store::StoreError;
use headwater::ids::{BootId, Epoch, Lsn, ShardGroupId, ViewId};

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
    /// Partials merged into `(other)` because the view was full.
    pub other: u64,
    /// Rows and sections that could not be read or merged: they are kept aside, and answers miss them.
    pub quarantined: u64,
}
