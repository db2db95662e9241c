//! Rows of lines on their way into columns.
//!
//! Invariant: a row is in all columns or in none.

use headwater::emit::Cell;
use headwater::ids::Micros;
use headwater::schema::Field;
use headwater::value::column::{Column, ColumnBatch, ColumnData, Slot};
use headwater_sql::{SqlError, TableTarget, put_cell};

/// Rows evaluated at a time: enough to amortise a plan's work per batch, few enough to stay in cache.
const ROWS: usize = 4_096;
/// Bytes after which a block ends, however few its rows are; the row that is above them is the last.
const BYTES: usize = 1 << 20;
/// What a value takes beside its text, at most: eight bytes or the end of its text, and its slot, as vectors grow.
const VALUE_BYTES: usize = 17;

/// Columns that are filled row by row.
pub(super) struct Block {
    /// The stream's columns, `arrival_timestamp` last; or a table's.
    fields: Vec<Field>,
    columns: Vec<Column>,
    rows: usize,
    /// About what the rows take.
    bytes: usize,
    /// `None`: a stream.
    table: Option<TableTarget>,
}

impl Block {
    pub(super) fn new(fields: Vec<Field>) -> Self {
        let columns = fields.iter().map(|field| Column::new(&field.data_type)).collect();
        Self { fields, columns, rows: 0, bytes: 0, table: None }
    }

    pub(super) fn of_table(target: TableTarget) -> Self {
        Self { table: Some(target.clone()), ..Self::new(target.fields) }
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// True when the row at hand has a value for this column.
    pub(super) fn has(&self, at: usize) -> bool {
        self.columns.get(at).is_some_and(|column| column.len() > self.rows)
    }

    /// Puts a value of the row at hand.
    pub(super) fn put(&mut self, at: usize, cell: Cell<'_>) -> Result<(), SqlError> {
        if let Cell::Text(text) = cell {
            self.bytes += text.len();
        }
        match (self.columns.get_mut(at), self.fields.get(at), &self.table) {
            (Some(column), _, Some(table)) => table.put(at, column, cell),
            (Some(column), Some(field), None) => put_cell(column, field, cell),
            _ => Err(SqlError::new("XX000", "a value without a column")),
        }
    }

    /// The row is complete: columns that got nothing are NULL, those of tables their default. True when the block should
    /// be taken.
    pub(super) fn end_row(&mut self) -> Result<bool, SqlError> {
        let left = self.columns.iter_mut().enumerate().filter(|(_, column)| column.len() == self.rows);
        for (at, column) in left {
            match &self.table {
                Some(table) => table.put_default(at, column)?,
                None => column.push_slot(Slot::Null),
            }
        }
        self.rows += 1;
        self.bytes += row_bytes(self.fields.len());
        Ok(self.rows >= ROWS || self.bytes >= BYTES)
    }

    /// The row at hand is none.
    pub(super) fn undo_row(&mut self) {
        let rows = self.rows;
        self.columns.iter_mut().filter(|column| column.len() > rows).for_each(|column| column.truncate(rows));
    }

    /// All complete rows, events without a time at `now`.
    pub(super) fn take(&mut self, now: Micros) -> Option<ColumnBatch> {
        self.bytes = 0;
        if self.rows == 0 {
            return None;
        }
        self.rows = 0;
        let fresh = self.fields.iter().map(|field| Column::new(&field.data_type)).collect();
        let mut batch = ColumnBatch { columns: std::mem::replace(&mut self.columns, fresh) };
        if self.table.is_none()
            && let Some(times) = batch.columns.last_mut()
            && let Some(slots) = times.slots.take()
            && let ColumnData::Int(values) = &mut times.data
        {
            let missing = values.iter_mut().zip(slots).filter(|(_, slot)| *slot != Slot::Valid);
            missing.for_each(|(value, _)| *value = now.0);
        }
        Some(batch)
    }
}

/// What a row of so many columns takes without its texts, at most.
pub(super) fn row_bytes(columns: usize) -> usize {
    VALUE_BYTES * columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::value::DataType;

    /// 4,096 rows of long texts were gigabytes that nobody counted.
    #[test]
    fn a_block_ends_by_rows_or_bytes() {
        let field = |name: &str| Field { name: name.into(), data_type: DataType::Text };
        let ends_after = |bytes: usize| {
            let mut block = Block::new(vec![field("a"), field("b")]);
            let text = "x".repeat(bytes);
            let mut rows = 1;
            loop {
                block.put(0, Cell::Text(&text)).expect("it fits");
                if block.end_row().expect("a row") {
                    return (rows, block.take(Micros(0)).map_or(0, |batch| batch.rows()), block.bytes);
                }
                rows += 1;
            }
        };
        assert_eq!(ends_after(1), (ROWS, ROWS, 0));
        let rows = BYTES.div_ceil(60_000 + row_bytes(2));
        assert_eq!(ends_after(60_000), (rows, rows, 0));
    }
}
