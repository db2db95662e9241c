//! The disk spool: an outbox in a redb file that outlives its process.
//!
//! Owns: the file, its tables, its format number. Must not know: what batches mean, when they are sent.
//! Invariants: one process at a time (redb's lock on the file); one transaction per commit, fsynced; after a
//! failed write the spool refuses everything until it is opened again; no byte that comes out is another than went
//! in (`FORMAT.md`, "The disk spool"); damage that makes redb panic is an error as well.

mod rows;

use crate::codec::{Reader, Writer};
use crate::ids::{Pid, Seq};
use crate::outbox::{BatchId, Saved, SavedBatch, Spool, SpoolError, SpoolOp};
use crate::wire::batch::payload_hash;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use rows::{Row, seal, unseal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// `format` and `pid`, sealed.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta-1");
/// Batch id -> [`Row`], sealed.
const BATCHES: TableDefinition<u64, &[u8]> = TableDefinition::new("batches-2");
/// Batch id -> payload.
const PAYLOADS: TableDefinition<u64, &[u8]> = TableDefinition::new("payloads-1");
const FORMAT_KEY: &str = "format";
const PID_KEY: &str = "pid";
/// What this version reads and writes.
const FORMAT: u64 = 2;
/// The row `format` of the first format, which had no seals.
const FORMAT_1_ROW: &[u8] = &[1];

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
    ///
    /// # Errors
    /// [`SpoolError::InUse`], [`SpoolError::Io`] when the file cannot be opened, [`SpoolError::Corrupted`] when it
    /// makes no sense, [`SpoolError::TooOld`] or [`SpoolError::TooNew`] when another version wrote it.
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
            error => io(error),
        })
    }

    /// Runs one operation. redb panics about some damaged pages; what it leaves behind is not used again.
    fn guarded<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        catch_unwind(AssertUnwindSafe(|| operation(self))).unwrap_or_else(|_| {
            self.failed = true;
            self.close();
            Err(SpoolError::Corrupted("redb cannot read a page".into()))
        })
    }

    fn close(&mut self) {
        let database = self.database.take();
        // What redb has to say about a damaged file was said; closing it is all that is left to do.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    #[cfg(test)]
    fn with_database(open: impl FnOnce() -> Result<Database, SpoolError>) -> Result<Self, SpoolError> {
        let mut spool = Self { path: PathBuf::new(), database: None, failed: true };
        spool.guarded(|spool| spool.start(open()?))?;
        Ok(spool)
    }

    fn start(&mut self, database: Database) -> Result<Saved, SpoolError> {
        self.database = Some(database);
        self.check_format()?;
        self.failed = false;
        self.read()
    }

    fn opened(&self) -> Result<&Database, SpoolError> {
        self.database.as_ref().ok_or_else(|| SpoolError::Io("it could not be opened again".into()))
    }

    fn check_format(&self) -> Result<(), SpoolError> {
        let transaction = self.opened()?.begin_write().map_err(io)?;
        {
            let mut meta = transaction.open_table(META).map_err(io)?;
            let found = meta.get(FORMAT_KEY).map_err(io)?.map(|row| check_format_row(row.value()));
            let batches = transaction.open_table(BATCHES).map_err(io)?.len().map_err(io)?;
            let payloads = transaction.open_table(PAYLOADS).map_err(io)?.len().map_err(io)?;
            match found {
                Some(found) => found?,
                None if meta.is_empty().map_err(io)? && batches == 0 && payloads == 0 => {
                    let mut number = Vec::new();
                    number.put_varint(FORMAT);
                    let row = seal(FORMAT_KEY.as_bytes(), &number);
                    meta.insert(FORMAT_KEY, row.as_slice()).map_err(io)?;
                }
                None => return Err(SpoolError::Corrupted("its format is missing".into())),
            }
            if batches != payloads {
                return Err(SpoolError::Corrupted("batches or payloads are missing".into()));
            }
        }
        transaction.commit().map_err(io)
    }

    fn read(&self) -> Result<Saved, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(io)?;
        let meta = transaction.open_table(META).map_err(io)?;
        let pid = match meta.get(PID_KEY).map_err(io)? {
            Some(row) => {
                let mut reader = Reader::new(unseal(PID_KEY.as_bytes(), row.value())?);
                let pid = Pid(reader.array()?);
                reader.finish()?;
                Some(pid)
            }
            None => None,
        };
        let table = transaction.open_table(BATCHES).map_err(io)?;
        let mut batches = Vec::new();
        for row in table.iter().map_err(io)? {
            let (id, bytes) = row.map_err(io)?;
            batches.push(Row::decode(BatchId(id.value()), bytes.value())?.saved);
        }
        if batches.len() as u64 != table.len().map_err(io)? {
            return Err(SpoolError::Corrupted("batches are missing".into()));
        }
        if batches.windows(2).any(|pair| pair[0].seq >= pair[1].seq) || (pid.is_none() && !batches.is_empty())
        {
            return Err(SpoolError::Corrupted("batches are out of order".into()));
        }
        Ok(Saved { pid, batches })
    }

    fn read_payload(&self, id: BatchId) -> Result<Vec<u8>, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(io)?;
        let row = find(&transaction.open_table(BATCHES).map_err(io)?, id)?;
        let payloads = transaction.open_table(PAYLOADS).map_err(io)?;
        let payload = payloads.get(id.0).map_err(io)?.ok_or(SpoolError::Missing)?.value().to_vec();
        if payload_hash(&payload) != row.payload_hash {
            return Err(SpoolError::Corrupted("a payload has another checksum".into()));
        }
        Ok(payload)
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

impl Drop for DiskSpool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Spool for DiskSpool {
    fn load(&mut self) -> Result<Saved, SpoolError> {
        self.guarded(|spool| spool.read())
    }

    fn commit(&mut self, ops: &[SpoolOp]) -> Result<(), SpoolError> {
        if self.failed {
            return Err(SpoolError::Io("an earlier write failed".into()));
        }
        let result = self.guarded(|spool| spool.write(ops));
        self.failed = result.is_err();
        result
    }

    fn payload(&mut self, id: BatchId) -> Result<Vec<u8>, SpoolError> {
        self.guarded(|spool| spool.read_payload(id))
    }

    fn reopen(&mut self) -> Result<Saved, SpoolError> {
        // One handle at a time: the file is locked by the old one.
        self.close();
        self.guarded(|spool| {
            let database = Self::database(&spool.path)?;
            spool.start(database)
        })
    }
}

/// The rule for every format from the second on: a varint, and a seal at the end.
fn check_format_row(row: &[u8]) -> Result<(), SpoolError> {
    if row == FORMAT_1_ROW {
        return Err(SpoolError::TooOld(1));
    }
    match Reader::new(unseal(FORMAT_KEY.as_bytes(), row)?).varint()? {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(SpoolError::TooNew(newer)),
        older => Err(SpoolError::TooOld(older)),
    }
}

fn apply(transaction: &WriteTransaction, op: &SpoolOp) -> Result<(), SpoolError> {
    let mut batches = transaction.open_table(BATCHES).map_err(io)?;
    match op {
        SpoolOp::Put { id, seq, events, report, payload } => {
            let (report, bytes) = (report.clone(), payload.len());
            let saved = SavedBatch { id: *id, seq: *seq, events: *events, report, bytes, route: None };
            let row = Row { saved, payload_hash: payload_hash(payload) };
            batches.insert(id.0, row.encode().as_slice()).map_err(io)?;
            let mut payloads = transaction.open_table(PAYLOADS).map_err(io)?;
            payloads.insert(id.0, &**payload).map_err(io)?;
        }
        SpoolOp::Transmit { id, route } => {
            let mut row = find(&batches, *id)?;
            row.saved.route = Some(*route);
            batches.insert(id.0, row.encode().as_slice()).map_err(io)?;
        }
        SpoolOp::Redot { pid, dots } => {
            let row = seal(PID_KEY.as_bytes(), &pid.0);
            transaction.open_table(META).map_err(io)?.insert(PID_KEY, row.as_slice()).map_err(io)?;
            let redot = |&(id, seq): &(BatchId, Seq)| {
                let mut row = find(&batches, id)?;
                (row.saved.seq, row.saved.route) = (seq, None);
                Ok(row)
            };
            let kept: Vec<Row> = dots.iter().map(redot).collect::<Result<_, SpoolError>>()?;
            let is_kept = |id: u64| dots.binary_search_by_key(&id, |(kept, _)| kept.0).is_ok();
            batches.retain(|id, _| is_kept(id)).map_err(io)?;
            transaction.open_table(PAYLOADS).map_err(io)?.retain(|id, _| is_kept(id)).map_err(io)?;
            for row in kept {
                batches.insert(row.saved.id.0, row.encode().as_slice()).map_err(io)?;
            }
        }
        SpoolOp::Remove { id } => {
            batches.remove(id.0).map_err(io)?;
            transaction.open_table(PAYLOADS).map_err(io)?.remove(id.0).map_err(io)?;
        }
    }
    Ok(())
}

fn find(batches: &impl ReadableTable<u64, &'static [u8]>, id: BatchId) -> Result<Row, SpoolError> {
    let bytes = batches.get(id.0).map_err(io)?.ok_or(SpoolError::Missing)?;
    Row::decode(id, bytes.value())
}

fn io(error: impl Into<redb::Error>) -> SpoolError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error.into() {
        redb::Error::Corrupted(message) => SpoolError::Corrupted(message),
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            SpoolError::Corrupted(error.to_string())
        }
        error @ (redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }) => SpoolError::Corrupted(error.to_string()),
        error => SpoolError::Io(error.to_string()),
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
pub(super) mod tests;
