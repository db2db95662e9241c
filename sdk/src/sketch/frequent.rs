//! Heavy hitters of weighted keys, by Misra-Gries with mergeable summaries.
//!
//! State: counters by key, how much has been taken from every counter (`error`), and how much weight was
//! taken in all (`lost`). With more than `2 * keep` keys a purge takes the weight of the (keep + 1)-th
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
}

impl Frequent {
    /// Adds `weight` to `key`, keeping at least `keep` counters.
    pub fn add(&mut self, key: &[u8], weight: u64, keep: usize) {
        if weight > 0 {
            self.raise(key, weight);
            self.purge(keep);
        }
    }

    fn raise(&mut self, key: &[u8], weight: u64) {
        match self.counts.get_mut(key) {
            Some(count) => *count = count.saturating_add(weight),
            None => {
                self.counts.insert(key.into(), weight);
            }
        }
    }

    /// Merges another state.
    pub fn merge(&mut self, other: &Self, keep: usize) {
        other.counts.iter().for_each(|(key, &weight)| self.raise(key.as_bytes(), weight));
        self.error = self.error.saturating_add(other.error);
        self.lost = self.lost.saturating_add(other.lost);
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
            lost = lost.saturating_add(cut.min(*count));
            *count = count.saturating_sub(cut);
            *count > 0
        });
        self.lost = lost;
        self.error = self.error.saturating_add(cut);
    }

    /// A state from its parts, or `None` when no history of adds and merges gives them: each unit of error
    /// takes more than `keep` of weight.
    pub fn from_parts(counts: HashMap<Key, u64>, error: u64, lost: u64, keep: usize) -> Option<Self> {
        let least = u128::from(error) * (keep as u128 + 1);
        let possible = (lost == u64::MAX || u128::from(lost) >= least)
            && (lost == 0) == (error == 0)
            && counts.len() <= 2 * keep
            && counts.values().all(|&c| c > 0);
        possible.then_some(Self { counts, error, lost })
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
    fn impossible_errors_are_refused() {
        let none = HashMap::new;
        assert!(Frequent::from_parts(none(), 0, 0, 16).is_some());
        assert!(Frequent::from_parts(none(), 1, 16, 16).is_none());
        assert!(Frequent::from_parts(none(), 1, 17, 16).is_some());
        assert!(Frequent::from_parts(none(), 0, 1, 16).is_none());
    }
}
