//! `COPY ... TO STDOUT`: a query's rows as lines. `COPY ... FROM STDIN`: lines as rows.
//!
//! Owns: the syntax, old and new, and what its options may be. Must not know: how rows are written or read.

use super::cursor::Cursor;
use super::{Name, StatementKind, insert, session, with_stack};
use crate::error::SqlError;
use crate::text::{Text, fold_name, quote};
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

/// `COPY target [(columns)] FROM STDIN`
#[derive(Clone, Debug, PartialEq)]
pub struct CopyFrom {
    /// What gets the rows.
    pub target: Name,
    /// The columns that a line's fields are for, in order; empty: the target's own.
    pub columns: Vec<Name>,
    /// How lines are read.
    pub options: CopyOptions,
    /// What becomes of lines that are no rows.
    pub on_error: OnError,
}

/// ON_ERROR of COPY FROM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The first one ends it, and nothing is loaded.
    #[default]
    Stop,
    /// The others are loaded.
    Ignore,
}

/// How rows are written or read.
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
    on_error: Option<OnError>,
    /// Where what only one direction takes was written.
    only_to: Option<u32>,
    only_from: Option<u32>,
}

impl Written {
    /// With the defaults of the format; a choice that would read lines otherwise than they were written is refused, as
    /// PostgreSQL does.
    fn finish(self, at: Option<u32>) -> Result<CopyOptions, SqlError> {
        let is_only_csv = self.quote.is_some() || self.escape.is_some() || self.force_quote;
        let options = self.options();
        let is_text = options.format == CopyFormat::Text;
        let in_null = |c: char| options.null.contains(c);
        let wrong = match options.delimiter {
            _ if is_text && is_only_csv => {
                Some(("0A000", "COPY QUOTE, ESCAPE and FORCE_QUOTE require CSV mode"))
            }
            '\\' | '.' | 'a'..='z' | '0'..='9' if is_text => {
                Some(("22023", "COPY delimiter cannot be a letter, a digit, a point or a backslash"))
            }
            delimiter if !is_text && delimiter == options.quote => {
                Some(("22023", "COPY delimiter and quote must be different"))
            }
            _ if in_null('\n') || in_null('\r') => {
                Some(("22023", "COPY null representation cannot use newline or carriage return"))
            }
            delimiter if in_null(delimiter) || !is_text && in_null(options.quote) => {
                Some(("22023", "COPY delimiter and quote must not appear in the NULL specification"))
            }
            _ => None,
        };
        match wrong {
            Some((code, message)) => Err(SqlError::new(code, message).at(at)),
            None => Ok(options),
        }
    }

    fn options(self) -> CopyOptions {
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
pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let source = source(cursor)?;
    if cursor.word("from") {
        return from(cursor, source).map(StatementKind::CopyFrom);
    }
    cursor.expect_word("to")?;
    if !cursor.word("stdout") {
        return Err(SqlError::unsupported("COPY to a file or program of the hub")
            .at(cursor.position())
            .with_hint("COPY ... TO STDOUT, or psql's \\copy"));
    }
    let query = match source {
        Source::Query(query) => query,
        Source::Table { name, columns, .. } => whole(&name, &columns)?,
    };
    let at = cursor.position();
    let written = options(cursor)?;
    if let Some(at) = written.only_from {
        return Err(SqlError::new("42601", "ON_ERROR is an option of COPY FROM").at(Some(at)));
    }
    Ok(StatementKind::Copy(CopyTo { query, options: written.finish(at)? }))
}

/// Behind the word FROM.
fn from(cursor: &mut Cursor<'_>, source: Source) -> Result<CopyFrom, SqlError> {
    let Source::Table { name, position, columns } = source else {
        return Err(SqlError::new("42601", "COPY of a query has no FROM").at(cursor.position()));
    };
    let target = cursor.in_public(name, position)?;
    if !cursor.word("stdin") {
        return Err(SqlError::unsupported("COPY from a file or program of the hub")
            .at(cursor.position())
            .with_hint("COPY ... FROM STDIN, psql's \\copy, or `headwater load`"));
    }
    let at = cursor.position();
    let written = options(cursor)?;
    if let Some(at) = written.only_to {
        return Err(SqlError::new("42601", "FORCE_QUOTE is an option of COPY TO").at(Some(at)));
    }
    if cursor.is_word(0, "where") {
        return Err(SqlError::unsupported("COPY FROM with WHERE")
            .at(cursor.position())
            .with_hint("a view's own WHERE leaves events out"));
    }
    let on_error = written.on_error.unwrap_or_default();
    let options = written.finish(at)?;
    if options.format == CopyFormat::Binary {
        return Err(SqlError::unsupported("COPY FROM in binary format").at(at).with_hint("text and csv"));
    }
    Ok(CopyFrom { target, columns, options, on_error })
}

/// A query in parentheses, or a table with or without its columns.
enum Source {
    Query(Box<ast::Query>),
    Table {
        /// The parts of its name.
        name: Vec<String>,
        position: Option<u32>,
        columns: Vec<Name>,
    },
}

fn source(cursor: &mut Cursor<'_>) -> Result<Source, SqlError> {
    if cursor.consume(&Token::LParen) {
        if !cursor.at_query() {
            return Err(SqlError::unsupported("COPY of anything but a query").at(cursor.position()));
        }
        let query = cursor.query()?;
        cursor.expect(&Token::RParen)?;
        super::refuse::query(cursor.text(), &query)?;
        return Ok(Source::Query(query));
    }
    let position = cursor.position();
    let name = fold_name(&cursor.object_name()?);
    Ok(Source::Table { name, position, columns: insert::columns(cursor)? })
}

/// The query that reads a table.
fn whole(name: &[String], columns: &[Name]) -> Result<Box<ast::Query>, SqlError> {
    let columns: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
    let table: Vec<String> = name.iter().map(|part| quote(part)).collect();
    let text = Text::new(&format!("SELECT {columns} FROM {}", table.join(".")));
    let mut inner = Cursor::new(&text)?;
    with_stack(inner.depth(), || inner.query())
}

fn options(cursor: &mut Cursor<'_>) -> Result<Written, SqlError> {
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
        while !matches!(cursor.token(), Token::SemiColon | Token::EOF) && !cursor.is_word(0, "where") {
            option(cursor, &mut written)?;
        }
    }
    Ok(written)
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
            written.only_to = at;
        }
        "on_error" => {
            written.on_error = Some(on_error(cursor)?);
            written.only_from = at;
        }
        // What is told of them is told anyway.
        "log_verbosity" => drop(session::value(cursor)?),
        _ => return Err(wrong(at)),
    }
    Ok(())
}

fn wrong(at: Option<u32>) -> SqlError {
    SqlError::unsupported("this option of COPY").at(at).with_hint(
        "FORMAT (text, csv, binary), DELIMITER, NULL, HEADER, QUOTE, ESCAPE, FORCE_QUOTE *, ON_ERROR, ENCODING 'UTF8'",
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

fn on_error(cursor: &mut Cursor<'_>) -> Result<OnError, SqlError> {
    let at = cursor.position();
    match session::value(cursor)?.to_lowercase().as_str() {
        "stop" => Ok(OnError::Stop),
        "ignore" => Ok(OnError::Ignore),
        other => Err(SqlError::new("22023", format!("ON_ERROR {other} is not recognized"))
            .at(at)
            .with_hint("stop or ignore")),
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
        (Some(c), None) if c.is_ascii() && !matches!(c, '\0' | '\n' | '\r') => Ok(c),
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
    fn rows_come_from_lines() {
        let sql = "COPY public.S (a, \"B\") FROM STDIN WITH (FORMAT csv, HEADER, ON_ERROR ignore)";
        let StatementKind::CopyFrom(from) = parse(sql).expect("parses").remove(0).kind else {
            panic!("{sql}")
        };
        let columns: Vec<&str> = from.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((from.target.name.as_str(), columns), ("s", vec!["a", "B"]));
        assert_eq!((from.options.format, from.options.header), (CopyFormat::Csv, true));
        assert_eq!(from.on_error, OnError::Ignore);
        assert!(parse("copy s from stdin csv header delimiter ';'").is_ok());
        assert_eq!(options_of("COPY v TO STDOUT (FORMAT csv, ESCAPE '\\')").escape, '\\');
    }

    #[test]
    fn what_is_refused_is_named() {
        for (sql, code, message) in [
            ("COPY s FROM '/tmp/x'", "0A000", "COPY from a file or program of the hub is not supported"),
            ("COPY s FROM STDIN (FORMAT binary)", "0A000", "COPY FROM in binary format is not supported"),
            ("COPY s FROM STDIN (FORCE_QUOTE *)", "42601", "FORCE_QUOTE is an option of COPY TO"),
            ("COPY v TO STDOUT (ON_ERROR stop)", "42601", "ON_ERROR is an option of COPY FROM"),
            ("COPY s FROM STDIN (ON_ERROR skip)", "22023", "ON_ERROR skip is not recognized"),
            ("COPY s FROM STDIN WHERE a > 1", "0A000", "COPY FROM with WHERE is not supported"),
            ("COPY (SELECT 1) FROM STDIN", "42601", "COPY of a query has no FROM"),
            ("COPY v TO '/tmp/x'", "0A000", "COPY to a file or program of the hub is not supported"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT xml)", "0A000", "this option of COPY is not supported"),
            (
                "COPY s FROM STDIN (DELIMITER 'x')",
                "22023",
                "COPY delimiter cannot be a letter, a digit, a point or a backslash",
            ),
            ("COPY s FROM STDIN (QUOTE 'x')", "0A000", "COPY QUOTE, ESCAPE and FORCE_QUOTE require CSV mode"),
            (
                "COPY s FROM STDIN (FORMAT csv, DELIMITER '\"')",
                "22023",
                "COPY delimiter and quote must be different",
            ),
            (
                "COPY s FROM STDIN (NULL 'a\tb')",
                "22023",
                "COPY delimiter and quote must not appear in the NULL specification",
            ),
            ("COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')", "22023", "it must be a single one-byte character"),
            ("COPY (DELETE FROM x) TO STDOUT", "0A000", "COPY of anything but a query is not supported"),
        ] {
            let error = parse(sql).expect_err(sql);
            assert_eq!((error.code, error.message.as_str()), (code, message), "{sql}");
        }
    }
}
