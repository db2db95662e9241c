//! Rows of a query, assigned to columns as PostgreSQL assigns: numbers among each other, everything to text, dates and
//! times among each other; text is read as the column's type.

use super::constants::{self, is_default, is_whole};
use super::rows::{Rows, Slot};
use crate::convert::arrow_type;
use crate::engine::parameters::sql_type;
use crate::error::SqlError;
use crate::types::type_name;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Query, SetExpr, UnaryOperator, Value, ValueWithSpan};
use headwater::emit::Cell;
use headwater::schema::Field;
use headwater::value::{DataType, Interval};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Values of one VALUES that are planned as one row.
const FOLDED_MAX: usize = 1_000;

/// Literals of VALUES become those of their columns, DEFAULT becomes what it stands for. Where there are several rows,
/// they become one: DataFusion wants one type for all values of a column, where PostgreSQL assigns each by itself. True
/// if so.
pub(super) fn spell(query: &Query, rows: &Rows<'_>) -> (Query, bool) {
    let mut query = query.clone();
    let mut is_folded = false;
    if let SetExpr::Values(values) = query.body.as_mut() {
        for row in &mut values.rows {
            for (at, expr) in row.iter_mut().enumerate() {
                if let Some(field) = rows.target(at) {
                    spell_literal(expr, &field.data_type, rows.default(at));
                }
            }
        }
        let count: usize = values.rows.iter().map(|row| row.len()).sum();
        if let [first, rest @ ..] = values.rows.as_mut_slice()
            && !rest.is_empty()
            && count <= FOLDED_MAX
        {
            rest.iter_mut().for_each(|row| first.content.append(&mut row.content));
            values.rows.truncate(1);
            is_folded = true;
        }
    }
    (query, is_folded)
}

fn spell_literal(expr: &mut Expr, data_type: &DataType, default: Option<&str>) {
    if is_whole(data_type)
        && let Some(whole) = whole_number(expr)
    {
        *expr = whole;
        return;
    }
    let is_open = match &*expr {
        Expr::Value(value) => {
            matches!(value.value, Value::Null | Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_))
        }
        Expr::Identifier(_) => is_default(expr),
        _ => false,
    };
    let Some(wanted) = sql_type(data_type).filter(|_| is_open) else { return };
    let inner = match is_default(expr) {
        true => {
            let value = default.map_or(Value::Null, |text| Value::SingleQuotedString(text.to_owned()));
            Expr::Value(value.into())
        }
        false => expr.clone(),
    };
    *expr = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(inner),
        data_type: wanted,
        array: false,
        format: None,
    };
}

/// A fraction as the whole number that it is assigned as: DataFusion would take it for a double, which rounds otherwise.
fn whole_number(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => whole_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let expr = Box::new(whole_number(expr)?);
            Some(Expr::UnaryOp { op: UnaryOperator::Minus, expr })
        }
        Expr::Value(value) => match &value.value {
            Value::Number(digits, long) => match constants::rounded(digits) {
                Cell::Int(whole) => {
                    let number = Value::Number(whole.to_string(), *long);
                    Some(Expr::Value(ValueWithSpan { value: number, span: value.span }))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// `42804`: a column of one type gets values of another.
pub(super) fn mismatch(field: &Field, from: &DataType) -> SqlError {
    let from = match from {
        DataType::Decimal { .. } => "numeric".to_owned(),
        other => type_name(other),
    };
    let (name, of) = (&field.name, type_name(&field.data_type));
    SqlError::new("42804", format!("column \"{name}\" is of type {of} but expression is of type {from}"))
        .with_hint("cast the expression")
}

/// How the columns of a query are assigned.
pub(super) struct Assignment {
    from: Vec<DataType>,
    /// Values of a row; one of the query may stand for several.
    width: usize,
}

impl Assignment {
    /// For a query of these columns.
    ///
    /// # Errors
    /// `42804` for a column whose values cannot be assigned.
    pub(super) fn new(fields: &[Field], width: usize, rows: &Rows<'_>) -> Result<Self, SqlError> {
        let width = width.max(1);
        for (at, from) in fields.iter().enumerate() {
            if let Some(to) = rows.target(at % width)
                && !assigns(&from.data_type, &to.data_type)
            {
                return Err(mismatch(to, &from.data_type));
            }
        }
        Ok(Self { from: fields.iter().map(|field| field.data_type.clone()).collect(), width })
    }

    /// Adds the rows of a batch.
    pub(super) fn push(&self, batch: &RecordBatch, rows: &mut Rows<'_>) -> Result<(), SqlError> {
        let arrays = batch.columns().iter().zip(&self.from).enumerate().map(|(at, (array, from))| {
            let becomes_text = rows.target(at % self.width).is_some_and(|to| to.data_type == DataType::Text);
            match becomes_text && *from != DataType::Text {
                true => {
                    cast(array, &ArrowType::Utf8).map_err(|_| SqlError::new("XX000", "no text of a value"))
                }
                false => Ok(ArrayRef::clone(array)),
            }
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            for (arrays, from) in arrays.chunks(self.width).zip(self.from.chunks(self.width)) {
                rows.push(|at, slot| match (arrays.get(at), from.get(at)) {
                    (Some(array), Some(from)) => put(array.as_ref(), row, from, slot),
                    _ => Ok(()),
                })?;
            }
        }
        Ok(())
    }
}

fn assigns(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Null | T::Text, _) => true,
        (T::List(_) | T::Struct(_), _) => false,
        (T::Timestamp | T::Interval | T::Bytea, T::Text) => false,
        (_, T::Text) => true,
        (T::Date | T::Timestamp, T::Date | T::Timestamp) => true,
        (from, to) => from == to || (is_number(from) && is_number(to)),
    }
}

fn is_number(data_type: &DataType) -> bool {
    is_whole(data_type)
        || matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Decimal { .. })
}

fn put(array: &dyn Array, row: usize, from: &DataType, slot: &mut Slot<'_>) -> Result<(), SqlError> {
    if array.is_null(row) || *from == DataType::Null {
        return slot.put(Cell::Null);
    }
    if let Some(text) = array.as_string_opt::<i32>() {
        return slot.put(Cell::Text(text.value(row)));
    }
    if *array.data_type() != arrow_type(from) {
        return Err(SqlError::new("XX000", "a value is not of its column's type"));
    }
    let cell = match from {
        DataType::Bool => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Float32 => Cell::Real(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal { scale, .. } => {
            Cell::Decimal { units: array.as_primitive::<Decimal128Type>().value(row), scale: *scale }
        }
        DataType::Bytea => Cell::Bytes(array.as_binary::<i32>().value(row)),
        DataType::Date => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            Cell::Int(
                if slot.field().data_type == DataType::Date { days } else { days.saturating_mul(DAY) }.into(),
            )
        }
        DataType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            Cell::Int(
                if slot.field().data_type == DataType::Date { micros.div_euclid(DAY) } else { micros }.into(),
            )
        }
        DataType::Interval => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Cell::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 })
        }
        other => return Err(mismatch(slot.field(), other)),
    };
    slot.put(if is_whole(&slot.field().data_type) { rounded(cell) } else { cell })
}

/// A number for a column of whole ones, rounded as PostgreSQL's casts round: numeric half away from zero, doubles half
/// to even.
fn rounded(cell: Cell<'_>) -> Cell<'_> {
    match cell {
        Cell::Decimal { units, scale } => {
            let one = 10_i128.pow(u32::from(scale.min(38)));
            let (whole, rest) = (units / one, units % one);
            let up = rest.unsigned_abs() >= one.unsigned_abs().div_ceil(2) && scale > 0;
            Cell::Int(if up { whole + units.signum() } else { whole })
        }
        Cell::Float(v) if v.is_finite() => Cell::Float(v.round_ties_even()),
        Cell::Real(v) if v.is_finite() => Cell::Float(f64::from(v).round_ties_even()),
        other => other,
    }
}
