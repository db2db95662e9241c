//! Kill -9: a child process writes through [`Shards`] until it is killed; afterwards totals are exact.
//!
//! Prevents: an acknowledged batch lost, a batch counted twice, or a file that does not open, after the
//! process died at any moment, folds and catalog changes included.

use super::testing::{key, payload};
use super::{Outcome, ShardOptions, Shards, Submission};
use crate::catalog::testing::{create_stream, create_view, drop_view};
use crate::catalog::{Catalog, CatalogOptions};
use futures::StreamExt;
use headwater::aggregate::Finisher;
use headwater::ids::{Pid, RouteVersion, Seq};
use headwater::value::Value;
use headwater::wire::{AckLevel, BatchFrame, ReadLevel, Resume};
use headwater_sql::source::ScanRequest;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DIRECTORY: &str = "HEADWATER_TEST_KILL_DIRECTORY";
const BIRTH: &str = "HEADWATER_TEST_KILL_BIRTH";

fn options() -> ShardOptions {
    ShardOptions {
        commit_delay: Duration::from_millis(1),
        fold_interval: Duration::from_millis(3),
        cache_bytes: 4 << 20,
        ..ShardOptions::default()
    }
}

fn producer(birth_ms: u64) -> Pid {
    Pid::new(birth_ms, [7; 10])
}

fn frame(pid: Pid, seq: u64, low_water: u64) -> BatchFrame {
    let (seq, low_water) = (Seq(seq), Seq(low_water));
    let payload = payload(&[1], &[("all", seq.0 as i64), ("other", 1)]);
    BatchFrame {
        pid,
        seq,
        low_water,
        route: RouteVersion(1),
        level: AckLevel::Durable,
        backfill: false,
        payload,
    }
}

async fn open(directory: &Path) -> (Catalog, Shards) {
    let catalog = Catalog::open(directory, &CatalogOptions::default()).expect("catalog");
    // As a hub does: nothing is created before both files are there.
    let shards = Shards::open(directory, options(), catalog.clone()).expect("shards");
    if catalog.snapshot().view("v1").is_none() {
        let _ = catalog.apply(create_stream("s")).await;
        catalog.apply(create_view("v1", 1)).await.expect("view");
    }
    (catalog, shards)
}

async fn is_durable(submission: &mut Submission) -> bool {
    let mut durable = false;
    while let Some(outcome) = submission.next().await {
        durable = matches!(outcome, Outcome::Ack(ack) if ack.level >= AckLevel::Durable);
    }
    durable
}

/// The child: does nothing unless the parent set its directory.
#[tokio::test]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let birth = std::env::var(BIRTH).expect("birth").parse().expect("number");
    let (catalog, shards) = open(Path::new(&directory)).await;
    let (pid, mut done, mut window) = (producer(birth), 0u64, VecDeque::new());
    loop {
        while window.len() < 8 {
            let seq = done + window.len() as u64 + 1;
            window.push_back(shards.submit(frame(pid, seq, done + 1)).await);
        }
        let mut first = window.pop_front().expect("a full window");
        assert!(is_durable(&mut first).await);
        done += 1;
        // One line per acknowledged batch; the pipe outlives this process.
        writeln!(std::io::stdout(), "acked {done}").expect("parent");
        if done.is_multiple_of(16) {
            catalog.apply(create_view("passing", 1)).await.expect("view");
            catalog.apply(drop_view("passing")).await.expect("drop");
        }
    }
}

/// Starts the child, kills it after `lines` acknowledgements, returns the last one.
fn run_and_kill(directory: &Path, birth: u64, lines: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("test program"))
        .args(["--exact", "shard::kill::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(BIRTH, birth.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let mut output = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("acked ").and_then(|n| n.parse::<u64>().ok());
    let seen = output.by_ref().filter_map(number).take(lines).last();
    child.kill().expect("kill");
    child.wait().expect("wait");
    // What it had written before it died counts, too.
    output.filter_map(number).last().or(seen).expect("an acknowledgement")
}

async fn count_of_all(catalog: &Catalog, shards: &Shards) -> (i64, i128) {
    let view = catalog.snapshot().view("v1").expect("view").clone();
    let (key_min, key_max) = (key("all"), Some(key("alm")));
    let mut chunks = shards.scan(ScanRequest { view, key_min, key_max, read_level: ReadLevel::Replicated });
    let Some(chunk) = chunks.next().await else { return (0, 0) };
    let table = chunk.expect("chunk");
    let value = |state: usize| table.states()[state].finish(0, &Finisher::Value).expect("value");
    match (value(0), value(1)) {
        (Value::Int(count), Value::Decimal(sum)) => (count, sum),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn killing_the_process_at_any_moment_keeps_totals_exact() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_millis() as u64;
    let (mut count, mut sum) = (0i64, 0i128);
    for (round, lines) in [1, 2, 17, 60, 5, 130].into_iter().enumerate() {
        let birth = start + round as u64;
        let acked = run_and_kill(directory.path(), birth, lines);
        let (catalog, shards) = open(directory.path()).await;
        let pid = producer(birth);
        let resumed = shards.resume(Resume { pid, low_water: Seq(1) }).await.expect("resume");
        assert!(resumed.floor.0 >= acked, "{acked} was acknowledged, {resumed:?} is held");
        let held = resumed.floor.0 + u64::from(resumed.bitmap.count_ones());
        let found = count_of_all(&catalog, &shards).await;
        assert_eq!(found.0, count + held as i64, "round {round}: what is held is counted, once");
        // The producer sends everything again that it may have sent.
        let sent = acked + 8;
        for seq in 1..=sent {
            assert!(is_durable(&mut shards.submit(frame(pid, seq, seq)).await).await);
        }
        count += sent as i64;
        sum += i128::from(sent * (sent + 1) / 2);
        assert_eq!(count_of_all(&catalog, &shards).await, (count, sum), "round {round}");
        shards.shutdown().await.expect("shutdown");
    }
}
