//! `kill -9` of the hub and of the client, at random moments: totals stay exact.

use crate::harness::{Hub, until, wait};
use headwater_tests::random::Rng;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A producer process and how far it says that everything is durable.
struct Producer {
    child: Child,
    safe: Arc<AtomicI64>,
}

fn start(hub: &Hub, spool: &Path, run: i64, events: i64) -> Producer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.arg(hub.quic.to_string()).arg(&hub.fingerprint).arg(spool);
    command.args([run.to_string(), events.to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the producer starts");
    let safe = Arc::new(AtomicI64::new(0));
    let (stdout, seen) = (child.stdout.take().expect("piped"), safe.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("safe ").and_then(|n| n.parse().ok()) {
                seen.store(n, Ordering::SeqCst);
            }
        }
    });
    Producer { child, safe }
}

const SCHEMA: [&str; 2] = [
    "CREATE STREAM ticks (run BIGINT, id BIGINT)",
    "CREATE CONTINUOUS VIEW runs AS SELECT run, count(*) AS n, sum(id) AS ids, min(id) AS first, max(id) AS last
     FROM ticks GROUP BY run",
];

fn hub(dir: &Path) -> Hub {
    let hub = Hub::start(dir, &[]);
    SCHEMA.iter().for_each(|sql| drop(hub.sql(sql)));
    hub
}

fn one(hub: &Hub, column: &str, run: i64) -> i64 {
    let rows =
        hub.sql(&format!("SELECT CAST(coalesce({column}, 0) AS BIGINT) AS x FROM runs WHERE run = {run}"));
    rows.first().and_then(|row| row["x"].as_i64().or_else(|| row["x"].as_str()?.parse().ok())).unwrap_or(0)
}

#[test]
fn a_hub_killed_at_random_moments_loses_and_repeats_nothing() {
    let seed = 1;
    let mut rng = Rng::new(seed);
    let (dir, spools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut hub = hub(dir.path());
    let events = 60_000;
    let mut producer = start(&hub, &spools.path().join("spool"), 1, events);
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(rng.below(400))); // a random moment, not a wait for something
        hub.kill();
        hub = hub.restart(dir.path(), &[]);
    }
    assert!(wait(&mut producer.child).success(), "seed {seed}");
    assert_eq!(one(&hub, "n", 1), events, "seed {seed}");
    assert_eq!(one(&hub, "ids", 1), events * (events - 1) / 2, "seed {seed}");
}

#[test]
fn a_client_killed_at_random_moments_repeats_nothing_and_loses_nothing_that_was_safe() {
    let seed = 2;
    let mut rng = Rng::new(seed);
    let (dir, spools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = hub(dir.path());
    let spool = spools.path().join("spool");
    let mut safe = Vec::new();
    for run in 0..6 {
        let mut producer = start(&hub, &spool, run, i64::MAX);
        until("something is safe", || producer.safe.load(Ordering::SeqCst) > 0);
        std::thread::sleep(Duration::from_millis(rng.below(200))); // a random moment, not a wait for something
        producer.child.kill().unwrap();
        producer.child.wait().unwrap();
        safe.push(producer.safe.load(Ordering::SeqCst));
    }
    // The last process finds what the others left in the spool and delivers it.
    let mut last = start(&hub, &spool, 6, 1_000);
    assert!(wait(&mut last.child).success());
    assert_eq!(one(&hub, "n", 6), 1_000);
    for (run, safe) in safe.into_iter().enumerate() {
        let run = run as i64;
        let (n, last) = (one(&hub, "n", run), one(&hub, "last", run));
        assert!(n >= safe, "seed {seed}: run {run} has {n} events, {safe} were safe");
        // One thread emits in order, so what arrived is a prefix: no hole, no repeat.
        assert_eq!((n, one(&hub, "first", run)), (last + 1, 0), "seed {seed}: run {run}");
        assert_eq!(one(&hub, "ids", run), last * (last + 1) / 2, "seed {seed}: run {run}");
    }
}
