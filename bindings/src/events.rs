//! Session events and counters as JavaScript reads them.
//!
//! Invariant: fields are joined by NUL, and no field holds one, so that JavaScript can split them.

use alloc::vec;
use alloc::vec::Vec;
use headwater::outbox::OutboxLedger;
use headwater::session::{Event, SessionError, Transmit};
use headwater::wire::FrameKind;
use headwater::wire::batch::DropReason;

/// Joins fields by NUL; one inside of a field becomes a space.
pub fn fields(fields: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(0);
        }
        for byte in field.bytes() {
            out.push(if byte == 0 { b' ' } else { byte });
        }
    }
    out
}

/// An event without its plans; `None` for those that only counters show.
pub fn text(event: &Event) -> Option<Vec<u8>> {
    Some(match event {
        Event::Connect => fields(&["connect"]),
        Event::Connected { .. } => fields(&["open"]),
        Event::Disconnected | Event::Unresponsive => fields(&["offline"]),
        Event::Refused { code, message, .. } => fields(&["error", code.code(), message]),
        // There is no other reason to drop a batch.
        Event::Dropped { .. } => fields(&["error", "outbox_full"]),
        Event::InDoubt { .. } => fields(&["error", "in_doubt"]),
        _ => return None,
    })
}

/// How the hub broke the protocol, or ended the session: code and, where there is one, message.
pub fn session_error(error: &SessionError) -> Vec<u8> {
    let message = match error {
        SessionError::Rejected { message, .. } => message,
        SessionError::Malformed(_, cause) => cause.code(),
        _ => "",
    };
    fields(&[error.code(), message])
}

/// Batches on their way.
#[derive(Default)]
pub struct Traffic {
    sent: f64,
    bytes: f64,
    distinct: f64,
    newest: u64,
}

impl Traffic {
    /// Counts a frame and gives its bytes.
    pub fn count(&mut self, transmit: Transmit) -> Vec<u8> {
        if let headwater::session::Channel::Batch(id) = transmit.channel {
            debug_assert_eq!(transmit.kind, FrameKind::Batch);
            self.sent += 1.0;
            self.bytes += transmit.frame.len() as f64;
            if id.0 > self.newest {
                // Batches leave in the order of their ids, but for repeats.
                self.newest = id.0;
                self.distinct += 1.0;
            }
        }
        transmit.frame
    }

    /// See `Engine::counters`.
    pub fn counters(&self, ledger: &OutboxLedger) -> Vec<f64> {
        let dropped = |reason| ledger.dropped.get(reason) as f64;
        vec![
            ledger.acked_events as f64,
            ledger.held_events as f64,
            ledger.in_doubt_events as f64,
            self.sent,
            self.sent - self.distinct,
            ledger.acked_batches as f64,
            self.bytes,
            ledger.oversized_groups as f64,
            ledger.held_transmitted_events as f64,
            dropped(DropReason::OutboxFull),
            dropped(DropReason::Refused),
        ]
    }
}
