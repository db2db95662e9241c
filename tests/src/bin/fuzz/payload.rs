//! Batch payloads: their structure alone, and with the states of two views.

use crate::plan;
use crate::targets::{Target, Verdict, same};
use headwater::aggregate::AggregateSpec;
use headwater::codec::Reader;
use headwater::group::GroupTable;
use headwater::limits::BatchLimits;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::wire::batch::{
    DropReason, LedgerDelta, Partials, Payload, Section, SectionInput, encode_payloads,
};

/// Structure only, states as they come: which states a section holds is the catalog's knowledge.
pub fn batch(input: &[u8]) -> Verdict {
    let Ok(payload) = Payload::parse(input, &BatchLimits::NATIVE) else { return Verdict::Refused };
    let parts: Vec<Opaque<'_>> = payload.sections().iter().map(Opaque::new).collect();
    if parts.iter().map(|part| part.keys.len()).sum::<usize>() != payload.groups() {
        return Verdict::Wrong("lost keys".into());
    }
    same_again(&payload, &parts, input)
}

/// A section's groups with uncut states: the last group has the states of all.
struct Opaque<'a> {
    keys: Vec<Vec<u8>>,
    states: &'a [u8],
}

impl<'a> Opaque<'a> {
    fn new(section: &Section<'a>) -> Self {
        let mut part = Self { keys: Vec::new(), states: &[] };
        let mut groups = section.groups();
        while let Ok(Some((key, states))) = groups.next_group() {
            part.keys.push(key.to_vec());
            part.states = states.peek_rest();
        }
        part
    }
}

impl Partials for Opaque<'_> {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn sorted(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }

    fn key(&self, group: u32) -> &[u8] {
        &self.keys[group as usize]
    }

    fn encode_states(&self, group: u32, out: &mut Vec<u8>) {
        if group as usize + 1 == self.keys.len() {
            out.extend_from_slice(self.states);
        }
    }
}

/// Encodes what was decoded. Encoders leave out what says nothing, decoders take it: there is nothing to compare.
fn same_again<P: Partials>(payload: &Payload<'_>, parts: &[P], input: &[u8]) -> Verdict {
    let silent = |s: &Section<'_>| s.events == 0 && s.rejected.is_empty() && s.groups == 0;
    let nothing = payload.ledger.is_empty() && payload.sections().is_empty();
    if nothing || payload.sections().iter().any(silent) {
        return Verdict::Accepted;
    }
    let inputs = payload.sections().iter().zip(parts).map(|(section, partials)| SectionInput {
        view: section.view,
        version: section.version,
        events: section.events,
        rejected: section.rejected.clone(),
        partials,
    });
    // Encoders reckon with the longest heads: what fills a limit exactly must not be split here.
    let roomy = BatchLimits { payload_bytes_max: 1 << 30, keys_bytes_max: 1 << 30, ..BatchLimits::NATIVE };
    let batches = encode_payloads(&payload.ledger, &inputs.collect::<Vec<_>>(), &roomy);
    match batches.payloads.as_slice() {
        [one] => same(input, &one.bytes),
        other => Verdict::Wrong(format!("one payload became {}", other.len())),
    }
}

/// As a hub that knows the views of [`plan::valid`] takes a batch.
pub fn target() -> Target {
    let specs: Vec<Vec<AggregateSpec>> =
        plan::valid().iter().map(|p| p.states.iter().map(|s| s.spec.clone()).collect()).collect();
    Target {
        name: "payload",
        seeds: Box::new(honest),
        run: Box::new(move |input| with_states(&specs, input)),
        memory_base: 1 << 20,
    }
}

/// Flushes of no, one, a few and many events.
fn honest() -> Vec<Vec<u8>> {
    let payloads = [0, 1, 2, 7, 40, 400].map(|rows| {
        let schema = plan::schema();
        let mut rollup = Rollup::new(schema.clone(), RollupOptions::default());
        assert!(rollup.set_plans(schema, plan::valid()).is_empty(), "valid plans");
        rollup.push(&plan::rows(rows));
        let partials = rollup.drain();
        let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
        let mut ledger = LedgerDelta { events: u64::from(rows), ..LedgerDelta::default() };
        ledger.dropped.add(DropReason::Late, 3);
        encode_payloads(&ledger, &sections, &BatchLimits::NATIVE).payloads
    });
    payloads.into_iter().flatten().map(|payload| payload.bytes).collect()
}

/// What is admitted is stored as it is encoded, and read again: that must work.
fn with_states(specs: &[Vec<AggregateSpec>], input: &[u8]) -> Verdict {
    let Ok(payload) = Payload::parse(input, &BatchLimits::NATIVE) else { return Verdict::Refused };
    let mut tables = Vec::new();
    for section in payload.sections() {
        let view = (section.view.0 as usize).checked_sub(1);
        let Some(specs) = view.and_then(|at| specs.get(at)) else { return Verdict::Refused };
        let mut table = GroupTable::new(specs);
        if section.merge_into(&mut table).is_err() {
            return Verdict::Refused;
        }
        if let Err(what) = stored(&table) {
            return Verdict::Wrong(what);
        }
        tables.push(table);
    }
    same_again(&payload, &tables, input)
}

/// Reads back every group's states as a hub reads its store.
fn stored(table: &GroupTable) -> Result<(), String> {
    for group in table.sorted() {
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        table.encode_states(group, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let mut copy = GroupTable::new(table.specs());
        let merged = copy.merge_encoded(table.key(group), &mut reader);
        let merged = merged.map_err(|e| format!("{e}: admitted, but not readable when stored"))?;
        copy.encode_states(merged, &mut again);
        if !reader.is_empty() || bytes != again {
            return Err("read from the store as something else".into());
        }
    }
    Ok(())
}
