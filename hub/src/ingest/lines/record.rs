//! Records and their fields, in PostgreSQL's text and CSV formats.

use headwater_sql::{CopyFormat, CopyOptions, SqlError};

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
        for (at, byte) in rest.iter().enumerate() {
            if self.is_escaped {
                self.is_escaped = false;
            } else if *byte == b'\n' {
                return Some(at);
            } else {
                self.is_escaped = *byte == b'\\';
            }
        }
        None
    }

    /// A line break within quotes is data.
    fn find_csv(&mut self, rest: &[u8]) -> Option<usize> {
        for (at, byte) in rest.iter().enumerate() {
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.is_quoted && *byte == self.escape && self.escape != self.quote {
                self.is_escaped = true;
            } else if *byte == self.quote {
                self.is_quoted = !self.is_quoted;
            } else if *byte == b'\n' && !self.is_quoted {
                return Some(at);
            }
        }
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
    /// Their text, back to back.
    text: Vec<u8>,
    /// The end of each in `text`, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field; `None` is NULL.
    ///
    /// # Errors
    /// `22021` when it is cut between the bytes of a character.
    pub(super) fn get(&self, at: usize) -> Result<Option<&str>, SqlError> {
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(end, _)| *end);
        match self.ends.get(at) {
            None | Some((_, true)) => Ok(None),
            Some((end, false)) => {
                let field = self.text.get(begin..*end).unwrap_or_default();
                let text = std::str::from_utf8(field).ok().filter(|text| !text.contains('\0'));
                text.map(Some)
                    .ok_or_else(|| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))
            }
        }
    }

    /// Splits a record, without its line break.
    ///
    /// # Errors
    /// `22P04` when a quote is not closed.
    pub(super) fn split(&mut self, record: &[u8], options: &CopyOptions) -> Result<(), SqlError> {
        self.text.clear();
        self.ends.clear();
        match options.format {
            CopyFormat::Csv => self.split_csv(record, options),
            _ => {
                self.split_text(record, options);
                Ok(())
            }
        }
    }

    fn split_text(&mut self, record: &[u8], options: &CopyOptions) {
        let delimiter = byte(options.delimiter);
        let mut rest = record;
        loop {
            let begin = self.text.len();
            let (raw, is_escaped) = until(rest, delimiter);
            let is_null = raw == options.null.as_bytes();
            match is_escaped {
                false => self.text.extend_from_slice(raw),
                true if is_null => {}
                true => unescape(raw, &mut self.text),
            }
            if is_null {
                self.text.truncate(begin);
            }
            self.ends.push((self.text.len(), is_null));
            match rest.get(raw.len() + 1..) {
                Some(more) => rest = more,
                None => return,
            }
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
        if is_null {
            self.text.truncate(begin);
        }
        self.ends.push((self.text.len(), is_null));
    }
}

/// The bytes up to a delimiter without a backslash before it; whether there are backslashes.
fn until(rest: &[u8], delimiter: u8) -> (&[u8], bool) {
    let Some(first) = rest.iter().position(|byte| *byte == delimiter || *byte == b'\\') else {
        return (rest, false);
    };
    if rest.get(first) == Some(&delimiter) {
        return (rest.get(..first).unwrap_or_default(), false);
    }
    let mut at = first;
    while let Some(byte) = rest.get(at) {
        match *byte {
            b'\\' => at += 2,
            byte if byte == delimiter => break,
            _ => at += 1,
        }
    }
    (rest.get(..at).unwrap_or(rest), true)
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
