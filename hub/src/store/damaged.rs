//! Damaged and unwilling devices: pages overwritten behind redb's back, read-only places, full disks.
//!
//! Prevents: a panic of redb that takes the hub with it, damage taken for an empty table, a full or read-only
//! place reported as anything else.

use super::crash::{Disk, open, transact};
use super::suite::rows;
use super::tables::HUB_TABLES;
use super::{RedbOptions, RedbStore, Store, StoreError, Table, seal};
use redb::{ReadableDatabase, TableDefinition, TableHandle};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const PAGE: usize = 4_096;

/// A file with some hundred rows in two tables.
fn healthy() -> Vec<u8> {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    for part in 0..4u32 {
        let written = store.write(&mut |txn| {
            for i in 0..300u32 {
                txn.put(Table::Base, &(part * 1_000 + i).to_be_bytes(), &[7; 60])?;
                txn.put(Table::Log, &(part * 1_000 + i).to_be_bytes(), &[8; 30])?;
            }
            Ok(())
        });
        written.expect("write");
    }
    drop(store);
    disk.after_power_cut(1)
}

/// Everything one can ask of a store; the first error.
fn use_it(store: &dyn Store) -> Result<(), StoreError> {
    let snapshot = store.snapshot()?;
    for table in [Table::Base, Table::Log, Table::Meta] {
        snapshot.get(table, &1_001u32.to_be_bytes())?;
        snapshot.scan(table, &[], None, &mut |_, _| ControlFlow::Continue(()))?;
    }
    store.write(&mut |txn| {
        txn.get(Table::Base, &2_002u32.to_be_bytes(), &mut |_| {})?;
        for i in (0..4_000u32).step_by(50) {
            txn.put(Table::Base, &i.to_be_bytes(), &[9; 100])?;
        }
        txn.remove_range(Table::Log, &[], &[0xff; 4], 700).map(drop)
    })
}

#[test]
fn a_damaged_page_is_an_error_wherever_it_is() {
    let healthy = healthy();
    let (mut refused, mut read, mut written) = (0, 0, 0);
    for page in 1..healthy.len() / PAGE {
        // The first byte says what a page is; the second damage is in what it says of its entries.
        for (at, value) in [(0, 0xee), (2, 0xff)] {
            let mut image = healthy.clone();
            image[page * PAGE + at] = value;
            let disk = Disk::dying_at(u64::MAX, image);
            let store = match open(&disk) {
                Ok(store) => store,
                Err(error) => {
                    assert!(matches!(error, StoreError::Corrupted(_)), "page {page}: {error}");
                    refused += 1;
                    continue;
                }
            };
            match use_it(&store) {
                Ok(()) => {}
                Err(StoreError::Corrupted(_)) => read += 1,
                Err(error) => panic!("page {page}: {error}"),
            }
            // A write that met damage stops writes, until the store is opened again.
            let write = store.write(&mut |txn| txn.put(Table::Base, &1_500u32.to_be_bytes(), b"v"));
            if let Err(StoreError::Corrupted(_)) = write {
                written += 1;
                assert_eq!(transact(&store, 1), Err(StoreError::PreviousIo), "page {page}");
            }
            let _ = store.reopen();
        }
    }
    assert!(read > 20, "{refused} {read} {written}");
}

/// Bits flipped all over the pages that hold them: values of a table with checks are what was written, or
/// an error. (Where redb's own list of freed pages is damaged it panics while it unwinds: nobody can catch that.)
#[test]
fn a_flipped_bit_is_never_another_value() {
    const PRIMES: u32 = 7_919;
    let value = |i: u32| (i * PRIMES).to_be_bytes().repeat(8);
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    let written = store
        .write(&mut |txn| (0..300u32).try_for_each(|i| txn.put(Table::Session, &i.to_be_bytes(), &value(i))));
    written.expect("write");
    drop(store);
    let healthy = disk.after_power_cut(1);
    let values: HashSet<Vec<u8>> = (0..300).map(value).collect();
    let holds_values = |byte: &usize| {
        healthy[byte / PAGE * PAGE..][..PAGE].windows(32).any(|window| values.contains(window))
    };
    let (mut noticed, mut same) = (0, 0);
    for byte in (PAGE..healthy.len() / PAGE * PAGE).step_by(36).filter(holds_values) {
        let mut image = healthy.clone();
        image[byte] ^= 1 << (byte / 36 % 8);
        let Ok(store) = open(&Disk::dying_at(u64::MAX, image)) else {
            noticed += 1;
            continue;
        };
        let read = store.snapshot().and_then(|snapshot| {
            snapshot.scan(Table::Session, &[], None, &mut |key, found| {
                let i = u32::from_be_bytes(key.try_into().expect("a key"));
                assert_eq!(found, value(i), "byte {byte}");
                ControlFlow::Continue(())
            })
        });
        match read {
            Ok(()) => same += 1,
            Err(StoreError::Corrupted(_)) => noticed += 1,
            Err(error) => panic!("byte {byte}: {error}"),
        }
        // Closing frees pages.
        std::mem::forget(store);
    }
    assert!(noticed > 100, "{noticed} noticed, {same} the same");
}

/// Values had no checks in the first format.
#[test]
fn a_file_without_checks_gets_them() {
    const SESSIONS: TableDefinition<'static, &'static [u8], &'static [u8]> =
        TableDefinition::new("session-1");
    const BASE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("base-1");
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("hub.redb");
    {
        let db = redb::Database::create(&path).expect("create");
        let txn = db.begin_write().expect("begin");
        {
            let mut sessions = txn.open_table(SESSIONS).expect("table");
            let mut base = txn.open_table(BASE).expect("table");
            for i in 0..40_000u32 {
                sessions.insert(&i.to_be_bytes()[..], &b"session"[..]).expect("insert");
            }
            base.insert(&b"key"[..], &b"states"[..]).expect("insert");
        }
        txn.commit().expect("commit");
    }
    for _ in 0..2 {
        let store = RedbStore::open(&path, HUB_TABLES, RedbOptions::default()).expect("open");
        let snapshot = store.snapshot().expect("snapshot");
        let mut count = 0;
        let read = snapshot.scan(Table::Session, &[], None, &mut |_, value| {
            count += u32::from(value == b"session");
            ControlFlow::Continue(())
        });
        assert_eq!((read, count), (Ok(()), 40_000));
        let row = snapshot.get(Table::Base, b"key").expect("read").expect("a row");
        assert_eq!(seal::open(Table::Base, b"key", &row), Some(&b"states"[..]));
    }
    let db = redb::Database::open(&path).expect("open");
    let tables: Vec<String> =
        db.begin_read().expect("begin").list_tables().expect("list").map(|t| t.name().to_owned()).collect();
    assert!(!tables.iter().any(|name| name == "session-1" || name == "base-1"), "{tables:?}");
}

#[test]
fn a_full_disk_is_named_when_a_store_is_made_and_it_is_made_once_there_is_space() {
    for capacity in [0, 4_096, 16_384] {
        let disk = Arc::new(Disk::default());
        disk.limit(capacity);
        assert_eq!(open(&disk).map(drop), Err(StoreError::NoSpace), "{capacity} bytes");
        disk.limit(u64::MAX);
        let store = open(&disk).expect("with space it works");
        transact(&store, 1).expect("write");
    }
}

#[test]
fn a_device_that_turns_read_only_is_named_and_works_again_when_it_may_be_written() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk).expect("open");
    transact(&store, 1).expect("write");
    let before = rows(&*store.snapshot().expect("snapshot"), Table::Base);
    let is_named = |e: &StoreError| matches!(e, StoreError::Io { kind: ErrorKind::ReadOnlyFilesystem, .. });
    disk.refuse_writes(Some(ErrorKind::ReadOnlyFilesystem));
    assert!(transact(&store, 2).is_err_and(|e| is_named(&e)));
    assert!(store.reopen().is_err_and(|e| is_named(&e)));
    // redb cannot open a file that it may not write: reads wait, with the same words.
    assert!(store.snapshot().is_err_and(|e| is_named(&e)));
    disk.refuse_writes(None);
    store.reopen().expect("reopen");
    assert_eq!(rows(&*store.snapshot().expect("snapshot"), Table::Base), before);
    transact(&store, 2).expect("write");
}

/// Nobody, not even root, makes files in sysfs.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_place_is_named() {
    let path = Path::new("/sys/headwater-test.redb");
    let refused = RedbStore::open(path, HUB_TABLES, RedbOptions::default()).map(drop);
    assert_eq!(refused, Err(StoreError::ReadOnly(path.to_owned())));
}
