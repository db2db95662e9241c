//! A table of partials: group keys, and for each group one state per aggregate. The same table is a
//! producer's rollup, a hub's overlay and a read's merge.
//!
//! Owns: finding groups by key bytes, the keys' memory. Must not know: what keys mean, plans, batches.
//! Invariants: groups are numbered from 0 in the order they were made; every column of states has one
//! state per group after each call; keys are all different.

mod index;
#[cfg(test)]
mod tests;

use crate::aggregate::{self, AggregateSpec, StatesOf};
use crate::codec::{DecodeError, Reader};
use crate::limits::BATCH_EVENTS_MAX;
use crate::sort::sort_by;
use alloc::vec::Vec;
use index::Index;

/// The key of the group that holds what did not fit the group cap: one byte that no key starts with.
pub const OTHER_KEY: &[u8] = &[0xfe];

/// Many keys end to end: what one batch of rows looks up. Reused between batches.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The bytes of all keys.
    pub data: Vec<u8>,
    /// Where each key ends.
    pub ends: Vec<usize>,
}

impl Keys {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key `at`.
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        let (start, end) = self.range(at);
        &self.data[start..end]
    }

    #[inline]
    fn range(&self, at: usize) -> (usize, usize) {
        (if at == 0 { 0 } else { self.ends[at - 1] }, self.ends[at])
    }

    /// The length of the longest key.
    pub fn longest(&self) -> usize {
        let mut start = 0;
        self.ends.iter().fold(0, |longest, end| {
            let len = end - start;
            start = *end;
            longest.max(len)
        })
    }

    /// Appends a key.
    pub fn push(&mut self, key: &[u8]) {
        self.data.extend_from_slice(key);
        self.ends.push(self.data.len());
    }

    /// Removes all keys, keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

/// Group keys and their states.
pub struct GroupTable {
    specs: Vec<AggregateSpec>,
    states: Vec<StatesOf>,
    keys: Keys,
    index: Index,
    /// Events that the admitted states of each column stand for.
    admitted: Vec<u64>,
}

impl core::fmt::Debug for GroupTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GroupTable")
            .field("specs", &self.specs)
            .field("groups", &self.len())
            .finish_non_exhaustive()
    }
}

impl GroupTable {
    /// An empty table for groups with these states.
    ///
    /// # Panics
    /// When a spec is invalid or not supported by this build: plans are validated before.
    #[expect(clippy::expect_used, reason = "documented: the caller has validated the specs")]
    pub fn new(specs: &[AggregateSpec]) -> Self {
        Self::try_new(specs).expect("a valid spec that this build supports")
    }

    /// An empty table, or `None` when a spec is invalid or not supported by this build.
    pub fn try_new(specs: &[AggregateSpec]) -> Option<Self> {
        Self::of(specs.to_vec())
    }

    /// As [`GroupTable::try_new`].
    pub fn of(specs: Vec<AggregateSpec>) -> Option<Self> {
        let mut states = Vec::with_capacity(specs.len());
        for spec in &specs {
            states.push(aggregate::create(spec)?);
        }
        let (keys, index) = (Keys::default(), Index::default());
        Some(Self { specs, states, keys, index, admitted: Vec::new() })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True without groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds or makes the group of `key`.
    pub fn group(&mut self, key: &[u8]) -> u32 {
        let group = self.index.find_or_insert(key, &mut self.keys);
        self.grow();
        group
    }

    /// Finds or makes the group of every key; `groups` is replaced. Faster than one at a time: the memory
    /// of many keys is waited for together.
    pub fn group_all(&mut self, keys: &Keys, groups: &mut Vec<u32>) {
        self.index.find_or_insert_all(keys, &mut self.keys, groups);
        self.grow();
    }

    /// Gives new groups their empty states.
    fn grow(&mut self) {
        let len = self.keys.len();
        if self.index.take_grown() {
            self.states.iter_mut().for_each(|s| s.resize(len));
        }
    }

    /// Finds the group of `key`.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.index.find(key, &self.keys)
    }

    /// The key of a group.
    pub fn key(&self, group: u32) -> &[u8] {
        self.keys.get(group as usize)
    }

    /// What the states are.
    pub fn specs(&self) -> &[AggregateSpec] {
        &self.specs
    }

    /// The states, one column per spec.
    pub fn states(&self) -> &[StatesOf] {
        &self.states
    }

    /// The states, to update.
    pub fn states_mut(&mut self) -> &mut [StatesOf] {
        &mut self.states
    }

    /// Reads one stored partial's states at `bytes` and merges them into the group of `key`. On error the
    /// table may hold some of them.
    ///
    /// # Errors
    /// Those of [`States::merge`](crate::aggregate::States::merge).
    pub fn merge_encoded(&mut self, key: &[u8], bytes: &mut Reader<'_>) -> Result<u32, DecodeError> {
        self.merge_first(key, bytes, self.specs.len())
    }

    /// As [`GroupTable::merge_encoded`], for a partial that a producer claims to have made: stricter, and all
    /// that this table admits since it was made or cleared counts against
    /// [`BATCH_EVENTS_MAX`]. On error the table may hold some of the states:
    /// admit a batch into a table of its own.
    ///
    /// # Errors
    /// Those of [`States::admit`](crate::aggregate::States::admit); [`DecodeError::TooLarge`] above
    /// [`BATCH_EVENTS_MAX`].
    pub fn admit_encoded(&mut self, key: &[u8], bytes: &mut Reader<'_>) -> Result<u32, DecodeError> {
        self.admit_first(key, bytes, self.specs.len())
    }

    /// As [`GroupTable::admit_encoded`], for the first `states` of the states.
    ///
    /// # Errors
    /// As [`GroupTable::admit_encoded`].
    pub fn admit_first(
        &mut self,
        key: &[u8],
        bytes: &mut Reader<'_>,
        states: usize,
    ) -> Result<u32, DecodeError> {
        let group = self.group(key);
        self.admitted.resize(self.specs.len(), 0);
        for (states, admitted) in self.states.iter_mut().zip(&mut self.admitted).take(states) {
            *admitted = admitted.saturating_add(states.admit(group, bytes)?);
            if *admitted > BATCH_EVENTS_MAX {
                return Err(DecodeError::TooLarge("count of events"));
            }
        }
        Ok(group)
    }

    /// As [`GroupTable::merge_encoded`], for the first `states` of the states: what was made before the others were.
    ///
    /// # Errors
    /// As [`GroupTable::merge_encoded`].
    pub fn merge_first(
        &mut self,
        key: &[u8],
        bytes: &mut Reader<'_>,
        states: usize,
    ) -> Result<u32, DecodeError> {
        let group = self.group(key);
        self.states.iter_mut().take(states).try_for_each(|s| s.merge(group, bytes))?;
        Ok(group)
    }

    /// As [`GroupTable::merge_encoded`], for bytes that hold one group and may end before the last state: the group had
    /// fewer when they were written. A state has at least one byte.
    ///
    /// # Errors
    /// As [`GroupTable::merge_encoded`].
    pub fn merge_stored(&mut self, key: &[u8], bytes: &mut Reader<'_>) -> Result<u32, DecodeError> {
        let group = self.group(key);
        for states in &mut self.states {
            if bytes.is_empty() {
                break;
            }
            states.merge(group, bytes)?;
        }
        Ok(group)
    }

    /// Merges all groups of a table with equal specs, or with the first of them; for each of its groups, the group here.
    pub fn merge_table(&mut self, other: &GroupTable) -> Vec<u32> {
        let mut groups = Vec::new();
        self.group_all(&other.keys, &mut groups);
        for (mine, theirs) in self.states.iter_mut().zip(&other.states) {
            for (from, into) in groups.iter().enumerate() {
                mine.merge_group(*into, theirs.as_ref(), from as u32);
            }
        }
        groups
    }

    /// Merges one group of a table with equal specs, or with the first of them.
    pub fn merge_group(&mut self, key: &[u8], other: &GroupTable, from: u32) -> u32 {
        let group = self.group(key);
        for (mine, theirs) in self.states.iter_mut().zip(&other.states) {
            mine.merge_group(group, theirs.as_ref(), from);
        }
        group
    }

    /// Appends the states of a group, in spec order.
    pub fn encode_states(&self, group: u32, out: &mut Vec<u8>) {
        self.states.iter().for_each(|s| s.encode(group, out));
    }

    /// All groups in the order of their keys.
    pub fn sorted(&self) -> Vec<u32> {
        let mut groups: Vec<u32> = (0..self.len() as u32).collect();
        sort_by(&mut groups, |a, b| self.key(*a).cmp(self.key(*b)));
        groups
    }

    /// Removes all groups, keeps the memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.index.clear();
        self.admitted.fill(0);
        self.states.iter_mut().for_each(|s| s.resize(0));
    }

    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let states: usize = self.states.iter().map(|s| s.heap_bytes()).sum();
        states
            + self.keys.data.capacity()
            + self.keys.ends.capacity() * size_of::<usize>()
            + self.index.heap_bytes()
    }
}
