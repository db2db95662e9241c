//! Spellings of PostgreSQL's catalog queries, as DataFusion takes them.
//!
//! - Types that are numbers or names (`oid`, `regclass`, `name`, `"char"`) become bigint and text; a cast of a text
//!   to `regclass` looks the number up, one of a number shows the name.
//! - `OPERATOR(pg_catalog.~)` is `~`, `COLLATE pg_catalog.default` is nothing.
//! - `= ANY('{a,b}')` and `'{a,b}'::text[]` are lists; LIKE has the backslash for its ESCAPE.
//! - A scalar subquery over one table of the catalog, by its key, is its `min`: DataFusion takes correlated ones only so.
//! - A SELECT that joins a table which is always empty answers nothing: it is replaced by one that does so, and what
//!   else is in it (correlated subqueries, functions of PostgreSQL) need not be understood.

use super::{FULL, empty};
use crate::engine::arrays::array_items;
use crate::text::{Text, fold, fold_name};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};
use headwater::value::DataType;
use std::ops::ControlFlow;

pub(super) const TO_REGCLASS: &str = "to_regclass";
pub(super) const REGCLASS_NAME: &str = "pg_regclass_name";
pub(super) const TO_REGTYPE: &str = "to_regtype";
pub(super) const TO_REGNAMESPACE: &str = "to_regnamespace";
pub(super) const REGNAMESPACE_NAME: &str = "pg_regnamespace_name";

/// Changes the query in place.
pub(in crate::engine) fn spell(query: &mut Query, text: &Text) {
    // Nothing of this is in most texts.
    let lower = text.as_str().to_lowercase();
    if ["pg_", "information_schema", "reg", "::", "cast", "operator", "collate", "any", "all", "escape"]
        .iter()
        .any(|w| lower.contains(w))
    {
        let _ = VisitMut::visit(query, &mut Speller);
    }
}

struct Speller;

impl VisitorMut for Speller {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if empty_body(&mut query.body) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let ast::FunctionArguments::Subquery(query) = &mut function.args
            && fold_name(&function.name) == ["array"]
            && empty_body(&mut query.body)
        {
            *expr = empty_array();
        }
        if let Expr::Subquery(query) = expr {
            match is_empty_query(query) {
                true => *expr = null_of(query),
                false => scalar(query),
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { .. } => cast(expr),
            Expr::Collate { expr: inner, collation } if is_default(collation) => {
                let inner = std::mem::replace(inner.as_mut(), null());
                *expr = inner;
            }
            Expr::BinaryOp { op, .. } => operator(op),
            Expr::AnyOp { compare_op: BinaryOperator::Eq, .. }
            | Expr::AllOp { compare_op: BinaryOperator::NotEq, .. } => any(expr),
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                escape(pattern, escape_char);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn as_text(expr: Expr) -> Expr {
    cast_to(expr, ast::DataType::Text)
}

fn cast_to(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A string literal, with or without a cast to text.
fn literal(expr: &mut Expr) -> Option<&mut String> {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        Expr::Nested(inner) => literal(inner),
        Expr::Cast { expr, data_type: ast::DataType::Text | ast::DataType::Varchar(_), .. } => literal(expr),
        _ => None,
    }
}

/// The items of a literal array, cast to the array's type where it has one.
fn items(expr: &mut Expr) -> Option<Vec<Expr>> {
    let (inner, item) = match expr {
        Expr::Nested(inner) => return items(inner),
        Expr::Cast {
            expr,
            data_type: ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)),
            ..
        } => (expr.as_mut(), Some(item.as_ref().clone())),
        other => (other, None),
    };
    let texts = array_items(literal(inner)?)?;
    let item = |text: Option<String>| {
        let value = text.map_or(Value::Null, Value::SingleQuotedString);
        let value = Expr::Value(value.into());
        match &item {
            Some(item) => cast_to(value, item.clone()),
            None => value,
        }
    };
    Some(texts.into_iter().map(item).collect())
}

/// `= ANY('{a,b}')` is IN, `<> ALL('{a,b}')` is NOT IN.
fn any(expr: &mut Expr) {
    let negated = matches!(expr, Expr::AllOp { .. });
    let (Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }) = expr else { return };
    let Some(list) = items(right) else { return };
    let left = std::mem::replace(left, Box::new(null()));
    *expr = match list.is_empty() {
        true => Expr::Value(Value::Boolean(negated).into()),
        false => Expr::InList { expr: left, list, negated },
    };
}

/// The pattern with the backslash in place of another character; a pattern that is no literal stays.
fn escape(pattern: &mut Expr, escape_char: &mut Option<ast::ValueWithSpan>) {
    let Some(ast::ValueWithSpan { value: Value::SingleQuotedString(escape), .. }) = escape_char else {
        return;
    };
    let mut chars = escape.chars();
    let (Some(escape), None) = (chars.next(), chars.next()) else { return };
    if escape != '\\' && with_backslash(pattern, escape) {
        *escape_char = None;
    }
}

fn with_backslash(pattern: &mut Expr, escape: char) -> bool {
    if let Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } = pattern {
        return literal(left).is_some()
            && literal(right).is_some()
            && with_backslash(left, escape)
            && with_backslash(right, escape);
    }
    let Some(text) = literal(pattern) else { return false };
    let spelt = text.chars().map(|c| match c {
        c if c == escape => "\\".to_owned(),
        '\\' => "\\\\".to_owned(),
        c => c.to_string(),
    });
    *text = spelt.collect();
    true
}

/// `(SELECT item FROM pg_type WHERE ...)`
fn scalar(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let is_catalogs = match select.from.as_slice() {
        [from] if from.joins.is_empty() => catalog_table(&from.relation)
            .is_some_and(|(schema, name)| FULL.iter().any(|entry| entry.0 == schema && entry.1 == name)),
        _ => false,
    };
    let is_plain = query.limit_clause.is_none() && query.with.is_none() && !is_grouped(select);
    let [item] = select.projection.as_mut_slice() else { return };
    if !is_catalogs || !is_plain || aggregates(item) {
        return;
    }
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        *expr = call("min", std::mem::replace(expr, null()));
    }
}

/// `ARRAY(SELECT ...)` of nothing.
fn empty_array() -> Expr {
    let item = Box::new(ast::DataType::Text);
    let none = Expr::Array(ast::Array { elem: Vec::new(), named: true });
    cast_to(none, ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, None)))
}

fn is_default(collation: &ast::ObjectName) -> bool {
    fold_name(collation).last().is_some_and(|name| ["default", "C", "c"].contains(&name.as_str()))
}

/// `OPERATOR(pg_catalog.~)`
fn operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return };
    *op = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        _ => return,
    };
}

/// What a type of the catalog is here.
enum As {
    /// This type.
    Type(ast::DataType),
    /// A number by name, and a name by number.
    Lookup(&'static str, &'static str),
}

fn known(data_type: &ast::DataType) -> Option<As> {
    let name = match data_type {
        ast::DataType::Custom(name, _) => fold_name(name).pop()?,
        ast::DataType::Regclass => "regclass".to_owned(),
        ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, size)) => {
            let Some(As::Type(item)) = known(item) else { return None };
            return Some(As::Type(ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(
                Box::new(item),
                *size,
            ))));
        }
        _ => return None,
    };
    Some(match name.as_str() {
        "oid" | "xid" | "cid" | "int8" | "cardinal_number" => As::Type(ast::DataType::BigInt(None)),
        "int4" => As::Type(ast::DataType::Integer(None)),
        "int2" => As::Type(ast::DataType::SmallInt(None)),
        "bool" => As::Type(ast::DataType::Boolean),
        "name" | "char" | "text" | "varchar" | "bpchar" | "regproc" | "regprocedure" | "regrole"
        | "sql_identifier" | "character_data" | "yes_or_no" => As::Type(ast::DataType::Text),
        "regclass" => As::Lookup(TO_REGCLASS, REGCLASS_NAME),
        "regtype" => As::Lookup(TO_REGTYPE, "format_type"),
        "regnamespace" => As::Lookup(TO_REGNAMESPACE, REGNAMESPACE_NAME),
        _ => return None,
    })
}

fn cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    match known(data_type) {
        Some(As::Type(known)) => {
            *data_type = known;
            cast_array(expr);
        }
        Some(As::Lookup(by_name, by_number)) => {
            let is_text = matches!(
                inner.as_ref(),
                Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(_), .. })
            );
            let inner = std::mem::replace(inner.as_mut(), null());
            *expr = call(if is_text { by_name } else { by_number }, inner);
        }
        None => cast_array(expr),
    }
}

/// `'{a,b}'::text[]`
fn cast_array(expr: &mut Expr) {
    if let Expr::Cast { expr: inner, data_type: ast::DataType::Array(_), .. } = expr
        && literal(inner).is_some()
        && let Some(elem) = items(expr)
        && let Expr::Cast { expr: inner, .. } = expr
    {
        **inner = Expr::Array(ast::Array { elem, named: true });
    }
}

fn call(name: &str, argument: Expr) -> Expr {
    let argument = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument));
    Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Replaces SELECTs that answer nothing; true when that is all of them.
fn empty_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => empty_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (empty_body(left), empty_body(right));
            left && right
        }
        _ => false,
    }
}

fn empty_select(select: &mut Select) -> bool {
    let names: Option<Vec<SelectItem>> = select.projection.iter().map(nothing).collect();
    let Some(names) = names.filter(|_| answers_nothing(select)) else { return false };
    select.projection = names;
    select.from = Vec::new();
    select.selection = Some(Expr::Value(Value::Boolean(false).into()));
    select.group_by = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.distinct = None;
    true
}

fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty())
}

fn answers_nothing(select: &Select) -> bool {
    joins_empty(select) && (is_grouped(select) || !select.projection.iter().any(aggregates))
}

/// The same for a subquery, whatever its columns are called.
fn is_empty_query(query: &Query) -> bool {
    fn is_empty_body(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => answers_nothing(select),
            SetExpr::Query(query) => is_empty_query(query),
            SetExpr::SetOperation { left, right, .. } => is_empty_body(left) && is_empty_body(right),
            _ => false,
        }
    }
    is_empty_body(&query.body)
}

/// NULL under the item's name; `None` for `*`.
fn nothing(item: &SelectItem) -> Option<SelectItem> {
    let (expr, alias) = match item {
        SelectItem::UnnamedExpr(expr) => (expr, ast::Ident::with_quote('"', crate::compile::item_name(expr))),
        SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
        _ => return None,
    };
    Some(SelectItem::ExprWithAlias { expr: null_like(expr), alias })
}

/// NULL of the type of a catalog's column, which may be compared; of everything else as text.
fn null_like(expr: &Expr) -> Expr {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    let data_type = match name.and_then(|name| super::column_type(&crate::text::fold(name))) {
        Some(DataType::Int64) => ast::DataType::BigInt(None),
        Some(DataType::Int32) => ast::DataType::Int(None),
        Some(DataType::Int16) => ast::DataType::SmallInt(None),
        Some(DataType::Bool) => ast::DataType::Boolean,
        _ => ast::DataType::Text,
    };
    cast_to(null(), data_type)
}

/// What a subquery without rows is, as a value.
fn null_of(query: &Query) -> Expr {
    let SetExpr::Select(select) = query.body.as_ref() else { return as_text(null()) };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => null_like(expr),
        _ => as_text(null()),
    }
}

/// One row comes of no rows.
fn aggregates(item: &SelectItem) -> bool {
    const AGGREGATES: [&str; 10] =
        ["count", "sum", "min", "max", "avg", "string_agg", "array_agg", "bool_or", "bool_and", "json_agg"];
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return true };
    let found = ast::visit_expressions(expr, |expr| match expr {
        Expr::Function(function)
            if fold_name(&function.name).last().is_some_and(|name| AGGREGATES.contains(&name.as_str())) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// True when a table of the FROM list that every row needs is empty.
fn joins_empty(select: &Select) -> bool {
    use ast::JoinOperator as J;
    select.from.iter().any(|from| {
        let right = from.joins.iter().any(|join| {
            let is_inner = matches!(join.join_operator, J::Join(_) | J::Inner(_) | J::CrossJoin(_));
            is_inner && is_empty(&join.relation)
        });
        let keeps_right = from
            .joins
            .iter()
            .any(|join| matches!(join.join_operator, J::Right(_) | J::RightOuter(_) | J::FullOuter(_)));
        !keeps_right && (right || is_empty(&from.relation))
    })
}

/// Columns of the catalog that are always NULL: `unnest` of them has no rows.
const NULLS: [&str; 12] = [
    "attacl",
    "attfdwoptions",
    "attoptions",
    "datacl",
    "fdwoptions",
    "ftoptions",
    "nspacl",
    "proacl",
    "proconfig",
    "relacl",
    "reloptions",
    "srvoptions",
];

fn is_empty(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { subquery, .. } => is_empty_query(subquery),
        TableFactor::Table { name, args: Some(args), .. } => {
            let takes_array = ["unnest", "pg_options_to_table"];
            let is_unnest = fold_name(name).last().is_some_and(|name| takes_array.contains(&name.as_str()));
            is_unnest && matches!(args.args.as_slice(), [argument] if is_null_column(argument))
        }
        _ => catalog_table(factor).is_some_and(|(schema, name)| empty::is_empty(&schema, &name)),
    }
}

fn is_null_column(argument: &ast::FunctionArg) -> bool {
    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument else { return false };
    let last = match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    last.is_some_and(|ident| NULLS.contains(&fold(ident).as_str()))
}

/// Schema and name of a table that may be the catalog's.
fn catalog_table(factor: &TableFactor) -> Option<(String, String)> {
    let TableFactor::Table { name, args: None, .. } = factor else { return None };
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(fold)).collect();
    match parts.as_slice() {
        [name] if name.starts_with("pg_") => Some(("pg_catalog".to_owned(), name.clone())),
        [schema, name] => Some((schema.clone(), name.clone())),
        _ => None,
    }
}
