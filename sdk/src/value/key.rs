//! Canonical, order-preserving group key bytes.
//!
//! Owns: the encoding of single values and of whole keys (`FORMAT.md`, "Values and keys").
//! Must not know: groups, plans, hashing.
//! Invariants: comparing two keys of equal types byte by byte compares their values in order, NULLs last;
//! a value has exactly one encoding and decoders refuse any other; no encoded value starts with `0xFE`
//! (the `(other)` group) and only NULL starts with `0xFF`.

mod decode;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::{decode_append, decode_key, decode_value};

use super::column::{Column, ColumnData, Slot};
use super::{DataType, Interval, Value};
use alloc::vec::Vec;

/// The encoding of NULL, in every type: above every value.
pub const NULL_BYTE: u8 = 0xff;
/// Leads fixed-width values whose own first byte could be anything.
pub(super) const FIXED_TAG: u8 = 0x01;
/// Integers in this range take one byte, `0x80 + v`.
const INLINE_MIN: i128 = -96;
const INLINE_MAX: i128 = 95;
/// Tags of longer integers: `0xE0 + (n - 1)` above the inline range, `0x1F - (n - 1)` below; n is 1..=16.
const ABOVE_TAG: u8 = 0xe0;
const BELOW_TAG: u8 = 0x1f;

/// True when values of this type can be group keys, distinct values and set members.
pub fn is_key_type(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::List(_) | DataType::Struct(_))
}

/// Appends one value as `data_type` reads it; `false` (and nothing appended) when it does not fit the type.
pub fn encode_value(value: &Value, data_type: &DataType, out: &mut Vec<u8>) -> bool {
    use DataType as T;
    match (value, data_type) {
        (Value::Null, _) => out.push(NULL_BYTE),
        (Value::Bool(v), T::Bool) => out.push(u8::from(*v)),
        (Value::Int(v), T::Int16 | T::Int32 | T::Int64 | T::Date | T::Timestamp) => {
            put_int(i128::from(*v), out)
        }
        (Value::Float(v), T::Float32 | T::Float64) => put_float(*v, out),
        (Value::Decimal(v), T::Decimal { .. }) => put_int(*v, out),
        (Value::Text(v), T::Text) => put_text(v.as_bytes(), out),
        (Value::Bytes(v), T::Bytea) => put_bytea(v, out),
        (Value::Bytes(v), T::Uuid) if v.len() == 16 => put_uuid(v, out),
        (Value::Interval(v), T::Interval) => put_interval(*v, out),
        _ => return false,
    }
    true
}

/// Appends the value at `row` of a column of type `data_type`. The slot must be valid or NULL (an error
/// slot is encoded as NULL: callers have rejected its row).
#[inline]
pub fn encode_row(column: &Column, row: usize, data_type: &DataType, out: &mut Vec<u8>) {
    if column.slot(row) != Slot::Valid {
        return out.push(NULL_BYTE);
    }
    match &column.data {
        ColumnData::Bool(v) => out.push(u8::from(v[row])),
        ColumnData::Int(v) => put_int64(v[row], out),
        ColumnData::Float(v) => put_float(v[row], out),
        #[cfg(feature = "functions")]
        ColumnData::Decimal(v) => put_int(v[row], out),
        #[cfg(feature = "functions")]
        ColumnData::Interval(v) => put_interval(v[row], out),
        ColumnData::Bytes(v) => match data_type {
            DataType::Text => put_text(v.get(row), out),
            DataType::Uuid => put_uuid(v.get(row), out),
            _ => put_bytea(v.get(row), out),
        },
    }
}

/// Encodes a whole key; `None` when a value does not fit its type or the numbers differ.
pub fn encode_key(values: &[Value], types: &[DataType]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let fits =
        values.len() == types.len() && values.iter().zip(types).all(|(v, t)| encode_value(v, t, &mut out));
    fits.then_some(out)
}

/// The tag of an integer and how many of its last bytes follow, big-endian.
#[inline]
pub(crate) fn int64_parts(v: i64) -> (u8, usize) {
    if (INLINE_MIN as i64..=INLINE_MAX as i64).contains(&v) {
        return ((0x80 + v) as u8, 0);
    }
    // For negative numbers the magnitude is `!v`; its inverted bytes are v's own bytes.
    let magnitude = if v < 0 { !v } else { v } as u64;
    let last = 7 - (magnitude.leading_zeros() / 8) as u8;
    (if v < 0 { BELOW_TAG - last } else { ABOVE_TAG + last }, usize::from(last) + 1)
}

/// Appends an integer that fits 64 bits; the same bytes as for any other width.
#[inline]
pub fn put_int64(v: i64, out: &mut Vec<u8>) {
    let (tag, bytes) = int64_parts(v);
    out.push(tag);
    out.extend_from_slice(&v.to_be_bytes()[8 - bytes..]);
}

/// Appends an integer or a decimal's units.
pub fn put_int(v: i128, out: &mut Vec<u8>) {
    if let Ok(small) = i64::try_from(v) {
        return put_int64(small, out);
    }
    let negative = v < 0;
    let magnitude = if negative { !v } else { v } as u128;
    let skip = (magnitude.leading_zeros() / 8) as usize;
    let last = 15 - skip as u8;
    out.push(if negative { BELOW_TAG - last } else { ABOVE_TAG + last });
    out.extend_from_slice(&v.to_be_bytes()[skip..]);
}

/// Appends a double: -0.0 as 0.0, every NaN as one NaN above all numbers.
#[inline]
pub fn put_float(v: f64, out: &mut Vec<u8>) {
    let mut bytes = [FIXED_TAG; 9];
    bytes[1..].copy_from_slice(&float_order(v).to_be_bytes());
    out.extend_from_slice(&bytes);
}

/// Bits that order as PostgreSQL orders doubles: one zero, one NaN, NaN greatest.
#[inline]
pub fn float_order(v: f64) -> u64 {
    const NAN: u64 = 0x7ff8 << 48;
    let bits = if v.is_nan() { NAN } else { (v + 0.0).to_bits() };
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// Appends text: escaped, then terminated.
#[inline]
pub fn put_text(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.iter().any(|&b| b < 2) {
        return put_escaped(bytes, out);
    }
    out.reserve(bytes.len() + 1);
    out.extend_from_slice(bytes);
    out.push(0);
}

#[cold]
fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            0 | 1 => out.extend_from_slice(&[1, byte + 1]),
            _ => out.push(byte),
        }
    }
    out.push(0);
}

fn put_bytea(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(FIXED_TAG);
    put_text(bytes, out);
}

fn put_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(FIXED_TAG);
    out.extend_from_slice(bytes);
}

fn put_interval(v: Interval, out: &mut Vec<u8>) {
    out.push(FIXED_TAG);
    out.extend_from_slice(&(v.months as u32 ^ 1 << 31).to_be_bytes());
    out.extend_from_slice(&(v.days as u32 ^ 1 << 31).to_be_bytes());
    out.extend_from_slice(&(v.micros as u64 ^ 1 << 63).to_be_bytes());
}
