//! `topk_agg(x, k[, weight])`: see [`crate::sketch::frequent`] for state, law and error bound.
//!
//! `keep` is 8 counters per reported value, 64..=8_000, so a count is at most `total / (keep + 1)` too low.
//! NULL values, and NULL or non-positive weights, do not count. Keys are canonical key bytes. Answers are
//! errors once a reported count passes 2^63 - 1 or all weight passes 2^64 - 1: so an event weighs at most
//! [`WEIGHT_MAX`](crate::limits::WEIGHT_MAX), and a batch's weight is bounded
//! ([`WEIGHT_PER_EVENT`](crate::limits::WEIGHT_PER_EVENT)).
//! Bytes: how many counters, error and, unless it is 0, the lost weight (varints); then for each counter,
//! ascending by key: the key's bytes, its count (varint). Full: `2 * keep + 1` and nothing else.

use super::column::{FETCHED_TOGETHER, State, StateColumn, admit_key, fetch, read_key, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::WEIGHT_PER_EVENT;
use crate::sketch::frequent::{Frequent, Shape};
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use crate::value::{DataType, key};
#[cfg(feature = "finish")]
use alloc::vec;
use alloc::vec::Vec;

/// Heavy hitters by group.
pub(super) type TopKStates = StateColumn<Frequent>;

/// What the states of a column share.
pub(super) struct Params {
    value: DataType,
    #[cfg(feature = "finish")]
    k: usize,
    shape: Shape,
    weighted: bool,
}

impl Params {
    /// For the `k` heaviest values of a type.
    pub fn new(value: &DataType, k: u16, weighted: bool) -> Self {
        Self {
            value: value.clone(),
            #[cfg(feature = "finish")]
            k: usize::from(k),
            shape: Shape::new((8 * usize::from(k)).clamp(64, 8_000)),
            weighted,
        }
    }
}

impl Params {
    /// What stands in place of the number of counters for more weight than can be counted.
    fn full(&self) -> u64 {
        2 * self.shape.keep as u64 + 1
    }
}

impl State for Frequent {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let (Some(&values), weights) = (args.first(), args.get(1)) else { return };
        let mut keys = Vec::new();
        let mut found = Vec::with_capacity(rows.len());
        valid_rows(rows, groups, values, |row, group| {
            let weight = match weights.map(|w| (&w.data, w.is_valid(row))) {
                None => 1,
                Some((ColumnData::Int(w), true)) => u64::try_from(w[row]).unwrap_or(0),
                Some(_) => 0,
            };
            let start = keys.len();
            key::encode_row(values, row, &params.value, &mut keys);
            found.push((group, params.shape.hash(&keys[start..]), start..keys.len(), weight));
        });
        for some in found.chunks(FETCHED_TOGETHER) {
            fetch(some, |(group, hash, ..)| states[*group].touch(*hash));
            for (group, hash, key, weight) in some {
                states[*group].add(&params.shape, *hash, &keys[key.clone()], *weight);
            }
        }
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        self.merge(&params.shape, other);
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        if self.total().is_none() {
            return out.put_varint(params.full());
        }
        let counters = self.by_key();
        out.put_varint(counters.len() as u64);
        out.put_varint(self.error());
        if self.error() > 0 {
            out.put_varint(self.lost());
        }
        for (key, count) in counters {
            out.extend_from_slice(key);
            out.put_varint(count);
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut ahead = bytes.clone();
        if ahead.varint()? == params.full() {
            *bytes = ahead;
            return Ok(Self::full());
        }
        let len = bytes.count(2, 2 * params.shape.keep)?;
        let error = bytes.varint()?;
        let lost = if error > 0 { bytes.varint()? } else { 0 };
        let mut counts = Vec::with_capacity(len);
        let mut before: &[u8] = &[];
        for _ in 0..len {
            let key = read_key(&params.value, before, bytes)?;
            counts.push((key, bytes.varint()?));
            before = key;
        }
        Self::from_parts(&params.shape, counts.into_iter(), error, lost)
            .ok_or(DecodeError::Invalid("heavy hitters"))
    }

    fn admit(&self, params: &Params) -> Result<u64, DecodeError> {
        self.keys().try_for_each(admit_key)?;
        let total = self.total().unwrap_or(u64::MAX);
        Ok(if params.weighted { total.div_ceil(WEIGHT_PER_EVENT) } else { total })
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        if *finisher != Finisher::Value {
            return Err(FinishError::Mismatch);
        }
        if self.total().is_none() {
            return Err(FinishError::OutOfRange("weight"));
        }
        let pair = |(key, count): (&[u8], u64)| {
            Ok(Value::Struct(vec![super::column::key_value(key, &params.value), bigint(count)?]))
        };
        self.top(params.k).into_iter().map(pair).collect::<Result<_, _>>().map(Value::List)
    }
}
