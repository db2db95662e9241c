//! Conditions that guard: in `b <> 0 AND a / b > 1` no row with b = 0 is divided, as in PostgreSQL.
//!
//! DataFusion evaluates both sides of AND and OR for all rows of a batch whenever that looks cheaper, and turns CASE
//! over conditions into AND and OR; an aggregate's arguments are evaluated before its FILTER. What can fail is therefore
//! put behind a CASE after its optimiser is done: CASE evaluates a branch for its own rows only. What cannot fail comes
//! first, so that a condition of a subquery guards those above it.

use super::guard;
use crate::error::SqlError;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_binary_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};

/// A condition of more nodes is not written twice: nested ones would grow exponentially.
const TWICE_MAX: usize = 32;
/// Nodes of its FILTER that one aggregate may have in its arguments: one copy in each that can fail.
const COPIES_MAX: usize = 10_000;

/// The optimised plan with its conditions in order.
pub(super) fn guard(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let filters = matches!(plan, LogicalPlan::Filter(_));
        let guarded = plan.map_expressions(|expr| {
            if !has_guards(&expr)? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            let expr = if filters { condition(expr)? } else { value(expr)? };
            Ok(Transformed::yes(name.restore(expr)))
        })?;
        changed |= guarded.transformed;
        // A guarded value may be NULL by its type where it was not.
        if changed { guarded.map_data(LogicalPlan::recompute_schema) } else { Ok(guarded) }
    })
    .data()
}

/// True when an AND or OR has a side that can fail, a CASE has one among its conditions, or what a FILTER lets
/// through can fail.
fn has_guards(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok((connective(expr).is_some() || has_filter(expr)) && can_fail(expr)))
}

fn has_filter(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => call.params.filter.is_some(),
        Expr::WindowFunction(call) => call.params.filter.is_some(),
        _ => false,
    }
}

fn connective(expr: &Expr) -> Option<Operator> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => Some(*op),
        _ => None,
    }
}

fn can_fail(expr: &Expr) -> bool {
    let fails = |expr: &Expr| match expr {
        Expr::Cast(_) | Expr::ScalarFunction(_) | Expr::Negative(_) => true,
        Expr::BinaryExpr(binary) => binary.op.is_numerical_operators(),
        _ => false,
    };
    expr.exists(|expr| Ok(fails(expr))).unwrap_or(true)
}

/// Where NULL counts as false: nothing has to be written twice.
fn condition(expr: Expr) -> Result<Expr> {
    let Some(op) = connective(&expr) else { return value(expr) };
    let (first, rest) = in_order(expr, op);
    let mut parts = rest.into_iter().map(condition).collect::<Result<Vec<_>>>()?.into_iter().rev();
    let Some(last) = parts.next() else { return Ok(first.unwrap_or_else(|| lit(op == Operator::And))) };
    Ok(parts.chain(first).fold(last, |behind, part| match op {
        Operator::And => case(part, behind, lit(false)),
        _ => case(part, lit(true), behind),
    }))
}

/// Where NULL is NULL: a part is there once for its value and once to decide about what is behind it.
fn value(expr: Expr) -> Result<Expr> {
    match expr {
        Expr::Case(case) => conditions_of_case(case),
        Expr::AggregateFunction(mut call) => {
            let params = &mut call.params;
            let keys = params.order_by.iter_mut().map(|key| &mut key.expr);
            filtered(&mut params.filter, params.args.iter_mut().chain(keys))?;
            Ok(Expr::AggregateFunction(call))
        }
        Expr::WindowFunction(mut call) => {
            filtered(&mut call.params.filter, call.params.args.iter_mut())?;
            Ok(Expr::WindowFunction(call))
        }
        expr => match connective(&expr) {
            Some(op) => connected(expr, op),
            None => map_children(expr),
        },
    }
}

/// DataFusion calculates arguments for all rows of a batch, and leaves out afterwards what a FILTER does not let through.
fn filtered<'e>(filter: &mut Option<Box<Expr>>, args: impl Iterator<Item = &'e mut Expr>) -> Result<()> {
    let own = filter.take().map(|filter| condition(*filter)).transpose()?;
    let own_size = own.as_ref().map_or(0, size);
    let mut copied = 0usize;
    for arg in args {
        *arg = value(std::mem::take(arg))?;
        if let Some(own) = own.as_ref().filter(|_| can_fail(arg)) {
            copied = copied.saturating_add(own_size);
            if copied > COPIES_MAX {
                let error =
                    SqlError::new("54001", "statement is too complex: a FILTER of this size guards too much");
                return Err(guard::external(error));
            }
            let when_then_expr = vec![(Box::new(own.clone()), Box::new(std::mem::take(arg)))];
            *arg = Expr::Case(Case { expr: None, when_then_expr, else_expr: None });
        }
    }
    *filter = own.map(Box::new);
    Ok(())
}

fn map_children(expr: Expr) -> Result<Expr> {
    expr.map_children(|child| value(child).map(Transformed::yes)).data()
}

fn conditions_of_case(case: Case) -> Result<Expr> {
    let boxed = |expr: Box<Expr>| value(*expr).map(Box::new);
    let is_searched = case.expr.is_none();
    let branch = |(when, then): (Box<Expr>, Box<Expr>)| {
        let when = if is_searched { condition(*when)? } else { value(*when)? };
        Ok((Box::new(when), boxed(then)?))
    };
    Ok(Expr::Case(Case {
        when_then_expr: case.when_then_expr.into_iter().map(branch).collect::<Result<_>>()?,
        expr: case.expr.map(boxed).transpose()?,
        else_expr: case.else_expr.map(boxed).transpose()?,
    }))
}

fn connected(expr: Expr, op: Operator) -> Result<Expr> {
    let (first, rest) = in_order(expr, op);
    let mut parts = rest.into_iter().map(value).collect::<Result<Vec<_>>>()?.into_iter().rev();
    let Some(last) = parts.next() else { return Ok(first.unwrap_or_else(|| lit(op == Operator::And))) };
    Ok(parts.chain(first).fold(last, |behind, part| {
        if size(&part) > TWICE_MAX {
            return connect(op, part, behind);
        }
        let null = Expr::Literal(ScalarValue::Boolean(None), None);
        let open = if op == Operator::And { part.clone().is_not_false() } else { part.clone().is_not_true() };
        connect(op, part, case(open, behind, null))
    }))
}

fn size(expr: &Expr) -> usize {
    let mut nodes = 0;
    let counted = expr.apply(|_| {
        nodes += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    counted.map_or(usize::MAX, |_| nodes)
}

/// The parts that cannot fail, as one, and those that can.
fn in_order(expr: Expr, op: Operator) -> (Option<Expr>, Vec<Expr>) {
    let (fallible, safe): (Vec<_>, Vec<_>) = split_binary_owned(expr, op).into_iter().partition(can_fail);
    (safe.into_iter().reduce(|left, right| connect(op, left, right)), fallible)
}

fn connect(op: Operator, left: Expr, right: Expr) -> Expr {
    if op == Operator::And { left.and(right) } else { left.or(right) }
}

fn case(when: Expr, then: Expr, otherwise: Expr) -> Expr {
    let when_then_expr = vec![(Box::new(when), Box::new(then))];
    Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(otherwise)) })
}
