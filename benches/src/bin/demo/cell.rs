//! One value of an answer, from whichever engine gave it, in a form that compares.

use headwater::value::{DataType, Value};
use std::fmt;

/// A value. Integers, decimals of scale 0, days and microseconds are [`Cell::Int`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// A whole number.
    Int(i128),
    /// A double.
    Float(f64),
    /// Text.
    Text(String),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
}

impl Cell {
    /// The number, when it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// From a value that a hub answered.
    pub fn from_hub(value: &Value, data_type: &DataType) -> Self {
        match (value, data_type) {
            (Value::Null, _) => Self::Null,
            (Value::Int(v), DataType::Timestamp) => Self::Time(*v),
            (Value::Int(v), _) => Self::Int(i128::from(*v)),
            (Value::Decimal(v), _) => Self::Int(*v),
            (Value::Float(v), _) => Self::Float(*v),
            (Value::Bool(v), _) => Self::Text(v.to_string()),
            (Value::Text(v), _) => Self::Text(v.clone()),
            (Value::List(items), _) => Self::Text(items.iter().map(pair).collect::<Vec<_>>().join(" ")),
            (other, _) => Self::Text(format!("{other:?}")),
        }
    }
}

/// `ORD:158123`: a heavy hitter and its weight.
fn pair(item: &Value) -> String {
    match item {
        Value::Struct(fields) => {
            let texts = fields.iter().map(|f| Cell::from_hub(f, &DataType::Null).plain());
            texts.collect::<Vec<_>>().join(":")
        }
        other => Cell::from_hub(other, &DataType::Null).plain(),
    }
}

impl Cell {
    /// Without digit grouping.
    fn plain(&self) -> String {
        match self {
            Self::Int(v) => v.to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.pad("NULL"),
            Self::Int(v) => f.pad(&grouped(*v)),
            Self::Float(v) => f.pad(&format!("{v:.4}")),
            Self::Text(v) => f.pad(v),
            Self::Time(v) => f.pad(&headwater::expr::iso_date(v.div_euclid(86_400_000_000))),
        }
    }
}

/// `1,234,567`
pub fn grouped(value: i128) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
