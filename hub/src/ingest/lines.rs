//! Lines of COPY, in PostgreSQL's text and CSV formats, as rows.
//!
//! Owns: where records end, what their fields are, which line is told. Must not know: who sends bytes, what becomes of
//! rows.
//! Invariants: bytes may be cut anywhere; what is kept is one unfinished record, bounded, and one block of rows; a row
//! is taken whole or not at all.

mod record;

use super::block::Block;
use headwater::emit::Cell;
use headwater::ids::Micros;
use headwater::schema::Field;
use headwater::value::column::ColumnBatch;
use headwater_sql::source::RowLines;
use headwater_sql::{CopyFormat, CopyOptions, Name, OnError, SqlError, TableTarget};
use record::{Ends, Fields};

/// What the first line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A row.
    None,
    /// Nothing: it is skipped.
    Skipped,
    /// The names of the columns.
    Names,
}

/// How lines are read.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// Format, and what separates, quotes and stands for NULL.
    pub copy: CopyOptions,
    /// The first line.
    pub header: Header,
    /// Whether a line `\\.` ends it all, as in COPY; elsewhere it is a row like any other.
    pub end_mark: bool,
    /// What becomes of lines that are no rows.
    pub on_error: OnError,
    /// Longest line, bytes.
    pub line_bytes_max: usize,
}

/// A reader of lines.
pub struct Lines {
    options: LineOptions,
    /// For every field of a line, the column that gets it.
    columns: Vec<usize>,
    /// The stream or table, for people.
    target: String,
    block: Block,
    /// Bytes that are not read yet.
    input: Vec<u8>,
    ends: Ends,
    fields: Fields,
    /// The line that the record at hand begins in.
    line: u64,
    is_head: bool,
    is_over: bool,
    skipped: u64,
    first_skipped: Option<SqlError>,
    /// Rows so far.
    rows: u64,
    /// Kept where rows can be refused once all have come.
    places: Option<RowLines>,
}

impl Lines {
    /// For rows of these columns of these fields.
    pub fn new(options: LineOptions, fields: Vec<Field>, columns: Vec<usize>, stream: &str) -> Self {
        Self::into_block(options, Block::new(fields), columns, stream)
    }

    /// For rows of a table.
    pub fn of_table(options: LineOptions, target: &TableTarget) -> Self {
        let block = Block::of_table(target.clone());
        let lines = Self::into_block(options, block, target.columns.clone(), &target.table.name);
        Self { places: Some(RowLines::default()), ..lines }
    }

    fn into_block(options: LineOptions, block: Block, columns: Vec<usize>, target: &str) -> Self {
        let is_head = options.header != Header::None;
        Self {
            ends: Ends::new(&options.copy),
            fields: Fields::default(),
            options,
            columns,
            target: target.into(),
            block,
            input: Vec::new(),
            line: 1,
            is_head,
            is_over: false,
            skipped: 0,
            first_skipped: None,
            rows: 0,
            places: None,
        }
    }

    /// Which row stands in which line; only for rows of tables.
    pub fn places(&mut self) -> RowLines {
        self.places.take().unwrap_or_default()
    }

    /// Lines that were no rows, and what was wrong with the first.
    pub fn skipped(&self) -> Option<(u64, &SqlError)> {
        self.first_skipped.as_ref().map(|error| (self.skipped, error))
    }

    /// Reads more bytes; full blocks of rows go to `take`.
    ///
    /// # Errors
    /// What is wrong with a line, and which one it is: `22P04` fields, `22P02` and its kind values, `54000` its length,
    /// `22021` bytes that are not UTF-8. Those of `take`.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        if self.is_over {
            return Ok(());
        }
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut begin = 0;
        while let Some(end) = self.ends.find(&input, begin) {
            self.record(&input[begin..end], now, take)?;
            begin = end;
            if self.is_over {
                return Ok(());
            }
        }
        if input.len() - begin > self.options.line_bytes_max {
            let message = format!("a line is longer than {} bytes", self.options.line_bytes_max);
            return Err(self.at_line(SqlError::new("54000", message).with_hint("is a quote not closed?")));
        }
        self.input = input;
        self.input.drain(..begin);
        self.ends.moved(begin);
        Ok(())
    }

    /// The end: what is left is the last line.
    ///
    /// # Errors
    /// As [`Lines::feed`].
    pub fn end(
        &mut self,
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let input = std::mem::take(&mut self.input);
        if !self.is_over && !input.is_empty() {
            if self.ends.is_quoted() {
                return Err(self.at_line(SqlError::new("22P04", "unterminated CSV quoted field")));
            }
            self.record(&input, now, take)?;
        }
        self.block.take(now).map_or(Ok(()), take)
    }

    fn record(
        &mut self,
        record: &[u8],
        now: Micros,
        take: &mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let breaks = match self.options.copy.format {
            CopyFormat::Csv => memchr::memchr_iter(b'\n', record).count() as u64,
            _ => 1,
        };
        let content = record.strip_suffix(b"\n").unwrap_or(record);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let content = self.without_mark(content);
        if self.options.end_mark && content == b"\\." {
            self.is_over = true;
            return Ok(());
        }
        let read = match std::mem::take(&mut self.is_head) {
            true => self.head(content).map(|()| false),
            false => self.row(content),
        };
        match read {
            Ok(true) => self.block.take(now).map_or(Ok(()), take)?,
            Ok(false) => {}
            Err(error) => self.skip(error)?,
        }
        self.line += breaks;
        Ok(())
    }

    /// CSV may begin with a byte order mark, which is no part of its first value.
    fn without_mark<'c>(&self, content: &'c [u8]) -> &'c [u8] {
        let may_have = self.line == 1 && self.options.copy.format == CopyFormat::Csv;
        content.strip_prefix(b"\xef\xbb\xbf").filter(|_| may_have).unwrap_or(content)
    }

    /// A line that is no row.
    #[cold]
    fn skip(&mut self, error: SqlError) -> Result<(), SqlError> {
        self.block.undo_row();
        let error = self.at_line(error);
        if self.options.on_error == OnError::Stop {
            return Err(error);
        }
        self.skipped += 1;
        self.first_skipped.get_or_insert(error);
        Ok(())
    }

    fn at_line(&self, error: SqlError) -> SqlError {
        SqlError { message: format!("line {}: {}", self.line, error.message), ..error }
    }

    fn head(&mut self, content: &[u8]) -> Result<(), SqlError> {
        if self.options.header != Header::Names {
            return Ok(());
        }
        // Without names nothing can be read: this is never skipped.
        self.name_columns(content).inspect_err(|_| self.options.on_error = OnError::Stop)
    }

    fn name_columns(&mut self, content: &[u8]) -> Result<(), SqlError> {
        self.fields.split(content, &self.options.copy)?;
        let names = (0..self.fields.len()).map(|at| {
            let name = self.fields.get(at, content)?.unwrap_or_default().to_owned();
            Ok(Name { name, position: None })
        });
        let names = names.collect::<Result<Vec<_>, SqlError>>()?;
        self.columns = headwater_sql::columns_of(self.block.fields(), &names, &self.target)?;
        Ok(())
    }

    /// A row; true when the block is full.
    fn row(&mut self, content: &[u8]) -> Result<bool, SqlError> {
        self.fields.split(content, &self.options.copy)?;
        let (found, wanted) = (self.fields.len(), self.columns.len());
        if found < wanted {
            let missing = self.columns.get(found).and_then(|at| self.block.fields().get(*at));
            let name = missing.map_or("", |field| field.name.as_str());
            return Err(SqlError::new("22P04", format!("missing data for column \"{name}\"")));
        }
        if found > wanted {
            return Err(SqlError::new("22P04", "extra data after last expected column"));
        }
        for (at, column) in self.columns.iter().enumerate() {
            let cell = self.fields.get(at, content)?.map_or(Cell::Null, Cell::Text);
            if let Err(error) = self.block.put(*column, cell) {
                let name = self.block.fields().get(*column).map_or("", |field| field.name.as_str());
                let message = format!("column \"{name}\": {}", error.message);
                return Err(SqlError { message, ..error });
            }
        }
        let is_full = self.block.end_row()?;
        if let Some(places) = &mut self.places {
            places.push(self.rows, self.line);
        }
        self.rows += 1;
        Ok(is_full)
    }
}

#[cfg(test)]
mod tests;
