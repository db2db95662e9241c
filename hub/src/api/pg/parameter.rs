//! Values of parameters: PostgreSQL's text and binary formats, as the text that a cast takes.
//!
//! Owns: reading them. Must not know: statements. Invariant: no input panics or allocates beyond its own length.

use super::binary::{EPOCH_DAYS, EPOCH_MICROS};
use super::message::Format;
use super::types;
use bytes::{Buf, Bytes};
use headwater::expr::{date_text, timestamp_text};
use headwater::value::DataType;
use headwater_sql::{Parameter, ParameterValue, SqlError, array_items};

/// Digits that a numeric can have.
const NUMERIC_DIGITS_MAX: u8 = 38;

/// Reads the value of a parameter of this type. Text of no type is read as its surroundings want it.
///
/// # Errors
/// `22P02` and its kind: what is no such value; `0A000`: a type without binary format.
pub fn read(
    value: Option<Bytes>,
    data_type: Option<&DataType>,
    format: Format,
) -> Result<Parameter, SqlError> {
    let Some(bytes) = value else {
        return Ok(Parameter { data_type: data_type.cloned(), value: ParameterValue::Null });
    };
    match (format, data_type) {
        (Format::Text, Some(DataType::List(item))) => {
            let items = array(&utf8(&bytes)?)?;
            Ok(parameter(DataType::List(item.clone()), ParameterValue::List(items)))
        }
        (Format::Text, _) => {
            let text = utf8(&bytes)?;
            let data_type = data_type.map(|data_type| fitting(data_type, &text));
            Ok(Parameter { data_type, value: ParameterValue::Text(text) })
        }
        (Format::Binary, Some(DataType::List(item))) => list(bytes, item),
        (Format::Binary, Some(data_type)) => {
            let text = scalar(bytes, data_type)?;
            Ok(parameter(fitting(data_type, &text), ParameterValue::Text(text)))
        }
        (Format::Binary, None) => {
            Ok(Parameter { data_type: None, value: ParameterValue::Text(utf8(&bytes)?) })
        }
    }
}

fn parameter(data_type: DataType, value: ParameterValue) -> Parameter {
    Parameter { data_type: Some(data_type), value }
}

/// A numeric has as many digits behind the point as its text.
fn fitting(data_type: &DataType, text: &str) -> DataType {
    let DataType::Decimal { .. } = data_type else { return data_type.clone() };
    let fraction = match text.split_once('.') {
        Some((_, fraction)) if !text.contains(['e', 'E']) => fraction.trim_end().len(),
        Some(_) => 10,
        None if text.contains(['e', 'E']) => 10,
        None => 0,
    };
    let scale = u8::try_from(fraction).unwrap_or(NUMERIC_DIGITS_MAX).min(NUMERIC_DIGITS_MAX);
    DataType::Decimal { precision: NUMERIC_DIGITS_MAX, scale }
}

fn utf8(bytes: &[u8]) -> Result<String, SqlError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\"")),
    }
}

fn malformed() -> SqlError {
    SqlError::new("22P03", "incorrect binary data format in a parameter")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], SqlError> {
    bytes.try_into().map_err(|_| malformed())
}

/// A value's bytes as text.
fn scalar(bytes: Bytes, data_type: &DataType) -> Result<String, SqlError> {
    Ok(match data_type {
        DataType::Bool => match bytes.as_ref() {
            [0] => "false".into(),
            [1] => "true".into(),
            _ => return Err(malformed()),
        },
        DataType::Int16 => i16::from_be_bytes(fixed(&bytes)?).to_string(),
        DataType::Int32 => i32::from_be_bytes(fixed(&bytes)?).to_string(),
        // An oid is a bigint here; it has four bytes there.
        DataType::Int64 if bytes.len() == 4 => u32::from_be_bytes(fixed(&bytes)?).to_string(),
        DataType::Int64 => i64::from_be_bytes(fixed(&bytes)?).to_string(),
        DataType::Float32 => float(f64::from(f32::from_be_bytes(fixed(&bytes)?)), true),
        DataType::Float64 => float(f64::from_be_bytes(fixed(&bytes)?), false),
        DataType::Decimal { .. } => numeric(bytes)?,
        DataType::Text | DataType::Null => utf8(&bytes)?,
        DataType::Bytea => hex("\\x", &bytes),
        DataType::Uuid => hex("", &fixed::<16>(&bytes)?),
        DataType::Date => date_text(i64::from(i32::from_be_bytes(fixed(&bytes)?)) + EPOCH_DAYS),
        DataType::Timestamp => {
            let micros = i64::from_be_bytes(fixed(&bytes)?).checked_add(EPOCH_MICROS);
            timestamp_text(micros.ok_or_else(|| SqlError::new("22008", "timestamp out of range"))?)
        }
        DataType::Interval => interval(&bytes)?,
        _ => return Err(SqlError::unsupported("this type as a parameter in binary format")),
    })
}

fn float(x: f64, single: bool) -> String {
    match x {
        x if x.is_nan() => "NaN".into(),
        x if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        x if single => format!("{:e}", x as f32),
        x => format!("{x:e}"),
    }
}

fn hex(prefix: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(String::from(prefix), |text, byte| text + &format!("{byte:02x}"))
}

fn interval(bytes: &[u8]) -> Result<String, SqlError> {
    let mut bytes = Bytes::copy_from_slice(&fixed::<16>(bytes)?);
    let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
    let sign = if micros < 0 { "-" } else { "" };
    let size = micros.unsigned_abs();
    let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
    Ok(format!("{months} months {days} days {sign}{seconds}.{fraction:06} seconds"))
}

/// Digits to the base of 10,000, the weight of the first one, and how many decimal ones to show behind the point.
fn numeric(mut bytes: Bytes) -> Result<String, SqlError> {
    if bytes.len() < 8 {
        return Err(malformed());
    }
    let (count, weight) = (usize::from(bytes.get_u16()), i32::from(bytes.get_i16()));
    let (sign, scale) = (bytes.get_u16(), usize::from(bytes.get_u16()));
    if bytes.len() != 2 * count {
        return Err(malformed());
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        _ => return Err(SqlError::new("22003", "a numeric is a number here: NaN and Infinity are not")),
    };
    if !(-40..=40).contains(&weight) {
        return Err(SqlError::new("22003", "numeric field overflow"));
    }
    let digits: Vec<u16> = (0..count).map(|_| bytes.get_u16()).collect();
    if digits.iter().any(|digit| *digit > 9_999) {
        return Err(malformed());
    }
    let at = |position: i32| {
        let index = usize::try_from(weight - position).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let whole: String = (0..=weight.max(0)).rev().map(|position| format!("{:04}", at(position))).collect();
    let groups = i32::try_from(scale.min(160).div_ceil(4)).unwrap_or(0);
    let fraction: String = (1..=groups).map(|group| format!("{:04}", at(-group))).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Ok(match fraction.get(..scale.min(fraction.len())) {
        None | Some("") => format!("{sign}{whole}"),
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
    })
}

/// An array in binary format: one dimension.
fn list(mut bytes: Bytes, item: &DataType) -> Result<Parameter, SqlError> {
    if bytes.len() < 12 {
        return Err(malformed());
    }
    let (dimensions, _nulls, oid) = (bytes.get_i32(), bytes.get_i32(), bytes.get_u32());
    let told = types::data_type(oid).ok().flatten();
    let item = told.as_ref().unwrap_or(item);
    let items = match dimensions {
        0 if bytes.is_empty() => Vec::new(),
        1 if bytes.len() >= 8 => {
            let (count, _lower) = (bytes.get_i32(), bytes.get_i32());
            let count = usize::try_from(count).map_err(|_| malformed())?;
            items_of(&mut bytes, count, item)?
        }
        _ => return Err(SqlError::unsupported("an array of several dimensions as a parameter")),
    };
    let item = items.iter().flatten().fold(item.clone(), |item, text| widest(item, text));
    Ok(parameter(DataType::List(Box::new(item)), ParameterValue::List(items)))
}

/// Of numerics the one with most digits behind the point.
fn widest(item: DataType, text: &str) -> DataType {
    match (&item, fitting(&item, text)) {
        (DataType::Decimal { scale, .. }, DataType::Decimal { scale: other, .. }) if other <= *scale => item,
        (_, fitting) => fitting,
    }
}

fn items_of(bytes: &mut Bytes, count: usize, item: &DataType) -> Result<Vec<Option<String>>, SqlError> {
    // Each has a length of four bytes at least.
    if count > bytes.len() / 4 {
        return Err(malformed());
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        if bytes.len() < 4 {
            return Err(malformed());
        }
        items.push(match usize::try_from(bytes.get_i32()) {
            Ok(length) if length <= bytes.len() => Some(scalar(bytes.split_to(length), item)?),
            Ok(_) => return Err(malformed()),
            Err(_) => None,
        });
    }
    if bytes.is_empty() { Ok(items) } else { Err(malformed()) }
}

/// `{1,NULL,"a \"b\""}`: an array of one dimension as text.
fn array(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    array_items(text).ok_or_else(|| {
        SqlError::new("22P02", format!("malformed array literal: \"{text}\""))
            .with_hint("arrays of one dimension are taken: {1,2,NULL}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pg::binary;
    use crate::api::text;
    use bytes::BytesMut;
    use headwater::value::{Interval, Value};

    fn binary_text(value: &Value, data_type: &DataType) -> String {
        let mut out = BytesMut::new();
        binary::put(value, data_type, &mut out).expect("it fits");
        match read(Some(out.freeze().slice(4..)), Some(data_type), Format::Binary).expect("it reads").value {
            ParameterValue::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// What is sent in binary reads as the text that is sent as text.
    #[test]
    fn binary_values_come_back() {
        let decimal = |scale| DataType::Decimal { precision: 38, scale };
        for (value, data_type) in [
            (Value::Int(-7), DataType::Int16),
            (Value::Int(i64::from(i32::MIN)), DataType::Int32),
            (Value::Int(i64::MAX), DataType::Int64),
            (Value::Decimal(0), decimal(0)),
            (Value::Decimal(0), decimal(3)),
            (Value::Decimal(1), decimal(0)),
            (Value::Decimal(10_000), decimal(0)),
            (Value::Decimal(-10_000), decimal(4)),
            (Value::Decimal(123_456_789), decimal(7)),
            (Value::Decimal(5), decimal(9)),
            (Value::Decimal(10_i128.pow(37)), decimal(0)),
            (Value::Decimal(-(10_i128.pow(38) - 1)), decimal(38)),
            (Value::Decimal(100_000_000), decimal(8)),
            (Value::Text("x'y".into()), DataType::Text),
            (Value::Bytes(vec![0, 255]), DataType::Bytea),
            (Value::Int(19_782), DataType::Date),
            (Value::Int(-1), DataType::Timestamp),
            (Value::Int(1_700_000_000_123_456), DataType::Timestamp),
        ] {
            assert_eq!(Some(binary_text(&value, &data_type)), text::text(&value, &data_type), "{value:?}");
        }
        assert_eq!(binary_text(&Value::Bytes(vec![1; 16]), &DataType::Uuid), "01".repeat(16));
        assert_eq!(binary_text(&Value::Float(0.1), &DataType::Float64), "1e-1");
        assert_eq!(binary_text(&Value::Float(f64::NEG_INFINITY), &DataType::Float64), "-Infinity");
        let interval = Interval { months: -1, days: 2, micros: -1_500_000 };
        let text = binary_text(&Value::Interval(interval), &DataType::Interval);
        assert_eq!(text, "-1 months 2 days -1.500000 seconds");
    }

    #[test]
    fn arrays_in_both_formats() {
        let ints = DataType::List(Box::new(DataType::Int32));
        let mut out = BytesMut::new();
        binary::put(&Value::List(vec![Value::Int(1), Value::Null]), &ints, &mut out).expect("it fits");
        let one = Some("1".to_owned());
        let read = |bytes: Bytes, format| read(Some(bytes), Some(&ints), format).map(|p| p.value);
        let expected = Ok(ParameterValue::List(vec![one.clone(), None]));
        assert_eq!(read(out.freeze().slice(4..), Format::Binary), expected);
        assert_eq!(read(Bytes::from_static(b"{1, null}"), Format::Text), expected);
        let items = |text: &str| array(text).map_err(|error| error.code);
        let quoted = vec![Some("a,\"b\\".to_owned()), Some("NULL".into()), Some("c d".into())];
        assert_eq!(items(r#"{"a,\"b\\","NULL", c d }"#), Ok(quoted));
        assert_eq!(items("{}"), Ok(vec![]));
        for wrong in ["", "1,2", "{1,}", "{{1}}", "{\"a}", "{\"a\"b}", "{a\\}"] {
            assert_eq!(items(wrong), Err("22P02"), "{wrong}");
        }
    }

    #[test]
    fn hostile_values_are_refused() {
        let decimal = DataType::Decimal { precision: 38, scale: 0 };
        let ints = DataType::List(Box::new(DataType::Int32));
        for (bytes, data_type, code) in [
            (&b"\0"[..], DataType::Int32, "22P03"),
            (b"\x02", DataType::Bool, "22P03"),
            (b"\xff\xff\0\0\0\0\0\0", decimal.clone(), "22P03"),
            (b"\0\x01\x7f\xff\0\0\0\0\0\x01", decimal.clone(), "22003"),
            (b"\0\0\0\0\xc0\0\0\0", decimal.clone(), "22003"),
            (b"\0\x01\0\0\0\0\0\0\xff\xff", decimal, "22P03"),
            (b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01", ints.clone(), "22P03"),
            (b"\0\0\0\x07\0\0\0\0\0\0\0\x17", ints.clone(), "0A000"),
            (b"\0", ints, "22P03"),
            (b"a\0b", DataType::Text, "22021"),
            (b"\x7f\xff\xff\xff\xff\xff\xff\xff", DataType::Timestamp, "22008"),
        ] {
            let refused = read(Some(Bytes::copy_from_slice(bytes)), Some(&data_type), Format::Binary);
            assert_eq!(refused.map_err(|error| error.code).err(), Some(code), "{bytes:?}");
        }
    }

    #[test]
    fn every_prefix_of_bytes_is_read_or_refused() {
        let bytes = Bytes::from_static(
            b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x02\0\0\0\x01\xff\xff\xff\xff\0\0\0\x04abcd",
        );
        let decimal = DataType::Decimal { precision: 38, scale: 2 };
        let all =
            [DataType::Bool, DataType::Interval, DataType::Uuid, DataType::Date, decimal, DataType::Text];
        for data_type in all.iter().chain(&all.clone().map(|item| DataType::List(Box::new(item)))) {
            for end in 0..bytes.len() {
                for start in 0..end {
                    let _ = read(Some(bytes.slice(start..end)), Some(data_type), Format::Binary);
                    let _ = read(Some(bytes.slice(start..end)), Some(data_type), Format::Text);
                }
            }
        }
    }
}
