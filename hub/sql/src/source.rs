//! What SQL needs from the hub: the catalog, scans, DDL and a place for events. The hub implements it; this crate never opens
//! a file or a socket.

use crate::SqlError;
use crate::chain::output_schema;
use crate::definition::{Ddl, StreamDef, TableDef, ViewDef, dependants};
use crate::parse::InsertLevel;
use crate::transform::Feeds;
use datafusion::arrow::array::RecordBatch;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use headwater::group::GroupTable;
use headwater::ids::{CatalogVersion, Micros, StreamId, ViewId};
use headwater::plan::Plan;
use headwater::schema::StreamSchema;
use headwater::value::column::ColumnBatch;
use headwater::wire::ReadLevel;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One version of the catalog; immutable.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    /// The version.
    pub version: CatalogVersion,
    /// All streams.
    pub streams: Vec<Arc<StreamDef>>,
    /// All views.
    pub views: Vec<Arc<ViewDef>>,
    /// All tables.
    pub tables: Vec<Arc<TableDef>>,
    /// All continuous transforms: views that keep nothing, under the names of views.
    pub transforms: Vec<Arc<ViewDef>>,
}

impl CatalogSnapshot {
    /// A stream by folded name.
    pub fn stream(&self, name: &str) -> Option<&Arc<StreamDef>> {
        self.streams.iter().find(|s| s.schema.name == name)
    }

    /// A view by folded name.
    pub fn view(&self, name: &str) -> Option<&Arc<ViewDef>> {
        self.views.iter().find(|v| v.name == name)
    }

    /// A continuous transform by folded name.
    pub fn transform(&self, name: &str) -> Option<&Arc<ViewDef>> {
        self.transforms.iter().find(|t| t.name == name)
    }

    /// What feeds what.
    pub fn feeds(&self) -> Feeds<'_> {
        let views = self.views.iter().chain(&self.transforms).map(|view| &**view).collect();
        Feeds { views, streams: self.streams.iter().map(|stream| &stream.schema).collect() }
    }

    /// The plans that events of a stream feed: what producers evaluate.
    pub fn plans_of(&self, stream: StreamId) -> Vec<Plan> {
        self.feeds().plans(stream).plans
    }

    /// The views and transforms that read the output of one, directly or through others, nearest first.
    pub fn dependants(&self, of: ViewId) -> impl Iterator<Item = &ViewDef> {
        let views: Vec<&ViewDef> = self.views.iter().chain(&self.transforms).map(|view| &**view).collect();
        dependants(&views, of).into_iter()
    }

    /// What a view reads, as SQL names it: its stream, or the output of another view.
    pub fn source_of(&self, view: &ViewDef) -> Option<StreamSchema> {
        match view.chained() {
            Some(chained) => {
                self.views.iter().find(|v| v.id == chained.source).map(|source| output_schema(source))
            }
            None => self.streams.iter().find(|s| s.schema.id == view.plan.stream).map(|s| s.schema.clone()),
        }
    }

    /// A table by folded name.
    pub fn table(&self, name: &str) -> Option<&Arc<TableDef>> {
        self.tables.iter().find(|t| t.name == name)
    }
}

/// Which groups of a view a query needs.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The view.
    pub view: Arc<ViewDef>,
    /// Canonical key bytes, inclusive: groups below are not needed. Empty = from the first.
    pub key_min: Vec<u8>,
    /// Canonical key bytes, exclusive: groups from here on are not needed. `None` = to the last.
    pub key_max: Option<Vec<u8>>,
    /// Which states to merge.
    pub read_level: ReadLevel,
}

/// Events for a stream, typed.
#[derive(Clone, Debug)]
pub struct Insertion {
    /// The stream, as the rows were read for it.
    pub stream: Arc<StreamDef>,
    /// The rows; every one has its `arrival_timestamp`.
    pub batches: Vec<ColumnBatch>,
    /// How safe they are to be when this is answered.
    pub level: InsertLevel,
    /// The views that are fed; `None` is all of the stream's.
    pub targets: Option<Vec<ViewId>>,
}

/// The column of [`TableRows::batches`] that says which row it is.
pub const ROW_COLUMN: &str = "$row";

/// All rows of a table after some number of writes; immutable.
#[derive(Clone, Debug, Default)]
pub struct TableRows {
    /// Rises with every write that changes a row.
    pub version: u64,
    /// The rows in small batches: the table's columns, then [`ROW_COLUMN`], `bytea`.
    pub batches: Vec<RecordBatch>,
}

/// One statement's changes to the rows of a table: all of them or none.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The table; where it is to be [made](TableWrite::create), without an id.
    pub table: Arc<TableDef>,
    /// CREATE TABLE AS: makes the table in the same transaction. `Some(true)`: unless there is one.
    pub create: Option<bool>,
    /// Refused with `40001` when the rows have another version by now.
    pub expected: Option<u64>,
    /// What goes, before anything comes.
    pub removed: Removed,
    /// What comes: batches of the table's columns, NOT NULL checked.
    pub added: Vec<RecordBatch>,
    /// Rows whose key is there already are left out instead of being refused.
    pub skip_duplicates: bool,
    /// Where the rows that come were read, so that one which is refused can be found.
    pub lines: RowLines,
}

/// The lines of a text that rows come from: runs of rows whose lines follow one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowLines {
    /// The first row of each run, from 0 on, and its line.
    runs: Vec<(u64, u64)>,
}

impl RowLines {
    /// Row `row` stands in this line; rows come in order.
    pub fn push(&mut self, row: u64, line: u64) {
        let goes_on = |(first, at): &(u64, u64)| line.checked_sub(*at) == row.checked_sub(*first);
        if !self.runs.last().is_some_and(goes_on) {
            self.runs.push((row, line));
        }
    }

    /// The line of a row; `None` for rows of no text.
    pub fn line_of(&self, row: u64) -> Option<u64> {
        let behind = self.runs.partition_point(|(first, _)| *first <= row);
        let (first, line) = self.runs.get(behind.checked_sub(1)?)?;
        Some(line + (row - first))
    }
}

/// Rows that a write removes.
#[derive(Clone, Debug)]
pub enum Removed {
    /// These, by their [`ROW_COLUMN`].
    Rows(Vec<Vec<u8>>),
    /// All.
    All,
}

/// The hub, as SQL sees it.
pub trait Source: Send + Sync + 'static {
    /// The newest catalog.
    fn catalog(&self) -> Arc<CatalogSnapshot>;

    /// Merged partials in chunks; every group is in exactly one chunk. A chunk is charged to the query when it is
    /// there, and an allowance before it is asked for: chunks should be a few MiB at most.
    fn scan(&self, request: ScanRequest) -> BoxStream<'static, Result<GroupTable, SqlError>>;

    /// Applies a checked change; returns the command tag's details (`true` when something changed).
    fn apply(&self, ddl: Ddl) -> BoxFuture<'static, Result<bool, SqlError>>;

    /// The rows of a table as they are now.
    fn table(&self, table: &Arc<TableDef>) -> BoxFuture<'static, Result<Arc<TableRows>, SqlError>> {
        let _ = table;
        Box::pin(async { Err(SqlError::unsupported("a table")) })
    }

    /// Changes rows of a table; they are durable when this is done. How many were added.
    fn write_table(&self, write: TableWrite) -> BoxFuture<'static, Result<u64, SqlError>> {
        let _ = write;
        Box::pin(async { Err(SqlError::unsupported("writing to a table")) })
    }

    /// Removes the rows of a view that are past its `ttl` at once; how many those were.
    fn expire(&self, view: ViewId) -> BoxFuture<'static, Result<u64, SqlError>> {
        let _ = view;
        Box::pin(async { Err(SqlError::unsupported("ttl_expire")) })
    }

    /// Counts events, all of them or none, as a producer's would be counted.
    fn insert(&self, insertion: Insertion) -> BoxFuture<'static, Result<(), SqlError>> {
        let _ = insertion;
        Box::pin(async { Err(SqlError::unsupported("INSERT")) })
    }

    /// Waits until all events that were inserted before are synced to disk, and all views that read the output of others
    /// have seen them.
    fn flush(&self) -> BoxFuture<'static, Result<(), SqlError>> {
        Box::pin(async { Ok(()) })
    }

    /// The time by which windows slide, microseconds since 1970.
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Rows of a system table (`headwater.streams`, ...) this crate does not build itself; `None` = unknown.
    fn system_table(&self, name: &str) -> Option<SystemTable> {
        let _ = name;
        None
    }
}

/// A small table of the hub about itself.
#[derive(Clone, Debug)]
pub struct SystemTable {
    /// Names and types.
    pub columns: Vec<headwater::schema::Field>,
    /// Rows in column order.
    pub rows: Vec<Vec<headwater::value::Value>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_rows_are_kept_as_runs() {
        let mut lines = RowLines::default();
        assert_eq!(lines.line_of(0), None);
        let found = [2, 3, 4, 7, 8, 20];
        found.iter().enumerate().for_each(|(row, line)| lines.push(row as u64, *line));
        assert_eq!(lines.runs, [(0, 2), (3, 7), (5, 20)]);
        let again: Vec<_> = (0..6).filter_map(|row| lines.line_of(row)).collect();
        assert_eq!(again, found);
    }
}
