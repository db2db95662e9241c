//! Rows for a table, kept until all of them are there.

use crate::catalog::TableOptions;
use headwater::value::column::ColumnBatch;
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::source::{RowLines, TableWrite};
use headwater_sql::{SqlError, TableTarget};

/// Rows on their way into a table.
pub(super) struct TableRows {
    target: TableTarget,
    limits: TableOptions,
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: usize,
}

impl TableRows {
    pub(super) fn new(target: TableTarget, limits: TableOptions) -> Self {
        Self { target, limits, batches: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Keeps rows.
    ///
    /// # Errors
    /// `54000`: more rows than a table may have; `53200`: they take more than `bytes_max`.
    pub(super) fn push(&mut self, batch: &ColumnBatch, bytes_max: usize) -> Result<(), SqlError> {
        self.rows += batch.rows() as u64;
        self.limits.check(&self.target.table.name, self.rows, 0)?;
        for batch in self.target.batch(batch)? {
            self.bytes += batch.get_array_memory_size();
            self.batches.push(batch);
        }
        if self.bytes <= bytes_max {
            return Ok(());
        }
        let message = format!("the rows take {} bytes, more than the limit of {bytes_max}", self.bytes);
        Err(SqlError::new("53200", message).with_hint("load fewer rows at a time, or raise load_bytes_max"))
    }

    /// All of them, to be written at once.
    pub(super) fn write(self, lines: RowLines) -> TableWrite {
        self.target.write(self.batches, lines)
    }
}
