//! `bloom_agg(x[, p, n])`: see [`crate::sketch::bloom`] for state, laws, error and bytes.
//!
//! Values are hashed by [`crate::hash`] over their canonical key bytes. NULLs are in no filter. The hash is public:
//! whoever chooses the values may choose which others they seem to contain.

use super::column::{FETCHED_TOGETHER, State, StateColumn, fetch, hash_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::bloom::{Bloom, Shape};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;

/// Filters by group.
pub(super) type BloomStates = StateColumn<Bloom>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// Bits.
    pub shape: Shape,
}

impl State for Bloom {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let hashes = hash_rows(rows, groups, column, &params.value);
        for some in hashes.chunks(FETCHED_TOGETHER) {
            fetch(some, |&(group, hash)| states[group].touch(&params.shape, hash));
            some.iter().for_each(|&(group, hash)| states[group].insert(&params.shape, hash));
        }
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

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Cardinality => bigint(self.estimate(&params.shape)),
            _ => Err(FinishError::Mismatch),
        }
    }
}
