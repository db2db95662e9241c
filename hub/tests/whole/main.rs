//! A whole hub with the native client: events in, states shipped, answers out.

mod cli;
mod columns;
mod ends;
mod formats;
mod house;
mod ingest;
mod load;
mod load_told;
mod options;
mod pg;
mod tables;
#[cfg(unix)]
mod terminal;

use headwater::client::Client;
use headwater::wire::AckLevel;
use headwater_hub::server::Hub;
use house::House;
use serde::Serialize;

#[derive(Serialize)]
struct View<'a> {
    url: &'a str,
    user_id: u32,
    latency_ms: f64,
}

const STREAM: &str = "CREATE STREAM pageviews (url TEXT, user_id INTEGER, latency_ms DOUBLE PRECISION)";
const BY_URL: &str = "CREATE CONTINUOUS VIEW by_url AS SELECT url, count(*), sum(user_id) AS users, \
                      count(DISTINCT user_id) AS visitors, avg(latency_ms) AS mean FROM pageviews GROUP BY url";

/// A new hub, a client, the stream and its view.
async fn with_view() -> (House, Hub, Client) {
    let house = House::new();
    let hub = house.start().await;
    let client = house.client(&hub).await;
    client.query(STREAM).await.expect("stream");
    client.query(BY_URL).await.expect("view");
    (house, hub, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_become_answers() {
    let (_house, hub, client) = with_view().await;
    let pageviews = client.stream("pageviews");
    for i in 0..3000u32 {
        let url = ["/", "/a", "/b"][i as usize % 3];
        pageviews.emit(&View { url, user_id: i, latency_ms: f64::from(i) }).expect("emit");
    }
    client.flush(AckLevel::Durable).await.expect("flush");
    let rows: Vec<(String, i64, i64, i64, f64)> = client
        .query_as("SELECT url, count, users, visitors, mean FROM by_url ORDER BY url")
        .await
        .expect("rows");
    assert_eq!(rows.len(), 3);
    for (at, (url, count, users, visitors, mean)) in rows.into_iter().enumerate() {
        let members: Vec<i64> = (0..3000).filter(|i| *i % 3 == at as i64).collect();
        let sum: i64 = members.iter().sum();
        assert_eq!((url.as_str(), count, users), (["/", "/a", "/b"][at], 1000, sum));
        assert!((950..=1050).contains(&visitors), "{visitors} visitors");
        assert!((mean - sum as f64 / 1000.0).abs() < 1e-9);
    }
    let total: Vec<(i64, i64)> =
        client.query_as("SELECT combine(count), combine(users) FROM by_url").await.expect("combine");
    assert_eq!(total, [(3000, (0..3000).sum())]);
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_made_later_is_fed_by_producers_that_are_connected() {
    let (_house, hub, client) = with_view().await;
    let pageviews = client.stream("pageviews");
    let view = View { url: "/", user_id: 1, latency_ms: 1.0 };
    pageviews.emit(&view).expect("emit");
    client.flush(AckLevel::Durable).await.expect("flush");
    client.query("CREATE CONTINUOUS VIEW later AS SELECT count(*) FROM pageviews").await.expect("view");
    // Over the air: the client learns of the view by itself; until then events feed the old views only.
    let begun = std::time::Instant::now();
    loop {
        pageviews.emit(&view).expect("emit");
        client.flush(AckLevel::Durable).await.expect("flush");
        let counts: Vec<(i64,)> = client.query_as("SELECT count FROM later").await.expect("rows");
        if counts.first().is_some_and(|(count,)| *count > 0) {
            break;
        }
        assert!(begun.elapsed().as_secs() < 10, "the view is not fed");
    }
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_survives_a_restart_and_is_counted_once() {
    let (house, hub, client) = with_view().await;
    for i in 0..500 {
        client.stream("pageviews").emit(&View { url: "/", user_id: i, latency_ms: 0.0 }).expect("emit");
    }
    client.flush(AckLevel::Durable).await.expect("flush");
    client.close().await;
    hub.shutdown().await.expect("shutdown");
    let hub = house.start().await;
    let client = house.client(&hub).await;
    let rows: Vec<(i64, i64)> = client.query_as("SELECT count, users FROM by_url").await.expect("rows");
    assert_eq!(rows, [(500, (0..500).sum())]);
    let ledger: Vec<(i64,)> = client
        .query_as("SELECT count FROM headwater.ledger WHERE outcome = 'events applied'")
        .await
        .expect("ledger");
    assert_eq!(ledger, [(500,)]);
    for table in headwater_hub::read::system::TABLES {
        let rows = client.query(&format!("SELECT * FROM headwater.{table}")).await.expect(table).rows;
        assert_eq!(rows.is_empty(), ["quarantine", "tables"].contains(&table), "{table}: {rows:?}");
    }
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_not_touched() {
    let house = House::new();
    let hub = house.start().await;
    let error = Hub::start(&house.options()).await.err().expect("in use");
    assert!(error.to_string().contains("in use"), "{error}");
    hub.shutdown().await.expect("shutdown");
    house.start().await.shutdown().await.expect("free again");
}
