//! Lines of a file, counted and bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::Path;

/// Bytes of one record: a quote that is never closed must not read the whole file into memory.
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;

/// A cursor over lines.
pub(super) struct Lines<R> {
    source: R,
    number: u64,
    raw: Vec<u8>,
}

/// A file up to the length that it had when the load began: what is appended meanwhile is another load's.
pub(super) type Part = BufReader<Take<File>>;

impl Lines<Part> {
    /// Opens the first `bytes` of a file; a byte order mark is skipped.
    pub fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut source = BufReader::new(File::open(path)?.take(bytes));
        if source.fill_buf()?.starts_with(&[0xef, 0xbb, 0xbf]) {
            source.consume(3);
        }
        Ok(Self::new(source))
    }
}

impl<R: BufRead> Lines<R> {
    pub fn new(source: R) -> Self {
        Self { source, number: 0, raw: Vec::new() }
    }

    /// Reads the next line; false at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.raw.clear();
        self.append()
    }

    /// Reads the next line behind what there is; false at the end.
    pub fn append(&mut self) -> io::Result<bool> {
        let mut source = (&mut self.source).take(RECORD_BYTES_MAX as u64 + 1);
        let read = source.read_until(b'\n', &mut self.raw)?;
        self.number += u64::from(read > 0);
        if read > RECORD_BYTES_MAX {
            return Err(io::Error::other(format!("line {} is longer than 16 MiB", self.number)));
        }
        Ok(read > 0)
    }

    /// The line just read, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its bytes, with its line break, and those of the lines it was appended to.
    pub fn text(&self) -> &[u8] {
        &self.raw
    }
}
