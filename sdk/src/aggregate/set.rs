//! `exact_count_distinct(x)`, `set_agg(x)`: every distinct value, up to a cap.
//!
//! State: distinct canonical key bytes, or "full" once there are more than `cap`. Identity: empty. Merge:
//! union; full absorbs. Both depend only on the set of values: commutative, associative, idempotent. Exact,
//! or an error when finished. NULLs do not count. Worst case: `cap` values and about 40 bytes for each.
//! Bytes: 0 for full; else 1 + how many (varint), then the values' key bytes, ascending.

use super::column::{State, StateColumn, admit_key, read_key, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::key::Key;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use crate::value::{DataType, key};
use alloc::vec::Vec;
use hashbrown::HashSet;

/// Sets by group.
pub(super) type SetStates = StateColumn<Set>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// Most values.
    pub cap: u32,
}

/// Distinct keys; `None` when full.
#[derive(Clone)]
pub(super) struct Set(Option<HashSet<Key>>);

impl Set {
    fn insert(&mut self, key: &[u8], cap: u32) {
        let Some(keys) = &mut self.0 else { return };
        if !keys.contains(key) {
            keys.insert(key.into());
        }
        if keys.len() > cap as usize {
            self.0 = None;
        }
    }

    fn sorted(keys: &HashSet<Key>) -> Vec<&[u8]> {
        let mut sorted: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        sorted.sort_unstable();
        sorted
    }
}

impl State for Set {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self(Some(HashSet::new()))
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let mut bytes = Vec::new();
        valid_rows(rows, groups, column, |row, group| {
            bytes.clear();
            key::encode_row(column, row, &params.value, &mut bytes);
            states[group].insert(&bytes, params.cap);
        });
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        match &other.0 {
            None => self.0 = None,
            Some(keys) => keys.iter().for_each(|key| self.insert(key.as_bytes(), params.cap)),
        }
    }

    fn encode(&self, _: &Params, out: &mut Vec<u8>) {
        let Some(keys) = &self.0 else { return out.push(0) };
        out.put_varint(keys.len() as u64 + 1);
        Self::sorted(keys).into_iter().for_each(|key| out.extend_from_slice(key));
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(len) = bytes.varint()?.checked_sub(1) else { return Ok(Self(None)) };
        if len > u64::from(params.cap) {
            return Err(DecodeError::TooLarge("set"));
        }
        let mut keys = HashSet::new();
        let mut before: &[u8] = &[];
        for _ in 0..len {
            before = read_key(&params.value, before, bytes)?;
            keys.insert(before.into());
        }
        Ok(Self(Some(keys)))
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        self.0.iter().flatten().try_for_each(|key| admit_key(key.as_bytes())).map(|()| 0)
    }

    fn heap_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |keys| keys.capacity() * 25 + keys.iter().map(Key::heap_bytes).sum::<usize>())
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        let keys = self.0.as_ref();
        let full = || FinishError::SetFull(params.cap);
        match finisher {
            Finisher::Cardinality => bigint(keys.ok_or_else(full)?.len() as u64),
            Finisher::Value => {
                let values = Self::sorted(keys.ok_or_else(full)?).into_iter();
                Ok(Value::List(values.map(|key| super::column::key_value(key, &params.value)).collect()))
            }
            _ => Err(FinishError::Mismatch),
        }
    }
}
