//! Columns of values to Arrow arrays, and rows of Arrow arrays to values.

use super::{arrow_field, arrow_type, double, real, type_of_field};
use crate::error::SqlError;
use datafusion::arrow::array::*;
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType as ArrowType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, *,
};
use headwater::value::column::{Column, ColumnData, Slot};
use headwater::value::{DataType, Interval, Value};
use std::sync::Arc;

fn mismatch(data_type: &DataType) -> SqlError {
    SqlError::new(
        "XX000",
        format!("a value is not of its column's type {}", crate::types::type_name(data_type)),
    )
}

/// An Arrow array of `values`, which must be of `data_type` or NULL.
///
/// # Errors
/// `XX000` when a value has another type: a bug in whoever made it.
pub(crate) fn array_from_values(values: &[Value], data_type: &DataType) -> Result<ArrayRef, SqlError> {
    macro_rules! collect {
        ($array:ty, $pattern:pat => $value:expr) => {
            collect::<$array, _>(values, data_type, |v| match v {
                $pattern => Some($value),
                _ => None,
            })
        };
    }
    match data_type {
        DataType::Bool => collect!(BooleanArray, Value::Bool(v) => *v),
        DataType::Int16 => collect!(Int16Array, Value::Int(v) => *v as i16),
        DataType::Int32 => collect!(Int32Array, Value::Int(v) => *v as i32),
        DataType::Int64 => collect!(Int64Array, Value::Int(v) => *v),
        DataType::Date => collect!(Date32Array, Value::Int(v) => *v as i32),
        DataType::Float32 => collect!(Float32Array, Value::Float(v) => real(*v as f32)),
        DataType::Float64 => collect!(Float64Array, Value::Float(v) => double(*v)),
        DataType::Text => collect!(StringArray, Value::Text(v) => v.as_str()),
        DataType::Bytea => collect!(BinaryArray, Value::Bytes(v) => v.as_slice()),
        DataType::Uuid => collect!(StringArray, Value::Bytes(v) => uuid_text(v)),
        DataType::Interval => {
            collect!(IntervalMonthDayNanoArray, Value::Interval(v) => interval_to_arrow(*v))
        }
        DataType::Timestamp => timestamps(values, data_type),
        DataType::Decimal { .. } => decimals(values, data_type),
        DataType::List(item) => lists(values, item, data_type),
        DataType::Struct(fields) => structs(values, fields, data_type),
        _ => Ok(Arc::new(NullArray::new(values.len()))),
    }
}

fn collect<'v, A, T>(
    values: &'v [Value],
    data_type: &DataType,
    get: impl Fn(&'v Value) -> Option<T>,
) -> Result<ArrayRef, SqlError>
where
    A: Array + FromIterator<Option<T>> + 'static,
{
    let items = values.iter().map(|v| match v {
        Value::Null => Ok(None),
        v => get(v).map(Some).ok_or_else(|| mismatch(data_type)),
    });
    Ok(Arc::new(items.collect::<Result<A, SqlError>>()?))
}

/// An Arrow array of a column of `data_type`; errors read as NULL. Integers, doubles and text go over whole.
///
/// # Errors
/// `XX000` when the column is not of the type, or holds text that is not UTF-8.
pub(crate) fn array_from_column(column: &Column, data_type: &DataType) -> Result<ArrayRef, SqlError> {
    let nulls =
        column.slots.as_ref().map(|slots| NullBuffer::from_iter(slots.iter().map(|s| *s == Slot::Valid)));
    Ok(match (&column.data, data_type) {
        (ColumnData::Int(v), DataType::Int64) => Arc::new(Int64Array::new(v.clone().into(), nulls)),
        (ColumnData::Int(v), DataType::Timestamp) => {
            Arc::new(TimestampMicrosecondArray::new(v.clone().into(), nulls).with_timezone(super::UTC))
        }
        (ColumnData::Float(v), DataType::Float64) => {
            let values: Vec<f64> = v.iter().copied().map(double).collect();
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        (ColumnData::Bytes(v), DataType::Text) => {
            let lengths = v.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
            let text =
                StringArray::try_new(OffsetBuffer::from_lengths(lengths), v.data.clone().into(), nulls);
            Arc::new(text.map_err(|_| mismatch(data_type))?)
        }
        _ => {
            let values: Vec<Value> = (0..column.len()).map(|row| column.value(row, data_type)).collect();
            return array_from_values(&values, data_type);
        }
    })
}

fn timestamps(values: &[Value], data_type: &DataType) -> Result<ArrayRef, SqlError> {
    let ints =
        collect::<Int64Array, _>(values, data_type, |v| if let Value::Int(v) = v { Some(*v) } else { None })?;
    cast(&ints, &arrow_type(data_type)).map_err(|_| mismatch(data_type))
}

fn decimals(values: &[Value], data_type: &DataType) -> Result<ArrayRef, SqlError> {
    let DataType::Decimal { precision, scale } = *data_type else { return Err(mismatch(data_type)) };
    let items = values.iter().map(|v| match v {
        Value::Null => Ok(None),
        Value::Decimal(v) => Ok(Some(*v)),
        _ => Err(mismatch(data_type)),
    });
    let array = items.collect::<Result<Decimal128Array, SqlError>>()?;
    let array = array.with_precision_and_scale(precision, scale as i8).map_err(|_| mismatch(data_type))?;
    Ok(Arc::new(array))
}

fn lists(values: &[Value], item: &DataType, data_type: &DataType) -> Result<ArrayRef, SqlError> {
    let mut flat = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Value::Null => lengths.push(0),
            Value::List(items) => {
                lengths.push(items.len());
                flat.extend(items.iter().cloned());
            }
            _ => return Err(mismatch(data_type)),
        }
    }
    let nulls = NullBuffer::from_iter(values.iter().map(|v| !v.is_null()));
    let items = array_from_values(&flat, item)?;
    let field = Arc::new(arrow_field("item", item));
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, Some(nulls));
    Ok(Arc::new(list.map_err(|_| mismatch(data_type))?))
}

fn structs(
    values: &[Value],
    fields: &[(String, DataType)],
    data_type: &DataType,
) -> Result<ArrayRef, SqlError> {
    let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(values.len()); fields.len()];
    for value in values {
        match value {
            Value::Null => columns.iter_mut().for_each(|c| c.push(Value::Null)),
            Value::Struct(parts) if parts.len() == fields.len() => {
                columns.iter_mut().zip(parts).for_each(|(c, part)| c.push(part.clone()));
            }
            _ => return Err(mismatch(data_type)),
        }
    }
    let arrays = columns.iter().zip(fields).map(|(column, (_, t))| array_from_values(column, t));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let nulls = NullBuffer::from_iter(values.iter().map(|v| !v.is_null()));
    let array =
        StructArray::try_new_with_length(super::arrow_fields(fields), arrays, Some(nulls), values.len());
    Ok(Arc::new(array.map_err(|_| mismatch(data_type))?))
}

pub(super) fn uuid_text(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    match (hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)) {
        (Some(a), Some(b), Some(c), Some(d), Some(e)) => format!("{a}-{b}-{c}-{d}-{e}"),
        _ => hex,
    }
}

fn interval_to_arrow(v: Interval) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(v.months, v.days, v.micros.saturating_mul(1_000))
}

/// The value at `row` as `data_type` (the type of the array's field) reads it.
///
/// # Errors
/// `22003` when the value does not fit the type (a timestamp or a 256-bit decimal out of range), `XX000` when
/// the array has an Arrow type that no SQL type reads.
pub(crate) fn value_at(array: &dyn Array, row: usize, data_type: &DataType) -> Result<Value, SqlError> {
    if array.is_null(row) || *data_type == DataType::Null {
        return Ok(Value::Null);
    }
    match data_type {
        DataType::List(item) => list_at(array, row, item),
        DataType::Struct(_) => struct_at(array, row, data_type),
        _ => scalar_at(array, row, data_type),
    }
}

fn scalar_at(array: &dyn Array, row: usize, data_type: &DataType) -> Result<Value, SqlError> {
    let wanted = arrow_type(data_type);
    if *array.data_type() != wanted {
        return cast_one(array, row, data_type, &wanted);
    }
    Ok(match data_type {
        DataType::Bool => Value::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Date => Value::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp => Value::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal { .. } => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Text => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Bytea => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::Uuid => {
            super::scalar::uuid(array.as_string::<i32>().value(row)).map_or(Value::Null, Value::Bytes)
        }
        DataType::Interval => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Value::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 })
        }
        _ => return Err(mismatch(data_type)),
    })
}

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Any other Arrow width or layout: cast that one row.
fn cast_one(
    array: &dyn Array,
    row: usize,
    data_type: &DataType,
    wanted: &ArrowType,
) -> Result<Value, SqlError> {
    let one = array.slice(row, 1);
    if let (ArrowType::Duration(_), DataType::Interval) = (one.data_type(), data_type) {
        let micros =
            cast(&one, &ArrowType::Duration(TimeUnit::Microsecond)).map_err(|_| mismatch(data_type))?;
        let micros = micros.as_primitive::<DurationMicrosecondType>().value(0);
        // Arrow has nanoseconds, up to 292 years of them.
        let days = if micros.checked_mul(1_000).is_some() { 0 } else { micros / DAY_MICROS };
        let micros = micros - days * DAY_MICROS;
        let days = i32::try_from(days).map_err(|_| mismatch(data_type))?;
        return Ok(Value::Interval(Interval { months: 0, days, micros }));
    }
    let cast = cast(&one, wanted).map_err(|_| mismatch(data_type))?;
    if cast.is_null(0) {
        let message = format!("{} out of range", crate::types::type_name(data_type));
        return Err(SqlError::new("22003", message));
    }
    scalar_at(&cast, 0, data_type)
}

fn list_at(array: &dyn Array, row: usize, item: &DataType) -> Result<Value, SqlError> {
    let one = array.slice(row, 1);
    let field = Arc::new(Field::new("item", element_type(one.data_type()), true));
    let list = cast(&one, &ArrowType::List(field)).map_err(|_| mismatch(item))?;
    let items = list.as_list::<i32>().value(0);
    let values = (0..items.len()).map(|i| value_at(&items, i, item));
    values.collect::<Result<Vec<_>, _>>().map(Value::List)
}

fn element_type(list: &ArrowType) -> ArrowType {
    match list {
        ArrowType::List(f) | ArrowType::LargeList(f) | ArrowType::FixedSizeList(f, _) => {
            f.data_type().clone()
        }
        ArrowType::ListView(f) | ArrowType::LargeListView(f) => f.data_type().clone(),
        other => other.clone(),
    }
}

fn struct_at(array: &dyn Array, row: usize, data_type: &DataType) -> Result<Value, SqlError> {
    let parts = array.as_struct_opt().ok_or_else(|| mismatch(data_type))?;
    let fields = parts.fields().iter().zip(parts.columns());
    let values = fields.map(|(field, column)| value_at(column, row, &type_of_field(field)));
    values.collect::<Result<Vec<_>, _>>().map(Value::Struct)
}
