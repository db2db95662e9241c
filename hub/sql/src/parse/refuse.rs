//! What is understood and not done, refused by name: a user must never wonder whether it worked.

use super::cursor::Cursor;
use super::differs;
use crate::error::SqlError;
use crate::suggest::nearest;
use crate::text::Text;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, Spanned, TableFactor, Visit, Visitor};
use std::ops::ControlFlow;

const STATEMENTS: &[&str] = &[
    "select", "with", "values", "insert", "update", "delete", "copy", "create", "alter", "truncate", "drop",
    "show", "describe", "explain",
];

/// SQL commands of PostgreSQL that Headwater does not have.
const REFUSED: &[&str] = &[
    "abort",
    "analyze",
    "begin",
    "call",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "commit",
    "deallocate",
    "declare",
    "delete",
    "discard",
    "do",
    "end",
    "execute",
    "fetch",
    "grant",
    "import",
    "listen",
    "load",
    "lock",
    "merge",
    "move",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "set",
    "start",
    "unlisten",
    "update",
    "use",
    "vacuum",
];

/// A statement that starts with none of ours.
pub(super) fn statement(cursor: &Cursor<'_>) -> SqlError {
    let word = cursor.describe_next();
    let folded = word.to_lowercase();
    if !REFUSED.contains(&folded.as_str()) {
        let hint = nearest(&folded, STATEMENTS.iter().copied())
            .map(|s| format!("did you mean {}?", s.to_uppercase()));
        return cursor.expected("a statement").with_hint_opt(hint);
    }
    let refused = SqlError::unsupported(folded.to_uppercase()).at(cursor.position());
    match folded.as_str() {
        "load" => refused.with_hint("COPY ... FROM STDIN, or `headwater load`"),
        "merge" => refused.with_hint("UPDATE and INSERT change tables; views change only by events"),
        _ => refused,
    }
}

/// What PostgreSQL can create and drop, and Headwater cannot.
const CREATABLE: &[&str] = &[
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "database",
    "domain",
    "event",
    "extension",
    "external",
    "function",
    "global",
    "group",
    "index",
    "language",
    "local",
    "materialized",
    "operator",
    "policy",
    "procedure",
    "publication",
    "recursive",
    "role",
    "rule",
    "schema",
    "sequence",
    "server",
    "statistics",
    "subscription",
    "tablespace",
    "temp",
    "temporary",
    "text",
    "transform",
    "trigger",
    "type",
    "unique",
    "unlogged",
    "user",
];

/// Something that cannot be created or dropped.
pub(super) fn create_or_drop(cursor: &Cursor<'_>, verb: &str) -> SqlError {
    let hint = format!("{verb} STREAM, {verb} CONTINUOUS VIEW or {verb} TABLE");
    let what = cursor.describe_next().to_lowercase();
    let error = if CREATABLE.contains(&what.as_str()) {
        SqlError::unsupported(format!("{verb} {}", what.to_uppercase())).at(cursor.position())
    } else {
        cursor.expected("STREAM, CONTINUOUS VIEW or TABLE")
    };
    error.with_hint(hint)
}

/// Whatever follows a column's type.
pub(super) fn column_constraint(cursor: &Cursor<'_>) -> Result<(), SqlError> {
    let constraints =
        ["not", "default", "primary", "unique", "check", "references", "constraint", "collate", "generated"];
    let word = cursor.describe_next().to_lowercase();
    if constraints.contains(&word.as_str()) {
        let what = if word == "not" { "NOT NULL".to_owned() } else { word.to_uppercase() };
        let refused = SqlError::unsupported(format!("{what} on a stream's column")).at(cursor.position());
        return Err(
            refused.with_hint("events are not stored: keys, defaults and checks are for CREATE TABLE")
        );
    }
    Err(cursor.expected("\",\" or \")\""))
}

/// Clauses of a query that would write, lock or be silently ignored.
pub(super) fn query(text: &Text, query: &Query) -> Result<(), SqlError> {
    match query.visit(&mut Clauses { text, withs: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// WITH within WITH: DataFusion plans what is inside again for every level.
const WITHS_MAX: usize = 8;

struct Clauses<'a> {
    text: &'a Text,
    /// Queries with a WITH around what is visited.
    withs: usize,
}

impl Clauses<'_> {
    fn go_on(&self, refused: Option<SqlError>, at: &impl Spanned) -> ControlFlow<SqlError> {
        match refused {
            Some(error) => ControlFlow::Break(error.at(self.text.of(at))),
            None => ControlFlow::Continue(()),
        }
    }

    fn refuse(&self, what: &str, query: &Query) -> ControlFlow<SqlError> {
        ControlFlow::Break(SqlError::unsupported(what).at(self.text.of(query)))
    }
}

impl Visitor for Clauses<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        self.withs += usize::from(query.with.is_some());
        if self.withs > WITHS_MAX {
            let error = SqlError::new("54001", format!("more than {WITHS_MAX} WITH within each other"));
            return ControlFlow::Break(error.at(self.text.of(query)));
        }
        if !query.locks.is_empty() {
            return self.refuse("FOR UPDATE or FOR SHARE", query);
        }
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return self.refuse("FOR, SETTINGS or FORMAT behind a query", query);
        }
        if matches!(
            *query.body,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        ) {
            return self.refuse("a data-modifying query", query);
        }
        self.go_on(differs::set_operation(&query.body), query)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        self.withs -= usize::from(query.with.is_some());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        match &select.into {
            Some(_) => ControlFlow::Break(
                SqlError::unsupported("SELECT INTO").at(self.text.of_span(select.select_token.0.span)),
            ),
            None => {
                select.projection.iter().try_for_each(|item| self.go_on(differs::alias(item), item))?;
                select.from.iter().try_for_each(|from| self.go_on(differs::joins(from), from))
            }
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.go_on(differs::joins(table_with_joins), factor)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.go_on(differs::expression(expr), expr)
    }
}
