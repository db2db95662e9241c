//! The plumbing that all aggregates share: a column of states from the description of one state.
//!
//! Owns: [`State`], [`StateColumn`], the loop over valid rows. Must not know: any aggregate.

use super::States;
#[cfg(feature = "finish")]
use super::{FinishError, Finisher};
use crate::codec::{DecodeError, Reader};
use crate::flavor::{FETCH_TOGETHER, FOREIGN_STATES};
use crate::limits::VALUE_BYTES_MAX;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, Slot};
use crate::value::{DataType, key};
use alloc::vec::Vec;

/// One mergeable state. `Params` is what all states of a column share.
pub(super) trait State: Clone + Send + Sync + 'static {
    /// Types, precision, caps.
    type Params: Send + Sync + 'static;

    /// The identity of merge.
    fn empty(params: &Self::Params) -> Self;
    /// Adds rows, each to the state of its group.
    fn update(states: &mut [Self], params: &Self::Params, rows: &[u32], groups: &[u32], args: &[&Column]);
    /// Merges another state.
    fn merge(&mut self, params: &Self::Params, other: &Self);
    /// Appends the canonical bytes.
    fn encode(&self, params: &Self::Params, out: &mut Vec<u8>);
    /// Reads and validates canonical bytes. What decodes is closed under merge.
    fn decode(params: &Self::Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// What a producer's state must keep besides: how many events it stands for, 0 when it does not tell.
    fn admit(&self, _: &Self::Params) -> Result<u64, DecodeError> {
        Ok(0)
    }
    /// Heap bytes of this state.
    fn heap_bytes(&self) -> usize {
        0
    }
    /// The answer.
    #[cfg(feature = "finish")]
    fn finish(&self, params: &Self::Params, finisher: &Finisher) -> Result<Value, FinishError>;
}

/// States of one spec, one per group.
pub(super) struct StateColumn<S: State> {
    params: S::Params,
    states: Vec<S>,
}

impl<S: State> StateColumn<S> {
    /// An empty column.
    pub fn new(params: S::Params) -> Self {
        Self { params, states: Vec::new() }
    }

    /// One state.
    #[cfg(feature = "finish")]
    pub fn get(&self, group: u32) -> Option<&S> {
        self.states.get(group as usize)
    }
}

/// The answer to a foreign state of a build without [`FOREIGN_STATES`].
pub(super) const ONLY_WRITES: DecodeError = DecodeError::Invalid("state: this build only writes them");

impl<S: State> States for StateColumn<S> {
    fn resize(&mut self, groups: usize) {
        let params = &self.params;
        self.states.resize_with(groups, || S::empty(params));
    }

    fn update(&mut self, rows: &[u32], groups: &[u32], args: &[&Column]) {
        S::update(&mut self.states, &self.params, rows, groups, args);
    }

    fn merge(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<(), DecodeError> {
        if !FOREIGN_STATES {
            return Err(ONLY_WRITES);
        }
        let other = S::decode(&self.params, bytes)?;
        self.states[group as usize].merge(&self.params, &other);
        Ok(())
    }

    fn admit(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<u64, DecodeError> {
        if !FOREIGN_STATES {
            return Err(ONLY_WRITES);
        }
        let other = S::decode(&self.params, bytes)?;
        let events = other.admit(&self.params)?;
        self.states[group as usize].merge(&self.params, &other);
        Ok(events)
    }

    fn merge_group(&mut self, into: u32, other: &dyn States, from: u32) {
        match other.as_any().downcast_ref::<Self>() {
            Some(other) => self.states[into as usize].merge(&self.params, &other.states[from as usize]),
            None => mixed_specs(),
        }
    }

    fn encode(&self, group: u32, out: &mut Vec<u8>) {
        self.states[group as usize].encode(&self.params, out);
    }

    fn reset(&mut self, group: u32) {
        if !FOREIGN_STATES {
            // Only hubs do.
            return;
        }
        self.states[group as usize] = S::empty(&self.params);
    }

    fn heap_bytes(&self) -> usize {
        let own = self.states.capacity() * core::mem::size_of::<S>();
        self.states.iter().fold(own, |sum, s| sum + s.heap_bytes())
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    #[cfg(feature = "finish")]
    fn finish(&self, group: u32, finisher: &Finisher) -> Result<Value, FinishError> {
        let state = &self.states[group as usize];
        if *finisher == Finisher::Bytes {
            let mut out = Vec::new();
            state.encode(&self.params, &mut out);
            return Ok(Value::Bytes(out));
        }
        state.finish(&self.params, finisher)
    }
}

/// The caller handed states of one spec to another's column: a bug in the caller, never foreign bytes.
#[cold]
#[inline(never)]
pub(super) fn mixed_specs() -> ! {
    panic!("merged states of different specs")
}

/// Calls `each(row, group)` for the rows whose slot in `column` holds a value.
#[inline(always)]
pub(super) fn valid_rows(rows: &[u32], groups: &[u32], column: &Column, mut each: impl FnMut(usize, usize)) {
    let pairs = rows.iter().zip(groups);
    match &column.slots {
        None => pairs.for_each(|(&row, &group)| each(row as usize, group as usize)),
        Some(slots) => {
            for (&row, &group) in pairs {
                if slots[row as usize] == Slot::Valid {
                    each(row as usize, group as usize);
                }
            }
        }
    }
}

/// Rows whose memory is fetched together.
pub(super) const FETCHED_TOGETHER: usize = 512;

/// Reads from the states of some rows what their update will need. With many groups nearly every state is out of
/// the near caches; these reads do not depend on each other, so the processor waits for many of them at once.
#[inline(always)]
pub(super) fn fetch<T>(some: &[T], touch: impl Fn(&T) -> u64) {
    core::hint::black_box(some.iter().fold(0, |touched, one| touched ^ touch(one)));
}

/// States that the near caches hold.
const STATES_NEAR: usize = 8_192;

/// As [`valid_rows`], for the states of a column: those of many groups are fetched together.
#[inline(always)]
pub(super) fn valid_states<S>(
    states: &mut [S],
    (rows, groups): (&[u32], &[u32]),
    column: &Column,
    touch: impl Fn(&S) -> u64,
    mut each: impl FnMut(&mut S, usize),
) {
    if !FETCH_TOGETHER || states.len() <= STATES_NEAR {
        return valid_rows(rows, groups, column, |row, group| each(&mut states[group], row));
    }
    for (rows, groups) in rows.chunks(FETCHED_TOGETHER).zip(groups.chunks(FETCHED_TOGETHER)) {
        fetch(groups, |group| touch(&states[*group as usize]));
        valid_rows(rows, groups, column, |row, group| each(&mut states[group], row));
    }
}

/// The groups and the hashes of the rows whose slot in `column` holds a value.
#[cfg(feature = "sketches")]
pub(super) fn hash_rows(
    rows: &[u32],
    groups: &[u32],
    column: &Column,
    data_type: &DataType,
) -> Vec<(usize, u64)> {
    let mut bytes = Vec::new();
    let mut hashes = Vec::with_capacity(rows.len());
    valid_rows(rows, groups, column, |row, group| {
        bytes.clear();
        key::encode_row(column, row, data_type, &mut bytes);
        hashes.push((group, crate::hash::hash64(&bytes)));
    });
    hashes
}

/// Answers [`Finisher::Quantile`] and [`Finisher::Quantiles`]; an empty state gives NULL.
#[cfg(feature = "finish")]
pub(super) fn finish_quantiles(
    finisher: &Finisher,
    quantile: impl Fn(f64) -> Option<f64>,
) -> Result<Value, FinishError> {
    let valid = |q: &f64| (0.0..=1.0).contains(q);
    match finisher {
        Finisher::Quantile(q) if valid(q) => Ok(quantile(*q).map_or(Value::Null, Value::Float)),
        Finisher::Quantiles(qs) if qs.iter().all(valid) => {
            let all: Option<Vec<Value>> = qs.iter().map(|&q| quantile(q).map(Value::Float)).collect();
            Ok(all.map_or(Value::Null, Value::List))
        }
        _ => Err(FinishError::Mismatch),
    }
}

/// Reads one value's canonical key bytes, which must not be NULL and must come after `before`.
pub(super) fn read_key<'a>(
    data_type: &DataType,
    before: &[u8],
    bytes: &mut Reader<'a>,
) -> Result<&'a [u8], DecodeError> {
    let rest = bytes.peek_rest();
    let value = key::decode_value(bytes, data_type)?;
    let key = &rest[..rest.len() - bytes.remaining()];
    if value.is_null() || key <= before { Err(DecodeError::Invalid("order of values")) } else { Ok(key) }
}

/// Refuses key bytes of a value that no honest producer keeps in a state: escaping at most doubles it.
pub(super) fn admit_key(key: &[u8]) -> Result<(), DecodeError> {
    if key.len() > 2 * VALUE_BYTES_MAX + 2 { Err(DecodeError::TooLarge("value")) } else { Ok(()) }
}

/// The value of canonical key bytes that this process wrote or checked.
#[cfg(feature = "finish")]
pub(super) fn key_value(bytes: &[u8], data_type: &DataType) -> Value {
    key::decode_value(&mut Reader::new(bytes), data_type).unwrap_or_default()
}
