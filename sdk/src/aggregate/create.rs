//! Columns of states from their specs, of a build with every aggregate.

use super::logic::Logical;
use super::{
    AggregateSpec, States, arg_extreme, bloom, bucket, count, ddsketch, exp_histogram, extreme, freq, hll,
    json_sum, logic, moments, moments4, regression, set, sum, tdigest, theta, timeline, topk,
};
#[cfg(feature = "functions")]
use super::{histogram, rows};
use crate::sketch::ddsketch::Mapping;
use crate::value::DataType;
use alloc::boxed::Box;
use core::cmp::Ordering;

/// An empty column of states, or `None` when this build does not have the aggregate or the spec is not valid.
pub fn create(spec: &AggregateSpec) -> Option<Box<dyn States>> {
    spec.is_supported().then_some(())?;
    Some(match spec {
        AggregateSpec::Count { .. } => Box::new(count::CountStates::new()),
        AggregateSpec::Sum(of) if of.is_float() => Box::new(sum::FloatSums::new(())),
        AggregateSpec::Sum(of) => Box::new(sum::IntSums::new(of.clone())),
        AggregateSpec::Min(of) => extremes(of, Ordering::Less),
        AggregateSpec::Max(of) => extremes(of, Ordering::Greater),
        AggregateSpec::Hll { value, precision } => {
            Box::new(hll::HllStates::new(hll::Params { value: value.clone(), precision: *precision }))
        }
        AggregateSpec::DdSketch { alpha_ppm } => {
            Box::new(ddsketch::DdSketchStates::new(Mapping::new(*alpha_ppm)))
        }
        AggregateSpec::Moments => Box::new(moments::MomentStates::new(())),
        AggregateSpec::BoolAnd => logic(&DataType::Bool, Logical::And),
        AggregateSpec::BoolOr => logic(&DataType::Bool, Logical::Or),
        AggregateSpec::BitAnd(of) => logic(of, Logical::And),
        AggregateSpec::BitOr(of) => logic(of, Logical::Or),
        AggregateSpec::BitXor(of) => logic(of, Logical::Xor),
        AggregateSpec::ArgMin { value, key } => arg_extremes(value, key, Ordering::Less),
        AggregateSpec::ArgMax { value, key } => arg_extremes(value, key, Ordering::Greater),
        AggregateSpec::Moments4 => Box::new(moments4::Moments4States::new(())),
        AggregateSpec::Regression => Box::new(regression::RegressionStates::new(())),
        #[cfg(feature = "functions")]
        AggregateSpec::Rows { keep, limit, columns } => {
            let params = rows::Params { keep: *keep, limit: *limit as usize, columns: columns.clone() };
            Box::new(rows::RowStates::new(params))
        }
        #[cfg(not(feature = "functions"))]
        AggregateSpec::Rows { .. } => return None,
        AggregateSpec::JsonSum { cap } => Box::new(json_sum::JsonSumStates::new(*cap)),
        AggregateSpec::TDigest { compression } => Box::new(tdigest::TDigestStates::new(*compression)),
        AggregateSpec::TopK { value, k, weighted } => {
            Box::new(topk::TopKStates::new(topk::Params::new(value, *k, *weighted)))
        }
        AggregateSpec::Set { value, cap } => {
            Box::new(set::SetStates::new(set::Params { value: value.clone(), cap: *cap }))
        }
        _ => return sketched(spec),
    })
}

/// Filters, samples, frequencies, histograms, and what needs the order of time.
fn sketched(spec: &AggregateSpec) -> Option<Box<dyn States>> {
    Some(match spec {
        AggregateSpec::Bloom { value, rate_ppm, expected } => {
            let shape = crate::sketch::bloom::Shape::new(*rate_ppm, *expected);
            Box::new(bloom::BloomStates::new(bloom::Params { value: value.clone(), shape }))
        }
        AggregateSpec::Freq { value, error_ppm, confidence_ppm } => {
            let shape = crate::sketch::countmin::Shape::new(*error_ppm, *confidence_ppm);
            Box::new(freq::FreqStates::new(freq::Params { value: value.clone(), shape }))
        }
        AggregateSpec::Theta { value, lg_k } => {
            Box::new(theta::ThetaStates::new(theta::Params { value: value.clone(), k: 1 << lg_k }))
        }
        #[cfg(feature = "functions")]
        AggregateSpec::Histogram { bounds } => Box::new(histogram::HistogramStates::new(bounds.clone())),
        AggregateSpec::ExpHistogram { buckets } => Box::new(exp_histogram::ExpHistogramStates::new(*buckets)),
        AggregateSpec::Bucket { value, cap } => {
            Box::new(bucket::BucketStates::new(bucket::Params { value: value.clone(), cap: *cap }))
        }
        AggregateSpec::Counter => Box::new(timeline::CounterStates::new(())),
        AggregateSpec::TimeWeight { linear: false } => Box::new(timeline::TimeWeightStates::<false>::new(())),
        AggregateSpec::TimeWeight { linear: true } => Box::new(timeline::TimeWeightStates::<true>::new(())),
        AggregateSpec::StateAgg => Box::new(timeline::StateStates::new(())),
        _ => return None,
    })
}

fn extremes(data_type: &DataType, wins: Ordering) -> Box<dyn States> {
    Box::new(extreme::Extremes::new(extreme::Params { data_type: data_type.clone(), wins }))
}

fn logic(data_type: &DataType, operation: Logical) -> Box<dyn States> {
    Box::new(logic::LogicStates::new(logic::Params { data_type: data_type.clone(), operation }))
}

fn arg_extremes(value: &DataType, key: &DataType, wins: Ordering) -> Box<dyn States> {
    let params = arg_extreme::Params { value: value.clone(), key: key.clone(), wins };
    Box::new(arg_extreme::ArgExtremes::new(params))
}
