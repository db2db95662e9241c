//! Records and their fields, in PostgreSQL's text and CSV formats.

use headwater_sql::{CopyFormat, CopyOptions, SqlError};
use memchr::{memchr, memchr2, memchr3};
use std::ops::Range;

/// Finds where records end, in bytes that come in pieces.
#[derive(Debug)]
pub(super) struct Ends {
    is_csv: bool,
    quote: u8,
    escape: u8,
    /// Up to where was looked.
    seen: usize,
    is_quoted: bool,
    /// The byte before was an escape.
    is_escaped: bool,
}

impl Ends {
    pub(super) fn new(options: &CopyOptions) -> Self {
        Self {
            is_csv: options.format == CopyFormat::Csv,
            quote: byte(options.quote),
            escape: byte(options.escape),
            seen: 0,
            is_quoted: false,
            is_escaped: false,
        }
    }

    /// Behind the line break that ends the record which starts at `begin`; `None` when it has not come yet.
    pub(super) fn find(&mut self, input: &[u8], begin: usize) -> Option<usize> {
        self.seen = self.seen.max(begin);
        let rest = input.get(self.seen..)?;
        let found = if self.is_csv { self.find_csv(rest) } else { self.find_text(rest) };
        self.seen = found.map_or(input.len(), |at| self.seen + at + 1);
        found.map(|_| self.seen)
    }

    /// A line break behind a backslash is data.
    fn find_text(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.is_escaped));
        while let Some(found) = rest.get(at..).and_then(|rest| memchr2(b'\n', b'\\', rest)) {
            at += found;
            if rest.get(at) == Some(&b'\n') {
                return Some(at);
            }
            at += 2;
        }
        // What comes next is escaped when the last byte escapes.
        self.is_escaped = at > rest.len();
        None
    }

    /// A line break within quotes is data.
    fn find_csv(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.is_escaped));
        while let Some(found) = rest.get(at..).and_then(|rest| memchr3(b'\n', self.quote, self.escape, rest))
        {
            at += found;
            match rest.get(at).copied() {
                Some(b'\n') if !self.is_quoted => return Some(at),
                Some(byte) if self.is_quoted && byte == self.escape && self.escape != self.quote => at += 1,
                Some(byte) if byte == self.quote => self.is_quoted = !self.is_quoted,
                _ => {}
            }
            at += 1;
        }
        self.is_escaped = at > rest.len();
        None
    }

    /// The first `bytes` were removed.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.seen = self.seen.saturating_sub(bytes);
    }

    /// A quote is open.
    pub(super) fn is_quoted(&self) -> bool {
        self.is_quoted
    }
}

/// Options are ASCII.
fn byte(c: char) -> u8 {
    u8::try_from(c).unwrap_or(b'"')
}

/// The fields of a record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    parts: Vec<Part>,
    /// What had escapes or quotes, without them, back to back.
    text: Vec<u8>,
}

/// Where a field's text is.
#[derive(Clone, Debug)]
enum Part {
    Null,
    /// In the record, as it is.
    Plain(Range<usize>),
    /// In [`Fields::text`].
    Read(Range<usize>),
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// A field of the record that was split; `None` is NULL.
    ///
    /// # Errors
    /// `22021` when its bytes are no text.
    pub(super) fn get<'f>(&'f self, at: usize, record: &'f [u8]) -> Result<Option<&'f str>, SqlError> {
        let field = match self.parts.get(at) {
            None | Some(Part::Null) => return Ok(None),
            Some(Part::Plain(range)) => record.get(range.clone()),
            Some(Part::Read(range)) => self.text.get(range.clone()),
        };
        let text = std::str::from_utf8(field.unwrap_or_default()).ok();
        let text = text.filter(|text| memchr(0, text.as_bytes()).is_none());
        text.map(Some).ok_or_else(|| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))
    }

    /// Splits a record, without its line break.
    ///
    /// # Errors
    /// `22P04` when a quote is not closed.
    pub(super) fn split(&mut self, record: &[u8], options: &CopyOptions) -> Result<(), SqlError> {
        self.text.clear();
        self.parts.clear();
        match options.format {
            CopyFormat::Csv if memchr(byte(options.quote), record).is_some() => {
                self.split_csv(record, options)
            }
            format => {
                self.split_plain(record, options, format != CopyFormat::Csv);
                Ok(())
            }
        }
    }

    /// Fields without quotes; backslashes escape in the text format.
    fn split_plain(&mut self, record: &[u8], options: &CopyOptions, escapes: bool) {
        let (delimiter, null) = (byte(options.delimiter), options.null.as_bytes());
        let mut begin = 0;
        loop {
            let rest = record.get(begin..).unwrap_or_default();
            let (length, is_escaped) = if escapes {
                until(rest, delimiter)
            } else {
                (memchr(delimiter, rest).unwrap_or(rest.len()), false)
            };
            let end = begin + length;
            let raw = record.get(begin..end).unwrap_or_default();
            let part = if raw == null {
                Part::Null
            } else if is_escaped {
                let from = self.text.len();
                unescape(raw, &mut self.text);
                Part::Read(from..self.text.len())
            } else {
                Part::Plain(begin..end)
            };
            self.parts.push(part);
            if end >= record.len() {
                return;
            }
            begin = end + 1;
        }
    }

    fn split_csv(&mut self, record: &[u8], options: &CopyOptions) -> Result<(), SqlError> {
        let (delimiter, quote, escape) = (byte(options.delimiter), byte(options.quote), byte(options.escape));
        let (mut is_quoted, mut was_quoted, mut begin) = (false, false, 0);
        let mut bytes = record.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if is_quoted {
                let next = bytes.peek().copied();
                if byte == escape && next.is_some_and(|next| next == quote || next == escape) {
                    self.text.extend(bytes.next());
                } else if byte == quote {
                    is_quoted = false;
                } else {
                    self.text.push(byte);
                }
            } else if byte == quote {
                (is_quoted, was_quoted) = (true, true);
            } else if byte == delimiter {
                self.end_csv(begin, was_quoted, options);
                (was_quoted, begin) = (false, self.text.len());
            } else {
                self.text.push(byte);
            }
        }
        if is_quoted {
            return Err(SqlError::new("22P04", "unterminated CSV quoted field"));
        }
        self.end_csv(begin, was_quoted, options);
        Ok(())
    }

    /// What stands for NULL does so without quotes only.
    fn end_csv(&mut self, begin: usize, was_quoted: bool, options: &CopyOptions) {
        let is_null = !was_quoted && self.text.get(begin..) == Some(options.null.as_bytes());
        self.parts.push(if is_null { Part::Null } else { Part::Read(begin..self.text.len()) });
    }
}

/// How many bytes there are up to a delimiter without a backslash before it; whether there are backslashes.
fn until(rest: &[u8], delimiter: u8) -> (usize, bool) {
    let (mut at, mut is_escaped) = (0, false);
    while let Some(found) = rest.get(at..).and_then(|rest| memchr2(delimiter, b'\\', rest)) {
        at += found;
        if rest.get(at) == Some(&delimiter) {
            return (at, is_escaped);
        }
        (at, is_escaped) = (at + 2, true);
    }
    (rest.len(), is_escaped)
}

/// PostgreSQL's escapes: letters for control characters, three octal digits, `x` and two hexadecimal ones; everything
/// else is itself.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some((escaped, tail)) = rest.split_first() else {
            out.push(b'\\');
            return;
        };
        rest = tail;
        match *escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            digit @ b'0'..=b'7' => rest = number(u32::from(digit - b'0'), rest, 2, 8, out),
            b'x' if tail.first().is_some_and(u8::is_ascii_hexdigit) => rest = number(0, rest, 2, 16, out),
            other => out.push(other),
        }
    }
}

/// Up to `digits` more digits of a byte.
fn number<'r>(begun: u32, mut rest: &'r [u8], digits: usize, radix: u32, out: &mut Vec<u8>) -> &'r [u8] {
    let mut value = begun;
    for _ in 0..digits {
        let Some((first, tail)) = rest.split_first() else { break };
        let Some(digit) = char::from(*first).to_digit(radix) else { break };
        value = value * radix + digit;
        rest = tail;
    }
    out.push((value & 0xff) as u8);
    rest
}
