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
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Counters by key.
#[derive(Clone, Debug, Default)]
pub struct Frequent {
    counts: HashMap<Key, u64>,
    error: u64,
    lost: u64,
    /// All weight, lost or not: no sum of some of it overflows. `FULL` when there is more; then all else is empty.
    total: u128,
}

const FULL: u128 = 1 << 64;

impl Frequent {
    /// Adds `weight` to `key`, keeping at least `keep` counters.
    pub fn add(&mut self, key: &[u8], weight: u64, keep: usize) {
        if weight > 0 && self.count_more(u128::from(weight)) {
            self.raise(key, weight);
            self.purge(keep);
        }
    }

    /// Counts weight that is about to be added, if there is room for it.
    #[inline]
    fn count_more(&mut self, weight: u128) -> bool {
        self.total += weight;
        if self.total >= FULL {
            *self = Self::full();
        }
        self.total < FULL
    }

    /// More weight than can be counted: nothing else is known.
    pub fn full() -> Self {
        Self { total: FULL, ..Self::default() }
    }

    fn raise(&mut self, key: &[u8], weight: u64) {
        match self.counts.get_mut(key) {
            Some(count) => *count += weight,
            None => {
                self.counts.insert(key.into(), weight);
            }
        }
    }

    /// Merges another state.
    pub fn merge(&mut self, other: &Self, keep: usize) {
        if !self.count_more(other.total) {
            return;
        }
        other.counts.iter().for_each(|(key, &weight)| self.raise(key.as_bytes(), weight));
        self.error += other.error;
        self.lost += other.lost;
        self.purge(keep);
    }

    fn purge(&mut self, keep: usize) {
        if self.counts.len() <= 2 * keep {
            return;
        }
        let mut weights: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut cut, _) = weights.select_nth_unstable_by(keep, |a, b| b.cmp(a));
        let mut lost = self.lost;
        self.counts.retain(|_, count| {
            lost += cut.min(*count);
            *count = count.saturating_sub(cut);
            *count > 0
        });
        self.lost = lost;
        self.error += cut;
    }

    /// A state from its parts, or `None` when no history of adds and merges gives them: each unit of error
    /// takes more than `keep` of weight.
    pub fn from_parts(counts: HashMap<Key, u64>, error: u64, lost: u64, keep: usize) -> Option<Self> {
        let least = u128::from(error) * (keep as u128 + 1);
        let total = counts.values().fold(u128::from(lost), |sum, &c| sum + u128::from(c));
        let possible = u128::from(lost) >= least
            && total < FULL
            && (lost == 0) == (error == 0)
            && counts.len() <= 2 * keep
            && counts.values().all(|&c| c > 0);
        possible.then_some(Self { counts, error, lost, total })
    }

    /// All weight that was added, lost or not; `None` when a u64 does not hold it.
    pub fn total(&self) -> Option<u64> {
        u64::try_from(self.total).ok()
    }

    /// How much less than the truth a counter may show.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// The weight that is in no counter any more.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Counters, ascending by key.
    pub fn by_key(&self) -> Vec<(&[u8], u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(key, &count)| (key.as_bytes(), count)).collect();
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

    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * 33 + self.counts.keys().map(Key::heap_bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_until_full_then_within_the_bound() {
        let keep = 16;
        let mut frequent = Frequent::default();
        let mut total = 0;
        for i in 0..20_000u32 {
            let key = if i % 4 == 0 { 7 } else { i };
            frequent.add(&key.to_be_bytes(), 1, keep);
            total += 1;
            assert!(frequent.counts.len() <= 2 * keep);
        }
        assert!(frequent.error() > 0 && frequent.error() <= total / (keep as u64 + 1));
        let (key, count) = frequent.top(1)[0];
        assert_eq!(key, 7u32.to_be_bytes());
        assert!(count <= 5001 && count + frequent.error() >= 5000);
        let kept: u64 = frequent.by_key().iter().map(|(_, c)| c).sum();
        assert_eq!(kept + frequent.lost(), total);
    }

    #[test]
    fn more_weight_than_a_u64_absorbs() {
        let mut frequent = Frequent::default();
        frequent.add(b"a", u64::MAX - 1, 16);
        frequent.add(b"b", 1, 16);
        assert_eq!((frequent.total(), frequent.top(1)[0].1), (Some(u64::MAX), u64::MAX - 1));
        let mut other = Frequent::default();
        other.add(b"c", 1, 16);
        other.merge(&frequent, 16);
        frequent.add(b"c", 1, 16);
        for full in [&mut frequent, &mut other] {
            full.add(b"a", 1, 16);
            assert!(full.total().is_none() && full.by_key().is_empty());
        }
    }

    #[test]
    fn impossible_errors_are_refused() {
        let none = HashMap::new;
        assert!(Frequent::from_parts(none(), 0, 0, 16).is_some());
        assert!(Frequent::from_parts(none(), 1, 16, 16).is_none());
        assert!(Frequent::from_parts(none(), 1, 17, 16).is_some());
        assert!(Frequent::from_parts(none(), 0, 1, 16).is_none());
    }
}
