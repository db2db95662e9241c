//! ALTER and TRUNCATE of views.

use super::create::{checked_name, with_options};
use super::cursor::Cursor;
use super::{AlterAction, AlterView, Name, StatementKind};
use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::tokenizer::Token;

/// What can be altered.
const HINT: &str = "ALTER CONTINUOUS VIEW name RENAME TO name, ADD COLUMN aggregate AS name, SET (option = value, ...) or RESET (option, ...)";

/// After the word ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.words(&["continuous", "view"])
        || cursor.words(&["continuous", "transform"])
        || cursor.word("view")
    {
        return view(cursor).map(StatementKind::AlterView);
    }
    if cursor.is_word(0, "stream") || (cursor.is_word(0, "foreign") && cursor.is_word(1, "table")) {
        let hint = "producers know a stream by its name and columns: CREATE another one, and its views";
        return Err(SqlError::unsupported("ALTER STREAM").at(cursor.position()).with_hint(hint));
    }
    if cursor.is_word(0, "table") {
        let hint = "CREATE TABLE another AS SELECT ... FROM this one, and DROP this one";
        return Err(SqlError::unsupported("ALTER TABLE").at(cursor.position()).with_hint(hint));
    }
    let what = cursor.describe_next().to_uppercase();
    Err(SqlError::unsupported(format!("ALTER {what}")).at(cursor.position()).with_hint(HINT))
}

fn view(cursor: &mut Cursor<'_>) -> Result<AlterView, SqlError> {
    let if_exists = cursor.words(&["if", "exists"]);
    let name = cursor.name()?;
    let at = cursor.position();
    if cursor.words(&["rename", "to"]) {
        return Ok(AlterView { name, if_exists, action: AlterAction::Rename(checked_name(cursor)?) });
    }
    if cursor.word("set") {
        return Ok(AlterView { name, if_exists, action: AlterAction::Set(with_options(cursor)?) });
    }
    if cursor.word("reset") {
        return Ok(AlterView { name, if_exists, action: AlterAction::Reset(names(cursor)?) });
    }
    if cursor.word("add") {
        cursor.word("column");
        let position = cursor.position();
        let item = Box::new(cursor.select_item()?);
        return Ok(AlterView { name, if_exists, action: AlterAction::Add { item, position } });
    }
    for refused in ["drop", "alter", "rename", "owner"] {
        if cursor.is_word(0, refused) {
            let second = if cursor.is_word(1, "column") { " COLUMN" } else { "" };
            let what = format!("ALTER CONTINUOUS VIEW ... {}{second}", refused.to_uppercase());
            let hint = "CREATE a second view beside this one, or CREATE OR REPLACE it, which starts empty";
            return Err(SqlError::unsupported(what).at(at).with_hint(hint));
        }
    }
    Err(cursor.expected("RENAME TO, ADD, SET or RESET"))
}

fn names(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut names = Vec::new();
    loop {
        let position = cursor.position();
        names.push(Name { name: fold(&cursor.ident()?), position });
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(names)
}

/// After the word TRUNCATE.
pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let _ = cursor.words(&["continuous", "view"]) || cursor.word("view") || cursor.word("table");
    let if_exists = cursor.words(&["if", "exists"]);
    let name = cursor.name()?;
    if *cursor.token() == Token::Comma {
        return Err(SqlError::unsupported("truncating several things at once").at(cursor.position()));
    }
    Ok(StatementKind::AlterView(AlterView { name, if_exists, action: AlterAction::Truncate }))
}
