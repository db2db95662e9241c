//! Stream schemas: the named, typed columns of a stream. `arrival_timestamp` is implied and comes last.

use crate::ids::StreamId;
use crate::value::DataType;
use crate::value::column::{Column, ColumnBatch, NOT_A_NUMBER, OUT_OF_RANGE};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The implied last column of every stream: when the event happened, by the hub-corrected clock.
pub const ARRIVAL_TIMESTAMP: &str = "arrival_timestamp";

/// One column of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, as SQL folds it (lower case unless quoted).
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// A stream's schema as producers get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSchema {
    /// The stream.
    pub id: StreamId,
    /// Its name, folded.
    pub name: String,
    /// Its columns, without `arrival_timestamp`.
    pub fields: Vec<Field>,
}

/// Why a column batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The number of columns is not the schema's (with `arrival_timestamp`).
    #[error("batch has {have} columns, the stream has {want}")]
    Columns {
        /// In the batch.
        have: usize,
        /// In the schema, `arrival_timestamp` included.
        want: usize,
    },
    /// A column is shorter or longer than the last one.
    #[error("column {0} has another number of rows")]
    Rows(String),
    /// A column cannot be read as its type.
    #[error("column {column} is not valid: {reason}")]
    Column {
        /// Its name.
        column: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl BatchError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Columns { .. } => "unknown_column",
            Self::Rows(_) => "rows_differ",
            Self::Column { reason: NOT_A_NUMBER, .. } => "nan",
            Self::Column { reason: OUT_OF_RANGE, .. } => "out_of_range",
            Self::Column { .. } => "wrong_type",
        }
    }
}

impl ColumnBatch {
    /// Checks a batch that was not built by this crate against a stream's schema; everything that takes a
    /// batch relies on it.
    ///
    /// # Errors
    /// The first thing that is wrong: how many columns there are, how long they are, or what one holds.
    pub fn check(&self, schema: &StreamSchema) -> Result<(), BatchError> {
        let want = schema.fields.len() + 1;
        if self.columns.len() != want {
            return Err(BatchError::Columns { have: self.columns.len(), want });
        }
        for (at, column) in self.columns.iter().enumerate() {
            let field = schema.fields.get(at);
            let name = || String::from(field.map_or(ARRIVAL_TIMESTAMP, |f| f.name.as_str()));
            if column.len() != self.rows() {
                return Err(BatchError::Rows(name()));
            }
            let data_type = field.map_or(&DataType::Timestamp, |f| &f.data_type);
            let checked = match (column.check(data_type), field) {
                (Ok(()), None) if column.slots.is_some() => Err("arrival_timestamp is null"),
                (checked, _) => checked,
            };
            checked.map_err(|reason| BatchError::Column { column: name(), reason })?;
        }
        Ok(())
    }
}

impl StreamSchema {
    /// The position of a column; `arrival_timestamp` is at `fields.len()`.
    pub fn column(&self, name: &str) -> Option<usize> {
        let at = self.fields.iter().position(|f| f.name == name);
        at.or_else(|| (name == ARRIVAL_TIMESTAMP).then_some(self.fields.len()))
    }

    /// The type of a column by position, `arrival_timestamp` included.
    pub fn data_type(&self, column: usize) -> Option<DataType> {
        match self.fields.get(column) {
            Some(field) => Some(field.data_type.clone()),
            None => (column == self.fields.len()).then_some(DataType::Timestamp),
        }
    }

    /// A batch without rows.
    pub fn empty_batch(&self) -> ColumnBatch {
        let mut columns = Vec::with_capacity(self.fields.len() + 1);
        self.fields.iter().for_each(|field| columns.push(Column::new(&field.data_type)));
        columns.push(Column::new(&DataType::Timestamp));
        ColumnBatch { columns }
    }
}
