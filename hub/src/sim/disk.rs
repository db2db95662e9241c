//! A disk: a store in memory whose commits fail, before or after they became durable, and which can be flawed.

use crate::store::{MemoryStore, Snapshot, Store, StoreError, Table, Transaction, Visit, WriteBody};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens to the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and changes nothing.
    Before,
    /// It is durable, and its caller is told that it failed.
    After,
}

/// A bug planted below a store; an oracle must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Commits return before they are durable: a crash loses the newest.
    LyingSync,
    /// The base is written in a transaction of its own, and the power goes behind it.
    SplitFold,
    /// What a fold writes about producers does not reach the disk.
    NoSessions,
    /// Producers' sessions are not found again after a restart.
    ForgetsSessions,
    /// The log is not found again after a restart.
    ForgetsLog,
}

#[derive(Debug, Default)]
struct State {
    tables: MemoryStore,
    fault: Option<Fault>,
    stopped: bool,
    flaws: Vec<Flaw>,
    /// With [`Flaw::LyingSync`]: changes that a crash undoes.
    unsynced: Vec<Change>,
    synced: MemoryStore,
    hides_sessions: bool,
    power_is_gone: bool,
}

/// One change of a transaction.
#[derive(Clone, Debug)]
enum Change {
    Put(Table, Vec<u8>, Vec<u8>),
    Remove(Table, Vec<u8>),
    RemoveRange(Table, Vec<u8>, Vec<u8>, u64),
}

impl Change {
    fn table(&self) -> Table {
        match self {
            Self::Put(table, ..) | Self::Remove(table, _) | Self::RemoveRange(table, ..) => *table,
        }
    }

    /// Returns how many rows of a range it removed.
    fn apply(&self, txn: &mut dyn Transaction) -> Result<u64, StoreError> {
        match self {
            Self::Put(table, key, value) => txn.put(*table, key, value).map(|()| 0),
            Self::Remove(table, key) => txn.remove(*table, key).map(|()| 0),
            Self::RemoveRange(table, from, to, max) => txn.remove_range(*table, from, to, *max),
        }
    }
}

/// What of one hub survives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk(Mutex<State>);

impl Disk {
    pub(crate) fn new(flaws: &[Flaw]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { flaws: flaws.to_vec(), ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commit fails, and all later ones until the store is opened again.
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// A flaw wants its hub to crash now.
    pub(crate) fn takes_power(&self) -> bool {
        std::mem::take(&mut self.state().power_is_gone)
    }

    /// Writes caches out, where a flawed disk had not.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        let changes = std::mem::take(&mut state.unsynced);
        apply(&state.synced, &changes);
    }

    /// The hub's process ends: what it finds when it comes back.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        (state.stopped, state.fault) = (false, None);
        if state.flaws.contains(&Flaw::LyingSync) {
            state.unsynced.clear();
            state.tables = copy(&state.synced);
        }
        state.hides_sessions = state.flaws.contains(&Flaw::ForgetsSessions);
        if state.flaws.contains(&Flaw::ForgetsLog) {
            apply(&state.tables, &[Change::RemoveRange(Table::Log, vec![], vec![0xff; 16], u64::MAX)]);
        }
    }
}

fn apply(store: &MemoryStore, changes: &[Change]) {
    let written = store.write(&mut |txn| changes.iter().try_for_each(|change| change.apply(txn).map(drop)));
    written.expect("memory");
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let (copy, snapshot) = (MemoryStore::new(), store.snapshot().expect("memory"));
    for table in Table::ALL {
        let mut rows = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.push(Change::Put(table, key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(table, &[], None, &mut visit).expect("memory");
        apply(&copy, &rows);
    }
    copy
}

fn failure() -> StoreError {
    StoreError::Io { kind: std::io::ErrorKind::Other, message: "the disk failed".into() }
}

impl Store for Disk {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let state = self.state();
        let snapshot = state.tables.snapshot()?;
        Ok(if state.hides_sessions { Arc::new(WithoutSessions(snapshot)) } else { snapshot })
    }

    fn write(&self, body: WriteBody<'_>) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.stopped {
            return Err(StoreError::PreviousIo);
        }
        let fault = state.fault.take();
        let skips_sessions = state.flaws.contains(&Flaw::NoSessions);
        let splits = state.flaws.contains(&Flaw::SplitFold);
        let (mut changes, mut is_split) = (Vec::new(), false);
        let tables = state.tables.clone();
        let result = tables.write(&mut |txn| {
            let mut recorder =
                Recorder { inner: txn, changes: Vec::new(), skips_sessions, base_only: splits };
            body(&mut recorder)?;
            is_split = splits && recorder.changes.iter().any(|change| change.table() == Table::Base);
            if splits && !is_split {
                recorder.base_only = false;
                let rest = recorder.changes.clone();
                rest.iter().try_for_each(|change| change.apply(recorder.inner).map(drop))?;
            }
            changes = recorder.changes;
            if fault == Some(Fault::Before) { Err(failure()) } else { Ok(()) }
        });
        state.stopped = fault.is_some() || is_split;
        result?;
        state.power_is_gone |= is_split;
        state.unsynced.extend(changes);
        if state.stopped { Err(failure()) } else { Ok(()) }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.state().stopped = false;
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        self.state().tables.file_bytes()
    }
}

struct WithoutSessions(Arc<dyn Snapshot>);

impl Snapshot for WithoutSessions {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if table == Table::Session { Ok(None) } else { self.0.get(table, key) }
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        self.0.scan(table, from, to, visit)
    }
}

/// Notes what a transaction changes, and leaves out what a flaw loses.
struct Recorder<'a> {
    inner: &'a mut dyn Transaction,
    changes: Vec<Change>,
    skips_sessions: bool,
    /// Only the base is written.
    base_only: bool,
}

impl Recorder<'_> {
    fn change(&mut self, change: Change) -> Result<u64, StoreError> {
        let table = change.table();
        if self.skips_sessions && table == Table::Session {
            return Ok(0);
        }
        let removed = if self.base_only && table != Table::Base { 0 } else { change.apply(self.inner)? };
        self.changes.push(change);
        Ok(removed)
    }
}

impl Transaction for Recorder<'_> {
    fn get(&self, table: Table, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.inner.get(table, key, read)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        self.inner.scan(table, from, to, visit)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Put(table, key.to_vec(), value.to_vec())).map(drop)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Remove(table, key.to_vec())).map(drop)
    }

    fn remove_range(&mut self, table: Table, from: &[u8], to: &[u8], max: u64) -> Result<u64, StoreError> {
        self.change(Change::RemoveRange(table, from.to_vec(), to.to_vec(), max))
    }
}
