//! Bloom filter: whether a hash was added, with false positives at a stated rate and no false negatives.
//!
//! State: the set of distinct 64-bit hashes while it takes no more bytes than the filter (one hash for 64 bits of
//! it), else the filter: an array of bits of which each hash sets `k`. Which of the two it is depends only on the
//! number of distinct hashes, so merge (union; OR) is commutative, associative and idempotent. Identity: the empty set.
//! Answer: exact (up to collisions of hashes) from hashes; from bits false positives at rate p once `n` distinct values
//! are in, fewer before, more after. The number of distinct values is estimated from the bits that are set
//! (Swamidass, Baldi 2007), within a few per cent until the filter holds several times `n`.
//! Shape: `n * log2(1/p) / ln 2` bits, rounded up to whole words; `k = round(log2(1/p))`. After Bloom 1970; the k bits
//! come from one hash, after Kirsch, Mitzenmacher, "Less hashing, same performance", 2006.
//! Bytes (`FORMAT.md`, "States"): n <= bits / 64 and n ascending hashes; or that limit + 1 and the bits.

use super::hashes::Hashes;
use super::hll::read_hashes;
use super::math;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// What all filters of a column share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    words: usize,
    per_hash: u32,
}

impl Shape {
    /// For `expected` distinct values at a rate of false positives of `rate_ppm` / 1e6.
    pub fn new(rate_ppm: u32, expected: u32) -> Self {
        let bits_each = math::log2(1e6 / f64::from(rate_ppm.max(1)));
        let bits = f64::from(expected) * bits_each / core::f64::consts::LN_2;
        let words = (bits as usize).div_ceil(WORD).max(1);
        Self { words, per_hash: ((bits_each + 0.5) as u32).max(1) }
    }

    /// Bits of the filter.
    pub fn bits(&self) -> usize {
        self.words * WORD
    }

    /// Bits that each hash sets, at most.
    pub fn per_hash(&self) -> u32 {
        self.per_hash
    }

    /// Most distinct hashes kept as such.
    fn hashes_max(&self) -> usize {
        self.words
    }

    /// The bits of a hash.
    #[inline]
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        places(hash, self.bits(), self.per_hash)
    }
}

/// `times` places below `size`: the hash, stepped by its halves exchanged. Part of the format.
#[inline]
pub(super) fn places(hash: u64, size: usize, times: u32) -> impl Iterator<Item = usize> {
    let step = hash.rotate_left(32) | 1;
    let place = move |i: u32| {
        let at = hash.wrapping_add(step.wrapping_mul(u64::from(i)));
        ((u128::from(at) * size as u128) >> 64) as usize
    };
    (0..times).map(place)
}

/// A filter, or the hashes that would be in it.
#[derive(Clone, Debug)]
pub struct Bloom(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Hashes(Hashes),
    Bits(Box<[u64]>),
}

impl Default for Bloom {
    fn default() -> Self {
        Self(Repr::Hashes(Hashes::default()))
    }
}

fn set(bits: &mut [u64], shape: &Shape, hash: u64) {
    for place in shape.places(hash) {
        if let Some(word) = bits.get_mut(place / WORD) {
            *word |= 1 << (place % WORD);
        }
    }
}

fn is_set(bits: &[u64], shape: &Shape, hash: u64) -> bool {
    shape.places(hash).all(|place| bits.get(place / WORD).is_some_and(|word| word >> (place % WORD) & 1 == 1))
}

impl Bloom {
    /// Adds a hash.
    #[inline]
    pub fn insert(&mut self, shape: &Shape, hash: u64) {
        match &mut self.0 {
            Repr::Bits(bits) => set(bits, shape, hash),
            Repr::Hashes(hashes) => {
                if hashes.push(hash) {
                    self.settle(shape);
                }
            }
        }
    }

    /// Reads what [`Bloom::insert`] will change first.
    #[inline]
    pub fn touch(&self, shape: &Shape, hash: u64) -> u64 {
        match &self.0 {
            Repr::Hashes(hashes) => hashes.held() as u64,
            Repr::Bits(bits) => {
                shape.places(hash).next().and_then(|place| bits.get(place / WORD)).copied().unwrap_or(0)
            }
        }
    }

    /// Turns to bits when there are too many hashes.
    #[inline(never)]
    fn settle(&mut self, shape: &Shape) {
        let Repr::Hashes(hashes) = &mut self.0 else { return };
        let sorted = hashes.settle();
        if sorted.len() > shape.hashes_max() {
            let mut bits = vec![0; shape.words].into_boxed_slice();
            sorted.iter().for_each(|&hash| set(&mut bits, shape, hash));
            self.0 = Repr::Bits(bits);
        }
    }

    /// The canonical form.
    fn settled(&self, shape: &Shape) -> Cow<'_, Self> {
        if matches!(self.0, Repr::Bits(_)) {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.settle(shape);
        Cow::Owned(own)
    }

    /// Merges another filter of the same shape: what either holds.
    pub fn merge(&mut self, shape: &Shape, other: &Self) {
        self.settle(shape);
        match (&mut self.0, &other.0) {
            (Repr::Hashes(mine), Repr::Hashes(theirs)) => {
                mine.extend_sorted(&theirs.settled());
                self.settle(shape);
            }
            (Repr::Bits(mine), Repr::Bits(theirs)) => {
                mine.iter_mut().zip(theirs.iter()).for_each(|(m, t)| *m |= t);
            }
            (Repr::Bits(mine), Repr::Hashes(theirs)) => {
                theirs.settled().iter().for_each(|&hash| set(mine, shape, hash));
            }
            (Repr::Hashes(mine), Repr::Bits(theirs)) => {
                let mut bits = theirs.clone();
                mine.settle().iter().for_each(|&hash| set(&mut bits, shape, hash));
                self.0 = Repr::Bits(bits);
            }
        }
    }

    /// What both hold: exactly, up to false positives, where one of them still has its hashes; else the bits that both
    /// have, which contain what both hold and, more often than a filter made of that alone, other values.
    pub fn intersection(&self, shape: &Shape, other: &Self) -> Self {
        let (left, right) = (self.settled(shape), other.settled(shape));
        match (&left.0, &right.0) {
            (Repr::Bits(a), Repr::Bits(b)) => {
                let both: Box<[u64]> = a.iter().zip(b.iter()).map(|(a, b)| a & b).collect();
                // No bit at all is the empty set, which has one encoding.
                if both.iter().all(|word| *word == 0) { Self::default() } else { Self(Repr::Bits(both)) }
            }
            (Repr::Hashes(few), _) => right.among(shape, few),
            (_, Repr::Hashes(few)) => left.among(shape, few),
        }
    }

    /// Those of some hashes that it contains.
    fn among(&self, shape: &Shape, hashes: &Hashes) -> Self {
        let kept = hashes.settled().iter().copied().filter(|&hash| self.contains(shape, hash)).collect();
        Self(Repr::Hashes(Hashes::from_sorted(kept)))
    }

    /// True for every hash that was added; for others at the rate of false positives.
    pub fn contains(&self, shape: &Shape, hash: u64) -> bool {
        match &self.settled(shape).0 {
            Repr::Hashes(hashes) => hashes.settled().binary_search(&hash).is_ok(),
            Repr::Bits(bits) => is_set(bits, shape, hash),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Hashes(hashes) => hashes.heap_bytes(),
            Repr::Bits(bits) => bits.len() * size_of::<u64>(),
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, shape: &Shape, out: &mut Vec<u8>) {
        match &self.settled(shape).0 {
            Repr::Hashes(hashes) => {
                let hashes = hashes.settled();
                out.put_varint(hashes.len() as u64);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Repr::Bits(bits) => {
                out.put_varint(shape.hashes_max() as u64 + 1);
                bits.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            }
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(shape: &Shape, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::try_from(bytes.varint()?).map_err(|_| DecodeError::TooLarge("hashes"))?;
        if count <= shape.hashes_max() {
            return read_hashes(count, bytes).map(|hashes| Self(Repr::Hashes(Hashes::from_sorted(hashes))));
        }
        if count > shape.hashes_max() + 1 {
            return Err(DecodeError::TooLarge("hashes"));
        }
        let raw = bytes.bytes(shape.words * size_of::<u64>())?;
        let bits: Box<[u64]> = raw.as_chunks().0.iter().map(|&eight| u64::from_le_bytes(eight)).collect();
        // Any bits are some set's, or an intersection's; none are the empty set's.
        if bits.iter().all(|word| *word == 0) {
            return Err(DecodeError::Invalid("filter"));
        }
        Ok(Self(Repr::Bits(bits)))
    }

    /// The share of false positives among other values that are asked for.
    pub fn false_positives(&self, shape: &Shape) -> f64 {
        match &self.settled(shape).0 {
            Repr::Hashes(_) => 0.0,
            Repr::Bits(bits) => {
                let share = ones(bits) as f64 / shape.bits() as f64;
                (0..shape.per_hash).fold(1.0, |rate, _| rate * share)
            }
        }
    }

    /// About how many distinct hashes were added: the number that sets as many bits on average.
    pub fn estimate(&self, shape: &Shape) -> u64 {
        match &self.settled(shape).0 {
            Repr::Hashes(hashes) => hashes.settled().len() as u64,
            Repr::Bits(bits) => {
                let all = shape.bits() as f64;
                // A filter without a free bit holds any number; this says the number that leaves half of one.
                let free = (all - ones(bits) as f64).max(0.5);
                (-math::ln(free / all) * all / f64::from(shape.per_hash) + 0.5) as u64
            }
        }
    }
}

fn ones(bits: &[u64]) -> u64 {
    bits.iter().map(|word| u64::from(word.count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash64;

    fn hash(i: u64) -> u64 {
        hash64(&i.to_le_bytes())
    }

    fn filter(shape: &Shape, range: core::ops::Range<u64>) -> Bloom {
        let mut bloom = Bloom::default();
        range.for_each(|i| bloom.insert(shape, hash(i)));
        bloom
    }

    fn bytes(shape: &Shape, bloom: &Bloom) -> Vec<u8> {
        let mut out = Vec::new();
        bloom.encode(shape, &mut out);
        out
    }

    #[test]
    fn the_shape_is_the_textbook_one() {
        let shape = Shape::new(20_000, 16_384);
        assert_eq!((shape.bits(), shape.per_hash()), (133_440, 6));
        assert_eq!((Shape::new(500_000, 1).bits(), Shape::new(500_000, 1).per_hash()), (64, 1));
        assert_eq!(
            (Shape::new(100, 1_000_000).bits(), Shape::new(100, 1_000_000).per_hash()),
            (19_170_176, 13)
        );
    }

    #[test]
    fn the_switch_depends_on_distinct_hashes_only() {
        let shape = Shape::new(20_000, 1_000);
        let limit = shape.hashes_max() as u64;
        let mut slow = filter(&shape, 0..limit);
        (0..limit).rev().for_each(|i| slow.insert(&shape, hash(i)));
        assert_eq!(bytes(&shape, &slow), bytes(&shape, &filter(&shape, 0..limit)));
        slow.insert(&shape, hash(limit));
        assert_eq!(bytes(&shape, &slow), bytes(&shape, &filter(&shape, 0..limit + 1)));
        assert_eq!(bytes(&shape, &slow).len(), 1 + shape.bits() / 8 + usize::from(limit >= 127));
    }

    #[test]
    fn no_false_negatives_and_few_false_positives() {
        let shape = Shape::new(20_000, 10_000);
        let full = filter(&shape, 0..10_000);
        assert!((0..10_000).all(|i| full.contains(&shape, hash(i))));
        let wrong = (10_000..110_000).filter(|&i| full.contains(&shape, hash(i))).count();
        assert!((1_500..2_500).contains(&wrong), "{wrong} of 100,000");
        assert!((full.false_positives(&shape) - 0.02).abs() < 0.003, "{}", full.false_positives(&shape));
        let estimate = full.estimate(&shape) as f64;
        assert!((estimate / 10_000.0 - 1.0).abs() < 0.02, "{estimate}");
        assert_eq!(filter(&shape, 0..100).estimate(&shape), 100);
    }

    #[test]
    fn intersections_keep_what_both_hold() {
        let shape = Shape::new(20_000, 10_000);
        for (a, b) in
            [(0..300, 100..400), (0..300, 100..9_000), (0..9_000, 100..400), (0..8_000, 2_000..10_000)]
        {
            let both = a.start.max(b.start)..a.end.min(b.end);
            let found = filter(&shape, a.clone()).intersection(&shape, &filter(&shape, b.clone()));
            assert!(both.clone().all(|i| found.contains(&shape, hash(i))));
            let others = (20_000..40_000).filter(|&i| found.contains(&shape, hash(i))).count();
            assert!(others < 600, "{others}");
            let read = Bloom::decode(&shape, &mut Reader::new(&bytes(&shape, &found))).unwrap();
            assert_eq!(bytes(&shape, &read), bytes(&shape, &found));
        }
        let none = filter(&shape, 0..300).intersection(&shape, &filter(&shape, 300..600));
        assert_eq!(bytes(&shape, &none), [0]);
    }

    #[test]
    fn a_filter_without_a_bit_is_refused() {
        let shape = Shape::new(500_000, 1);
        assert!(Bloom::decode(&shape, &mut Reader::new(&[2, 0, 0, 0, 0, 0, 0, 0, 0])).is_err());
        assert!(Bloom::decode(&shape, &mut Reader::new(&[2, 1, 0, 0, 0, 0, 0, 0, 0])).is_ok());
        assert!(Bloom::decode(&shape, &mut Reader::new(&[3])).is_err());
    }
}
