//! The hot path does not allocate: typed structs into columns into groups that exist.
//!
//! Prevents: a `Vec` or a `String` per event, or per batch of events, that no benchmark of a fast allocator shows.

mod counting;

use counting::allocations;
use headwater::aggregate::AggregateSpec;
use headwater::emit::EventBuffer;
use headwater::ids::{Micros, PlanVersion, StreamId, ViewId};
use headwater::plan::{BinaryOp, Op, Plan, PlanBuilder, PlanError};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::schema::{Field, StreamSchema};
use headwater::value::{DataType, Value};
use serde::Serialize;

#[derive(Serialize)]
struct Event<'a> {
    url: &'a str,
    user: i64,
    latency: f64,
    bytes: Option<u32>,
}

/// Rows evaluated at a time, as the client does it.
const BATCH_ROWS: usize = 1_024;
const BATCHES: usize = 64;
/// Rounds after which groups, columns and buffers have the size they keep.
const WARM_UP: usize = 4;

fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields = vec![
        field("url", DataType::Text),
        field("user", DataType::Int64),
        field("latency", DataType::Float64),
        field("bytes", DataType::Int32),
    ];
    StreamSchema { id: StreamId(1), name: "s".into(), fields }
}

/// By url and `user % 8`: count, sums, extremes; filters, arithmetic, and a state with a FILTER of its own.
fn exact() -> Result<Plan, PlanError> {
    let mut b = PlanBuilder::new();
    let (int, double) = (DataType::Int64, DataType::Float64);
    let (url, user) = (b.column(0, DataType::Text)?, b.column(1, int.clone())?);
    let (latency, bytes) = (b.column(2, double.clone())?, b.column(3, DataType::Int32)?);
    let eight = b.literal(Value::Int(8), int.clone())?;
    let bucket = b.node(Op::Binary(BinaryOp::Modulo, user, eight), int.clone())?;
    let most = b.literal(Value::Float(900.0), double.clone())?;
    let is_usual = b.node(Op::Binary(BinaryOp::Lt, latency, most), DataType::Bool)?;
    let is_odd = b.node(Op::Binary(BinaryOp::Gt, user, eight), DataType::Bool)?;
    b.filter(is_usual);
    b.key(url)?;
    b.key(bucket)?;
    b.state(AggregateSpec::Count { argument: false }, &[], None)?;
    b.state(AggregateSpec::Count { argument: true }, &[bytes], Some(is_odd))?;
    b.state(AggregateSpec::Sum(int), &[user], None)?;
    b.state(AggregateSpec::Sum(double.clone()), &[latency], None)?;
    b.state(AggregateSpec::Min(double.clone()), &[latency], None)?;
    b.state(AggregateSpec::Max(DataType::Int32), &[bytes], None)?;
    Ok(b.finish(ViewId(1), PlanVersion(1), StreamId(1), 10_000))
}

/// By url: the sketches, whose states are full-grown after the first rounds.
fn sketches() -> Result<Plan, PlanError> {
    let mut b = PlanBuilder::new();
    let (url, user) = (b.column(0, DataType::Text)?, b.column(1, DataType::Int64)?);
    let latency = b.column(2, DataType::Float64)?;
    b.key(url)?;
    b.state(AggregateSpec::Hll { value: DataType::Int64, precision: 14 }, &[user], None)?;
    b.state(AggregateSpec::DdSketch { alpha_ppm: 10_000 }, &[latency], None)?;
    b.state(AggregateSpec::TopK { value: DataType::Int64, k: 10, weighted: false }, &[user], None)?;
    b.state(AggregateSpec::Set { value: DataType::Int64, cap: 10_000 }, &[user], None)?;
    Ok(b.finish(ViewId(2), PlanVersion(1), StreamId(1), 10_000))
}

/// One batch's worth of the same events.
fn fill(buffer: &mut EventBuffer, urls: &[String]) {
    for row in 0..BATCH_ROWS {
        buffer.push(&event(row, urls), Micros(row as i64)).expect("a valid event");
    }
}

fn event(row: usize, urls: &[String]) -> Event<'_> {
    let bytes = (!row.is_multiple_of(5)).then_some(row as u32);
    Event { url: &urls[row * 7 % urls.len()], user: row as i64 % 1_000, latency: row as f64 * 0.97, bytes }
}

fn rollup(plan: Plan) -> Rollup {
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    assert_eq!(rollup.set_plans(schema(), vec![plan]), []);
    rollup
}

fn urls() -> Vec<String> {
    (0..100).map(|i| format!("/a/page/with/a/longer/path/{i}")).collect()
}

/// Allocations of one batch: of emitting its events, and of evaluating them, once all groups are known.
fn per_batch(plan: Plan) -> (u64, u64) {
    let (urls, mut buffer, mut rollup) = (urls(), EventBuffer::new(schema()), rollup(plan));
    let (mut emitting, mut evaluating) = (0, 0);
    for round in 0..WARM_UP + BATCHES {
        buffer.clear();
        let emitted = allocations(|| fill(&mut buffer, &urls));
        let evaluated = allocations(|| rollup.push(buffer.batch()));
        if round >= WARM_UP {
            (emitting, evaluating) = (emitting.max(emitted), evaluating.max(evaluated));
        }
    }
    (emitting, evaluating)
}

/// What evaluating a batch may allocate, however many rows it has: lists of operands, none longer than the plan.
/// For each node its operands and their cells, for each state its arguments, for the view its keys (twice).
fn lists(plan: &Plan) -> u64 {
    2 * plan.nodes.len() as u64 + plan.states.len() as u64 + 2
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(Vec::<u8>::new()))), 0);
}

#[test]
fn emitting_structs_allocates_nothing_and_evaluating_them_nothing_per_event() -> Result<(), PlanError> {
    let most = lists(&exact()?);
    let (emitting, evaluating) = per_batch(exact()?);
    assert_eq!(emitting, 0, "{BATCH_ROWS} events into columns");
    assert!(evaluating <= most, "{evaluating} of {most} for {BATCH_ROWS} events");
    Ok(())
}

#[test]
fn a_column_batch_of_any_length_costs_the_same_few_lists() -> Result<(), PlanError> {
    let (urls, mut long, mut short) = (urls(), EventBuffer::new(schema()), EventBuffer::new(schema()));
    (0..16).for_each(|_| fill(&mut long, &urls));
    short.push(&event(3, &urls), Micros(0)).expect("a valid event");
    let mut rollup = rollup(exact()?);
    (0..WARM_UP).for_each(|_| rollup.push(long.batch()));
    let of_long = allocations(|| rollup.push(long.batch()));
    let of_short = allocations(|| rollup.push(short.batch()));
    assert_eq!(of_long, of_short, "16,384 rows and one");
    assert!(of_long <= lists(&exact()?));
    Ok(())
}

/// Sketches that are still small hold values: a distinct set sorts its newest hashes in once per 16 rows of its
/// group, or less often. All need room for the keys of a batch, which grows by doubling.
#[test]
fn updating_grown_sketches_allocates_for_what_they_still_hold_as_values() -> Result<(), PlanError> {
    let (emitting, evaluating) = per_batch(sketches()?);
    let most = lists(&sketches()?) + urls().len() as u64 + 4 * u64::from(BATCH_ROWS.ilog2());
    assert_eq!(emitting, 0);
    assert!(evaluating <= most, "{evaluating} of {most} for {BATCH_ROWS} events");
    Ok(())
}
