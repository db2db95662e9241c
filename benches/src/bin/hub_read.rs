//! SQL over 1,000 groups, in process: from the statement's text to its last Arrow batch.
//!
//! `cargo run --release -p headwater-benches --bin hub_read`

use futures::StreamExt;
use headwater_benches::hub::{Failed, Rooms, merge};
use headwater_benches::measure::machine;
use headwater_sql::{Engine, EngineOptions, ReadOptions};
use std::time::{Duration, Instant};

const GROUPS: usize = 1_000;
const RUNS: usize = 201;

const QUERIES: &[(&str, &str, usize)] = &[
    ("all 1,000 groups", "SELECT * FROM v", GROUPS),
    ("one group by its key", "SELECT * FROM v WHERE url = 'https://example.org/page/7' AND n = 3", 1),
    ("combine over 100 coarser groups", "SELECT url, combine(total) FROM v GROUP BY url", 100),
    ("the ten largest", "SELECT url, n, total FROM v ORDER BY total DESC LIMIT 10", 10),
];

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let hub = Rooms::open(directory.path()).await?;
    merge(&hub.shards, &hub.payloads(GROUPS), Duration::from_millis(500)).await;
    let engine = Engine::new(hub.source(), EngineOptions::default());
    println!("{}, median and best of {RUNS}", machine());
    for (name, sql, rows) in QUERIES {
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let started = Instant::now();
            let found = count(&engine, sql).await?;
            times.push(started.elapsed());
            if found != *rows {
                return Err(format!("{sql}: {found} rows instead of {rows}").into());
            }
        }
        times.sort();
        println!("{name:<36} {:>10.1?} {:>10.1?}", times[RUNS / 2], times[0]);
    }
    hub.shards.shutdown().await?;
    Ok(())
}

async fn count(engine: &Engine, sql: &str) -> Result<usize, Failed> {
    let mut answer = engine.execute(sql, ReadOptions::default()).await?;
    let mut rows = 0;
    while let Some(batch) = answer.batches.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}
