//! Shard groups end to end, over memory and over a file.

use super::testing::{
    Fixture, START, batch, catalog, eager, key, lazy, payload, payload_of, payload_of_states,
    payload_of_table, payload_of_tables, payload_with_keys, pid, table_of, totals,
};
use super::{Outcome, ShardOptions};
use crate::catalog::testing::{create_view, drop_view, view_def};
use crate::store::tables::HUB_TABLES;
use crate::store::{MemoryStore, RedbOptions, RedbStore, Store, StoreError, Table};
use futures::StreamExt;
use headwater::aggregate::AggregateSpec;
use headwater::group::GroupTable;
use headwater::ids::{Pid, PlanVersion, Seq};
use headwater::plan::{ExprId, Node, Op, StatePlan};
use headwater::value::DataType;
use headwater::value::column::{Column, ColumnData};
use headwater::wire::{AckLevel, BatchFrame, ReadLevel, RefusedCode, Resume, SessionLimits};
use headwater_sql::definition::{Ddl, ViewDef};
use headwater_sql::source::ScanRequest;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) fn memory() -> (MemoryStore, Arc<dyn Store>) {
    let store = MemoryStore::new();
    (store.clone(), Arc::new(store))
}

pub(super) fn rows(store: &dyn Store, table: Table) -> usize {
    let mut count = 0;
    let snapshot = store.snapshot().expect("snapshot");
    snapshot
        .scan(table, &[], None, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })
        .expect("scan");
    count
}

/// Until the writer thread is gone: it holds the store.
pub(super) async fn stop(fixture: Fixture) {
    fixture.shards.shutdown().await.expect("shutdown");
}

#[tokio::test]
async fn a_batch_is_acknowledged_level_by_level_and_readable_at_once() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, lazy());
    let mut submission = fixture.shards.submit(batch(pid(1), 1, 1, &[("a", 5), ("b", 7), ("a", 1)])).await;
    let mut levels = Vec::new();
    while let Some(outcome) = submission.next().await {
        let Outcome::Ack(ack) = outcome else { panic!("{outcome:?}") };
        assert_eq!((ack.pid, ack.seq, ack.epoch.0), (pid(1), Seq(1), 1));
        levels.push(ack.level);
    }
    assert_eq!(levels, [AckLevel::Received, AckLevel::Durable, AckLevel::Replicated]);
    assert_eq!(fixture.read("v1").await, totals(&[("a", 2, 6), ("b", 1, 7)]));
    let status = fixture.shards.status();
    assert!(status.storage_ok);
    assert_eq!((status.ledger.batches, status.ledger.events, status.ledger.groups), (1, 3, 2));
    assert_eq!(status.shards[0].overlay_groups, 2);
}

/// The limits of the HTTP door were told to pages and held nobody.
#[tokio::test]
async fn a_door_holds_batches_to_the_limits_it_tells() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, lazy());
    let door = SessionLimits {
        frame_bytes_max: 1 << 20,
        batch_groups_max: 2,
        key_bytes_max: 4,
        pid_lifetime_ms: 1_000,
    };
    for (seq, events, refused) in [
        (1, [("a", 1), ("b", 1), ("b", 1)], None),
        (2, [("a", 1), ("b", 1), ("c", 1)], Some(RefusedCode::TooLarge)),
        (2, [("abcd", 1), ("b", 1), ("b", 1)], Some(RefusedCode::TooLarge)),
        (2, [("abc", 1), ("b", 1), ("b", 1)], None),
    ] {
        let mut submission = fixture.shards.submit_through(batch(pid(1), seq, 1, &events), &door).await;
        let code = match submission.next().await {
            Some(Outcome::Refused(refused)) => Some(refused.code),
            Some(Outcome::Ack(_)) => None,
            None => panic!("no outcome"),
        };
        assert_eq!(code, refused, "{events:?}");
    }
}

#[tokio::test]
async fn replayed_frames_count_once_and_forged_ones_are_refused() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    for (start, options) in [lazy(), eager()].into_iter().enumerate() {
        let fixture = Fixture::open(store.clone(), &catalog, options);
        let seq = start as u64 * 2 + 1;
        for _ in 0..5 {
            assert_eq!(fixture.send(batch(pid(1), seq, 1, &[("a", 1)])).await, Ok(AckLevel::Replicated));
            assert_eq!(fixture.send(batch(pid(1), seq + 1, 1, &[("a", 1)])).await, Ok(AckLevel::Replicated));
        }
        let forged = fixture.send(batch(pid(1), seq, 1, &[("a", 2)])).await;
        assert_eq!(forged, Err(RefusedCode::DotConflict));
        let n = seq as i64 + 1;
        assert_eq!(fixture.read("v1").await, totals(&[("a", n, n.into())]));
        stop(fixture).await;
    }
    // The counts of refusals and duplicates are written with a fold.
    let fixture = Fixture::open(store, &catalog, eager());
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.batches, ledger.duplicates), (4, 16));
    let conflicts = ledger.refused().find(|r| r.0 == RefusedCode::DotConflict).expect("code");
    assert_eq!(conflicts.1, 2);
    assert_eq!(rows(&memory, Table::Session), 1);
}

#[tokio::test]
async fn what_is_impossible_is_refused_by_its_code_and_leaves_no_trace() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, eager());
    let good = batch(pid(1), 1, 1, &[("a", 1)]);
    let with = |change: &dyn Fn(&mut BatchFrame)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let future = Pid::new(START as u64 / 1_000 + 300_001, [0; 10]);
    let cases = [
        (with(&|f| f.payload.truncate(f.payload.len() - 1)), RefusedCode::Malformed),
        (with(&|f| f.payload.clear()), RefusedCode::Malformed),
        (with(&|f| f.payload.push(0)), RefusedCode::Malformed),
        (with(&|f| f.payload = vec![0xff; 5 << 20]), RefusedCode::TooLarge),
        (with(&|f| f.pid = future), RefusedCode::BornInFuture),
        (with(&|f| f.seq = Seq(0)), RefusedCode::Malformed),
        (with(&|f| f.low_water = Seq(2)), RefusedCode::Malformed),
        (with(&|f| f.seq = Seq(65)), RefusedCode::WindowExceeded),
    ];
    for (frame, code) in cases {
        assert_eq!(fixture.send(frame).await, Err(code));
    }
    assert_eq!(fixture.read("v1").await, totals(&[]));
    assert_eq!(fixture.shards.status().ledger.batches, 0);
    assert_eq!(fixture.send(good).await, Ok(AckLevel::Replicated));
}

#[tokio::test]
async fn sections_of_dropped_views_and_of_other_plans_are_only_counted() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, eager());
    let mut frame = batch(pid(1), 1, 1, &[]);
    frame.payload = payload(&[1, 99], &[("a", 3)]);
    assert_eq!(fixture.send(frame).await, Ok(AckLevel::Replicated));
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 3)]));
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.view_dropped_sections, ledger.view_dropped_events, ledger.events), (1, 1, 1));
    assert_eq!(ledger.view_dropped_groups, 1);
    let mut stale = batch(pid(1), 2, 1, &[]);
    stale.payload = payload_of(&[1], PlanVersion(2), &[("a", 3)]);
    assert_eq!(fixture.send(stale).await, Ok(AckLevel::Replicated));
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 3)]));
    assert_eq!(fixture.shards.status().ledger.view_dropped_sections, 2);
}

#[tokio::test]
async fn reopening_replays_the_log_and_folding_changes_no_answer() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("hub.redb");
    let catalog = catalog(1, 2).await;
    let open = || RedbStore::open(&path, HUB_TABLES, RedbOptions::default()).expect("open");
    let mut expected = std::collections::BTreeMap::new();
    for round in 0..6u64 {
        let options = if round % 2 == 0 { lazy() } else { eager() };
        let store: Arc<dyn Store> = Arc::new(open());
        let fixture = Fixture::open(store.clone(), &catalog, options);
        assert_eq!(fixture.read("v1").await, expected, "round {round}");
        for i in 0..20u64 {
            let key = format!("k{}", i % 7);
            let row = expected.entry(key.clone()).or_insert((0, 0));
            *row = (row.0 + 1, row.1 + i128::from(i));
            let mut frame = batch(pid(round as u8), i + 1, i + 1, &[]);
            frame.payload = payload(&[1, 2], &[(&key, i as i64)]);
            assert_eq!(fixture.send(frame).await, Ok(AckLevel::Replicated));
        }
        assert_eq!(fixture.read("v1").await, expected, "round {round}");
        assert_eq!(fixture.read("v2").await, expected);
        let resumed = fixture.shards.resume(Resume { pid: pid(round as u8), low_water: Seq(1) }).await;
        let resumed = resumed.expect("resume");
        assert_eq!((resumed.floor, resumed.bitmap, resumed.expired), (Seq(20), 0, false));
        if round % 3 == 0 {
            stop(fixture).await;
            assert_eq!(rows(&*store, Table::Log), 0, "a clean stop folds everything");
        } else {
            drop(fixture);
        }
        release(store);
    }
}

/// Waits until the writer thread has let go of the store.
fn release(store: Arc<dyn Store>) {
    let mut store = Some(store);
    while let Some(held) = store.take() {
        store = Arc::try_unwrap_or(held);
        std::thread::yield_now();
    }
}

/// `Arc<dyn Store>` cannot be unwrapped; dropping the last reference is enough.
trait TryUnwrap {
    fn try_unwrap_or(held: Self) -> Option<Self>
    where
        Self: Sized;
}

impl TryUnwrap for Arc<dyn Store> {
    fn try_unwrap_or(held: Self) -> Option<Self> {
        (Arc::strong_count(&held) > 1).then_some(held)
    }
}

#[tokio::test]
async fn no_space_stops_writes_and_not_reads_until_there_is_space_again() {
    let (memory, store) = memory();
    let fixture = Fixture::open(
        store,
        &catalog(1, 1).await,
        ShardOptions { retry_interval: std::time::Duration::from_millis(300), ..lazy() },
    );
    assert_eq!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await, Ok(AckLevel::Replicated));
    memory.fail_next_write(StoreError::NoSpace);
    assert_eq!(fixture.send(batch(pid(1), 2, 1, &[("a", 1)])).await, Err(RefusedCode::Unavailable));
    let status = fixture.shards.status();
    assert_eq!((status.storage_ok, status.storage_error), (false, Some(StoreError::NoSpace)));
    assert_eq!(fixture.send(batch(pid(1), 3, 1, &[("a", 1)])).await, Err(RefusedCode::Unavailable));
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 1)]));
    // The same batches, sent again until they are taken.
    for seq in [2, 3] {
        while let Err(code) = fixture.send(batch(pid(1), seq, 1, &[("a", 1)])).await {
            assert_eq!(code, RefusedCode::Unavailable);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert!(fixture.shards.status().storage_ok);
    assert_eq!(fixture.read("v1").await, totals(&[("a", 3, 3)]));
}

#[tokio::test]
async fn a_full_view_keeps_exact_totals_in_other() {
    let fixture =
        Fixture::open(memory().1, &catalog(1, 1).await, ShardOptions { view_groups_max: 3, ..eager() });
    for i in 0..20u64 {
        let name = format!("k{:02}", i % 10);
        let sent = fixture.send(batch(pid(1), i + 1, i + 1, &[(&name, 10)])).await;
        assert_eq!(sent, Ok(AckLevel::Replicated));
    }
    fixture.shards.shutdown().await.expect("shutdown");
    let read = fixture.read("v1").await;
    assert_eq!(read.len(), 4);
    assert_eq!(read.values().map(|v| v.0).sum::<i64>(), 20);
    assert_eq!(read["(other)"].1, 10 * i128::from(read["(other)"].0));
    let status = fixture.shards.status();
    assert_eq!(status.views[0].groups, 3);
    assert_eq!(status.ledger.other_groups, status.views[0].other.into());
}

#[tokio::test]
async fn scans_keep_to_their_range_and_merge_equal_keys_of_all_shard_groups() {
    for shard_groups in [1, 3] {
        let fixture = Fixture::open(memory().1, &catalog(shard_groups, 1).await, eager());
        for producer in 0..12 {
            let names: Vec<String> = (0..100).map(|i| format!("k{i:03}")).collect();
            let events: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 2)).collect();
            assert!(fixture.send(batch(pid(producer), 1, 1, &events)).await.is_ok());
        }
        let all = fixture.read("v1").await;
        assert_eq!(all.len(), 100);
        assert!(all.values().all(|v| *v == (12, 24)));
        let some = fixture.read_range("v1", key("k010"), Some(key("k020"))).await;
        assert_eq!(some.keys().next().map(String::as_str), Some("k010"));
        assert_eq!(some.len(), 10);
        assert!(fixture.read_range("v1", key("z"), Some(key("a"))).await.is_empty());
        stop(fixture).await;
    }
}

#[tokio::test]
async fn chunks_are_bounded_by_bytes_in_base_and_overlay() {
    for (shard_groups, options) in [(1, lazy()), (1, eager()), (3, lazy()), (3, eager())] {
        let fixture = Fixture::open(memory().1, &catalog(shard_groups, 1).await, options);
        let names: Vec<String> = (0..1_000).map(|i| format!("{:0>200}", i * 7 % 1_000)).collect();
        for (producer, names) in names.chunks(100).enumerate() {
            let events: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 2)).collect();
            assert!(fixture.send(batch(pid(producer as u8), 1, 1, &events)).await.is_ok());
        }
        let view = fixture.catalog.snapshot().view("v1").expect("view").clone();
        let (key_min, key_max) = (Vec::new(), None);
        let mut chunks =
            fixture.shards.scan(ScanRequest { view, key_min, key_max, read_level: ReadLevel::Replicated });
        let (mut seen, mut last) = (0, Vec::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.expect("chunk");
            // 4 KiB of rows of 210 bytes from the base, and from the overlay.
            assert!(chunk.len() <= 2 * 20, "{} groups in a chunk", chunk.len());
            for group in chunk.sorted() {
                assert!(chunk.key(group) > last.as_slice());
                last = chunk.key(group).to_vec();
                seen += 1;
            }
        }
        assert_eq!(seen, 1_000);
    }
}

#[tokio::test]
async fn dropped_views_lose_their_rows_and_a_namesake_starts_empty() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store, &catalog, eager());
    let names: Vec<String> = (0..9_000).map(|i| format!("k{i:05}")).collect();
    let events: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 1)).collect();
    assert!(fixture.send(batch(pid(1), 1, 1, &events)).await.is_ok());
    catalog.apply(drop_view("v1")).await.expect("drop");
    catalog.apply(create_view("v1", 1)).await.expect("create");
    assert!(fixture.read("v1").await.is_empty());
    // Every message turns the writer's wheel once: three pages of rows, then the view's own row.
    for seq in 2..40 {
        let mut frame = batch(pid(1), seq, seq, &[]);
        frame.payload = payload(&[1], &[("late", 1)]);
        assert!(fixture.send(frame).await.is_ok());
    }
    stop(fixture).await;
    assert_eq!((rows(&memory, Table::Base), rows(&memory, Table::View)), (0, 0));
}

#[tokio::test]
async fn old_producers_are_forgotten_and_refused_after_their_lifetime() {
    let (memory, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    assert!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await.is_ok());
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Session), 1);
    let week = 7 * 24 * 3600 * 1_000_000;
    let fixture = Fixture::open(store, &catalog, eager());
    fixture.clock.store(START + week + 1_000_000, Ordering::Relaxed);
    let resumed = fixture.shards.resume(Resume { pid: pid(1), low_water: Seq(1) }).await.expect("resume");
    assert!(resumed.expired);
    let young = Pid::new((START + week) as u64 / 1_000, [9; 10]);
    // The first message may come before the writer's first look at the clock, the later ones do not.
    for seq in 1..=5 {
        assert!(fixture.send(batch(young, seq, seq, &[("b", 1)])).await.is_ok());
    }
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Session), 1, "only the young producer is remembered");
}

#[tokio::test]
async fn shutting_down_refuses_what_comes_later() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, lazy());
    fixture.shards.shutdown().await.expect("shutdown");
    let refused = fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await;
    assert_eq!(refused, Err(RefusedCode::Unavailable));
    assert!(fixture.shards.resume(Resume { pid: pid(1), low_water: Seq(1) }).await.is_err());
    fixture.shards.shutdown().await.expect("twice is fine");
}

/// `SELECT [k,] date_trunc('minute', arrival_timestamp) AS minute, count(*), sum(v)` with a TTL of a day.
pub(super) fn minutes_view(leading: bool) -> headwater_sql::definition::ViewDef {
    use headwater::plan::{ExprId, Function, Node, Op};
    use headwater::value::{DataType, Value};
    let mut def = view_def("t", 1);
    let node = |op, data_type| Node { op, data_type };
    def.plan.nodes.push(node(Op::Literal(Value::Text("minute".into())), DataType::Text));
    def.plan.nodes.push(node(Op::Column(2), DataType::Timestamp));
    def.plan.nodes.push(node(Op::Call(Function::DateTrunc, vec![ExprId(2), ExprId(3)]), DataType::Timestamp));
    let minute = (ExprId(4), ("minute".to_string(), DataType::Timestamp));
    let (plan_keys, keys) = (&mut def.plan.keys, &mut def.keys);
    if leading {
        plan_keys.clear();
        keys.clear();
    }
    plan_keys.push(minute.0);
    keys.push(minute.1);
    def.options = vec![("ttl".into(), "1 day".into()), ("ttl_column".into(), "minute".into())];
    def
}

/// A batch with one event per time, in microseconds.
pub(super) fn at_times(leading: bool, seq: u64, times: &[i64]) -> BatchFrame {
    let key_at = |time: i64| {
        let mut out = if leading { Vec::new() } else { key("k") };
        headwater::value::key::put_int64(time, &mut out);
        out
    };
    let keys: Vec<Vec<u8>> = times.iter().map(|t| key_at(*t)).collect();
    let rows: Vec<(&[u8], i64)> = keys.iter().map(|k| (k.as_slice(), 1)).collect();
    let mut frame = batch(pid(1), seq, seq, &[]);
    frame.payload = payload_with_keys(&[1], PlanVersion(1), &rows);
    frame
}

#[tokio::test]
async fn groups_outside_their_time_are_dropped_and_rows_past_their_ttl_removed() {
    const HOUR: i64 = 3_600_000_000;
    for leading in [true, false] {
        let (memory, store) = memory();
        let catalog = catalog(1, 0).await;
        let create = Ddl::CreateView { def: Box::new(minutes_view(leading)), if_not_exists: false };
        catalog.apply(create).await.expect("view");
        let fixture = Fixture::open(store.clone(), &catalog, eager());
        let times = [START - 9 * 24 * HOUR, START - 3 * HOUR, START, START + HOUR];
        assert!(fixture.send(at_times(leading, 1, &times)).await.is_ok());
        let ledger = fixture.shards.status().ledger;
        assert_eq!((ledger.groups, ledger.late_groups, ledger.future_groups), (2, 1, 1));
        stop(fixture).await;
        assert_eq!(rows(&memory, Table::Base), 2);
        // A day and an hour after the first of the two; a new start looks at once.
        let fixture = Fixture::open(store, &catalog, eager());
        fixture.clock.store(START + 22 * HOUR, Ordering::Relaxed);
        for seq in 2..6 {
            assert!(fixture.send(at_times(leading, seq, &[START + 22 * HOUR])).await.is_ok());
        }
        stop(fixture).await;
        assert_eq!(rows(&memory, Table::Base), 2, "one expired, one came");
    }
}

/// With a catalog that is older than the data, a view that is made at once got the id of one that the catalog did not
/// know, and its rows.
#[tokio::test]
async fn a_new_view_has_no_rows_of_one_that_its_catalog_forgot() {
    let (memory, store) = memory();
    let fixture = Fixture::open(store.clone(), &catalog(1, 2).await, eager());
    let mut frame = batch(pid(1), 1, 1, &[]);
    frame.payload = payload(&[1, 2], &[("a", 1), ("b", 1)]);
    assert!(fixture.send(frame).await.is_ok());
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Base), 4);
    let older = catalog(1, 1).await;
    let fixture = Fixture::open(store, &older, eager());
    older.apply(create_view("v2", 1)).await.expect("view");
    assert_eq!(fixture.read("v2").await, totals(&[]));
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 1), ("b", 1, 1)]));
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Base), 2);
}

/// No event can give such a state, and no merge may pin a total to it.
#[tokio::test]
async fn forged_states_are_refused_and_nothing_stops() {
    let fixture = Fixture::open(memory().1, &catalog(1, 1).await, eager());
    assert_eq!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await, Ok(AckLevel::Replicated));
    let full = [&[0xff; 9][..], &[1]].concat();
    let forged: [&[u8]; 3] = [
        // A full count beside a sum of one, a count above what a batch may claim, a sum above its count.
        &[&full[..], &[1, 2]].concat(),
        &[0x81, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 2],
        &[1, 1, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
    ];
    for (i, states) in forged.into_iter().enumerate() {
        let seq = i as u64 + 1;
        let frame = BatchFrame { payload: payload_of_states("a", states), ..batch(pid(2), seq, 1, &[]) };
        let refused = fixture.send(frame).await.expect_err("forged");
        assert!(matches!(refused, RefusedCode::TooLarge | RefusedCode::Malformed), "{refused:?}");
    }
    // As much as a batch may claim is taken, and can be folded.
    for seq in 4..=6 {
        let most = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 2];
        let frame = BatchFrame { payload: payload_of_states("a", &most), ..batch(pid(2), seq, 1, &[]) };
        assert_eq!(fixture.send(frame).await, Ok(AckLevel::Replicated));
    }
    assert_eq!(fixture.send(batch(pid(1), 2, 1, &[("a", 1)])).await, Ok(AckLevel::Replicated));
    assert_eq!(fixture.read("v1").await, totals(&[("a", (3 << 40) + 2, 5)]));
    assert!(fixture.shards.status().storage_ok);
    stop(fixture).await;
}

/// Loading history is what a load is for; the replay of its records takes what the first reading took.
#[tokio::test]
async fn a_backfill_brings_groups_of_any_age() {
    const DAY: i64 = 24 * 3_600_000_000;
    let (memory, store) = memory();
    let catalog = catalog(1, 0).await;
    let mut view = minutes_view(true);
    view.options.clear();
    let create = Ddl::CreateView { def: Box::new(view), if_not_exists: false };
    catalog.apply(create).await.expect("view");
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    let times = [START - 9_000 * DAY, START - 9 * DAY, START, START + DAY];
    let history = BatchFrame { backfill: true, ..at_times(true, 1, &times) };
    assert!(fixture.send(history).await.is_ok());
    assert!(fixture.send(at_times(true, 2, &times)).await.is_ok());
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.groups, ledger.late_groups, ledger.future_groups), (4, 2, 2));
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Base), 3);
    let options = ShardOptions { backfill: false, ..eager() };
    let fixture = Fixture::open(store, &catalog, options);
    let history = BatchFrame { backfill: true, ..at_times(true, 3, &times) };
    assert_eq!(fixture.send(history).await.expect_err("refused"), RefusedCode::Unauthorized);
    stop(fixture).await;
}

/// One event per `(key, time of arrival)` for a view with `first(v)` and `last(v)` behind its count and sum.
fn arrivals_table(def: &ViewDef, events: &[(&str, i64)]) -> GroupTable {
    let mut table = GroupTable::new(&def.specs());
    let groups: Vec<u32> = events.iter().map(|(k, _)| table.group(&key(k))).collect();
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    let times = Column::valid(ColumnData::Int(events.iter().map(|e| e.1).collect()));
    let values = Column::valid(ColumnData::Int(vec![1; events.len()]));
    let args: [&[&Column]; 4] = [&[], &[&values], &[&values, &times], &[&values, &times]];
    for (states, args) in table.states_mut().iter_mut().zip(args) {
        states.update(&rows, &groups, args);
    }
    table
}

fn arrivals(def: &ViewDef, seq: u64, events: &[(&str, i64)]) -> BatchFrame {
    let table = arrivals_table(def, events);
    let payload = payload_of_table(&[1], PlanVersion(1), &table, events.len() as u64);
    BatchFrame { payload, ..batch(pid(1), seq, seq, &[]) }
}

/// `SELECT k, count(*), sum(v), first(v), last(v) FROM s1 GROUP BY k`
fn first_last_view(name: &str) -> ViewDef {
    let mut def = view_def(name, 1);
    def.plan.nodes.push(Node { op: Op::Column(2), data_type: DataType::Timestamp });
    let (value, by) = (DataType::Int64, DataType::Timestamp);
    let first = AggregateSpec::ArgMin { value: value.clone(), key: by.clone() };
    for spec in [first, AggregateSpec::ArgMax { value, key: by }] {
        def.plan.states.push(StatePlan { spec, args: vec![ExprId(1), ExprId(2)], filter: None });
    }
    def
}

/// A forged time of arrival wins `last` for ever, and one before all others `first`.
#[tokio::test]
async fn arrivals_at_impossible_times_win_neither_first_nor_last() {
    const HOUR: i64 = 3_600_000_000;
    let def = first_last_view("v1");
    let (memory, store) = memory();
    let catalog = catalog(1, 0).await;
    let create = Ddl::CreateView { def: Box::new(def.clone()), if_not_exists: false };
    catalog.apply(create).await.expect("view");
    let fixture = Fixture::open(store.clone(), &catalog, lazy());
    let events =
        [("a", START), ("b", START + HOUR), ("c", i64::MAX), ("d", START - 9 * 24 * HOUR), ("e", START)];
    assert!(fixture.send(arrivals(&def, 1, &events)).await.is_ok());
    let expected = totals(&[("a", 1, 1), ("e", 1, 1)]);
    assert_eq!(fixture.read("v1").await, expected);
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.groups, ledger.late_groups, ledger.future_groups), (2, 1, 2));
    // A backfill may be of any age; nobody's events are from the future.
    let backfill = BatchFrame { backfill: true, ..arrivals(&def, 2, &events) };
    assert!(fixture.send(backfill).await.is_ok());
    let expected = totals(&[("a", 2, 2), ("d", 1, 1), ("e", 2, 2)]);
    assert_eq!(fixture.read("v1").await, expected);
    drop(fixture);
    assert_eq!(rows(&memory, Table::Base), 0, "the log is read back by the same rule");
    let fixture = Fixture::open(store, &catalog, lazy());
    assert_eq!(fixture.read("v1").await, expected);
}

/// What a forged time costs: its own group of its own batch, in the view that keeps it, and it is counted.
#[tokio::test]
async fn a_forged_arrival_costs_neither_other_groups_nor_other_views() {
    let catalog = catalog(1, 0).await;
    let def = first_last_view("v1");
    let create = Ddl::CreateView { def: Box::new(def.clone()), if_not_exists: false };
    catalog.apply(create).await.expect("view");
    catalog.apply(create_view("v2", 1)).await.expect("view");
    let fixture = Fixture::open(memory().1, &catalog, lazy());
    assert!(fixture.send(arrivals(&def, 1, &[("forged", START)])).await.is_ok());
    let forged = arrivals_table(&def, &[("a", START), ("forged", i64::MAX), ("z", START)]);
    let keys = [key("a"), key("forged"), key("z")];
    let other = table_of(&[(&keys[0], 1), (&keys[1], 1), (&keys[2], 1)]);
    let payload = payload_of_tables(&[(1, &forged), (2, &other)], PlanVersion(1), 3);
    assert!(fixture.send(BatchFrame { payload, ..batch(pid(1), 2, 2, &[]) }).await.is_ok());
    assert!(fixture.send(arrivals(&def, 3, &[("forged", START)])).await.is_ok());
    assert_eq!(fixture.read("v1").await, totals(&[("a", 1, 1), ("forged", 2, 2), ("z", 1, 1)]));
    assert_eq!(fixture.read("v2").await, totals(&[("a", 1, 1), ("forged", 1, 1), ("z", 1, 1)]));
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.batches, ledger.groups, ledger.late_groups, ledger.future_groups), (3, 7, 0, 1));
}
