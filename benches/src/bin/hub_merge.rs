//! Durable merge and scan of a hub's shard groups, in process, with fsync.
//!
//! `cargo run --release -p headwater-benches --bin hub_merge [SECONDS] [DIRECTORY]`
//!
//! Groups/s merged durably with hot keys (1,000 groups over and over) and with 1,000,000 distinct keys, and the time of a
//! scan. Batches are made before the clock starts; CPU seconds are the whole process's.

use futures::StreamExt;
use headwater::wire::ReadLevel;
use headwater_benches::hub::{Failed, GROUPS_PER_BATCH, IN_FLIGHT, PRODUCERS, Rooms, merge};
use headwater_benches::measure::machine;
use headwater_sql::source::ScanRequest;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SCANS: usize = 21;

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(Ok(5), |s| s.parse())?;
    let directory = args.next().map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let directory = directory.unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&directory, Duration::from_secs(seconds)))
}

async fn run(directory: &Path, time: Duration) -> Result<(), Failed> {
    println!("{}", machine());
    println!(
        "{GROUPS_PER_BATCH} groups per batch, {PRODUCERS} producers, {IN_FLIGHT} batches in flight each, {time:?}, fsync on"
    );
    for (name, distinct) in [("hot keys", 1_000), ("1 M distinct keys", 1_000_000)] {
        let hub = Rooms::open(&directory.join(name.replace(' ', "-"))).await?;
        let payloads = hub.payloads(distinct);
        let merged = merge(&hub.shards, &payloads, time).await;
        println!(
            "{name}: {:.0} k groups/s durable, {:.0} k per CPU second, {:.1} MB/s of batches",
            merged.groups as f64 / merged.wall.as_secs_f64() / 1e3,
            merged.groups as f64 / merged.cpu.as_secs_f64() / 1e3,
            merged.bytes as f64 / merged.wall.as_secs_f64() / 1e6
        );
        scan(&hub).await;
        let status = hub.shards.status();
        println!("  data file: {} MB", status.file_bytes >> 20);
        for group in &status.shards {
            let (batches, bytes) = (group.commit.0 - group.folded.0, group.overlay_bytes >> 20);
            println!(
                "  not folded: {batches} batches, {} groups, {bytes} MB in memory",
                group.overlay_groups
            );
        }
        hub.shards.shutdown().await?;
    }
    Ok(())
}

/// The median of scans of the whole view.
async fn scan(hub: &Rooms) {
    let view = hub.catalog.snapshot().views[0].clone();
    let mut took: Vec<(Duration, usize)> = Vec::new();
    for _ in 0..SCANS {
        let (key_min, key_max, read_level) = (Vec::new(), None, ReadLevel::Replicated);
        let started = Instant::now();
        let mut chunks = hub.shards.scan(ScanRequest { view: view.clone(), key_min, key_max, read_level });
        let mut groups = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            groups += chunk.len();
        }
        took.push((started.elapsed(), groups));
    }
    took.sort_unstable();
    let (median, groups) = took[SCANS / 2];
    println!("  scan of {groups} groups: median {median:?}");
}
