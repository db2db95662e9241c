//! Parameters: `$1` in a query, and what stands there when it runs.
//!
//! A parameter becomes the literal that a reader of SQL would have typed, where it stands: so everything that
//! holds for literals (how they are read, limits, positions of errors) holds for parameters.
//! Owns: that, and which type a parameter has before it has a value. Must not know: how values cross a wire.

use super::{failure, guard};
use crate::error::SqlError;
use crate::text::Text;
use crate::types::parse_type;
use datafusion::sql::sqlparser::ast::{
    self, CastKind, Expr, Query, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use headwater::value::DataType;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Most parameters of one statement; the wire has no more.
pub const PARAMETERS_MAX: usize = 65_535;

/// The value of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its type; `None` is read as whatever stands beside it wants.
    pub data_type: Option<DataType>,
    /// Its value as text, in the forms that a cast from text takes.
    pub value: ParameterValue,
}

/// A value as text.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// NULL
    Null,
    /// A single value.
    Text(String),
    /// An array's items; `None` is NULL.
    List(Vec<Option<String>>),
}

/// How many parameters a query has: the highest number.
pub(super) fn count(query: &Query, text: &Text) -> Result<usize, SqlError> {
    let mut highest = 0;
    visit(query, &mut |name, span, _| {
        highest = highest.max(number(name).map_err(|error| error.at(text.of_span(span)))?);
        Ok(())
    })?;
    Ok(highest)
}

/// The numbers of a query's parameters.
pub(super) fn numbers(query: &Query) -> BTreeSet<usize> {
    let mut numbers = BTreeSet::new();
    let _ = visit(query, &mut |name, _, _| {
        numbers.extend(number(name));
        Ok(())
    });
    numbers
}

/// Types that are told by casts: `$1::date`, and by LIMIT and OFFSET.
pub(super) fn written_types(query: &Query) -> BTreeMap<usize, DataType> {
    let mut types = BTreeMap::new();
    // Numbers were checked by `count`.
    let _ = visit(query, &mut |name, _, wanted| {
        if let (Ok(number), Some(wanted)) = (number(name), wanted) {
            types.entry(number).or_insert(wanted);
        }
        Ok(())
    });
    types
}

/// `x = ANY ($1)` as `x = $1`, from which the type of the array's items can be found; which parameters these are.
pub(super) fn items_of_arrays(query: &mut Query) -> BTreeSet<usize> {
    struct Items(BTreeSet<usize>);
    impl VisitorMut for Items {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let (Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right }) =
                expr
            else {
                return ControlFlow::Continue(());
            };
            if let Some(number) = number_of(right) {
                self.0.insert(number);
                *expr = Expr::BinaryOp { left: left.clone(), op: compare_op.clone(), right: right.clone() };
            }
            ControlFlow::Continue(())
        }
    }
    let mut items = Items(BTreeSet::new());
    let _ = VisitMut::visit(query, &mut items);
    items.0
}

type Found<'a> = &'a mut dyn FnMut(&str, Span, Option<DataType>) -> Result<(), SqlError>;

fn visit(query: &Query, found: Found<'_>) -> Result<(), SqlError> {
    match query.visit(&mut Finder { found }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Finder<'a> {
    found: Found<'a>,
}

impl Finder<'_> {
    fn tell(&mut self, expr: &Expr, wanted: Option<DataType>) -> ControlFlow<SqlError> {
        match placeholder(expr) {
            Some((name, span)) => match (self.found)(name, span, wanted) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            },
            None => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        rows_of(query).try_for_each(|expr| self.tell(expr, Some(DataType::Int64)))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        if let Expr::Cast { expr, data_type, .. } = expr {
            self.tell(expr, read_type(data_type))?;
        }
        self.tell(expr, None)
    }
}

/// What stands behind LIMIT and OFFSET.
fn rows_of(query: &Query) -> impl Iterator<Item = &Expr> {
    let (limit, offset) = match &query.limit_clause {
        Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        _ => (None, None),
    };
    limit.into_iter().chain(offset)
}

/// The type of a cast, arrays included.
fn read_type(data_type: &ast::DataType) -> Option<DataType> {
    match data_type {
        ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)) => {
            parse_type(item).ok().map(|item| DataType::List(Box::new(item)))
        }
        other => parse_type(other).ok(),
    }
}

fn placeholder(expr: &Expr) -> Option<(&str, Span)> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => Some((name, *span)),
        _ => None,
    }
}

/// `$1` is 1.
pub(super) fn number(name: &str) -> Result<usize, SqlError> {
    let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
    match number {
        Some(number @ 1..=PARAMETERS_MAX) => Ok(number),
        _ => Err(SqlError::new("42P02", format!("there is no parameter {name}"))),
    }
}

/// The number of a parameter that stands alone.
pub(super) fn number_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => number_of(inner),
        expr => number(placeholder(expr)?.0).ok(),
    }
}

/// The query with values for its parameters; those without one stay.
pub(super) fn bind(query: &Query, parameters: &[Option<Parameter>], text: &Text) -> Result<Query, SqlError> {
    let mut query = query.clone();
    match VisitMut::visit(&mut query, &mut Binder { parameters, text }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(query),
    }
}

struct Binder<'a> {
    parameters: &'a [Option<Parameter>],
    text: &'a Text,
}

impl VisitorMut for Binder<'_> {
    type Break = SqlError;

    /// A number behind LIMIT is one, however it came.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            let offset = offset.as_mut().map(|offset| &mut offset.value);
            limit.as_mut().into_iter().chain(offset).for_each(|expr| self.bind_rows(expr));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Some((items, negated)) = self.list_of_any(expr) {
            let (Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }) = &*expr else {
                return ControlFlow::Continue(());
            };
            self.parameter(unwrapped(right)).map_or(ControlFlow::Continue(()), charge)?;
            return self.spell_any(expr, items, negated);
        }
        let Some((name, span)) = placeholder(expr) else { return ControlFlow::Continue(()) };
        match number(name) {
            Ok(number) => {
                if let Some(Some(parameter)) = self.parameters.get(number - 1) {
                    charge(parameter)?;
                    *expr = literal(parameter, span);
                }
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error.at(self.text.of_span(span))),
        }
    }
}

/// Every use of a parameter is a copy of it, which is there until the statement ends.
fn charge(parameter: &Parameter) -> ControlFlow<SqlError> {
    let bytes = match &parameter.value {
        ParameterValue::Null => 0,
        ParameterValue::Text(text) => text.len(),
        ParameterValue::List(items) => {
            items.iter().map(|item| size_of::<Expr>() + item.as_ref().map_or(0, String::len)).sum()
        }
    };
    let charged = guard::check().and_then(|()| guard::keep(bytes));
    match charged {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(failure::from_datafusion(error, &Text::new(""))),
    }
}

impl Binder<'_> {
    fn parameter(&self, expr: &Expr) -> Option<&Parameter> {
        let (name, _) = placeholder(expr)?;
        self.parameters.get(number(name).ok()?.checked_sub(1)?)?.as_ref()
    }

    fn bind_rows(&self, expr: &mut Expr) {
        let Some(parameter) = self.parameter(expr) else { return };
        let Some((_, span)) = placeholder(expr) else { return };
        if let ParameterValue::Text(text) = &parameter.value
            && let Ok(rows) = text.trim().parse::<u64>()
        {
            *expr = value(Value::Number(rows.to_string(), false), span);
        }
    }

    /// The items of `= ANY($1)`, and whether it is `<> ALL($1)`.
    fn list_of_any(&self, expr: &Expr) -> Option<(Vec<Expr>, bool)> {
        let (right, negated) = match expr {
            Expr::AnyOp { compare_op: ast::BinaryOperator::Eq, right, .. } => (right, false),
            Expr::AllOp { compare_op: ast::BinaryOperator::NotEq, right, .. } => (right, true),
            _ => return None,
        };
        let right = unwrapped(right);
        let parameter = self.parameter(right)?;
        let (_, span) = placeholder(right)?;
        match (&parameter.value, &parameter.data_type) {
            (ParameterValue::List(items), Some(DataType::List(item))) => {
                Some((items.iter().map(|text| item_literal(text.as_deref(), item, span)).collect(), negated))
            }
            _ => None,
        }
    }

    fn spell_any(&self, expr: &mut Expr, list: Vec<Expr>, negated: bool) -> ControlFlow<SqlError> {
        let (Expr::AnyOp { left, .. } | Expr::AllOp { left, .. }) = expr else {
            return ControlFlow::Continue(());
        };
        let left = std::mem::replace(left, Box::new(Expr::Value(Value::Null.into())));
        *expr = match list.is_empty() {
            true => Expr::Value(Value::Boolean(negated).into()),
            false => Expr::InList { expr: left, list, negated },
        };
        ControlFlow::Continue(())
    }
}

/// Without parentheses, and without a cast to an array.
fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unwrapped(inner),
        Expr::Cast { expr: inner, data_type: ast::DataType::Array(_), .. } => unwrapped(inner),
        other => other,
    }
}

fn value(value: Value, span: Span) -> Expr {
    Expr::Value(value.with_span(span))
}

/// What one would have typed.
fn literal(parameter: &Parameter, span: Span) -> Expr {
    match (&parameter.value, &parameter.data_type) {
        (ParameterValue::Null, None) => value(Value::Null, span),
        (ParameterValue::Null, Some(data_type)) => cast(value(Value::Null, span), data_type),
        (ParameterValue::Text(text), None) => value(Value::SingleQuotedString(text.clone()), span),
        (ParameterValue::Text(text), Some(data_type)) => item_literal(Some(text), data_type, span),
        (ParameterValue::List(items), data_type) => {
            let item = match data_type {
                Some(DataType::List(item)) => item.as_ref(),
                _ => &DataType::Text,
            };
            let elem = items.iter().map(|text| item_literal(text.as_deref(), item, span)).collect();
            let list = Expr::Array(ast::Array { elem, named: true });
            cast(list, &DataType::List(Box::new(item.clone())))
        }
    }
}

fn item_literal(text: Option<&str>, data_type: &DataType, span: Span) -> Expr {
    let Some(text) = text else { return cast(value(Value::Null, span), data_type) };
    match data_type {
        DataType::Text => value(Value::SingleQuotedString(text.to_owned()), span),
        DataType::Int64 => whole(text, span),
        _ => cast(value(Value::SingleQuotedString(text.to_owned()), span), data_type),
    }
}

/// A literal bigint where it can be: some places of the grammar take nothing else.
fn whole(text: &str, span: Span) -> Expr {
    match text.trim().parse::<i64>() {
        Ok(number @ 0..) => value(Value::Number(number.to_string(), false), span),
        Ok(number) if number > i64::MIN => {
            let expr = Box::new(value(Value::Number(number.unsigned_abs().to_string(), false), span));
            Expr::Nested(Box::new(Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr }))
        }
        _ => cast(value(Value::SingleQuotedString(text.to_owned()), span), &DataType::Int64),
    }
}

fn cast(expr: Expr, data_type: &DataType) -> Expr {
    let Some(data_type) = sql_type(data_type) else { return expr };
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

pub(super) fn sql_type(data_type: &DataType) -> Option<ast::DataType> {
    use ast::DataType as T;
    Some(match data_type {
        DataType::Bool => T::Boolean,
        DataType::Int16 => T::SmallInt(None),
        DataType::Int32 => T::Integer(None),
        DataType::Int64 => T::BigInt(None),
        DataType::Float32 => T::Real,
        DataType::Float64 => T::DoublePrecision,
        DataType::Decimal { precision, scale } => {
            T::Numeric(ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        DataType::Text => T::Text,
        DataType::Bytea => T::Bytea,
        DataType::Uuid => T::Uuid,
        DataType::Date => T::Date,
        DataType::Timestamp => T::Timestamp(None, ast::TimezoneInfo::Tz),
        DataType::Interval => T::Interval { fields: None, precision: None },
        DataType::List(item) => {
            T::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(sql_type(item)?), None))
        }
        _ => return None,
    })
}

/// NULL of a type, for planning without values.
pub(super) fn null(data_type: &DataType) -> Parameter {
    Parameter { data_type: Some(data_type.clone()), value: ParameterValue::Null }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{StatementKind, parse};

    fn query(sql: &str) -> Box<Query> {
        match parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).remove(0).kind {
            StatementKind::Query { query, .. } => query,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn bound(sql: &str, data_type: Option<DataType>, value: ParameterValue) -> String {
        let parameters = [Some(Parameter { data_type, value })];
        bind(&query(sql), &parameters, &Text::new(sql)).expect("binds").to_string()
    }

    fn text(text: &str) -> ParameterValue {
        ParameterValue::Text(text.to_owned())
    }

    #[test]
    fn values_become_literals() {
        let list =
            |items: &[&str]| ParameterValue::List(items.iter().map(|i| Some((*i).to_owned())).collect());
        let ints = Some(DataType::List(Box::new(DataType::Int64)));
        for (sql, data_type, value, expected) in [
            ("SELECT $1", None, text("it's"), "SELECT 'it''s'"),
            ("SELECT $1", Some(DataType::Int64), text("-5"), "SELECT (-5)"),
            ("SELECT $1", Some(DataType::Int16), text("5"), "SELECT CAST('5' AS SMALLINT)"),
            ("SELECT $1", Some(DataType::Date), ParameterValue::Null, "SELECT CAST(NULL AS DATE)"),
            ("SELECT 1 LIMIT $1", Some(DataType::Int16), text("3"), "SELECT 1 LIMIT 3"),
            ("SELECT a = ANY($1) FROM t", ints.clone(), list(&["1", "2"]), "SELECT a IN (1, 2) FROM t"),
            ("SELECT a = ANY($1::int8[]) FROM t", ints.clone(), list(&[]), "SELECT false FROM t"),
            ("SELECT a <> ALL($1) FROM t", ints.clone(), list(&["1"]), "SELECT a NOT IN (1) FROM t"),
            ("SELECT $1", ints, list(&["1"]), "SELECT CAST(ARRAY[1] AS BIGINT[])"),
        ] {
            assert_eq!(bound(sql, data_type, value), expected, "{sql}");
        }
    }

    #[test]
    fn parameters_are_counted_and_typed_by_casts() {
        let sql = "SELECT $2::date, $1 FROM t WHERE x = $3::int[] LIMIT $4";
        let query = query(sql);
        assert_eq!(count(&query, &Text::new(sql)), Ok(4));
        let types = written_types(&query);
        assert_eq!((types.get(&2), types.get(&4)), (Some(&DataType::Date), Some(&DataType::Int64)));
        assert_eq!(types.get(&3), Some(&DataType::List(Box::new(DataType::Int32))));
        let sql = "SELECT $0";
        let error = count(&self::query(sql), &Text::new(sql)).expect_err("no such parameter");
        assert_eq!((error.code, error.position), ("42P02", Some(8)));
    }
}
