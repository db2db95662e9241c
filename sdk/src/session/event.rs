//! What a session tells its driver.

use crate::codec::DecodeError;
use crate::ids::{BootId, Micros};
use crate::outbox::{BatchId, SpoolOp};
use crate::wire::batch::DropReason;
use crate::wire::{AckLevel, FrameKind, Plans, RefusedCode};
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The control stream; over HTTP the request that the frame's kind names.
    Control,
    /// A stream or request of its own, whose answers belong to this batch.
    Batch(BatchId),
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where.
    pub channel: Channel,
    /// What it is.
    pub kind: FrameKind,
    /// All its bytes.
    pub frame: Vec<u8>,
}

/// A request to storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolRequest {
    /// Make these changes durable as one, then call `handle_committed`. The next one comes only after that.
    Commit(Vec<SpoolOp>),
    /// Read these bytes, then call `handle_loaded`.
    Load(BatchId),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Connect now, to the next address; answer by `handle_connected` or `handle_disconnected`.
    Connect,
    /// A session is open.
    Connected {
        /// The hub's start.
        boot: BootId,
        /// The strongest level it gives.
        level_max: AckLevel,
    },
    /// The session ended; it is opened again by itself.
    Disconnected,
    /// The hub did not answer Hello: end the connection. The session is already offline.
    Unresponsive,
    /// The hub is going away: connect to another when this connection ends.
    Goodbye {
        /// For logs.
        reason: String,
    },
    /// The plans in force, complete.
    Plans(Plans),
    /// Batches left the outbox acked.
    Acked {
        /// How many.
        batches: u64,
        /// Their events.
        events: u64,
    },
    /// Batches were dropped to make room.
    Dropped {
        /// How many.
        batches: u64,
        /// Why.
        reason: DropReason,
    },
    /// The hub refused a batch for good; its events are counted as dropped.
    Refused {
        /// Why.
        code: RefusedCode,
        /// For people.
        message: String,
        /// Its events.
        events: u64,
    },
    /// The hub cannot take a batch now.
    Retrying {
        /// Why.
        code: RefusedCode,
        /// When it is tried again.
        until: Micros,
    },
    /// Batches are in doubt (C6).
    InDoubt {
        /// How many.
        batches: u64,
        /// Their events.
        events: u64,
    },
}

/// How the peer broke the protocol, or ended the session.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A frame's bytes are wrong.
    #[error("{0:?} frame: {1}")]
    Malformed(FrameKind, DecodeError),
    /// A frame that has no place here.
    #[error("unexpected {0:?} frame")]
    Unexpected(FrameKind),
    /// The hub chose a protocol version that was not offered.
    #[error("hub speaks protocol version {0}")]
    Version(u16),
    /// The hub refused the session.
    #[error("{message} ({code})")]
    Rejected {
        /// The hub's code.
        code: String,
        /// For people.
        message: String,
    },
}

impl SessionError {
    /// The stable code of this error.
    pub fn code(&self) -> &str {
        match self {
            Self::Malformed(..) => "malformed",
            Self::Unexpected(_) => "unexpected_frame",
            Self::Version(_) => "protocol_version",
            Self::Rejected { code, .. } => code,
        }
    }
}
