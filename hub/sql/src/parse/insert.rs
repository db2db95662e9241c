//! `INSERT INTO ...`: its syntax.
//!
//! Owns: what an INSERT may say. Must not know: what its target is: a stream or a table.

use super::cursor::Cursor;
use super::{Name, known, refuse};
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
    /// `ON CONFLICT DO NOTHING`
    pub on_conflict: Option<OnConflict>,
    /// How a session wants it done.
    pub write: WriteOptions,
}

/// `ON CONFLICT [(columns)] DO NOTHING`; only tables have it.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The columns of the unique key, where they are named.
    pub columns: Option<Vec<Name>>,
    /// Where it stands.
    pub position: Option<u32>,
}

impl OnConflict {
    /// `0A000`: the target is no table.
    pub(crate) fn refused(&self) -> SqlError {
        SqlError::unsupported("ON CONFLICT").at(self.position).with_hint(NOT_STORED)
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
    if cursor.word("as") {
        cursor.ident()?;
    }
    let columns = columns(cursor)?;
    if cursor.is_word(0, "overriding") {
        return Err(SqlError::unsupported("OVERRIDING").at(cursor.position()));
    }
    let source = match cursor.words(&["default", "values"]) {
        true => None,
        false => Some(source(cursor)?),
    };
    let on_conflict = on_conflict(cursor)?;
    if cursor.is_word(0, "returning") {
        return Err(SqlError::unsupported("RETURNING").at(cursor.position()).with_hint(NOT_STORED));
    }
    Ok(Insert { target, columns, source, on_conflict, write: WriteOptions::default() })
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
        let hint = "ON CONFLICT DO NOTHING, or UPDATE the rows that are there";
        Err(SqlError::unsupported(what).at(cursor.position()).with_hint(hint))
    };
    if *cursor.token() == Token::LParen {
        let columns = columns(cursor)?;
        if cursor.is_word(0, "where") {
            return refused(cursor, "ON CONFLICT with WHERE");
        }
        return do_nothing(cursor, Some(columns), position, refused);
    }
    if cursor.is_word(0, "on") {
        return refused(cursor, "ON CONFLICT ON CONSTRAINT");
    }
    do_nothing(cursor, None, position, refused)
}

fn do_nothing(
    cursor: &mut Cursor<'_>,
    columns: Option<Vec<Name>>,
    position: Option<u32>,
    refused: impl Fn(&Cursor<'_>, &str) -> Result<Option<OnConflict>, SqlError>,
) -> Result<Option<OnConflict>, SqlError> {
    cursor.expect_word("do")?;
    if cursor.is_word(0, "update") {
        return refused(cursor, "ON CONFLICT DO UPDATE");
    }
    cursor.expect_word("nothing")?;
    Ok(Some(OnConflict { columns, position }))
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
    }

    #[test]
    fn what_is_refused_is_named() {
        for (sql, code, position) in [
            ("INSERT INTO s VALUES (1) RETURNING *", "0A000", Some(26)),
            ("INSERT INTO s SELECT x FROM v ON CONFLICT (a) DO UPDATE SET b = 1", "0A000", Some(50)),
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
