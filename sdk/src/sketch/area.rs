//! A span of a measured value, and the area under it: what a time-weighted average is made of.
//!
//! Between two events the value is the first one's (`LOCF`, last observation carried forward), or goes straight to the
//! second one's (`LINEAR`). The area is an exact sum of values times microseconds (twice that for `LINEAR`), rounded once
//! at the end. Bytes: varint number of events; the first one's time (zigzag) and value (8 bytes); of more than one the
//! distance to the last one's time (varint) and its value; of more than two the exact sum. Two tell it themselves.

use super::exact::{ExactSum, split};
use super::timeline::{Span, elapsed, later, read_finite};
use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;

/// Values of a span of time, summed up.
#[derive(Clone, Debug)]
pub struct Area<const LINEAR: bool> {
    first: (i64, f64),
    last: (i64, f64),
    count: u64,
    sum: ExactSum,
}

/// Adds what lies between two events.
fn add_between<const LINEAR: bool>(sum: &mut ExactSum, from: (i64, f64), to: (i64, f64)) {
    let micros = i128::from(elapsed(from.0, to.0));
    let mut add = |x: f64| {
        let (mantissa, exponent) = split(x);
        // 54 bits times 64.
        sum.add_scaled(i128::from(mantissa) * micros, exponent);
    };
    add(from.1);
    if LINEAR {
        add(to.1);
    }
}

impl<const LINEAR: bool> Span for Area<LINEAR> {
    type Value = f64;

    fn new(time: i64, value: f64) -> Self {
        Self { first: (time, value), last: (time, value), count: 1, sum: ExactSum::default() }
    }

    fn push(&mut self, time: i64, value: f64) {
        add_between::<LINEAR>(&mut self.sum, self.last, (time, value));
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
        // As of readings.
        96
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes()
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
            self.sum.encode(out);
        }
    }

    fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("area");
        let count = bytes.varint()?;
        let mut area = Self::new(bytes.zigzag()?, read_finite(bytes)?);
        if count > 1 {
            let time = later(area.first.0, bytes.varint()?)?;
            area.push(time, read_finite(bytes)?);
        }
        if count > 2 {
            area.sum = ExactSum::decode(bytes)?;
            if !area.is_possible() {
                return Err(WRONG);
            }
        }
        area.count = count;
        if count > 0 { Ok(area) } else { Err(WRONG) }
    }
}

impl<const LINEAR: bool> Area<LINEAR> {
    /// Whether some values between the first and the last give the sum.
    fn is_possible(&self) -> bool {
        let sum = self.sum.dyadic();
        let micros = elapsed(self.first.0, self.last.0);
        let power = 1_024 + i32::from(LINEAR);
        self.sum.special() == 0 && (sum.is_zero() || (sum.within(micros, power) && sum.exponent >= -1_074))
    }

    /// The average over spans, ascending, and between them; `None` when no time passes.
    pub fn average(spans: &[Self]) -> Option<f64> {
        let (first, last) = (spans.first()?, spans.last()?);
        let mut sum = ExactSum::default();
        for (at, span) in spans.iter().enumerate() {
            sum.merge(&span.sum);
            if let Some(before) = at.checked_sub(1).and_then(|at| spans.get(at)) {
                add_between::<LINEAR>(&mut sum, before.last, span.first);
            }
        }
        let micros = elapsed(first.first.0, last.last.0);
        if micros == 0 {
            return None;
        }
        let mut area = sum.dyadic();
        area.exponent -= i32::from(LINEAR);
        let direct = area.to_f64() / micros as f64;
        if direct.is_finite() {
            return Some(direct);
        }
        // The area passes the doubles where the average does not.
        area.exponent -= 64;
        Some(area.to_f64() / (micros as f64 / 18_446_744_073_709_551_616.0))
    }
}
