//! A load: many rows, aggregated as they come, counted when all are there; rows of tables are kept and written then.
//!
//! Owns: a rollup of its own, whose memory grows with groups and not with rows; the rows for a table. Invariant: before
//! [`Load::finish`] the hub has nothing of it; dropping it counts nothing.

use super::actor::Message;
use super::lines::{LineOptions, Lines};
use super::round::{self, Frozen};
use super::{Ingest, stopping};
use headwater::rollup::Rollup;
use headwater::value::column::ColumnBatch;
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::source::RowLines;
use headwater_sql::{InsertLevel, Name, SqlError, TableTarget, TableWriter, WriteOptions, WriteTarget};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Rows between two looks at memory: it walks all states.
const MEASURE_ROWS: u64 = 65_536;

/// What a load is for.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The stream or table.
    pub target: Name,
    /// The columns that values are for; empty: all but `arrival_timestamp`.
    pub columns: Vec<Name>,
    /// How it is written.
    pub write: WriteOptions,
    /// Whether the target may be a table.
    pub tables: bool,
}

/// A load.
pub struct Load {
    ingest: Ingest,
    into: Into,
    rows: u64,
    _place: OwnedSemaphorePermit,
}

enum Into {
    Stream(Box<Events>),
    Table(TableRows),
}

/// Events on their way into groups.
struct Events {
    target: WriteTarget,
    level: InsertLevel,
    rollup: Rollup,
    unmeasured: u64,
}

/// Rows on their way into a table.
struct TableRows {
    target: TableTarget,
    writer: TableWriter,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Load {
    pub(super) fn new(
        ingest: Ingest,
        loading: &Loading,
        writer: &TableWriter,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, SqlError> {
        let catalog = ingest.shared.catalog.snapshot();
        let table = match loading.tables {
            true => TableTarget::find(&loading.target, &loading.columns, &catalog)?,
            false => None,
        };
        let into = match table {
            Some(target) => {
                Into::Table(TableRows { target, writer: writer.clone(), batches: Vec::new(), bytes: 0 })
            }
            None => {
                let target = WriteTarget::find(&loading.target, &loading.columns, &loading.write, &catalog)?;
                let limits = ingest.shared.options.limits;
                let targets = target.targets.as_deref();
                let rollup = round::rollup(&catalog, &target.stream.schema, targets, &limits);
                let level = loading.write.level;
                Into::Stream(Box::new(Events { target, level, rollup, unmeasured: 0 }))
            }
        };
        Ok(Self { ingest, into, rows: 0, _place: place })
    }

    /// The stream that its rows go to; `None`: a table.
    pub fn stream(&self) -> Option<&WriteTarget> {
        match &self.into {
            Into::Stream(events) => Some(&events.target),
            Into::Table(_) => None,
        }
    }

    /// A reader of lines for it, and how many values a line has.
    pub fn lines(&self, options: LineOptions) -> (Lines, usize) {
        match &self.into {
            Into::Stream(events) => {
                let WriteTarget { stream, fields, columns, .. } = &events.target;
                let lines = Lines::new(options, fields.clone(), columns.clone(), &stream.schema.name);
                (lines, columns.len())
            }
            Into::Table(rows) => (Lines::of_table(options, &rows.target), rows.target.columns.len()),
        }
    }

    /// Limits of lines and bodies.
    pub fn options(&self) -> super::IngestOptions {
        self.ingest.shared.options
    }

    /// Aggregates rows, or keeps them.
    ///
    /// # Errors
    /// `53200`: its groups or rows take more memory than a load may; `54000`: more rows than a table may have.
    pub fn push(&mut self, batch: &ColumnBatch) -> Result<(), SqlError> {
        self.rows += batch.rows() as u64;
        let bytes_max = self.options().load_bytes;
        match &mut self.into {
            Into::Stream(events) => events.push(batch, bytes_max),
            Into::Table(rows) => {
                let limits = self.ingest.shared.catalog.table_options();
                limits.check(&rows.target.table.name, self.rows, 0)?;
                rows.push(batch, bytes_max)
            }
        }
    }

    /// Counts all rows, or writes them; how many those were. `lines`: where rows for a table were read.
    ///
    /// # Errors
    /// Those of [`Ingest::insert`]; those of [`crate::catalog::Catalog::write_table`], with the line of the row.
    pub async fn finish(self, lines: RowLines) -> Result<u64, SqlError> {
        let rows = self.rows;
        match self.into {
            _ if rows == 0 => Ok(0),
            Into::Stream(events) => events.finish(&self.ingest, rows).await,
            Into::Table(rows) => rows.writer.write(rows.target.write(rows.batches, lines)).await,
        }
    }
}

impl Events {
    fn push(&mut self, batch: &ColumnBatch, bytes_max: usize) -> Result<(), SqlError> {
        self.rollup.push(batch);
        self.unmeasured += batch.rows() as u64;
        if self.unmeasured < MEASURE_ROWS {
            return Ok(());
        }
        self.unmeasured = 0;
        check_memory("groups of these rows", self.rollup.heap_bytes(), bytes_max)
    }

    async fn finish(self, ingest: &Ingest, rows: u64) -> Result<u64, SqlError> {
        let catalog = ingest.shared.catalog.snapshot();
        let schema = self.rollup.schema();
        if !round::is_same_stream(&catalog, schema) {
            return Err(round::gone(&schema.name));
        }
        let limits = ingest.shared.options.limits;
        let mut rollup = self.rollup;
        // Many large states take their time.
        let freezing = tokio::task::spawn_blocking(move || round::payloads(rows, &rollup.drain(), &limits));
        let payloads = freezing.await.map_err(|_| SqlError::new("XX000", "the rows could not be frozen"))?;
        let (reply, answer) = oneshot::channel();
        let is_async = self.level == InsertLevel::Async;
        let reply = (!is_async).then_some(reply);
        let frozen = Frozen { payloads, events: rows, level: self.level, reply };
        ingest.send(Message::Frozen(frozen)).await?;
        if !is_async {
            answer.await.unwrap_or_else(|_| Err(stopping()))?;
        }
        Ok(rows)
    }
}

impl TableRows {
    fn push(&mut self, batch: &ColumnBatch, bytes_max: usize) -> Result<(), SqlError> {
        for batch in self.target.batch(batch)? {
            self.bytes += batch.get_array_memory_size();
            self.batches.push(batch);
        }
        check_memory("rows", self.bytes, bytes_max)
    }
}

fn check_memory(what: &str, bytes: usize, bytes_max: usize) -> Result<(), SqlError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("the {what} take {bytes} bytes, more than the limit of {bytes_max}");
    Err(SqlError::new("53200", message).with_hint("load fewer rows at a time, or raise load_bytes_max"))
}
