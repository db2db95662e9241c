//! Events emitted before the first plan: held as they are until the schema is known.
//!
//! Invariant: bounded in bytes; what does not fit is refused and counted by the caller.

use crate::emit::KeptEvent;
use crate::ids::Micros;
use std::collections::VecDeque;

/// An event whose stream's schema is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitingEvent {
    pub event: KeptEvent,
    /// When it was emitted, local time: the hub's clock may not be known yet either.
    pub emitted: Micros,
}

/// Events in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    events: VecDeque<WaitingEvent>,
    bytes: usize,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Keeps an event; `false` when it does not fit.
    pub fn push(&mut self, event: WaitingEvent, bytes_max: usize) -> bool {
        let bytes = size_of::<Micros>() + event.event.bytes();
        if self.bytes + bytes > bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.events.push_back(event);
        true
    }

    pub fn take(&mut self) -> VecDeque<WaitingEvent> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_bounded_in_bytes() {
        let mut waiting = Waiting::default();
        let event = KeptEvent::of(&serde_json::json!({ "a": "x".repeat(100) })).expect("a row");
        let event = WaitingEvent { event, emitted: Micros(0) };
        let pushed = (0..100).filter(|_| waiting.push(event.clone(), 1_000)).count();
        assert!((4..=6).contains(&pushed), "{pushed}");
        assert_eq!((waiting.take().len(), waiting.len()), (pushed, 0));
        assert!(waiting.push(event, 1_000));
    }
}
