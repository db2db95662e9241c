//! What needs events in the order of time, over spans of time that do not overlap.
//!
//! State: spans, ascending by time: one for each state that was merged in, with what its events gave in their order
//! ([`Span`]). Spans stay apart when they are merged, because another one may still come in between; what is between them
//! is for the reader. Two spans that share a moment cannot be put in order, and of more than [`SPANS_MAX`], or of more
//! than [`WEIGHT_MAX`], nobody keeps track: the state is then *broken*, which absorbs, and its answers are errors.
//! Identity: no span. Whether any two overlap, how many there are and what they weigh depends only on the set of
//! spans, and a part never weighs more than the whole: merge is commutative and associative.
//! How events become spans depends on the producers: each sorts the events of a batch, and goes on with its last span
//! while later ones come. So equal events give equal answers when they were split by time; another split gives an error
//! and never another answer.
//! Bytes: 0 broken; else 1 + how many (varint), then the spans.

use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;

/// Most spans of a state: as many flushes and producers as a group may have had.
pub const SPANS_MAX: usize = 4_096;

/// Most that the spans of a state weigh together, about their bytes: a group is read and written whole.
pub const WEIGHT_MAX: usize = 1 << 20;

/// What the events of one span of time gave.
pub trait Span: Clone + Sized {
    /// An event's value.
    type Value;

    /// A span of one event.
    fn new(time: i64, value: Self::Value) -> Self;
    /// Adds an event that is not earlier than the last one.
    fn push(&mut self, time: i64, value: Self::Value);
    /// The first event's time, and the last one's.
    fn ends(&self) -> (i64, i64);
    /// How many events; 2^64 - 1 for any more.
    fn count(&self) -> u64;
    /// False when it has given up.
    fn is_whole(&self) -> bool {
        true
    }
    /// What it counts against [`WEIGHT_MAX`]: the same for equal spans, and never less after a push.
    fn weight(&self) -> usize;
    /// Heap bytes held.
    fn heap_bytes(&self) -> usize;
    /// Appends the canonical bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Spans; `None` when broken.
#[derive(Clone, Debug)]
pub struct Timeline<S>(Option<Vec<S>>);

impl<S> Default for Timeline<S> {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl<S: Span> Timeline<S> {
    /// Adds events, ascending by time.
    pub fn add(&mut self, events: impl IntoIterator<Item = (i64, S::Value)>) {
        let mut events = events.into_iter();
        let Some((time, value)) = events.next() else { return };
        let Some(spans) = &mut self.0 else { return };
        let follows = spans.last().is_some_and(|last| last.ends().1 <= time);
        let mut span = match spans.pop_if(|_| follows) {
            Some(mut last) => {
                last.push(time, value);
                last
            }
            None => S::new(time, value),
        };
        events.for_each(|(time, value)| span.push(time, value));
        self.insert(span);
    }

    fn insert(&mut self, span: S) {
        let Some(spans) = &mut self.0 else { return };
        let (first, last) = span.ends();
        let at = spans.partition_point(|other| other.ends().1 < first);
        let overlaps = spans.get(at).is_some_and(|next| next.ends().0 <= last);
        if overlaps || spans.len() == SPANS_MAX || !span.is_whole() {
            self.0 = None;
        } else {
            spans.insert(at, span);
            if weight(spans) > WEIGHT_MAX {
                self.0 = None;
            }
        }
    }

    /// Merges another state.
    pub fn merge(&mut self, other: &Self) {
        self.0 = match (self.0.take(), &other.0) {
            (Some(mine), Some(theirs)) => merged(mine, theirs),
            _ => None,
        };
    }

    /// The spans, ascending; `None` when broken.
    pub fn spans(&self) -> Option<&[S]> {
        self.0.as_deref()
    }

    /// How many events; `None` when broken.
    pub fn count(&self) -> Option<u64> {
        self.0.as_ref().map(|spans| spans.iter().fold(0u64, |sum, span| sum.saturating_add(span.count())))
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |spans| {
            spans.capacity() * size_of::<S>() + spans.iter().map(Span::heap_bytes).sum::<usize>()
        })
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Some(spans) = &self.0 else { return out.push(0) };
        out.put_varint(spans.len() as u64 + 1);
        spans.iter().for_each(|span| span.encode(out));
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Overlong`], [`DecodeError::TooLarge`], or [`DecodeError::Invalid`] where
    /// the bytes are no state of this shape.
    pub fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(len) = bytes.varint()?.checked_sub(1) else { return Ok(Self(None)) };
        if len > SPANS_MAX as u64 {
            return Err(DecodeError::TooLarge("spans"));
        }
        let mut spans: Vec<S> = Vec::new();
        for _ in 0..len {
            let span = S::decode(bytes)?;
            if spans.last().is_some_and(|before| before.ends().1 >= span.ends().0) {
                return Err(DecodeError::Invalid("order of spans"));
            }
            spans.push(span);
        }
        if weight(&spans) > WEIGHT_MAX {
            return Err(DecodeError::TooLarge("spans"));
        }
        Ok(Self(Some(spans)))
    }
}

fn weight<S: Span>(spans: &[S]) -> usize {
    spans.iter().map(Span::weight).sum()
}

/// Both in order; `None` when they cannot be put in order, or are too many or too large.
fn merged<S: Span>(mine: Vec<S>, theirs: &[S]) -> Option<Vec<S>> {
    let mut out = Vec::with_capacity(mine.len() + theirs.len());
    let mut theirs = theirs.iter().peekable();
    for span in mine {
        while let Some(before) = theirs.next_if(|other| other.ends().0 < span.ends().0) {
            out.push(before.clone());
        }
        out.push(span);
    }
    out.extend(theirs.cloned());
    let are_apart = out.is_sorted_by(|a, b| a.ends().1 < b.ends().0);
    (are_apart && out.len() <= SPANS_MAX && weight(&out) <= WEIGHT_MAX).then_some(out)
}

/// Microseconds from one time to a later one.
pub(super) fn elapsed(from: i64, to: i64) -> u64 {
    to.wrapping_sub(from) as u64
}

/// A later time, if there is one.
pub(super) fn later(from: i64, micros: u64) -> Result<i64, DecodeError> {
    from.checked_add_unsigned(micros).ok_or(DecodeError::Invalid("time"))
}

/// A finite double without -0.
pub(super) fn read_finite(bytes: &mut Reader<'_>) -> Result<f64, DecodeError> {
    let x = bytes.f64()?;
    if x.is_finite() && x.to_bits() != 1 << 63 { Ok(x) } else { Err(DecodeError::Invalid("value")) }
}
