//! `INSERT ... ON CONFLICT`, where it has to be known which rows are there: DO UPDATE, and DO NOTHING with RETURNING.
//!
//! Owns: which of the proposed rows meet one that is there, what becomes of that one. Invariants: it is all decided on one
//! version of the table, in this statement's turn; no row is changed twice.

use crate::definition::TableDef;
use crate::engine::Core;
use crate::engine::answer::{Answer, rows_of, schema_of};
use crate::engine::change::{Held, Running, behind, check_calls, named, new_values, nothing, quoted, typed};
use crate::engine::returning;
use crate::engine::tables::Tables;
use crate::error::SqlError;
use crate::parse::{Insert, OnConflict, OnUpdate, ROWS, hidden, reading};
use crate::source::{ROW_COLUMN, Removed, TableWrite};
use crate::text::quote;
use datafusion::arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};
use headwater::schema::Field;
use headwater::value::{DataType, key};
use std::collections::HashSet;
use std::sync::Arc;

/// The number of a proposed row; no column of a table has this name.
const NUMBER: &str = "$n";
/// What SQL calls the proposed rows.
const EXCLUDED: &str = "excluded";

impl Core {
    /// Proposed rows: those whose key is not there come, the others change what is there or nothing.
    pub(super) async fn upsert(
        &self,
        (insert, conflict): (&Insert, &OnConflict),
        (table, proposed): (&Arc<TableDef>, Vec<RecordBatch>),
        running: Running<'_>,
    ) -> Result<Answer, SqlError> {
        let again = repeated(&proposed, table)?;
        if conflict.update.is_some() && !again.is_empty() {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            let hint = "no two of the rows that are proposed may have the same key";
            return Err(SqlError::new("21000", message).with_hint(hint));
        }
        let turn = Arc::clone(&self.writing).lock_owned().await;
        let numbered = numbered(&proposed, table)?;
        let (mut met, mut changed) = (again, Changed::default());
        if let Some(update) = &conflict.update {
            let query = running.statement.with_stack(|| {
                check_calls(&update.query, "UPDATE", running.statement)?;
                update_query(insert, update, table)
            })?;
            changed = Changed::of(&self.hold_over(&query, &numbered, table, running).await?, table)?;
        }
        match conflict.update.as_ref().is_some_and(|update| !has_condition(&update.query)) {
            true => met.extend(&changed.numbers),
            false => {
                let held = self.hold_over(&met_query(insert, table)?, &numbered, table, running).await?;
                held.batches.iter().for_each(|batch| met.extend(numbers(batch)));
            }
        }
        let expected = running.guard.seen.get(table.id).map(|rows| rows.version);
        let (rows, removed) = changed.with_new(&proposed, &met, table)?;
        let returned = self.returned(insert.returning.as_ref(), (table, &rows), running).await?;
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if count > 0 {
            let removed = Removed::Rows(removed);
            let write = TableWrite { expected, removed, added: rows, ..nothing(table) };
            self.write_in_turn(write, turn, running.guard).await?;
        }
        Ok(returning::answer(&format!("INSERT 0 {count}"), returned))
    }

    /// Runs a query over the table and the proposed rows.
    async fn hold_over(
        &self,
        query: &Query,
        numbered: &[RecordBatch],
        table: &TableDef,
        running: Running<'_>,
    ) -> Result<Held, SqlError> {
        let tables = running.tables.with_rows(&numbered_fields(table), numbered.to_vec())?;
        self.hold(query, Running { tables: &tables, ..running }).await
    }
}

/// What DO UPDATE asks, for the types of its parameters.
pub(super) fn described(
    insert: &Insert,
    conflict: &OnConflict,
    table: &TableDef,
    tables: &Arc<Tables>,
) -> Result<Option<(Query, Arc<Tables>)>, SqlError> {
    let Some(update) = &conflict.update else { return Ok(None) };
    let tables = tables.with_rows(&numbered_fields(table), Vec::new())?;
    Ok(Some((update_query(insert, update, table)?, tables)))
}

/// Rows that are there, changed.
#[derive(Default)]
struct Changed {
    /// The proposed row that each is changed by.
    numbers: Vec<i64>,
    /// Which rows these are.
    names: Vec<Vec<u8>>,
    rows: Vec<RecordBatch>,
}

impl Changed {
    fn of(held: &Held, table: &TableDef) -> Result<Self, SqlError> {
        let mut changed = Self::default();
        for batch in &held.batches {
            changed.numbers.extend(numbers(batch));
            changed.names.extend(named(batch, 1));
            changed.rows.push(behind(batch, 2)?);
        }
        changed.rows = typed(&changed.rows, table)?;
        Ok(changed)
    }

    /// These rows and those that are new, in the order in which they were proposed; and which rows they replace.
    fn with_new(
        self,
        proposed: &[RecordBatch],
        met: &HashSet<i64>,
        table: &TableDef,
    ) -> Result<(Vec<RecordBatch>, Vec<Vec<u8>>), SqlError> {
        let internal = |e: datafusion::arrow::error::ArrowError| SqlError::new("XX000", e.to_string());
        let (mut order, mut rows, mut next) = (self.numbers, self.rows, 0);
        for batch in proposed {
            let own: Vec<i64> = (next..).take(batch.num_rows()).collect();
            let is_new: Vec<bool> = own.iter().map(|number| !met.contains(number)).collect();
            order.extend(own.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(number, _)| *number));
            rows.push(filter_record_batch(batch, &BooleanArray::from(is_new)).map_err(internal)?);
            next += batch.num_rows() as i64;
        }
        let whole = concat_batches(&schema_of(&table.fields()), &rows).map_err(internal)?;
        let mut places: Vec<u64> = (0..order.len() as u64).collect();
        places.sort_by_key(|at| order.get(*at as usize).copied());
        let sorted = take_record_batch(&whole, &UInt64Array::from(places)).map_err(internal)?;
        let rows = if sorted.num_rows() > 0 { vec![sorted] } else { Vec::new() };
        Ok((rows, self.names))
    }
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    let numbers = batch.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
    numbers.into_iter().flat_map(|numbers| numbers.iter().flatten()).collect()
}

fn numbered_fields(table: &TableDef) -> Vec<Field> {
    let mut fields = table.fields();
    fields.push(Field { name: NUMBER.into(), data_type: DataType::Int64 });
    fields
}

/// The proposed rows with their numbers.
fn numbered(proposed: &[RecordBatch], table: &TableDef) -> Result<Vec<RecordBatch>, SqlError> {
    let schema = schema_of(&numbered_fields(table));
    let mut next = 0;
    let one = |batch: &RecordBatch| {
        let numbers = Int64Array::from_iter_values((next..).take(batch.num_rows()));
        next += batch.num_rows() as i64;
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(numbers));
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| SqlError::new("XX000", e.to_string()))
    };
    proposed.iter().map(one).collect()
}

/// Rows whose key an earlier one of them has.
fn repeated(proposed: &[RecordBatch], table: &TableDef) -> Result<HashSet<i64>, SqlError> {
    let fields = table.fields();
    let (mut seen, mut again, mut number) = (HashSet::new(), HashSet::new(), 0);
    for batch in proposed {
        for row in rows_of(batch, &fields)? {
            let mut bytes = Vec::new();
            for at in table.key.iter().map(|at| usize::from(*at)) {
                if let (Some(value), Some(field)) = (row.get(at), fields.get(at)) {
                    key::encode_value(value, &field.data_type, &mut bytes);
                }
            }
            if !seen.insert(bytes) {
                again.insert(number);
            }
            number += 1;
        }
    }
    Ok(again)
}

/// The proposed rows beside those with the same key.
fn joined(insert: &Insert, table: &TableDef) -> String {
    let (there, proposed) = (quote(&insert.alias), quote(EXCLUDED));
    let columns = table.key.iter().filter_map(|at| table.columns.get(usize::from(*at)));
    let same = columns.map(|column| {
        let name = quote(&column.field.name);
        format!("{there}.{name} = {proposed}.{name}")
    });
    let (rows, stored) = (quote(ROWS), quote(&hidden(&table.name)));
    let same = same.collect::<Vec<_>>().join(" AND ");
    format!("{rows} AS {proposed} JOIN {stored} AS {there} ON {same}")
}

fn qualified(table: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![quoted(table), quoted(column)])
}

fn has_condition(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if select.selection.is_some())
}

/// The numbers of proposed rows whose key is there.
fn met_query(insert: &Insert, table: &TableDef) -> Result<Query, SqlError> {
    let number = SelectItem::UnnamedExpr(qualified(EXCLUDED, NUMBER));
    let query = crate::parse::select(vec![number], None)?;
    reading(&query, &joined(insert, table))
}

/// The number of a proposed row, the row that it meets, and what that becomes.
fn update_query(insert: &Insert, update: &OnUpdate, table: &TableDef) -> Result<Query, SqlError> {
    let mut query = reading(&update.query, &joined(insert, table))?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(SqlError::new("XX000", "a change is not a SELECT"));
    };
    let item = |table: &str, column: &str| SelectItem::UnnamedExpr(qualified(table, column));
    let said = std::mem::take(&mut select.projection);
    let column = |name: &str| qualified(&insert.alias, name);
    select.projection = vec![item(EXCLUDED, NUMBER), item(&insert.alias, ROW_COLUMN)];
    select.projection.extend(new_values(&update.set, said, table, column)?);
    Ok(query)
}
