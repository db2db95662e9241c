//! Fixtures: shard groups over memory or a file, a clock that stands still, batches made by hand.

use super::options::SweepOptions;
use super::{Clock, Outcome, ShardOptions, Shards};
use crate::catalog::testing::{create_stream, create_view};
use crate::catalog::{Catalog, testing};
use crate::store::marker::Marker;
use crate::store::{MemoryStore, Store};
use futures::StreamExt;
use headwater::aggregate::Finisher;
use headwater::group::GroupTable;
use headwater::ids::{Micros, Pid, PlanVersion, RouteVersion, Seq, ViewId};
use headwater::limits::BatchLimits;
use headwater::value::Value;
use headwater::value::column::{Column, ColumnData};
use headwater::value::key::put_text;
use headwater::wire::batch::{DropCounts, LedgerDelta, Partials, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame, ReadLevel, RefusedCode};
use headwater_sql::source::ScanRequest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// 2026-01-01T00:00:00Z
pub(crate) const START: i64 = 1_767_225_600_000_000;

/// A key whose fold panics.
pub(crate) const POISON: &[u8] = b"poison\0";

/// Count and sum by key.
pub(crate) type Totals = BTreeMap<String, (i64, i128)>;

/// A hub's storage rooms with one stream and the view `v1` (key text; count, sum).
pub(crate) struct Fixture {
    pub(crate) shards: Shards,
    pub(crate) catalog: Catalog,
    pub(crate) clock: Arc<AtomicI64>,
}

pub(crate) const MARKER: Marker = Marker { cluster: [1; 16], hub: 1, shard_groups: 1 };

/// A catalog in memory with the stream `s` and `views` views.
pub(crate) async fn catalog(shard_groups: u16, views: usize) -> Catalog {
    let marker = Marker { shard_groups, ..MARKER };
    let catalog = Catalog::with_store(Box::new(MemoryStore::new()), marker).expect("catalog");
    catalog.apply(create_stream("s")).await.expect("stream");
    for i in 1..=views {
        catalog.apply(create_view(&format!("v{i}"), 1)).await.expect("view");
    }
    catalog
}

/// Options that commit and fold at once, so that tests need not wait.
pub(crate) fn eager() -> ShardOptions {
    ShardOptions {
        commit_delay: std::time::Duration::ZERO,
        fold_interval: std::time::Duration::ZERO,
        retry_interval: std::time::Duration::ZERO,
        // So small that a few hundred groups show what millions do.
        sweep: SweepOptions { rows: 256, rows_per_new: 8, page_rows: 64, exact_rows: 64 },
        scan_chunk_bytes: 4 << 10,
        ..ShardOptions::default()
    }
}

/// Options under which nothing is folded before the end.
pub(crate) fn lazy() -> ShardOptions {
    ShardOptions { fold_interval: std::time::Duration::from_secs(3600), ..eager() }
}

impl Fixture {
    /// Opens shard groups over `store`.
    pub(crate) fn open(store: Arc<dyn Store>, catalog: &Catalog, options: ShardOptions) -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let ticking = Clock::unset(Arc::new({
            let clock = clock.clone();
            move || Micros(clock.load(Ordering::Relaxed))
        }));
        let shards = Shards::with_store(store, options, catalog.clone(), ticking).expect("open");
        Self { shards, catalog: catalog.clone(), clock }
    }

    /// Submits a batch and waits for its last outcome.
    pub(crate) async fn send(&self, frame: BatchFrame) -> Result<AckLevel, RefusedCode> {
        let mut submission = self.shards.submit(frame).await;
        let mut last = None;
        while let Some(outcome) = submission.next().await {
            last = Some(match outcome {
                Outcome::Ack(ack) => Ok(ack.level),
                Outcome::Refused(refused) => Err(refused.code),
            });
        }
        last.expect("an outcome")
    }

    /// Reads all of a view.
    pub(crate) async fn read(&self, view: &str) -> Totals {
        self.read_range(view, Vec::new(), None).await
    }

    /// Reads all of a view; the code of the error if that fails.
    pub(crate) async fn try_read(&self, view: &str) -> Result<Totals, &'static str> {
        let view = self.catalog.snapshot().view(view).expect("view").clone();
        let (key_min, key_max, read_level) = (Vec::new(), None, ReadLevel::Replicated);
        let mut chunks = self.shards.scan(ScanRequest { view, key_min, key_max, read_level });
        let mut totals = Totals::new();
        while let Some(chunk) = chunks.next().await {
            collect(&chunk.map_err(|e| e.code)?, &mut totals);
        }
        Ok(totals)
    }

    /// Reads a key range of a view.
    pub(crate) async fn read_range(&self, view: &str, key_min: Vec<u8>, key_max: Option<Vec<u8>>) -> Totals {
        let view = self.catalog.snapshot().view(view).expect("view").clone();
        let request = ScanRequest { view, key_min, key_max, read_level: ReadLevel::Replicated };
        let mut chunks = self.shards.scan(request);
        let mut totals = Totals::new();
        while let Some(chunk) = chunks.next().await {
            collect(&chunk.expect("chunk"), &mut totals);
        }
        totals
    }
}

pub(crate) fn collect(table: &GroupTable, totals: &mut Totals) {
    for group in 0..table.len() as u32 {
        let key = table.key(group);
        let name = match key {
            headwater::group::OTHER_KEY => "(other)".into(),
            _ => String::from_utf8(key[..key.len() - 1].to_vec()).expect("text key"),
        };
        let Ok(Value::Int(count)) = table.states()[0].finish(group, &Finisher::Value) else {
            panic!("count")
        };
        let sum = match table.states()[1].finish(group, &Finisher::Value) {
            Ok(Value::Decimal(sum)) => sum,
            Ok(Value::Null) => 0,
            other => panic!("sum: {other:?}"),
        };
        let before = totals.insert(name.clone(), (count, sum));
        assert_eq!(before, None, "{name} is in two chunks");
    }
}

/// The key bytes of a text.
pub(crate) fn key(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(text.as_bytes(), &mut out);
    out
}

/// A producer born at [`START`].
pub(crate) fn pid(n: u8) -> Pid {
    Pid::new(START as u64 / 1_000, [n; 10])
}

/// The payload of one event per `(key, value)` for each of `views`.
pub(crate) fn payload(views: &[u32], events: &[(&str, i64)]) -> Vec<u8> {
    payload_of(views, PlanVersion(1), events)
}

/// The same for another version of their plans.
pub(crate) fn payload_of(views: &[u32], version: PlanVersion, events: &[(&str, i64)]) -> Vec<u8> {
    let keys: Vec<Vec<u8>> = events.iter().map(|(k, _)| key(k)).collect();
    let events: Vec<(&[u8], i64)> = keys.iter().map(Vec::as_slice).zip(events.iter().map(|e| e.1)).collect();
    payload_with_keys(views, version, &events)
}

/// The same with group key bytes.
pub(crate) fn payload_with_keys(views: &[u32], version: PlanVersion, events: &[(&[u8], i64)]) -> Vec<u8> {
    payload_of_table(views, version, &table_of(events), events.len() as u64)
}

/// One event per `(key bytes, value)`.
pub(crate) fn table_of(events: &[(&[u8], i64)]) -> GroupTable {
    let mut table = GroupTable::new(&testing::view_def("v", 1).specs());
    let groups: Vec<u32> = events.iter().map(|(k, _)| table.group(k)).collect();
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    let values = Column::valid(ColumnData::Int(events.iter().map(|e| e.1).collect()));
    table.states_mut()[0].update(&rows, &groups, &[]);
    table.states_mut()[1].update(&rows, &groups, &[&values]);
    table
}

/// The payload of a table whose groups stand for `events`.
pub(crate) fn payload_of_table(
    views: &[u32],
    version: PlanVersion,
    table: &GroupTable,
    events: u64,
) -> Vec<u8> {
    let tables: Vec<_> = views.iter().map(|view| (*view, table)).collect();
    payload_of_tables(&tables, version, events)
}

/// The payload of a table for each view.
pub(crate) fn payload_of_tables(tables: &[(u32, &GroupTable)], version: PlanVersion, events: u64) -> Vec<u8> {
    let section = |(view, table): &(u32, _)| SectionInput {
        view: ViewId(*view),
        version,
        events,
        rejected: DropCounts::default(),
        partials: *table,
    };
    let sections: Vec<_> = tables.iter().map(section).collect();
    let ledger = LedgerDelta { events, ..LedgerDelta::default() };
    let mut encoded = encode_payloads(&ledger, &sections, &BatchLimits::NATIVE);
    assert_eq!(encoded.payloads.len(), 1);
    encoded.payloads.remove(0).bytes
}

/// The payload of one group of view 1 with these bytes as its states.
pub(crate) fn payload_of_states(group: &str, states: &[u8]) -> Vec<u8> {
    struct Forged<'a>(Vec<u8>, &'a [u8]);
    impl Partials for Forged<'_> {
        fn is_empty(&self) -> bool {
            false
        }
        fn sorted(&self) -> Vec<u32> {
            vec![0]
        }
        fn key(&self, _: u32) -> &[u8] {
            &self.0
        }
        fn encode_states(&self, _: u32, out: &mut Vec<u8>) {
            out.extend_from_slice(self.1);
        }
    }
    let section = SectionInput {
        view: ViewId(1),
        version: PlanVersion(1),
        events: 1,
        rejected: DropCounts::default(),
        partials: &Forged(key(group), states),
    };
    let ledger = LedgerDelta { events: 1, ..LedgerDelta::default() };
    encode_payloads(&ledger, &[section], &BatchLimits::NATIVE).payloads.remove(0).bytes
}

/// A batch for view 1 that asks for `replicated`; without events, one whose payload is still to be set.
pub(crate) fn batch(pid: Pid, seq: u64, low_water: u64, events: &[(&str, i64)]) -> BatchFrame {
    let payload = if events.is_empty() { Vec::new() } else { payload(&[1], events) };
    BatchFrame {
        pid,
        seq: Seq(seq),
        low_water: Seq(low_water),
        route: RouteVersion(1),
        level: AckLevel::Replicated,
        backfill: false,
        payload,
    }
}

/// Totals as a literal.
pub(crate) fn totals(rows: &[(&str, i64, i128)]) -> Totals {
    rows.iter().map(|(k, c, s)| ((*k).to_string(), (*c, *s))).collect()
}
