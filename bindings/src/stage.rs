//! The memory into which JavaScript writes the rows of one stream, column by column.
//!
//! Owns: one [`ColumnBatch`] whose integer and double columns are written in place, and side buffers for
//! the other layouts. Must not know: plans, groups, what happens to the batch.
//! Invariants: buffers never move after [`Stage::new`] (they keep their length or shrink and grow within
//! their capacity), so JavaScript may keep views on them until the memory itself grows; whatever bytes
//! JavaScript leaves there are valid values.

use crate::dictionary::Dictionary;
use alloc::vec;
use alloc::vec::Vec;
use headwater::rollup::Codes;
use headwater::schema::StreamSchema;
#[cfg(feature = "full")]
use headwater::value::Interval;
use headwater::value::column::{Column, ColumnBatch, ColumnData, Slot};
use headwater::value::{DataType, Physical};

/// Rows that JavaScript may write before it pushes them.
pub const ROWS: usize = 1024;

/// The rows of one stream on their way in.
pub struct Stage {
    batch: ColumnBatch,
    sides: Vec<Side>,
    /// One per column: JavaScript sets it when it wrote a null.
    has_null: Vec<u8>,
}

/// What JavaScript writes beside the batch.
struct Side {
    code: [u32; 3],
    /// 0 valid, 1 null; one per row.
    slots: Vec<u8>,
    /// Values that are not written in place: one byte (boolean), a handle (text, bytea, uuid: one word), or
    /// four words (numeric: low word first; interval: months, days, microseconds).
    words: Vec<u32>,
}

impl Stage {
    /// Room for [`ROWS`] rows of a stream.
    pub fn new(schema: &StreamSchema) -> Self {
        let mut batch = schema.empty_batch();
        let mut sides = Vec::with_capacity(batch.columns.len());
        for (index, column) in batch.columns.iter_mut().enumerate() {
            let data_type = schema.fields.get(index).map_or(&DataType::Timestamp, |field| &field.data_type);
            sides.push(Side::new(data_type, column));
            resize(column, ROWS);
        }
        Self { has_null: vec![0; sides.len()], sides, batch }
    }

    /// Per column: type code, precision, scale, longest value in bytes, address of the values, address of the
    /// slots. The last entry is the address of the null flags.
    pub fn layout(&self, value_bytes_max: impl Fn(usize) -> usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.sides.len() * 6 + 1);
        for (index, (side, column)) in self.sides.iter().zip(&self.batch.columns).enumerate() {
            let values = match &column.data {
                ColumnData::Int(v) => v.as_ptr() as usize,
                ColumnData::Float(v) => v.as_ptr() as usize,
                _ => side.words.as_ptr() as usize,
            };
            let [code, precision, scale] = side.code;
            let (longest, slots) = (value_bytes_max(index) as u32, side.slots.as_ptr() as usize as u32);
            for number in [code, precision, scale, longest, values as u32, slots] {
                out.push(f64::from(number));
            }
        }
        out.push(f64::from(self.has_null.as_ptr() as usize as u32));
        out
    }

    /// Lends the first `rows` rows as a batch to `take`, then makes room again.
    pub fn lend<T>(
        &mut self,
        rows: usize,
        texts: &Dictionary,
        take: impl FnOnce(&ColumnBatch, &Codes<'_>) -> T,
    ) -> T {
        let rows = rows.min(ROWS);
        for ((column, side), has_null) in
            self.batch.columns.iter_mut().zip(&mut self.sides).zip(&mut self.has_null)
        {
            side.fill(column, rows, texts);
            if core::mem::take(has_null) != 0 {
                let mut slots = Vec::with_capacity(rows);
                side.slots[..rows].iter().for_each(|&byte| slots.push(slot(byte)));
                column.slots = Some(slots);
                side.slots.fill(0);
            }
        }
        // The small module looks every key up.
        let taken = if cfg!(feature = "full") {
            let columns: Vec<&[u32]> = self.sides.iter().map(Side::handles).collect();
            take(&self.batch, &Codes { columns: &columns, epoch: texts.epoch() })
        } else {
            take(&self.batch, &Codes::default())
        };
        for column in &mut self.batch.columns {
            column.slots = None;
            resize(column, ROWS);
        }
        taken
    }
}

impl Side {
    /// The handles of texts: equal ones mean equal texts.
    fn handles(&self) -> &[u32] {
        if self.code[0] == TEXT { &self.words } else { &[] }
    }

    fn new(data_type: &DataType, column: &Column) -> Self {
        let words = match (data_type.physical(), &column.data) {
            // Also where this build has no column for them: JavaScript writes them all the same.
            (Physical::Decimal | Physical::Interval, _) => ROWS * 4,
            (_, ColumnData::Int(_) | ColumnData::Float(_)) => 0,
            (_, ColumnData::Bool(_)) => ROWS / 4,
            _ => ROWS,
        };
        Self { code: type_code(data_type), slots: vec![0; ROWS], words: vec![0; words] }
    }

    /// Leaves exactly `rows` values in `column`.
    fn fill(&self, column: &mut Column, rows: usize, texts: &Dictionary) {
        match &mut column.data {
            ColumnData::Int(v) => v.truncate(rows),
            ColumnData::Float(v) => v.truncate(rows),
            ColumnData::Bool(v) => {
                v.clear();
                for row in 0..rows {
                    v.push(self.words[row / 4] >> (row % 4 * 8) & 0xff != 0);
                }
            }
            ColumnData::Bytes(v) => {
                v.clear();
                self.words[..rows].iter().for_each(|&handle| v.push(texts.get(handle)));
            }
            #[cfg(feature = "full")]
            ColumnData::Decimal(v) => {
                v.clear();
                v.extend(self.words[..rows * 4].chunks_exact(4).map(decimal));
            }
            #[cfg(feature = "full")]
            ColumnData::Interval(v) => {
                v.clear();
                v.extend(self.words[..rows * 4].chunks_exact(4).map(|w| Interval {
                    months: w[0] as i32,
                    days: w[1] as i32,
                    micros: pair(w[2], w[3]),
                }));
            }
            // No plan of this build reads them; other packages of the workspace bring the variants.
            #[cfg(not(feature = "full"))]
            #[allow(unreachable_patterns, reason = "depends on what else is built")]
            _ => {}
        }
    }
}

#[cfg(feature = "full")]
fn decimal(words: &[u32]) -> i128 {
    i128::from(pair(words[2], words[3])) << 64 | i128::from(pair(words[0], words[1]) as u64)
}

#[cfg(feature = "full")]
fn pair(low: u32, high: u32) -> i64 {
    (u64::from(high) << 32 | u64::from(low)) as i64
}

fn slot(byte: u8) -> Slot {
    if byte == 0 { Slot::Valid } else { Slot::Null }
}

/// Columns written in place hold `rows` values between pushes; the others are filled at the push.
fn resize(column: &mut Column, rows: usize) {
    match &mut column.data {
        ColumnData::Int(v) => v.resize(rows, 0),
        ColumnData::Float(v) => v.resize(rows, 0.0),
        _ => {}
    }
}

/// The number of `text`.
const TEXT: u32 = 7;

/// The number by which JavaScript knows a type, with precision and scale. Only types that a stream can have.
fn type_code(data_type: &DataType) -> [u32; 3] {
    match data_type {
        DataType::Bool => [0, 0, 0],
        DataType::Int16 => [1, 0, 0],
        DataType::Int32 => [2, 0, 0],
        DataType::Int64 => [3, 0, 0],
        DataType::Float32 => [4, 0, 0],
        DataType::Float64 => [5, 0, 0],
        DataType::Decimal { precision, scale } => [6, u32::from(*precision), u32::from(*scale)],
        DataType::Text => [TEXT, 0, 0],
        DataType::Bytea => [8, 0, 0],
        DataType::Uuid => [9, 0, 0],
        DataType::Date => [10, 0, 0],
        DataType::Timestamp => [11, 0, 0],
        DataType::Interval => [12, 0, 0],
        _ => [255, 0, 0],
    }
}
