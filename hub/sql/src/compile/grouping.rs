//! GROUP BY of a definition: keys, and the grouping sets over them.
//!
//! Producers group by all keys of all sets, the finest grouping. GROUPING SETS, ROLLUP and CUBE are answered when the
//! view is read, by merging states, which is exact wherever `combine` is.

use super::expr::Exprs;
use super::select::{Key, find_aggregate, item_name};
use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{self, Expr, Select, Value as Literal};
use headwater::plan::ExprId;

const KEYS_MAX: usize = 32;
/// Each set is a group more for every group that is read.
const SETS_MAX: usize = 128;

/// What GROUP BY says.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) keys: Vec<Key>,
    /// The keys of each set; `None` for a plain GROUP BY.
    pub(super) sets: Option<Vec<Vec<ExprId>>>,
}

/// Compiles GROUP BY.
pub(super) fn group_by(
    exprs: &mut Exprs<'_>,
    select: &Select,
    items: &[(Expr, String)],
) -> Result<Groups, SqlError> {
    let refuse = |what: &str| Err(SqlError::not_in_definition(what));
    let list = match &select.group_by {
        ast::GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => list,
        ast::GroupByExpr::Expressions(..) => return refuse("GROUP BY ... WITH"),
        ast::GroupByExpr::All(_) => return refuse("GROUP BY ALL"),
    };
    let mut compiler = Compiler { exprs, items, keys: Vec::new() };
    let (mut sets, mut is_plain) = (vec![Vec::new()], true);
    for written in list {
        is_plain &= !matches!(written, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
        let element = compiler.element(written)?;
        if sets.len().saturating_mul(element.len()) > SETS_MAX {
            let message = format!("a view has at most {SETS_MAX} grouping sets");
            return Err(SqlError::new("54001", message).at(compiler.exprs.text.of(written)));
        }
        sets = product(&sets, &element);
    }
    let keys = compiler.keys;
    if keys.len() > KEYS_MAX {
        return Err(SqlError::new("54011", format!("a view has at most {KEYS_MAX} group expressions")));
    }
    Ok(Groups { keys, sets: (!is_plain).then_some(sets) })
}

/// Compiles SELECT DISTINCT: a group for each row.
pub(super) fn distinct(
    exprs: &mut Exprs<'_>,
    select: &Select,
    items: &[(Expr, String)],
) -> Result<Groups, SqlError> {
    let at = exprs.text.of_span(select.select_token.0.span);
    let has_groups = !matches!(&select.group_by, ast::GroupByExpr::Expressions(list, _) if list.is_empty());
    if has_groups || items.iter().any(|(expr, _)| find_aggregate(expr).is_some()) {
        let error = SqlError::not_in_definition("SELECT DISTINCT with GROUP BY or an aggregate");
        return Err(error.at(at).with_hint("use it when you read the view"));
    }
    let mut compiler = Compiler { exprs, items: &[], keys: Vec::new() };
    for (expr, _) in items {
        compiler.key(expr)?;
    }
    Ok(Groups { keys: compiler.keys, sets: None })
}

struct Compiler<'c, 'e> {
    exprs: &'c mut Exprs<'e>,
    items: &'c [(Expr, String)],
    keys: Vec<Key>,
}

impl Compiler<'_, '_> {
    /// The sets that one element of GROUP BY stands for.
    fn element(&mut self, written: &Expr) -> Result<Vec<Vec<ExprId>>, SqlError> {
        match written {
            Expr::GroupingSets(sets) => sets.iter().map(|set| self.set(set)).collect(),
            Expr::Rollup(parts) => {
                let parts = parts.iter().map(|part| self.set(part)).collect::<Result<Vec<_>, _>>()?;
                Ok((0..=parts.len()).rev().map(|n| parts[..n].concat()).collect())
            }
            Expr::Cube(parts) => {
                if parts.len() > SETS_MAX.ilog2() as usize {
                    let message = format!("a view has at most {SETS_MAX} grouping sets");
                    return Err(SqlError::new("54001", message).at(self.exprs.text.of(written)));
                }
                let parts = parts.iter().map(|part| self.set(part)).collect::<Result<Vec<_>, _>>()?;
                let set = |mask: usize| {
                    let taken =
                        parts.iter().enumerate().filter(|(at, _)| mask >> (parts.len() - 1 - at) & 1 == 1);
                    taken.flat_map(|(_, part)| part.iter().copied()).collect()
                };
                Ok((0..1usize << parts.len()).rev().map(set).collect())
            }
            Expr::Tuple(list) if !list.is_empty() => self.set(list).map(|set| vec![set]),
            other => Ok(vec![vec![self.written(other)?]]),
        }
    }

    fn set(&mut self, list: &[Expr]) -> Result<Vec<ExprId>, SqlError> {
        list.iter().map(|expr| self.written(expr)).collect()
    }

    fn written(&mut self, written: &Expr) -> Result<ExprId, SqlError> {
        let at = self.exprs.text.of(written);
        let expr = group_expr(self.exprs, written, self.items).map_err(|e| e.at(at))?;
        if let Some(name) = find_aggregate(expr) {
            return Err(SqlError::new("42803", "aggregate functions are not allowed in GROUP BY").at(self
                .exprs
                .text
                .of(&name)
                .or(at)));
        }
        self.key(expr)
    }

    fn key(&mut self, expr: &Expr) -> Result<ExprId, SqlError> {
        let (id, data_type) = self.exprs.any(expr)?;
        if self.keys.iter().all(|k| k.id != id) {
            let name = match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => item_name(expr),
                _ => String::new(),
            };
            self.keys.push(Key { id, data_type, name });
        }
        Ok(id)
    }
}

/// Every set of the one beside every set of the other.
fn product(before: &[Vec<ExprId>], element: &[Vec<ExprId>]) -> Vec<Vec<ExprId>> {
    let both = |a: &Vec<ExprId>, b: &Vec<ExprId>| {
        let mut set = a.clone();
        b.iter().for_each(|id| {
            if !set.contains(id) {
                set.push(*id);
            }
        });
        set
    };
    before.iter().flat_map(|a| element.iter().map(move |b| both(a, b))).collect()
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
            Literal::Number(digits, _) => by_position(digits, "GROUP BY", items),
            _ => Err(SqlError::new("42601", "non-integer constant in GROUP BY")),
        },
        Expr::Identifier(ident) if !exprs.has_column(&fold(ident)) => {
            let name = fold(ident);
            Ok(items.iter().find(|(_, alias)| *alias == name).map_or(written, |(expr, _)| expr))
        }
        other => Ok(other),
    }
}

/// The item at a position that `clause` names.
pub(super) fn by_position<'e>(
    digits: &str,
    clause: &str,
    items: &'e [(Expr, String)],
) -> Result<&'e Expr, SqlError> {
    let item = digits.parse::<usize>().ok().and_then(|n| items.get(n.checked_sub(1)?));
    let message = format!("{clause} position {digits} is not in the select list");
    item.map(|(expr, _)| expr).ok_or_else(|| SqlError::new("42P10", message))
}
