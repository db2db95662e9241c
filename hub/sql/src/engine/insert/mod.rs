//! `INSERT`: rows of a statement, typed and handed to the hub.
//!
//! Owns: which column gets which value, what a value must be, and that a statement is all or nothing: every row is
//! typed before the hub sees one. Must not know: what the hub does with rows.
//! Rows of constants are read as they stand, without planning; everything else is a query, whose rows are assigned.

mod assigned;
mod constants;
mod loaded;
mod rows;
mod table;
mod upsert;

use super::answer::Answer;
use super::change::Running;
use super::describing::Description;
use super::guard::{self, Guard};
use super::tables::Tables;
use super::{Core, Parameter, ReadOptions, failure, parameters};
use crate::definition::StreamDef;
use crate::error::SqlError;
use crate::parse::{Insert, Name, Statement, WriteOptions};
use crate::source::{CatalogSnapshot, Insertion};
use crate::suggest::did_you_mean;
use constants::Constants;
use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};
use futures::StreamExt;
use headwater::ids::{StreamId, ViewId};
use headwater::schema::{ARRIVAL_TIMESTAMP, Field, StreamSchema};
use headwater::value::DataType;
pub use loaded::TableTarget;
use rows::Rows;
pub use rows::{columns_of, unknown_column};
use std::sync::Arc;

/// Where rows that come from outside of statements go.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// The stream.
    pub stream: Arc<StreamDef>,
    /// Its columns, `arrival_timestamp` last.
    pub fields: Vec<Field>,
    /// For every value of a row, the column that gets it.
    pub columns: Vec<usize>,
    /// The views that are fed; `None` is all of the stream's.
    pub targets: Option<Vec<ViewId>>,
}

impl WriteTarget {
    /// Finds a stream and columns of it; no names are all columns but `arrival_timestamp`.
    ///
    /// # Errors
    /// `42P01`, `42809`: there is no such stream; `42703`, `42701`: no such column, or one named twice; those of
    /// `stream_targets`.
    pub fn find(
        target: &Name,
        columns: &[Name],
        write: &WriteOptions,
        catalog: &CatalogSnapshot,
    ) -> Result<Self, SqlError> {
        let stream = catalog.stream(&target.name).ok_or_else(|| no_target(target, catalog))?;
        let fields = fields(&stream.schema);
        let columns = rows::columns_of(&fields, columns, &stream.schema.name)?;
        let targets = targets(&write.targets, stream.schema.id, catalog)?;
        Ok(Self { stream: Arc::clone(stream), fields, columns, targets })
    }
}

impl Core {
    /// Runs an INSERT.
    pub(super) async fn insert(
        &self,
        statement: &Statement,
        insert: &Insert,
        parameters: &[Parameter],
        tables: &Arc<Tables>,
        (options, guard): (ReadOptions, &Arc<Guard>),
    ) -> Result<Answer, SqlError> {
        let catalog = tables.catalog();
        if let Some(table) = catalog.table(&insert.target.name) {
            let running = Running { statement, parameters, tables, options, guard };
            return self.insert_into_table(insert, table, running).await;
        }
        insert.check_stream()?;
        let found = WriteTarget::find(&insert.target, &insert.columns, &insert.write, catalog)?;
        let mut rows = Rows::new(&found.fields, found.columns, !insert.columns.is_empty());
        self.fill(statement, insert, parameters, tables, (options, guard), &mut rows).await?;
        let (count, batches) = rows.finish(self.source.now());
        let (stream, targets) = (found.stream, found.targets);
        let insertion = Insertion { stream, batches, level: insert.write.level, targets };
        self.apply(guard, |source| source.insert(insertion)).await?;
        Ok(Answer::command(&format!("INSERT 0 {count}")))
    }

    /// All rows of an INSERT.
    async fn fill(
        &self,
        statement: &Statement,
        insert: &Insert,
        parameters: &[Parameter],
        tables: &Arc<Tables>,
        (options, guard): (ReadOptions, &Arc<Guard>),
        rows: &mut Rows<'_>,
    ) -> Result<(), SqlError> {
        let Some(query) = &insert.source else { return rows.push(|_, slot| slot.put_default()) };
        let constants = Constants::of(query, parameters, &statement.text);
        if statement.with_stack(|| constants.fill(rows))? {
            return Ok(());
        }
        self.insert_query(statement, query, parameters, tables, (options, guard), rows).await
    }

    /// Rows of a query, assigned to columns.
    async fn insert_query(
        &self,
        statement: &Statement,
        source: &Query,
        parameters: &[Parameter],
        tables: &Arc<Tables>,
        (options, guard): (ReadOptions, &Arc<Guard>),
        rows: &mut Rows<'_>,
    ) -> Result<(), SqlError> {
        let at = statement.text.of(source);
        let (query, is_folded) = assigned::spell(source, rows);
        let answer = self.query(statement, (&query, None), parameters, tables, (options, guard))?;
        let width = if is_folded { first_width(source) } else { answer.fields.len() };
        rows.check_count(width).map_err(|error| error.at(at))?;
        let plan = assigned::Assignment::new(&answer.fields, width, rows).map_err(|error| error.at(at))?;
        let mut batches = answer.batches;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            guard::keep(batch.get_array_memory_size())
                .map_err(|error| failure::from_datafusion(error, &statement.text))?;
            plan.push(&batch, rows)?;
        }
        Ok(())
    }

    /// The types of an INSERT's parameters: a parameter that stands for a column has its type.
    pub(super) fn describe_insert(
        &self,
        statement: &Statement,
        insert: &Insert,
        declared: &[Option<DataType>],
        (tables, options): (&Arc<Tables>, ReadOptions),
    ) -> Result<Description, SqlError> {
        let catalog = tables.catalog();
        let table = catalog.table(&insert.target.name);
        let (fields, columns) = match table {
            Some(table) => table::target(&insert.columns, table)?,
            None => {
                insert.check_stream()?;
                let found = WriteTarget::find(&insert.target, &insert.columns, &insert.write, catalog)?;
                (found.fields, found.columns)
            }
        };
        let rows = Rows::new(&fields, columns, !insert.columns.is_empty());
        let mut known = declared.to_vec();
        let lists: Vec<Vec<&_>> = match insert.source.as_ref().map(|query| query.body.as_ref()) {
            Some(SetExpr::Values(values)) => values.rows.iter().map(|row| row.iter().collect()).collect(),
            Some(SetExpr::Select(select)) => vec![select.projection.iter().filter_map(item).collect()],
            _ => Vec::new(),
        };
        for (at, expr) in lists.iter().flat_map(|list| list.iter().enumerate()) {
            if let (Some(number), Some(field)) = (parameters::number_of(expr), rows.target(at)) {
                known.resize(known.len().max(number), None);
                if let Some(slot @ None) = known.get_mut(number - 1) {
                    *slot = Some(field.data_type.clone());
                }
            }
        }
        let mut queries: Vec<_> =
            insert.source.iter().map(|query| (query.as_ref().clone(), Arc::clone(tables))).collect();
        if let (Some(table), Some(conflict)) = (table, &insert.on_conflict) {
            queries.extend(upsert::described(insert, conflict, table, tables)?);
        }
        let returning = table.zip(insert.returning.as_ref());
        self.describe_changing(statement, queries, returning, &known, (tables, options))
    }
}

/// Values of the first row of VALUES.
fn first_width(query: &Query) -> usize {
    match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map_or(0, |row| row.len()),
        _ => 0,
    }
}

fn item(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// The columns of a stream, `arrival_timestamp` last.
fn fields(schema: &StreamSchema) -> Vec<Field> {
    let arrival = Field { name: ARRIVAL_TIMESTAMP.into(), data_type: DataType::Timestamp };
    schema.fields.iter().cloned().chain([arrival]).collect()
}

/// What cannot be written to, and why.
fn no_target(name: &Name, catalog: &CatalogSnapshot) -> SqlError {
    if catalog.view(&name.name).is_some() {
        return SqlError::new("42809", format!("\"{}\" is a continuous view: it takes no rows", name.name))
            .at(name.position)
            .with_hint("write events to its stream");
    }
    if catalog.table(&name.name).is_some() {
        return SqlError::new("42809", format!("\"{}\" is a table: it takes no events", name.name))
            .at(name.position)
            .with_hint("COPY or INSERT rows into it");
    }
    let tables = catalog.tables.iter().map(|t| t.name.as_str());
    let known = catalog.streams.iter().map(|s| s.schema.name.as_str()).chain(tables);
    let hint = did_you_mean(&name.name, known);
    SqlError::new("42P01", format!("relation \"{}\" does not exist", name.name))
        .at(name.position)
        .with_hint(hint.unwrap_or_else(|| "SHOW STREAMS and SHOW TABLES list what there is".to_owned()))
}

/// The views that `stream_targets` names, of this stream; those of other streams get nothing of it.
///
/// # Errors
/// `42P01`: there is no such view; `42809`: none of them is over this stream.
fn targets(
    names: &[String],
    stream: StreamId,
    catalog: &CatalogSnapshot,
) -> Result<Option<Vec<ViewId>>, SqlError> {
    if names.is_empty() {
        return Ok(None);
    }
    let fed = catalog.plans_of(stream);
    let mut views = Vec::new();
    for name in names {
        let name = Name { name: name.clone(), position: None };
        let view = catalog.view(&name.name).ok_or_else(|| crate::compile::missing_view(&name, catalog))?;
        if view.plan.stream == stream || fed.iter().any(|plan| plan.view == view.id) {
            views.push(view.id);
        }
    }
    if views.is_empty() {
        return Err(SqlError::new("42809", "none of stream_targets is a view over this stream")
            .with_hint("RESET stream_targets feeds all views again"));
    }
    Ok(Some(views))
}

/// Where a value of a row stands, for people.
fn place(error: SqlError, row: u64, column: &str) -> SqlError {
    let message = format!("{} (row {row}, column \"{column}\")", error.message);
    SqlError { message, ..error }
}
