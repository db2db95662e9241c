//! The device under redb: the data file, locked once per process, shared by successive redb handles.
//!
//! redb refuses reads, too, after a failed write. A store that must go on reading opens a second redb
//! handle over the same file while the failed one (which never writes again) is still pinned by readers;
//! so the lock belongs to this file and not to redb.

use super::StoreError;
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A device and whether it failed since it was handed to redb.
#[derive(Clone, Debug)]
pub(super) struct Device {
    inner: Arc<dyn StorageBackend>,
    /// Holds the lock of the file; `None` for a device without a file.
    lock: Option<Arc<File>>,
}

impl Device {
    /// Opens (and makes, with `create`) the file at `path` and locks it.
    pub(super) fn open_file(path: &Path, create: bool) -> Result<Self, StoreError> {
        let at = |e: io::Error| StoreError::at(path, &e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        // What is counted, and the catalog's secrets, are the hub's own.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(at)?;
        let lock = file.try_clone().map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            // A file system without locks: the data directory's owner keeps others out.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(at(e)),
        }
        let inner = Arc::new(FileBackend::new(file)?);
        Ok(Self { inner, lock: Some(Arc::new(lock)) })
    }

    /// A device of the caller's own, for tests.
    #[cfg(test)]
    pub(super) fn from_backend(inner: Arc<dyn StorageBackend>) -> Self {
        Self { inner, lock: None }
    }

    /// What one redb handle gets: reports into `failed`, takes no locks, never closes the file.
    pub(super) fn attach(&self, failed: Arc<AtomicBool>) -> Attached {
        Attached { inner: self.inner.clone(), file: self.lock.clone(), failed }
    }

    /// Bytes on disk.
    pub(super) fn len(&self) -> u64 {
        self.inner.len().unwrap_or(0)
    }
}

/// One redb handle's use of a [`Device`]. After its first failure it writes nothing more, whatever redb makes of
/// that failure: another handle may already be at work on the same bytes.
#[derive(Debug)]
pub(super) struct Attached {
    inner: Arc<dyn StorageBackend>,
    file: Option<Arc<File>>,
    failed: Arc<AtomicBool>,
}

impl Attached {
    /// What is written to a file without a name is gone with the process: nothing of it may be called durable.
    #[cfg(unix)]
    fn has_name(&self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        match &self.file {
            Some(file) if file.metadata()?.nlink() == 0 => {
                Err(io::Error::other("the data file was deleted while the hub ran"))
            }
            _ => Ok(()),
        }
    }

    /// Here a file that is open cannot be deleted.
    #[cfg(not(unix))]
    fn has_name(&self) -> io::Result<()> {
        let _ = &self.file;
        Ok(())
    }

    fn may_write(&self) -> io::Result<()> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(io::Error::other("an earlier operation failed")),
            false => Ok(()),
        }
    }

    fn noting<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl StorageBackend for Attached {
    fn len(&self) -> io::Result<u64> {
        self.noting(self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.noting(self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.noting(self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.may_write()?;
        self.noting(self.has_name().and_then(|()| self.inner.sync_data()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.may_write()?;
        self.noting(self.inner.write(offset, data))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use crate::store::tables::HUB_TABLES;
    use crate::store::{RedbOptions, RedbStore, Store, Table};

    /// A hub whose data directory was deleted went on calling batches durable.
    #[test]
    fn a_deleted_file_takes_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("hub.redb");
        let store = RedbStore::open(&path, HUB_TABLES, RedbOptions::default()).expect("opens");
        let write = |value: &[u8]| store.write(&mut |txn| txn.put(Table::Meta, b"key", value));
        write(b"kept").expect("writes");
        std::fs::remove_file(&path).expect("remove");
        let error = write(b"lost").expect_err("nobody can open it again").to_string();
        assert!(error.contains("deleted"), "{error}");
        assert!(store.reopen().and_then(|()| write(b"lost")).is_err());
    }
}
