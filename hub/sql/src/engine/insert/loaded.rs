//! Rows for a table that come from outside of statements: COPY.
//!
//! Owns: which columns get values, what the others are, and what a table takes. Must not know: how values were read.

use super::rows::{put_default, put_stored};
use super::table::{batch_of, target};
use crate::definition::TableDef;
use crate::engine::change::{missing_value, nothing, typed};
use crate::error::SqlError;
use crate::parse::Name;
use crate::source::{CatalogSnapshot, RowLines, TableWrite};
use datafusion::arrow::array::RecordBatch;
use headwater::emit::Cell;
use headwater::schema::Field;
use headwater::value::column::{Column, ColumnBatch};
use std::sync::Arc;

/// Where rows for a table go.
#[derive(Clone, Debug)]
pub struct TableTarget {
    /// The table.
    pub table: Arc<TableDef>,
    /// Its columns.
    pub fields: Vec<Field>,
    /// For every value of a row, the column that gets it.
    pub columns: Vec<usize>,
}

impl TableTarget {
    /// Finds a table and columns of it, no names being all; `None` when there is no table of this name.
    ///
    /// # Errors
    /// `42703`, `42701`: no such column, or one named twice.
    pub fn find(name: &Name, columns: &[Name], catalog: &CatalogSnapshot) -> Result<Option<Self>, SqlError> {
        let Some(table) = catalog.table(&name.name) else { return Ok(None) };
        let (fields, columns) = target(columns, table)?;
        Ok(Some(Self { table: Arc::clone(table), fields, columns }))
    }

    /// Adds a value to one of the columns, or leaves it alone.
    ///
    /// # Errors
    /// Those of [`crate::put_cell`], but that texts may be long and doubles NaN; `23502`: NULL where there may be none.
    pub fn put(&self, at: usize, column: &mut Column, cell: Cell<'_>) -> Result<(), SqlError> {
        let Some(of) = self.table.columns.get(at) else {
            return Err(SqlError::new("XX000", "a value without a column"));
        };
        if of.not_null && matches!(cell, Cell::Null) {
            return Err(missing_value(&self.table, &of.field.name));
        }
        put_stored(column, &of.field, cell)
    }

    /// Adds what a row that does not name one of the columns has there.
    ///
    /// # Errors
    /// `23502`: NULL where there may be none.
    pub fn put_default(&self, at: usize, column: &mut Column) -> Result<(), SqlError> {
        match self.table.columns.get(at) {
            Some(of) if of.not_null && of.default.is_none() => {
                Err(missing_value(&self.table, &of.field.name))
            }
            Some(of) => put_default(column, of),
            None => Err(SqlError::new("XX000", "a value without a column")),
        }
    }

    /// Rows as a table has them.
    ///
    /// # Errors
    /// `XX000`: the columns are not the table's.
    pub fn batch(&self, batch: &ColumnBatch) -> Result<Vec<RecordBatch>, SqlError> {
        typed(&[batch_of(batch, &self.fields)?], &self.table)
    }

    /// What adds rows to the table, all or none.
    pub fn write(&self, added: Vec<RecordBatch>, lines: RowLines) -> TableWrite {
        TableWrite { added, lines, ..nothing(&self.table) }
    }
}
