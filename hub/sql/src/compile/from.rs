//! FROM of a definition: one stream, or subselects that only choose, compute and filter its columns.
//!
//! Owns: the one plain SELECT, the stream it reads, the layers between them. A subselect leaves nothing behind but
//! names for expressions over the stream, and its WHERE in the view's filter: producers never know of it.

use super::expr::{Exprs, Layer};
use super::output::{self, Relation};
use super::select::{find_aggregate, item_name};
use crate::error::SqlError;
use crate::parse::Name;
use crate::source::CatalogSnapshot;
use crate::text::{Text, fold};
use datafusion::sql::sqlparser::ast::{
    self, Distinct, Expr, Ident, OrderBy, Query, Select, SetExpr, TableAlias, TableFactor,
};
use headwater::ids::ViewId;
use headwater::plan::{BinaryOp, ExprId, Op};
use headwater::value::DataType;

/// The one SELECT of a definition, and what is around it.
pub(super) struct Plain<'q> {
    pub(super) select: &'q Select,
    pub(super) order_by: Option<&'q OrderBy>,
    pub(super) distinct: bool,
}

/// The one plain SELECT of a definition.
pub(super) fn plain_select<'q>(text: &Text, query: &'q Query) -> Result<Plain<'q>, SqlError> {
    let refuse = |what: &str, at| Err(SqlError::not_in_definition(what).at(at));
    let at = text.of(query);
    if let Some(with) = &query.with {
        return refuse("WITH", text.of_span(with.with_token.0.span));
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
        SetExpr::Query(inner) => return around(text, query, inner),
        SetExpr::SetOperation { op, .. } => return refuse(&op.to_string(), at),
        SetExpr::Values(_) => return refuse("VALUES", at),
        _ => return refuse("anything but SELECT", at),
    };
    if let Some((what, node)) = unwanted_clause(select) {
        return refuse(what, node.and_then(|e| text.of(e)).or(at));
    }
    let distinct = matches!(select.distinct, Some(Distinct::Distinct));
    Ok(Plain { select, order_by: query.order_by.as_ref(), distinct })
}

/// `(SELECT ...) ORDER BY ...`
fn around<'q>(text: &Text, query: &'q Query, inner: &'q Query) -> Result<Plain<'q>, SqlError> {
    let plain = plain_select(text, inner)?;
    match &query.order_by {
        Some(order) if plain.order_by.is_some() => {
            Err(SqlError::not_in_definition("ORDER BY twice").at(text.of(order)))
        }
        order => Ok(Plain { order_by: order.as_ref().or(plain.order_by), ..plain }),
    }
}

fn unwanted_clause(select: &Select) -> Option<(&'static str, Option<&Expr>)> {
    let named = [
        (matches!(select.distinct, Some(Distinct::On(_))), "SELECT DISTINCT ON"),
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
    let expr = [(&select.qualify, "QUALIFY"), (&select.prewhere, "PREWHERE")];
    let expr = expr.into_iter().find_map(|(e, what)| e.as_ref().map(|e| (what, Some(e))));
    named.into_iter().find(|(is, _)| *is).map(|(_, what)| (what, None)).or(expr)
}

/// What a SELECT reads: the columns it can name, and the conditions of the subselects below it.
pub(super) struct From<'c> {
    pub(super) exprs: Exprs<'c>,
    pub(super) filter: Option<ExprId>,
    /// Transforms that are written out in what is read.
    pub(super) through: Vec<ViewId>,
}

impl From<'_> {
    /// Another condition that events have to meet.
    pub(super) fn require(&mut self, condition: ExprId) -> Result<(), SqlError> {
        self.filter = Some(match self.filter {
            None => condition,
            Some(before) => {
                self.exprs.nodes.push(Op::Binary(BinaryOp::And, before, condition), DataType::Bool)?
            }
        });
        Ok(())
    }

    /// WHERE.
    pub(super) fn require_where(&mut self, expr: &Expr) -> Result<(), SqlError> {
        if let Some(name) = find_aggregate(expr) {
            return Err(SqlError::new("42803", "aggregate functions are not allowed in WHERE")
                .at(self.exprs.text.of(&name)));
        }
        let condition = self.exprs.boolean(expr, "WHERE")?;
        self.require(condition)
    }
}

/// Why, and what to do instead.
const JOIN_WHEN_READ: &str = "producers evaluate a view's definition, and they do not have the hub's tables: join the view \
                              with the table when you read it";

fn joined(text: &Text, relation: &TableFactor) -> SqlError {
    SqlError::not_in_definition("a join").at(text.of(relation)).with_hint(JOIN_WHEN_READ)
}

/// Opens what a SELECT reads.
pub(super) fn open<'c>(
    text: &'c Text,
    select: &Select,
    catalog: &'c CatalogSnapshot,
) -> Result<From<'c>, SqlError> {
    let refuse = |what: &str, at| Err(SqlError::not_in_definition(what).at(at));
    let at = text.of_span(select.select_token.0.span);
    let from = match select.from.as_slice() {
        [] => return Err(SqlError::new("42601", "a continuous view reads a stream: FROM is missing").at(at)),
        [from] => from,
        [_, second, ..] => return Err(joined(text, &second.relation)),
    };
    if let Some(join) = from.joins.first() {
        return Err(joined(text, &join.relation));
    }
    let at = text.of(&from.relation);
    match &from.relation {
        TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
            subselect(text, subquery, alias.as_ref(), catalog)
        }
        TableFactor::Derived { .. } => refuse("LATERAL or TABLESAMPLE", at),
        relation if let Some(named) = output::named(text, relation) => output::open(text, named?, catalog),
        relation => {
            let (ident, alias) = stream_name(text, relation)?;
            open_stream(text, &ident, alias.as_ref(), catalog)
        }
    }
}

/// The stream a definition reads: name and alias.
fn stream_name(text: &Text, relation: &TableFactor) -> Result<(Ident, Option<Ident>), SqlError> {
    let refuse = |what: &str| Err(SqlError::not_in_definition(what).at(text.of(relation)));
    let TableFactor::Table {
        name,
        alias,
        args: None,
        sample: None,
        with_ordinality: false,
        version: None,
        ..
    } = relation
    else {
        return refuse("anything but a stream in FROM");
    };
    let schema_ok =
        name.0.len() == 1 || (name.0.len() == 2 && name.0[0].as_ident().is_some_and(|i| fold(i) == "public"));
    match name.0.last().and_then(|part| part.as_ident()) {
        Some(ident) if schema_ok && alias.as_ref().is_none_or(|a| a.columns.is_empty()) => {
            Ok((ident.clone(), alias.as_ref().map(|a| a.name.clone())))
        }
        _ => refuse("this FROM clause"),
    }
}

fn open_stream<'c>(
    text: &'c Text,
    ident: &Ident,
    alias: Option<&Ident>,
    catalog: &'c CatalogSnapshot,
) -> Result<From<'c>, SqlError> {
    let name = Name { name: fold(ident), position: text.of_ident(ident) };
    let Some(stream) = catalog.stream(&name.name) else {
        if catalog.transform(&name.name).is_some() {
            let error = SqlError::unsupported("a continuous transform in FROM");
            return Err(error.at(name.position).with_hint(format!("output_of('{}')", name.name)));
        }
        if catalog.view(&name.name).is_some() {
            let error = SqlError::unsupported("a continuous view over a continuous view");
            let hint = format!(
                "read a stream, query the view, or read what changes in it: output_of('{}')",
                name.name
            );
            return Err(error.at(name.position).with_hint(hint));
        }
        if catalog.table(&name.name).is_some() {
            let error = SqlError::not_in_definition("a table").at(name.position);
            return Err(error.with_hint(JOIN_WHEN_READ));
        }
        return Err(super::missing_stream(&name, catalog));
    };
    let qualifier = alias.map_or(name.name, fold);
    let exprs = Exprs {
        text,
        stream: Relation::Stream(&stream.schema),
        qualifier,
        layer: None,
        nodes: Default::default(),
    };
    Ok(From { exprs, filter: None, through: Vec::new() })
}

fn subselect<'c>(
    text: &'c Text,
    query: &Query,
    alias: Option<&TableAlias>,
    catalog: &'c CatalogSnapshot,
) -> Result<From<'c>, SqlError> {
    let plain = plain_select(text, query)?;
    let select = plain.select;
    let at = text.of_span(select.select_token.0.span);
    let is_grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(list, modifiers) => !list.is_empty() || !modifiers.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    let unwanted = [
        (plain.distinct, "DISTINCT"),
        (is_grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (plain.order_by.is_some(), "ORDER BY"),
    ];
    if let Some((_, what)) = unwanted.into_iter().find(|(is, _)| *is) {
        return Err(not_plain(what).at(at));
    }
    let mut from = open(text, select, catalog)?;
    if let Some(condition) = &select.selection {
        from.require_where(condition)?;
    }
    let mut columns = Vec::new();
    for item in &select.projection {
        item_columns(&mut from.exprs, item, &mut columns).map_err(|e| e.at(text.of(item).or(at)))?;
    }
    let names = alias.map_or(&[][..], |alias| &alias.columns);
    if names.len() > columns.len() {
        let message = format!("the subselect has {} columns, and {} names", columns.len(), names.len());
        return Err(SqlError::new("42P10", message).at(at));
    }
    columns.iter_mut().zip(names).for_each(|(column, name)| column.0 = fold(&name.name));
    from.exprs.layer = Some(Layer(columns));
    from.exprs.qualifier = alias.map_or_else(String::new, |alias| fold(&alias.name));
    Ok(from)
}

fn not_plain(what: &str) -> SqlError {
    SqlError::not_in_definition(format!("{what} in a subselect"))
        .with_hint("a subselect in FROM may choose, compute and filter columns of one stream")
}

/// The columns that one item of a subselect's list makes.
pub(super) fn item_columns(
    exprs: &mut Exprs<'_>,
    item: &ast::SelectItem,
    columns: &mut Vec<(String, ExprId, DataType)>,
) -> Result<(), SqlError> {
    let (expr, name) = match item {
        ast::SelectItem::UnnamedExpr(expr) => (expr, item_name(expr)),
        ast::SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
        ast::SelectItem::Wildcard(options) if *options == ast::WildcardAdditionalOptions::default() => {
            return all_columns(exprs, columns);
        }
        ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _)
            if name.0.len() == 1 && name.0[0].as_ident().map(fold).as_ref() == Some(&exprs.qualifier) =>
        {
            return all_columns(exprs, columns);
        }
        _ => return Err(SqlError::not_in_definition("this *")),
    };
    if let Some(name) = find_aggregate(expr) {
        return Err(not_plain("an aggregate").at(exprs.text.of(&name)));
    }
    let (id, data_type) = exprs.any(expr)?;
    columns.push((name, id, data_type));
    Ok(())
}

fn all_columns(exprs: &mut Exprs<'_>, columns: &mut Vec<(String, ExprId, DataType)>) -> Result<(), SqlError> {
    if let Some(Layer(below)) = &exprs.layer {
        columns.extend(below.iter().cloned());
        return Ok(());
    }
    if exprs.stream.output().is_some() {
        return Err(SqlError::not_in_definition("* of an output").with_hint("name its columns: (new).column"));
    }
    let fields = &exprs.stream.fields;
    for (at, field) in fields.iter().enumerate() {
        let id = exprs.nodes.push(Op::Column(at as u16), field.data_type.clone())?;
        columns.push((field.name.clone(), id, field.data_type.clone()));
    }
    Ok(())
}
