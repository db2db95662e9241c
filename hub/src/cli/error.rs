//! What ends a command, as people and scripts see it.

use crate::options::OptionsError;
use crate::server::{DoorError, HubError};
use crate::store::StoreError;
use headwater::client::{ConnectError, FlushError, QueryError};
use std::io;
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// The options cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The hub does not start.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The storage failed while the hub ran.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// There is no hub.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// A statement failed. Hint and place have lines of their own.
    #[error("{}", statement(.0))]
    Query(#[from] QueryError),
    /// Events did not become safe.
    #[error("{0}")]
    Flush(#[from] FlushError),
    /// A file cannot be read or does not fit.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
    /// Rows of a file cannot be taken.
    #[error("{0}")]
    Rows(String),
    /// The hub's storage does not take rows.
    #[error("the hub takes no rows: {0}")]
    HubStorage(String),
    /// The hub was there and is not any more.
    #[error("{0}")]
    Gone(String),
    /// The stream that rows were loaded into is not there any more.
    #[error("the stream was dropped while it was loaded, after {sent} rows; nothing more was sent")]
    StreamGone {
        /// Rows that had been sent.
        sent: u64,
    },
    /// Another hub answers where the one was that rows are loaded into.
    #[error(
        "another hub answers now: its cluster is {cluster}, and the load began in {expected}; nothing was sent to it"
    )]
    OtherHub {
        /// Whose it is.
        cluster: String,
        /// Where the load began.
        expected: String,
    },
    /// Nobody reads what is printed.
    #[error("the output was closed")]
    OutputClosed,
    /// Wrong use of the command.
    #[error("{0}")]
    Usage(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    /// A file's error.
    pub(super) fn file(path: &std::path::Path, message: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), message: message.to_string() }
    }

    /// The process's exit code; listed in `headwater --help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Options(_) | Self::Usage(_) => 2,
            Self::Connect(_)
            | Self::Gone(_)
            | Self::Query(QueryError::Disconnected(_) | QueryError::TimedOut) => 3,
            Self::Query(QueryError::Failed(_)) => 4,
            Self::Store(error) | Self::Hub(HubError::Store(error)) => storage(error),
            Self::HubStorage(message) if message.starts_with(&StoreError::NoSpace.to_string()) => 16,
            Self::HubStorage(_) => 17,
            // As a shell tells that SIGPIPE ended a program.
            Self::OutputClosed => 141,
            _ => 1,
        }
    }

    /// The end of a load that goes on when it is run again.
    pub(super) fn while_loading(self) -> Self {
        let again =
            |message: &dyn std::fmt::Display| format!("{message}; run the same command again to continue");
        match self {
            Self::HubStorage(message) => Self::HubStorage(again(&message)),
            error @ (Self::Connect(_) | Self::Gone(_)) => Self::Gone(again(&error)),
            other => Self::Other(again(&other)),
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Query(QueryError::Failed(failure)) => failure.hint.clone(),
            Self::StreamGone { .. } => {
                Some("where it was made anew, the same command loads the whole file into it".into())
            }
            Self::Connect(ConnectError::Untrusted { .. }) => Some(
                "pass the fingerprint that the hub prints as --fingerprint HEX, or the PEM file as --ca FILE"
                    .into(),
            ),
            Self::Connect(ConnectError::Unauthorized { .. }) => {
                Some("pass the hub's token as --token, or in HEADWATER_TOKEN".into())
            }
            Self::Query(QueryError::TimedOut) => {
                Some("headwater sql waits longer with --timeout SECONDS".into())
            }
            Self::Connect(ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. }) => {
                Some("start a hub with: headwater serve; or name another with --hub HOST:PORT".into())
            }
            Self::Connect(ConnectError::Resolve { .. }) => Some("name the hub with --hub HOST:PORT".into()),
            Self::Hub(HubError::Door(DoorError::Listen { source, .. })) => listen(source),
            Self::Store(StoreError::InUse(_)) | Self::Hub(HubError::Store(StoreError::InUse(_))) => {
                Some("stop the other hub, or choose another directory with --data-dir".into())
            }
            _ => None,
        }
    }
}

fn statement(error: &QueryError) -> String {
    match error {
        QueryError::Failed(failure) => format!("{} ({})", failure.message, failure.code),
        other => other.to_string(),
    }
}

/// What to do about an address that cannot be listened on.
fn listen(error: &io::Error) -> Option<String> {
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has this port, perhaps a hub (headwater status asks one); stop it, or choose another with \
             --listen IP:PORT (for HTTP alone: --listen-http, for PostgreSQL's protocol: --pg-listen)"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; --listen 0.0.0.0:PORT takes all it has".into()
        }
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --listen IP:PORT".into(),
        _ => return None,
    })
}

fn storage(error: &StoreError) -> u8 {
    match error {
        StoreError::InUse(_) => 10,
        StoreError::ReadOnly(_) => 11,
        StoreError::NotADataDirectory { .. } => 12,
        StoreError::Corrupted(_) => 13,
        StoreError::FormatTooNew { .. } => 14,
        StoreError::FormatTooOld { .. } => 15,
        StoreError::NoSpace => 16,
        _ => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_failures_have_codes_of_their_own() {
        let codes: Vec<u8> = [
            StoreError::InUse("d".into()),
            StoreError::ReadOnly("d".into()),
            StoreError::Corrupted("x".into()),
            StoreError::FormatTooNew { found: 9, known: 1 },
            StoreError::NoSpace,
        ]
        .into_iter()
        .map(|error| CliError::from(HubError::from(error)).exit_code())
        .collect();
        assert_eq!(codes, [10, 11, 13, 14, 16]);
    }
}
