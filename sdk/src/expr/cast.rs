//! Casts between types, as PostgreSQL casts: range-checked, strict about text.

use super::decimal::{parse_decimal, put_decimal, rescale};
use super::kernel::{Cell, buffer};
use super::number::{decimal_to_float, float_to_decimal, parse_float, parse_int, put_float, put_int64};
use super::scalar::{decimal_in_range, in_range, scale_of};
use super::time::MICROS_PER_DAY;
use super::time_text::{parse_date, parse_timestamp, put_date, put_timestamp};
use crate::flavor::FUNCTIONS;
use crate::value::DataType;
use crate::value::column::{ColumnData, Slot};
use alloc::vec::Vec;

/// True when [`cast`] knows this pair.
pub(crate) fn cast_is_defined(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || *from == T::Null {
        return true;
    }
    match to {
        T::Text => !matches!(from, T::Interval),
        T::Bool => from.is_int() || *from == T::Text,
        T::Int16 | T::Int32 | T::Int64 => from.is_numeric() || matches!(from, T::Bool | T::Text),
        T::Float32 | T::Float64 | T::Decimal { .. } => from.is_numeric() || *from == T::Text,
        T::Date => matches!(from, T::Timestamp | T::Text),
        T::Timestamp => matches!(from, T::Date | T::Text),
        T::Uuid | T::Bytea => *from == T::Text,
        _ => false,
    }
}

/// Casts one value onto a column of type `to`. `single` says that a double is a `real`.
pub(super) fn cast(
    x: Cell<'_>,
    from: &DataType,
    to: &DataType,
    single: bool,
    out: &mut ColumnData,
) -> Result<(), Slot> {
    use DataType as T;
    if *from == *to {
        return x.put(out);
    }
    match to {
        T::Text => to_text(x, from, single, buffer(out)?),
        T::Uuid => {
            buffer(out)?.extend_from_slice(&parse_uuid(x.bytes()?).ok_or(Slot::BadCast)?);
            Ok(())
        }
        T::Bytea => parse_bytea(x.bytes()?, buffer(out)?),
        T::Bool => Cell::Bool(to_bool(x)?).put(out),
        T::Date | T::Timestamp => Cell::Int(to_time(x, from, to)?).put(out),
        #[cfg(feature = "functions")]
        T::Decimal { .. } => Cell::Decimal(to_decimal(x, from, to, single)?).put(out),
        _ => number(x, from, to)?.put(out),
    }
}

/// Casts a value to an integer or double type.
pub(super) fn number<'a>(x: Cell<'_>, from: &DataType, to: &DataType) -> Result<Cell<'a>, Slot> {
    Ok(match to {
        DataType::Float32 | DataType::Float64 => Cell::Float(to_float(x, from, *to == DataType::Float32)?),
        _ => Cell::Int(to_int(x, from, to)?),
    })
}

/// Midnight UTC of a date, in microseconds.
pub(super) fn midnight(days: i64) -> Result<i64, Slot> {
    days.checked_mul(MICROS_PER_DAY).ok_or(Slot::Overflow)
}

fn to_time(x: Cell<'_>, from: &DataType, to: &DataType) -> Result<i64, Slot> {
    match (from, to) {
        (DataType::Date, _) => midnight(x.int()?),
        (DataType::Timestamp, _) => in_range(Some(x.int()?.div_euclid(MICROS_PER_DAY)), to),
        (_, DataType::Date) => in_range(Some(parse_date(x.bytes()?).ok_or(Slot::BadCast)?), to),
        _ => parse_timestamp(x.bytes()?).ok_or(Slot::BadCast),
    }
}

fn to_int(x: Cell<'_>, from: &DataType, to: &DataType) -> Result<i64, Slot> {
    let v = match x {
        Cell::Int(v) => Some(v),
        Cell::Float(v) => float_to_int(v),
        _ if !FUNCTIONS => return Err(Slot::Domain),
        Cell::Bool(v) => Some(i64::from(v)),
        #[cfg(feature = "functions")]
        Cell::Decimal(v) => rescale(v, scale_of(from), 0).and_then(|v| i64::try_from(v).ok()),
        Cell::Bytes(text) => Some(parse_int(text)?),
        _ => return Err(Slot::Domain),
    };
    in_range(v, to)
}

/// Rounds half to even; `None` outside of 64 bits.
pub(crate) fn float_to_int(v: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let rounded = libm::rint(v);
    (-LIMIT..LIMIT).contains(&rounded).then_some(rounded as i64)
}

fn to_float(x: Cell<'_>, from: &DataType, single: bool) -> Result<f64, Slot> {
    match x {
        Cell::Int(v) if single => Ok(f64::from(v as f32)),
        Cell::Int(v) => Ok(v as f64),
        Cell::Float(v) if single => narrow(v),
        Cell::Float(v) => Ok(v),
        _ if !FUNCTIONS => Err(Slot::Domain),
        #[cfg(feature = "functions")]
        Cell::Decimal(v) => Ok(decimal_to_float(v, scale_of(from), single)),
        Cell::Bytes(text) => {
            let v = parse_float(text)?;
            if single { narrow(v) } else { Ok(v) }
        }
        _ => Err(Slot::Domain),
    }
}

/// A double as a `real`: out of range when it becomes infinite or vanishes.
pub(crate) fn narrow(v: f64) -> Result<f64, Slot> {
    let narrow = f64::from(v as f32);
    let lost = (narrow.is_infinite() && v.is_finite()) || (narrow == 0.0 && v != 0.0);
    if lost { Err(Slot::Overflow) } else { Ok(narrow) }
}

fn to_decimal(x: Cell<'_>, from: &DataType, to: &DataType, single: bool) -> Result<i128, Slot> {
    let scale = scale_of(to);
    let v = match x {
        Cell::Int(v) => rescale(i128::from(v), 0, scale),
        #[cfg(feature = "functions")]
        Cell::Decimal(v) => rescale(v, scale_of(from), scale),
        Cell::Float(v) => Some(float_to_decimal(v, single, scale)?),
        Cell::Bytes(text) => Some(parse_decimal(text, scale)?),
        _ => return Err(Slot::Domain),
    };
    decimal_in_range(v, to)
}

fn to_bool(x: Cell<'_>) -> Result<bool, Slot> {
    match x {
        Cell::Int(v) => Ok(v != 0),
        Cell::Bytes(text) => parse_bool(text).ok_or(Slot::BadCast),
        _ => Err(Slot::Domain),
    }
}

/// PostgreSQL's spellings: unique prefixes of true, false, yes, no, on, off; 1 and 0.
pub(crate) fn parse_bool(text: &[u8]) -> Option<bool> {
    const WORDS: [(&str, usize, bool); 8] = [
        ("true", 1, true),
        ("false", 1, false),
        ("yes", 1, true),
        ("no", 1, false),
        ("on", 2, true),
        ("off", 2, false),
        ("1", 1, true),
        ("0", 1, false),
    ];
    let text = text.trim_ascii();
    let is = |word: &str, least: usize| {
        text.len() >= least
            && word.len() >= text.len()
            && word.as_bytes()[..text.len()].eq_ignore_ascii_case(text)
    };
    WORDS.iter().find(|(word, least, _)| is(word, *least)).map(|(.., v)| *v)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|d| d as u8)
}

/// A UUID's 16 bytes: 32 hex digits, perhaps with hyphens after every fourth, perhaps in braces.
pub(crate) fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = text.trim_ascii();
    let text = match text {
        [b'{', inner @ .., b'}'] => inner,
        other => other,
    };
    let (mut out, mut rest) = ([0; 16], text);
    for (at, byte) in out.iter_mut().enumerate() {
        if at > 0 && at % 2 == 0 && rest.first() == Some(&b'-') {
            rest = &rest[1..];
        }
        let [high, low, tail @ ..] = rest else { return None };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        rest = tail;
    }
    rest.is_empty().then_some(out)
}

/// `\x` and hex digits (blanks between bytes allowed), or the escape format.
pub(crate) fn parse_bytea(text: &[u8], out: &mut Vec<u8>) -> Result<(), Slot> {
    if let [b'\\', b'x', hex @ ..] = text {
        let mut digits = hex.iter().filter(|b| !b.is_ascii_whitespace());
        while let Some(high) = digits.next() {
            let low = digits.next().and_then(|b| hex_digit(*b));
            out.push(hex_digit(*high).zip(low).map(|(h, l)| h << 4 | l).ok_or(Slot::BadCast)?);
        }
        return Ok(());
    }
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => (rest, _) = (tail, out.push(b'\\')),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            (b'\\', _) => return Err(Slot::BadCast),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

fn to_text(x: Cell<'_>, from: &DataType, single: bool, out: &mut Vec<u8>) -> Result<(), Slot> {
    match (x, from) {
        (Cell::Bool(v), _) => out.extend_from_slice(if v { b"true" } else { b"false" }),
        (Cell::Int(v), DataType::Date) => put_date(v, out),
        (Cell::Int(v), DataType::Timestamp) => put_timestamp(v, out),
        (Cell::Int(v), _) => put_int64(v, out),
        (Cell::Float(v), _) => put_float(v, single, out),
        #[cfg(feature = "functions")]
        (Cell::Decimal(v), _) => put_decimal(v, scale_of(from), out),
        (Cell::Bytes(v), DataType::Uuid) => {
            for (at, byte) in v.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                put_hex(*byte, out);
            }
        }
        (Cell::Bytes(v), _) => {
            out.extend_from_slice(b"\\x");
            v.iter().for_each(|byte| put_hex(*byte, out));
        }
        _ => return Err(Slot::Domain),
    }
    Ok(())
}

/// A value as a cast to text writes it; `None` for NULL and nested values.
#[cfg(feature = "finish")]
pub(crate) fn value_text(value: &crate::value::Value, data_type: &DataType) -> Option<alloc::string::String> {
    use crate::value::Value;
    let cell = match value {
        Value::Text(v) => return Some(v.clone()),
        Value::Bool(v) => Cell::Bool(*v),
        Value::Int(v) => Cell::Int(*v),
        Value::Float(v) => Cell::Float(*v),
        Value::Decimal(v) => Cell::Decimal(*v),
        Value::Bytes(v) => Cell::Bytes(v),
        _ => return None,
    };
    let mut text = Vec::new();
    to_text(cell, data_type, *data_type == DataType::Float32, &mut text).ok()?;
    alloc::string::String::from_utf8(text).ok()
}

pub(super) fn put_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}
