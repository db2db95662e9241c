//! Group keys of a batch: canonical bytes straight from the columns.
//!
//! Short copies dominate, so bytes are moved 8 or 16 at a time into memory that is known to be long
//! enough, and what was written beyond a value is overwritten by the next one.

use crate::flavor::SMALL;
use crate::group::Keys;
use crate::value::column::{BytesColumn, Column, ColumnData};
use crate::value::{DataType, key};
use alloc::vec::Vec;

/// Bytes that copies may write past the end of a value.
const SLACK: usize = 16;

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
            (ColumnData::Bytes(v), DataType::Text, None) if is_plain(&v.data) => Self::PlainText(v),
            _ => Self::Any(column, data_type),
        }
    }

    /// How many bytes `rows` rows of this column need at most; 0 when that is not known.
    fn bytes_max(&self, rows: &[u32]) -> usize {
        match self {
            Self::Int(_) => rows.len() * 9,
            Self::PlainText(v) => rows.iter().fold(rows.len(), |sum, row| sum + v.get(*row as usize).len()),
            Self::Any(..) => 0,
        }
    }
}

/// True when no byte needs escaping. Looks at whole blocks, which the compiler turns into vector code.
fn is_plain(data: &[u8]) -> bool {
    data.chunks(256).all(|block| block.iter().fold(u8::MAX, |least, b| least.min(*b)) >= 2)
}

/// Replaces `keys` by the keys of `rows`.
pub(super) fn encode_keys(columns: &[(&Column, &DataType)], rows: &[u32], keys: &mut Keys) {
    keys.clear();
    if SMALL {
        for row in rows {
            for (column, data_type) in columns {
                key::encode_row(column, *row as usize, data_type, &mut keys.data);
            }
            keys.ends.push(keys.data.len());
        }
        return;
    }
    let sources: Vec<Source<'_>> = columns.iter().copied().map(Source::of).collect();
    if sources.iter().any(|s| matches!(s, Source::Any(..))) {
        return encode_slowly(&sources, rows, keys);
    }
    let bytes_max: usize = sources.iter().map(|s| s.bytes_max(rows)).sum();
    keys.data.resize(bytes_max + SLACK, 0);
    let (out, mut at) = (keys.data.as_mut_slice(), 0);
    for row in rows {
        for source in &sources {
            at += match source {
                Source::Int(v) => put_int(v[*row as usize], &mut out[at..]),
                Source::PlainText(v) => put_text(v, *row as usize, &mut out[at..]),
                Source::Any(..) => 0,
            };
        }
        keys.ends.push(at);
    }
    keys.data.truncate(at);
}

fn encode_slowly(sources: &[Source<'_>], rows: &[u32], keys: &mut Keys) {
    for row in rows {
        for source in sources {
            match source {
                Source::Int(v) => key::put_int64(v[*row as usize], &mut keys.data),
                Source::PlainText(v) => key::put_text(v.get(*row as usize), &mut keys.data),
                Source::Any(column, data_type) => {
                    key::encode_row(column, *row as usize, data_type, &mut keys.data)
                }
            }
        }
        keys.ends.push(keys.data.len());
    }
}

/// Writes an integer and returns its length; `out` has room for [`SLACK`] bytes.
#[inline]
fn put_int(v: i64, out: &mut [u8]) -> usize {
    let (tag, bytes) = key::int64_parts(v);
    out[0] = tag;
    // The value's own bytes first, what follows them is overwritten later.
    out[1..9].copy_from_slice(&(v << (64 - 8 * bytes.max(1))).to_be_bytes());
    1 + bytes
}

/// Writes text and its terminator and returns their length; `out` has [`SLACK`] bytes more than they need.
#[inline]
fn put_text(column: &BytesColumn, row: usize, out: &mut [u8]) -> usize {
    let (start, end) = (column.offsets[row] as usize, column.offsets[row + 1] as usize);
    let len = end - start;
    if end + SLACK <= column.data.len() {
        // Whole blocks, reading into the next values and writing into the next key.
        let (from, to) = (column.data[start..].chunks_exact(SLACK), out.chunks_exact_mut(SLACK));
        for (to, from) in to.zip(from).take(len.div_ceil(SLACK)) {
            to.copy_from_slice(from);
        }
    } else {
        out[..len].copy_from_slice(&column.data[start..end]);
    }
    out[len] = 0;
    len + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use alloc::string::String;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fast_keys_are_the_canonical_ones(
            rows in proptest::collection::vec(("[a\u{0}-\u{2}\u{e9}]{0,40}", any::<i64>(), 0u8..20), 0..60),
            plain in any::<bool>(),
        ) {
            let types = [DataType::Text, DataType::Int64, DataType::Text];
            let mut columns: Vec<Column> = types.iter().map(Column::new).collect();
            let mut want = Keys::default();
            for (text, int, shift) in &rows {
                let text: String = if plain { text.replace(|c| c < '\u{3}', "b") } else { text.clone() };
                let int = int >> (shift * 3);
                let values = [Value::Text(text.clone()), Value::Int(int), Value::Text(text)];
                columns.iter_mut().zip(&values).for_each(|(c, v)| assert!(c.push(v)));
                want.push(&key::encode_key(&values, &types).expect("fits"));
            }
            let columns: Vec<(&Column, &DataType)> = columns.iter().zip(&types).collect();
            let selected: Vec<u32> = (0..rows.len() as u32).filter(|row| row % 3 != 1).collect();
            let mut keys = Keys::default();
            encode_keys(&columns, &selected, &mut keys);
            prop_assert_eq!(keys.len(), selected.len());
            for (at, row) in selected.iter().enumerate() {
                prop_assert_eq!(keys.get(at), want.get(*row as usize));
            }
        }
    }
}
