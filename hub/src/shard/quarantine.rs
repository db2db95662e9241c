//! Quarantine: where states go that cannot be read or merged, so that one group's damage stays one group's.
//!
//! Owns: the bytes of `quarantine-1` and the loud words. Must not know: why states are damaged, when to fold.
//! A row here is out of every answer. It is kept byte for byte, for whoever can read it one day.

use super::fold::try_merge_row;
use super::ledger::Ledger;
use super::open::Group;
use super::overlay::{Damaged, empty};
use super::shared::Shared;
use super::stats::StatsByView;
use crate::store::tables::{base_prefix, group_key, quarantine_key, view_key};
use crate::store::{StoreError, Table, Transaction};
use headwater::codec::Writer;
use headwater::group::OTHER_KEY;
use headwater::ids::{Lsn, ShardGroupId, ViewId};

/// What was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// States of a row of the base.
    Row = 1,
    /// States of one group, from the log: they could not be merged.
    Group = 2,
    /// The payload of a log record, of which this view's section could not be read.
    Payload = 3,
}

/// Quarantined things of one shard group in one transaction.
#[derive(Debug)]
pub struct Quarantine {
    group: ShardGroupId,
    upto: Lsn,
    next: u32,
}

impl Quarantine {
    /// For the fold of `group` that ends at `upto`.
    pub fn new(group: ShardGroupId, upto: Lsn) -> Self {
        Self { group, upto, next: 0 }
    }

    /// Sets `bytes` aside: version u8 = 1, kind u8, group key blob, the bytes.
    ///
    /// # Errors
    /// Storage failed.
    pub fn put(
        &mut self,
        txn: &mut dyn Transaction,
        view: ViewId,
        kind: Kind,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        tracing::error!(
            %view, group = self.group.0, ?kind, key = %hex(key), bytes = bytes.len(),
            "states cannot be read or merged: they are set aside and missing in answers"
        );
        let mut value = vec![1, kind as u8];
        value.put_blob(key);
        value.extend_from_slice(bytes);
        let mut at = quarantine_key(self.group, view, self.upto, self.next);
        while txn.get(Table::Quarantine, &at, &mut |_| {})? {
            self.next += 1;
            at = quarantine_key(self.group, view, self.upto, self.next);
        }
        txn.put(Table::Quarantine, &at, &value)
    }

    /// Sets a section of a log record aside.
    ///
    /// # Errors
    /// Storage failed.
    pub fn put_payload(&mut self, txn: &mut dyn Transaction, damaged: &Damaged) -> Result<(), StoreError> {
        self.put(txn, damaged.view, Kind::Payload, &[], &damaged.payload)
    }
}

/// Sets the rows aside that reads have found, in one transaction, and counts them; `false` when there are none.
///
/// # Errors
/// Storage failed.
pub(super) fn set_rows_aside(shared: &Shared, groups: &mut [Group]) -> Result<bool, StoreError> {
    let rows = shared.take_damaged();
    if rows.is_empty() {
        return Ok(false);
    }
    let views = shared.views();
    let mut changed: Vec<(StatsByView, Ledger)> = Vec::new();
    shared.store.write(&mut |txn| {
        changed = groups.iter().map(|g| (g.stats.clone(), g.folded.clone())).collect();
        for (id, view, key) in &rows {
            let at = usize::from(id.0);
            let (Some(shape), Some((stats, ledger))) = (views.get(*view), changed.get_mut(at)) else {
                continue;
            };
            let base_key = [&base_prefix(*id, *view), key.as_slice()].concat();
            let mut bytes = Vec::new();
            let found = txn.get(Table::Base, &base_key, &mut |row| bytes.extend_from_slice(row))?;
            // A fold may have met it first.
            if !found || try_merge_row(&mut empty(&shape.specs), key, &bytes) {
                continue;
            }
            let upto = groups[at].core.image().folded;
            Quarantine::new(*id, upto).put(txn, *view, Kind::Row, key, &bytes)?;
            txn.remove(Table::Base, &base_key)?;
            txn.remove(Table::Weight, &base_key)?;
            let row = stats.entry(*view).or_default();
            row.quarantined += 1;
            row.groups = row.groups.saturating_sub(u64::from(key != OTHER_KEY));
            ledger.quarantined += 1;
            txn.put(Table::View, &view_key(*id, *view), &row.encode())?;
            txn.put(Table::Ledger, &group_key(*id), &ledger.encode())?;
        }
        Ok(())
    })?;
    for (group, (stats, folded)) in groups.iter_mut().zip(changed) {
        group.total.quarantined += folded.quarantined - group.folded.quarantined;
        (group.stats, group.folded) = (stats, folded);
    }
    Ok(true)
}

/// The first bytes of a key, for people.
pub fn hex(key: &[u8]) -> String {
    key.iter().take(32).map(|b| format!("{b:02x}")).collect()
}
