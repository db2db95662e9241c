//! Sizes that a text asks for by a number or by a list, refused where nothing else would bound them.
//!
//! The centroids of a percentile are allocated before the first row; a frame's offset beyond 63 bits wraps; and
//! planning compares every key of a sort with every other.

use super::guard;
use super::walk::rewrite;
use crate::error::SqlError;
use crate::text::Text;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFrameBound};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, Query, Select, Visit, Visitor};
use std::ops::ControlFlow;

/// Centroids of a t-digest, 32 bytes each; its error is far below a thousandth with a tenth of them.
const CENTROIDS_MAX: i64 = 10_000;
/// Expressions of one ORDER BY, GROUP BY or PARTITION BY, as many as columns of a SELECT.
const KEYS_MAX: usize = 1_664;

/// Checks the numbers of a plan, once they have their types.
#[derive(Debug)]
pub(super) struct CheckSizes;

impl AnalyzerRule for CheckSizes {
    fn name(&self) -> &str {
        "check_sizes"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, _| {
            check(&expr).map_err(guard::external)?;
            Ok(Transformed::no(expr))
        })
    }
}

fn check(expr: &Expr) -> std::result::Result<(), SqlError> {
    match expr {
        Expr::AggregateFunction(call) => check_centroids(call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => check_window(call),
        _ => Ok(()),
    }
}

fn check_window(call: &WindowFunction) -> std::result::Result<(), SqlError> {
    if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
        check_centroids(function.name(), &call.params.args)?;
    }
    let frame = &call.params.window_frame;
    for bound in [&frame.start_bound, &frame.end_bound] {
        if let WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows)))
        | WindowFrameBound::Following(ScalarValue::UInt64(Some(rows))) = bound
            && i64::try_from(*rows).is_err()
        {
            return Err(SqlError::new("22003", format!("frame offset {rows} is out of range for bigint")));
        }
    }
    Ok(())
}

fn check_centroids(name: &str, args: &[Expr]) -> std::result::Result<(), SqlError> {
    let place = match name {
        "approx_percentile_cont" => 2,
        "approx_percentile_cont_with_weight" => 3,
        _ => return Ok(()),
    };
    let Some(centroids) = args.get(place) else { return Ok(()) };
    let number = match centroids {
        Expr::Literal(value, _) => value.cast_to(&DataType::Int64).ok(),
        _ => None,
    };
    match number {
        Some(ScalarValue::Int64(Some(1..=CENTROIDS_MAX))) => Ok(()),
        _ => {
            Err(SqlError::new("22023", format!("{name} takes 1 to {CENTROIDS_MAX} centroids, as a literal")))
        }
    }
}

/// `54011` where a query sorts or groups by too many expressions.
pub(super) fn check_keys(query: &Query, text: &Text) -> std::result::Result<(), SqlError> {
    match query.visit(&mut Keys { text }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Keys<'a> {
    text: &'a Text,
}

impl Keys<'_> {
    fn check(&self, keys: usize, at: Option<u32>) -> ControlFlow<SqlError> {
        if keys <= KEYS_MAX {
            return ControlFlow::Continue(());
        }
        let message = format!("a query sorts and groups by at most {KEYS_MAX} expressions at a time");
        ControlFlow::Break(SqlError::new("54011", message).at(at))
    }
}

impl Visitor for Keys<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        match query.order_by.as_ref().map(|order_by| &order_by.kind) {
            Some(ast::OrderByKind::Expressions(keys)) => self.check(keys.len(), self.text.of(query)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        let grouped = match &select.group_by {
            ast::GroupByExpr::Expressions(keys, _) => keys.len(),
            ast::GroupByExpr::All(_) => 0,
        };
        let windows = select.named_window.iter().map(|window| match &window.1 {
            ast::NamedWindowExpr::WindowSpec(spec) => spec.partition_by.len().max(spec.order_by.len()),
            ast::NamedWindowExpr::NamedWindow(_) => 0,
        });
        self.check(windows.fold(grouped, usize::max), self.text.of(select))
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<SqlError> {
        let ast::Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let window = match &call.over {
            Some(ast::WindowType::WindowSpec(spec)) => spec.partition_by.len().max(spec.order_by.len()),
            _ => 0,
        };
        let ordered = match &call.args {
            ast::FunctionArguments::List(list) => list
                .clauses
                .iter()
                .map(|clause| match clause {
                    ast::FunctionArgumentClause::OrderBy(keys) => keys.len(),
                    _ => 0,
                })
                .max(),
            _ => None,
        };
        let keys = window.max(ordered.unwrap_or(0)).max(call.within_group.len());
        self.check(keys, self.text.of(expr))
    }
}
