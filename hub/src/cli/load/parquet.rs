//! Parquet: record batches as blocks, each value by the SDK's own conversions.

use super::block::Block;
use super::faults::{Fault, Faults, Place};
use super::mapping::Target;
use headwater::emit::Cell;
use headwater::value::DataType;
use headwater_sql::arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use headwater_sql::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use headwater_sql::arrow::compute::cast;
use headwater_sql::arrow::datatypes::{DataType as ArrowType, TimeUnit};
use headwater_sql::parquet::arrow::ProjectionMask;
use headwater_sql::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The columns of a file, and the number of its rows.
pub(super) fn names(path: &Path) -> io::Result<(Vec<String>, Option<u64>)> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(io::Error::other)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    Ok((builder.schema().fields().iter().map(|field| field.name().clone()).collect(), rows))
}

/// A cursor over a file's rows.
pub(super) struct Reader {
    batches: ParquetRecordBatchReader,
    /// The batch's column of each column of the file that is read.
    places: BTreeMap<usize, usize>,
    rest: Option<RecordBatch>,
    /// Rows passed.
    position: u64,
}

impl Reader {
    /// Opens a file at its first row; `batch_rows` are decoded at a time.
    pub fn open(path: &Path, targets: &[Target], batch_rows: usize) -> io::Result<Self> {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(io::Error::other)?;
        // The reader keeps the file's order of columns.
        let mut wanted: Vec<usize> = targets.iter().filter_map(|target| target.source).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let builder = builder.with_projection(mask).with_batch_size(batch_rows);
        let places = wanted.into_iter().enumerate().map(|(place, at)| (at, place)).collect();
        Ok(Self { batches: builder.build().map_err(io::Error::other)?, places, rest: None, position: 0 })
    }

    /// Up to `max` rows; `None` at the end.
    fn take(&mut self, max: usize) -> io::Result<Option<RecordBatch>> {
        let batch = loop {
            match self.rest.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                _ => match self.batches.next() {
                    Some(batch) => self.rest = Some(batch.map_err(io::Error::other)?),
                    None => return Ok(None),
                },
            }
        };
        let rows = max.min(batch.num_rows());
        self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        self.position += rows as u64;
        Ok(Some(batch.slice(0, rows)))
    }

    /// Passes up to `rows` rows; gives how many there were.
    pub fn skip(&mut self, rows: usize) -> io::Result<usize> {
        Ok(self.take(rows)?.map_or(0, |batch| batch.num_rows()))
    }

    /// Adds up to `max` rows to an empty block; gives how many there were. A row with a fault is counted, and its
    /// bad values are NULL.
    pub fn read(
        &mut self,
        max: usize,
        targets: &[Target],
        block: &mut Block<'_>,
        faults: &mut Faults,
    ) -> io::Result<usize> {
        let first = self.position + 1;
        let Some(batch) = self.take(max)? else { return Ok(0) };
        let mut bad: BTreeMap<usize, Fault> = BTreeMap::new();
        for (at, target) in targets.iter().enumerate() {
            let place = target.source.and_then(|source| self.places.get(&source));
            let mut put = |row: usize, cell: Cell<'_>| {
                if let Err(fault) = block.put(at, cell) {
                    // NULL fits every column.
                    let _ = block.put(at, Cell::Null);
                    bad.entry(row).or_insert(fault);
                }
            };
            match place {
                Some(place) => cells(batch.column(*place), target, &mut put).map_err(io::Error::other)?,
                None => (0..batch.num_rows()).for_each(|row| put(row, Cell::Null)),
            }
        }
        block.complete(batch.num_rows());
        (0..batch.num_rows()).for_each(|row| block.place(Place::Row(first + row as u64)));
        bad.iter().for_each(|(row, fault)| faults.add(Place::Row(first + *row as u64), fault));
        Ok(batch.num_rows())
    }
}

type Put<'a> = &'a mut dyn FnMut(usize, Cell<'_>);

/// Every value of an array; the error names the column, which no file can feed that way.
fn cells(array: &ArrayRef, target: &Target, put: Put<'_>) -> Result<(), String> {
    let takes_time = matches!(target.field.data_type, DataType::Date | DataType::Timestamp);
    match array.data_type() {
        ArrowType::Null => (0..array.len()).for_each(|row| put(row, Cell::Null)),
        ArrowType::Boolean => each(array.as_boolean().iter(), put, Cell::Bool),
        ArrowType::Int8 => values::<Int8Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::Int16 => values::<Int16Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::Int32 => values::<Int32Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::Int64 => values::<Int64Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::UInt8 => values::<UInt8Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::UInt16 => values::<UInt16Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::UInt32 => values::<UInt32Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::UInt64 => values::<UInt64Type>(array, put, |v| Cell::Int(v.into())),
        ArrowType::Float32 => values::<Float32Type>(array, put, Cell::Real),
        ArrowType::Float64 => values::<Float64Type>(array, put, Cell::Float),
        ArrowType::Decimal128(_, scale) => {
            let scale = digits(*scale)?;
            values::<Decimal128Type>(array, put, |units| Cell::Decimal { units, scale });
        }
        ArrowType::Decimal256(_, scale) => {
            let scale = digits(*scale)?;
            // What does not fit 128 bits does not fit a numeric either.
            let units = |units: headwater_sql::arrow::datatypes::i256| units.to_i128().unwrap_or(i128::MAX);
            values::<Decimal256Type>(array, put, |v| Cell::Decimal { units: units(v), scale });
        }
        ArrowType::Date32 | ArrowType::Date64 | ArrowType::Timestamp(..) if takes_time => {
            times(array, &target.field.data_type, put);
        }
        other => return others(other, array, target, put),
    }
    Ok(())
}

/// Text, bytes, and what has to be unpacked first.
fn others(data_type: &ArrowType, array: &ArrayRef, target: &Target, put: Put<'_>) -> Result<(), String> {
    let unpacked = |to: &ArrowType| cast(array, to).map_err(|error| error.to_string());
    match data_type {
        ArrowType::LargeUtf8 => each(array.as_string::<i64>().iter(), put, Cell::Text),
        ArrowType::Utf8 | ArrowType::Utf8View => cells(&unpacked(&ArrowType::LargeUtf8)?, target, put)?,
        ArrowType::LargeBinary => each(array.as_binary::<i64>().iter(), put, |v| bytes(v, target)),
        ArrowType::FixedSizeBinary(_) => {
            each(array.as_fixed_size_binary().iter(), put, |v| bytes(v, target));
        }
        ArrowType::Binary | ArrowType::BinaryView => cells(&unpacked(&ArrowType::LargeBinary)?, target, put)?,
        ArrowType::Float16 => cells(&unpacked(&ArrowType::Float32)?, target, put)?,
        ArrowType::Decimal32(precision, scale) | ArrowType::Decimal64(precision, scale) => {
            cells(&unpacked(&ArrowType::Decimal128(*precision, *scale))?, target, put)?;
        }
        ArrowType::Dictionary(_, values) => cells(&unpacked(values)?, target, put)?,
        other => {
            let (name, of) = (&target.field.name, headwater_sql::type_name(&target.field.data_type));
            return Err(format!("column {name}: {other} of the file cannot feed {of}"));
        }
    }
    Ok(())
}

fn digits(scale: i8) -> Result<u8, String> {
    u8::try_from(scale).map_err(|_| format!("a decimal with scale {scale} is not supported"))
}

/// Old writers do not say that their bytes are text.
fn bytes<'a>(v: &'a [u8], target: &Target) -> Cell<'a> {
    match std::str::from_utf8(v) {
        Ok(text) if target.field.data_type == DataType::Text => Cell::Text(text),
        _ => Cell::Bytes(v),
    }
}

fn values<T: ArrowPrimitiveType>(array: &ArrayRef, put: Put<'_>, cell: impl Fn(T::Native) -> Cell<'static>) {
    each(array.as_primitive::<T>().iter(), put, cell);
}

fn each<'a, V>(values: impl Iterator<Item = Option<V>>, put: Put<'_>, cell: impl Fn(V) -> Cell<'a>) {
    values.enumerate().for_each(|(row, value)| put(row, value.map_or(Cell::Null, &cell)));
}

/// Days and times, as days or microseconds. Nanoseconds are rounded, as those of text are; a time is no date
/// unless it is midnight UTC.
fn times(array: &ArrayRef, to: &DataType, put: Put<'_>) {
    let day = |days: i128| match to {
        DataType::Date => Cell::Int(days),
        _ => Cell::Int(days * i128::from(MICROS_PER_DAY)),
    };
    let micros = |micros: i128| match to {
        DataType::Date if micros.rem_euclid(MICROS_PER_DAY.into()) != 0 => {
            Cell::Float(micros as f64 / MICROS_PER_DAY as f64)
        }
        DataType::Date => Cell::Int(micros / i128::from(MICROS_PER_DAY)),
        _ => Cell::Int(micros),
    };
    match array.data_type() {
        ArrowType::Date32 => values::<Date32Type>(array, put, |v| day(v.into())),
        ArrowType::Date64 => values::<Date64Type>(array, put, |v| micros(i128::from(v) * 1000)),
        ArrowType::Timestamp(TimeUnit::Second, _) => {
            values::<TimestampSecondType>(array, put, |v| micros(i128::from(v) * 1_000_000));
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            values::<TimestampMillisecondType>(array, put, |v| micros(i128::from(v) * 1000));
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            values::<TimestampMicrosecondType>(array, put, |v| micros(v.into()));
        }
        _ => {
            values::<TimestampNanosecondType>(array, put, |v| micros((i128::from(v) + 500).div_euclid(1000)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::schema::Field;
    use headwater::value::Value;
    use headwater_sql::arrow::array::{
        Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array, StringArray,
        TimestampNanosecondArray,
    };
    use std::sync::Arc;

    fn read(array: ArrayRef, data_type: DataType) -> Vec<Result<Value, &'static str>> {
        let target =
            Target { field: Field { name: "c".into(), data_type: data_type.clone() }, source: Some(0) };
        let targets = [target];
        let mut out = Vec::new();
        cells(&array, &targets[0], &mut |_, cell| {
            let mut column = headwater::value::column::Column::new(&data_type);
            let pushed = headwater::emit::push_cell(&mut column, &targets[0].field, cell);
            out.push(pushed.map(|()| column.value(0, &data_type)).map_err(|error| error.code()));
        })
        .expect("cells");
        out
    }

    /// Fractions were cut to integers in silence.
    #[test]
    fn values_convert_without_loss_or_not_at_all() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.0), Some(1.5), None]));
        assert_eq!(
            read(Arc::clone(&floats), DataType::Int32),
            [Ok(Value::Int(2)), Err("wrong_type"), Ok(Value::Null)]
        );
        assert_eq!(read(Arc::new(Int64Array::from(vec![70_000])), DataType::Int16), [Err("out_of_range")]);
        let decimals =
            Decimal128Array::from(vec![1005, -1005]).with_precision_and_scale(10, 3).expect("decimals");
        let numeric = DataType::Decimal { precision: 5, scale: 2 };
        assert_eq!(read(Arc::new(decimals), numeric), [Ok(Value::Decimal(101)), Ok(Value::Decimal(-101))]);
        let texts: DictionaryArray<Int32Type> = vec!["7", "x"].into_iter().collect();
        assert_eq!(read(Arc::new(texts), DataType::Int64), [Ok(Value::Int(7)), Err("malformed")]);
        let uuids: ArrayRef = Arc::new(StringArray::from(vec!["01020304-0506-0708-090a-0b0c0d0e0f10", "no"]));
        assert_eq!(read(uuids, DataType::Uuid), [Ok(Value::Bytes((1..=16).collect())), Err("malformed")]);
    }

    #[test]
    fn times_become_days_and_microseconds() {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![1]));
        assert_eq!(read(Arc::clone(&days), DataType::Date), [Ok(Value::Int(1))]);
        assert_eq!(read(days, DataType::Timestamp), [Ok(Value::Int(MICROS_PER_DAY))]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_499, -1_501, 0]));
        assert_eq!(
            read(Arc::clone(&nanos), DataType::Timestamp),
            [Ok(Value::Int(1)), Ok(Value::Int(-2)), Ok(Value::Int(0))]
        );
        assert_eq!(read(nanos, DataType::Date), [Err("wrong_type"), Err("wrong_type"), Ok(Value::Int(0))]);
    }
}
