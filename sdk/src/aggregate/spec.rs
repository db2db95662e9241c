//! What a spec takes, gives and allows, without running it.

use super::AggregateSpec;
#[cfg(feature = "functions")]
use super::{FinishError, Finisher};
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
    pub const NAMES: [&str; 16] = [
        "count", "sum", "min", "max", "moments", "bool_and", "bool_or", "bit_and", "bit_or", "arg_min",
        "arg_max", "hll", "ddsketch", "tdigest", "topk", "set",
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
            Self::ArgMin { .. } | Self::ArgMax { .. } => 2,
            Self::TopK { weighted, .. } => 1 + usize::from(*weighted),
            _ => 1,
        }
    }

    /// The types of the arguments, in order; `None` takes any type.
    pub fn arg_types(&self) -> Vec<Option<DataType>> {
        match self {
            Self::Count { argument } => vec![None; usize::from(*argument)],
            Self::Sum(t) | Self::Min(t) | Self::Max(t) | Self::BitAnd(t) | Self::BitOr(t) => {
                vec![Some(t.clone())]
            }
            Self::Moments | Self::DdSketch { .. } | Self::TDigest { .. } => {
                vec![Some(DataType::Float64)]
            }
            Self::BoolAnd | Self::BoolOr => vec![Some(DataType::Bool)],
            Self::ArgMin { value, key } | Self::ArgMax { value, key } => {
                vec![Some(value.clone()), Some(key.clone())]
            }
            Self::Hll { value, .. } | Self::Set { value, .. } => vec![Some(value.clone())],
            Self::TopK { value, weighted: false, .. } => vec![Some(value.clone())],
            Self::TopK { value, weighted: true, .. } => vec![Some(value.clone()), Some(DataType::Int64)],
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
            (Self::Sum(of) | Self::Min(of) | Self::Max(of) | Self::BitAnd(of) | Self::BitOr(of), [x])
            | (Self::Hll { value: of, .. } | Self::Set { value: of, .. }, [x]) => takes(of, x),
            (Self::Moments | Self::DdSketch { .. } | Self::TDigest { .. }, [x]) => x.is_float(),
            (Self::BoolAnd | Self::BoolOr, [x]) => **x == DataType::Bool,
            (Self::ArgMin { value, key } | Self::ArgMax { value, key }, [x, y]) => {
                takes(value, x) && takes(key, y)
            }
            (Self::TopK { value, weighted: false, .. }, [x]) => takes(value, x),
            (Self::TopK { value, weighted: true, .. }, [x, weight]) => {
                takes(value, x) && weight.physical() == Physical::Int
            }
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
            Self::Count { .. } | Self::Moments | Self::BoolAnd | Self::BoolOr => Ok(()),
            Self::Sum(t) => check(t.is_numeric() && is_scalar(t)),
            Self::BitAnd(t) | Self::BitOr(t) => check(t.is_int()),
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
            Self::Set { value, cap } => {
                check(is_scalar(value))?;
                within("cap", (1..=1_000_000).contains(cap))
            }
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
            (Self::Min(t) | Self::Max(t) | Self::BitAnd(t) | Self::BitOr(t), Finisher::Value) => t.clone(),
            (Self::BoolAnd | Self::BoolOr, Finisher::Value) => DataType::Bool,
            (Self::ArgMin { value, .. } | Self::ArgMax { value, .. }, Finisher::Value) => value.clone(),
            (Self::Count { .. } | Self::Hll { .. }, Finisher::Value) => DataType::Int64,
            (Self::TopK { value, .. }, Finisher::Value) => top_type(value),
            (Self::Set { value, .. }, Finisher::Value) => DataType::List(Box::new(value.clone())),
            (Self::Set { .. } | Self::Hll { .. }, Finisher::Cardinality) => DataType::Int64,
            (
                Self::Count { .. }
                | Self::Sum(_)
                | Self::Moments
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
            _ => return Err(FinishError::Mismatch),
        })
    }
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
fn top_type(value: &DataType) -> DataType {
    let fields = vec![(String::from("value"), value.clone()), (String::from("count"), DataType::Int64)];
    DataType::List(Box::new(DataType::Struct(fields)))
}

/// A count as SQL's bigint.
#[cfg(feature = "finish")]
pub(super) fn bigint(count: u64) -> Result<Value, FinishError> {
    i64::try_from(count).map(Value::Int).map_err(|_| FinishError::OutOfRange("bigint"))
}
