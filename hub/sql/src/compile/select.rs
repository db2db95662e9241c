//! The defining SELECT: its shape, GROUP BY and the select list.
//!
//! Invariants: a select item is an SQL expression over key names and `$n` only; the time bucket is the first
//! key, so that TTL and time ranges are ranges of keys.

use super::aggregate::{self, Aggregate, Defaults};
use super::expr::Exprs;
use super::function::{check_known, check_volatile, function_name, refuse_syntax};
use crate::definition::{Output, SelectItem};
use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, Query, Select, SetExpr, TableFactor, Value as Literal, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use headwater::plan::{ExprId, Function, Op, StatePlan};
use headwater::value::DataType;
use std::ops::ControlFlow;

/// Most select items, group expressions and aggregate calls of a view.
const ITEMS_MAX: usize = 256;
const KEYS_MAX: usize = 32;

/// The parts of a view that its SELECT decides.
pub(super) struct Built {
    pub(super) filter: Option<ExprId>,
    pub(super) keys: Vec<Key>,
    pub(super) states: Vec<StatePlan>,
    pub(super) outputs: Vec<Output>,
    pub(super) select: Vec<SelectItem>,
}

/// One group expression.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: ExprId,
    pub(super) data_type: DataType,
    pub(super) name: String,
}

/// The first aggregate call in an expression, by name.
pub(super) fn find_aggregate(expr: &Expr) -> Option<ObjectName> {
    struct Find;
    impl Visitor for Find {
        type Break = ObjectName;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<ObjectName> {
            match expr {
                Expr::Function(f) if function_name(f).is_ok_and(|name| aggregate::is_aggregate(&name)) => {
                    ControlFlow::Break(f.name.clone())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Find).break_value()
}

/// The one plain SELECT of a definition.
pub(super) fn plain_select<'q>(text: &crate::text::Text, query: &'q Query) -> Result<&'q Select, SqlError> {
    let refuse = |what: &str, at| Err(SqlError::not_in_definition(what).at(at));
    let at = text.of(query);
    if let Some(with) = &query.with {
        return refuse("WITH", text.of_span(with.with_token.0.span));
    }
    if let Some(order) = &query.order_by {
        return refuse("ORDER BY", text.of(order));
    }
    if let Some(limit) = &query.limit_clause {
        return refuse("LIMIT or OFFSET", text.of(limit));
    }
    if query.fetch.is_some()
        || !query.locks.is_empty()
        || query.for_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        return refuse("FETCH, FOR or a pipe operator", at);
    }
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::Query(inner) => return plain_select(text, inner),
        SetExpr::SetOperation { op, .. } => return refuse(&op.to_string(), at),
        SetExpr::Values(_) => return refuse("VALUES", at),
        _ => return refuse("anything but SELECT", at),
    };
    match unwanted_clause(select) {
        Some((what, node)) => refuse(what, node.and_then(|e| text.of(e)).or(at)),
        None => Ok(select),
    }
}

fn unwanted_clause(select: &Select) -> Option<(&'static str, Option<&Expr>)> {
    let named = [
        (select.distinct.is_some(), "SELECT DISTINCT"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (
            !select.cluster_by.is_empty() || !select.distribute_by.is_empty() || !select.sort_by.is_empty(),
            "CLUSTER, DISTRIBUTE or SORT BY",
        ),
        (!select.named_window.is_empty(), "WINDOW"),
    ];
    let expr = [(&select.having, "HAVING"), (&select.qualify, "QUALIFY"), (&select.prewhere, "PREWHERE")];
    let expr = expr.into_iter().find_map(|(e, what)| e.as_ref().map(|e| (what, Some(e))));
    named.into_iter().find(|(is, _)| *is).map(|(_, what)| (what, None)).or(expr)
}

/// The stream a definition reads: name, alias and where it stands.
pub(super) fn source(text: &crate::text::Text, select: &Select) -> Result<(Ident, Option<Ident>), SqlError> {
    let refuse = |what: &str, at| Err(SqlError::not_in_definition(what).at(at));
    let at = text.of_span(select.select_token.0.span);
    let from = match select.from.as_slice() {
        [] => return Err(SqlError::new("42601", "a continuous view reads a stream: FROM is missing").at(at)),
        [from] => from,
        [_, second, ..] => return refuse("a join", text.of(&second.relation)),
    };
    if let Some(join) = from.joins.first() {
        return refuse("a join", text.of(&join.relation));
    }
    let at = text.of(&from.relation);
    match &from.relation {
        TableFactor::Table {
            name,
            alias,
            args: None,
            sample: None,
            with_ordinality: false,
            version: None,
            ..
        } => {
            let schema_ok = name.0.len() == 1
                || (name.0.len() == 2 && name.0[0].as_ident().is_some_and(|i| fold(i) == "public"));
            match name.0.last().and_then(|part| part.as_ident()) {
                Some(ident) if schema_ok && alias.as_ref().is_none_or(|a| a.columns.is_empty()) => {
                    Ok((ident.clone(), alias.as_ref().map(|a| a.name.clone())))
                }
                _ => refuse("this FROM clause", at),
            }
        }
        TableFactor::Derived { .. } => refuse("a subquery", at),
        _ => refuse("anything but a stream in FROM", at),
    }
}

/// Compiles WHERE, GROUP BY and the select list.
pub(super) fn build(
    exprs: &mut Exprs<'_>,
    select: &Select,
    defaults: Defaults,
    ttl_column: Option<&str>,
) -> Result<Built, SqlError> {
    let filter = select.selection.as_ref().map(|e| where_clause(exprs, e)).transpose()?;
    let items = named_items(exprs, select)?;
    let mut keys = group_by(exprs, select, &items)?;
    name_keys(exprs, &mut keys, &items);
    order_keys(exprs, &mut keys, ttl_column)?;
    let mut list =
        List { exprs, keys: &keys, defaults, states: Vec::new(), outputs: Vec::new(), derived: Vec::new() };
    let at = list.exprs.text.of_span(select.select_token.0.span);
    let mut select_items = Vec::new();
    for (expr, name) in &items {
        select_items.push(SelectItem {
            name: name.clone(),
            expr: list
                .item(expr)
                .map_err(|e| if keys.is_empty() { explain_plain(e, &items, at) } else { e })?,
        });
    }
    let (states, outputs) = (list.states, list.outputs);
    if keys.is_empty() && states.is_empty() {
        return Err(SqlError::unsupported("a continuous view without an aggregate or GROUP BY").at(at));
    }
    Ok(Built { filter, keys, states, outputs, select: select_items })
}

/// A SELECT without GROUP BY and aggregates is not a mistake in one column: it is another kind of view.
fn explain_plain(error: SqlError, items: &[(Expr, String)], at: Option<u32>) -> SqlError {
    if error.code != "42803" || items.iter().any(|(expr, _)| find_aggregate(expr).is_some()) {
        return error;
    }
    SqlError::unsupported("a continuous view without an aggregate or GROUP BY").at(at)
}

fn where_clause(exprs: &mut Exprs<'_>, expr: &Expr) -> Result<ExprId, SqlError> {
    if let Some(name) = find_aggregate(expr) {
        return Err(
            SqlError::new("42803", "aggregate functions are not allowed in WHERE").at(exprs.text.of(&name))
        );
    }
    exprs.boolean(expr, "WHERE")
}

/// The select list with a unique name for each item.
fn named_items(exprs: &Exprs<'_>, select: &Select) -> Result<Vec<(Expr, String)>, SqlError> {
    let mut items: Vec<(Expr, String)> = Vec::new();
    for item in &select.projection {
        let (expr, name) = match item {
            ast::SelectItem::UnnamedExpr(expr) => (expr, item_name(expr)),
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
            _ => {
                let at = exprs.text.of(item).or_else(|| exprs.text.of_span(select.select_token.0.span));
                return Err(SqlError::not_in_definition("*").at(at));
            }
        };
        if items.iter().any(|(_, before)| *before == name) {
            let message = format!("column \"{name}\" appears twice in the select list");
            return Err(SqlError::new("42701", message)
                .at(exprs.text.of(expr))
                .with_hint("name one of them with AS"));
        }
        items.push((expr.clone(), name));
    }
    if items.len() > ITEMS_MAX {
        return Err(SqlError::new("54011", format!("a view has at most {ITEMS_MAX} columns")));
    }
    Ok(items)
}

/// PostgreSQL's name for a column without AS.
pub(crate) fn item_name(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) => item_name(inner),
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(path) => path.last().map_or_else(String::new, fold),
        Expr::Function(f) => function_name(f).unwrap_or_else(|_| "function".into()),
        Expr::Case { .. } => "case".into(),
        Expr::Cast { expr, .. } => item_name(expr),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        _ => "?column?".into(),
    }
}

fn group_by(exprs: &mut Exprs<'_>, select: &Select, items: &[(Expr, String)]) -> Result<Vec<Key>, SqlError> {
    let refuse = |what: &str| Err(SqlError::not_in_definition(what));
    let list = match &select.group_by {
        ast::GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => list,
        ast::GroupByExpr::Expressions(..) => return refuse("GROUP BY ... WITH"),
        ast::GroupByExpr::All(_) => return refuse("GROUP BY ALL"),
    };
    let mut keys: Vec<Key> = Vec::new();
    for written in list {
        let at = exprs.text.of(written);
        let expr = group_expr(exprs, written, items).map_err(|e| e.at(at))?;
        if let Some(name) = find_aggregate(expr) {
            return Err(SqlError::new("42803", "aggregate functions are not allowed in GROUP BY")
                .at(exprs.text.of(&name).or(at)));
        }
        let (id, data_type) = exprs.any(expr)?;
        if keys.iter().all(|k| k.id != id) {
            let name = match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => item_name(expr),
                _ => String::new(),
            };
            keys.push(Key { id, data_type, name });
        }
    }
    if keys.len() > KEYS_MAX {
        return Err(SqlError::new("54011", format!("a view has at most {KEYS_MAX} group expressions")));
    }
    Ok(keys)
}

/// A group expression: an ordinal, a column, an alias or the expression itself. As in PostgreSQL, a column of the
/// stream wins over an alias.
fn group_expr<'e>(
    exprs: &Exprs<'_>,
    written: &'e Expr,
    items: &'e [(Expr, String)],
) -> Result<&'e Expr, SqlError> {
    match written {
        Expr::Nested(inner) => group_expr(exprs, inner, items),
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, _) => {
                let ordinal = digits.parse::<usize>().ok().and_then(|n| items.get(n.checked_sub(1)?));
                let message = format!("GROUP BY position {digits} is not in the select list");
                ordinal.map(|(expr, _)| expr).ok_or_else(|| SqlError::new("42P10", message))
            }
            _ => Err(SqlError::new("42601", "non-integer constant in GROUP BY")),
        },
        Expr::Identifier(ident) if exprs.stream.column(&fold(ident)).is_none() => {
            let name = fold(ident);
            Ok(items.iter().find(|(_, alias)| *alias == name).map_or(written, |(expr, _)| expr))
        }
        other => Ok(other),
    }
}

/// Names keys after the select items that show them; others keep their column's name, or get one.
fn name_keys(exprs: &Exprs<'_>, keys: &mut [Key], items: &[(Expr, String)]) {
    let mut taken: Vec<String> = Vec::new();
    for (at, key) in keys.iter_mut().enumerate() {
        let shown =
            items.iter().find(|(expr, _)| key_of(exprs, expr) == Some(key.id)).map(|(_, name)| name.clone());
        let base = shown
            .unwrap_or_else(|| if key.name.is_empty() { format!("key{}", at + 1) } else { key.name.clone() });
        let base = if base.starts_with('$') { format!("_{base}") } else { base };
        let mut name = base.clone();
        let mut n = 2;
        while taken.contains(&name) {
            name = format!("{base}_{n}");
            n += 1;
        }
        taken.push(name.clone());
        key.name = name;
    }
}

/// The node an expression compiles to, if it compiles; the plan is not touched.
fn key_of(exprs: &Exprs<'_>, expr: &Expr) -> Option<ExprId> {
    let mut scratch = exprs.clone();
    scratch.any(expr).ok().map(|(id, _)| id)
}

fn order_keys(exprs: &Exprs<'_>, keys: &mut [Key], ttl_column: Option<&str>) -> Result<(), SqlError> {
    let bucket = |op: &Op| matches!(op, Op::Call(Function::DateTrunc | Function::TimeBucket, _));
    let arrival = exprs.stream.fields.len();
    let is_bucket = |key: &Key| {
        let reads_time =
            exprs.nodes.any(key.id, &|op| matches!(op, Op::Column(c) if usize::from(*c) == arrival));
        reads_time && key.data_type == DataType::Timestamp && (bucket(exprs.nodes.op(key.id)))
    };
    let time = match ttl_column {
        Some(name) => Some(ttl_key(keys, name)?),
        None => keys.iter().position(is_bucket),
    };
    if let Some(at) = time {
        keys[..=at].rotate_right(1);
    }
    Ok(())
}

fn ttl_key(keys: &[Key], name: &str) -> Result<usize, SqlError> {
    let hint = "ttl_column names a column of the select list that GROUP BY groups by, such as a date_trunc";
    let at = keys.iter().position(|k| k.name == name);
    let at = at.ok_or_else(|| {
        SqlError::new("42703", format!("ttl_column \"{name}\" is not a group key")).with_hint(hint)
    })?;
    match keys[at].data_type {
        DataType::Timestamp | DataType::Date => Ok(at),
        _ => Err(SqlError::new("42804", format!("ttl_column \"{name}\" must be timestamptz or date"))
            .with_hint(hint)),
    }
}

/// The select list under compilation.
struct List<'l, 'e> {
    exprs: &'l mut Exprs<'e>,
    keys: &'l [Key],
    defaults: Defaults,
    states: Vec<StatePlan>,
    outputs: Vec<Output>,
    /// SQL over outputs that stands for a call; in an item, first, a name stands for it.
    derived: Vec<Expr>,
}

/// What the names of [`List::derived`] begin with: no key and no output has such a name.
const DERIVED: &str = "$$";

impl List<'_, '_> {
    /// The item over keys and outputs, as SQL.
    fn item(&mut self, expr: &Expr) -> Result<String, SqlError> {
        let mut expr = expr.clone();
        if let ControlFlow::Break(error) = VisitMut::visit(&mut expr, self) {
            return Err(error);
        }
        let _ = VisitMut::visit(&mut expr, &mut PutDerived(&self.derived));
        Ok(expr.to_string())
    }

    /// A call that is no aggregate but made of some.
    fn hypothetical(&mut self, f: &ast::Function, name: &str) -> Result<String, SqlError> {
        let derived = aggregate::hypothetical::compile(self.exprs, f, name)?;
        let mut sql = derived.sql.to_owned();
        for (at, aggregate) in derived.aggregates.into_iter().enumerate() {
            let output = self.output(aggregate)?;
            sql = sql.replace(&format!("{{{at}}}"), &format!("\"{output}\""));
        }
        let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).and_then(|mut p| p.parse_expr());
        self.derived.push(parsed.map_err(|e| SqlError::new("XX000", e.to_string()))?);
        Ok(format!("{DERIVED}{}", self.derived.len() - 1))
    }

    fn output(&mut self, aggregate: Aggregate) -> Result<String, SqlError> {
        let state = match self.states.iter().position(|s| *s == aggregate.state) {
            Some(at) => at,
            None => {
                self.states.push(aggregate.state);
                self.states.len() - 1
            }
        } as u16;
        if let Some(same) = self.outputs.iter().find(|o| o.state == state && o.finisher == aggregate.finisher)
        {
            return Ok(same.name.clone());
        }
        if self.outputs.len() >= ITEMS_MAX {
            return Err(SqlError::new("54011", format!("a view has at most {ITEMS_MAX} aggregates")));
        }
        let name = format!("${}", self.outputs.len());
        self.outputs.push(Output {
            name: name.clone(),
            state,
            finisher: aggregate.finisher,
            data_type: aggregate.data_type,
        });
        Ok(name)
    }

    /// The key or output that stands for this expression; `None` when its parts have to be looked at.
    fn replacement(&mut self, expr: &Expr) -> Result<Option<String>, SqlError> {
        if let Expr::Function(f) = expr {
            let at = self.exprs.text.of(&f.name);
            let name = function_name(f).map_err(|e| e.at(at))?;
            check_volatile(&name).map_err(|e| e.at(at))?;
            if f.over.is_none() && aggregate::hypothetical::NAMES.contains(&name.as_str()) {
                return self.hypothetical(f, &name).map(Some);
            }
            if aggregate::is_aggregate(&name) {
                let aggregate = aggregate::compile(self.exprs, f, &name, self.defaults)?;
                return self.output(aggregate).map(Some);
            }
        }
        if find_aggregate(expr).is_some() {
            return Ok(None);
        }
        match key_of(self.exprs, expr).and_then(|id| self.keys.iter().find(|k| k.id == id)) {
            Some(key) => Ok(Some(key.name.clone())),
            None => self.check_leaf(expr).map(|()| None),
        }
    }

    /// What is neither key nor aggregate must be a constant or an expression over them.
    fn check_leaf(&mut self, expr: &Expr) -> Result<(), SqlError> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                self.exprs.any(expr)?;
                let name = item_name(expr);
                let message = format!(
                    "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
                );
                Err(SqlError::new("42803", message).at(self.exprs.text.of(expr)))
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                Err(refuse_syntax(expr).at(self.exprs.text.of(expr)))
            }
            Expr::Function(f) if f.over.is_some() => self.exprs.function(f).map(|_| ()),
            Expr::Function(f) => {
                check_known(&function_name(f)?).map_err(|e| e.at(self.exprs.text.of(&f.name)))
            }
            _ => Ok(()),
        }
    }
}

/// Puts expressions over outputs where their names stand.
struct PutDerived<'d>(&'d [Expr]);

impl VisitorMut for PutDerived<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(derived) =
                ident.value.strip_prefix(DERIVED).and_then(|at| self.0.get(at.parse::<usize>().ok()?))
        {
            *expr = derived.clone();
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for List<'_, '_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.replacement(expr) {
            Ok(Some(name)) => {
                *expr = Expr::Identifier(Ident::with_quote('"', name));
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
