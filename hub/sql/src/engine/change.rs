//! Statements that change tables: CREATE TABLE AS, UPDATE, DELETE, TRUNCATE.
//!
//! What a statement changes is a query's answer, under the limits of every query; then it is one write of the source. Who
//! reads before writing has the right to write from the read on: writers of a hub take turns.
//! Invariant: a statement's write stands on the rows that the statement has seen, or is refused by the source.

use super::answer::{Answer, conform};
use super::guard::Guard;
use super::parameters::sql_type;
use super::returning;
use super::tables::Tables;
use super::{Core, Parameter, ReadOptions};
use crate::compile::{filled_table, is_aggregate_call, missing_table};
use crate::convert::arrow_type;
use crate::definition::TableDef;
use crate::error::SqlError;
use crate::parse::{Change, CreateTable, Name, Statement};
use crate::source::{ROW_COLUMN, Removed, RowLines, TableWrite};
use crate::suggest::did_you_mean;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Float32Type, Float64Type};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::sql::sqlparser::ast::{self, CastKind, Expr, Ident, SelectItem, SetExpr, Visit, Visitor};
use futures::StreamExt;
use headwater::schema::Field;
use headwater::value::DataType;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A statement with what it runs by.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) statement: &'a Statement,
    pub(super) parameters: &'a [Parameter],
    pub(super) tables: &'a Arc<Tables>,
    pub(super) options: ReadOptions,
    pub(super) guard: &'a Arc<Guard>,
}

/// An answer in memory, charged to its statement until it is dropped.
pub(super) struct Held {
    pub(super) fields: Vec<Field>,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) memory: MemoryReservation,
}

impl Core {
    /// Runs a query to its end.
    pub(super) async fn hold(&self, query: &ast::Query, running: Running<'_>) -> Result<Held, SqlError> {
        let Running { statement, parameters, tables, options, guard } = running;
        let Answer { fields, mut batches, .. } =
            self.query(statement, (query, None), parameters, tables, (options, guard))?;
        let memory = MemoryConsumer::new("rows to be written").register(guard.pool());
        let mut held = Held { fields, batches: Vec::new(), memory };
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let grown = held.memory.try_grow(batch.get_array_memory_size());
            grown.map_err(|e| super::failure::from_datafusion(e, &statement.text))?;
            held.batches.push(batch);
        }
        Ok(held)
    }

    /// CREATE TABLE AS.
    pub(super) async fn create_filled(
        &self,
        (create, query): (&CreateTable, &ast::Query),
        running: Running<'_>,
    ) -> Result<Answer, SqlError> {
        let catalog = running.tables.catalog();
        // What is there already is told before the query runs.
        filled_table(create, &[], catalog)?;
        if catalog.table(&create.name.name).is_some() {
            return Ok(Answer::command("CREATE TABLE AS"));
        }
        let held = self.hold(query, running).await?;
        let table = Arc::new(filled_table(create, &held.fields, catalog)?);
        if table.columns.is_empty() {
            return Err(SqlError::new("42611", "a table has at least one column").at(create.name.position));
        }
        let write = TableWrite {
            create: Some(create.if_not_exists),
            added: typed(&held.batches, &table)?,
            ..nothing(&table)
        };
        let added = self.write(write, running.guard).await?;
        Ok(Answer::command(&format!("SELECT {added}")))
    }

    /// UPDATE and DELETE.
    pub(super) async fn change(&self, change: &Change, running: Running<'_>) -> Result<Answer, SqlError> {
        let table = table_of(&change.table, running)?;
        let query = running.statement.with_stack(|| {
            check_calls(&change.query, "UPDATE", running.statement)?;
            whole_query(change, &table)
        })?;
        let turn = Arc::clone(&self.writing).lock_owned().await;
        let held = self.hold(&query, running).await?;
        let seen = running.guard.seen.get(table.id);
        let mut removed = Vec::new();
        let mut rows = Vec::new();
        for batch in &held.batches {
            removed.extend(named(batch, 0));
            if batch.num_columns() > 1 {
                rows.push(behind(batch, 1)?);
            }
        }
        let (count, verb) = (removed.len(), if change.set.is_some() { "UPDATE" } else { "DELETE" });
        let rows = typed(&rows, &table)?;
        let returned = self.returned(change.returning.as_ref(), (&table, &rows), running).await?;
        let added = if change.set.is_some() { rows } else { Vec::new() };
        if count > 0 {
            let expected = seen.map(|rows| rows.version);
            let write = TableWrite { expected, removed: Removed::Rows(removed), added, ..nothing(&table) };
            self.write_in_turn(write, turn, running.guard).await?;
        }
        Ok(returning::answer(&format!("{verb} {count}"), returned))
    }

    /// TRUNCATE of a table.
    pub(super) async fn truncate(&self, table: &Arc<TableDef>, guard: &Guard) -> Result<Answer, SqlError> {
        let write = TableWrite { removed: Removed::All, ..nothing(table) };
        self.write(write, guard).await?;
        Ok(Answer::command("TRUNCATE TABLE"))
    }

    /// Writes when it is this statement's turn.
    pub(super) async fn write(&self, write: TableWrite, guard: &Guard) -> Result<u64, SqlError> {
        let turn = Arc::clone(&self.writing).lock_owned().await;
        self.write_in_turn(write, turn, guard).await
    }

    /// The turn ends with the write, also where nobody waits for it any more.
    pub(super) async fn write_in_turn(
        &self,
        write: TableWrite,
        turn: tokio::sync::OwnedMutexGuard<()>,
        guard: &Guard,
    ) -> Result<u64, SqlError> {
        self.apply(guard, |source| {
            let written = source.write_table(write);
            Box::pin(async move {
                let written = written.await;
                drop(turn);
                written
            })
        })
        .await
    }
}

/// Writes to tables for those whose rows do not come from statements; takes turns with statements.
#[derive(Clone)]
pub struct TableWriter {
    core: Arc<Core>,
}

impl TableWriter {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Writes all rows or none, durably; how many were added.
    ///
    /// # Errors
    /// Those of [`crate::source::Source::write_table`].
    pub async fn write(&self, write: TableWrite) -> Result<u64, SqlError> {
        let turn = Arc::clone(&self.core.writing).lock_owned().await;
        let written = self.core.source.write_table(write);
        // A task of its own: the turn ends with the write, also where nobody waits for it any more.
        let writing = tokio::spawn(async move {
            let written = written.await;
            drop(turn);
            written
        });
        writing.await.map_err(|_| SqlError::new("XX000", "the rows could not be written"))?
    }
}

/// A write that changes nothing yet.
pub(super) fn nothing(table: &Arc<TableDef>) -> TableWrite {
    TableWrite {
        table: Arc::clone(table),
        create: None,
        expected: None,
        removed: Removed::Rows(Vec::new()),
        added: Vec::new(),
        skip_duplicates: false,
        lines: RowLines::default(),
    }
}

pub(super) fn table_of(name: &Name, running: Running<'_>) -> Result<Arc<TableDef>, SqlError> {
    let catalog = running.tables.catalog();
    catalog.table(&name.name).cloned().ok_or_else(|| missing_table(name, catalog))
}

/// Batches in a table's own types, without NULLs where there may be none.
pub(super) fn typed(batches: &[RecordBatch], table: &TableDef) -> Result<Vec<RecordBatch>, SqlError> {
    let schema = super::answer::schema_of(&table.fields());
    let one = |batch: &RecordBatch| {
        let columns = table.columns.iter().zip(batch.columns());
        let columns = columns.map(|(column, values)| {
            let values = narrowed(values, &column.field)?;
            match column.not_null && values.null_count() > 0 {
                true => Err(missing_value(table, &column.field.name)),
                false => Ok(values),
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, SqlError>>()?;
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| SqlError::new("XX000", e.to_string()))
    };
    batches.iter().filter(|batch| batch.num_rows() > 0).map(one).collect()
}

/// Values as those of a column; a double that no real is, is refused, where a cast would make it infinite or nothing.
fn narrowed(values: &ArrayRef, field: &Field) -> Result<ArrayRef, SqlError> {
    let narrow = conform(values, &arrow_type(&field.data_type))?;
    let (Some(reals), Some(doubles)) =
        (narrow.as_primitive_opt::<Float32Type>(), values.as_primitive_opt::<Float64Type>())
    else {
        return Ok(narrow);
    };
    let is_lost = |(real, double): (Option<f32>, Option<f64>)| match (real, double) {
        (Some(real), Some(double)) => {
            real.is_infinite() && double.is_finite() || real == 0.0 && double != 0.0
        }
        _ => false,
    };
    match reals.iter().zip(doubles.iter()).find(|pair| is_lost(*pair)) {
        Some((_, Some(double))) => {
            let message = format!("\"{double:e}\" is out of range for type real (column \"{}\")", field.name);
            Err(SqlError::new("22003", message))
        }
        _ => Ok(narrow),
    }
}

/// `23502`, in PostgreSQL's words.
pub(super) fn missing_value(table: &TableDef, column: &str) -> SqlError {
    let message = format!(
        "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
        table.name
    );
    SqlError::new("23502", message)
}

/// `42703`: a table has no such column.
pub(super) fn missing_column(name: &Name, table: &TableDef) -> SqlError {
    let message = format!("column \"{}\" of relation \"{}\" does not exist", name.name, table.name);
    let hint = did_you_mean(&name.name, table.columns.iter().map(|c| c.field.name.as_str()));
    SqlError::new("42703", message).at(name.position).with_hint_opt(hint)
}

/// The bytes of a column: which rows of a table these are.
pub(super) fn named(batch: &RecordBatch, column: usize) -> Vec<Vec<u8>> {
    let rows = batch.columns().get(column).and_then(|rows| rows.as_binary_opt::<i32>());
    rows.into_iter().flat_map(|rows| rows.iter().flatten().map(<[u8]>::to_vec)).collect()
}

/// The columns from one on.
pub(super) fn behind(batch: &RecordBatch, first: usize) -> Result<RecordBatch, SqlError> {
    let columns: Vec<usize> = (first..batch.num_columns()).collect();
    batch.project(&columns).map_err(|e| SqlError::new("XX000", e.to_string()))
}

/// `42803`, `42P20`: what is said of a row is made of that row.
pub(super) fn check_calls(query: &ast::Query, clause: &str, statement: &Statement) -> Result<(), SqlError> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let (code, what, name) = match select.projection.visit(&mut Calls { queries: 0 }) {
        ControlFlow::Break((name, false)) => ("42803", "aggregate", name),
        ControlFlow::Break((name, true)) => ("42P20", "window", name),
        ControlFlow::Continue(()) => return Ok(()),
    };
    let message = format!("{what} functions are not allowed in {clause}");
    Err(SqlError::new(code, message).at(statement.text.of(&name)))
}

/// Finds aggregates and windows (true) outside of subqueries.
struct Calls {
    queries: usize,
}

impl Visitor for Calls {
    type Break = (ast::ObjectName, bool);

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Self::Break> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(call) if self.queries == 0 && call.over.is_some() => {
                ControlFlow::Break((call.name.clone(), true))
            }
            Expr::Function(call) if self.queries == 0 && is_aggregate_call(call) => {
                ControlFlow::Break((call.name.clone(), false))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// An expression as a column's type. DEFAULT is the column's own.
pub(super) fn as_column(expr: Expr, table: &TableDef, at: usize) -> Expr {
    let Some(column) = table.columns.get(at) else { return expr };
    let is_default = matches!(&expr, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
    let expr = match (is_default, &column.default) {
        (false, _) => expr,
        (true, Some(text)) => Expr::Value(ast::Value::SingleQuotedString(text.clone()).into()),
        (true, None) => Expr::Value(ast::Value::Null.into()),
    };
    // Whether a double fits a real is told where the rows are.
    let wanted = match &column.field.data_type {
        DataType::Float32 => &DataType::Float64,
        other => other,
    };
    match sql_type(wanted) {
        Some(data_type) => {
            Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
        }
        None => expr,
    }
}

/// What UPDATE or DELETE reads: which row it is, and for UPDATE all columns as they will be.
pub(super) fn whole_query(change: &Change, table: &TableDef) -> Result<ast::Query, SqlError> {
    let mut query = ast::Query::clone(&change.query);
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(SqlError::new("XX000", "a change is not a SELECT"));
    };
    let column = |name: &str| Expr::Identifier(quoted(name));
    let mut projection = vec![SelectItem::UnnamedExpr(column(ROW_COLUMN))];
    let said = std::mem::take(&mut select.projection);
    match &change.set {
        Some(set) => projection.extend(new_values(set, said, table, column)?),
        // What DELETE returns is the rows as they were.
        None if change.returning.is_some() => {
            projection.extend(table.columns.iter().map(|c| SelectItem::UnnamedExpr(column(&c.field.name))));
        }
        None => {}
    }
    select.projection = projection;
    Ok(query)
}

/// All columns of a table as they will be: `column` is one as it is.
pub(super) fn new_values(
    set: &[Name],
    said: Vec<SelectItem>,
    table: &TableDef,
    column: impl Fn(&str) -> Expr,
) -> Result<Vec<SelectItem>, SqlError> {
    let mut values: Vec<Expr> = table.columns.iter().map(|c| column(&c.field.name)).collect();
    for (name, item) in set.iter().zip(said) {
        let at = table.column(&name.name).ok_or_else(|| missing_column(name, table))?;
        if let SelectItem::UnnamedExpr(expr) = item {
            values[at] = as_column(expr, table, at);
        }
    }
    let named = values.into_iter().zip(&table.columns);
    Ok(named.map(|(expr, c)| SelectItem::ExprWithAlias { expr, alias: quoted(&c.field.name) }).collect())
}
