//! Damage: states that cannot be read or merged, and what they may cost.
//!
//! Prevents: one damaged group that stops the hub, a damaged row lost without a word, an acknowledged group
//! dropped because options changed between the append and the replay.

use super::ShardOptions;
use super::record::{self, Body, Chain, Record, Window};
use super::testing::{
    Fixture, POISON, START, batch, catalog, eager, key, lazy, payload, payload_of_table, payload_with_keys,
    pid, totals,
};
use super::tests::{at_times, memory, minutes_view, rows, stop};
use crate::catalog::testing::view_def;
use crate::store::tables::{base_prefix, log_key};
use crate::store::{MemoryStore, Store, Table};
use headwater::codec::{Reader, Writer};
use headwater::group::GroupTable;
use headwater::ids::{Dot, Epoch, Lsn, Micros, PlanVersion, RouteVersion, Seq, ShardGroupId, ViewId};
use headwater::wire::{AckLevel, RefusedCode};
use headwater_sql::definition::Ddl;
use std::ops::ControlFlow;
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
    // A count of 2^48 + 1 and of 2^64 - 1 in the group of an honest report; the sum is empty.
    for (count, taken) in [(1 << 48, true), ((1 << 48) + 1, false), (u64::MAX, false)] {
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
