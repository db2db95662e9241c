//! `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp`: count, exact sum and exact sum of squares.
//!
//! State: as above, over doubles (integers are cast by the plan). Identity: no values. Merge: addition.
//! Exact: the square of a double is a 106-bit mantissa and is summed without rounding; the variance is the
//! exact rational (N * sum(x^2) - sum(x)^2) / N^2, rounded at the very end, so nothing cancels.
//! Bytes: count (varint), then, unless it is 0, the sum and the sum of squares.

use super::column::{State, StateColumn, valid_rows};
use super::sum::plausible;
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::exact::ExactSum;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Moments by group.
pub(super) type MomentStates = StateColumn<Moments>;

/// Count, sum and sum of squares.
#[derive(Clone, Default)]
pub(super) struct Moments {
    sum: ExactSum,
    squares: ExactSum,
    count: u64,
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
            valid_rows(rows, groups, column, |row, group| {
                let state = &mut states[group];
                state.count += 1;
                state.sum.add(values[row]);
                state.squares.add_square(values[row]);
            });
        }
    }

    fn merge(&mut self, (): &(), other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        out.put_varint(self.count);
        if self.count > 0 {
            self.sum.encode(out);
            self.squares.encode(out);
        }
    }

    fn decode((): &(), bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        if count == 0 {
            return Ok(Self::default());
        }
        let (sum, squares) = (ExactSum::decode(bytes)?, ExactSum::decode(bytes)?);
        let square_sum = squares.dyadic();
        let possible = squares.special() == 0
            && !square_sum.negative
            && (sum.dyadic().is_zero() || !square_sum.is_zero())
            && plausible(&sum, count, 1)
            && plausible(&squares, count, 2);
        if possible { Ok(Self { sum, squares, count }) } else { Err(DecodeError::Invalid("moments")) }
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes() + self.squares.heap_bytes()
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
        if *finisher == Finisher::Avg {
            return Ok(Value::Float(self.sum.to_f64() / self.count as f64));
        }
        let variance = self.variance(self.count - (least - 1));
        Ok(Value::Float(match finisher {
            Finisher::StddevPop | Finisher::StddevSamp => crate::sketch::math::sqrt(variance),
            _ => variance,
        }))
    }
}

#[cfg(feature = "finish")]
impl Moments {
    /// The variance with `divisor` degrees of freedom: N or N - 1. NaN when a value was not finite.
    fn variance(&self, divisor: u64) -> f64 {
        if self.sum.special() != 0 {
            return f64::NAN;
        }
        let spread = ExactSum::spread(self.count, &self.sum.dyadic(), &self.squares.dyadic());
        // Forged states may break Cauchy's inequality; a variance is never negative.
        spread.to_f64().max(0.0) / self.count as f64 / divisor as f64
    }
}
