//! The OpenTelemetry Rust SDK: a counter and a histogram with the same two attributes.

use crate::workload::Events;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality};
use std::time::Duration;

/// Instruments with an exporter that throws everything away and is not due within a run.
pub struct Instruments {
    requests: Counter<u64>,
    latency: Histogram<f64>,
    // Dropping it stops the instruments.
    _provider: SdkMeterProvider,
}

impl Instruments {
    /// `groups` is the cardinality limit: without it everything beyond 2,000 would go to one overflow point.
    pub fn new(groups: usize) -> Self {
        let limit = move |_: &Instrument| Stream::builder().with_cardinality_limit(groups + 1).build().ok();
        let reader = PeriodicReader::builder(Nowhere).with_interval(Duration::from_secs(3600)).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_view(limit).build();
        let meter = provider.meter("bench");
        let requests = meter.u64_counter("requests").build();
        let latency = meter.f64_histogram("latency_ms").build();
        Self { requests, latency, _provider: provider }
    }
}

/// Records every event.
pub fn run(events: &Events, instruments: &Instruments) {
    for row in 0..events.len() {
        let attributes = [
            KeyValue::new("path", events.path_text(row).to_owned()),
            KeyValue::new("status", events.status[row]),
        ];
        instruments.requests.add(1, &attributes);
        instruments.latency.record(events.latency_ms[row], &attributes);
    }
}

struct Nowhere;

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}
