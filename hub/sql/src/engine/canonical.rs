//! One zero and one NaN in queries, as in PostgreSQL: -0 is 0, and every NaN is above all numbers.
//!
//! Arrow and DataFusion order doubles by IEEE 754's total order, where -0 is below 0 and a NaN with a sign, which
//! processors make of `inf - inf`, below everything, and they compare them in some places otherwise than in others
//! (`=`, but neither `nullif` nor CASE nor lists). Where no double is another than these two, all of them agree. So doubles are
//! made canonical where they come from: columns (`convert`), literals, casts of text, arithmetic (`checked`), functions and
//! aggregates.

use super::walk::rewrite_all;
use super::wrapper::Wrapper;
use crate::convert::{double, real};
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::{Arc, LazyLock};

/// Makes what a plan calculates canonical.
#[derive(Debug)]
pub(super) struct MakeCanonical;

impl AnalyzerRule for MakeCanonical {
    fn name(&self) -> &str {
        "make_canonical"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_all(plan, |expr, schema| Ok(expression(expr, schema)), over_aggregates)
    }
}

/// The values of an array, canonical; other types as they are.
pub(super) fn array(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float64 => Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(double)),
        DataType::Float32 => Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(real)),
        _ => Arc::clone(values),
    })
}

fn expression(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(x)), metadata) if double(x).to_bits() != x.to_bits() => {
            Transformed::yes(Expr::Literal(ScalarValue::Float64(Some(double(x))), metadata))
        }
        Expr::Literal(ScalarValue::Float32(Some(x)), metadata) if real(x).to_bits() != x.to_bits() => {
            Transformed::yes(Expr::Literal(ScalarValue::Float32(Some(real(x))), metadata))
        }
        expr if is_new(&expr, schema) => Transformed::yes(FUNCTION.call(vec![expr])),
        expr => Transformed::no(expr),
    }
}

/// Functions that give one of their arguments, or what cannot be either; and those that are canonical already.
const KEEPING: [&str; 14] = [
    NAME,
    "+",
    "-",
    "*",
    "/",
    "%",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "date_part",
    "random",
    "pi",
    "array_element",
];

/// True where an expression makes doubles that were none before.
fn is_new(expr: &Expr, schema: &DFSchema) -> bool {
    let is_double = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_floating());
    match expr {
        Expr::ScalarFunction(call) => !KEEPING.contains(&call.func.name()) && is_double(expr),
        Expr::Cast(cast) => cast.field.data_type().is_floating() && is_text(&cast.expr, schema),
        Expr::TryCast(cast) => cast.field.data_type().is_floating() && is_text(&cast.expr, schema),
        _ => false,
    }
}

fn is_text(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| super::bytes::is_text(&data_type))
}

/// Aggregates that give one of their arguments.
const CHOOSING: [&str; 9] =
    ["min", "max", "first_value", "last_value", "nth_value", "lag", "lead", "any_value", "combine"];

/// Puts a projection above aggregates whose doubles are new.
fn over_aggregates(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let (made, before) = match &plan {
        LogicalPlan::Aggregate(aggregate) => {
            (aggregate.aggr_expr.as_slice(), aggregate.schema.fields().len() - aggregate.aggr_expr.len())
        }
        LogicalPlan::Window(window) => {
            (window.window_expr.as_slice(), window.schema.fields().len() - window.window_expr.len())
        }
        _ => return Ok(Transformed::no(plan)),
    };
    let is_new: Vec<bool> = std::iter::repeat_n(false, before).chain(made.iter().map(calculates)).collect();
    let mut changed = false;
    let columns: Vec<Expr> = plan
        .schema()
        .iter()
        .zip(is_new)
        .map(|((table, field), is_new)| {
            let column = Expr::from((table, field));
            if !is_new || !field.data_type().is_floating() {
                return column;
            }
            changed = true;
            FUNCTION.call(vec![column]).alias_qualified(table.cloned(), field.name())
        })
        .collect();
    if !changed {
        return Ok(Transformed::no(plan));
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build().map(Transformed::yes)
}

fn calculates(made: &Expr) -> bool {
    let name = match made {
        Expr::Alias(alias) => return calculates(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, .. }) => func.name(),
        Expr::WindowFunction(call) => name_of(call),
        _ => return false,
    };
    !CHOOSING.contains(&name)
}

fn name_of(call: &WindowFunction) -> &str {
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(func) => func.name(),
        WindowFunctionDefinition::WindowUDF(func) => func.name(),
    }
}

const NAME: &str = "canonical";

/// The same value, canonical.
static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Wrapper::of_values(NAME, array));
