//! `INSERT` into a reference table.

use super::rows::Rows;
use crate::convert::array_from_column;
use crate::definition::TableDef;
use crate::engine::Core;
use crate::engine::answer::{Answer, schema_of};
use crate::engine::change::{Running, missing_column, nothing, typed};
use crate::engine::returning;
use crate::error::SqlError;
use crate::parse::{Insert, Name, OnConflict};
use crate::source::TableWrite;
use datafusion::arrow::array::RecordBatch;
use headwater::schema::Field;
use headwater::value::column::ColumnBatch;
use std::sync::Arc;

impl Core {
    /// All rows or none; each is typed before the table is touched.
    pub(super) async fn insert_into_table(
        &self,
        insert: &Insert,
        table: &Arc<TableDef>,
        running: Running<'_>,
    ) -> Result<Answer, SqlError> {
        let Running { statement, parameters, tables, options, guard } = running;
        let conflict = insert.on_conflict.as_ref();
        if let Some(conflict) = conflict {
            check_conflict(conflict, table)?;
        }
        let (fields, columns) = target(&insert.columns, table)?;
        let mut rows = Rows::of_table(table, &fields, columns, !insert.columns.is_empty());
        self.fill(statement, insert, parameters, tables, (options, guard), &mut rows).await?;
        let batch = |batch: &ColumnBatch| batch_of(batch, &fields);
        let batches = rows.finish_as_they_are().iter().map(batch).collect::<Result<Vec<_>, _>>()?;
        let added = typed(&batches, table)?;
        let returning = insert.returning.as_ref();
        if let Some(conflict) = conflict
            && !table.key.is_empty()
            && (conflict.update.is_some() || returning.is_some())
        {
            return self.upsert((insert, conflict), (table, added), running).await;
        }
        let returned = self.returned(returning, (table, &added), running).await?;
        let skip_duplicates = conflict.is_some();
        let count = self.write(TableWrite { added, skip_duplicates, ..nothing(table) }, guard).await?;
        Ok(returning::answer(&format!("INSERT 0 {count}"), returned))
    }
}

/// The columns of a table, and which of them get the values of a row.
pub(super) fn target(names: &[Name], table: &TableDef) -> Result<(Vec<Field>, Vec<usize>), SqlError> {
    let fields = table.fields();
    if names.is_empty() {
        let columns = (0..fields.len()).collect();
        return Ok((fields, columns));
    }
    let mut columns = Vec::new();
    for name in names {
        let at = table.column(&name.name).ok_or_else(|| missing_column(name, table))?;
        if columns.contains(&at) {
            let message = format!("column \"{}\" specified more than once", name.name);
            return Err(SqlError::new("42701", message).at(name.position));
        }
        columns.push(at);
    }
    Ok((fields, columns))
}

/// `42P10`: ON CONFLICT names something else than the primary key.
fn check_conflict(conflict: &OnConflict, table: &TableDef) -> Result<(), SqlError> {
    let Some(columns) = &conflict.columns else { return Ok(()) };
    let mut named: Vec<u16> = Vec::new();
    for name in columns {
        named.push(table.column(&name.name).ok_or_else(|| missing_column(name, table))? as u16);
    }
    let mut key = table.key.clone();
    named.sort_unstable();
    key.sort_unstable();
    if named == key {
        return Ok(());
    }
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    Err(SqlError::new("42P10", message).at(conflict.position))
}

pub(super) fn batch_of(batch: &ColumnBatch, fields: &[Field]) -> Result<RecordBatch, SqlError> {
    let columns = batch.columns.iter().zip(fields);
    let columns = columns.map(|(column, field)| array_from_column(column, &field.data_type));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema_of(fields), columns).map_err(|e| SqlError::new("XX000", e.to_string()))
}
