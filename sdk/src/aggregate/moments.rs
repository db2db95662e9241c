//! `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp`: count, exact sum and exact sum of squares.
//!
//! State: up to [`RAW_MAX`] values themselves; above, the sums, over doubles (integers are cast by the plan).
//! Which of the two depends only on the count. Identity: no values. Merge: addition. A count that reaches
//! 2^64 - 1 is full: it absorbs, holds nothing else any more, and its answers are errors.
//! Exact: the square of a double is a 106-bit mantissa and is summed without rounding; the variance is the
//! exact rational (N * sum(x^2) - sum(x)^2) / N^2, rounded at the very end, so nothing cancels.
//! Bytes: count (varint); up to 4: the values, ascending; above, unless full: the sum and the sum of squares (about 35
//! bytes; 820 at worst, for values whose magnitudes span all that doubles can).

use super::column::{State, StateColumn, valid_rows};
use super::scalar::{canonical, is_canonical};
use super::sum::{FULL, plausible};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::exact::ExactSum;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Moments by group.
pub(super) type MomentStates = StateColumn<Moments>;

/// Values kept as they are: the sums of so few would be larger.
const RAW_MAX: usize = 4;

/// A count, and few values or their sums.
#[derive(Clone, Default)]
pub(super) struct Moments {
    count: u64,
    /// The first `count` are values, ascending, while there are no sums.
    raw: [f64; RAW_MAX],
    sums: Option<Box<Sums>>,
}

#[derive(Clone, Default)]
struct Sums {
    sum: ExactSum,
    squares: ExactSum,
}

impl Sums {
    fn add(&mut self, x: f64) {
        self.sum.add(x);
        self.squares.add_square(x);
    }

    /// N^2 times the variance of `count` values: by Cauchy's inequality never negative, nor after merging
    /// states for which it is not.
    fn spread(&self, count: u64) -> ExactSum {
        ExactSum::spread(count, &self.sum.dyadic(), &self.squares.dyadic())
    }
}

impl Moments {
    #[inline]
    fn add(&mut self, x: f64) {
        match &mut self.sums {
            Some(sums) => sums.add(x),
            None => self.add_raw(x),
        }
        self.count_more(1);
    }

    #[inline]
    fn count_more(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
        if self.count == FULL {
            self.sums = None;
        }
    }

    #[inline(never)]
    fn add_raw(&mut self, x: f64) {
        if self.count == FULL {
            return;
        }
        let count = self.count as usize;
        if count == RAW_MAX {
            return self.sums().add(x);
        }
        let mut x = canonical(x);
        for kept in &mut self.raw[..count] {
            if x.total_cmp(kept).is_lt() {
                core::mem::swap(kept, &mut x);
            }
        }
        self.raw[count] = x;
    }

    fn raw(&self) -> &[f64] {
        if self.count > RAW_MAX as u64 { &[] } else { &self.raw[..self.count as usize] }
    }

    fn to_sums(&self) -> Box<Sums> {
        let mut sums = self.sums.clone().unwrap_or_default();
        self.raw().iter().for_each(|&x| sums.add(x));
        sums
    }

    fn sums(&mut self) -> &mut Sums {
        if self.sums.is_none() {
            self.sums = Some(self.to_sums());
        }
        self.sums.get_or_insert_default()
    }
}

impl State for Moments {
    type Params = ();

    fn empty((): &()) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], (): &(), rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            valid_rows(rows, groups, column, |row, group| states[group].add(values[row]));
        }
    }

    fn merge(&mut self, (): &(), other: &Self) {
        other.raw().iter().for_each(|&x| self.add(x));
        if let Some(theirs) = &other.sums {
            let mine = self.sums();
            mine.sum.merge(&theirs.sum);
            mine.squares.merge(&theirs.squares);
        }
        if other.count > RAW_MAX as u64 {
            self.count_more(other.count);
        }
    }

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        out.put_varint(self.count);
        self.raw().iter().for_each(|x| out.extend_from_slice(&x.to_bits().to_le_bytes()));
        if let Some(sums) = &self.sums {
            sums.sum.encode(out);
            sums.squares.encode(out);
        }
    }

    fn decode((): &(), bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        let mut moments = Self { count, ..Self::default() };
        if count == FULL {
            return Ok(moments);
        }
        if count > RAW_MAX as u64 {
            moments.sums = Some(Box::new(read_sums(count, bytes)?));
            return Ok(moments);
        }
        for kept in &mut moments.raw[..count as usize] {
            *kept = is_canonical(bytes.f64()?)?;
        }
        let sorted = moments.raw().is_sorted_by(|a, b| a.total_cmp(b).is_le());
        if sorted { Ok(moments) } else { Err(DecodeError::Invalid("order of values")) }
    }

    fn admit(&self, (): &()) -> Result<u64, DecodeError> {
        match &self.sums {
            Some(sums) if sums.spread(self.count).dyadic().negative => Err(DecodeError::Invalid("moments")),
            _ => Ok(self.count),
        }
    }

    fn heap_bytes(&self) -> usize {
        let of = |s: &Sums| core::mem::size_of::<Sums>() + s.sum.heap_bytes() + s.squares.heap_bytes();
        self.sums.as_deref().map_or(0, of)
    }

    #[cfg(feature = "finish")]
    fn finish(&self, (): &(), finisher: &Finisher) -> Result<Value, FinishError> {
        let least = match finisher {
            Finisher::Count => return bigint(self.count),
            Finisher::VarSamp | Finisher::StddevSamp => 2,
            Finisher::Avg | Finisher::VarPop | Finisher::StddevPop => 1,
            _ => return Err(FinishError::Mismatch),
        };
        if self.count < least {
            return Ok(Value::Null);
        }
        if self.count == FULL {
            return Err(FinishError::OutOfRange("count"));
        }
        let sums = self.to_sums();
        if *finisher == Finisher::Avg {
            return Ok(Value::Float(sums.sum.average(self.count)));
        }
        let variance = sums.variance(self.count, self.count - (least - 1));
        Ok(Value::Float(match finisher {
            Finisher::StddevPop | Finisher::StddevSamp => crate::sketch::math::sqrt(variance),
            _ => variance,
        }))
    }
}

fn read_sums(count: u64, bytes: &mut Reader<'_>) -> Result<Sums, DecodeError> {
    let sums = Sums { sum: ExactSum::decode(bytes)?, squares: ExactSum::decode(bytes)? };
    let squares = sums.squares.dyadic();
    let possible = sums.squares.special() == 0
        && !squares.negative
        && (sums.sum.dyadic().is_zero() || !squares.is_zero())
        && plausible(&sums.sum, count, 1)
        && plausible(&sums.squares, count, 2);
    if possible { Ok(sums) } else { Err(DecodeError::Invalid("moments")) }
}

#[cfg(feature = "finish")]
impl Sums {
    /// The variance of `count` values with `divisor` degrees of freedom. NaN when a value was not finite.
    fn variance(&self, count: u64, divisor: u64) -> f64 {
        if self.sum.special() != 0 {
            return f64::NAN;
        }
        // Stored states may break Cauchy's inequality, admitted ones do not; a variance is never negative.
        self.spread(count).to_f64().max(0.0) / count as f64 / divisor as f64
    }
}
