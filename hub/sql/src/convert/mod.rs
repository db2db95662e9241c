//! Between Headwater's values and Arrow's.
//!
//! Owns: which Arrow type carries which [`DataType`]. Must not know: plans, queries.
//! Invariants: every type survives there and back. `uuid` has no useful Arrow type for SQL (DataFusion cannot
//! compare it with a text literal), so it travels as lower-case text, whose order is the order of its bytes,
//! and its field says so in metadata ([`TYPE_KEY`]).

mod array;
mod cell;
mod scalar;

pub use cell::put_cell;

pub(crate) use array::{array_from_column, array_from_values, value_at};
pub(crate) use scalar::{
    cast_text, cast_value, own_decimal, scalar_of, spell_interval, unreadable, value_of,
};

use datafusion::arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, Fields, IntervalUnit, TimeUnit,
};
use headwater::value::DataType;
use std::sync::Arc;

/// The metadata key under which an Arrow field names its SQL type, where Arrow's own does not tell.
pub const TYPE_KEY: &str = "headwater.type";

/// What the `(other)` group shows in its text keys.
pub(crate) const OTHER_TEXT: &str = "(other)";

/// What the `(other)` group shows in a key of this type; NULL where it is `None`.
pub(crate) fn scalar_text_other(data_type: &DataType) -> Option<headwater::value::Value> {
    (*data_type == DataType::Text).then(|| headwater::value::Value::Text(OTHER_TEXT.to_owned()))
}

/// The time zone of every timestamp.
pub(crate) const UTC: &str = "+00:00";

/// The Arrow type that carries `data_type`.
pub fn arrow_type(data_type: &DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float32 => ArrowType::Float32,
        DataType::Float64 => ArrowType::Float64,
        DataType::Decimal { precision, scale } => ArrowType::Decimal128(*precision, *scale as i8),
        DataType::Text | DataType::Uuid => ArrowType::Utf8,
        DataType::Bytea => ArrowType::Binary,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        DataType::Interval => ArrowType::Interval(IntervalUnit::MonthDayNano),
        DataType::List(item) => ArrowType::List(Arc::new(arrow_field("item", item))),
        DataType::Struct(fields) => ArrowType::Struct(arrow_fields(fields)),
        _ => ArrowType::Null,
    }
}

fn arrow_fields(fields: &[(String, DataType)]) -> Fields {
    fields.iter().map(|(name, data_type)| arrow_field(name, data_type)).collect()
}

/// A nullable Arrow field for values of `data_type`.
pub fn arrow_field(name: &str, data_type: &DataType) -> ArrowField {
    let field = ArrowField::new(name, arrow_type(data_type), true);
    match data_type {
        DataType::Uuid => field.with_metadata([(TYPE_KEY.to_owned(), "uuid".to_owned())].into()),
        _ => field,
    }
}

/// The type that an Arrow field carries; unsigned and other widths read as the next SQL type that holds them.
pub fn type_of_field(field: &ArrowField) -> DataType {
    if field.metadata().get(TYPE_KEY).is_some_and(|t| t == "uuid") {
        return DataType::Uuid;
    }
    type_of_arrow(field.data_type())
}

fn type_of_arrow(arrow: &ArrowType) -> DataType {
    use ArrowType as A;
    match arrow {
        A::Boolean => DataType::Bool,
        A::Int8 | A::Int16 | A::UInt8 => DataType::Int16,
        A::Int32 | A::UInt16 => DataType::Int32,
        // Counts and ranks are unsigned in DataFusion and bigint in PostgreSQL; past its range is an error.
        A::Int64 | A::UInt32 | A::UInt64 => DataType::Int64,
        A::Float16 | A::Float32 => DataType::Float32,
        A::Float64 => DataType::Float64,
        A::Decimal32(p, s) | A::Decimal64(p, s) | A::Decimal128(p, s) | A::Decimal256(p, s) => {
            let scale = u8::try_from(*s).unwrap_or(0).min(38);
            DataType::Decimal { precision: (*p).clamp(scale.max(1), 38), scale }
        }
        A::Date32 | A::Date64 => DataType::Date,
        A::Timestamp(..) => DataType::Timestamp,
        A::Interval(_) | A::Duration(_) => DataType::Interval,
        A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_) => DataType::Bytea,
        A::Null => DataType::Null,
        A::List(item)
        | A::LargeList(item)
        | A::FixedSizeList(item, _)
        | A::ListView(item)
        | A::LargeListView(item) => DataType::List(Box::new(type_of_field(item))),
        A::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| (f.name().clone(), type_of_field(f))).collect())
        }
        A::Dictionary(_, value) => type_of_arrow(value),
        _ => DataType::Text,
    }
}

/// The double that queries see: one zero, one NaN (see `engine::canonical`).
pub(crate) fn double(x: f64) -> f64 {
    // Adding 0 makes 0 of -0.
    if x.is_nan() { f64::NAN } else { x + 0.0 }
}

/// As [`double`].
pub(crate) fn real(x: f32) -> f32 {
    if x.is_nan() { f32::NAN } else { x + 0.0 }
}

#[cfg(test)]
mod tests;
