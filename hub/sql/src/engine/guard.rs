//! What holds one statement back: its deadline, its memory, and the checks that enforce both.
//!
//! A statement runs on one thread of its own (see [`super::running`]), so code deep inside DataFusion finds the
//! statement it works for through that thread: functions and operators of cached plans cannot carry it.
//! Invariant: outside such a thread nothing is limited here.

use crate::error::SqlError;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;
use tokio::runtime::Handle;

/// The limits of a running statement.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) deadline: Instant,
    /// The runtime of whoever asked: sources are polled and changes applied there.
    pub(super) hub: Handle,
    /// The tables that it has read.
    pub(super) seen: super::stored::Seen,
    pool: Arc<dyn MemoryPool>,
    bytes_max: usize,
    value_bytes_max: usize,
    /// Constants.
    kept: MemoryReservation,
    is_cancelled: AtomicBool,
    /// Whether a change is being applied, or may not be any more.
    change: AtomicU8,
}

/// Values of [`Guard::change`].
const NONE: u8 = 0;
const APPLYING: u8 = 1;
const STOPPED: u8 = 2;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Guard>>> = const { RefCell::new(None) };
}

impl Guard {
    pub(super) fn new(deadline: Instant, hub: Handle, bytes_max: usize, value_bytes_max: usize) -> Self {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes_max));
        Self {
            deadline,
            hub,
            seen: super::stored::Seen::default(),
            kept: MemoryConsumer::new("constants").register(&pool),
            pool,
            bytes_max,
            value_bytes_max,
            is_cancelled: AtomicBool::new(false),
            change: AtomicU8::new(NONE),
        }
    }

    /// Makes this the guard of the calling thread, for good.
    pub(super) fn enter(self: &Arc<Self>) {
        CURRENT.set(Some(Arc::clone(self)));
    }

    /// The statement's memory; everything it holds is charged here.
    pub(super) fn pool(&self) -> &Arc<dyn MemoryPool> {
        &self.pool
    }

    /// Tells the thread to stop at its next check.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// While a change is being applied its outcome is waited for: a deadline cannot undo it.
    pub(super) fn is_applying(&self) -> bool {
        self.change.load(Ordering::Acquire) == APPLYING
    }

    /// From here on the outcome is waited for; false when the statement was stopped before.
    pub(super) fn begin_applying(&self) -> bool {
        self.change.fetch_max(APPLYING, Ordering::AcqRel) != STOPPED
    }

    /// True when nothing is being applied, and nothing will be: then the statement may be told to have ended.
    pub(super) fn stop(&self) -> bool {
        match self.change.compare_exchange(NONE, STOPPED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(change) => change == STOPPED,
        }
    }

    fn check(&self) -> Result<()> {
        match self.is_cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
            true => Err(external(timeout())),
            false => Ok(()),
        }
    }
}

/// `57014`: the deadline has come.
pub(super) fn timeout() -> SqlError {
    SqlError::new("57014", "statement took longer than its time limit")
        .with_hint("ask for fewer rows, or raise sql.timeout_ms")
}

/// `57014`: whoever asked wants no answer any more.
pub(super) fn cancelled() -> SqlError {
    SqlError::new("57014", "canceling statement due to user request")
}

/// `53200`: more bytes than the statement may have.
pub(super) fn out_of_memory(what: &str, bytes: usize, limit: usize) -> DataFusionError {
    let message = format!("{what} needs {bytes} bytes, more than the limit of {limit}");
    external(SqlError::new("53200", message))
}

pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The statement that this thread works for.
pub(super) fn current() -> Option<Arc<Guard>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Ends the statement when its time is over or nobody waits for it any more.
pub(super) fn check() -> Result<()> {
    CURRENT.with_borrow(|guard| guard.as_ref().map_or(Ok(()), |guard| guard.check()))
}

/// Refuses what could not be held even alone, before it is made.
pub(super) fn check_bytes(what: &str, bytes: usize) -> Result<()> {
    CURRENT.with_borrow(|guard| match guard {
        Some(guard) if bytes > guard.bytes_max => Err(out_of_memory(what, bytes, guard.bytes_max)),
        _ => Ok(()),
    })
}

/// Refuses a single text, bytea or list that is longer than one value may be.
pub(super) fn check_value(what: &str, bytes: usize) -> Result<()> {
    CURRENT.with_borrow(|guard| match guard {
        Some(guard) if bytes > guard.value_bytes_max => {
            Err(out_of_memory(&format!("a value of {what}"), bytes, guard.value_bytes_max))
        }
        _ => Ok(()),
    })
}

/// An empty account of the statement's memory; `None` outside a statement's thread.
pub(super) fn reservation(name: &str) -> Option<MemoryReservation> {
    CURRENT.with_borrow(|guard| guard.as_ref().map(|guard| MemoryConsumer::new(name).register(&guard.pool)))
}

/// Charges what stays until the statement ends.
pub(super) fn keep(bytes: usize) -> Result<()> {
    CURRENT.with_borrow(|guard| guard.as_ref().map_or(Ok(()), |guard| guard.kept.try_grow(bytes)))
}

/// Bytes that an operator which makes `columns` columns takes at a time: all it makes of them is a quarter of the
/// statement's memory.
pub(super) fn step_bytes(columns: usize) -> usize {
    CURRENT.with_borrow(|guard| match guard {
        Some(guard) => (guard.bytes_max / 4 / columns.max(1)).max(64 << 10),
        None => usize::MAX,
    })
}
