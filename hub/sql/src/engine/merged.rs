//! Columns that `JOIN ... USING` merges, named in WHERE: DataFusion knows them again in the list, GROUP BY and ORDER BY alone.

use super::own::each_own;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{Expr, Ident, JoinConstraint, JoinOperator, Select, TableFactor};

/// Says in the condition of a SELECT which table's column a merged one is: `k` is `a.k` where a is joined USING (k) with others.
pub(super) fn qualify(select: &mut Select) {
    let [from] = select.from.as_slice() else { return };
    let Some(condition) = &mut select.selection else { return };
    let Some(first) = name_of(&from.relation) else { return };
    // Only the first join's are columns of the first table for sure.
    let merged = from.joins.first().map(|join| merging(&join.join_operator)).unwrap_or_default();
    let merged: Vec<String> = merged.into_iter().map(fold).collect();
    if !merged.is_empty() {
        each_own(condition, |expr| {
            if let Expr::Identifier(name) = expr
                && merged.contains(&fold(name))
            {
                *expr = Expr::CompoundIdentifier(vec![first.clone(), name.clone()]);
            }
        });
    }
}

/// Of inner and left joins: others are refused.
fn merging(join: &JoinOperator) -> Vec<&Ident> {
    let constraint = match join {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c) => c,
        _ => return Vec::new(),
    };
    match constraint {
        JoinConstraint::Using(columns) => {
            columns.iter().filter_map(|name| name.0.last().and_then(|part| part.as_ident())).collect()
        }
        _ => Vec::new(),
    }
}

/// What a table is called in the query.
fn name_of(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}
