//! Events emitted before the first plan: held as they are until the schema is known.
//!
//! Invariant: bounded in bytes, over all emitters of a stream; what does not fit is refused and counted by the caller.

use crate::emit::KeptEvent;
use crate::ids::Micros;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An event whose stream's schema is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitingEvent {
    pub event: KeptEvent,
    /// When it was emitted, local time: the hub's clock may not be known yet either.
    pub emitted: Micros,
}

/// One emitter's events in the order of their arrival.
#[derive(Debug)]
pub(super) struct Waiting {
    events: VecDeque<WaitingEvent>,
    bytes: usize,
    /// Bytes of all emitters of the stream.
    all_bytes: Arc<AtomicUsize>,
}

impl Waiting {
    pub fn new(all_bytes: Arc<AtomicUsize>) -> Self {
        Self { events: VecDeque::new(), bytes: 0, all_bytes }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Keeps an event; `false` when it does not fit.
    pub fn push(&mut self, event: WaitingEvent, bytes_max: usize) -> bool {
        let bytes = size_of::<Micros>() + event.event.bytes();
        let before = self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > bytes_max {
            self.all_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        self.events.push_back(event);
        true
    }

    pub fn take(&mut self) -> VecDeque<WaitingEvent> {
        self.all_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was bounded for each emitter, so not at all for a program that clones one per task.
    #[test]
    fn the_buffers_of_a_stream_are_bounded_together() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut buffers = [Waiting::new(all.clone()), Waiting::new(all.clone())];
        let event = KeptEvent::of(&serde_json::json!({ "a": "x".repeat(100) })).expect("a row");
        let event = WaitingEvent { event, emitted: Micros(0) };
        let pushed = (0..100).filter(|at| buffers[at % 2].push(event.clone(), 1_000)).count();
        assert!((4..=6).contains(&pushed), "{pushed}");
        let [one, other] = &mut buffers;
        assert_eq!(one.len() + other.len(), pushed);
        let taken = one.take().len();
        assert_eq!((one.len(), taken + other.len()), (0, pushed));
        assert!(other.push(event, 1_000));
        other.take();
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
