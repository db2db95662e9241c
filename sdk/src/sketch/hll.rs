//! HyperLogLog: how many distinct hashes, in a bounded space.
//!
//! State: the set of distinct 64-bit hashes while it is smaller than the registers (up to
//! `3/32 * 2^p` of them: 8 bytes each against 6 bits per register), else one register per hash prefix of
//! `p` bits, holding the largest rank seen (1 + the zeros that follow the prefix, at most `65 - p`). Which
//! of the two it is depends only on the number of distinct hashes, so merge is commutative, associative and
//! idempotent. Identity: the empty set.
//! Answer: exact (up to hash collisions) from hashes; from registers HyperLogLog++ with bias correction,
//! standard error `1.04 / sqrt(2^p)`, by the crate `hyperloglogplus`, whose register layout this is.
//! After Flajolet et al. 2007 and Heule, Nunkesser, Hall 2013.
//! Bytes (`FORMAT.md`, "States"): n <= 3/32 * 2^p and n ascending hashes; or that limit + 1 and 6-bit registers.

use crate::codec::{DecodeError, Reader, Writer};
use crate::flavor::SMALL;
use crate::sort::sort_by;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Unsorted hashes kept at the end before they are merged in; grows with the set.
const TAIL_MIN: usize = 16;

/// A set of hashes, or registers.
#[derive(Clone, Debug)]
pub struct Hll {
    precision: u8,
    repr: Repr,
}

#[derive(Clone, Debug)]
enum Repr {
    /// `hashes[..sorted]` ascending and distinct, then a tail in order of arrival.
    Hashes { hashes: Vec<u64>, sorted: usize },
    /// One byte per register.
    Registers(Box<[u8]>),
}

/// Most distinct hashes kept as such.
fn hashes_max(precision: u8) -> usize {
    (3 << precision) / 32
}

impl Hll {
    /// An empty set; `precision` is in 4..=18.
    pub fn new(precision: u8) -> Self {
        Self { precision, repr: Repr::Hashes { hashes: Vec::new(), sorted: 0 } }
    }

    /// Adds a hash.
    #[inline]
    pub fn insert(&mut self, hash: u64) {
        match &mut self.repr {
            Repr::Registers(registers) => raise(registers, self.precision, hash),
            Repr::Hashes { hashes, sorted } => {
                if SMALL {
                    return self.insert_sorted(hash);
                }
                hashes.push(hash);
                if hashes.len() - *sorted >= TAIL_MIN.max(*sorted / 2) {
                    self.settle();
                }
            }
        }
    }

    /// Keeps the hashes in order: no tail to sort, at the price of moving half of them.
    #[inline(never)]
    fn insert_sorted(&mut self, hash: u64) {
        let Repr::Hashes { hashes, sorted } = &mut self.repr else { return };
        let Err(at) = hashes.binary_search(&hash) else { return };
        hashes.insert(at, hash);
        *sorted = hashes.len();
        if hashes.len() > hashes_max(self.precision) {
            let hashes = core::mem::take(hashes);
            self.repr = self.registers(&hashes);
        }
    }

    /// Reads what [`Hll::insert`] will change.
    #[inline]
    pub fn touch(&self, hash: u64) -> u64 {
        match &self.repr {
            Repr::Registers(registers) => {
                registers.get((hash >> (64 - self.precision)) as usize).copied().map_or(0, u64::from)
            }
            Repr::Hashes { hashes, .. } => hashes.len() as u64,
        }
    }

    /// Merges the tail into the sorted part, and turns to registers when there are too many.
    #[inline(never)]
    fn settle(&mut self) {
        let Repr::Hashes { hashes, sorted } = &mut self.repr else { return };
        if *sorted == hashes.len() {
            return;
        }
        sort_by(&mut hashes[*sorted..], u64::cmp);
        let (left, right) = hashes.split_at(*sorted);
        let union = union(left, right);
        self.repr = self.hold(union);
    }

    /// The canonical form of ascending distinct hashes.
    fn hold(&self, hashes: Vec<u64>) -> Repr {
        if hashes.len() <= hashes_max(self.precision) {
            return Repr::Hashes { sorted: hashes.len(), hashes };
        }
        self.registers(&hashes)
    }

    fn registers(&self, hashes: &[u64]) -> Repr {
        let mut registers = vec![0; 1 << self.precision].into_boxed_slice();
        hashes.iter().for_each(|&hash| raise(&mut registers, self.precision, hash));
        Repr::Registers(registers)
    }

    fn settled(&self) -> Cow<'_, Self> {
        match &self.repr {
            Repr::Hashes { hashes, sorted } if !SMALL && *sorted < hashes.len() => {
                let mut own = self.clone();
                own.settle();
                Cow::Owned(own)
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Merges another set of the same precision.
    pub fn merge(&mut self, other: &Self) {
        if SMALL {
            return self.merge_one_by_one(other);
        }
        self.settle();
        let other = other.settled();
        match (&mut self.repr, &other.repr) {
            (Repr::Hashes { hashes: mine, .. }, Repr::Hashes { hashes: theirs, .. }) => {
                let union = union(mine, theirs);
                self.repr = self.hold(union);
            }
            (Repr::Registers(mine), Repr::Registers(theirs)) => {
                mine.iter_mut().zip(theirs.iter()).for_each(|(m, t)| *m = (*m).max(*t));
            }
            (Repr::Registers(mine), Repr::Hashes { hashes, .. }) => {
                hashes.iter().for_each(|&hash| raise(mine, self.precision, hash));
            }
            (Repr::Hashes { hashes, .. }, Repr::Registers(theirs)) => {
                let mut registers = theirs.clone();
                hashes.iter().for_each(|&hash| raise(&mut registers, self.precision, hash));
                self.repr = Repr::Registers(registers);
            }
        }
    }

    fn merge_one_by_one(&mut self, other: &Self) {
        match &other.repr {
            Repr::Hashes { hashes, .. } => hashes.iter().for_each(|&hash| self.insert(hash)),
            Repr::Registers(theirs) => {
                if let Repr::Hashes { hashes, .. } = &self.repr {
                    self.repr = self.registers(hashes);
                }
                let Repr::Registers(mine) = &mut self.repr else { return };
                mine.iter_mut().zip(theirs).for_each(|(m, t)| *m = (*m).max(*t));
            }
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Hashes { hashes, .. } => hashes.capacity() * 8,
            Repr::Registers(registers) => registers.len(),
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.settled().repr {
            Repr::Hashes { hashes, .. } => {
                out.put_varint(hashes.len() as u64);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Repr::Registers(registers) => {
                out.put_varint(hashes_max(self.precision) as u64 + 1);
                for four in registers.chunks_exact(4) {
                    let packed = four.iter().rev().fold(0u32, |packed, &r| packed << 6 | u32::from(r));
                    out.extend_from_slice(&packed.to_le_bytes()[..3]);
                }
            }
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`]; [`DecodeError::TooLarge`] for more hashes than the
    /// precision has room for; [`DecodeError::Invalid`] for hashes out of order or impossible registers.
    pub fn decode(precision: u8, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        let max = hashes_max(precision);
        if count > max as u64 + 1 {
            return Err(DecodeError::TooLarge("hashes"));
        }
        let repr = if count as usize <= max {
            Repr::Hashes { hashes: read_hashes(count as usize, bytes)?, sorted: count as usize }
        } else {
            Repr::Registers(read_registers(precision, bytes)?)
        };
        Ok(Self { precision, repr })
    }

    /// The highest rank by prefix of a hash, where hashes are kept, too; 0 where there is none.
    pub fn ranks(&self) -> Vec<u8> {
        match &self.repr {
            Repr::Registers(registers) => registers.to_vec(),
            Repr::Hashes { hashes, .. } => match self.registers(hashes) {
                Repr::Registers(registers) => registers.into_vec(),
                Repr::Hashes { .. } => Vec::new(),
            },
        }
    }

    /// How many distinct hashes were added, about.
    #[cfg(feature = "finish")]
    pub fn estimate(&self) -> u64 {
        match &self.settled().repr {
            Repr::Hashes { hashes, .. } => hashes.len() as u64,
            Repr::Registers(registers) => estimator::estimate(self.precision, registers),
        }
    }
}

/// Raises the register of `hash` to its rank.
#[inline]
fn raise(registers: &mut [u8], precision: u8, hash: u64) {
    let index = (hash >> (64 - precision)) as usize;
    // The guard bit ends the run of zeros after the last bit of the hash.
    let rank = 1 + ((hash << precision) | 1 << (precision - 1)).leading_zeros() as u8;
    if let Some(register) = registers.get_mut(index) {
        *register = (*register).max(rank);
    }
}

/// Merges two ascending runs; duplicates, within a run too, are dropped.
pub(super) fn union(left: &[u64], right: &[u64]) -> Vec<u64> {
    let mut out: Vec<u64> = Vec::with_capacity(left.len() + right.len());
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let from_left = j == right.len() || (i < left.len() && left[i] <= right[j]);
        let next = if from_left { left[i] } else { right[j] };
        i += usize::from(from_left);
        j += usize::from(!from_left);
        if out.last() != Some(&next) {
            out.push(next);
        }
    }
    out
}

pub(super) fn read_hashes(count: usize, bytes: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let raw = bytes.bytes(count * 8)?;
    let hashes: Vec<u64> = raw.as_chunks().0.iter().map(|&eight| u64::from_le_bytes(eight)).collect();
    let ascending = hashes.is_sorted_by(|a, b| a < b);
    if ascending { Ok(hashes) } else { Err(DecodeError::Invalid("order of hashes")) }
}

fn read_registers(precision: u8, bytes: &mut Reader<'_>) -> Result<Box<[u8]>, DecodeError> {
    let packed = bytes.bytes((3 << precision) / 4)?;
    let mut registers = Vec::with_capacity(1 << precision);
    for three in packed.chunks_exact(3) {
        let four = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        registers.extend((0..4).map(|i| (four >> (6 * i)) as u8 & 0x3f));
    }
    let highest = registers.iter().max().copied().unwrap_or(0);
    if highest == 0 || highest > 65 - precision {
        return Err(DecodeError::Invalid("register"));
    }
    Ok(registers.into_boxed_slice())
}

/// The estimator of `hyperloglogplus`, fed through a mirror of its struct that only this file fills.
#[cfg(feature = "finish")]
mod estimator {
    use alloc::vec::Vec;
    use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};
    use serde::{Deserialize, Serialize};

    /// The crate wants a hasher to build; nothing is ever hashed here.
    #[derive(Default, Serialize, Deserialize)]
    struct NoHasher;

    impl core::hash::BuildHasher for NoHasher {
        type Hasher = xxhash_rust::xxh3::Xxh3;
        fn build_hasher(&self) -> Self::Hasher {
            Self::Hasher::new()
        }
    }

    /// `hyperloglogplus::HyperLogLogPlus` 0.4.1, field by field.
    #[derive(Serialize)]
    struct Mirror {
        builder: NoHasher,
        precision: u8,
        counts: (usize, usize, usize),
        tmpset: Vec<u32>,
        sparse: Sparse,
        registers: Option<Registers>,
    }

    /// Its `DifIntVec`, empty.
    #[derive(Default, Serialize)]
    struct Sparse {
        count: usize,
        last: u32,
        buf: Vec<u8>,
    }

    /// Its `RegistersPlus`: five 6-bit registers in each word, lowest bits first.
    #[derive(Serialize)]
    struct Registers {
        buf: Vec<u32>,
        count: usize,
        zeros: usize,
    }

    pub fn estimate(precision: u8, registers: &[u8]) -> u64 {
        let count = registers.len();
        let word = |five: &[u8]| five.iter().rev().fold(0, |word, &r| word << 6 | u32::from(r));
        let mirror = Mirror {
            builder: NoHasher,
            precision,
            counts: (count, 1 << 24, 4 * count / 5),
            tmpset: Vec::new(),
            sparse: Sparse::default(),
            registers: Some(Registers {
                buf: registers.chunks(5).map(word).collect(),
                count,
                zeros: registers.iter().filter(|&&r| r == 0).count(),
            }),
        };
        // Our own bytes, through serde and back: the only way to set private fields without unsafe code.
        let bytes = postcard::to_allocvec(&mirror).unwrap_or_default();
        let sketch: Result<HyperLogLogPlus<u64, NoHasher>, _> = postcard::from_bytes(&bytes);
        debug_assert!(sketch.is_ok(), "the mirror has drifted from hyperloglogplus");
        // Counts are positive; adding a half and cutting rounds them.
        sketch.map_or(0, |mut sketch| (sketch.count() + 0.5) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash64;

    fn hash(i: u64) -> u64 {
        hash64(&i.to_le_bytes())
    }

    fn sketch(precision: u8, range: core::ops::Range<u64>) -> Hll {
        let mut hll = Hll::new(precision);
        range.for_each(|i| hll.insert(hash(i)));
        hll
    }

    fn bytes(hll: &Hll) -> Vec<u8> {
        let mut out = Vec::new();
        hll.encode(&mut out);
        out
    }

    #[test]
    fn the_switch_depends_on_distinct_hashes_only() {
        let limit = hashes_max(8) as u64;
        let mut slow = sketch(8, 0..limit);
        (0..limit).rev().for_each(|i| slow.insert(hash(i)));
        assert_eq!(bytes(&slow), bytes(&sketch(8, 0..limit)));
        assert_eq!(bytes(&slow).len() as u64, 1 + 8 * limit);
        slow.insert(hash(limit));
        assert_eq!(bytes(&slow), bytes(&sketch(8, 0..limit + 1)));
        assert_eq!(bytes(&slow).len(), 1 + 192);
    }

    #[test]
    fn merge_equals_union_across_forms() {
        for (a, b) in [(10, 20), (10, 400), (400, 10), (300, 500), (23, 25)] {
            let mut merged = sketch(8, 0..a);
            merged.merge(&sketch(8, a / 2..b));
            assert_eq!(bytes(&merged), bytes(&sketch(8, 0..a.max(b))), "{a} {b}");
        }
    }

    #[test]
    fn impossible_registers_are_refused() {
        let mut good = bytes(&sketch(8, 0..1000));
        assert!(Hll::decode(8, &mut Reader::new(&good)).is_ok());
        good[1] |= 0x3f;
        assert_eq!(Hll::decode(8, &mut Reader::new(&good)).unwrap_err(), DecodeError::Invalid("register"));
        let empty = [vec![25], vec![0; 192]].concat();
        assert!(Hll::decode(8, &mut Reader::new(&empty)).is_err());
        let mut unsorted = bytes(&sketch(8, 0..2));
        unsorted[1..].rotate_left(8);
        assert!(Hll::decode(8, &mut Reader::new(&unsorted)).is_err());
    }

    /// Three standard errors around the truth, at many sizes and precisions; exact while small.
    #[cfg(feature = "finish")]
    #[test]
    fn estimates_within_the_stated_error() {
        assert_eq!(sketch(14, 0..1536).estimate(), 1536);
        for precision in [4, 8, 12, 14] {
            for n in [100, 2_000, 30_000, 100_000] {
                let estimate = sketch(precision, 0..n).estimate() as f64;
                let error = (estimate / n as f64 - 1.0).abs();
                assert!(
                    error < 3.0 * 1.04 / f64::from(1 << precision).sqrt(),
                    "p={precision} n={n}: {error}"
                );
            }
        }
    }

    /// Catches any difference between our register rule and the crate's.
    #[cfg(feature = "finish")]
    #[test]
    fn agrees_with_the_crate_fed_directly() {
        use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};
        #[derive(Default)]
        struct Same(u64);
        impl core::hash::Hasher for Same {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, _: &[u8]) {}
            fn write_u64(&mut self, i: u64) {
                self.0 = i;
            }
        }
        type Build = core::hash::BuildHasherDefault<Same>;
        let mut theirs: HyperLogLogPlus<u64, Build> = HyperLogLogPlus::new(10, Build::default()).unwrap();
        (0..50_000).for_each(|i| theirs.insert(&hash(i)));
        assert_eq!(sketch(10, 0..50_000).estimate(), (theirs.count() + 0.5) as u64);
    }
}
