//! A whole hub: rooms, doors, and their end.

use super::rooms::{Rooms, status_source};
use super::{DoorError, Doors};
use crate::api::metrics::Metrics;
use crate::catalog::{Catalog, CatalogOptions, TableOptions};
use crate::ingest::{Ingest, IngestOptions};
use crate::ingress::certificate::Fingerprint;
use crate::options::Options;
use crate::read::HubSource;
use crate::shard::{QuarantineOptions, ShardOptions, Shards};
use crate::store::StoreError;
use headwater::limits::BatchLimits;
use headwater::wire::BATCH_HEADER_BYTES_MAX;
use headwater_sql::{Engine, EngineOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::task::JoinSet;

/// Why a hub does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The data cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The doors do not open.
    #[error(transparent)]
    Door(#[from] DoorError),
}

/// A running hub. Dropping it ends its tasks without draining: call [`Hub::shutdown`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use headwater_hub::{options::Options, server::Hub};
/// let mut options = Options::default();
/// options.storage.data_dir = "/tmp/my-hub".into();
/// options.listen.address = "127.0.0.1:0".parse()?;
/// let hub = Hub::start(&options).await?;
/// println!("{} {}", hub.addr(), hub.fingerprint());
/// hub.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct Hub {
    doors: Doors,
    shards: Shards,
    ingest: Ingest,
    /// The producer of the hub's own.
    tasks: JoinSet<()>,
}

impl Hub {
    /// Opens the data directory and the doors, within a Tokio runtime.
    ///
    /// # Errors
    /// The data or an address cannot be used; nothing was overwritten.
    pub async fn start(options: &Options) -> Result<Self, HubError> {
        let (catalog, shards) = open(options).await?;
        let status = status_source(catalog.clone(), shards.clone());
        let mut metrics = Metrics::new();
        metrics.watch(Arc::clone(&status));
        let metrics = Arc::new(metrics);
        let (ingest, producer) = Ingest::new(catalog.clone(), shards.clone(), ingest_options(options));
        let mut tasks = JoinSet::new();
        tasks.spawn(producer);
        let source =
            HubSource::new(catalog.clone(), shards.clone(), Arc::clone(&status)).with_ingest(ingest.clone());
        let engine = Engine::new(Arc::new(source), engine_options(options));
        let rooms = Rooms::new(catalog, shards.clone(), ingest.clone(), engine, Arc::clone(&metrics));
        match Doors::open(options, Arc::new(rooms), status, metrics) {
            Ok(doors) => Ok(Self { doors, shards, ingest, tasks }),
            Err(error) => {
                // The files are open: leave them as a shutdown would.
                let _ = shards.shutdown().await;
                Err(error.into())
            }
        }
    }

    /// Where QUIC listens.
    pub fn addr(&self) -> SocketAddr {
        self.doors.quic_address()
    }

    /// Where HTTP listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.doors.http_address()
    }

    /// Where the PostgreSQL protocol is spoken, if it is.
    pub fn pg_addr(&self) -> Option<SocketAddr> {
        self.doors.pg_address()
    }

    /// SHA-256 of the certificate; clients of a development hub pin it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.doors.fingerprint()
    }

    /// True when the hub made its certificate itself.
    pub fn is_development(&self) -> bool {
        self.doors.is_development()
    }

    /// Drains: nobody new, what is in flight is answered, everything accepted is durable and folded.
    ///
    /// # Errors
    /// Storage failed: what was acknowledged is safe in the log.
    pub async fn shutdown(mut self) -> Result<(), StoreError> {
        self.doors.close().await;
        self.ingest.shutdown().await;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the producer of the hub ended badly");
            }
        }
        self.shards.shutdown().await
    }
}

/// Opens the files on a thread that may block: replaying a log takes a while.
async fn open(options: &Options) -> Result<(Catalog, Shards), HubError> {
    let dir = options.storage.data_dir.clone();
    let catalog_options = CatalogOptions {
        shard_groups: options.storage.shard_groups,
        stream_plans_bytes_max: options.limits.stream_plans_bytes_max as usize,
        bytes_max: size(options.storage.catalog_bytes_max),
        tables: TableOptions {
            rows_max: options.storage.table_rows_max,
            bytes_max: options.storage.table_bytes_max,
            cache_bytes: size(options.storage.table_cache_bytes),
        },
    };
    let shard_options = shard_options(options);
    let opening = tokio::task::spawn_blocking(move || {
        let catalog = Catalog::open(&dir, &catalog_options)?;
        let shards = Shards::open(&dir, shard_options, catalog.clone())?;
        Ok((catalog, shards))
    });
    opening.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn shard_options(options: &Options) -> ShardOptions {
    let (storage, limits) = (&options.storage, &options.limits);
    ShardOptions {
        commit_delay: Duration::from_millis(storage.commit_delay_ms),
        commit_bytes: size(storage.commit_bytes),
        fold_interval: Duration::from_millis(storage.fold_interval_ms),
        fold_log_bytes: storage.fold_log_bytes,
        fold_bytes: size(storage.fold_bytes),
        view_groups_max: storage.view_groups_max,
        cache_bytes: size(storage.cache_bytes),
        quarantine: QuarantineOptions {
            rows_max: storage.quarantine_rows_max,
            bytes_max: storage.quarantine_bytes_max,
        },
        limits: BatchLimits {
            payload_bytes_max: (limits.frame_bytes_max as usize).saturating_sub(BATCH_HEADER_BYTES_MAX),
            groups_max: limits.batch_groups_max as usize,
            key_bytes_max: limits.key_bytes_max as usize,
            keys_bytes_max: 4 * limits.frame_bytes_max as usize,
            ..BatchLimits::NATIVE
        },
        pid_lifetime: Duration::from_millis(limits.pid_lifetime_ms),
        future_skew: Duration::from_millis(limits.future_skew_ms),
        late_max: (limits.late_max_ms > 0).then(|| Duration::from_millis(limits.late_max_ms)),
        backfill: limits.backfill,
        inbox_bytes: size(storage.inbox_bytes),
        ..ShardOptions::default()
    }
}

fn ingest_options(options: &Options) -> IngestOptions {
    let limits = &options.limits;
    IngestOptions {
        limits: shard_options(options).limits,
        pid_lifetime: Duration::from_millis(limits.pid_lifetime_ms),
        queue_bytes: size(limits.insert_bytes_max),
        loads_max: limits.loads_max as usize,
        load_bytes: size(limits.load_bytes_max),
        line_bytes: limits.load_line_bytes_max as usize,
        body_bytes: size(limits.events_body_bytes_max),
        pace: Duration::from_millis(limits.frame_ms),
    }
}

fn engine_options(options: &Options) -> EngineOptions {
    EngineOptions {
        timeout: Duration::from_millis(options.sql.timeout_ms),
        concurrent_max: options.sql.concurrent_max as usize,
        memory_bytes_max: size(options.sql.memory_bytes),
        value_bytes_max: size(options.sql.value_bytes_max),
        plan_nodes_max: options.sql.plan_nodes_max as usize,
        rows_max: options.sql.rows_max,
        ..EngineOptions::default()
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
