//! Operands that PostgreSQL takes for another type, cast before types are made to agree.
//!
//! Numbers that DataFusion counts without a sign (`approx_distinct(x)`) get one before they are calculated with: a
//! difference of two may be negative, and is a bigint in PostgreSQL. A date beside an interval is a timestamp.

use super::walk::rewrite;
use crate::convert::arrow_type;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

/// Casts such operands.
#[derive(Debug)]
pub(super) struct CastOperands;

impl AnalyzerRule for CastOperands {
    fn name(&self) -> &str {
        "cast_operands"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(with_types(expr, schema)))
    }
}

fn with_types(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            let (left, right) = (signed(left, schema), signed(right, schema));
            let transformed = left.transformed || right.transformed;
            let (left, right) = (left.data, right.data);
            let dated = dated(&left, op, &right, schema);
            let (left, right) = match dated {
                Some(true) => (as_time(*left), right),
                Some(false) => (left, as_time(*right)),
                None => (left, right),
            };
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Transformed::new_transformed(expr, transformed || dated.is_some())
        }
        Expr::Negative(operand) => signed(operand, schema).update_data(Expr::Negative),
        expr => Transformed::no(expr),
    }
}

/// Aggregates are columns of the plan below.
fn signed(operand: Box<Expr>, schema: &DFSchema) -> Transformed<Box<Expr>> {
    let is_unsigned = matches!(*operand, Expr::Column(_))
        && operand.get_type(schema).is_ok_and(|data_type| data_type == DataType::UInt64);
    if is_unsigned {
        Transformed::yes(Box::new(cast(*operand, DataType::Int64)))
    } else {
        Transformed::no(operand)
    }
}

/// Whether the left or the right operand is a date that an interval moves.
fn dated(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<bool> {
    if !matches!(op, Operator::Plus | Operator::Minus) {
        return None;
    }
    // The left operand may be a long chain, whose type costs more the longer it is.
    match right.get_type(schema).ok()? {
        DataType::Interval(_) => (left.get_type(schema).ok()? == DataType::Date32).then_some(true),
        DataType::Date32 => matches!(left.get_type(schema).ok()?, DataType::Interval(_)).then_some(false),
        _ => None,
    }
}

fn as_time(date: Expr) -> Box<Expr> {
    Box::new(cast(date, arrow_type(&headwater::value::DataType::Timestamp)))
}
