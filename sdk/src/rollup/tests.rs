mod events;

use super::*;
use crate::aggregate::AggregateSpec;
use crate::codec::Reader;
use crate::group::OTHER_KEY;
use crate::ids::StreamId;
use crate::plan::{BinaryOp, Op, PlanBuilder};
use crate::schema::Field;
use crate::value::{DataType, Value, key};
use crate::wire::batch::DropReason;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: String::from(name), data_type };
    let fields = vec![field("k", DataType::Text), field("x", DataType::Int64), field("y", DataType::Int64)];
    StreamSchema { id: StreamId(1), name: String::from("s"), fields }
}

/// `SELECT k, count(*), sum(x), count(*) FILTER (WHERE 10 / y > 1) WHERE x < limit GROUP BY k`
fn plan(view: u32, version: u32, limit: i64, groups_max: u32) -> Plan {
    let mut b = PlanBuilder::new();
    let int = DataType::Int64;
    let (k, x, y) = (
        b.column(0, DataType::Text).expect("room"),
        b.column(1, int.clone()).expect("room"),
        b.column(2, int.clone()).expect("room"),
    );
    let lit = |b: &mut PlanBuilder, v| b.literal(Value::Int(v), DataType::Int64).expect("room");
    let (limit, ten, one) = (lit(&mut b, limit), lit(&mut b, 10), lit(&mut b, 1));
    let small = b.node(Op::Binary(BinaryOp::Lt, x, limit), DataType::Bool).expect("room");
    let ratio = b.node(Op::Binary(BinaryOp::Divide, ten, y), int.clone()).expect("room");
    let large = b.node(Op::Binary(BinaryOp::Gt, ratio, one), DataType::Bool).expect("room");
    b.filter(small);
    b.key(k).expect("room");
    b.state(AggregateSpec::Count { argument: false }, &[], None).expect("room");
    b.state(AggregateSpec::Sum(int), &[x], None).expect("room");
    b.state(AggregateSpec::Count { argument: false }, &[], Some(large)).expect("room");
    b.finish(ViewId(view), PlanVersion(version), StreamId(1), groups_max)
}

type Row = (Option<String>, Option<i64>, Option<i64>);

fn batch(rows: &[Row]) -> ColumnBatch {
    let mut batch = schema().empty_batch();
    let or_null = |v: &Option<i64>| v.map_or(Value::Null, Value::Int);
    for (k, x, y) in rows {
        let k = k.clone().map_or(Value::Null, Value::Text);
        let values = [k, or_null(x), or_null(y), Value::Int(0)];
        for (column, value) in batch.columns.iter_mut().zip(&values) {
            assert!(column.push(value));
        }
    }
    batch.check(&schema()).expect("a valid batch");
    batch
}

fn rollup(plans: Vec<Plan>) -> Rollup {
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    assert_eq!(rollup.set_plans(schema(), plans), []);
    rollup
}

/// Counts and sums by key, from the canonical bytes: (count, sum, filtered count).
type Totals = BTreeMap<Vec<u8>, (u64, i128, u64)>;

fn totals(partials: &[ViewPartials], view: u32) -> Totals {
    let mut out = Totals::new();
    for p in partials.iter().filter(|p| p.view == ViewId(view)) {
        for g in 0..p.table.len() as u32 {
            let mut bytes = Vec::new();
            p.table.encode_states(g, &mut bytes);
            let mut merged = GroupTable::new(p.table.specs());
            merged.merge_encoded(&[], &mut Reader::new(&bytes)).expect("canonical");
            let entry = out.entry(p.table.key(g).to_vec()).or_default();
            let value = |at: usize| {
                merged.states()[at].finish(0, &crate::aggregate::Finisher::Value).expect("in range")
            };
            let int = |v: Value| match v {
                Value::Int(v) => i128::from(v),
                Value::Decimal(v) => v,
                _ => 0,
            };
            entry.0 += int(value(0)) as u64;
            entry.1 += int(value(1));
            entry.2 += int(value(2)) as u64;
        }
    }
    out
}

/// The oracle: SQL's answer row by row, and the number of rows rejected for division by zero.
fn expected(rows: &[Row], limit: i64) -> (Totals, u64) {
    let (mut out, mut rejected) = (Totals::new(), 0);
    for (k, x, y) in rows {
        let Some(x) = x.filter(|x| *x < limit) else { continue };
        let large = match y {
            Some(0) => {
                rejected += 1;
                continue;
            }
            Some(y) => 10 / y > 1,
            None => false,
        };
        let value = k.clone().map_or(Value::Null, Value::Text);
        let key = key::encode_key(&[value], &[DataType::Text]).expect("fits");
        let entry = out.entry(key).or_default();
        *entry = (entry.0 + 1, entry.1 + i128::from(x), entry.2 + u64::from(large));
    }
    (out, rejected)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        proptest::option::weighted(0.9, "[a-c\u{0}]{0,2}"),
        proptest::option::weighted(0.9, -20i64..20),
        proptest::option::weighted(0.9, -3i64..12),
    );
    proptest::collection::vec(row, 0..80)
}

fn sum_all(totals: &Totals) -> (u64, i128, u64) {
    totals.values().fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
}

proptest! {
    #[test]
    fn a_rollup_is_what_recomputing_gives(batches in proptest::collection::vec(rows(), 1..4)) {
        let mut rollup = rollup(vec![plan(1, 1, 10, 1000), plan(2, 1, 100, 1000)]);
        batches.iter().for_each(|rows| rollup.push(&batch(rows)));
        let all: Vec<Row> = batches.concat();
        prop_assert_eq!(rollup.take_events(), all.len() as u64);
        let partials = rollup.drain();
        for (view, limit) in [(1, 10), (2, 100)] {
            let (want, rejected) = expected(&all, limit);
            prop_assert_eq!(totals(&partials, view), want.clone());
            let found = partials.iter().find(|p| p.view == ViewId(view));
            let counted = found.map_or(0, |p| p.rejected.get(DropReason::DivisionByZero));
            prop_assert_eq!(counted, rejected);
            prop_assert_eq!(found.map_or(0, |p| p.events), sum_all(&want).0);
        }
        prop_assert!(rollup.drain().is_empty());
    }

    #[test]
    fn threads_merge_to_what_one_would_have(a in rows(), b in rows(), c in rows()) {
        let plans = vec![plan(1, 1, 10, 1000)];
        let (mut one, mut two) = (rollup(plans.clone()), rollup(plans.clone()));
        let mut main = rollup(plans);
        one.push(&batch(&a));
        two.push(&batch(&b));
        main.push(&batch(&c));
        main.merge(one.drain());
        main.merge(two.drain());
        let (want, rejected) = expected(&[a, b, c].concat(), 10);
        let partials = main.drain();
        prop_assert!(partials.len() <= 1);
        prop_assert_eq!(totals(&partials, 1), want);
        let counted: u64 = partials.iter().map(|p| p.rejected.get(DropReason::DivisionByZero)).sum();
        prop_assert_eq!(counted, rejected);
    }

    #[test]
    fn numbers_for_values_give_what_the_values_give(
        batches in proptest::collection::vec((rows(), any::<bool>(), any::<bool>()), 1..5),
        groups_max in 1u32..4,
    ) {
        let (mut plain, mut coded) = (rollup(vec![plan(1, 1, 5, groups_max)]), rollup(vec![plan(1, 1, 5, groups_max)]));
        for r in [&mut plain, &mut coded] {
            r.set_options(RollupOptions { key_bytes_max: 5 });
        }
        let (mut known, mut epoch) = (BTreeMap::new(), 0);
        for (rows, forget, drain) in &batches {
            // Without NULLs numbers are used.
            let some = |(k, x, y): &Row| (Some(k.clone().unwrap_or_default()), *x, *y);
            let rows: &Vec<Row> = &if rows.len() % 4 == 0 { rows.clone() } else { rows.iter().map(some).collect() };
            if *forget {
                // The numbers mean something else from now on.
                known.clear();
                epoch += 1;
            }
            let number = |row: &Row, known: &mut BTreeMap<_, _>| {
                let next = known.len() as u32;
                *known.entry(row.0.clone()).or_insert(if next.is_multiple_of(2) { next } else { next | 1 << 31 })
            };
            let codes: Vec<u32> = rows.iter().map(|row| number(row, &mut known)).collect();
            plain.push(&batch(rows));
            coded.push_coded(&batch(rows), &Codes { columns: &[&codes], epoch });
            if *drain {
                let (plain, coded) = (plain.drain(), coded.drain());
                prop_assert_eq!(totals(&plain, 1), totals(&coded, 1));
                let rejected = |all: &[ViewPartials]| all.iter().map(|p| p.rejected.clone()).collect::<Vec<_>>();
                prop_assert_eq!(rejected(&plain), rejected(&coded));
            }
        }
        prop_assert_eq!(totals(&plain.drain(), 1), totals(&coded.drain(), 1));
    }

    #[test]
    fn swaps_of_plans_lose_nothing(a in rows(), b in rows(), c in rows()) {
        let mut rollup = rollup(vec![plan(1, 1, 10, 1000), plan(2, 1, 10, 1000)]);
        rollup.push(&batch(&a));
        // View 1 changes, view 2 stays, view 3 is new.
        rollup.set_plans(schema(), vec![plan(1, 2, 5, 1000), plan(2, 1, 10, 1000), plan(3, 1, 10, 1000)]);
        rollup.push(&batch(&b));
        // View 1 comes back as it was, view 2 goes.
        rollup.set_plans(schema(), vec![plan(1, 1, 10, 1000), plan(3, 1, 10, 1000)]);
        rollup.push(&batch(&c));
        let partials = rollup.drain();
        let of = |view: u32, version: u32| {
            let mut out = Totals::new();
            for p in partials.iter().filter(|p| (p.view, p.version) == (ViewId(view), PlanVersion(version))) {
                for (k, v) in totals(core::slice::from_ref(p), view) {
                    let e = out.entry(k).or_default();
                    *e = (e.0 + v.0, e.1 + v.1, e.2 + v.2);
                }
            }
            out
        };
        prop_assert_eq!(of(1, 1), expected(&[a.clone(), c.clone()].concat(), 10).0);
        prop_assert_eq!(of(1, 2), expected(&b, 5).0);
        prop_assert_eq!(of(2, 1), expected(&[a, b.clone()].concat(), 10).0);
        prop_assert_eq!(of(3, 1), expected(&[b, c].concat(), 10).0);
    }
}

/// Prevents that a flush after `deactivate` and `activate`, or after another cap, has two sections of one version: no hub
/// reads such a batch.
#[test]
fn a_plan_that_comes_back_goes_on_with_what_it_had() {
    let row = |n: i64| vec![(Some(String::from("k")), Some(n), Some(1))];
    let mut rollup = rollup(vec![plan(1, 1, 10, 1000)]);
    rollup.push(&batch(&row(1)));
    rollup.set_plans(schema(), vec![]);
    rollup.push(&batch(&row(2)));
    rollup.set_plans(schema(), vec![plan(1, 1, 10, 1000)]);
    rollup.push(&batch(&row(3)));
    rollup.set_plans(schema(), vec![plan(1, 1, 10, 500)]);
    rollup.push(&batch(&row(4)));
    let partials = rollup.drain();
    assert_eq!(partials.len(), 1);
    assert_eq!(totals(&partials, 1), expected(&[row(1), row(3), row(4)].concat(), 10).0);
}

#[test]
fn the_cap_keeps_heavy_groups_and_exact_totals() {
    let mut rollup = rollup(vec![plan(1, 1, i64::MAX, 10)]);
    let mut all: Vec<Row> = Vec::new();
    for i in 0..20_000i64 {
        // Five heavy keys among a flood of keys seen once.
        let key = if i % 4 == 0 { alloc::format!("heavy{}", i / 4 % 5) } else { alloc::format!("once{i}") };
        all.push((Some(key), Some(i), Some(1)));
    }
    all.chunks(777).for_each(|rows| rollup.push(&batch(rows)));
    assert!(rollup.groups() <= 10 + 1024 + 777, "the table stays near its cap");
    let partials = rollup.drain();
    assert_eq!(partials.len(), 1);
    let found = totals(&partials, 1);
    assert_eq!(found.len(), 11, "ten groups and (other)");
    assert!(found.contains_key(OTHER_KEY));
    let (want, _) = expected(&all, i64::MAX);
    assert_eq!(sum_all(&found), sum_all(&want));
    for (key, heavy) in want.iter().filter(|(_, v)| v.0 > 1) {
        assert_eq!(found.get(key), Some(heavy), "a heavy group is whole");
    }
}

#[test]
fn the_cap_is_kept_by_numbers_too() {
    let all: Vec<Row> = (0..9000u64)
        .map(|i| (Some(alloc::format!("{}", if i % 3 == 0 { i % 5 } else { 100 + i })), Some(1), Some(1)))
        .collect();
    let (mut plain, mut coded) = (rollup(vec![plan(1, 1, 5, 8)]), rollup(vec![plan(1, 1, 5, 8)]));
    let number = |row: &Row| row.0.as_ref().and_then(|k| k.parse().ok()).unwrap_or(0);
    for rows in all.chunks(777) {
        let codes: Vec<u32> = rows.iter().map(number).collect();
        plain.push(&batch(rows));
        coded.push_coded(&batch(rows), &Codes { columns: &[&codes], epoch: 0 });
    }
    assert_eq!(totals(&plain.drain(), 1), totals(&coded.drain(), 1));
}

#[test]
fn merging_also_keeps_the_cap() {
    let rows = |from: i64| -> Vec<Row> {
        (from..from + 3000).map(|i| (Some(alloc::format!("k{i}")), Some(1), Some(1))).collect()
    };
    let plans = vec![plan(1, 1, 10, 100)];
    let (mut main, mut other) = (rollup(plans.clone()), rollup(plans));
    main.push(&batch(&rows(0)));
    other.push(&batch(&rows(2000)));
    main.merge(other.drain());
    let partials = main.drain();
    assert_eq!(partials[0].table.len(), 101);
    assert_eq!(sum_all(&totals(&partials, 1)), (6000, 6000, 6000));
}

#[test]
fn a_key_over_the_limit_is_rejected_for_its_view_only() {
    let mut rollup = rollup(vec![plan(1, 1, 10, 100)]);
    rollup.set_options(RollupOptions { key_bytes_max: 8 });
    let key = |len: usize| Some("x".repeat(len));
    rollup.push(&batch(&[
        (key(7), Some(1), Some(1)),
        (key(8), Some(2), Some(1)),
        (key(0), Some(3), Some(1)),
    ]));
    let partials = rollup.drain();
    assert_eq!(partials[0].rejected.get(DropReason::KeyTooLong), 1);
    assert_eq!(sum_all(&totals(&partials, 1)), (2, 4, 2));
}

#[test]
fn a_view_without_keys_has_one_group_once_a_row_came() {
    let mut whole = plan(1, 1, 10, 1);
    whole.keys.clear();
    let mut rollup = rollup(vec![whole]);
    rollup.push(&batch(&[]));
    rollup.push(&batch(&[(None, Some(99), Some(1))]));
    assert!(rollup.drain().is_empty(), "no row passed the filter");
    rollup.push(&batch(&[(None, Some(1), Some(1)), (None, Some(2), Some(0))]));
    let partials = rollup.drain();
    assert_eq!(totals(&partials, 1), Totals::from([(vec![], (1, 1, 1))]));
    assert_eq!(partials[0].events, 1);
}

#[test]
fn a_plan_that_does_not_fit_is_left_out_alone() {
    let mut wrong = plan(7, 1, 10, 10);
    wrong.stream = StreamId(2);
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    let refused = rollup.set_plans(schema(), vec![wrong, plan(1, 1, 10, 10)]);
    assert_eq!(refused, [(ViewId(7), PlanError::Stream)]);
    rollup.push(&batch(&[(None, Some(1), None)]));
    assert_eq!(rollup.drain().len(), 1);
}

/// All versions of a view counted as not running when one of them did not.
#[test]
fn a_version_that_does_not_fit_leaves_the_others_running() {
    let mut wrong = plan(1, 2, 10, 10);
    wrong.stream = StreamId(2);
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    assert_eq!(rollup.set_plans(schema(), vec![plan(1, 1, 10, 10), wrong]).len(), 1);
    let runs =
        [(1, 1), (1, 2), (2, 1)].map(|(view, version)| rollup.runs(ViewId(view), PlanVersion(version)));
    assert_eq!(runs, [true, false, false]);
}

/// `max(k)` where `y > 0`, `topk_agg(x, 3, y)` by nothing, over texts and weights around their limits.
#[test]
fn values_too_large_for_a_state_reject_their_row_and_are_counted() {
    let mut b = PlanBuilder::new();
    let int = DataType::Int64;
    let k = b.column(0, DataType::Text).expect("room");
    let (x, y) = (b.column(1, int.clone()).expect("room"), b.column(2, int.clone()).expect("room"));
    let zero = b.literal(Value::Int(0), int.clone()).expect("room");
    let positive = b.node(Op::Binary(BinaryOp::Gt, y, zero), DataType::Bool).expect("room");
    b.state(AggregateSpec::Max(DataType::Text), &[k], Some(positive)).expect("room");
    b.state(AggregateSpec::TopK { value: int, k: 3, weighted: true }, &[x, y], None).expect("room");
    let plan = b.finish(ViewId(1), PlanVersion(1), StreamId(1), 100);
    let mut rollup = rollup(vec![plan]);
    let text = |bytes: usize| Some("z".repeat(bytes));
    let heaviest = crate::limits::WEIGHT_MAX as i64;
    rollup.push(&batch(&[
        (text(crate::limits::VALUE_BYTES_MAX), Some(1), Some(heaviest)),
        (text(crate::limits::VALUE_BYTES_MAX + 1), Some(2), Some(1)),
        // The filter keeps this one's text out of the state.
        (text(crate::limits::VALUE_BYTES_MAX + 1), Some(3), Some(0)),
        (text(1), Some(4), Some(heaviest + 1)),
        (text(1), Some(5), Some(i64::MAX)),
        (None, Some(1), None),
    ]));
    let partials = rollup.drain();
    assert_eq!(partials[0].rejected.get(DropReason::ValueTooLarge), 3);
    assert_eq!(partials[0].events, 3);
    let states = partials[0].table.states();
    let max = states[0].finish(0, &crate::aggregate::Finisher::Value).expect("a text");
    assert_eq!(max, Value::Text("z".repeat(crate::limits::VALUE_BYTES_MAX)));
    let top = states[1].finish(0, &crate::aggregate::Finisher::Value).expect("a list");
    assert_eq!(top, Value::List(vec![Value::Struct(vec![Value::Int(1), Value::Int(heaviest)])]));
}
