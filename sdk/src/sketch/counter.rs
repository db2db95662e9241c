//! A span of a counter that only grows, and starts again from 0 when its process does.
//!
//! Holds the first and the last reading, how many there were, how often one was below the one before (a reset), and the
//! exact sum of the readings before resets. The increase is then `last - first + that sum`: after a reset the whole
//! reading counts. Bytes: varint number of readings; the first one's time (zigzag) and value (8 bytes); of more than one
//! the distance to the last one's time (varint) and its value; of more than two the resets (varint) and, unless there are
//! none, the exact sum. Two readings tell themselves whether there was a reset.

use super::exact::ExactSum;
use super::timeline::{Span, elapsed, later, read_finite};
use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;

/// Readings of a span of time, summed up.
#[derive(Clone, Debug)]
pub struct Readings {
    first: (i64, f64),
    last: (i64, f64),
    count: u64,
    resets: u64,
    /// The readings before resets.
    lost: ExactSum,
}

/// What a counter did over all spans.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The increase, rounded once.
    pub delta: f64,
    /// From the first reading to the last.
    pub micros: u64,
    /// How often it started again.
    pub resets: u64,
}

impl Span for Readings {
    type Value = f64;

    fn new(time: i64, value: f64) -> Self {
        Self { first: (time, value), last: (time, value), count: 1, resets: 0, lost: ExactSum::default() }
    }

    fn push(&mut self, time: i64, value: f64) {
        if value < self.last.1 {
            self.resets = self.resets.saturating_add(1);
            self.lost.add(self.last.1);
        }
        self.last = (time, value);
        self.count = self.count.saturating_add(1);
    }

    fn ends(&self) -> (i64, i64) {
        (self.first.0, self.last.0)
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn weight(&self) -> usize {
        // About the same for all: 4,096 of them are less than any bound.
        96
    }

    fn heap_bytes(&self) -> usize {
        self.lost.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.count);
        out.put_zigzag(self.first.0);
        out.extend_from_slice(&self.first.1.to_le_bytes());
        if self.count > 1 {
            out.put_varint(elapsed(self.first.0, self.last.0));
            out.extend_from_slice(&self.last.1.to_le_bytes());
        }
        if self.count > 2 {
            out.put_varint(self.resets);
            if self.resets > 0 {
                self.lost.encode(out);
            }
        }
    }

    fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("readings");
        let count = bytes.varint()?;
        let mut readings = Self::new(bytes.zigzag()?, read_reading(bytes)?);
        if count > 1 {
            let time = later(readings.first.0, bytes.varint()?)?;
            readings.push(time, read_reading(bytes)?);
        }
        if count > 2 {
            readings.resets = bytes.varint()?;
            readings.lost = if readings.resets > 0 { ExactSum::decode(bytes)? } else { ExactSum::default() };
            if readings.resets >= count || !readings.is_possible() {
                return Err(WRONG);
            }
        }
        readings.count = count;
        if count > 0 { Ok(readings) } else { Err(WRONG) }
    }
}

/// A reading of a counter: not negative.
fn read_reading(bytes: &mut Reader<'_>) -> Result<f64, DecodeError> {
    read_finite(bytes).and_then(|x| if x < 0.0 { Err(DecodeError::Invalid("reading")) } else { Ok(x) })
}

impl Readings {
    /// Whether some readings between the first and the last give the resets and their sum.
    fn is_possible(&self) -> bool {
        let lost = self.lost.dyadic();
        let sums = self.lost.special() == 0
            && !lost.negative
            && lost.within(self.resets, 1024)
            && (lost.is_zero() || lost.exponent >= -1074);
        // Each reset is from something above 0.
        sums && lost.is_zero() == (self.resets == 0) && (self.resets > 0 || self.last.1 >= self.first.1)
    }

    /// What the counter did over spans, ascending; `None` without readings.
    pub fn progress(spans: &[Self]) -> Option<Progress> {
        let (first, last) = (spans.first()?, spans.last()?);
        let mut sum = ExactSum::default();
        sum.add(last.last.1);
        sum.add(-first.first.1);
        let mut resets = 0u64;
        for (at, span) in spans.iter().enumerate() {
            sum.merge(&span.lost);
            resets = resets.saturating_add(span.resets);
            if let Some(before) = at.checked_sub(1).and_then(|at| spans.get(at))
                && span.first.1 < before.last.1
            {
                sum.add(before.last.1);
                resets = resets.saturating_add(1);
            }
        }
        Some(Progress { delta: sum.to_f64(), micros: elapsed(first.first.0, last.last.0), resets })
    }
}
