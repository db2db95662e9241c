//! Forms that PostgreSQL has and DataFusion reads otherwise, or not at all, rewritten in the syntax tree.
//!
//! Owns: comparisons with all rows of a subquery or all items of a list, fields of records, columns of table functions, numbers
//! that no double holds, replacements of `regexp_replace`, times of `date_bin`. Must not know: plans.

use super::own::each_own;
use crate::dialect::parse_expr;
use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, Subscript,
    TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value, ValueWithSpan, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Rewrites one expression.
///
/// # Errors
/// `0A000` for a replacement that cannot be said in the other's words.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    in_list(expr);
    match expr {
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
            if let Expr::Subquery(query) = right.as_mut() {
                apart(query);
            }
        }
        Expr::Value(_) => wide(expr),
        Expr::Cast {
            expr: number,
            data_type: ast::DataType::Numeric(_) | ast::DataType::Decimal(_) | ast::DataType::Dec(_),
            ..
        } => {
            as_written(number);
        }
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter_mut().for_each(by_name),
        Expr::Function(call) => match name_of(call).as_str() {
            "regexp_replace" => return replacement(call),
            "date_bin" => times_of(call),
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// Rewrites conditions: `x IN (SELECT ...)` that is not a whole condition by itself is `x = ANY (SELECT ...)`, as DataFusion takes
/// a NULL for false there.
///
/// # Errors
/// `0A000` for a condition of a join where it would still do.
pub(super) fn conditions(select: &mut Select) -> Result<(), SqlError> {
    moved(select)?;
    for condition in [&mut select.selection, &mut select.having].into_iter().flatten() {
        whole(condition);
    }
    Ok(())
}

/// Moves conditions of inner joins that have a subquery within them into WHERE, where they mean the same: within a join DataFusion
/// takes a NULL of theirs for false.
fn moved(select: &mut Select) -> Result<(), SqlError> {
    let mut conditions: Vec<Expr> = Vec::new();
    for from in &mut select.from {
        let tables = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
        if tables.filter_map(joined_within).any(|within| within.joins.iter().any(has_parts)) {
            return Err(within_join("a JOIN in parentheses"));
        }
        // Rows that an outer join adds need not meet what comes before it.
        let adds = |join: &Join| {
            matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            )
        };
        let after = from.joins.iter().rposition(adds).map_or(0, |last| last + 1);
        for (at, join) in from.joins.iter_mut().enumerate() {
            let is_inner = matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_));
            if !is_inner && has_parts(join) {
                return Err(within_join("an outer JOIN"));
            }
            if let JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) =
                &mut join.join_operator
            {
                let taken = without_parts(on);
                if at < after && !taken.is_empty() {
                    return Err(within_join("a JOIN that a RIGHT or FULL JOIN follows"));
                }
                conditions.extend(taken);
            }
        }
    }
    for condition in conditions {
        let condition = Expr::Nested(Box::new(condition));
        select.selection = Some(match select.selection.take() {
            Some(before) => and(Expr::Nested(Box::new(before)), condition),
            None => condition,
        });
    }
    Ok(())
}

fn within_join(join: &str) -> SqlError {
    SqlError::unsupported(format!("a subquery within the condition of {join}"))
        .with_hint("put what it is about into a subquery in FROM that has the condition in its WHERE")
}

fn joined_within(table: &TableFactor) -> Option<&TableWithJoins> {
    match table {
        TableFactor::NestedJoin { table_with_joins, .. } => Some(table_with_joins),
        _ => None,
    }
}

/// True where a condition would have to be moved, or one of a join within.
fn has_parts(join: &Join) -> bool {
    let constraint = match &join.join_operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => c,
        _ => return false,
    };
    let within = joined_within(&join.relation).is_some_and(|within| within.joins.iter().any(has_parts));
    within || matches!(constraint, JoinConstraint::On(on) if !without_parts(&mut on.clone()).is_empty())
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// Takes those conditions out of one.
fn without_parts(on: &mut Expr) -> Vec<Expr> {
    match on {
        Expr::Nested(inner) => without_parts(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut taken = without_parts(left);
            taken.extend(without_parts(right));
            taken
        }
        Expr::InSubquery { .. } => Vec::new(),
        other if has_subquery(other) => {
            vec![std::mem::replace(other, Expr::Value(Value::Boolean(true).into()))]
        }
        _ => Vec::new(),
    }
}

fn has_subquery(expr: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expr.visit(&mut Find).is_break()
}

/// A condition that all rows must meet.
fn whole(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => whole(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            whole(left);
            whole(right);
        }
        Expr::InSubquery { expr, .. } => part(expr),
        other => part(other),
    }
}

/// What is within one: subqueries have conditions of their own.
fn part(expr: &mut Expr) {
    each_own(expr, any_of);
}

fn any_of(expr: &mut Expr) {
    let Expr::InSubquery { expr: left, subquery, negated } = expr else { return };
    if matches!(left.as_ref(), Expr::Tuple(_)) {
        return;
    }
    let null = || Box::new(Expr::Value(Value::Null.into()));
    let left = std::mem::replace(left, null());
    let right = Box::new(Expr::Subquery(subquery.clone()));
    *expr = match negated {
        true => Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right },
        false => Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, is_some: false },
    };
}

/// A fraction of more digits than a double has.
fn long_fraction(digits: &str) -> Option<Expr> {
    let (whole, fraction) = digits.split_once('.')?;
    let all = || whole.bytes().chain(fraction.bytes());
    let significant = all().skip_while(|byte| *byte == b'0').count();
    if !all().all(|byte| byte.is_ascii_digit()) || !(16..=38).contains(&significant) || fraction.len() > 38 {
        return None;
    }
    parse_expr(&format!("'{digits}'::numeric(38,{})", fraction.len())).ok()
}

/// The digits of a number that becomes a numeric: as a double it would have 15 of them.
fn as_written(number: &mut Expr) {
    match number {
        Expr::Nested(inner) => as_written(inner),
        Expr::Value(ValueWithSpan { value, .. }) => {
            if let Value::Number(digits, _) = value
                && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            {
                *value = Value::SingleQuotedString(std::mem::take(digits));
            }
        }
        _ => {}
    }
}

/// A whole number beyond bigint is a numeric, and so is a fraction that no double holds; DataFusion's would be doubles.
fn wide(expr: &mut Expr) {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = expr else { return };
    if let Some(numeric) = long_fraction(digits) {
        *expr = numeric;
        return;
    }
    let is_wide = digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u64>().is_err()
        && digits.parse::<i128>().is_ok_and(|value| value < 10_i128.pow(38));
    if is_wide && let Ok(numeric) = parse_expr(&format!("'{digits}'::numeric(38,0)")) {
        *expr = numeric;
    }
}

fn name_of(call: &Function) -> String {
    call.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default()
}

/// `x = ANY (ARRAY[a, b])` is `x IN (a, b)`, and `x <> ALL (ARRAY[a, b])` is `x NOT IN (a, b)`.
fn in_list(expr: &mut Expr) {
    let negated = match expr {
        Expr::AnyOp { compare_op: BinaryOperator::Eq, .. } => false,
        Expr::AllOp { compare_op: BinaryOperator::NotEq, .. } => true,
        _ => return,
    };
    let (Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }) = expr else { return };
    if let Expr::Array(array) = right.as_mut()
        && !array.elem.is_empty()
        && !array.elem.iter().any(|item| matches!(item, Expr::Array(_)))
    {
        let list = std::mem::take(&mut array.elem);
        let left = std::mem::replace(left, Box::new(Expr::Value(Value::Null.into())));
        *expr = Expr::InList { expr: left, list, negated };
    }
}

/// The name of what a comparison with all rows compares with: columns' names have no control characters.
const COMPARED: &str = "$any\u{1}";

/// `x > ALL (SELECT y AS "$any" ...)`: DataFusion compares within the subquery, where a column of the outer table would be the
/// inner one's of that name. What has no list to name it in becomes a table: `(SELECT * FROM (...) AS "$any")`.
fn apart(query: &mut Box<Query>) {
    // Groups and orders may have an item's own name.
    let is_plain = |select: &Select| {
        let ungrouped = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
        select.group_by == ungrouped && select.having.is_none()
    };
    if let SetExpr::Select(select) = query.body.as_mut()
        && query.order_by.is_none()
        && is_plain(select)
        && let [item @ (SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })] =
            select.projection.as_mut_slice()
    {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
        let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', COMPARED) };
        return;
    }
    let template = format!("(SELECT * FROM (SELECT 1) AS \"{COMPARED}\")");
    let Ok(Expr::Subquery(mut outer)) = parse_expr(&template) else { return };
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
    {
        std::mem::swap(subquery, query);
    }
    *query = outer;
}

/// `(x).field` is `x['field']`.
fn by_name(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(field)) = access {
        let index = Expr::Value(Value::SingleQuotedString(fold(field)).into());
        *access = AccessExpr::Subscript(Subscript::Index { index });
    }
}

/// Table functions of one column: the table's name is the column's, too.
const OF_ONE_COLUMN: [&str; 3] = ["generate_series", "range", "unnest"];

/// Names the column of a table function.
pub(super) fn table(factor: &mut TableFactor) {
    match factor {
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. }
            if array_exprs.len() == 1 =>
        {
            let alias = alias.get_or_insert_with(|| named("unnest"));
            name_column(alias);
        }
        TableFactor::Table { name, alias: Some(alias), args: Some(_), .. }
        | TableFactor::Function { name, alias: Some(alias), .. }
            if is_of_one_column(name) =>
        {
            name_column(alias);
        }
        _ => {}
    }
}

fn is_of_one_column(name: &ObjectName) -> bool {
    let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    OF_ONE_COLUMN.contains(&name.as_str())
}

fn named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}

fn name_column(alias: &mut TableAlias) {
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn arguments(call: &mut Function) -> Vec<&mut Expr> {
    let FunctionArguments::List(list) = &mut call.args else { return Vec::new() };
    let args = list.args.iter_mut().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    args.collect::<Option<_>>().unwrap_or_default()
}

/// PostgreSQL's replacement has `\1` and `\&`, and a dollar is one; in DataFusion's, `$1` is a group.
fn replacement(call: &mut Function) -> Result<(), SqlError> {
    let mut args = arguments(call);
    let Some(text) = args.get_mut(2) else { return Ok(()) };
    if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = text {
        *text = spelled(text).ok_or_else(|| {
            SqlError::unsupported("a backslash before a digit in a replacement")
                .with_hint("\\1 is a group's text")
        })?;
    } else if let Ok(doubled) = parse_expr(&format!("replace(replace({text}, '$', '$$'), '\\&', '${{0}}')")) {
        **text = doubled;
    }
    Ok(())
}

/// A replacement in DataFusion's words, which knows `\1`.
fn spelled(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match (next, rest.peek()) {
            ('$', _) => out.push_str("$$"),
            ('\\', Some('&')) => {
                rest.next();
                out.push_str("${0}");
            }
            // Its own `\0` is all that was found.
            ('\\', Some('0')) => return None,
            ('\\', Some('\\')) => {
                rest.next();
                if rest.peek().is_some_and(char::is_ascii_digit) {
                    return None;
                }
                out.push('\\');
            }
            (next, _) => out.push(next),
        }
    }
    Some(out)
}

/// Texts beside the width of `date_bin` are times.
fn times_of(call: &mut Function) {
    for arg in arguments(call).into_iter().skip(1) {
        if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) = arg
            && let Ok(time) = parse_expr(&format!("{arg}::timestamptz"))
        {
            *arg = time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_mean_what_they_mean_in_postgresql() {
        assert_eq!(spelled("$1").as_deref(), Some("$$1"));
        assert_eq!(spelled("[\\&]").as_deref(), Some("[${0}]"));
        assert_eq!(spelled("<\\1>").as_deref(), Some("<\\1>"));
        assert_eq!(spelled("a\\\\b").as_deref(), Some("a\\b"));
        assert_eq!(spelled("\\\\1"), None);
    }
}
