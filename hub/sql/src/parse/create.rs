//! CREATE and DROP: Headwater's spellings and PipelineDB's.

use super::cursor::{Cursor, THEN};
use super::{CreateStream, CreateView, Drop, Name, StatementKind, WithOption, refuse, table};
use crate::error::SqlError;
use crate::text::{Text, fold, fold_name};
use crate::types::parse_type;
use datafusion::sql::sqlparser::tokenizer::Token;
use headwater::limits::NAME_BYTES_MAX;
use headwater::schema::{ARRIVAL_TIMESTAMP, Field};
use std::collections::HashSet;

/// Most columns of a stream: PostgreSQL's limit.
const COLUMNS_MAX: usize = 1_600;

/// After the word CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let position = cursor.position();
    let or_replace = cursor.words(&["or", "replace"]);
    if cursor.words(&["continuous", "view"]) {
        let view = create_view(cursor, or_replace)?;
        return match cursor.then_position() {
            Some(at) => Err(not_a_transform(Some(at))),
            None => Ok(StatementKind::CreateView(view)),
        };
    }
    if cursor.word("view") {
        return create_plain_view(cursor, or_replace, position);
    }
    if !or_replace && cursor.words(&["continuous", "transform"]) {
        return create_transform(cursor).map(StatementKind::CreateView);
    }
    if or_replace {
        return Err(SqlError::unsupported("CREATE OR REPLACE of anything but a continuous view")
            .at(position)
            .with_hint("DROP it first, or use IF NOT EXISTS"));
    }
    if cursor.word("stream") {
        return create_stream(cursor, false);
    }
    if cursor.words(&["foreign", "table"]) {
        return create_stream(cursor, true);
    }
    if cursor.word("table") {
        return table::create(cursor);
    }
    Err(refuse::create_or_drop(cursor, "CREATE"))
}

fn create_stream(cursor: &mut Cursor<'_>, foreign: bool) -> Result<StatementKind, SqlError> {
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    let name = checked_name(cursor)?;
    let columns = columns(cursor)?;
    if foreign {
        cursor.expect_word("server")?;
        let at = cursor.position();
        let server = fold(&cursor.ident()?);
        if server != "pipelinedb" {
            let message = format!("server \"{server}\" does not exist");
            return Err(SqlError::new("42704", message).at(at).with_hint("SERVER pipelinedb makes a stream"));
        }
    }
    Ok(StatementKind::CreateStream(CreateStream { name, columns, if_not_exists }))
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Field>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut columns: Vec<Field> = Vec::new();
    if cursor.consume(&Token::RParen) {
        return Ok(columns);
    }
    loop {
        let at = cursor.position();
        let field = column(cursor)?;
        check_column(&field, &columns).map_err(|e| e.at(at))?;
        columns.push(field);
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(columns)
}

fn column(cursor: &mut Cursor<'_>) -> Result<Field, SqlError> {
    let at = cursor.position();
    let name = fold(&cursor.ident()?);
    check_name(&name).map_err(|e| e.at(at))?;
    let at = cursor.position();
    if matches!(cursor.token(), Token::Comma | Token::RParen) {
        return Err(cursor.expected("a type"));
    }
    let data_type = parse_type(&cursor.data_type()?).map_err(|e| e.at(at))?;
    cursor.word("null");
    if !matches!(cursor.token(), Token::Comma | Token::RParen) {
        refuse::column_constraint(cursor)?;
    }
    Ok(Field { name, data_type })
}

fn check_column(field: &Field, before: &[Field]) -> Result<(), SqlError> {
    if field.name == ARRIVAL_TIMESTAMP {
        let message = format!("every stream has a column \"{ARRIVAL_TIMESTAMP}\" already");
        return Err(
            SqlError::new("42701", message).with_hint("leave it out: events carry it without being told")
        );
    }
    if before.iter().any(|b| b.name == field.name) {
        return Err(SqlError::new("42701", format!("column \"{}\" is named twice", field.name)));
    }
    if before.len() >= COLUMNS_MAX {
        return Err(SqlError::new("54011", format!("a stream has at most {COLUMNS_MAX} columns")));
    }
    Ok(())
}

pub(super) fn checked_name(cursor: &mut Cursor<'_>) -> Result<Name, SqlError> {
    let name = cursor.name()?;
    check_name(&name.name).map_err(|e| e.at(name.position))?;
    Ok(name)
}

pub(super) fn check_name(name: &str) -> Result<(), SqlError> {
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(SqlError::new("42622", format!("a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    // Names without a schema are looked up among all: clients would ask a view about the catalog.
    if name.starts_with("pg_") {
        return Err(SqlError::new("42939", format!("unacceptable name \"{name}\""))
            .with_hint("the prefix \"pg_\" is PostgreSQL's own"));
    }
    // They would end the name, or worse, wherever it is shown.
    if name.contains(char::is_control) {
        return Err(SqlError::new("42602", "a name has no control characters"));
    }
    Ok(())
}

fn create_plain_view(
    cursor: &mut Cursor<'_>,
    or_replace: bool,
    position: Option<u32>,
) -> Result<StatementKind, SqlError> {
    let mut view = create_view(cursor, or_replace)?;
    let action = view.options.iter().position(|o| o.name.name == "action").map(|at| view.options.remove(at));
    let then = cursor.then_position();
    if then.is_some() && !action.as_ref().is_some_and(|a| a.value.eq_ignore_ascii_case("transform")) {
        return Err(not_a_transform(then));
    }
    match action {
        Some(action) if action.value.eq_ignore_ascii_case("transform") && !or_replace => {
            let output = view.options.iter().position(|o| o.name.name == OUTPUT_OPTION);
            view.transform = Some(match output.map(|at| view.options.remove(at)) {
                Some(option) => targets_of_option(&option)?,
                None => then_targets(cursor)?,
            });
            Ok(StatementKind::CreateView(view))
        }
        Some(action) if action.value.eq_ignore_ascii_case("materialize") => {
            Ok(StatementKind::CreateView(view))
        }
        Some(action) => {
            Err(SqlError::unsupported(format!("action = {}", action.value)).at(action.value_position))
        }
        None => Err(SqlError::unsupported("CREATE VIEW without WITH (action = materialize)")
            .at(position)
            .with_hint("CREATE CONTINUOUS VIEW name AS SELECT ...")),
    }
}

/// PipelineDB's name of the option that says where a transform's events go.
const OUTPUT_OPTION: &str = "outputfunc";

/// After CREATE CONTINUOUS TRANSFORM.
fn create_transform(cursor: &mut Cursor<'_>) -> Result<CreateView, SqlError> {
    let view = create_view(cursor, false)?;
    Ok(CreateView { transform: Some(then_targets(cursor)?), ..view })
}

fn not_a_transform(at: Option<u32>) -> SqlError {
    SqlError::unsupported("THEN EXECUTE behind a view").at(at).with_hint(
        "CREATE CONTINUOUS TRANSFORM name AS SELECT ... THEN EXECUTE FUNCTION insert_into_stream('stream')",
    )
}

/// `[THEN EXECUTE FUNCTION insert_into_stream('stream', ...)]`
fn then_targets(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, SqlError> {
    if !cursor.consume(&THEN) {
        return Ok(Vec::new());
    }
    cursor.expect_word("execute")?;
    cursor.advance();
    targets(cursor)
}

/// The same as the value of an option.
fn targets_of_option(option: &WithOption) -> Result<Vec<Name>, SqlError> {
    let text = Text::new(&option.value);
    let named = Cursor::new(&text).and_then(|mut cursor| {
        let names = targets(&mut cursor)?;
        cursor.expect_end_of_statement().map(|()| names)
    });
    let at = option.value_position;
    let names = named.map_err(|e| SqlError { position: at, ..e })?;
    Ok(names.into_iter().map(|name| Name { position: at, ..name }).collect())
}

/// `insert_into_stream('stream', ...)`
fn targets(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, SqlError> {
    let at = cursor.position();
    let parts = fold_name(&cursor.object_name()?);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if !matches!(parts.as_slice(), ["insert_into_stream"] | ["pipelinedb", "insert_into_stream"]) {
        return Err(SqlError::unsupported(format!("{} as the output of a transform", parts.join(".")))
            .at(at)
            .with_hint(
                "insert_into_stream('stream'), or read output_of('transform'); webhooks are not built",
            ));
    }
    cursor.expect(&Token::LParen)?;
    let mut names: Vec<Name> = Vec::new();
    loop {
        let position = cursor.position();
        let Token::SingleQuotedString(name) = cursor.token().clone() else {
            return Err(cursor.expected("the name of a stream, as text"));
        };
        cursor.advance();
        let text = Text::new(&name);
        let named = Cursor::new(&text).and_then(|mut inner| {
            let name = inner.name()?;
            inner.expect_end_of_statement().map(|()| name.name)
        });
        let name = named.map_err(|e| SqlError { position, ..e })?;
        if names.iter().any(|before| before.name == name) {
            return Err(SqlError::new("42710", format!("stream \"{name}\" is named twice")).at(position));
        }
        names.push(Name { name, position });
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(names)
}

fn create_view(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<CreateView, SqlError> {
    let at = cursor.position();
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    if if_not_exists && or_replace {
        return Err(SqlError::new("42601", "OR REPLACE and IF NOT EXISTS exclude each other").at(at));
    }
    let name = checked_name(cursor)?;
    let options = if cursor.word("with") { with_options(cursor)? } else { Vec::new() };
    cursor.expect_word("as")?;
    if !cursor.at_query() {
        return Err(cursor.expected("SELECT"));
    }
    let start = cursor.byte();
    let query = cursor.query()?;
    let query_sql =
        cursor.text().as_str().get(start..cursor.last_byte()).unwrap_or_default().trim_end().to_owned();
    Ok(CreateView { name, if_not_exists, or_replace, options, query, query_sql, transform: None })
}

pub(super) fn with_options(cursor: &mut Cursor<'_>) -> Result<Vec<WithOption>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut options: Vec<WithOption> = Vec::new();
    let mut seen = HashSet::new();
    loop {
        let position = cursor.position();
        let name = fold(&cursor.ident()?);
        if !seen.insert(name.clone()) {
            return Err(SqlError::new("42601", format!("option \"{name}\" is given twice")).at(position));
        }
        cursor.expect(&Token::Eq)?;
        let value_position = cursor.position();
        let value = if name == OUTPUT_OPTION { call_text(cursor)? } else { option_value(cursor)? };
        options.push(WithOption { name: Name { name, position }, value, value_position });
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(options)
}

/// A call as an option's value, as it was typed: it is read when it is known to be wanted.
fn call_text(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let start = cursor.byte();
    cursor.object_name()?;
    cursor.expect(&Token::LParen)?;
    while !cursor.consume(&Token::RParen) {
        if matches!(cursor.token(), Token::EOF | Token::SemiColon) {
            return Err(cursor.expected("\")\""));
        }
        cursor.advance();
    }
    Ok(cursor.text().as_str().get(start..cursor.last_byte()).unwrap_or_default().to_owned())
}

fn option_value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let negative = cursor.consume(&Token::Minus);
    let value = match cursor.token() {
        Token::Number(number, _) if negative => format!("-{number}"),
        Token::Number(number, _) => number.clone(),
        Token::SingleQuotedString(text) if !negative => text.clone(),
        Token::Word(word) if !negative => match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_lowercase(),
        },
        _ => return Err(cursor.expected("a value")),
    };
    cursor.advance();
    Ok(value)
}

/// After the word DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.word("stream") || cursor.words(&["foreign", "table"]) {
        return dropped(cursor).map(StatementKind::DropStream);
    }
    for (words, is_transform) in [
        (["continuous", "view"].as_slice(), Some(false)),
        (&["continuous", "transform"], Some(true)),
        (&["view"], None),
    ] {
        if cursor.words(words) {
            return Ok(StatementKind::DropView(Drop { is_transform, ..dropped(cursor)? }));
        }
    }
    if cursor.word("table") {
        return dropped(cursor).map(StatementKind::DropTable);
    }
    Err(refuse::create_or_drop(cursor, "DROP"))
}

fn dropped(cursor: &mut Cursor<'_>) -> Result<Drop, SqlError> {
    let if_exists = cursor.words(&["if", "exists"]);
    let name = cursor.name()?;
    if *cursor.token() == Token::Comma {
        return Err(SqlError::unsupported("dropping several things at once").at(cursor.position()));
    }
    let cascade = cursor.word("cascade");
    if !cascade {
        cursor.word("restrict");
    }
    Ok(Drop { name, if_exists, cascade, is_transform: None })
}
