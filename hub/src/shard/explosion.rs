//! Group explosions: what a full view keeps, and that its totals stay exact.
//!
//! Prevents: first-come keys kept instead of heavy ones, an event lost or counted twice on its way into `(other)`,
//! two copies that fold the same log into different bytes, a sweep that starts over after a restart.

use super::ShardOptions;
use super::testing::{Fixture, Totals, batch, catalog, eager, lazy, pid};
use super::tests::{memory, stop};
use crate::catalog::Catalog;
use crate::catalog::testing::view_def;
use crate::store::{MemoryStore, Store, Table};
use futures::StreamExt;
use headwater::aggregate::AggregateSpec;
use headwater::value::DataType;
use headwater::wire::{AckLevel, ReadLevel};
use headwater_sql::definition::Ddl;
use headwater_sql::source::ScanRequest;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

async fn capped(cap: u64, counted: bool) -> Catalog {
    let catalog = catalog(1, 0).await;
    let mut def = view_def("v1", 1);
    def.options = vec![("group_cap".into(), cap.to_string())];
    if !counted {
        // max(v) in place of count(*) and sum(v): nothing that counts.
        def.plan.states.remove(0);
        def.plan.states[0].spec = AggregateSpec::Max(DataType::Int64);
        def.outputs.truncate(1);
    }
    catalog.apply(Ddl::CreateView { def: Box::new(def), if_not_exists: false }).await.expect("view");
    catalog
}

/// Rounds of keys that come once, with heavy ones among them from the third part on.
fn rounds(rounds: u64, unique: u64, heavy: u64, times: u64) -> Vec<Vec<String>> {
    let round = |round: u64| {
        let mut keys: Vec<String> = (0..unique)
            .map(|i| format!("u{:08x}", (round * unique + i).wrapping_mul(0x9e37_79b9) as u32))
            .collect();
        if round >= rounds / 3 {
            for _ in 0..times {
                keys.extend((0..heavy).map(|h| format!("heavy{h:02}")));
            }
        }
        keys
    };
    (0..rounds).map(round).collect()
}

/// One fold and one restart per round.
async fn run(
    catalog: &Catalog,
    options: &ShardOptions,
    rounds: &[Vec<String>],
) -> (MemoryStore, Totals, u64) {
    let (memory, store) = memory();
    let mut most = 0;
    for (round, keys) in rounds.iter().enumerate() {
        let fixture = Fixture::open(store.clone(), catalog, options.clone());
        let events: Vec<(&str, i64)> = keys.iter().map(|k| (k.as_str(), 3)).collect();
        let seq = round as u64 + 1;
        assert_eq!(fixture.send(batch(pid(1), seq, seq, &events)).await, Ok(AckLevel::Replicated));
        fixture.shards.shutdown().await.expect("shutdown");
        most = most.max(fixture.shards.status().views[0].groups);
    }
    let fixture = Fixture::open(store, catalog, options.clone());
    let read = fixture.read("v1").await;
    let status = fixture.shards.status();
    assert_eq!(status.views[0].groups as usize, read.len() - 1);
    assert_eq!(status.ledger.other_groups, status.views[0].other.into());
    stop(fixture).await;
    (memory, read, most)
}

fn assert_exact(read: &Totals, rounds: &[Vec<String>]) {
    let mut sent: BTreeMap<&str, i64> = BTreeMap::new();
    rounds.iter().flatten().for_each(|key| *sent.entry(key).or_default() += 1);
    assert_eq!(read.values().map(|v| v.0).sum::<i64>(), sent.values().sum::<i64>());
    for (key, (count, sum)) in read {
        assert_eq!(*sum, i128::from(*count) * 3, "{key}");
        assert!(key == "(other)" || *count <= sent[key.as_str()], "{key}");
    }
}

fn all_rows(store: &MemoryStore) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let snapshot = store.snapshot().expect("snapshot");
    for table in [Table::Base, Table::Weight, Table::View, Table::Ledger] {
        let visit = &mut |key: &[u8], value: &[u8]| {
            all.push((table, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        snapshot.scan(table, &[], None, visit).expect("scan");
    }
    all
}

#[tokio::test]
async fn heavy_hitters_that_come_late_are_kept_and_all_totals_stay_exact() {
    // (cap, rounds, unique keys a round, heavy keys, events of each a round): all folds of the first see every row;
    // the others take several folds for a revolution.
    for (cap, n, unique, heavy, times) in [(20, 12, 200, 5, 80), (300, 40, 60, 20, 6), (600, 60, 40, 10, 3)] {
        let catalog = capped(cap, true).await;
        let rounds = rounds(n, unique, heavy, times);
        let (_, read, most) = run(&catalog, &lazy(), &rounds).await;
        assert_exact(&read, &rounds);
        // An eighth below, or what came during a revolution above.
        assert!(most <= cap + cap / 2, "cap {cap}: {most} groups");
        let kept: Vec<&String> = read.keys().filter(|k| k.starts_with("heavy")).collect();
        assert_eq!(kept.len() as u64, heavy, "cap {cap}: {kept:?}");
        let sent = (n - n / 3) * times;
        let share = read["heavy00"].0 as u64;
        assert!(share * 10 >= sent * 9, "cap {cap}: {share} of {sent} events under their own key");
    }
}

/// Groups of chunks that were read went into `(other)`, which came last and counted them again.
#[tokio::test]
async fn a_scan_that_a_sweep_overtakes_fails_and_says_so() {
    let catalog = capped(60, true).await;
    for more in [0, 60] {
        let fixture = Fixture::open(memory().1, &catalog, eager());
        let names = |from: usize, to: usize| (from..to).map(|i| format!("{i:0>200}")).collect::<Vec<_>>();
        let send = async |seq: u64, names: Vec<String>| {
            let events: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
            let sent = fixture.send(batch(pid(1), seq, seq, &events)).await;
            assert!(sent.is_ok(), "{sent:?}");
        };
        send(1, names(0, 60)).await;
        let view = catalog.snapshot().view("v1").expect("view").clone();
        let (key_min, key_max, read_level) = (Vec::new(), None, ReadLevel::Replicated);
        let mut chunks = fixture.shards.scan(ScanRequest { view, key_min, key_max, read_level });
        let first = chunks.next().await.expect("a chunk").expect("read");
        assert!(first.len() < 60);
        if more > 0 {
            send(2, names(60, 60 + more)).await;
        }
        while fixture.shards.status().views.first().is_none_or(|view| view.other == 0) && more > 0 {
            tokio::task::yield_now().await;
        }
        fixture.shards.end_scans();
        let rest: Vec<_> = chunks.collect().await;
        let codes: Vec<&str> = rest.iter().filter_map(|chunk| chunk.as_ref().err()).map(|e| e.code).collect();
        assert_eq!(codes, if more > 0 { vec!["40001"] } else { Vec::new() });
        stop(fixture).await;
    }
}

#[tokio::test]
async fn two_copies_that_fold_alike_are_alike_byte_by_byte() {
    for (cap, counted) in [(20, true), (100, true), (100, false)] {
        let rounds = rounds(45, 30, 4, 5);
        let mut copies = Vec::new();
        for _ in 0..2 {
            let (memory, store) = memory();
            let catalog = capped(cap, counted).await;
            if counted {
                copies.push(all_rows(&run(&catalog, &lazy(), &rounds).await.0));
                continue;
            }
            fold_uncounted(&store, &catalog, &rounds).await;
            copies.push(all_rows(&memory));
        }
        let second = copies.pop().expect("two");
        assert_eq!(copies.pop().expect("two"), second, "cap {cap}");
        let heavy = second.iter().filter(|r| r.0 == Table::Base && r.1[6..].starts_with(b"heavy")).count();
        assert_eq!(heavy, 4, "cap {cap}, counted {counted}");
    }
}

/// The same for states that count nothing: a key is as heavy as the batches that name it.
async fn fold_uncounted(store: &Arc<dyn Store>, catalog: &Catalog, rounds: &[Vec<String>]) {
    use super::testing::{key, payload_of_table};
    let specs = catalog.snapshot().view("v1").expect("view").specs();
    for (round, keys) in rounds.iter().enumerate() {
        let fixture = Fixture::open(store.clone(), catalog, lazy());
        let mut table = headwater::group::GroupTable::new(&specs);
        for k in keys {
            table.group(&key(k));
        }
        let seq = round as u64 + 1;
        let mut frame = batch(pid(1), seq, seq, &[]);
        frame.payload = payload_of_table(&[1], headwater::ids::PlanVersion(1), &table, 1);
        assert_eq!(fixture.send(frame).await, Ok(AckLevel::Replicated));
        stop(fixture).await;
    }
}

#[tokio::test]
async fn a_cap_of_the_hub_holds_for_views_that_ask_for_more() {
    let catalog = capped(1_000, true).await;
    let rounds = rounds(6, 100, 3, 30);
    let options = ShardOptions { view_groups_max: 10, ..lazy() };
    let (_, read, most) = run(&catalog, &options, &rounds).await;
    assert_exact(&read, &rounds);
    assert_eq!((most, read.len()), (10, 11));
    assert!(read.contains_key("heavy00") && read.contains_key("heavy02"));
}
