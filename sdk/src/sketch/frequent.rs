//! Heavy hitters of weighted keys, by Misra-Gries with mergeable summaries.
//!
//! State: counters by key, how much has been taken from every counter (`error`), and how much weight was
//! taken in all (`lost`). A weight of more than 2^64 - 1 in all is full, which absorbs. With more than `2 * keep` keys a purge takes the weight of the (keep + 1)-th
//! largest from all and drops what is not positive. Identity: empty. Merge: add, then purge if too many.
//! Law: exact, commutative and associative until the first purge. After it, under any grouping: the true
//! weight of a key is in `count..=count + error` (0 for a missing key's count), and
//! `error <= total weight / (keep + 1)`, because each unit of error took at least keep + 1 of weight.
//! After Agarwal et al., "Mergeable summaries", 2012; the purge of a whole half follows Anderson et al.,
//! IMC 2017 (as in Apache DataSketches). Bytes: `FORMAT.md`, "States".

use super::key::Key;
use alloc::vec;
use alloc::vec::Vec;

/// What all states of a column share.
#[derive(Debug)]
pub struct Shape {
    /// How many counters a purge keeps at most; twice as many fit.
    pub keep: usize,
    #[cfg(feature = "std")]
    hasher: foldhash::fast::RandomState,
}

impl Shape {
    /// Hashes with a seed of its own where `std` exists, so that nobody can prepare colliding keys.
    pub fn new(keep: usize) -> Self {
        Self {
            keep,
            #[cfg(feature = "std")]
            hasher: Default::default(),
        }
    }

    /// The hash of a key. Only states of one shape agree on it; it never leaves them.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u32 {
        #[cfg(feature = "std")]
        let hash = {
            use core::hash::{BuildHasher, Hasher};
            let mut hasher = self.hasher.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        #[cfg(not(feature = "std"))]
        let hash = crate::hash::hash64(key);
        (hash >> 32) as u32
    }
}

/// Counters by key. A table of its own, because a rollup has one per group and nearly every row finds it in far
/// memory: the hash is made before (once per row), and [`Frequent::touch`] reads the one line that decides.
#[derive(Clone, Debug, Default)]
pub struct Frequent {
    /// In order of arrival, so that new ones share cache lines.
    counters: Vec<Counter>,
    /// (hash, position in `counters` + 1), probed linearly; a power of two, at most 3/4 full.
    slots: Vec<u64>,
    error: u64,
    lost: u64,
    /// All weight, lost or not: no sum of some of it overflows.
    total: u64,
    /// More weight than `total` holds. Then all else is empty.
    full: bool,
}

#[derive(Clone, Debug)]
struct Counter {
    key: Key,
    count: u64,
}

/// Slots of the smallest table; one cache line of them.
const SLOTS_MIN: usize = 8;

impl Frequent {
    /// Adds `weight` to `key`, whose hash this is.
    #[inline]
    pub fn add(&mut self, shape: &Shape, hash: u32, key: &[u8], weight: u64) {
        if weight > 0 && self.count_more(weight) {
            self.raise(hash, key, weight);
            self.purge(shape);
        }
    }

    /// Reads what [`Frequent::add`] will look at first.
    #[inline]
    pub fn touch(&self, hash: u32) -> u64 {
        let slot = self.slots.get(hash as usize & self.slots.len().wrapping_sub(1)).copied().unwrap_or(0);
        slot ^ self.counters.last().map_or(0, |last| last.count)
    }

    /// Counts weight that is about to be added, if there is room for it.
    #[inline]
    fn count_more(&mut self, weight: u64) -> bool {
        match self.total.checked_add(weight) {
            Some(total) => self.total = total,
            None => *self = Self::full(),
        }
        !self.full
    }

    /// More weight than can be counted: nothing else is known.
    pub fn full() -> Self {
        Self { full: true, ..Self::default() }
    }

    #[inline]
    fn raise(&mut self, hash: u32, key: &[u8], weight: u64) {
        if self.slots.is_empty() {
            self.slots = vec![0; SLOTS_MIN];
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            if (self.slots[at] >> 32) as u32 == hash {
                let counter = &mut self.counters[self.slots[at] as u32 as usize - 1];
                if counter.key.as_bytes() == key {
                    counter.count += weight;
                    return;
                }
            }
            at = (at + 1) & mask;
        }
        self.counters.push(Counter { key: key.into(), count: weight });
        self.slots[at] = slot(hash, self.counters.len());
        if self.counters.len() * 4 > self.slots.len() * 3 {
            self.widen();
        }
    }

    fn widen(&mut self) {
        let slots = vec![0; 2 * self.slots.len()];
        let old = core::mem::replace(&mut self.slots, slots);
        old.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.place(slot));
    }

    /// Puts a slot where it is found. There is room for it.
    fn place(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Merges another state.
    pub fn merge(&mut self, shape: &Shape, other: &Self) {
        if other.full {
            *self = Self::full();
        }
        if self.full || !self.count_more(other.total) {
            return;
        }
        for Counter { key, count } in &other.counters {
            self.raise(shape.hash(key.as_bytes()), key.as_bytes(), *count);
        }
        self.error += other.error;
        self.lost += other.lost;
        self.purge(shape);
    }

    #[inline]
    fn purge(&mut self, shape: &Shape) {
        if self.counters.len() > 2 * shape.keep {
            self.purge_now(shape);
        }
    }

    #[inline(never)]
    fn purge_now(&mut self, shape: &Shape) {
        let mut weights: Vec<u64> = self.counters.iter().map(|c| c.count).collect();
        let (_, &mut cut, _) = weights.select_nth_unstable_by(shape.keep, |a, b| b.cmp(a));
        let mut lost = self.lost;
        self.counters.retain_mut(|counter| {
            lost += cut.min(counter.count);
            counter.count = counter.count.saturating_sub(cut);
            counter.count > 0
        });
        self.lost = lost;
        self.error += cut;
        self.slots.fill(0);
        for at in 0..self.counters.len() {
            self.place(slot(shape.hash(self.counters[at].key.as_bytes()), at + 1));
        }
    }

    /// A state from its parts (the keys all different), or `None` when no history of adds and merges gives
    /// them: each unit of error takes more than `keep` of weight.
    pub fn from_parts<'a>(
        shape: &Shape,
        counts: impl Iterator<Item = (&'a [u8], u64)>,
        error: u64,
        lost: u64,
    ) -> Option<Self> {
        let mut state = Self { error, lost, total: lost, ..Self::default() };
        for (key, count) in counts {
            state.total = state.total.checked_add(count).filter(|_| count > 0)?;
            state.raise(shape.hash(key), key, count);
        }
        let least = u128::from(error) * (shape.keep as u128 + 1);
        let possible = u128::from(lost) >= least
            && (lost == 0) == (error == 0)
            && state.counters.len() <= 2 * shape.keep;
        possible.then_some(state)
    }

    /// All weight that was added, lost or not; `None` when a u64 does not hold it.
    pub fn total(&self) -> Option<u64> {
        if self.full { None } else { Some(self.total) }
    }

    /// How much less than the truth a counter may show.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// The weight that is in no counter any more.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The keys that have counters, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.counters.iter().map(|counter| counter.key.as_bytes())
    }

    /// Counters, ascending by key.
    pub fn by_key(&self) -> Vec<(&[u8], u64)> {
        let mut all: Vec<_> = self.counters.iter().map(|c| (c.key.as_bytes(), c.count)).collect();
        all.sort_unstable();
        all
    }

    /// The `k` heaviest, heaviest first; ties ascending by key.
    pub fn top(&self, k: usize) -> Vec<(&[u8], u64)> {
        let mut all = self.by_key();
        all.sort_by_key(|&(_, count)| core::cmp::Reverse(count));
        all.truncate(k);
        all
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self.counters.iter().map(|c| c.key.heap_bytes()).sum();
        keys + self.counters.capacity() * size_of::<Counter>() + self.slots.capacity() * size_of::<u64>()
    }
}

fn slot(hash: u32, counters: usize) -> u64 {
    u64::from(hash) << 32 | counters as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(shape: &Shape, frequent: &mut Frequent, key: &[u8], weight: u64) {
        frequent.add(shape, shape.hash(key), key, weight);
    }

    #[test]
    fn exact_until_full_then_within_the_bound() {
        let keep = 16;
        let shape = Shape::new(keep);
        let mut frequent = Frequent::default();
        let mut total = 0;
        for i in 0..20_000u32 {
            let key = if i % 4 == 0 { 7 } else { i };
            add(&shape, &mut frequent, &key.to_be_bytes(), 1);
            total += 1;
            assert!(frequent.counters.len() <= 2 * keep);
        }
        assert!(frequent.error() > 0 && frequent.error() <= total / (keep as u64 + 1));
        let (key, count) = frequent.top(1)[0];
        assert_eq!(key, 7u32.to_be_bytes());
        assert!(count <= 5001 && count + frequent.error() >= 5000);
        let kept: u64 = frequent.by_key().iter().map(|(_, c)| c).sum();
        assert_eq!(kept + frequent.lost(), total);
    }

    /// Fewer than k answers are no error: what is missing is light.
    #[test]
    fn evenly_spread_values_may_be_missing_within_the_bound() {
        let keep = 64;
        let shape = Shape::new(keep);
        let mut frequent = Frequent::default();
        (0..2 * keep as u32).for_each(|i| add(&shape, &mut frequent, &i.to_be_bytes(), 1));
        assert_eq!((frequent.top(8).len(), frequent.error()), (8, 0), "exact so far");
        add(&shape, &mut frequent, b"one more", 1);
        assert_eq!((frequent.top(8).len(), frequent.error()), (0, 1), "each weighs at most the error");
    }

    #[test]
    fn more_weight_than_a_u64_absorbs() {
        let shape = Shape::new(16);
        let mut frequent = Frequent::default();
        add(&shape, &mut frequent, b"a", u64::MAX - 1);
        add(&shape, &mut frequent, b"b", 1);
        assert_eq!((frequent.total(), frequent.top(1)[0].1), (Some(u64::MAX), u64::MAX - 1));
        let mut other = Frequent::default();
        add(&shape, &mut other, b"c", 1);
        other.merge(&shape, &frequent);
        add(&shape, &mut frequent, b"c", 1);
        for full in [&mut frequent, &mut other] {
            add(&shape, full, b"a", 1);
            assert!(full.total().is_none() && full.by_key().is_empty());
        }
    }

    #[test]
    fn impossible_errors_are_refused() {
        let shape = Shape::new(16);
        let possible = |error, lost| Frequent::from_parts(&shape, core::iter::empty(), error, lost).is_some();
        assert!(possible(0, 0) && possible(1, 17));
        assert!(!possible(1, 16) && !possible(0, 1));
    }
}
