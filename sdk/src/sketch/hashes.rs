//! A set of 64-bit hashes that grows in order of arrival: what the sketches over hashes hold while they are small.
//!
//! Invariant: `all[..sorted]` is ascending and distinct; the tail behind it waits to be merged in. Whoever needs the
//! set itself settles it first, so no answer depends on the order of arrival.

use super::hll::union;
use crate::sort::sort_by;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Unsorted hashes kept at the end before they are merged in; grows with the set.
const TAIL_MIN: usize = 16;

/// Distinct hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes {
    all: Vec<u64>,
    sorted: usize,
}

impl Hashes {
    /// From ascending, distinct hashes.
    pub fn from_sorted(all: Vec<u64>) -> Self {
        Self { sorted: all.len(), all }
    }

    /// Adds a hash. True when the tail is long enough to be settled.
    #[inline]
    pub fn push(&mut self, hash: u64) -> bool {
        self.all.push(hash);
        self.all.len() - self.sorted >= TAIL_MIN.max(self.sorted / 2)
    }

    /// Merges the tail in, and gives all hashes, ascending.
    pub fn settle(&mut self) -> &[u64] {
        if self.sorted < self.all.len() {
            sort_by(&mut self.all[self.sorted..], u64::cmp);
            let (left, right) = self.all.split_at(self.sorted);
            self.all = union(left, right);
            self.sorted = self.all.len();
        }
        &self.all
    }

    /// All hashes, ascending, without keeping the work.
    pub fn settled(&self) -> Cow<'_, [u64]> {
        if self.is_settled() {
            return Cow::Borrowed(&self.all);
        }
        let mut own = self.clone();
        own.settle();
        Cow::Owned(own.all)
    }

    /// Adds ascending, distinct hashes.
    pub fn extend_sorted(&mut self, other: &[u64]) {
        self.settle();
        self.all = union(&self.all, other);
        self.sorted = self.all.len();
    }

    /// How many are held, those twice that wait in the tail.
    pub fn held(&self) -> usize {
        self.all.len()
    }

    /// True when no tail waits.
    pub fn is_settled(&self) -> bool {
        self.sorted == self.all.len()
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.all.capacity() * size_of::<u64>()
    }
}
