//! CSV as RFC 4180 writes it, and as PostgreSQL reads it: an empty field without quotes is NULL, `""` is empty
//! text. Ready-made readers drop the quotes and with them the difference.
//!
//! Records end with LF or CRLF; blank lines are skipped; quoted fields may hold line breaks.

use super::block::{Block, Found};
use super::counted;
use super::faults::{Fault, Place};
use super::lines::{Lines, Part, RECORD_BYTES_MAX};
use super::text;
use std::io::{self, BufRead};
use std::path::Path;

/// The records of a file, one at a time.
pub(super) struct Records<R> {
    lines: Lines<R>,
    fields: Fields,
    /// The line the record begins in.
    begun: u64,
    /// How many fields a record has.
    columns: usize,
}

/// The fields of a record.
#[derive(Default)]
struct Fields {
    /// Their text, back to back.
    text: Vec<u8>,
    /// The end of each in `text`, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Bare,
    Quoted,
    /// Behind a quote that ends the field or begins `""`.
    Quote,
}

impl Records<Part> {
    /// Opens the first `bytes` of a file behind their header line; gives the names in it too.
    pub fn open(path: &Path, bytes: u64) -> io::Result<(Self, Vec<String>)> {
        let mut records = Self::new(Lines::open(path, bytes)?);
        if !records.next()? {
            return Err(io::Error::other("there is no header line"));
        }
        let names: Result<Vec<String>, Fault> = (0..records.fields.ends.len())
            .map(|at| Ok(records.fields.get(at)?.map_or_else(String::new, String::from)))
            .collect();
        let names =
            names.map_err(|fault| io::Error::other(format!("line {}: {}", records.begun, fault.what)))?;
        if let [only] = names.as_slice()
            && let Some(separator) = only.chars().find(|c| matches!(c, ';' | '\t' | '|'))
        {
            let message = format!(
                "line {}: columns are separated by commas, and the header has {separator:?} instead",
                records.begun
            );
            return Err(io::Error::other(message));
        }
        records.columns = names.len();
        Ok((records, names))
    }
}

impl<R: BufRead> Records<R> {
    fn new(lines: Lines<R>) -> Self {
        Self { lines, fields: Fields::default(), begun: 0, columns: 0 }
    }

    /// Reads the next record; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        while self.lines.advance()? {
            self.begun = self.lines.number();
            self.fields.clear();
            let mut at = self.fields.split(self.lines.text(), At::Begin);
            while at == At::Quoted {
                let seen = self.lines.text().len();
                if seen > RECORD_BYTES_MAX || !self.lines.append()? {
                    return Err(io::Error::other(format!(
                        "line {}: a quoted field is not closed",
                        self.begun
                    )));
                }
                at = self.fields.split(&self.lines.text()[seen..], at);
            }
            if !self.fields.is_blank() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<R: BufRead + Send> text::Records for Records<R> {
    fn advance(&mut self) -> io::Result<bool> {
        self.next()
    }

    fn place(&self) -> Place {
        Place::Line(self.begun)
    }

    fn bytes(&self) -> usize {
        self.lines.text().len()
    }

    fn fill(&self, block: &mut Block<'_>) -> Result<(), Fault> {
        let (found, columns) = (self.fields.ends.len(), self.columns);
        if found != columns {
            let found = counted(found as u64, "field", "fields");
            return Err(Fault::malformed(format!("{found} where the header has {columns}")));
        }
        block.push_row(|at| Ok(self.fields.get(at)?.map_or(Found::Null, |text| Found::Text(text.into()))))
    }
}

impl Fields {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// A line of nothing is one empty field without quotes.
    fn is_blank(&self) -> bool {
        self.text.is_empty() && matches!(self.ends.as_slice(), [(_, true)])
    }

    /// Splits one more line of the record.
    fn split(&mut self, line: &[u8], mut at: At) -> At {
        let ending = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        let (content, ending) = line.split_at(line.len() - ending);
        for &byte in content {
            at = match (at, byte) {
                (At::Begin, b'"') => At::Quoted,
                (At::Quoted, b'"') => At::Quote,
                (At::Begin, b',') => self.end(true),
                (At::Bare | At::Quote, b',') => self.end(false),
                (At::Quoted, byte) => self.keep(byte, At::Quoted),
                (At::Quote, b'"') => self.keep(b'"', At::Quoted),
                (_, byte) => self.keep(byte, At::Bare),
            };
        }
        if at == At::Quoted {
            self.text.extend_from_slice(ending);
        } else {
            self.end(at == At::Begin);
        }
        at
    }

    fn keep(&mut self, byte: u8, at: At) -> At {
        self.text.push(byte);
        at
    }

    fn end(&mut self, is_null: bool) -> At {
        self.ends.push((self.text.len(), is_null));
        At::Begin
    }

    /// A field; `None` is NULL.
    fn get(&self, at: usize) -> Result<Option<&str>, Fault> {
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(end, _)| *end);
        match self.ends.get(at) {
            None | Some((_, true)) => Ok(None),
            Some((end, false)) => std::str::from_utf8(&self.text[begin..*end])
                .map(Some)
                .map_err(|_| Fault::malformed("the text is not UTF-8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let mut records = Records::new(Lines::new(text.as_bytes()));
        let mut all = Vec::new();
        while records.next().map_err(|e| e.to_string())? {
            let fields =
                (0..records.fields.ends.len()).map(|at| records.fields.get(at).map(|f| f.map(String::from)));
            all.push(fields.collect::<Result<_, _>>().map_err(|fault| fault.what)?);
        }
        Ok(all)
    }

    /// Errors named a range of rows, and lines were counted without blank ones and quoted line breaks.
    #[test]
    fn a_record_knows_the_line_it_begins_in() {
        let mut records = Records::new(Lines::new("a\n\n\"x\ny\n\"\r\n\r\nb\n".as_bytes()));
        let mut lines = Vec::new();
        while records.next().expect("record") {
            lines.push(records.begun);
        }
        assert_eq!(lines, [1, 3, 7]);
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

    /// It was told as a column that is missing.
    #[test]
    fn other_separators_are_told() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.csv");
        for (text, told) in [("a;b\n1;2\n", "has ';' instead"), ("a\tb\n", "has '\\t' instead")] {
            std::fs::write(&path, text).expect("write");
            let error = Records::open(&path, u64::MAX).map(|_| ()).expect_err("refused").to_string();
            assert!(error.contains("separated by commas") && error.contains(told), "{error}");
        }
        std::fs::write(&path, "a;b,c\n").expect("write");
        assert!(Records::open(&path, u64::MAX).is_ok());
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told_with_its_line() {
        let error = records("a,b\n1,\"x\ny\nz").expect_err("refused");
        assert!(error.contains("line 2: a quoted field is not closed"), "{error}");
    }
}
