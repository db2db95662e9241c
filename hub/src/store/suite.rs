//! The conformance suite: what every [`Store`] must do. Runs on redb and on its memory twin.

use super::tables::{HUB_TABLES, successor};
use super::{MemoryStore, RedbOptions, RedbStore, Snapshot, Store, StoreError, Table};
use std::ops::ControlFlow;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// All rows of a table.
pub(super) fn rows(snapshot: &dyn Snapshot, table: Table) -> Rows {
    range(snapshot, table, &[], None)
}

fn range(snapshot: &dyn Snapshot, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows {
    let mut out = Rows::new();
    let scanned = snapshot.scan(table, from, to, &mut |key, value| {
        out.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    });
    scanned.expect("scan");
    out
}

fn keys(rows: &Rows) -> Vec<&[u8]> {
    rows.iter().map(|r| r.0.as_slice()).collect()
}

fn put(store: &dyn Store, table: Table, keys: &[&[u8]]) {
    let written = store.write(&mut |txn| keys.iter().try_for_each(|k| txn.put(table, k, b"v")));
    written.expect("write");
}

fn tables_are_apart_and_ordered(store: &dyn Store) {
    put(store, Table::Base, &[&[2], &[1, 0xff], &[1], &[0xff, 0xff]]);
    put(store, Table::Log, &[&[1]]);
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(keys(&rows(&*snapshot, Table::Base)), [&[1][..], &[1, 0xff], &[2], &[0xff, 0xff]]);
    assert_eq!(rows(&*snapshot, Table::Log).len(), 1);
    assert_eq!(snapshot.get(Table::Base, &[1]), Ok(Some(b"v".to_vec())));
    assert_eq!(snapshot.get(Table::Session, &[1]), Ok(None));
}

fn ranges_are_half_open(store: &dyn Store) {
    put(store, Table::Base, &[&[1], &[1, 5], &[2], &[3]]);
    let snapshot = store.snapshot().expect("snapshot");
    let found = |from: &[u8], to: Option<&[u8]>| range(&*snapshot, Table::Base, from, to).len();
    assert_eq!(found(&[1], Some(&[2])), 2);
    assert_eq!(found(&[1, 5], None), 3);
    assert_eq!(found(&[1], successor(&[1]).as_deref()), 2);
    assert_eq!(found(&[2], Some(&[2])), 0);
    assert_eq!(found(&[3], Some(&[1])), 0, "a range that ends before it starts is empty");
    let mut seen = 0;
    let stopped = snapshot.scan(Table::Base, &[], None, &mut |_, _| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((stopped, seen), (Ok(()), 2));
}

fn a_snapshot_never_changes(store: &dyn Store) {
    put(store, Table::Base, &[&[1]]);
    let before = store.snapshot().expect("snapshot");
    put(store, Table::Base, &[&[2]]);
    store.write(&mut |txn| txn.remove(Table::Base, &[1])).expect("write");
    assert_eq!(keys(&rows(&*before, Table::Base)), [&[1][..]]);
    assert_eq!(keys(&rows(&*store.snapshot().expect("snapshot"), Table::Base)), [&[2][..]]);
}

fn a_transaction_sees_its_own_changes(store: &dyn Store) {
    put(store, Table::Base, &[&[1]]);
    let written = store.write(&mut |txn| {
        txn.put(Table::Base, &[2], b"new")?;
        txn.remove(Table::Base, &[1])?;
        txn.remove(Table::Base, &[7])?;
        let mut value = Vec::new();
        assert!(txn.get(Table::Base, &[2], &mut |v| value = v.to_vec())?);
        assert_eq!(value, b"new");
        assert!(!txn.get(Table::Base, &[1], &mut |_| panic!("it was removed"))?);
        let mut keys = Vec::new();
        txn.scan(Table::Base, &[0], Some(&[9]), &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        assert_eq!(keys, [[2]]);
        Ok(())
    });
    written.expect("write");
    assert_eq!(keys(&rows(&*store.snapshot().expect("snapshot"), Table::Base)), [&[2][..]]);
}

fn a_failing_body_changes_nothing(store: &dyn Store) {
    put(store, Table::Base, &[&[1]]);
    let failed = store.write(&mut |txn| {
        txn.put(Table::Base, &[2], b"v")?;
        txn.remove(Table::Base, &[1])?;
        Err(StoreError::Corrupted("on purpose".into()))
    });
    assert_eq!(failed, Err(StoreError::Corrupted("on purpose".into())));
    assert_eq!(keys(&rows(&*store.snapshot().expect("snapshot"), Table::Base)), [&[1][..]]);
    put(store, Table::Base, &[&[3]]);
}

fn ranges_are_removed_in_pieces(store: &dyn Store) {
    let all: Vec<[u8; 2]> = (0..500u16).map(u16::to_be_bytes).collect();
    put(store, Table::Log, &all.iter().map(|k| k.as_slice()).collect::<Vec<_>>());
    let remove = |from: &[u8], to: &[u8], max| {
        let mut removed = 0;
        let written = store.write(&mut |txn| {
            removed = txn.remove_range(Table::Log, from, to, max)?;
            Ok(())
        });
        written.map(|()| removed)
    };
    assert_eq!(remove(&all[10], &all[20], 4), Ok(4));
    assert_eq!(remove(&all[10], &all[20], u64::MAX), Ok(6));
    assert_eq!(remove(&all[20], &all[10], u64::MAX), Ok(0));
    assert_eq!(remove(&[], &all[5], u64::MAX), Ok(5));
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(rows(&*snapshot, Table::Log).len(), 485);
    assert_eq!(snapshot.get(Table::Log, &all[9]), Ok(Some(b"v".to_vec())));
    assert_eq!(snapshot.get(Table::Log, &all[20]), Ok(Some(b"v".to_vec())));
}

fn large_values_come_back(store: &dyn Store) {
    let value: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    store.write(&mut |txn| txn.put(Table::Log, &[1], &value)).expect("write");
    assert_eq!(store.snapshot().expect("snapshot").get(Table::Log, &[1]), Ok(Some(value)));
    assert!(store.file_bytes() >= 3_000_000);
}

const SUITE: [fn(&dyn Store); 7] = [
    tables_are_apart_and_ordered,
    ranges_are_half_open,
    a_snapshot_never_changes,
    a_transaction_sees_its_own_changes,
    a_failing_body_changes_nothing,
    ranges_are_removed_in_pieces,
    large_values_come_back,
];

#[test]
fn the_memory_twin_conforms() {
    SUITE.iter().for_each(|test| test(&MemoryStore::new()));
}

#[test]
fn redb_conforms_also_after_reopening() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for (i, test) in SUITE.iter().enumerate() {
        let path = dir.path().join(format!("{i}.redb"));
        test(&RedbStore::open(&path, HUB_TABLES, RedbOptions::default()).expect("open"));
        RedbStore::open(&path, HUB_TABLES, RedbOptions::default()).expect("reopen");
    }
}

#[test]
fn a_file_opens_once_and_only_if_it_is_one_of_ours() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let open = |name: &str| RedbStore::open(&dir.path().join(name), HUB_TABLES, RedbOptions::default());
    let code = |name: &str| open(name).err().map(|e| e.code());
    let held = open("a").expect("open");
    put(&held, Table::Base, &[&[1]]);
    assert_eq!(code("a"), Some("storage_in_use"));
    drop(held);
    assert_eq!(code("a"), None);

    let bytes = std::fs::read(dir.path().join("a")).expect("read");
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("write");
    write("text", b"this is no database, and it must stay as it is");
    assert_eq!(code("text"), Some("storage_corrupted"));
    assert_eq!(std::fs::read(dir.path().join("text")).expect("read").len(), 46);
    for keep in [20, 100, 4_096, bytes.len() / 2] {
        write("torn", &bytes[..keep]);
        assert_eq!(code("torn"), Some("storage_corrupted"), "cut to {keep} bytes");
    }
    let mut newer = bytes.clone();
    // The god byte's neighbours say which format the slots have: 3 is redb 4's.
    assert_eq!(&newer[..9], b"redb\x1a\x0a\xa9\x0d\x0a");
    newer[9..].iter_mut().take(100).for_each(|b| *b ^= 0xff);
    write("damaged", &newer);
    assert_eq!(code("damaged"), Some("storage_corrupted"));
    let no_create = RedbOptions { create: false, ..RedbOptions::default() };
    assert!(RedbStore::open(&dir.path().join("absent"), HUB_TABLES, no_create).is_err());
    assert!(!dir.path().join("absent").exists());
}
