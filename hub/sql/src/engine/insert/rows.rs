//! Rows on their way into columns.
//!
//! Invariant: a row is in all columns or in none.

use super::place;
use crate::convert::{cast_text, put_cell};
use crate::definition::{TableColumn, TableDef};
use crate::error::SqlError;
use crate::parse::Name;
use crate::suggest::did_you_mean;
use headwater::emit::Cell;
use headwater::ids::Micros;
use headwater::schema::Field;
use headwater::value::column::{Column, ColumnBatch, ColumnData};
use headwater::value::{DataType, Value};

/// Rows of one batch: what an evaluation keeps per row is bounded by this.
const BATCH_ROWS: usize = 4_096;
/// Bytes of texts of one batch; the row that is above them is the last.
const BATCH_BYTES: usize = 1 << 20;

/// Rows for the columns of a target.
pub(super) struct Rows<'a> {
    fields: &'a [Field],
    /// For every value of a row, the column that gets it.
    targets: Vec<usize>,
    /// True when the statement has a list of columns.
    is_listed: bool,
    /// A table's: its values have no limits of events, its columns defaults.
    table: Option<&'a TableDef>,
    full: Vec<ColumnBatch>,
    open: Vec<Column>,
    rows: u64,
}

/// The columns that a list names; without one all but the last, which is `arrival_timestamp`.
///
/// # Errors
/// `42703` for a column that there is not; `42701` for one that is named twice.
pub fn columns_of(fields: &[Field], names: &[Name], of: &str) -> Result<Vec<usize>, SqlError> {
    if names.is_empty() {
        return Ok((0..fields.len().saturating_sub(1)).collect());
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(at) = fields.iter().position(|field| field.name == name.name) else {
            return Err(unknown_column(&name.name, fields, of).at(name.position));
        };
        if columns.contains(&at) {
            let message = format!("column \"{}\" specified more than once", name.name);
            return Err(SqlError::new("42701", message).at(name.position));
        }
        columns.push(at);
    }
    Ok(columns)
}

/// `42703`: there is no such column of a stream.
pub fn unknown_column(name: &str, fields: &[Field], of: &str) -> SqlError {
    let hint = did_you_mean(name, fields.iter().map(|field| field.name.as_str()));
    let message = format!("column \"{name}\" of stream \"{of}\" does not exist");
    SqlError::new("42703", message).with_hint_opt(hint)
}

fn text_bytes(column: &Column) -> usize {
    match &column.data {
        ColumnData::Bytes(texts) => texts.data.len(),
        _ => 0,
    }
}

fn empty(fields: &[Field]) -> Vec<Column> {
    fields.iter().map(|field| Column::new(&field.data_type)).collect()
}

impl<'a> Rows<'a> {
    /// No rows. `fields`: all columns of the target, `arrival_timestamp` last.
    pub(super) fn new(fields: &'a [Field], targets: Vec<usize>, is_listed: bool) -> Self {
        Self { fields, targets, is_listed, table: None, full: Vec::new(), open: empty(fields), rows: 0 }
    }

    /// No rows of a table. `fields`: its columns.
    pub(super) fn of_table(
        table: &'a TableDef,
        fields: &'a [Field],
        targets: Vec<usize>,
        is_listed: bool,
    ) -> Self {
        Self { table: Some(table), ..Self::new(fields, targets, is_listed) }
    }

    /// What DEFAULT is in the place of value `at`; `None` is NULL.
    pub(super) fn default(&self, at: usize) -> Option<&'a str> {
        default_of(self.table, *self.targets.get(at)?)
    }

    /// The column that value `at` of a row is for.
    pub(super) fn target(&self, at: usize) -> Option<&'a Field> {
        self.targets.get(at).and_then(|target| self.fields.get(*target))
    }

    /// Columns that get values.
    pub(super) fn width(&self) -> usize {
        self.targets.len()
    }

    /// Whether rows of so many values can be assigned.
    pub(super) fn check_count(&self, values: usize) -> Result<(), SqlError> {
        if values > self.targets.len() {
            return Err(SqlError::new("42601", "INSERT has more expressions than target columns"));
        }
        if values < self.targets.len() && self.is_listed {
            return Err(SqlError::new("42601", "INSERT has more target columns than expressions"));
        }
        Ok(())
    }

    /// Adds a row: `value` is asked for each value by its position and column, and puts it; columns that get none are
    /// NULL.
    pub(super) fn push(
        &mut self,
        mut value: impl FnMut(usize, &mut Slot<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let row = self.open.first().map_or(0, Column::len);
        for (at, target) in self.targets.iter().enumerate() {
            let (Some(column), Some(field)) = (self.open.get_mut(*target), self.fields.get(*target)) else {
                continue;
            };
            if let Err(error) = value(at, &mut Slot { column, field, table: self.table, target: *target }) {
                self.open.iter_mut().for_each(|column| column.truncate(row));
                let name = self.fields.get(*target).map_or("", |field| field.name.as_str());
                return Err(place(error, self.rows + 1, name));
            }
        }
        let left = self.open.iter_mut().zip(self.fields).enumerate();
        for (target, (column, field)) in left.filter(|(_, (column, _))| column.len() == row) {
            Slot { column, field, table: self.table, target }.put_default()?;
        }
        self.rows += 1;
        if row + 1 >= BATCH_ROWS || self.open.iter().map(text_bytes).sum::<usize>() >= BATCH_BYTES {
            let columns = std::mem::replace(&mut self.open, empty(self.fields));
            self.full.push(ColumnBatch { columns });
        }
        Ok(())
    }

    /// All rows as they are.
    pub(super) fn finish_as_they_are(mut self) -> Vec<ColumnBatch> {
        if self.open.first().is_some_and(|column| !column.is_empty()) {
            self.full.push(ColumnBatch { columns: self.open });
        }
        self.full
    }

    /// All rows, those without a time at `now`.
    pub(super) fn finish(mut self, now: Micros) -> (u64, Vec<ColumnBatch>) {
        if self.open.first().is_some_and(|column| !column.is_empty()) {
            self.full.push(ColumnBatch { columns: self.open });
        }
        self.full.iter_mut().for_each(|batch| fill_times(batch, now));
        (self.rows, self.full)
    }
}

/// The last column is always valid.
fn fill_times(batch: &mut ColumnBatch, now: Micros) {
    let Some(times) = batch.columns.last_mut() else { return };
    let Some(slots) = times.slots.take() else { return };
    if let ColumnData::Int(values) = &mut times.data {
        for (value, slot) in values.iter_mut().zip(slots) {
            if slot != headwater::value::column::Slot::Valid {
                *value = now.0;
            }
        }
    }
}

/// The place for one value.
pub(super) struct Slot<'a> {
    column: &'a mut Column,
    field: &'a Field,
    table: Option<&'a TableDef>,
    target: usize,
}

fn default_of(table: Option<&TableDef>, target: usize) -> Option<&str> {
    table?.columns.get(target)?.default.as_deref()
}

impl Slot<'_> {
    pub(super) fn field(&self) -> &Field {
        self.field
    }

    /// The column's default.
    pub(super) fn put_default(&mut self) -> Result<(), SqlError> {
        match self.table.and_then(|table| table.columns.get(self.target)) {
            Some(column) => put_default(self.column, column),
            None => self.put(Cell::Null),
        }
    }

    pub(super) fn put(&mut self, cell: Cell<'_>) -> Result<(), SqlError> {
        match self.table {
            Some(_) => put_stored(self.column, self.field, cell),
            None => put_cell(self.column, self.field, cell),
        }
    }
}

/// Adds what a column of a table is where a row says nothing about it.
pub(super) fn put_default(column: &mut Column, of: &TableColumn) -> Result<(), SqlError> {
    match &of.default {
        Some(text) => push(column, &cast_text(text, &of.field.data_type)?),
        None => put_cell(column, &of.field, Cell::Null),
    }
}

/// Adds a value to a column of a table, which takes what no event may have: long values, NaN.
pub(super) fn put_stored(column: &mut Column, field: &Field, cell: Cell<'_>) -> Result<(), SqlError> {
    match (cell, &field.data_type) {
        (Cell::Text(text), DataType::Text) => push(column, &Value::Text(text.to_owned())),
        (Cell::Bytes(bytes), DataType::Bytea) => push(column, &Value::Bytes(bytes.to_vec())),
        (Cell::Text(text), DataType::Bytea | DataType::Float32 | DataType::Float64) => {
            push(column, &cast_text(text, &field.data_type)?)
        }
        (Cell::Float(v), DataType::Float64) => push(column, &Value::Float(v)),
        (Cell::Real(v), DataType::Float32 | DataType::Float64) => push(column, &Value::Float(v.into())),
        _ => put_cell(column, field, cell),
    }
}

fn push(column: &mut Column, value: &Value) -> Result<(), SqlError> {
    match column.push(value) {
        true => Ok(()),
        false => Err(SqlError::new("XX000", "a value is not of its column's type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4,096 rows of long texts were one batch.
    #[test]
    fn batches_end_by_rows_or_bytes() {
        let fields = [Field { name: "k".into(), data_type: DataType::Text }];
        let batches = |bytes: usize| {
            let text = "x".repeat(bytes);
            let mut rows = Rows::new(&fields, vec![0], false);
            for _ in 0..5_000 {
                rows.push(|_, slot| slot.put(Cell::Text(&text))).expect("it fits");
            }
            rows.finish_as_they_are().iter().map(ColumnBatch::rows).collect::<Vec<_>>()
        };
        assert_eq!(batches(1), [4_096, 904]);
        assert_eq!(batches(1_024), [1_024, 1_024, 1_024, 1_024, 904]);
    }
}
