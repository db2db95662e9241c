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
/// Those of [`unreadable`] when the text is not such a value; `22003` where a number is beyond a double or real.
pub(crate) fn cast_text(text: &str, to: &DataType) -> Result<Value, SqlError> {
    let invalid = || unreadable(text, &type_name(to));
    let trimmed = text.trim();
    match to {
        DataType::Text => Ok(Value::Text(text.to_owned())),
        DataType::Bytea => bytea(text).map(Value::Bytes).ok_or_else(invalid),
        DataType::Uuid => uuid(trimmed).map(Value::Bytes).ok_or_else(invalid),
        DataType::Interval => with_signs(text).parse().map(Value::Interval).map_err(|_| invalid()),
        DataType::Bool => boolean(trimmed).map(Value::Bool).ok_or_else(invalid),
        DataType::Date | DataType::Timestamp => {
            as_event(trimmed, to).or_else(|| value_of(&trimmed.into(), to)).ok_or_else(invalid)
        }
        DataType::Decimal { .. } => {
            // Arrow knows no exponents there.
            let digits =
                if trimmed.contains(['e', 'E']) { written_out(trimmed) } else { Some(trimmed.to_owned()) };
            digits.and_then(|digits| value_of(&digits.as_str().into(), to)).ok_or_else(invalid)
        }
        _ => match value_of(&trimmed.into(), to).ok_or_else(invalid)? {
            Value::Float(read) if is_beyond(trimmed, read) => Err(out_of_range(text, &type_name(to))),
            value => Ok(value),
        },
    }
}

fn out_of_range(text: &str, type_name: &str) -> SqlError {
    SqlError::new("22003", format!("\"{}\" is out of range for type {type_name}", shown(text)))
}

/// Digits, perhaps with a sign.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits, perhaps with a sign, a point and an exponent.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    is_whole(&mantissa.replacen('.', "", 1)) && is_whole(exponent)
}

/// A number without its exponent: `1.5e3` is `1500`. `None` where it has none, or one beyond any numeric's.
fn written_out(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok().filter(|by| (-76..=76).contains(by))?;
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let before = usize::try_from(-point).unwrap_or(0);
    let all = format!("{}{all}", "0".repeat(before));
    let point = usize::try_from(point).unwrap_or(0);
    let padded = format!("{all:0<point$}");
    let (whole, fraction) = padded.split_at(point);
    Some(format!("{sign}0{whole}.{fraction}"))
}

/// A number as a numeric of its own digits: its units, and their scale. `None` where it is none, or has more than 38 digits.
pub(crate) fn own_decimal(text: &str) -> Option<(i128, u8)> {
    let trimmed = text.trim();
    let written_out = if trimmed.contains(['e', 'E']) { Some(written_out(trimmed)?) } else { None };
    let number = written_out.as_deref().unwrap_or(trimmed);
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let units: i128 = all.parse().ok().filter(|units: &i128| *units < 10_i128.pow(38))?;
    Some((if number.starts_with('-') { -units } else { units }, scale))
}

/// A text that is no value of the type of this name, with PostgreSQL's code: `22008` for a date or time that is written as
/// one and is not in the calendar, `22007` for other times and intervals, `22003` for a number that the type does not hold,
/// `22P02` for the rest.
pub(crate) fn unreadable(text: &str, type_name: &str) -> SqlError {
    let shown = shown(text);
    let is_time = type_name == "date" || type_name.starts_with("timestamp");
    if is_time && starts_as_date(text.trim()) {
        return SqlError::new("22008", format!("date/time field value out of range: \"{shown}\""));
    }
    let is_beyond = match type_name {
        "smallint" | "integer" | "bigint" => is_whole(text.trim()),
        name => name.starts_with("numeric") && is_number(text.trim()),
    };
    if is_beyond {
        return out_of_range(text, type_name);
    }
    let code = if is_time || type_name == "interval" { "22007" } else { "22P02" };
    SqlError::new(code, format!("invalid input syntax for type {type_name}: \"{shown}\""))
}

/// `2024-13-01...`; a clock behind it has two digits for each of its parts.
fn starts_as_date(text: &str) -> bool {
    let parts = text.splitn(3, '-').collect::<Vec<_>>();
    let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
    let [year, month, rest] = parts.as_slice() else { return false };
    year.len() >= 4
        && digits(year) == year.len()
        && (1..=2).contains(&month.len())
        && digits(month) == month.len()
        && (1..=2).contains(&digits(rest))
        && rest.bytes().all(|byte| byte.is_ascii_digit() || b":.+-TtZz ".contains(&byte))
        && rest
            .split_once(['T', 't', ' '])
            .is_none_or(|(_, clock)| clock.split(':').all(|part| digits(part) >= 2))
}

/// True where a number's digits say something else than what was read of them: infinity, or nothing.
fn is_beyond(text: &str, read: f64) -> bool {
    let is_finite = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let mut mantissa = text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    is_finite && (read.is_infinite() || read == 0.0 && mantissa.any(|byte| matches!(byte, b'1'..=b'9')))
}

/// A value as events bring it. Times are ISO 8601, seconds and offset optional: Arrow wants seconds, and cuts a seventh digit
/// of them off.
fn as_event(text: &str, to: &DataType) -> Option<Value> {
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

/// `1 month - 1 day` with its signs at their numbers.
fn with_signs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let is_signed = out.ends_with(" -") || out == "-";
        if !is_signed && !out.is_empty() && word != "+" {
            out.push(' ');
        }
        // PostgreSQL's own output has it: `-1 days +02:00:00`.
        out.push_str(word.strip_prefix('+').unwrap_or(word));
    }
    out
}

/// Spells out what Arrow reads differently: a bare number is seconds, and so on down from `02:30:00`.
pub(crate) fn spell_interval(text: &str) -> String {
    let text = &with_signs(text);
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
