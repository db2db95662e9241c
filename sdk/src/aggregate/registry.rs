//! Every aggregate, with specs and rows to try it on: what the law suite, the fuzzers and the golden
//! vectors walk through, so that an aggregate cannot be added without being exercised.

use super::AggregateSpec;
#[cfg(feature = "functions")]
use super::{Keep, SortColumn};
use crate::value::{DataType, Interval, Value};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// What merging promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Equal events give equal bytes, however they were split and in whatever order they were merged.
    Exact,
    /// Equal events give equal answers when they were split by time, else an error; merge is commutative and
    /// associative.
    Disjoint,
    /// Equal events give answers within the stated error, however they were split; merge is commutative.
    Bounded,
}

/// One aggregate.
#[derive(Clone, Copy, Debug)]
pub struct AggregateEntry {
    /// As [`AggregateSpec::name`].
    pub name: &'static str,
    /// What merging promises.
    pub law: Law,
    /// Specs that reach all its code.
    pub specs: fn() -> Vec<AggregateSpec>,
    /// A row of arguments for a spec, drawn from a source of random bits. NULLs included.
    pub row: fn(&AggregateSpec, &mut dyn FnMut() -> u64) -> Vec<Value>,
}

const fn exact(name: &'static str, specs: fn() -> Vec<AggregateSpec>) -> AggregateEntry {
    AggregateEntry { name, law: Law::Exact, specs, row: example_row }
}

const fn bounded(name: &'static str, specs: fn() -> Vec<AggregateSpec>) -> AggregateEntry {
    AggregateEntry { name, law: Law::Bounded, specs, row: example_row }
}

const fn disjoint(name: &'static str, specs: fn() -> Vec<AggregateSpec>) -> AggregateEntry {
    AggregateEntry { name, law: Law::Disjoint, specs, row: example_row }
}

/// One entry per aggregate, in tag order.
pub static REGISTRY: [AggregateEntry; AggregateSpec::NAMES.len()] = [
    exact("count", || {
        vec![AggregateSpec::Count { argument: false }, AggregateSpec::Count { argument: true }]
    }),
    exact("sum", || numbers().into_iter().map(AggregateSpec::Sum).collect()),
    exact("min", || scalars().into_iter().map(AggregateSpec::Min).collect()),
    exact("max", || scalars().into_iter().map(AggregateSpec::Max).collect()),
    exact("moments", || vec![AggregateSpec::Moments]),
    exact("bool_and", || vec![AggregateSpec::BoolAnd]),
    exact("bool_or", || vec![AggregateSpec::BoolOr]),
    exact("bit_and", || integers().into_iter().map(AggregateSpec::BitAnd).collect()),
    exact("bit_or", || integers().into_iter().map(AggregateSpec::BitOr).collect()),
    exact("arg_min", || {
        let pair = |value| AggregateSpec::ArgMin { value, key: DataType::Timestamp };
        scalars().into_iter().map(pair).collect()
    }),
    exact("arg_max", || {
        let pair = |key| AggregateSpec::ArgMax { value: DataType::Text, key };
        scalars().into_iter().map(pair).collect()
    }),
    exact("hll", || {
        let of = |value| AggregateSpec::Hll { value, precision: 4 };
        let wide = AggregateSpec::Hll { value: DataType::Int64, precision: 12 };
        scalars().into_iter().map(of).chain([wide]).collect()
    }),
    exact("ddsketch", || {
        [100, 10_000, 200_000].map(|alpha_ppm| AggregateSpec::DdSketch { alpha_ppm }).to_vec()
    }),
    bounded("tdigest", || [20, 200].map(|compression| AggregateSpec::TDigest { compression }).to_vec()),
    bounded("topk", || {
        let plain = |value| AggregateSpec::TopK { value, k: 3, weighted: false };
        let weighted = AggregateSpec::TopK { value: DataType::Int32, k: 10, weighted: true };
        scalars().into_iter().map(plain).chain([weighted]).collect()
    }),
    exact("set", || {
        let of = |value| AggregateSpec::Set { value, cap: 1_000 };
        let tight = AggregateSpec::Set { value: DataType::Int16, cap: 5 };
        scalars().into_iter().map(of).chain([tight]).collect()
    }),
    exact("bloom", || {
        let of = |value| AggregateSpec::Bloom { value, rate_ppm: 20_000, expected: 200 };
        let tight = AggregateSpec::Bloom { value: DataType::Int16, rate_ppm: 500_000, expected: 1 };
        scalars().into_iter().map(of).chain([tight]).collect()
    }),
    exact("bit_xor", || integers().into_iter().map(AggregateSpec::BitXor).collect()),
    exact("moments4", || vec![AggregateSpec::Moments4]),
    exact("regression", || vec![AggregateSpec::Regression]),
    exact("rows", rows),
    exact("json_sum", || [1_000, 5].map(|cap| AggregateSpec::JsonSum { cap }).to_vec()),
    exact("freq", || {
        let of = |value| AggregateSpec::Freq { value, error_ppm: 20_000, confidence_ppm: 900_000 };
        let tight = AggregateSpec::Freq { value: DataType::Int16, error_ppm: 500_000, confidence_ppm: 1 };
        scalars().into_iter().map(of).chain([tight]).collect()
    }),
    exact("theta", || {
        let of = |value| AggregateSpec::Theta { value, lg_k: 4 };
        let wide = AggregateSpec::Theta { value: DataType::Int64, lg_k: 9 };
        scalars().into_iter().map(of).chain([wide]).collect()
    }),
    exact("histogram", histograms),
    exact("exp_histogram", || [4, 20, 160].map(|buckets| AggregateSpec::ExpHistogram { buckets }).to_vec()),
    exact("bucket", || {
        let of = |value| AggregateSpec::Bucket { value, cap: 1_000 };
        let tight = AggregateSpec::Bucket { value: DataType::Int16, cap: 5 };
        scalars().into_iter().map(of).chain([tight]).collect()
    }),
    disjoint("counter", || vec![AggregateSpec::Counter]),
    disjoint("time_weight", || [false, true].map(|linear| AggregateSpec::TimeWeight { linear }).to_vec()),
    disjoint("state_agg", || vec![AggregateSpec::StateAgg]),
];

/// Without `functions` no plan has them.
#[cfg(not(feature = "functions"))]
fn rows() -> Vec<AggregateSpec> {
    Vec::new()
}

/// As [`rows`].
#[cfg(not(feature = "functions"))]
fn histograms() -> Vec<AggregateSpec> {
    Vec::new()
}

#[cfg(feature = "functions")]
fn histograms() -> Vec<AggregateSpec> {
    let of = |bounds: &[f64]| AggregateSpec::Histogram { bounds: bounds.to_vec() };
    vec![of(&[0.0]), of(&[-1.0, 0.0, 0.5, 1e300])]
}

#[cfg(feature = "functions")]
fn rows() -> Vec<AggregateSpec> {
    let of = |keep, limit, columns| AggregateSpec::Rows { keep, limit, columns };
    let column =
        |data_type, bits: u8| SortColumn { data_type, descending: bits & 1 == 1, nulls_first: bits & 2 == 2 };
    let best = |(bits, data_type)| {
        of([Keep::First, Keep::Last][bits / 4 % 2], 3, vec![column(data_type, bits as u8)])
    };
    let timed =
        |data_type| vec![SortColumn::ascending(DataType::Timestamp), SortColumn::ascending(data_type)];
    let pair = vec![column(DataType::Int16, 3), column(DataType::Interval, 1)];
    let all = [of(Keep::All, 1_000, timed(DataType::Text)), of(Keep::All, 5, timed(DataType::Float64))];
    let best = scalars().into_iter().enumerate().map(best);
    best.chain([of(Keep::Last, 1_000, pair)]).chain(all).collect()
}

fn integers() -> Vec<DataType> {
    vec![DataType::Int16, DataType::Int32, DataType::Int64]
}

fn numbers() -> Vec<DataType> {
    let others = [DataType::Float32, DataType::Float64, DataType::Decimal { precision: 38, scale: 4 }];
    integers().into_iter().chain(others).collect()
}

fn scalars() -> Vec<DataType> {
    let others = [
        DataType::Bool,
        DataType::Text,
        DataType::Bytea,
        DataType::Uuid,
        DataType::Date,
        DataType::Timestamp,
        DataType::Interval,
    ];
    numbers().into_iter().chain(others).collect()
}

fn example_row(spec: &AggregateSpec, random: &mut dyn FnMut() -> u64) -> Vec<Value> {
    let mut row: Vec<Value> = spec
        .arg_types()
        .into_iter()
        .map(|data_type| example(&data_type.unwrap_or(DataType::Int64), random))
        .collect();
    if let (AggregateSpec::TopK { weighted: true, .. }, Some(weight)) = (spec, row.last_mut()) {
        *weight = Value::Int((random() % 20) as i64 - 2);
    }
    if let (AggregateSpec::JsonSum { .. }, [text @ Value::Text(_)]) = (spec, &mut row[..]) {
        let mut member = || format!("\"k{}\":{}", random() % 12, random() as i64 >> (random() % 64));
        *text = Value::Text(format!("{{{}, {}}}", member(), member()));
    }
    row
}

/// A value of a type: often small and repeated, sometimes anything the type holds, sometimes NULL.
fn example(data_type: &DataType, random: &mut dyn FnMut() -> u64) -> Value {
    let bits = random();
    if bits.is_multiple_of(16) {
        return Value::Null;
    }
    // A squared uniform number: small ones are frequent, as real keys are.
    let small = ((random() % 40) * (random() % 40)) as i64 - 100;
    let any = bits.is_multiple_of(5);
    match data_type {
        DataType::Bool => Value::Bool(bits & 64 != 0),
        DataType::Int16 => Value::Int(if any { i64::from(random() as i16) } else { small }),
        DataType::Int32 | DataType::Date => Value::Int(if any { i64::from(random() as i32) } else { small }),
        DataType::Int64 | DataType::Timestamp => Value::Int(if any { random() as i64 } else { small }),
        DataType::Float32 => Value::Float(f64::from(example_double(small, any, random()) as f32)),
        DataType::Float64 => Value::Float(example_double(small, any, random())),
        DataType::Decimal { precision, .. } => {
            let bound = 10u128.pow(u32::from(*precision)) as i128;
            let wide = (i128::from(random()) << 64 | i128::from(random())) % bound;
            Value::Decimal(if any { wide } else { i128::from(small) })
        }
        DataType::Text => Value::Text(if any { format!("{bits:x}") } else { format!("k{small}") }),
        DataType::Bytea => Value::Bytes(bits.to_le_bytes()[..(bits % 9) as usize].to_vec()),
        DataType::Uuid => Value::Bytes([small.to_le_bytes(), [7; 8]].concat()),
        DataType::Interval => Value::Interval(Interval {
            months: if any { random() as i32 } else { small as i32 % 3 },
            days: small as i32 % 40,
            micros: if any { random() as i64 } else { small * 3_600_000_000 },
        }),
        DataType::List(_) | DataType::Struct(_) | DataType::Null => Value::Null,
    }
}

fn example_double(small: i64, any: bool, bits: u64) -> f64 {
    match bits % 32 {
        _ if any => f64::from_bits(bits),
        0 => -0.0,
        1 => f64::MAX,
        2 => 5e-324,
        3..=12 => small as f64,
        _ => small as f64 / 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_tag_order_and_valid() {
        for (tag, entry) in REGISTRY.iter().enumerate() {
            let specs = (entry.specs)();
            assert!(!specs.is_empty(), "{} has no spec to try", entry.name);
            for spec in specs {
                assert_eq!((usize::from(spec.tag()), spec.name()), (tag, entry.name));
                assert_eq!(spec.validate(), Ok(()), "{spec:?}");
            }
        }
    }
}
