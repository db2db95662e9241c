//! RETURNING: what a statement answers of the rows that it changes.
//!
//! It is a query over these rows, under the limits of every query, and runs before they are written: what fails in it
//! changes nothing, and what it reads elsewhere is as it was before the statement, as in PostgreSQL.

use super::answer::{Answer, schema_of};
use super::change::{Held, Running, check_calls};
use super::tables::Tables;
use super::{Core, ReadOptions};
use crate::definition::TableDef;
use crate::error::SqlError;
use crate::parse::{ROWS, Returning, Statement, reading};
use crate::text::quote;
use datafusion::arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast;
use futures::{StreamExt, stream};
use headwater::schema::Field;
use headwater::value::DataType;
use std::sync::Arc;

impl Core {
    /// What a clause answers of these rows of a table.
    pub(super) async fn returned(
        &self,
        returning: Option<&Returning>,
        (table, rows): (&TableDef, &[RecordBatch]),
        running: Running<'_>,
    ) -> Result<Option<Held>, SqlError> {
        let Some(returning) = returning else { return Ok(None) };
        let query = running.statement.with_stack(|| query(returning, running.statement))?;
        let tables = running.tables.with_rows(&table.fields(), rows.to_vec())?;
        self.hold(&query, Running { tables: &tables, ..running }).await.map(Some)
    }

    /// The columns of a clause, once the types of parameters are known.
    pub(super) fn returned_columns(
        &self,
        returning: &Returning,
        table: &TableDef,
        (statement, types): (&Statement, &[DataType]),
        (tables, options): (&Arc<Tables>, ReadOptions),
    ) -> Result<Vec<Field>, SqlError> {
        let query = query(returning, statement)?;
        let tables = tables.with_rows(&table.fields(), Vec::new())?;
        self.columns(statement, (&query, None), types, (&tables, options))
    }
}

/// What is asked of the rows.
pub(super) fn query(returning: &Returning, statement: &Statement) -> Result<ast::Query, SqlError> {
    check_calls(&returning.query, "RETURNING", statement)?;
    reading(&returning.query, &format!("{} AS {}", quote(ROWS), quote(&returning.of)))
}

/// The answer of a statement that has changed rows.
pub(super) fn answer(tag: &str, held: Option<Held>) -> Answer {
    let Some(Held { fields, batches, memory }) = held else { return Answer::command(tag) };
    let schema = schema_of(&fields);
    // The rows count in the statement's memory until the last was read.
    let batches = stream::iter(batches).map(move |batch| {
        let _charged = &memory;
        Ok(batch)
    });
    Answer { tag: tag.to_owned(), notice: None, fields, schema, batches: batches.boxed() }
}
