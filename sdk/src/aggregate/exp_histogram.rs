//! `exp_histogram(x[, buckets])`: see [`crate::sketch::exphist`] for state, laws, error and bytes.
//!
//! NULLs, NaNs and infinities do not count. Above 2^63 - 1 values the answer is an error.

use super::column::{State, StateColumn, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::exphist::ExpHistogram;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
#[cfg(feature = "finish")]
use alloc::vec;
use alloc::vec::Vec;

/// Histograms by group.
pub(super) type ExpHistogramStates = StateColumn<ExpHistogram>;

impl State for ExpHistogram {
    /// Most buckets of a side.
    type Params = u16;

    fn empty(_: &u16) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], buckets: &u16, rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            valid_rows(rows, groups, column, |row, group| states[group].add(*buckets, values[row]));
        }
    }

    fn merge(&mut self, buckets: &u16, other: &Self) {
        self.merge(*buckets, other);
    }

    fn encode(&self, _: &u16, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(buckets: &u16, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(*buckets, bytes)
    }

    fn admit(&self, _: &u16) -> Result<u64, DecodeError> {
        Ok(self.total().unwrap_or(u64::MAX))
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, _: &u16, finisher: &Finisher) -> Result<Value, FinishError> {
        let count = bigint(self.total().unwrap_or(u64::MAX))?;
        match finisher {
            Finisher::Count => Ok(count),
            Finisher::Value => {
                let record = |bucket: crate::sketch::exphist::Bucket| {
                    let count = bigint(bucket.count)?;
                    Ok(Value::Struct(vec![Value::Float(bucket.low), Value::Float(bucket.high), count]))
                };
                self.buckets().into_iter().map(record).collect::<Result<_, _>>().map(Value::List)
            }
            _ => super::column::finish_quantiles(finisher, |q| self.quantile(q)),
        }
    }
}
