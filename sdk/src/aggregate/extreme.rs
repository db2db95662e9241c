//! `min`, `max` over every ordered type.
//!
//! State: no value yet, or the extreme one. Identity: no value. Merge: the smaller or larger by the order of
//! [`super::scalar`] (equal values have equal bytes, so ties cannot show). Exact. Floats: NaN is greatest,
//! -0 is 0. Bytes: 0, or 1 and the value.

use super::column::{State, StateColumn, valid_rows};
use super::scalar::{Owned, Scalar};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher};
use crate::codec::{DecodeError, Reader};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Minima or maxima by group.
pub(super) type Extremes = StateColumn<Extreme>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub data_type: DataType,
    /// A value replaces the kept one when it compares so to it.
    pub wins: Ordering,
}

/// The extreme value so far.
#[derive(Clone)]
pub(super) struct Extreme(Option<Owned>);

impl Extreme {
    #[inline]
    fn offer(&mut self, value: Scalar<&[u8]>, wins: Ordering) {
        if self.0.as_ref().is_none_or(|kept| value.order(kept) == wins) {
            self.0 = Some(value.to_owned());
        }
    }
}

impl State for Extreme {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self(None)
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        valid_rows(rows, groups, column, |row, group| {
            states[group].offer(Scalar::at(column, row), params.wins)
        });
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        if let Some(value) = &other.0 {
            self.offer(value.view(), params.wins);
        }
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        out.push(u8::from(self.0.is_some()));
        if let Some(value) = &self.0 {
            value.encode(&params.data_type, out);
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match bytes.u8()? {
            0 => Ok(Self(None)),
            1 => Ok(Self(Some(Scalar::decode(&params.data_type, bytes)?.to_owned()))),
            _ => Err(DecodeError::Invalid("extreme")),
        }
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        self.0.iter().try_for_each(Scalar::admit).map(|()| 0)
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Scalar::heap_bytes)
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Value => Ok(self.0.as_ref().map_or(Value::Null, |v| v.value(&params.data_type))),
            _ => Err(FinishError::Mismatch),
        }
    }
}
