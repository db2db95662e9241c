//! Values as PostgreSQL's `json_agg` and `json_object_agg` write them: JSON as text.
//!
//! Owns: how a value of each type is written, and how a text is quoted. Must not know: states.
//! Numbers are numbers but for NaN and the infinities, which JSON has not; times are ISO 8601 in UTC; all else is its
//! text, quoted. Control characters are escaped, everything else is written as it is.

use crate::expr::value_text;
use crate::value::{DataType, Interval, Value};
use alloc::format;
use alloc::string::String;

/// `[1, 2]`
pub(super) fn array(values: impl Iterator<Item = Value>, data_type: &DataType) -> String {
    let mut out = String::from("[");
    for (at, value) in values.enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        put(&value, data_type, &mut out);
    }
    out.push(']');
    out
}

/// `{ "a" : 1, "b" : 2 }`
pub(super) fn object(
    pairs: impl Iterator<Item = (Value, Value)>,
    key_type: &DataType,
    value_type: &DataType,
) -> String {
    let mut out = String::from("{ ");
    for (at, (key, value)) in pairs.enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        put_quoted(&text(&key, key_type), &mut out);
        out.push_str(" : ");
        put(&value, value_type, &mut out);
    }
    out.push_str(" }");
    out
}

fn put(value: &Value, data_type: &DataType, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(_) => out.push_str(&text(value, data_type)),
        Value::Int(_) if data_type.is_int() => out.push_str(&text(value, data_type)),
        Value::Float(x) if x.is_finite() => out.push_str(&text(value, data_type)),
        Value::Decimal(_) => out.push_str(&text(value, data_type)),
        Value::Int(_) if *data_type == DataType::Timestamp => {
            put_quoted(&text(value, data_type).replacen(' ', "T", 1).replace("+00", "+00:00"), out);
        }
        _ => put_quoted(&text(value, data_type), out),
    }
}

fn text(value: &Value, data_type: &DataType) -> String {
    match value {
        Value::Interval(interval) => interval_text(*interval),
        _ => value_text(value, data_type).unwrap_or_default(),
    }
}

/// An interval in PostgreSQL's own style: `1 year 2 mons -3 days +04:05:06.7`. After a negative part a positive one
/// has its sign.
fn interval_text(Interval { months, days, micros }: Interval) -> String {
    let mut out = String::new();
    let mut negative = false;
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            let space = if out.is_empty() { "" } else { " " };
            let plus = if negative && count > 0 { "+" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            out += &format!("{space}{plus}{count} {unit}{plural}");
            negative = count < 0;
        }
    }
    if micros != 0 || out.is_empty() {
        let space = if out.is_empty() { "" } else { " " };
        let sign = match negative {
            _ if micros < 0 => "-",
            true => "+",
            false => "",
        };
        let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        out += &format!("{space}{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
        if fraction != 0 {
            out += format!(".{fraction:06}").trim_end_matches('0');
        }
    }
    out
}

/// Appends a text as a JSON string.
pub(super) fn put_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn one(value: Value, data_type: DataType) -> String {
        let text = array([value].into_iter(), &data_type);
        text[1..text.len() - 1].into()
    }

    /// What PostgreSQL 15 gives for `json_agg` of each.
    #[test]
    fn values_are_postgresqls() {
        assert_eq!(one(Value::Null, DataType::Text), "null");
        assert_eq!(one(Value::Bool(true), DataType::Bool), "true");
        assert_eq!(one(Value::Int(-7), DataType::Int16), "-7");
        assert_eq!(one(Value::Float(0.1), DataType::Float64), "0.1");
        assert_eq!(one(Value::Float(1e300), DataType::Float64), "1e+300");
        assert_eq!(one(Value::Float(f64::NAN), DataType::Float64), "\"NaN\"");
        assert_eq!(one(Value::Float(f64::NEG_INFINITY), DataType::Float64), "\"-Infinity\"");
        assert_eq!(one(Value::Decimal(-105), DataType::Decimal { precision: 9, scale: 2 }), "-1.05");
        assert_eq!(
            one(Value::Text("a\"\\\n\u{1}\u{e9}/".into()), DataType::Text),
            "\"a\\\"\\\\\\n\\u0001\u{e9}/\""
        );
        assert_eq!(one(Value::Bytes(vec![1, 255]), DataType::Bytea), "\"\\\\x01ff\"");
        assert_eq!(one(Value::Int(19_782), DataType::Date), "\"2024-02-29\"");
        let micros = 19_782 * 86_400_000_000 + 3_723_500_000;
        assert_eq!(one(Value::Int(micros), DataType::Timestamp), "\"2024-02-29T01:02:03.5+00:00\"");
        let pairs = [(Value::Int(1), Value::Null), (Value::Int(2), Value::Text("x".into()))];
        assert_eq!(
            object(pairs.into_iter(), &DataType::Int32, &DataType::Text),
            "{ \"1\" : null, \"2\" : \"x\" }"
        );
    }

    #[test]
    fn intervals_are_postgresqls() {
        let of = |months, days, micros| interval_text(Interval { months, days, micros });
        assert_eq!(of(0, 0, 0), "00:00:00");
        assert_eq!(of(14, -3, 14_706_700_000), "1 year 2 mons -3 days +04:05:06.7");
        assert_eq!(of(-1, 2, -1), "-1 mons +2 days -00:00:00.000001");
        assert_eq!(of(1, 1, 0), "1 mon 1 day");
        assert_eq!(of(0, 0, 360_000_000_000), "100:00:00");
    }
}
