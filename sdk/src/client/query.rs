//! SQL over the client's connection: one stream per statement.

use super::connection::{READ_BYTES, send_whole};
use super::error::QueryError;
use crate::schema::Field;
use crate::value::Value;
use crate::wire::{Failure, Frame, FrameDecoder, FrameKind, Query, RowsEnd, RowsHeader, encode_frame};
use quinn::Connection;
use serde::de::DeserializeOwned;

mod de;

/// The answer to a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Names and types.
    pub columns: Vec<Field>,
    /// Values in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// PostgreSQL's command tag: `SELECT 3`, `CREATE VIEW`.
    pub tag: String,
}

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|field| field.name == name)
    }

    /// Reads every row as `T`: a struct by column names, a tuple by position, or, of one column, its value.
    /// `numeric` reads as a float, an integer (without fraction) or text; `timestamptz` as microseconds and
    /// `date` as days since 1970, or either as text; NULL as `Option`.
    ///
    /// # Errors
    /// [`QueryError::Row`] names the first row that does not fit `T`, its column, and why.
    pub fn into_typed<T: DeserializeOwned>(self) -> Result<Vec<T>, QueryError> {
        let columns = self.columns;
        let rows = self.rows.into_iter().enumerate();
        rows.map(|(row, values)| {
            de::row(&columns, values).map_err(|message| QueryError::Row { row, message })
        })
        .collect()
    }
}

/// Sends `query` and reads its whole answer.
pub(super) async fn run(
    connection: &Connection,
    query: &Query,
    frame_bytes_max: usize,
    answer_bytes_max: usize,
) -> Result<Rows, QueryError> {
    let broken = |error: &dyn std::fmt::Display| QueryError::Disconnected(error.to_string());
    let (send, mut recv) = connection.open_bi().await.map_err(|error| broken(&error))?;
    send_whole(send, &encode_frame(query)).await.map_err(|error| broken(&error))?;
    let mut answer = Answer { answer_bytes_max, ..Answer::default() };
    let mut decoder = FrameDecoder::new(frame_bytes_max);
    loop {
        while let Some(frame) =
            decoder.next_frame().map_err(|error| QueryError::Malformed(error.to_string()))?
        {
            if answer.handle(frame)? {
                return Ok(answer.rows);
            }
        }
        match recv.read_chunk(READ_BYTES, true).await.map_err(|error| broken(&error))? {
            Some(chunk) => decoder.push(&chunk.bytes),
            None => return Err(QueryError::Malformed("the answer ends in the middle".into())),
        }
    }
}

/// An answer as far as it has come.
#[derive(Default)]
struct Answer {
    rows: Rows,
    has_header: bool,
    bytes: usize,
    answer_bytes_max: usize,
}

impl Answer {
    /// Takes one frame; `true` when the answer is complete.
    fn handle(&mut self, frame: Frame<'_>) -> Result<bool, QueryError> {
        let malformed = |error: crate::codec::DecodeError| QueryError::Malformed(error.to_string());
        self.bytes += frame.body.len();
        if self.bytes > self.answer_bytes_max {
            return Err(QueryError::TooLarge(self.answer_bytes_max));
        }
        match frame.kind {
            FrameKind::Failure => Err(QueryError::Failed(frame.decode::<Failure>().map_err(malformed)?)),
            FrameKind::RowsHeader if !self.has_header => {
                self.rows.columns = frame.decode::<RowsHeader>().map_err(malformed)?.columns;
                self.has_header = true;
                Ok(false)
            }
            FrameKind::Rows if self.has_header => {
                let mut rows = frame.decode::<crate::wire::Rows>().map_err(malformed)?.rows;
                if rows.iter().any(|row| row.len() != self.rows.columns.len()) {
                    return Err(QueryError::Malformed("a row does not fit the header".into()));
                }
                self.rows.rows.append(&mut rows);
                Ok(false)
            }
            FrameKind::RowsEnd => {
                self.rows.tag = frame.decode::<RowsEnd>().map_err(malformed)?.tag;
                Ok(true)
            }
            kind => Err(QueryError::Malformed(format!("unexpected {kind:?} frame"))),
        }
    }
}
