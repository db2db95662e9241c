//! `percentile_cont`, `approx_percentile`: see [`crate::sketch::ddsketch`] for state, laws, error and bytes.
//!
//! NULLs and NaNs do not count. Above 2^63 - 1 values the answer is an error.

use super::column::{FETCHED_TOGETHER, State, StateColumn, fetch, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::flavor::FETCH_TOGETHER;
use crate::sketch::ddsketch::{DdSketch, Mapping};
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::vec::Vec;

/// Quantile sketches by group.
pub(super) type DdSketchStates = StateColumn<DdSketch>;

impl State for DdSketch {
    type Params = Mapping;

    fn empty(_: &Mapping) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], mapping: &Mapping, rows: &[u32], groups: &[u32], args: &[&Column]) {
        if let [column] = args
            && let ColumnData::Float(values) = &column.data
        {
            if !FETCH_TOGETHER {
                let add = |row: usize, group: usize| states[group].add(mapping, values[row]);
                return valid_rows(rows, groups, column, add);
            }
            let mut placed = Vec::with_capacity(rows.len());
            valid_rows(rows, groups, column, |row, group| {
                let x = values[row];
                if !x.is_nan() {
                    placed.push((group, x, mapping.place(x)));
                }
            });
            for some in placed.chunks(FETCHED_TOGETHER) {
                fetch(some, |&(group, ..)| states[group].touch());
                fetch(some, |&(group, _, place)| states[group].touch_bucket(place));
                some.iter().for_each(|&(group, x, place)| states[group].add_placed(mapping, x, place));
            }
        }
    }

    fn merge(&mut self, mapping: &Mapping, other: &Self) {
        self.merge(mapping, other);
    }

    fn encode(&self, _: &Mapping, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode(mapping: &Mapping, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(mapping, bytes)
    }

    fn admit(&self, _: &Mapping) -> Result<u64, DecodeError> {
        Ok(self.count())
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, mapping: &Mapping, finisher: &Finisher) -> Result<Value, FinishError> {
        // Buckets hold at most 2^64 - 1 each: far below, this has noticed.
        let count = bigint(self.count())?;
        if *finisher == Finisher::Count {
            return Ok(count);
        }
        super::column::finish_quantiles(finisher, |q| self.quantile(mapping, q))
    }
}
