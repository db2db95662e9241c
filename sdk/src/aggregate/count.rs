//! `count(*)`, `count(x)`: rows, or rows whose argument is not NULL.
//!
//! State: a u64. Identity: 0. Merge: addition; 2^64 - 1 stands for that and everything above. Exact up to
//! 2^63 - 1, above which the answer is an error. Bytes: varint.

use super::States;
use super::column::{ONLY_WRITES, mixed_specs, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher};
use crate::codec::{DecodeError, Reader, Writer};
use crate::flavor::FOREIGN_STATES;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use alloc::vec::Vec;

/// Counts by group.
pub(super) struct CountStates {
    counts: Vec<u64>,
}

impl CountStates {
    /// An empty column.
    pub fn new() -> Self {
        Self { counts: Vec::new() }
    }

    fn add(&mut self, group: u32, count: u64) {
        let mine = &mut self.counts[group as usize];
        *mine = mine.saturating_add(count);
    }
}

impl States for CountStates {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let counts = &mut self.counts[..];
        match args.first() {
            None => groups.iter().for_each(|&group| counts[group as usize] += 1),
            Some(column) => valid_rows(rows, groups, column, |_, group| counts[group] += 1),
        }
    }

    fn merge(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<(), DecodeError> {
        if !FOREIGN_STATES {
            return Err(ONLY_WRITES);
        }
        let count = bytes.varint()?;
        self.add(group, count);
        Ok(())
    }

    fn admit(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<u64, DecodeError> {
        if !FOREIGN_STATES {
            return Err(ONLY_WRITES);
        }
        let count = bytes.varint()?;
        self.add(group, count);
        Ok(count)
    }

    fn merge_group(&mut self, into: u32, other: &dyn States, from: u32) {
        match other.as_any().downcast_ref::<Self>() {
            Some(other) => self.add(into, other.counts[from as usize]),
            None => mixed_specs(),
        }
    }

    fn encode(&self, group: u32, out: &mut Vec<u8>) {
        out.put_varint(self.counts[group as usize]);
    }

    fn reset(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn heap_bytes(&self) -> usize {
        self.counts.capacity() * 8
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    #[cfg(feature = "finish")]
    fn finish(&self, group: u32, finisher: &Finisher) -> Result<Value, FinishError> {
        let count = self.counts[group as usize];
        match finisher {
            Finisher::Value | Finisher::Count => super::spec::bigint(count),
            Finisher::Bytes => {
                let mut out = Vec::new();
                self.encode(group, &mut out);
                Ok(Value::Bytes(out))
            }
            _ => Err(FinishError::Mismatch),
        }
    }
}
