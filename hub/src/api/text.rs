//! Values as text, the way PostgreSQL prints them (ISO style, UTC).
//!
//! Owns: the text of every type. Must not know: where it is shown; NULL is the caller's business.

use headwater::expr::{date_text, timestamp_text};
use headwater::value::{DataType, Interval, Value};
use std::fmt::{Display, LowerExp, Write};

/// The text of a value of type `data_type`; `None` for NULL.
pub fn text(value: &Value, data_type: &DataType) -> Option<String> {
    let mut out = String::new();
    put(value, data_type, &mut out).then_some(out)
}

/// Appends the text; false (and nothing) for NULL.
fn put(value: &Value, data_type: &DataType, out: &mut String) -> bool {
    match (value, data_type) {
        (Value::Null, _) => return false,
        (Value::Bool(b), _) => out.push(if *b { 't' } else { 'f' }),
        (Value::Int(days), DataType::Date) => out.push_str(&date_text(*days)),
        (Value::Int(micros), DataType::Timestamp) => out.push_str(&timestamp_text(*micros)),
        (Value::Int(n), _) => push(out, format_args!("{n}")),
        (Value::Float(x), DataType::Float32) => float(&shortest(*x as f32, 1e6), *x, out),
        (Value::Float(x), _) => float(&shortest(*x, 1e15), *x, out),
        (Value::Decimal(units), DataType::Decimal { scale, .. }) => decimal(*units, *scale, out),
        (Value::Decimal(units), _) => push(out, format_args!("{units}")),
        (Value::Text(text), _) => out.push_str(text),
        (Value::Bytes(bytes), DataType::Uuid) => uuid(bytes, out),
        (Value::Bytes(bytes), _) => hex(bytes, out),
        (Value::Interval(interval), _) => put_interval(*interval, out),
        (Value::List(items), DataType::List(item)) => {
            list('{', '}', items.iter().map(|value| (value, item.as_ref())), "NULL", out);
        }
        (Value::Struct(fields), DataType::Struct(types)) => {
            list('(', ')', fields.iter().zip(types.iter().map(|(_, t)| t)), "", out);
        }
        (other, _) => push(out, format_args!("{other:?}")),
    }
    true
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
}

/// Plain digits where they are short, an exponent where they are not: `1e+300`, like PostgreSQL, which takes one from as many
/// digits on as the type has.
fn shortest<F: Into<f64> + Display + LowerExp + Copy>(x: F, from: f64) -> String {
    let size = x.into().abs();
    if size != 0.0 && !(1e-4..from).contains(&size) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    x.to_string()
}

fn float(digits: &str, x: f64, out: &mut String) {
    if x.is_nan() {
        out.push_str("NaN");
    } else if x.is_infinite() {
        out.push_str(if x > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        out.push_str(digits);
    }
}

fn decimal(units: i128, scale: u8, out: &mut String) {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    push(out, format_args!("{}{whole}", if units < 0 { "-" } else { "" }));
    if scale > 0 {
        push(out, format_args!(".{fraction}"));
    }
}

fn clock(micros: u64, out: &mut String) {
    let seconds = micros / 1_000_000;
    push(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        push(out, format_args!(".{}", format!("{fraction:06}").trim_end_matches('0')));
    }
}

/// The hyphenated form; bytes that are not 16 print as bytea.
fn uuid(bytes: &[u8], out: &mut String) {
    if bytes.len() != 16 {
        return hex(bytes, out);
    }
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        push(out, format_args!("{byte:02x}"));
    }
}

fn hex(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    bytes.iter().for_each(|byte| push(out, format_args!("{byte:02x}")));
}

/// PostgreSQL's style: `1 year 2 mons 3 days 04:05:06.7`. Behind a part below zero those above it have a sign.
fn put_interval(interval: Interval, out: &mut String) {
    let mut parts: Vec<String> = Vec::new();
    let mut was_below = false;
    for (count, one, many) in [
        (interval.months / 12, "year", "years"),
        (interval.months % 12, "mon", "mons"),
        (interval.days, "day", "days"),
    ] {
        if count != 0 {
            let sign = if was_below && count > 0 { "+" } else { "" };
            parts.push(format!("{sign}{count} {}", if count == 1 { one } else { many }));
            was_below = count < 0;
        }
    }
    if interval.micros != 0 || parts.is_empty() {
        let mut time = String::from(match interval.micros {
            ..0 => "-",
            _ if was_below => "+",
            _ => "",
        });
        clock(interval.micros.unsigned_abs(), &mut time);
        parts.push(time);
    }
    out.push_str(&parts.join(" "));
}

fn list<'a>(
    open: char,
    close: char,
    items: impl Iterator<Item = (&'a Value, &'a DataType)>,
    null: &str,
    out: &mut String,
) {
    out.push(open);
    for (at, (value, data_type)) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        match text(value, data_type) {
            None => out.push_str(null),
            // Nested lists and rows carry their own brackets; quote what could be mistaken for structure.
            Some(item) if needs_quotes(&item, null, matches!(data_type, DataType::List(_))) => {
                push(out, format_args!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")));
            }
            Some(item) => out.push_str(&item),
        }
    }
    out.push(close);
}

fn needs_quotes(item: &str, null: &str, nested: bool) -> bool {
    item.is_empty()
        || (!null.is_empty() && item.eq_ignore_ascii_case(null))
        || (!nested && item.contains([',', '"', '\\', '{', '}', '(', ')', ' ', '\n', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Value, data_type: DataType) -> String {
        text(&value, &data_type).unwrap_or_else(|| "NULL".into())
    }

    #[test]
    fn values_print_as_in_postgresql() {
        let numeric = |scale| DataType::Decimal { precision: 38, scale };
        let list = |t: DataType| DataType::List(Box::new(t));
        let pair =
            DataType::Struct(vec![("value".into(), DataType::Text), ("count".into(), DataType::Int64)]);
        for (value, data_type, expected) in [
            (Value::Null, DataType::Text, "NULL"),
            (Value::Bool(true), DataType::Bool, "t"),
            (Value::Int(-5), DataType::Int64, "-5"),
            (Value::Int(0), DataType::Date, "1970-01-01"),
            (Value::Int(19_782), DataType::Date, "2024-02-29"),
            (Value::Int(-1), DataType::Date, "1969-12-31"),
            (Value::Int(-800_017), DataType::Date, "0222-08-18 BC"),
            (Value::Int(3_700_000), DataType::Date, "12100-04-04"),
            (Value::Int(-62_167_219_200_000_001), DataType::Timestamp, "0002-12-31 23:59:59.999999+00 BC"),
            (Value::Int(1_500_000), DataType::Timestamp, "1970-01-01 00:00:01.5+00"),
            (Value::Int(-1), DataType::Timestamp, "1969-12-31 23:59:59.999999+00"),
            (Value::Float(0.1), DataType::Float64, "0.1"),
            (Value::Float(3.0), DataType::Float64, "3"),
            (Value::Float(1e300), DataType::Float64, "1e+300"),
            (Value::Float(1.5e-7), DataType::Float64, "1.5e-07"),
            (Value::Float(f64::from(0.1f32)), DataType::Float32, "0.1"),
            (Value::Float(0.0001), DataType::Float64, "0.0001"),
            (Value::Float(0.000_012_5), DataType::Float64, "1.25e-05"),
            (Value::Float(999_999_999_999_999.0), DataType::Float64, "999999999999999"),
            (Value::Float(999_999.0), DataType::Float32, "999999"),
            (Value::Float(16_777_216.0), DataType::Float32, "1.6777216e+07"),
            (Value::Float(f64::from(1e-5_f32)), DataType::Float32, "1e-05"),
            (Value::Float(f64::NAN), DataType::Float64, "NaN"),
            (Value::Float(f64::NEG_INFINITY), DataType::Float64, "-Infinity"),
            (Value::Decimal(-5), numeric(2), "-0.05"),
            (Value::Decimal(12345), numeric(0), "12345"),
            (Value::Bytes(vec![0xde, 0xad]), DataType::Bytea, "\\xdead"),
            (Value::Bytes(vec![1; 16]), DataType::Uuid, "01010101-0101-0101-0101-010101010101"),
            (
                Value::Interval(Interval { months: 14, days: 1, micros: 3_661_000_000 }),
                DataType::Interval,
                "1 year 2 mons 1 day 01:01:01",
            ),
            (Value::Interval(Interval::default()), DataType::Interval, "00:00:00"),
            (
                Value::Interval(Interval { months: -1, days: 2, micros: -1_500_000 }),
                DataType::Interval,
                "-1 mons +2 days -00:00:01.5",
            ),
            (
                Value::Interval(Interval { months: 0, days: -3, micros: 1 }),
                DataType::Interval,
                "-3 days +00:00:00.000001",
            ),
            (Value::List(vec![Value::Int(1), Value::Null]), list(DataType::Int64), "{1,NULL}"),
            (Value::List(vec![Value::Text("a b".into())]), list(DataType::Text), "{\"a b\"}"),
            (Value::List(vec![Value::Text("{".into())]), list(DataType::Text), "{\"{\"}"),
            (
                Value::List(vec![Value::Struct(vec![Value::Text("AA".into()), Value::Int(3)])]),
                list(pair),
                "{\"(AA,3)\"}",
            ),
        ] {
            assert_eq!(shown(value, data_type), expected);
        }
    }
}
