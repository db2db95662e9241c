//! The hash index behind a group table: linear probing over 8-byte slots.
//!
//! Owns: slots of (32 hash bits, group + 1); the keys themselves belong to the table.
//! Why not a general hash map: a slot decides with one cache line and without touching the key, growing
//! needs no rehashing of keys (the hash bits are in the slot), and looking many keys up in two passes
//! lets the processor wait for all their cache misses at once.
//! Invariants: slots are a power of two and at most 5/8 full; hash seeds are random per table where `std`
//! exists, so that nobody can prepare colliding keys.

use super::Keys;
use crate::flavor::{FETCH_TOGETHER, SMALL};
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

#[cfg(feature = "std")]
type Build = foldhash::fast::RandomState;
/// Pages hash only their own keys.
#[cfg(not(feature = "std"))]
type Build = ();

const EMPTY: u64 = 0;
/// Slots of the smallest index; one cache line of them.
const SLOTS_MIN: usize = 8;
/// Slots of an index that the near caches do not hold.
const SLOTS_FAR: usize = 1 << 14;

#[derive(Default)]
pub(super) struct Index {
    slots: Vec<u64>,
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "no seed"))]
    hasher: Build,
    grown: bool,
    passes: Passes,
}

/// No group.
const NONE: u32 = u32::MAX;

/// What [`Index::find_or_insert_all`] knows of one key before comparing bytes.
#[derive(Clone, Copy)]
struct Candidate {
    hash: u32,
    /// The first group with this hash, or [`NONE`].
    group: u32,
    /// Without a group: the free slot where one belongs. Else where its key starts.
    at: usize,
    end: usize,
}

#[derive(Default)]
struct Passes {
    candidates: Vec<Candidate>,
}

impl Passes {
    fn run(&mut self, index: &Index, lookup: &Keys, keys: &Keys) {
        let mask = index.slots.len() - 1;
        let mut start = 0;
        self.candidates.clear();
        self.candidates.extend(lookup.ends.iter().map(|&end| {
            let hash = index.hash(&lookup.data[start..end]);
            start = end;
            Candidate { hash, group: NONE, at: hash as usize & mask, end: 0 }
        }));
        // Reads that depend on nothing and decide nothing: all of them are under way before one is needed.
        let far = FETCH_TOGETHER && index.slots.len() >= SLOTS_FAR;
        if far {
            black_box(self.candidates.iter().fold(0, |touched, c| touched ^ index.slots[c.at]));
        }
        for candidate in &mut self.candidates {
            let mut slot = index.slots[candidate.at];
            while slot != EMPTY && (slot >> 32) as u32 != candidate.hash {
                candidate.at = (candidate.at + 1) & mask;
                slot = index.slots[candidate.at];
            }
            candidate.group = (slot as u32).wrapping_sub(1);
        }
        for candidate in self.candidates.iter_mut().filter(|c| c.group != NONE) {
            (candidate.at, candidate.end) = keys.range(candidate.group as usize);
        }
        if far {
            let ends = |c: &Candidate| keys.data.get(c.at).zip(keys.data.get(c.end.wrapping_sub(1)));
            let found = self.candidates.iter().filter(|c| c.group != NONE);
            black_box(found.filter_map(ends).fold(0, |touched, (first, last)| touched ^ first ^ last));
        }
    }
}

/// A hash for keys that nobody chose to collide, in a few instructions per eight bytes.
#[cfg(any(test, not(feature = "std")))]
#[inline]
fn plain_hash(key: &[u8]) -> u32 {
    // The golden ratio, as in Knuth's multiplicative hashing; the high half of a product depends on all bits.
    const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(RATIO);
        product ^ product >> 32
    };
    let mut hash = key.len() as u64;
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    (mix(mix(hash, last), RATIO) >> 16) as u32
}

/// Equality without a call for short keys: eight bytes at a time, the last eight overlapping.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    if SMALL || a.len() != b.len() {
        return a == b;
    }
    let (Some(a_last), Some(b_last)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) else { return a == b };
    a_last == b_last && a.chunks_exact(8).zip(b.chunks_exact(8)).all(|(x, y)| x == y)
}

impl Index {
    #[cfg(feature = "std")]
    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        use core::hash::{BuildHasher, Hasher};
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        // The upper half: foldhash's last step is a multiplication.
        (hasher.finish() >> 32) as u32
    }

    #[cfg(not(feature = "std"))]
    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        plain_hash(key)
    }

    /// Walks the slots of `hash`: the group of the key, or the slot to put it in. Needs a free slot.
    #[inline]
    fn probe(&self, hash: u32, key: &[u8], keys: &Keys) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at & mask];
            if slot == EMPTY {
                return Err(at & mask);
            }
            let group = (slot as u32).wrapping_sub(1);
            if (slot >> 32) as u32 == hash && equal(keys.get(group as usize), key) {
                return Ok(group);
            }
            at += 1;
        }
    }

    pub(super) fn find(&self, key: &[u8], keys: &Keys) -> Option<u32> {
        if self.slots.is_empty() { None } else { self.probe(self.hash(key), key, keys).ok() }
    }

    pub(super) fn find_or_insert(&mut self, key: &[u8], keys: &mut Keys) -> u32 {
        self.reserve(keys.len() + 1);
        self.find_or_insert_hashed(self.hash(key), key, keys)
    }

    /// In passes, so that the memory behind many keys is fetched at once: hashes, then the slots of each
    /// hash, then where the key of the slot's group is, then the comparison. What that does not decide
    /// (two keys of one hash, a key twice among the new ones) is probed one by one.
    pub(super) fn find_or_insert_all(&mut self, lookup: &Keys, keys: &mut Keys, groups: &mut Vec<u32>) {
        groups.clear();
        if SMALL {
            return (0..lookup.len()).for_each(|at| groups.push(self.find_or_insert(lookup.get(at), keys)));
        }
        self.reserve(keys.len() + 1);
        let mut passes = core::mem::take(&mut self.passes);
        passes.run(self, lookup, keys);
        let slots = self.slots.len();
        let mut start = 0;
        groups.extend(lookup.ends.iter().zip(&passes.candidates).map(|(&end, candidate)| {
            let key = &lookup.data[start..end];
            start = end;
            let Candidate { hash, group, at, end } = *candidate;
            if group != NONE && equal(&keys.data[at..end], key) {
                return group;
            }
            if group == NONE && self.slots.len() == slots && self.slots[at] == EMPTY {
                return self.insert(at, hash, key, keys);
            }
            self.find_or_insert_hashed(hash, key, keys)
        }));
        self.passes = passes;
    }

    #[inline]
    fn find_or_insert_hashed(&mut self, hash: u32, key: &[u8], keys: &mut Keys) -> u32 {
        match self.probe(hash, key, keys) {
            Ok(group) => group,
            Err(at) => self.insert(at, hash, key, keys),
        }
    }

    #[inline(never)]
    fn insert(&mut self, at: usize, hash: u32, key: &[u8], keys: &mut Keys) -> u32 {
        let group = keys.len() as u32;
        assert!(group < u32::MAX - 1, "a table holds at most 2^32 - 2 groups");
        keys.push(key);
        self.slots[at] = u64::from(hash) << 32 | u64::from(group + 1);
        self.grown = true;
        self.reserve(keys.len() + 1);
        group
    }

    /// Makes room for `groups` groups and at least one free slot.
    fn reserve(&mut self, groups: usize) {
        if groups * 8 > self.slots.len() * 5 {
            self.rehash((groups * 2).next_power_of_two().max(SLOTS_MIN));
        }
    }

    fn rehash(&mut self, slots: usize) {
        let old = core::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        let mask = slots - 1;
        for slot in old.iter().copied().filter(|s| *s != EMPTY) {
            let mut at = (slot >> 32) as usize & mask;
            while self.slots[at] != EMPTY {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// True once after groups were added.
    pub(super) fn take_grown(&mut self) -> bool {
        core::mem::take(&mut self.grown)
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(EMPTY);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>() + self.passes.candidates.capacity() * size_of::<Candidate>()
    }
}

#[cfg(test)]
mod tests {
    use super::plain_hash;
    use alloc::format;
    use alloc::vec;

    /// Numbered names, the most common keys, spread over slots about as chance would have it.
    #[test]
    fn the_plain_hash_spreads_numbered_names() {
        const SLOTS: usize = 1 << 14;
        for name in ["", "/", "/page/", "https://example.com/a/rather/long/path/"] {
            let mut used = vec![false; SLOTS];
            for i in 0..SLOTS {
                used[plain_hash(format!("{name}{i}\0").as_bytes()) as usize % SLOTS] = true;
            }
            let share = used.iter().filter(|used| **used).count() as f64 / SLOTS as f64;
            // 1 - 1/e of all slots.
            assert!((0.60..0.70).contains(&share), "{name}: {share}");
        }
    }
}
