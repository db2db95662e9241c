//! `to_datasketches(column)` in a query: a state-typed value says what it is; a column that reads as something else (the
//! estimate of `hll_agg`, the records of `topk_agg`) is traced to its states first, as `combine` traces it.
//!
//! Owns: that. Must not know: DataSketches' formats ([`super::datasketches`]).

use super::guard::{self, external};
use super::{combine, datasketches, limited, states};
use crate::error::SqlError;
use datafusion::arrow::array::{Array, AsArray, BinaryBuilder};
use datafusion::arrow::datatypes::DataType as ArrowType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use headwater::aggregate::AggregateSpec;
use std::sync::Arc;

/// The function's name.
pub(super) const NAME: &str = "to_datasketches";

/// The function, for state-typed values; or for the bare states of one aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToDatasketches {
    /// What stands before a bare state to make it say what it is.
    head: Vec<u8>,
    signature: Signature,
}

impl ToDatasketches {
    /// For values that say what they are.
    pub(super) fn new() -> Self {
        Self { head: Vec::new(), signature: Signature::any(1, Volatility::Immutable) }
    }

    fn of(spec: &AggregateSpec) -> Result<Self> {
        let head = postcard::to_allocvec(spec);
        let head = head.map_err(|e| external(SqlError::new("XX000", e.to_string())))?;
        Ok(Self { head, ..Self::new() })
    }
}

impl ScalarUDFImpl for ToDatasketches {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(ArrowType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut out = BinaryBuilder::new();
        let values = arrays.first().filter(|array| *array.data_type() != ArrowType::Null);
        let Some(values) = values else {
            (0..arrays.first().map_or(0, |array| array.len())).for_each(|_| out.append_null());
            return Ok(ColumnarValue::Array(Arc::new(out.finish())));
        };
        let values = values.as_binary_opt::<i32>().ok_or_else(no_states)?;
        for value in values {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            let state = [self.head.as_slice(), value].concat();
            let (spec, bare) = states::checked(NAME, &state).map_err(external)?;
            guard::check_value(NAME, datasketches::bytes_max(&spec, &bare))?;
            match datasketches::export(&spec, &bare).map_err(external)? {
                Some(bytes) => out.append_value(bytes),
                None => return Err(no_sketch(&spec)),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// `42809`: an argument without states.
fn no_states() -> datafusion::common::DataFusionError {
    let message =
        "to_datasketches needs a state-typed value, or a column of hll_agg, count(DISTINCT) or topk_agg";
    external(SqlError::new("42809", message).with_hint("call it in the SELECT list over a view's column"))
}

fn no_sketch(spec: &AggregateSpec) -> datafusion::common::DataFusionError {
    let what = format!("to_datasketches of {} states", spec.name());
    let hint = "Apache DataSketches has hll, theta, frequent items, count-min and t-digest";
    external(SqlError::unsupported(what).with_hint(hint))
}

/// Finds the states behind columns that do not read as states. After `combine` was rewritten.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Projection(projection) if projection.expr.iter().any(has_export) => {
            in_projection(projection).map(Transformed::yes)
        }
        node => Ok(Transformed::no(node)),
    })
    .data()
}

fn has_export(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(argument(expr).is_some())).unwrap_or(false)
}

/// The column of a call that is no bytes yet.
fn argument(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => match call.args.as_slice() {
            [Expr::Column(column)] => Some(column),
            _ => None,
        },
        _ => None,
    }
}

fn in_projection(projection: Projection) -> Result<LogicalPlan> {
    let mut input = Arc::unwrap_or_clone(projection.input);
    let mut items = Vec::with_capacity(projection.expr.len());
    for expr in projection.expr {
        let name = expr.schema_name().to_string();
        let is_named = matches!(expr, Expr::Alias(_) | Expr::Column(_));
        let changed = expr.transform_up(|expr| {
            let Some(column) = argument(&expr).cloned() else { return Ok(Transformed::no(expr)) };
            let reads_as_bytes = input
                .schema()
                .maybe_index_of_column(&column)
                .is_some_and(|at| *input.schema().field(at).data_type() == ArrowType::Binary);
            if reads_as_bytes {
                return Ok(Transformed::no(expr));
            }
            let traced = combine::state_of(input.clone(), &column, NAME);
            let (next, state) = traced.map_err(|_| no_states())?;
            input = next;
            let func = limited::limit(&Arc::new(ScalarUDF::from(ToDatasketches::of(&state.spec)?)));
            let args = vec![Expr::Column(state.column)];
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
        })?;
        items.push(if changed.transformed && !is_named { changed.data.alias(name) } else { changed.data });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(items, Arc::new(input))?))
}
