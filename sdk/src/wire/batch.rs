//! The batch payload: the frozen bytes of one flush.
//!
//! Owns: payload bytes ([`encode_payloads`], [`Payload`]), what a producer reports about itself
//! ([`LedgerDelta`]), the payload hash. Must not know: dots, sessions, what a state's bytes mean.
//! Invariants: one encoding per content (sections and keys strictly ascending, longest shared prefixes,
//! canonical varints, no trailing bytes); parsing borrows the input and allocates nothing but one key;
//! undone front coding is bounded by its own limit. Normative text: `FORMAT.md`, "Batches".

use crate::codec::{DecodeError, Reader, Writer};
use crate::group::GroupTable;
use crate::ids::{PlanVersion, ViewId};
use crate::limits::{BatchLimits, REPORT_MAX};
use crate::value::column::Slot;
use alloc::vec::Vec;

pub use super::batch_encode::{EncodedBatches, EncodedPayload, Partials, SectionInput, encode_payloads};

/// The first byte of every payload; readers refuse newer ones.
pub const PAYLOAD_VERSION: u8 = 1;

/// Seed of [`payload_hash`]: `headwatr`, read as a little-endian number.
pub const PAYLOAD_HASH_SEED: u64 = u64::from_le_bytes(*b"headwatr");

/// Tells two payloads under one dot apart (P3): xxh3-64 with [`PAYLOAD_HASH_SEED`]. It is not a defence
/// against a producer that forges collisions: such a producer can only hide its own batches.
pub fn payload_hash(payload: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(payload, PAYLOAD_HASH_SEED)
}

/// Why events did not reach a view. Tags are wire format: append, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum DropReason {
    /// `emit` refused it: unknown column, wrong type, value out of range.
    Invalid = 1,
    /// The buffer for events before the first plan was full.
    WaitingFull = 2,
    /// The outbox was full and its policy is to drop the oldest.
    OutboxFull = 3,
    /// The hub refused the batch for good.
    Refused = 4,
    /// One group's states do not fit a frame. Counted in groups; native clients count those apart instead.
    Oversized = 5,
    /// Rollup and outbox were full and the caller did not wait.
    Backpressure = 6,
    /// The process ended, or the client was closed, before the events could be frozen.
    Closed = 7,
    /// The event's time is outside the limits.
    Late = 8,
    /// Its stream was dropped before the event was frozen.
    StreamGone = 9,
    /// A view's expression left its type's range.
    Overflow = 16,
    /// A view's expression divided by zero.
    DivisionByZero = 17,
    /// A view's cast could not read its input.
    BadCast = 18,
    /// A view's function was called outside its domain.
    Domain = 19,
    /// A view's group key is over the limit.
    KeyTooLong = 20,
    /// A text that a view's state would keep, or a weight, is over the limit.
    ValueTooLarge = 21,
    /// This build of the SDK is too old, or too small, for the view's plan.
    UnsupportedPlan = 22,
}

impl DropReason {
    /// All reasons, in tag order.
    pub const ALL: [Self; 16] = [
        Self::Invalid,
        Self::WaitingFull,
        Self::OutboxFull,
        Self::Refused,
        Self::Oversized,
        Self::Backpressure,
        Self::Closed,
        Self::Late,
        Self::StreamGone,
        Self::Overflow,
        Self::DivisionByZero,
        Self::BadCast,
        Self::Domain,
        Self::KeyTooLong,
        Self::ValueTooLarge,
        Self::UnsupportedPlan,
    ];

    /// True for what a view rejects; false for what is lost before any view.
    pub fn is_of_view(self) -> bool {
        self as u8 >= Self::Overflow as u8
    }

    /// The reason of a tag byte.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == tag)
    }

    /// The reason a row with this error slot is rejected for; `None` for valid and null slots.
    pub fn from_slot(slot: Slot) -> Option<Self> {
        match slot {
            Slot::Overflow => Some(Self::Overflow),
            Slot::DivisionByZero => Some(Self::DivisionByZero),
            Slot::BadCast => Some(Self::BadCast),
            Slot::Domain => Some(Self::Domain),
            Slot::Valid | Slot::Null => None,
        }
    }

    /// The stable text of this reason in metrics and JS.
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::WaitingFull => "waiting_full",
            Self::OutboxFull => "outbox_full",
            Self::Refused => "refused",
            Self::Oversized => "oversized",
            Self::Backpressure => "backpressure",
            Self::Closed => "closed",
            Self::Late => "late",
            Self::StreamGone => "stream_gone",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division_by_zero",
            Self::BadCast => "bad_cast",
            Self::Domain => "domain",
            Self::KeyTooLong => "key_too_long",
            Self::ValueTooLarge => "value_too_large",
            Self::UnsupportedPlan => "unsupported_plan",
        }
    }
}

/// Event counts by reason, in tag order, without zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts(Vec<(DropReason, u64)>);

impl DropCounts {
    /// Counts `events` more.
    pub fn add(&mut self, reason: DropReason, events: u64) {
        if events == 0 {
            return;
        }
        match self.0.binary_search_by_key(&reason, |entry| entry.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(events),
            Err(at) => self.0.insert(at, (reason, events)),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(reason, events)| self.add(reason, events));
    }

    /// The count of one reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.iter().find(|entry| entry.0 == reason).map_or(0, |entry| entry.1)
    }

    /// All counts that are not zero, in tag order.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.0.iter().copied()
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.iter().fold(0, |sum, (_, events)| sum.saturating_add(events))
    }

    /// True without counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.0.len() as u64);
        for (reason, events) in self.iter() {
            out.push(reason as u8);
            out.put_varint(events.min(REPORT_MAX));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(2, DropReason::ALL.len())?;
        let mut counts = Vec::with_capacity(count);
        for _ in 0..count {
            let reason = DropReason::from_tag(reader.u8()?).ok_or(DecodeError::Invalid("drop reason"))?;
            let events = report(reader)?;
            if events == 0 || counts.last().is_some_and(|last: &(DropReason, u64)| last.0 >= reason) {
                return Err(DecodeError::Invalid("drop counts"));
            }
            counts.push((reason, events));
        }
        Ok(Self(counts))
    }
}

/// What a producer reports about itself with a batch: differences since its last one. Hubs add them up.
///
/// In the ledger `generated = applied + in outbox + dropped + in doubt`, a hub sees what is delivered: `events`
/// are those of batches that arrived, never those generated. What was generated and what is still in an outbox
/// is known to the client alone, in its stats: a hub cannot check the sum for a producer that is away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerDelta {
    /// Events this batch stands for, each counted once however many views read it.
    pub events: u64,
    /// Events lost before they reached any view.
    pub dropped: DropCounts,
    /// Batches that may or may not have been counted (C6).
    pub in_doubt_batches: u64,
    /// The events of those.
    pub in_doubt_events: u64,
}

impl LedgerDelta {
    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.dropped.merge(&other.dropped);
        self.in_doubt_batches = self.in_doubt_batches.saturating_add(other.in_doubt_batches);
        self.in_doubt_events = self.in_doubt_events.saturating_add(other.in_doubt_events);
    }

    /// True when there is nothing to report.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.events.min(REPORT_MAX));
        self.dropped.encode(out);
        out.put_varint(self.in_doubt_batches.min(REPORT_MAX));
        if self.in_doubt_batches > 0 {
            out.put_varint(self.in_doubt_events.min(REPORT_MAX));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let events = report(reader)?;
        let dropped = DropCounts::decode(reader)?;
        if dropped.0.last().is_some_and(|(reason, _)| reason.is_of_view()) {
            return Err(DecodeError::Invalid("drop reason"));
        }
        let in_doubt_batches = report(reader)?;
        let in_doubt_events = if in_doubt_batches > 0 { report(reader)? } else { 0 };
        Ok(Self { events, dropped, in_doubt_batches, in_doubt_events })
    }

    /// Reads only the report at the start of a payload.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], [`DecodeError::Invalid`],
    /// or [`DecodeError::TooNew`] for a later version of the payload.
    pub fn peek(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        version(&mut reader)?;
        Self::decode(&mut reader)
    }
}

/// A count that a producer reports: bounded, because hubs add them up.
fn report(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.varint()? {
        value if value > REPORT_MAX => Err(DecodeError::Invalid("report")),
        value => Ok(value),
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.u8()? {
        PAYLOAD_VERSION => Ok(()),
        0 => Err(DecodeError::Invalid("payload version")),
        _ => Err(DecodeError::TooNew),
    }
}

/// A payload whose structure was checked: everything but the states themselves.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    /// What the producer reports.
    pub ledger: LedgerDelta,
    sections: Vec<Section<'a>>,
}

/// The partials of one view at one plan version.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// The view.
    pub view: ViewId,
    /// The plan they were made with.
    pub version: PlanVersion,
    /// Events that reached one of these groups.
    pub events: u64,
    /// Events this view rejected since the last batch.
    pub rejected: DropCounts,
    /// The number of groups.
    pub groups: usize,
    keys: &'a [u8],
    states: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Checks `bytes` against the format and the limits. States are only cut out: their own decoders
    /// check them ([`Section::merge_into`]).
    ///
    /// # Errors
    /// Any [`DecodeError`] but [`DecodeError::Checksum`].
    pub fn parse(bytes: &'a [u8], limits: &BatchLimits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.payload_bytes_max {
            return Err(DecodeError::TooLarge("payload"));
        }
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let ledger = LedgerDelta::decode(&mut reader)?;
        let count = reader.count(SECTION_BYTES_MIN, limits.sections_max)?;
        let mut sections: Vec<Section<'a>> = Vec::with_capacity(count);
        let mut left = Left { groups: limits.groups_max, keys_bytes: limits.keys_bytes_max };
        for _ in 0..count {
            let section = Section::decode(&mut reader, limits, &mut left)?;
            if sections.last().is_some_and(|last| last.id() >= section.id()) {
                return Err(DecodeError::Invalid("section order"));
            }
            sections.push(section);
        }
        reader.finish()?;
        Ok(Self { ledger, sections })
    }

    /// The sections, ascending by view and plan version.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// Groups over all sections.
    pub fn groups(&self) -> usize {
        self.sections.iter().map(|section| section.groups).sum()
    }
}

/// View, version, events, rejected, groups, length: one byte each.
const SECTION_BYTES_MIN: usize = 6;

/// What the sections read so far have left of the limits.
struct Left {
    groups: usize,
    keys_bytes: usize,
}

impl<'a> Section<'a> {
    fn id(&self) -> (ViewId, PlanVersion) {
        (self.view, self.version)
    }

    fn decode(reader: &mut Reader<'a>, limits: &BatchLimits, left: &mut Left) -> Result<Self, DecodeError> {
        let view = ViewId(varint32(reader, "view")?);
        let version = PlanVersion(varint32(reader, "plan version")?);
        let events = report(reader)?;
        let rejected = DropCounts::decode(reader)?;
        let groups = reader.count(1, left.groups)?;
        let body = reader.blob(usize::MAX)?;
        left.groups -= groups;
        let mut keys = KeyReader::new(body, groups);
        while let Some(key) = keys.next_key(limits.key_bytes_max)? {
            left.keys_bytes = left.keys_bytes.checked_sub(key.len()).ok_or(DecodeError::TooLarge("keys"))?;
        }
        let states = keys.reader.peek_rest();
        if groups == 0 && !states.is_empty() {
            return Err(DecodeError::Trailing);
        }
        let keys = &body[..body.len() - states.len()];
        Ok(Self { view, version, events, rejected, groups, keys, states })
    }

    /// The groups in key order.
    pub fn groups(&self) -> Groups<'a> {
        Groups { keys: KeyReader::new(self.keys, self.groups), states: Reader::new(self.states) }
    }

    /// Bytes of keys and states.
    pub fn body_bytes(&self) -> usize {
        self.keys.len() + self.states.len()
    }

    /// Validates every state and merges all groups. On error `table` holds some of them: give it a table of
    /// its own.
    ///
    /// # Errors
    /// Those of [`GroupTable::admit_encoded`] and of [`Groups::finish`].
    pub fn merge_into(&self, table: &mut GroupTable) -> Result<(), DecodeError> {
        let mut groups = self.groups();
        while let Some((key, states)) = groups.next_group()? {
            table.admit_encoded(key, states)?;
        }
        groups.finish()
    }
}

fn varint32(reader: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint()?).map_err(|_| DecodeError::TooLarge(what))
}

/// A walk over the groups of a section.
#[derive(Debug)]
pub struct Groups<'a> {
    keys: KeyReader<'a>,
    states: Reader<'a>,
}

impl<'a> Groups<'a> {
    /// The next group's key, and a reader that stands at its states: read exactly those before going on.
    ///
    /// # Errors
    /// Never: [`Payload::parse`] has read the same keys before.
    pub fn next_group(&mut self) -> Result<Option<(&[u8], &mut Reader<'a>)>, DecodeError> {
        Ok(self.keys.next_key(usize::MAX)?.map(|key| (key, &mut self.states)))
    }

    /// Refuses bytes after the last group's states.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when there are any.
    pub fn finish(self) -> Result<(), DecodeError> {
        self.states.finish()
    }
}

/// Undoes front coding, one key at a time.
#[derive(Debug)]
struct KeyReader<'a> {
    reader: Reader<'a>,
    key: Vec<u8>,
    left: usize,
    first: bool,
}

impl<'a> KeyReader<'a> {
    fn new(bytes: &'a [u8], keys: usize) -> Self {
        Self { reader: Reader::new(bytes), key: Vec::new(), left: keys, first: true }
    }

    fn next_key(&mut self, key_bytes_max: usize) -> Result<Option<&[u8]>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let shared = if self.first { 0 } else { self.reader.count(0, self.key.len())? };
        let suffix = self.reader.blob(key_bytes_max)?;
        if !self.first {
            // The shared part is as long as possible and keys ascend strictly: so the suffix is not empty,
            // and where the last key goes on, it goes on with a smaller byte.
            let first = *suffix.first().ok_or(DecodeError::Invalid("key order"))?;
            if self.key.get(shared).is_some_and(|last| *last >= first) {
                return Err(DecodeError::Invalid("key order"));
            }
        }
        if shared + suffix.len() > key_bytes_max {
            return Err(DecodeError::TooLarge("key"));
        }
        self.first = false;
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        Ok(Some(&self.key))
    }
}
