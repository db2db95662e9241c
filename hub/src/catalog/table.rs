//! What a statement does to the rows of a table: decided first, over a snapshot, then one transaction.
//!
//! Owns: keys of rows, unique keys, limits, a table's version and size. Must not know: SQL, who reads.
//! Invariants: a write changes all its rows or none; rows, size and version change in one transaction; a table's size is
//! the sum over its rows.

use super::command::Command;
use super::{ApplyError, TableOptions, Writer, row};
use crate::store::tables::{row_key, successor, table_key};
use crate::store::{Snapshot, StoreError, Table, Transaction};
use headwater::codec::{DecodeError, Reader, Writer as _};
use headwater::value::key;
use headwater::value::{DataType, Value};
use headwater_sql::definition::{Ddl, TableDef, TableId};
use headwater_sql::source::{Removed, TableWrite};
use headwater_sql::{SqlError, rows_of};
use std::collections::{BTreeMap, HashSet};

/// The longest primary key, bytes: about what a B-tree of PostgreSQL takes.
const KEY_BYTES_MAX: usize = 2_700;
const VERSION: u8 = 1;

/// How large a table is, and how often it was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Writes so far.
    pub version: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The number of the next row, where rows have no key.
    next_row: u64,
}

impl TableSize {
    fn encode(self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for figure in [self.version, self.rows, self.bytes, self.next_row] {
            out.put_varint(figure);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            0 => return Err(DecodeError::Invalid("table size version")),
            _ => return Err(DecodeError::TooNew),
        }
        let size = Self {
            version: reader.varint()?,
            rows: reader.varint()?,
            bytes: reader.varint()?,
            next_row: reader.varint()?,
        };
        reader.finish().map(|()| size)
    }
}

/// The size of a table; nothing was ever written to one that has none.
pub(super) fn size(snapshot: &dyn Snapshot, table: TableId) -> Result<TableSize, StoreError> {
    let stored = snapshot.get(Table::TableSize, &table_key(table))?;
    stored.map_or(Ok(TableSize::default()), |bytes| TableSize::decode(&bytes).map_err(damaged))
}

pub(super) fn damaged(error: DecodeError) -> StoreError {
    StoreError::Corrupted(format!("a table's row or size: {error}"))
}

/// `40001`: planned for a table that is not there any more.
pub(super) fn gone(name: &str) -> SqlError {
    let message = format!("table \"{name}\" was dropped or changed meanwhile");
    SqlError { hint: Some("try again".into()), ..SqlError::new("40001", message) }
}

/// Removes a table's rows and its size.
pub(super) fn remove_all(txn: &mut dyn Transaction, table: TableId) -> Result<(), StoreError> {
    let prefix = table_key(table);
    if let Some(end) = successor(&prefix) {
        txn.remove_range(Table::Row, &prefix, &end, u64::MAX)?;
    }
    txn.remove(Table::TableSize, &prefix)
}

/// What a write comes to.
struct Changes {
    table: TableId,
    clears: bool,
    removed: Vec<Vec<u8>>,
    /// By key.
    puts: BTreeMap<Vec<u8>, Vec<u8>>,
    size: TableSize,
}

impl Changes {
    fn is_nothing(&self) -> bool {
        !self.clears && self.removed.is_empty() && self.puts.is_empty()
    }

    fn apply(&self, txn: &mut dyn Transaction) -> Result<(), StoreError> {
        if self.clears {
            remove_all(txn, self.table)?;
        }
        for row in &self.removed {
            txn.remove(Table::Row, &row_key(self.table, row))?;
        }
        for (row, value) in &self.puts {
            txn.put(Table::Row, &row_key(self.table, row), value)?;
        }
        txn.put(Table::TableSize, &table_key(self.table), &self.size.encode())
    }
}

impl Writer {
    /// Decides a write and commits it; how many rows were added.
    pub(super) fn write_table(&mut self, write: &TableWrite) -> Result<u64, ApplyError> {
        if let Some(if_not_exists) = write.create {
            return self.create_filled(write, if_not_exists);
        }
        let snapshot = self.store.snapshot().map_err(ApplyError::Store)?;
        let Some(def) = self.state.tables.iter().find(|table| table.id == write.table.id) else {
            return Err(ApplyError::Refused(gone(&write.table.name)));
        };
        let changes = decide(def, write, &*snapshot, &self.tables)?;
        if !changes.is_nothing() {
            self.commit(&mut |txn| changes.apply(txn))?;
        }
        Ok(changes.puts.len() as u64)
    }

    /// CREATE TABLE AS: the table is there with all its rows or not at all.
    fn create_filled(&mut self, write: &TableWrite, if_not_exists: bool) -> Result<u64, ApplyError> {
        let def = TableDef::clone(&write.table);
        let command = Command::Ddl(Ddl::CreateTable { def, if_not_exists });
        let mut next = self.state.clone();
        if !next.apply(&command).map_err(ApplyError::Refused)? {
            return Ok(0);
        }
        let snapshot = self.store.snapshot().map_err(ApplyError::Store)?;
        let Some(def) = next.tables.last() else { return Ok(0) };
        let changes = decide(def, write, &*snapshot, &self.tables)?;
        self.log(&command, next, &mut |txn| changes.apply(txn))?;
        Ok(changes.puts.len() as u64)
    }
}

fn decide(
    def: &TableDef,
    write: &TableWrite,
    snapshot: &dyn Snapshot,
    limits: &TableOptions,
) -> Result<Changes, ApplyError> {
    let mut size = size(snapshot, def.id).map_err(ApplyError::Store)?;
    if write.expected.is_some_and(|expected| expected != size.version) {
        return Err(ApplyError::Refused(gone(&def.name)));
    }
    let clears = matches!(write.removed, Removed::All) && size.rows > 0;
    let removed = match &write.removed {
        Removed::All => {
            (size.rows, size.bytes) = (0, 0);
            Vec::new()
        }
        Removed::Rows(rows) => rows.clone(),
    };
    for row in &removed {
        let stored = snapshot.get(Table::Row, &row_key(def.id, row)).map_err(ApplyError::Store)?;
        let bytes = stored.map_or(0, |value| row.len() + value.len());
        size.rows = size.rows.saturating_sub(1);
        size.bytes = size.bytes.saturating_sub(bytes as u64);
    }
    let gone: HashSet<&[u8]> = removed.iter().map(Vec::as_slice).collect();
    let adding = Adding { def, types: types(def), snapshot, limits, all_gone: clears, gone };
    let puts = adding.add(write, &mut size)?;
    size.version += 1;
    Ok(Changes { table: def.id, clears, removed, puts, size })
}

pub(super) fn types(def: &TableDef) -> Vec<DataType> {
    def.columns.iter().map(|column| column.field.data_type.clone()).collect()
}

/// Rows on their way into a table.
struct Adding<'a> {
    def: &'a TableDef,
    types: Vec<DataType>,
    snapshot: &'a dyn Snapshot,
    limits: &'a TableOptions,
    all_gone: bool,
    gone: HashSet<&'a [u8]>,
}

impl Adding<'_> {
    fn add(
        &self,
        write: &TableWrite,
        size: &mut TableSize,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ApplyError> {
        let fields = self.def.fields();
        let mut puts = BTreeMap::new();
        let mut number = 0;
        for batch in &write.added {
            for values in rows_of(batch, &fields).map_err(ApplyError::Refused)? {
                let refused = |error| ApplyError::Refused(at_line(error, write.lines.line_of(number)));
                let row = self.key(&values, size).map_err(refused)?;
                if !puts.contains_key(&row) && !self.is_there(&row)? {
                    let mut value = Vec::new();
                    row::encode(&values, &mut value);
                    size.rows += 1;
                    size.bytes += (row.len() + value.len()) as u64;
                    self.limits.check(&self.def.name, size.rows, size.bytes).map_err(refused)?;
                    puts.insert(row, value);
                } else if !write.skip_duplicates {
                    return Err(refused(self.duplicate(&values)));
                }
                number += 1;
            }
        }
        Ok(puts)
    }

    /// A row's name within its table: its primary key, or the next number.
    fn key(&self, values: &[Value], size: &mut TableSize) -> Result<Vec<u8>, SqlError> {
        if self.def.key.is_empty() {
            let row = size.next_row;
            size.next_row += 1;
            return Ok(row.to_be_bytes().to_vec());
        }
        let mut out = Vec::new();
        for column in &self.def.key {
            let at = usize::from(*column);
            let fits = values
                .get(at)
                .zip(self.types.get(at))
                .is_some_and(|(value, data_type)| key::encode_value(value, data_type, &mut out));
            if !fits {
                return Err(SqlError::new("XX000", "a value is not of its column's type"));
            }
        }
        if out.len() > KEY_BYTES_MAX {
            let message = format!(
                "a primary key of table \"{}\" takes {} bytes, more than {KEY_BYTES_MAX}",
                self.def.name,
                out.len()
            );
            return Err(SqlError::new("54000", message));
        }
        Ok(out)
    }

    fn is_there(&self, row: &[u8]) -> Result<bool, ApplyError> {
        if self.def.key.is_empty() || self.all_gone || self.gone.contains(row) {
            return Ok(false);
        }
        let stored = self.snapshot.get(Table::Row, &row_key(self.def.id, row));
        stored.map(|value| value.is_some()).map_err(ApplyError::Store)
    }

    /// `23505`, in PostgreSQL's words.
    fn duplicate(&self, values: &[Value]) -> SqlError {
        let columns = self.def.key.iter().map(|at| usize::from(*at));
        let name = |at: usize| self.def.columns.get(at).map_or("", |column| column.field.name.as_str());
        let names: Vec<&str> = columns.clone().map(name).collect();
        let shown = |at: usize| values.get(at).zip(self.types.get(at)).map_or_else(String::new, shown);
        let shown: Vec<String> = columns.map(shown).collect();
        let message = format!(
            "duplicate key value violates unique constraint \"{}_pkey\": key ({})=({}) already exists",
            self.def.name,
            names.join(", "),
            shown.join(", ")
        );
        SqlError::new("23505", message)
    }
}

/// The row that is refused came from a text.
fn at_line(error: SqlError, line: Option<u64>) -> SqlError {
    match line {
        Some(line) => SqlError { message: format!("line {line}: {}", error.message), ..error },
        None => error,
    }
}

/// A value of a key for people, cut where it is long.
fn shown((value, data_type): (&Value, &DataType)) -> String {
    let text = crate::api::text::text(value, data_type).unwrap_or_else(|| "null".into());
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
