//! A reference table as DataFusion sees it: batches of its rows as they are when the statement first reads it.
//!
//! Invariant: a statement sees one version of a table, however often it names it.

use super::guard;
use crate::convert::arrow_field;
use crate::definition::{TableDef, TableId};
use crate::error::SqlError;
use crate::source::{ROW_COLUMN, Source, TableRows};
use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};
use headwater::value::DataType;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The tables that a statement has read so far.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<TableId, Arc<TableRows>>>);

impl Seen {
    pub(super) fn get(&self, table: TableId) -> Option<Arc<TableRows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&table).cloned()
    }

    /// What the statement has seen first stays.
    fn keep(&self, table: TableId, rows: Arc<TableRows>) -> Arc<TableRows> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(seen.entry(table).or_insert(rows))
    }
}

/// The provider of a table.
pub(super) struct StoredTable {
    def: Arc<TableDef>,
    source: Arc<dyn Source>,
    schema: SchemaRef,
}

impl std::fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTable").field("table", &self.def.name).finish_non_exhaustive()
    }
}

impl StoredTable {
    /// `with_rows`: shows [`ROW_COLUMN`], too.
    pub(super) fn new(def: Arc<TableDef>, source: Arc<dyn Source>, with_rows: bool) -> Self {
        let columns = def.columns.iter().map(|c| arrow_field(&c.field.name, &c.field.data_type));
        let row = with_rows.then(|| arrow_field(ROW_COLUMN, &DataType::Bytea));
        let schema = Arc::new(Schema::new(columns.chain(row).collect::<Vec<_>>()));
        Self { def, source, schema }
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let partition = Partition {
            def: Arc::clone(&self.def),
            source: Arc::clone(&self.source),
            columns: columns.into(),
            schema: Arc::clone(&schema),
        };
        let exec = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, None, false, limit)?;
        Ok(Arc::new(exec))
    }
}

struct Partition {
    def: Arc<TableDef>,
    source: Arc<dyn Source>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table={}", self.def.name)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (columns, schema) = (Arc::clone(&self.columns), Arc::clone(&self.schema));
        let rows = read(Arc::clone(&self.source), Arc::clone(&self.def));
        let batches = stream::once(rows).flat_map(move |rows| {
            let (columns, schema) = (Arc::clone(&columns), Arc::clone(&schema));
            match rows {
                Ok(rows) => {
                    let at = 0..rows.batches.len();
                    let batch = move |at: usize| project(rows.batches.get(at), &columns, Arc::clone(&schema));
                    stream::iter(at.map(batch)).boxed()
                }
                Err(error) => stream::iter([Err(guard::external(error))]).boxed(),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// The rows of a table, as the statement of this thread sees them.
async fn read(source: Arc<dyn Source>, def: Arc<TableDef>) -> std::result::Result<Arc<TableRows>, SqlError> {
    let Some(guard) = guard::current() else { return source.table(&def).await };
    if let Some(seen) = guard.seen.get(def.id) {
        return Ok(seen);
    }
    let table = def.id;
    let read = guard.hub.spawn(async move { source.table(&def).await }).await;
    let rows = read.map_err(|_| SqlError::new("XX000", "a table could not be read"))??;
    Ok(guard.seen.keep(table, rows))
}

fn project(batch: Option<&RecordBatch>, columns: &[usize], schema: SchemaRef) -> Result<RecordBatch> {
    let Some(batch) = batch else { return internal_err!("a batch of a table is missing") };
    guard::check()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.iter().map(|at| batch.columns().get(*at).cloned()).collect::<Option<Vec<_>>>();
    match columns {
        Some(columns) => Ok(RecordBatch::try_new_with_options(schema, columns, &options)?),
        None => internal_err!("a table's batch lacks a column"),
    }
}
