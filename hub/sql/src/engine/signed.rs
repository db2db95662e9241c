//! Numbers that DataFusion counts without a sign (`row_number()`, `rank()`) get one before they are calculated with:
//! `row_number() - rank()` may be negative, and is a bigint in PostgreSQL.

use super::walk::rewrite;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

/// Casts such operands, before types are made to agree.
#[derive(Debug)]
pub(super) struct SignOperands;

impl AnalyzerRule for SignOperands {
    fn name(&self) -> &str {
        "sign_operands"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(with_sign(expr, schema)))
    }
}

fn with_sign(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            let (left, right) = (signed(left, schema), signed(right, schema));
            let transformed = left.transformed || right.transformed;
            let expr = Expr::BinaryExpr(BinaryExpr { left: left.data, op, right: right.data });
            Transformed::new_transformed(expr, transformed)
        }
        expr => Transformed::no(expr),
    }
}

/// Window functions are columns of the plan below.
fn signed(operand: Box<Expr>, schema: &DFSchema) -> Transformed<Box<Expr>> {
    let is_unsigned = matches!(*operand, Expr::Column(_))
        && operand.get_type(schema).is_ok_and(|data_type| data_type == DataType::UInt64);
    if is_unsigned {
        Transformed::yes(Box::new(cast(*operand, DataType::Int64)))
    } else {
        Transformed::no(operand)
    }
}
