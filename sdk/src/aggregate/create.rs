//! Columns of states from their specs, of a build with every aggregate.

use super::{
    AggregateSpec, States, arg_extreme, count, ddsketch, extreme, hll, logic, moments, set, sum, tdigest,
    topk,
};
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
        AggregateSpec::BoolAnd => logic(&DataType::Bool, true),
        AggregateSpec::BoolOr => logic(&DataType::Bool, false),
        AggregateSpec::BitAnd(of) => logic(of, true),
        AggregateSpec::BitOr(of) => logic(of, false),
        AggregateSpec::ArgMin { value, key } => arg_extremes(value, key, Ordering::Less),
        AggregateSpec::ArgMax { value, key } => arg_extremes(value, key, Ordering::Greater),
        AggregateSpec::TDigest { compression } => Box::new(tdigest::TDigestStates::new(*compression)),
        AggregateSpec::TopK { value, k, weighted } => {
            Box::new(topk::TopKStates::new(topk::Params::new(value, *k, *weighted)))
        }
        AggregateSpec::Set { value, cap } => {
            Box::new(set::SetStates::new(set::Params { value: value.clone(), cap: *cap }))
        }
    })
}

fn extremes(data_type: &DataType, wins: Ordering) -> Box<dyn States> {
    Box::new(extreme::Extremes::new(extreme::Params { data_type: data_type.clone(), wins }))
}

fn logic(data_type: &DataType, and: bool) -> Box<dyn States> {
    Box::new(logic::LogicStates::new(logic::Params { data_type: data_type.clone(), and }))
}

fn arg_extremes(value: &DataType, key: &DataType, wins: Ordering) -> Box<dyn States> {
    let params = arg_extreme::Params { value: value.clone(), key: key.clone(), wins };
    Box::new(arg_extreme::ArgExtremes::new(params))
}
