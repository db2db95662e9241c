//! Which operators there are between which types, as PostgreSQL says: DataFusion would cast one operand where it can, and
//! fail by the data that it finds.
//!
//! Owns: that, what an open literal beside a value is read as, and the words of refusals. Must not know: plans.

use super::guard;
use super::postgres::type_name;
use crate::convert::{arrow_field, cast_text, own_decimal, scalar_of, type_of_field};
use crate::error::SqlError;
use datafusion::arrow::datatypes::{DataType as ArrowType, Field, FieldRef, TimeUnit};
use datafusion::common::diagnostic::Diagnostic;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, Span};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use headwater::value::DataType;
use std::sync::Arc;

/// Types that compare with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Boolean,
    Number,
    Text,
    Uuid,
    Bytes,
    /// Dates and timestamps.
    Time,
    Interval,
    /// NULL, parameters without a value, lists: nothing is refused here.
    Other,
}

/// One operand: what it is, and what people call its type.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) family: Family,
    /// A literal whose type is still open.
    pub(super) is_open: bool,
    pub(super) field: FieldRef,
    /// A number of a type that PostgreSQL gives to it by its size.
    is_small: bool,
}

impl Operand {
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        let is_open = open_text(expr).is_some();
        let field = field_of(expr, schema)?;
        let small = |n: &i64| i32::try_from(*n).is_ok();
        let is_small = matches!(expr, Expr::Literal(ScalarValue::Int64(Some(n)), _) if small(n));
        Some(Self { family: family(&field), is_open, field, is_small })
    }

    /// PostgreSQL's name of the type.
    pub(super) fn name(&self) -> String {
        match self.is_open {
            true => "unknown".to_owned(),
            false if self.is_small => "integer".to_owned(),
            false => type_name(&self.field),
        }
    }

    pub(super) fn data_type(&self) -> DataType {
        type_of_field(&self.field)
    }
}

/// The field of an expression, as cheaply as can be: chains are long.
fn field_of(expr: &Expr, schema: &DFSchema) -> Option<FieldRef> {
    let plain = |data_type| Some(Arc::new(Field::new("", data_type, true)));
    match expr {
        Expr::Alias(alias) => field_of(&alias.expr, schema),
        // A cast to text keeps the metadata of what it casts.
        Expr::Cast(cast) => Some(Arc::clone(&cast.field)),
        Expr::BinaryExpr(binary) if is_condition(binary.op) => plain(ArrowType::Boolean),
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => plain(ArrowType::Utf8),
        expr => expr.to_field(schema).ok().map(|(_, field)| field),
    }
}

fn is_condition(op: Operator) -> bool {
    compares(op) || matches!(op, Operator::And | Operator::Or)
}

/// True for operators that compare two values of one type.
pub(super) fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

pub(super) fn family(field: &Field) -> Family {
    match field.data_type() {
        ArrowType::Boolean => Family::Boolean,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => match type_of_field(field) {
            DataType::Uuid => Family::Uuid,
            _ => Family::Text,
        },
        ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView => Family::Bytes,
        ArrowType::Date32 | ArrowType::Date64 | ArrowType::Timestamp(..) => Family::Time,
        ArrowType::Interval(_) | ArrowType::Duration(_) => Family::Interval,
        other if other.is_numeric() => Family::Number,
        _ => Family::Other,
    }
}

/// A literal whose type is still open.
pub(super) fn open_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata)
            if metadata.as_ref().is_none_or(FieldMetadata::is_empty) =>
        {
            Some(text)
        }
        _ => None,
    }
}

/// A text as a constant of a type.
pub(super) fn constant(text: &str, data_type: &DataType) -> Result<Expr> {
    let value = cast_text(text, data_type).map_err(guard::external)?;
    let scalar = scalar_of(&value, data_type).unwrap_or(ScalarValue::Null);
    let metadata = FieldMetadata::new_from_field(&arrow_field("", data_type));
    Ok(Expr::Literal(scalar, Some(metadata).filter(|m| !m.is_empty())))
}

/// Reads a literal as the type of what stands beside it. True when it was open, and is read here: times that only
/// Arrow can read (`20240229`, names of zones) stay.
pub(super) fn read_as(literal: &mut Expr, data_type: &DataType) -> Result<bool> {
    let Some(text) = open_text(literal) else { return Ok(false) };
    let read = match data_type {
        DataType::Timestamp => match constant(text, data_type) {
            Ok(time) => time,
            Err(_) => return Ok(false),
        },
        DataType::Bool | DataType::Interval | DataType::Bytea | DataType::Uuid => constant(text, data_type)?,
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64 => {
            constant(text, data_type)?
        }
        // Of its own digits: what it stands beside may have fewer.
        DataType::Decimal { .. } => match own_decimal(text) {
            Some((units, scale)) => {
                let digits = units.unsigned_abs().to_string().len();
                let precision = u8::try_from(digits).unwrap_or(38).max(scale).max(1);
                Expr::Literal(ScalarValue::Decimal128(Some(units), precision, scale.cast_signed()), None)
            }
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    *literal = read;
    Ok(true)
}

/// Makes two operands of a comparison agree, as far as a literal can.
///
/// # Errors
/// `42883` where their types do not compare; whatever reading a literal refuses.
pub(super) fn compare(left: &mut Expr, op: &str, right: &mut Expr, schema: &DFSchema) -> Result<bool> {
    let (Some(one), Some(other)) = (Operand::of(left, schema), Operand::of(right, schema)) else {
        return Ok(false);
    };
    if read_duration(left, &other)? || read_duration(right, &one)? {
        return Ok(true);
    }
    match (one.is_open, other.is_open) {
        (true, true) => Ok(false),
        (true, false) => read_as(left, &other.data_type()),
        (false, true) => read_as(right, &one.data_type()),
        _ if is_comparable(one.family, other.family) => Ok(false),
        _ => Err(no_operator(&one, op, &other, [&*left, &*right])),
    }
}

/// Refuses `x IN (SELECT y ...)` where the two do not compare.
///
/// # Errors
/// `42883`
pub(super) fn compare_within(within: &InSubquery, schema: &DFSchema) -> Result<()> {
    let below = within.subquery.subquery.schema();
    let Some(column) = below.iter().next().map(Expr::from) else { return Ok(()) };
    let (one, other) = (Operand::of(&within.expr, schema), Operand::of(&column, below));
    match (one, other) {
        (Some(one), Some(other)) if !one.is_open && !is_comparable(one.family, other.family) => {
            Err(no_operator(&one, "=", &other, [&*within.expr, &column]))
        }
        _ => Ok(()),
    }
}

/// An interval beside a difference of times, which may be longer than the nanoseconds of an interval are.
fn read_duration(literal: &mut Expr, other: &Operand) -> Result<bool> {
    if !matches!(other.field.data_type(), ArrowType::Duration(TimeUnit::Microsecond)) {
        return Ok(false);
    }
    read_as(literal, &DataType::Interval)?;
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = literal else {
        return Ok(false);
    };
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    let micros = days * 86_400_000_000 + interval.nanoseconds / 1_000;
    *literal = Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), None);
    Ok(true)
}

/// A uuid may have lost its name on the way: it travels as text.
pub(super) fn is_comparable(one: Family, other: Family) -> bool {
    let texts = |family| matches!(family, Family::Text | Family::Uuid);
    one == other || one == Family::Other || other == Family::Other || texts(one) && texts(other)
}

/// `42883`: these operands have no such operator.
pub(super) fn no_operator(one: &Operand, op: &str, other: &Operand, exprs: [&Expr; 2]) -> DataFusionError {
    let message = format!("operator does not exist: {} {op} {}", one.name(), other.name());
    let error = SqlError::new("42883", message).with_hint("a cast of one side may help");
    placed(error, &exprs)
}

/// The error where the first column of these stands: literals do not know their places.
pub(super) fn placed(error: SqlError, exprs: &[&Expr]) -> DataFusionError {
    let span = exprs.iter().find_map(|expr| span_of(expr));
    let message = error.message.clone();
    let error = guard::external(error);
    match span {
        Some(span) => error.with_diagnostic(Diagnostic::new_error(message, Some(span))),
        None => error,
    }
}

fn span_of(expr: &Expr) -> Option<Span> {
    let mut found = None;
    let visited = expr.apply(|expr| {
        if let Expr::Column(column) = expr {
            found = column.spans.first();
        }
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.ok().and(found)
}
