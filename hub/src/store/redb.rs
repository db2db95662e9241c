//! The redb file: one writer, snapshots, two-phase commits with quick repair.

use super::backend::Device;
use super::seal::{self, CHECK_BYTES};
use super::tables::{Definition, Table};
use super::{Snapshot, Store, StoreError, Transaction, Visit, WriteBody, upgrade};
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction,
};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// How a redb file is opened.
#[derive(Clone, Copy, Debug)]
pub struct RedbOptions {
    /// Most memory for cached pages, bytes; at most half of it holds pages not written yet. Default 256 MiB.
    /// Too little makes every fold read from disk; the worst case is this much memory.
    pub cache_bytes: usize,
    /// Make the file when it does not exist. Default true.
    pub create: bool,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, create: true }
    }
}

/// A [`Store`] in one redb file.
#[derive(Debug)]
pub struct RedbStore {
    device: Device,
    tables: &'static [Table],
    cache_bytes: usize,
    /// The handle readers use. Replaced after a failed write: a failed redb handle cannot read either.
    current: RwLock<Handle>,
    /// Held for the length of a write; true once writes are refused.
    stopped: Mutex<bool>,
}

#[derive(Clone, Debug)]
struct Handle {
    db: Closing,
    /// The device failed under this handle, or redb panicked in a write.
    failed: Arc<AtomicBool>,
}

/// A database whose end cannot panic: closing walks its pages, too.
#[derive(Clone, Debug)]
struct Closing(Option<Arc<Database>>);

impl Closing {
    fn get(&self) -> Result<&Database, StoreError> {
        self.0.as_deref().ok_or(StoreError::Closed)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let db = self.0.take();
        let closed = guarded(|| {
            drop(db);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "closing the data file");
        }
    }
}

/// What looking at a file may keep of it.
const CHECK_CACHE_BYTES: usize = 1 << 20;

/// redb checks pages when it repairs a file, not when it reads one: on a damaged page it panics. That becomes an
/// error here, for the one who asked.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(StoreError::Corrupted(format!("a page does not hold what it should ({text})")))
    })
}

impl RedbStore {
    /// Opens or makes the file at `path` with `tables`.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::ReadOnly`], [`StoreError::Corrupted`], [`StoreError::NoSpace`], ...
    pub fn open(path: &Path, tables: &'static [Table], options: RedbOptions) -> Result<Self, StoreError> {
        let device = Device::open_file(path, options.create)?;
        Self::with_device(device, tables, options)
    }

    /// Whether the file at `path` is one of these, as far as opening tells, without writing to it: for whoever is about to
    /// write to another file first. A file that is missing, in use or to be repaired is left to [`RedbStore::open`].
    ///
    /// # Errors
    /// [`StoreError::Corrupted`], [`StoreError::FormatTooOld`].
    pub fn check(path: &Path) -> Result<(), StoreError> {
        let opened =
            guarded(|| match redb::Builder::new().set_cache_size(CHECK_CACHE_BYTES).open_read_only(path) {
                Err(redb::DatabaseError::RepairAborted | redb::DatabaseError::DatabaseAlreadyOpen) => Ok(()),
                opened => opened.map(drop).map_err(StoreError::from),
            });
        match opened {
            Err(error @ (StoreError::Corrupted(_) | StoreError::FormatTooOld { .. })) => Err(error),
            _ => Ok(()),
        }
    }

    /// What `read` makes of the file at `path`, without writing to it.
    ///
    /// # Errors
    /// The file is missing, in use, to be repaired, or no whole one; what `read` refuses.
    pub fn look<T>(
        path: &Path,
        tables: &'static [Table],
        read: impl FnOnce(&dyn Snapshot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        guarded(|| {
            let db = redb::Builder::new().set_cache_size(CHECK_CACHE_BYTES).open_read_only(path)?;
            read(&RedbSnapshot::new(&db.begin_read()?, tables)?)
        })
    }

    pub(super) fn with_device(
        device: Device,
        tables: &'static [Table],
        options: RedbOptions,
    ) -> Result<Self, StoreError> {
        let handle = open_handle(&device, options.cache_bytes)?;
        let store = Self {
            device,
            tables,
            cache_bytes: options.cache_bytes,
            current: RwLock::new(handle),
            stopped: Mutex::new(false),
        };
        store.make_tables()?;
        store.upgrade()?;
        Ok(store)
    }

    /// Tables are made once; opening an existing file writes nothing.
    fn make_tables(&self) -> Result<(), StoreError> {
        let missing = {
            let handle = self.handle();
            let tables = self.tables;
            guarded(|| {
                let read = handle.db.get()?.begin_read()?;
                let is_missing = |t: &Table| match read.open_table(t.definition()) {
                    Ok(_) => Ok(false),
                    Err(redb::TableError::TableDoesNotExist(_)) => Ok(true),
                    Err(error) => Err(StoreError::from(error)),
                };
                tables.iter().try_fold(false, |any, t| Ok(any | is_missing(t)?))
            })?
        };
        if missing { self.write(&mut |_| Ok(())) } else { Ok(()) }
    }

    /// Puts checks behind the values of a file that has none yet, some rows per transaction.
    fn upgrade(&self) -> Result<(), StoreError> {
        let handle = self.handle();
        for table in self.tables {
            while guarded(|| upgrade::step(handle.db.get()?, *table))? {}
        }
        Ok(())
    }

    fn handle(&self) -> Handle {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stopped(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a working handle in place of a failed one. A handle that works stays: two that both can write would
    /// ruin the file.
    fn replace_failed(&self) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.failed.load(Ordering::Acquire) {
            *current = open_handle(&self.device, self.cache_bytes)?;
        }
        Ok(())
    }

    fn commit(&self, handle: &Handle, body: WriteBody<'_>) -> Result<(), StoreError> {
        let mut txn = handle.db.get()?.begin_write()?;
        // Durability is the point of this store; quick repair (which implies two phases) makes reopening
        // after a crash independent of the file's size.
        txn.set_durability(Durability::Immediate).map_err(|e| StoreError::Corrupted(e.to_string()))?;
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        {
            let mut tables = OpenTables::new(&txn, self.tables)?;
            body(&mut tables)?;
        }
        txn.commit()?;
        Ok(())
    }
}

fn open_handle(device: &Device, cache_bytes: usize) -> Result<Handle, StoreError> {
    let failed = Arc::new(AtomicBool::new(false));
    let open =
        || Database::builder().set_cache_size(cache_bytes).create_with_backend(device.attach(failed.clone()));
    // redb 4.4 asserts what a damaged file's allocator state says, instead of reporting it.
    let db = guarded(|| Ok(open()?))?;
    Ok(Handle { db: Closing(Some(Arc::new(db))), failed })
}

impl Store for RedbStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let mut handle = self.handle();
        if handle.failed.load(Ordering::Acquire) {
            self.replace_failed()?;
            handle = self.handle();
        }
        guarded(|| {
            let snapshot = RedbSnapshot::new(&handle.db.get()?.begin_read()?, self.tables)?;
            Ok(Arc::new(snapshot) as Arc<dyn Snapshot>)
        })
    }

    fn write(&self, body: WriteBody<'_>) -> Result<(), StoreError> {
        let mut stopped = self.stopped();
        if *stopped {
            return Err(StoreError::PreviousIo);
        }
        let handle = self.handle();
        let mut is_panic = true;
        let result = guarded(|| {
            let result = self.commit(&handle, body);
            is_panic = false;
            result
        });
        if is_panic {
            // Whatever it was doing, this handle does no more.
            handle.failed.store(true, Ordering::Release);
        }
        if handle.failed.load(Ordering::Acquire) {
            *stopped = true;
            if let Err(error) = self.replace_failed() {
                tracing::warn!(%error, "storage cannot be read after its failure; the next read tries again");
            }
        }
        result
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut stopped = self.stopped();
        self.replace_failed()?;
        *stopped = false;
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        self.device.len()
    }
}

type Readable = ReadOnlyTable<&'static [u8], &'static [u8]>;

struct RedbSnapshot {
    tables: [Option<Readable>; Table::ALL.len()],
}

fn missing(table: Table) -> StoreError {
    StoreError::Corrupted(format!("table {} is missing", table.name()))
}

impl RedbSnapshot {
    fn new(txn: &ReadTransaction, names: &[Table]) -> Result<Self, StoreError> {
        let mut tables: [Option<Readable>; Table::ALL.len()] = Default::default();
        for table in names {
            tables[*table as usize] = Some(txn.open_table(table.definition())?);
        }
        Ok(Self { tables })
    }

    fn table(&self, table: Table) -> Result<&Readable, StoreError> {
        self.tables[table as usize].as_ref().ok_or_else(|| missing(table))
    }
}

fn bounds<'a>(from: &'a [u8], to: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded))
}

/// A range that ends before it starts is empty; redb would panic.
fn is_void(from: &[u8], to: Option<&[u8]>) -> bool {
    to.is_some_and(|to| to <= from)
}

impl Snapshot for RedbSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| match self.table(table)?.get(key)? {
            Some(found) => Ok(Some(unsealed(table, key, found.value())?.to_vec())),
            None => Ok(None),
        })
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        guarded(|| scan((table, self.table(table)?), from, to, visit))
    }
}

/// A value as it was written.
fn unsealed<'v>(table: Table, key: &[u8], found: &'v [u8]) -> Result<&'v [u8], StoreError> {
    if !table.is_checked() {
        return Ok(found);
    }
    seal::open(table, key, found).ok_or_else(|| {
        StoreError::Corrupted(format!("a value in table {} is not what was written", table.name()))
    })
}

fn scan(
    (name, table): (Table, &impl ReadableTable<&'static [u8], &'static [u8]>),
    from: &[u8],
    to: Option<&[u8]>,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    if is_void(from, to) {
        return Ok(());
    }
    for entry in table.range::<&[u8]>(bounds(from, to))? {
        let (key, sealed) = entry?;
        let value = unsealed(name, key.value(), sealed.value())?;
        if let ControlFlow::Break(()) = visit(key.value(), value) {
            break;
        }
    }
    Ok(())
}

/// The tables of one write transaction, opened once: opening is a tree descent of its own.
struct OpenTables<'txn> {
    tables: [Option<redb::Table<'txn, &'static [u8], &'static [u8]>>; Table::ALL.len()],
}

impl<'txn> OpenTables<'txn> {
    fn new(txn: &'txn WriteTransaction, names: &[Table]) -> Result<Self, StoreError> {
        let mut tables: [Option<_>; Table::ALL.len()] = Default::default();
        for table in names {
            let definition: Definition = table.definition();
            tables[*table as usize] = Some(txn.open_table(definition)?);
        }
        Ok(Self { tables })
    }

    fn table(
        &mut self,
        table: Table,
    ) -> Result<&mut redb::Table<'txn, &'static [u8], &'static [u8]>, StoreError> {
        self.tables[table as usize].as_mut().ok_or_else(|| missing(table))
    }
}

impl Transaction for OpenTables<'_> {
    fn get(&self, table: Table, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let rows = self.tables[table as usize].as_ref().ok_or_else(|| missing(table))?;
        let found = rows.get(key)?;
        if let Some(value) = &found {
            read(unsealed(table, key, value.value())?);
        }
        Ok(found.is_some())
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: Visit<'_>) -> Result<(), StoreError> {
        let rows = self.tables[table as usize].as_ref().ok_or_else(|| missing(table))?;
        scan((table, rows), from, to, visit)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if !table.is_checked() {
            self.table(table)?.insert(key, value)?;
            return Ok(());
        }
        let check = seal::check(table, key, value);
        let mut place = self.table(table)?.insert_reserve(key, value.len() + CHECK_BYTES)?;
        let (front, back) = place.as_mut().split_at_mut(value.len());
        front.copy_from_slice(value);
        back.copy_from_slice(&check);
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.table(table)?.remove(key)?;
        Ok(())
    }

    fn remove_range(&mut self, table: Table, from: &[u8], to: &[u8], max: u64) -> Result<u64, StoreError> {
        if is_void(from, Some(to)) {
            return Ok(0);
        }
        let mut removed = 0;
        let rows = self.table(table)?.extract_from_if::<&[u8], _>(bounds(from, Some(to)), |_, _| true)?;
        for row in rows.take(usize::try_from(max).unwrap_or(usize::MAX)) {
            row?;
            removed += 1;
        }
        Ok(removed)
    }
}
