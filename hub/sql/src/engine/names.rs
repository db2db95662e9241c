//! What columns without AS are called: as in PostgreSQL, and never twice in one answer.
//!
//! DataFusion names an expression by its text (`count(Int64(1))`). Here every SELECT gets the names that PostgreSQL
//! gives (`count`, `?column?`), so that subqueries can be read by them, too. PostgreSQL repeats names; rows as JSON
//! objects cannot, so the second `count` is `count_2`.

use crate::compile::item_name;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, Query, Select, SelectItem, SetExpr, Visit, Visitor,
};
use headwater::schema::Field;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Gives the columns of a query their names.
pub(super) fn name_columns(query: &mut Query) {
    let mut sorted = Sorted::default();
    if let Some(order_by) = &query.order_by {
        let ast::OrderByKind::Expressions(keys) = &order_by.kind else { return };
        let compound = keys.iter().map(|key| &key.expr).filter(|expr| !matches!(expr, Expr::Identifier(_)));
        compound.for_each(|expr| {
            let _ = expr.visit(&mut sorted);
        });
    }
    name_body(&mut query.body, &sorted.names);
    sort_by_name(query);
}

/// ORDER BY an item of the list by its name: DataFusion does not always find it by its text, with DISTINCT never.
fn sort_by_name(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), .. }) = &mut query.order_by else {
        return;
    };
    for key in keys.iter_mut().filter(|key| !matches!(key.expr, Expr::Identifier(_))) {
        let name = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == key.expr => Some(alias),
            _ => None,
        });
        if let Some(name) = name {
            key.expr = Expr::Identifier(name.clone());
        }
    }
}

/// Names inside the expressions of ORDER BY: there they are columns of the tables, not of the answer.
#[derive(Default)]
struct Sorted {
    names: HashSet<String>,
}

impl Visitor for Sorted {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr {
            self.names.insert(fold(ident));
        }
        ControlFlow::Continue(())
    }
}

fn name_body(body: &mut SetExpr, sorted: &HashSet<String>) {
    match body {
        SetExpr::Select(select) => name_items(select, sorted),
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left, sorted);
            name_body(right, sorted);
        }
        _ => {}
    }
}

/// Every item but plain columns; nothing beside a `*`, whose names are not known yet.
fn name_items(select: &mut Select, sorted: &HashSet<String>) {
    let written: Option<Vec<String>> = select.projection.iter().map(written_name).collect();
    let Some(mut taken) = written else { return };
    taken.extend(sorted.iter().cloned());
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let name = unique(&item_name(expr), &taken);
        taken.push(name.clone());
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
    }
}

/// The name that an item has by itself, empty if it has none; `None` for `*`.
fn written_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => {
            Some(item_name(expr))
        }
        SelectItem::UnnamedExpr(_) => Some(String::new()),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The name, with a number where it is taken.
fn unique(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

/// The columns of an answer under names of their own.
pub(super) fn finish(fields: Vec<Field>, query: &Query) -> Vec<Field> {
    let names = answer_names(query, fields.len());
    let mut taken: Vec<String> = Vec::with_capacity(fields.len());
    let fields = fields.into_iter().enumerate().map(|(at, field)| {
        let name = names.get(at).cloned().flatten().unwrap_or(field.name);
        let name = unique(&name, &taken);
        taken.push(name.clone());
        Field { name, ..field }
    });
    fields.collect()
}

/// The names of unnamed items, now that the width of a `*` is known; empty where there are several.
fn answer_names(query: &Query, width: usize) -> Vec<Option<String>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let items = &select.projection;
    let is_star = |item: &SelectItem| written_name(item).is_none();
    let stars = items.iter().filter(|item| is_star(item)).count();
    let hidden = (width + stars).checked_sub(items.len());
    let (0 | 1, Some(hidden)) = (stars, hidden) else { return Vec::new() };
    let names = items.iter().flat_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => vec![Some(item_name(expr))],
        item if is_star(item) => vec![None; hidden],
        _ => vec![None],
    });
    names.collect()
}
