//! One value inside a state: how it is ordered, written, checked and hashed.
//!
//! Owns: [`Scalar`], its order and its bytes. Must not know: any aggregate.
//! Invariants: the order is total and that of the canonical group keys: false < true; numbers by value, NaN
//! greatest, -0 equal to 0 (kept as 0); intervals by their span with a month of 30 days, then by months and
//! days; bytes by memcmp. Equal values have equal bytes.

use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::VALUE_BYTES_MAX;
use crate::value::DataType;
#[cfg(feature = "functions")]
use crate::value::Interval;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use alloc::boxed::Box;
#[cfg(feature = "finish")]
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A value that is not NULL, in one of the physical layouts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<B> {
    Bool(bool),
    Int(i64),
    Float(f64),
    #[cfg(feature = "functions")]
    Decimal(i128),
    #[cfg(feature = "functions")]
    Interval(Interval),
    Bytes(B),
}

/// A value that a state keeps.
pub(super) type Owned = Scalar<Box<[u8]>>;

impl<'a> Scalar<&'a [u8]> {
    /// The value at `row`, which must be valid.
    #[inline]
    pub fn at(column: &'a Column, row: usize) -> Self {
        match &column.data {
            ColumnData::Bool(v) => Self::Bool(v[row]),
            ColumnData::Int(v) => Self::Int(v[row]),
            ColumnData::Float(v) => Self::Float(canonical(v[row])),
            #[cfg(feature = "functions")]
            ColumnData::Decimal(v) => Self::Decimal(v[row]),
            #[cfg(feature = "functions")]
            ColumnData::Interval(v) => Self::Interval(v[row]),
            ColumnData::Bytes(v) => Self::Bytes(v.get(row)),
        }
    }

    /// Keeps the value.
    pub fn to_owned(self) -> Owned {
        match self {
            Self::Bool(v) => Scalar::Bool(v),
            Self::Int(v) => Scalar::Int(v),
            Self::Float(v) => Scalar::Float(v),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => Scalar::Decimal(v),
            #[cfg(feature = "functions")]
            Self::Interval(v) => Scalar::Interval(v),
            Self::Bytes(v) => Scalar::Bytes(v.into()),
        }
    }

    /// Reads and checks a value of `data_type`.
    pub fn decode(data_type: &DataType, bytes: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match data_type {
            DataType::Bool => match bytes.u8()? {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                _ => return Err(DecodeError::Invalid("boolean")),
            },
            DataType::Int16 => Self::Int(in_range(bytes.zigzag()?, i64::from(i16::MAX))?),
            DataType::Int32 | DataType::Date => Self::Int(in_range(bytes.zigzag()?, i64::from(i32::MAX))?),
            DataType::Int64 | DataType::Timestamp => Self::Int(bytes.zigzag()?),
            DataType::Float32 => Self::Float(is_canonical(f64::from(f32::from_bits(bytes.u32()?)))?),
            DataType::Float64 => Self::Float(is_canonical(bytes.f64()?)?),
            #[cfg(feature = "functions")]
            DataType::Decimal { .. } => Self::Decimal(bytes.zigzag128()?),
            #[cfg(feature = "functions")]
            DataType::Interval => Self::Interval(Interval {
                months: in_range(bytes.zigzag()?, i64::from(i32::MAX))? as i32,
                days: in_range(bytes.zigzag()?, i64::from(i32::MAX))? as i32,
                micros: bytes.zigzag()?,
            }),
            DataType::Text => Self::Bytes(bytes.text(usize::MAX)?.as_bytes()),
            DataType::Bytea => Self::Bytes(bytes.blob(usize::MAX)?),
            DataType::Uuid => Self::Bytes(bytes.bytes(16)?),
            _ => return Err(DecodeError::Invalid("type of value")),
        })
    }
}

impl<B: AsRef<[u8]>> Scalar<B> {
    /// A cheap view.
    pub fn view(&self) -> Scalar<&[u8]> {
        match self {
            Self::Bool(v) => Scalar::Bool(*v),
            Self::Int(v) => Scalar::Int(*v),
            Self::Float(v) => Scalar::Float(*v),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => Scalar::Decimal(*v),
            #[cfg(feature = "functions")]
            Self::Interval(v) => Scalar::Interval(*v),
            Self::Bytes(v) => Scalar::Bytes(v.as_ref()),
        }
    }

    /// The total order of values of one type. Values of different layouts are equal: callers never mix them.
    #[inline]
    pub fn order<C: AsRef<[u8]>>(&self, other: &Scalar<C>) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Self::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Self::Float(a), Scalar::Float(b)) => a.total_cmp(b),
            #[cfg(feature = "functions")]
            (Self::Decimal(a), Scalar::Decimal(b)) => a.cmp(b),
            #[cfg(feature = "functions")]
            (Self::Interval(a), Scalar::Interval(b)) => {
                (span(a), a.months, a.days).cmp(&(span(b), b.months, b.days))
            }
            (Self::Bytes(a), Scalar::Bytes(b)) => a.as_ref().cmp(b.as_ref()),
            _ => Ordering::Equal,
        }
    }

    /// Appends the canonical bytes of a value of `data_type`.
    pub fn encode(&self, data_type: &DataType, out: &mut Vec<u8>) {
        match self {
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::Int(v) => out.put_zigzag(*v),
            Self::Float(v) if *data_type == DataType::Float32 => {
                out.extend_from_slice(&(*v as f32).to_bits().to_le_bytes());
            }
            Self::Float(v) => out.extend_from_slice(&v.to_bits().to_le_bytes()),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => out.put_zigzag128(*v),
            #[cfg(feature = "functions")]
            Self::Interval(v) => {
                out.put_zigzag(i64::from(v.months));
                out.put_zigzag(i64::from(v.days));
                out.put_zigzag(v.micros);
            }
            Self::Bytes(v) if *data_type == DataType::Uuid => out.extend_from_slice(v.as_ref()),
            Self::Bytes(v) => out.put_blob(v.as_ref()),
        }
    }

    /// Refuses a value that no honest producer keeps in a state.
    pub fn admit(&self) -> Result<(), DecodeError> {
        match self {
            Self::Bytes(v) if v.as_ref().len() > VALUE_BYTES_MAX => Err(DecodeError::TooLarge("value")),
            _ => Ok(()),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        if let Self::Bytes(v) = self { v.as_ref().len() } else { 0 }
    }

    /// The value as answers hold it.
    #[cfg(feature = "finish")]
    pub fn value(&self, data_type: &DataType) -> Value {
        match self {
            Self::Bool(v) => Value::Bool(*v),
            Self::Int(v) => Value::Int(*v),
            Self::Float(v) => Value::Float(*v),
            #[cfg(feature = "functions")]
            Self::Decimal(v) => Value::Decimal(*v),
            #[cfg(feature = "functions")]
            Self::Interval(v) => Value::Interval(*v),
            Self::Bytes(v) if *data_type == DataType::Text => {
                Value::Text(String::from_utf8_lossy(v.as_ref()).into_owned())
            }
            Self::Bytes(v) => Value::Bytes(v.as_ref().to_vec()),
        }
    }
}

/// One bit pattern per value: 0 for -0, one NaN.
#[inline]
pub(super) fn canonical(x: f64) -> f64 {
    const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);
    // Adding 0 turns -0 into 0 and changes nothing else.
    if x.is_nan() { NAN } else { x + 0.0 }
}

pub(super) fn is_canonical(x: f64) -> Result<f64, DecodeError> {
    if canonical(x).to_bits() == x.to_bits() { Ok(x) } else { Err(DecodeError::Invalid("double")) }
}

fn in_range(value: i64, max: i64) -> Result<i64, DecodeError> {
    if (-max - 1..=max).contains(&value) { Ok(value) } else { Err(DecodeError::Invalid("integer")) }
}

#[cfg(feature = "functions")]
/// Microseconds of an interval, a month counting 30 days, as PostgreSQL orders them.
fn span(interval: &Interval) -> i128 {
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    i128::from(days) * 86_400_000_000 + i128::from(interval.micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_one_sign_and_nan_is_greatest() {
        let of = |x: f64| Scalar::<&[u8]>::Float(canonical(x));
        assert_eq!(of(-0.0).order(&of(0.0)), Ordering::Equal);
        assert_eq!(of(f64::NAN).order(&of(f64::INFINITY)), Ordering::Greater);
        assert_eq!(of(-f64::NAN).order(&of(f64::NAN)), Ordering::Equal);
        assert_eq!(of(-1.0).order(&of(1e-300)), Ordering::Less);
        assert!(is_canonical(-0.0).is_err() && is_canonical(-f64::NAN).is_err());
    }

    #[test]
    fn intervals_order_by_span() {
        let of = |months, days, micros| Scalar::<&[u8]>::Interval(Interval { months, days, micros });
        assert_eq!(of(1, 0, 0).order(&of(0, 29, 86_400_000_000 - 1)), Ordering::Greater);
        assert_eq!(of(0, 30, 0).order(&of(1, 0, 0)), Ordering::Less);
        assert_eq!(of(0, 31, 0).order(&of(1, 0, 0)), Ordering::Greater);
    }
}
