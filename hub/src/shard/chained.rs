//! Views over the output of views, with the power gone at any fold.
//!
//! Prevents: a change of a view that its readers miss or count twice after a failed write, a crash before or behind a
//! fold, or a restart; readers whose totals are not what recomputing from the view's history gives.

use super::ShardOptions;
use super::fold::merge_row;
use super::testing::{
    POISON, START, batch, catalog, key, lazy, payload_of, payload_of_table, payload_with_keys, pid,
};
use super::writer::stepper::Stepper;
use super::{Clock, Outcome, Shards};
use crate::catalog::Catalog;
use crate::store::{MemoryStore, Store, StoreError, Table, seal};
use futures::StreamExt;
use headwater::codec::{Reader, Writer};
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{Micros, ShardGroupId};
use headwater::value::Value;
use headwater::value::column::{Column, ColumnData};
use headwater::wire::{AckLevel, ReadLevel};
use headwater_sql::definition::ViewDef;
use headwater_sql::source::ScanRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Runtime;

const A: &str = "CREATE CONTINUOUS VIEW a AS SELECT k, count(*) AS c, sum(v) AS total FROM s GROUP BY k";
const B: &str = "CREATE CONTINUOUS VIEW b AS SELECT (new).k AS k, count(*) AS changes, \
                 count(*) FILTER (WHERE old IS NULL) AS made, sum((delta).c) AS c, combine((delta).total) AS total, \
                 max((new).total) AS most, sum((new).c) - sum(coalesce((old).c, 0)) AS steps \
                 FROM output_of('a') GROUP BY (new).k";
const C: &str = "CREATE CONTINUOUS VIEW c AS SELECT count(*) AS changes, count(*) FILTER (WHERE old IS NULL) AS made, \
                 sum((delta).c) AS c, combine((delta).total) AS total FROM output_of('b')";

/// The groups of a view: what its outputs say.
type Rows = BTreeMap<Vec<u8>, Vec<i128>>;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn define(runtime: &Runtime, catalog: &Catalog, sql: &str) {
    let statements = headwater_sql::parse(sql).expect("SQL");
    let ddl =
        headwater_sql::compile(&statements[0], &catalog.snapshot()).expect("compiles").expect("a definition");
    assert_eq!(runtime.block_on(catalog.apply(ddl)), Ok(true));
}

fn number(value: &Value) -> i128 {
    match value {
        Value::Int(v) => (*v).into(),
        Value::Decimal(v) => *v,
        Value::Null => 0,
        other => panic!("{other:?}"),
    }
}

fn outputs(def: &ViewDef, table: &GroupTable, group: u32) -> Vec<i128> {
    let value = |o: &headwater_sql::definition::Output| {
        number(&table.states()[usize::from(o.state)].finish(group, &o.finisher).expect("finishes"))
    };
    def.outputs.iter().map(value).collect()
}

/// What is folded, by shard group and key.
fn base(store: &MemoryStore, def: &ViewDef) -> Rows {
    let (snapshot, mut rows) = (store.snapshot().expect("reads"), Rows::new());
    let visit = &mut |key: &[u8], row: &[u8]| {
        if key[2..6] == def.id.0.to_be_bytes() {
            let mut table = GroupTable::new(&def.specs());
            let states = seal::open(Table::Base, key, row).expect("a sound row");
            merge_row(&mut table, key, states).expect("a row");
            rows.insert([&key[..2], &key[6..]].concat(), outputs(def, &table, 0));
        }
        ControlFlow::Continue(())
    };
    snapshot.scan(Table::Base, &[], None, visit).expect("scans");
    rows
}

/// Group, outputs before and after.
type Change = (Vec<u8>, Option<Vec<i128>>, Vec<i128>);

struct World {
    store: MemoryStore,
    catalog: Catalog,
    options: ShardOptions,
    hub: Stepper,
    random: u64,
    /// What folds changed in `a` and in `b`: old and new outputs by group.
    history: [Vec<Change>; 2],
    before: [Rows; 2],
}

fn open(store: &MemoryStore, catalog: &Catalog, options: &ShardOptions) -> Stepper {
    let clock = Clock::unset(Arc::new(|| Micros(START)));
    let store = Arc::new(store.clone());
    Stepper::open(store, options.clone(), catalog.clone(), clock, BTreeSet::new()).expect("opens")
}

impl World {
    fn new(runtime: &Runtime, seed: u64, options: ShardOptions) -> Self {
        Self::with(runtime, seed, options, &[A, B, C])
    }

    fn with(runtime: &Runtime, seed: u64, options: ShardOptions, views: &[&str]) -> Self {
        let catalog = runtime.block_on(catalog(2, 0));
        views.iter().for_each(|sql| define(runtime, &catalog, sql));
        let store = MemoryStore::new();
        let hub = open(&store, &catalog, &options);
        Self {
            hub,
            store,
            catalog,
            options,
            random: seed,
            history: Default::default(),
            before: Default::default(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn def(&self, name: &str) -> Arc<ViewDef> {
        self.catalog.snapshot().view(name).expect("a view").clone()
    }

    /// A transaction that may fail, or behind which the power may go.
    fn commit(&mut self, fold: bool) {
        let fate = self.random(8);
        if fate < 2 {
            self.store.fail_next_write(StoreError::NoSpace);
        }
        self.hub.commit(fold);
        if fate < 2 {
            // There may have been nothing to write: the next one must not fail.
            let _ = self.store.write(&mut |_| Ok(()));
            self.store.reopen().expect("reopens");
        }
        self.look();
        match fate {
            // What failed may be tried again by the same process, or by the next.
            1 | 2 => self.hub = open(&self.store, &self.catalog, &self.options),
            _ => self.hub.retry(),
        }
    }

    /// Writes down what the last transaction changed in the base.
    fn look(&mut self) {
        for (at, name) in ["a", "b"].into_iter().enumerate() {
            if self.catalog.snapshot().view(name).is_none() {
                continue;
            }
            let now = base(&self.store, &self.def(name));
            for (key, new) in &now {
                let old = self.before[at].get(key);
                if old != Some(new) {
                    self.history[at].push((key.clone(), old.cloned(), new.clone()));
                }
            }
            self.before[at] = now;
        }
    }

    fn send(&mut self, producer: u8, seq: u64, events: &[(String, i64)]) {
        let a = self.def("a");
        let events: Vec<(&str, i64)> = events.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        self.deliver(producer, seq, &payload_of(&[a.id.0], a.plan.version, &events));
    }

    /// Sends a batch until it is durable, whatever happens on the way.
    fn deliver(&mut self, producer: u8, seq: u64, payload: &[u8]) {
        loop {
            let mut frame = batch(pid(producer), seq, seq, &[]);
            frame.payload = payload.to_vec();
            let submitted = self.hub.submit(frame);
            let fold = self.random(3) == 0;
            self.commit(fold);
            let Ok(mut outcomes) = submitted else { continue };
            while let Ok(outcome) = outcomes.try_recv() {
                if matches!(outcome, Outcome::Ack(ack) if ack.level >= AckLevel::Durable) {
                    return;
                }
            }
        }
    }

    fn settle(&mut self) {
        while !self.hub.is_settled() {
            self.commit(true);
        }
    }

    /// All groups, as a query finds them.
    fn read(&self, runtime: &Runtime, name: &str) -> Rows {
        let view = self.def(name);
        let shards = Shards { shared: self.hub.shared.clone() };
        let (key_min, key_max, read_level) = (Vec::new(), None, ReadLevel::Replicated);
        let mut chunks = shards.scan(ScanRequest { view: view.clone(), key_min, key_max, read_level });
        let mut rows = Rows::new();
        runtime.block_on(async {
            while let Some(chunk) = chunks.next().await {
                let table = chunk.expect("reads");
                for group in 0..table.len() as u32 {
                    rows.insert(table.key(group).to_vec(), outputs(&view, &table, group));
                }
            }
        });
        rows
    }
}

/// The law: a chained view is what recomputing it from the history of the view that it reads gives.
#[test]
fn totals_of_chained_views_equal_recomputation() {
    let runtime = runtime();
    for seed in 0..40 {
        let mut world = World::new(&runtime, seed, lazy());
        let mut sent: BTreeMap<String, (i128, i128)> = BTreeMap::new();
        for seq in 1..=12 {
            for producer in 1..=3 {
                let count = 1 + world.random(6);
                let key = |world: &mut World| format!("k{}", world.random(5));
                let events: Vec<_> =
                    (0..count).map(|_| (key(&mut world), world.random(100) as i64 - 50)).collect();
                world.send(producer, seq, &events);
                for (key, value) in events {
                    let entry = sent.entry(key).or_default();
                    *entry = (entry.0 + 1, entry.1 + i128::from(value));
                }
            }
        }
        world.settle();
        check(&world, &runtime, &sent, seed);
        // From what is on disk alone it is the same.
        world.hub = open(&world.store, &world.catalog, &world.options);
        check(&world, &runtime, &sent, seed);
    }
}

fn check(world: &World, runtime: &Runtime, sent: &BTreeMap<String, (i128, i128)>, seed: u64) {
    let a: Vec<(i128, i128)> = world.read(runtime, "a").into_values().map(|o| (o[0], o[1])).collect();
    assert_eq!(a, sent.values().copied().collect::<Vec<_>>(), "seed {seed}: what was sent is counted once");
    let mut expected = Rows::new();
    for (key, old, new) in &world.history[0] {
        // changes, made, c, total, most, sum of new.c, sum of old.c
        let row = expected.entry(key[2..].to_vec()).or_insert_with(|| vec![0, 0, 0, 0, i128::MIN, 0, 0]);
        let before = old.clone().unwrap_or_else(|| vec![0, 0]);
        row[0] += 1;
        row[1] += i128::from(old.is_none());
        row[2] += new[0] - before[0];
        row[3] += new[1] - before[1];
        row[4] = row[4].max(new[1]);
        row[5] += new[0];
        row[6] += before[0];
    }
    assert_eq!(world.read(runtime, "b"), expected, "seed {seed}");
    let mut expected = vec![0; 4];
    for (_, old, new) in &world.history[1] {
        let before = old.clone().unwrap_or_else(|| vec![0; 7]);
        expected[0] += 1;
        expected[1] += i128::from(old.is_none());
        expected[2] += new[2] - before[2];
        expected[3] += new[3] - before[3];
    }
    assert_eq!(world.read(runtime, "c").into_values().collect::<Vec<_>>(), [expected], "seed {seed}");
}

/// Groups that a full view lets go of are not told: the sum of what came is what was sent, whoever was kept.
#[test]
fn what_a_full_view_merges_into_other_is_counted_once() {
    let runtime = runtime();
    let mut world = World::new(&runtime, 7, ShardOptions { view_groups_max: 8, ..lazy() });
    let mut total = 0;
    for seq in 1..=10 {
        let events: Vec<(String, i64)> = (0..20).map(|i| (format!("k{}", seq * 13 + i), 1)).collect();
        total += events.len() as i128;
        world.send(1, seq, &events);
        world.commit(true);
    }
    world.settle();
    assert!(world.read(&runtime, "a").contains_key(OTHER_KEY), "the view was full");
    let b = world.read(&runtime, "b");
    assert_eq!(b.values().map(|o| o[2]).sum::<i128>(), total);
    assert_eq!(world.read(&runtime, "c").into_values().map(|o| o[2]).collect::<Vec<_>>(), [total]);
}

/// The name that folds give their records is nobody else's.
#[test]
fn no_door_takes_a_batch_of_a_fold() {
    let runtime = runtime();
    let mut world = World::new(&runtime, 1, lazy());
    let a = world.def("a");
    let epoch = world.hub.shared.status().shards[0].epoch;
    for group in [0, 1] {
        let pid = super::record::output_pid(a.id, ShardGroupId(group), epoch);
        let mut frame = batch(pid, 1, 1, &[]);
        frame.payload = payload_of(&[a.id.0], a.plan.version, &[("forged", 1)]);
        let mut outcomes = world.hub.submit(frame).expect("it is the writer who refuses");
        world.hub.commit(false);
        let Ok(Outcome::Refused(refused)) = outcomes.try_recv() else { panic!("taken") };
        assert_eq!(refused.code, headwater::wire::RefusedCode::BornInFuture);
    }
}

/// A merge that panicked cost the readers all changes of that fold, not those of its own group alone.
#[test]
fn a_group_that_cannot_be_merged_hides_no_other_from_readers() {
    let runtime = runtime();
    let mut world = World::new(&runtime, 3, lazy());
    let a = world.def("a");
    let (k1, k2) = (key("k1"), key("k2"));
    let mut frame = batch(pid(1), 1, 1, &[]);
    frame.payload = payload_with_keys(&[a.id.0], a.plan.version, &[(&k1, 1), (POISON, 7), (&k2, 2)]);
    let _outcomes = world.hub.submit(frame).expect("taken");
    world.hub.commit(false);
    while !world.hub.is_settled() {
        world.hub.commit(true);
    }
    let b = world.read(&runtime, "b");
    assert_eq!(
        b.into_iter().map(|(key, row)| (key, row[2], row[3])).collect::<Vec<_>>(),
        [(k1, 1, 1), (k2, 1, 2)]
    );
}

/// Sends a batch of these payload bytes, and folds it.
fn folded(world: &mut World, producer: u8, payloads: Vec<Vec<u8>>) {
    for (seq, payload) in (1..).zip(payloads) {
        let mut frame = batch(pid(producer), seq, seq, &[]);
        frame.payload = payload;
        let _outcome = world.hub.submit(frame).expect("taken");
    }
    world.hub.commit(false);
    while !world.hub.is_settled() {
        world.hub.commit(true);
    }
}

/// What a fold merged was read back as one producer's claim: two batches that claim the most cost readers the fold.
#[test]
fn what_many_batches_claim_together_reaches_readers() {
    let runtime = runtime();
    let mut world = World::new(&runtime, 5, lazy());
    let a = world.def("a");
    let mut liar = GroupTable::new(&a.specs());
    let mut states = Vec::new();
    [1 << 40, 1 << 40, 0].iter().for_each(|number| states.put_varint(*number));
    liar.merge_encoded(&key("liar"), &mut Reader::new(&states)).expect("states");
    let claim = payload_of_table(&[a.id.0], a.plan.version, &liar, 1);
    let honest = payload_of(&[a.id.0], a.plan.version, &[("honest", 5)]);
    folded(&mut world, 1, vec![claim.clone(), honest, claim]);
    let b = world.read(&runtime, "b");
    let sums = b.into_iter().map(|(key, row)| (key, row[2], row[3])).collect::<Vec<_>>();
    assert_eq!(sums, [(key("honest"), 1, 5), (key("liar"), 2 << 40, 0)]);
    assert_eq!(world.hub.shared.status().ledger.quarantined, 0);
}

/// No plan of a chained view is ever sent to producers: who makes one up is not counted.
#[test]
fn no_producer_feeds_a_view_of_an_output() {
    let runtime = runtime();
    let mut world = World::new(&runtime, 9, lazy());
    let (a, b) = (world.def("a"), world.def("b"));
    let forged = GroupTable::new(&b.specs());
    let mut forged = forged;
    forged.group(&key("forged"));
    let into_b = payload_of_table(&[b.id.0], b.plan.version, &forged, 1);
    let into_a = payload_of(&[a.id.0], a.plan.version, &[("k", 5)]);
    folded(&mut world, 1, vec![into_b, into_a]);
    assert_eq!(world.read(&runtime, "b").into_keys().collect::<Vec<_>>(), [key("k")]);
}

/// One event per `(group, value)` for all states that a definition of `a` has.
fn payload_for(def: &ViewDef, events: &[(String, i64)]) -> Vec<u8> {
    let mut table = GroupTable::new(&def.specs());
    let groups: Vec<u32> = events.iter().map(|(k, _)| table.group(&key(k))).collect();
    let rows: Vec<u32> = (0..events.len() as u32).collect();
    let values = Column::valid(ColumnData::Int(events.iter().map(|e| e.1).collect()));
    let (count, others) = table.states_mut().split_first_mut().expect("a count");
    count.update(&rows, &groups, &[]);
    others.iter_mut().for_each(|states| states.update(&rows, &groups, &[&values]));
    payload_of_table(&[def.id.0], def.plan.version, &table, events.len() as u64)
}

/// The law of ADD COLUMN: what was made with the plan before it, whenever that arrives, counts in the columns that there
/// were; the others count what was made with the new plan. Over any order of batches, folds, failed writes and restarts.
#[test]
fn a_column_that_is_added_counts_from_then_on() {
    let runtime = runtime();
    for seed in 0..40 {
        let mut world = World::with(&runtime, seed, lazy(), &[A]);
        let (mut sent, mut tops): (BTreeMap<String, (i128, i128)>, BTreeMap<String, i128>) =
            Default::default();
        let old = world.def("a");
        for seq in 1..=10 {
            if seq == 3 + seed % 4 {
                define(&runtime, &world.catalog, "ALTER CONTINUOUS VIEW a ADD COLUMN max(v + 1) AS top");
            }
            // One producer has not heard of it yet.
            for (producer, def) in [(1, Arc::clone(&old)), (2, world.def("a"))] {
                let count = 1 + world.random(6);
                let key = |world: &mut World| format!("k{}", world.random(5));
                let events: Vec<_> =
                    (0..count).map(|_| (key(&mut world), 1 + world.random(100) as i64)).collect();
                world.deliver(producer, seq, &payload_for(&def, &events));
                for (key, value) in events {
                    let entry = sent.entry(key.clone()).or_default();
                    *entry = (entry.0 + 1, entry.1 + i128::from(value));
                    let top = tops.entry(key).or_default();
                    *top = if def.plan.states.len() > 2 { (*top).max(value.into()) } else { *top };
                }
            }
        }
        world.settle();
        for _ in 0..2 {
            let expected = sent.iter().map(|(key, (count, sum))| vec![*count, *sum, tops[key]]);
            let a = world.read(&runtime, "a").into_values().collect::<Vec<_>>();
            assert_eq!(a, expected.collect::<Vec<_>>(), "seed {seed}");
            world.hub = open(&world.store, &world.catalog, &world.options);
        }
    }
}
