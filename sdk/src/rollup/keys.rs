//! Group keys of a batch: canonical bytes straight from the columns.

use crate::group::Keys;
use crate::value::column::{BytesColumn, Column, ColumnData};
use crate::value::{DataType, key};
use alloc::vec::Vec;

/// A key column with its type decided once per batch.
enum Source<'a> {
    /// Integers, days, microseconds without NULLs.
    Int(&'a [i64]),
    /// Text without NULLs and without bytes that need escaping.
    PlainText(&'a BytesColumn),
    Any(&'a Column, &'a DataType),
}

impl<'a> Source<'a> {
    fn of((column, data_type): (&'a Column, &'a DataType)) -> Self {
        match (&column.data, data_type, &column.slots) {
            (ColumnData::Int(v), _, None) => Self::Int(v),
            (ColumnData::Bytes(v), DataType::Text, None) if !v.data.iter().any(|b| *b < 2) => {
                Self::PlainText(v)
            }
            _ => Self::Any(column, data_type),
        }
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Int(v) => key::put_int64(v[row], out),
            Self::PlainText(v) => {
                out.extend_from_slice(v.get(row));
                out.push(0);
            }
            Self::Any(column, data_type) => key::encode_row(column, row, data_type, out),
        }
    }
}

/// Replaces `keys` by the keys of `rows`.
pub(super) fn encode_keys(columns: &[(&Column, &DataType)], rows: &[u32], keys: &mut Keys) {
    keys.clear();
    let sources: Vec<Source<'_>> = columns.iter().copied().map(Source::of).collect();
    for row in rows {
        for source in &sources {
            source.encode(*row as usize, &mut keys.data);
        }
        keys.ends.push(keys.data.len());
    }
}
