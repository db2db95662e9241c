//! A hub's catalog and shard groups in this process, and producers that fill them: what the hub's figures are taken on.
//!
//! Owns: one stream, one view, batches made beforehand. Must not know: what is measured.

use headwater::aggregate::AggregateSpec;
use headwater::group::GroupTable;
use headwater::ids::{Micros, Pid, PlanVersion, RouteVersion, Seq, ViewId};
use headwater::limits::BatchLimits;
use headwater::value::DataType;
use headwater::value::column::{Column, ColumnData};
use headwater::value::key::{put_int64, put_text};
use headwater::wire::batch::{DropCounts, LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{AckLevel, BatchFrame};
use headwater_hub::api::status::Status;
use headwater_hub::catalog::{Catalog, CatalogOptions};
use headwater_hub::read::HubSource;
use headwater_hub::shard::{Outcome, ShardOptions, Shards, Submission};
use headwater_sql::{Engine, EngineOptions, ReadOptions};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Groups in every batch.
pub const GROUPS_PER_BATCH: usize = 1_000;
/// Batches in flight per producer, as many as a native client has.
pub const IN_FLIGHT: usize = 8;
/// Producers at once.
pub const PRODUCERS: u64 = 4;

const DEFINITIONS: [&str; 2] = [
    "CREATE STREAM s (url text, n bigint, v bigint)",
    "CREATE CONTINUOUS VIEW v AS SELECT url, n, count(*) AS events, sum(v) AS total FROM s GROUP BY url, n",
];

/// What the programs of this crate fail with.
pub type Failed = Box<dyn std::error::Error>;

/// An open hub without doors.
#[derive(Clone)]
pub struct Rooms {
    /// Streams and views.
    pub catalog: Catalog,
    /// The data.
    pub shards: Shards,
}

impl Rooms {
    /// Opens `directory`, and creates the stream and the view in a new one.
    ///
    /// # Errors
    /// As the hub's own start.
    pub async fn open(directory: &Path) -> Result<Self, Failed> {
        let catalog = Catalog::open(directory, &CatalogOptions::default())?;
        // The data file first: a catalog with streams and no data file beside it is damage.
        let shards = Shards::open(
            directory,
            ShardOptions { view_groups_max: u64::MAX, ..ShardOptions::default() },
            catalog.clone(),
        )?;
        let rooms = Self { catalog, shards };
        if rooms.catalog.snapshot().views.is_empty() {
            let engine = Engine::new(rooms.source(), EngineOptions::default());
            for definition in DEFINITIONS {
                engine.execute(definition, ReadOptions::default()).await?;
            }
        }
        Ok(rooms)
    }

    /// Batches for the view that cover `distinct` keys, scattered by a fixed multiplier.
    pub fn payloads(&self, distinct: usize) -> Vec<Vec<u8>> {
        // The version is a random name, drawn when the view was made.
        let version = self.catalog.snapshot().views.first().map_or(PlanVersion(0), |view| view.plan.version);
        let batches = (distinct / GROUPS_PER_BATCH).max(1);
        (0..batches).map(|b| payload(version, b * GROUPS_PER_BATCH, distinct)).collect()
    }

    /// What SQL reads, as in a hub; there is no status behind it.
    pub fn source(&self) -> Arc<HubSource> {
        Arc::new(HubSource::new(self.catalog.clone(), self.shards.clone(), Arc::new(Status::default)))
    }
}

/// The states of the view's plan.
fn specs() -> [AggregateSpec; 2] {
    [AggregateSpec::Count { argument: false }, AggregateSpec::Sum(DataType::Int64)]
}

fn payload(version: PlanVersion, first: usize, distinct: usize) -> Vec<u8> {
    let mut table = GroupTable::new(&specs());
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
    let section =
        SectionInput { view: ViewId(1), version, events, rejected: DropCounts::default(), partials: &table };
    let ledger = LedgerDelta { events, ..LedgerDelta::default() };
    encode_payloads(&ledger, &[section], &BatchLimits::NATIVE).payloads.remove(0).bytes
}

/// What producers got acknowledged as durable.
pub struct Merged {
    /// Partials.
    pub groups: u64,
    /// Batches' bytes.
    pub bytes: u64,
    /// From the first batch to the last acknowledgement.
    pub wall: Duration,
    /// Of the whole process, both cores.
    pub cpu: Duration,
}

/// Several producers send batches for `time`, each with a window of them in flight.
pub async fn merge(shards: &Shards, payloads: &[Vec<u8>], time: Duration) -> Merged {
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
            window.push_back(
                shards
                    .submit(BatchFrame { pid, seq, low_water, route, level, backfill: false, payload })
                    .await,
            );
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
