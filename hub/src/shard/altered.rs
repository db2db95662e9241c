//! Views that are altered while batches are on their way: emptied, deactivated, given another `ttl`; and windows.

use super::testing::{Fixture, START, batch, catalog, eager, lazy, payload_of, pid, totals};
use super::tests::{at_times, memory, minutes_view, rows, stop};
use crate::catalog::Catalog;
use crate::store::Table;
use headwater::ids::{PlanVersion, ViewId};
use headwater::wire::{AckLevel, BatchFrame};
use headwater_sql::definition::{Attribute, Ddl, SlidingWindow, ViewChange, ViewDef};
use std::sync::atomic::Ordering;

const HOUR: i64 = 3_600_000_000;

async fn alter(catalog: &Catalog, view: u32, change: ViewChange) {
    let ddl = Ddl::AlterView { view: Some(ViewId(view)), change };
    assert_eq!(catalog.apply(ddl).await, Ok(true));
}

async fn create(catalog: &Catalog, def: ViewDef) {
    let create = Ddl::CreateView { def: Box::new(def), if_not_exists: false };
    assert_eq!(catalog.apply(create).await, Ok(true));
}

fn batch_for(view: u32, version: u32, seq: u64, events: &[(&str, i64)]) -> BatchFrame {
    let payload = payload_of(&[view], PlanVersion(version), events);
    BatchFrame { payload, ..batch(pid(1), seq, 1, &[]) }
}

/// Rows that were folded, rows that only the log has, and batches that come later: none of the old view is in the new
/// one, before and after a restart that replays the log.
#[tokio::test]
async fn an_emptied_view_stays_empty_of_what_was_before() {
    let (memory, store) = memory();
    let catalog = catalog(1, 2).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    assert!(fixture.send(batch_for(1, 1, 1, &[("folded", 1)])).await.is_ok());
    stop(fixture).await;
    let fixture = Fixture::open(store.clone(), &catalog, lazy());
    assert!(fixture.send(batch_for(1, 1, 2, &[("log", 1)])).await.is_ok());
    assert!(fixture.send(batch_for(2, 1, 3, &[("other", 1)])).await.is_ok());
    assert_eq!(fixture.read("v1").await, totals(&[("folded", 1, 1), ("log", 1, 1)]));
    alter(&catalog, 1, ViewChange::Truncate { version: PlanVersion(7) }).await;
    assert_eq!(fixture.read("v1").await, totals(&[]));
    assert!(
        fixture.send(batch_for(1, 1, 4, &[("late", 1)])).await.is_ok(),
        "in flight: taken and acknowledged"
    );
    assert!(fixture.send(batch_for(3, 7, 5, &[("new", 1)])).await.is_ok());
    assert_eq!(fixture.read("v1").await, totals(&[("new", 1, 1)]));
    let ledger = fixture.shards.status().ledger;
    assert_eq!((ledger.view_dropped_groups, ledger.late_groups), (1, 0));
    // A crash: what was not folded is replayed from the log.
    drop(fixture);
    for _ in 0..2 {
        let fixture = Fixture::open(store.clone(), &catalog, eager());
        assert_eq!(fixture.read("v1").await, totals(&[("new", 1, 1)]));
        assert_eq!(fixture.read("v2").await, totals(&[("other", 1, 1)]));
        assert_eq!(fixture.send(batch_for(3, 7, 5, &[("new", 1)])).await, Ok(AckLevel::Replicated), "known");
        stop(fixture).await;
    }
    assert_eq!(rows(&memory, Table::Base), 2, "the janitor removes the old rows");
}

#[tokio::test]
async fn batches_of_a_deactivated_view_count() {
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(memory().1, &catalog, lazy());
    alter(&catalog, 1, ViewChange::Active(false)).await;
    assert!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await.is_ok());
    alter(&catalog, 1, ViewChange::Active(true)).await;
    assert!(fixture.send(batch(pid(1), 2, 1, &[("a", 2)])).await.is_ok());
    assert_eq!(fixture.read("v1").await, totals(&[("a", 2, 3)]));
    stop(fixture).await;
}

#[tokio::test]
async fn a_ttl_that_is_set_later_holds_when_it_is_asked_for() {
    for leading in [true, false] {
        let (memory, store) = memory();
        let catalog = catalog(1, 0).await;
        let mut def = minutes_view(leading);
        let options = std::mem::take(&mut def.options);
        create(&catalog, def).await;
        let fixture = Fixture::open(store, &catalog, lazy());
        let times: Vec<i64> = (0..40).map(|n| START - n * HOUR).collect();
        assert!(fixture.send(at_times(leading, 1, &times)).await.is_ok());
        alter(&catalog, 1, ViewChange::Options { options, groups_max: 9, query: None, before: None }).await;
        assert_eq!(fixture.shards.expire(ViewId(1)).await, Ok(15), "a day, and what is exactly that old");
        assert_eq!(fixture.shards.expire(ViewId(1)).await, Ok(0));
        assert_eq!(fixture.shards.expire(ViewId(9)).await, Ok(0), "no such view");
        alter(
            &catalog,
            1,
            ViewChange::Options { options: Vec::new(), groups_max: 9, query: None, before: None },
        )
        .await;
        assert_eq!(fixture.shards.expire(ViewId(1)).await, Ok(0), "it has none any more");
        assert_eq!(rows(&memory, Table::Base), 25);
        stop(fixture).await;
    }
}

#[tokio::test]
async fn panes_are_removed_one_pane_after_they_were_read_last() {
    let (memory, store) = memory();
    let catalog = catalog(1, 0).await;
    let mut def = minutes_view(true);
    def.options = vec![("sw".into(), "1 hour".into())];
    def.attributes = vec![Attribute::Window(SlidingWindow { span_us: HOUR, pane_us: 60_000_000 })];
    create(&catalog, def).await;
    let fixture = Fixture::open(store, &catalog, lazy());
    assert!(fixture.send(at_times(true, 1, &[START - HOUR, START])).await.is_ok());
    let minute = 60_000_000;
    for (now, removed) in [(START, 0), (START + minute, 0), (START + minute + 1, 1), (START + HOUR, 0)] {
        fixture.clock.store(now, Ordering::Relaxed);
        assert_eq!(fixture.shards.expire(ViewId(1)).await, Ok(removed), "{now}");
    }
    stop(fixture).await;
    assert_eq!(rows(&memory, Table::Base), 1);
}
