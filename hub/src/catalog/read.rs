//! Tables as columns: read whole, kept for the next reader as long as nobody writes.
//!
//! Owns: batches of a table's rows and how many bytes of them are kept. Must not know: who reads, how rows come.
//! Invariants: what is handed out is one snapshot; one table is read at a time, so that readers of a large table do not
//! multiply it.

use super::row;
use super::table::{TableSize, damaged, size, types};
use crate::store::tables::{successor, table_key};
use crate::store::{Snapshot, Store, StoreError, Table};
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::batch_of;
use headwater_sql::definition::{TableDef, TableId};
use headwater_sql::source::{ROW_COLUMN, TableRows};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows of one batch: as SQL has them.
const BATCH_ROWS: usize = 8_192;
/// Stored bytes of one batch, but for a single larger row.
const BATCH_BYTES: usize = 1 << 20;

/// Tables that were read.
pub(super) struct Cache {
    /// The one that was read last is the last one.
    kept: Mutex<Vec<Kept>>,
    bytes_max: usize,
    /// Held while a table is read from disk.
    reading: Mutex<()>,
}

struct Kept {
    table: TableId,
    rows: Arc<TableRows>,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: Mutex::default(), bytes_max, reading: Mutex::default() }
    }

    /// The newest rows of a table.
    pub(super) fn read(&self, def: &TableDef, store: &dyn Store) -> Result<Arc<TableRows>, StoreError> {
        if let Some(rows) = self.find(def, size(&*store.snapshot()?, def.id)?.version) {
            return Ok(rows);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = store.snapshot()?;
        let TableSize { version, rows: written, .. } = size(&*snapshot, def.id)?;
        if let Some(rows) = self.find(def, version) {
            return Ok(rows);
        }
        let batches = batches(def, &*snapshot)?;
        let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if found as u64 != written {
            // A damaged page can hide rows that are there.
            return Err(StoreError::Corrupted(format!("{found} of its {written} rows are found")));
        }
        let rows = Arc::new(TableRows { version, batches });
        self.keep(def.id, &rows);
        Ok(rows)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, def: &TableDef, version: u64) -> Option<Arc<TableRows>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|kept| kept.table == def.id && kept.rows.version == version)?;
        let found = kept.remove(at);
        let rows = Arc::clone(&found.rows);
        kept.push(found);
        Some(rows)
    }

    fn keep(&self, table: TableId, rows: &Arc<TableRows>) {
        let bytes = rows.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let mut kept = self.kept();
        kept.retain(|kept| kept.table != table);
        if bytes > self.bytes_max {
            return;
        }
        let mut held = bytes + kept.iter().map(|kept| kept.bytes).sum::<usize>();
        while held > self.bytes_max && !kept.is_empty() {
            held -= kept.remove(0).bytes;
        }
        kept.push(Kept { table, rows: Arc::clone(rows), bytes });
    }
}

fn batches(def: &TableDef, snapshot: &dyn Snapshot) -> Result<Vec<RecordBatch>, StoreError> {
    let mut reading = Reading::new(def);
    let prefix = table_key(def.id);
    let mut read = Ok(());
    snapshot.scan(Table::Row, &prefix, successor(&prefix).as_deref(), &mut |key, value| {
        read = reading.push(key.get(prefix.len()..).unwrap_or_default(), value);
        if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    read.and_then(|()| reading.finish())
}

struct Reading {
    types: Vec<DataType>,
    fields: Vec<Field>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    batches: Vec<RecordBatch>,
}

impl Reading {
    fn new(def: &TableDef) -> Self {
        let mut fields = def.fields();
        fields.push(Field { name: ROW_COLUMN.into(), data_type: DataType::Bytea });
        Self { types: types(def), fields, rows: Vec::new(), bytes: 0, batches: Vec::new() }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.cut()?;
        }
        let mut values = row::decode(value, &self.types).map_err(damaged)?;
        values.push(Value::Bytes(key.to_vec()));
        self.rows.push(values);
        self.bytes += key.len() + value.len();
        Ok(())
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if !rows.is_empty() {
            let batch = batch_of(&self.fields, &rows);
            self.batches.push(batch.map_err(|e| StoreError::Corrupted(e.message))?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>, StoreError> {
        self.cut()?;
        Ok(self.batches)
    }
}
