//! Bytes on the wire: a batch of 1,000 groups from 1,000,000 events, and batches of very few events.
//!
//! `cargo run --release -p headwater-benches --bin batch_bytes`
//!
//! The payload is what stands for the events; the frame adds the dot, the checks and the level, which any exactly-once
//! delivery of the events would need too. Beside them the same events as NDJSON, and in postcard, the densest form that a
//! row of this schema takes. QUIC's own bytes are not counted.

use headwater_benches::wire::{Batch, json_bytes, postcard_bytes};
use headwater_benches::workload::Events;

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
    let Batch { payloads, frames, groups } = Batch::of(events, sketches)?;
    let (json, postcard) = (json_bytes(events), postcard_bytes(events));
    let each = frames as f64 / groups as f64;
    println!("{name:<44} {groups:>7} {payloads:>9} {frames:>9} {each:>10.1} {json:>12} {postcard:>12}");
    Ok(())
}
