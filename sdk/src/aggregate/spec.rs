//! What a spec takes, gives and allows, without running it.

use super::AggregateSpec;
#[cfg(feature = "functions")]
use super::{FinishError, Finisher, SortColumn};
use crate::flavor::SKETCHES;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::{DataType, Physical};
#[cfg(feature = "functions")]
use alloc::boxed::Box;
#[cfg(feature = "functions")]
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Registers of a HyperLogLog, as powers of two.
const PRECISIONS: RangeInclusive<u8> = 4..=18;
/// Relative errors of a DDSketch, in millionths.
const ALPHAS_PPM: RangeInclusive<u32> = 100..=200_000;

/// Why a spec was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The aggregate does not take this type.
    #[error("{0} does not take this type")]
    Type(&'static str),
    /// A parameter is outside its range.
    #[error("{0} is out of range")]
    Parameter(&'static str),
}

impl AggregateSpec {
    /// Every aggregate's name, in tag order.
    pub const NAMES: [&str; 30] = [
        "count",
        "sum",
        "min",
        "max",
        "moments",
        "bool_and",
        "bool_or",
        "bit_and",
        "bit_or",
        "arg_min",
        "arg_max",
        "hll",
        "ddsketch",
        "tdigest",
        "topk",
        "set",
        "bloom",
        "bit_xor",
        "moments4",
        "regression",
        "rows",
        "json_sum",
        "freq",
        "theta",
        "histogram",
        "exp_histogram",
        "bucket",
        "counter",
        "time_weight",
        "state_agg",
    ];

    /// The position of this variant in the enum: its number in the plan format.
    pub fn tag(&self) -> u8 {
        match self {
            Self::Count { .. } => 0,
            Self::Sum(_) => 1,
            Self::Min(_) => 2,
            Self::Max(_) => 3,
            Self::Moments => 4,
            Self::BoolAnd => 5,
            Self::BoolOr => 6,
            Self::BitAnd(_) => 7,
            Self::BitOr(_) => 8,
            Self::ArgMin { .. } => 9,
            Self::ArgMax { .. } => 10,
            Self::Hll { .. } => 11,
            Self::DdSketch { .. } => 12,
            Self::TDigest { .. } => 13,
            Self::TopK { .. } => 14,
            Self::Set { .. } => 15,
            Self::Bloom { .. } => 16,
            Self::BitXor(_) => 17,
            Self::Moments4 => 18,
            Self::Regression => 19,
            Self::Rows { .. } => 20,
            Self::JsonSum { .. } => 21,
            Self::Freq { .. } => 22,
            Self::Theta { .. } => 23,
            Self::Histogram { .. } => 24,
            Self::ExpHistogram { .. } => 25,
            Self::Bucket { .. } => 26,
            Self::Counter => 27,
            Self::TimeWeight { .. } => 28,
            Self::StateAgg => 29,
        }
    }

    /// Its name in logs, vectors and the registry.
    pub fn name(&self) -> &'static str {
        Self::NAMES[usize::from(self.tag())]
    }

    /// How many arguments an update takes.
    pub fn arity(&self) -> usize {
        match self {
            Self::Count { argument } => usize::from(*argument),
            Self::ArgMin { .. } | Self::ArgMax { .. } | Self::Regression => 2,
            Self::TopK { weighted, .. } => 1 + usize::from(*weighted),
            #[cfg(feature = "functions")]
            Self::Rows { columns, .. } => columns.len(),
            Self::Bucket { .. } => 3,
            Self::Counter | Self::TimeWeight { .. } | Self::StateAgg => 2,
            _ => 1,
        }
    }

    /// The types of the arguments, in order; `None` takes any type.
    pub fn arg_types(&self) -> Vec<Option<DataType>> {
        match self {
            Self::Count { argument } => vec![None; usize::from(*argument)],
            Self::Sum(t) | Self::Min(t) | Self::Max(t) => vec![Some(t.clone())],
            Self::BitAnd(t) | Self::BitOr(t) | Self::BitXor(t) => vec![Some(t.clone())],
            Self::Moments | Self::Moments4 | Self::DdSketch { .. } | Self::TDigest { .. } => {
                vec![Some(DataType::Float64)]
            }
            Self::Regression => vec![Some(DataType::Float64), Some(DataType::Float64)],
            #[cfg(feature = "functions")]
            Self::Rows { columns, .. } => {
                columns.iter().map(|column| Some(column.data_type.clone())).collect()
            }
            #[cfg(not(feature = "functions"))]
            Self::Rows { .. } => Vec::new(),
            Self::JsonSum { .. } => vec![Some(DataType::Text)],
            Self::BoolAnd | Self::BoolOr => vec![Some(DataType::Bool)],
            Self::ArgMin { value, key } | Self::ArgMax { value, key } => {
                vec![Some(value.clone()), Some(key.clone())]
            }
            Self::Hll { value, .. } | Self::Set { value, .. } | Self::Bloom { value, .. } => {
                vec![Some(value.clone())]
            }
            Self::TopK { value, weighted: false, .. } => vec![Some(value.clone())],
            Self::TopK { value, weighted: true, .. } => vec![Some(value.clone()), Some(DataType::Int64)],
            Self::Freq { value, .. } => vec![Some(value.clone())],
            Self::Theta { value, .. } => vec![Some(value.clone())],
            Self::Histogram { .. } => vec![Some(DataType::Float64)],
            Self::ExpHistogram { .. } => vec![Some(DataType::Float64)],
            Self::Bucket { value, .. } => {
                vec![Some(value.clone()), Some(DataType::Int32), Some(DataType::Timestamp)]
            }
            Self::Counter | Self::TimeWeight { .. } => {
                vec![Some(DataType::Timestamp), Some(DataType::Float64)]
            }
            Self::StateAgg => vec![Some(DataType::Timestamp), Some(DataType::Text)],
        }
    }

    /// True when arguments of these types can feed the state. Where a double is asked for, a real does;
    /// where a bigint weight is asked for, any integer does.
    pub fn accepts(&self, args: &[&DataType]) -> bool {
        let takes = |wanted: &DataType, have: &DataType| match wanted {
            DataType::Float64 => have.is_float(),
            _ => wanted == have,
        };
        match (self, args) {
            (Self::Count { argument }, _) => args.len() == usize::from(*argument),
            (Self::Sum(of) | Self::Min(of) | Self::Max(of), [x])
            | (Self::BitAnd(of) | Self::BitOr(of) | Self::BitXor(of), [x])
            | (
                Self::Hll { value: of, .. } | Self::Set { value: of, .. } | Self::Bloom { value: of, .. },
                [x],
            ) => takes(of, x),
            (Self::Moments | Self::Moments4, [x]) => x.is_float(),
            (Self::Regression, [y, x]) => y.is_float() && x.is_float(),
            #[cfg(feature = "functions")]
            (Self::Rows { columns, .. }, _) => {
                columns.len() == args.len() && columns.iter().zip(args).all(|(c, x)| takes(&c.data_type, x))
            }
            (Self::DdSketch { .. } | Self::TDigest { .. }, [x]) => x.is_float(),
            (Self::JsonSum { .. }, [x]) => **x == DataType::Text,
            (Self::BoolAnd | Self::BoolOr, [x]) => **x == DataType::Bool,
            (Self::ArgMin { value, key } | Self::ArgMax { value, key }, [x, y]) => {
                takes(value, x) && takes(key, y)
            }
            (Self::TopK { value, weighted: false, .. }, [x]) => takes(value, x),
            (Self::TopK { value, weighted: true, .. }, [x, weight]) => {
                takes(value, x) && weight.physical() == Physical::Int
            }
            (Self::Freq { value, .. }, [x]) => takes(value, x),
            (Self::Theta { value, .. }, [x]) => takes(value, x),
            (Self::Histogram { .. }, [x]) => x.is_float(),
            (Self::ExpHistogram { .. }, [x]) => x.is_float(),
            (Self::Bucket { value, .. }, [x, bucket, time]) => {
                let narrow = matches!(bucket, DataType::Int16 | DataType::Int32);
                takes(value, x) && narrow && **time == DataType::Timestamp
            }
            (Self::Counter | Self::TimeWeight { .. }, [time, x]) => {
                **time == DataType::Timestamp && x.is_float()
            }
            (Self::StateAgg, [time, x]) => **time == DataType::Timestamp && **x == DataType::Text,
            _ => false,
        }
    }

    /// Checks types and parameters, wherever the spec came from.
    ///
    /// # Errors
    /// [`SpecError::Type`] when the aggregate does not take a type, [`SpecError::Parameter`] when a parameter is out of
    /// its range.
    pub fn validate(&self) -> Result<(), SpecError> {
        let name = self.name();
        let check = |ok: bool| {
            if ok { Ok(()) } else { Err(SpecError::Type(name)) }
        };
        let within = |what, ok: bool| {
            if ok { Ok(()) } else { Err(SpecError::Parameter(what)) }
        };
        match self {
            Self::Count { .. } | Self::BoolAnd | Self::BoolOr => Ok(()),
            Self::Moments | Self::Moments4 | Self::Regression => Ok(()),
            Self::Sum(t) => check(t.is_numeric() && is_scalar(t)),
            Self::BitAnd(t) | Self::BitOr(t) | Self::BitXor(t) => check(t.is_int()),
            Self::Min(t) | Self::Max(t) => check(is_scalar(t)),
            Self::ArgMin { value, key } | Self::ArgMax { value, key } => {
                check(is_scalar(value) && is_scalar(key))
            }
            Self::Hll { value, precision } => {
                check(is_scalar(value))?;
                within("precision", PRECISIONS.contains(precision))
            }
            Self::DdSketch { alpha_ppm } => within("relative error", ALPHAS_PPM.contains(alpha_ppm)),
            Self::TDigest { compression } => within("compression", (20..=10_000).contains(compression)),
            Self::TopK { value, k, .. } => {
                check(is_scalar(value))?;
                within("k", (1..=1_000).contains(k))
            }
            #[cfg(feature = "functions")]
            Self::Rows { keep, limit, columns } => {
                check(columns.iter().all(|column| is_scalar(&column.data_type)))?;
                within("number of columns", (1..=16).contains(&columns.len()))?;
                match keep {
                    super::Keep::All => within("cap", (1..=100_000).contains(limit)),
                    _ => within("n", (1..=1_000).contains(limit)),
                }
            }
            #[cfg(not(feature = "functions"))]
            Self::Rows { .. } => check(false),
            Self::JsonSum { cap } => within("cap", (1..=100_000).contains(cap)),
            Self::Set { value, cap } => {
                check(is_scalar(value))?;
                within("cap", (1..=1_000_000).contains(cap))
            }
            Self::Bloom { value, rate_ppm, expected } => {
                check(is_scalar(value))?;
                within("rate of false positives", (100..=500_000).contains(rate_ppm))?;
                within("number of values", (1..=1_000_000).contains(expected))
            }
            Self::Freq { value, error_ppm, confidence_ppm } => {
                check(is_scalar(value))?;
                within("error", (20..=500_000).contains(error_ppm))?;
                within("confidence", (1..=999_999).contains(confidence_ppm))
            }
            Self::Theta { value, lg_k } => {
                check(is_scalar(value))?;
                within("k", (4..=16).contains(lg_k))
            }
            #[cfg(feature = "functions")]
            Self::Histogram { bounds } => check_bounds(bounds),
            #[cfg(not(feature = "functions"))]
            Self::Histogram { .. } => check(false),
            Self::ExpHistogram { buckets } => within("number of buckets", (4..=1_024).contains(buckets)),
            Self::Bucket { value, cap } => {
                check(is_scalar(value))?;
                within("cap", (1..=1_000_000).contains(cap))
            }
            Self::Counter | Self::TimeWeight { .. } | Self::StateAgg => Ok(()),
        }
    }

    /// True when this build can hold such states (a slim build lacks some).
    pub fn is_supported(&self) -> bool {
        if SKETCHES { self.validate().is_ok() } else { self.is_slim() }
    }

    /// True for valid states that every build can hold.
    pub(super) fn is_slim(&self) -> bool {
        let number = |t: &DataType| t.is_int() || t.is_float();
        let scalar =
            |t: &DataType| is_scalar(t) && !matches!(t, DataType::Decimal { .. } | DataType::Interval);
        match self {
            Self::Count { .. } => true,
            Self::Sum(of) => number(of),
            Self::Min(of) | Self::Max(of) => scalar(of),
            Self::Hll { value: of, precision } => scalar(of) && PRECISIONS.contains(precision),
            Self::DdSketch { alpha_ppm } => ALPHAS_PPM.contains(alpha_ppm),
            _ => false,
        }
    }

    /// The type of what `finisher` makes of this state.
    ///
    /// # Errors
    /// [`FinishError::Mismatch`] when `finisher` does not belong to this state, or asks for a quantile outside of
    /// 0..=1.
    #[cfg(feature = "functions")]
    pub fn finish_type(&self, finisher: &Finisher) -> Result<DataType, FinishError> {
        if *finisher == Finisher::Bytes {
            return Ok(DataType::Bytea);
        }
        Ok(match (self, finisher) {
            (Self::Sum(t), Finisher::Value) => sum_type(t),
            (Self::Min(t) | Self::Max(t), Finisher::Value) => t.clone(),
            (Self::BitAnd(t) | Self::BitOr(t) | Self::BitXor(t), Finisher::Value) => t.clone(),
            (Self::BoolAnd | Self::BoolOr, Finisher::Value) => DataType::Bool,
            (Self::ArgMin { value, .. } | Self::ArgMax { value, .. }, Finisher::Value) => value.clone(),
            (Self::Count { .. } | Self::Hll { .. }, Finisher::Value) => DataType::Int64,
            (Self::TopK { value, .. }, Finisher::Value) => {
                records(&[("value", value.clone()), ("count", DataType::Int64)])
            }
            (Self::Set { value, .. }, Finisher::Value) => DataType::List(Box::new(value.clone())),
            (Self::Set { .. } | Self::Hll { .. } | Self::Bloom { .. }, Finisher::Cardinality) => {
                DataType::Int64
            }
            (
                Self::Count { .. }
                | Self::Sum(_)
                | Self::Moments
                | Self::Moments4
                | Self::Regression
                | Self::DdSketch { .. }
                | Self::TDigest { .. },
                Finisher::Count,
            ) => DataType::Int64,
            (Self::Sum(_) | Self::Moments, Finisher::Avg) => DataType::Float64,
            (
                Self::Moments,
                Finisher::VarPop | Finisher::VarSamp | Finisher::StddevPop | Finisher::StddevSamp,
            ) => DataType::Float64,
            (Self::DdSketch { .. } | Self::TDigest { .. }, Finisher::Quantile(q)) if is_rank(*q) => {
                DataType::Float64
            }
            (Self::DdSketch { .. } | Self::TDigest { .. }, Finisher::Quantiles(qs))
                if qs.iter().all(|q| is_rank(*q)) =>
            {
                DataType::List(Box::new(DataType::Float64))
            }
            (Self::Rows { columns, .. }, finisher) => return rows_type(columns, finisher),
            (Self::JsonSum { .. }, Finisher::Value) => DataType::Text,
            (Self::Moments4, finisher) if is_shape(finisher) => DataType::Float64,
            (Self::Regression, finisher) if is_regression(finisher) => DataType::Float64,
            _ => return self.sketched_type(finisher),
        })
    }

    /// The same of the aggregates that only builds with sketches have.
    #[cfg(feature = "functions")]
    fn sketched_type(&self, finisher: &Finisher) -> Result<DataType, FinishError> {
        Ok(match (self, finisher) {
            (Self::Freq { .. }, Finisher::Count) => DataType::Int64,
            (Self::Theta { .. }, Finisher::Cardinality) => DataType::Int64,
            (Self::Histogram { .. }, Finisher::Value) => DataType::List(Box::new(DataType::Int64)),
            (Self::Histogram { .. }, Finisher::Count) => DataType::Int64,
            (Self::ExpHistogram { .. }, Finisher::Value) => records(&[
                ("low", DataType::Float64),
                ("high", DataType::Float64),
                ("count", DataType::Int64),
            ]),
            (Self::ExpHistogram { .. }, Finisher::Count) => DataType::Int64,
            (Self::ExpHistogram { .. }, Finisher::Quantile(q)) if is_rank(*q) => DataType::Float64,
            (Self::ExpHistogram { .. }, Finisher::Quantiles(qs)) if qs.iter().all(|q| is_rank(*q)) => {
                DataType::List(Box::new(DataType::Float64))
            }
            (Self::Bucket { .. }, Finisher::Value) => {
                records(&[("bucket", DataType::Int32), ("count", DataType::Int64)])
            }
            (Self::Bucket { .. }, Finisher::Cardinality) => DataType::Int64,
            (Self::Counter, Finisher::Rate | Finisher::Delta) => DataType::Float64,
            (Self::Counter, Finisher::Resets) => DataType::Int64,
            (Self::Counter | Self::TimeWeight { .. } | Self::StateAgg, Finisher::Count) => DataType::Int64,
            (Self::TimeWeight { .. }, Finisher::Avg) => DataType::Float64,
            (Self::StateAgg, Finisher::Value) => {
                records(&[("state", DataType::Text), ("duration", DataType::Interval)])
            }
            _ => return Err(FinishError::Mismatch),
        })
    }
}

/// The type of what a finisher makes of rows.
#[cfg(feature = "functions")]
pub(super) fn rows_type(columns: &[SortColumn], finisher: &Finisher) -> Result<DataType, FinishError> {
    let column = |at: &u8| columns.get(usize::from(*at)).map(|c| &c.data_type).ok_or(FinishError::Mismatch);
    let list = |of: DataType| DataType::List(Box::new(of));
    Ok(match (finisher, columns) {
        (Finisher::Value, [one]) => list(one.data_type.clone()),
        (Finisher::Value, _) => {
            let name = |at: usize| alloc::format!("f{}", at + 1);
            let field = |(at, c): (usize, &SortColumn)| (name(at), c.data_type.clone());
            list(DataType::Struct(columns.iter().enumerate().map(field).collect()))
        }
        (Finisher::Column(at), _) => list(column(at)?.clone()),
        (Finisher::Join { column: at, .. }, _) if *column(at)? == DataType::Text => DataType::Text,
        (Finisher::JsonArray(at), _) => column(at).map(|_| DataType::Text)?,
        (Finisher::JsonObject { key, value }, _) => column(key).and(column(value)).map(|_| DataType::Text)?,
        _ => return Err(FinishError::Mismatch),
    })
}

#[cfg(feature = "functions")]
fn is_shape(finisher: &Finisher) -> bool {
    use Finisher as F;
    matches!(finisher, F::SkewnessPop | F::SkewnessSamp | F::KurtosisPop | F::KurtosisSamp)
}

#[cfg(feature = "functions")]
fn is_regression(finisher: &Finisher) -> bool {
    use Finisher as F;
    matches!(
        finisher,
        F::CovarPop
            | F::CovarSamp
            | F::Corr
            | F::RegrAvgX
            | F::RegrAvgY
            | F::RegrSxx
            | F::RegrSyy
            | F::RegrSxy
            | F::RegrSlope
            | F::RegrIntercept
            | F::RegrR2
    )
}

#[cfg(feature = "functions")]
fn check_bounds(bounds: &[f64]) -> Result<(), SpecError> {
    if !(1..=1_000).contains(&bounds.len()) {
        return Err(SpecError::Parameter("number of bounds"));
    }
    let ascending = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|x| x.is_finite());
    if ascending { Ok(()) } else { Err(SpecError::Parameter("order of bounds")) }
}

/// True for the types that a state can hold a value of.
fn is_scalar(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal { precision, scale } => (1..=38).contains(precision) && scale <= precision,
        DataType::List(_) | DataType::Struct(_) | DataType::Null => false,
        _ => true,
    }
}

#[cfg(feature = "functions")]
fn is_rank(q: f64) -> bool {
    (0.0..=1.0).contains(&q)
}

#[cfg(feature = "functions")]
fn sum_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Decimal { scale, .. } => DataType::Decimal { precision: 38, scale: *scale },
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        _ => DataType::Decimal { precision: 38, scale: 0 },
    }
}

#[cfg(feature = "functions")]
fn records(fields: &[(&str, DataType)]) -> DataType {
    let fields = fields.iter().map(|(name, data_type)| (String::from(*name), data_type.clone())).collect();
    DataType::List(Box::new(DataType::Struct(fields)))
}

/// A count as SQL's bigint.
#[cfg(feature = "finish")]
pub(super) fn bigint(count: u64) -> Result<Value, FinishError> {
    i64::try_from(count).map(Value::Int).map_err(|_| FinishError::OutOfRange("bigint"))
}
