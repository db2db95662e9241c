//! `freq_agg(x[, eps, p])`: see [`crate::sketch::countmin`] for state, laws, error and bytes.
//!
//! Values are hashed by [`crate::hash`] over their canonical key bytes. NULLs do not count. Above 2^63 - 1 events the
//! answer is an error. The hash is public: the stated error holds for values that do not depend on their hashes.

use super::column::{State, StateColumn, hash_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::countmin::{CountMin, Shape};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;

/// Frequencies by group.
pub(super) type FreqStates = StateColumn<CountMin>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// Counters.
    pub shape: Shape,
}

impl State for CountMin {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let hashes = hash_rows(rows, groups, column, &params.value);
        hashes.into_iter().for_each(|(group, hash)| states[group].add(&params.shape, hash, 1));
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        self.merge(&params.shape, other);
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        self.encode(&params.shape, out);
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(&params.shape, bytes)
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        Ok(self.total().unwrap_or(u64::MAX))
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, _: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Count => bigint(self.total().unwrap_or(u64::MAX)),
            _ => Err(FinishError::Mismatch),
        }
    }
}
