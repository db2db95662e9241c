//! Every expression of a plan, rewritten.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use std::cell::Cell;

/// The plan with `change` done to every expression in it, operands first; columns keep their names.
pub(super) fn rewrite(
    plan: LogicalPlan,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let below = Cell::new(false);
    plan.transform_up_with_subqueries(|plan| change_all(plan, &below, &change)).data()
}

/// The same, for what has to know the operator that an expression is in: where one of its expressions is `wanted`.
pub(super) fn rewrite_where(
    plan: LogicalPlan,
    wanted: impl Fn(&Expr) -> bool,
    change: impl Fn(Expr, &DFSchema, &LogicalPlan) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let below = Cell::new(false);
    plan.transform_up_with_subqueries(|plan| {
        let mut found = false;
        plan.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(wanted(expr)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !found {
            return handed_on(plan, &below);
        }
        let before = plan.clone();
        change_all(plan, &below, &|expr, schema: &DFSchema| change(expr, schema, &before))
    })
    .data()
}

/// The plan with `change` done to every expression in it, and `finish` to every operator above what it did.
pub(super) fn rewrite_all(
    plan: LogicalPlan,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
    finish: impl Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let below = Cell::new(false);
    plan.transform_up_with_subqueries(|plan| {
        let changed = change_all(plan, &below, &change)?;
        let finished = finish(changed.data)?;
        below.set(below.get() || finished.transformed);
        Ok(Transformed::new_transformed(finished.data, changed.transformed || finished.transformed))
    })
    .data()
}

/// The plan with `change` done to every operator of it, inputs first.
pub(super) fn rewrite_operators(
    plan: LogicalPlan,
    change: impl Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let below = Cell::new(false);
    plan.transform_up_with_subqueries(|plan| {
        let changed = change(handed_on(plan, &below)?.data)?;
        below.set(below.get() || changed.transformed);
        Ok(Transformed::new_transformed(changed.data, below.get()))
    })
    .data()
}

/// `below` tells whether an operator has been changed.
fn change_all(
    plan: LogicalPlan,
    below: &Cell<bool>,
    change: &impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let schema = schema_of(&plan);
    let one = |expr: Expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|expr| change(expr, &schema))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    };
    let changed = plan.map_expressions(|expr| match expr {
        // Its keys have names, and it has none.
        Expr::GroupingSet(_) => expr.map_children(one),
        expr => one(expr),
    })?;
    below.set(below.get() || changed.transformed);
    handed_on(changed.data, below)
}

/// What is above a changed operator has the types of its columns, too, if only to hand them on.
fn handed_on(plan: LogicalPlan, below: &Cell<bool>) -> Result<Transformed<LogicalPlan>> {
    match below.get() {
        true => plan.recompute_schema().map(Transformed::yes),
        false => Ok(Transformed::no(plan)),
    }
}

/// What a plan's expressions can name.
fn schema_of(plan: &LogicalPlan) -> DFSchema {
    match plan {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        _ => merge_schema(&plan.inputs()),
    }
}
