//! `dist_agg`: see [`crate::sketch::tdigest`] for state, law, error bound and bytes.
//!
//! NULLs, NaNs and infinities do not count. Above 2^63 - 1 values the answer is an error.

use super::column::{State, StateColumn, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::tdigest::TDigest;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Digests by group.
pub(super) type TDigestStates = StateColumn<TDigest>;

impl State for TDigest {
    /// The compression.
    type Params = u16;

    fn empty(compression: &u16) -> Self {
        Self::new(*compression)
    }

    fn update(states: &mut [Self], _: &u16, rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            valid_rows(rows, groups, column, |row, group| states[group].add(values[row]));
        }
    }

    fn merge(&mut self, _: &u16, other: &Self) {
        self.merge(other);
    }

    fn encode(&self, _: &u16, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(compression: &u16, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(*compression, bytes)
    }

    fn admit(&self, _: &u16) -> Result<u64, DecodeError> {
        Ok(self.count())
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, _: &u16, finisher: &Finisher) -> Result<Value, FinishError> {
        let count = bigint(self.count())?;
        if *finisher == Finisher::Count {
            return Ok(count);
        }
        super::column::finish_quantiles(finisher, |q| self.quantile(q))
    }
}
