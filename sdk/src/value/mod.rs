//! Types and single values of streams, keys and answers.
//!
//! Owns: [`DataType`], [`Value`], the canonical key bytes ([`key`]) and column batches ([`mod@column`]).
//! Must not know: plans, aggregates, Arrow, SQL text.

pub mod column;
mod depth;
#[cfg(feature = "functions")]
mod interval;
pub mod key;

#[cfg(feature = "functions")]
pub use interval::IntervalError;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What only answers hold.
#[cfg(feature = "functions")]
pub type Nested<T> = T;

/// What only answers hold, which the smallest build never reads: without it a type is a few plain bytes.
#[cfg(not(feature = "functions"))]
pub type Nested<T> = Absent<T>;

/// No value.
#[cfg(not(feature = "functions"))]
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Absent<T> {
    /// Never made.
    #[serde(skip)]
    Of(core::convert::Infallible, core::marker::PhantomData<T>),
}

#[cfg(not(feature = "functions"))]
impl<T> Clone for Absent<T> {
    fn clone(&self) -> Self {
        *self
    }
}

#[cfg(not(feature = "functions"))]
impl<T> Copy for Absent<T> {}

/// The type of a column or an expression. Tags are part of the plan format: append, never renumber.
/// Deserialising refuses lists and structs nested deeper than 16.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(not(feature = "functions"), derive(Copy))]
#[non_exhaustive]
pub enum DataType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int16,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `real`
    Float32,
    /// `double precision`
    Float64,
    /// `numeric(precision, scale)`: an i128 in units of 10^-scale; precision 1..=38, scale 0..=precision.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `text`: UTF-8
    Text,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `date`: days since 1970-01-01
    Date,
    /// `timestamptz`: microseconds since 1970-01-01T00:00:00Z
    Timestamp,
    /// `interval`
    Interval,
    /// A list; only in answers.
    List(Nested<Box<DataType>>),
    /// Named fields; only in answers.
    Struct(Nested<Vec<(String, DataType)>>),
    /// The type of a bare NULL.
    Null,
}

impl DataType {
    /// How the physical columns of this type are laid out.
    pub fn physical(&self) -> Physical {
        match self {
            Self::Bool => Physical::Bool,
            Self::Int16 | Self::Int32 | Self::Int64 | Self::Date | Self::Timestamp => Physical::Int,
            Self::Float32 | Self::Float64 => Physical::Float,
            Self::Decimal { .. } => Physical::Decimal,
            Self::Interval => Physical::Interval,
            Self::Text | Self::Bytea | Self::Uuid | Self::List(_) | Self::Struct(_) | Self::Null => {
                Physical::Bytes
            }
        }
    }

    /// `smallint`, `integer` or `bigint`.
    pub fn is_int(&self) -> bool {
        matches!(self, Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// `real` or `double precision`.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// Any type that `sum` takes.
    pub fn is_numeric(&self) -> bool {
        self.is_int() || self.is_float() || matches!(self, Self::Decimal { .. })
    }
}

/// The five layouts in which columns of all types are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Physical {
    /// One byte, 0 or 1.
    Bool,
    /// `i64`: integers, days, microseconds.
    Int,
    /// `f64`; `real` values are held widened.
    Float,
    /// `i128` units of the type's scale.
    Decimal,
    /// [`Interval`]
    Interval,
    /// Bytes: text (UTF-8), bytea, uuid (16 bytes).
    Bytes,
}

/// A span of time as PostgreSQL keeps it: three parts that do not convert into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// One value. Its type is known from its column: integers of all widths, dates and timestamps are
/// [`Value::Int`], `real` is [`Value::Float`]. Deserialising refuses lists and structs nested deeper than 16.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Value {
    /// SQL NULL.
    #[default]
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`, `integer`, `bigint`; `date` in days; `timestamptz` in microseconds.
    Int(i64),
    /// `real`, `double precision`
    Float(f64),
    /// `numeric`, in units of its type's scale.
    Decimal(i128),
    /// `text`
    Text(String),
    /// `bytea`, `uuid` (16 bytes)
    Bytes(Vec<u8>),
    /// `interval`
    Interval(Interval),
    /// A list; only in answers.
    List(Nested<Vec<Value>>),
    /// A struct's fields in the order of its type; only in answers.
    Struct(Nested<Vec<Value>>),
}

impl Value {
    /// True when a column of type `data_type` can hold this value: NULL, or a value of its layout in its
    /// range. Doubles may be NaN.
    pub fn fits(&self, data_type: &DataType) -> bool {
        use DataType as T;
        match (self, data_type) {
            (Self::Null, _)
            | (Self::Bool(_), T::Bool)
            | (Self::Int(_), T::Int64 | T::Timestamp)
            | (Self::Float(_), T::Float64)
            | (Self::Text(_), T::Text)
            | (Self::Bytes(_), T::Bytea)
            | (Self::Interval(_), T::Interval) => true,
            (Self::Int(v), T::Int16) => i16::try_from(*v).is_ok(),
            (Self::Int(v), T::Int32 | T::Date) => i32::try_from(*v).is_ok(),
            (Self::Float(v), T::Float32) => v.is_nan() || f64::from(*v as f32) == *v,
            (Self::Decimal(v), T::Decimal { precision, .. }) => decimal_fits(*v, *precision),
            (Self::Bytes(v), T::Uuid) => v.len() == 16,
            _ => false,
        }
    }

    /// True for [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// True when `units` has at most `precision` digits; precision above 38 fits nothing.
pub(crate) fn decimal_fits(units: i128, precision: u8) -> bool {
    10u128.checked_pow(u32::from(precision)).is_some_and(|limit| units.unsigned_abs() < limit)
}
