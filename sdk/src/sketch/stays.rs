//! A span of a thing that is in one state at a time, and how long it was in each.
//!
//! Holds the first and the last event's time, the last one's state, and for every state the microseconds until the next
//! event. A span of more than [`STATES_MAX`] states gives up. Bytes: varint number of events; the first one's time
//! (zigzag); varint number of states, then for each, ascending: blob, varint microseconds; the position of the last
//! event's state among them (varint). One event has its state as a blob, and nothing more.

use super::key::Key;
use super::timeline::{Span, elapsed, later};
use crate::codec::{DecodeError, Reader, Writer};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Most states of a span.
pub const STATES_MAX: usize = 1_000;

/// Events of a span of time, summed up.
#[derive(Clone, Debug)]
pub struct Stays {
    first: i64,
    last: i64,
    count: u64,
    state: Key,
    stays: BTreeMap<Key, u64>,
}

impl Span for Stays {
    type Value = Key;

    fn new(time: i64, state: Key) -> Self {
        let stays = BTreeMap::from([(state.clone(), 0)]);
        Self { first: time, last: time, count: 1, state, stays }
    }

    fn push(&mut self, time: i64, state: Key) {
        // No sum of distances passes the distance of the ends.
        *self.stays.entry(self.state.clone()).or_default() += elapsed(self.last, time);
        self.stays.entry(state.clone()).or_default();
        (self.last, self.state) = (time, state);
        self.count = self.count.saturating_add(1);
    }

    fn ends(&self) -> (i64, i64) {
        (self.first, self.last)
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn is_whole(&self) -> bool {
        self.stays.len() <= STATES_MAX
    }

    fn weight(&self) -> usize {
        // Of the texts, their microseconds and lengths, and what stands before them.
        24 + self.stays.keys().map(|state| state.as_bytes().len() + 12).sum::<usize>()
    }

    fn heap_bytes(&self) -> usize {
        let node = size_of::<(Key, u64)>();
        self.stays.keys().map(|state| node + state.heap_bytes()).sum::<usize>() + self.state.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.count);
        out.put_zigzag(self.first);
        if self.count == 1 {
            return out.put_blob(self.state.as_bytes());
        }
        out.put_varint(self.stays.len() as u64);
        for (state, micros) in &self.stays {
            out.put_blob(state.as_bytes());
            out.put_varint(*micros);
        }
        out.put_varint(self.stays.keys().take_while(|state| **state < self.state).count() as u64);
    }

    fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("states");
        let count = bytes.varint()?;
        let first = bytes.zigzag()?;
        if count == 1 {
            return Ok(Self::new(first, read_state(bytes)?));
        }
        let len = bytes.count(2, STATES_MAX)?;
        let (mut stays, mut micros) = (BTreeMap::new(), 0u64);
        for _ in 0..len {
            let state = read_state(bytes)?;
            if stays.last_key_value().is_some_and(|(before, _)| *before >= state) {
                return Err(WRONG);
            }
            let stay = bytes.varint()?;
            micros = micros.checked_add(stay).ok_or(WRONG)?;
            stays.insert(state, stay);
        }
        let at = usize::try_from(bytes.varint()?).map_err(|_| WRONG)?;
        let state = stays.keys().nth(at).ok_or(WRONG)?.clone();
        if count < len as u64 || count == 0 {
            return Err(WRONG);
        }
        Ok(Self { first, last: later(first, micros)?, count, state, stays })
    }
}

fn read_state(bytes: &mut Reader<'_>) -> Result<Key, DecodeError> {
    bytes.text(usize::MAX).map(|state| state.as_bytes().into())
}

impl Stays {
    /// The states, ascending.
    pub fn states(&self) -> impl Iterator<Item = &[u8]> {
        self.stays.keys().map(Key::as_bytes)
    }

    /// How long each state lasted over spans, ascending, and between them: until the next event.
    pub fn durations(spans: &[Self]) -> BTreeMap<&[u8], u64> {
        let mut all: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut before: Option<&Self> = None;
        for span in spans {
            for (state, micros) in &span.stays {
                *all.entry(state.as_bytes()).or_default() += micros;
            }
            if let Some(before) = before {
                *all.entry(before.state.as_bytes()).or_default() += elapsed(before.last, span.first);
            }
            before = Some(span);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::timeline::{Timeline, WEIGHT_MAX};
    use alloc::format;

    /// A group of regular events grew to 4 GB: 4,096 spans of 1,000 states of 1 KiB.
    #[test]
    fn what_all_spans_hold_is_bounded_in_any_order() {
        let span = |at: i64| {
            let mut timeline = Timeline::<Stays>::default();
            let text = |i: i64| format!("{i:0>1000}");
            timeline.add((0..100).map(|i| (at * 1_000 + i, Key::from(text(i).as_bytes()))));
            timeline
        };
        let parts: Vec<_> = (0..11).map(span).collect();
        let merge = |order: &mut dyn Iterator<Item = usize>| {
            let mut all = Timeline::default();
            order.for_each(|at| all.merge(&parts[at]));
            all
        };
        assert_eq!(merge(&mut (0..10)).count(), Some(1_000), "ten are about a megabyte");
        assert!(parts[0].heap_bytes() * 11 > WEIGHT_MAX);
        assert_eq!(merge(&mut (0..11)).count(), None);
        assert_eq!(merge(&mut (0..11).rev()).count(), None);
        let (mut left, right) = (merge(&mut (0..5)), merge(&mut (5..11)));
        left.merge(&right);
        assert_eq!(left.count(), None);
        let mut bytes = Vec::new();
        left.encode(&mut bytes);
        assert_eq!(bytes, [0]);
    }
}
