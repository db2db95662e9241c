//! Quarantine: where states go that cannot be read or merged, so that one group's damage stays one group's.
//!
//! Owns: the bytes of `quarantine-1` and the loud words. Must not know: why states are damaged, when to fold.
//! A row here is out of every answer. It is kept byte for byte, for whoever can read it one day: as many of them as
//! [`QuarantineOptions`] has room for, the first ones of a shard group. All are counted.

use super::fold::try_merge_row;
use super::ledger::Ledger;
use super::open::Group;
use super::options::QuarantineOptions;
use super::overlay::empty;
use super::shared::Shared;
use super::stats::{StatsByView, ViewStats};
use crate::store::tables::{base_end, base_prefix, group_key, parse_view_key, quarantine_key, view_key};
use crate::store::{Snapshot, StoreError, Table, Transaction};
use headwater::codec::{Reader, Writer};
use headwater::group::OTHER_KEY;
use headwater::ids::{Lsn, ShardGroupId, ViewId};
use std::ops::ControlFlow;

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
    /// What there is room for.
    left: QuarantineOptions,
}

impl Quarantine {
    /// For the fold of `group` that ends at `upto`, beside what `stats` says is kept already.
    pub fn new(group: ShardGroupId, upto: Lsn, options: QuarantineOptions, stats: &StatsByView) -> Self {
        let left = |max: u64, kept: fn(&ViewStats) -> u64| max.saturating_sub(stats.values().map(kept).sum());
        let left = QuarantineOptions {
            rows_max: left(options.rows_max, |row| row.kept),
            bytes_max: left(options.bytes_max, |row| row.kept_bytes),
        };
        Self { group, upto, next: 0, left }
    }

    /// Counts states and sets them aside, if there is room: version u8 = 1, kind u8, group key blob, the bytes.
    ///
    /// # Errors
    /// Storage failed.
    pub fn put(
        &mut self,
        txn: &mut dyn Transaction,
        view: ViewId,
        kind: Kind,
        (key, bytes): (&[u8], &[u8]),
        stats: &mut ViewStats,
    ) -> Result<(), StoreError> {
        stats.quarantined += 1;
        let size = (key.len() + bytes.len()) as u64;
        let is_kept = self.left.rows_max > 0 && self.left.bytes_max >= size;
        tracing::error!(
            %view, group = self.group.0, ?kind, key = %hex(key), bytes = bytes.len(), is_kept,
            "states cannot be read or merged: they are set aside and missing in answers"
        );
        if !is_kept {
            return Ok(());
        }
        self.left.rows_max -= 1;
        self.left.bytes_max -= size;
        stats.kept += 1;
        stats.kept_bytes += size;
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
}

/// One thing in quarantine, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The shard group.
    pub group: ShardGroupId,
    /// The view; 0 for a log record of which not even the view could be told.
    pub view: ViewId,
    /// The fold that met it ended here.
    pub lsn: u64,
    /// What it is.
    pub kind: &'static str,
    /// The group key; empty for a payload.
    pub key: Vec<u8>,
    /// How long the states or the payload are.
    pub bytes: u64,
    /// Their first 256 bytes.
    pub head: Vec<u8>,
}

/// Bytes of damaged states that are shown.
pub const SHOWN_BYTES: usize = 256;

/// Everything in quarantine, in order. Rows that cannot be read even here are left out.
///
/// # Errors
/// Storage failed.
pub(super) fn list(snapshot: &dyn Snapshot) -> Result<Vec<Quarantined>, StoreError> {
    let mut all = Vec::new();
    snapshot.scan(Table::Quarantine, &[], None, &mut |key, value| {
        all.extend(quarantined(key, value));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn quarantined(key: &[u8], value: &[u8]) -> Option<Quarantined> {
    let (place, lsn) = key.split_at_checked(6)?;
    let (group, view) = parse_view_key(place)?;
    let mut reader = Reader::new(value);
    reader.u8().ok().filter(|version| *version == 1)?;
    let kind = match reader.u8().ok()? {
        1 => "row",
        2 => "group",
        3 => "payload",
        _ => return None,
    };
    let key = reader.blob(usize::MAX).ok()?.to_vec();
    let bytes = reader.peek_rest();
    Some(Quarantined {
        group,
        view,
        lsn: u64::from_be_bytes(*lsn.first_chunk()?),
        kind,
        key,
        bytes: bytes.len() as u64,
        head: bytes[..bytes.len().min(SHOWN_BYTES)].to_vec(),
    })
}

/// Sets the rows aside that reads have found, in one transaction, and counts them and those that are gone without a
/// trace; `false` when there are none.
///
/// # Errors
/// Storage failed.
pub(super) fn set_rows_aside(shared: &Shared, groups: &mut [Group]) -> Result<bool, StoreError> {
    let (rows, lost) = (shared.take_damaged(), shared.take_lost());
    if rows.is_empty() && lost.is_empty() {
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
            if !found || try_merge_row(&mut empty(&shape.specs), (&base_key, key), &bytes) {
                continue;
            }
            let upto = groups[at].core.image().folded;
            let mut quarantine = Quarantine::new(*id, upto, shared.options.quarantine, stats);
            let row = stats.entry(*view).or_default();
            quarantine.put(txn, *view, Kind::Row, (key, &bytes), row)?;
            txn.remove(Table::Base, &base_key)?;
            txn.remove(Table::Weight, &base_key)?;
            row.groups = row.groups.saturating_sub(u64::from(key != OTHER_KEY));
            ledger.quarantined += 1;
            txn.put(Table::View, &view_key(*id, *view), &row.encode())?;
            txn.put(Table::Ledger, &group_key(*id), &ledger.encode())?;
        }
        for (id, (stats, ledger)) in (0..).map(ShardGroupId).zip(&mut changed) {
            for view in lost.iter().filter(|view| views.get(**view).is_some()) {
                let row = stats.entry(*view).or_default();
                let missing = row.groups.saturating_sub(count_rows(txn, id, *view)?);
                if missing == 0 {
                    continue;
                }
                tracing::error!(%view, group = id.0, missing, "rows are gone from storage: answers miss them");
                row.groups -= missing;
                row.quarantined += missing;
                ledger.quarantined += u128::from(missing);
                txn.put(Table::View, &view_key(id, *view), &row.encode())?;
                txn.put(Table::Ledger, &group_key(id), &ledger.encode())?;
            }
        }
        Ok(())
    })?;
    for (group, (stats, folded)) in groups.iter_mut().zip(changed) {
        group.total.quarantined += folded.quarantined - group.folded.quarantined;
        (group.stats, group.folded) = (stats, folded);
    }
    Ok(true)
}

/// How many groups a view has in the base, without `(other)`.
fn count_rows(txn: &dyn Transaction, group: ShardGroupId, view: ViewId) -> Result<u64, StoreError> {
    let prefix = base_prefix(group, view);
    let mut rows = 0;
    txn.scan(Table::Base, &prefix, base_end(group, view).as_deref(), &mut |key, _| {
        rows += u64::from(key[prefix.len()..] != *OTHER_KEY);
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// The first bytes of a key, for people.
pub fn hex(key: &[u8]) -> String {
    key.iter().take(32).map(|b| format!("{b:02x}")).collect()
}
