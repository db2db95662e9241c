//! Scans: merged partials of one view, in chunks, from the base and the overlay (rule P8).
//!
//! A scan reads one snapshot of the base and the overlay behind it. When its consumer is slow it loses the
//! snapshot after [`SNAPSHOT_AGE_MAX`] (an old one would make the file grow for good) and goes on by key from
//! a newer one: later chunks may then show newer batches, never older ones. Where groups went into `(other)` meanwhile
//! the scan fails (`40001`): some of them may be in chunks before, and `(other)` comes last.
//! A scan of a whole view from one snapshot counts its rows: when there are fewer than the view's statistics say, a
//! page of the file is damaged, and the scan fails (`XX001`) rather than answer without them.
//! A chunk takes about `scan_chunk_bytes` from the base and as many from the overlay, however large the view is: that is
//! what a scan allocates before its consumer can charge for it. One row is always taken, whatever its size.

use super::fold::try_merge_row;
use super::open::image;
use super::overlay::{KeyRange, empty};
use super::shared::Shared;
use super::stats::ViewStats;
use super::views::ViewShape;
use crate::store::tables::{base_end, base_prefix, view_key};
use crate::store::{SNAPSHOT_AGE_MAX, Snapshot, StoreError, Table};
use futures::stream::{self, BoxStream, StreamExt};
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{ShardGroupId, ViewId};
use headwater_sql::SqlError;
use headwater_sql::source::ScanRequest;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Base rows per chunk, over all shard groups.
const CHUNK_ROWS: usize = 8_192;
/// How often a scan that lost the race against a fold tries again before it gives up.
const RACES_MAX: usize = 100;

/// Starts a scan.
pub(super) fn scan(
    shared: Arc<Shared>,
    request: ScanRequest,
) -> BoxStream<'static, Result<GroupTable, SqlError>> {
    let Some(shape) = shared.views().get(request.view.id).cloned() else {
        let error = gone(&shared, &request.view.name);
        return stream::once(async { Err(error) }).boxed();
    };
    let is_whole = request.key_max.is_none() && request.key_min.is_empty();
    let (next, max) = (Some(request.key_min), request.key_max);
    let scan = Scan { shared, shape, next, max, lease: None, swept: None, count: is_whole.then_some(0) };
    stream::unfold(Some(scan), |scan| async move {
        let mut scan = scan.filter(|s| s.next.is_some())?;
        // Reading is disk and CPU: it must not hold up the runtime's other tasks.
        let chunk = tokio::task::spawn_blocking(move || {
            let chunk = scan.chunk();
            (chunk, scan)
        });
        match chunk.await {
            Ok((Ok(table), scan)) => Some((Ok(table), Some(scan))),
            Ok((Err(error), _)) => Some((Err(sql_error(&error)), None)),
            // It panicked: an end without an error would pass for the whole answer.
            Err(_) => Some((Err(SqlError::new("XX000", "a read ended badly")), None)),
        }
    })
    .filter(|chunk| futures::future::ready(chunk.as_ref().is_ok_and(|t| !t.is_empty()) || chunk.is_err()))
    .boxed()
}

/// The query was planned before the view was dropped, emptied or replaced.
fn gone(shared: &Shared, name: &str) -> SqlError {
    match shared.catalog.snapshot().view(name) {
        Some(_) => SqlError {
            hint: Some("try again".into()),
            ..SqlError::new("40001", format!("view \"{name}\" was emptied or replaced meanwhile"))
        },
        None => SqlError::new("42P01", format!("view \"{name}\" does not exist")),
    }
}

/// Why a chunk cannot be read.
enum ReadError {
    Store(StoreError),
    /// Groups went into `(other)` between two snapshots.
    Swept,
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn sql_error(error: &ReadError) -> SqlError {
    let ReadError::Store(error) = error else {
        let what = "the view was at its group cap, and groups went into (other) while it was read";
        return SqlError::new("40001", what)
            .with_hint("try again; what reads faster needs one snapshot only");
    };
    let code = if matches!(error, StoreError::Corrupted(_)) { "XX001" } else { "58030" };
    SqlError::new(code, format!("storage cannot be read: {error}"))
}

struct Scan {
    shared: Arc<Shared>,
    shape: Arc<ViewShape>,
    /// The group key to go on from; `None` = done.
    next: Option<Vec<u8>>,
    max: Option<Vec<u8>>,
    lease: Option<Arc<Lease>>,
    /// How many groups had gone into `(other)` in the first snapshot.
    swept: Option<u64>,
    /// Rows of the base so far; `None` where nothing says how many there should be: only a part of the view is read,
    /// or from more than one snapshot.
    count: Option<u64>,
}

impl Scan {
    fn chunk(&mut self) -> Result<GroupTable, ReadError> {
        let from = self.next.take().unwrap_or_default();
        let max = self.max.clone();
        let range = KeyRange { min: &from, max: max.as_deref() };
        // A second try: the snapshot may belong to a store handle that a failed write has ruined.
        let (table, next) = match self.read_chunk(&range) {
            Err(ReadError::Store(StoreError::PreviousIo | StoreError::Closed)) => {
                self.lease = None;
                self.read_chunk(&range)?
            }
            other => other?,
        };
        self.next = next;
        Ok(table)
    }

    fn read_chunk(&mut self, range: &KeyRange<'_>) -> Result<(GroupTable, Option<Vec<u8>>), ReadError> {
        let held = self.lease.take().filter(|l| l.opened.elapsed() < SNAPSHOT_AGE_MAX);
        if held.is_none() && !range.min.is_empty() {
            self.count = None;
        }
        let lease = match held {
            Some(lease) => lease,
            None => open(&self.shared, self.shape.id, range)?,
        };
        if *self.swept.get_or_insert(lease.swept) != lease.swept {
            return Err(ReadError::Swept);
        }
        let mut guard = lease.view.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(view) = guard.as_mut() else {
            // Ended between two chunks.
            drop(guard);
            self.count = None;
            return self.read_chunk(range);
        };
        // The view may have got a column since the scan began: rows of this snapshot may have its states.
        if let Some(newest) = self.shared.views().get(self.shape.id) {
            self.shape = Arc::clone(newest);
        }
        let mut damaged = Vec::new();
        let result = view.chunk(&self.shape, range, &mut damaged);
        let rows = std::mem::take(&mut view.rows);
        drop(guard);
        self.count = self.count.map(|count| count + rows);
        let expected = lease.groups;
        self.lease = Some(lease);
        if damaged.is_empty() {
            let (table, next) = result?;
            if next.is_none() && self.count.is_some_and(|count| count < expected) {
                self.shared.report_lost(self.shape.id);
                let found = self.count.unwrap_or_default();
                let what = format!("of {expected} groups of view {} only {found} are there", self.shape.id);
                return Err(StoreError::Corrupted(what).into());
            }
            return Ok((table, next));
        }
        for (group, key) in damaged {
            self.shared.report_damaged((group, self.shape.id, key));
        }
        let what = format!("states of view {} cannot be read and are set aside", self.shape.id);
        Err(StoreError::Corrupted(what).into())
    }
}

/// What one scan reads: a base snapshot and the overlay behind it.
struct View {
    base: Arc<dyn Snapshot>,
    shard_groups: u16,
    /// The layers of all shard groups.
    layers: Vec<Layer>,
    /// What a chunk takes from the base, and again from the layers.
    chunk_bytes: usize,
    /// Rows of the base that were read, without `(other)`, since somebody asked.
    rows: u64,
}

/// One layer's groups in the wanted range.
struct Layer {
    table: Arc<GroupTable>,
    /// By key; 4 bytes each.
    order: Vec<u32>,
    /// How many of them are in earlier chunks.
    done: usize,
    /// Bytes of a group, on average.
    each: usize,
}

impl Layer {
    fn new(table: Arc<GroupTable>, range: &KeyRange<'_>) -> Self {
        let all = 0..table.len() as u32;
        let mut order: Vec<u32> = all.filter(|group| range.contains(table.key(*group))).collect();
        order.sort_unstable_by(|a, b| table.key(*a).cmp(table.key(*b)));
        let each = table.heap_bytes() / table.len().max(1) + 1;
        Self { table, order, done: 0, each }
    }

    /// The first key beyond about `bytes`.
    fn stop(&self, bytes: usize) -> Option<&[u8]> {
        let group = self.order.get(self.done + (bytes / self.each).max(1))?;
        Some(self.table.key(*group))
    }

    /// Merges what is below `stop`.
    fn merge_into(&mut self, into: &mut GroupTable, stop: Option<&[u8]>) {
        while let Some(group) = self.order.get(self.done) {
            let key = self.table.key(*group);
            if stop.is_some_and(|stop| key >= stop) {
                return;
            }
            into.merge_group(key, &self.table, *group);
            self.done += 1;
        }
    }
}

/// Opens base and overlays of one moment.
fn open(shared: &Shared, view: ViewId, range: &KeyRange<'_>) -> Result<Arc<Lease>, StoreError> {
    for _ in 0..RACES_MAX {
        let base = shared.store.snapshot()?;
        let shard_groups = shared.overlays.len() as u16;
        let mut layers = Vec::new();
        let mut read = 0;
        for overlay in &shared.overlays {
            let folded = image(&*base, ShardGroupId(read))?.folded;
            let Ok(tables) = overlay.since(folded, view) else { break };
            layers.extend(tables.into_iter().map(|table| Layer::new(table, range)));
            read += 1;
        }
        if read == shard_groups {
            layers.retain(|layer| !layer.order.is_empty());
            let chunk_bytes = shared.options.scan_chunk_bytes;
            let (groups, swept) = totals(&*base, shard_groups, view)?;
            let view = View { base, shard_groups, layers, chunk_bytes, rows: 0 };
            return Ok(shared.leases.lease(view, groups, swept));
        }
    }
    Err(StoreError::Io {
        kind: std::io::ErrorKind::TimedOut,
        message: "reads cannot keep up with folds".into(),
    })
}

/// How many groups a view has in the base, and how many have gone into `(other)`, over all shard groups.
fn totals(base: &dyn Snapshot, shard_groups: u16, view: ViewId) -> Result<(u64, u64), StoreError> {
    let (mut groups, mut swept) = (0u64, 0u64);
    for group in 0..shard_groups {
        if let Some(bytes) = base.get(Table::View, &view_key(ShardGroupId(group), view))? {
            let stats = ViewStats::decode(&bytes)
                .map_err(|error| StoreError::Corrupted(format!("view statistics: {error}")))?;
            groups = groups.saturating_add(stats.groups);
            swept = swept.wrapping_add(stats.other);
        }
    }
    Ok((groups, swept))
}

/// How much of the base one visit takes.
#[derive(Clone, Copy)]
struct Chunk {
    rows: usize,
    bytes: usize,
}

/// Shard group, key, states.
type Row = (ShardGroupId, Vec<u8>, Vec<u8>);
/// Its key in the base, and its group's.
type RowKey<'a> = (&'a [u8], &'a [u8]);
/// Rows that cannot be read.
type DamagedKeys = Vec<(ShardGroupId, Vec<u8>)>;

impl View {
    /// The groups of `range` up to about [`CHUNK_ROWS`] base rows or `scan_chunk_bytes`, and the key to go on from.
    fn chunk(
        &mut self,
        shape: &ViewShape,
        range: &KeyRange<'_>,
        damaged: &mut DamagedKeys,
    ) -> Result<(GroupTable, Option<Vec<u8>>), StoreError> {
        let mut table = GroupTable::new(&shape.specs);
        let each = self.chunk_bytes / self.layers.len().max(1);
        let stop = self.layers.iter().filter_map(|layer| layer.stop(each)).min().map(<[u8]>::to_vec);
        let part = KeyRange { min: range.min, max: stop.as_deref().or(range.max) };
        let next = match self.shard_groups {
            1 => self.read_base(shape, &part, &mut table, damaged)?,
            _ => self.merge_bases(shape, &part, &mut table, damaged)?,
        };
        let next = next.or(stop);
        self.layers.iter_mut().for_each(|layer| layer.merge_into(&mut table, next.as_deref()));
        Ok((table, next))
    }

    /// One shard group: rows go straight into the table.
    fn read_base(
        &mut self,
        shape: &ViewShape,
        range: &KeyRange<'_>,
        table: &mut GroupTable,
        damaged: &mut DamagedKeys,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (group, mut rows) = (ShardGroupId(0), 0);
        let max = Chunk { rows: CHUNK_ROWS, bytes: self.chunk_bytes };
        let next = self.visit(group, shape, range, max, &mut |(at, key), states| {
            rows += u64::from(key != OTHER_KEY);
            if !try_merge_row(table, (at, key), states) {
                damaged.push((group, key.to_vec()));
            }
        })?;
        self.rows += rows;
        Ok(next)
    }

    /// Several shard groups may hold the same key: each is read up to the lowest key where one of them
    /// stopped.
    fn merge_bases(
        &mut self,
        shape: &ViewShape,
        range: &KeyRange<'_>,
        table: &mut GroupTable,
        damaged: &mut DamagedKeys,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let share = usize::from(self.shard_groups).max(1);
        let max = Chunk { rows: (CHUNK_ROWS / share).max(64), bytes: self.chunk_bytes / share };
        let mut stop: Option<Vec<u8>> = None;
        let mut rows: Vec<Row> = Vec::new();
        for group in 0..self.shard_groups {
            let part = KeyRange { min: range.min, max: stop.as_deref().or(range.max) };
            let next = self.visit(ShardGroupId(group), shape, &part, max, &mut |(_, key), states| {
                rows.push((ShardGroupId(group), key.to_vec(), states.to_vec()));
            })?;
            stop = next.or(stop);
        }
        // Another shard group's states may be in the table already: only what can be read joins them.
        let mut row = empty(&shape.specs);
        for (group, key, states) in rows {
            if stop.as_ref().is_some_and(|stop| key >= *stop) {
                continue;
            }
            row.clear();
            self.rows += u64::from(key != OTHER_KEY);
            let at = [&base_prefix(group, shape.id), key.as_slice()].concat();
            match try_merge_row(&mut row, (&at, &key), &states) {
                true => drop(table.merge_table(&row)),
                false => damaged.push((group, key)),
            }
        }
        Ok(stop)
    }

    /// Visits at most about `max` of base rows; returns the group key after the last one, if there are more.
    fn visit(
        &self,
        group: ShardGroupId,
        shape: &ViewShape,
        range: &KeyRange<'_>,
        max: Chunk,
        row: &mut dyn FnMut(RowKey<'_>, &[u8]),
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let prefix = base_prefix(group, shape.id);
        let from = [&prefix, range.min].concat();
        let to = range.max.map_or_else(|| base_end(group, shape.id), |max| Some([&prefix, max].concat()));
        let (mut left, mut next) = (max, None);
        self.base.scan(Table::Base, &from, to.as_deref(), &mut |at, states| {
            let key = &at[prefix.len()..];
            if left.rows == 0 || left.bytes == 0 {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            left.rows -= 1;
            left.bytes = left.bytes.saturating_sub(key.len() + states.len());
            row((at, key), states);
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }
}

/// A view on loan to a scan; the writer takes it back when it gets too old.
struct Lease {
    opened: Instant,
    /// How many groups the base has.
    groups: u64,
    /// How many groups have gone into `(other)`.
    swept: u64,
    view: Mutex<Option<View>>,
}

/// All views on loan.
#[derive(Default)]
pub(super) struct Leases {
    open: Mutex<Vec<Weak<Lease>>>,
}

impl Leases {
    fn lease(&self, view: View, groups: u64, swept: u64) -> Arc<Lease> {
        let lease = Arc::new(Lease { opened: Instant::now(), groups, swept, view: Mutex::new(Some(view)) });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lease));
        lease
    }

    /// Takes back what is too old and not being read at this moment.
    pub(super) fn end_old(&self) {
        self.end_older(SNAPSHOT_AGE_MAX);
    }

    /// As [`Self::end_old`], from an age of the caller's choice.
    pub(super) fn end_older(&self, age: Duration) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|lease| {
            let Some(lease) = lease.upgrade() else { return false };
            if lease.opened.elapsed() < age {
                return true;
            }
            match lease.view.try_lock() {
                Ok(mut view) => {
                    *view = None;
                    false
                }
                Err(_) => true,
            }
        });
    }
}
