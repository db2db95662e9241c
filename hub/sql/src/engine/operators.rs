//! Operators as PostgreSQL reads them, where sqlparser or DataFusion reads them otherwise.
//!
//! | written | read as |
//! |---|---|
//! | `-2 ^ 2`, `2 ^ -1 ^ 2` | `(-2) ^ 2`, `(2 ^ (-1)) ^ 2`: a sign binds tighter than a power |
//! | `mod(a, b)` | `a % b` |
//! | `extract(second FROM x)`, `date_part('ms', x)` | from the microseconds, with their fraction |
//! | `rank() OVER (...)` and such | as bigint, which has a sign |
//! | `(a, b) IN ((1, 2), ...)`, `(a, b) = (1, 2)`, `(a, b) < (1, 2)` | conditions on the parts, whose NULLs count |
//! | `GROUP BY (a, b)`, `GROUP BY ()` | `GROUP BY a, b`, one group even of no rows |

use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator as Op, Expr, FunctionArg, FunctionArgExpr, Query, Select, UnaryOperator, Visit,
    Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::ops::ControlFlow;

/// Parts of a row that is compared by order: each is one more level of the condition.
const ORDERED_MAX: usize = 8;
/// Nodes that comparisons of rows may add to a statement.
const COPIES_MAX: usize = 4_000;

/// Reads one expression whose operands have been read; `copies` counts what rows have added so far.
pub(super) fn read(expr: &mut Expr, copies: &mut usize) -> Result<(), SqlError> {
    match expr {
        Expr::UnaryOp { .. } | Expr::BinaryOp { op: Op::PGExp, .. } => bind_signs(expr),
        Expr::Function(function) if counts(function) => {
            let (kind, data_type) = (ast::CastKind::Cast, ast::DataType::BigInt(None));
            *expr = Expr::Cast { kind, expr: Box::new(take(expr)), data_type, array: false, format: None };
        }
        Expr::Function(function) if tells_now(function) => {
            // In microseconds, as all times here.
            let data_type = ast::DataType::Timestamp(None, ast::TimezoneInfo::WithTimeZone);
            let kind = ast::CastKind::Cast;
            *expr = Expr::Cast { kind, expr: Box::new(take(expr)), data_type, array: false, format: None };
        }
        Expr::Function(_) => {
            spell_mod(expr);
            with_fraction(expr);
        }
        Expr::Extract { .. } => with_fraction(expr),
        Expr::InList { .. } => return in_rows(expr, copies),
        Expr::BinaryOp { .. } => return compare_rows(expr, copies),
        _ => {}
    }
    Ok(())
}

/// What DataFusion counts without a sign.
fn counts(function: &ast::Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    function.over.is_some() && ["dense_rank", "ntile", "rank", "row_number"].contains(&name.as_str())
}

fn tells_now(function: &ast::Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    ["now", "current_timestamp"].contains(&name.as_str())
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(ast::Value::Null.into()))
}

fn binary(left: Expr, op: Op, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// sqlparser gives a sign the whole power behind it.
fn bind_signs(expr: &mut Expr) {
    let is_misread = match &*expr {
        Expr::BinaryOp { op: Op::PGExp, right, .. } => is_power(right) || is_signed_power(right),
        expr => is_signed_power(expr),
    };
    if is_misread {
        let mut operands = Vec::new();
        power_operands(take(expr), &mut operands);
        let power = operands.into_iter().reduce(|base, exponent| binary(base, Op::PGExp, exponent));
        *expr = power.unwrap_or_else(|| take(expr));
    }
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: Op::PGExp, .. })
}

fn is_signed_power(expr: &Expr) -> bool {
    let sign = [UnaryOperator::Minus, UnaryOperator::Plus];
    matches!(expr, Expr::UnaryOp { op, expr } if sign.contains(op) && is_power(expr))
}

/// The operands of a chain of powers, from left to right, each with its sign.
fn power_operands(expr: Expr, operands: &mut Vec<Expr>) {
    let is_signed = is_signed_power(&expr);
    match expr {
        Expr::BinaryOp { left, op: Op::PGExp, right } => {
            power_operands(*left, operands);
            power_operands(*right, operands);
        }
        Expr::UnaryOp { op, expr } if is_signed => {
            let first = operands.len();
            power_operands(*expr, operands);
            let operand = Box::new(take(&mut operands[first]));
            operands[first] = Expr::UnaryOp { op, expr: operand };
        }
        operand => operands.push(operand),
    }
}

fn spell_mod(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
    let ast::FunctionArguments::List(list) = &mut function.args else { return };
    if fold(name) != "mod" {
        return;
    }
    if let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_mut_slice()
    {
        let nested = |operand: &mut Expr| Expr::Nested(Box::new(take(operand)));
        *expr = Expr::Nested(Box::new(binary(nested(left), Op::Modulo, nested(right))));
    }
}

/// DataFusion cuts the fractions of seconds and milliseconds off: they are made of microseconds.
fn with_fraction(expr: &mut Expr) {
    let micros = match &*expr {
        Expr::Extract { field: ast::DateTimeField::Custom(field), .. } => micros_of(&field.value),
        Expr::Function(function) => date_part_unit(function).and_then(micros_of),
        _ => None,
    };
    let Some(micros) = micros else { return };
    let unit = "microseconds";
    match expr {
        Expr::Extract { field, .. } => *field = ast::DateTimeField::Custom(ast::Ident::new(unit)),
        Expr::Function(ast::Function { args: ast::FunctionArguments::List(list), .. }) => {
            let unit = ast::Value::SingleQuotedString(unit.to_owned()).with_span(Span::empty());
            list.args[0] = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(unit)));
        }
        _ => {}
    }
    let micros = Expr::Value(ast::Value::Number(micros.to_owned(), false).with_span(Span::empty()));
    *expr = Expr::Nested(Box::new(binary(take(expr), Op::Divide, micros)));
}

/// Microseconds of a unit that has fractions, as a double.
fn micros_of(unit: &str) -> Option<&'static str> {
    match unit {
        "second" => Some("1000000.0"),
        "milliseconds" => Some("1000.0"),
        _ => None,
    }
}

/// The unit of `date_part('unit', ...)`.
fn date_part_unit(function: &ast::Function) -> Option<&str> {
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(unit))), _] if fold(name) == "date_part" => {
            match &unit.value {
                ast::Value::SingleQuotedString(unit) => Some(unit),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The parts of a row.
fn parts_of(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Nested(inner) => parts_of(inner),
        Expr::Tuple(parts) => Some(parts),
        _ => None,
    }
}

/// The parts of two rows, as many of each.
type Pair<'e> = (&'e [Expr], &'e [Expr]);

fn pairs<'e>(left: &'e Expr, right: &'e Expr) -> Result<Option<Pair<'e>>, SqlError> {
    match (parts_of(left), parts_of(right)) {
        (Some(left), Some(right)) if left.len() == right.len() => Ok(Some((left, right))),
        (Some(_), Some(_)) => Err(SqlError::new("42601", "unequal number of entries in row expressions")),
        _ => Ok(None),
    }
}

fn in_rows(expr: &mut Expr, copies: &mut usize) -> Result<(), SqlError> {
    let Expr::InList { expr: row, list, negated } = expr else { return Ok(()) };
    let mut rows = Vec::with_capacity(list.len());
    for item in list.iter() {
        let Some((row, item)) = pairs(row, item)? else { return Ok(()) };
        charge(copies, row)?;
        rows.push(equal(row, item));
    }
    let found = Box::new(Expr::Nested(Box::new(balanced(&Op::Or, rows))));
    *expr = if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: found } } else { *found };
    Ok(())
}

fn compare_rows(expr: &mut Expr, copies: &mut usize) -> Result<(), SqlError> {
    let Expr::BinaryOp { left, op, right } = &*expr else { return Ok(()) };
    let Some((left, right)) = pairs(left, right)? else { return Ok(()) };
    charge(copies, left)?;
    charge(copies, right)?;
    let unequal = |(left, right): (&Expr, &Expr)| binary(left.clone(), Op::NotEq, right.clone());
    let compared = match op {
        Op::Eq => equal(left, right),
        Op::NotEq => balanced(&Op::Or, left.iter().zip(right).map(unequal).collect()),
        Op::Lt | Op::LtEq | Op::Gt | Op::GtEq if left.len() <= ORDERED_MAX => ordered(left, op, right),
        _ => return Ok(()),
    };
    *expr = Expr::Nested(Box::new(compared));
    Ok(())
}

fn equal(left: &[Expr], right: &[Expr]) -> Expr {
    let equal = |(left, right): (&Expr, &Expr)| binary(left.clone(), Op::Eq, right.clone());
    balanced(&Op::And, left.iter().zip(right).map(equal).collect())
}

/// The first parts that differ decide.
fn ordered(left: &[Expr], op: &Op, right: &[Expr]) -> Expr {
    let (Some((first, left)), Some((other, right))) = (left.split_first(), right.split_first()) else {
        return Expr::Value(ast::Value::Null.into());
    };
    if left.is_empty() {
        return binary(first.clone(), op.clone(), other.clone());
    }
    let strict = if matches!(op, Op::Lt | Op::LtEq) { Op::Lt } else { Op::Gt };
    let decided = binary(first.clone(), strict, other.clone());
    let open = binary(first.clone(), Op::Eq, other.clone());
    binary(decided, Op::Or, binary(open, Op::And, ordered(left, op, right)))
}

/// All parts under one operator, as flat as a tree can be.
fn balanced(op: &Op, mut parts: Vec<Expr>) -> Expr {
    let right = parts.split_off(parts.len() / 2);
    match (parts.is_empty(), right.len()) {
        (true, 0 | 1) => right.into_iter().next().unwrap_or(Expr::Value(ast::Value::Null.into())),
        _ => binary(balanced(op, parts), op.clone(), balanced(op, right)),
    }
}

/// Counts the nodes of a row that is written out once more.
fn charge(copies: &mut usize, row: &[Expr]) -> Result<(), SqlError> {
    struct Nodes<'a>(&'a mut usize);
    impl Visitor for Nodes<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
            *self.0 += 1;
            if *self.0 > COPIES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    match row.iter().try_for_each(|part| part.visit(&mut Nodes(copies))) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            Err(SqlError::new("54001", "statement is too complex: too many rows are compared")
                .with_hint("join with (VALUES ...) AS t(a, b)"))
        }
    }
}

/// GROUP BY without its parentheses.
pub(super) fn flatten_groups(select: &mut Select) {
    let ast::GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    if !keys.iter().any(|key| matches!(key, Expr::Tuple(_))) {
        return;
    }
    let flat = std::mem::take(keys).into_iter().flat_map(|key| match key {
        Expr::Tuple(parts) => parts,
        key => vec![key],
    });
    *keys = flat.collect();
    if keys.is_empty() {
        one_group(select);
    }
}

/// A plain call of a function.
pub(super) fn call(name: ast::Ident, args: Vec<FunctionArg>) -> Expr {
    let list = ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A condition that always holds makes even a SELECT without aggregates one of groups.
fn one_group(select: &mut Select) {
    let star = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
    let count = call(ast::Ident::new("count"), vec![star]);
    let zero = Expr::Value(ast::Value::Number("0".into(), false).with_span(Span::empty()));
    let holds = binary(count, Op::GtEq, zero);
    select.having = Some(match select.having.take() {
        Some(having) => binary(Expr::Nested(Box::new(having)), Op::And, holds),
        None => holds,
    });
}

/// The first row that is still a value: nothing can carry it, and its NULLs would compare as equal.
pub(super) fn find_row(query: &Query) -> Option<Expr> {
    struct Find;
    impl Visitor for Find {
        type Break = Expr;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Expr> {
            match expr {
                Expr::Tuple(_) => ControlFlow::Break(expr.clone()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Find).break_value()
}
