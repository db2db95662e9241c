//! What an outbox asks of its storage, and the twin that keeps it in memory.

use crate::codec::DecodeError;
use crate::ids::{Pid, RouteVersion, Seq};
use crate::wire::batch::LedgerDelta;
use alloc::string::String;
#[cfg(feature = "std")]
use alloc::sync::Arc;
use alloc::vec::Vec;
use thiserror::Error;

/// A batch within its outbox, for as long as it is there: unlike a [`Seq`] it survives a new dot. Ascending in
/// the order of freezing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// The bytes of a batch: an outbox and its spool share them.
#[cfg(feature = "std")]
pub type Frozen = Arc<[u8]>;

/// The bytes of a batch.
#[cfg(not(feature = "std"))]
pub type Frozen = Vec<u8>;

/// One change to the stored outbox. The changes of one [`Spool::commit`] happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpoolOp {
    /// A batch was frozen, under the stored pid.
    Put {
        /// The batch.
        id: BatchId,
        /// Its number.
        seq: Seq,
        /// Events it stands for.
        events: u64,
        /// What it reports besides them, to be reported by another batch should this one be dropped.
        report: LedgerDelta,
        /// Its frozen bytes.
        payload: Frozen,
    },
    /// The batch's first byte may leave from now on (C2).
    Transmit {
        /// The batch.
        id: BatchId,
        /// The route version it leaves with, for ever.
        route: RouteVersion,
    },
    /// A new identity: the batches listed are all that remain, none of them transmitted.
    Redot {
        /// The new identity.
        pid: Pid,
        /// The new number of every batch.
        dots: Vec<(BatchId, Seq)>,
    },
    /// The batch is acked or given up.
    Remove {
        /// The batch.
        id: BatchId,
    },
}

/// A batch as it was stored, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedBatch {
    /// The batch.
    pub id: BatchId,
    /// Its number.
    pub seq: Seq,
    /// Events it stands for.
    pub events: u64,
    /// What it reports besides them.
    pub report: LedgerDelta,
    /// Length of its payload, bytes.
    pub bytes: usize,
    /// The route it was marked transmitted with; `None` = no byte has left.
    pub route: Option<RouteVersion>,
}

/// A stored outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The stored identity; `None` in a new store.
    pub pid: Option<Pid>,
    /// What is in it, ascending by id.
    pub batches: Vec<SavedBatch>,
}

/// Why storage failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process has it open.
    #[error("spool {0} is in use by another process")]
    InUse(String),
    /// Its bytes make no sense.
    #[error(
        "spool is corrupted: {0}: move the file away to start with an empty one, and keep it if you want to know what it \
         held"
    )]
    Corrupted(String),
    /// Written by an older version.
    #[error(
        "spool format {0} is older than this version reads: let the version that wrote it send what is in it"
    )]
    TooOld(u64),
    /// Written by a newer version.
    #[error("spool format {0} is newer than this version")]
    TooNew(u64),
    /// Reading or writing failed: permissions, space, hardware.
    #[error("spool i/o failed: {0}")]
    Io(String),
    /// A batch is not there.
    #[error("batch is not in the spool")]
    Missing,
}

impl SpoolError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse(_) => "spool_in_use",
            Self::Corrupted(_) => "spool_corrupted",
            Self::TooOld(_) => "spool_too_old",
            Self::TooNew(_) => "spool_too_new",
            Self::Io(_) => "spool_io",
            Self::Missing => "spool_missing",
        }
    }
}

impl From<DecodeError> for SpoolError {
    fn from(error: DecodeError) -> Self {
        Self::Corrupted(alloc::format!("{error}"))
    }
}

/// Storage behind an outbox. Synchronous; whoever drives an outbox may answer its requests asynchronously instead.
pub trait Spool {
    /// What was stored.
    ///
    /// # Errors
    /// [`SpoolError::Corrupted`] when it makes no sense, [`SpoolError::Io`] when it cannot be read.
    fn load(&mut self) -> Result<Saved, SpoolError>;

    /// Makes changes durable, all or none.
    ///
    /// # Errors
    /// [`SpoolError::Missing`] when a change needs a batch that is not there; [`SpoolError::Corrupted`] or
    /// [`SpoolError::Io`] when the storage fails.
    fn commit(&mut self, ops: &[SpoolOp]) -> Result<(), SpoolError>;

    /// The bytes of one batch.
    ///
    /// # Errors
    /// [`SpoolError::Missing`] when it is not there; [`SpoolError::Corrupted`] or [`SpoolError::Io`] when it cannot be
    /// read.
    fn payload(&mut self, id: BatchId) -> Result<Vec<u8>, SpoolError>;

    /// Starts anew after a failure, and tells what was stored.
    ///
    /// # Errors
    /// Those of [`Spool::load`], and of opening: [`SpoolError::InUse`], [`SpoolError::TooOld`], [`SpoolError::TooNew`].
    fn reopen(&mut self) -> Result<Saved, SpoolError> {
        self.load()
    }
}

/// A spool in memory: for tests, and the meaning of [`SpoolOp`] in code.
#[derive(Clone, Debug, Default)]
pub struct MemorySpool {
    pid: Option<Pid>,
    batches: Vec<(SavedBatch, Frozen)>,
}

impl MemorySpool {
    fn find(&mut self, id: BatchId) -> Result<&mut (SavedBatch, Frozen), SpoolError> {
        self.batches.iter_mut().find(|(batch, _)| batch.id == id).ok_or(SpoolError::Missing)
    }

    fn apply(&mut self, op: &SpoolOp) -> Result<(), SpoolError> {
        match op {
            SpoolOp::Put { id, seq, events, report, payload } => {
                let (report, bytes) = (report.clone(), payload.len());
                let batch = SavedBatch { id: *id, seq: *seq, events: *events, report, bytes, route: None };
                self.batches.push((batch, payload.clone()));
            }
            SpoolOp::Transmit { id, route } => self.find(*id)?.0.route = Some(*route),
            SpoolOp::Redot { pid, dots } => {
                self.pid = Some(*pid);
                self.batches.retain(|(batch, _)| dots.iter().any(|(id, _)| *id == batch.id));
                for (id, seq) in dots {
                    let batch = &mut self.find(*id)?.0;
                    (batch.seq, batch.route) = (*seq, None);
                }
            }
            SpoolOp::Remove { id } => self.batches.retain(|(batch, _)| batch.id != *id),
        }
        Ok(())
    }
}

impl Spool for MemorySpool {
    fn load(&mut self) -> Result<Saved, SpoolError> {
        let batches = self.batches.iter().map(|(batch, _)| batch.clone()).collect();
        Ok(Saved { pid: self.pid, batches })
    }

    fn commit(&mut self, ops: &[SpoolOp]) -> Result<(), SpoolError> {
        let mut next = self.clone();
        ops.iter().try_for_each(|op| next.apply(op))?;
        *self = next;
        Ok(())
    }

    fn payload(&mut self, id: BatchId) -> Result<Vec<u8>, SpoolError> {
        self.find(id).map(|(_, payload)| payload.to_vec())
    }
}
