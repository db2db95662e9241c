//! Bytes on the wire: a batch of 1,000 groups from 1,000,000 events, and batches of very few events.
//!
//! `cargo run --release -p headwater-benches --bin batch_bytes`
//!
//! The payload is what stands for the events; the frame adds the dot, the checks and the level, which any exactly-once
//! delivery of the events would need too. Beside them the same events as NDJSON, and in postcard, the densest form that a
//! row of this schema takes. QUIC's own bytes are not counted.

use headwater::emit::EventBuffer;
use headwater::ids::{Micros, Pid, RouteVersion, Seq};
use headwater::limits::BatchLimits;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame, encode_frame};
use headwater_benches::plans;
use headwater_benches::workload::{Events, Request};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    println!(
        "{:<44} {:>7} {:>9} {:>9} {:>10} {:>12} {:>12}",
        "workload", "groups", "payloads", "frames", "per group", "NDJSON", "postcard"
    );
    for (name, sketches) in [("count, sum, avg", false), ("+ distinct, p99, top-k", true)] {
        for (rows, groups) in [(1_000_000, 1_000), (1, 1), (10, 10), (100, 10)] {
            line(&format!("{rows} events, {name}"), &Events::uniform(rows, groups), sketches)?;
        }
    }
    Ok(())
}

fn line(name: &str, events: &Events, sketches: bool) -> Result<(), Failed> {
    let Batch { payloads, frames, groups } = batch(events, sketches)?;
    let json: usize = (0..events.len()).map(|i| json_bytes(&events.request(i))).sum();
    let postcard: usize = (0..events.len()).map(|i| postcard_bytes(&events.request(i))).sum();
    let each = frames as f64 / groups as f64;
    println!("{name:<44} {groups:>7} {payloads:>9} {frames:>9} {each:>10.1} {json:>12} {postcard:>12}");
    Ok(())
}

/// What one flush made.
struct Batch {
    payloads: usize,
    frames: usize,
    groups: usize,
}

fn batch(events: &Events, sketches: bool) -> Result<Batch, Failed> {
    let mut rollup = Rollup::new(plans::stream(), RollupOptions::default());
    rollup.set_plans(plans::stream(), vec![plans::by_path_and_status(sketches, u32::MAX)?]);
    let mut buffer = EventBuffer::new(plans::stream());
    for row in 0..events.len() {
        buffer.push(&events.request(row), Micros(0))?;
        if buffer.rows() == 1024 || row + 1 == events.len() {
            rollup.push(buffer.batch());
            buffer.clear();
        }
    }
    let ledger = LedgerDelta { events: rollup.take_events(), ..LedgerDelta::default() };
    let partials = rollup.drain();
    let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
    let encoded = encode_payloads(&ledger, &sections, &BatchLimits::NATIVE);
    let groups = encoded.payloads.iter().map(|p| p.groups).sum();
    let payloads = encoded.payloads.iter().map(|p| p.bytes.len()).sum();
    let frames = encoded.payloads.into_iter().enumerate().map(|(i, p)| frame_bytes(i as u64 + 1, p.bytes));
    Ok(Batch { payloads, frames: frames.sum(), groups })
}

fn frame_bytes(seq: u64, payload: Vec<u8>) -> usize {
    let (pid, seq) = (Pid::new(1_700_000_000_000, [7; 10]), Seq(seq));
    let (route, level) = (RouteVersion(1), AckLevel::Durable);
    encode_frame(&BatchFrame { pid, seq, low_water: seq, route, level, backfill: false, payload }).len()
}

fn json_bytes(request: &Request<'_>) -> usize {
    serde_json::to_string(request).map_or(0, |text| text.len() + 1)
}

fn postcard_bytes(request: &Request<'_>) -> usize {
    postcard::to_allocvec(request).map_or(0, |bytes| bytes.len())
}
