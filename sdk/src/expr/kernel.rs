//! Rows through functions: operands as cells, results onto columns.
//!
//! Owns: [`Arg`] (an operand, perhaps constant), [`Cell`] (one slot of it) and the row loop that every
//! operation without a kernel of its own goes through. One loop for all keeps the WASM module small.

use crate::value::column::{Column, ColumnData, Slot};
use crate::value::{DataType, Interval};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// An operand: a column of the batch's rows, or one row that stands for all (`step` 0).
#[derive(Clone, Copy)]
pub(super) struct Arg<'a> {
    pub column: &'a Column,
    pub step: usize,
    pub data_type: &'a DataType,
}

/// One slot of an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// NULL or an error.
    Not(Slot),
    Bool(bool),
    Int(i64),
    Float(f64),
    #[cfg(feature = "functions")]
    Decimal(i128),
    #[cfg(feature = "functions")]
    Interval(Interval),
    Bytes(&'a [u8]),
}

impl<'a> Arg<'a> {
    #[inline]
    pub fn cell(&self, row: usize) -> Cell<'a> {
        let row = row * self.step;
        let slot = self.column.slot(row);
        if slot != Slot::Valid {
            return Cell::Not(slot);
        }
        match &self.column.data {
            ColumnData::Bool(v) => Cell::Bool(v[row]),
            ColumnData::Int(v) => Cell::Int(v[row]),
            ColumnData::Float(v) => Cell::Float(v[row]),
            #[cfg(feature = "functions")]
            ColumnData::Decimal(v) => Cell::Decimal(v[row]),
            #[cfg(feature = "functions")]
            ColumnData::Interval(v) => Cell::Interval(v[row]),
            ColumnData::Bytes(v) => Cell::Bytes(v.get(row)),
        }
    }
}

/// A value of another kind than the plan's types promise: a batch that was not checked.
const MISMATCH: Slot = Slot::Domain;

impl<'a> Cell<'a> {
    pub fn bool(self) -> Result<bool, Slot> {
        match self {
            Self::Bool(v) => Ok(v),
            other => Err(other.not()),
        }
    }

    pub fn int(self) -> Result<i64, Slot> {
        match self {
            Self::Int(v) => Ok(v),
            other => Err(other.not()),
        }
    }

    pub fn float(self) -> Result<f64, Slot> {
        match self {
            Self::Float(v) => Ok(v),
            other => Err(other.not()),
        }
    }

    pub fn interval(self) -> Result<Interval, Slot> {
        match self {
            #[cfg(feature = "functions")]
            Self::Interval(v) => Ok(v),
            other => Err(other.not()),
        }
    }

    pub fn bytes(self) -> Result<&'a [u8], Slot> {
        match self {
            Self::Bytes(v) => Ok(v),
            other => Err(other.not()),
        }
    }

    pub fn text(self) -> Result<&'a str, Slot> {
        core::str::from_utf8(self.bytes()?).map_err(|_| MISMATCH)
    }

    fn not(self) -> Slot {
        if let Self::Not(slot) = self { slot } else { MISMATCH }
    }

    /// Why the cell has no value.
    pub fn slot(self) -> Slot {
        if let Self::Not(slot) = self { slot } else { Slot::Valid }
    }

    /// The error in the cell, if it is one: for operations that NULL does not stop.
    pub fn checked(self) -> Result<Self, Slot> {
        if self.slot().is_error() { Err(self.slot()) } else { Ok(self) }
    }

    pub fn is_null(self) -> bool {
        self.slot() == Slot::Null
    }

    /// Appends the value to a column of its kind.
    pub fn put(self, out: &mut ColumnData) -> Result<(), Slot> {
        match (self, out) {
            (Self::Not(slot), _) => return Err(slot),
            (Self::Bool(x), ColumnData::Bool(v)) => v.push(x),
            (Self::Int(x), ColumnData::Int(v)) => v.push(x),
            (Self::Float(x), ColumnData::Float(v)) => v.push(x),
            #[cfg(feature = "functions")]
            (Self::Decimal(x), ColumnData::Decimal(v)) => v.push(x),
            #[cfg(feature = "functions")]
            (Self::Interval(x), ColumnData::Interval(v)) => v.push(x),
            (Self::Bytes(x), ColumnData::Bytes(v)) => v.data.extend_from_slice(x),
            _ => return Err(MISMATCH),
        }
        Ok(())
    }
}

/// Doubles in PostgreSQL's order: NaN equals NaN and is greatest.
pub(super) fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The order of two values of one type.
pub(super) fn order(a: Cell<'_>, b: Cell<'_>) -> Result<Ordering, Slot> {
    Ok(match (a, b) {
        (Cell::Int(a), Cell::Int(b)) => a.cmp(&b),
        (Cell::Bytes(a), Cell::Bytes(b)) => a.cmp(b),
        (Cell::Float(a), Cell::Float(b)) => float_order(a, b),
        (Cell::Bool(a), Cell::Bool(b)) => a.cmp(&b),
        #[cfg(feature = "functions")]
        (Cell::Decimal(a), Cell::Decimal(b)) => a.cmp(&b),
        #[cfg(feature = "functions")]
        (Cell::Interval(a), Cell::Interval(b)) => super::time::interval_order(a, b),
        (Cell::Not(slot), _) | (_, Cell::Not(slot)) => return Err(slot),
        _ => return Err(MISMATCH),
    })
}

/// The buffer of a text or bytea result: what is appended is the value.
pub(super) fn buffer(out: &mut ColumnData) -> Result<&mut Vec<u8>, Slot> {
    if let ColumnData::Bytes(v) = out { Ok(&mut v.data) } else { Err(MISMATCH) }
}

/// What an operation without NULL of its own makes of its operands' slots: the first error, else NULL.
pub(super) fn combine(a: Slot, b: Slot) -> Slot {
    match (a.is_error(), b.is_error()) {
        (true, _) => a,
        (_, true) => b,
        _ if a == Slot::Null || b == Slot::Null => Slot::Null,
        _ => Slot::Valid,
    }
}

/// The combined slots of operands; `None` when all are valid.
pub(super) fn slots(args: &[Arg<'_>], rows: usize) -> Option<Vec<Slot>> {
    let mut merged: Option<Vec<Slot>> = None;
    for arg in args.iter().filter(|a| a.column.slots.is_some()) {
        let out = merged.get_or_insert_with(|| alloc::vec![Slot::Valid; rows]);
        out.iter_mut()
            .enumerate()
            .for_each(|(row, slot)| *slot = combine(*slot, arg.column.slot(row * arg.step)));
    }
    merged.filter(|slots| slots.iter().any(|s| *s != Slot::Valid))
}

/// One row's operation: appends a value to the column, or says why there is none. For text and bytea it
/// appends to [`buffer`]; what it appended before failing is taken back.
pub(super) type RowFn<'f> = dyn FnMut(&[Cell<'_>], &mut ColumnData) -> Result<(), Slot> + 'f;

/// Runs `f` for every row. With `strict`, NULLs and errors of operands never reach it.
pub(super) fn map_rows(args: &[Arg<'_>], rows: usize, strict: bool, out: &mut Column, f: &mut RowFn<'_>) {
    let mut cells = Vec::with_capacity(args.len());
    for row in 0..rows {
        cells.clear();
        args.iter().for_each(|arg| cells.push(arg.cell(row)));
        let slot = match strict {
            true => cells.iter().fold(Slot::Valid, |slot, cell| combine(slot, cell.slot())),
            false => Slot::Valid,
        };
        let result = if slot == Slot::Valid { f(&cells, &mut out.data) } else { Err(slot) };
        finish_row(out, result);
    }
}

fn finish_row(out: &mut Column, result: Result<(), Slot>) {
    if let ColumnData::Bytes(v) = &mut out.data {
        let start = v.offsets.last().map_or(0, |end| *end as usize);
        match result {
            Ok(()) => v.offsets.push(v.data.len() as u32),
            Err(_) => v.data.truncate(start),
        }
    }
    match result {
        Ok(()) => out.push_valid_slot(),
        Err(slot) => out.push_slot(slot),
    }
}
