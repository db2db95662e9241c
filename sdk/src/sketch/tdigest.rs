//! Merging t-digest: quantiles that are sharpest at the tails.
//!
//! State: centroids (mean, weight), ascending. A pass sorts all centroids and joins neighbours while their
//! weight stays within `n * q * (1 - q) * z / compression`, `z = 4 ln(n / compression) + 24` (Dunning's
//! scale function k2), so the first and the last stay single values and about `compression` centroids
//! remain. Identity: empty. More than 2^64 - 1 values are full, which absorbs. Values up to about a third of `compression` are kept as they are.
//! Law: merge is commutative, but not associative: the bytes depend on how values were grouped (equal
//! merge sequences give equal bytes). Whatever the grouping, the rank of an answer for q is within
//! `q * (1 - q) * z / compression + 2 / n` of q, which the law suite asserts. Rank of q is `q * (n - 1)` from 0,
//! interpolated between the centres of neighbouring centroids; exact while all are single.
//! NaNs and infinities are not counted. After Dunning, Ertl 2019 (arXiv:1902.04023), as PipelineDB's
//! `dist_agg`. Bytes: `FORMAT.md`, "States".

use super::math;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A mean and how many values it stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Centroid {
    mean: f64,
    weight: u64,
}

/// A t-digest.
#[derive(Clone, Debug)]
pub struct TDigest {
    compression: u16,
    /// More values than a u64 counts: then there are no centroids.
    full: bool,
    /// `centroids[..settled]` came out of a pass; the rest waits for the next.
    centroids: Vec<Centroid>,
    settled: usize,
}

impl TDigest {
    /// An empty digest; `compression` is in 20..=10_000.
    pub fn new(compression: u16) -> Self {
        Self { compression, full: false, centroids: Vec::new(), settled: 0 }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, x: f64) {
        if x.is_finite() && !self.full {
            self.centroids.push(Centroid { mean: x + 0.0, weight: 1 });
            if self.centroids.len() - self.settled >= 4 * usize::from(self.compression) {
                self.settle();
            }
        }
    }

    /// Merges another digest of the same compression.
    pub fn merge(&mut self, other: &Self) {
        let total = self.total().zip(other.total()).and_then(|(mine, theirs)| mine.checked_add(theirs));
        if total.is_none() {
            return self.fill();
        }
        if other.centroids.is_empty() {
            return;
        }
        let other = other.settled();
        if self.centroids.is_empty() {
            // A pass is not idempotent: passing over a digest again would change it.
            self.clone_from(&other);
            return;
        }
        self.settle();
        self.centroids.extend_from_slice(&other.centroids);
        self.settle();
    }

    /// How many values; 2^64 - 1 when there are more.
    pub fn count(&self) -> u64 {
        self.total().unwrap_or(u64::MAX)
    }

    fn total(&self) -> Option<u64> {
        let total = self.centroids.iter().try_fold(0u64, |sum, c| sum.checked_add(c.weight));
        total.filter(|_| !self.full)
    }

    fn fill(&mut self) {
        *self = Self { full: true, ..Self::new(self.compression) };
    }

    fn settle(&mut self) {
        if self.settled == self.centroids.len() {
            return;
        }
        let Some(total) = self.total() else { return self.fill() };
        let scale = Scale::new(total, self.compression);
        let mut pending = core::mem::take(&mut self.centroids);
        pending.sort_unstable_by(order);
        let mut before = 0;
        let mut first = 0;
        // `first..next` is the run being joined; it closes when one more would be too heavy.
        let mut weight = 0u64;
        for next in 0..pending.len() {
            let joined = weight + pending[next].weight;
            if next > first && joined as f64 > scale.weight_max(before, before + joined) {
                self.centroids.push(join(&pending[first..next], weight));
                before += weight;
                (first, weight) = (next, pending[next].weight);
            } else {
                weight = joined;
            }
        }
        self.centroids.push(join(&pending[first..], weight));
        self.centroids.sort_unstable_by(order);
        self.settled = self.centroids.len();
    }

    fn settled(&self) -> Cow<'_, Self> {
        if self.settled == self.centroids.len() {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.settle();
        Cow::Owned(own)
    }

    /// Means, ascending, and how many values each stands for; `None` for more values than a u64 counts.
    pub fn centroids(&self) -> Option<Vec<(f64, u64)>> {
        let settled = self.settled();
        let all = settled.centroids.iter().map(|centroid| (centroid.mean, centroid.weight));
        (!settled.full).then(|| all.collect())
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.centroids.capacity() * core::mem::size_of::<Centroid>()
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.full {
            return out.put_varint(centroids_max(self.compression) as u64 + 1);
        }
        let settled = self.settled();
        out.put_varint(settled.centroids.len() as u64);
        for centroid in &settled.centroids {
            out.extend_from_slice(&centroid.mean.to_bits().to_le_bytes());
            out.put_varint(centroid.weight);
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`]; [`DecodeError::TooLarge`] for more centroids than the
    /// compression has room for; [`DecodeError::Invalid`] for impossible ones.
    pub fn decode(compression: u16, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("centroid");
        let max = centroids_max(compression);
        let mut ahead = bytes.clone();
        if ahead.varint()? == max as u64 + 1 {
            *bytes = ahead;
            return Ok(Self { full: true, ..Self::new(compression) });
        }
        let len = bytes.count(9, max)?;
        let mut centroids = Vec::with_capacity(len);
        let mut count = 0u64;
        for _ in 0..len {
            let centroid = Centroid { mean: bytes.f64()?, weight: bytes.varint()? };
            let sorted = centroids.last().is_none_or(|last| order(last, &centroid) != Ordering::Greater);
            let negative_zero = centroid.mean.to_bits() == 1 << 63;
            if !centroid.mean.is_finite() || negative_zero || centroid.weight == 0 || !sorted {
                return Err(WRONG);
            }
            count = count.checked_add(centroid.weight).ok_or(WRONG)?;
            centroids.push(centroid);
        }
        Ok(Self { compression, full: false, settled: centroids.len(), centroids })
    }

    /// The value at rank `q * (n - 1)`; `None` when empty.
    #[cfg(feature = "finish")]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let settled = self.settled();
        let rank = q * settled.count().checked_sub(1)? as f64;
        let mut before = 0.0;
        let mut last: Option<(f64, f64)> = None;
        for centroid in &settled.centroids {
            let weight = centroid.weight as f64;
            let centre = before + (weight - 1.0) / 2.0;
            if centre >= rank {
                let Some((low, at)) = last else { return Some(centroid.mean) };
                let part = (rank - at) / (centre - at);
                return Some(low * (1.0 - part) + centroid.mean * part);
            }
            last = Some((centroid.mean, centre));
            before += weight;
        }
        last.map(|(mean, _)| mean)
    }
}

#[cfg(feature = "finish")]
impl TDigest {
    /// The share of values up to `x`, within the bound on ranks; exact while all centroids are single values. `None` when
    /// empty.
    pub fn cdf(&self, x: f64) -> Option<f64> {
        let settled = self.settled();
        let all = &settled.centroids;
        let n = settled.count() as f64;
        let (first, last) = (all.first()?, all.last()?);
        if x < first.mean || x >= last.mean || x.is_nan() {
            return Some(if x < first.mean { 0.0 } else { 1.0 });
        }
        let next = all.partition_point(|centroid| centroid.mean <= x);
        let below: u64 = all[..next].iter().map(|centroid| centroid.weight).sum();
        let (left, right) = (&all[next - 1], &all[next]);
        if left.weight == 1 && right.weight == 1 {
            return Some(below as f64 / n);
        }
        // Half of each of the two lies between their means.
        let from = below as f64 - left.weight as f64 / 2.0;
        let between = (left.weight as f64 + right.weight as f64) / 2.0;
        let part = (x - left.mean) / (right.mean - left.mean);
        Some((from + between * part) / n)
    }
}

/// Most centroids after a pass. Two neighbours together are above the limit of the first, so that a tail of n
/// values has at most `2 ln(n / 2) / ln(1 + z / 2c) + 3` of them: whatever the weights of up to 2^64 values, both
/// tails together stay below three quarters of this.
fn centroids_max(compression: u16) -> usize {
    4 * usize::from(compression) + 64
}

/// How much `n` values may be joined, by rank.
struct Scale {
    n: u64,
    /// z / (n * compression).
    factor: f64,
}

impl Scale {
    fn new(n: u64, compression: u16) -> Self {
        let compression = f64::from(compression);
        let z = 4.0 * math::ln(n as f64 / compression) + 24.0;
        Self { n, factor: z / (n as f64 * compression) }
    }

    /// The largest weight of a centroid between two ranks. In integers up to the last step: the distance to
    /// the upper end must not be lost beside a large rank.
    fn weight_max(&self, before: u64, after: u64) -> f64 {
        let spread = |rank: u64| rank as f64 * (self.n - rank) as f64;
        spread(before).min(spread(after)) * self.factor
    }
}

fn order(a: &Centroid, b: &Centroid) -> Ordering {
    a.mean.total_cmp(&b.mean).then(a.weight.cmp(&b.weight))
}

/// One centroid for an ascending, non-empty run of this weight.
fn join(run: &[Centroid], weight: u64) -> Centroid {
    let (low, high) = (run[0].mean, run[run.len() - 1].mean);
    let total = weight as f64;
    // Shares instead of sums: sums of large doubles overflow.
    let mean = run.iter().fold(0.0, |mean, c| mean + c.mean * (c.weight as f64 / total));
    Centroid { mean: if run.len() == 1 { low } else { mean.clamp(low, high) + 0.0 }, weight }
}

#[cfg(all(test, feature = "finish"))]
mod tests {
    use super::*;

    fn digest(values: impl IntoIterator<Item = f64>) -> TDigest {
        let mut digest = TDigest::new(100);
        values.into_iter().for_each(|x| digest.add(x));
        digest
    }

    #[test]
    fn few_values_are_exact() {
        let digest = digest([4.0, 1.0, 3.0, 2.0, f64::NAN, f64::INFINITY]);
        assert_eq!((digest.quantile(0.5), digest.quantile(0.0), digest.count()), (Some(2.5), Some(1.0), 4));
        assert_eq!(TDigest::new(100).quantile(0.5), None);
    }

    #[test]
    fn shares_are_ranks_turned_around() {
        let few = digest([4.0, 1.0, 3.0, 2.0]);
        let shares = [0.5, 1.0, 2.5, 4.0, 9.0].map(|x| few.cdf(x));
        assert_eq!(shares, [0.0, 0.25, 0.5, 1.0, 1.0].map(Some));
        let many = digest((0..100_000).map(f64::from));
        for x in [0.0, 10.0, 1_000.0, 50_000.0, 99_000.0] {
            let share = many.cdf(x).unwrap();
            assert!((share - x / 100_000.0).abs() < 0.03, "{x}: {share}");
        }
        assert_eq!(TDigest::new(100).cdf(1.0), None);
    }

    #[test]
    fn stays_small_and_keeps_the_ends() {
        let digest = digest((0..200_000).map(|i| f64::from(i * 7919 % 200_003)));
        let settled = digest.settled();
        assert!(settled.centroids.len() < 200, "{}", settled.centroids.len());
        assert_eq!(digest.count(), 200_000);
        assert_eq!(digest.quantile(0.0), Some(0.0));
        let median = digest.quantile(0.5).unwrap();
        assert!((median / 100_000.0 - 1.0).abs() < 0.01, "{median}");
    }

    #[test]
    fn merge_is_commutative() {
        let (a, b) = (digest((0..1000).map(f64::from)), digest((500..3000).map(|i| f64::from(i) * 0.3)));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        assert_eq!(ab.centroids, ba.centroids);
    }
}
