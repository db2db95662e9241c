//! Files whose values have no checks yet.
//!
//! Owns: how such a table becomes one with checks. A step is one transaction, so an upgrade that was interrupted goes on
//! where it stopped. Programs that do not know checks never see such a file: the directory's marker says so first.

use super::tables::{Definition, Table};
use super::{StoreError, seal};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

/// Rows of one transaction.
const ROWS: usize = 16_384;

/// Moves some rows of `table`; false when there is nothing left to move.
pub(super) fn step(db: &Database, table: Table) -> Result<bool, StoreError> {
    let Some(name) = table.unchecked_name() else { return Ok(false) };
    let old: Definition = TableDefinition::new(name);
    match db.begin_read()?.open_table(old) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(false),
        other => drop(other?),
    }
    let mut txn = db.begin_write()?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    let is_empty = {
        let mut from = txn.open_table(old)?;
        let mut to = txn.open_table(table.definition())?;
        let mut moved = Vec::with_capacity(ROWS);
        for row in from.extract_from_if::<&[u8], _>(.., |_, _| true)?.take(ROWS) {
            let (key, value) = row?;
            moved.push((key.value().to_vec(), value.value().to_vec()));
        }
        for (key, mut value) in moved {
            value.extend_from_slice(&seal::check(table, &key, &value));
            to.insert(key.as_slice(), value.as_slice())?;
        }
        from.first()?.is_none()
    };
    if is_empty {
        txn.delete_table(old)?;
    }
    txn.commit()?;
    Ok(!is_empty)
}
