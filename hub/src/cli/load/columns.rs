//! Record batches as column batches of a stream.

use super::mapping::Target;
use headwater::limits::TimeLimits;
use headwater::value::column::{BytesColumn, Column, ColumnBatch, ColumnData, Slot};
use headwater::value::{DataType, Value};
use headwater_sql::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use headwater_sql::arrow::compute::{CastOptions, cast_with_options};
use headwater_sql::arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};

/// A batch of the stream's columns.
#[derive(Debug)]
pub(super) struct Converted {
    /// The columns.
    pub batch: ColumnBatch,
    /// What is odd about them.
    pub odd: Odd,
}

/// What a load tells about its rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odd {
    /// NaN values that were read as NULL.
    pub nans: u64,
    /// Rows whose time lies further in the future than hubs take.
    pub future: u64,
}

impl Odd {
    /// Adds counts.
    pub fn add(&mut self, other: Self) {
        self.nans += other.nans;
        self.future += other.future;
    }
}

/// The stream's columns for the rows of `batch`, whose columns are those of the targets with a source.
/// `arrival` is the time of rows that bring none. The error names the column.
pub(super) fn convert(batch: &RecordBatch, targets: &[Target], arrival: i64) -> Result<Converted, String> {
    let mut odd = Odd::default();
    let mut arrays = batch.columns().iter();
    let mut columns = Vec::with_capacity(targets.len());
    for (at, target) in targets.iter().enumerate() {
        let is_arrival = at + 1 == targets.len();
        let array = target.source.and_then(|_| arrays.next());
        let mut column = match array {
            Some(array) => {
                let converted = column(array, &target.field.data_type, &mut odd.nans);
                converted.map_err(|error| format!("column {}: {error}", target.field.name))?
            }
            None => nulls(&target.field.data_type, batch.num_rows()),
        };
        if is_arrival {
            column = arrived(&column, arrival, &mut odd.future);
        }
        columns.push(column);
    }
    Ok(Converted { batch: ColumnBatch { columns }, odd })
}

fn nulls(data_type: &DataType, rows: usize) -> Column {
    let mut column = Column::new(data_type);
    (0..rows).for_each(|_| column.push_slot(Slot::Null));
    column
}

/// An event without a time happened when the load began.
fn arrived(column: &Column, arrival: i64, future: &mut u64) -> Column {
    let skew = i64::try_from(TimeLimits::PERSISTENT.future_skew_max.as_micros()).unwrap_or(i64::MAX);
    let mut out = Column::new(&DataType::Timestamp);
    for row in 0..column.len() {
        let value = column.value(row, &DataType::Timestamp);
        *future += u64::from(matches!(value, Value::Int(time) if time > arrival.saturating_add(skew)));
        out.push(&if value.is_null() { Value::Int(arrival) } else { value });
    }
    out
}

/// Casts strictly: a value that does not fit is an error, never NULL.
fn cast(array: &ArrayRef, to: &ArrowType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| error.to_string())
}

fn column(array: &ArrayRef, data_type: &DataType, nans: &mut u64) -> Result<Column, String> {
    let data = match data_type {
        DataType::Bool => {
            let array = cast(array, &ArrowType::Boolean)?;
            ColumnData::Bool(array.as_boolean().iter().map(Option::unwrap_or_default).collect())
        }
        DataType::Int16 => {
            let array = cast(array, &ArrowType::Int16)?;
            ColumnData::Int(
                array.as_primitive::<Int16Type>().values().iter().map(|v| i64::from(*v)).collect(),
            )
        }
        DataType::Int32 => {
            let array = cast(array, &ArrowType::Int32)?;
            ColumnData::Int(
                array.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect(),
            )
        }
        DataType::Int64 => {
            let array = cast(array, &ArrowType::Int64)?;
            ColumnData::Int(array.as_primitive::<Int64Type>().values().to_vec())
        }
        DataType::Date => {
            let array = cast(array, &ArrowType::Date32)?;
            ColumnData::Int(
                array.as_primitive::<Date32Type>().values().iter().map(|v| i64::from(*v)).collect(),
            )
        }
        DataType::Timestamp => {
            let array = cast(array, &ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
            ColumnData::Int(array.as_primitive::<TimestampMicrosecondType>().values().to_vec())
        }
        DataType::Float32 => {
            let array = cast(array, &ArrowType::Float32)?;
            let values = array.as_primitive::<Float32Type>().values().iter();
            return Ok(floats(values.map(|v| f64::from(*v)), &array, nans));
        }
        DataType::Float64 => {
            let array = cast(array, &ArrowType::Float64)?;
            let values = array.as_primitive::<Float64Type>().values().iter();
            return Ok(floats(values.copied(), &array, nans));
        }
        DataType::Decimal { precision, scale } => {
            let array = cast(array, &ArrowType::Decimal128(*precision, scale.cast_signed()))?;
            ColumnData::Decimal(array.as_primitive::<Decimal128Type>().values().to_vec())
        }
        DataType::Text => ColumnData::Bytes(text(&cast(array, &ArrowType::LargeUtf8)?)),
        DataType::Bytea => ColumnData::Bytes(bytes(&cast(array, &ArrowType::LargeBinary)?)),
        DataType::Uuid => ColumnData::Bytes(uuids(array)?),
        other => return Err(format!("a file cannot feed {}", headwater_sql::type_name(other))),
    };
    Ok(with_nulls(data, array, data_type))
}

/// NaN is how many writers of files say "missing"; states do not take it. It reads as NULL, and is counted so
/// that the load can tell.
fn floats(values: impl Iterator<Item = f64>, array: &ArrayRef, nans: &mut u64) -> Column {
    let mut out = Column::new(&DataType::Float64);
    for (row, value) in values.enumerate() {
        if array.is_null(row) || value.is_nan() {
            *nans += u64::from(array.is_valid(row));
            out.push_slot(Slot::Null);
        } else {
            out.push(&Value::Float(value));
        }
    }
    out
}

/// Null slots hold a default, as kernels expect.
fn with_nulls(data: ColumnData, array: &ArrayRef, data_type: &DataType) -> Column {
    if array.null_count() == 0 {
        return Column::valid(data);
    }
    let valid = Column::valid(data);
    let mut out = Column::new(data_type);
    for row in 0..array.len() {
        out.push(&if array.is_null(row) { Value::Null } else { valid.value(row, data_type) });
    }
    out
}

fn text(array: &ArrayRef) -> BytesColumn {
    let mut out = BytesColumn::default();
    array.as_string::<i64>().iter().for_each(|value| out.push(value.unwrap_or_default().as_bytes()));
    out
}

fn bytes(array: &ArrayRef) -> BytesColumn {
    let mut out = BytesColumn::default();
    array.as_binary::<i64>().iter().for_each(|value| out.push(value.unwrap_or_default()));
    out
}

/// 16 bytes, or the hyphenated text.
fn uuids(array: &ArrayRef) -> Result<BytesColumn, String> {
    let mut out = BytesColumn::default();
    if let ArrowType::FixedSizeBinary(16) = array.data_type() {
        array.as_fixed_size_binary().iter().for_each(|value| out.push(value.unwrap_or(&[0; 16])));
        return Ok(out);
    }
    for value in cast(array, &ArrowType::LargeUtf8)?.as_string::<i64>() {
        match value {
            None => out.push(&[0; 16]),
            Some(text) => out.push(&uuid(text).ok_or_else(|| format!("{text:?} is not a uuid"))?),
        }
    }
    Ok(out)
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (digits.len() == 32).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_sql::arrow::array::{Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn arrays_become_columns_with_their_nulls() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(70_000)]));
        let ints = column(&array, &DataType::Int32, &mut 0).expect("ints");
        let values: Vec<Value> = (0..3).map(|row| ints.value(row, &DataType::Int32)).collect();
        assert_eq!(values, [Value::Int(1), Value::Null, Value::Int(70_000)]);
        assert!(column(&array, &DataType::Int16, &mut 0).is_err(), "70000 is no smallint");
        let texts = column(&array, &DataType::Text, &mut 0).expect("texts");
        assert_eq!(texts.value(2, &DataType::Text), Value::Text("70000".into()));
    }

    #[test]
    fn uuids_are_read_from_text() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["01020304-0506-0708-090a-0b0c0d0e0f10"]));
        let uuids = column(&array, &DataType::Uuid, &mut 0).expect("uuid");
        assert_eq!(uuids.value(0, &DataType::Uuid), Value::Bytes((1..=16).collect()));
        let bad: ArrayRef = Arc::new(StringArray::from(vec!["nope"]));
        assert!(column(&bad, &DataType::Uuid, &mut 0).is_err());
    }

    #[test]
    fn nan_is_null_and_counted() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None]));
        let mut nans = 0;
        let floats = column(&array, &DataType::Float64, &mut nans).expect("floats");
        assert_eq!((floats.value(1, &DataType::Float64), nans), (Value::Null, 1));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["NaN", "2.5"]));
        let floats = column(&texts, &DataType::Float32, &mut nans).expect("floats");
        assert_eq!((floats.value(1, &DataType::Float32), nans), (Value::Float(2.5), 2));
    }
}
