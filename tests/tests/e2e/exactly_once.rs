//! Every event counts once: duplicates, replays, reordering, two outboxes with one identity, `kill -9`.

use crate::frames::{Answer, Producer, resume, send_batch};
use crate::harness::{Hub, until};
use headwater::ids::Seq;
use serde::Serialize;

#[derive(Serialize)]
struct Click {
    id: i64,
}

fn clicks(ids: std::ops::Range<i64>) -> Vec<Click> {
    ids.map(|id| Click { id }).collect()
}

/// A hub with a stream of numbered clicks and a view of their count and sum.
fn hub(dir: &std::path::Path) -> Hub {
    let hub = Hub::start(dir, &[]);
    schema(&hub);
    hub
}

fn schema(hub: &Hub) {
    hub.sql("CREATE STREAM clicks (id BIGINT)");
    hub.sql("CREATE CONTINUOUS VIEW totals AS SELECT count(*) AS n, sum(id) AS ids FROM clicks");
}

fn totals(hub: &Hub) -> (f64, f64) {
    (hub.number("SELECT n FROM totals"), hub.number("SELECT ids FROM totals"))
}

fn assert_acked(answer: &Answer) {
    assert!(matches!(answer, Answer::Ack(_)), "{answer:?}");
}

#[test]
fn a_repeated_batch_is_acked_again_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut producer = Producer::new(&hub, "clicks", 1);
    let batch = producer.frame(&clicks(0..10));
    for _ in 0..3 {
        assert_acked(&send_batch(&hub, &batch));
    }
    // The one after a restart is found in what was stored, not in memory.
    let hub = hub.restart(dir.path(), &[]);
    assert_acked(&send_batch(&hub, &batch));
    assert_eq!(totals(&hub), (10.0, 45.0));
}

#[test]
fn batches_in_any_order_count_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut producer = Producer::new(&hub, "clicks", 2);
    let batches: Vec<_> = (0..8).map(|i| producer.frame(&clicks(i * 10..i * 10 + 10))).collect();
    for at in [7, 0, 3, 3, 1, 6, 2, 0, 5, 4, 7] {
        assert_acked(&send_batch(&hub, &batches[at]));
    }
    assert_eq!(totals(&hub), (80.0, 79.0 * 40.0));
    let held = resume(&hub, producer.pid, Seq(1));
    assert_eq!((held.floor, held.expired), (Seq(8), false));
}

#[test]
fn one_dot_with_two_payloads_is_a_conflict_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut producer = Producer::new(&hub, "clicks", 3);
    let batch = producer.frame(&clicks(0..10));
    assert_acked(&send_batch(&hub, &batch));
    let mut other = batch.clone();
    other.payload = producer.payload(&clicks(100..200));
    assert_eq!(send_batch(&hub, &other).code(), "dot_conflict");
    assert_eq!(totals(&hub), (10.0, 45.0));
}

#[test]
fn a_producer_born_in_the_future_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut producer = Producer::new(&hub, "clicks", 4);
    producer.pid = headwater::ids::Pid::new(producer.pid.birth_ms() + 3_600_000, [4; 10]);
    assert_eq!(send_batch(&hub, &producer.frame(&clicks(0..10))).code(), "born_in_future");
    assert_eq!(hub.number("SELECT coalesce(sum(n), 0) FROM totals"), 0.0);
}

#[test]
fn a_producer_that_is_forgotten_is_refused_and_its_batches_stay_counted() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &["--pid-lifetime-ms", "1000"]);
    schema(&hub);
    let mut producer = Producer::new(&hub, "clicks", 5);
    let batch = producer.frame(&clicks(0..10));
    assert_acked(&send_batch(&hub, &batch));
    std::thread::sleep(std::time::Duration::from_millis(1_001)); // what is tested is that time passes
    // A hub forgets when it starts, and from time to time. That must not make the batch new.
    let hub = hub.restart(dir.path(), &["--pid-lifetime-ms", "1000"]);
    until("the producer is forgotten", || send_batch(&hub, &batch).code() == "expired");
    assert_eq!(totals(&hub), (10.0, 45.0));
}

#[test]
fn what_was_acked_as_durable_survives_kill_9_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = hub(dir.path());
    let mut producer = Producer::new(&hub, "clicks", 5);
    for round in 0..20 {
        let batch = producer.frame(&clicks(round * 10..round * 10 + 10));
        assert_acked(&send_batch(&hub, &batch));
        // The next round sends the same batch again too: a client that missed the ack would.
        hub.kill();
        hub = hub.restart(dir.path(), &[]);
        assert_acked(&send_batch(&hub, &batch));
    }
    assert_eq!(totals(&hub), (200.0, 199.0 * 100.0));
}
