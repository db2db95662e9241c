//! Wall clocks that jump, end to end: what time removes is removed by a time that can be believed.

use super::testing::{Fixture, START, batch, catalog, eager, pid};
use super::tests::{at_times, memory, minutes_view, rows, stop};
use super::{Clock, Shards};
use crate::store::{Store, Table};
use headwater::ids::{Micros, Pid, Seq};
use headwater::wire::{RefusedCode, Resume};
use headwater_sql::definition::Ddl;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const DAY: i64 = 24 * 3_600_000_000;

/// A hub whose wall clock shows `wall` until it is set, while no time passes.
fn open(store: Arc<dyn Store>, catalog: &crate::catalog::Catalog, wall: i64) -> Fixture {
    let clock = Arc::new(AtomicI64::new(wall));
    let shown = clock.clone();
    let wall = Arc::new(move || Micros(shown.load(Ordering::Relaxed)));
    let clocks = Clock { wall, steady: Arc::new(|| Micros(7)) };
    let shards = Shards::with_store(store, eager(), catalog.clone(), clocks).expect("opens");
    Fixture { shards, catalog: catalog.clone(), clock }
}

async fn is_expired(fixture: &Fixture, pid: Pid) -> bool {
    fixture.shards.resume(Resume { pid, low_water: Seq(1) }).await.expect("resumes").expired
}

/// One start with a clock 30 days ahead forgot everybody and refused every batch for 23 days, and 72 seconds of it
/// emptied the views with a `ttl`.
#[tokio::test]
async fn a_start_with_a_clock_ahead_forgets_nobody_and_empties_no_view() {
    for leading in [true, false] {
        let (memory, store) = memory();
        let catalog = catalog(1, 0).await;
        let create = Ddl::CreateView { def: Box::new(minutes_view(leading)), if_not_exists: false };
        catalog.apply(create).await.expect("view");
        let fixture = open(store.clone(), &catalog, START);
        assert!(fixture.send(at_times(leading, 1, &[START, START - DAY / 2])).await.is_ok());
        stop(fixture).await;
        let fixture = open(store.clone(), &catalog, START + 30 * DAY);
        // Each is a round of the writer, with its look at what is due.
        for seq in 2..6 {
            assert!(fixture.send(at_times(leading, seq, &[START])).await.is_ok());
        }
        assert_eq!(fixture.shards.status().clock_hold, Duration::from_secs(3_600));
        assert!(!is_expired(&fixture, pid(1)).await);
        stop(fixture).await;
        assert_eq!((rows(&memory, Table::Base), rows(&memory, Table::Session)), (2, 1));
        let fixture = open(store, &catalog, START + 1);
        assert!(fixture.send(at_times(leading, 6, &[START])).await.is_ok());
        assert!(!is_expired(&fixture, pid(1)).await);
        let status = fixture.shards.status();
        assert_eq!((status.clock_hold, status.clock_behind), (Duration::ZERO, Duration::ZERO));
        stop(fixture).await;
    }
}

#[tokio::test]
async fn a_jump_while_running_expires_nobody() {
    let fixture = open(memory().1, &catalog(1, 1).await, START);
    assert!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await.is_ok());
    fixture.clock.store(START + 40 * DAY, Ordering::Relaxed);
    assert!(!is_expired(&fixture, pid(1)).await);
    assert!(fixture.send(batch(pid(1), 2, 2, &[("a", 1)])).await.is_ok());
    assert!(!fixture.shards.status().clock_hold.is_zero());
    fixture.clock.store(START, Ordering::Relaxed);
    assert!(!is_expired(&fixture, pid(1)).await);
    assert!(fixture.shards.status().clock_hold.is_zero());
    stop(fixture).await;
}

/// A new hub knows no time to compare its clock with: it refuses nobody that it does not have to forget.
#[tokio::test]
async fn the_first_start_with_a_clock_ahead_is_mended_by_setting_it() {
    let (_, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = open(store.clone(), &catalog, START + 30 * DAY);
    let ahead = Pid::new((START + 30 * DAY) as u64 / 1_000, [1; 10]);
    for seq in 1..5 {
        assert!(fixture.send(batch(ahead, seq, seq, &[("a", 1)])).await.is_ok());
    }
    stop(fixture).await;
    let fixture = open(store, &catalog, START);
    assert!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await.is_ok());
    stop(fixture).await;
}

/// Whoever sets a clock back over what is forgotten is told why every batch is refused.
#[tokio::test]
async fn a_clock_behind_what_is_forgotten_is_told() {
    let (_, store) = memory();
    let catalog = catalog(1, 1).await;
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    assert!(fixture.send(batch(pid(1), 1, 1, &[("a", 1)])).await.is_ok());
    stop(fixture).await;
    // Time that passes, here; a clock that was ahead for longer than an hour is the same.
    let fixture = Fixture::open(store.clone(), &catalog, eager());
    fixture.clock.store(START + 30 * DAY, Ordering::Relaxed);
    let young = Pid::new((START + 30 * DAY) as u64 / 1_000, [2; 10]);
    for seq in 1..5 {
        assert!(fixture.send(batch(young, seq, seq, &[("a", 1)])).await.is_ok());
    }
    stop(fixture).await;
    let fixture = open(store, &catalog, START);
    assert_eq!(fixture.shards.status().clock_behind, Duration::from_secs(23 * 24 * 3_600));
    let refused = fixture.send(batch(pid(3), 1, 1, &[("a", 1)])).await;
    assert_eq!(refused, Err(RefusedCode::Expired));
    stop(fixture).await;
}
