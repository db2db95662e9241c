//! The fold: one transaction that merges committed partials into the base (rule P7).
//!
//! Owns: how layers meet base rows. Must not know: sessions, when to fold.
//! Groups are visited in key order, so that a B-tree page is changed once. What a full view does is in `cap`.

use super::options::{QuarantineOptions, SweepOptions};
use super::output;
use super::overlay::{Layer, empty};
use super::quarantine::{Kind, Quarantine};
use super::stats::{StatsByView, ViewStats};
use super::views::{ViewShape, Views};
use crate::store::tables::{base_prefix, view_key};
use crate::store::{StoreError, Table, Transaction, seal};
use headwater::codec::{DecodeError, Reader, Writer};
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{Lsn, Micros, ShardGroupId, ViewId};
use headwater_sql::chain::Changes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Keys merged with base rows at a time: bounds the scratch table.
const CHUNK_KEYS: usize = 512;

/// Which fold this is.
#[derive(Clone, Copy, Debug)]
pub struct FoldOf<'a> {
    /// The shard group.
    pub group: ShardGroupId,
    /// The newest record it takes.
    pub upto: Lsn,
    /// The views of the newest catalog.
    pub views: &'a Views,
    /// Groups per view, where the view does not ask for less.
    pub groups_max: u64,
    /// How much of a sweep one fold does.
    pub sweep: SweepOptions,
    /// What quarantine may hold.
    pub quarantine: QuarantineOptions,
    /// When it happens, for the views that read what it changes.
    pub time: Micros,
    /// Longest key of a group that is made of what it changes.
    pub key_bytes_max: usize,
}

/// Merges `layers` into the base and updates `stats`. What cannot be read or merged is set aside in
/// quarantine: it costs its group, never the others. Returns, for each view whose output others read, the payload of
/// what they make of it.
///
/// # Errors
/// Storage failed: nothing may be committed then.
pub fn fold_layers(
    txn: &mut dyn Transaction,
    of: FoldOf<'_>,
    layers: &[Arc<Layer>],
    stats: &mut StatsByView,
) -> Result<Vec<(ViewId, Vec<u8>)>, StoreError> {
    let mut outputs = Vec::new();
    let mut quarantine = Quarantine::new(of.group, of.upto, of.quarantine, stats);
    let damaged = layers.iter().flat_map(|l| &l.damaged);
    for damaged in damaged.filter(|d| of.views.exists(d.view) || d.view == ViewId(0)) {
        let entry = stats.entry(damaged.view).or_default();
        quarantine.put(txn, damaged.view, Kind::Payload, (&[], &damaged.payload), entry)?;
        txn.put(Table::View, &view_key(of.group, damaged.view), &entry.encode())?;
    }
    let mut ids: Vec<ViewId> = layers.iter().flat_map(|l| l.views.keys().copied()).collect();
    // What a sweep left undone goes on with every fold, whatever that fold brings.
    ids.extend(above_cap(of.views, of.groups_max, stats));
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let Some(shape) = of.views.get(id) else { continue };
        let tables: Vec<&GroupTable> = layers.iter().filter_map(|l| l.views.get(&id)).map(|t| &**t).collect();
        let entry = stats.entry(id).or_default();
        let mut fold = ViewFold::new(txn, of, shape, entry.clone(), &mut quarantine);
        fold.run(&tables)?;
        fold.sweep()?;
        let changes = fold.changes.take();
        *entry = fold.stats;
        txn.put(Table::View, &view_key(of.group, id), &entry.encode())?;
        outputs.extend(changes.and_then(output::payload).map(|payload| (id, payload)));
    }
    Ok(outputs)
}

/// Views that have more groups than they may, or whose sweep is not done.
pub(super) fn above_cap(views: &Views, groups_max: u64, stats: &StatsByView) -> impl Iterator<Item = ViewId> {
    let is_above = move |(id, row): &(&ViewId, &ViewStats)| {
        views.get(**id).is_some_and(|shape| row.sweep.is_some() || row.groups > shape.group_cap(groups_max))
    };
    stats.iter().filter(is_above).map(|(id, _)| *id)
}

/// The fold of one view.
pub(super) struct ViewFold<'a> {
    pub(super) txn: &'a mut dyn Transaction,
    pub(super) shape: &'a ViewShape,
    pub(super) of: FoldOf<'a>,
    pub(super) groups_max: u64,
    pub(super) stats: ViewStats,
    /// Rows that this fold made.
    pub(super) new_rows: u64,
    quarantine: &'a mut Quarantine,
    /// What changes, where another view reads it.
    changes: Option<Changes>,
    /// The base key of the current group: prefix, then group key.
    key: Vec<u8>,
    prefix: usize,
    /// Base rows being merged.
    rows: GroupTable,
    /// What goes into `(other)`.
    pub(super) other: GroupTable,
    bytes: Vec<u8>,
}

/// One group of one layer.
#[derive(Clone, Copy)]
struct Source {
    table: usize,
    group: u32,
}

/// The sources of one key, in the order of their layers.
type SameKey<'s> = &'s [Source];

impl<'a> ViewFold<'a> {
    fn new(
        txn: &'a mut dyn Transaction,
        of: FoldOf<'a>,
        shape: &'a ViewShape,
        stats: ViewStats,
        quarantine: &'a mut Quarantine,
    ) -> Self {
        let key = base_prefix(of.group, shape.id).to_vec();
        Self {
            txn,
            shape,
            of,
            groups_max: shape.group_cap(of.groups_max),
            stats,
            new_rows: 0,
            quarantine,
            changes: of.views.chains(shape.id).map(|chains| chains.changes(of.time, of.key_bytes_max)),
            prefix: key.len(),
            key,
            rows: empty(&shape.specs),
            other: empty(&shape.specs),
            bytes: Vec::new(),
        }
    }

    fn run(&mut self, tables: &[&GroupTable]) -> Result<(), StoreError> {
        let sources = in_key_order(tables);
        let key_of = |s: &Source| tables[s.table].key(s.group);
        let keys: Vec<SameKey<'_>> = sources.chunk_by(|a, b| key_of(a) == key_of(b)).collect();
        for chunk in keys.chunks(CHUNK_KEYS) {
            self.contained(tables, chunk)?;
        }
        Ok(())
    }

    /// Folds some keys. When that panics (a state that breaks its own code) each is tried alone, and the one
    /// to blame is set aside.
    fn contained(&mut self, tables: &[&GroupTable], keys: &[SameKey<'_>]) -> Result<(), StoreError> {
        let before = self.stats.clone();
        // Out of reach of the panic: what was kept of earlier chunks outlives it.
        let mut changes = self.changes.take();
        let folded = catch_unwind(AssertUnwindSafe(|| self.fold_keys(tables, keys, changes.as_mut())));
        self.changes = changes;
        if let Ok(result) = folded {
            return result;
        }
        self.start_over(before);
        if let [sources] = keys {
            return self.set_aside(tables, sources);
        }
        keys.iter().try_for_each(|key| self.contained(tables, std::slice::from_ref(key)))
    }

    /// Nothing of a chunk is written before all of it is merged.
    pub(super) fn start_over(&mut self, stats: ViewStats) {
        self.stats = stats;
        self.rows = empty(&self.shape.specs);
        self.other = empty(&self.shape.specs);
    }

    fn set_aside(&mut self, tables: &[&GroupTable], sources: SameKey<'_>) -> Result<(), StoreError> {
        for source in sources {
            let table = tables[source.table];
            let mut bytes = Vec::new();
            // Even its encoder may be what panics: then the key is all there is to keep.
            let encoded = catch_unwind(AssertUnwindSafe(|| table.encode_states(source.group, &mut bytes)));
            if encoded.is_err() {
                bytes.clear();
            }
            self.quarantine(Kind::Group, table.key(source.group), &bytes)?;
        }
        Ok(())
    }

    pub(super) fn quarantine(&mut self, kind: Kind, key: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        self.quarantine.put(self.txn, self.shape.id, kind, (key, bytes), &mut self.stats)
    }

    /// Before anything is written all of the chunk is merged, and evaluated by the views that read it.
    fn fold_keys(
        &mut self,
        tables: &[&GroupTable],
        keys: &[SameKey<'_>],
        mut changes: Option<&mut Changes>,
    ) -> Result<(), StoreError> {
        if let Some(changes) = &mut changes {
            changes.begin();
        }
        keys.iter().try_for_each(|sources| self.fold_key(tables, sources, changes.as_deref_mut()))?;
        self.load_other(changes.as_deref_mut())?;
        if let Some(changes) = &mut changes {
            changes.evaluate();
        }
        self.put_rows()?;
        if let Some(changes) = changes {
            changes.keep();
        }
        Ok(())
    }

    /// Merges what was collected for `(other)` into its row.
    fn load_other(&mut self, changes: Option<&mut Changes>) -> Result<(), StoreError> {
        if self.other.is_empty() {
            return Ok(());
        }
        let other = std::mem::replace(&mut self.other, empty(&self.shape.specs));
        let is_there = self.load(OTHER_KEY)?;
        let merge = |into: &mut GroupTable| drop(into.merge_table(&other));
        merge_seen(&mut self.rows, (OTHER_KEY, is_there), merge, changes);
        Ok(())
    }

    /// Writes what a sweep collected for `(other)`. It only moves events from group to group: nobody is told.
    pub(super) fn put_other(&mut self) -> Result<(), StoreError> {
        self.load_other(None)?;
        self.put_rows()
    }

    fn fold_key(
        &mut self,
        tables: &[&GroupTable],
        sources: SameKey<'_>,
        changes: Option<&mut Changes>,
    ) -> Result<(), StoreError> {
        let Some(&Source { table, group }) = sources.first() else { return Ok(()) };
        let key = tables[table].key(group);
        #[cfg(test)]
        assert_ne!(key, super::testing::POISON, "planted");
        if key == OTHER_KEY {
            // Producers had more groups than they keep: each of their parts stands for at least one.
            self.stats.other += sources.len() as u64;
            merge_all(&mut self.other, OTHER_KEY, tables, sources);
            return Ok(());
        }
        let is_new = !self.load(key)?;
        self.weigh(is_new, sources.len() as u64)?;
        if is_new {
            self.stats.groups += 1;
            self.new_rows += 1;
        }
        let merge = |into: &mut GroupTable| merge_all(into, key, tables, sources);
        merge_seen(&mut self.rows, (key, !is_new), merge, changes);
        Ok(())
    }

    /// Follows the weight of the current group beside its states ([`super::cap`]).
    fn weigh(&mut self, is_new: bool, partials: u64) -> Result<(), StoreError> {
        let is_counted = !self.shape.counting.is_empty();
        let is_filling = self.stats.groups >= self.groups_max / 2;
        let credit = if is_new { self.stats.floor } else { 0 };
        let added = if is_counted || !is_filling { credit } else { credit.saturating_add(partials) };
        if added == 0 {
            return Ok(());
        }
        let before = if is_new { 0 } else { super::cap::credit(self.txn, &self.key)? };
        let mut bytes = Vec::new();
        bytes.put_varint(before.saturating_add(added));
        self.txn.put(Table::Weight, &self.key, &bytes)
    }

    /// Reads the base row of `key` into `rows`; `false` when there is none. A row that cannot be read is set
    /// aside, and its group starts anew.
    fn load(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(key);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let found = self.txn.get(Table::Base, &self.key, &mut |row| bytes.extend_from_slice(row))?;
        if found && !try_merge_row(&mut self.rows, (&self.key, key), &bytes) {
            self.quarantine(Kind::Row, key, &bytes)?;
        }
        self.bytes = bytes;
        Ok(found)
    }

    fn put_rows(&mut self) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(self.rows.len());
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        for group in 0..self.rows.len() as u32 {
            let start = bytes.len();
            self.rows.encode_states(group, &mut bytes);
            self.key.truncate(self.prefix);
            self.key.extend_from_slice(self.rows.key(group));
            let check = seal::check(Table::Base, &self.key, &bytes[start..]);
            bytes.extend_from_slice(&check);
            rows.push(start..bytes.len());
        }
        for (group, row) in rows.into_iter().enumerate() {
            self.key.truncate(self.prefix);
            self.key.extend_from_slice(self.rows.key(group as u32));
            self.txn.put(Table::Base, &self.key, &bytes[row])?;
        }
        self.rows.clear();
        self.bytes = bytes;
        Ok(())
    }
}

/// Merges a base row, `at` its key in the base, `key` its group's; when it is not what was written, cannot be read, or
/// breaks its own code, its group is empty and `false` returned. The group must be new.
pub fn try_merge_row(table: &mut GroupTable, (at, key): (&[u8], &[u8]), row: &[u8]) -> bool {
    let Some(states) = seal::open(Table::Base, at, row) else {
        // There is a group of that key for those who count on it.
        table.group(key);
        return false;
    };
    let merged = catch_unwind(AssertUnwindSafe(|| merge_row(table, key, states)));
    if matches!(merged, Ok(Ok(()))) {
        return true;
    }
    let group = table.group(key);
    table.states_mut().iter_mut().for_each(|s| s.reset(group));
    false
}

/// Merges into a row, and shows those who read the view's output what that changes.
fn merge_seen(
    rows: &mut GroupTable,
    (key, is_there): (&[u8], bool),
    merge: impl Fn(&mut GroupTable),
    changes: Option<&mut Changes>,
) {
    let Some(changes) = changes else { return merge(rows) };
    changes.before(rows, rows.find(key).filter(|_| is_there));
    merge(rows);
    merge(changes.delta());
    changes.after(key, rows);
}

fn merge_all(into: &mut GroupTable, key: &[u8], tables: &[&GroupTable], sources: &[Source]) {
    for source in sources {
        into.merge_group(key, tables[source.table], source.group);
    }
}

/// All groups of all tables by key; equal keys in the order of their layers.
fn in_key_order(tables: &[&GroupTable]) -> Vec<Source> {
    if let [table] = tables {
        return table.sorted().into_iter().map(|group| Source { table: 0, group }).collect();
    }
    let groups =
        |(table, t): (usize, &&GroupTable)| (0..t.len() as u32).map(move |group| Source { table, group });
    let mut all: Vec<Source> = tables.iter().enumerate().flat_map(groups).collect();
    all.sort_unstable_by(|a, b| {
        let keys = tables[a.table].key(a.group).cmp(tables[b.table].key(b.group));
        keys.then(a.table.cmp(&b.table))
    });
    all
}

/// Merges the states of a base row into the group of `key`.
pub fn merge_row(table: &mut GroupTable, key: &[u8], bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    table.merge_stored(key, &mut reader)?;
    reader.finish()
}
