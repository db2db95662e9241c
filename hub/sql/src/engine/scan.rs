//! A view's groups as a table: keys, finished aggregates, and hidden states for `combine`.
//!
//! Columns: the keys, then `$0`, `$1`, ... (outputs), then `$s0`, `$s1`, ... (encoded states). Only what a
//! query names is decoded, finished or encoded.

use super::ReadOptions;
use super::guard;
use super::range::{KeyRange, bounds_key, key_range};
use super::sketch::finish;
use crate::convert::{array_from_column, array_from_values, arrow_field, scalar_text_other};
use crate::definition::{Output, ViewDef};
use crate::error::SqlError;
use crate::source::{ScanRequest, Source};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use headwater::codec::Reader;
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::Micros;
use headwater::value::column::{Column, Slot};
use headwater::value::{DataType, Value, key};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// The provider behind a view's select list.
pub(super) struct ViewScan {
    def: Arc<ViewDef>,
    source: Arc<dyn Source>,
    schema: SchemaRef,
}

impl std::fmt::Debug for ViewScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewScan").field("view", &self.def.name).finish_non_exhaustive()
    }
}

/// What a column of the scan is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Key(usize),
    Output(usize),
    State(usize),
}

/// The hidden column of a state.
pub(super) fn state_column(state: u16) -> String {
    format!("$s{state}")
}

impl ViewScan {
    pub(super) fn new(def: Arc<ViewDef>, source: Arc<dyn Source>) -> Self {
        let keys = def.keys.iter().map(|(name, data_type)| arrow_field(name, data_type));
        let outputs = def.outputs.iter().map(|o| arrow_field(&o.name, &o.data_type));
        let states = (0..def.plan.states.len())
            .map(|at| ArrowField::new(state_column(at as u16), ArrowType::Binary, true));
        let schema = Arc::new(Schema::new(keys.chain(outputs).chain(states).collect::<Vec<_>>()));
        Self { def, source, schema }
    }

    pub(super) fn def(&self) -> &Arc<ViewDef> {
        &self.def
    }

    fn part(&self, column: usize) -> Part {
        let (keys, outputs) = (self.def.keys.len(), self.def.outputs.len());
        match column {
            c if c < keys => Part::Key(c),
            c if c < keys + outputs => Part::Output(c - keys),
            c => Part::State(c - keys - outputs),
        }
    }
}

#[async_trait]
impl TableProvider for ViewScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match bounds_key(filter, &self.def.keys) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let read_level =
            state.config().get_extension::<ReadOptions>().map(|o| o.read_level).unwrap_or_default();
        let KeyRange { min, max } = key_range(filters, &self.def.keys);
        let request = ScanRequest { view: Arc::clone(&self.def), key_min: min, key_max: max, read_level };
        let partition = Partition {
            source: Arc::clone(&self.source),
            shape: Arc::new(Shape {
                def: Arc::clone(&self.def),
                parts: columns.iter().map(|c| self.part(*c)).collect(),
                schema: Arc::clone(&schema),
            }),
            request,
        };
        let exec = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, None, false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// What batches of a scan look like.
struct Shape {
    def: Arc<ViewDef>,
    parts: Vec<Part>,
    schema: SchemaRef,
}

/// The time by which the windows of one query stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now(pub(super) Micros);

/// The same request for the panes that a sliding window shows now: those that began less than its length ago. They are
/// one range, because the pane leads the key; groups without one (`(other)`) are above all times.
fn slid(request: &ScanRequest, now: Micros) -> ScanRequest {
    let mut request = request.clone();
    if let Some(window) = request.view.window() {
        let first = now.0.saturating_sub(window.span_us).saturating_add(1);
        let mut min = Vec::new();
        key::encode_value(&Value::Int(first), &DataType::Timestamp, &mut min);
        request.key_min = request.key_min.max(min);
        let end = OTHER_KEY.to_vec();
        request.key_max = Some(request.key_max.map_or(end.clone(), |max| max.min(end)));
    }
    request
}

struct Partition {
    source: Arc<dyn Source>,
    shape: Arc<Shape>,
    request: ScanRequest,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "view={}", self.request.view.name)?;
        if !self.request.key_min.is_empty() || self.request.key_max.is_some() {
            write!(f, " key range")?;
        }
        if self.request.view.window().is_some() {
            write!(f, " window")?;
        }
        Ok(())
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.shape.schema
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let shape = Arc::clone(&self.shape);
        let allowance = MemoryConsumer::new("the next groups").register(ctx.memory_pool());
        let bytes = guard::step_bytes(64);
        let now = ctx.session_config().get_extension::<Now>();
        let now = now.map_or_else(|| self.source.now(), |now| now.0);
        let chunks = InHub::new(|| self.source.scan(slid(&self.request, now)), allowance, bytes);
        let seen = Arc::new(AtomicBool::new(false));
        let (first, end) = (Arc::clone(&seen), Arc::clone(&shape));
        let rows = ctx.session_config().batch_size().max(1);
        let batches = chunks.flat_map(move |chunk| {
            let batches = chunk.and_then(|table| {
                first.fetch_or(!table.is_empty(), Ordering::Relaxed);
                Batches::new(Arc::clone(&shape), table, rows, &ctx)
            });
            stream::iter(flatten(batches))
        });
        let nothing =
            stream::once(async move { end.without_groups(&seen) }).filter_map(|batch| async { batch });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.shape.schema), batches.chain(nothing)))
    }
}

/// A source's stream, polled in the runtime of the hub: what it spawns must not end with the statement's thread.
/// A chunk is paid for before it is asked for.
struct InHub {
    hub: Option<tokio::runtime::Handle>,
    chunks: BoxStream<'static, Result<GroupTable, SqlError>>,
    /// For the chunk that is on its way.
    allowance: MemoryReservation,
    bytes: usize,
}

impl InHub {
    fn new(
        scan: impl FnOnce() -> BoxStream<'static, Result<GroupTable, SqlError>>,
        allowance: MemoryReservation,
        bytes: usize,
    ) -> Self {
        let hub = guard::current().map(|guard| guard.hub.clone());
        let entered = hub.as_ref().map(|hub| hub.enter());
        let chunks = scan();
        drop(entered);
        Self { hub, chunks, allowance, bytes }
    }
}

impl Stream for InHub {
    type Item = Result<GroupTable>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Err(error) = this.allowance.try_resize(this.bytes) {
            return Poll::Ready(Some(Err(error)));
        }
        let _entered = this.hub.as_ref().map(|hub| hub.enter());
        let chunk = std::task::ready!(this.chunks.poll_next_unpin(cx));
        this.allowance.free();
        Poll::Ready(chunk.map(|chunk| chunk.map_err(guard::external)))
    }
}

fn flatten(batches: Result<Batches>) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
    match batches {
        Ok(batches) => Box::new(batches),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// What a batch of groups may take, bytes; one group may take more.
const BATCH_BYTES: usize = 1 << 20;

/// The batches of one chunk; chunk and batch count against the query's memory while they are read.
struct Batches {
    shape: Arc<Shape>,
    table: GroupTable,
    rows: usize,
    next: usize,
    /// Bytes that a group takes in a batch, about.
    group_bytes: usize,
    _memory: MemoryReservation,
    /// The batch made last, and before it is made.
    batch: MemoryReservation,
}

impl Batches {
    fn new(shape: Arc<Shape>, table: GroupTable, rows: usize, ctx: &TaskContext) -> Result<Self> {
        let memory = MemoryConsumer::new(format!("groups of {}", shape.def.name)).register(ctx.memory_pool());
        let bytes = table.heap_bytes();
        memory.try_grow(bytes)?;
        let batch = memory.new_empty();
        let columns = 16 * shape.parts.len();
        let group_bytes = bytes / table.len().max(1) + columns;
        // Sketches make large rows: fewer of them in a batch.
        let rows = rows.min((BATCH_BYTES / group_bytes).max(1));
        Ok(Self { shape, table, rows, next: 0, group_bytes, _memory: memory, batch })
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let groups = self.next..self.table.len().min(self.next + self.rows);
        self.next = groups.end;
        if groups.is_empty() {
            return None;
        }
        if let Err(error) = self.batch.try_resize(groups.len() * self.group_bytes) {
            return Some(Err(error));
        }
        let batch = self.shape.batch(&self.table, groups).map_err(guard::external);
        Some(batch.and_then(|batch| {
            self.batch.try_resize(batch.get_array_memory_size())?;
            Ok(batch)
        }))
    }
}

impl Shape {
    /// A view without GROUP BY has one row even before the first event, as in SQL.
    fn without_groups(&self, seen: &AtomicBool) -> Option<Result<RecordBatch>> {
        if !self.def.keys.is_empty() || seen.load(Ordering::Relaxed) {
            return None;
        }
        let mut table = GroupTable::try_new(&self.def.specs())?;
        table.group(&[]);
        Some(self.batch(&table, 0..1).map_err(guard::external))
    }

    fn batch(&self, table: &GroupTable, groups: Range<usize>) -> Result<RecordBatch, SqlError> {
        let keys = self.keys(table, groups.clone())?;
        let column = |part: &Part| match part {
            Part::Key(at) => Ok(Arc::clone(&keys[*at])),
            Part::Output(at) => self.output(table, &self.def.outputs[*at], groups.clone()),
            Part::State(at) => Ok(states(table, *at, groups.clone())),
        };
        let columns = self.parts.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| SqlError::new("XX000", e.to_string()))
    }

    /// The key columns up to the last one that is wanted.
    fn keys(&self, table: &GroupTable, groups: Range<usize>) -> Result<Vec<ArrayRef>, SqlError> {
        let last =
            self.parts.iter().filter_map(|p| if let Part::Key(at) = p { Some(at + 1) } else { None }).max();
        let types = &self.def.keys[..last.unwrap_or(0)];
        let mut columns: Vec<Column> = types.iter().map(|(_, t)| Column::new(t)).collect();
        if !types.is_empty() {
            for group in groups {
                append_key(table.key(group as u32), types, &mut columns)?;
            }
        }
        columns.iter().zip(types).map(|(column, (_, t))| array_from_column(column, t)).collect()
    }

    fn output(
        &self,
        table: &GroupTable,
        output: &Output,
        groups: Range<usize>,
    ) -> Result<ArrayRef, SqlError> {
        let states = &table.states()[usize::from(output.state)];
        let spec = &table.specs()[usize::from(output.state)];
        let values = groups.map(|g| finish(states.as_ref(), g as u32, spec, &output.finisher));
        let values = values
            .collect::<Result<Vec<Value>, SqlError>>()
            .map_err(|e| name_column(e, &self.def, output))?;
        array_from_values(&values, &output.data_type)
    }
}

/// Says which column of the view could not be finished.
pub(super) fn name_column(error: SqlError, def: &ViewDef, output: &Output) -> SqlError {
    let column = super::view::column_of(def, output);
    SqlError { message: format!("column \"{column}\" of view \"{}\": {}", def.name, error.message), ..error }
}

fn append_key(bytes: &[u8], types: &[(String, DataType)], columns: &mut [Column]) -> Result<(), SqlError> {
    if bytes == OTHER_KEY {
        for (column, (_, data_type)) in columns.iter_mut().zip(types) {
            match scalar_text_other(data_type) {
                Some(value) => column.push(&value),
                None => {
                    column.push_slot(Slot::Null);
                    true
                }
            };
        }
        return Ok(());
    }
    let mut reader = Reader::new(bytes);
    for (column, (_, data_type)) in columns.iter_mut().zip(types) {
        key::decode_append(&mut reader, data_type, column)
            .map_err(|e| SqlError::new("XX001", format!("a stored group key cannot be read: {e}")))?;
    }
    Ok(())
}

fn states(table: &GroupTable, state: usize, groups: Range<usize>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for group in groups {
        bytes.clear();
        table.states()[state].encode(group as u32, &mut bytes);
        builder.append_value(&bytes);
    }
    Arc::new(builder.finish())
}
