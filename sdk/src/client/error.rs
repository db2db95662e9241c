//! What can go wrong, one small enum per operation.

use crate::outbox::SpoolError;
use crate::session::SessionError;
use crate::wire::Failure;
use std::fmt;
use thiserror::Error;

/// Why there is no connection. Its text says which hub, what is wrong and what to do, and so does its `Debug`, which
/// is what a `main` prints that returns it.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options do not fit together, or name no hub.
    #[error("invalid options: {0}")]
    Options(String),
    /// A host has no address.
    #[error("cannot find the address of {host}: {message}: check its name, and that names resolve here")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        message: String,
    },
    /// No socket can be opened here.
    #[error("cannot open a socket: {0}")]
    Socket(String),
    /// The TLS settings cannot be used.
    #[error("cannot use the tls settings: {0}")]
    Tls(String),
    /// The hub's certificate is not trusted.
    #[error("the certificate of the hub at {address} is not trusted: {message}")]
    Untrusted {
        /// The hub's address, as the options have it.
        address: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The hub asks for a token, or does not accept this one.
    #[error(
        "the hub at {address} does not let this client in: {message}: set one of its tokens (HEADWATER_TOKEN)"
    )]
    Unauthorized {
        /// The hub's address, as the options have it.
        address: String,
        /// The hub's words.
        message: String,
    },
    /// The hub could not be reached, or the connection broke.
    #[error("cannot reach the hub at {address}: {message}")]
    Unreachable {
        /// The hub's address, as the options have it.
        address: String,
        /// Why.
        message: String,
    },
    /// The hub has no place for one more connection, in all or from this network address, or is going away. A client
    /// tries again by itself, and keeps its events until then.
    #[error(
        "the hub at {address} has no place for this connection: it has as many as it takes (connections_max), as many \
         from this network address (address_connections_max), or is shutting down"
    )]
    Busy {
        /// The hub's address, as the options have it.
        address: String,
    },
    /// The hub did not answer in time.
    #[error(
        "no answer from {address} within the time given: check host and port, that a hub runs there, and that UDP \
         gets through"
    )]
    TimedOut {
        /// The address, or all of them, as the options have them.
        address: String,
    },
    /// The hub refused the session or broke the protocol.
    #[error("no session with the hub at {address}: {source}")]
    Session {
        /// The hub's address, as the options have it.
        address: String,
        /// What was wrong.
        source: SessionError,
    },
    /// The disk spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The hub has no such stream.
    #[error("the hub has no stream {0}: make it with CREATE STREAM, or check its name")]
    UnknownStream(String),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.code())
    }
}

impl ConnectError {
    /// The stable code of this error.
    pub fn code(&self) -> &str {
        match self {
            Self::Options(_) => "options",
            Self::Resolve { .. } => "resolve",
            Self::Socket(_) => "socket",
            Self::Tls(_) => "tls",
            Self::Untrusted { .. } => "untrusted",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Unreachable { .. } => "unreachable",
            Self::Busy { .. } => "busy",
            Self::TimedOut { .. } => "timed_out",
            Self::Session { source, .. } => source.code(),
            Self::Spool(error) => error.code(),
            Self::UnknownStream(_) => "unknown_stream",
            Self::Closed => "closed",
        }
    }
}

/// Why a flush did not end with everything safe. `Debug` is the text, with its code.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Something was given up while waiting: dropped, refused or in doubt. The rest is safe.
    #[error("events dropped: {dropped}, in doubt: {in_doubt}; Client::stats says why")]
    Lost {
        /// Events dropped.
        dropped: u64,
        /// Events in doubt.
        in_doubt: u64,
    },
    /// The disk spool failed: events that it has are sent by the next process that opens it. The rest is safe.
    #[error(
        "{events} events are left in the disk spool, which failed, for the next process that opens it: make room on \
         its disk"
    )]
    LeftInSpool {
        /// How many.
        events: u64,
    },
    /// Groups that no batch can hold were left out of their views. Everything else is safe.
    #[error(
        "{groups} groups are too large for a batch and were left out of their views: keep shorter keys, or less in \
         their states"
    )]
    Oversized {
        /// How many groups, over all views.
        groups: u64,
    },
    /// Events wait for streams that the hub does not have.
    #[error("the hub has no stream {}: make it with CREATE STREAM, or check its name", .0.join(", "))]
    UnknownStreams(Vec<String>),
    /// The client was closed before it was done.
    #[error("the client is closed")]
    Closed,
}

impl fmt::Debug for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.code())
    }
}

impl FlushError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Oversized { .. } => "oversized",
            Self::LeftInSpool { .. } => "left_in_spool",
            Self::UnknownStreams(_) => "unknown_stream",
            Self::Closed => "closed",
        }
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The hub refused or failed the statement.
    #[error("{}", told(.0))]
    Failed(Failure),
    /// The answer is larger than the client takes.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The hub's answer makes no sense.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// A row does not fit the type asked for.
    #[error("row {row}: {message}")]
    Row {
        /// Which, from 0.
        row: usize,
        /// Why.
        message: String,
    },
    /// There is no connection, or it broke. The statement may have been executed.
    #[error("no connection to the hub: {0}")]
    Disconnected(String),
    /// No answer in time. The statement may have been executed.
    #[error("no answer within the time given")]
    TimedOut,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// A hub's words, with place and hint where it gave them.
fn told(failure: &Failure) -> String {
    let Failure { code, message, position, hint } = failure;
    let position = position.map_or(String::new(), |position| format!(" at character {position}"));
    let hint = hint.as_ref().map_or(String::new(), |hint| format!("; hint: {hint}"));
    format!("{message} ({code}){position}{hint}")
}

impl QueryError {
    /// The stable code of this error; SQLSTATE when the hub gave one.
    pub fn code(&self) -> &str {
        match self {
            Self::Failed(failure) => &failure.code,
            Self::TooLarge(_) => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Row { .. } => "row",
            Self::Disconnected(_) => "disconnected",
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
        }
    }
}
