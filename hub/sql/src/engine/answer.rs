//! Answers: batches with limits, and their rows as values.

use super::{failure, names};
use crate::convert::{array_from_values, arrow_field, arrow_type, type_of_field, value_at};
use crate::error::SqlError;
use crate::text::Text;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::sql::sqlparser::ast::Query;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The answer to one statement.
pub struct Answer {
    /// PostgreSQL's command tag without a count: `SELECT`, `CREATE STREAM`. See [`Answer::tag_for`].
    pub tag: String,
    /// What the statement found there already, and left as it is.
    pub notice: Option<Skipped>,
    /// The columns; empty for commands.
    pub fields: Vec<Field>,
    /// The columns as Arrow has them: every batch has this schema.
    pub schema: SchemaRef,
    /// The rows. An error ends the stream.
    pub batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("tag", &self.tag).field("fields", &self.fields).finish_non_exhaustive()
    }
}

/// What IF NOT EXISTS or IF EXISTS left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// How it is there.
    pub found: Found,
}

/// What was found of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, where something was to be dropped.
    Nothing,
    /// What was to be made.
    Same,
    /// Something else.
    Other,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.found {
            Found::Nothing => "does not exist",
            Found::Same => "already exists",
            Found::Other => "already exists, with another definition",
        };
        write!(f, "\"{}\" {how}, skipping", self.name)
    }
}

/// A whole answer in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The complete command tag: `SELECT 3`.
    pub tag: String,
    /// The columns.
    pub fields: Vec<Field>,
    /// The rows, in column order.
    pub rows: Vec<Vec<Value>>,
}

impl Answer {
    /// A command without rows.
    pub(super) fn command(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            notice: None,
            fields: Vec::new(),
            schema: Arc::new(Schema::empty()),
            batches: stream::empty().boxed(),
        }
    }

    /// The rows of a running plan.
    pub(super) fn rows(
        tag: &str,
        input: SendableRecordBatchStream,
        query: Option<&Query>,
        (text, rows_max): (Text, u64),
    ) -> Self {
        let fields: Vec<Field> = input.schema().fields().iter().map(|f| field_of(f)).collect();
        let fields = match query {
            Some(query) => names::finish(fields, query),
            None => fields,
        };
        let schema = schema_of(&fields);
        let batches = Limited { input, schema: Arc::clone(&schema), text, rows_max, rows: 0, ended: false };
        Self { tag: tag.to_owned(), notice: None, fields, schema, batches: batches.boxed() }
    }

    /// A small answer made here.
    pub(super) fn values(tag: &str, fields: Vec<Field>, rows: &[Vec<Value>]) -> Result<Self, SqlError> {
        let batch = batch_of(&fields, rows)?;
        Ok(Self {
            tag: tag.to_owned(),
            notice: None,
            schema: batch.schema(),
            fields,
            batches: stream::iter([Ok(batch)]).boxed(),
        })
    }

    /// True when the statement returns rows, even if there are none.
    pub fn has_rows(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The command tag after `rows` rows were sent.
    pub fn tag_for(&self, rows: u64) -> String {
        match self.tag.as_str() {
            "SELECT" | "SHOW" => format!("{} {rows}", self.tag),
            other => other.to_owned(),
        }
    }

    /// The same, and what was there already with another definition: for who has no notices.
    pub fn told(&self, rows: u64) -> String {
        let tag = self.tag_for(rows);
        match &self.notice {
            Some(skipped) if skipped.found == Found::Other => format!("{tag} ({skipped})"),
            _ => tag,
        }
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    /// What ended the query: a limit, a value that cannot be finished, the source.
    pub async fn collect(mut self) -> Result<Rows, SqlError> {
        let mut rows = Vec::new();
        while let Some(batch) = self.batches.next().await {
            rows.extend(rows_of(&batch?, &self.fields)?);
        }
        Ok(Rows { tag: self.told(rows.len() as u64), fields: self.fields, rows })
    }
}

/// The rows of one batch of an answer, as values of its fields' types.
///
/// # Errors
/// `XX000` when the batch is not of these fields.
pub fn rows_of(batch: &RecordBatch, fields: &[Field]) -> Result<Vec<Vec<Value>>, SqlError> {
    if batch.num_columns() != fields.len() {
        return Err(SqlError::new("XX000", "a batch does not have its answer's columns"));
    }
    let row =
        |at: usize| batch.columns().iter().zip(fields).map(|(c, f)| value_at(c, at, &f.data_type)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// Values as one batch.
///
/// # Errors
/// `XX000` when a value is not of its field's type.
pub fn batch_of(fields: &[Field], rows: &[Vec<Value>]) -> Result<RecordBatch, SqlError> {
    let column = |at: usize, field: &Field| {
        let values: Vec<Value> = rows.iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect();
        array_from_values(&values, &field.data_type)
    };
    let columns =
        fields.iter().enumerate().map(|(at, field)| column(at, field)).collect::<Result<Vec<_>, _>>()?;
    make_batch(schema_of(fields), columns, rows.len())
}

fn make_batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|e| SqlError::new("XX000", e.to_string()))
}

pub(super) fn schema_of(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|f| arrow_field(&f.name, &f.data_type)).collect::<Vec<_>>()))
}

/// A column of an answer. A bare NULL reads as text, as in PostgreSQL.
pub(super) fn field_of(field: &datafusion::arrow::datatypes::Field) -> Field {
    let data_type = match type_of_field(field) {
        DataType::Null => DataType::Text,
        other => other,
    };
    Field { name: field.name().clone(), data_type }
}

/// A plan's batches under limits, cast to the types an answer may have.
struct Limited {
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    text: Text,
    rows_max: u64,
    rows: u64,
    ended: bool,
}

impl Limited {
    fn accept(&mut self, batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
        self.rows += batch.num_rows() as u64;
        if self.rows > self.rows_max {
            let message = format!("query returns more than {} rows", self.rows_max);
            return Err(SqlError::new("54000", message).with_hint("add a LIMIT or a coarser GROUP BY"));
        }
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| conform(column, field.data_type()));
        make_batch(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?, batch.num_rows())
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch, SqlError>>> {
        let polled = std::task::ready!(self.input.poll_next_unpin(cx));
        Poll::Ready(polled.map(|batch| match batch {
            Ok(batch) => self.accept(&batch),
            Err(error) => Err(failure::from_datafusion(error, &self.text)),
        }))
    }
}

impl Stream for Limited {
    type Item = Result<RecordBatch, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.poll_input(cx);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

/// The same values in the Arrow type that carries the answer's type.
pub(super) fn conform(
    column: &ArrayRef,
    wanted: &datafusion::arrow::datatypes::DataType,
) -> Result<ArrayRef, SqlError> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    // Value by value below says what is wrong; a safe cast would answer NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let is_duration = matches!(column.data_type(), datafusion::arrow::datatypes::DataType::Duration(_));
    if !is_duration && let Ok(cast) = cast_with_options(column, wanted, &options) {
        return Ok(cast);
    }
    // Durations and nested views: value by value.
    let field = datafusion::arrow::datatypes::Field::new("", column.data_type().clone(), true);
    let data_type = field_of(&field).data_type;
    let values =
        (0..column.len()).map(|row| value_at(column, row, &data_type)).collect::<Result<Vec<_>, _>>()?;
    debug_assert_eq!(arrow_type(&data_type), *wanted);
    array_from_values(&values, &data_type)
}
