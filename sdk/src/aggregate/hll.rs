//! `count(DISTINCT x)`, `hll_agg(x[, p])`: see [`crate::sketch::hll`] for state, laws, error and bytes.
//!
//! Values are hashed by [`crate::hash`] over their canonical key bytes. NULLs do not count.
//! The hash is public, so whoever chooses the values chooses the registers: the stated error holds for values
//! that do not depend on their hashes. A register is therefore never held against a count of events.

use super::column::{FETCHED_TOGETHER, State, StateColumn, fetch, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::flavor::FETCH_TOGETHER;
use crate::hash::hash64;
use crate::sketch::hll::Hll;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use crate::value::{DataType, key};
use alloc::vec::Vec;

/// Distinct counts by group.
pub(super) type HllStates = StateColumn<Hll>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// 4..=18.
    pub precision: u8,
}

impl State for Hll {
    type Params = Params;

    fn empty(params: &Params) -> Self {
        Self::new(params.precision)
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let mut bytes = Vec::new();
        let mut hash = |row| {
            bytes.clear();
            key::encode_row(column, row, &params.value, &mut bytes);
            hash64(&bytes)
        };
        if !FETCH_TOGETHER {
            return valid_rows(rows, groups, column, |row, group| states[group].insert(hash(row)));
        }
        let mut hashes = Vec::with_capacity(rows.len());
        valid_rows(rows, groups, column, |row, group| hashes.push((group, hash(row))));
        for some in hashes.chunks(FETCHED_TOGETHER) {
            fetch(some, |&(group, hash)| states[group].touch(hash));
            some.iter().for_each(|&(group, hash)| states[group].insert(hash));
        }
    }

    fn merge(&mut self, _: &Params, other: &Self) {
        self.merge(other);
    }

    fn encode(&self, _: &Params, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(params.precision, bytes)
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, _: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Value | Finisher::Cardinality => {
                // Only crafted hashes get there, and there an estimate has no error left to state.
                bigint(self.estimate().min(i64::MAX as u64))
            }
            _ => Err(FinishError::Mismatch),
        }
    }
}
