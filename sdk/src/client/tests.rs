//! The whole client against a hub in this process: real sockets, TLS, disk. Tests wait for what they assert,
//! never for a time to pass; a timeout only ends a test that has failed.

mod alloc;
mod connect;
mod hub;
mod roots;

use super::*;
use crate::limits::{FlushLimits, OutboxLimits, TransportLimits};
use crate::outbox::SpoolError;
use crate::value::Value;
use crate::wire::RefusedCode;
use crate::wire::batch::DropReason;
use connect::fails;
use hub::Hub;
use serde::{Deserialize, Serialize};
use spool::tests::plant;
use std::time::Duration;

#[derive(Clone, Copy, Serialize)]
struct View {
    url: &'static str,
    ms: i64,
}

#[derive(Debug, Deserialize, PartialEq)]
struct ByUrl {
    url: String,
    views: i64,
    ms: i64,
}

const HOME: View = View { url: "/", ms: 3 };

fn options(hub: &Hub) -> ConnectOptions {
    let mut options = ConnectOptions::development(hub.address.to_string(), hub.fingerprint());
    options.close_timeout = Duration::from_secs(5);
    options
}

async fn connect(hub: &Hub) -> Client {
    Client::connect(options(hub)).await.expect("connects")
}

/// Waits until `done`, for as long as no sane machine needs.
async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "never: {what}");
}

/// The invariant of every test: every event is somewhere, once.
fn balance(stats: &Stats) {
    let somewhere = stats.acked
        + stats.in_outbox
        + stats.rolled_up
        + stats.waiting
        + stats.dropped.total()
        + stats.in_doubt;
    assert_eq!(stats.generated + stats.adopted, somewhere, "{stats:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_threads_emit_is_counted_once_and_read_back() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let emitter = emitter.clone();
            std::thread::spawn(move || {
                for i in 0..5_000 {
                    emitter.emit(&View { url: if i % 5 == 0 { "/a" } else { "/b" }, ms: i }).expect("emits");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("joins"));
    client.flush(AckLevel::Durable).await.expect("flushes");
    let rows: Vec<ByUrl> = client.query_as("SELECT * FROM by_url").await.expect("answers");
    let sum = |keep: fn(i64) -> bool| 3 * (0..5_000).filter(|i| keep(*i)).sum::<i64>();
    let row = |url: &str, views, ms| ByUrl { url: url.into(), views, ms };
    assert_eq!(rows, [row("/a", 3_000, sum(|i| i % 5 == 0)), row("/b", 12_000, sum(|i| i % 5 != 0))]);
    let stats = client.stats();
    assert_eq!((stats.generated, stats.acked, stats.is_connected), (15_000, 15_000, true));
    balance(&stats);
    assert_eq!(client.close().await, CloseReport::default());
    assert_eq!(emitter.emit(&HOME).expect_err("is closed"), EmitError::Closed);
    assert_eq!(client.flush(AckLevel::Durable).await, Err(FlushError::Closed));
    assert_eq!(hub.state().ledger.events, 15_000);
}

#[tokio::test]
async fn events_are_sent_without_a_flush() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    client.stream("views").emit(&HOME).expect("emits");
    until("the event arrives by its age", || hub.count() == 1).await;
    client.stream("views").emit(&HOME).expect("emits");
    until("and so does one after a pause", || hub.count() == 2).await;
    balance(&client.stats());
}

#[tokio::test]
async fn dropping_the_last_handle_still_sends() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    drop(client);
    emitter.emit(&HOME).expect("the emitter keeps the client alive");
    drop(emitter);
    until("the event arrives", || hub.count() == 1).await;
}

#[tokio::test]
async fn a_group_too_large_for_a_batch_is_no_lost_event() {
    let hub = Hub::start().await;
    hub.state().frame_bytes_max = Some(500);
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    let long = View { url: "/a/path/of/two/hundred/bytes/".repeat(7).leak(), ms: 1 };
    (0..3).for_each(|_| emitter.emit(&long).expect("emits"));
    emitter.emit(&HOME).expect("emits");
    assert_eq!(client.flush(AckLevel::Durable).await, Err(FlushError::Oversized { groups: 1 }));
    let stats = client.stats();
    assert_eq!((stats.outbox.oversized_groups, stats.dropped.total(), stats.acked), (1, 0, 4));
    balance(&stats);
    assert_eq!(client.flush(AckLevel::Durable).await, Ok(()));
}

#[tokio::test]
async fn a_bad_event_is_refused_alone() {
    #[derive(Serialize)]
    struct Typo {
        uri: &'static str,
    }
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    emitter.emit(&HOME).expect("emits");
    assert_eq!(emitter.emit(&Typo { uri: "/" }).expect_err("typo").code(), "unknown_column");
    emitter.emit(&HOME).expect("emits");
    client
        .flush(AckLevel::Durable)
        .await
        .expect("a refused event is the caller's to know, not the barrier's");
    let stats = client.stats();
    assert_eq!((stats.acked, stats.refused.as_slice()), (2, &[("unknown_column", 1)][..]));
    assert_eq!(stats.dropped.get(DropReason::Invalid), 1);
    balance(&stats);
    assert_eq!((hub.count(), hub.state().ledger.dropped.get(DropReason::Invalid)), (2, 1));
}

/// It was told by a counter only, a flush later.
#[tokio::test]
async fn an_over_long_key_is_told_at_emit_and_other_views_count_the_event() {
    let hub = Hub::start().await;
    hub.state().by_letter = true;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    emitter.emit(&HOME).expect("emits");
    // The hub takes keys of 256 bytes, of which one ends the text.
    let long = |bytes: usize| View { url: "x".repeat(bytes).leak(), ms: 1 };
    emitter.emit(&long(255)).expect("fits");
    let error = emitter.emit(&long(256)).expect_err("too long");
    assert_eq!(error, EmitError::KeyTooLong { column: "url".into(), bytes: 256, bytes_max: 256, views: 1 });
    assert_eq!(error.code(), "key_too_long");
    assert!(error.to_string().contains("column url (256 bytes)"), "{error}");
    emitter.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("nothing that was taken is lost");
    let stats = client.stats();
    assert_eq!((stats.generated, stats.acked, stats.dropped.total()), (4, 4, 0));
    assert_eq!((stats.rejected.get(DropReason::KeyTooLong), stats.refused.len()), (1, 0));
    balance(&stats);
    let rows = hub.totals();
    let count = |url: &str| rows.iter().find(|row| row.0 == url).map(|row| row.1);
    assert_eq!((count("x"), count(long(255).url), count(long(256).url)), (Some(2), Some(1), None));
}

#[tokio::test]
async fn the_longest_value_is_the_callers_choice() {
    let hub = Hub::start().await;
    let client =
        Client::connect(ConnectOptions { value_bytes_max: 3, ..options(&hub) }).await.expect("connects");
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    emitter.emit(&View { url: "/ab", ms: 1 }).expect("fits");
    let error = emitter.emit(&View { url: "/abc", ms: 1 }).expect_err("too long");
    assert_eq!(error.code(), "too_long");
    // A batch of columns took values of any length.
    let mut batch = client.schema("views").await.expect("exists").empty_batch();
    let row = [Value::Text("/abc".into()), Value::Int(3), Value::Int(emitter.now().0)];
    assert!(batch.columns.iter_mut().zip(&row).all(|(column, value)| column.push(value)));
    assert_eq!(emitter.emit_columns(&batch).expect_err("too long").code(), "too_long");
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), 1);
    balance(&client.stats());
}

/// Each emitter kept as many groups as the view may have, and all of them were sent.
#[tokio::test]
async fn the_group_cap_holds_for_all_emitters_together() {
    let hub = Hub::start().await;
    hub.state().groups_max = Some(2);
    let client = connect(&hub).await;
    client.schema("views").await.expect("exists");
    let emitters: Vec<_> = (0..3).map(|_| client.stream("views").clone()).collect();
    for (n, emitter) in emitters.iter().enumerate() {
        for (name, events) in [("often", n + 3), ("once", 1)] {
            let url = format!("/{name}/{n}").leak();
            (0..events).for_each(|_| emitter.emit(&View { url, ms: 1 }).expect("emits"));
        }
    }
    client.flush(AckLevel::Durable).await.expect("flushes");
    let mut counts: Vec<i64> = hub.totals().iter().map(|row| row.1).collect();
    counts.sort_unstable();
    assert_eq!(counts, [4, 5, 6], "the two heaviest, and (other)");
    balance(&client.stats());
}

#[tokio::test]
async fn many_groups_are_flushed_before_they_are_old() {
    let hub = Hub::start().await;
    let flush =
        FlushLimits { age_max: Duration::from_secs(3_600), groups_max: 100, ..FlushLimits::default() };
    let client = Client::connect(ConnectOptions { flush, ..options(&hub) }).await.expect("connects");
    client.schema("views").await.expect("exists");
    let emitter = client.stream("views");
    let urls: Vec<String> = (0..200).map(|n| format!("/{n}")).collect();
    // Rows are evaluated 1,024 at a time: enough of them for the groups to be seen.
    for n in 0..2_048 {
        emitter.emit(&serde_json::json!({ "url": urls[n % 200], "ms": 1 })).expect("emits");
    }
    until("a flush without a barrier, an hour early", || hub.count() > 0).await;
}

/// Its events were counted by no view and told of nowhere but in a log.
#[tokio::test]
async fn a_view_whose_plan_cannot_run_rejects_every_event() {
    let hub = Hub::start().await;
    hub.state().foreign = true;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    let mut batch = client.schema("views").await.expect("exists").empty_batch();
    let row = [Value::Text("/".into()), Value::Int(3), Value::Int(emitter.now().0)];
    assert!(batch.columns.iter_mut().zip(&row).all(|(column, value)| column.push(value)));
    emitter.emit(&HOME).expect("emits");
    emitter.emit_columns(&batch).expect("emits");
    client.flush(AckLevel::Durable).await.expect("the other view has them");
    assert_eq!(client.stats().rejected.get(DropReason::UnsupportedPlan), 2);
    assert_eq!(hub.count(), 2);
}

#[tokio::test]
async fn a_schema_that_the_hub_does_not_have_is_an_error_at_once() {
    let hub = Hub::start().await;
    hub.state().exists = false;
    let client = connect(&hub).await;
    let error = client.schema("views").await.expect_err("unknown");
    assert_eq!(error, ConnectError::UnknownStream("views".into()));
    assert_eq!(error.code(), "unknown_stream");
}

#[tokio::test]
async fn events_wait_for_their_stream_within_bounds() {
    let hub = Hub::start().await;
    hub.state().exists = false;
    let flush = FlushLimits { waiting_bytes_max: 2_000, ..FlushLimits::default() };
    let client = Client::connect(ConnectOptions { flush, ..options(&hub) }).await.expect("connects");
    let emitter = client.stream("views");
    let before = hub.now();
    let taken = (0..100).filter(|_| emitter.emit(&HOME).is_ok()).count() as i64;
    assert!((2..50).contains(&taken), "{taken}");
    assert_eq!(emitter.emit(&HOME), Err(EmitError::WaitingFull));
    until("the hub says that there is no such stream", || hub.state().hellos == 2).await;
    let unknown = FlushError::UnknownStreams(vec!["views".into()]);
    until_flush_fails(&client, &unknown).await;
    hub.change_plan();
    client.schema("views").await.expect("exists now");
    until("what waited arrives by itself", || hub.count() == taken).await;
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), taken);
    assert!(emitter.now() >= before);
    let stats = client.stats();
    assert_eq!(stats.dropped.get(DropReason::WaitingFull) as i64, 101 - taken);
    balance(&stats);
}

/// Prevents: a lazy client whose clock is wrong, and whose first events get its own time: those from a future are
/// refused as a group, the others are in a bucket that is not theirs.
#[tokio::test]
async fn events_that_waited_have_the_hubs_time() {
    const MINUTE: i64 = 60_000_000;
    for clock_ahead in [-10 * MINUTE, 10 * MINUTE] {
        let hub = Hub::start().await;
        hub.state().clock_ahead = clock_ahead;
        let before = hub.now().0 - MINUTE;
        let lazy = ConnectOptions { lazy: true, ..options(&hub) };
        let client = Client::connect(lazy).await.expect("starts");
        let emitter = client.stream("views");
        emitter.emit(&HOME).expect("emits");
        assert_eq!(client.stats().waiting, 1);
        client.schema("views").await.expect("exists");
        emitter.emit(&HOME).expect("emits");
        client.flush(AckLevel::Durable).await.expect("flushes");
        let ((first, last), after) = (hub.arrivals(), hub.now().0 + MINUTE);
        assert!(before < first.0 && first <= last && last.0 < after, "{clock_ahead}: {first:?}, {last:?}");
        assert_eq!(hub.count(), 2);
    }
}

async fn until_flush_fails(client: &Client, error: &FlushError) {
    let wait = async { while client.flush(AckLevel::Durable).await.as_ref() != Err(error) {} };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("fails");
}

#[tokio::test]
async fn new_plans_reach_open_emitters() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    emitter.emit(&HOME).expect("emits");
    client.schema("views").await.expect("exists");
    hub.change_plan();
    emitter.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), 2);
}

/// Prevents: events of a dropped stream that are taken for ever, sent, skipped by the hub, and counted as applied.
#[tokio::test]
async fn a_dropped_stream_refuses_events_and_counts_those_it_held() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let (emitter, idle) = (client.stream("views"), client.stream("views"));
    let schema = client.schema("views").await.expect("exists");
    emitter.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    // The hub is busy: what is emitted now stays in the rollup until the stream is gone.
    hub.state().is_mute = true;
    until("a batch is on its way", || {
        emitter.emit(&HOME).expect("emits");
        client.stats().in_outbox > 0
    })
    .await;
    (0..5).for_each(|_| emitter.emit(&HOME).expect("emits"));
    idle.emit(&HOME).expect("emits");
    let held = client.stats().rolled_up;
    hub.drop_stream();
    until("the push arrives", || emitter.emit(&HOME) == Err(EmitError::StreamGone)).await;
    assert_eq!(emitter.emit(&HOME).expect_err("gone").code(), "stream_gone");
    assert_eq!(idle.emit(&HOME), Err(EmitError::StreamGone));
    assert_eq!(client.stream("views").emit(&HOME), Err(EmitError::StreamGone));
    let batch = crate::emit::EventBuffer::new(schema).batch().clone();
    assert_eq!(idle.emit_columns(&batch), Err(EmitError::StreamGone));
    let stats = client.stats();
    balance(&stats);
    let refused: u64 = stats.refused.iter().map(|entry| entry.1).sum();
    assert_eq!(stats.refused.iter().map(|entry| entry.0).collect::<Vec<_>>(), ["stream_gone"]);
    let lost = stats.dropped.get(DropReason::StreamGone) - refused;
    assert!(held >= 6 && lost >= held, "{lost} of {held}");
    // A flush tells of what was taken and cannot be counted any more, once; whoever gave up has not been told.
    let given_up = tokio::time::timeout(Duration::from_millis(20), client.flush(AckLevel::Durable)).await;
    assert!(given_up.is_err(), "the hub is mute");
    hub.state().is_mute = false;
    until("the batch is acknowledged", || client.stats().in_outbox == 0).await;
    let told = client.flush(AckLevel::Durable).await;
    assert_eq!(told, Err(FlushError::Lost { dropped: lost, in_doubt: 0 }));
    assert_eq!(client.flush(AckLevel::Durable).await, Ok(()));
    balance(&client.stats());
    // Made again, it is another stream.
    hub.change_plan();
    client.schema("views").await.expect("exists again");
    let before = hub.count();
    until("emitters go on", || emitter.emit(&HOME).is_ok()).await;
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), before + 1);
    balance(&client.stats());
}

#[tokio::test]
async fn a_killed_hub_and_lost_answers_lose_and_double_nothing() {
    let mut hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    for round in 0..5 {
        hub.state().lose_answers = 1 + round % 2;
        for _ in 0..100 {
            emitter.emit(&HOME).expect("emits");
        }
        let flush = tokio::spawn({
            let client = client.clone();
            async move { client.flush(AckLevel::Durable).await }
        });
        if round % 2 == 1 {
            hub.stop();
            emitter.emit(&HOME).expect("emits while the hub is away");
            hub.resume().await;
        }
        flush.await.expect("joins").expect("flushes");
    }
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), 502);
    assert_eq!(client.stats().in_doubt, 0);
    balance(&client.stats());
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let hub = Hub::start().await;
    let mut options = options(&hub);
    options.addresses.insert(0, "127.0.0.1:9".into());
    options.connect_timeout = Duration::from_secs(20);
    options.transport =
        TransportLimits { idle_timeout: Duration::from_millis(300), ..TransportLimits::NATIVE };
    let client = Client::connect(options).await.expect("connects to the second");
    client.stream("views").emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    assert_eq!(hub.count(), 1);
}

#[tokio::test]
async fn a_useless_batch_is_reported_and_a_throttled_one_is_not_lost() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    hub.state().refuse = Some(RefusedCode::UnknownPlan);
    emitter.emit(&HOME).expect("emits");
    let lost = FlushError::Lost { dropped: 1, in_doubt: 0 };
    assert_eq!(client.flush(AckLevel::Durable).await, Err(lost));
    hub.state().refuse = Some(RefusedCode::Throttled);
    emitter.emit(&HOME).expect("emits");
    let flush = tokio::spawn({
        let client = client.clone();
        async move { client.flush(AckLevel::Durable).await }
    });
    until("the batch is refused for now", || client.stats().in_outbox == 1).await;
    hub.state().refuse = None;
    flush.await.expect("joins").expect("flushes");
    assert_eq!((hub.count(), hub.state().ledger.dropped.get(DropReason::Refused)), (1, 1));
    balance(&client.stats());
}

#[tokio::test]
async fn a_hub_that_does_not_answer_presses_back() {
    let hub = Hub::start().await;
    hub.state().is_mute = true;
    let mut options = options(&hub);
    options.outbox = OutboxLimits { memory_bytes_max: 1, ..OutboxLimits::NATIVE };
    options.flush.rollup_bytes_max = 1;
    options.flush.spool_age_max = Duration::from_millis(50);
    options.flush.age_max = Duration::from_millis(10);
    options.close_timeout = Duration::from_millis(200);
    let client = Client::connect(options).await.expect("connects");
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    let pressed = || emitter.emit(&HOME) == Err(EmitError::Backpressure);
    until("emit says so", pressed).await;
    balance(&client.stats());
    let report = client.close().await;
    assert!(report.left_events == 0 && report.in_doubt_events + report.dropped_events > 0, "{report:?}");
    balance(&client.stats());
}

#[tokio::test]
async fn answers_and_failures_of_queries_are_typed() {
    let hub = Hub::start().await;
    let client = connect(&hub).await;
    let rows = client.query("SELECT * FROM by_url").await.expect("answers");
    assert_eq!((rows.len(), rows.tag.as_str(), rows.column("views")), (0, "SELECT 0", Some(1)));
    let error = client.query("SELEC").await.expect_err("fails");
    assert_eq!(error.code(), "42601");
}

#[test]
fn a_spool_outlives_its_process() {
    let dir = tempfile::tempdir().expect("dir");
    let server = tokio::runtime::Runtime::new().expect("runtime");
    let hub = server.block_on(Hub::start());
    let spooled = || ConnectOptions { spool: Some(dir.path().join("events.spool")), ..options(&hub) };

    // The first process: its batches arrive, their answers do not; then it is killed.
    let first = tokio::runtime::Runtime::new().expect("runtime");
    first.block_on(async {
        let client = Client::connect(spooled()).await.expect("connects");
        let second = fails(spooled()).await;
        assert!(matches!(second, ConnectError::Spool(SpoolError::InUse(_))), "{second}");
        hub.state().lose_answers = usize::MAX;
        let emitter = client.stream("views");
        for _ in 0..10 {
            emitter.emit(&HOME).expect("emits");
        }
        until("the hub has it", || hub.count() == 10).await;
        std::mem::forget((client, emitter));
    });
    first.shutdown_timeout(Duration::from_secs(5));

    // The second one adopts them: same dots, so nothing counts twice.
    hub.state().lose_answers = 0;
    let second = tokio::runtime::Runtime::new().expect("runtime");
    second.block_on(async {
        let client = Client::connect(spooled()).await.expect("adopts");
        client.stream("views").emit(&HOME).expect("emits");
        client.flush(AckLevel::Durable).await.expect("flushes");
        assert_eq!(hub.count(), 11);
        let stats = client.stats();
        assert_eq!((stats.generated, stats.adopted, stats.acked), (1, 10, 11));
        balance(&stats);
        assert_eq!(client.close().await, CloseReport::default());
    });
}

/// They were in no count: generated was more than acked, dropped and in doubt together.
#[tokio::test]
async fn closing_without_a_spool_counts_what_was_sent_as_in_doubt_and_the_rest_as_dropped() {
    let mut hub = Hub::start().await;
    let hasty = ConnectOptions { close_timeout: Duration::from_millis(300), ..options(&hub) };
    let client = Client::connect(hasty.clone()).await.expect("connects");
    client.schema("views").await.expect("exists");
    hub.state().is_mute = true;
    client.stream("views").emit(&HOME).expect("emits");
    until("it is sent", || client.stats().outbox.held_transmitted_events == 1).await;
    let report = client.close().await;
    assert_eq!(report, CloseReport { in_doubt_events: 1, ..CloseReport::default() });
    let stats = client.stats();
    assert_eq!((stats.in_doubt, stats.in_outbox, stats.dropped.total()), (1, 0, 0));
    balance(&stats);

    let client = Client::connect(hasty).await.expect("connects");
    client.schema("views").await.expect("exists");
    hub.stop();
    until("the client notices", || !client.stats().is_connected).await;
    client.stream("views").emit(&HOME).expect("emits");
    client.stream("of nobody").emit(&HOME).expect("waits");
    let report = client.close().await;
    assert_eq!(report, CloseReport { dropped_events: 2, ..CloseReport::default() });
    let stats = client.stats();
    assert_eq!((stats.dropped.get(DropReason::Closed), stats.in_outbox, stats.waiting), (2, 0, 0));
    balance(&stats);
}

#[tokio::test]
async fn closing_without_a_hub_leaves_events_in_the_spool() {
    let dir = tempfile::tempdir().expect("dir");
    let mut hub = Hub::start().await;
    let spooled = ConnectOptions {
        spool: Some(dir.path().join("s")),
        close_timeout: Duration::from_millis(300),
        ..options(&hub)
    };
    let client = Client::connect(spooled.clone()).await.expect("connects");
    client.schema("views").await.expect("exists");
    hub.stop();
    client.stream("views").emit(&HOME).expect("emits");
    let report = client.close().await;
    assert_eq!(report, CloseReport { left_batches: 1, left_events: 1, ..CloseReport::default() });
    balance(&client.stats());
    hub.resume().await;
    let client = Client::connect(spooled).await.expect("connects");
    until("the event arrives", || hub.count() == 1).await;
    balance(&client.stats());
}

/// A disk that was full for a moment cost the spool for the rest of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_failed_is_opened_again() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("s");
    let mut hub = Hub::start().await;
    let spooled = ConnectOptions {
        spool: Some(path.clone()),
        close_timeout: Duration::from_millis(300),
        ..options(&hub)
    };
    let client = Client::connect(spooled.clone()).await.expect("connects");
    let views = client.stream("views");
    views.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    plant(&path, true);
    views.emit(&HOME).expect("emits");
    let doubt = client.flush(AckLevel::Durable).await.expect_err("its write failed");
    assert_eq!(doubt.code(), "lost");
    assert!(client.stats().spool_error.is_some());
    // In memory it goes on meanwhile.
    views.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    plant(&path, false);
    until("the spool is back", || client.stats().spool_reopened == 1).await;
    assert_eq!(client.stats().spool_error, None);
    views.emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).await.expect("flushes");
    balance(&client.stats());
    assert_eq!(hub.count(), 3);
    hub.stop();
    views.emit(&HOME).expect("emits");
    let report = client.close().await;
    assert_eq!(report, CloseReport { left_batches: 1, left_events: 1, ..CloseReport::default() });
    hub.resume().await;
    let client = Client::connect(spooled).await.expect("connects");
    until("the event arrives", || hub.count() == 4).await;
    balance(&client.stats());
}

#[test]
fn threads_without_a_runtime_can_use_it() {
    let server = tokio::runtime::Runtime::new().expect("runtime");
    let hub = server.block_on(Hub::start());
    let client = Client::connect_blocking(options(&hub)).expect("connects");
    client.stream("views").emit(&HOME).expect("emits");
    client.flush(AckLevel::Durable).expect("flushes");
    let rows = client.query("SELECT * FROM by_url").expect("answers");
    assert_eq!(rows.rows, [vec![Value::Text("/".into()), Value::Int(1), Value::Decimal(3)]]);
    let typed: Vec<(String, u8, f64)> = client.query_as("SELECT * FROM by_url").expect("answers");
    assert_eq!(typed, [("/".into(), 1, 3.0)]);
    assert_eq!((client.stats().acked, client.close()), (1, CloseReport::default()));
}
