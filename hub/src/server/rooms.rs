//! The rooms behind the doors, as one [`Backend`].

use super::StatusSource;
use crate::api::metrics::{Metrics, Present};
use crate::api::status::{Ledger, ShardGroup, Status, Storage, ViewStatus};
use crate::catalog::Catalog;
use crate::ingest::{Ingest, Load, Loading};
use crate::ingress::{Backend, Outcome};
use crate::shard::{self, ShardStatus, Shards};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use headwater::ids::{BootId, ClusterId};
use headwater::value::DataType;
use headwater::wire::{BatchFrame, Query, Refused, Resume, Resumed, SessionLimits};
use headwater_sql::source::CatalogSnapshot;
use headwater_sql::{Answer, Description, Engine, Parameter, ReadOptions, SqlError, Statement};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Catalog, shard groups and SQL of one hub.
pub(super) struct Rooms {
    catalog: Catalog,
    shards: Shards,
    ingest: Ingest,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
}

impl Rooms {
    pub(super) fn new(
        catalog: Catalog,
        shards: Shards,
        ingest: Ingest,
        engine: Engine,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { catalog, shards, ingest, engine: Arc::new(engine), metrics }
    }
}

impl Backend for Rooms {
    fn catalog(&self) -> watch::Receiver<Arc<CatalogSnapshot>> {
        self.catalog.watch()
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(self.catalog.settings().cluster)
    }

    fn boot(&self) -> BootId {
        self.shards.boot()
    }

    fn submit(
        &self,
        batch: BatchFrame,
        limits: &SessionLimits,
    ) -> BoxFuture<'static, BoxStream<'static, Outcome>> {
        let (shards, limits) = (self.shards.clone(), *limits);
        async move {
            let submission = shards.submit_through(batch, &limits).await;
            let outcomes = stream::unfold(submission, |mut submission| async move {
                Some((submission.next().await?, submission))
            });
            outcomes.boxed()
        }
        .boxed()
    }

    fn resume(&self, resume: Resume) -> BoxFuture<'static, Result<Resumed, Refused>> {
        let shards = self.shards.clone();
        async move { shards.resume(resume).await }.boxed()
    }

    fn query(&self, query: Query) -> BoxFuture<'static, Result<Answer, SqlError>> {
        let engine = Arc::clone(&self.engine);
        let options = ReadOptions { read_level: query.read_level, timeout: None };
        counted(&self.metrics, async move { engine.execute(&query.sql, options).await })
    }

    fn run(
        &self,
        statement: Arc<Statement>,
        parameters: Vec<Parameter>,
        options: ReadOptions,
        stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<Answer, SqlError>> {
        let engine = Arc::clone(&self.engine);
        let run = async move { engine.execute_until(stop, statement, parameters, options).await };
        counted(&self.metrics, run)
    }

    fn load(&self, loading: &Loading) -> Result<Load, SqlError> {
        self.metrics.queries.inc();
        let load = self.ingest.load(loading, &self.engine.table_writer());
        load.inspect_err(|error| self.metrics.query_failed(error.code))
    }

    fn describe(
        &self,
        statement: Arc<Statement>,
        declared: Vec<Option<DataType>>,
        options: ReadOptions,
    ) -> BoxFuture<'static, Result<Description, SqlError>> {
        let (engine, metrics) = (Arc::clone(&self.engine), Arc::clone(&self.metrics));
        async move {
            let described = engine.describe(statement, declared, options).await;
            described.inspect_err(|error| metrics.query_failed(error.code))
        }
        .boxed()
    }
}

/// A statement as it is counted, up to the end of its answer.
fn counted(
    metrics: &Arc<Metrics>,
    run: impl Future<Output = Result<Answer, SqlError>> + Send + 'static,
) -> BoxFuture<'static, Result<Answer, SqlError>> {
    let metrics = Arc::clone(metrics);
    async move {
        metrics.queries.inc();
        let running = Running::new(metrics);
        match run.await {
            Ok(answer) => Ok(running.until_the_end_of(answer)),
            Err(error) => {
                running.metrics.query_failed(error.code);
                Err(error)
            }
        }
    }
    .boxed()
}

/// A statement that runs or waits for its turn; dropped when the answer was read or given up.
struct Running {
    since: Instant,
    _present: Present,
    metrics: Arc<Metrics>,
}

impl Running {
    fn new(metrics: Arc<Metrics>) -> Self {
        let present = Present::new(&metrics.queries_running);
        Self { since: Instant::now(), _present: present, metrics }
    }

    fn until_the_end_of(self, answer: Answer) -> Answer {
        let batches = answer.batches.inspect(move |batch| {
            if let Err(error) = batch {
                self.metrics.query_failed(error.code);
            }
        });
        Answer { batches: batches.boxed(), ..answer }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.query_seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

/// Reads the status of these rooms.
pub(super) fn status_source(catalog: Catalog, shards: Shards) -> StatusSource {
    let since = Instant::now();
    Arc::new(move || {
        let mut status = gather(&catalog.snapshot(), &shards.status());
        status.uptime_seconds = since.elapsed().as_secs();
        status
    })
}

fn gather(catalog: &CatalogSnapshot, shards: &ShardStatus) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        boot: shards.boot.0,
        uptime_seconds: 0,
        catalog: catalog.version.0,
        streams: catalog.streams.len() as u64,
        views: views(catalog, shards),
        ledger: ledger(&shards.ledger),
        storage: Storage {
            is_ok: shards.storage_ok,
            error: shards.storage_error.as_ref().map(ToString::to_string),
            file_bytes: shards.file_bytes,
            commits: commits(&shards.commits),
            commit_seconds: shards.commits.seconds,
        },
        clock_hold_seconds: whole_seconds(shards.clock_hold),
        clock_behind_seconds: whole_seconds(shards.clock_behind),
        shard_groups: shards.shards.iter().map(shard_group).collect(),
    }
}

fn views(catalog: &CatalogSnapshot, shards: &ShardStatus) -> Vec<ViewStatus> {
    let one = |view: &Arc<headwater_sql::definition::ViewDef>| {
        let stream = catalog.source_of(view);
        let size = shards.views.iter().find(|v| v.view == view.id);
        ViewStatus {
            name: view.name.clone(),
            stream: stream.map(|s| s.name).unwrap_or_default(),
            groups: size.map_or(0, |v| v.groups),
            other: size.map_or(0, |v| v.other),
            quarantined: size.map_or(0, |v| v.quarantined),
        }
    };
    catalog.views.iter().map(one).collect()
}

/// Rounded up: not 0 before it is over.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

fn commits(latency: &shard::Latency) -> Vec<(Option<f64>, u64)> {
    let bounds = shard::Latency::BOUNDS.into_iter().map(Some).chain([None]);
    bounds.zip(latency.counts).collect()
}

fn ledger(ledger: &shard::Ledger) -> Ledger {
    Ledger {
        applied: count(ledger.events),
        batches: count(ledger.batches),
        duplicates: count(ledger.duplicates),
        refused: counts(ledger.refused().map(|(code, n)| (code.code(), n))),
        dropped: counts(ledger.dropped.iter().map(|(reason, n)| (reason.code(), n))),
        rejected: counts(ledger.rejected.iter().map(|(reason, n)| (reason.code(), n))),
        in_doubt: count(ledger.in_doubt_events),
        in_doubt_batches: count(ledger.in_doubt_batches),
        groups: count(ledger.groups),
        late_groups: count(ledger.late_groups),
        future_groups: count(ledger.future_groups),
        other_groups: count(ledger.other_groups),
        view_dropped_groups: count(ledger.view_dropped_groups),
        view_dropped_events: count(ledger.view_dropped_events),
        quarantined: count(ledger.quarantined),
    }
}

/// As the faces show it. The ledger itself goes on counting.
fn count(total: u128) -> u64 {
    u64::try_from(total).unwrap_or(u64::MAX)
}

fn counts<'a>(counts: impl Iterator<Item = (&'a str, u128)>) -> BTreeMap<String, u64> {
    counts.filter(|(_, n)| *n > 0).map(|(name, n)| (name.into(), count(n))).collect()
}

fn shard_group(group: &shard::ShardGroupStatus) -> ShardGroup {
    ShardGroup {
        id: group.group.0,
        epoch: group.epoch.0,
        last: group.last.0,
        durable: group.durable.0,
        committed: group.commit.0,
        folded: group.folded.0,
        sessions: group.sessions,
        overlay_groups: group.overlay_groups,
        overlay_bytes: group.overlay_bytes,
    }
}
