//! Columns: the form in which events are evaluated, many rows at a time.
//!
//! Invariants: a column's parts have one length; `offsets` starts at 0 and never decreases; null and
//! failed slots hold a harmless default, so kernels may compute over them.

#[cfg(feature = "functions")]
use super::Interval;
use super::{DataType, Physical, Value};
use crate::flavor::SMALL;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Why a column is refused: it holds a NaN, which no event may.
pub(crate) const NOT_A_NUMBER: &str = "NaN";
/// Why a column is refused: a value is outside of its type.
pub(crate) const OUT_OF_RANGE: &str = "value out of range";

/// What a slot of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Slot {
    /// A value.
    #[default]
    Valid = 0,
    /// SQL NULL.
    Null = 1,
    /// Arithmetic left the type's range.
    Overflow = 2,
    /// Division by zero.
    DivisionByZero = 3,
    /// A cast could not read its input.
    BadCast = 4,
    /// An argument is outside a function's domain (for example `ln(-1)`).
    Domain = 5,
}

impl Slot {
    /// True when the slot holds an evaluation error; a row that needs it is rejected and counted.
    pub fn is_error(self) -> bool {
        self as u8 >= 2
    }

    /// The stable code of the error, as in `headwater_events_rejected_total{reason=...}`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Null => "null",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division_by_zero",
            Self::BadCast => "bad_cast",
            Self::Domain => "domain",
        }
    }
}

/// Variable-length values: value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BytesColumn {
    /// One more than the values; starts at 0.
    pub offsets: Vec<u32>,
    /// All values, end to end.
    pub data: Vec<u8>,
}

impl Default for BytesColumn {
    fn default() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }
}

impl BytesColumn {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `row`.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        append(&mut self.data, value);
        self.offsets.push(self.data.len() as u32);
    }

    /// Removes all values, keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `rows` values; also drops what was appended to `data` after the last one.
    pub fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.data.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }
}

/// Appends bytes; short ones without a call, as two overlapping copies of a fixed size.
#[inline]
fn append(out: &mut Vec<u8>, value: &[u8]) {
    #[inline(always)]
    fn halves<const N: usize>(out: &mut Vec<u8>, value: &[u8]) -> bool {
        let (Some(first), Some(last)) = (value.first_chunk::<N>(), value.last_chunk::<N>()) else {
            return false;
        };
        if value.len() > 2 * N {
            return false;
        }
        let end = out.len() + value.len();
        out.extend_from_slice(first);
        out.truncate(end - N);
        out.extend_from_slice(last);
        true
    }
    if SMALL || !(halves::<16>(out, value) || halves::<8>(out, value) || halves::<4>(out, value)) {
        out.extend_from_slice(value);
    }
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// `boolean`
    Bool(Vec<bool>),
    /// Integers, days, microseconds.
    Int(Vec<i64>),
    /// Doubles and widened reals.
    Float(Vec<f64>),
    /// Units of the type's scale.
    #[cfg(feature = "functions")]
    Decimal(Vec<i128>),
    /// Intervals.
    #[cfg(feature = "functions")]
    Interval(Vec<Interval>),
    /// Text, bytea, uuid.
    Bytes(BytesColumn),
}

impl ColumnData {
    /// An empty column of a layout.
    pub fn new(physical: Physical) -> Self {
        match physical {
            Physical::Bool => Self::Bool(Vec::new()),
            Physical::Int => Self::Int(Vec::new()),
            Physical::Float => Self::Float(Vec::new()),
            #[cfg(feature = "functions")]
            Physical::Decimal => Self::Decimal(Vec::new()),
            #[cfg(feature = "functions")]
            Physical::Interval => Self::Interval(Vec::new()),
            // Never read: plans that do need a larger build.
            #[cfg(not(feature = "functions"))]
            Physical::Decimal | Physical::Interval => Self::Bool(Vec::new()),
            Physical::Bytes => Self::Bytes(BytesColumn::default()),
        }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Float(v) => v.len(),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => v.len(),
            #[cfg(feature = "functions")]
            Self::Interval(v) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the first `rows` values.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Self::Bool(v) => v.truncate(rows),
            Self::Int(v) => v.truncate(rows),
            Self::Float(v) => v.truncate(rows),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => v.truncate(rows),
            #[cfg(feature = "functions")]
            Self::Interval(v) => v.truncate(rows),
            Self::Bytes(v) => v.truncate(rows),
        }
    }

    fn push_default(&mut self) {
        match self {
            Self::Bool(v) => v.push(false),
            Self::Int(v) => v.push(0),
            Self::Float(v) => v.push(0.0),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => v.push(0),
            #[cfg(feature = "functions")]
            Self::Interval(v) => v.push(Interval::default()),
            Self::Bytes(v) => v.push(&[]),
        }
    }
}

/// Values with their slots. `slots` is `None` while every slot is valid: the common case costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The values; null and failed slots hold a default.
    pub data: ColumnData,
    /// What each slot is, or `None` when all are valid.
    pub slots: Option<Vec<Slot>>,
}

impl Column {
    /// An empty column for values of `data_type`.
    pub fn new(data_type: &DataType) -> Self {
        Self { data: ColumnData::new(data_type.physical()), slots: None }
    }

    /// A column whose slots are all valid.
    pub fn valid(data: ColumnData) -> Self {
        Self { data, slots: None }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// What slot `row` is.
    #[inline]
    pub fn slot(&self, row: usize) -> Slot {
        self.slots.as_ref().map_or(Slot::Valid, |s| s[row])
    }

    /// True when `row` holds a value: neither NULL nor an error.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.slot(row) == Slot::Valid
    }

    /// Appends a NULL or an error.
    pub fn push_slot(&mut self, slot: Slot) {
        debug_assert_ne!(slot, Slot::Valid);
        let len = self.len();
        self.slots.get_or_insert_with(|| vec![Slot::Valid; len]).push(slot);
        self.data.push_default();
    }

    /// Records that a valid value was just pushed into `data` by hand.
    #[inline]
    pub fn push_valid_slot(&mut self) {
        if let Some(slots) = &mut self.slots {
            slots.push(Slot::Valid);
        }
    }

    /// Appends `value`, which must fit the column's layout; `false` (and nothing appended) when it does not.
    pub fn push(&mut self, value: &Value) -> bool {
        match (&mut self.data, value) {
            (_, Value::Null) => {
                self.push_slot(Slot::Null);
                return true;
            }
            (ColumnData::Bool(v), Value::Bool(x)) => v.push(*x),
            (ColumnData::Int(v), Value::Int(x)) => v.push(*x),
            (ColumnData::Float(v), Value::Float(x)) => v.push(*x),
            #[cfg(feature = "functions")]
            (ColumnData::Decimal(v), Value::Decimal(x)) => v.push(*x),
            #[cfg(feature = "functions")]
            (ColumnData::Interval(v), Value::Interval(x)) => v.push(*x),
            (ColumnData::Bytes(v), Value::Text(x)) => v.push(x.as_bytes()),
            (ColumnData::Bytes(v), Value::Bytes(x)) => v.push(x),
            _ => return false,
        }
        self.push_valid_slot();
        true
    }

    /// The value at `row` as `data_type` reads it; errors read as NULL.
    pub fn value(&self, row: usize, data_type: &DataType) -> Value {
        if !self.is_valid(row) {
            return Value::Null;
        }
        match &self.data {
            ColumnData::Bool(v) => Value::Bool(v[row]),
            ColumnData::Int(v) => Value::Int(v[row]),
            ColumnData::Float(v) => Value::Float(v[row]),
            #[cfg(feature = "functions")]
            ColumnData::Decimal(v) => Value::Decimal(v[row]),
            #[cfg(feature = "functions")]
            ColumnData::Interval(v) => Value::Interval(v[row]),
            ColumnData::Bytes(v) if *data_type == DataType::Text => {
                Value::Text(String::from_utf8_lossy(v.get(row)).into_owned())
            }
            ColumnData::Bytes(v) => Value::Bytes(v.get(row).to_vec()),
        }
    }

    /// Removes all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.data.truncate(0);
        self.slots = None;
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.data.truncate(rows);
        if let Some(slots) = &mut self.slots {
            slots.truncate(rows);
            if slots.iter().all(|s| *s == Slot::Valid) {
                self.slots = None;
            }
        }
    }

    /// Why `data_type` cannot read this column, if it cannot: another layout, parts of different lengths,
    /// offsets that do not rise to the end of the data, text that is not UTF-8, values out of their
    /// type's range, NaN. Columns from outside are checked once, so that kernels need not check again.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn check(&self, data_type: &DataType) -> Result<(), &'static str> {
        let rows = self.len();
        if self.slots.as_ref().is_some_and(|s| s.len() != rows || s.iter().any(|slot| slot.is_error())) {
            return Err("slots");
        }
        match (&self.data, data_type.physical()) {
            (ColumnData::Bool(_), Physical::Bool) => Ok(()),
            #[cfg(feature = "functions")]
            (ColumnData::Interval(_), Physical::Interval) => Ok(()),
            (ColumnData::Int(v), Physical::Int) => self.all(v, |v| Value::Int(*v).fits(data_type)),
            (ColumnData::Float(v), Physical::Float) => {
                self.all(v, |v| !v.is_nan()).map_err(|_| NOT_A_NUMBER)?;
                self.all(v, |v| Value::Float(*v).fits(data_type))
            }
            #[cfg(feature = "functions")]
            (ColumnData::Decimal(v), Physical::Decimal) => {
                self.all(v, |v| Value::Decimal(*v).fits(data_type))
            }
            (ColumnData::Bytes(v), Physical::Bytes) => self.check_bytes(v, data_type),
            _ => Err("layout"),
        }
    }

    fn all<T>(&self, values: &[T], fits: impl Fn(&T) -> bool) -> Result<(), &'static str> {
        let bad = values.iter().position(|v| !fits(v));
        match bad.is_some_and(|_| values.iter().enumerate().any(|(row, v)| !fits(v) && self.is_valid(row))) {
            true => Err(OUT_OF_RANGE),
            false => Ok(()),
        }
    }

    fn check_bytes(&self, v: &BytesColumn, data_type: &DataType) -> Result<(), &'static str> {
        let rising = v.offsets.first() == Some(&0) && v.offsets.is_sorted();
        if !rising || v.offsets.last().is_none_or(|end| *end as usize != v.data.len()) {
            return Err("offsets");
        }
        match data_type {
            // Valid as a whole and cut between characters is valid piece by piece.
            DataType::Text => match core::str::from_utf8(&v.data) {
                Ok(text) if v.offsets.iter().all(|at| text.is_char_boundary(*at as usize)) => Ok(()),
                _ => Err("utf-8"),
            },
            DataType::Uuid if (0..v.len()).any(|row| self.is_valid(row) && v.get(row).len() != 16) => {
                Err("uuid length")
            }
            _ => Ok(()),
        }
    }
}

/// Rows of one stream, by column. Column `i` belongs to column `i` of the stream's schema; the last
/// one is `arrival_timestamp`, always valid.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnBatch {
    /// One per schema column, then `arrival_timestamp`; all of one length.
    pub columns: Vec<Column>,
}

impl ColumnBatch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.last().map_or(0, Column::len)
    }

    /// Removes all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
    }
}
