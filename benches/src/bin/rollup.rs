//! Events per second of one core through the producer's rollup, by `emit` and by column batch.
//!
//! `cargo run --release -p headwater-benches --bin rollup [filter]`

use headwater::emit::EventBuffer;
use headwater::ids::Micros;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::value::column::ColumnBatch;
use headwater_benches::measure::{machine, print_rate, time};
use headwater_benches::plans;
use headwater_benches::workload::Events;

const EVENTS: usize = 4_000_000;
const BATCH_ROWS: usize = 1024;
const RUNS: usize = 5;
const ARRIVAL: Micros = Micros(1_700_000_000_000_000);

/// Which states the view has beyond `count(*), sum(latency_ms), avg(latency_ms)`.
#[derive(Clone, Copy, PartialEq)]
enum Width {
    Plain,
    /// `count(DISTINCT user), percentile_cont(latency_ms), topk_agg(user, 10)`
    Sketches,
}

fn rollup(width: Width) -> Rollup {
    let mut rollup = Rollup::new(plans::stream(), RollupOptions::default());
    let plan = plans::by_path_and_status(width == Width::Sketches, u32::MAX).expect("a small plan");
    assert_eq!(rollup.set_plans(plans::stream(), vec![plan]), []);
    rollup
}

fn emit(rollup: &mut Rollup, buffer: &mut EventBuffer, events: &Events) {
    for row in 0..events.len() {
        buffer.push(&events.request(row), ARRIVAL).expect("a good event");
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
    let mut buffer = EventBuffer::new(plans::stream());
    let mut out = Vec::new();
    for row in 0..events.len() {
        buffer.push(&events.request(row), ARRIVAL).expect("a good event");
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
                    || (rollup(width), EventBuffer::new(plans::stream())),
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
