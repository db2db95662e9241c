//! A load: many rows, aggregated as they come, counted when all are there.
//!
//! Owns: groups of its own, whose memory grows with groups and not with rows; its place among loads. Invariants: before
//! [`Load::finish`] the hub has nothing of it; dropping it counts nothing; views are evaluated on a thread that nobody
//! else waits for, one block of rows behind those that are read, and the place is held until that thread is done.

use super::actor::Message;
use super::block::row_bytes;
use super::gather::{self, Gathering};
use super::round::Frozen;
use super::{Ingest, Pace, stopping};
use crate::ingress::addresses::FromAddress;
use headwater::value::column::ColumnBatch;
use headwater_sql::{InsertLevel, Name, SqlError, WriteOptions, WriteTarget};
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
    /// The stream.
    pub target: Name,
    /// The columns that values are for; empty: all but `arrival_timestamp`.
    pub columns: Vec<Name>,
    /// How it is written.
    pub write: WriteOptions,
    /// Who brings it.
    pub from: Option<IpAddr>,
}

/// A load.
pub struct Load {
    ingest: Ingest,
    target: WriteTarget,
    level: InsertLevel,
    from: Option<IpAddr>,
    groups: Groups,
    ready: Vec<ColumnBatch>,
    rows: u64,
    /// Bytes that have come so far.
    came: usize,
}

/// A place among the loads.
struct Place {
    _place: OwnedSemaphorePermit,
    _address: Option<FromAddress>,
}

/// Where the groups are.
enum Groups {
    /// Nowhere yet: the load has no place.
    None,
    Here(Box<(Gathering, Place)>),
    /// Where rows are added to them.
    There(JoinHandle<Added>),
}

type Added = (Box<(Gathering, Place)>, Result<(), SqlError>);

impl Load {
    pub(super) fn new(ingest: Ingest, loading: &Loading) -> Result<Self, SqlError> {
        let catalog = ingest.shared.catalog.snapshot();
        let target = WriteTarget::find(&loading.target, &loading.columns, &loading.write, &catalog)?;
        let (level, from) = (loading.write.level, loading.from);
        Ok(Self { ingest, target, level, from, groups: Groups::None, ready: Vec::new(), rows: 0, came: 0 })
    }

    /// Where its rows go.
    pub fn target(&self) -> &WriteTarget {
        &self.target
    }

    /// Limits of lines and bodies.
    pub fn options(&self) -> super::IngestOptions {
        self.ingest.shared.options
    }

    /// Bytes of lines that should be read at a time: what is made of them is bounded, too.
    pub fn step_bytes(&self) -> usize {
        (STEP_ROWS_BYTES / row_bytes(self.target.fields.len()).max(1)).clamp(1 << 10, STEP_BYTES)
    }

    /// True when it has its place among the loads: then its rows must come at a least rate.
    pub fn has_place(&self) -> bool {
        !matches!(self.groups, Groups::None)
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
    /// `53200`: its groups take more memory than a load may; `53300`: too many loads are running; `42P01`: the stream was
    /// dropped before the load had its place.
    pub async fn step(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.came = self.came.saturating_add(bytes);
        if self.ready.is_empty() {
            return if self.came >= Pace::BYTES { self.settle() } else { Ok(()) };
        }
        let (mut groups, bytes_max) = (self.take().await?, self.options().load_bytes);
        let batches = std::mem::take(&mut self.ready);
        self.groups = Groups::There(spawn_blocking(move || {
            let added = batches.iter().try_for_each(|batch| groups.0.push(batch, bytes_max));
            (groups, added)
        }));
        Ok(())
    }

    /// Takes the place, where it has none.
    fn settle(&mut self) -> Result<(), SqlError> {
        if self.has_place() {
            return Ok(());
        }
        let place = self.place()?;
        let (catalog, schema) = (self.ingest.shared.catalog.snapshot(), &self.target.stream.schema);
        if !gather::is_same_stream(&catalog, schema) {
            return Err(gather::gone(&schema.name));
        }
        let (targets, limits) = (self.target.targets.as_deref(), self.options().limits);
        let gathering = Gathering::new(&catalog, schema, targets, &limits);
        self.groups = Groups::Here(Box::new((gathering, place)));
        Ok(())
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

    /// The groups, with all rows that were on their way to them.
    async fn take(&mut self) -> Result<Box<(Gathering, Place)>, SqlError> {
        self.settle()?;
        match std::mem::replace(&mut self.groups, Groups::None) {
            Groups::Here(groups) => Ok(groups),
            Groups::There(adding) => {
                let (groups, added) = adding.await.map_err(|_| failed())?;
                added.map(|()| groups)
            }
            Groups::None => Err(failed()),
        }
    }

    /// Counts all rows; how many those were.
    ///
    /// # Errors
    /// Those of [`Load::step`] and [`Ingest::insert`].
    pub async fn finish(mut self) -> Result<u64, SqlError> {
        self.step(0).await?;
        let rows = self.rows;
        if rows == 0 {
            return Ok(0);
        }
        let groups = self.take().await?;
        let (catalog, schema) = (self.ingest.shared.catalog.snapshot(), groups.0.schema());
        if !gather::is_same_stream(&catalog, schema) {
            return Err(gather::gone(&schema.name));
        }
        let options = self.options();
        let (mut gathering, _place) = *groups;
        // Many large states take their time.
        let freezing = spawn_blocking(move || {
            gathering.measure(options.load_bytes)?;
            Ok(gathering.freeze(&options.limits))
        });
        let payloads = freezing.await.map_err(|_| failed())??;
        let (reply, answer) = oneshot::channel();
        let is_async = self.level == InsertLevel::Async;
        let reply = (!is_async).then_some(reply);
        let frozen = Frozen { payloads, events: rows, level: self.level, reply };
        self.ingest.send(Message::Frozen(frozen)).await?;
        if !is_async {
            answer.await.unwrap_or_else(|_| Err(stopping()))?;
        }
        Ok(rows)
    }
}

fn failed() -> SqlError {
    SqlError::new("XX000", "the rows could not be aggregated")
}
