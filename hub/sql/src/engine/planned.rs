//! Operators while they are planned: literals beside a value are read as its type wants, operators that PostgreSQL does
//! not have are refused, and `||` of bytes is one of bytes.
//!
//! Later would be too late: DataFusion asks for the type of every expression as soon as it is there.

use super::bytes;
use super::families::{Family, Operand, compare, constant, no_operator, open_text, placed, read_as};
use crate::error::SqlError;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator as Op;
use headwater::value::DataType;

/// Plans operators of two operands.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        mut raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        match &raw.op {
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
                compare(&mut raw.left, &raw.op.to_string(), &mut raw.right, schema)?;
            }
            Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo => calculate(&mut raw, schema)?,
            Op::And | Op::Or => {
                let name = raw.op.to_string();
                condition(&mut raw.left, &name, schema)?;
                condition(&mut raw.right, &name, schema)?;
            }
            Op::StringConcat => return join(raw, schema),
            _ => {}
        }
        Ok(PlannerResult::Original(raw))
    }
}

/// What AND, OR, CASE WHEN and such take.
///
/// # Errors
/// `42804` for anything but a boolean.
pub(super) fn condition(expr: &mut Expr, name: &str, schema: &DFSchema) -> Result<bool> {
    if read_as(expr, &DataType::Bool)? {
        return Ok(true);
    }
    let Some(operand) = Operand::of(expr, schema) else { return Ok(false) };
    if matches!(operand.family, Family::Boolean | Family::Other) {
        return Ok(false);
    }
    let message = format!("argument of {name} must be type boolean, not type {}", operand.name());
    Err(placed(SqlError::new("42804", message), &[&*expr]))
}

/// True for what is a number if it could be planned: chains are not looked through again.
fn is_calculated(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(binary) if binary.op.is_numerical_operators())
}

fn calculate(raw: &mut RawBinaryExpr, schema: &DFSchema) -> Result<()> {
    let Some(right) = Operand::of(&raw.right, schema) else { return Ok(()) };
    if right.family == Family::Number && is_calculated(&raw.left) {
        return Ok(());
    }
    let Some(left) = Operand::of(&raw.left, schema) else { return Ok(()) };
    let op = raw.op.to_string();
    let refused = || no_operator(&left, &op, &right, [&raw.left, &raw.right]);
    match (left.is_open, right.is_open) {
        (true, true) => {
            let message = format!("operator is not unique: unknown {op} unknown");
            let error = SqlError::new("42725", message).with_hint("a cast of one side may help");
            return Err(placed(error, &[]));
        }
        (true, false) => {
            let wanted = partner(&right, &raw.op).ok_or_else(refused)?;
            raw.left = operand(&raw.left, &wanted)?;
        }
        (false, true) => {
            let wanted = partner(&left, &raw.op).ok_or_else(refused)?;
            raw.right = operand(&raw.right, &wanted)?;
        }
        (false, false) if [left.family, right.family].into_iter().any(is_no_operand) => return Err(refused()),
        _ => {}
    }
    Ok(())
}

fn is_no_operand(family: Family) -> bool {
    matches!(family, Family::Boolean | Family::Text | Family::Uuid | Family::Bytes)
}

/// What an open literal beside an operand is read as.
fn partner(other: &Operand, op: &Op) -> Option<DataType> {
    let data_type = other.data_type();
    match (&data_type, op) {
        (DataType::Timestamp, Op::Plus) => Some(DataType::Interval),
        (DataType::Timestamp | DataType::Date, Op::Minus) => Some(data_type),
        (DataType::Interval, Op::Plus | Op::Minus) => Some(data_type),
        _ if other.family == Family::Number => Some(data_type),
        _ => None,
    }
}

fn operand(literal: &Expr, wanted: &DataType) -> Result<Expr> {
    let text = open_text(literal).unwrap_or_default();
    match wanted {
        // As many digits as it is written with.
        DataType::Decimal { .. } => {
            let scale = text.trim().split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let scale = u8::try_from(scale).unwrap_or(u8::MAX).min(30);
            constant(text, &DataType::Decimal { precision: 38, scale })
        }
        wanted => constant(text, wanted),
    }
}

/// `||`
fn join(mut raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let (left, right) = (Operand::of(&raw.left, schema), Operand::of(&raw.right, schema));
    let (Some(left), Some(right)) = (left, right) else { return Ok(PlannerResult::Original(raw)) };
    if left.family != Family::Bytes && right.family != Family::Bytes {
        return Ok(PlannerResult::Original(raw));
    }
    for (expr, operand) in [(&mut raw.left, &left), (&mut raw.right, &right)] {
        if operand.is_open {
            *expr = constant(open_text(expr).unwrap_or_default(), &DataType::Bytea)?;
        } else if matches!(expr, Expr::Literal(value, _) if value.is_null()) {
            *expr = Expr::Literal(ScalarValue::Binary(None), None);
        }
    }
    let of = |operand: &Operand| operand.is_open || matches!(operand.family, Family::Bytes | Family::Other);
    match (left.family, right.family) {
        _ if of(&left) && of(&right) => Ok(PlannerResult::Planned(bytes::joined(raw.left, raw.right))),
        (Family::Text, _) => {
            raw.right = bytes::spelled(raw.right);
            Ok(PlannerResult::Original(raw))
        }
        (_, Family::Text) => {
            raw.left = bytes::spelled(raw.left);
            Ok(PlannerResult::Original(raw))
        }
        _ => Err(no_operator(&left, &Operator::StringConcat.to_string(), &right, [&raw.left, &raw.right])),
    }
}
