//! Stream schemas: the named, typed columns of a stream. `arrival_timestamp` is implied and comes last.

use crate::ids::StreamId;
use crate::value::DataType;
use crate::value::column::{Column, ColumnBatch};
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
        let mut columns: Vec<Column> = self.fields.iter().map(|f| Column::new(&f.data_type)).collect();
        columns.push(Column::new(&DataType::Timestamp));
        ColumnBatch { columns }
    }
}
