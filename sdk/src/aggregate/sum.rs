//! `sum`, `avg`: how many values and their exact sum.
//!
//! Integers and decimals: a count and a 256-bit sum, which cannot overflow while the count does not; a sum that
//! does not fit its SQL type is an error when it is finished, whatever the order of the events. Doubles: a count
//! and an exact dyadic sum ([`crate::sketch::exact`]); their average fits even where their sum does not. Identity:
//! no values. Merge: addition. A count that reaches 2^64 - 1 is full: it absorbs, has no sum any more, and its
//! answers are errors. Exact; a double result is rounded once (an average of numerics twice). Bytes: count
//! (varint), then, unless it is 0 or full, the sum.

use super::column::{State, StateColumn, valid_states};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::exact::ExactSum;
use crate::sketch::wide::Wide;
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Sums of doubles and reals.
pub(super) type FloatSums = StateColumn<FloatSum>;
/// Sums of integers and decimals.
pub(super) type IntSums = StateColumn<IntSum>;

/// A count and an exact sum of doubles.
#[derive(Clone, Default)]
pub(super) struct FloatSum {
    sum: ExactSum,
    count: u64,
}

impl State for FloatSum {
    type Params = ();

    fn empty((): &()) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], (): &(), rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            let touch = |state: &Self| state.count ^ state.sum.touch();
            valid_states(states, (rows, groups), column, touch, |state, row| {
                state.count += 1;
                state.sum.add(values[row]);
            });
        }
    }

    fn merge(&mut self, (): &(), other: &Self) {
        self.count = self.count.saturating_add(other.count);
        match self.count {
            FULL => self.sum = ExactSum::default(),
            _ => self.sum.merge(&other.sum),
        }
    }

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        out.put_varint(self.count);
        if has_sum(self.count) {
            self.sum.encode(out);
        }
    }

    fn decode((): &(), bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        if !has_sum(count) {
            return Ok(Self { count, ..Self::default() });
        }
        let sum = ExactSum::decode(bytes)?;
        if !plausible(&sum, count, 1) {
            return Err(DecodeError::Invalid("sum above what its count allows"));
        }
        Ok(Self { sum, count })
    }

    fn admit(&self, (): &()) -> Result<u64, DecodeError> {
        Ok(self.count)
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, (): &(), finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Count => bigint(self.count),
            Finisher::Value | Finisher::Avg if self.count == 0 => Ok(Value::Null),
            Finisher::Value | Finisher::Avg if self.count == FULL => Err(FinishError::OutOfRange("count")),
            Finisher::Value => double(&self.sum).map(Value::Float),
            Finisher::Avg => Ok(Value::Float(self.sum.average(self.count))),
            _ => Err(FinishError::Mismatch),
        }
    }
}

/// The sum as a double: an infinity only where one was added.
#[cfg(feature = "finish")]
fn double(sum: &ExactSum) -> Result<f64, FinishError> {
    match sum.to_f64() {
        beyond if beyond.is_infinite() && sum.special() == 0 => {
            Err(FinishError::OutOfRange("double precision"))
        }
        sum => Ok(sum),
    }
}

/// The count of a state that holds nothing else any more: a real count of so many is out of reach, and a sum
/// without its count would have no bound, so that merging could lead out of the format.
pub(super) const FULL: u64 = u64::MAX;

fn has_sum(count: u64) -> bool {
    !matches!(count, 0 | FULL)
}

/// True when `count` doubles, each to the power `power` (1 or 2), can have this sum: each finite one is below
/// 2^1024 and a multiple of 2^-1074. Both bounds are additive, so they hold for merged states too.
pub(super) fn plausible(sum: &ExactSum, count: u64, power: i32) -> bool {
    let special = u64::from(sum.special().count_ones());
    let Some(finite) = count.checked_sub(special) else { return false };
    let dyadic = sum.dyadic();
    dyadic.is_zero() || (dyadic.within(finite, 1024 * power) && dyadic.exponent >= -1074 * power)
}

/// A count and a sum of integers.
#[derive(Clone, Default)]
pub(super) struct IntSum {
    sum: Wide,
    count: u64,
}

impl State for IntSum {
    type Params = DataType;

    fn empty(_: &DataType) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], _: &DataType, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let touch = |state: &Self| state.count;
        match &column.data {
            ColumnData::Int(values) => {
                valid_states(states, (rows, groups), column, touch, |s, row| s.add(values[row].into()));
            }
            #[cfg(feature = "functions")]
            ColumnData::Decimal(values) => {
                valid_states(states, (rows, groups), column, touch, |s, row| s.add(values[row]));
            }
            _ => {}
        }
    }

    fn merge(&mut self, _: &DataType, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        match self.count {
            FULL => self.sum = Wide::default(),
            _ => self.sum.add_wide(&other.sum),
        }
    }

    fn encode(&self, _: &DataType, out: &mut Vec<u8>) {
        out.put_varint(self.count);
        if has_sum(self.count) {
            self.sum.encode(out);
        }
    }

    fn decode(data_type: &DataType, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        if !has_sum(count) {
            return Ok(Self { count, ..Self::default() });
        }
        let sum = Wide::decode(bytes)?;
        if !sum.within(count, largest(data_type)) {
            return Err(DecodeError::Invalid("sum above what its count allows"));
        }
        Ok(Self { sum, count })
    }

    fn admit(&self, _: &DataType) -> Result<u64, DecodeError> {
        Ok(self.count)
    }

    #[cfg(feature = "finish")]
    fn finish(&self, data_type: &DataType, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Count => bigint(self.count),
            Finisher::Value | Finisher::Avg if self.count == 0 => Ok(Value::Null),
            Finisher::Value | Finisher::Avg if self.count == FULL => Err(FinishError::OutOfRange("count")),
            Finisher::Value => self.value(data_type),
            Finisher::Avg => Ok(Value::Float(self.avg(data_type))),
            _ => Err(FinishError::Mismatch),
        }
    }
}

impl IntSum {
    #[inline]
    fn add(&mut self, value: i128) {
        self.count += 1;
        self.sum.add(value);
    }

    #[cfg(feature = "finish")]
    fn value(&self, data_type: &DataType) -> Result<Value, FinishError> {
        const NUMERIC_38: u128 = 10u128.pow(38) - 1;
        match (data_type, self.sum.to_i128()) {
            (DataType::Int16 | DataType::Int32, Some(sum)) => {
                i64::try_from(sum).map(Value::Int).map_err(|_| FinishError::OutOfRange("bigint"))
            }
            (DataType::Int16 | DataType::Int32, None) => Err(FinishError::OutOfRange("bigint")),
            (_, Some(sum)) if sum.unsigned_abs() <= NUMERIC_38 => Ok(Value::Decimal(sum)),
            _ => Err(FinishError::OutOfRange("numeric")),
        }
    }

    #[cfg(feature = "finish")]
    fn avg(&self, data_type: &DataType) -> f64 {
        let scale = if let DataType::Decimal { scale, .. } = data_type { *scale } else { 0 };
        // Powers of ten up to 10^22 are exact doubles; one division keeps the error to two roundings.
        self.sum.to_f64() / (self.count as f64 * 10u128.pow(u32::from(scale)) as f64)
    }
}

/// The largest magnitude that a column of a type can hold.
fn largest(data_type: &DataType) -> u128 {
    match data_type {
        DataType::Int16 => 1 << 15,
        DataType::Int32 => 1 << 31,
        DataType::Decimal { .. } => 1 << 127,
        _ => 1 << 63,
    }
}
