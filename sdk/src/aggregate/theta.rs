//! `theta_agg(x[, k])`: see [`crate::sketch::theta`] for state, laws, error and bytes.
//!
//! Values are hashed by [`crate::hash`] over their canonical key bytes. NULLs do not count. A producer's state has a
//! bound only with k hashes below it: intersections and differences are made by readers. The hash is public, so
//! whoever chooses the values chooses which of them are in the sample.

use super::column::{FETCHED_TOGETHER, State, StateColumn, fetch, hash_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::sketch::theta::Theta;
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;

/// Sampled sets by group.
pub(super) type ThetaStates = StateColumn<Theta>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// Most hashes.
    pub k: usize,
}

impl State for Theta {
    type Params = Params;

    fn empty(params: &Params) -> Self {
        Self::new(params.k)
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let hashes = hash_rows(rows, groups, column, &params.value);
        for some in hashes.chunks(FETCHED_TOGETHER) {
            fetch(some, |&(group, _)| states[group].touch());
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
        Self::decode(params.k, bytes)
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        if self.is_sampled() { Ok(0) } else { Err(DecodeError::Invalid("theta")) }
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, _: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            // Only crafted hashes pass bigint, and there an estimate has no error left to state.
            Finisher::Cardinality => bigint(((self.estimate() + 0.5) as u64).min(i64::MAX as u64)),
            _ => Err(FinishError::Mismatch),
        }
    }
}
