//! Durable merge and scan of a hub's shard groups, in process, with fsync.
//!
//! `cargo run --release -p headwater-benches --bin hub_merge [SECONDS] [DIRECTORY]`
//!
//! Groups/s merged durably with hot keys (1,000 groups over and over) and with 1,000,000 distinct keys, the time of a
//! scan, and the time of a start after everything was dropped without folding. Batches are made before the clock
//! starts; CPU seconds are the whole process's.

use futures::StreamExt;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::group::GroupTable;
use headwater::ids::{Micros, Pid, PlanVersion, RouteVersion, Seq, StreamId, ViewId};
use headwater::limits::BatchLimits;
use headwater::plan::{ExprId, Node, Op, Plan, StatePlan};
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;
use headwater::value::column::{Column, ColumnData};
use headwater::value::key::{put_int64, put_text};
use headwater::wire::batch::{DropCounts, LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame, ReadLevel};
use headwater_hub::catalog::{Catalog, CatalogOptions};
use headwater_hub::shard::{Outcome, ShardOptions, Shards, Submission};
use headwater_sql::definition::{Ddl, Output, StreamDef, ViewDef};
use headwater_sql::source::ScanRequest;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const GROUPS_PER_BATCH: usize = 1_000;
/// Batches in flight per producer, as many as a native client has.
const IN_FLIGHT: usize = 8;
const PRODUCERS: u64 = 4;
const SCANS: usize = 21;

type Failed = Box<dyn std::error::Error>;

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
    println!(
        "{GROUPS_PER_BATCH} groups per batch, {PRODUCERS} producers, {IN_FLIGHT} batches in flight each, {time:?}, fsync on"
    );
    for (name, distinct) in [("hot keys", 1_000), ("1 M distinct keys", 1_000_000)] {
        let hub = Hub::open(&directory.join(name.replace(' ', "-"))).await?;
        let payloads = payloads(distinct);
        let merged = merge(&hub.shards, &payloads, time).await;
        println!(
            "{name}: {:.0} k groups/s durable, {:.0} k per CPU second, {:.1} MB/s of batches",
            merged.groups as f64 / merged.wall.as_secs_f64() / 1e3,
            merged.groups as f64 / merged.cpu.as_secs_f64() / 1e3,
            merged.bytes as f64 / merged.wall.as_secs_f64() / 1e6
        );
        scan(&hub).await;
        println!("  data file: {} MB", hub.shards.status().file_bytes >> 20);
        hub.reopen(&payloads).await?;
    }
    Ok(())
}

struct Hub {
    directory: PathBuf,
    catalog: Catalog,
    shards: Shards,
}

impl Hub {
    async fn open(directory: &Path) -> Result<Self, Failed> {
        let catalog = Catalog::open(directory, &CatalogOptions::default())?;
        if catalog.snapshot().views.is_empty() {
            catalog.apply(Ddl::CreateStream { def: stream_def(), if_not_exists: false }).await?;
            catalog.apply(Ddl::CreateView { def: Box::new(view_def()), if_not_exists: false }).await?;
        }
        let shards = Shards::open(directory, ShardOptions::default(), catalog.clone())?;
        Ok(Self { directory: directory.to_owned(), catalog, shards })
    }

    /// Leaves a log to replay, drops everything without folding, and measures the next start.
    async fn reopen(self, payloads: &[Vec<u8>]) -> Result<(), Failed> {
        merge(&self.shards, payloads, Duration::from_millis(300)).await;
        let Self { directory, catalog, shards } = self;
        drop((shards, catalog));
        let mut started = Instant::now();
        // The writer thread lets go of the file a moment later.
        let waiting = Instant::now();
        let hub = loop {
            match Hub::open(&directory).await {
                Ok(hub) => break hub,
                Err(_) if waiting.elapsed() < Duration::from_secs(10) => started = Instant::now(),
                Err(error) => return Err(error),
            }
        };
        println!("  start with a log to replay: {:?}", started.elapsed());
        hub.shards.shutdown().await?;
        Ok(())
    }
}

/// `s (url text, n bigint, v bigint)`
fn stream_def() -> StreamDef {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields = vec![field("url", DataType::Text), field("n", DataType::Int64), field("v", DataType::Int64)];
    StreamDef { schema: StreamSchema { id: StreamId(0), name: "s".into(), fields } }
}

/// `SELECT url, n, count(*), sum(v) FROM s GROUP BY url, n`
fn view_def() -> ViewDef {
    let node = |column, data_type| Node { op: Op::Column(column), data_type };
    let sum = AggregateSpec::Sum(DataType::Int64);
    let output = |name: &str, state, data_type| Output {
        name: name.into(),
        state,
        finisher: Finisher::Value,
        data_type,
    };
    ViewDef {
        id: ViewId(0),
        name: "v".into(),
        query: "SELECT url, n, count(*), sum(v) FROM s GROUP BY url, n".into(),
        options: Vec::new(),
        plan: Plan {
            view: ViewId(0),
            version: PlanVersion(0),
            stream: StreamId(1),
            nodes: vec![node(0, DataType::Text), node(1, DataType::Int64), node(2, DataType::Int64)],
            filter: None,
            keys: vec![ExprId(0), ExprId(1)],
            states: vec![
                StatePlan { spec: AggregateSpec::Count { argument: false }, args: Vec::new(), filter: None },
                StatePlan { spec: sum, args: vec![ExprId(2)], filter: None },
            ],
            groups_max: 65_536,
        },
        keys: vec![("url".into(), DataType::Text), ("n".into(), DataType::Int64)],
        outputs: vec![
            output("$0", 0, DataType::Int64),
            output("$1", 1, DataType::Decimal { precision: 38, scale: 0 }),
        ],
        select: Vec::new(),
    }
}

/// Batches that cover `distinct` keys, scattered by a fixed multiplier.
fn payloads(distinct: usize) -> Vec<Vec<u8>> {
    let batches = (distinct / GROUPS_PER_BATCH).max(1);
    (0..batches).map(|b| payload(b * GROUPS_PER_BATCH, distinct)).collect()
}

fn payload(first: usize, distinct: usize) -> Vec<u8> {
    let mut table = GroupTable::new(&view_def().specs());
    let mut key = Vec::new();
    let groups: Vec<u32> = (first..first + GROUPS_PER_BATCH)
        .map(|i| {
            let i = i * 7_919 % distinct;
            key.clear();
            put_text(format!("https://example.org/page/{}", i / 10).as_bytes(), &mut key);
            put_int64((i % 10) as i64, &mut key);
            table.group(&key)
        })
        .collect();
    let rows: Vec<u32> = (0..GROUPS_PER_BATCH as u32).collect();
    let values = (0..GROUPS_PER_BATCH as i64).map(|i| i * i % 977).collect();
    table.states_mut()[0].update(&rows, &groups, &[]);
    table.states_mut()[1].update(&rows, &groups, &[&Column::valid(ColumnData::Int(values))]);
    let events = GROUPS_PER_BATCH as u64;
    let section = SectionInput {
        view: ViewId(1),
        version: PlanVersion(1),
        events,
        rejected: DropCounts::default(),
        partials: &table,
    };
    let ledger = LedgerDelta { events, ..LedgerDelta::default() };
    encode_payloads(&ledger, &[section], &BatchLimits::NATIVE).payloads.remove(0).bytes
}

struct Merged {
    groups: u64,
    bytes: u64,
    wall: Duration,
    cpu: Duration,
}

/// Several producers send batches for `time`, each with a window of them in flight.
async fn merge(shards: &Shards, payloads: &[Vec<u8>], time: Duration) -> Merged {
    let (started, cpu) = (Instant::now(), cpu_time());
    let producers = (0..PRODUCERS).map(|n| produce(shards, payloads, n, started + time));
    let done = futures::future::join_all(producers).await;
    let batches: u64 = done.iter().map(|d| d.0).sum();
    let bytes = done.iter().map(|d| d.1).sum();
    let groups = batches * GROUPS_PER_BATCH as u64;
    Merged { groups, bytes, wall: started.elapsed(), cpu: cpu_time() - cpu }
}

/// One producer; returns its batches and bytes.
async fn produce(shards: &Shards, payloads: &[Vec<u8>], number: u64, until: Instant) -> (u64, u64) {
    let micros = now().0 as u64;
    let mut random = [0; 10];
    random[..8].copy_from_slice(&micros.to_le_bytes());
    random[8] = number as u8;
    let pid = Pid::new(micros / 1_000, random);
    let first = number as usize * payloads.len() / PRODUCERS as usize;
    let (mut sent, mut done, mut bytes) = (0u64, 0u64, 0u64);
    let mut window: VecDeque<Submission> = VecDeque::new();
    while Instant::now() < until {
        while window.len() < IN_FLIGHT {
            sent += 1;
            let payload = payloads[(first + sent as usize) % payloads.len()].clone();
            bytes += payload.len() as u64;
            let (seq, low_water) = (Seq(sent), Seq(done + 1));
            let (route, level) = (RouteVersion(1), AckLevel::Durable);
            window.push_back(shards.submit(BatchFrame { pid, seq, low_water, route, level, payload }).await);
        }
        if let Some(mut oldest) = window.pop_front() {
            wait(&mut oldest).await;
            done += 1;
        }
    }
    for mut rest in window {
        wait(&mut rest).await;
        done += 1;
    }
    (done, bytes)
}

async fn wait(submission: &mut Submission) {
    while let Some(outcome) = submission.next().await {
        assert!(matches!(outcome, Outcome::Ack(_)), "{outcome:?}");
    }
}

/// The median of scans of the whole view.
async fn scan(hub: &Hub) {
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

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(since.as_micros() as i64)
}

/// User and system time of this process; zero where there is no `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // utime and stime, the 14th and 15th fields, in ticks of 10 ms; two fields and the ")" come before.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
