//! Plans travel: views reach connected producers, events wait for their first plan, dropped views stop.

use crate::harness::{Hub, until};
use headwater::client::{Client, ConnectOptions};
use headwater::wire::AckLevel;
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Serialize)]
struct Sale {
    shop: &'static str,
    cents: i64,
}

const SALES: &str = "CREATE STREAM sales (shop TEXT, cents BIGINT)";

fn options(hub: &Hub) -> ConnectOptions {
    ConnectOptions::development(hub.quic.to_string(), hub.fingerprint.parse().expect("a fingerprint"))
}

async fn connect(hub: &Hub) -> Client {
    Client::connect(options(hub)).await.expect("a session")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_view_is_fed_by_a_connected_producer_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    client.schema("sales").await.unwrap();
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT shop, sum(cents) AS cents FROM sales GROUP BY shop");
    let created = Instant::now();
    // Sales go on all the time; some second after its creation the view has them.
    while hub.sql("SELECT cents FROM takings").is_empty() {
        sales.emit(&Sale { shop: "north", cents: 5 }).unwrap();
        client.flush(AckLevel::Durable).await.unwrap();
        assert!(created.elapsed() < Duration::from_secs(1), "the view is not fed");
    }
    let before = hub.number("SELECT sum(cents) FROM takings");
    sales.emit(&Sale { shop: "south", cents: 7 }).unwrap();
    client.flush(AckLevel::Durable).await.unwrap();
    assert_eq!(hub.number("SELECT sum(cents) FROM takings"), before + 7.0);
}

/// On one thread: the client does nothing before the first await.
#[tokio::test]
async fn events_before_the_first_plan_wait_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT count(*) AS n, sum(cents) AS cents FROM sales");
    let lazy = ConnectOptions { lazy: true, ..options(&hub) };
    let client = Client::connect(lazy).await.expect("starts");
    let sales = client.stream("sales");
    for _ in 0..100 {
        sales.emit(&Sale { shop: "north", cents: 3 }).unwrap();
    }
    assert_eq!(client.stats().waiting, 100);
    client.flush(AckLevel::Durable).await.unwrap();
    assert_eq!(
        (hub.number("SELECT n FROM takings"), hub.number("SELECT cents FROM takings")),
        (100.0, 300.0)
    );
    let stats = client.stats();
    assert_eq!((stats.acked, stats.waiting, stats.dropped.total()), (100, 0, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_stream_to_come_and_a_view_to_come_is_fed() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    for _ in 0..100 {
        sales.emit(&Sale { shop: "north", cents: 1 }).unwrap();
    }
    assert_eq!(client.stats().waiting, 100);
    hub.sql(SALES);
    // The stream exists, a view of it does not: what waits now is counted by no view, but it is not lost either.
    client.schema("sales").await.unwrap();
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT count(*) AS n FROM sales");
    let created = Instant::now();
    while hub.sql("SELECT n FROM takings").is_empty()
        || hub.number("SELECT coalesce(sum(n), 0) FROM takings") == 0.0
    {
        sales.emit(&Sale { shop: "north", cents: 1 }).unwrap();
        client.flush(AckLevel::Durable).await.unwrap();
        assert!(created.elapsed() < Duration::from_secs(5), "the view is not fed");
    }
    let stats = client.stats();
    assert_eq!(stats.dropped.total(), 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_view_is_gone_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    hub.sql("CREATE CONTINUOUS VIEW a AS SELECT count(*) AS n FROM sales");
    hub.sql("CREATE CONTINUOUS VIEW b AS SELECT sum(cents) AS cents FROM sales");
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    sales.emit(&Sale { shop: "north", cents: 10 }).unwrap();
    client.flush(AckLevel::Durable).await.unwrap();
    hub.sql("DROP CONTINUOUS VIEW a");
    for _ in 0..5 {
        sales.emit(&Sale { shop: "north", cents: 10 }).unwrap();
        client.flush(AckLevel::Durable).await.unwrap();
    }
    assert!(hub.try_sql("SELECT n FROM a").unwrap_err().contains("42P01"));
    assert_eq!(hub.number("SELECT cents FROM b"), 60.0);
    assert_eq!(client.stats().dropped.total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_readable_within_a_second_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT sum(cents) AS cents FROM sales");
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    client.schema("sales").await.unwrap();
    sales.emit(&Sale { shop: "north", cents: 3 }).unwrap();
    let emitted = Instant::now();
    while hub.sql("SELECT cents FROM takings WHERE cents > 0").is_empty() {
        assert!(emitted.elapsed() < Duration::from_secs(1), "not readable after a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_refused_by_name_and_the_others_count() {
    #[derive(Serialize)]
    struct Wrong {
        shop: &'static str,
        euros: i64,
    }
    #[derive(Serialize)]
    struct Typed {
        shop: i64,
        cents: &'static str,
    }
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT sum(cents) AS cents, count(*) AS n FROM sales");
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    client.schema("sales").await.unwrap();
    sales.emit(&Sale { shop: "north", cents: 3 }).unwrap();
    assert_eq!(sales.emit(&Wrong { shop: "north", euros: 3 }).unwrap_err().code(), "unknown_column");
    assert_eq!(sales.emit(&Typed { shop: 1, cents: "x" }).unwrap_err().code(), "wrong_type");
    sales.emit(&Sale { shop: "north", cents: 4 }).unwrap();
    // The barrier reports what was refused before it.
    let _ = client.flush(AckLevel::Durable).await;
    assert_eq!((hub.number("SELECT n FROM takings"), hub.number("SELECT cents FROM takings")), (2.0, 7.0));
    let stats = client.stats();
    assert_eq!((stats.generated, stats.dropped.total()), (4, 2), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_explosion_keeps_the_total_exact() {
    #[derive(Serialize)]
    struct Hit {
        key: i64,
    }
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &["--view-groups-max", "1000"]);
    hub.sql("CREATE STREAM hits (key BIGINT)");
    hub.sql("CREATE CONTINUOUS VIEW by_key AS SELECT key, count(*) AS n FROM hits GROUP BY key");
    let client = connect(&hub).await;
    let hits = client.stream("hits");
    client.schema("hits").await.unwrap();
    // Ten heavy keys among 50,000 that come once.
    for key in 0..50_000 {
        hits.emit(&Hit { key }).unwrap();
        hits.emit(&Hit { key: key % 10 }).unwrap();
    }
    client.flush(AckLevel::Durable).await.unwrap();
    assert_eq!(hub.number("SELECT sum(n) FROM by_key"), 100_000.0);
    // The hub's cap holds for what is stored; what came since the last fold is still whole.
    until("the cap holds", || hub.number("SELECT count(*) FROM by_key") <= 1_001.0);
    assert_eq!(hub.number("SELECT sum(n) FROM by_key"), 100_000.0);
    assert_eq!(hub.number("SELECT min(n) FROM by_key WHERE key < 10"), 5_001.0);
    let (_, status) = hub.get("/v1/status");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let views = status["views"].as_array().expect("a list of views");
    let view = views.iter().find(|view| view["name"] == "by_key").expect("the view");
    assert!(view["other"].as_u64().is_some_and(|groups| groups > 0), "what was folded is in status: {view}");
}

/// A plan that goes and comes back within one flush, an emptied view and another cap: every event counts once, or in the
/// rows that were thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn views_are_altered_while_they_are_fed() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    hub.sql(SALES);
    hub.sql("CREATE CONTINUOUS VIEW takings AS SELECT shop, count(*) AS n FROM sales GROUP BY shop");
    hub.sql("CREATE CONTINUOUS VIEW recent WITH (sw = '1 hour') AS SELECT sum(cents) AS cents, count(*) AS n FROM sales");
    let client = connect(&hub).await;
    let sales = client.stream("sales");
    client.schema("sales").await.unwrap();
    let emit = |n: usize| (0..n).for_each(|_| sales.emit(&Sale { shop: "north", cents: 10 }).unwrap());
    emit(5);
    for _ in 0..3 {
        hub.sql("SELECT deactivate('takings')");
        hub.sql("SELECT activate('takings')");
        hub.sql("ALTER VIEW takings SET (group_cap = 100)");
        emit(5);
        hub.sql("ALTER VIEW takings RESET (group_cap)");
    }
    client.flush(AckLevel::Durable).await.unwrap();
    assert_eq!(hub.number("SELECT combine(n) FROM recent"), 20.0);
    let counted = hub.number("SELECT coalesce(sum(n), 0) FROM takings");
    assert!(
        (5.0..=20.0).contains(&counted),
        "only what came while it was inactive may be missing: {counted}"
    );
    hub.sql("TRUNCATE CONTINUOUS VIEW takings");
    assert!(hub.sql("SELECT n FROM takings").is_empty());
    let emptied = Instant::now();
    while hub.number("SELECT coalesce(sum(n), 0) FROM takings") == 0.0 {
        assert!(emptied.elapsed() < Duration::from_secs(5), "the emptied view is not fed");
        emit(1);
        client.flush(AckLevel::Durable).await.unwrap();
    }
    hub.sql("ALTER VIEW takings RENAME TO sold");
    let before = hub.number("SELECT sum(n) FROM sold");
    emit(5);
    client.flush(AckLevel::Durable).await.unwrap();
    assert_eq!(hub.number("SELECT sum(n) FROM sold"), before + 5.0);
    assert_eq!(client.stats().dropped.total(), 0);
}
