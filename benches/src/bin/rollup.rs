//! Events per second of one core through the producer's rollup, by `emit` and by column batch.
//!
//! `cargo run --release -p headwater-benches --bin rollup [filter]`

use headwater::aggregate::AggregateSpec;
use headwater::emit::EventBuffer;
use headwater::ids::{Micros, PlanVersion, StreamId, ViewId};
use headwater::plan::{ExprId, Op, Plan, PlanBuilder, PlanError};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;
use headwater::value::column::ColumnBatch;
use headwater_benches::measure::{machine, print_rate, time};
use headwater_benches::workload::Events;
use serde::Serialize;

const EVENTS: usize = 4_000_000;
const BATCH_ROWS: usize = 1024;
const RUNS: usize = 5;
const ARRIVAL: Micros = Micros(1_700_000_000_000_000);

#[derive(Serialize)]
struct Event<'a> {
    path: &'a str,
    status: i64,
    user: i64,
    latency_ms: f64,
}

/// Which states the view has beyond `count(*), sum(latency_ms), avg(latency_ms)`.
#[derive(Clone, Copy, PartialEq)]
enum Width {
    Plain,
    /// `count(DISTINCT user), percentile_cont(latency_ms), topk_agg(user, 10)`
    Sketches,
}

fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.to_string(), data_type };
    let fields = vec![
        field("path", DataType::Text),
        field("status", DataType::Int64),
        field("user", DataType::Int64),
        field("latency_ms", DataType::Float64),
    ];
    StreamSchema { id: StreamId(1), name: "requests".to_string(), fields }
}

fn plan(width: Width, groups_max: u32) -> Result<Plan, PlanError> {
    let mut b = PlanBuilder::new();
    let columns: Vec<ExprId> = schema()
        .fields
        .iter()
        .enumerate()
        .map(|(at, field)| b.node(Op::Column(at as u16), field.data_type.clone()))
        .collect::<Result<_, _>>()?;
    b.key(columns[0])?;
    b.key(columns[1])?;
    b.state(AggregateSpec::Count { argument: false }, &[], None)?;
    b.state(AggregateSpec::Sum(DataType::Float64), &[columns[3]], None)?;
    if width == Width::Sketches {
        let value = DataType::Int64;
        b.state(AggregateSpec::Hll { value: value.clone(), precision: 14 }, &[columns[2]], None)?;
        b.state(AggregateSpec::DdSketch { alpha_ppm: 10_000 }, &[columns[3]], None)?;
        b.state(AggregateSpec::TopK { value, k: 10, weighted: false }, &[columns[2]], None)?;
    }
    Ok(b.finish(ViewId(1), PlanVersion(1), StreamId(1), groups_max))
}

fn rollup(width: Width) -> Rollup {
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    let plan = plan(width, u32::MAX).expect("a small plan");
    assert_eq!(rollup.set_plans(schema(), vec![plan]), []);
    rollup
}

fn emit(rollup: &mut Rollup, buffer: &mut EventBuffer, events: &Events) {
    for row in 0..events.len() {
        let event = Event {
            path: events.path_text(row),
            status: events.status[row],
            user: events.user[row],
            latency_ms: events.latency_ms[row],
        };
        buffer.push(&event, ARRIVAL).expect("a good event");
        if buffer.rows() == BATCH_ROWS {
            rollup.push(buffer.batch());
            buffer.clear();
        }
    }
    rollup.push(buffer.batch());
    buffer.clear();
}

/// The same events, already columns.
fn batches(events: &Events) -> Vec<ColumnBatch> {
    let mut buffer = EventBuffer::new(schema());
    let mut out = Vec::new();
    for row in 0..events.len() {
        let (path, status) = (events.path_text(row), events.status[row]);
        let event = Event { path, status, user: events.user[row], latency_ms: events.latency_ms[row] };
        buffer.push(&event, ARRIVAL).expect("a good event");
        if buffer.rows() == BATCH_ROWS || row + 1 == events.len() {
            out.push(buffer.batch().clone());
            buffer.clear();
        }
    }
    out
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("{}, {EVENTS} events in batches of {BATCH_ROWS}, median of {RUNS}", machine());
    for groups in [1_000, 1_000_000] {
        let events = Events::uniform(EVENTS, groups);
        let batches = batches(&events);
        for (name, width) in [("count, sum, avg", Width::Plain), ("+ distinct, p99, top-k", Width::Sketches)]
        {
            // A million groups of sketches only measures the memory allocator for gigabytes.
            let label = |by: &str| format!("{by}: {groups} groups, {name}");
            if width == Width::Sketches && groups > 1_000 && filter.is_empty() {
                continue;
            }
            if label("batch").contains(&filter) {
                let runs = time(
                    RUNS,
                    || rollup(width),
                    |mut rollup| {
                        batches.iter().for_each(|batch| rollup.push(batch));
                        rollup
                    },
                );
                print_rate(&label("batch"), "events", EVENTS, &runs, None);
            }
            if label("emit").contains(&filter) {
                let runs = time(
                    RUNS,
                    || (rollup(width), EventBuffer::new(schema())),
                    |(mut rollup, mut buffer)| {
                        emit(&mut rollup, &mut buffer, &events);
                        rollup
                    },
                );
                print_rate(&label("emit"), "events", EVENTS, &runs, None);
            }
        }
    }
}
