//! Kernels of their own for what nearly every view does: comparing, adding, widening, truncating times.
//!
//! Each computes all rows first, failed ones included, and looks again only when something failed.

use super::kernel::{Arg, combine, slots};
use super::scalar;
use super::time::{DateUnit, Grid, MICROS_PER_DAY, bucket};
use crate::flavor::FUNCTIONS;
use crate::plan::{BinaryOp, Function, Node, Op};
use crate::value::column::{Column, ColumnData, Slot};
use crate::value::{DataType, Value};
use alloc::vec::Vec;

/// Evaluates `node` into `out` (empty, of the node's layout) if it is one of the fast ones.
pub(super) fn evaluate(
    node: &Node,
    args: &[Arg<'_>],
    literal: Option<&Value>,
    rows: usize,
    out: &mut Column,
) -> bool {
    match (&node.op, args) {
        (Op::Call(Function::DateTrunc | Function::TimeBucket, _), [_, time]) => {
            truncate(literal, *time, rows, out)
        }
        // The row loop computes the same; a small module has no second copy.
        _ if !FUNCTIONS => false,
        (Op::Binary(op, ..), [a, b]) => match scalar::orders(*op) {
            Some(mask) => compare(mask, *a, *b, rows, out),
            None => arithmetic(*op, *a, *b, &node.data_type, rows, out),
        },
        (Op::Cast { .. }, [a]) => widen(*a, &node.data_type, rows, out),
        (Op::Not(_), [a]) => match (&a.column.data, &mut out.data) {
            (ColumnData::Bool(v), ColumnData::Bool(out_v)) if a.step == 1 => {
                out_v.extend(v.iter().map(|b| !b));
                out.slots.clone_from(&a.column.slots);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// A fixed-width operand's values as a slice; a constant is spread over `spread`.
fn slice<'a, T: Copy>(values: &'a [T], step: usize, rows: usize, spread: &'a mut Vec<T>) -> &'a [T] {
    if step == 1 {
        return &values[..rows];
    }
    spread.resize(rows, values[0]);
    spread
}

fn compare(mask: u8, a: Arg<'_>, b: Arg<'_>, rows: usize, out: &mut Column) -> bool {
    let ColumnData::Bool(result) = &mut out.data else { return false };
    match (&a.column.data, &b.column.data) {
        (ColumnData::Int(x), ColumnData::Int(y)) => {
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let pairs = slice(x, a.step, rows, &mut sx).iter().zip(slice(y, b.step, rows, &mut sy));
            result.extend(pairs.map(|(x, y)| bits(x < y, x == y, x > y) & mask != 0));
        }
        (ColumnData::Float(x), ColumnData::Float(y)) => {
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let pairs = slice(x, a.step, rows, &mut sx).iter().zip(slice(y, b.step, rows, &mut sy));
            result.extend(pairs.map(|(x, y)| {
                let (xn, yn) = (x.is_nan(), y.is_nan());
                bits(x < y || (yn && !xn), x == y || (xn && yn), x > y || (xn && !yn)) & mask != 0
            }));
        }
        (ColumnData::Bytes(x), ColumnData::Bytes(y)) => {
            let pair = |row: usize| (x.get(row * a.step), y.get(row * b.step));
            match mask {
                2 => result.extend((0..rows).map(pair).map(|(x, y)| x == y)),
                5 => result.extend((0..rows).map(pair).map(|(x, y)| x != y)),
                _ => result.extend((0..rows).map(pair).map(|(x, y)| bits(x < y, x == y, x > y) & mask != 0)),
            }
        }
        _ => return false,
    }
    out.slots = slots(&[a, b], rows);
    true
}

fn bits(less: bool, equal: bool, greater: bool) -> u8 {
    u8::from(less) | u8::from(equal) << 1 | u8::from(greater) << 2
}

fn arithmetic(op: BinaryOp, a: Arg<'_>, b: Arg<'_>, to: &DataType, rows: usize, out: &mut Column) -> bool {
    let failed = match (&a.column.data, &b.column.data, &mut out.data) {
        (ColumnData::Int(x), ColumnData::Int(y), ColumnData::Int(v)) if to.is_int() => {
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let (x, y) = (slice(x, a.step, rows, &mut sx), slice(y, b.step, rows, &mut sy));
            match op {
                BinaryOp::Add => ints(x, y, to, v, i64::overflowing_add),
                BinaryOp::Subtract => ints(x, y, to, v, i64::overflowing_sub),
                BinaryOp::Multiply => ints(x, y, to, v, i64::overflowing_mul),
                _ => return false,
            }
        }
        (ColumnData::Float(x), ColumnData::Float(y), ColumnData::Float(v)) if *to == DataType::Float64 => {
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let (x, y) = (slice(x, a.step, rows, &mut sx), slice(y, b.step, rows, &mut sy));
            match op {
                BinaryOp::Add => floats(x, y, v, |x, y| x + y),
                BinaryOp::Subtract => floats(x, y, v, |x, y| x - y),
                BinaryOp::Multiply => floats(x, y, v, |x, y| x * y),
                BinaryOp::Divide => floats(x, y, v, |x, y| x / y),
                _ => return false,
            }
        }
        (ColumnData::Bool(x), ColumnData::Bool(y), ColumnData::Bool(v)) => {
            if a.column.slots.is_some() || b.column.slots.is_some() {
                return false;
            }
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let pairs = slice(x, a.step, rows, &mut sx).iter().zip(slice(y, b.step, rows, &mut sy));
            match op {
                BinaryOp::And => v.extend(pairs.map(|(x, y)| x & y)),
                BinaryOp::Or => v.extend(pairs.map(|(x, y)| x | y)),
                _ => return false,
            }
            return true;
        }
        _ => return false,
    };
    out.slots = slots(&[a, b], rows);
    if failed {
        recheck(op, a, b, to, rows, out);
    }
    true
}

/// True when some row left the type's range.
#[inline]
fn ints(
    x: &[i64],
    y: &[i64],
    to: &DataType,
    out: &mut Vec<i64>,
    f: impl Fn(i64, i64) -> (i64, bool),
) -> bool {
    let (min, max) = scalar::int_range(to);
    let mut failed = false;
    out.extend(x.iter().zip(y).map(|(x, y)| {
        let (v, over) = f(*x, *y);
        failed |= over | (v < min) | (v > max);
        v
    }));
    failed
}

/// True when some row may have failed: not finite, or zero (perhaps underflow).
#[inline]
fn floats(x: &[f64], y: &[f64], out: &mut Vec<f64>, f: impl Fn(f64, f64) -> f64) -> bool {
    let mut failed = false;
    out.extend(x.iter().zip(y).map(|(x, y)| {
        let v = f(*x, *y);
        failed |= !v.is_finite() | (v == 0.0);
        v
    }));
    failed
}

/// Finds the rows that failed by computing them one by one.
fn recheck(op: BinaryOp, a: Arg<'_>, b: Arg<'_>, to: &DataType, rows: usize, out: &mut Column) {
    for row in 0..rows {
        let cells = (a.cell(row), b.cell(row));
        if combine(cells.0.slot(), cells.1.slot()) != Slot::Valid {
            continue;
        }
        let error = match cells {
            (super::kernel::Cell::Int(x), super::kernel::Cell::Int(y)) => {
                scalar::int_binary(op, x, y, to).err()
            }
            (x, y) => x.float().and_then(|x| scalar::float_binary(op, x, y.float()?, false)).err(),
        };
        if let Some(slot) = error {
            out.slots.get_or_insert_with(|| alloc::vec![Slot::Valid; rows])[row] = slot;
            match &mut out.data {
                ColumnData::Int(v) => v[row] = 0,
                ColumnData::Float(v) => v[row] = 0.0,
                _ => {}
            }
        }
    }
}

/// Casts that cannot fail: integers to wider integers and doubles, reals to doubles.
fn widen(a: Arg<'_>, to: &DataType, rows: usize, out: &mut Column) -> bool {
    use DataType as T;
    if a.step != 1 {
        return false;
    }
    match (&a.column.data, &mut out.data) {
        (ColumnData::Int(x), ColumnData::Float(v)) if *to == T::Float64 && a.data_type.is_int() => {
            v.extend(x[..rows].iter().map(|x| *x as f64));
        }
        (ColumnData::Int(x), ColumnData::Int(v)) => match (a.data_type, to) {
            (T::Int16, T::Int32 | T::Int64) | (T::Int32, T::Int64) => v.extend_from_slice(&x[..rows]),
            _ => return false,
        },
        (ColumnData::Float(x), ColumnData::Float(v)) if *to == T::Float64 => v.extend_from_slice(&x[..rows]),
        _ => return false,
    }
    out.slots.clone_from(&a.column.slots);
    true
}

/// `date_trunc` and `time_bucket`. Events come nearly in order of time, so the last answer usually holds.
fn truncate(literal: Option<&Value>, time: Arg<'_>, rows: usize, out: &mut Column) -> bool {
    let (ColumnData::Int(times), ColumnData::Int(result)) = (&time.column.data, &mut out.data) else {
        return false;
    };
    let Some(step) = Step::of(literal) else { return false };
    let mut spread = Vec::new();
    let times = slice(times, time.step, rows, &mut spread);
    // The answer `start` holds for times in `from..until`.
    let (mut start, mut from, mut until) = (0, 0, 0);
    let mut failed = Vec::new();
    result.extend(times.iter().enumerate().map(|(row, &t)| {
        if t < from || t >= until {
            match step.truncate(t) {
                Some(found) => (start, from, until) = found,
                None => {
                    failed.push(row);
                    return 0;
                }
            }
        }
        start
    }));
    out.slots = slots(&[time], rows);
    for row in failed {
        let slots = out.slots.get_or_insert_with(|| alloc::vec![Slot::Valid; rows]);
        slots[row] = combine(slots[row], Slot::Overflow);
    }
    true
}

/// True when `literal` names times a fixed number of microseconds apart, which every build knows.
pub(super) fn is_fixed_step(literal: &Value) -> bool {
    matches!(Step::of(Some(literal)), Some(Step::Grid(_)))
}

enum Step {
    Grid(Grid),
    Unit(DateUnit),
    Months(crate::value::Interval),
}

impl Step {
    fn of(literal: Option<&Value>) -> Option<Self> {
        let grid = match literal? {
            Value::Text(unit) => Grid::named(unit),
            Value::Interval(width) => Grid::buckets(*width),
            _ => None,
        };
        match (grid, literal?) {
            (Some(grid), _) => Some(Self::Grid(grid)),
            _ if !FUNCTIONS => None,
            (None, Value::Text(unit)) => DateUnit::parse(unit).map(Self::Unit),
            (None, Value::Interval(width)) => Some(Self::Months(*width)),
            _ => None,
        }
    }

    /// The start of the unit that holds `t`, and a range of times around `t` with the same answer.
    fn truncate(&self, t: i64) -> Option<(i64, i64, i64)> {
        let start = match self {
            Self::Grid(grid) => {
                let start = grid.truncate(t)?;
                return Some((start, start, start.saturating_add(grid.width)));
            }
            _ if !FUNCTIONS => return None,
            Self::Unit(unit) => unit.truncate(t)?,
            Self::Months(width) => bucket(*width, t)?,
        };
        let day = t - t.rem_euclid(MICROS_PER_DAY);
        Some((start, day, day.saturating_add(MICROS_PER_DAY)))
    }
}
