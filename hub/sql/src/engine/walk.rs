//! Every expression of a plan, rewritten.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan with `change` done to every expression in it, operands first; columns keep their names.
pub(super) fn rewrite(
    plan: LogicalPlan,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let schema = schema_of(&plan);
        let changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| change(expr, &schema))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    })
    .data()
}

/// What a plan's expressions can name.
fn schema_of(plan: &LogicalPlan) -> DFSchema {
    match plan {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        _ => merge_schema(&plan.inputs()),
    }
}
