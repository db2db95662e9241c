//! Functions of time that queries share with definitions.
//!
//! | function | answers |
//! |---|---|
//! | `time_bucket(width, time[, time zone][, origin or offset])` | the start of the bucket, as in definitions |
//! | `date_trunc(unit, time)` | DataFusion's own counts nanoseconds, which begin in 1677 |
//! | `date_bin(width, time[, origin])` | the start of the bin, from 1970 where no origin is given; DataFusion's counts nanoseconds |
//! | `date_round(time, width)` | PipelineDB's: the same, counted from 2000-01-01 |
//! | `to_timestamp(seconds)` | the time that many seconds after 1970; DataFusion's ends where its nanoseconds do |
//! | `year(time)`, `month`, `day`, `hour`, `minute`, `second` | PipelineDB's: the time, truncated |

use super::guard;
use super::postgres::{each, timestamptz};
use crate::buckets::{Placing, rounding, shift, zone};
use crate::convert::{cast_text, value_of};
use crate::error::SqlError;
use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use headwater::value::{DataType as Type, Interval, Value};
use std::sync::{Arc, LazyLock};

const DAY_US: i64 = 86_400_000_000;

/// PipelineDB's names of truncations.
const UNITS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeFunction {
    name: &'static str,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<TimeFunction> {
    let function = |name, signature| TimeFunction { name, signature };
    let mut all = vec![
        function("time_bucket", Signature::variadic_any(Volatility::Immutable)),
        function(
            "date_bin",
            Signature::one_of(vec![TypeSignature::Any(2), TypeSignature::Any(3)], Volatility::Immutable),
        ),
        function("date_round", Signature::any(2, Volatility::Immutable)),
        function("date_trunc", Signature::any(2, Volatility::Immutable)),
    ];
    all.extend(UNITS.map(|name| function(name, Signature::any(1, Volatility::Immutable))));
    all
}

/// `to_timestamp` of a number.
pub(super) fn of_seconds() -> Arc<ScalarUDF> {
    static OF_SECONDS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::from(TimeFunction { name: "to_timestamp", signature }))
    });
    Arc::clone(&OF_SECONDS)
}

impl ScalarUDFImpl for TimeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let ("date_trunc", Some(DataType::Interval(_) | DataType::Duration(_))) = (self.name, types.get(1))
        {
            let error = SqlError::unsupported("date_trunc of an interval");
            return Err(guard::external(error.with_hint("extract(hour FROM x) gives its parts")));
        }
        Ok(timestamptz())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        match (self.name, args.args.as_slice()) {
            ("time_bucket", [width, time, placing @ ..]) if placing.len() <= 2 => {
                let placing = placed(placing).map_err(guard::external)?;
                bucket(width, time, &placing, rows)
            }
            ("date_round", [time, width]) => {
                let by = rounding(interval(width, self.name).map_err(guard::external)?);
                bucket(width, time, &by, rows)
            }
            ("date_bin", [width, time]) => bin(width, time, &ColumnarValue::Scalar(epoch()), rows),
            ("date_bin", [width, time, origin]) => bin(width, time, origin, rows),
            ("date_trunc", [unit, time]) => truncate(unit, time, rows),
            ("to_timestamp", [seconds]) => each(seconds, rows, since_epoch),
            (unit, [time]) => {
                each(time, rows, |times| map(times, |micros| headwater::expr::date_trunc(unit, micros)))
            }
            _ => Err(guard::external(SqlError::new("42883", format!("{}: wrong arguments", self.name)))),
        }
    }
}

/// # Errors
/// `22008` for NaN, infinities and what is beyond any timestamp.
fn since_epoch(seconds: &ArrayRef) -> Result<ArrayRef> {
    let micros = if seconds.data_type().is_integer() {
        let seconds = cast(seconds, &DataType::Int64)?;
        let micros = |seconds: i64| seconds.checked_mul(1_000_000).ok_or_else(out_of_range);
        seconds.as_primitive::<Int64Type>().iter().map(|seconds| seconds.map(micros).transpose()).collect()
    } else {
        let seconds = cast(seconds, &DataType::Float64)?;
        seconds
            .as_primitive::<Float64Type>()
            .iter()
            .map(|seconds| seconds.map(micros_of).transpose())
            .collect()
    };
    Ok(Arc::new(Result::<TimestampMicrosecondArray>::map(micros, |m| m.with_timezone("+00:00"))?))
}

fn micros_of(seconds: f64) -> Result<i64> {
    let micros = (seconds * 1e6).round_ties_even();
    // Every double within is an i64.
    let is_within = micros >= -(2f64.powi(63)) && micros < 2f64.powi(63);
    if is_within { Ok(micros as i64) } else { Err(out_of_range()) }
}

/// Units are written as literals nearly always; where they are not, every row has its own.
fn truncate(unit: &ColumnarValue, time: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    if let ColumnarValue::Scalar(unit) = unit {
        let Some(unit) = unit.try_as_str().flatten() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&timestamptz())?));
        };
        let unit = known(unit)?;
        return each(time, rows, |times| map(times, |micros| headwater::expr::date_trunc(unit, micros)));
    }
    let (units, times) = (unit.to_array(rows)?, cast(&time.to_array(rows)?, &timestamptz())?);
    let units = cast(&units, &DataType::Utf8)?;
    let pairs = units.as_string::<i32>().iter().zip(times.as_primitive::<TimestampMicrosecondType>());
    let starts = pairs.map(|(unit, micros)| {
        let (Some(unit), Some(micros)) = (unit, micros) else { return Ok(None) };
        headwater::expr::date_trunc(known(unit)?, micros).map(Some).ok_or_else(out_of_range)
    });
    let starts = starts.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(ColumnarValue::Array(Arc::new(starts.with_timezone("+00:00"))))
}

fn known(unit: &str) -> Result<&'static str> {
    crate::units::unit(unit).ok_or_else(|| guard::external(crate::units::unknown(unit)))
}

fn out_of_range() -> DataFusionError {
    guard::external(SqlError::new("22008", "timestamp out of range"))
}

fn bucket(
    width: &ColumnarValue,
    time: &ColumnarValue,
    placing: &Placing,
    rows: usize,
) -> Result<ColumnarValue> {
    let width = interval(width, "time_bucket").map_err(guard::external)?;
    let by = shift(width, placing).map_err(guard::external)?;
    let back = Interval { months: -by.months, days: -by.days, micros: -by.micros };
    let start = |micros| {
        let moved = headwater::expr::add_interval(micros, back)?;
        headwater::expr::add_interval(headwater::expr::time_bucket(width, moved)?, by)
    };
    each(time, rows, |times| map(times, start))
}

fn epoch() -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(0), Some("+00:00".into()))
}

/// # Errors
/// As PostgreSQL's: `0A000` for months, `22008` for a width that is not above zero.
fn bin(
    width: &ColumnarValue,
    time: &ColumnarValue,
    origin: &ColumnarValue,
    rows: usize,
) -> Result<ColumnarValue> {
    let width = match interval(width, "date_bin").map_err(guard::external)? {
        Interval { months: 0, days, micros } => {
            i64::from(days).checked_mul(DAY_US).and_then(|days| days.checked_add(micros))
        }
        _ => {
            let error = SqlError::unsupported("a date_bin of months or years");
            return Err(guard::external(error.with_hint("time_bucket takes them")));
        }
    };
    let Some(width @ 1..) = width else {
        return Err(guard::external(SqlError::new(
            "22008",
            "the width of date_bin must be greater than zero",
        )));
    };
    let is_constant = constant(time).is_some() && constant(origin).is_some();
    let rows = if is_constant { 1 } else { rows };
    let times = cast(&time.to_array(rows)?, &timestamptz())?;
    let origins = cast(&origin.to_array(rows)?, &timestamptz())?;
    let pairs = times
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .zip(origins.as_primitive::<TimestampMicrosecondType>());
    let starts = pairs.map(|(time, origin)| {
        let (Some(time), Some(origin)) = (time, origin) else { return Ok(None) };
        let within = time.checked_sub(origin).map(|since| since.rem_euclid(width));
        within.and_then(|within| time.checked_sub(within)).map(Some).ok_or_else(out_of_range)
    });
    let starts = starts.collect::<Result<TimestampMicrosecondArray>>()?.with_timezone("+00:00");
    match is_constant {
        true => ScalarValue::try_from_array(&starts, 0).map(ColumnarValue::Scalar),
        false => Ok(ColumnarValue::Array(Arc::new(starts))),
    }
}

fn map(times: &ArrayRef, start: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    let times = cast(times, &timestamptz())?;
    let starts = times.as_primitive::<TimestampMicrosecondType>().iter().map(|micros| match micros {
        Some(micros) => start(micros).map(Some).ok_or_else(out_of_range),
        None => Ok(None),
    });
    let starts = starts.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(starts.with_timezone("+00:00")))
}

fn constant(value: &ColumnarValue) -> Option<&ScalarValue> {
    if let ColumnarValue::Scalar(scalar) = value { Some(scalar) } else { None }
}

fn interval(value: &ColumnarValue, name: &str) -> Result<Interval, SqlError> {
    let not_constant = || SqlError::unsupported(format!("a {name} whose width is not a constant"));
    let scalar = constant(value).ok_or_else(not_constant)?;
    let width = match scalar.try_as_str().flatten() {
        Some(text) => cast_text(text, &Type::Interval)?,
        None => value_of(scalar, &Type::Interval).unwrap_or_default(),
    };
    match width {
        Value::Interval(width) => Ok(width),
        _ => Err(SqlError::new("22023", format!("the width of {name} must be an interval"))),
    }
}

/// What follows the time: a time zone, then an origin or an offset.
fn placed(args: &[ColumnarValue]) -> Result<Placing, SqlError> {
    let mut placing = Placing::default();
    for (at, arg) in args.iter().enumerate() {
        let unconstant = || SqlError::unsupported("a time_bucket whose buckets move from row to row");
        let scalar = constant(arg).ok_or_else(unconstant)?;
        if let Some(text) = scalar.try_as_str().flatten() {
            match zone(text)? {
                Some(zone) if at == 0 => placing.zone_us = zone,
                _ => placing.origin_us = origin(cast_text(text, &Type::Timestamp)?),
            }
        } else if let Some(Value::Interval(offset)) = value_of(scalar, &Type::Interval) {
            placing.offset = Some(offset);
        } else {
            placing.origin_us = origin(value_of(scalar, &Type::Timestamp).unwrap_or_default());
        }
    }
    Ok(placing)
}

fn origin(value: Value) -> Option<i64> {
    if let Value::Int(micros) = value { Some(micros) } else { None }
}
