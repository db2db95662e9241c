//! Writing batch payloads: merged partials in, frozen bytes out, split where a limit asks for it.

use super::batch::{DropCounts, LedgerDelta, PAYLOAD_VERSION};
use crate::codec::Writer;
use crate::group::GroupTable;
use crate::ids::{PlanVersion, ViewId};
use crate::limits::{BatchLimits, REPORT_MAX};
use crate::rollup::ViewPartials;
use crate::sort::sort_by;
use alloc::vec::Vec;
use core::mem;

/// Groups with encoded states: what a payload is made from.
pub trait Partials {
    /// True without groups.
    fn is_empty(&self) -> bool;
    /// All groups, ascending by key.
    fn sorted(&self) -> Vec<u32>;
    /// The key of a group.
    fn key(&self, group: u32) -> &[u8];
    /// Appends the states of a group.
    fn encode_states(&self, group: u32, out: &mut Vec<u8>);
}

impl Partials for GroupTable {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn sorted(&self) -> Vec<u32> {
        self.sorted()
    }

    fn key(&self, group: u32) -> &[u8] {
        self.key(group)
    }

    fn encode_states(&self, group: u32, out: &mut Vec<u8>) {
        self.encode_states(group, out);
    }
}

/// One view's part of a flush.
#[derive(Debug)]
pub struct SectionInput<'a, P> {
    /// The view.
    pub view: ViewId,
    /// The plan the partials were made with.
    pub version: PlanVersion,
    /// Events that reached a group.
    pub events: u64,
    /// Events the view rejected since the last flush.
    pub rejected: DropCounts,
    /// Its groups.
    pub partials: &'a P,
}

impl<'a> From<&'a ViewPartials> for SectionInput<'a, GroupTable> {
    fn from(partials: &'a ViewPartials) -> Self {
        Self {
            view: partials.view,
            version: partials.version,
            events: partials.events,
            rejected: partials.rejected.clone(),
            partials: &partials.table,
        }
    }
}

impl<P: Partials> SectionInput<'_, P> {
    fn is_empty(&self) -> bool {
        self.events == 0 && self.rejected.is_empty() && self.partials.is_empty()
    }
}

/// One batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPayload {
    /// The payload.
    pub bytes: Vec<u8>,
    /// Its share of the flush's events.
    pub events: u64,
    /// What else it reports.
    pub report: LedgerDelta,
    /// Its groups.
    pub groups: usize,
}

/// The batches of one flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedBatches {
    /// One payload per batch; empty when there was nothing to say.
    pub payloads: Vec<EncodedPayload>,
    /// Groups left out because they alone break a limit; the caller counts them, apart from events.
    pub oversized_groups: u64,
}

/// Longest report at the start of a payload: version, four numbers, all drop reasons, the section count.
const LEDGER_BYTES_MAX: usize = 1 + 3 * 10 + DROPS_BYTES_MAX + 2;
/// Longest section head: view, version, events, rejected, groups, length.
const SECTION_HEAD_BYTES_MAX: usize = 5 + 5 + 10 + DROPS_BYTES_MAX + 5 + 5;
const DROPS_BYTES_MAX: usize = 1 + super::batch::DropReason::ALL.len() * 11;
/// Longest front-coding of one key besides its bytes: two lengths.
const KEY_HEAD_BYTES_MAX: usize = 2 * 5;

/// Writes one flush as payloads, as few as the limits allow.
///
/// `sections` may come in any order; each (view, version) once. A split section's events, and the flush's, are
/// apportioned to its payloads by their groups; totals are exact. Drop counts and doubts go into the first.
///
/// Peak memory: about twice the encoded bytes.
pub fn encode_payloads<P: Partials>(
    ledger: &LedgerDelta,
    sections: &[SectionInput<'_, P>],
    limits: &BatchLimits,
) -> EncodedBatches {
    let mut order: Vec<u32> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        if !section.is_empty() {
            order.push(index as u32);
        }
    }
    let id = |i: u32| (sections[i as usize].view, sections[i as usize].version);
    sort_by(&mut order, |a, b| id(*a).cmp(&id(*b)));
    let mut packer = Packer::new(limits);
    for index in order.into_iter().map(|index| index as usize) {
        packer.section(index, sections[index].partials);
    }
    let oversized_groups = packer.oversized;
    let batches = packer.finish();
    if batches.iter().all(Vec::is_empty) && ledger.is_empty() {
        return EncodedBatches { payloads: Vec::new(), oversized_groups };
    }
    EncodedBatches { payloads: write_all(ledger, sections, &batches), oversized_groups }
}

/// A run of one section's groups inside one payload.
#[derive(Default)]
struct Part {
    section: usize,
    groups: usize,
    keys: Vec<u8>,
    states: Vec<u8>,
}

struct Packer<'a> {
    limits: &'a BatchLimits,
    done: Vec<Vec<Part>>,
    open: Vec<Part>,
    bytes: usize,
    groups: usize,
    keys_bytes: usize,
    oversized: u64,
}

impl<'a> Packer<'a> {
    fn new(limits: &'a BatchLimits) -> Self {
        let bytes = LEDGER_BYTES_MAX;
        Self { limits, done: Vec::new(), open: Vec::new(), bytes, groups: 0, keys_bytes: 0, oversized: 0 }
    }

    fn section<P: Partials>(&mut self, section: usize, partials: &P) {
        self.start_part(section);
        let mut states = Vec::new();
        let mut last: &[u8] = &[];
        for group in partials.sorted() {
            let key = partials.key(group);
            states.clear();
            partials.encode_states(group, &mut states);
            let bytes = KEY_HEAD_BYTES_MAX + key.len() + states.len();
            if key.len() > self.limits.key_bytes_max
                || LEDGER_BYTES_MAX + SECTION_HEAD_BYTES_MAX + bytes > self.limits.payload_bytes_max
            {
                self.oversized += 1;
                continue;
            }
            if !self.fits(bytes, key.len()) {
                // A part that has no group yet moves on whole.
                self.open.pop_if(|part| part.groups == 0);
                self.close_payload();
                self.start_part(section);
            }
            self.bytes += bytes;
            self.keys_bytes += key.len();
            self.groups += 1;
            if let Some(part) = self.open.last_mut() {
                part.push(last, key, &states);
            }
            last = key;
        }
    }

    fn fits(&self, bytes: usize, key_bytes: usize) -> bool {
        self.bytes + bytes <= self.limits.payload_bytes_max
            && self.groups < self.limits.groups_max
            && self.keys_bytes + key_bytes <= self.limits.keys_bytes_max
    }

    fn start_part(&mut self, section: usize) {
        let full = self.bytes + SECTION_HEAD_BYTES_MAX > self.limits.payload_bytes_max;
        if !self.open.is_empty() && (full || self.open.len() >= self.limits.sections_max) {
            self.close_payload();
        }
        self.bytes += SECTION_HEAD_BYTES_MAX;
        self.open.push(Part { section, ..Part::default() });
    }

    fn close_payload(&mut self) {
        self.done.push(mem::take(&mut self.open));
        self.bytes = LEDGER_BYTES_MAX;
        self.groups = 0;
        self.keys_bytes = 0;
    }

    fn finish(mut self) -> Vec<Vec<Part>> {
        self.close_payload();
        self.done
    }
}

impl Part {
    fn push(&mut self, last: &[u8], key: &[u8], states: &[u8]) {
        if self.groups == 0 {
            self.keys.put_blob(key);
        } else {
            let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
            self.keys.put_varint(shared as u64);
            self.keys.put_blob(&key[shared..]);
        }
        self.states.extend_from_slice(states);
        self.groups += 1;
    }
}

/// Hands out a total in proportion to groups; what is handed out in the end is exactly the total.
#[derive(Clone, Copy, Default)]
struct Share {
    total: u64,
    groups: u64,
    seen: u64,
    given: u64,
}

impl Share {
    fn new(total: u64, groups: usize) -> Self {
        Self { total, groups: groups as u64, seen: 0, given: 0 }
    }

    /// The share of the next `groups`; without any groups at all, the first taker gets everything.
    fn take(&mut self, groups: usize) -> u64 {
        self.seen += groups as u64;
        let due = match self.total.checked_div(self.groups) {
            None => self.total,
            // total * seen / groups in 64 bits: groups are numbered by u32, so no product overflows.
            Some(whole) => whole * self.seen + self.total % self.groups * self.seen / self.groups,
        };
        let share = due - self.given;
        self.given = due;
        share
    }
}

fn write_all<P>(
    ledger: &LedgerDelta,
    sections: &[SectionInput<'_, P>],
    batches: &[Vec<Part>],
) -> Vec<EncodedPayload> {
    let mut groups = alloc::vec![0; sections.len()];
    for parts in batches {
        for part in parts {
            groups[part.section] += part.groups;
        }
    }
    let (mut shares, mut rejected) = (Vec::new(), Vec::new());
    for (section, groups) in sections.iter().zip(&groups) {
        shares.push(Share::new(section.events, *groups));
        rejected.push(section.rejected.clone());
    }
    let mut all = Share::new(ledger.events, groups.iter().sum());
    let mut report = ledger.clone();
    let mut payloads = Vec::with_capacity(batches.len());
    for parts in batches {
        let groups = parts.iter().map(|part| part.groups).sum();
        report.events = all.take(groups);
        let events = report.events;
        let mut bytes = alloc::vec![PAYLOAD_VERSION];
        let mut report = mem::take(&mut report);
        report.encode(&mut bytes);
        report.events = 0;
        bytes.put_varint(parts.len() as u64);
        for part in parts {
            let input = &sections[part.section];
            bytes.put_varint(u64::from(input.view.0));
            bytes.put_varint(u64::from(input.version.0));
            bytes.put_varint(shares[part.section].take(part.groups).min(REPORT_MAX));
            mem::take(&mut rejected[part.section]).encode(&mut bytes);
            bytes.put_varint(part.groups as u64);
            bytes.put_varint((part.keys.len() + part.states.len()) as u64);
            bytes.extend_from_slice(&part.keys);
            bytes.extend_from_slice(&part.states);
        }
        payloads.push(EncodedPayload { bytes, events, report, groups });
    }
    payloads
}
