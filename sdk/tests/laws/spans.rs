//! Aggregates over the order of time: parts that are apart give the whole's answer, others an error.

use crate::fuzz::random::Random;
use crate::support::{Row, State, build, bytes, merged};
use headwater::aggregate::{AggregateSpec, FinishError, Finisher, Law, REGISTRY};
use headwater::value::{DataType, Value};

/// Every spec with this law, and how it is read.
fn specs() -> Vec<(AggregateSpec, Vec<Finisher>)> {
    let answers = |spec: &AggregateSpec| match spec {
        AggregateSpec::Counter => vec![Finisher::Delta, Finisher::Rate, Finisher::Resets, Finisher::Count],
        AggregateSpec::TimeWeight { .. } => vec![Finisher::Avg, Finisher::Count],
        AggregateSpec::StateAgg => vec![Finisher::Value, Finisher::Count],
        _ => panic!("{spec:?} is not tried on spans"),
    };
    let all = REGISTRY.iter().filter(|entry| entry.law == Law::Disjoint).flat_map(|entry| (entry.specs)());
    all.map(|spec| (spec.clone(), answers(&spec))).collect()
}

/// Events a second or less apart, ascending.
fn events(spec: &AggregateSpec, random: &mut Random, n: usize) -> Vec<Row> {
    let mut time = 1_700_000_000_000_000;
    let mut event = || {
        time += 1 + (random.bits() % 1_000_000) as i64;
        let small = random.bits() % 50;
        let value = match &spec.arg_types()[1] {
            Some(DataType::Text) => Value::Text(format!("s{}", small % 4)),
            _ => Value::Float(small as f64 / 4.0),
        };
        vec![Value::Int(time), value]
    };
    (0..n).map(|_| event()).collect()
}

fn answers(state: &State, finishers: &[Finisher]) -> Vec<Result<Value, FinishError>> {
    finishers.iter().map(|finisher| state.finish(0, finisher)).collect()
}

#[test]
fn parts_that_are_apart_give_the_answer_of_the_whole() {
    for (spec, finishers) in specs() {
        for seed in 1..40 {
            let mut random = Random::new(seed);
            let n = 1 + random.below(60);
            let rows = events(&spec, &mut random, n);
            let whole = build(&spec, &rows);
            let mut parts: Vec<State> = Vec::new();
            let mut rest = &rows[..];
            while !rest.is_empty() {
                let (part, more) = rest.split_at(1 + random.below(rest.len()));
                // Within a part, any order.
                let mut part = part.to_vec();
                part.reverse();
                parts.push(build(&spec, &part));
                rest = more;
            }
            while parts.len() > 1 {
                let (a, b) = (parts.swap_remove(random.below(parts.len())), parts.swap_remove(0));
                parts.push(merged(&spec, &[&a, &b]));
            }
            assert_eq!(answers(&parts[0], &finishers), answers(&whole, &finishers), "{spec:?} {seed}");
        }
    }
}

#[test]
fn a_producer_goes_on_with_its_last_span() {
    for (spec, finishers) in specs() {
        let rows = events(&spec, &mut Random::new(7), 500);
        let state = build(&spec, &rows);
        assert!(bytes(&state).len() < 100, "{spec:?}: one span");
        assert!(answers(&state, &finishers).iter().all(Result::is_ok));
    }
}

#[test]
fn parts_that_overlap_give_an_error_for_ever() {
    for (spec, finishers) in specs() {
        let rows = events(&spec, &mut Random::new(3), 9);
        let (outer, inner) = ([rows[0].clone(), rows[8].clone()], &rows[3..5]);
        let broken = merged(&spec, &[&build(&spec, &outer), &build(&spec, inner)]);
        assert_eq!(bytes(&broken), [0], "{spec:?}");
        let more = merged(&spec, &[&build(&spec, &rows[6..7]), &broken]);
        let error = |answer: &Result<Value, FinishError>| *answer == Err(FinishError::Overlapping);
        assert!(answers(&more, &finishers).iter().all(error), "{spec:?}");
        // The one that was first in the gap makes no difference: spans stay apart.
        let ends = [build(&spec, &rows[..1]), build(&spec, &rows[8..])];
        let both = merged(&spec, &[&ends[0], &ends[1]]);
        let all = merged(&spec, &[&both, &build(&spec, inner)]);
        assert!(answers(&all, &finishers).iter().all(Result::is_ok), "{spec:?}");
    }
}

fn double(spec: &AggregateSpec, rows: &[(i64, f64)], finisher: &Finisher) -> Value {
    let row = |&(second, x): &(i64, f64)| vec![Value::Int(second * 1_000_000), Value::Float(x)];
    let rows: Vec<Row> = rows.iter().map(row).collect();
    build(spec, &rows).finish(0, finisher).expect("in order")
}

#[test]
fn counters_count_what_was_before_resets() {
    let rows = [(0, 5.0), (10, 8.0), (20, 2.0), (30, 2.5), (40, 1.0)];
    let read = |finisher| double(&AggregateSpec::Counter, &rows, &finisher);
    // 3 up to the first reset, 2 and 0.5, then 1.
    assert_eq!((read(Finisher::Delta), read(Finisher::Resets)), (Value::Float(6.5), Value::Int(2)));
    assert_eq!(read(Finisher::Rate), Value::Float(6.5 / 40.0));
    let one = |finisher| double(&AggregateSpec::Counter, &rows[..1], &finisher);
    assert_eq!((one(Finisher::Delta), one(Finisher::Rate)), (Value::Float(0.0), Value::Null));
}

#[test]
fn averages_weigh_by_time() {
    let rows = [(0, 10.0), (30, 20.0), (40, 0.0)];
    let read = |linear| double(&AggregateSpec::TimeWeight { linear }, &rows, &Finisher::Avg);
    assert_eq!(read(false), Value::Float((10.0 * 30.0 + 20.0 * 10.0) / 40.0));
    assert_eq!(read(true), Value::Float((15.0 * 30.0 + 10.0 * 10.0) / 40.0));
    let huge = [(0, f64::MAX), (1_000_000_000, f64::MAX)];
    let Value::Float(average) = double(&AggregateSpec::TimeWeight { linear: true }, &huge, &Finisher::Avg)
    else {
        panic!("a double")
    };
    assert!((average / f64::MAX - 1.0).abs() < 1e-15);
}
