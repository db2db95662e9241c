//! How large the result of a function can be, row by row, before it is called.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
    TimeUnit,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

/// The function behind the operator `||`.
pub(super) const JOINED: &str = "||";
/// Longest text of a value that is no text, and of its place in a list, bytes.
const PRINTED_BYTES_MAX: usize = 64;

/// A bound of one row's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// So many times all arguments.
    Sum(usize),
    /// The first argument, as often as the second says.
    Repeat,
    /// As many characters as the second argument says.
    Pad,
    /// The third argument for each of the second in the first.
    Replace,
    /// The third argument, which may name parts of the first, at every place of the first.
    RegexpReplace,
    /// An element per step from first to second argument.
    Series,
    /// As many elements as the second argument says.
    Resize,
    /// The elements' texts with the other arguments between them.
    Print,
    /// Time, not memory, grows with the product of the arguments: its bytes are steps.
    Product,
}

/// How a function grows; `None` for those that cannot.
pub(super) fn growth_of(name: &str) -> Option<Growth> {
    Some(match name {
        "concat" | "concat_ws" | JOINED | "overlay" | "make_array" => Growth::Sum(1),
        "array_append" | "array_prepend" | "array_concat" | "array_union" => Growth::Sum(1),
        "left" | "right" | "substr" | "substr_index" | "reverse" | "btrim" | "ltrim" | "rtrim"
        | "split_part" => Growth::Sum(1),
        "upper" | "lower" | "initcap" | "encode" | "decode" => Growth::Sum(3),
        "bytea_text" | "translate" => Growth::Sum(4),
        "to_char" | "string_to_array" | "regexp_match" => Growth::Sum(32),
        "array_replace" | "array_replace_n" | "array_replace_all" => Growth::Replace,
        "repeat" | "array_repeat" => Growth::Repeat,
        "lpad" | "rpad" => Growth::Pad,
        "replace" => Growth::Replace,
        "regexp_replace" => Growth::RegexpReplace,
        "range" | "generate_series" => Growth::Series,
        "array_resize" => Growth::Resize,
        "array_to_string" => Growth::Print,
        "levenshtein" | "strpos" | "array_has_any" | "array_has_all" => Growth::Product,
        _ => return None,
    })
}

impl Growth {
    /// The worst case of every row, bytes.
    pub(super) fn worst(self, args: &ScalarFunctionArgs) -> Vec<usize> {
        let args: Vec<Argument> = match self {
            Self::Series => return series(args),
            _ => args.args.iter().map(Argument::new).collect(),
        };
        args_rows(self, &args)
    }

    fn row(self, args: &[Argument], row: usize) -> usize {
        let bytes = |at: usize| args.get(at).map_or(0, |arg| arg.bytes(row));
        let number = |at: usize| args.get(at).map_or(0, |arg| arg.number(row));
        match self {
            Self::Sum(times) => {
                (0..args.len()).map(bytes).fold(0, usize::saturating_add).saturating_mul(times)
            }
            Self::Repeat => (bytes(0) + 8).saturating_mul(number(1)),
            Self::Pad => number(1).saturating_mul(4),
            Self::Replace => replaced(args, row),
            Self::RegexpReplace => {
                let references = args.get(2).map_or(0, |arg| arg.references(row));
                let each = bytes(2).saturating_add(references.saturating_mul(bytes(0)));
                let is_global = args.len() > 3;
                let times = if is_global { bytes(0) + 1 } else { 1 };
                bytes(0).saturating_add(each.saturating_mul(times))
            }
            Self::Resize => bytes(0).saturating_add((bytes(2) + 8).saturating_mul(number(1))),
            Self::Print => {
                let between = bytes(1) + bytes(2) + PRINTED_BYTES_MAX;
                let elements = args.first().map_or(0, |list| list.elements(row));
                bytes(0).saturating_add(elements.saturating_mul(between))
            }
            Self::Product => bytes(0).saturating_mul(bytes(1)),
            Self::Series => 0,
        }
    }
}

/// Rows of the batch; one when all arguments are constants.
fn args_rows(growth: Growth, args: &[Argument]) -> Vec<usize> {
    let rows = args.iter().filter_map(|arg| arg.rows).max().unwrap_or(1);
    (0..rows).map(|row| growth.row(args, row)).collect()
}

fn replaced(args: &[Argument], row: usize) -> usize {
    let [first, from, to, ..] = args else { return 0 };
    let matches = match (first.text(row), from.text(row)) {
        (Some(text), Some("")) => text.chars().count() + 1,
        (Some(text), Some(from)) => text.matches(from).count(),
        (None, _) => first.elements(row),
        _ => 0,
    };
    // A list's elements are given last.
    first.bytes(row).saturating_add(matches.saturating_mul(to.bytes(row).saturating_add(8)))
}

/// One argument, constant or not.
struct Argument {
    array: Option<ArrayRef>,
    /// `None`: the same in every row.
    rows: Option<usize>,
}

impl Argument {
    fn new(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(array) => Self { array: Some(array.clone()), rows: Some(array.len()) },
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array().ok(), rows: None },
        }
    }

    /// The array and the place in it, unless it is NULL there.
    fn at(&self, row: usize) -> Option<(&ArrayRef, usize)> {
        let array = self.array.as_ref()?;
        let row = if self.rows.is_none() { 0 } else { row };
        (row < array.len() && array.is_valid(row)).then_some((array, row))
    }

    /// The text of a row, if it is one.
    fn text(&self, row: usize) -> Option<&str> {
        let (array, row) = self.at(row)?;
        match array.data_type() {
            DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(array.as_string_view().value(row)),
            _ => None,
        }
    }

    fn bytes(&self, row: usize) -> usize {
        let Some((array, row)) = self.at(row) else { return 0 };
        match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value_length(row) as usize,
            DataType::LargeUtf8 => array.as_string::<i64>().value_length(row) as usize,
            DataType::Utf8View => array.as_string_view().value(row).len(),
            DataType::Binary => array.as_binary::<i32>().value_length(row) as usize,
            DataType::LargeBinary => array.as_binary::<i64>().value_length(row) as usize,
            DataType::BinaryView => array.as_binary_view().value(row).len(),
            DataType::List(_) => list_bytes(&array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => list_bytes(&array.as_list::<i64>().value(row)),
            other => other.primitive_width().unwrap_or(8),
        }
    }

    fn elements(&self, row: usize) -> usize {
        let Some((array, row)) = self.at(row) else { return 0 };
        match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().value_length(row) as usize,
            DataType::LargeList(_) => array.as_list::<i64>().value_length(row) as usize,
            _ => 0,
        }
    }

    /// A count, not negative.
    fn number(&self, row: usize) -> usize {
        let Some((array, row)) = self.at(row) else { return 0 };
        let Ok(number) = cast(&array.slice(row, 1), &DataType::Int64) else { return 0 };
        let number = number.as_primitive::<Int64Type>();
        if number.is_null(0) { 0 } else { usize::try_from(number.value(0)).unwrap_or(0) }
    }

    /// How often a replacement names a part of what it replaces.
    fn references(&self, row: usize) -> usize {
        self.text(row).map_or(0, |text| text.matches(['\\', '$']).count())
    }
}

fn list_bytes(values: &ArrayRef) -> usize {
    let data = values.to_data();
    data.get_slice_memory_size().unwrap_or_else(|_| values.get_buffer_memory_size())
}

/// `range(start, stop, step)` over numbers, dates and timestamps.
fn series(args: &ScalarFunctionArgs) -> Vec<usize> {
    let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if all_scalar { 1 } else { args.number_rows };
    (0..rows).map(|row| series_row(&args.args, row)).collect()
}

fn series_row(args: &[ColumnarValue], row: usize) -> usize {
    let place = |at: usize| match args.get(at)? {
        ColumnarValue::Array(array) => place(&ScalarValue::try_from_array(array, row).ok()?),
        ColumnarValue::Scalar(scalar) => place(scalar),
    };
    let (start, stop) = match args.len() {
        0 => return 0,
        1 => (Some(0), place(0)),
        _ => (place(0), place(1)),
    };
    let (Some(start), Some(stop)) = (start, stop) else { return 0 };
    let step = if args.len() < 3 { Some(1) } else { place(2) };
    let step = step.unwrap_or(0).unsigned_abs().max(1);
    let elements = start.abs_diff(stop) / step + 1;
    usize::try_from(elements).unwrap_or(usize::MAX).saturating_mul(8)
}

/// Where a bound is, in ones or nanoseconds; a month counts 28 days.
fn place(value: &ScalarValue) -> Option<i128> {
    const DAY: i128 = 86_400_000_000_000;
    const MONTH: i128 = 28 * DAY;
    let array = value.to_array().ok()?;
    if array.is_null(0) {
        return None;
    }
    Some(match value.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(0);
            i128::from(v.months) * MONTH + i128::from(v.days) * DAY + i128::from(v.nanoseconds)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let v = array.as_primitive::<IntervalDayTimeType>().value(0);
            i128::from(v.days) * DAY + i128::from(v.milliseconds) * 1_000_000
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            i128::from(array.as_primitive::<IntervalYearMonthType>().value(0)) * MONTH
        }
        other => {
            let scale = match other {
                DataType::Date32 => DAY,
                DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
                DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
                DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
                _ => 1,
            };
            let number = cast(&array, &DataType::Int64).ok()?;
            let number = number.as_primitive::<Int64Type>();
            i128::from(if number.is_null(0) { return None } else { number.value(0) }) * scale
        }
    })
}
