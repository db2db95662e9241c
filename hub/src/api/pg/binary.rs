//! Values in PostgreSQL's binary formats.
//!
//! Owns: the bytes of every type's send function. Must not know: messages. Times count from 2000-01-01.

use super::types;
use crate::api::text;
use bytes::{BufMut, BytesMut};
use headwater::value::{DataType, Interval, Value};
use headwater_sql::SqlError;

/// Days from 1970-01-01 to 2000-01-01.
pub const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// Sign of a numeric below zero.
const NEGATIVE: u16 = 0x4000;

/// Appends length and bytes of a value; NULL is a length of -1.
///
/// # Errors
/// `22008` for times that PostgreSQL's format cannot hold.
pub fn put(value: &Value, data_type: &DataType, out: &mut BytesMut) -> Result<(), SqlError> {
    if *value == Value::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    bytes(value, data_type, out)?;
    let length = u32::try_from(out.len() - at - 4)
        .map_err(|_| SqlError::new("54000", "a value is longer than the protocol can carry"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn bytes(value: &Value, data_type: &DataType, out: &mut BytesMut) -> Result<(), SqlError> {
    match (value, data_type) {
        (Value::Bool(b), _) => out.put_u8(u8::from(*b)),
        (Value::Int(days), DataType::Date) => out.put_i32(date(*days)?),
        (Value::Int(micros), DataType::Timestamp) => {
            out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or_else(out_of_range)?);
        }
        // The types' ranges hold: an answer's values fit them.
        (Value::Int(n), DataType::Int16) => out.put_i16(*n as i16),
        (Value::Int(n), DataType::Int32) => out.put_i32(*n as i32),
        (Value::Int(n), _) => out.put_i64(*n),
        (Value::Float(x), DataType::Float32) => out.put_f32(*x as f32),
        (Value::Float(x), _) => out.put_f64(*x),
        (Value::Decimal(units), DataType::Decimal { scale, .. }) => numeric(*units, *scale, out),
        (Value::Text(text), _) => out.put_slice(text.as_bytes()),
        (Value::Bytes(bytes), _) => out.put_slice(bytes),
        (Value::Interval(Interval { months, days, micros }), _) => {
            out.put_i64(*micros);
            out.put_i32(*days);
            out.put_i32(*months);
        }
        (Value::List(items), DataType::List(item)) if !matches!(**item, DataType::List(_)) => {
            list(items, item, out)?;
        }
        (Value::Struct(fields), DataType::Struct(types)) => {
            out.put_i32(i32::try_from(types.len()).unwrap_or(i32::MAX));
            for (value, (_, data_type)) in fields.iter().zip(types.iter()) {
                out.put_u32(types::oid(data_type));
                put(value, data_type, out)?;
            }
        }
        // Lists of lists are told as text.
        _ => out.put_slice(text::text(value, data_type).unwrap_or_default().as_bytes()),
    }
    Ok(())
}

fn date(days: i64) -> Result<i32, SqlError> {
    i32::try_from(days - EPOCH_DAYS).map_err(|_| out_of_range())
}

fn out_of_range() -> SqlError {
    SqlError::new("22008", "timestamp out of range")
}

/// One dimension that begins at 1.
fn list(items: &[Value], item: &DataType, out: &mut BytesMut) -> Result<(), SqlError> {
    out.put_i32(i32::from(!items.is_empty()));
    out.put_i32(i32::from(items.contains(&Value::Null)));
    out.put_u32(types::oid(item));
    if !items.is_empty() {
        out.put_i32(i32::try_from(items.len()).unwrap_or(i32::MAX));
        out.put_i32(1);
    }
    items.iter().try_for_each(|value| put(value, item, out))
}

/// Digits to the base of 10,000, from the first that is not 0 to the last.
fn numeric(units: i128, scale: u8, out: &mut BytesMut) {
    let scale = u32::from(scale);
    // Digits stand in groups of four on both sides of the point.
    let padding = (4 - scale % 4) % 4;
    let text = format!("{}{}", units.unsigned_abs(), "0".repeat(padding as usize));
    let width = text.len().next_multiple_of(4);
    let text = format!("{text:0>width$}");
    let digit = |four: &[u8]| four.iter().fold(0_u16, |digit, c| digit * 10 + u16::from(c - b'0'));
    let all: Vec<u16> = text.as_bytes().chunks(4).map(digit).collect();
    let fraction = i64::from((scale + padding) / 4);
    let skipped = all.iter().take_while(|digit| **digit == 0).count();
    let end = all.len() - all.iter().rev().take_while(|digit| **digit == 0).count();
    let digits = all.get(skipped..end).unwrap_or_default();
    let weight = if digits.is_empty() { 0 } else { (all.len() - skipped) as i64 - fraction - 1 };
    out.put_u16(digits.len() as u16);
    out.put_i16(weight as i16);
    out.put_u16(if units < 0 { NEGATIVE } else { 0 });
    out.put_u16(scale as u16);
    digits.iter().for_each(|digit| out.put_u16(*digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(value: &Value, data_type: &DataType) -> String {
        let mut out = BytesMut::new();
        put(value, data_type, &mut out).expect("it fits");
        out[4..].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn values_are_as_postgresql_sends_them() {
        let decimal = |scale| DataType::Decimal { precision: 38, scale };
        let list = DataType::List(Box::new(DataType::Int32));
        let pair = DataType::Struct(vec![("a".into(), DataType::Text), ("b".into(), DataType::Int64)]);
        // From PostgreSQL 15: `SELECT encode(numeric_send(x), 'hex')` and its kind.
        for (value, data_type, expected) in [
            (Value::Bool(true), DataType::Bool, "01"),
            (Value::Int(-2), DataType::Int16, "fffe"),
            (Value::Int(258), DataType::Int32, "00000102"),
            (Value::Int(-1), DataType::Int64, "ffffffffffffffff"),
            (Value::Float(1.5), DataType::Float32, "3fc00000"),
            (Value::Float(-0.5), DataType::Float64, "bfe0000000000000"),
            (Value::Text("\u{e9}".into()), DataType::Text, "c3a9"),
            (Value::Bytes(vec![1, 255]), DataType::Bytea, "01ff"),
            (Value::Int(EPOCH_DAYS + 1), DataType::Date, "00000001"),
            (Value::Int(EPOCH_MICROS - 1), DataType::Timestamp, "ffffffffffffffff"),
            (
                Value::Interval(Interval { months: 1, days: 2, micros: 3 }),
                DataType::Interval,
                "00000000000000030000000200000001",
            ),
            (Value::Decimal(0), decimal(0), "0000000000000000"),
            (Value::Decimal(0), decimal(2), "0000000000000002"),
            (Value::Decimal(1), decimal(0), "00010000000000000001"),
            (Value::Decimal(-12_345_678), decimal(2), "0003000140000002000c0d801e78"),
            (Value::Decimal(10_000), decimal(0), "00010001000000000001"),
            (Value::Decimal(5), decimal(5), "0001fffe000000051388"),
            (Value::List(vec![]), list.clone(), "000000000000000000000017"),
            (
                Value::List(vec![Value::Int(7), Value::Null]),
                list,
                "0000000100000001000000170000000200000001000000040000000 7ffffffff",
            ),
            (
                Value::Struct(vec![Value::Text("x".into()), Value::Null]),
                pair,
                "0000000200000019000000017800000014ffffffff",
            ),
        ] {
            assert_eq!(hex(&value, &data_type), expected.replace(' ', ""), "{value:?}");
        }
    }

    #[test]
    fn null_and_lengths() {
        let mut out = BytesMut::new();
        put(&Value::Null, &DataType::Text, &mut out).expect("null");
        put(&Value::Text("ab".into()), &DataType::Text, &mut out).expect("text");
        assert_eq!(&out[..], [255, 255, 255, 255, 0, 0, 0, 2, b'a', b'b']);
        let times = put(&Value::Int(i64::MIN), &DataType::Timestamp, &mut out);
        assert_eq!(times.map_err(|error| error.code), Err("22008"));
    }
}
