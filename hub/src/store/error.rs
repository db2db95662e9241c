//! Why a store could not be opened, read or written.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A storage failure. Cheap to clone: one failure is told to everybody who waits.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process (or another handle of this one) has the file open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory or file cannot be written by this user, or its file system is read-only.
    #[error("{} is read-only: headwater needs to write there", .0.display())]
    ReadOnly(PathBuf),
    /// The directory holds something else, so nothing was written into it.
    #[error("{} is not a headwater data directory: {detail}", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The bytes break the format: a damaged disk, a truncated copy, or another program wrote there.
    #[error("storage is corrupted: {0}; restore it from a backup or a replica")]
    Corrupted(String),
    /// Written by a newer headwater.
    #[error("data has format {found}, this program reads up to {known}: use a newer headwater")]
    FormatTooNew {
        /// In the data.
        found: u32,
        /// The newest this program reads.
        known: u32,
    },
    /// Written by a headwater so old that this one cannot read it.
    #[error("data has format {found}, this program reads from {known} on: upgrade step by step")]
    FormatTooOld {
        /// In the data.
        found: u32,
        /// The oldest this program reads.
        known: u32,
    },
    /// The disk or the quota is full.
    #[error("no space left on the device")]
    NoSpace,
    /// An earlier write failed: writes are refused until the store is opened again.
    #[error("writes are stopped after an earlier storage failure")]
    PreviousIo,
    /// The store's owner has shut down.
    #[error("storage is closed")]
    Closed,
    /// Any other failure of the operating system.
    #[error("storage i/o failed: {message}")]
    Io {
        /// What kind.
        kind: io::ErrorKind,
        /// The system's words.
        message: String,
    },
}

impl StoreError {
    /// The stable text of this error in logs, metrics and exit messages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse(_) => "storage_in_use",
            Self::ReadOnly(_) => "storage_read_only",
            Self::NotADataDirectory { .. } => "not_a_data_directory",
            Self::Corrupted(_) => "storage_corrupted",
            Self::FormatTooNew { .. } => "storage_format_too_new",
            Self::FormatTooOld { .. } => "storage_format_too_old",
            Self::NoSpace => "storage_no_space",
            Self::PreviousIo => "storage_previous_failure",
            Self::Closed => "storage_closed",
            Self::Io { .. } => "storage_io",
        }
    }

    /// A failure at a path: permission problems become [`StoreError::ReadOnly`].
    pub fn at(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly(path.to_owned())
            }
            _ => match Self::from_io(error) {
                Self::Io { kind, message } => {
                    Self::Io { kind, message: format!("{}: {message}", path.display()) }
                }
                other => other,
            },
        }
    }

    /// A failure without a path.
    pub fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace
            }
            kind => Self::Io { kind, message: error.to_string() },
        }
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(e) if is_foreign(&e) => Self::Corrupted(e.to_string()),
            redb::StorageError::Io(e) => Self::from_io(&e),
            redb::StorageError::Corrupted(detail) => Self::Corrupted(detail),
            redb::StorageError::PreviousIo => Self::PreviousIo,
            redb::StorageError::DatabaseClosed => Self::Closed,
            other => Self::Io { kind: io::ErrorKind::Other, message: other.to_string() },
        }
    }
}

/// redb reports a file that is not its own, or is cut short, as an ordinary I/O error.
fn is_foreign(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

impl From<redb::DatabaseError> for StoreError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(e) => e.into(),
            redb::DatabaseError::UpgradeRequired(found) => {
                Self::FormatTooOld { found: found.into(), known: 3 }
            }
            other => Self::Corrupted(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(e) => e.into(),
            other => Self::Io { kind: io::ErrorKind::Other, message: other.to_string() },
        }
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(e) => e.into(),
            other => Self::Corrupted(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(e) => e.into(),
            other => Self::Io { kind: io::ErrorKind::Other, message: other.to_string() },
        }
    }
}
