//! How long a hub takes to open 1 GB of data after kill -9, with a log to replay.
//!
//! `cargo run --release -p headwater-benches --bin hub_reopen [MEGABYTES] [DIRECTORY]`
//!
//! A child process fills a data directory with distinct groups until the file is that large; it is killed in the middle of
//! its writing, and this process opens what it left. The file is in the page cache, as after a crash of a process.

use headwater_benches::hub::{Failed, Rooms, merge};
use headwater_benches::measure::machine;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More keys than any file of a few gigabytes holds.
const DISTINCT: usize = 16_000_000;
/// The child's first argument.
const FILL: &str = "--fill";
/// First argument to open a directory that an earlier run left, for a profile of that alone.
const OPEN: &str = "--open";
const READY: &str = "ready";

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1).peekable();
    let fill = args.next_if(|a| a == FILL).is_some();
    let only_open = args.next_if(|a| a == OPEN).is_some();
    let megabytes: u64 = args.next().map_or(Ok(1_024), |s| s.parse())?;
    let temporary = tempfile::tempdir()?;
    let directory = args.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if fill {
        return runtime.block_on(write_until_killed(&directory, megabytes));
    }
    if !only_open {
        fill_and_kill(&directory, megabytes)?;
    }
    runtime.block_on(open(&directory))
}

async fn write_until_killed(directory: &Path, megabytes: u64) -> Result<(), Failed> {
    let hub = Rooms::open(directory).await?;
    let payloads = hub.payloads(DISTINCT);
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let writing = merge(&hub.shards, &payloads, Duration::from_secs(3_600));
    let looking = async {
        while hub.shards.status().file_bytes >> 20 < megabytes {
            looks.tick().await;
        }
        println!("{READY}");
        std::future::pending::<()>().await;
    };
    tokio::join!(writing, looking);
    Ok(())
}

fn fill_and_kill(directory: &Path, megabytes: u64) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg(FILL).arg(megabytes.to_string()).arg(directory).stdout(Stdio::piped());
    let mut child = child.spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let ready = BufReader::new(output).lines().any(|line| line.is_ok_and(|text| text == READY));
    child.kill()?;
    child.wait()?;
    if ready { Ok(()) } else { Err("the child ended before its file was large enough".into()) }
}

async fn open(directory: &Path) -> Result<(), Failed> {
    let started = Instant::now();
    let hub = Rooms::open(directory).await?;
    let took = started.elapsed();
    println!("{}", machine());
    let status = hub.shards.status();
    println!("open after kill -9: {took:?} for {} MB", status.file_bytes >> 20);
    for group in &status.shards {
        println!("  replayed {} batches, {} groups", group.commit.0 - group.folded.0, group.overlay_groups);
    }
    hub.shards.shutdown().await?;
    Ok(())
}
