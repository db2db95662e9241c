//! Statements that only a session has: transactions, settings, prepared statements.
//!
//! Owns: their syntax. Must not know: what a session makes of them. Faces without sessions refuse them by name.

use super::Name;
use super::cursor::Cursor;
use crate::error::SqlError;
use datafusion::sql::sqlparser::tokenizer::Token;

/// What a session is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Session {
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`, `END`
    Commit,
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `SAVEPOINT name`
    Savepoint,
    /// `RELEASE [SAVEPOINT] name`
    Release,
    /// `ROLLBACK TO [SAVEPOINT] name`
    RollbackTo,
    /// `SET name = value`
    Set {
        /// Of what.
        name: Name,
        /// The values without quotes, separated by `, `; `None` is DEFAULT.
        value: Option<String>,
    },
    /// `SET TRANSACTION ...`, `SET SESSION CHARACTERISTICS ...`: every statement reads a snapshot of its own, whatever is asked for.
    SetTransaction,
    /// `RESET name`; `None` is ALL.
    Reset(Option<Name>),
    /// `SHOW name`; `None` is ALL.
    Show(Option<Name>),
    /// `DISCARD ALL | PLANS | SEQUENCES | TEMP`
    Discard {
        /// ALL
        all: bool,
    },
    /// `DEALLOCATE [PREPARE] name`; `None` is ALL.
    Deallocate(Option<Name>),
    /// `CLOSE ALL`
    CloseAll,
    /// `UNLISTEN *`
    Unlisten,
}

/// Settings that SQL spells in several words.
const TRANSACTION_ISOLATION: &str = "transaction_isolation";

/// A statement of a session, if one starts here.
pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Option<Session>, SqlError> {
    let is = |word| cursor.is_word(0, word);
    if ["begin", "commit", "end", "abort", "rollback", "savepoint", "release"].into_iter().any(is)
        || (is("start") && cursor.is_word(1, "transaction"))
    {
        return transaction(cursor).map(Some);
    }
    if is("set") && !["role", "constraints"].iter().any(|word| cursor.is_word(1, word)) {
        cursor.advance();
        return set(cursor);
    }
    if cursor.word("reset") {
        return all_or_setting(cursor).map(|name| Some(Session::Reset(name)));
    }
    if cursor.word("deallocate") {
        cursor.word("prepare");
        return all_or_name(cursor).map(|name| Some(Session::Deallocate(name)));
    }
    Ok(clean_up(cursor))
}

/// What pools say before they hand a connection on.
fn clean_up(cursor: &mut Cursor<'_>) -> Option<Session> {
    for (words, said) in [
        (["discard", "all"], Session::Discard { all: true }),
        (["discard", "plans"], Session::Discard { all: false }),
        (["discard", "sequences"], Session::Discard { all: false }),
        (["discard", "temp"], Session::Discard { all: false }),
        (["discard", "temporary"], Session::Discard { all: false }),
        (["close", "all"], Session::CloseAll),
    ] {
        if cursor.words(&words) {
            return Some(said);
        }
    }
    if cursor.word("unlisten") {
        cursor.advance();
        return Some(Session::Unlisten);
    }
    None
}

fn transaction(cursor: &mut Cursor<'_>) -> Result<Session, SqlError> {
    if cursor.word("begin") || cursor.words(&["start", "transaction"]) {
        // Isolation levels and access modes change nothing: see `Session::SetTransaction`.
        cursor.rest();
        return Ok(Session::Begin);
    }
    if cursor.word("savepoint") {
        return cursor.name().map(|_| Session::Savepoint);
    }
    if cursor.word("release") {
        cursor.word("savepoint");
        return cursor.name().map(|_| Session::Release);
    }
    let commits = cursor.word("commit") || cursor.word("end");
    if !commits {
        cursor.advance();
    }
    if !cursor.word("work") {
        cursor.word("transaction");
    }
    if !commits && cursor.word("to") {
        cursor.word("savepoint");
        return cursor.name().map(|_| Session::RollbackTo);
    }
    for refused in ["prepared", "and"] {
        if cursor.is_word(0, refused) && !cursor.is_word(1, "no") {
            let what = if refused == "and" { "AND CHAIN" } else { "a prepared transaction" };
            return Err(SqlError::unsupported(what).at(cursor.position()));
        }
    }
    cursor.words(&["and", "no", "chain"]);
    Ok(if commits { Session::Commit } else { Session::Rollback })
}

fn set(cursor: &mut Cursor<'_>) -> Result<Option<Session>, SqlError> {
    if cursor.word("transaction") || cursor.words(&["session", "characteristics"]) {
        cursor.rest();
        return Ok(Some(Session::SetTransaction));
    }
    if cursor.is_word(0, "session") && cursor.is_word(1, "authorization") {
        return Err(SqlError::unsupported("SET SESSION AUTHORIZATION").at(cursor.position()));
    }
    if !cursor.word("session") {
        cursor.word("local");
    }
    let position = cursor.position();
    let fixed = |name: &str| Name { name: name.to_owned(), position };
    let name = if cursor.words(&["time", "zone"]) {
        fixed("timezone")
    } else if cursor.word("names") {
        fixed("client_encoding")
    } else {
        let name = setting(cursor)?;
        if !cursor.consume(&Token::Eq) && !cursor.word("to") {
            return Err(cursor.expected("TO or \"=\""));
        }
        name
    };
    let value = values(cursor)?;
    let is_default = value.eq_ignore_ascii_case("default")
        || (name.name == "timezone" && value.eq_ignore_ascii_case("local"));
    Ok(Some(Session::Set { name, value: (!is_default).then_some(value) }))
}

/// `value, value`: words, numbers and strings.
fn values(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut values = vec![value(cursor)?];
    while cursor.consume(&Token::Comma) {
        values.push(value(cursor)?);
    }
    Ok(values.join(", "))
}

pub(super) fn value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let sign = if cursor.consume(&Token::Minus) { "-" } else { "" };
    let value = match cursor.token() {
        Token::Word(word) => word.value.clone(),
        Token::Number(number, _) => format!("{sign}{number}"),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        _ => return Err(cursor.expected("a value")),
    };
    cursor.advance();
    Ok(value)
}

/// The name of a setting, folded; dots may be in it.
fn setting(cursor: &mut Cursor<'_>) -> Result<Name, SqlError> {
    let position = cursor.position();
    let mut name = cursor.ident()?.value.to_lowercase();
    while cursor.consume(&Token::Period) {
        name = format!("{name}.{}", cursor.ident()?.value.to_lowercase());
    }
    Ok(Name { name, position })
}

fn all_or_setting(cursor: &mut Cursor<'_>) -> Result<Option<Name>, SqlError> {
    let position = cursor.position();
    if cursor.word("all") {
        return Ok(None);
    }
    for (words, name) in [
        (&["time", "zone"][..], "timezone"),
        (&["transaction", "isolation", "level"], TRANSACTION_ISOLATION),
        (&["session", "authorization"], "session_authorization"),
    ] {
        if cursor.words(words) {
            return Ok(Some(Name { name: name.to_owned(), position }));
        }
    }
    setting(cursor).map(Some)
}

fn all_or_name(cursor: &mut Cursor<'_>) -> Result<Option<Name>, SqlError> {
    if cursor.word("all") {
        return Ok(None);
    }
    let position = cursor.position();
    let ident = cursor.ident()?;
    Ok(Some(Name { name: crate::text::fold(&ident), position }))
}

/// What SHOW shows of a session.
pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Session, SqlError> {
    all_or_setting(cursor).map(Session::Show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{StatementKind, parse};

    fn session(sql: &str) -> Session {
        let statement = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).remove(0);
        match statement.kind {
            StatementKind::Session(session) => session,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn set(sql: &str) -> (String, Option<String>) {
        match session(sql) {
            Session::Set { name, value } => (name.name, value),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn transactions_in_all_spellings() {
        for sql in ["BEGIN", "begin work", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"] {
            assert_eq!(session(sql), Session::Begin, "{sql}");
        }
        for sql in ["COMMIT", "END TRANSACTION", "commit work and no chain"] {
            assert_eq!(session(sql), Session::Commit, "{sql}");
        }
        assert_eq!(session("ROLLBACK"), Session::Rollback);
        assert_eq!(session("ABORT"), Session::Rollback);
        assert_eq!(session("ROLLBACK TO SAVEPOINT a"), Session::RollbackTo);
        assert_eq!(session("SAVEPOINT \"_pg3_1\""), Session::Savepoint);
        assert_eq!(session("RELEASE a"), Session::Release);
        assert!(parse("COMMIT PREPARED 'x'").is_err() && parse("COMMIT AND CHAIN").is_err());
    }

    #[test]
    fn settings_in_all_spellings() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(set("SET statement_timeout TO 100"), some("statement_timeout", "100"));
        assert_eq!(set("set local Search_Path = a, \"B\""), some("search_path", "a, B"));
        assert_eq!(set("SET TIME ZONE 'UTC'"), some("timezone", "UTC"));
        assert_eq!(set("SET NAMES 'UTF8'"), some("client_encoding", "UTF8"));
        assert_eq!(set("SET headwater.read_level = durable"), some("headwater.read_level", "durable"));
        assert_eq!(set("SET x = -1"), some("x", "-1"));
        assert_eq!(set("SET SESSION DateStyle TO DEFAULT").1, None);
        assert_eq!(session("SET TRANSACTION READ ONLY"), Session::SetTransaction);
        assert_eq!(session("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), Session::SetTransaction);
        assert_eq!(session("RESET ALL"), Session::Reset(None));
        assert_eq!(session("DISCARD ALL"), Session::Discard { all: true });
        assert_eq!(session("CLOSE ALL"), Session::CloseAll);
        assert_eq!(session("UNLISTEN *"), Session::Unlisten);
        assert!(matches!(session("SHOW TRANSACTION ISOLATION LEVEL"),
            Session::Show(Some(name)) if name.name == TRANSACTION_ISOLATION));
        assert!(matches!(session("DEALLOCATE PREPARE \"S_1\""),
            Session::Deallocate(Some(name)) if name.name == "S_1"));
        assert!(parse("SET x").is_err() && parse("SET ROLE me").is_err());
    }
}
