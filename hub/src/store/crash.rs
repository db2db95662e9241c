//! Crashes: a device that dies at its n-th write, sync or resize, for every n; and one that gets full.
//!
//! Prevents: an acknowledged transaction lost, or half of one found, after a power cut; a store that writes on
//! after a failed write; reads that stop when the disk is full.

use super::backend::Device;
use super::suite::rows;
use super::tables::HUB_TABLES;
use super::{RedbOptions, RedbStore, Store, StoreError, Table};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk that keeps what was synced, and loses any part of the rest.
#[derive(Debug, Default)]
pub(super) struct Disk {
    inner: Mutex<DiskState>,
}

#[derive(Debug, Default)]
struct DiskState {
    /// As the program sees it.
    seen: Vec<u8>,
    /// As it is after the last sync.
    synced: Vec<u8>,
    /// Writes since then, in order.
    unsynced: Vec<(u64, Vec<u8>)>,
    operations: u64,
    /// The operation at which the power goes.
    dies_at: Option<u64>,
    /// Bytes on the device.
    capacity: Option<u64>,
    /// How writes fail.
    refuses: Option<io::ErrorKind>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.inner.lock().expect("disk")
    }

    pub(super) fn dying_at(n: u64, image: Vec<u8>) -> Arc<Self> {
        let state =
            DiskState { seen: image.clone(), synced: image, dies_at: Some(n), ..DiskState::default() };
        Arc::new(Self { inner: Mutex::new(state) })
    }

    /// Bytes the device has from now on.
    pub(super) fn limit(&self, capacity: u64) {
        self.state().capacity = Some(capacity);
    }

    /// How every write fails from now on, if it does.
    pub(super) fn refuse_writes(&self, kind: Option<io::ErrorKind>) {
        self.state().refuses = kind;
    }

    /// What is found after the power cut: the synced bytes plus some of the unsynced writes.
    pub(super) fn after_power_cut(&self, pick: u64) -> Vec<u8> {
        let state = self.state();
        let mut image = state.synced.clone();
        for (i, (offset, bytes)) in state.unsynced.iter().enumerate() {
            let kept = match pick {
                0 => false,
                1 => true,
                _ => (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(pick) >> 61 & 1 == 0,
            };
            if kept {
                let end = *offset as usize + bytes.len();
                image.resize(image.len().max(end), 0);
                image[*offset as usize..end].copy_from_slice(bytes);
            }
        }
        image
    }
}

impl DiskState {
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Some(kind) = self.refuses {
            return Err(kind.into());
        }
        match self.dies_at {
            Some(n) if self.operations > n => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    fn room_for(&self, end: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if end > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let bytes = state.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.room_for(len)?;
        state.seen.resize(len as usize, 0);
        // A longer file of zeros, or a shorter one, is what file systems show after a crash.
        state.synced.resize(len as usize, 0);
        state.unsynced.retain(|(offset, bytes)| offset + bytes.len() as u64 <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.synced = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.room_for(offset + data.len() as u64)?;
        state.seen[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        state.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

const SMALL: RedbOptions = RedbOptions { cache_bytes: 1 << 20, create: true };

pub(super) fn open(disk: &Arc<Disk>) -> Result<RedbStore, StoreError> {
    RedbStore::with_device(Device::from_backend(disk.clone()), HUB_TABLES, SMALL)
}

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// Transaction `n` of the workload: what a group commit with a fold does, in small.
pub(super) fn transact(store: &dyn Store, n: u64) -> Result<(), StoreError> {
    store.write(&mut |txn| {
        txn.put(Table::Log, &n.to_be_bytes(), &vec![n as u8; 3_000])?;
        for i in 0..20u64 {
            txn.put(Table::Base, &(n * 7 % 5 * 100 + i).to_be_bytes(), &[n as u8; 40])?;
        }
        txn.remove_range(Table::Log, &[], &n.saturating_sub(2).to_be_bytes(), u64::MAX)?;
        txn.put(Table::Meta, b"n", &n.to_be_bytes())
    })
}

fn content(store: &dyn Store) -> Content {
    let snapshot = store.snapshot().expect("snapshot");
    let tables = [Table::Log, Table::Base, Table::Meta];
    let all = tables.into_iter().flat_map(|t| {
        rows(&*snapshot, t).into_iter().map(move |(k, v)| ([&[t as u8], k.as_slice()].concat(), v))
    });
    all.collect()
}

const TRANSACTIONS: u64 = 6;

/// The content after each number of transactions.
fn expected() -> Vec<Content> {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    let mut all = vec![content(&store)];
    for n in 1..=TRANSACTIONS {
        transact(&store, n).expect("write");
        all.push(content(&store));
    }
    all
}

#[test]
fn a_power_cut_at_any_operation_keeps_every_acknowledged_transaction_whole() {
    let expected = expected();
    let mut survived = false;
    for n in 0.. {
        let disk = Disk::dying_at(n, Vec::new());
        let mut acknowledged = 0;
        if let Ok(store) = open(&disk) {
            while acknowledged < TRANSACTIONS && transact(&store, acknowledged + 1).is_ok() {
                acknowledged += 1;
            }
            if acknowledged < TRANSACTIONS {
                assert_eq!(transact(&store, 99), Err(StoreError::PreviousIo), "writes must be refused");
            }
        }
        survived = acknowledged == TRANSACTIONS && disk.state().operations < n;
        if survived {
            break;
        }
        for pick in 0..4 {
            let after = Disk::dying_at(u64::MAX, disk.after_power_cut(pick));
            // A file that never became a database may be refused, or made anew.
            match open(&after) {
                Err(error) => assert_eq!(acknowledged, 0, "cut at {n}, pick {pick}: {error}"),
                Ok(store) => {
                    let found = content(&store);
                    let at = expected.iter().position(|c| *c == found);
                    let at = at.unwrap_or_else(|| panic!("cut at {n}, pick {pick}: half a transaction"));
                    let range = acknowledged..=acknowledged + 1;
                    assert!(range.contains(&(at as u64)), "cut at {n}, pick {pick}: {at} not in {range:?}");
                    transact(&store, 50).expect("it works on");
                }
            }
        }
    }
    assert!(survived);
}

/// True when redb has to walk the whole file to open it.
fn needs_repair(disk: &Arc<Disk>) -> bool {
    let device = Device::from_backend(disk.clone());
    let mut builder = redb::Database::builder();
    builder.set_repair_callback(|session| session.abort());
    match builder.create_with_backend(device.attach(Arc::default())) {
        Ok(_) => false,
        Err(redb::DatabaseError::RepairAborted) => true,
        Err(error) => panic!("{error}"),
    }
}

/// A start that walks the file takes minutes at the size of a disk. (What is read cannot be counted here: redb's debug
/// assertions walk the file at every start.)
#[test]
fn opening_after_a_crash_and_after_a_clean_end_needs_no_walk() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    (1..=TRANSACTIONS).for_each(|n| transact(&store, n).expect("write"));
    for pick in 0..4 {
        let crashed = Disk::dying_at(u64::MAX, disk.after_power_cut(pick));
        assert!(!needs_repair(&crashed), "after a crash, pick {pick}");
    }
    drop(store);
    assert!(!needs_repair(&disk), "after a clean end");
    // The same of a transaction without quick repair: the check can fail.
    let database = redb::Database::builder();
    let database = database.create_with_backend(Device::from_backend(disk.clone()).attach(Arc::default()));
    let database = database.expect("open");
    let txn = database.begin_write().expect("transaction");
    txn.open_table(Table::Meta.definition()).expect("table").insert(&b"n"[..], &b"m"[..]).expect("row");
    txn.commit().expect("commit");
    let crashed = Disk::dying_at(u64::MAX, disk.after_power_cut(0));
    assert!(needs_repair(&crashed));
}

#[test]
fn a_full_disk_stops_writes_and_not_reads_until_there_is_space_again() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    transact(&store, 1).expect("write");
    let before = content(&store);
    disk.state().capacity = Some(disk.len().expect("len"));
    let huge = vec![1; 4 << 20];
    assert_eq!(store.write(&mut |txn| txn.put(Table::Log, b"huge", &huge)), Err(StoreError::NoSpace));
    assert_eq!(transact(&store, 2), Err(StoreError::PreviousIo));
    assert_eq!(content(&store), before);
    disk.state().capacity = None;
    assert_eq!(transact(&store, 2), Err(StoreError::PreviousIo), "not before it is opened again");
    store.reopen().expect("reopen");
    transact(&store, 2).expect("write");
    assert_eq!(content(&store).len(), expected()[2].len());
}

#[test]
fn a_snapshot_of_before_the_failure_fails_cleanly_or_reads_on() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    transact(&store, 1).expect("write");
    let old = store.snapshot().expect("snapshot");
    disk.state().capacity = Some(0);
    assert!(transact(&store, 2).is_err());
    match old.get(Table::Meta, b"n") {
        Ok(value) => assert_eq!(value, Some(1u64.to_be_bytes().to_vec())),
        Err(error) => assert_eq!(error, StoreError::PreviousIo),
    }
}
