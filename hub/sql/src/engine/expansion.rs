//! How large a query is once its names are replaced by what they stand for.
//!
//! DataFusion plans a CTE anew wherever it is named, and its optimiser puts expressions in the place of the columns
//! that name them. Twenty lines that each name the line before twice are a plan of a million nodes: they are
//! counted before anything is expanded, and refused (`54001`).

use super::guard::external;
use crate::error::SqlError;
use crate::text::{Text, fold};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query, Select, Visit, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Expressions per plan node that a query may have; only sizes far beyond any real query are refused.
const EXPRESSIONS_PER_NODE: u64 = 64;
/// Columns of one CUBE: it stands for two to the power of them groupings.
const CUBE_MAX: usize = 10;

/// Comparisons with ANY or ALL of a list within each other: DataFusion's planner writes the list out five times in each.
const LISTS_MAX: usize = 3;

/// Columns of one SELECT, as in PostgreSQL.
const COLUMNS_MAX: usize = 1_664;

/// Refuses a query that stands for more than `nodes_max` SELECTs and tables.
pub(super) fn check_query(query: &Query, text: &Text, nodes_max: usize) -> std::result::Result<(), SqlError> {
    let mut count = Count { text, nodes_max: nodes_max as u64, frames: vec![Frame::default()], lists: 0 };
    match query.visit(&mut count) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What a query amounts to.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: u64,
    expressions: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.expressions = self.expressions.saturating_add(other.expressions);
    }
}

/// A query being counted.
#[derive(Default)]
struct Frame {
    /// Where its CTEs are in the tree, by name.
    unread: Vec<(*const Query, String)>,
    /// Its CTEs that are counted.
    ctes: HashMap<String, Size>,
    size: Size,
}

struct Count<'a> {
    text: &'a Text,
    nodes_max: u64,
    frames: Vec<Frame>,
    /// Comparisons with lists around.
    lists: usize,
}

impl Count<'_> {
    fn add(&mut self, size: Size, at: Option<u32>) -> ControlFlow<SqlError> {
        let Some(frame) = self.frames.last_mut() else { return ControlFlow::Continue(()) };
        frame.size.add(size);
        let expressions_max = self.nodes_max.saturating_mul(EXPRESSIONS_PER_NODE);
        if frame.size.nodes <= self.nodes_max && frame.size.expressions <= expressions_max {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(too_large(self.nodes_max).at(at))
    }
}

fn too_large(nodes_max: u64) -> SqlError {
    let message = format!("statement is too complex: it stands for more than {nodes_max} tables and SELECTs");
    SqlError::new("54001", message).with_hint("a CTE or view counts once for every time it is named")
}

impl Visitor for Count<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let ast::SetExpr::Values(values) = query.body.as_ref()
            && values.rows.first().is_some_and(|row| row.len() > COLUMNS_MAX)
        {
            let message = format!("VALUES can have at most {COLUMNS_MAX} columns");
            return ControlFlow::Break(SqlError::new("54011", message).at(self.text.of(query)));
        }
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let unread = ctes.map(|cte| (std::ptr::from_ref(cte.query.as_ref()), fold(&cte.alias.name)));
        self.frames.push(Frame { unread: unread.collect(), ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        let Some(done) = self.frames.pop() else { return ControlFlow::Continue(()) };
        if let Some(around) = self.frames.last_mut() {
            let here = std::ptr::from_ref(query);
            if let Some(at) = around.unread.iter().position(|(query, _)| *query == here) {
                let (_, name) = around.unread.swap_remove(at);
                around.ctes.insert(name, done.size);
                return ControlFlow::Continue(());
            }
        }
        self.add(done.size, self.text.of(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        let items = &select.projection;
        if items.len() > COLUMNS_MAX {
            let message = format!("a SELECT can have at most {COLUMNS_MAX} columns");
            let at = self.text.of(&items[COLUMNS_MAX]);
            return ControlFlow::Break(SqlError::new("54011", message).at(at));
        }
        let tuple = items.iter().find_map(|item| match item {
            ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
                matches!(expr, ast::Expr::Tuple(_)).then_some(expr)
            }
            _ => None,
        });
        if let Some(tuple) = tuple {
            return ControlFlow::Break(SqlError::unsupported("a row as a value").at(self.text.of(tuple)));
        }
        self.add(Size { nodes: 1, expressions: 0 }, self.text.of_span(select.select_token.0.span))
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<SqlError> {
        let cte = match name.0.as_slice() {
            [part] => part.as_ident().map(fold),
            _ => None,
        };
        let known = cte.and_then(|name| self.frames.iter().rev().find_map(|frame| frame.ctes.get(&name)));
        let mut size = known.copied().unwrap_or_default();
        size.add(Size { nodes: 1, expressions: 0 });
        self.add(size, self.text.of(name))
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<SqlError> {
        if let ast::Expr::Cube(sets) = expr
            && sets.len() > CUBE_MAX
        {
            let message = format!("statement is too complex: CUBE of more than {CUBE_MAX} columns");
            return ControlFlow::Break(SqlError::new("54001", message).at(self.text.of(expr)));
        }
        if let Some(what) = structure(expr) {
            return ControlFlow::Break(SqlError::unsupported(what).at(self.text.of(expr)));
        }
        self.lists += usize::from(compares_with_list(expr));
        if self.lists > LISTS_MAX {
            let message =
                format!("statement is too complex: more than {LISTS_MAX} ANY and ALL within each other");
            return ControlFlow::Break(SqlError::new("54001", message).at(self.text.of(expr)));
        }
        self.add(Size { nodes: 0, expressions: 1 }, None)
    }

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<SqlError> {
        self.lists -= usize::from(compares_with_list(expr));
        ControlFlow::Continue(())
    }
}

fn compares_with_list(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. } => {
            !matches!(right.as_ref(), ast::Expr::Subquery(_))
        }
        _ => false,
    }
}

/// Values with fields: no view and no answer has them, and their types double as plans do.
fn structure(expr: &ast::Expr) -> Option<&'static str> {
    match expr {
        ast::Expr::Struct { .. } | ast::Expr::Dictionary(_) => Some("a struct"),
        ast::Expr::Map(_) => Some("a map"),
        ast::Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold)?;
            match name.as_str() {
                "struct" | "named_struct" | "row" | "arrays_zip" | "list_zip" => Some("a struct"),
                "map" | "make_map" => Some("a map"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Refuses a plan with more than `nodes_max` operators, or with an expression that grows beyond all measure when
/// the columns in it are replaced by their own expressions.
pub(super) fn check_plan(plan: &LogicalPlan, nodes_max: usize) -> Result<()> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > nodes_max { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if nodes > nodes_max {
        return Err(external(too_large(nodes_max as u64)));
    }
    let most = (nodes_max as u64).saturating_mul(EXPRESSIONS_PER_NODE);
    columns(plan, most).map(|_| ())
}

/// The size of every column of a plan, as an expression over the tables at the bottom.
fn columns(plan: &LogicalPlan, most: u64) -> Result<Vec<u64>> {
    let inputs = plan.inputs();
    let sizes = inputs.iter().map(|input| columns(input, most)).collect::<Result<Vec<_>>>()?;
    let schemas = inputs.iter().map(|input| input.schema().as_ref()).collect();
    let below = Below { schemas, sizes, most };
    let measured = plan.expressions().iter().map(|expr| below.measure(expr)).collect::<Result<Vec<_>>>()?;
    let width = plan.schema().fields().len();
    let mut own = match plan {
        LogicalPlan::Projection(_) => measured,
        // What is aggregated is computed once; keys may be computed wherever they are used.
        LogicalPlan::Aggregate(aggregate) => measured.into_iter().take(aggregate.group_expr.len()).collect(),
        LogicalPlan::Union(_) => (0..width).map(|at| below.largest(at)).collect(),
        _ => below.sizes.into_iter().flatten().collect(),
    };
    own.resize(width, 1);
    Ok(own)
}

/// The columns below an operator, and their sizes.
struct Below<'p> {
    schemas: Vec<&'p DFSchema>,
    sizes: Vec<Vec<u64>>,
    most: u64,
}

impl Below<'_> {
    fn column(&self, column: &Column) -> Option<u64> {
        let mut places = self.schemas.iter().zip(&self.sizes);
        places.find_map(|(schema, sizes)| sizes.get(schema.maybe_index_of_column(column)?)).copied()
    }

    /// The largest of the inputs' columns at one place.
    fn largest(&self, at: usize) -> u64 {
        self.sizes.iter().filter_map(|sizes| sizes.get(at)).max().copied().unwrap_or(1)
    }

    fn measure(&self, expr: &Expr) -> Result<u64> {
        let size = self.size(expr)?;
        if size > self.most { Err(external(grows())) } else { Ok(size) }
    }

    fn size(&self, expr: &Expr) -> Result<u64> {
        if let Expr::Column(column) = expr {
            return Ok(self.column(column).unwrap_or(1));
        }
        if let Some(subquery) = subquery(expr) {
            columns(&subquery.subquery, self.most)?;
        }
        let (mut at, mut size) = (0, 1u64);
        expr.apply_children(|operand| {
            let times = times_written(expr, at);
            at += 1;
            size = size.saturating_add(self.size(operand)?.saturating_mul(times));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(size)
    }
}

/// How often DataFusion's simplifier writes an operand out.
fn times_written(expr: &Expr, operand: usize) -> u64 {
    match expr {
        // x >= a AND x <= b
        Expr::Between(_) if operand == 0 => 2,
        // CASE WHEN x IS NOT NULL THEN x ...
        Expr::ScalarFunction(call)
            if ["coalesce", "nvl"].contains(&call.func.name()) && operand + 1 < call.args.len() =>
        {
            2
        }
        // (x AND a) OR (NOT x AND y AND b) OR (NOT x AND NOT y AND c), where there are few: those at even places
        Expr::Case(case)
            if case.expr.is_none()
                && case.when_then_expr.len() < 3
                && operand.is_multiple_of(2)
                && operand / 2 < case.when_then_expr.len() =>
        {
            3
        }
        _ => 1,
    }
}

fn grows() -> SqlError {
    SqlError::new("54001", "statement is too complex: an expression grows too large")
        .with_hint("expressions over columns that are expressions themselves multiply")
}

fn subquery(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::InSubquery(InSubquery { subquery, .. }) | Expr::Exists(Exists { subquery, .. }) => {
            Some(subquery)
        }
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}
