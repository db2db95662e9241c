//! The stated error of the aggregates whose bytes depend on how events were grouped, under random merges.

use crate::fuzz::random::Random;
use crate::support::{self, build, split};
use headwater::aggregate::{AggregateSpec, Finisher, Law, REGISTRY};
use headwater::value::{DataType, Value};
use std::collections::HashMap;

#[test]
fn every_bounded_law_has_a_bound_tested_here() {
    let bounded: Vec<_> = REGISTRY.iter().filter(|e| e.law == Law::Bounded).map(|e| e.name).collect();
    assert_eq!(bounded, ["tdigest", "topk"]);
}

fn doubles(seed: u64, n: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    let uniform = |random: &mut Random| (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
    (0..n)
        .map(|i| match seed % 3 {
            0 => uniform(&mut random) * 1000.0,
            1 => -uniform(&mut random).ln() * 20.0,
            _ => i as f64,
        })
        .collect()
}

/// The share of values below `x`, and at most `x`.
fn ranks(sorted: &[f64], x: f64) -> (f64, f64) {
    let n = sorted.len() as f64;
    (sorted.partition_point(|v| *v < x) as f64 / n, sorted.partition_point(|v| *v <= x) as f64 / n)
}

#[test]
fn tdigest_ranks_are_within_the_bound_under_any_merge() {
    for (seed, n, parts) in [(1, 500, 2), (2, 5_000, 9), (3, 20_000, 40), (4, 20_000, 3), (5, 3_000, 300)] {
        for compression in [20u16, 100, 200] {
            let spec = AggregateSpec::TDigest { compression };
            let mut values = doubles(seed, n);
            let rows: Vec<_> = values.iter().map(|&v| vec![Value::Float(v)]).collect();
            let state = split(&spec, &rows, parts, seed);
            values.sort_by(f64::total_cmp);
            for q in [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0] {
                let Ok(Value::Float(x)) = state.finish(0, &Finisher::Quantile(q)) else {
                    panic!("no quantile")
                };
                let z = 4.0 * (n as f64 / f64::from(compression)).ln() + 24.0;
                let bound = q * (1.0 - q) * z / f64::from(compression) + 2.0 / n as f64;
                let (low, high) = ranks(&values, x);
                let error = (low - q).max(q - high).max(0.0);
                assert!(error <= bound, "n={n} parts={parts} c={compression} q={q}: {error} above {bound}");
            }
        }
    }
}

#[test]
fn topk_counts_are_within_the_bound_under_any_merge() {
    for (seed, parts, k) in [(1, 1, 3), (2, 5, 3), (3, 50, 10), (4, 7, 20)] {
        let spec = AggregateSpec::TopK { value: DataType::Int64, k, weighted: true };
        let mut random = Random::new(seed);
        // Zipf-like: value v with a chance of about 1 / v, over thousands of values.
        let rows: Vec<_> = (0..20_000)
            .map(|_| {
                let value = 5_000 / (1 + random.below(5_000));
                vec![
                    Value::Int((value * 1_000 + random.below(7)) as i64),
                    Value::Int(1 + random.below(5) as i64),
                ]
            })
            .collect();
        let mut truth: HashMap<i64, i64> = HashMap::new();
        let mut total = 0;
        for row in &rows {
            let [Value::Int(value), Value::Int(weight)] = row[..] else { panic!("two integers") };
            *truth.entry(value).or_default() += weight;
            total += weight;
        }
        let keep = (8 * i64::from(k)).clamp(64, 8_000);
        let bound = total / (keep + 1);
        let state = split(&spec, &rows, parts, seed);
        let Ok(Value::List(top)) = state.finish(0, &Finisher::Value) else { panic!("no list") };
        assert_eq!(top.len(), usize::from(k));
        let mut reported = Vec::new();
        for pair in &top {
            let Value::Struct(fields) = pair else { panic!("no pair") };
            let [Value::Int(value), Value::Int(count)] = fields[..] else { panic!("two integers") };
            let exact = truth[&value];
            assert!(count <= exact && exact <= count + bound, "{value}: {count} for {exact}, bound {bound}");
            reported.push(value);
        }
        for (value, weight) in truth {
            assert!(weight <= bound + exact_count(&top) || reported.contains(&value), "{value} is missing");
        }
    }
}

/// The count of the lightest reported value: anything heavier by more than the bound must be reported.
fn exact_count(top: &[Value]) -> i64 {
    match top.last() {
        Some(Value::Struct(fields)) => {
            if let Value::Int(count) = fields[1] {
                count
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// With few distinct values nothing is approximate.
#[test]
fn topk_is_exact_until_full() {
    let spec = AggregateSpec::TopK { value: DataType::Text, k: 3, weighted: false };
    let rows: Vec<_> = (0..1_000).map(|i| vec![Value::Text(format!("v{}", i % 128))]).collect();
    let whole = support::bytes(&build(&spec, &rows));
    assert_eq!(support::bytes(&split(&spec, &rows, 9, 7)), whole);
}

/// Exact laws, estimates as answers: four standard errors of theta sets, 3 % of Bloom filters at their number.
#[test]
fn distinct_counts_are_within_the_bound_under_any_merge() {
    let n = 16_384;
    let rows: Vec<_> = (0..2 * n).map(|i| vec![Value::Int(i % n)]).collect();
    let bloom = AggregateSpec::Bloom { value: DataType::Int64, rate_ppm: 20_000, expected: n as u32 };
    let theta = |lg_k| AggregateSpec::Theta { value: DataType::Int64, lg_k };
    for (spec, error) in [(bloom, 0.03), (theta(8), 4.0 / 255f64.sqrt()), (theta(12), 4.0 / 4_095f64.sqrt())]
    {
        let state = split(&spec, &rows, 9, 11);
        let Ok(Value::Int(found)) = state.finish(0, &Finisher::Cardinality) else { panic!("no cardinality") };
        assert!((found as f64 / n as f64 - 1.0).abs() < error, "{spec:?}: {found}");
    }
}

#[test]
fn quantiles_of_exponential_histograms_are_within_the_bound_under_any_merge() {
    let spec = AggregateSpec::ExpHistogram { buckets: 160 };
    for seed in [1, 2, 3, 4, 5] {
        let mut values: Vec<f64> = doubles(seed, 5_000).into_iter().map(|x| x + 2.0).collect();
        let rows: Vec<_> = values.iter().map(|&x| vec![Value::Float(x)]).collect();
        let state = split(&spec, &rows, 7, seed);
        values.sort_by(f64::total_cmp);
        // Values within a factor of 8,000 leave scale 3 at least.
        let base = 2f64.powf(1.0 / 8.0);
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0] {
            let Ok(Value::Float(found)) = state.finish(0, &Finisher::Quantile(q)) else {
                panic!("no quantile")
            };
            let truth = values[(q * 4_999.0) as usize];
            let error = (found / truth - 1.0).abs();
            assert!(error <= (base - 1.0) / (base + 1.0) + 1e-9, "seed={seed} q={q}: {found} for {truth}");
        }
    }
}
