//! What the hub counts about itself, as Prometheus reads it.
//!
//! Owns: names, help texts and the registry. Must not know: where counts happen. Counters that rooms keep
//! themselves (the ledger) are read at scrape time from [`Status`], so that they cannot disagree with it.

use super::status::Status;
use crate::ingress::budget::Budget;
use crate::ingress::session::CloseCode;
use crate::shard::Ledger;
use headwater::wire::RefusedCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// SQLSTATE of a statement that took too long.
const TIMED_OUT: &str = "57014";
/// SQLSTATE of a statement that asked for too much memory.
const OUT_OF_MEMORY: &str = "53200";

type Codes = Family<[(&'static str, &'static str); 1], Counter>;

/// Handles to everything that is counted where it happens.
#[derive(Debug)]
pub struct Metrics {
    /// Open QUIC connections.
    pub quic_connections: Gauge,
    /// Open HTTP connections.
    pub http_connections: Gauge,
    /// Open connections that speak the PostgreSQL protocol.
    pub pg_connections: Gauge,
    /// QUIC and PostgreSQL connections turned away for lack of a place, and HTTP connections that were told the health only.
    pub connections_refused: Counter,
    /// Connections refused because their address has too many.
    pub connections_address_refused: Counter,
    /// Idle HTTP connections closed to make room for others.
    pub connections_shed: Counter,
    /// Open sessions (QUIC control streams).
    pub sessions: Gauge,
    /// Batches received, by both doors.
    pub batches: Counter,
    /// Bytes of their frames.
    pub batch_bytes: Counter,
    /// Statements begun.
    pub queries: Counter,
    /// Statements running or waiting for their turn.
    pub queries_running: Gauge,
    /// From a statement's arrival to the end of its answer.
    pub query_seconds: Histogram,
    ingress_bytes: Gauge,
    ingress: OnceLock<Budget>,
    batches_refused: Codes,
    sessions_ended: Codes,
    query_errors: Codes,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut r = Registry::with_prefix("headwater");
        let metrics = Self {
            quic_connections: add(&mut r, "quic_connections", "Open QUIC connections"),
            http_connections: add(&mut r, "http_connections", "Open HTTP connections"),
            pg_connections: add(&mut r, "pg_connections", "Open connections of the PostgreSQL protocol"),
            connections_refused: add(
                &mut r,
                "connections_refused",
                "Connections turned away for lack of a place",
            ),
            connections_address_refused: add(
                &mut r,
                "connections_address_refused",
                "Connections refused because their address has as many as it may",
            ),
            connections_shed: add(
                &mut r,
                "connections_shed",
                "Idle HTTP connections closed to make room for others",
            ),
            sessions: add(&mut r, "sessions", "Open producer sessions"),
            batches: add(&mut r, "batches_received", "Batches received, before any check"),
            batch_bytes: add(&mut r, "batch_received_bytes", "Bytes of the batches received"),
            queries: add(&mut r, "queries", "SQL statements begun"),
            queries_running: add(
                &mut r,
                "queries_running",
                "SQL statements running or waiting for their turn",
            ),
            query_seconds: histogram(&mut r),
            ingress_bytes: add(
                &mut r,
                "ingress_bytes",
                "Bytes of frames in the hub's hands, of ingress_bytes_max",
            ),
            ingress: OnceLock::new(),
            batches_refused: add(&mut r, "batches_refused", "Batches not taken, by code"),
            sessions_ended: add(&mut r, "sessions_ended", "Connections the hub closed for cause, by code"),
            query_errors: add(&mut r, "query_errors", "SQL statements that failed, by SQLSTATE"),
            registry: r,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// Series that are there before the first event: rates are right from it on.
    fn begin_at_zero(&self) {
        for (code, _) in Ledger::default().refused() {
            drop(self.batches_refused.get_or_create(&[("code", code.code())]));
        }
        for code in CloseCode::ALL {
            drop(self.sessions_ended.get_or_create(&[("code", code.code())]));
        }
        for sqlstate in [TIMED_OUT, OUT_OF_MEMORY] {
            drop(self.query_errors.get_or_create(&[("code", sqlstate)]));
        }
    }

    /// Adds what `status` tells to every scrape. Call once, before the metrics are shared.
    pub fn watch(&mut self, status: Arc<dyn Fn() -> Status + Send + Sync>) {
        self.registry.register_collector(Box::new(Statuses(status)));
    }

    /// Watches how much of the doors' budget is in use.
    pub fn watch_ingress(&self, budget: Budget) {
        let _ = self.ingress.set(budget);
    }

    /// A batch was not taken.
    pub fn refused(&self, code: RefusedCode) {
        self.batches_refused.get_or_create(&[("code", code.code())]).inc();
    }

    /// The hub closed a connection for cause.
    pub fn session_ended(&self, code: CloseCode) {
        self.sessions_ended.get_or_create(&[("code", code.code())]).inc();
    }

    /// A statement failed.
    pub fn query_failed(&self, sqlstate: &'static str) {
        self.query_errors.get_or_create(&[("code", sqlstate)]).inc();
    }

    /// The exposition: OpenMetrics text, version 1.0.0.
    ///
    /// # Errors
    /// A metric refuses to be encoded; writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let used = self.ingress.get().map_or(0, Budget::used);
        self.ingress_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// One more of something for as long as this lives: tasks that are cut off count themselves out too.
#[derive(Debug)]
pub struct Present(Gauge);

impl Present {
    /// Counts one in.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histogram(registry: &mut Registry) -> Histogram {
    // 0.1 ms to 6.5 s: the time limit of a statement is 5 s by default.
    let histogram = Histogram::new(exponential_buckets(0.0001, 2.0, 17));
    registry.register_with_unit(
        "query",
        "Time from statement to the end of its answer",
        Unit::Seconds,
        histogram.clone(),
    );
    histogram
}

/// Reads the status once per scrape.
struct Statuses(Arc<dyn Fn() -> Status + Send + Sync>);

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Statuses")
    }
}

impl Collector for Statuses {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let status = (self.0)();
        for (name, help, value) in status.counters() {
            put(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        for (name, help, value) in status.gauges() {
            put(&mut encoder, name, help, &ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)))?;
        }
        let mut by_view = encoder.encode_descriptor(
            "view_groups",
            "Groups in the base of a view",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for view in &status.views {
            let groups = ConstGauge::new(i64::try_from(view.groups).unwrap_or(i64::MAX));
            groups.encode(by_view.encode_family(&[("view", view.name.as_str())])?)?;
        }
        let quarantined = labels(status.views.iter().map(|v| (v.name.as_str(), v.quarantined)));
        let help = "Rows and parts of batches of a view set aside as unreadable";
        labelled(&mut encoder, "view_quarantined", help, "view", &quarantined)?;
        commits(&mut encoder, &status.storage)?;
        let ledger = &status.ledger;
        labelled(
            &mut encoder,
            "events_dropped",
            "Events dropped before a batch, as reported, by reason",
            "reason",
            &ledger.dropped,
        )?;
        labelled(
            &mut encoder,
            "events_rejected",
            "Events that views rejected, counted per view, by reason",
            "reason",
            &ledger.rejected,
        )
    }
}

fn labels<'a>(values: impl Iterator<Item = (&'a str, u64)>) -> std::collections::BTreeMap<String, u64> {
    values.map(|(label, value)| (label.into(), value)).collect()
}

/// The latency of log commits.
fn commits(encoder: &mut DescriptorEncoder, storage: &super::status::Storage) -> fmt::Result {
    let buckets: Vec<(f64, u64)> =
        storage.commits.iter().map(|c| (c.0.unwrap_or(f64::INFINITY), c.1)).collect();
    let count = buckets.iter().map(|b| b.1).sum();
    let help = "Time of log commits: the fsyncs that durable acks wait for";
    let kind = prometheus_client::metrics::MetricType::Histogram;
    encoder
        .encode_descriptor("log_commit", help, Some(&Unit::Seconds), kind)?
        .encode_histogram::<prometheus_client::encoding::NoLabelSet>(
        storage.commit_seconds,
        count,
        &buckets,
        None,
    )
}

fn put<M: EncodeMetric>(encoder: &mut DescriptorEncoder, name: &str, help: &str, metric: &M) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn labelled(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &str,
    values: &std::collections::BTreeMap<String, u64>,
) -> fmt::Result {
    let mut family =
        encoder.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Counter)?;
    for (value, count) in values {
        ConstCounter::new(*count).encode(family.encode_family(&[(label, value.as_str())])?)?;
    }
    Ok(())
}
