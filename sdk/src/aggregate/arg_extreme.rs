//! `arg_min(x, key)`, `arg_max(x, key)`; `keyed_min(key, x)`, `keyed_max(key, x)`; `first(x)`, `last(x)` by time.
//!
//! State: none yet, or a key and the value that came with it. Identity: none. Merge: the smaller (larger)
//! key; at equal keys the smaller (larger) value, so that arrival order cannot matter. Exact.
//! NULLs: a row with a NULL key does not count. A NULL value with a key does count, as in PostgreSQL's
//! `(array_agg(x ORDER BY key))[1]` and TimescaleDB's `first`: the answer is then NULL; at equal keys any
//! value beats NULL. Bytes: 0; or 1, key, value; or 2 and the key, for a NULL value.

use super::column::{State, StateColumn, valid_rows};
use super::scalar::{Owned, Scalar};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, States};
use crate::codec::{DecodeError, Reader};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The value at the extreme key, by group.
pub(super) type ArgExtremes = StateColumn<ArgExtreme>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// The key's type.
    pub key: DataType,
    /// A pair replaces the kept one when it compares so to it.
    pub wins: Ordering,
}

/// The pair so far.
#[derive(Clone)]
pub(super) struct ArgExtreme(Option<(Owned, Option<Owned>)>);

impl ArgExtreme {
    fn offer(&mut self, key: Scalar<&[u8]>, value: Option<Scalar<&[u8]>>, wins: Ordering) {
        let better = match &self.0 {
            None => true,
            Some((kept_key, kept)) => match (key.order(kept_key), &value, kept) {
                (Ordering::Equal, Some(value), Some(kept)) => value.order(kept) == wins,
                (Ordering::Equal, Some(_), None) => true,
                (Ordering::Equal, None, _) => false,
                (order, ..) => order == wins,
            },
        };
        if better {
            self.0 = Some((key.to_owned(), value.map(Scalar::to_owned)));
        }
    }
}

/// The key that a group's state keeps, where it is a number or a time: a hub holds it against its clock. `None` for
/// an empty state, and for states of other aggregates.
#[cfg(feature = "finish")]
pub fn integer_key(states: &dyn States, group: u32) -> Option<i64> {
    match states.as_any().downcast_ref::<ArgExtremes>()?.get(group)?.0.as_ref()?.0 {
        Scalar::Int(key) => Some(key),
        _ => None,
    }
}

impl State for ArgExtreme {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self(None)
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [values, keys] = args else { return };
        valid_rows(rows, groups, keys, |row, group| {
            let value = values.is_valid(row).then(|| Scalar::at(values, row));
            states[group].offer(Scalar::at(keys, row), value, params.wins);
        });
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        if let Some((key, value)) = &other.0 {
            self.offer(key.view(), value.as_ref().map(Scalar::view), params.wins);
        }
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        let Some((key, value)) = &self.0 else { return out.push(0) };
        out.push(if value.is_some() { 1 } else { 2 });
        key.encode(&params.key, out);
        if let Some(value) = value {
            value.encode(&params.value, out);
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = bytes.u8()?;
        if tag == 0 {
            return Ok(Self(None));
        }
        if tag > 2 {
            return Err(DecodeError::Invalid("keyed state"));
        }
        let key = Scalar::decode(&params.key, bytes)?.to_owned();
        let value = if tag == 1 { Some(Scalar::decode(&params.value, bytes)?.to_owned()) } else { None };
        Ok(Self(Some((key, value))))
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        let kept = self.0.iter().flat_map(|(key, value)| Some(key).into_iter().chain(value));
        kept.into_iter().try_for_each(Scalar::admit).map(|()| 0)
    }

    fn heap_bytes(&self) -> usize {
        let of = |(key, value): &(Owned, Option<Owned>)| {
            key.heap_bytes() + value.as_ref().map_or(0, Scalar::heap_bytes)
        };
        self.0.as_ref().map_or(0, of)
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        let value = self.0.as_ref().and_then(|(_, value)| value.as_ref());
        match finisher {
            Finisher::Value => Ok(value.map_or(Value::Null, |v| v.value(&params.value))),
            _ => Err(FinishError::Mismatch),
        }
    }
}
