//! A load: many rows, aggregated as they come, counted when all are there.
//!
//! Owns: a rollup of its own, whose memory grows with groups and not with rows. Invariant: before [`Load::finish`] the
//! hub has nothing of it; dropping it counts nothing.

use super::actor::Message;
use super::round::{self, Frozen};
use super::{Ingest, stopping};
use headwater::rollup::Rollup;
use headwater::value::column::ColumnBatch;
use headwater_sql::{InsertLevel, Name, SqlError, WriteOptions, WriteTarget};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Rows between two looks at memory: it walks all states.
const MEASURE_ROWS: u64 = 65_536;

/// What a load is for.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The stream.
    pub target: Name,
    /// The columns that values are for; empty: all but `arrival_timestamp`.
    pub columns: Vec<Name>,
    /// How it is written.
    pub write: WriteOptions,
}

/// A load.
pub struct Load {
    ingest: Ingest,
    target: WriteTarget,
    level: InsertLevel,
    rollup: Rollup,
    rows: u64,
    unmeasured: u64,
    _place: OwnedSemaphorePermit,
}

impl Load {
    pub(super) fn new(
        ingest: Ingest,
        loading: &Loading,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, SqlError> {
        let catalog = ingest.shared.catalog.snapshot();
        let target = WriteTarget::find(&loading.target, &loading.columns, &loading.write, &catalog)?;
        let limits = ingest.shared.options.limits;
        let rollup = round::rollup(&catalog, &target.stream.schema, target.targets.as_deref(), &limits);
        let level = loading.write.level;
        Ok(Self { ingest, target, level, rollup, rows: 0, unmeasured: 0, _place: place })
    }

    /// Where its rows go.
    pub fn target(&self) -> &WriteTarget {
        &self.target
    }

    /// Limits of lines and bodies.
    pub fn options(&self) -> super::IngestOptions {
        self.ingest.shared.options
    }

    /// Aggregates rows.
    ///
    /// # Errors
    /// `53200`: its groups take more memory than a load may.
    pub fn push(&mut self, batch: &ColumnBatch) -> Result<(), SqlError> {
        self.rollup.push(batch);
        self.rows += batch.rows() as u64;
        self.unmeasured += batch.rows() as u64;
        if self.unmeasured < MEASURE_ROWS {
            return Ok(());
        }
        self.unmeasured = 0;
        let (bytes, bytes_max) = (self.rollup.heap_bytes(), self.options().load_bytes);
        if bytes > bytes_max {
            let message =
                format!("the groups of these rows take {bytes} bytes, more than the limit of {bytes_max}");
            return Err(SqlError::new("53200", message)
                .with_hint("load fewer rows at a time, or raise load_bytes_max"));
        }
        Ok(())
    }

    /// Counts all rows; how many those were.
    ///
    /// # Errors
    /// Those of [`Ingest::insert`].
    pub async fn finish(mut self) -> Result<u64, SqlError> {
        let rows = self.rows;
        if rows == 0 {
            return Ok(0);
        }
        let catalog = self.ingest.shared.catalog.snapshot();
        let schema = self.rollup.schema();
        if !round::is_same_stream(&catalog, schema) {
            return Err(round::gone(&schema.name));
        }
        let limits = self.options().limits;
        let mut rollup = self.rollup;
        // Many large states take their time.
        let freezing = tokio::task::spawn_blocking(move || round::payloads(rows, &rollup.drain(), &limits));
        let payloads = freezing.await.map_err(|_| SqlError::new("XX000", "the rows could not be frozen"))?;
        let (reply, answer) = oneshot::channel();
        let is_async = self.level == InsertLevel::Async;
        let reply = (!is_async).then_some(reply);
        let frozen = Frozen { payloads, events: rows, level: self.level, reply };
        self.ingest.send(Message::Frozen(frozen)).await?;
        if !is_async {
            answer.await.unwrap_or_else(|_| Err(stopping()))?;
        }
        self.rows = 0;
        Ok(rows)
    }
}
