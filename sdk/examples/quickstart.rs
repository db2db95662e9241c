//! The Rust quickstart of README.md.

use headwater::client::{Client, ConnectOptions};
use headwater::wire::AckLevel;
use serde::Serialize;

#[derive(Serialize)]
struct PageView<'a> {
    url: &'a str,
    user_id: u64,
    latency_ms: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // HEADWATER_HUB (default 127.0.0.1:7171) and HEADWATER_FINGERPRINT, which a development hub prints.
    let client = Client::connect(ConnectOptions::from_env()?).await?;

    client
        .query(
            "CREATE STREAM IF NOT EXISTS pageviews
             (url TEXT, user_id BIGINT, latency_ms DOUBLE PRECISION)",
        )
        .await?;
    client
        .query(
            "CREATE CONTINUOUS VIEW IF NOT EXISTS by_url AS
             SELECT url, count(*) AS views, count(DISTINCT user_id) AS users,
                    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99
             FROM pageviews GROUP BY url",
        )
        .await?;

    let pageviews = client.stream("pageviews");
    for i in 0..100_000 {
        let url = if i % 3 == 0 { "/" } else { "/pricing" };
        pageviews.emit(&PageView { url, user_id: i % 1_000, latency_ms: (i % 100) as f64 })?;
    }
    client.flush(AckLevel::Durable).await?; // a read now sees everything emitted before

    let rows: Vec<(String, i64, i64, f64)> =
        client.query_as("SELECT url, views, users, p99 FROM by_url ORDER BY url").await?;
    for (url, views, users, p99) in rows {
        println!("{url}: {views} views by {users} users, 99 % within {p99:.0} ms");
    }
    client.close().await;
    Ok(())
}
