//! Which doubles are numerics in PostgreSQL.
//!
//! A fraction written as a literal, and the average of integers, is `double precision` here and `numeric` there. The
//! two round otherwise, so what rounds looks up where its operand comes from.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use std::cell::Cell;

/// Expressions that are looked at on the way; beyond them it is a double. Columns over columns multiply.
const STEPS_MAX: usize = 1_000;

/// True when PostgreSQL calculates this expression of `plan` exactly.
pub(super) fn is_numeric(expr: &Expr, plan: &LogicalPlan) -> bool {
    Search { steps: Cell::new(0) }.of_plan(expr, plan)
}

/// One expression's way down a plan.
struct Search {
    steps: Cell<usize>,
}

impl Search {
    fn of_plan(&self, expr: &Expr, plan: &LogicalPlan) -> bool {
        let inputs = plan.inputs();
        match inputs.as_slice() {
            [input] => self.of_input(expr, input, input.schema()),
            _ => inputs.iter().any(|input| self.of_input(expr, input, &merge_schema(&inputs))),
        }
    }

    /// `input` is where columns come from.
    fn of_input(&self, expr: &Expr, input: &LogicalPlan, schema: &DFSchema) -> bool {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > STEPS_MAX {
            return false;
        }
        let is_exact = |expr: &Expr| self.of_input(expr, input, schema);
        match expr {
            Expr::Literal(value, _) => value.data_type().is_floating(),
            Expr::Alias(alias) => is_exact(&alias.expr),
            Expr::Negative(operand) => is_exact(operand),
            Expr::Column(column) => self.of_column(column, input),
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                let or_integer = |operand: &Expr| is_exact(operand) || has_integer_type(operand, schema);
                or_integer(left) && or_integer(right)
            }
            Expr::Case(case) => {
                let mut branches = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                branches.all(|branch| is_exact(branch) || has_integer_type(branch, schema))
            }
            Expr::ScalarFunction(call) if KEEPING.contains(&call.func.name()) => {
                call.args.iter().all(|arg| is_exact(arg) || has_integer_type(arg, schema))
            }
            Expr::AggregateFunction(call) => {
                let exact =
                    |arg: &Expr| is_exact(arg) || call.func.name() == "avg" && has_exact_type(arg, schema);
                call.params.args.first().is_some_and(exact)
            }
            _ => false,
        }
    }

    /// Follows a column to the expression that makes it.
    fn of_column(&self, column: &Column, plan: &LogicalPlan) -> bool {
        plan.schema().maybe_index_of_column(column).is_some_and(|at| self.of_output(at, plan))
    }

    fn of_output(&self, at: usize, plan: &LogicalPlan) -> bool {
        let inputs = plan.inputs();
        match plan {
            LogicalPlan::Projection(projection) => {
                projection.expr.get(at).is_some_and(|expr| self.of_plan(expr, plan))
            }
            LogicalPlan::Aggregate(aggregate) => {
                let mut made = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
                made.nth(at).is_some_and(|expr| self.of_plan(expr, plan))
            }
            LogicalPlan::Values(values) => {
                let mut cells = values.values.iter().filter_map(|row| row.get(at));
                cells.all(|cell| self.of_input(cell, plan, plan.schema()))
            }
            LogicalPlan::Union(_) => inputs.iter().all(|input| self.of_output(at, input)),
            LogicalPlan::Join(join) => {
                let left = join.left.schema().fields().len();
                if at < left {
                    self.of_output(at, &join.left)
                } else {
                    self.of_output(at - left, &join.right)
                }
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Window(_) => inputs
                .first()
                .is_some_and(|input| at < input.schema().fields().len() && self.of_output(at, input)),
            _ => false,
        }
    }
}

/// Functions of numerics that are numerics.
const KEEPING: [&str; 9] =
    ["abs", "ceil", "coalesce", "floor", "greatest", "least", "nullif", "round", "trunc"];

fn has_integer_type(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer() || data_type == DataType::Null)
}

fn has_exact_type(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer() || data_type.is_decimal())
}
