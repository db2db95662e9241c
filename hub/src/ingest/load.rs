//! A load: many rows, aggregated as they come, counted when all are there; rows of tables are kept and written then.
//!
//! Owns: groups of its own, whose memory grows with groups and not with rows, or the rows for a table; its place among
//! loads. Invariants: before [`Load::finish`] the hub has nothing of it; dropping it counts nothing; views are evaluated
//! on a thread that nobody else waits for, one block of rows behind those that are read, and the place is held until
//! that thread is done.

use super::actor::Message;
use super::block::row_bytes;
use super::gather::{self, Gathering};
use super::lines::{LineOptions, Lines};
use super::round::Frozen;
use super::rows::TableRows;
use super::{Ingest, Pace, stopping};
use crate::ingress::addresses::FromAddress;
use headwater::value::column::ColumnBatch;
use headwater_sql::source::RowLines;
use headwater_sql::{InsertLevel, Name, SqlError, TableTarget, TableWriter, WriteOptions, WriteTarget};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes that are read between two looks at other tasks, at most.
const STEP_BYTES: usize = 64 << 10;
/// What the rows of one step may take, where every byte of it is one.
const STEP_ROWS_BYTES: usize = 8 << 20;

/// What a load is for.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The stream or table.
    pub target: Name,
    /// The columns that values are for; empty: all but `arrival_timestamp`.
    pub columns: Vec<Name>,
    /// How it is written.
    pub write: WriteOptions,
    /// Who brings it.
    pub from: Option<IpAddr>,
    /// Whether the target may be a table.
    pub tables: bool,
}

/// A load.
pub struct Load {
    ingest: Ingest,
    into: Into,
    from: Option<IpAddr>,
    gathered: Gathered,
    ready: Vec<ColumnBatch>,
    rows: u64,
    /// Bytes that have come so far.
    came: usize,
}

/// Where rows go.
enum Into {
    Stream(Box<WriteTarget>, InsertLevel),
    Table(Box<TableTarget>, TableWriter),
}

/// What is made of rows until all are there.
enum Sink {
    Groups(Gathering),
    Rows(TableRows),
}

impl Sink {
    fn push(&mut self, batch: &ColumnBatch, bytes_max: usize) -> Result<(), SqlError> {
        match self {
            Self::Groups(groups) => groups.push(batch, bytes_max),
            Self::Rows(rows) => rows.push(batch, bytes_max),
        }
    }
}

/// A place among the loads.
struct Place {
    _place: OwnedSemaphorePermit,
    _address: Option<FromAddress>,
}

/// Where that is.
enum Gathered {
    /// Nowhere yet: the load has no place.
    None,
    Here(Box<(Sink, Place)>),
    /// Where rows are added to it.
    There(JoinHandle<Added>),
}

type Added = (Box<(Sink, Place)>, Result<(), SqlError>);

impl Load {
    pub(super) fn new(ingest: Ingest, loading: &Loading, writer: &TableWriter) -> Result<Self, SqlError> {
        let catalog = ingest.shared.catalog.snapshot();
        let (target, columns) = (&loading.target, &loading.columns);
        let table = match loading.tables {
            true => TableTarget::find(target, columns, &catalog)?,
            false => None,
        };
        let into = match table {
            Some(table) => Into::Table(Box::new(table), writer.clone()),
            None => {
                let stream = WriteTarget::find(target, columns, &loading.write, &catalog)?;
                Into::Stream(Box::new(stream), loading.write.level)
            }
        };
        let (from, gathered, ready) = (loading.from, Gathered::None, Vec::new());
        Ok(Self { ingest, into, from, gathered, ready, rows: 0, came: 0 })
    }

    /// The stream that its rows go to; `None`: a table.
    pub fn stream(&self) -> Option<&WriteTarget> {
        match &self.into {
            Into::Stream(target, _) => Some(target),
            Into::Table(..) => None,
        }
    }

    /// A reader of lines for it, and how many values a line has.
    pub fn lines(&self, options: LineOptions) -> (Lines, usize) {
        match &self.into {
            Into::Stream(target, _) => {
                let WriteTarget { stream, fields, columns, .. } = &**target;
                let lines = Lines::new(options, fields.clone(), columns.clone(), &stream.schema.name);
                (lines, columns.len())
            }
            Into::Table(target, _) => (Lines::of_table(options, target), target.columns.len()),
        }
    }

    /// Limits of lines and bodies.
    pub fn options(&self) -> super::IngestOptions {
        self.ingest.shared.options
    }

    /// Bytes of lines that should be read at a time: what is made of them is bounded, too.
    pub fn step_bytes(&self) -> usize {
        let columns = match &self.into {
            Into::Stream(target, _) => target.fields.len(),
            Into::Table(target, _) => target.fields.len(),
        };
        (STEP_ROWS_BYTES / row_bytes(columns).max(1)).clamp(1 << 10, STEP_BYTES)
    }

    /// True when it has its place among the loads: then its rows must come at a least rate.
    pub fn has_place(&self) -> bool {
        !matches!(self.gathered, Gathered::None)
    }

    /// A block of rows that [`Load::step`] takes.
    pub fn push(&mut self, batch: ColumnBatch) {
        self.rows += batch.rows() as u64;
        self.ready.push(batch);
    }

    /// So many bytes were read: what they made is aggregated while the next are read. With the first 64 KiB or the first
    /// block of rows the load takes its place: who sends nothing holds nothing.
    ///
    /// # Errors
    /// `53200`: its groups or rows take more memory than a load may; `53300`: too many loads are running; `42P01`: the
    /// stream was dropped before the load had its place; `54000`: more rows than a table may have.
    pub async fn step(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.came = self.came.saturating_add(bytes);
        if self.ready.is_empty() {
            return if self.came >= Pace::BYTES { self.settle() } else { Ok(()) };
        }
        let (mut sink, bytes_max) = (self.take().await?, self.options().load_bytes);
        let batches = std::mem::take(&mut self.ready);
        self.gathered = Gathered::There(spawn_blocking(move || {
            let added = batches.iter().try_for_each(|batch| sink.0.push(batch, bytes_max));
            (sink, added)
        }));
        Ok(())
    }

    /// Takes the place, where it has none.
    fn settle(&mut self) -> Result<(), SqlError> {
        if self.has_place() {
            return Ok(());
        }
        let place = self.place()?;
        let sink = match &self.into {
            Into::Stream(target, _) => Sink::Groups(self.groups(target)?),
            Into::Table(target, _) => {
                let limits = self.ingest.shared.catalog.table_options();
                Sink::Rows(TableRows::new(TableTarget::clone(target), limits))
            }
        };
        self.gathered = Gathered::Here(Box::new((sink, place)));
        Ok(())
    }

    fn groups(&self, target: &WriteTarget) -> Result<Gathering, SqlError> {
        let (catalog, schema) = (self.ingest.shared.catalog.snapshot(), &target.stream.schema);
        if !gather::is_same_stream(&catalog, schema) {
            return Err(gather::gone(&schema.name));
        }
        Ok(Gathering::new(&catalog, schema, target.targets.as_deref(), &self.options().limits))
    }

    fn place(&self) -> Result<Place, SqlError> {
        let too_many = |whose| SqlError::new("53300", format!("too many loads {whose} are running"));
        let address = match self.from {
            Some(from) => Some(self.ingest.addresses.take(from).ok_or_else(|| {
                too_many("of this address").with_hint("one address has three quarters of loads_max at most")
            })?),
            None => None,
        };
        let place = Arc::clone(&self.ingest.loads).try_acquire_owned();
        let place = place.map_err(|_| too_many("").with_hint("try again, or raise loads_max"))?;
        Ok(Place { _place: place, _address: address })
    }

    /// What was gathered, with all rows that were on their way to it.
    async fn take(&mut self) -> Result<Box<(Sink, Place)>, SqlError> {
        self.settle()?;
        match std::mem::replace(&mut self.gathered, Gathered::None) {
            Gathered::Here(sink) => Ok(sink),
            Gathered::There(adding) => {
                let (sink, added) = adding.await.map_err(|_| failed())?;
                added.map(|()| sink)
            }
            Gathered::None => Err(failed()),
        }
    }

    /// Counts all rows, or writes them; how many those were. `lines`: where rows for a table were read.
    ///
    /// # Errors
    /// Those of [`Load::step`] and [`Ingest::insert`]; those of [`crate::catalog::Catalog::write_table`], with the line
    /// of the row.
    pub async fn finish(mut self, lines: RowLines) -> Result<u64, SqlError> {
        self.step(0).await?;
        if self.rows == 0 {
            return Ok(0);
        }
        let (sink, _place) = *self.take().await?;
        match (sink, self.into) {
            (Sink::Groups(groups), Into::Stream(_, level)) => {
                count(&self.ingest, groups, level).await?;
                Ok(self.rows)
            }
            (Sink::Rows(rows), Into::Table(_, writer)) => writer.write(rows.write(lines)).await,
            _ => Err(failed()),
        }
    }
}

async fn count(ingest: &Ingest, mut groups: Gathering, level: InsertLevel) -> Result<(), SqlError> {
    let (catalog, schema) = (ingest.shared.catalog.snapshot(), groups.schema());
    if !gather::is_same_stream(&catalog, schema) {
        return Err(gather::gone(&schema.name));
    }
    let (options, events) = (ingest.shared.options, groups.events());
    // Many large states take their time.
    let freezing = spawn_blocking(move || {
        groups.measure(options.load_bytes)?;
        Ok(groups.freeze(&options.limits))
    });
    let payloads = freezing.await.map_err(|_| failed())??;
    let (reply, answer) = oneshot::channel();
    let is_async = level == InsertLevel::Async;
    let frozen = Frozen { payloads, events, level, reply: (!is_async).then_some(reply) };
    ingest.send(Message::Frozen(frozen)).await?;
    if is_async { Ok(()) } else { answer.await.unwrap_or_else(|_| Err(stopping())) }
}

fn failed() -> SqlError {
    SqlError::new("XX000", "the rows could not be aggregated")
}
