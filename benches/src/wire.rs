//! What one flush of a workload takes on the wire, and what its events would.

use crate::plans;
use crate::workload::{Events, Request};
use headwater::emit::EventBuffer;
use headwater::ids::{Micros, Pid, RouteVersion, Seq};
use headwater::limits::BatchLimits;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame, encode_frame};

/// What one flush made, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The payloads: what stands for the events.
    pub payloads: usize,
    /// The payloads with their dots and checks.
    pub frames: usize,
    /// Groups in them.
    pub groups: usize,
}

impl Batch {
    /// Rolls up all events and freezes them.
    ///
    /// # Errors
    /// The workload's plan or events do not fit its stream.
    pub fn of(events: &Events, sketches: bool) -> Result<Self, Box<dyn std::error::Error>> {
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
        let frames = (1..).zip(encoded.payloads).map(|(seq, payload)| frame_bytes(seq, payload.bytes)).sum();
        Ok(Self { payloads, frames, groups })
    }
}

fn frame_bytes(seq: u64, payload: Vec<u8>) -> usize {
    let (pid, seq) = (Pid::new(1_700_000_000_000, [7; 10]), Seq(seq));
    let (route, level) = (RouteVersion(1), AckLevel::Durable);
    encode_frame(&BatchFrame { pid, seq, low_water: seq, route, level, backfill: false, payload }).len()
}

/// The events as NDJSON.
pub fn json_bytes(events: &Events) -> usize {
    sum(events, |request| serde_json::to_string(request).map_or(0, |text| text.len() + 1))
}

/// The events in postcard, the densest form that a row of this schema takes.
pub fn postcard_bytes(events: &Events) -> usize {
    sum(events, |request| postcard::to_allocvec(request).map_or(0, |bytes| bytes.len()))
}

fn sum(events: &Events, bytes: impl Fn(&Request<'_>) -> usize) -> usize {
    (0..events.len()).map(|row| bytes(&events.request(row))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_never_larger_than_its_events() {
        for (rows, groups) in (1..40).map(|n| (n, n)).chain([(100, 10), (1_000, 7), (20_000, 1_000)]) {
            let events = Events::uniform(rows, groups);
            let json = json_bytes(&events);
            let (plain, sketched) = (Batch::of(&events, false).unwrap(), Batch::of(&events, true).unwrap());
            assert!(plain.frames < json, "{rows} events: {plain:?} against {json}");
            assert!(sketched.payloads < json, "{rows} events: {sketched:?} against {json}");
        }
    }

    #[test]
    fn a_thousand_groups_take_at_most_forty_bytes_each() {
        let batch = Batch::of(&Events::uniform(100_000, 1_000), false).unwrap();
        assert_eq!(batch.groups, 1_000);
        assert!(batch.frames <= 40 * batch.groups, "{batch:?}");
    }
}
