//! What crosses the network: frames and batches.
//!
//! Owns: frame kinds, their bodies, framing bytes, batch payload bytes. Must not know: sockets, who sends
//! what when (that is [`crate::session`]).
//!
//! A frame is `0x48, kind: u8, version: u8, length: varint, body`. Control bodies are postcard of the
//! structs below (fields append-only per frame version; golden vectors hold the bytes); batch bodies are
//! hand-written canonical bytes (`FORMAT.md`).

pub mod batch;
mod batch_encode;
mod close;
mod frame;
mod lean;
#[cfg(test)]
mod tests;
mod token;

pub use close::CloseCode;
pub use frame::{
    BATCH_HEADER_BYTES_MAX, Body, FRAME_HEADER_BYTES_MAX, FRAME_MAGIC, FRAME_VERSION, Frame, FrameDecoder,
    SEQ_WINDOW, decode_control, encode_control, encode_frame, encode_frame_into,
};
pub use token::Token;

use crate::ids::{BootId, CatalogVersion, ClusterId, Epoch, Micros, Pid, RouteVersion, Seq};
use crate::plan::Plan;
use crate::schema::{Field, StreamSchema};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How safe a batch is before the hub says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AckLevel {
    /// In the primary's memory.
    Received,
    /// Fsynced at the primary.
    #[default]
    Durable,
    /// Fsynced at every in-sync replica.
    Replicated,
}

/// Frame kinds. Tags live here only; retired numbers stay, marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum FrameKind {
    /// Client: opens a session ([`Hello`]).
    Hello = 1,
    /// Hub: answers it ([`Welcome`]).
    Welcome = 2,
    /// Hub: plans changed ([`Plans`]).
    Plans = 3,
    /// Client: where was I ([`Resume`]).
    Resume = 4,
    /// Hub: what it holds ([`Resumed`]).
    Resumed = 5,
    /// Client: a batch ([`BatchFrame`]).
    Batch = 6,
    /// Hub: a batch is safe ([`Ack`]).
    Ack = 7,
    /// Hub: a batch is not taken ([`Refused`]).
    Refused = 8,
    /// Client: asks the hub's time ([`ClockRequest`]).
    ClockRequest = 9,
    /// Hub: its time ([`ClockReply`]).
    ClockReply = 10,
    /// Client: SQL ([`Query`]).
    Query = 11,
    /// Hub: columns of the answer ([`RowsHeader`]).
    RowsHeader = 12,
    /// Hub: rows of the answer ([`Rows`]).
    Rows = 13,
    /// Hub: the answer is complete ([`RowsEnd`]).
    RowsEnd = 14,
    /// Hub: a request failed ([`Failure`]).
    Failure = 15,
    /// Hub: it is going away; batches in flight are still answered ([`Goodbye`]).
    Goodbye = 16,
}

/// Opens a session. Sent again on the control stream of an open session, it replaces the list of streams and
/// is answered by a new [`Welcome`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol versions the client speaks, best first. This is version 1.
    pub versions: Vec<u16>,
    /// A key or token, when the hub asks for one.
    pub token: Option<Token>,
    /// The streams it will feed, by name. Unknown ones are listed in [`Welcome::unknown_streams`].
    pub streams: Vec<String>,
    /// Name and version of the SDK, for logs.
    pub sdk: String,
    /// What this build can evaluate: bit 0 = sketches beyond HLL and DDSketch.
    pub capabilities: u32,
}

/// The hub's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of this session.
    pub version: u16,
    /// The hub's clock.
    pub time: Micros,
    /// This start of the hub.
    pub boot: BootId,
    /// The catalog the plans are from.
    pub catalog: CatalogVersion,
    /// The route version for batches made from now on.
    pub route: RouteVersion,
    /// The strongest level this hub can give.
    pub ack_level_max: AckLevel,
    /// Limits the producer must keep.
    pub limits: SessionLimits,
    /// One per known stream.
    pub streams: Vec<StreamPlans>,
    /// Streams asked for that do not exist (yet): they arrive by [`Plans`] once created.
    pub unknown_streams: Vec<String>,
    /// The cluster: what it holds of a producer, no other cluster does.
    pub cluster: ClusterId,
}

/// Limits a hub sets for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Largest frame, bytes.
    pub frame_bytes_max: u32,
    /// Most groups in one batch.
    pub batch_groups_max: u32,
    /// Longest group key, bytes.
    pub key_bytes_max: u32,
    /// Milliseconds after its birth at which a producer must have drained.
    pub pid_lifetime_ms: u64,
}

/// A stream's schema and the plans that read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamPlans {
    /// The stream.
    pub schema: StreamSchema,
    /// One per view.
    pub plans: Vec<Plan>,
}

/// New plans, complete: a view that is not in the list is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plans {
    /// The catalog they are from.
    pub catalog: CatalogVersion,
    /// One per known stream of this session.
    pub streams: Vec<StreamPlans>,
    /// Streams asked for that do not exist.
    pub unknown_streams: Vec<String>,
}

/// Asks what the hub holds of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The producer.
    pub pid: Pid,
    /// Its lowest unacked batch.
    pub low_water: Seq,
}

/// What the hub holds (C5): every batch up to `floor`, and `floor + 1 + i` where bit `i` is set, is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The producer.
    pub pid: Pid,
    /// Everything up to here is held.
    pub floor: Seq,
    /// Bit i: `floor + 1 + i` is held.
    pub bitmap: u64,
    /// The level at which all of that is held.
    pub level: AckLevel,
    /// True when the hub has forgotten this producer or is about to: it must drain and start anew (C6).
    pub expired: bool,
}

/// A batch on the wire. Body: `pid 16 bytes, seq varint, seq - low_water u8 (below 64), route varint,
/// level u8 (bit 7: backfill), payload (the rest)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchFrame {
    /// The producer.
    pub pid: Pid,
    /// Its batch number; with `pid`, the dot.
    pub seq: Seq,
    /// The producer's lowest unacked batch (C3); `seq - low_water < 64`.
    pub low_water: Seq,
    /// The route version of the first transmission.
    pub route: RouteVersion,
    /// The level the producer waits for.
    pub level: AckLevel,
    /// History, on purpose: time buckets of any age are taken, where the hub allows it.
    pub backfill: bool,
    /// The frozen batch ([`batch`]).
    pub payload: Vec<u8>,
}

/// A batch is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The producer.
    pub pid: Pid,
    /// Its batch.
    pub seq: Seq,
    /// How safe.
    pub level: AckLevel,
    /// The primary's epoch.
    pub epoch: Epoch,
}

/// Why a batch was not taken. Tags are wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefusedCode {
    /// The bytes are not a batch, or a state in it is impossible. Sending it again is useless.
    Malformed,
    /// A limit is broken. Sending it again is useless.
    TooLarge,
    /// The producer was born in the future (more than 5 minutes).
    BornInFuture,
    /// The producer is older than the hub remembers (C6).
    Expired,
    /// The dot is known with other bytes: two outboxes share an identity. A bug or an attack.
    DotConflict,
    /// `seq` is too far above `low_water`.
    WindowExceeded,
    /// This hub is not the primary (any more); try another or later.
    NotPrimary,
    /// Out of space, or storage failed: try later.
    Unavailable,
    /// Over quota: try after `retry_after_ms`.
    Throttled,
    /// The token does not allow it.
    Unauthorized,
    /// A plan version the hub no longer knows.
    UnknownPlan,
}

impl RefusedCode {
    /// All codes, in the order of their tags.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::TooLarge,
        Self::BornInFuture,
        Self::Expired,
        Self::DotConflict,
        Self::WindowExceeded,
        Self::NotPrimary,
        Self::Unavailable,
        Self::Throttled,
        Self::Unauthorized,
        Self::UnknownPlan,
    ];

    /// True when the same batch can succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::NotPrimary | Self::Unavailable | Self::Throttled)
    }

    /// The stable text of this code in logs, metrics and JS.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::BornInFuture => "born_in_future",
            Self::Expired => "expired",
            Self::DotConflict => "dot_conflict",
            Self::WindowExceeded => "window_exceeded",
            Self::NotPrimary => "not_primary",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::UnknownPlan => "unknown_plan",
        }
    }
}

/// A batch is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The producer.
    pub pid: Pid,
    /// Its batch.
    pub seq: Seq,
    /// Why.
    pub code: RefusedCode,
    /// For people.
    pub message: String,
    /// When to try again, for retryable codes; 0 = at the client's own pace.
    pub retry_after_ms: u32,
}

/// Asks the hub's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRequest {
    /// The client's monotonic clock, echoed.
    pub sent: Micros,
}

/// The hub's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReply {
    /// As in the request.
    pub sent: Micros,
    /// The hub's clock.
    pub time: Micros,
}

/// Which states a read merges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReadLevel {
    /// Up to the commit point; never goes backwards.
    #[default]
    Replicated,
    /// Also the primary's own durable tail.
    Durable,
}

/// SQL: any statement. Sent on a bidirectional stream of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The statement.
    pub sql: String,
    /// Which states to merge.
    pub read_level: ReadLevel,
    /// A key or token.
    pub token: Option<Token>,
}

/// The columns of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsHeader {
    /// Names and types.
    pub columns: Vec<Field>,
}

/// Rows of an answer, in column order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// Each as long as the header's columns.
    pub rows: Vec<Vec<crate::value::Value>>,
}

/// The answer is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsEnd {
    /// PostgreSQL's command tag: `SELECT 3`, `CREATE VIEW`.
    pub tag: String,
    /// Rows sent.
    pub rows: u64,
}

/// A request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code, PostgreSQL's SQLSTATE for SQL errors.
    pub code: String,
    /// For people.
    pub message: String,
    /// 1-based character position in the SQL.
    pub position: Option<u32>,
    /// What to try.
    pub hint: Option<String>,
}

/// The hub is going away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// For logs.
    pub reason: String,
}
