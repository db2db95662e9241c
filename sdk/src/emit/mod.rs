//! Events onto columns: any `Serialize` struct or map, dynamic rows, whole batches.
//!
//! Owns: matching field names to columns, converting values to column types, refusing what does not fit.
//! Must not know: views, plans, threads, the clock (callers pass the time).
//! Invariants: a row is added whole or not at all; after the first row of a type nothing is allocated
//! per row but what columns grow by; a buffer always holds a batch that [`ColumnBatch::check`] accepts.
//!
//! What columns take from the fields of a struct or the entries of a map, and from a [`Value`]; a wrong kind is refused, and
//! nothing is cut but decimals, which round. `None` and `()` are NULL; a newtype is what it holds.
//!
//! | column | takes |
//! |---|---|
//! | `boolean` | `bool` |
//! | `smallint`, `integer`, `bigint` | integers of every width in the column's range; whole doubles |
//! | `real`, `double precision` | `f32`, `f64`, integers; NaN is refused |
//! | `numeric(p, s)` | integers, doubles, decimal text; rounded to `s` digits, half away from zero |
//! | `text` | `str`, `String`, `char`, unit variants of enums by name |
//! | `bytea` | `Vec<u8>`, `[u8; N]`, serde's bytes (`serde_bytes`) |
//! | `uuid` | text with or without hyphens and braces; 16 bytes |
//! | `date` | whole days since 1970-01-01; text `2024-02-29` |
//! | `timestamptz` | whole microseconds since 1970-01-01T00:00:00Z; text `2024-02-29T12:00:00.5+01:00`, UTC without a zone |
//! | `interval` | text as PostgreSQL has it: `1 mon -2 days 03:04:05.5`, `90 minutes`; a [`Value::Interval`] |
//!
//! `arrival_timestamp` is a `timestamptz` that every stream has; without one, or with NULL, it is now by the hub's clock.
//!
//! ```
//! use headwater::emit::EventBuffer;
//! use headwater::ids::{Micros, StreamId};
//! use headwater::schema::{Field, StreamSchema};
//! use headwater::value::{DataType, Interval, Value};
//!
//! #[derive(serde::Serialize)]
//! struct Reading<'a> {
//!     id: [u8; 16],
//!     day: i32,
//!     at: &'a str,
//!     price: &'a str,
//!     took: &'a str,
//!     raw: Vec<u8>,
//! }
//! let columns = [
//!     ("id", DataType::Uuid, Value::Bytes(vec![7; 16])),
//!     ("day", DataType::Date, Value::Int(19_782)),
//!     ("at", DataType::Timestamp, Value::Int(1_709_206_200_500_000)),
//!     ("price", DataType::Decimal { precision: 6, scale: 2 }, Value::Decimal(1235)),
//!     ("took", DataType::Interval, Value::Interval(Interval { months: 0, days: 1, micros: 5_400_000_000 })),
//!     ("raw", DataType::Bytea, Value::Bytes(vec![0, 255])),
//! ];
//! let fields = columns.iter().map(|(name, data_type, _)| Field { name: name.to_string(), data_type: data_type.clone() });
//! let schema = StreamSchema { id: StreamId(1), name: "readings".into(), fields: fields.collect() };
//! let mut buffer = EventBuffer::new(schema);
//! let (at, price, took) = ("2024-02-29T12:30:00.5+01:00", "12.345", "1 day 01:30");
//! buffer.push(&Reading { id: [7; 16], day: 19_782, at, price, took, raw: vec![0, 255] }, Micros(0))?;
//! for ((name, data_type, value), column) in columns.iter().zip(&buffer.batch().columns) {
//!     assert_eq!(column.value(0, data_type), *value, "{name}");
//! }
//! # Ok::<(), headwater::emit::EmitError>(())
//! ```

#[cfg(feature = "client")]
mod cell;
mod column;
#[cfg(feature = "client")]
mod keep;
mod row;
#[cfg(test)]
mod tests;

use crate::ids::Micros;
use crate::schema::{ARRIVAL_TIMESTAMP, StreamSchema};
use crate::value::column::{Column, ColumnBatch, ColumnData, Slot};
use crate::value::{DataType, Value};
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "client")]
pub use cell::{Cell, push_cell};
use column::Target;
#[cfg(feature = "client")]
pub(crate) use keep::KeptEvent;
use serde::Serialize;

/// Why an event was refused. Nothing of it is in the buffer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The stream has no such column.
    #[error("unknown column {0}")]
    UnknownColumn(String),
    /// The value's kind does not convert to the column's type.
    #[error("{0}")]
    WrongType(Mismatch),
    /// The column got NaN.
    #[error("column {0} got NaN")]
    NotANumber(String),
    /// The value does not fit the column's range or precision.
    #[error("column {0} is out of range")]
    OutOfRange(String),
    /// Text that does not read as the column's type.
    #[error("column {0} cannot be read as its type")]
    Malformed(String),
    /// Text or bytea above [`EmitOptions::value_bytes_max`].
    #[error("column {0} is too long")]
    TooLong(String),
    /// A column was given twice.
    #[error("column {0} is given twice")]
    Duplicate(String),
    /// The event is not a struct or a map.
    #[error("event is not a struct or a map")]
    NotARow,
    /// The event's own `Serialize` failed.
    #[error("event cannot be serialised: {0}")]
    Serialize(String),
    /// The buffer holds [`EmitOptions::rows_max`] rows or 2 GiB of one column's text: evaluate and clear it.
    #[error("buffer is full")]
    Full,
}

/// A value of a kind that does not convert to its column's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?} is {expected}, the value is {found}")]
#[non_exhaustive]
pub struct Mismatch {
    /// The column.
    pub column: String,
    /// Its type as SQL writes it; what every column takes, while the stream is not known.
    pub expected: String,
    /// The kind of the value.
    pub found: &'static str,
}

impl EmitError {
    /// The stable code of this error, as in `Stats::refused`. Batches and the hub's metrics do not tell these apart:
    /// there all of them are `invalid`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownColumn(_) => "unknown_column",
            Self::WrongType(_) => "wrong_type",
            Self::NotANumber(_) => "nan",
            Self::OutOfRange(_) => "out_of_range",
            Self::Malformed(_) => "malformed",
            Self::TooLong(_) => "too_long",
            Self::Duplicate(_) => "duplicate_column",
            Self::NotARow => "not_a_row",
            Self::Serialize(_) => "serialize",
            Self::Full => "buffer_full",
        }
    }
}

/// Limits of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmitOptions {
    /// Longest text or bytea value in bytes. Default 64 KiB; longer ones refuse the event.
    pub value_bytes_max: usize,
    /// Most rows between two clears. Default 1 Mi; callers clear about every thousand.
    pub rows_max: usize,
}

impl Default for EmitOptions {
    fn default() -> Self {
        Self { value_bytes_max: 64 << 10, rows_max: 1 << 20 }
    }
}

/// What went wrong with one value; the column's name is added on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// With the kind of the value.
    WrongType(&'static str),
    NotANumber,
    OutOfRange,
    Malformed,
    TooLong,
    Full,
}

impl Fault {
    /// `data_type`: the column's, where it is known.
    #[cold]
    fn at(self, column: &str, data_type: Option<&DataType>) -> EmitError {
        let column = String::from(column);
        match self {
            Self::WrongType(found) => {
                let expected = data_type.map_or_else(|| "a scalar or bytes".into(), sql_name);
                EmitError::WrongType(Mismatch { column, expected, found })
            }
            Self::NotANumber => EmitError::NotANumber(column),
            Self::OutOfRange => EmitError::OutOfRange(column),
            Self::Malformed => EmitError::Malformed(column),
            Self::TooLong => EmitError::TooLong(column),
            Self::Full => EmitError::Full,
        }
    }
}

/// Rows of one stream on their way to a [`crate::rollup::Rollup`].
///
/// ```
/// use headwater::emit::EventBuffer;
/// use headwater::ids::{Micros, StreamId};
/// use headwater::schema::{Field, StreamSchema};
/// use headwater::value::DataType;
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Pageview<'a> {
///     url: &'a str,
///     latency_ms: Option<f64>,
/// }
///
/// let field = |name: &str, data_type| Field { name: name.into(), data_type };
/// let fields = vec![field("url", DataType::Text), field("latency_ms", DataType::Float64)];
/// let mut buffer = EventBuffer::new(StreamSchema { id: StreamId(1), name: "pageviews".into(), fields });
/// buffer.push(&Pageview { url: "/", latency_ms: Some(12.5) }, Micros(1_700_000_000_000_000))?;
/// assert_eq!(buffer.rows(), 1);
///
/// #[derive(Serialize)]
/// struct Typo {
///     uri: &'static str,
/// }
/// let error = buffer.push(&Typo { uri: "/" }, Micros(0)).unwrap_err();
/// assert_eq!(error.code(), "unknown_column");
/// assert_eq!(buffer.rows(), 1);
/// # Ok::<(), headwater::emit::EmitError>(())
/// ```
#[derive(Clone, Debug)]
pub struct EventBuffer {
    schema: StreamSchema,
    options: EmitOptions,
    batch: ColumnBatch,
    rows: usize,
    /// Bit `i`: the unfinished row has column `i`. Columns from 63 on share the last bit and are told
    /// apart by their lengths.
    seen: u64,
    all_seen: u64,
    /// For the n-th field of the last struct: its name's address and length, and its column.
    fields: Vec<(usize, usize, usize)>,
}

impl EventBuffer {
    /// An empty buffer with default limits.
    pub fn new(schema: StreamSchema) -> Self {
        Self::with_options(schema, EmitOptions::default())
    }

    /// An empty buffer.
    pub fn with_options(schema: StreamSchema, options: EmitOptions) -> Self {
        let batch = schema.empty_batch();
        let all_seen = if schema.fields.len() < 63 { (2 << schema.fields.len()) - 1 } else { u64::MAX };
        Self { schema, options, batch, rows: 0, seen: 0, all_seen, fields: Vec::new() }
    }

    /// The stream's schema.
    pub fn schema(&self) -> &StreamSchema {
        &self.schema
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows, to be evaluated.
    pub fn batch(&self) -> &ColumnBatch {
        &self.batch
    }

    /// Takes the last row out, as a batch of its own.
    pub fn take_last(&mut self) -> Option<ColumnBatch> {
        let last = self.rows.checked_sub(1)?;
        let mut alone = self.schema.empty_batch();
        let types = self.schema.fields.iter().map(|field| &field.data_type).chain([&DataType::Timestamp]);
        for ((into, from), data_type) in alone.columns.iter_mut().zip(&mut self.batch.columns).zip(types) {
            into.push(&from.value(last, data_type));
            from.truncate(last);
        }
        self.rows = last;
        Some(alone)
    }

    /// Removes all rows, keeps the memory.
    pub fn clear(&mut self) {
        for Column { data, slots } in &mut self.batch.columns {
            data.truncate(0);
            // A column that had NULLs will have some again; one that had none goes back to the fast paths.
            match slots {
                Some(some) if some.iter().any(|slot| *slot != Slot::Valid) => some.clear(),
                _ => *slots = None,
            }
        }
        self.rows = 0;
        self.seen = 0;
    }

    /// Adds a struct or a map: its fields are columns by name, missing columns are NULL. `arrival` is used
    /// unless the event has an `arrival_timestamp` of its own that is not NULL. The [module](self) says what columns take.
    ///
    /// # Errors
    /// The event does not fit the stream, or the buffer is full.
    pub fn push<T: Serialize + ?Sized>(&mut self, event: &T, arrival: Micros) -> Result<(), EmitError> {
        self.room()?;
        match event.serialize(row::RowSerializer(row::BufferRow { buffer: self })) {
            Ok(()) => self.complete(arrival),
            Err(error) => return Err(self.undo(*error.0)),
        }
        Ok(())
    }

    /// Adds a row of (column name, value) pairs, as [`EventBuffer::push`] does.
    ///
    /// # Errors
    /// Those of [`EventBuffer::push`].
    pub fn push_values(&mut self, values: &[(&str, Value)], arrival: Micros) -> Result<(), EmitError> {
        self.room()?;
        let added = values.iter().try_for_each(|(name, value)| {
            let column =
                self.schema.column(name).ok_or_else(|| EmitError::UnknownColumn(String::from(*name)))?;
            match self.target(column) {
                Some(target) => {
                    let data_type = target.data_type;
                    target.value(value).map_err(|fault| fault.at(name, Some(data_type)))
                }
                None => Err(self.duplicate(column)),
            }
        });
        match added {
            Ok(()) => self.complete(arrival),
            Err(error) => return Err(self.undo(error)),
        }
        Ok(())
    }

    #[inline(always)]
    fn room(&self) -> Result<(), EmitError> {
        if self.rows < self.options.rows_max { Ok(()) } else { Err(EmitError::Full) }
    }

    /// The place for the current row's value of a column; `None` when the row has one already. Always
    /// inlined: passing a [`Target`] through memory costs more than all that is done with it.
    #[inline(always)]
    fn target(&mut self, column: usize) -> Option<Target<'_>> {
        let bit = 1 << column.min(63);
        let out = self.batch.columns.get_mut(column)?;
        if self.seen & bit != 0 && (column < 63 || out.len() != self.rows) {
            return None;
        }
        self.seen |= bit;
        let data_type = match self.schema.fields.get(column) {
            Some(field) => &field.data_type,
            None => &DataType::Timestamp,
        };
        Some(Target { column: out, data_type, bytes_max: self.options.value_bytes_max })
    }

    #[cold]
    fn duplicate(&self, column: usize) -> EmitError {
        EmitError::Duplicate(String::from(name_of(&self.schema, column)))
    }

    /// Finishes the row.
    #[inline(always)]
    fn complete(&mut self, arrival: Micros) {
        let last = self.schema.fields.len();
        let usual = self.all_seen & !(1 << last.min(63));
        if self.seen != usual || self.all_seen == u64::MAX {
            self.fill();
        }
        if let Some(Column { data: ColumnData::Int(times), .. }) = self.batch.columns.get_mut(last)
            && times.len() == self.rows
        {
            times.push(arrival.0);
        }
        self.rows += 1;
        self.seen = 0;
    }

    /// Fills the columns that the row did not have with NULL; a time that is NULL is none.
    #[inline(never)]
    fn fill(&mut self) {
        let Some((last, others)) = self.batch.columns.split_last_mut() else { return };
        for column in others {
            if column.len() == self.rows {
                column.push_slot(Slot::Null);
            }
        }
        if last.len() > self.rows && !last.is_valid(self.rows) {
            last.truncate(self.rows);
        }
    }

    /// Takes an unfinished row back.
    #[cold]
    fn undo(&mut self, error: EmitError) -> EmitError {
        self.batch.columns.iter_mut().for_each(|c| c.truncate(self.rows));
        self.seen = 0;
        error
    }

    /// The column of the `at`-th field of a struct, found by the address of its name after the first time.
    #[inline(always)]
    fn field(&mut self, at: usize, name: &'static str) -> Option<usize> {
        let key = (name.as_ptr() as usize, name.len());
        match self.fields.get(at) {
            Some((address, len, column)) if (*address, *len) == key => Some(*column),
            _ => self.find_field(at, name),
        }
    }

    #[cold]
    fn find_field(&mut self, at: usize, name: &'static str) -> Option<usize> {
        let column = self.schema.column(name)?;
        self.fields.truncate(at);
        if self.fields.len() == at {
            self.fields.push((name.as_ptr() as usize, name.len(), column));
        }
        Some(column)
    }
}

/// The type of a column as SQL writes it.
fn sql_name(data_type: &DataType) -> String {
    String::from(match data_type {
        DataType::Bool => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal { precision, scale } => return alloc::format!("numeric({precision},{scale})"),
        DataType::Text => "text",
        DataType::Bytea => "bytea",
        DataType::Uuid => "uuid",
        DataType::Date => "date",
        DataType::Timestamp => "timestamptz",
        DataType::Interval => "interval",
        other => return alloc::format!("{other:?}"),
    })
}

fn name_of(schema: &StreamSchema, column: usize) -> &str {
    schema.fields.get(column).map_or(ARRIVAL_TIMESTAMP, |f| &f.name)
}
