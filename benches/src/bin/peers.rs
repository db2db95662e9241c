//! Headwater's rollup beside its peers: count, sum and average per (text, int) key, one core, in one run.
//!
//! `cargo run --release -p headwater-benches --features peers --bin peers [-- GROUPS]`

use headwater::emit::EventBuffer;
use headwater::ids::Micros;
use headwater::plan::PlanError;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::value::column::ColumnBatch;
use headwater_benches::measure::{Runs, machine, print_rate, time};
use headwater_benches::workload::Events;
use headwater_benches::{peers, plans};

const EVENTS: usize = 4_000_000;
const RUNS: usize = 5;
/// Rows between two evaluations: what the client buffers.
const BUFFER_ROWS: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("POLARS_MAX_THREADS", "1") };
    let groups: usize = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let events = Events::uniform(EVENTS, groups);
    println!("{EVENTS} events, {groups} groups, median of {RUNS} runs, {}", machine());

    let base = time(RUNS, || (), |()| peers::hash_map::run(&events));
    let base_rate = Some(base.rate(EVENTS));
    let show = |name: &str, runs: &Runs| print_rate(name, "events", EVENTS, runs, base_rate);
    show("HashMap<(&str, i64), (u64, f64)>", &base);

    let runs = time(RUNS, || rollup(groups), |rollup| emit(&events, rollup.expect("a valid plan")));
    show("headwater emit (serde struct)", &runs);
    let batches = batches(&events)?;
    let runs = time(RUNS, || rollup(groups), |rollup| push(&batches, rollup.expect("a valid plan")));
    show("headwater column batches", &runs);

    let prepare = || peers::opentelemetry::Instruments::new(groups);
    let runs = time(RUNS, prepare, |instruments| {
        peers::opentelemetry::run(&events, &instruments);
        instruments
    });
    show("opentelemetry counter + histogram", &runs);

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let context = peers::datafusion::prepare(&events)?;
    let runs = time(RUNS, || (), |()| runtime.block_on(peers::datafusion::run(&context)).expect("an answer"));
    show("datafusion GROUP BY", &runs);

    let frame = peers::polars::prepare(&events)?;
    let runs = time(RUNS, || (), |()| peers::polars::run(&frame).expect("an answer"));
    show("polars group_by", &runs);
    Ok(())
}

fn rollup(groups: usize) -> Result<Rollup, PlanError> {
    let mut rollup = Rollup::new(plans::stream(), RollupOptions::default());
    let plan = plans::by_path_and_status(false, groups as u32)?;
    let refused = rollup.set_plans(plans::stream(), vec![plan]);
    match refused.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(rollup),
    }
}

fn emit(events: &Events, mut rollup: Rollup) -> Rollup {
    let mut buffer = EventBuffer::new(plans::stream());
    for row in 0..events.len() {
        buffer.push(&events.request(row), Micros(0)).expect("events of the stream's schema");
        if buffer.rows() == BUFFER_ROWS {
            rollup.push(buffer.batch());
            buffer.clear();
        }
    }
    rollup.push(buffer.batch());
    assert_eq!(rollup.take_events() as usize, events.len());
    rollup
}

fn batches(events: &Events) -> Result<Vec<ColumnBatch>, headwater::emit::EmitError> {
    let mut buffer = EventBuffer::new(plans::stream());
    let mut batches = Vec::new();
    for row in 0..events.len() {
        buffer.push(&events.request(row), Micros(0))?;
        if buffer.rows() == BUFFER_ROWS {
            batches.push(buffer.batch().clone());
            buffer.clear();
        }
    }
    batches.push(buffer.batch().clone());
    Ok(batches)
}

fn push(batches: &[ColumnBatch], mut rollup: Rollup) -> Rollup {
    batches.iter().for_each(|batch| rollup.push(batch));
    assert!(rollup.groups() > 0);
    rollup
}
