//! `bool_and`, `every`, `bool_or`, `bit_and`, `bit_or`, `bit_xor`.
//!
//! State: no value yet, or what all values so far give (booleans are 0 and 1). Identity: no value. Merge: the same
//! operation, which is commutative and associative (AND and OR are idempotent, too). Exact. NULLs do not count.
//! Bytes: 0 for no value; for booleans 1 (false) or 2 (true); for integers 1 and the value (zigzag).

use super::column::{State, StateColumn, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher};
use crate::codec::{DecodeError, Reader, Writer};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Conjunctions, disjunctions or exclusive disjunctions by group.
pub(super) type LogicStates = StateColumn<Logic>;

/// What the states of a column share.
pub(super) struct Params {
    /// Boolean or an integer type.
    pub data_type: DataType,
    /// What is done with the values.
    pub operation: Logical,
}

/// An operation on bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logical {
    And,
    Or,
    Xor,
}

/// The result so far.
#[derive(Clone)]
pub(super) struct Logic(Option<i64>);

impl Logic {
    #[inline]
    fn add(&mut self, value: i64, operation: Logical) {
        self.0 = Some(match (self.0, operation) {
            (None, _) => value,
            (Some(kept), Logical::And) => kept & value,
            (Some(kept), Logical::Or) => kept | value,
            (Some(kept), Logical::Xor) => kept ^ value,
        });
    }
}

impl State for Logic {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self(None)
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        valid_rows(rows, groups, column, |row, group| {
            let value = match &column.data {
                ColumnData::Bool(v) => i64::from(v[row]),
                ColumnData::Int(v) => v[row],
                _ => return,
            };
            states[group].add(value, params.operation);
        });
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        if let Some(value) = other.0 {
            self.add(value, params.operation);
        }
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        match self.0 {
            None => out.push(0),
            Some(value) if params.data_type == DataType::Bool => out.push(1 + value as u8),
            Some(value) => {
                out.push(1);
                out.put_zigzag(value);
            }
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("logic state");
        let value = match (bytes.u8()?, &params.data_type) {
            (0, _) => return Ok(Self(None)),
            (tag @ 1..=2, DataType::Bool) => i64::from(tag - 1),
            (1, data_type) => {
                let value = bytes.zigzag()?;
                let bits = match data_type {
                    DataType::Int16 => 16,
                    DataType::Int32 => 32,
                    _ => 64,
                };
                let spare = 64 - bits;
                if value << spare >> spare == value { value } else { return Err(WRONG) }
            }
            _ => return Err(WRONG),
        };
        Ok(Self(Some(value)))
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        match (finisher, self.0) {
            (Finisher::Value, None) => Ok(Value::Null),
            (Finisher::Value, Some(value)) if params.data_type == DataType::Bool => {
                Ok(Value::Bool(value != 0))
            }
            (Finisher::Value, Some(value)) => Ok(Value::Int(value)),
            _ => Err(FinishError::Mismatch),
        }
    }
}
