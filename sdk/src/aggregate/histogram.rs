//! `histogram(x, bounds)`: see [`crate::sketch::histogram`] for state, laws and bytes.
//!
//! NULLs do not count. The answer has one count more than there are bounds. Above 2^63 - 1 values in a bucket, or
//! 2^64 - 1 in all, it is an error.

use super::column::{State, StateColumn, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::histogram::Histogram;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Histograms by group.
pub(super) type HistogramStates = StateColumn<Histogram>;

impl State for Histogram {
    /// The bounds.
    type Params = Vec<f64>;

    fn empty(_: &Vec<f64>) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], bounds: &Vec<f64>, rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            valid_rows(rows, groups, column, |row, group| states[group].add(bounds, values[row]));
        }
    }

    fn merge(&mut self, _: &Vec<f64>, other: &Self) {
        self.merge(other);
    }

    fn encode(&self, bounds: &Vec<f64>, out: &mut Vec<u8>) {
        self.encode(bounds.len(), out);
    }

    fn decode(bounds: &Vec<f64>, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(bounds.len(), bytes)
    }

    fn admit(&self, _: &Vec<f64>) -> Result<u64, DecodeError> {
        Ok(self.total().unwrap_or(u64::MAX))
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, bounds: &Vec<f64>, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Value => {
                let counts = self.counts(bounds.len()).ok_or(FinishError::OutOfRange("bigint"))?;
                counts.into_iter().map(bigint).collect::<Result<_, _>>().map(Value::List)
            }
            Finisher::Count => bigint(self.total().unwrap_or(u64::MAX)),
            _ => Err(FinishError::Mismatch),
        }
    }
}
