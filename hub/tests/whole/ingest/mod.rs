//! Events without an SDK: INSERT, COPY and `POST /v1/events`.

mod bounds;
mod chained;
mod copy;
mod events;
mod insert;
mod kill;

use crate::House;
use headwater::client::Client;
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const STREAM: &str = "CREATE STREAM hits (url TEXT, user_id INTEGER, latency_ms DOUBLE PRECISION)";
const VIEW: &str = "CREATE CONTINUOUS VIEW by_url AS SELECT url, count(*), sum(user_id) AS users, \
     count(DISTINCT user_id) AS visitors, avg(latency_ms) AS mean, percentile_cont(0.9) WITHIN GROUP (ORDER BY latency_ms) \
     AS p90, topk_agg(user_id, 3) AS top, min(arrival_timestamp) AS first FROM hits GROUP BY url";

/// A hub with a stream and a view, and a client that reads.
async fn with_hits() -> (House, Hub, Client) {
    with_hits_and(|_| {}).await
}

/// The same, with options.
async fn with_hits_and(change: impl FnOnce(&mut Options)) -> (House, Hub, Client) {
    let house = House::new();
    let mut options = house.options();
    change(&mut options);
    let hub = Hub::start(&options).await.expect("hub");
    let client = house.client(&hub).await;
    client.query(STREAM).await.expect("stream");
    client.query(VIEW).await.expect("view");
    (house, hub, client)
}

async fn counts(client: &Client) -> Vec<(Option<String>, i64, Option<i64>)> {
    client.query_as("SELECT url, count, users FROM by_url ORDER BY url").await.expect("rows")
}

async fn end(hub: Hub, client: Client) {
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}

/// A request, and the status and body of its answer.
fn post(to: SocketAddr, path: &str, media: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

async fn posted(to: SocketAddr, path: &'static str, media: &'static str, body: String) -> (u16, String) {
    let posted = tokio::task::spawn_blocking(move || post(to, path, media, body.as_bytes()));
    posted.await.expect("a thread").expect("an answer")
}

async fn postgres(hub: &Hub) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(hub.pg_addr().expect("the door is open").port()).user("me");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}
