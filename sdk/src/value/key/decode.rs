//! Reading keys back: strict, so that equal groups have equal bytes whoever wrote them.

use super::{ABOVE_TAG, BELOW_TAG, FIXED_TAG, INLINE_MAX, INLINE_MIN, NULL_BYTE};
use crate::codec::{DecodeError, Reader};
use crate::value::column::{Column, ColumnData, Slot};
use crate::value::{DataType, Interval, Value};
use alloc::string::String;
use alloc::vec::Vec;

const BAD_KEY: DecodeError = DecodeError::Invalid("key");

/// Decodes a whole key of these types; bytes that [`super::encode_key`] would not write are refused.
///
/// # Errors
/// Those of [`decode_value`]; [`DecodeError::Trailing`] after the last value.
pub fn decode_key(key: &[u8], types: &[DataType]) -> Result<Vec<Value>, DecodeError> {
    let mut reader = Reader::new(key);
    let values = types.iter().map(|t| decode_value(&mut reader, t)).collect::<Result<Vec<_>, _>>()?;
    reader.finish()?;
    Ok(values)
}

/// Decodes one value of `data_type`.
///
/// # Errors
/// [`DecodeError::Truncated`]; [`DecodeError::Invalid`] for bytes that are no value of the type as keys hold it, and
/// for types that no key has.
pub fn decode_value(reader: &mut Reader<'_>, data_type: &DataType) -> Result<Value, DecodeError> {
    use DataType as T;
    if reader.peek_rest().first() == Some(&NULL_BYTE) {
        reader.u8()?;
        return Ok(Value::Null);
    }
    Ok(match data_type {
        T::Bool => match reader.u8()? {
            byte @ 0..=1 => Value::Bool(byte == 1),
            _ => return Err(BAD_KEY),
        },
        T::Int16 | T::Int32 | T::Int64 | T::Date | T::Timestamp => {
            Value::Int(narrow(int(reader)?, data_type)?)
        }
        T::Decimal { .. } => {
            let value = Value::Decimal(int(reader)?);
            if value.fits(data_type) { value } else { return Err(BAD_KEY) }
        }
        T::Float32 | T::Float64 => Value::Float(float(reader, data_type)?),
        T::Text | T::Bytea => {
            let mut out = Vec::new();
            bytes_into(reader, data_type, &mut out)?;
            match data_type {
                T::Text => Value::Text(String::from_utf8(out).map_err(|_| BAD_KEY)?),
                _ => Value::Bytes(out),
            }
        }
        T::Uuid => {
            fixed_tag(reader)?;
            Value::Bytes(reader.bytes(16)?.to_vec())
        }
        T::Interval => Value::Interval(interval(reader)?),
        T::List(_) | T::Struct(_) | T::Null => return Err(BAD_KEY),
    })
}

/// Decodes one value of `data_type` onto the end of a column of that type. Text and bytea without
/// escapes are copied once, straight from the key. On error the column is unchanged.
///
/// # Errors
/// Those of [`decode_value`]; [`DecodeError::Invalid`] also when the column has another layout.
pub fn decode_append(
    reader: &mut Reader<'_>,
    data_type: &DataType,
    column: &mut Column,
) -> Result<(), DecodeError> {
    if reader.peek_rest().first() == Some(&NULL_BYTE) {
        reader.u8()?;
        column.push_slot(Slot::Null);
        return Ok(());
    }
    match (&mut column.data, data_type) {
        (ColumnData::Int(out), _) => out.push(narrow(int(reader)?, data_type)?),
        (ColumnData::Bytes(out), DataType::Text | DataType::Bytea) => {
            let start = out.data.len();
            if let Err(error) = bytes_into(reader, data_type, &mut out.data) {
                out.data.truncate(start);
                return Err(error);
            }
            out.offsets.push(out.data.len() as u32);
        }
        _ => {
            let value = decode_value(reader, data_type)?;
            return if column.push(&value) { Ok(()) } else { Err(BAD_KEY) };
        }
    }
    column.push_valid_slot();
    Ok(())
}

fn fixed_tag(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if reader.u8()? == FIXED_TAG { Ok(()) } else { Err(BAD_KEY) }
}

fn int(reader: &mut Reader<'_>) -> Result<i128, DecodeError> {
    let tag = reader.u8()?;
    match tag {
        0x20..=0xdf => Ok(i128::from(tag) - 0x80),
        0xe0..=0xef => {
            let v = big_endian(reader.bytes(usize::from(tag - ABOVE_TAG) + 1)?, 0)?;
            if v > INLINE_MAX { Ok(v) } else { Err(BAD_KEY) }
        }
        0x10..=0x1f => {
            let v = big_endian(reader.bytes(usize::from(BELOW_TAG - tag) + 1)?, 0xff)?;
            if v < INLINE_MIN { Ok(v) } else { Err(BAD_KEY) }
        }
        _ => Err(BAD_KEY),
    }
}

/// Sign-extends big-endian bytes with `fill` (0x00 or 0xff), and refuses a first byte that the fill implies.
fn big_endian(bytes: &[u8], fill: u8) -> Result<i128, DecodeError> {
    let mut wide = [fill; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    let v = i128::from_be_bytes(wide);
    if bytes[0] == fill || (v < 0) != (fill != 0) { Err(BAD_KEY) } else { Ok(v) }
}

fn narrow(v: i128, data_type: &DataType) -> Result<i64, DecodeError> {
    let v = i64::try_from(v).map_err(|_| BAD_KEY)?;
    if Value::Int(v).fits(data_type) { Ok(v) } else { Err(BAD_KEY) }
}

fn float(reader: &mut Reader<'_>, data_type: &DataType) -> Result<f64, DecodeError> {
    fixed_tag(reader)?;
    let ordered = u64::from_be_bytes(reader.array()?);
    let v = f64::from_bits(if ordered >> 63 == 1 { ordered & (u64::MAX >> 1) } else { !ordered });
    let narrow_enough = *data_type != DataType::Float32 || v.is_nan() || f64::from(v as f32) == v;
    if super::float_order(v) == ordered && narrow_enough { Ok(v) } else { Err(BAD_KEY) }
}

fn interval(reader: &mut Reader<'_>) -> Result<Interval, DecodeError> {
    fixed_tag(reader)?;
    let months = (u32::from_be_bytes(reader.array()?) ^ 1 << 31) as i32;
    let days = (u32::from_be_bytes(reader.array()?) ^ 1 << 31) as i32;
    let micros = (u64::from_be_bytes(reader.array()?) ^ 1 << 63) as i64;
    Ok(Interval { months, days, micros })
}

/// Appends text or bytea without its escapes; on error `out` may have grown.
fn bytes_into(reader: &mut Reader<'_>, data_type: &DataType, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let start = out.len();
    if *data_type == DataType::Bytea {
        fixed_tag(reader)?;
    }
    unescape(reader, out)?;
    match data_type {
        DataType::Text => core::str::from_utf8(&out[start..]).map(|_| ()).map_err(|_| BAD_KEY),
        _ => Ok(()),
    }
}

/// Reads up to the terminator and removes the escapes.
fn unescape(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let rest = reader.peek_rest();
    let end = rest.iter().position(|&b| b == 0).ok_or(DecodeError::Truncated)?;
    let mut body = reader.bytes(end)?;
    reader.u8()?;
    while let Some(at) = body.iter().position(|&b| b == 1) {
        out.extend_from_slice(&body[..at]);
        match body.get(at + 1) {
            Some(&code @ 1..=2) => out.push(code - 1),
            _ => return Err(BAD_KEY),
        }
        body = &body[at + 2..];
    }
    out.extend_from_slice(body);
    Ok(())
}
