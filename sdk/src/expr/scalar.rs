//! Every operation on one row, with PostgreSQL's semantics.
//!
//! `Err(Slot::Null)` is the result NULL; other slots are errors that CASE and COALESCE may discard.

use super::kernel::{Arg, Cell, buffer, combine, map_rows, order};
use super::time::{DateField, DateUnit, add_interval, bucket, difference, interval_add, interval_negate};
use super::{cast, decimal, like, math, text};
use crate::flavor::FUNCTIONS;
use crate::plan::{BinaryOp, Function, Node, Op};
use crate::value::column::{Column, ColumnData, Slot};
use crate::value::{DataType, Value, decimal_fits};
use core::cmp::Ordering;

/// Evaluates `node` row by row into `out`. `literal` is the first operand of the functions that need one.
pub(super) fn evaluate(
    node: &Node,
    args: &[Arg<'_>],
    literal: Option<&Value>,
    rows: usize,
    out: &mut Column,
) {
    let site = Site { node, args, literal };
    map_rows(args, rows, is_strict(&node.op), out, &mut |cells, out| site.row(cells, out));
}

/// True when NULL in means NULL out and an error in means that error out.
fn is_strict(op: &Op) -> bool {
    use Function as F;
    match op {
        Op::IsNull(_) | Op::IsNotNull(_) | Op::IsTrue(_) | Op::IsFalse(_) => false,
        Op::Case { .. } | Op::InList { .. } => false,
        Op::Binary(op, ..) => {
            !matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::IsDistinct | BinaryOp::IsNotDistinct)
        }
        Op::Call(f, _) => !matches!(f, F::Coalesce | F::NullIf | F::Greatest | F::Least | F::Concat),
        _ => true,
    }
}

/// The smallest and largest value of an integer type (days and microseconds included).
pub(super) fn int_range(data_type: &DataType) -> (i64, i64) {
    match data_type {
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 | DataType::Date => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

pub(super) fn in_range(v: Option<i64>, to: &DataType) -> Result<i64, Slot> {
    let (min, max) = int_range(to);
    v.filter(|v| (min..=max).contains(v)).ok_or(Slot::Overflow)
}

pub(super) fn decimal_in_range(v: Option<i128>, to: &DataType) -> Result<i128, Slot> {
    let DataType::Decimal { precision, .. } = to else { return Err(Slot::Domain) };
    v.filter(|v| decimal_fits(*v, *precision)).ok_or(Slot::Overflow)
}

pub(super) fn scale_of(data_type: &DataType) -> u8 {
    if let DataType::Decimal { scale, .. } = data_type { *scale } else { 0 }
}

pub(super) fn int_binary(op: BinaryOp, a: i64, b: i64, to: &DataType) -> Result<i64, Slot> {
    use BinaryOp as B;
    let v = match op {
        B::Add => a.checked_add(b),
        B::Subtract => a.checked_sub(b),
        B::Multiply => a.checked_mul(b),
        B::Divide | B::Modulo if b == 0 => return Err(Slot::DivisionByZero),
        B::Divide => a.checked_div(b),
        B::Modulo => Some(a.wrapping_rem(b)),
        _ if !FUNCTIONS => return Err(Slot::Domain),
        B::BitAnd => Some(a & b),
        B::BitOr => Some(a | b),
        B::BitXor => Some(a ^ b),
        _ => return Err(Slot::Domain),
    };
    in_range(v, to)
}

/// PostgreSQL's float arithmetic: an infinite result of finite operands is out of range, and so is a zero
/// product or quotient of operands that are not zero.
pub(super) fn float_binary(op: BinaryOp, a: f64, b: f64, single: bool) -> Result<f64, Slot> {
    use BinaryOp as B;
    let v = match op {
        B::Add => a + b,
        B::Subtract => a - b,
        B::Multiply => a * b,
        B::Divide if b == 0.0 && !a.is_nan() => return Err(Slot::DivisionByZero),
        B::Divide => a / b,
        _ => return Err(Slot::Domain),
    };
    // Rounding twice is safe here: 53 bits are more than twice 24 and two.
    let v = if single { f64::from(v as f32) } else { v };
    let vanished = v == 0.0
        && match op {
            B::Multiply => a != 0.0 && b != 0.0,
            B::Divide => a != 0.0 && b.is_finite(),
            _ => false,
        };
    if vanished || (v.is_infinite() && a.is_finite() && b.is_finite()) { Err(Slot::Overflow) } else { Ok(v) }
}

/// One operation with its operands' types.
struct Site<'a> {
    node: &'a Node,
    args: &'a [Arg<'a>],
    literal: Option<&'a Value>,
}

impl Site<'_> {
    fn row(&self, cells: &[Cell<'_>], out: &mut ColumnData) -> Result<(), Slot> {
        let cell = match (&self.node.op, cells) {
            (Op::Not(_), [x]) => Cell::Bool(!x.bool()?),
            (Op::Negate(_), [x]) => self.negate(*x)?,
            (Op::IsNull(_), [x]) => Cell::Bool(x.checked()?.is_null()),
            (Op::IsNotNull(_), [x]) => Cell::Bool(!x.checked()?.is_null()),
            (Op::IsTrue(_), [x]) => Cell::Bool(x.checked()? == Cell::Bool(true)),
            (Op::IsFalse(_), [x]) => Cell::Bool(x.checked()? == Cell::Bool(false)),
            (Op::Binary(BinaryOp::Concat, ..), [a, b]) if FUNCTIONS => {
                let out = buffer(out)?;
                let start = out.len();
                text::append(a.bytes()?, start, out)?;
                return text::append(b.bytes()?, start, out);
            }
            (Op::Binary(op, ..), [a, b]) => self.binary(*op, *a, *b)?,
            (Op::Cast { .. }, [x]) if !FUNCTIONS => {
                cast::number(*x, self.args[0].data_type, &self.node.data_type)?
            }
            (Op::Cast { try_cast, .. }, [x]) => {
                let single = *self.args[0].data_type == DataType::Float32;
                return match cast::cast(*x, self.args[0].data_type, &self.node.data_type, single, out) {
                    Err(slot) if *try_cast && slot.is_error() => Err(Slot::Null),
                    result => result,
                };
            }
            _ if !FUNCTIONS => return Err(Slot::Domain),
            (Op::Case { branches, .. }, _) => case(cells, branches.len())?,
            (Op::InList { negated, .. }, [input, list @ ..]) => {
                Cell::Bool(in_list(*input, list)? != *negated)
            }
            (Op::Like { negated, case_insensitive, .. }, [input, pattern]) => {
                let matched = like::like(input.text()?, pattern.text()?, *case_insensitive)?;
                Cell::Bool(matched != *negated)
            }
            (Op::Call(function, _), _) => return self.call(*function, cells, out),
            _ => return Err(Slot::Domain),
        };
        cell.put(out)
    }

    fn negate<'c>(&self, x: Cell<'c>) -> Result<Cell<'c>, Slot> {
        Ok(match x {
            Cell::Int(v) => Cell::Int(in_range(v.checked_neg(), &self.node.data_type)?),
            Cell::Float(v) => Cell::Float(-v),
            #[cfg(feature = "functions")]
            Cell::Decimal(v) => Cell::Decimal(-v),
            #[cfg(feature = "functions")]
            Cell::Interval(v) if FUNCTIONS => Cell::Interval(interval_negate(v).ok_or(Slot::Overflow)?),
            _ => return Err(Slot::Domain),
        })
    }

    fn binary<'c>(&self, op: BinaryOp, a: Cell<'c>, b: Cell<'c>) -> Result<Cell<'c>, Slot> {
        use BinaryOp as B;
        Ok(Cell::Bool(match op {
            B::And => three_valued(a, b, false)?,
            B::Or => three_valued(a, b, true)?,
            B::IsDistinct if FUNCTIONS => !same(a.checked()?, b.checked()?)?,
            B::IsNotDistinct if FUNCTIONS => same(a.checked()?, b.checked()?)?,
            _ => match orders(op) {
                Some(orders) => orders & order_bit(order(a, b)?) != 0,
                None => return self.arithmetic(op, a, b),
            },
        }))
    }

    fn arithmetic<'c>(&self, op: BinaryOp, a: Cell<'c>, b: Cell<'c>) -> Result<Cell<'c>, Slot> {
        let to = &self.node.data_type;
        #[cfg(feature = "functions")]
        let types = (self.args[0].data_type, self.args[1].data_type);
        #[cfg(feature = "functions")]
        let time = |v: Option<i64>| v.map(Cell::Int).ok_or(Slot::Overflow);
        #[cfg(feature = "functions")]
        let span = |v| Option::map(v, Cell::Interval).ok_or(Slot::Overflow);
        match (a, b) {
            #[cfg(feature = "functions")]
            (Cell::Int(a), Cell::Int(b)) if FUNCTIONS && *to == DataType::Interval => span(difference(a, b)),
            (Cell::Int(a), Cell::Int(b)) => int_binary(op, a, b, to).map(Cell::Int),
            (Cell::Float(a), Cell::Float(b)) => {
                float_binary(op, a, b, *to == DataType::Float32).map(Cell::Float)
            }
            _ if !FUNCTIONS => Err(Slot::Domain),
            #[cfg(feature = "functions")]
            (Cell::Decimal(a), Cell::Decimal(b)) => {
                self.decimal(op, (a, scale_of(types.0)), (b, scale_of(types.1))).map(Cell::Decimal)
            }
            #[cfg(feature = "functions")]
            (Cell::Int(t), Cell::Interval(v)) | (Cell::Interval(v), Cell::Int(t)) => match op {
                BinaryOp::Subtract => time(interval_negate(v).and_then(|v| add_interval(t, v))),
                _ => time(add_interval(t, v)),
            },
            #[cfg(feature = "functions")]
            (Cell::Interval(a), Cell::Interval(b)) => match op {
                BinaryOp::Subtract => span(interval_negate(b).and_then(|b| interval_add(a, b))),
                _ => span(interval_add(a, b)),
            },
            _ => Err(Slot::Domain),
        }
    }

    fn decimal(&self, op: BinaryOp, (a, sa): (i128, u8), (b, sb): (i128, u8)) -> Result<i128, Slot> {
        let to = scale_of(&self.node.data_type);
        let v = match op {
            BinaryOp::Add | BinaryOp::Subtract => decimal::add(a, sa, b, sb, to, op == BinaryOp::Subtract),
            BinaryOp::Multiply => decimal::mul(a, sa, b, sb, to),
            BinaryOp::Divide | BinaryOp::Modulo if b == 0 => return Err(Slot::DivisionByZero),
            BinaryOp::Divide => decimal::div(a, sa, b, sb, to),
            BinaryOp::Modulo => decimal::modulo(a, sa, b, sb, to),
            _ => return Err(Slot::Domain),
        };
        decimal_in_range(v, &self.node.data_type)
    }

    fn call(&self, function: Function, cells: &[Cell<'_>], out: &mut ColumnData) -> Result<(), Slot> {
        use Function as F;
        match (function, cells) {
            (F::Coalesce, _) => coalesce(cells)?.put(out),
            (F::Greatest, _) => extreme(cells, Ordering::Greater)?.put(out),
            (F::Least, _) => extreme(cells, Ordering::Less)?.put(out),
            (F::NullIf, [a, b]) => match same(a.checked()?, b.checked()?)? {
                true => Err(Slot::Null),
                false => a.put(out),
            },
            (F::DateTrunc, [_, t]) => {
                let unit = self.text_literal().and_then(DateUnit::parse).ok_or(Slot::Domain)?;
                Cell::Int(unit.truncate(t.int()?).ok_or(Slot::Overflow)?).put(out)
            }
            (F::DatePart, [_, t]) => Cell::Float(self.date_part(*t)?).put(out),
            (F::TimeBucket, [width, t]) => {
                Cell::Int(bucket(width.interval()?, t.int()?).ok_or(Slot::Overflow)?).put(out)
            }
            _ if math::is_math(function) => {
                math::call(function, cells, self.args[0].data_type, &self.node.data_type)?.put(out)
            }
            _ => text::call(function, cells, out),
        }
    }

    fn text_literal(&self) -> Option<&str> {
        if let Some(Value::Text(text)) = self.literal { Some(text) } else { None }
    }

    fn date_part(&self, t: Cell<'_>) -> Result<f64, Slot> {
        let field = self.text_literal().and_then(DateField::parse).ok_or(Slot::Domain)?;
        match t {
            #[cfg(feature = "functions")]
            Cell::Interval(v) => field.of_interval(v).ok_or(Slot::Domain),
            t if *self.args[1].data_type == DataType::Date => {
                Ok(field.of_timestamp(cast::midnight(t.int()?)?))
            }
            t => Ok(field.of_timestamp(t.int()?)),
        }
    }
}

/// Which orders make a comparison true, as [`order_bit`] has them.
pub(super) fn orders(op: BinaryOp) -> Option<u8> {
    use BinaryOp as B;
    Some(match op {
        B::Lt => 1,
        B::Eq => 2,
        B::LtEq => 3,
        B::Gt => 4,
        B::NotEq => 5,
        B::GtEq => 6,
        _ => return None,
    })
}

/// Bit 0 for less, bit 1 for equal, bit 2 for greater.
fn order_bit(order: Ordering) -> u8 {
    1 << (order as i8 + 1)
}

/// AND (`winner` false) and OR (`winner` true): the winner decides whatever the other side is, an error
/// included; then errors, then NULL.
fn three_valued(a: Cell<'_>, b: Cell<'_>, winner: bool) -> Result<bool, Slot> {
    if a == Cell::Bool(winner) || b == Cell::Bool(winner) {
        return Ok(winner);
    }
    let (a, b) = (a.checked()?, b.checked()?);
    if a.is_null() || b.is_null() { Err(Slot::Null) } else { Ok(!winner) }
}

/// Equality that takes NULL for a value.
fn same(a: Cell<'_>, b: Cell<'_>) -> Result<bool, Slot> {
    if a.is_null() || b.is_null() { Ok(a.is_null() && b.is_null()) } else { Ok(order(a, b)?.is_eq()) }
}

fn case<'a>(cells: &[Cell<'a>], branches: usize) -> Result<Cell<'a>, Slot> {
    let (branches, otherwise) = cells.split_at(branches * 2);
    for pair in branches.chunks_exact(2) {
        if pair[0].checked()? == Cell::Bool(true) {
            return Ok(pair[1]);
        }
    }
    Ok(otherwise.first().copied().unwrap_or(Cell::Not(Slot::Null)))
}

fn in_list(input: Cell<'_>, list: &[Cell<'_>]) -> Result<bool, Slot> {
    let mut unknown = Slot::Valid;
    if input.checked()?.is_null() {
        return Err(Slot::Null);
    }
    for item in list {
        match order(input, *item) {
            Ok(order) if order.is_eq() => return Ok(true),
            Ok(_) => {}
            Err(slot) => unknown = combine(unknown, slot),
        }
    }
    if unknown == Slot::Valid { Ok(false) } else { Err(unknown) }
}

fn coalesce<'a>(cells: &[Cell<'a>]) -> Result<Cell<'a>, Slot> {
    let found = cells.iter().find(|c| !c.is_null());
    found.copied().ok_or(Slot::Null)
}

/// The greatest or least value; NULLs are skipped.
fn extreme<'a>(cells: &[Cell<'a>], wanted: Ordering) -> Result<Cell<'a>, Slot> {
    let mut best = Cell::Not(Slot::Null);
    for cell in cells {
        let cell = cell.checked()?;
        if !cell.is_null() && (best.is_null() || order(cell, best)? == wanted) {
            best = cell;
        }
    }
    Ok(best)
}
