//! The disk spool: an outbox in a redb file that outlives its process.
//!
//! Owns: the file, its tables, its format number. Must not know: what batches mean, when they are sent.
//! Invariants: one process at a time (redb's lock on the file); one transaction per commit, fsynced; after a
//! failed write the spool refuses everything until it is opened again.

use crate::codec::{Reader, Writer};
use crate::ids::{Pid, RouteVersion, Seq};
use crate::outbox::{BatchId, Saved, SavedBatch, Spool, SpoolError, SpoolOp};
use crate::wire::batch::LedgerDelta;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::path::{Path, PathBuf};

/// `format` -> number; `pid` -> 16 bytes.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta-1");
/// Batch id -> seq varint, events varint, length varint, route + 1 varint (0 = not transmitted), and what it
/// reports as in a payload (`FORMAT.md`, "Batches": events, here 0, drops and doubts); nothing when that is nothing.
const BATCHES: TableDefinition<u64, &[u8]> = TableDefinition::new("batches-1");
/// Batch id -> payload.
const PAYLOADS: TableDefinition<u64, &[u8]> = TableDefinition::new("payloads-1");
/// What this version writes, and the newest it reads.
const FORMAT: u64 = 1;

/// redb's cache: the spool is written once and seldom read.
const CACHE_BYTES: usize = 4 << 20;

/// A spool in a file.
#[derive(Debug)]
pub struct DiskSpool {
    path: PathBuf,
    /// `None` when it could not be opened again.
    database: Option<Database>,
    failed: bool,
}

impl DiskSpool {
    /// Opens or makes the file at `path`.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        let mut spool = Self { path: path.to_owned(), database: None, failed: true };
        spool.reopen()?;
        Ok(spool)
    }

    fn database(path: &Path) -> Result<Database, SpoolError> {
        #[cfg(test)]
        tests::fail_if_planted(path)?;
        Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => SpoolError::InUse(path.display().to_string()),
            DatabaseError::UpgradeRequired(version) => {
                SpoolError::Corrupted(format!("redb file version {version}"))
            }
            DatabaseError::Storage(redb::StorageError::Corrupted(message)) => SpoolError::Corrupted(message),
            error => SpoolError::Io(error.to_string()),
        })
    }

    #[cfg(test)]
    fn with_database(database: Database) -> Result<Self, SpoolError> {
        let spool = Self { path: PathBuf::new(), database: Some(database), failed: false };
        spool.check_format()?;
        Ok(spool)
    }

    fn opened(&self) -> Result<&Database, SpoolError> {
        self.database.as_ref().ok_or_else(|| SpoolError::Io("it could not be opened again".into()))
    }

    fn check_format(&self) -> Result<(), SpoolError> {
        let transaction = self.opened()?.begin_write().map_err(io)?;
        {
            let mut meta = transaction.open_table(META).map_err(io)?;
            let found = meta.get("format").map_err(io)?.map(|bytes| Reader::new(bytes.value()).varint());
            match found.transpose()? {
                None => {
                    let mut bytes = Vec::new();
                    bytes.put_varint(FORMAT);
                    meta.insert("format", bytes.as_slice()).map_err(io)?;
                }
                Some(FORMAT) => {}
                Some(newer) => return Err(SpoolError::TooNew(newer)),
            }
            transaction.open_table(BATCHES).map_err(io)?;
            transaction.open_table(PAYLOADS).map_err(io)?;
        }
        transaction.commit().map_err(io)
    }

    fn write(&self, ops: &[SpoolOp]) -> Result<(), SpoolError> {
        #[cfg(test)]
        if ops.iter().any(|op| matches!(op, SpoolOp::Put { .. })) {
            tests::fail_if_planted(&self.path)?;
        }
        let transaction = self.opened()?.begin_write().map_err(io)?;
        ops.iter().try_for_each(|op| apply(&transaction, op))?;
        transaction.commit().map_err(io)
    }
}

impl Spool for DiskSpool {
    fn load(&mut self) -> Result<Saved, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(io)?;
        let meta = transaction.open_table(META).map_err(io)?;
        let pid = match meta.get("pid").map_err(io)? {
            Some(bytes) => Some(Pid(Reader::new(bytes.value()).array()?)),
            None => None,
        };
        let mut batches = Vec::new();
        for row in transaction.open_table(BATCHES).map_err(io)?.iter().map_err(io)? {
            let (id, bytes) = row.map_err(io)?;
            batches.push(decode(BatchId(id.value()), bytes.value())?);
        }
        if batches.windows(2).any(|pair| pair[0].seq >= pair[1].seq) || (pid.is_none() && !batches.is_empty())
        {
            return Err(SpoolError::Corrupted("batches are out of order".into()));
        }
        Ok(Saved { pid, batches })
    }

    fn commit(&mut self, ops: &[SpoolOp]) -> Result<(), SpoolError> {
        if self.failed {
            return Err(SpoolError::Io("an earlier write failed".into()));
        }
        let result = self.write(ops);
        self.failed = result.is_err();
        result
    }

    fn payload(&mut self, id: BatchId) -> Result<Vec<u8>, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(io)?;
        let payloads = transaction.open_table(PAYLOADS).map_err(io)?;
        let payload = payloads.get(id.0).map_err(io)?.ok_or(SpoolError::Missing)?;
        Ok(payload.value().to_vec())
    }

    fn reopen(&mut self) -> Result<Saved, SpoolError> {
        // One handle at a time: the file is locked by the old one.
        self.database = None;
        self.database = Some(Self::database(&self.path)?);
        self.check_format()?;
        self.failed = false;
        self.load()
    }
}

fn apply(transaction: &WriteTransaction, op: &SpoolOp) -> Result<(), SpoolError> {
    let mut batches = transaction.open_table(BATCHES).map_err(io)?;
    match op {
        SpoolOp::Put { id, seq, events, report, payload } => {
            let (report, bytes) = (report.clone(), payload.len());
            let saved = SavedBatch { id: *id, seq: *seq, events: *events, report, bytes, route: None };
            batches.insert(id.0, encode(&saved).as_slice()).map_err(io)?;
            let mut payloads = transaction.open_table(PAYLOADS).map_err(io)?;
            payloads.insert(id.0, &**payload).map_err(io)?;
        }
        SpoolOp::Transmit { id, route } => {
            let mut saved = find(&batches, *id)?;
            saved.route = Some(*route);
            batches.insert(id.0, encode(&saved).as_slice()).map_err(io)?;
        }
        SpoolOp::Redot { pid, dots } => {
            transaction.open_table(META).map_err(io)?.insert("pid", pid.0.as_slice()).map_err(io)?;
            let kept: Result<Vec<SavedBatch>, SpoolError> = dots
                .iter()
                .map(|(id, seq)| Ok(SavedBatch { seq: *seq, route: None, ..find(&batches, *id)? }))
                .collect();
            let kept = kept?;
            let is_kept = |id: u64| dots.binary_search_by_key(&id, |(kept, _)| kept.0).is_ok();
            batches.retain(|id, _| is_kept(id)).map_err(io)?;
            transaction.open_table(PAYLOADS).map_err(io)?.retain(|id, _| is_kept(id)).map_err(io)?;
            for saved in kept {
                batches.insert(saved.id.0, encode(&saved).as_slice()).map_err(io)?;
            }
        }
        SpoolOp::Remove { id } => {
            batches.remove(id.0).map_err(io)?;
            transaction.open_table(PAYLOADS).map_err(io)?.remove(id.0).map_err(io)?;
        }
    }
    Ok(())
}

fn find(batches: &impl ReadableTable<u64, &'static [u8]>, id: BatchId) -> Result<SavedBatch, SpoolError> {
    let bytes = batches.get(id.0).map_err(io)?.ok_or(SpoolError::Missing)?;
    decode(id, bytes.value())
}

fn encode(saved: &SavedBatch) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(saved.seq.0);
    out.put_varint(saved.events);
    out.put_varint(saved.bytes as u64);
    out.put_varint(saved.route.map_or(0, |route| u64::from(route.0) + 1));
    if !saved.report.is_empty() {
        saved.report.encode(&mut out);
    }
    out
}

fn decode(id: BatchId, bytes: &[u8]) -> Result<SavedBatch, SpoolError> {
    let mut reader = Reader::new(bytes);
    let (seq, events) = (Seq(reader.varint()?), reader.varint()?);
    let length =
        usize::try_from(reader.varint()?).map_err(|_| SpoolError::Corrupted("batch length".into()))?;
    let route = match reader.varint()? {
        0 => None,
        route => {
            let route =
                u32::try_from(route - 1).map_err(|_| SpoolError::Corrupted("route version".into()))?;
            Some(RouteVersion(route))
        }
    };
    let has_report = !reader.is_empty();
    let report = if has_report { LedgerDelta::decode(&mut reader)? } else { LedgerDelta::default() };
    reader.finish()?;
    Ok(SavedBatch { id, seq, events, report, bytes: length, route })
}

fn io(error: impl Into<redb::Error>) -> SpoolError {
    match error.into() {
        redb::Error::Corrupted(message) => SpoolError::Corrupted(message),
        error => SpoolError::Io(error.to_string()),
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
pub(super) mod tests;
