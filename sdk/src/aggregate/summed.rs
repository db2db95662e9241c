//! States of rows of doubles that are counted and summed exactly: few rows as they are, then their sums.
//!
//! Owns: [`Summed`], the count, the rows kept and when they give way to sums. Must not know: which sums, nor what is
//! made of them ([`Sums`]). Invariants: which of the two a state holds depends only on its count; rows are ascending;
//! a count that reaches 2^64 - 1 is full: it absorbs, holds nothing else any more, and its answers are errors.
//! Bytes: count (varint); up to `RAW_MAX`: the rows; above, unless full: the sums.

use super::column::{State, valid_rows};
use super::scalar::{canonical, is_canonical};
use super::sum::FULL;
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Exact sums over rows of `W` doubles.
pub(super) trait Sums<const W: usize>: Clone + Default + Send + Sync + 'static {
    /// Rows kept as they are: the sums of so few would be larger.
    const RAW_MAX: usize;
    /// Adds a row.
    fn add(&mut self, row: &[f64; W]);
    /// Adds the sums of other rows.
    fn merge(&mut self, other: &Self);
    /// Appends the canonical bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `count` rows, or merges of such sums, can sum to.
    fn decode(count: u64, bytes: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// True when `count` rows could have these sums, as far as their inequalities tell.
    fn is_possible(&self, count: u64) -> bool;
    /// Heap bytes held.
    fn heap_bytes(&self) -> usize;
    /// The answer for `count` rows, of which there is at least one.
    #[cfg(feature = "finish")]
    fn finish(&self, count: u64, finisher: &Finisher) -> Result<Value, FinishError>;
}

/// A count, and few rows or the sums of many.
#[derive(Clone, Default)]
pub(super) struct Summed<S, const W: usize> {
    count: u64,
    /// All rows, ascending, while there are no sums.
    raw: Vec<[f64; W]>,
    sums: Option<Box<S>>,
}

fn order<const W: usize>(a: &[f64; W], b: &[f64; W]) -> Ordering {
    let by_part = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
    by_part.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl<S: Sums<W>, const W: usize> Summed<S, W> {
    fn add(&mut self, row: &[f64; W]) {
        match &mut self.sums {
            Some(sums) => sums.add(row),
            None if self.count == FULL => return,
            None if self.raw.len() < S::RAW_MAX => {
                let row = row.map(canonical);
                let at = self.raw.partition_point(|kept| order(kept, &row).is_lt());
                self.raw.insert(at, row);
            }
            None => self.sums().add(row),
        }
        self.count_more(1);
    }

    fn count_more(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
        if self.count == FULL {
            self.sums = None;
            self.raw = Vec::new();
        }
    }

    fn to_sums(&self) -> Box<S> {
        let mut sums = self.sums.clone().unwrap_or_default();
        self.raw.iter().for_each(|row| sums.add(row));
        sums
    }

    fn sums(&mut self) -> &mut S {
        if self.sums.is_none() {
            self.sums = Some(self.to_sums());
            self.raw = Vec::new();
        }
        self.sums.get_or_insert_default()
    }
}

impl<S: Sums<W>, const W: usize> State for Summed<S, W> {
    type Params = ();

    fn empty((): &()) -> Self {
        Self { count: 0, raw: Vec::new(), sums: None }
    }

    fn update(states: &mut [Self], (): &(), rows: &[u32], groups: &[u32], args: &[&Column]) {
        let Ok(columns) = <[&Column; W]>::try_from(args) else { return };
        valid_rows(rows, groups, columns[0], |row, group| {
            let mut values = [0.0; W];
            for (value, column) in values.iter_mut().zip(columns) {
                match &column.data {
                    ColumnData::Float(data) if column.is_valid(row) => *value = data[row],
                    _ => return,
                }
            }
            states[group].add(&values);
        });
    }

    fn merge(&mut self, (): &(), other: &Self) {
        other.raw.iter().for_each(|row| self.add(row));
        if let Some(theirs) = &other.sums
            && self.count != FULL
        {
            self.sums().merge(theirs);
        }
        if other.count > S::RAW_MAX as u64 {
            self.count_more(other.count);
        }
    }

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        out.put_varint(self.count);
        self.raw.iter().flatten().for_each(|x| out.extend_from_slice(&x.to_bits().to_le_bytes()));
        if let Some(sums) = &self.sums {
            sums.encode(out);
        }
    }

    fn decode((): &(), bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = bytes.varint()?;
        let mut state = Self { count, raw: Vec::new(), sums: None };
        if count == FULL {
            return Ok(state);
        }
        if count > S::RAW_MAX as u64 {
            state.sums = Some(Box::new(S::decode(count, bytes)?));
            return Ok(state);
        }
        for _ in 0..count {
            let mut row = [0.0; W];
            for value in &mut row {
                *value = is_canonical(bytes.f64()?)?;
            }
            state.raw.push(row);
        }
        let sorted = state.raw.is_sorted_by(|a, b| order(a, b).is_le());
        if sorted { Ok(state) } else { Err(DecodeError::Invalid("order of values")) }
    }

    fn admit(&self, (): &()) -> Result<u64, DecodeError> {
        match &self.sums {
            Some(sums) if !sums.is_possible(self.count) => Err(DecodeError::Invalid("moments")),
            _ => Ok(self.count),
        }
    }

    fn heap_bytes(&self) -> usize {
        let sums = self.sums.as_deref().map_or(0, |s| core::mem::size_of::<S>() + s.heap_bytes());
        sums + self.raw.capacity() * core::mem::size_of::<[f64; W]>()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, (): &(), finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Count => bigint(self.count),
            _ if self.count == FULL => Err(FinishError::OutOfRange("count")),
            _ => self.to_sums().finish(self.count, finisher),
        }
    }
}
