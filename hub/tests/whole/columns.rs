//! ALTER CONTINUOUS VIEW ... ADD COLUMN under producers that are connected, and over a restart.

use crate::House;
use headwater::client::Client;
use headwater::wire::AckLevel;
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Serialize)]
struct Tick {
    n: i64,
}

async fn emit(client: &Client, n: i64, times: usize) {
    let ticks = client.stream("ticks");
    (0..times).for_each(|_| ticks.emit(&Tick { n }).expect("emit"));
    client.flush(AckLevel::Durable).await.expect("flush");
}

async fn totals(client: &Client) -> (i64, Option<i64>) {
    let rows: Vec<(i64, Option<i64>)> =
        client.query_as("SELECT count, total::bigint FROM v").await.expect("rows");
    rows[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_feed_a_column_that_is_added() {
    let house = House::new();
    let hub = house.start().await;
    let client = house.client(&hub).await;
    client.query("CREATE STREAM ticks (n BIGINT)").await.expect("stream");
    client.query("CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM ticks").await.expect("view");
    emit(&client, 1, 100).await;
    client.query("ALTER CONTINUOUS VIEW v ADD COLUMN sum(n) AS total").await.expect("alter");
    assert_eq!(totals(&client).await, (100, None), "it knows of nothing before");
    let mut sent = 100;
    // Events that the plan before it takes count in the old column alone.
    let begun = Instant::now();
    let total = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "the column is not fed");
        emit(&client, 1, 1).await;
        sent += 1;
        let (count, total) = totals(&client).await;
        assert_eq!(count, sent);
        if let Some(total) = total {
            break total;
        }
    };
    emit(&client, 10, 50).await;
    assert_eq!(totals(&client).await, (sent + 50, Some(total + 500)));
    client.close().await;
    hub.shutdown().await.expect("shutdown");
    let hub = house.start().await;
    let client = house.client(&hub).await;
    assert_eq!(totals(&client).await, (sent + 50, Some(total + 500)), "from disk");
    emit(&client, 10, 1).await;
    assert_eq!(totals(&client).await, (sent + 51, Some(total + 510)));
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}
