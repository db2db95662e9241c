//! `INSERT INTO ...`: its syntax.
//!
//! Owns: what an INSERT may say. Must not know: what its target is: a stream or a table.

use super::cursor::Cursor;
use super::returning::{self, Returning};
use super::{Name, known, refuse, table};
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::tokenizer::Token;

/// `INSERT INTO target [(columns)] source`
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// What gets the rows.
    pub target: Name,
    /// The columns that the source's are for, in order; empty: the target's own.
    pub columns: Vec<Name>,
    /// Where rows come from; `None` is DEFAULT VALUES.
    pub source: Option<Box<Query>>,
    /// What the target's rows are called: its name or its alias.
    pub alias: String,
    /// `ON CONFLICT ...`
    pub on_conflict: Option<OnConflict>,
    /// `RETURNING ...`
    pub returning: Option<Returning>,
    /// How a session wants it done.
    pub write: WriteOptions,
}

/// `ON CONFLICT [(columns)] DO ...`; only tables have it.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The columns of the unique key, where they are named.
    pub columns: Option<Vec<Name>>,
    /// Where it stands.
    pub position: Option<u32>,
    /// `DO UPDATE`; `None` is DO NOTHING.
    pub update: Option<OnUpdate>,
}

/// `DO UPDATE SET column = expression, ... [WHERE condition]`
#[derive(Clone, Debug, PartialEq)]
pub struct OnUpdate {
    /// The columns behind SET.
    pub set: Vec<Name>,
    /// `SELECT expressions WHERE condition` over the row that is there and the one that was to come, `excluded`.
    pub query: Box<Query>,
}

impl Insert {
    /// `0A000`: the target is no table.
    ///
    /// # Errors
    /// Where the statement wants something of stored rows.
    pub(crate) fn check_stream(&self) -> Result<(), SqlError> {
        let conflict = self.on_conflict.as_ref().map(|conflict| ("ON CONFLICT", conflict.position));
        let returning = self.returning.as_ref().map(|returning| ("RETURNING", returning.position));
        match conflict.or(returning) {
            Some((what, at)) => Err(SqlError::unsupported(what).at(at).with_hint(NOT_STORED)),
            None => Ok(()),
        }
    }
}

/// Why streams have neither conflicts nor anything to return.
const NOT_STORED: &str =
    "events are counted, not stored: there is nothing to conflict with and nothing to return";

/// How a session wants events written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// `stream_insert_level`
    pub level: InsertLevel,
    /// `stream_targets`: folded names of the views that are fed; empty is all of the stream's.
    pub targets: Vec<String>,
}

/// How safe events are when a statement is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InsertLevel {
    /// In the hub's memory, not yet in a batch: a crash may lose them (`async`).
    Async,
    /// In a batch that the hub has taken: a crash may lose them (`sync_receive`).
    Received,
    /// Synced to disk (`sync_commit`).
    #[default]
    Durable,
}

/// Words in parentheses behind the target that begin a query and not a list of columns.
const QUERIES: [&str; 4] = ["select", "with", "values", "table"];

/// Behind the word INSERT.
pub(super) fn insert(cursor: &mut Cursor<'_>) -> Result<Insert, SqlError> {
    cursor.expect_word("into")?;
    let target = cursor.name()?;
    let alias = match cursor.word("as") {
        true => crate::text::fold(&cursor.ident()?),
        false => target.name.clone(),
    };
    let columns = columns(cursor)?;
    if cursor.is_word(0, "overriding") {
        return Err(SqlError::unsupported("OVERRIDING").at(cursor.position()));
    }
    let source = match cursor.words(&["default", "values"]) {
        true => None,
        false => Some(source(cursor)?),
    };
    let on_conflict = on_conflict(cursor)?;
    let returning = Returning::read(cursor, &alias)?;
    Ok(Insert { target, columns, source, alias, on_conflict, returning, write: WriteOptions::default() })
}

/// `(a, b)`, if it is there.
pub(super) fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, SqlError> {
    let mut columns = Vec::new();
    let is_query = QUERIES.iter().any(|word| cursor.is_word(1, word)) || cursor.is_next(1, &Token::LParen);
    if *cursor.token() != Token::LParen || is_query {
        return Ok(columns);
    }
    cursor.expect(&Token::LParen)?;
    loop {
        let position = cursor.position();
        let ident = cursor.ident()?;
        columns.push(Name { name: crate::text::fold(&ident), position });
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(columns)
}

fn source(cursor: &mut Cursor<'_>) -> Result<Box<Query>, SqlError> {
    if !cursor.at_query() {
        return Err(cursor.expected("VALUES, SELECT or DEFAULT VALUES"));
    }
    let query = known::known(cursor.query()?, cursor.text().as_str())?;
    refuse::query(cursor.text(), &query)?;
    Ok(query)
}

/// Behind the rows.
fn on_conflict(cursor: &mut Cursor<'_>) -> Result<Option<OnConflict>, SqlError> {
    let position = cursor.position();
    if !cursor.words(&["on", "conflict"]) {
        return Ok(None);
    }
    let refused = |cursor: &Cursor<'_>, what: &str| {
        let hint = "ON CONFLICT (key) DO UPDATE SET ..., or DO NOTHING";
        Err(SqlError::unsupported(what).at(cursor.position()).with_hint(hint))
    };
    if *cursor.token() == Token::LParen {
        let columns = columns(cursor)?;
        if cursor.is_word(0, "where") {
            return refused(cursor, "ON CONFLICT with WHERE");
        }
        return action(cursor, Some(columns), position).map(Some);
    }
    if cursor.is_word(0, "on") {
        return refused(cursor, "ON CONFLICT ON CONSTRAINT");
    }
    action(cursor, None, position).map(Some)
}

fn action(
    cursor: &mut Cursor<'_>,
    columns: Option<Vec<Name>>,
    position: Option<u32>,
) -> Result<OnConflict, SqlError> {
    cursor.expect_word("do")?;
    let at = cursor.position();
    if !cursor.word("update") {
        cursor.expect_word("nothing")?;
        return Ok(OnConflict { columns, position, update: None });
    }
    if columns.is_none() {
        let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
        let hint = "ON CONFLICT (key) DO UPDATE SET ...";
        return Err(SqlError::new("42601", message).at(position).with_hint(hint));
    }
    cursor.expect_word("set")?;
    let (set, values) = table::assigned(cursor.text(), cursor.assignments()?, at)?;
    let condition = if cursor.word("where") { Some(cursor.expr()?) } else { None };
    let query = returning::select(values, condition)?;
    refuse::query(cursor.text(), &query)?;
    Ok(OnConflict { columns, position, update: Some(OnUpdate { set, query }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{StatementKind, parse};

    fn insert(sql: &str) -> Insert {
        match parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).remove(0).kind {
            StatementKind::Insert(insert) => *insert,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn targets_columns_and_sources() {
        let names = |insert: &Insert| insert.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let plain = insert("INSERT INTO public.S VALUES (1, 'a'), (2, DEFAULT)");
        assert_eq!((plain.target.name.as_str(), plain.columns.len()), ("s", 0));
        let listed = insert("insert into s as t (A, \"B\") select 1, 2");
        assert_eq!(names(&listed), ["a", "B"]);
        assert_eq!(insert("INSERT INTO s (SELECT 1)").columns, []);
        assert_eq!(insert("INSERT INTO s ((SELECT 1))").columns, []);
        assert_eq!(insert("INSERT INTO s DEFAULT VALUES").source, None);
        assert_eq!(parse("INSERT INTO s VALUES ($2)").expect("parses")[0].parameters(), 2);
        let all = "INSERT INTO t AS x VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = excluded.b + $3 WHERE x.b < $2 \
             RETURNING *, b + $4 AS more";
        assert_eq!(parse(all).expect("parses")[0].parameters(), 4);
        let all = insert(all);
        let update = all.on_conflict.and_then(|conflict| conflict.update).expect("DO UPDATE");
        assert_eq!((all.alias.as_str(), update.set.len()), ("x", 1));
        assert_eq!(update.query.to_string(), "SELECT excluded.b + $3 WHERE x.b < $2");
        let returning = all.returning.expect("RETURNING");
        assert_eq!((returning.of.as_str(), returning.position), ("x", Some(97)));
    }

    #[test]
    fn what_is_refused_is_named() {
        for (sql, code, position) in [
            ("INSERT INTO s VALUES (1) RETURNING", "42601", Some(35)),
            ("INSERT INTO s VALUES (1) ON CONFLICT DO UPDATE SET b = 1", "42601", Some(26)),
            ("INSERT INTO s VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1, b = 2", "42601", Some(63)),
            ("INSERT INTO s VALUES (1) ON CONFLICT (a) DO UPDATE SET (b, c) = (1, 2)", "0A000", Some(45)),
            ("INSERT INTO s VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING", "0A000", Some(38)),
            ("INSERT INTO s (a) OVERRIDING USER VALUE VALUES (1)", "0A000", Some(19)),
            ("INSERT s VALUES (1)", "42601", Some(8)),
            ("INSERT INTO s", "42601", Some(14)),
            ("INSERT INTO s (a, VALUES (1)", "42601", Some(26)),
            ("INSERT INTO x.s VALUES (1)", "3F000", Some(13)),
        ] {
            let error = parse(sql).expect_err(sql);
            assert_eq!((error.code, error.position), (code, position), "{sql}: {error}");
        }
    }
}
