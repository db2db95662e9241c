//! The memory twin of the redb store: the same contract without a disk, for tests and simulation.

use super::{Snapshot, Store, StoreError, Table, Transaction, Visit, WriteBody};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// All tables; each shared until it is changed.
#[derive(Clone, Debug, Default)]
struct Tables([Arc<Rows>; Table::ALL.len()]);

/// A [`Store`] in memory. Clones share it, so that a test can "restart" the owner.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: Tables,
    stopped: bool,
    fail_next: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next commit fail with `error`, as a full disk would.
    pub fn fail_next_write(&self, error: StoreError) {
        self.inner().fail_next = Some(error);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(self.inner().tables.clone()))
    }

    fn write(&self, body: WriteBody<'_>) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.stopped {
            return Err(StoreError::PreviousIo);
        }
        let mut staged = inner.tables.clone();
        body(&mut staged)?;
        if let Some(error) = inner.fail_next.take() {
            inner.stopped = true;
            return Err(error);
        }
        inner.tables = staged;
        Ok(())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.inner().stopped = false;
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        let inner = self.inner();
        let rows = inner.tables.0.iter().flat_map(|t| t.iter());
        rows.map(|(k, v)| (k.len() + v.len()) as u64).sum()
    }
}

impl Tables {
    fn rows(&self, table: Table) -> &Rows {
        &self.0[table as usize]
    }

    fn rows_mut(&mut self, table: Table) -> &mut Rows {
        Arc::make_mut(&mut self.0[table as usize])
    }
}

impl Snapshot for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows(table).get(key).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, value) in self.rows(table).range::<[u8], _>(bounds) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl Transaction for Tables {
    fn get(&self, table: Table, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let found = self.rows(table).get(key);
        if let Some(value) = found {
            read(value);
        }
        Ok(found.is_some())
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        Snapshot::scan(self, table, from, to, visit)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.rows_mut(table).insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.rows_mut(table).remove(key);
        Ok(())
    }

    fn remove_range(&mut self, table: Table, from: &[u8], to: &[u8], max: u64) -> Result<u64, StoreError> {
        if to <= from {
            return Ok(0);
        }
        let rows = self.rows_mut(table);
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let keys: Vec<Vec<u8>> = rows.range::<[u8], _>(bounds).take(max).map(|(k, _)| k.clone()).collect();
        for key in &keys {
            rows.remove(key);
        }
        Ok(keys.len() as u64)
    }
}
