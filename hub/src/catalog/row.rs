//! The bytes of a table's row.
//!
//! Version u8 = 1, then per column, in the order of the definition: 0 for NULL, or 1 and the value (`hub/DESIGN.md`,
//! section 3). Types are the definition's: bytes alone cannot be read.

use headwater::codec::{DecodeError, Reader, Writer};
use headwater::value::{DataType, Interval, Value};

const VERSION: u8 = 1;

/// Appends a row whose values fit their columns.
pub(super) fn encode(values: &[Value], out: &mut Vec<u8>) {
    out.push(VERSION);
    values.iter().for_each(|value| put(value, out));
}

fn put(value: &Value, out: &mut Vec<u8>) {
    if value.is_null() {
        return out.push(0);
    }
    out.push(1);
    match value {
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int(v) => out.put_zigzag(*v),
        Value::Float(v) => out.extend_from_slice(&v.to_bits().to_le_bytes()),
        Value::Decimal(v) => out.put_zigzag128(*v),
        Value::Text(v) => out.put_blob(v.as_bytes()),
        Value::Bytes(v) => out.put_blob(v),
        Value::Interval(v) => {
            out.put_zigzag(v.months.into());
            out.put_zigzag(v.days.into());
            out.put_zigzag(v.micros);
        }
        // No column has such a type.
        _ => {}
    }
}

/// Reads a row of columns of these types.
pub(super) fn decode(bytes: &[u8], types: &[DataType]) -> Result<Vec<Value>, DecodeError> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        VERSION => {}
        0 => return Err(DecodeError::Invalid("row version")),
        _ => return Err(DecodeError::TooNew),
    }
    let values = types.iter().map(|data_type| take(&mut reader, data_type)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(values)
}

fn take(reader: &mut Reader<'_>, data_type: &DataType) -> Result<Value, DecodeError> {
    match reader.u8()? {
        0 => return Ok(Value::Null),
        1 => {}
        _ => return Err(DecodeError::Invalid("row value")),
    }
    let most = reader.remaining();
    let value = match data_type {
        DataType::Bool => Value::Bool(match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Invalid("boolean")),
        }),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date | DataType::Timestamp => {
            Value::Int(reader.zigzag()?)
        }
        DataType::Float32 | DataType::Float64 => Value::Float(reader.f64()?),
        DataType::Decimal { .. } => Value::Decimal(reader.zigzag128()?),
        DataType::Text => Value::Text(reader.text(most)?.to_owned()),
        DataType::Bytea | DataType::Uuid => Value::Bytes(reader.blob(most)?.to_vec()),
        DataType::Interval => {
            Value::Interval(Interval { months: part(reader)?, days: part(reader)?, micros: reader.zigzag()? })
        }
        _ => return Err(DecodeError::Invalid("type of a column")),
    };
    if value.fits(data_type) { Ok(value) } else { Err(DecodeError::Invalid("value of its type")) }
}

fn part(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    i32::try_from(reader.zigzag()?).map_err(|_| DecodeError::Invalid("interval"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Vec<DataType> {
        vec![
            DataType::Bool,
            DataType::Int16,
            DataType::Float64,
            DataType::Decimal { precision: 10, scale: 2 },
            DataType::Text,
            DataType::Uuid,
            DataType::Interval,
            DataType::Timestamp,
        ]
    }

    fn row() -> Vec<Value> {
        vec![
            Value::Bool(true),
            Value::Int(-7),
            Value::Float(1.5),
            Value::Decimal(-1234),
            Value::Text("h\u{e9}".into()),
            Value::Bytes(vec![9; 16]),
            Value::Interval(Interval { months: 1, days: -2, micros: 3 }),
            Value::Int(1_700_000_000_000_000),
        ]
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        for values in [row(), vec![Value::Null; 8]] {
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            assert_eq!(decode(&bytes, &types()), Ok(values));
        }
    }

    /// Rows of every version that was ever written are read.
    #[test]
    fn the_first_version_is_read() {
        let bytes = [1, 1, 1, 1, 13, 0, 1, 0xa3, 0x13, 1, 1, b'x', 0, 0, 1, 2];
        let values = decode(&bytes, &types());
        let expected = vec![
            Value::Bool(true),
            Value::Int(-7),
            Value::Null,
            Value::Decimal(-1234),
            Value::Text("x".into()),
            Value::Null,
            Value::Null,
            Value::Int(1),
        ];
        assert_eq!(values, Ok(expected));
    }

    #[test]
    fn damaged_rows_are_refused() {
        let mut bytes = Vec::new();
        encode(&row(), &mut bytes);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &types()).is_err(), "{end} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            // It is refused or reads as other values: never a panic.
            let _ = decode(&damaged, &types());
        }
        bytes.push(0);
        assert_eq!(decode(&bytes, &types()), Err(DecodeError::Trailing));
        bytes[0] = 2;
        assert_eq!(decode(&bytes, &types()), Err(DecodeError::TooNew));
        assert!(decode(&[1, 1, 0x80, 0x80, 0x08], &[DataType::Int16]).is_err(), "beyond its type");
    }
}
