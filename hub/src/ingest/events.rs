//! Lines of JSON objects as events: `POST /v1/events`.
//!
//! Owns: which member is which column, which line is told. Must not know: where bytes come from.
//! Invariants: bytes may be cut anywhere; what is kept is one unfinished line, bounded, and one block of rows; a line is
//! taken whole, or the first that cannot be ends it all.

use super::block::Block;
use super::json::{found, message};
use headwater::emit::Cell;
use headwater::ids::Micros;
use headwater::schema::Field;
use headwater::value::column::ColumnBatch;
use headwater_sql::SqlError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A reader of events.
pub struct Events {
    block: Block,
    stream: String,
    input: Vec<u8>,
    /// Up to where a line break was looked for.
    seen: usize,
    line: u64,
    line_bytes_max: usize,
}

impl Events {
    /// For rows of these fields of this stream.
    pub fn new(fields: Vec<Field>, stream: &str, line_bytes_max: usize) -> Self {
        let block = Block::new(fields);
        Self { block, stream: stream.into(), input: Vec::new(), seen: 0, line: 1, line_bytes_max }
    }

    /// Reads more bytes; full blocks of rows go to `take`.
    ///
    /// # Errors
    /// What is wrong with a line, and which one it is: `22P02` no JSON object, or a value of another type and its kind,
    /// `42703` a member that is no column, `42701` one that comes twice, `22021` a NUL, `54000` its length. Those of `take`.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut begin = 0;
        while let Some(at) = input.get(self.seen..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            let end = self.seen + at;
            self.row(&input[begin..end], now, take)?;
            begin = end + 1;
            self.seen = begin;
        }
        self.check_length(input.len() - begin)?;
        self.input = input;
        self.input.drain(..begin);
        self.seen = self.input.len();
        Ok(())
    }

    /// The end: what is left is the last line.
    ///
    /// # Errors
    /// As [`Events::feed`].
    pub fn end(
        &mut self,
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let input = std::mem::take(&mut self.input);
        self.row(&input, now, take)?;
        self.block.take(now).map_or(Ok(()), take)
    }

    fn check_length(&self, bytes: usize) -> Result<(), SqlError> {
        if bytes <= self.line_bytes_max {
            return Ok(());
        }
        let message = format!("line {}: it is longer than {} bytes", self.line, self.line_bytes_max);
        Err(SqlError::new("54000", message).with_hint("events are JSON objects, one per line"))
    }

    fn row(
        &mut self,
        line: &[u8],
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        self.check_length(line.len())?;
        // A byte order mark may come first.
        let line = if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if !line.trim_ascii().is_empty() {
            let mut failed = None;
            let mut reader = serde_json::Deserializer::from_slice(line.trim_ascii_end());
            let row = Row { block: &mut self.block, stream: &self.stream, failed: &mut failed };
            let read = row.deserialize(&mut reader).and_then(|()| reader.end());
            if let Err(error) = read {
                self.block.undo_row();
                let malformed =
                    || SqlError::new("22P02", message(&error)).with_hint("a line is one JSON object");
                let error = failed.unwrap_or_else(malformed);
                return Err(SqlError { message: format!("line {}: {}", self.line, error.message), ..error });
            }
            if self.block.end_row()? {
                self.block.take(now).map_or(Ok(()), take)?;
            }
        }
        self.line += 1;
        Ok(())
    }
}

/// One object, put into columns as it is read.
struct Row<'a> {
    block: &'a mut Block,
    stream: &'a str,
    /// What went wrong, better than JSON's errors can say it.
    failed: &'a mut Option<SqlError>,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(Key(self.block.fields()))? {
            let raw: &RawValue = map.next_value()?;
            let put = match column {
                Ok(at) => put(self.block, at, raw),
                Err(name) => Err(headwater_sql::unknown_column(&name, self.block.fields(), self.stream)),
            };
            if let Err(error) = put {
                *self.failed = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

fn put(block: &mut Block, at: usize, raw: &RawValue) -> Result<(), SqlError> {
    let Some(field) = block.fields().get(at) else { return Ok(()) };
    let (name, data_type) = (field.name.clone(), field.data_type.clone());
    let in_column =
        |error: SqlError| SqlError { message: format!("column \"{name}\": {}", error.message), ..error };
    if block.has(at) {
        return Err(SqlError::new("42701", format!("column \"{name}\" is given twice")));
    }
    let value = found(Some(raw)).map_err(|words| in_column(SqlError::new("22P02", words)))?;
    match value.cell(&data_type) {
        // As in COPY, and as everywhere in PostgreSQL, whose clients end texts there.
        Some(Cell::Text(text)) if memchr::memchr(0, text.as_bytes()).is_some() => {
            let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
            Err(in_column(SqlError::new("22021", message)))
        }
        Some(cell) => block.put(at, cell).map_err(in_column),
        None => Err(in_column(SqlError::new("42804", "an array or object"))),
    }
}

/// The position of a key's column, or its name.
struct Key<'a>(&'a [Field]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|field| field.name == key).ok_or_else(|| key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::value::{DataType, Value};

    fn fields() -> Vec<Field> {
        let field = |name: &str, data_type| Field { name: name.into(), data_type };
        vec![
            field("k", DataType::Text),
            field("n", DataType::Int32),
            field("arrival_timestamp", DataType::Timestamp),
        ]
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<Vec<Value>>, SqlError> {
        let mut events = Events::new(fields(), "s", 100);
        let mut rows = Vec::new();
        let mut take = |batch: ColumnBatch| {
            let row = |row| (0..3).map(|at| batch.columns[at].value(row, &fields()[at].data_type)).collect();
            rows.extend((0..batch.rows()).map(row));
            Ok(())
        };
        for piece in pieces {
            events.feed(piece, Micros(7), &mut take)?;
        }
        events.end(Micros(7), &mut take)?;
        Ok(rows)
    }

    #[test]
    fn members_are_columns_wherever_bytes_are_cut() {
        let text = "\u{feff}{\"n\":1,\"k\":\"a\\u00e4\"}\n\n  {} \r\n{\"k\":null,\"n\":\"3\",\"arrival_timestamp\":1000}";
        let expected = vec![
            vec![Value::Text("a\u{e4}".into()), Value::Int(1), Value::Int(7)],
            vec![Value::Null, Value::Null, Value::Int(7)],
            vec![Value::Null, Value::Int(3), Value::Int(1000)],
        ];
        assert_eq!(read(&[text.as_bytes()]), Ok(expected.clone()));
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), Ok(expected));
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_column() {
        for (text, code, message) in [
            (
                "{}\n{\"n\":1.5}",
                "22P02",
                "line 2: column \"n\": invalid input syntax for type integer: \"1.5\"",
            ),
            ("{\"m\":1}", "42703", "line 1: column \"m\" of stream \"s\" does not exist"),
            ("{\"n\":1,\"n\":2}", "42701", "line 1: column \"n\" is given twice"),
            ("{\"k\":[1]}", "42804", "line 1: column \"k\": an array or object"),
            ("{\"k\":1}", "42804", "line 1: column \"k\": a value of another type, where text is wanted"),
            (
                "{\"k\":\"a\\u0000\"}",
                "22021",
                "line 1: column \"k\": invalid byte sequence for encoding \"UTF8\": 0x00",
            ),
            ("[1]", "22P02", "line 1: a JSON object is expected, not an array at byte 0"),
            ("{\"n\":1} x", "22P02", "line 1: trailing characters at byte 9"),
            ("{\"n\":", "22P02", "line 1: EOF while parsing a value at byte 5"),
        ] {
            let error = read(&[text.as_bytes()]).expect_err(text);
            let message = message.replace(" at byte 0", "");
            assert!(error.code == code && error.message.starts_with(&message), "{text}: {error:?}");
        }
        let long = format!("{{\"k\":\"{}\"}}", "x".repeat(100));
        assert_eq!(read(&[long.as_bytes()]).map_err(|e| e.code), Err("54000"));
    }
}
