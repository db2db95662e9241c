//! CSV as RFC 4180 writes it, and as PostgreSQL reads it: an empty field without quotes is NULL, `""` is empty
//! text. Ready-made readers drop the quotes and with them the difference.
//!
//! Records end with LF or CRLF; blank lines are skipped; quoted fields may hold line breaks.

use headwater_sql::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use headwater_sql::arrow::datatypes::{DataType, Field, Schema};
use headwater_sql::arrow::error::ArrowError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// Bytes of one record: a quote that is never closed must not read the whole file into memory.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// The records of a file, one at a time.
pub(super) struct Records<R> {
    source: R,
    /// Lines read so far.
    line: u64,
    raw: Vec<u8>,
    /// The fields' text, back to back.
    text: Vec<u8>,
    /// The end of each field in `text`, and whether it is NULL.
    fields: Vec<(usize, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Bare,
    Quoted,
    /// Behind a quote that ends the field or begins `""`.
    Quote,
}

impl Records<BufReader<File>> {
    /// Opens a file; a byte order mark is skipped.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut source = BufReader::new(File::open(path)?);
        if source.fill_buf()?.starts_with(&[0xef, 0xbb, 0xbf]) {
            source.consume(3);
        }
        Ok(Self::new(source))
    }
}

impl<R: BufRead> Records<R> {
    fn new(source: R) -> Self {
        Self { source, line: 0, raw: Vec::new(), text: Vec::new(), fields: Vec::new() }
    }

    /// Reads the next record; false at the end.
    pub fn advance(&mut self) -> Result<bool, ArrowError> {
        loop {
            self.raw.clear();
            self.text.clear();
            self.fields.clear();
            let begun = self.line + 1;
            let mut at = At::Begin;
            loop {
                let seen = self.raw.len();
                if self.read_line()? == 0 {
                    return if seen == 0 { Ok(false) } else { Err(unclosed(begun)) };
                }
                at = self.split(seen, at);
                if at != At::Quoted {
                    break;
                }
                if self.raw.len() > RECORD_BYTES_MAX {
                    return Err(unclosed(begun));
                }
            }
            // A line of nothing is one empty field without quotes.
            if !(self.text.is_empty() && matches!(self.fields.as_slice(), [(_, true)])) {
                return Ok(true);
            }
        }
    }

    fn read_line(&mut self) -> Result<usize, ArrowError> {
        let mut source = (&mut self.source).take(RECORD_BYTES_MAX as u64 + 1);
        let read = source.read_until(b'\n', &mut self.raw)?;
        self.line += 1;
        if read > RECORD_BYTES_MAX {
            return Err(ArrowError::CsvError(format!("line {} is longer than 16 MiB", self.line)));
        }
        Ok(read)
    }

    /// Splits what was read from byte `from` on.
    fn split(&mut self, from: usize, mut at: At) -> At {
        let raw = std::mem::take(&mut self.raw);
        let line = &raw[from..];
        let ending = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        let (content, ending) = line.split_at(line.len() - ending);
        for &byte in content {
            at = match (at, byte) {
                (At::Begin, b'"') => At::Quoted,
                (At::Quoted, b'"') => At::Quote,
                (At::Begin, b',') => self.end_field(true),
                (At::Bare | At::Quote, b',') => self.end_field(false),
                (At::Quoted, byte) => self.keep(byte, At::Quoted),
                (At::Quote, b'"') => self.keep(b'"', At::Quoted),
                (_, byte) => self.keep(byte, At::Bare),
            };
        }
        if at == At::Quoted {
            self.text.extend_from_slice(ending);
        } else {
            self.end_field(at == At::Begin);
        }
        self.raw = raw;
        at
    }

    fn keep(&mut self, byte: u8, at: At) -> At {
        self.text.push(byte);
        at
    }

    fn end_field(&mut self, is_null: bool) -> At {
        self.fields.push((self.text.len(), is_null));
        At::Begin
    }

    /// How many fields the record has.
    fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field of the record; `None` is NULL.
    fn field(&self, at: usize) -> Result<Option<&str>, ArrowError> {
        let begin = at.checked_sub(1).and_then(|before| self.fields.get(before)).map_or(0, |(end, _)| *end);
        match self.fields.get(at) {
            None | Some((_, true)) => Ok(None),
            Some((end, false)) => std::str::from_utf8(&self.text[begin..*end])
                .map(Some)
                .map_err(|_| ArrowError::CsvError(format!("line {} is not UTF-8", self.line))),
        }
    }
}

fn unclosed(line: u64) -> ArrowError {
    ArrowError::CsvError(format!("line {line}: a quoted field is not closed"))
}

/// The names in the header line.
pub(super) fn header(path: &Path) -> Result<Vec<String>, ArrowError> {
    let mut records = Records::open(path)?;
    if !records.advance()? {
        return Err(ArrowError::CsvError("there is no header line".into()));
    }
    (0..records.len()).map(|at| Ok(records.field(at)?.unwrap_or_default().to_owned())).collect()
}

/// Batches of up to `rows` rows of the wanted columns, as text.
pub(super) struct Batches {
    records: Records<BufReader<File>>,
    columns: usize,
    order: Vec<usize>,
    schema: Arc<Schema>,
    rows: usize,
}

impl Batches {
    /// Opens a file behind its header line. `order`: the wanted columns by position.
    pub fn open(path: &Path, names: &[String], order: Vec<usize>, rows: usize) -> Result<Self, ArrowError> {
        let mut records = Records::open(path)?;
        records.advance()?;
        let field = |at: &usize| Field::new(names.get(*at).map_or("", String::as_str), DataType::Utf8, true);
        let schema = Arc::new(Schema::new(order.iter().map(field).collect::<Vec<_>>()));
        Ok(Self { records, columns: names.len(), order, schema, rows })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let mut builders: Vec<StringBuilder> = self.order.iter().map(|_| StringBuilder::new()).collect();
        let mut rows = 0;
        while rows < self.rows && self.records.advance()? {
            if self.records.len() != self.columns {
                let (line, found, columns) = (self.records.line, self.records.len(), self.columns);
                let message = format!("line {line} has {found} fields, the header has {columns}");
                return Err(ArrowError::CsvError(message));
            }
            for (builder, at) in builders.iter_mut().zip(&self.order) {
                builder.append_option(self.records.field(*at)?);
            }
            rows += 1;
        }
        let arrays: Vec<ArrayRef> =
            builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        let options = headwater_sql::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        Ok((rows > 0).then_some(batch))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let mut records = Records::new(text.as_bytes());
        let mut all = Vec::new();
        while records.advance().map_err(|e| e.to_string())? {
            let fields = (0..records.len()).map(|at| records.field(at).map(|f| f.map(String::from)));
            all.push(fields.collect::<Result<_, _>>().map_err(|e| e.to_string())?);
        }
        Ok(all)
    }

    #[test]
    fn null_and_empty_text_are_told_apart() {
        let some = |text: &str| Some(String::from(text));
        for (text, expected) in [
            ("a,,\"\"\n", vec![vec![some("a"), None, some("")]]),
            (",\r\n", vec![vec![None, None]]),
            ("\"\"\n", vec![vec![some("")]]),
            ("x\n\n\r\ny", vec![vec![some("x")], vec![some("y")]]),
            ("\"a\"\"b\",\"c,d\"\n", vec![vec![some("a\"b"), some("c,d")]]),
            (
                "\"two\r\nlines\n\",1\n2,3\n",
                vec![vec![some("two\r\nlines\n"), some("1")], vec![some("2"), some("3")]],
            ),
            ("5\" pipe,\"a\"b\n", vec![vec![some("5\" pipe"), some("ab")]]),
            ("NULL,NaN", vec![vec![some("NULL"), some("NaN")]]),
            ("", vec![]),
        ] {
            assert_eq!(records(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told_with_its_line() {
        let error = records("a,b\n1,\"x\ny\nz").expect_err("refused");
        assert!(error.contains("line 2: a quoted field is not closed"), "{error}");
    }
}
