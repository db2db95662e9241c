//! One value into one column: conversions without loss, and nothing else.

use super::Fault;
use crate::expr::{
    float_to_decimal, narrow, parse_date, parse_decimal, parse_timestamp, parse_uuid, rescale,
};
use crate::value::column::{BytesColumn, Column, ColumnData, Slot};
use crate::value::{DataType, Interval, Value, decimal_fits};

/// The place for one value.
pub(super) struct Target<'a> {
    pub column: &'a mut Column,
    pub data_type: &'a DataType,
    pub bytes_max: usize,
}

impl Target<'_> {
    pub fn null(self) -> Result<(), Fault> {
        self.column.push_slot(Slot::Null);
        Ok(())
    }

    #[inline(always)]
    pub fn bool(self, v: bool) -> Result<(), Fault> {
        let ColumnData::Bool(out) = &mut self.column.data else { return Err(Fault::WrongType("boolean")) };
        out.push(v);
        self.column.push_valid_slot();
        Ok(())
    }

    /// Integers fit integers, times, doubles and numerics.
    #[inline(always)]
    pub fn int(self, v: i64) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Int(out), DataType::Int64 | DataType::Timestamp) => out.push(v),
            _ => return self.int_checked(v),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    #[inline(never)]
    fn int_checked(self, v: i64) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Int(out), t) if Value::Int(v).fits(t) => out.push(v),
            (ColumnData::Int(_), _) => return Err(Fault::OutOfRange),
            (ColumnData::Float(out), DataType::Float32) => out.push(f64::from(v as f32)),
            (ColumnData::Float(out), _) => out.push(v as f64),
            _ => return self.int128(i128::from(v)),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    #[cold]
    pub fn int128(self, v: i128) -> Result<(), Fault> {
        match (&self.column.data, self.data_type) {
            (ColumnData::Decimal(_), DataType::Decimal { scale, .. }) => {
                let units = rescale(v, 0, *scale).ok_or(Fault::OutOfRange)?;
                self.decimal(units)
            }
            (ColumnData::Int(_) | ColumnData::Float(_), _) => match i64::try_from(v) {
                Ok(v) => self.int(v),
                Err(_) => Err(Fault::OutOfRange),
            },
            _ => Err(Fault::WrongType("an integer")),
        }
    }

    /// Doubles fit doubles and numerics; whole ones also integers and times.
    #[inline(always)]
    pub fn float(self, v: f64) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Float(out), DataType::Float64) if !v.is_nan() => out.push(v),
            _ => return self.float_checked(v),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    #[inline(never)]
    fn float_checked(self, v: f64) -> Result<(), Fault> {
        if v.is_nan() {
            return Err(Fault::NotANumber);
        }
        let ColumnData::Float(out) = &mut self.column.data else { return self.float_slow(v) };
        out.push(narrow(v).map_err(|_| Fault::OutOfRange)?);
        self.column.push_valid_slot();
        Ok(())
    }

    #[cold]
    fn float_slow(self, v: f64) -> Result<(), Fault> {
        match (&self.column.data, self.data_type) {
            (ColumnData::Int(_), _) => match crate::expr::float_to_int(v) {
                Some(whole) if whole as f64 == v => self.int(whole),
                Some(_) => Err(Fault::WrongType("a fraction")),
                None => Err(Fault::OutOfRange),
            },
            (ColumnData::Decimal(_), DataType::Decimal { scale, .. }) => {
                let units = float_to_decimal(v, false, *scale).map_err(|_| Fault::OutOfRange)?;
                self.decimal(units)
            }
            _ => Err(Fault::WrongType("double precision")),
        }
    }

    /// Units of the column's own scale.
    pub fn decimal(self, units: i128) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Decimal(out), DataType::Decimal { precision, .. })
                if decimal_fits(units, *precision) =>
            {
                out.push(units);
            }
            (ColumnData::Decimal(_), _) => return Err(Fault::OutOfRange),
            _ => return Err(Fault::WrongType("numeric")),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    /// Text fits text, and is read as a date, time, interval, uuid or numeric.
    #[inline(always)]
    pub fn text(self, v: &str) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Bytes(out), DataType::Text) => push_bytes(out, v.as_bytes(), self.bytes_max)?,
            _ => return self.text_slow(v),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    #[cold]
    fn text_slow(self, v: &str) -> Result<(), Fault> {
        let bytes = v.as_bytes();
        match self.data_type {
            DataType::Date => self.int(parse_date(bytes).ok_or(Fault::Malformed)?),
            DataType::Timestamp => self.int(parse_timestamp(bytes).ok_or(Fault::Malformed)?),
            DataType::Interval => self.interval(v.parse().map_err(|_| Fault::Malformed)?),
            DataType::Uuid => self.bytes(&parse_uuid(bytes).ok_or(Fault::Malformed)?),
            DataType::Decimal { scale, .. } => {
                let units = parse_decimal(bytes, *scale).map_err(|slot| match slot {
                    Slot::Overflow => Fault::OutOfRange,
                    _ => Fault::Malformed,
                })?;
                self.decimal(units)
            }
            _ => Err(Fault::WrongType("text")),
        }
    }

    /// Bytes fit bytea, 16 of them a uuid.
    pub fn bytes(self, v: &[u8]) -> Result<(), Fault> {
        match (&mut self.column.data, self.data_type) {
            (ColumnData::Bytes(out), DataType::Bytea) => push_bytes(out, v, self.bytes_max)?,
            (ColumnData::Bytes(out), DataType::Uuid) if v.len() == 16 => out.push(v),
            (ColumnData::Bytes(_), DataType::Uuid) => return Err(Fault::Malformed),
            _ => return Err(Fault::WrongType("bytea")),
        }
        self.column.push_valid_slot();
        Ok(())
    }

    pub fn interval(self, v: Interval) -> Result<(), Fault> {
        let ColumnData::Interval(out) = &mut self.column.data else {
            return Err(Fault::WrongType("interval"));
        };
        out.push(v);
        self.column.push_valid_slot();
        Ok(())
    }

    pub fn value(self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Null => self.null(),
            Value::Bool(v) => self.bool(*v),
            Value::Int(v) => self.int(*v),
            Value::Float(v) => self.float(*v),
            Value::Decimal(v) => self.decimal(*v),
            Value::Text(v) => self.text(v),
            Value::Bytes(v) => self.bytes(v),
            Value::Interval(v) => self.interval(*v),
            _ => Err(Fault::WrongType("an array or record")),
        }
    }
}

#[inline(always)]
fn push_bytes(out: &mut BytesColumn, v: &[u8], max: usize) -> Result<(), Fault> {
    if v.len() > max {
        return Err(Fault::TooLong);
    }
    if out.data.len() + v.len() > i32::MAX as usize {
        return Err(Fault::Full);
    }
    out.push(v);
    Ok(())
}
