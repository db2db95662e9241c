//! The overlay of one shard group: committed partials that are not in the base yet.
//!
//! Owns: layers of partials in log order. Must not know: redb, sessions, what decides the commit point.
//! A layer covers a range of the log, `after < lsn <= upto`. The newest one is merged into under a lock; when
//! a fold takes layers they are frozen first and stay readable until the base holds them. A reader opens its
//! base snapshot first, then asks for the layers behind that snapshot's folded lsn ([`Overlay::since`]): so no
//! batch is missing and none counts twice, without a lock around the fold's commit.

use super::ledger::Ledger;
use headwater::aggregate::AggregateSpec;
use headwater::group::GroupTable;
use headwater::ids::{Lsn, ViewId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Groups in the newest layer before it is frozen: bounds what the writer copies when a reader holds it, and what
/// one fold writes.
const LAYER_GROUPS_MAX: usize = 16_384;

/// What one batch adds, decoded and checked.
#[derive(Debug, Default)]
pub struct Partials {
    /// Per view, ascending.
    pub views: Vec<(ViewId, GroupTable)>,
    /// What it adds to the ledger.
    pub ledger: Ledger,
    /// Sections that were taken once and cannot be read any more.
    pub damaged: Vec<Damaged>,
}

/// A section of a log record that cannot be read, for quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its view; 0 when not even that can be told.
    pub view: ViewId,
    /// The record's payload.
    pub payload: Vec<u8>,
}

/// Partials of a range of the log.
#[derive(Debug, Default)]
pub struct Layer {
    /// Everything up to here is below this layer.
    pub after: Lsn,
    /// The newest record in this layer.
    pub upto: Lsn,
    /// Partials per view, shared with readers.
    pub views: BTreeMap<ViewId, Arc<GroupTable>>,
    /// What its batches add to the ledger.
    pub ledger: Ledger,
    /// Sections for quarantine.
    pub damaged: Vec<Damaged>,
}

impl Layer {
    fn after(lsn: Lsn) -> Self {
        Self { after: lsn, upto: lsn, ..Self::default() }
    }

    /// Groups over all views.
    pub fn groups(&self) -> usize {
        self.views.values().map(|t| t.len()).sum()
    }

    /// Heap bytes, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.views.values().map(|t| t.heap_bytes()).sum()
    }

    fn merge(&mut self, lsn: Lsn, partials: Partials) {
        debug_assert_eq!(lsn, self.upto.next());
        self.upto = lsn;
        self.ledger.merge(&partials.ledger);
        self.damaged.extend(partials.damaged);
        for (view, table) in partials.views {
            use std::collections::btree_map::Entry;
            match self.views.entry(view) {
                Entry::Vacant(entry) => drop(entry.insert(Arc::new(table))),
                // The view got a column meanwhile: the wider table takes the other.
                Entry::Occupied(mut entry) if entry.get().specs().len() < table.specs().len() => {
                    let mut wide = table;
                    wide.merge_table(entry.get());
                    entry.insert(Arc::new(wide));
                }
                Entry::Occupied(mut entry) => match Arc::get_mut(entry.get_mut()) {
                    Some(mine) => drop(mine.merge_table(&table)),
                    // A reader came since the writer looked: it keeps what it has.
                    None => {
                        let mut copy = copied(entry.get());
                        copy.merge_table(&table);
                        entry.insert(Arc::new(copy));
                    }
                },
            }
        }
    }
}

/// The layers of one shard group, oldest first.
#[derive(Debug)]
pub struct Overlay {
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    frozen: VecDeque<Arc<Layer>>,
    newest: Layer,
}

/// A reader's base is older than the layers: it was folded meanwhile. Open a newer snapshot and ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outdated;

impl Overlay {
    /// An empty overlay behind `folded`.
    pub fn new(folded: Lsn) -> Self {
        Self { inner: RwLock::new(Inner { frozen: VecDeque::new(), newest: Layer::after(folded) }) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a committed batch: the next of the log.
    pub fn merge(&self, lsn: Lsn, partials: Partials) {
        self.unshare(&partials);
        let mut inner = self.write();
        inner.newest.merge(lsn, partials);
        if inner.newest.groups() >= LAYER_GROUPS_MAX {
            inner.freeze();
        }
    }

    /// Copies tables that readers hold, so that theirs never change. Without the lock: only the writer changes
    /// the newest layer, and nobody waits for the copying.
    fn unshare(&self, partials: &Partials) {
        for (view, _) in &partials.views {
            let held = self.read().newest.views.get(view).filter(|t| Arc::strong_count(t) > 1).cloned();
            let Some(held) = held else { continue };
            let copy = Arc::new(copied(&held));
            self.write().newest.views.insert(*view, copy);
        }
    }

    /// Passes a committed record without partials (an expiry).
    pub fn skip(&self, lsn: Lsn) {
        self.write().newest.merge(lsn, Partials::default());
    }

    /// The oldest layers, up to about `groups_max` groups and at least one, for a fold. Nothing in them
    /// changes any more.
    pub fn freeze(&self, groups_max: usize) -> Vec<Arc<Layer>> {
        let mut inner = self.write();
        inner.freeze();
        let mut groups = 0;
        let fits = |layer: &&Arc<Layer>| {
            let first = groups == 0;
            groups += layer.groups().max(1);
            first || groups <= groups_max
        };
        inner.frozen.iter().take_while(fits).cloned().collect()
    }

    /// Forgets layers that the base holds now.
    pub fn remove_folded(&self, folded: Lsn) {
        self.write().frozen.retain(|layer| layer.upto > folded);
    }

    /// Takes all layers of another overlay, after storage was opened again.
    pub fn replace(&self, other: Overlay) {
        *self.write() = other.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// One view's partials behind `folded`, in log order, as they are now. Nothing is copied.
    ///
    /// # Errors
    /// [`Outdated`] when layers behind `folded` are gone.
    pub fn since(&self, folded: Lsn, view: ViewId) -> Result<Vec<Arc<GroupTable>>, Outdated> {
        let inner = self.read();
        let first = inner.frozen.front().map_or(inner.newest.after, |l| l.after);
        if first > folded {
            return Err(Outdated);
        }
        let frozen = inner.frozen.iter().filter(|l| l.upto > folded).map(|l| &**l);
        Ok(frozen.chain([&inner.newest]).filter_map(|l| l.views.get(&view).cloned()).collect())
    }

    /// Groups and heap bytes of all layers.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.read();
        let layers = inner.frozen.iter().map(|l| &**l).chain([&inner.newest]);
        layers.fold((0, 0), |(groups, bytes), l| (groups + l.groups(), bytes + l.heap_bytes()))
    }

    /// Groups of all layers.
    pub fn groups(&self) -> usize {
        let inner = self.read();
        inner.frozen.iter().map(|l| l.groups()).sum::<usize>() + inner.newest.groups()
    }

    /// Forgets a dropped view's partials in the newest layer; frozen ones go with their fold.
    pub fn drop_view(&self, view: ViewId) {
        self.write().newest.views.remove(&view);
    }
}

impl Inner {
    fn freeze(&mut self) {
        if self.newest.upto > self.newest.after {
            let next = Layer::after(self.newest.upto);
            self.frozen.push_back(Arc::new(std::mem::replace(&mut self.newest, next)));
        }
    }
}

/// Group keys wanted: `min <= key < max`.
#[derive(Clone, Copy, Debug)]
pub struct KeyRange<'a> {
    /// Inclusive.
    pub min: &'a [u8],
    /// Exclusive; `None` = no end.
    pub max: Option<&'a [u8]>,
}

impl KeyRange<'_> {
    /// True for keys in the range.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.min && self.max.is_none_or(|max| key < max)
    }
}

fn copied(table: &GroupTable) -> GroupTable {
    let mut out = empty(table.specs());
    out.merge_table(table);
    out
}

/// An empty table for specs that a table of this build was already made for.
pub fn empty(specs: &[AggregateSpec]) -> GroupTable {
    GroupTable::new(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partials(view: u32, groups: &[&[u8]]) -> Partials {
        let mut table = GroupTable::new(&[]);
        for key in groups {
            table.group(key);
        }
        let mut ledger = Ledger::default();
        ledger.batches = 1;
        Partials { views: vec![(ViewId(view), table)], ledger, damaged: Vec::new() }
    }

    fn groups(overlay: &Overlay, folded: u64) -> Result<Vec<usize>, Outdated> {
        Ok(overlay.since(Lsn(folded), ViewId(1))?.iter().map(|t| t.len()).collect())
    }

    #[test]
    fn a_reader_sees_each_batch_once_while_a_fold_moves_it_to_the_base() {
        let overlay = Overlay::new(Lsn(10));
        overlay.merge(Lsn(11), partials(1, &[b"a"]));
        overlay.merge(Lsn(12), partials(1, &[b"b"]));
        let frozen = overlay.freeze(1_000);
        assert_eq!((frozen.len(), frozen[0].after, frozen[0].upto), (1, Lsn(10), Lsn(12)));
        assert_eq!(frozen[0].ledger.batches, 2);
        overlay.merge(Lsn(13), partials(1, &[b"a"]));
        // Before the fold's commit, after it, and after its layers are gone.
        assert_eq!(groups(&overlay, 10), Ok(vec![2, 1]));
        assert_eq!(groups(&overlay, 12), Ok(vec![1]));
        overlay.remove_folded(Lsn(12));
        assert_eq!(groups(&overlay, 12), Ok(vec![1]));
        assert_eq!(groups(&overlay, 10), Err(Outdated));
    }

    #[test]
    fn views_are_told_apart_and_what_a_reader_holds_never_changes() {
        let overlay = Overlay::new(Lsn(0));
        overlay.merge(Lsn(1), partials(1, &[b"a", b"b", b"c"]));
        overlay.merge(Lsn(2), partials(2, &[b"b"]));
        let held = overlay.since(Lsn(0), ViewId(1)).expect("layers");
        overlay.merge(Lsn(3), partials(1, &[b"a", b"d"]));
        assert_eq!(held.iter().map(|t| t.len()).sum::<usize>(), 3);
        assert_eq!(groups(&overlay, 0), Ok(vec![4]));
        overlay.drop_view(ViewId(1));
        assert_eq!(groups(&overlay, 0), Ok(vec![]));
        assert_eq!((overlay.size().0, held[0].len()), (1, 3));
    }

    #[test]
    fn large_layers_are_frozen_and_folded_a_few_at_a_time() {
        let overlay = Overlay::new(Lsn(0));
        for lsn in 1..=5 {
            let keys: Vec<[u8; 4]> = (0..LAYER_GROUPS_MAX as u32).map(u32::to_be_bytes).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|k| k.as_slice()).collect();
            overlay.merge(Lsn(lsn), partials(1, &keys));
        }
        let some = overlay.freeze(2 * LAYER_GROUPS_MAX);
        assert_eq!(some.iter().map(|l| l.upto).collect::<Vec<_>>(), [Lsn(1), Lsn(2)]);
        assert_eq!(overlay.freeze(1).len(), 1);
    }
}
