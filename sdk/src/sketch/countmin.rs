//! Count-min sketch: how often a hash was added, never too low, in a bounded space.
//!
//! State: counts by distinct 64-bit hash while there are few (up to a ninth of the counters: 9 bytes each against
//! about one), else `depth` rows of `width` counters, where an event counts once in each row. Which of the two it is
//! depends only on the number of distinct hashes, and counters add, so merge is commutative and associative. Identity:
//! empty. More than 2^64 - 1 events are full, which absorbs.
//! Answer: exact (up to collisions of hashes) from counts; from counters the smallest of the `depth` that a hash
//! falls on: never too low, and too high by more than `eps * total` with a probability of at most `1 - p`, for each
//! value that is asked for. Shape: `width = ceil(e / eps)`, `depth = ceil(ln(1 / (1 - p)))`. After Cormode,
//! Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005; places as in [`super::bloom`].
//! Bytes: `FORMAT.md`, "States".

use super::bloom::places;
use super::math;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// What all sketches of a column share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    width: usize,
    depth: u32,
}

impl Shape {
    /// For an error of `error_ppm` / 1e6 of the total, kept with a probability of `confidence_ppm` / 1e6.
    pub fn new(error_ppm: u32, confidence_ppm: u32) -> Self {
        let width = core::f64::consts::E * 1e6 / f64::from(error_ppm.max(1));
        let failure = 1_000_000u32.saturating_sub(confidence_ppm).max(1);
        Self { width: ceil(width).max(1) as usize, depth: ceil(math::ln(1e6 / f64::from(failure))).max(1) }
    }

    /// Counters of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    fn counters(&self) -> usize {
        self.width * self.depth as usize
    }

    /// Most distinct hashes that are counted one by one.
    fn hashes_max(&self) -> usize {
        self.counters() / 9
    }

    /// The counter of a hash in each row, numbered through.
    fn counters_of(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let width = self.width;
        places(hash, width, self.depth).enumerate().map(move |(row, place)| row * width + place)
    }
}

/// The smallest integer from `x` on, for small `x`.
fn ceil(x: f64) -> u32 {
    let whole = x as u32;
    whole + u32::from(f64::from(whole) < x)
}

/// A sketch.
#[derive(Clone, Debug)]
pub struct CountMin {
    repr: Repr,
    total: u64,
}

#[derive(Clone, Debug)]
enum Repr {
    Counts(HashMap<u64, u64>),
    Counters(Box<[u64]>),
    /// More events than a u64 counts.
    Full,
}

impl Default for CountMin {
    fn default() -> Self {
        Self { repr: Repr::Counts(HashMap::new()), total: 0 }
    }
}

impl CountMin {
    /// Adds `count` events of a hash.
    #[inline]
    pub fn add(&mut self, shape: &Shape, hash: u64, count: u64) {
        let Some(total) = self.total.checked_add(count) else { return self.fill() };
        match &mut self.repr {
            Repr::Full => return,
            Repr::Counters(counters) => raise(counters, shape, hash, count),
            Repr::Counts(counts) => {
                *counts.entry(hash).or_insert(0) += count;
                if counts.len() > shape.hashes_max() {
                    self.repr = Repr::Counters(spread(counts, shape));
                }
            }
        }
        self.total = total;
    }

    fn fill(&mut self) {
        *self = Self { repr: Repr::Full, total: u64::MAX };
    }

    /// Merges another sketch of the same shape.
    pub fn merge(&mut self, shape: &Shape, other: &Self) {
        let total = self.total.checked_add(other.total);
        if self.is_full() || other.is_full() || total.is_none() {
            return self.fill();
        }
        match &other.repr {
            Repr::Counts(theirs) => theirs.iter().for_each(|(&hash, &count)| self.add(shape, hash, count)),
            Repr::Counters(theirs) => {
                if let Repr::Counts(mine) = &self.repr {
                    self.repr = Repr::Counters(spread(mine, shape));
                }
                if let Repr::Counters(mine) = &mut self.repr {
                    mine.iter_mut().zip(theirs.iter()).for_each(|(m, t)| *m += t);
                }
                self.total += other.total;
            }
            Repr::Full => {}
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.repr, Repr::Full)
    }

    /// How many events were added; `None` when a u64 does not hold it.
    pub fn total(&self) -> Option<u64> {
        if self.is_full() { None } else { Some(self.total) }
    }

    /// About how many of them had this hash; `None` when there were too many to count.
    pub fn frequency(&self, shape: &Shape, hash: u64) -> Option<u64> {
        match &self.repr {
            Repr::Counts(counts) => Some(counts.get(&hash).copied().unwrap_or(0)),
            Repr::Counters(counters) => {
                let found = shape.counters_of(hash).filter_map(|at| counters.get(at).copied());
                Some(found.min().unwrap_or(0))
            }
            Repr::Full => None,
        }
    }

    /// True while hashes are counted one by one.
    pub fn is_exact(&self) -> bool {
        matches!(self.repr, Repr::Counts(_))
    }

    /// The counters, row by row, those of a small sketch too; `None` when it is full.
    pub fn counters(&self, shape: &Shape) -> Option<Box<[u64]>> {
        match &self.repr {
            Repr::Counts(counts) => Some(spread(counts, shape)),
            Repr::Counters(counters) => Some(counters.clone()),
            Repr::Full => None,
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Counts(counts) => counts.capacity() * 17,
            Repr::Counters(counters) => counters.len() * size_of::<u64>(),
            Repr::Full => 0,
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, shape: &Shape, out: &mut Vec<u8>) {
        let most = shape.hashes_max() as u64;
        match &self.repr {
            Repr::Counts(counts) => {
                let mut sorted: Vec<(u64, u64)> =
                    counts.iter().map(|(&hash, &count)| (hash, count)).collect();
                sorted.sort_unstable();
                let several = sorted.iter().any(|(_, count)| *count > 1);
                out.put_varint((sorted.len() as u64) << 1 | u64::from(several));
                sorted.iter().for_each(|(hash, _)| out.extend_from_slice(&hash.to_le_bytes()));
                sorted.iter().filter(|_| several).for_each(|(_, count)| out.put_varint(*count));
            }
            Repr::Counters(counters) => {
                out.put_varint((most + 1) << 1);
                counters.iter().for_each(|count| out.put_varint(*count));
            }
            Repr::Full => out.put_varint((most + 1) << 1 | 1),
        }
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(shape: &Shape, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = bytes.varint()?;
        let most = shape.hashes_max() as u64;
        match (head >> 1, head & 1) {
            (n, several) if n <= most => read_counts(n as usize, several == 1, bytes),
            (n, 0) if n == most + 1 => read_counters(shape, bytes),
            (n, 1) if n == most + 1 => Ok(Self { repr: Repr::Full, total: u64::MAX }),
            _ => Err(DecodeError::TooLarge("counts")),
        }
    }
}

fn raise(counters: &mut [u64], shape: &Shape, hash: u64, count: u64) {
    for at in shape.counters_of(hash) {
        if let Some(counter) = counters.get_mut(at) {
            *counter += count;
        }
    }
}

fn spread(counts: &HashMap<u64, u64>, shape: &Shape) -> Box<[u64]> {
    let mut counters = vec![0; shape.counters()].into_boxed_slice();
    counts.iter().for_each(|(&hash, &count)| raise(&mut counters, shape, hash, count));
    counters
}

fn read_counts(n: usize, several: bool, bytes: &mut Reader<'_>) -> Result<CountMin, DecodeError> {
    const WRONG: DecodeError = DecodeError::Invalid("counts");
    let hashes = super::hll::read_hashes(n, bytes)?;
    let mut counts = HashMap::with_capacity(n);
    let (mut total, mut highest) = (0u64, 1);
    for hash in hashes {
        let count = if several { bytes.varint()? } else { 1 };
        total = total.checked_add(count).filter(|_| count > 0).ok_or(WRONG)?;
        highest = highest.max(count);
        counts.insert(hash, count);
    }
    // Counts are only written where one is above 1.
    if several && highest == 1 { Err(WRONG) } else { Ok(CountMin { repr: Repr::Counts(counts), total }) }
}

fn read_counters(shape: &Shape, bytes: &mut Reader<'_>) -> Result<CountMin, DecodeError> {
    const WRONG: DecodeError = DecodeError::Invalid("counters");
    if bytes.remaining() < shape.counters() {
        return Err(DecodeError::Truncated);
    }
    let mut counters = Vec::with_capacity(shape.counters());
    let mut total = None;
    for _ in 0..shape.depth {
        let mut row = 0u64;
        for _ in 0..shape.width {
            let count = bytes.varint()?;
            row = row.checked_add(count).ok_or(WRONG)?;
            counters.push(count);
        }
        // Every event is in every row.
        if *total.get_or_insert(row) != row {
            return Err(WRONG);
        }
    }
    let total = total.filter(|total| *total > shape.hashes_max() as u64).ok_or(WRONG)?;
    Ok(CountMin { repr: Repr::Counters(counters.into_boxed_slice()), total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash64;

    fn hash(i: u64) -> u64 {
        hash64(&i.to_le_bytes())
    }

    fn bytes(shape: &Shape, sketch: &CountMin) -> Vec<u8> {
        let mut out = Vec::new();
        sketch.encode(shape, &mut out);
        out
    }

    #[test]
    fn the_shape_is_the_textbook_one() {
        let shape = Shape::new(2_000, 995_000);
        assert_eq!((shape.width(), shape.depth()), (1_360, 6));
        let smallest = Shape::new(500_000, 500_000);
        assert_eq!((smallest.width(), smallest.depth()), (6, 1));
    }

    #[test]
    fn exact_while_few_then_never_too_low() {
        let shape = Shape::new(2_000, 995_000);
        let mut sketch = CountMin::default();
        (0..900).for_each(|i| sketch.add(&shape, hash(i), i + 1));
        assert!(sketch.is_exact() && sketch.frequency(&shape, hash(7)) == Some(8));
        assert_eq!(sketch.frequency(&shape, hash(1_000)), Some(0));
        let mut reversed = CountMin::default();
        (0..20_000).rev().for_each(|i| reversed.add(&shape, hash(i), i + 1));
        (900..20_000).for_each(|i| sketch.add(&shape, hash(i), i + 1));
        assert_eq!(bytes(&shape, &sketch), bytes(&shape, &reversed));
        let total = sketch.total().unwrap();
        assert_eq!(total, 20_000 * 20_001 / 2);
        let mut above = 0;
        for i in 0..20_000 {
            let found = sketch.frequency(&shape, hash(i)).unwrap();
            assert!(found > i, "{i}: {found}");
            above += u64::from(found - i - 1 > total / 500);
        }
        assert!(above <= 100, "{above} of 20,000 above the error");
    }

    #[test]
    fn more_events_than_a_u64_absorb() {
        let shape = Shape::new(500_000, 500_000);
        let mut sketch = CountMin::default();
        sketch.add(&shape, 1, u64::MAX);
        let mut other = CountMin::default();
        other.add(&shape, 2, 1);
        other.merge(&shape, &sketch);
        assert_eq!((other.total(), other.frequency(&shape, 2)), (None, None));
        sketch.add(&shape, 1, 1);
        assert_eq!(bytes(&shape, &sketch), bytes(&shape, &other));
    }
}
