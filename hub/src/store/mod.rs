//! Storage: ordered tables of bytes in one file, changed by atomic durable transactions.
//!
//! Owns: the table names and key bytes ([`tables`]), the redb file ([`RedbStore`]) and its memory twin
//! ([`MemoryStore`]), the data directory's marker ([`marker`]), storage errors ([`StoreError`]).
//! Must not know: what a batch, a state or a view is; nothing here decodes a value, but the file's checks ([`seal`]).
//! Invariants: a transaction is applied whole or not at all and is on disk when [`Store::write`] returns;
//! after a failed write all writes are refused until the store is opened again, while reads go on from the
//! last durable state; a snapshot never changes; a value of a table with checks ([`Table::is_checked`]) is handed out as
//! it was written, or not at all. `hub/DESIGN.md` describes tables and transactions byte by byte.

mod backend;
mod error;
pub mod marker;
mod memory;
mod redb;
pub mod seal;
pub mod tables;
mod upgrade;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod damaged;
#[cfg(test)]
mod suite;

pub use self::redb::{RedbOptions, RedbStore};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use tables::Table;

use std::ops::ControlFlow;
use std::sync::Arc;

/// What a scan or a lookup hands out: key and value, borrowed from the store.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Ordered tables of bytes. One writer; any number of readers.
pub trait Store: Send + Sync + 'static {
    /// The newest durable state. Callers keep it for at most [`SNAPSHOT_AGE_MAX`]: an old snapshot pins
    /// pages, and the file grows for good.
    ///
    /// # Errors
    /// Storage cannot be read: [`StoreError::Corrupted`], [`StoreError::Io`], ...
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Runs `body` in a transaction and makes its changes durable. When `body` fails nothing changes; when
    /// the commit fails its changes are applied fully or not at all, and writes are refused from then on.
    ///
    /// # Errors
    /// Those of `body`; [`StoreError::PreviousIo`] after a failed write, until [`Store::reopen`];
    /// [`StoreError::NoSpace`], [`StoreError::Corrupted`], [`StoreError::Io`], ... when storage fails.
    fn write(&self, body: WriteBody<'_>) -> Result<(), StoreError>;

    /// Makes writes possible again after a failure, when the device allows.
    ///
    /// # Errors
    /// Those of [`Store::snapshot`]: the device still fails, and writes stay refused.
    fn reopen(&self) -> Result<(), StoreError>;

    /// Bytes on disk (or held in memory, by the twin).
    fn file_bytes(&self) -> u64;
}

/// The body of one transaction.
pub type WriteBody<'a> = &'a mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>;

/// The longest a snapshot may live: redb frees no page that a live snapshot could read.
pub const SNAPSHOT_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// An immutable view of all tables.
pub trait Snapshot: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`], also when the store was opened without `table`; [`StoreError::Io`], ...
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits `from <= key < to` (`None` = to the end) in key order until `visit` breaks.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`], also when the store was opened without `table`; [`StoreError::Io`], ...
    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError>;
}

/// Changes in progress: sees its own.
pub trait Transaction {
    /// Calls `read` with the value of `key`; `false` when there is none.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    fn get(&self, table: Table, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError>;

    /// Visits `from <= key < to` (`None` = to the end) in key order until `visit` breaks.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError>;

    /// Sets a value.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`]; [`StoreError::NoSpace`].
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a value, if there is one.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`]; [`StoreError::NoSpace`].
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Removes at most `max` of `from <= key < to`, lowest first; returns how many.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`]; [`StoreError::NoSpace`].
    fn remove_range(&mut self, table: Table, from: &[u8], to: &[u8], max: u64) -> Result<u64, StoreError>;
}
