//! The PostgreSQL port: raw events by COPY, and reads, as a driver has them; PipelineDB beside it where one is reachable.
//!
//! `cargo run --release -p headwater-benches --bin pg [-- MILLIONS]`; `PIPELINEDB_URL=postgres://...` names a server with
//! the extension, which gets the same statements in the same run: its streams and views are dropped and made.

use bytes::Bytes;
use futures::SinkExt;
use headwater_benches::hub::Failed;
use headwater_benches::measure::machine;
use headwater_benches::workload::Events;
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls};

/// Bytes of a CopyData message.
const PIECE_BYTES: usize = 64 << 10;
/// Of every read.
const RUNS: usize = 201;

/// What the views compute, and a divisor for events: sketches are slower on both sides.
const VIEWS: &[(&str, &str, usize)] = &[
    ("count, sum, avg", "count(*), sum(latency), avg(latency)", 1),
    ("count(DISTINCT)", "count(DISTINCT who) AS users", 2),
    ("p99", "percentile_cont(0.99) WITHIN GROUP (ORDER BY latency) AS p99", 2),
    ("top-k", "topk_agg(who, 10) AS top", 2),
    (
        "all three",
        "count(DISTINCT who) AS users, percentile_cont(0.99) WITHIN GROUP (ORDER BY latency) AS p99, \
         topk_agg(who, 10) AS top",
        4,
    ),
    (
        "all six",
        "count(*), sum(latency), avg(latency), count(DISTINCT who) AS users, \
         percentile_cont(0.99) WITHIN GROUP (ORDER BY latency) AS p99, topk_agg(who, 10) AS top",
        4,
    ),
];

/// What is read of the last view, with the rows that it answers.
const READS: &[(&str, &str, usize)] = &[
    ("all rows, finished", "SELECT * FROM v", 1_000),
    ("combine of all distinct counts", "SELECT combine(users) FROM v", 1),
    ("combine of all p99", "SELECT combine(p99) FROM v", 1),
    ("one row by its key", "SELECT * FROM v WHERE path = '/shop/item/000007' AND status = 200", 1),
];

fn main() -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Failed> {
    let millions = std::env::args().nth(1).map_or(Ok(4.0), |text| text.parse::<f64>())?;
    println!("{}", machine());
    let directory = tempfile::tempdir()?;
    let mut options = Options::default();
    options.storage.data_dir = directory.path().to_path_buf();
    options.listen.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
    let hub = Hub::start(&options).await?;
    let port = hub.pg_addr().ok_or("no PostgreSQL port")?.port();
    let own = connect(Config::new().host("127.0.0.1").port(port).user("bench")).await?;
    let peer = match std::env::var("PIPELINEDB_URL") {
        Ok(url) => Some(connect(&url.parse::<Config>()?).await?),
        Err(_) => {
            println!("PipelineDB is skipped: PIPELINEDB_URL is not set");
            None
        }
    };
    for keys in [1_000, 100_000] {
        for (name, columns, divisor) in VIEWS {
            let events = (millions * 1e6) as usize / divisor;
            let lines = lines(&Events::uniform(events, keys));
            for (engine, client) in [("headwater", Some(&own)), ("pipelinedb", peer.as_ref())] {
                let Some(client) = client else { continue };
                let took = copy(client, columns, &lines).await?;
                let rate = events as f64 / took.as_secs_f64() / 1e6;
                println!(
                    "{engine:<11} COPY {keys:>7} keys  {name:<16} {rate:>8.3} M events/s  {}",
                    resident()
                );
                if keys == 1_000 && *name == "all six" {
                    reads(engine, client).await?;
                }
            }
        }
    }
    drop((own, peer));
    hub.shutdown().await?;
    Ok(())
}

async fn connect(config: &Config) -> Result<Client, Failed> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// COPY's text format, in pieces.
fn lines(events: &Events) -> Vec<Bytes> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    for row in 0..events.len() {
        let event = events.request(row);
        let (path, status, user, latency) = (event.path, event.status, event.user_id, event.latency_ms);
        let _ = writeln!(text, "{path}\t{status}\t{user}\t{latency:.3}");
        if text.len() >= PIECE_BYTES {
            pieces.push(Bytes::from(std::mem::take(&mut text)));
        }
    }
    pieces.push(Bytes::from(text));
    pieces
}

/// Makes the view anew and fills it: from the first byte until everything is durable and can be read.
async fn copy(client: &Client, columns: &str, lines: &[Bytes]) -> Result<Duration, Failed> {
    client.batch_execute("DROP VIEW IF EXISTS v; DROP FOREIGN TABLE IF EXISTS s").await?;
    let stream = "CREATE FOREIGN TABLE s (path text, status bigint, who bigint, latency double precision) \
                  SERVER pipelinedb";
    client.batch_execute(stream).await?;
    let view = format!(
        "CREATE VIEW v WITH (action = materialize) AS SELECT path, status, {columns} FROM s GROUP BY path, status"
    );
    client.batch_execute(&view).await?;
    let started = Instant::now();
    let sink = client.copy_in("COPY s (path, status, who, latency) FROM STDIN").await?;
    futures::pin_mut!(sink);
    for piece in lines {
        sink.send(piece.clone()).await?;
    }
    sink.finish().await?;
    client.batch_execute("SELECT pipelinedb.flush()").await?;
    Ok(started.elapsed())
}

async fn reads(engine: &str, client: &Client) -> Result<(), Failed> {
    for (name, sql, rows) in READS {
        let statement = client.prepare(sql).await?;
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let started = Instant::now();
            let found = client.query(&statement, &[]).await?.len();
            times.push(started.elapsed());
            if found != *rows {
                return Err(format!("{sql}: {found} rows instead of {rows}").into());
            }
        }
        times.sort();
        println!("{engine:<11} {name:<36} median {:>9.2?}  best {:>9.2?}", times[RUNS / 2], times[0]);
    }
    Ok(())
}

/// The most memory that this process, hub and client, has had so far.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    format!("peak {}", peak.trim())
}
