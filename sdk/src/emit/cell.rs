//! Values of files onto columns: the conversions of events, and text read as a column's type.

use super::column::Target;
use super::{EmitError, EmitOptions, Fault};
use crate::expr::{
    decimal_to_float, float_to_decimal, parse_bool, parse_bytea, parse_float, parse_int, rescale,
};
use crate::schema::Field;
use crate::value::column::{Column, Slot};
use crate::value::{DataType, Interval};
use alloc::vec::Vec;

/// A value as a file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number: an integer, days since 1970-01-01, or microseconds since then.
    Int(i128),
    /// A double.
    Float(f64),
    /// A `real`.
    Real(f32),
    /// A decimal: units of `10^-scale`.
    Decimal {
        /// How many units.
        units: i128,
        /// Digits after the point.
        scale: u8,
    },
    /// Text, read as the column's type.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An interval.
    Interval(Interval),
}

/// Adds a value to a column of the field's type, or refuses it and leaves the column alone.
///
/// Typed values convert as [`super::EventBuffer`] converts them: nothing is lost, except that `numeric` rounds to
/// its scale, half away from zero, as PostgreSQL's assignment does. Text is read as PostgreSQL reads it, and as
/// `1.0` or `1e3` where the column takes whole numbers; a fraction is never cut.
///
/// # Errors
/// Those of [`super::EventBuffer::push_values`] that are about one value: text and bytea of more than 64 KiB, the default of
/// [`EmitOptions::value_bytes_max`], are too long.
///
/// ```
/// use headwater::emit::{Cell, push_cell};
/// use headwater::schema::Field;
/// use headwater::value::column::Column;
/// use headwater::value::DataType;
///
/// let field = Field { name: "n".into(), data_type: DataType::Int64 };
/// let mut column = Column::new(&field.data_type);
/// push_cell(&mut column, &field, Cell::Text("7"))?;
/// let error = push_cell(&mut column, &field, Cell::Text("1.5")).unwrap_err();
/// assert_eq!((error.code(), column.len()), ("wrong_type", 1));
/// # Ok::<(), headwater::emit::EmitError>(())
/// ```
pub fn push_cell(column: &mut Column, field: &Field, cell: Cell<'_>) -> Result<(), EmitError> {
    let bytes_max = EmitOptions::default().value_bytes_max;
    let target = Target { column, data_type: &field.data_type, bytes_max };
    let pushed = match cell {
        Cell::Null => target.null(),
        Cell::Bool(v) => target.bool(v),
        Cell::Int(v) => target.int128(v),
        Cell::Float(v) => target.float(v),
        Cell::Real(v) => real(target, v),
        Cell::Decimal { units, scale } => decimal(target, units, scale),
        Cell::Text(v) => text(target, v),
        Cell::Bytes(v) => target.bytes(v),
        Cell::Interval(v) => target.interval(v),
    };
    pushed.map_err(|fault| fault.at(&field.name, Some(&field.data_type)))
}

/// PostgreSQL's cast of a `real` to numeric keeps its 6 digits; elsewhere it is a double.
fn real(target: Target<'_>, v: f32) -> Result<(), Fault> {
    match target.data_type {
        DataType::Decimal { scale, .. } if !v.is_nan() => {
            let units = float_to_decimal(f64::from(v), true, *scale).map_err(|_| Fault::OutOfRange)?;
            target.decimal(units)
        }
        _ => target.float(f64::from(v)),
    }
}

fn decimal(target: Target<'_>, units: i128, scale: u8) -> Result<(), Fault> {
    match target.data_type {
        DataType::Decimal { scale: to, .. } => {
            let units = rescale(units, scale, *to).ok_or(Fault::OutOfRange)?;
            target.decimal(units)
        }
        t @ (DataType::Float32 | DataType::Float64) => {
            let single = *t == DataType::Float32;
            target.float(decimal_to_float(units, scale, single))
        }
        t if t.is_int() => match 10i128.checked_pow(u32::from(scale)) {
            Some(one) if units % one == 0 => target.int128(units / one),
            _ => Err(Fault::WrongType("a fraction")),
        },
        _ => Err(Fault::WrongType("numeric")),
    }
}

fn text(target: Target<'_>, v: &str) -> Result<(), Fault> {
    match target.data_type {
        DataType::Bool => target.bool(parse_bool(v.as_bytes()).ok_or(Fault::Malformed)?),
        DataType::Float32 | DataType::Float64 => target.float(parse_float(v.as_bytes()).map_err(unreadable)?),
        t if t.is_int() => match parse_int(v.as_bytes()) {
            Ok(v) => target.int(v),
            Err(Slot::Overflow) => Err(Fault::OutOfRange),
            Err(_) => whole(target, v),
        },
        DataType::Bytea => {
            let mut bytes = Vec::new();
            parse_bytea(v.as_bytes(), &mut bytes).map_err(unreadable)?;
            target.bytes(&bytes)
        }
        _ => target.text(v),
    }
}

/// `1.0` and `1e3` are whole numbers. Beyond 2^53 a double cannot tell.
fn whole(target: Target<'_>, v: &str) -> Result<(), Fault> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = parse_float(v.as_bytes()).map_err(unreadable)?;
    if number.is_nan() {
        return Err(Fault::NotANumber);
    }
    if number.abs() >= EXACT { Err(Fault::OutOfRange) } else { target.float(number) }
}

fn unreadable(slot: Slot) -> Fault {
    if slot == Slot::Overflow { Fault::OutOfRange } else { Fault::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use alloc::string::String;

    fn one(data_type: DataType, cell: Cell<'_>) -> Result<Value, &'static str> {
        let field = Field { name: String::from("c"), data_type };
        let mut column = Column::new(&field.data_type);
        let pushed = push_cell(&mut column, &field, cell);
        assert_eq!(column.len(), usize::from(pushed.is_ok()), "{cell:?} left a trace");
        pushed.map(|()| column.value(0, &field.data_type)).map_err(|e| e.code())
    }

    /// A file's fraction was cut to an integer in silence.
    #[test]
    fn fractions_are_refused_and_whole_numbers_are_not() {
        for cell in [
            Cell::Text("1.5"),
            Cell::Float(1.5),
            Cell::Real(1.5),
            Cell::Decimal { units: 15, scale: 1 },
            Cell::Text("1e-1"),
        ] {
            assert_eq!(one(DataType::Int64, cell), Err("wrong_type"), "{cell:?}");
        }
        for cell in [
            Cell::Text(" 20 "),
            Cell::Text("20.0"),
            Cell::Text("2e1"),
            Cell::Float(20.0),
            Cell::Decimal { units: 200, scale: 1 },
            Cell::Int(20),
        ] {
            assert_eq!(one(DataType::Int16, cell), Ok(Value::Int(20)), "{cell:?}");
        }
        assert_eq!(one(DataType::Int64, Cell::Text("9007199254740993.0")), Err("out_of_range"));
        assert_eq!(one(DataType::Int16, Cell::Text("40000")), Err("out_of_range"));
        assert_eq!(one(DataType::Int32, Cell::Text("")), Err("malformed"));
        assert_eq!(one(DataType::Int32, Cell::Text("NaN")), Err("nan"));
    }

    #[test]
    fn numeric_rounds_half_away_from_zero() {
        let numeric = || DataType::Decimal { precision: 5, scale: 2 };
        for (cell, expected) in [
            (Cell::Text("0.005"), 1),
            (Cell::Text("-0.005"), -1),
            (Cell::Text("0.00499999"), 0),
            (Cell::Text("1.5e0"), 150),
            (Cell::Decimal { units: -1005, scale: 3 }, -101),
            (Cell::Float(1.005), 101),
            (Cell::Float(-1.005), -101),
            (Cell::Real(0.1), 10),
        ] {
            assert_eq!(one(numeric(), cell), Ok(Value::Decimal(expected)), "{cell:?}");
        }
        assert_eq!(one(numeric(), Cell::Text("999.995")), Err("out_of_range"));
        assert_eq!(one(numeric(), Cell::Float(f64::NAN)), Err("nan"));
        assert_eq!(one(numeric(), Cell::Real(f32::NAN)), Err("nan"));
    }

    #[test]
    fn text_reads_as_postgresql_reads_it() {
        assert_eq!(one(DataType::Bool, Cell::Text("yes")), Ok(Value::Bool(true)));
        assert_eq!(one(DataType::Bool, Cell::Text("2")), Err("malformed"));
        assert_eq!(one(DataType::Float64, Cell::Text("1e400")), Err("out_of_range"));
        assert_eq!(one(DataType::Float32, Cell::Text("1e300")), Err("out_of_range"));
        assert_eq!(one(DataType::Bytea, Cell::Text("\\xff00")), Ok(Value::Bytes(alloc::vec![255, 0])));
        assert_eq!(one(DataType::Bytea, Cell::Text("\\xf")), Err("malformed"));
        assert_eq!(one(DataType::Date, Cell::Text("1970-01-02")), Ok(Value::Int(1)));
        assert_eq!(one(DataType::Float64, Cell::Decimal { units: 15, scale: 1 }), Ok(Value::Float(1.5)));
        assert_eq!(one(DataType::Text, Cell::Int(5)), Err("wrong_type"));
        let day = Interval { days: 1, ..Interval::default() };
        assert_eq!(one(DataType::Interval, Cell::Text(" 1 day ")), Ok(Value::Interval(day)));
        assert_eq!(one(DataType::Interval, Cell::Text("soon")), Err("malformed"));
        let interval = Interval { months: 1, days: -2, micros: 3 };
        assert_eq!(one(DataType::Interval, Cell::Interval(interval)), Ok(Value::Interval(interval)));
        assert_eq!(one(DataType::Int64, Cell::Interval(interval)), Err("wrong_type"));
    }
}
