//! The fold: one transaction that merges committed partials into the base (rule P7).
//!
//! Owns: how layers meet base rows, the group cap. Must not know: lsns, sessions, when to fold.
//! Groups are visited in key order, so that a B-tree page is changed once. A key that is new while its view is
//! full goes into `(other)`, exactly. Which keys are kept depends only on the base and on the layers.

use super::overlay::{Layer, empty};
use super::views::{ViewShape, Views};
use crate::store::tables::{base_prefix, view_key};
use crate::store::{StoreError, Table, Transaction};
use headwater::codec::{DecodeError, Reader, Writer};
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{ShardGroupId, ViewId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys merged with base rows at a time: bounds the scratch table.
const CHUNK_KEYS: usize = 512;

/// How many groups of a view the base holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewStats {
    /// Rows in the base, without `(other)`.
    pub groups: u64,
    /// Partials merged into `(other)` for want of room.
    pub other: u64,
}

impl ViewStats {
    const VERSION: u8 = 1;

    /// Bytes (`view-1`): version u8 = 1, groups varint, other varint.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::VERSION];
        out.put_varint(self.groups);
        out.put_varint(self.other);
        out
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            Self::VERSION => {}
            0 => return Err(DecodeError::Invalid("view statistics version")),
            _ => return Err(DecodeError::TooNew),
        }
        let stats = Self { groups: reader.varint()?, other: reader.varint()? };
        reader.finish()?;
        Ok(stats)
    }
}

/// Statistics per view of one shard group.
pub type StatsByView = BTreeMap<ViewId, ViewStats>;

/// Merges `layers` into the base of `group` and updates `stats`.
///
/// # Errors
/// Storage failed, or a base row cannot be read: nothing may be committed then.
pub fn fold_layers(
    txn: &mut dyn Transaction,
    group: ShardGroupId,
    layers: &[Arc<Layer>],
    views: &Views,
    groups_max: u64,
    stats: &mut StatsByView,
) -> Result<(), StoreError> {
    let mut ids: Vec<ViewId> = layers.iter().flat_map(|l| l.views.keys().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let Some(shape) = views.get(id) else { continue };
        let tables: Vec<&GroupTable> = layers.iter().filter_map(|l| l.views.get(&id)).collect();
        let entry = stats.entry(id).or_default();
        let mut fold = ViewFold::new(txn, group, shape, groups_max, *entry);
        fold.run(&tables)?;
        *entry = fold.stats;
        txn.put(Table::View, &view_key(group, id), &entry.encode())?;
    }
    Ok(())
}

struct ViewFold<'a> {
    txn: &'a mut dyn Transaction,
    shape: &'a ViewShape,
    groups_max: u64,
    stats: ViewStats,
    /// The base key of the current group: prefix, then group key.
    key: Vec<u8>,
    prefix: usize,
    /// Base rows being merged.
    rows: GroupTable,
    /// What goes into `(other)`.
    other: GroupTable,
    bytes: Vec<u8>,
}

/// One group of one layer.
#[derive(Clone, Copy)]
struct Source {
    table: usize,
    group: u32,
}

impl<'a> ViewFold<'a> {
    fn new(
        txn: &'a mut dyn Transaction,
        group: ShardGroupId,
        shape: &'a ViewShape,
        groups_max: u64,
        stats: ViewStats,
    ) -> Self {
        let key = base_prefix(group, shape.id).to_vec();
        Self {
            txn,
            shape,
            groups_max,
            stats,
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
        for same_key in sources.chunk_by(|a, b| key_of(a) == key_of(b)) {
            self.fold_key(tables, same_key)?;
            if self.rows.len() >= CHUNK_KEYS {
                self.put_rows()?;
            }
        }
        self.put_rows()?;
        self.put_other()
    }

    fn fold_key(&mut self, tables: &[&GroupTable], sources: &[Source]) -> Result<(), StoreError> {
        let Some(&Source { table, group }) = sources.first() else { return Ok(()) };
        let key = tables[table].key(group);
        if key == OTHER_KEY {
            merge_all(&mut self.other, OTHER_KEY, tables, sources);
            return Ok(());
        }
        if self.load(key)? {
            merge_all(&mut self.rows, key, tables, sources);
            return Ok(());
        }
        if self.stats.groups >= self.groups_max {
            self.stats.other += sources.len() as u64;
            merge_all(&mut self.other, OTHER_KEY, tables, sources);
            return Ok(());
        }
        self.stats.groups += 1;
        if sources.len() > 1 {
            merge_all(&mut self.rows, key, tables, sources);
            return Ok(());
        }
        self.bytes.clear();
        tables[table].encode_states(group, &mut self.bytes);
        self.txn.put(Table::Base, &self.key, &self.bytes)
    }

    /// Reads the base row of `key` into `rows`; `false` when there is none. `self.key` is its base key.
    fn load(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(key);
        let rows = &mut self.rows;
        load_row(self.txn, &self.key, |bytes| merge_row(rows, key, bytes))
    }

    fn put_rows(&mut self) -> Result<(), StoreError> {
        for group in 0..self.rows.len() as u32 {
            self.key.truncate(self.prefix);
            self.key.extend_from_slice(self.rows.key(group));
            self.bytes.clear();
            self.rows.encode_states(group, &mut self.bytes);
            self.txn.put(Table::Base, &self.key, &self.bytes)?;
        }
        self.rows.clear();
        Ok(())
    }

    fn put_other(&mut self) -> Result<(), StoreError> {
        if self.other.is_empty() {
            return Ok(());
        }
        let overflow = std::mem::replace(&mut self.other, empty(&self.shape.specs));
        self.load(OTHER_KEY)?;
        self.rows.merge_table(&overflow);
        self.put_rows()
    }
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

fn load_row(
    txn: &dyn Transaction,
    key: &[u8],
    mut merge: impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<bool, StoreError> {
    let mut merged = Ok(());
    let found = txn.get(Table::Base, key, &mut |bytes| merged = merge(bytes))?;
    merged.map_err(|e| StoreError::Corrupted(format!("base row: {e}")))?;
    Ok(found)
}

/// Merges the states of a base row into the group of `key`.
pub fn merge_row(table: &mut GroupTable, key: &[u8], bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    table.merge_encoded(key, &mut reader)?;
    reader.finish()
}
