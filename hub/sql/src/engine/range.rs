//! Filters on the leading key columns as one range of key bytes.
//!
//! The range may hold groups that the filter refuses (DataFusion filters again), never the other way round.

use crate::convert::{OTHER_TEXT, value_of};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use headwater::value::key::{NULL_BYTE, encode_value};
use headwater::value::{DataType, Value};

/// Key bytes from `min` (inclusive) to `max` (exclusive; `None`: to the last).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) min: Vec<u8>,
    pub(super) max: Option<Vec<u8>>,
}

/// The values one key may have: bounds are inclusive unless `above` / `below` say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bounds {
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

/// True when a filter narrows some key's range: it will then be in the filters of the scan.
pub(super) fn bounds_key(filter: &Expr, keys: &[(String, DataType)]) -> bool {
    keys.iter().any(|(name, data_type)| {
        let mut bounds = Bounds::default();
        narrow(filter, name, data_type, &mut bounds);
        bounds != Bounds::default()
    })
}

/// The range of keys that a conjunction of filters leaves. Keys pinned to one value extend the prefix; the first
/// other key ends it.
pub(super) fn key_range(filters: &[Expr], keys: &[(String, DataType)]) -> KeyRange {
    let mut prefix = Vec::new();
    for (name, data_type) in keys {
        let mut bounds = Bounds::default();
        filters.iter().for_each(|filter| narrow(filter, name, data_type, &mut bounds));
        if prefix.is_empty() && *data_type == DataType::Text {
            bounds.keep_other();
        }
        match (&bounds.low, &bounds.high) {
            (Some(low), Some(high)) if low == high => prefix.extend_from_slice(low),
            _ => return open_range(prefix, bounds),
        }
    }
    open_range(prefix, Bounds::default())
}

fn open_range(prefix: Vec<u8>, bounds: Bounds) -> KeyRange {
    let unbounded = bounds == Bounds::default();
    let mut min = prefix.clone();
    min.extend(bounds.low.unwrap_or_default());
    let max = match bounds.high {
        Some(high) => successor([prefix, high].concat()),
        None if unbounded || !prefix.is_empty() => successor(prefix),
        None => None,
    };
    KeyRange { min, max }
}

/// The first key bytes that do not start with `bytes`; `None` when there are none.
fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = bytes.pop() {
        if last < NULL_BYTE {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

/// Narrows `bounds` by what `filter` says about the key.
fn narrow(filter: &Expr, name: &str, data_type: &DataType, bounds: &mut Bounds) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(left, name, data_type, bounds);
            narrow(right, name, data_type, bounds);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (true, Expr::Literal(value, _)) = (is_key(left, name), right.as_ref()) {
                bounds.compare(*op, value, data_type);
            } else if let (Expr::Literal(value, _), true, Some(op)) =
                (left.as_ref(), is_key(right, name), op.swap())
            {
                bounds.compare(op, value, data_type);
            }
        }
        Expr::Between(between) if !between.negated && is_key(&between.expr, name) => {
            if let (Expr::Literal(low, _), Expr::Literal(high, _)) =
                (between.low.as_ref(), between.high.as_ref())
            {
                bounds.compare(Operator::GtEq, low, data_type);
                bounds.compare(Operator::LtEq, high, data_type);
            }
        }
        Expr::InList(list) if !list.negated && is_key(&list.expr, name) => {
            bounds.any_of(&list.list, data_type)
        }
        _ => {}
    }
}

/// The key's column, or a cast of it to a time that is at least as fine (as `now()` makes one).
fn is_key(expr: &Expr, name: &str) -> bool {
    use datafusion::arrow::datatypes::{DataType as ArrowType, TimeUnit};
    match expr {
        Expr::Column(column) => column.name == name,
        Expr::Cast(cast) => {
            let fine = matches!(
                cast.field.data_type(),
                ArrowType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            );
            fine && matches!(cast.expr.as_ref(), Expr::Column(column) if column.name == name)
        }
        _ => false,
    }
}

impl Bounds {
    fn compare(&mut self, op: Operator, scalar: &ScalarValue, data_type: &DataType) {
        let Some(bytes) = key_bytes(scalar, data_type) else { return };
        match op {
            Operator::Eq => {
                self.raise(bytes.clone());
                self.lower(bytes);
            }
            // Exclusive bounds and rounded literals are kept inclusive: the filter runs again on what is left.
            Operator::Gt | Operator::GtEq => self.raise(bytes),
            Operator::Lt | Operator::LtEq => self.lower(bytes),
            _ => {}
        }
    }

    fn any_of(&mut self, list: &[Expr], data_type: &DataType) {
        let bytes = list.iter().map(|item| match item {
            Expr::Literal(scalar, _) => key_bytes(scalar, data_type),
            _ => None,
        });
        let Some(bytes) = bytes.collect::<Option<Vec<_>>>() else { return };
        if let (Some(low), Some(high)) = (bytes.iter().min(), bytes.iter().max()) {
            self.raise(low.clone());
            self.lower(high.clone());
        }
    }

    /// The `(other)` group reads as the text `(other)` but lies above all texts: a range that contains that text
    /// has no upper end.
    fn keep_other(&mut self) {
        let mut other = Vec::new();
        encode_value(&Value::Text(OTHER_TEXT.to_owned()), &DataType::Text, &mut other);
        if self.low.as_ref().is_none_or(|low| *low <= other)
            && self.high.as_ref().is_some_and(|high| *high >= other)
        {
            self.high = None;
        }
    }

    fn raise(&mut self, bytes: Vec<u8>) {
        if self.low.as_ref().is_none_or(|low| *low < bytes) {
            self.low = Some(bytes);
        }
    }

    fn lower(&mut self, bytes: Vec<u8>) {
        if self.high.as_ref().is_none_or(|high| *high > bytes) {
            self.high = Some(bytes);
        }
    }
}

/// The bytes of a literal in a key; `None` when it is not a value of the key's type.
fn key_bytes(scalar: &ScalarValue, data_type: &DataType) -> Option<Vec<u8>> {
    // A time rounded down to the key's resolution is good for both ends, because both are inclusive (before
    // 1970 the cast rounds up).
    let value = value_of(scalar, data_type)?;
    let rounds_down = matches!((data_type, &value), (DataType::Timestamp, Value::Int(0..)));
    if value.is_null() || !(rounds_down || is_lossless(scalar, &value, data_type)) {
        return None;
    }
    let mut bytes = Vec::new();
    encode_value(&value, data_type, &mut bytes).then_some(bytes)
}

fn is_lossless(scalar: &ScalarValue, value: &Value, data_type: &DataType) -> bool {
    let back = crate::convert::scalar_of(value, data_type).and_then(|s| s.cast_to(&scalar.data_type()).ok());
    back.as_ref() == Some(scalar)
}

#[cfg(test)]
mod tests;
