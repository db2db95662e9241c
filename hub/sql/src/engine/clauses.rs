//! What a clause does not take, told where it stands: DataFusion tells it without a place, or in words of its own.

use crate::convert::cast_text;
use crate::error::SqlError;
use crate::text::{Text, fold};
use crate::types::parse_type;
use datafusion::sql::sqlparser::ast::{
    self, Expr, LimitClause, Query, Select, SelectItem, SetExpr, Spanned, UnaryOperator, Value,
    ValueWithSpan, Visit, Visitor,
};
use headwater::value::DataType;
use std::ops::ControlFlow;

/// Checks ORDER BY, LIMIT and OFFSET of a query.
pub(super) fn check_query(query: &Query, text: &Text) -> Result<(), SqlError> {
    if let SetExpr::Table(table) = query.body.as_ref() {
        let name = table.table_name.as_deref().unwrap_or("name");
        let refused = SqlError::unsupported("TABLE as a query").with_hint(format!("SELECT * FROM {name}"));
        return Err(refused.at(super::failure::find(text, "table")));
    }
    if let (Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), .. }), Some(width)) =
        (&query.order_by, width_of(&query.body))
    {
        keys.iter().try_for_each(|key| check_place(&key.expr, width, "ORDER BY", text))?;
    }
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause else { return Ok(()) };
    limit.as_ref().map_or(Ok(()), |limit| check_rows(limit, ("LIMIT", "2201W"), text))?;
    offset.as_ref().map_or(Ok(()), |offset| check_rows(&offset.value, ("OFFSET", "2201X"), text))
}

/// How many columns a query has, where no `*` hides it.
fn width_of(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_plain = |item: &SelectItem| {
                matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
            };
            select.projection.iter().all(is_plain).then_some(select.projection.len())
        }
        SetExpr::Query(query) => width_of(&query.body),
        SetExpr::SetOperation { left, .. } => width_of(left),
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

/// A number alone is a column of the list.
fn check_place(key: &Expr, width: usize, clause: &str, text: &Text) -> Result<(), SqlError> {
    let Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) = key else { return Ok(()) };
    match digits.parse::<usize>() {
        Ok(place) if !(1..=width).contains(&place) => {
            let message = format!("{clause} position {place} is not in select list");
            Err(SqlError::new("42P10", message).at(text.of(key)))
        }
        _ => Ok(()),
    }
}

fn check_rows(rows: &Expr, (clause, code): (&str, &'static str), text: &Text) -> Result<(), SqlError> {
    match rows {
        Expr::Nested(inner) => check_rows(inner, (clause, code), text),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } if is_positive(expr) => {
            let message = format!("{clause} must not be negative");
            Err(SqlError::new(code, message).at(text.of(expr.as_ref())))
        }
        Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(digits), span })
            if digits.trim().parse::<i64>().is_err() =>
        {
            let message = format!("invalid input syntax for type bigint: \"{digits}\"");
            Err(SqlError::new("22P02", message).at(text.of_span(*span)))
        }
        _ => Ok(()),
    }
}

fn is_positive(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.contains(|digit: char| ('1'..='9').contains(&digit))
        }
        _ => false,
    }
}

/// Checks where a SELECT calls aggregates and windows.
pub(super) fn check_select(select: &Select, text: &Text) -> Result<(), SqlError> {
    let conditions = select.from.iter().flat_map(|from| &from.joins).filter_map(condition_of);
    conditions.into_iter().try_for_each(|on| refuse(on, "JOIN conditions", true, text))?;
    select.selection.as_ref().map_or(Ok(()), |selection| refuse(selection, "WHERE", true, text))?;
    select.having.as_ref().map_or(Ok(()), |having| refuse(having, "HAVING", false, text))?;
    let ast::GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    let width = width_of(&SetExpr::Select(Box::new(select.clone())));
    for key in keys {
        refuse(key, "GROUP BY", true, text)?;
        width.map_or(Ok(()), |width| check_place(key, width, "GROUP BY", text))?;
    }
    Ok(())
}

fn condition_of(join: &ast::Join) -> Option<&Expr> {
    use ast::JoinOperator as J;
    match &join.join_operator {
        J::Join(ast::JoinConstraint::On(on))
        | J::Inner(ast::JoinConstraint::On(on))
        | J::Left(ast::JoinConstraint::On(on))
        | J::LeftOuter(ast::JoinConstraint::On(on))
        | J::Right(ast::JoinConstraint::On(on))
        | J::RightOuter(ast::JoinConstraint::On(on))
        | J::FullOuter(ast::JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}

/// Refuses the first window in a clause, and the first aggregate, unless it may have them.
fn refuse(clause: &Expr, name: &str, aggregates: bool, text: &Text) -> Result<(), SqlError> {
    let mut calls = Calls { depth: 0, aggregates };
    let ControlFlow::Break((is_window, call)) = clause.visit(&mut calls) else { return Ok(()) };
    let (code, what) = if is_window { ("42P20", "window") } else { ("42803", "aggregate") };
    let message = format!("{what} functions are not allowed in {name}");
    Err(SqlError::new(code, message).at(text.of(&call)))
}

/// Finds calls, but not those of subqueries.
struct Calls {
    depth: usize,
    aggregates: bool,
}

impl Visitor for Calls {
    type Break = (bool, Expr);

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(call) if self.depth == 0 => {
                let is_window = call.over.is_some();
                if is_window || self.aggregates && is_aggregate(call) {
                    return ControlFlow::Break((is_window, expr.clone()));
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_aggregate(call: &ast::Function) -> bool {
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    crate::functions::is_aggregate(&name)
}

/// Checks one expression.
pub(super) fn check_expr(expr: &Expr, text: &Text) -> Result<(), SqlError> {
    let refused =
        |what: &str, at: Option<u32>, hint: &str| Err(SqlError::unsupported(what).at(at).with_hint(hint));
    match expr {
        Expr::Subquery(query) if width_of(&query.body).is_some_and(|width| width > 1) => {
            let error = SqlError::new("42601", "subquery must return only one column");
            Err(error.at(text.of_span(query.span())))
        }
        Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => refused(
            "LIKE ANY",
            text.of(expr),
            "write its patterns with OR, or as one regular expression: x ~ 'a|b'",
        ),
        Expr::UnaryOp { op, expr: operand } if op.to_string() == "~" => {
            refused("operator ~ of one number", text.of(operand.as_ref()), "~x is -x - 1")
        }
        Expr::Interval(interval) if interval.last_field.is_some() || interval.leading_precision.is_some() => {
            let at = text.of(interval.value.as_ref());
            refused("an INTERVAL with a range of fields", at, "write its units: interval '1 year 2 months'")
        }
        Expr::Cast { expr, data_type, .. } => match parse_type(data_type) {
            Ok(data_type @ (DataType::Float32 | DataType::Float64)) => {
                let constant =
                    constant_text(expr).map_or(Ok(()), |constant| check_float(constant, &data_type));
                constant.map_err(|error| error.at(text.of(expr.as_ref())))
            }
            _ => Ok(()),
        },
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) => {
            check_float(digits, &DataType::Float64).map_err(|error| error.at(text.of_span(*span)))
        }
        _ => Ok(()),
    }
}

/// The text of a constant that is cast.
fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => constant_text(inner),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// `22003`: digits that no double or real holds; Arrow makes them infinite or nothing. Other texts are read elsewhere.
fn check_float(digits: &str, data_type: &DataType) -> Result<(), SqlError> {
    /// Shorter ones without an exponent fit a real.
    const PLAIN_BYTES: usize = 38;
    if digits.len() <= PLAIN_BYTES && !digits.contains(['e', 'E']) {
        return Ok(());
    }
    match cast_text(digits, data_type) {
        Err(error) if error.code == "22003" => Err(error),
        _ => Ok(()),
    }
}

/// `U&'...'` is a text like any other once its escapes are read.
pub(super) fn plain_literal(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::UnicodeStringLiteral(text) = &mut value.value
    {
        value.value = Value::SingleQuotedString(std::mem::take(text));
    }
}
