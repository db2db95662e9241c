//! What columns without AS are called: as in PostgreSQL, and never twice in one answer.
//!
//! DataFusion names an expression by its text (`count(Int64(1))`). Here every SELECT gets the names that PostgreSQL
//! gives (`count`, `?column?`), so that subqueries can be read by them, too. PostgreSQL repeats names; rows as JSON
//! objects cannot, so the second `count` is `count_2`.
//!
//! DataFusion takes no name twice, and finds the names of the answer in the expressions of ORDER BY, where PostgreSQL
//! looks for those of the tables. The columns of an answer therefore have names of their own until it is [finished](finish).

use crate::compile::item_name;
use crate::error::SqlError;
use crate::text::{Text, fold};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, Query, Select, SelectItem, SetExpr, Visit, Visitor,
};
use headwater::schema::Field;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Whose columns are named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The answer's: they get their written names when it is finished.
    Answer,
    /// Those of a subquery, which others read by name.
    Subquery,
    /// Those behind a UNION, whose names nobody sees.
    Unseen,
}

/// Gives the columns of a query their names.
pub(super) fn name_columns(query: &mut Query, role: Role, text: &Text) -> Result<(), SqlError> {
    let mut sorted = Sorted::default();
    if let Some(order_by) = &query.order_by {
        let ast::OrderByKind::Expressions(keys) = &order_by.kind else { return Ok(()) };
        let compound = keys.iter().map(|key| &key.expr).filter(|expr| !matches!(expr, Expr::Identifier(_)));
        compound.for_each(|expr| {
            let _ = expr.visit(&mut sorted);
        });
    }
    match query.body.as_mut() {
        SetExpr::Select(select) => {
            let renamed = rename_items(select, &sorted.names, role, text)?;
            name_items(select, &sorted.names, role);
            sort_by_new_name(query, &renamed, text)?;
        }
        body => name_body(body, &sorted.names, role, text)?,
    }
    sort_by_name(query);
    Ok(())
}

/// An item of the list under its written name, and under its new one.
struct Renamed {
    name: String,
    expr: Expr,
    new: Ident,
}

/// New names for items that have one which is taken, or which ORDER BY would take for a table's. All items that have
/// a name, renamed or not.
fn rename_items(
    select: &mut Select,
    sorted: &HashSet<String>,
    role: Role,
    text: &Text,
) -> Result<Vec<Renamed>, SqlError> {
    let mut taken: Vec<String> = select.projection.iter().filter_map(written_name).collect();
    taken.extend(sorted.iter().cloned());
    let plain: Vec<Expr> = select.projection.iter().filter_map(plain_column).cloned().collect();
    let (mut named, mut columns) = (Vec::<Renamed>::new(), Vec::<Expr>::new());
    for item in &mut select.projection {
        let (expr, mut new) = match &*item {
            SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => {
                (expr.clone(), Ident::with_quote('"', item_name(expr)))
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
            _ => continue,
        };
        let name = fold(&new);
        let is_column = matches!(item, SelectItem::UnnamedExpr(_));
        // Columns of two tables may share a name: their tables tell them apart.
        let is_twice = if is_column {
            columns.iter().any(|c| is_same(c, &expr))
        } else {
            // Or like a column that comes later.
            named.iter().any(|n| n.name == name)
                || plain.iter().any(|column| is_column_named(column, &name) && !is_same(column, &expr))
        };
        let is_sorted = sorted.contains(&name) && !is_column && !is_column_named(&expr, &name);
        if is_twice || is_sorted {
            if role == Role::Subquery {
                return Err(not_in_subquery(&name, is_twice).at(text.of(&*item)));
            }
            // Hints do not propose names that start so.
            new = Ident::with_quote('"', unique(&format!("${name}"), &taken));
            taken.push(new.value.clone());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: new.clone() };
        }
        columns.push(expr.clone());
        named.push(Renamed { name, expr, new });
    }
    Ok(named)
}

/// An item that is a column and has no other name.
fn plain_column(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => Some(expr),
        _ => None,
    }
}

/// True for the column of this name.
fn is_column_named(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && item_name(expr) == name
}

fn not_in_subquery(name: &str, is_twice: bool) -> SqlError {
    let error = if is_twice {
        SqlError::new("42701", format!("column name \"{name}\" specified more than once"))
    } else {
        SqlError::unsupported(format!("a new column \"{name}\" beside the table's in a subquery's ORDER BY"))
    };
    error.with_hint("give it another name with AS")
}

/// True for one expression, or one column with and without its table.
fn is_same(one: &Expr, other: &Expr) -> bool {
    match (one, other) {
        (Expr::Identifier(name), column @ Expr::CompoundIdentifier(_))
        | (column @ Expr::CompoundIdentifier(_), Expr::Identifier(name)) => {
            is_column_named(column, &fold(name))
        }
        _ => one == other,
    }
}

/// ORDER BY by a name alone: the column of the answer that has it.
fn sort_by_new_name(query: &mut Query, named: &[Renamed], text: &Text) -> Result<(), SqlError> {
    let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), .. }) = &mut query.order_by else {
        return Ok(());
    };
    for key in keys {
        let Expr::Identifier(ident) = &mut key.expr else { continue };
        let mut found = named.iter().filter(|item| item.name == fold(ident));
        let Some(first) = found.next() else { continue };
        if found.any(|other| !is_same(&other.expr, &first.expr)) {
            let message = format!("ORDER BY \"{}\" is ambiguous", first.name);
            return Err(SqlError::new("42702", message).at(text.of_ident(ident)));
        }
        if fold(&first.new) != first.name {
            *ident = first.new.clone();
        }
    }
    Ok(())
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

fn name_body(body: &mut SetExpr, sorted: &HashSet<String>, role: Role, text: &Text) -> Result<(), SqlError> {
    match body {
        SetExpr::Select(select) => {
            rename_items(select, &HashSet::new(), role, text)?;
            name_items(select, sorted, role);
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left, sorted, role, text)?;
            name_body(right, sorted, Role::Unseen, text)?;
        }
        _ => {}
    }
    Ok(())
}

/// Every item but plain columns. Beside a `*`, whose names are not known yet, only those of an answer: under names
/// that no column has.
fn name_items(select: &mut Select, sorted: &HashSet<String>, role: Role) {
    let written: Option<Vec<String>> = select.projection.iter().map(written_name).collect();
    let Some(mut taken) = written else { return beside_star(select, role) };
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

/// `*, url`: the second `url`.
fn beside_star(select: &mut Select, role: Role) {
    let stars = select.projection.iter().filter(|item| written_name(item).is_none()).count();
    if role != Role::Answer || stars != 1 {
        return;
    }
    for (at, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) = item {
            let alias = Ident::with_quote('"', format!("$item{at}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
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

/// The written names, now that the width of a `*` is known; empty where there are several.
fn answer_names(query: &Query, width: usize) -> Vec<Option<String>> {
    let Some(select) = first_select(&query.body) else { return Vec::new() };
    let items = &select.projection;
    let is_star = |item: &SelectItem| written_name(item).is_none();
    let stars = items.iter().filter(|item| is_star(item)).count();
    let hidden = (width + stars).checked_sub(items.len());
    let (0 | 1, Some(hidden)) = (stars, hidden) else { return Vec::new() };
    let names = items.iter().flat_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => vec![Some(item_name(expr))],
        SelectItem::ExprWithAlias { alias, .. } => vec![Some(fold(alias))],
        item if is_star(item) => vec![None; hidden],
        _ => vec![None],
    });
    names.collect()
}

/// The SELECT that names the columns.
fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}
