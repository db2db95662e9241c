//! How a view reads: the select list over the scan of its groups, and what lies between.
//!
//! A sliding window's groups are in panes, and grouping sets are coarser than the groups that are kept: both are an
//! aggregate that merges states again, as `combine` does, and finishes them once. HAVING and ORDER BY come after it.

use super::merge::{Emit, MergeStates};
use super::scan::{ViewScan, state_column};
use super::{guard, session};
use crate::definition::{Output, ViewDef};
use crate::dialect::parse_expr;
use crate::source::Source;
use crate::text::Text;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::grouping::grouping;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{AggregateUDF, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use std::sync::Arc;

/// The plan behind a view's name.
pub(super) fn plan(def: &Arc<ViewDef>, source: &Arc<dyn Source>, base: &SessionState) -> Result<LogicalPlan> {
    let scan: Arc<dyn TableProvider> = Arc::new(ViewScan::new(Arc::clone(def), Arc::clone(source)));
    let mut plan = LogicalPlanBuilder::scan(def.name.as_str(), provider_as_source(scan), None)?;
    if def.window().is_some() || def.grouping_sets().is_some() {
        plan = merge_groups(def, plan)?;
    }
    if let Some(having) = def.having() {
        let condition = logical(base, having, plan.schema())?;
        plan = plan.filter(condition)?;
    }
    if !def.order_by().is_empty() {
        let sort = |item: &crate::definition::SortItem| {
            let expr = logical(base, &item.expr, plan.schema())?;
            Ok(Sort::new(expr, !item.descending, item.nulls_first))
        };
        let order = def.order_by().iter().map(sort).collect::<Result<Vec<_>>>()?;
        // DataFusion drops the sort of a relation in FROM, unless a limit needs it.
        plan = plan.sort(order)?.limit(0, None)?;
    }
    let items = def.select.iter().map(|item| {
        let expr = logical(base, &item.expr, plan.schema())?;
        Ok(expr.alias(&item.name))
    });
    let items = items.collect::<Result<Vec<_>>>()?;
    plan.project(items)?.build()
}

/// An expression of a definition over its columns.
fn logical(base: &SessionState, sql: &str, schema: &DFSchema) -> Result<Expr> {
    let mut expr = parse_expr(sql).map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    session::spell_expression(&mut expr, &Text::new(sql)).map_err(guard::external)?;
    base.create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, schema)
}

/// Merges the groups that readers do not tell apart. Outputs keep their names.
fn merge_groups(def: &ViewDef, scan: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
    let schema = Arc::clone(scan.schema());
    let key = |at: &u16| Expr::Column(Column::from(schema.qualified_field(usize::from(*at))));
    let hidden = def.keys.len() - def.visible_keys().len();
    let groups = match def.grouping_sets() {
        None => (hidden..def.keys.len()).map(|at| key(&(at as u16))).collect(),
        Some(sets) => {
            let sets = sets.iter().map(|set| set.iter().map(key).collect()).collect();
            vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
        }
    };
    let outputs = def.outputs.iter().map(|output| merged(def, output, &schema));
    let mut aggregates = outputs.collect::<Result<Vec<_>>>()?;
    for (at, keys) in def.groupings().enumerate() {
        aggregates.push(grouping_of(keys.iter().map(key).collect()).alias(format!("$g{at}")));
    }
    scan.aggregate(groups, aggregates)
}

fn merged(def: &ViewDef, output: &Output, scan: &DFSchema) -> Result<Expr> {
    let state = scan.qualified_field_with_unqualified_name(&state_column(output.state))?;
    let spec = def.plan.states[usize::from(output.state)].spec.clone();
    let emit = Emit::Value(output.finisher.clone(), output.data_type.clone());
    let merge = MergeStates::new(spec, emit, column_of(def, output).to_owned()).of_view(&def.name);
    let merge = Arc::new(AggregateUDF::from(merge));
    let call =
        AggregateFunction::new_udf(merge, vec![Expr::Column(Column::from(state))], false, None, vec![], None);
    Ok(Expr::AggregateFunction(call).alias(&output.name))
}

fn grouping_of(keys: Vec<Expr>) -> Expr {
    let Expr::AggregateFunction(mut call) = grouping(Expr::default()) else { return Expr::default() };
    call.params.args = keys;
    Expr::AggregateFunction(call)
}

/// The column of the view that shows an output.
pub(super) fn column_of<'d>(def: &'d ViewDef, output: &'d Output) -> &'d str {
    let spelled = crate::text::quote(&output.name);
    let item = def
        .select
        .iter()
        .find(|item| item.expr == spelled)
        .or_else(|| def.select.iter().find(|i| i.expr.contains(&spelled)));
    item.map_or(output.name.as_str(), |item| item.name.as_str())
}
