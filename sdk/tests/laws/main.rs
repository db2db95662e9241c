//! The laws of every aggregate in the registry, on random events split in random ways. An aggregate that
//! is in the registry but not exercised here fails; one that is not in the registry does not compile.

mod bounds;
mod chooser;
#[path = "../../../tests/fuzz/src/lib.rs"]
#[allow(dead_code, reason = "shared with the fuzz targets")]
mod fuzz;
mod hostile;
mod spans;
mod support;
mod vectors;

use fuzz::random::Random;
use fuzz::states::decode;
use headwater::aggregate::{AggregateSpec, Finisher, Law, REGISTRY};
use headwater::codec::Reader;
use headwater::value::{DataType, Value};
use proptest::prelude::*;
use support::{build, bytes, examples, merged, raw_bytes};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

/// Calls `each` for every spec of the registry whose law is `law` (or any).
fn each_spec(law: Option<Law>, mut each: impl FnMut(&AggregateSpec)) {
    for entry in REGISTRY.iter().filter(|entry| law.is_none_or(|law| law == entry.law)) {
        (entry.specs)().iter().for_each(&mut each);
    }
}

#[test]
fn every_aggregate_has_states_and_example_rows() {
    each_spec(None, |spec| {
        let rows = examples(spec, 1, 50);
        assert!(rows.iter().all(|row| row.len() == spec.arity()), "{spec:?}");
        let informative = rows.iter().any(|row| row.iter().all(|v| !v.is_null()));
        assert!(informative, "{spec:?} has no example without NULL");
        let changed = bytes(&build(spec, &rows)) != bytes(&build(spec, &[]));
        assert!(changed, "{spec:?} is not changed by its examples");
    });
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn empty_is_the_identity(seed: u64, n in 0usize..300) {
        each_spec(None, |spec| {
            let (state, empty) = (build(spec, &examples(spec, seed, n)), build(spec, &[]));
            assert_eq!(bytes(&merged(spec, &[&state, &empty])), bytes(&state), "{spec:?}");
            assert_eq!(bytes(&merged(spec, &[&empty, &state])), bytes(&state), "{spec:?}");
        });
    }

    #[test]
    fn merge_is_commutative(seed: u64, n in 0usize..300, m in 0usize..300) {
        each_spec(None, |spec| {
            let (a, b) = (build(spec, &examples(spec, seed, n)), build(spec, &examples(spec, !seed, m)));
            assert_eq!(bytes(&merged(spec, &[&a, &b])), bytes(&merged(spec, &[&b, &a])), "{spec:?}");
        });
    }

    #[test]
    fn merge_is_associative(seed: u64, n in 0usize..200) {
        each_spec(None, |spec| {
            if REGISTRY[usize::from(spec.tag())].law == Law::Bounded {
                return;
            }
            let part = |i: u64| build(spec, &examples(spec, seed ^ i, n));
            let (a, b, c) = (part(1), part(2), part(3));
            let left = merged(spec, &[&merged(spec, &[&a, &b]), &c]);
            let right = merged(spec, &[&a, &merged(spec, &[&b, &c])]);
            assert_eq!(bytes(&left), bytes(&right), "{spec:?}");
        });
    }

    #[test]
    fn any_split_in_any_order_gives_the_same_bytes(seed: u64, n in 0usize..600, parts in 1usize..7) {
        each_spec(Some(Law::Exact), |spec| {
            let rows = examples(spec, seed, n);
            let whole = bytes(&build(spec, &rows));
            assert_eq!(bytes(&support::split(spec, &rows, parts, seed)), whole, "{spec:?}");
        });
    }

    #[test]
    fn decode_inverts_encode(seed: u64, n in 0usize..600) {
        each_spec(None, |spec| {
            let encoded = bytes(&build(spec, &examples(spec, seed, n)));
            let mut reader = Reader::new(&encoded);
            let decoded = decode(spec, &mut reader).unwrap_or_else(|e| panic!("{spec:?}: {e}"));
            assert!(reader.is_empty(), "{spec:?} left bytes");
            assert_eq!(bytes(&decoded), encoded, "{spec:?}");
        });
    }

    #[test]
    fn merging_bytes_is_merging_states(seed: u64, n in 0usize..300, m in 0usize..300) {
        each_spec(None, |spec| {
            let (a, b) = (build(spec, &examples(spec, seed, n)), build(spec, &examples(spec, !seed, m)));
            let mut by_bytes = merged(spec, &[&a]);
            by_bytes.merge(0, &mut Reader::new(&bytes(&b))).expect("own bytes");
            assert_eq!(bytes(&by_bytes), bytes(&merged(spec, &[&a, &b])), "{spec:?}");
        });
    }

    #[test]
    fn a_small_state_is_not_larger_than_its_events(seed: u64, n in 1usize..20) {
        each_spec(None, |spec| {
            // Sums may take more than a few events of wildly different magnitude do.
            let n = match spec {
                AggregateSpec::Moments | AggregateSpec::Regression => n.min(4),
                AggregateSpec::Moments4 => n.min(8),
                // The area under values and times of that kind; two events have none.
                AggregateSpec::TimeWeight { .. } => n.min(2),
                _ => n,
            };
            let rows = examples(spec, seed, n);
            let raw: usize = rows.iter().map(|row| raw_bytes(spec, row)).sum();
            let len = bytes(&build(spec, &rows)).len();
            assert!(len <= raw, "{spec:?}: {len} bytes for {raw} of events {rows:?}");
        });
    }

    #[test]
    fn groups_do_not_touch_each_other(seed: u64, n in 1usize..300) {
        each_spec(None, |spec| {
            // Where the order of events counts, one batch is sorted as a whole.
            let sorted = REGISTRY[usize::from(spec.tag())].law == Law::Disjoint;
            let rows = examples(spec, seed, if sorted { n.min(77) } else { n });
            let mut random = Random::new(seed);
            let groups: Vec<u32> = rows.iter().map(|_| (random.bits() % 3) as u32).collect();
            let mut table = support::empty(spec, 3);
            support::update(spec, &mut table, &rows, &groups);
            for group in 0..3 {
                let own: Vec<_> = rows.iter().zip(&groups).filter(|(_, g)| **g == group).map(|(r, _)| r.clone()).collect();
                let mut out = Vec::new();
                table.encode(group, &mut out);
                assert_eq!(out, bytes(&build(spec, &own)), "{spec:?}");
            }
            table.reset(1);
            let mut out = Vec::new();
            table.encode(1, &mut out);
            assert_eq!(out, bytes(&build(spec, &[])), "{spec:?}");
        });
    }

    #[test]
    fn mutated_bytes_are_refused_or_canonical_and_change_nothing_on_error(seed: u64, n in 0usize..60) {
        each_spec(None, |spec| {
            let mut random = Random::new(seed);
            let good = bytes(&build(spec, &examples(spec, seed, n)));
            let mut held = build(spec, &examples(spec, !seed, 5));
            for _ in 0..12 {
                let bad = random.mutate(&good);
                fuzz::states::check(spec, &bad, &mut held);
            }
        });
    }

    #[test]
    fn answers_have_the_stated_type(seed: u64, n in 0usize..100) {
        each_spec(None, |spec| {
            let state = build(spec, &examples(spec, seed, n));
            for finisher in fuzz::states::finishers() {
                match (spec.finish_type(&finisher), state.finish(0, &finisher)) {
                    (Ok(data_type), Ok(value)) => assert!(fits(&value, &data_type), "{spec:?} {finisher:?}: {value:?}"),
                    (Ok(_), Err(error)) => assert_ne!(error.to_string(), "state cannot be finished this way"),
                    (Err(_), result) => assert!(result.is_err(), "{spec:?} {finisher:?}"),
                }
            }
        });
    }
}

fn fits(value: &Value, data_type: &DataType) -> bool {
    match (value, data_type) {
        (Value::Null, _) => true,
        (Value::Bool(_), t) => *t == DataType::Bool,
        (Value::Int(_), t) => t.is_int() || matches!(t, DataType::Date | DataType::Timestamp),
        (Value::Float(_), t) => t.is_float(),
        (Value::Decimal(_), t) => matches!(t, DataType::Decimal { .. }),
        (Value::Text(_), t) => *t == DataType::Text,
        (Value::Bytes(_), t) => matches!(t, DataType::Bytea | DataType::Uuid),
        (Value::Interval(_), t) => *t == DataType::Interval,
        (Value::List(values), DataType::List(of)) => values.iter().all(|v| fits(v, of)),
        (Value::Struct(values), DataType::Struct(fields)) => {
            values.len() == fields.len() && values.iter().zip(fields).all(|(v, (_, t))| fits(v, t))
        }
        _ => false,
    }
}

/// NULL for empty sums and extremes, 0 for empty counts, as in PostgreSQL.
#[test]
fn empty_states_answer_as_postgresql() {
    each_spec(None, |spec| {
        let value = build(spec, &[]).finish(0, &Finisher::Value);
        let expected = match spec.name() {
            "count" | "hll" => Value::Int(0),
            "topk" | "set" | "bucket" | "state_agg" => Value::List(Vec::new()),
            "histogram" => {
                let AggregateSpec::Histogram { bounds } = spec else { panic!("bounds") };
                Value::List(vec![Value::Int(0); bounds.len() + 1])
            }
            "moments" | "moments4" | "regression" | "ddsketch" | "tdigest" | "freq" | "theta"
            | "exp_histogram" | "counter" | "time_weight" | "bloom" => {
                return;
            }
            _ => Value::Null,
        };
        assert_eq!(value, Ok(expected), "{spec:?}");
    });
}
