//! A table of partials: group keys, and for each group one state per aggregate. The same table is a
//! producer's rollup, a hub's overlay and a read's merge.

use crate::aggregate::{AggregateSpec, States};
use crate::codec::{DecodeError, Reader};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The key of the group that holds what did not fit the group cap: one byte that no key starts with.
pub const OTHER_KEY: &[u8] = &[0xfe];

/// Group keys and their states.
pub struct GroupTable {
    specs: Vec<AggregateSpec>,
    states: Vec<Box<dyn States>>,
}

#[expect(unused_variables, clippy::unimplemented, reason = "interface first; the body follows")]
impl GroupTable {
    /// An empty table for groups with these states. Specs must be valid and supported by this build.
    pub fn new(specs: &[AggregateSpec]) -> Self {
        unimplemented!()
    }
    /// The number of groups.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// True without groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Finds or makes the group of `key`.
    pub fn group(&mut self, key: &[u8]) -> u32 {
        unimplemented!()
    }
    /// Finds the group of `key`.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        unimplemented!()
    }
    /// The key of a group.
    pub fn key(&self, group: u32) -> &[u8] {
        unimplemented!()
    }
    /// What the states are.
    pub fn specs(&self) -> &[AggregateSpec] {
        &self.specs
    }
    /// The states, one column per spec.
    pub fn states(&self) -> &[Box<dyn States>] {
        &self.states
    }
    /// The states, to update.
    pub fn states_mut(&mut self) -> &mut [Box<dyn States>] {
        &mut self.states
    }
    /// Validates one partial's states at `bytes` and merges them into the group of `key`. On error the
    /// table may hold some of them: decode foreign partials into a table of their own first.
    pub fn merge_encoded(&mut self, key: &[u8], bytes: &mut Reader<'_>) -> Result<u32, DecodeError> {
        unimplemented!()
    }
    /// Merges all groups of a table with equal specs.
    pub fn merge_table(&mut self, other: &GroupTable) {
        unimplemented!()
    }
    /// Merges one group of a table with equal specs.
    pub fn merge_group(&mut self, key: &[u8], other: &GroupTable, from: u32) -> u32 {
        unimplemented!()
    }
    /// Appends the states of a group, in spec order.
    pub fn encode_states(&self, group: u32, out: &mut Vec<u8>) {
        unimplemented!()
    }
    /// All groups in the order of their keys.
    pub fn sorted(&self) -> Vec<u32> {
        unimplemented!()
    }
    /// Removes all groups, keeps the memory.
    pub fn clear(&mut self) {
        unimplemented!()
    }
    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        unimplemented!()
    }
}
