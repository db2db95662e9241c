//! Single values: literals of the compiler, bounds of key ranges.

use super::cell::{put_cell, shown};
use super::{arrow_type, value_at};
use crate::error::SqlError;
use crate::types::type_name;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::common::ScalarValue;
use headwater::emit::Cell;
use headwater::schema::Field;
use headwater::value::column::Column;
use headwater::value::{DataType, Value};

/// The Arrow scalar of a value; `None` when the value is not of the type.
pub(crate) fn scalar_of(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    let array = super::array_from_values(std::slice::from_ref(value), data_type).ok()?;
    ScalarValue::try_from_array(&array, 0).ok()
}

/// The value of an Arrow scalar as `data_type` reads it, cast where needed; `None` when it does not fit.
pub(crate) fn value_of(scalar: &ScalarValue, data_type: &DataType) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null);
    }
    let cast = scalar.cast_to(&arrow_type(data_type)).ok()?;
    let value = value_at(&cast.to_array().ok()?, 0, data_type).ok()?;
    (!value.is_null()).then_some(value)
}

/// Reads a text literal as a type, as PostgreSQL reads an untyped literal.
///
/// # Errors
/// `22P02` or `22007` when the text is not such a value; `22003` where a number is beyond a double or real.
pub(crate) fn cast_text(text: &str, to: &DataType) -> Result<Value, SqlError> {
    let invalid = |code| {
        SqlError::new(code, format!("invalid input syntax for type {}: \"{}\"", type_name(to), shown(text)))
    };
    let trimmed = text.trim();
    match to {
        DataType::Text => Ok(Value::Text(text.to_owned())),
        DataType::Bytea => bytea(text).map(Value::Bytes).ok_or_else(|| invalid("22P02")),
        DataType::Uuid => uuid(trimmed).map(Value::Bytes).ok_or_else(|| invalid("22P02")),
        DataType::Interval => text.parse().map(Value::Interval).map_err(|_| invalid("22007")),
        DataType::Bool => boolean(trimmed).map(Value::Bool).ok_or_else(|| invalid("22P02")),
        DataType::Date | DataType::Timestamp => {
            time(trimmed, to).or_else(|| value_of(&trimmed.into(), to)).ok_or_else(|| invalid("22007"))
        }
        _ => {
            let value = value_of(&trimmed.into(), to).ok_or_else(|| invalid("22P02"))?;
            match value {
                Value::Float(read) if is_beyond(trimmed, read) => {
                    let message = format!("\"{}\" is out of range for type {}", shown(text), type_name(to));
                    Err(SqlError::new("22003", message))
                }
                value => Ok(value),
            }
        }
    }
}

/// True where a number's digits say something else than what was read of them: infinity, or nothing.
fn is_beyond(text: &str, read: f64) -> bool {
    let is_finite = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let mut mantissa = text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    is_finite && (read.is_infinite() || read == 0.0 && mantissa.any(|byte| matches!(byte, b'1'..=b'9')))
}

/// A date or time as events bring it: ISO 8601, seconds and offset optional. Arrow wants seconds, and cuts a seventh
/// digit of them off.
fn time(text: &str, to: &DataType) -> Option<Value> {
    let (mut column, field) = (Column::new(to), Field { name: String::new(), data_type: to.clone() });
    put_cell(&mut column, &field, Cell::Text(text)).ok()?;
    Some(column.value(0, to))
}

/// Casts a constant. `None` when there is no such cast or the value does not fit: the caller leaves the cast
/// to run time, where a failing row is counted.
pub(crate) fn cast_value(value: &Value, from: &DataType, to: &DataType) -> Option<Value> {
    if value.is_null() || from == to {
        return Some(value.clone());
    }
    if let Value::Text(text) = value {
        return cast_text(text, to).ok();
    }
    let array = super::array_from_values(std::slice::from_ref(value), from).ok()?;
    let options = CastOptions { safe: false, ..CastOptions::default() };
    value_at(&cast_with_options(&array, &arrow_type(to), &options).ok()?, 0, to).ok()
}

/// Spells out what Arrow reads differently: a bare number is seconds, and so on down from `02:30:00`.
pub(crate) fn spell_interval(text: &str) -> String {
    if text.parse::<f64>().is_ok() {
        return format!("{text} seconds");
    }
    let words = text.split_whitespace().map(|word| clock(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// `[-]HH:MM[:SS[.ffffff]]` in words.
fn clock(word: &str) -> Option<String> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (hours, rest) = digits.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    Some(format!("{sign}{hours} hours {sign}{minutes} minutes {sign}{seconds} seconds"))
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "off" | "of" | "0" => Some(false),
        _ => None,
    }
}

fn bytea(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => unhex(hex),
        None if text.contains('\\') => None,
        None => Some(text.as_bytes().to_vec()),
    }
}

/// A UUID with or without hyphens and braces.
pub(super) fn uuid(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    unhex(&inner.replace('-', "")).filter(|bytes| bytes.len() == 16)
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
