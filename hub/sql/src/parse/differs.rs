//! What DataFusion answers, but not as PostgreSQL does: refused, because a wrong answer has no sign of it.
//!
//! Owns: which constructs these are, and what to write instead. Must not know: where they stand.

use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, SelectItem, SetExpr, SetOperator, SetQuantifier, TableWithJoins,
    Value,
};

/// A text literal as a name, of which MySQL makes one: `SELECT 'a' 'b'`.
pub(super) fn alias(item: &SelectItem) -> Option<SqlError> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } if alias.quote_style == Some('\'') => {
            let message = format!("syntax error at or near \"'{}'\"", alias.value);
            let hint = "names are in double quotes, if at all; texts are put together by ||";
            Some(SqlError::new("42601", message).with_hint(hint))
        }
        _ => None,
    }
}

/// EXCEPT ALL and INTERSECT ALL, whose rows would be compared as sets.
pub(super) fn set_operation(body: &SetExpr) -> Option<SqlError> {
    // From left to right without recursion: chains are long.
    let mut rest = vec![body];
    while let Some(body) = rest.pop() {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { continue };
        let is_all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
        if is_all && matches!(op, SetOperator::Except | SetOperator::Intersect | SetOperator::Minus) {
            let refused = SqlError::unsupported(format!("{op} ALL"));
            return Some(
                refused.with_hint("count the rows of both sides by GROUP BY, and compare the counts"),
            );
        }
        rest.extend([right.as_ref(), left.as_ref()]);
    }
    None
}

/// Columns that USING may name: every one is looked up among all others.
const USING_MAX: usize = 256;

/// RIGHT and FULL joins that name their columns once: DataFusion takes the left side's, which may be NULL.
pub(super) fn joins(from: &TableWithJoins) -> Option<SqlError> {
    from.joins.iter().find_map(|join| {
        if using(&join.join_operator) > USING_MAX {
            return Some(SqlError::new("54011", format!("USING names more than {USING_MAX} columns")));
        }
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => ("RIGHT", constraint),
            JoinOperator::FullOuter(constraint) => ("FULL", constraint),
            _ => return None,
        };
        let named = match constraint {
            JoinConstraint::Using(_) => format!("{kind} JOIN with USING"),
            JoinConstraint::Natural => format!("NATURAL {kind} JOIN"),
            _ => return None,
        };
        Some(SqlError::unsupported(named).with_hint("use ON a.x = b.x, and coalesce(a.x, b.x)"))
    })
}

fn using(operator: &JoinOperator) -> usize {
    match operator {
        JoinOperator::Join(JoinConstraint::Using(names))
        | JoinOperator::Inner(JoinConstraint::Using(names))
        | JoinOperator::Left(JoinConstraint::Using(names))
        | JoinOperator::LeftOuter(JoinConstraint::Using(names)) => names.len(),
        _ => 0,
    }
}

/// Expressions.
pub(super) fn expression(expr: &Expr) -> Option<SqlError> {
    match expr {
        // It would be a regular expression that may match anywhere.
        Expr::SimilarTo { .. } => {
            Some(SqlError::unsupported("SIMILAR TO").with_hint("use LIKE, or ~ with a regular expression"))
        }
        // A time would stay as it is, or move the other way.
        Expr::AtTimeZone { time_zone, .. } if !is_utc(time_zone) => {
            let refused = SqlError::unsupported("AT TIME ZONE other than 'UTC'");
            Some(refused.with_hint("times are UTC here: add the zone's offset as an interval"))
        }
        // It would be a constant.
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)
            if sets.iter().flatten().any(|item| matches!(item, Expr::Value(_))) =>
        {
            let refused = SqlError::unsupported("a position in ROLLUP, CUBE or GROUPING SETS");
            Some(refused.with_hint("name the column"))
        }
        // A NULL among the rows would be left out of the comparison.
        Expr::InSubquery { expr, negated: true, .. } if is_constant(expr) => {
            let refused = SqlError::unsupported("NOT IN (SELECT ...) of a constant");
            Some(refused.with_hint("use NOT EXISTS with a condition"))
        }
        _ => None,
    }
}

fn is_utc(zone: &Expr) -> bool {
    let Expr::Value(value) = zone else { return false };
    let name = match &value.value {
        Value::SingleQuotedString(name) => name,
        _ => return false,
    };
    ["utc", "gmt", "z", "etc/utc"].contains(&name.to_lowercase().as_str())
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } | Expr::UnaryOp { expr: inner, .. } => {
            is_constant(inner)
        }
        _ => false,
    }
}
