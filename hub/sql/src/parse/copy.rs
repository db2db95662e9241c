//! `COPY ... TO STDOUT`: a query's rows as lines.
//!
//! Owns: the syntax, old and new, and what its options may be. Must not know: how rows are written.
//! `COPY ... FROM STDIN` has its place here, too; until the hub takes events so it is refused by name.

use super::cursor::Cursor;
use super::{session, with_stack};
use crate::error::SqlError;
use crate::text::{Text, fold, fold_name, quote};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

/// `COPY ... TO STDOUT`
#[derive(Clone, Debug, PartialEq)]
pub struct CopyTo {
    /// What is copied.
    pub query: Box<ast::Query>,
    /// How.
    pub options: CopyOptions,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// FORMAT
    pub format: CopyFormat,
    /// DELIMITER: one ASCII character.
    pub delimiter: char,
    /// NULL: what stands for it.
    pub null: String,
    /// HEADER: a first line with the names of the columns.
    pub header: bool,
    /// QUOTE of CSV.
    pub quote: char,
    /// ESCAPE of CSV: before a quote, and before itself.
    pub escape: char,
    /// FORCE_QUOTE *: all values but NULL in quotes.
    pub force_quote: bool,
}

/// FORMAT of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Columns separated by tabs, with backslashes.
    Text,
    /// Comma-separated values.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// What was written of the options; defaults depend on the format.
#[derive(Default)]
struct Written {
    format: Option<CopyFormat>,
    delimiter: Option<char>,
    null: Option<String>,
    header: bool,
    quote: Option<char>,
    escape: Option<char>,
    force_quote: bool,
}

impl Written {
    fn finish(self) -> CopyOptions {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let is_csv = format == CopyFormat::Csv;
        let quote = self.quote.unwrap_or('"');
        CopyOptions {
            format,
            delimiter: self.delimiter.unwrap_or(if is_csv { ',' } else { '\t' }),
            null: self.null.unwrap_or_else(|| if is_csv { String::new() } else { "\\N".into() }),
            header: self.header,
            quote,
            escape: self.escape.unwrap_or(quote),
            force_quote: self.force_quote,
        }
    }
}

/// Behind the word COPY.
pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<CopyTo, SqlError> {
    let query = source(cursor)?;
    if cursor.is_word(0, "from") {
        return Err(from(cursor));
    }
    cursor.expect_word("to")?;
    if !cursor.word("stdout") {
        return Err(SqlError::unsupported("COPY to a file or program of the hub")
            .at(cursor.position())
            .with_hint("COPY ... TO STDOUT, or psql's \\copy"));
    }
    let query = query.ok_or_else(|| cursor.expected("FROM"))?;
    Ok(CopyTo { query, options: options(cursor)? })
}

/// The place of server-side ingest.
fn from(cursor: &Cursor<'_>) -> SqlError {
    SqlError::unsupported("COPY FROM")
        .at(cursor.position())
        .with_hint("events reach a stream through an SDK, HTTP or `headwater load`")
}

/// A query in parentheses, or a table with or without its columns.
fn source(cursor: &mut Cursor<'_>) -> Result<Option<Box<ast::Query>>, SqlError> {
    if cursor.consume(&Token::LParen) {
        if !cursor.at_query() {
            return Err(SqlError::unsupported("COPY of anything but a query").at(cursor.position()));
        }
        let query = cursor.query()?;
        cursor.expect(&Token::RParen)?;
        super::refuse::query(cursor.text(), &query)?;
        return Ok(Some(query));
    }
    let table = fold_name(&cursor.object_name()?);
    let mut columns = Vec::new();
    if cursor.consume(&Token::LParen) {
        loop {
            columns.push(quote(&fold(&cursor.ident()?)));
            if !cursor.consume(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
    let table: Vec<String> = table.iter().map(|part| quote(part)).collect();
    let text = Text::new(&format!("SELECT {columns} FROM {}", table.join(".")));
    let mut inner = Cursor::new(&text)?;
    with_stack(inner.depth(), || inner.query()).map(Some)
}

fn options(cursor: &mut Cursor<'_>) -> Result<CopyOptions, SqlError> {
    let mut written = Written::default();
    cursor.word("with");
    if cursor.consume(&Token::LParen) {
        loop {
            option(cursor, &mut written)?;
            if !cursor.consume(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    } else {
        while !matches!(cursor.token(), Token::SemiColon | Token::EOF) {
            option(cursor, &mut written)?;
        }
    }
    Ok(written.finish())
}

fn option(cursor: &mut Cursor<'_>, written: &mut Written) -> Result<(), SqlError> {
    let at = cursor.position();
    let name = cursor.ident()?.value.to_lowercase();
    match name.as_str() {
        "format" => written.format = Some(format(&session::value(cursor)?).ok_or_else(|| wrong(at))?),
        // The old spelling: the format's name alone.
        "csv" | "binary" => written.format = format(&name),
        "delimiter" | "delimiters" => {
            cursor.word("as");
            written.delimiter = Some(character(cursor)?);
        }
        "null" => {
            cursor.word("as");
            written.null = Some(session::value(cursor)?);
        }
        "header" => written.header = switch(cursor)?,
        "quote" => {
            cursor.word("as");
            written.quote = Some(character(cursor)?);
        }
        "escape" => {
            cursor.word("as");
            written.escape = Some(character(cursor)?);
        }
        "encoding" => encoding(cursor)?,
        "force_quote" => {
            cursor.expect(&Token::Mul)?;
            written.force_quote = true;
        }
        _ => return Err(wrong(at)),
    }
    Ok(())
}

fn wrong(at: Option<u32>) -> SqlError {
    SqlError::unsupported("this option of COPY").at(at).with_hint(
        "FORMAT (text, csv, binary), DELIMITER, NULL, HEADER, QUOTE, ESCAPE, FORCE_QUOTE *, ENCODING 'UTF8'",
    )
}

fn format(name: &str) -> Option<CopyFormat> {
    match name.to_lowercase().as_str() {
        "text" => Some(CopyFormat::Text),
        "csv" => Some(CopyFormat::Csv),
        "binary" => Some(CopyFormat::Binary),
        _ => None,
    }
}

/// HEADER alone is HEADER true.
fn switch(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    for (word, value) in [("true", true), ("on", true), ("false", false), ("off", false)] {
        if cursor.word(word) {
            return Ok(value);
        }
    }
    match cursor.token() {
        Token::Number(..) => session::value(cursor).map(|value| value != "0"),
        _ => Ok(true),
    }
}

fn character(cursor: &mut Cursor<'_>) -> Result<char, SqlError> {
    let at = cursor.position();
    let text = session::value(cursor)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() && !matches!(c, '\n' | '\r' | '\\') => Ok(c),
        _ => Err(SqlError::new("22023", "it must be a single one-byte character").at(at)),
    }
}

fn encoding(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    let at = cursor.position();
    let name = session::value(cursor)?;
    match name.to_lowercase().replace('-', "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(SqlError::unsupported(format!("encoding {name}")).at(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{StatementKind, parse};

    fn options_of(sql: &str) -> CopyOptions {
        match parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).remove(0).kind {
            StatementKind::Copy(copy) => copy.options,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn options_in_both_spellings() {
        let csv = options_of("COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', NULL '-')");
        assert_eq!(
            (csv.format, csv.delimiter, csv.header, csv.null.as_str()),
            (CopyFormat::Csv, ';', true, "-")
        );
        let old = options_of("copy v (a, \"B\") to stdout with delimiter as ';' null '-' csv header");
        assert_eq!(old, csv);
        let plain = options_of("COPY  ( SELECT 1 ) TO STDOUT ");
        assert_eq!((plain.format, plain.delimiter, plain.null.as_str()), (CopyFormat::Text, '\t', "\\N"));
    }

    #[test]
    fn what_is_refused_is_named() {
        for (sql, code, message) in [
            ("COPY s FROM STDIN", "0A000", "COPY FROM is not supported"),
            ("COPY v TO '/tmp/x'", "0A000", "COPY to a file or program of the hub is not supported"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT xml)", "0A000", "this option of COPY is not supported"),
            ("COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')", "22023", "it must be a single one-byte character"),
            ("COPY (DELETE FROM x) TO STDOUT", "0A000", "COPY of anything but a query is not supported"),
        ] {
            let error = parse(sql).expect_err(sql);
            assert_eq!((error.code, error.message.as_str()), (code, message), "{sql}");
        }
    }
}
