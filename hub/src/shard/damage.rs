//! Damage: states that cannot be read or merged, and what they may cost.
//!
//! Prevents: one damaged group that stops the hub, a damaged row lost without a word, an acknowledged group
//! dropped because options changed between the append and the replay.

use super::record::{self, Body, Chain, Record, Window};
use super::testing::{
    Fixture, POISON, START, batch, catalog, eager, key, lazy, payload, payload_of_table, payload_with_keys,
    pid, totals,
};
use super::tests::{at_times, memory, minutes_view, rows, stop};
use super::{QuarantineOptions, ShardOptions};
use crate::catalog::testing::view_def;
use crate::store::tables::{HUB_TABLES, base_prefix, log_key};
use crate::store::{MemoryStore, RedbOptions, RedbStore, Store, StoreError, Table};
use headwater::codec::{Reader, Writer};
use headwater::group::GroupTable;
use headwater::ids::{Dot, Epoch, Lsn, Micros, PlanVersion, RouteVersion, Seq, ShardGroupId, ViewId};
use headwater::limits::BATCH_EVENTS_MAX;
use headwater::wire::{AckLevel, RefusedCode};
use headwater_sql::definition::Ddl;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Overwrites the base row of a group.
fn damage(store: &MemoryStore, name: &str) {
    let at = [&base_prefix(ShardGroupId(0), ViewId(1)), key(name).as_slice()].concat();
    let damaged = store.write(&mut |txn| {
        assert!(txn.get(Table::Base, &at, &mut |_| {})?, "{name} has a row");
        txn.put(Table::Base, &at, &[0xff; 11])
    });
    damaged.expect("write");
}

fn quarantined(fixture: &Fixture) -> (u64, u64) {
    let status = fixture.shards.status();
    assert!(status.storage_ok, "{:?}", status.storage_error);
    let of_views: u64 = status.views.iter().map(|v| v.quarantined).sum();
    (of_views, status.ledger.quarantined as u64)
}

async fn send(fixture: &Fixture, seq: u64, names: &[&str]) {
    let events: Vec<(&str, i64)> = names.iter().map(|n| (*n, 1)).collect();
    assert_eq!(fixture.send(batch(pid(1), seq, seq, &events)).await, Ok(AckLevel::Replicated));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_its_group_and_not_the_hub() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    send(&fixture, 1, &["a", "b"]).await;
    stop(fixture).await;
    damage(&memory, "a");
    let fixture = Fixture::open(store.clone(), &catalog, lazy());
    send(&fixture, 2, &["a", "b", "c"]).await;
    stop(fixture).await;
    let fixture = Fixture::open(store, &catalog, lazy());
    assert_eq!(quarantined(&fixture), (1, 1));
    assert_eq!(rows(&memory, Table::Quarantine), 1);
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 1), ("b", 2, 2), ("c", 1, 1)]));
    assert_eq!(fixture.shards.status().views[0].groups, 3);
    send(&fixture, 3, &["a"]).await;
}

/// Flipped bits changed keys and states, and answers were given as if nothing had happened.
#[tokio::test]
async fn a_flipped_bit_of_a_row_is_never_an_answer() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    send(&fixture, 1, &["a", "b"]).await;
    stop(fixture).await;
    let at = [&base_prefix(ShardGroupId(0), ViewId(1)), key("a").as_slice()].concat();
    let row = store.snapshot().expect("snapshot").get(Table::Base, &at).expect("read").expect("a row");
    for bit in 0..(at.len() + row.len()) * 8 {
        let (mut bad_key, mut bad_row) = (at.clone(), row.clone());
        match (bit / 8).checked_sub(at.len()) {
            None => bad_key[bit / 8] ^= 1 << (bit % 8),
            Some(byte) => bad_row[byte] ^= 1 << (bit % 8),
        }
        let change = |from: &[u8], to: &[u8], row: &[u8]| {
            memory
                .write(&mut |txn| {
                    txn.remove(Table::Base, from)?;
                    txn.put(Table::Base, to, row)
                })
                .expect("write");
        };
        change(&at, &bad_key, &bad_row);
        // Nothing is set aside: no message turns the writer's wheel.
        let fixture = Fixture::open(store.clone(), &catalog, lazy());
        assert_eq!(fixture.try_read("v1").await, Err("XX001"), "bit {bit}");
        drop(fixture);
        change(&bad_key, &at, &row);
    }
}

#[tokio::test]
async fn rows_that_are_gone_fail_a_read_once_and_are_counted() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    send(&fixture, 1, &["a", "b", "c"]).await;
    stop(fixture).await;
    let at = [&base_prefix(ShardGroupId(0), ViewId(1)), key("a").as_slice()].concat();
    memory.write(&mut |txn| txn.remove(Table::Base, &at)).expect("write");
    let fixture = Fixture::open(store, &catalog, lazy());
    assert_eq!(fixture.try_read("v1").await, Err("XX001"));
    send(&fixture, 2, &["b"]).await;
    send(&fixture, 3, &["b"]).await;
    assert_eq!(fixture.read("v1").await, totals(&[("b", 3, 3), ("c", 1, 1)]));
    assert_eq!((quarantined(&fixture), fixture.shards.status().views[0].groups), ((1, 1), 2));
}

#[tokio::test]
async fn a_read_that_meets_a_damaged_row_fails_once_and_has_it_set_aside() {
    let (memory, store) = memory();
    let catalog = catalog(1, 2).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    send(&fixture, 1, &["a", "b"]).await;
    stop(fixture).await;
    damage(&memory, "a");
    let fixture = Fixture::open(store, &catalog, lazy());
    assert_eq!(fixture.try_read("v1").await, Err("XX001"));
    assert_eq!(fixture.try_read("v2").await, Ok(totals(&[])), "other views are untouched");
    // A message turns the writer's wheel; the second one is answered after the first one's work.
    send(&fixture, 2, &["b"]).await;
    send(&fixture, 3, &["b"]).await;
    assert_eq!(fixture.try_read("v1").await, Ok(totals(&[("b", 3, 3)])));
    assert_eq!(quarantined(&fixture), (1, 1));
    assert_eq!(rows(&memory, Table::Quarantine), 1);
}

/// Damage of a whole device would have been copied into quarantine without end.
#[tokio::test]
async fn quarantine_keeps_as_much_as_it_may_and_counts_the_rest() {
    // By rows, and by bytes: a key of 3 bytes ("a", escaped) and 11 of damage.
    for (rows_max, bytes_max, kept) in [(2, 1_000, 2), (100, 40, 3), (0, 1_000, 0), (100, 1_000, 5)] {
        let (memory, store) = memory();
        let catalog = catalog(1, 1).await;
        let names = ["a", "b", "c", "d", "e"];
        let fixture = Fixture::open(store.clone(), &catalog, eager());
        send(&fixture, 1, &names).await;
        stop(fixture).await;
        names.iter().for_each(|name| damage(&memory, name));
        let options = ShardOptions { quarantine: QuarantineOptions { rows_max, bytes_max }, ..lazy() };
        // Two folds and a start between them: the bound holds over all of them.
        for (seq, some) in [(2, &names[..2]), (3, &names[2..])] {
            let fixture = Fixture::open(store.clone(), &catalog, options.clone());
            send(&fixture, seq, some).await;
            stop(fixture).await;
        }
        let fixture = Fixture::open(store, &catalog, options);
        assert_eq!(quarantined(&fixture), (5, 5), "all are counted");
        assert_eq!(rows(&memory, Table::Quarantine), kept);
        let listed = fixture.shards.quarantine().expect("reads");
        let expected = names[..kept].iter().map(|name| (ViewId(1), "row", key(name), 11, vec![0xff; 11]));
        let listed = listed.into_iter().map(|q| (q.view, q.kind, q.key, q.bytes, q.head));
        assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_group_whose_merge_panics_is_set_aside_alone() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, lazy());
    let (a, b) = (key("a"), key("z"));
    let mut frame = batch(pid(1), 1, 1, &[]);
    frame.payload = payload_with_keys(&[1], PlanVersion(1), &[(&a, 1), (POISON, 7), (&b, 1)]);
    assert_eq!(fixture.send(frame).await, Ok(AckLevel::Replicated));
    stop(fixture).await;
    let fixture = Fixture::open(store, &catalog, lazy());
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 1), ("z", 1, 1)]));
    assert_eq!(quarantined(&fixture), (1, 1));
    assert_eq!(rows(&memory, Table::Quarantine), 1);
}

#[tokio::test]
async fn forged_counts_pin_no_total() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, eager());
    let mut frame = batch(pid(1), 1, 1, &[]);
    // 2^48 events and one: the report comes behind the version byte.
    let honest = payload(&[1], &[("a", 1)]);
    frame.payload = [&[1, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40], &honest[2..]].concat();
    assert_eq!(fixture.send(frame.clone()).await, Err(RefusedCode::Malformed));
    // The group of an honest report counts more than a batch may; the sum is empty.
    let most = BATCH_EVENTS_MAX;
    for (count, taken) in [(most, true), (most + 1, false), (u64::MAX, false)] {
        let mut table = GroupTable::new(&view_def("v", 1).specs());
        let group = table.group(&key("a"));
        let mut states = Vec::new();
        table.encode_states(group, &mut states);
        let mut forged = Vec::new();
        forged.put_varint(count);
        forged.extend_from_slice(&states[1..]);
        table.merge_encoded(&key("a"), &mut Reader::new(&forged)).expect("states");
        frame.payload = payload_of_table(&[1], PlanVersion(1), &table, 1);
        let answer = fixture.send(frame.clone()).await;
        assert_eq!(answer.is_ok(), taken, "{count}: {answer:?}");
    }
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.batches, ledger.events), (1, 1));
}

/// Appends a record whose payload this build does not take (an older one may have).
fn append_unreadable(store: &MemoryStore, payload: &[u8]) {
    let (mut last, mut chain) = (Lsn(0), Chain(0));
    let visit = &mut |_: &[u8], bytes: &[u8]| {
        let (record, next) = record::decode(bytes, chain).expect("record");
        (last, chain) = (record.lsn, next);
        ControlFlow::Continue(())
    };
    store.snapshot().expect("snapshot").scan(Table::Log, &[], None, visit).expect("scan");
    let body = Body::Data {
        dot: Dot { pid: pid(9), seq: Seq(1) },
        low_water: Seq(1),
        route: RouteVersion(1),
        window: Some(Window { late_max: None, future_skew: 0 }),
        payload_hash: 1,
        payload,
    };
    let record = Record { epoch: Epoch(1), lsn: last.next(), time: Micros(START), body };
    let at = log_key(ShardGroupId(0), record.lsn);
    store.write(&mut |txn| txn.put(Table::Log, &at, &record.encode(chain).0)).expect("write");
}

#[tokio::test]
async fn a_log_record_that_cannot_be_read_any_more_does_not_keep_the_hub_from_starting() {
    let mut torn = payload(&[1, 2], &[("a", 1)]);
    // The last state's last byte: view 2's section.
    *torn.last_mut().expect("bytes") |= 0x80;
    for (payload, expected) in [(torn, 3), (vec![9; 30], 2)] {
        let (memory, store) = memory();
        let catalog = catalog(1, 2).await;
        let fixture = Fixture::open(store.clone(), &catalog, lazy());
        send(&fixture, 1, &["a"]).await;
        send(&fixture, 2, &["a"]).await;
        drop(fixture);
        append_unreadable(&memory, &payload);
        for _ in 0..2 {
            let fixture = Fixture::open(store.clone(), &catalog, lazy());
            assert_eq!(fixture.read("v1").await, totals(&[("a", expected, expected.into())]));
            assert!(fixture.shards.status().storage_ok);
            stop(fixture).await;
        }
        let fixture = Fixture::open(store, &catalog, lazy());
        assert_eq!(quarantined(&fixture), (1, 1));
        assert_eq!(rows(&memory, Table::Quarantine), 1);
    }
}

#[tokio::test]
async fn what_was_admitted_stays_admitted_when_options_are_lowered() {
    const HOUR: i64 = 3_600_000_000;
    let wide = ShardOptions {
        late_max: Some(Duration::from_secs(30 * 24 * 3600)),
        future_skew: Duration::from_secs(2 * 3600),
        ..lazy()
    };
    let narrow = ShardOptions {
        late_max: Some(Duration::from_secs(60)),
        future_skew: Duration::from_secs(1),
        ..lazy()
    };
    for (first, then, kept) in [(wide.clone(), narrow.clone(), 3), (narrow, wide, 1)] {
        let (memory, store) = memory();
        let catalog = catalog(1, 0).await;
        let mut def = minutes_view(false);
        def.options.clear();
        catalog.apply(Ddl::CreateView { def: Box::new(def), if_not_exists: false }).await.expect("view");
        let fixture = Fixture::open(store.clone(), &catalog, first);
        let times = [START - 9 * 24 * HOUR, START, START + HOUR];
        assert!(fixture.send(at_times(false, 1, &times)).await.is_ok());
        let before = fixture.shards.status().ledger;
        assert_eq!(before.groups as usize, kept);
        drop(fixture);
        let fixture = Fixture::open(store, &catalog, then);
        assert_eq!(fixture.shards.status().ledger, before);
        stop(fixture).await;
        assert_eq!(rows(&memory, Table::Base), kept);
    }
}

#[tokio::test]
async fn a_file_damaged_under_a_running_hub_refuses_everybody_and_the_hub_lives() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("hub.redb");
    let catalog = catalog(1, 1).await;
    // Without a cache every look-up reads the file.
    let uncached = RedbOptions { cache_bytes: 0, create: true };
    let open = || Arc::new(RedbStore::open(&path, HUB_TABLES, uncached).expect("open"));
    let names: Vec<String> = (0..3_000).map(|i| format!("key{i:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fixture = Fixture::open(open(), &catalog, lazy());
    send(&fixture, 1, &names).await;
    stop(fixture).await;
    let fixture = Fixture::open(open(), &catalog, lazy());
    assert_eq!(fixture.try_read("v1").await.map(|t| t.len()), Ok(3_000));
    let healthy = std::fs::read(&path).expect("read");
    let mut damaged = healthy.clone();
    damaged.chunks_mut(4_096).skip(1).for_each(|page| page[0] = 0xee);
    std::fs::write(&path, &damaged).expect("write");
    assert_eq!(fixture.try_read("v1").await, Err("XX001"));
    let refused = fixture.send(batch(pid(2), 1, 1, &[("a", 1)])).await;
    assert_eq!(refused, Err(RefusedCode::Unavailable));
    assert_eq!(fixture.try_read("v1").await, Err("XX001"));
    // The writer thread lives: it answers, and ends when it is asked to.
    let _ = fixture.shards.shutdown().await;
    drop(fixture);
}

#[tokio::test]
async fn a_newer_format_is_named_wherever_it_is_found_and_nothing_is_written() {
    let group = 0u16.to_be_bytes();
    let view = [0, 0, 0, 0, 0, 1];
    let cases: [(Table, &[u8], &[u8]); 5] = [
        (Table::Meta, b"format", &[3, 0, 0, 0]),
        (Table::Meta, &group, &[2]),
        (Table::Ledger, &group, &[2, 0]),
        (Table::View, &view, &[3, 0]),
        (
            Table::Log,
            &log_key(ShardGroupId(0), Lsn(1)),
            &[0x48, 0x57, 0x4c, 0x47, b'D', 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (table, at, newer) in cases {
        let (memory, store) = memory();
        memory.write(&mut |txn| txn.put(table, at, newer)).expect("write");
        let clock = super::Clock::unset(Arc::new(|| Micros(START)));
        let opened = super::Shards::with_store(store, lazy(), catalog(1, 1).await, clock).map(drop);
        assert!(matches!(opened, Err(StoreError::FormatTooNew { .. })), "{table:?}: {opened:?}");
        assert_eq!(memory.snapshot().expect("snapshot").get(table, at), Ok(Some(newer.to_vec())));
        assert_eq!(rows(&memory, Table::Base), 0);
    }
}
