//! Theta sketch: a sample of distinct hashes that unions, intersections and differences can be taken of.
//!
//! State: a bound theta, and the distinct 64-bit hashes below it, at most `k`. A set of more than `k` hashes keeps the k
//! smallest, and the next one is theta; without theta all hashes are there. Both depend only on the set of hashes, so
//! merge (union) is commutative, associative and idempotent. Identity: empty.
//! Answer: the number of hashes, exact (up to collisions) without theta; else divided by the share of hashes that are
//! below it: unbiased, standard error `1 / sqrt(k - 1)`. Intersections and differences keep the smaller theta; their
//! error is relative to the union, so that a small intersection of large sets is uncertain.
//! After Dasgupta, Lang, Rhodes, Thaler, "A framework for estimating stream expression cardinalities", 2016, and
//! Bar-Yossef et al., "Counting distinct elements in a data stream", 2002.
//! Bytes: `FORMAT.md`, "States".

use super::hashes::Hashes;
use super::hll::read_hashes;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A sketch.
#[derive(Clone, Debug)]
pub struct Theta {
    k: usize,
    /// Hashes from here on are not kept; `None` keeps all.
    theta: Option<u64>,
    hashes: Hashes,
}

impl Theta {
    /// An empty set that keeps up to `k` hashes.
    pub fn new(k: usize) -> Self {
        Self { k, theta: None, hashes: Hashes::default() }
    }

    /// Adds a hash.
    #[inline]
    pub fn insert(&mut self, hash: u64) {
        if self.theta.is_none_or(|theta| hash < theta) && self.hashes.push(hash) {
            self.settle();
        }
    }

    /// Reads what [`Theta::insert`] will change.
    #[inline]
    pub fn touch(&self) -> u64 {
        self.hashes.held() as u64
    }

    /// Keeps the k smallest.
    #[inline(never)]
    fn settle(&mut self) {
        let (k, all) = (self.k, self.hashes.settle());
        if let Some(&next) = all.get(k) {
            let kept = all[..k].to_vec();
            self.theta = Some(next);
            self.hashes = Hashes::from_sorted(kept);
        }
    }

    fn settled(&self) -> Cow<'_, Self> {
        if self.hashes.held() <= self.k && self.hashes.is_settled() {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.settle();
        Cow::Owned(own)
    }

    /// The smaller bound of two.
    fn bound(&self, other: &Self) -> Option<u64> {
        match (self.theta, other.theta) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Merges another sketch of the same k: what either has.
    pub fn merge(&mut self, other: &Self) {
        self.settle();
        let other = other.settled();
        let bound = self.bound(&other);
        let mut all = Hashes::from_sorted(below(bound, self.hashes.settle()).to_vec());
        all.extend_sorted(below(bound, &other.hashes.settled()));
        *self = Self { k: self.k, theta: bound, hashes: all };
        self.settle();
    }

    /// What both have.
    pub fn intersection(&self, other: &Self) -> Self {
        self.filtered(other, true)
    }

    /// What this has and the other has not.
    pub fn difference(&self, other: &Self) -> Self {
        self.filtered(other, false)
    }

    fn filtered(&self, other: &Self, wanted: bool) -> Self {
        let (left, right) = (self.settled(), other.settled());
        let theta = left.bound(&right);
        let (left, right) = (left.hashes.settled(), right.hashes.settled());
        let known = below(theta, &left).iter().copied();
        let kept = known.filter(|hash| right.binary_search(hash).is_ok() == wanted).collect();
        Self { k: self.k, theta, hashes: Hashes::from_sorted(kept) }
    }

    /// The share of what both have among what either has, estimated from the union's sample; `None` for two empty sets.
    pub fn jaccard(&self, other: &Self) -> Option<f64> {
        let mut union = self.clone();
        union.merge(other);
        let both = self.intersection(other);
        let sampled = below(union.theta, &both.hashes.settled()).len();
        let all = union.hashes.held();
        if all == 0 { None } else { Some(sampled as f64 / all as f64) }
    }

    /// How many distinct hashes, about.
    pub fn estimate(&self) -> f64 {
        let settled = self.settled();
        settled.hashes.held() as f64 / settled.share()
    }

    /// The share of all hashes that is below theta.
    pub fn share(&self) -> f64 {
        self.settled().theta.map_or(1.0, |theta| theta as f64 / 18_446_744_073_709_551_616.0)
    }

    /// The bound, if there is one, and the hashes below it, ascending.
    pub fn parts(&self) -> (Option<u64>, Vec<u64>) {
        let settled = self.settled();
        (settled.theta, settled.hashes.settled().into_owned())
    }

    /// True when this may be a set of events: a bound comes with k hashes. Intersections and differences have fewer.
    pub fn is_sampled(&self) -> bool {
        let settled = self.settled();
        settled.theta.is_none() || settled.hashes.held() == self.k
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.hashes.heap_bytes()
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let settled = self.settled();
        let hashes = settled.hashes.settled();
        out.put_varint((hashes.len() as u64) << 1 | u64::from(settled.theta.is_some()));
        settled.theta.iter().chain(hashes.iter()).for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(k: usize, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = bytes.varint()?;
        if head >> 1 > k as u64 {
            return Err(DecodeError::TooLarge("hashes"));
        }
        let theta = if head & 1 == 1 { Some(bytes.u64()?) } else { None };
        let hashes = read_hashes((head >> 1) as usize, bytes)?;
        if theta == Some(0) || below(theta, &hashes).len() < hashes.len() {
            return Err(DecodeError::Invalid("theta"));
        }
        Ok(Self { k, theta, hashes: Hashes::from_sorted(hashes) })
    }
}

/// Those of ascending hashes that are below a bound.
fn below(bound: Option<u64>, hashes: &[u64]) -> &[u64] {
    let end = bound.map_or(hashes.len(), |bound| hashes.partition_point(|&hash| hash < bound));
    &hashes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash64;

    fn sketch(k: usize, range: core::ops::Range<u64>) -> Theta {
        let mut theta = Theta::new(k);
        range.for_each(|i| theta.insert(hash64(&i.to_le_bytes())));
        theta
    }

    fn bytes(theta: &Theta) -> Vec<u8> {
        let mut out = Vec::new();
        theta.encode(&mut out);
        out
    }

    #[test]
    fn depends_on_the_set_only() {
        for n in [0, 5, 16, 17, 18, 1_000] {
            let mut slow = Theta::new(16);
            (0..n).rev().chain(0..n).for_each(|i| slow.insert(hash64(&u64::to_le_bytes(i))));
            assert_eq!(bytes(&slow), bytes(&sketch(16, 0..n)), "{n}");
            let mut merged = sketch(16, 0..n / 2);
            merged.merge(&sketch(16, n / 3..n));
            assert_eq!(bytes(&merged), bytes(&sketch(16, 0..n)), "{n}");
        }
        assert_eq!(bytes(&sketch(16, 0..16)).len(), 1 + 16 * 8);
        assert_eq!(bytes(&sketch(16, 0..17)).len(), 1 + 17 * 8);
    }

    /// Four standard errors, of sets and of what is made of them.
    #[test]
    fn estimates_within_the_stated_error() {
        let (a, b) = (sketch(4_096, 0..60_000), sketch(4_096, 40_000..100_000));
        let near = |estimate: f64, truth: f64, of: f64| {
            let bound = 4.0 * (truth * of).sqrt() / 4_095f64.sqrt();
            assert!((estimate - truth).abs() < bound, "{estimate} for {truth}");
        };
        near(a.estimate(), 60_000.0, 60_000.0);
        let mut union = a.clone();
        union.merge(&b);
        near(union.estimate(), 100_000.0, 100_000.0);
        near(a.intersection(&b).estimate(), 20_000.0, 100_000.0);
        near(a.difference(&b).estimate(), 40_000.0, 100_000.0);
        assert!((a.jaccard(&b).unwrap() - 0.2).abs() < 0.03);
        assert_eq!(sketch(4_096, 0..4_096).estimate(), 4_096.0);
        assert_eq!(Theta::new(16).jaccard(&Theta::new(16)), None);
    }

    #[test]
    fn set_operations_merge_like_sets() {
        let parts = [
            sketch(16, 0..40).intersection(&sketch(16, 20..400)),
            sketch(16, 0..300),
            sketch(16, 10..50).difference(&sketch(16, 0..20)),
        ];
        let merged = |order: [usize; 3], last_two_first: bool| {
            let mut all = parts[order[0]].clone();
            let mut rest = parts[order[1]].clone();
            if last_two_first {
                rest.merge(&parts[order[2]]);
                all.merge(&rest);
            } else {
                all.merge(&rest);
                all.merge(&parts[order[2]]);
            }
            bytes(&all)
        };
        let one = merged([0, 1, 2], false);
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            assert_eq!((merged(order, true), merged(order, false)), (one.clone(), one.clone()));
        }
        assert!(Theta::decode(16, &mut Reader::new(&one)).is_ok());
    }
}
