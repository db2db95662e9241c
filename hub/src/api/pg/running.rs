//! A statement that runs: its rows on their way to the client.
//!
//! Owns: batches taken apart into rows, rows written as the client asked for them. Must not know: sockets, portals.

use super::binary;
use super::lines;
use super::message::Format;
use super::reply::{Replies, format_of};
use super::settings::Settings;
use super::types;
use crate::api::text;
use bytes::{BufMut, BytesMut};
use futures::StreamExt;
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::{Answer, CopyFormat, CopyOptions, Skipped, SqlError, batch_of, rows_of};
use tokio_util::sync::CancellationToken;

/// Where rows go.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    /// Row by row.
    Rows,
    /// As COPY's lines.
    Copy(CopyOptions),
}

/// Rows taken apart at a time: as values they take several times what they take in columns.
const ROWS_AT_ONCE: usize = 256;

/// Rows of an answer, one after the other.
pub(super) struct Rows {
    answer: Answer,
    /// What is left of the batch at hand.
    batch: Option<RecordBatch>,
    /// The next rows of it.
    waiting: std::vec::IntoIter<Vec<Value>>,
}

impl Rows {
    fn new(answer: Answer) -> Self {
        Self { answer, batch: None, waiting: Vec::new().into_iter() }
    }

    /// Waits until there is a row; false at the end. Dropping this future loses nothing.
    pub async fn next(&mut self) -> Result<bool, SqlError> {
        while self.waiting.len() == 0 {
            if let Some(batch) = self.batch.take_if(|batch| batch.num_rows() > 0) {
                self.take_apart(&batch)?;
                continue;
            }
            let Some(batch) = self.answer.batches.next().await else { return Ok(false) };
            self.batch = Some(batch?);
        }
        Ok(true)
    }

    fn take_apart(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let now = batch.num_rows().min(ROWS_AT_ONCE);
        self.waiting = rows_of(&batch.slice(0, now), &self.answer.fields)?.into_iter();
        self.batch = Some(batch.slice(now, batch.num_rows() - now));
        Ok(())
    }

    /// What the statement left as it was.
    pub fn notice(&self) -> Option<&Skipped> {
        self.answer.notice.as_ref()
    }

    /// What it holds, about: the batch at hand and another one on its way, and rows of it.
    pub fn bytes(&self) -> usize {
        let values = ROWS_AT_ONCE * self.answer.fields.len() * size_of::<Value>();
        2 * self.batch.as_ref().map_or(0, RecordBatch::get_array_memory_size) + values
    }

    /// The next row of the batch at hand.
    pub fn row(&mut self) -> Option<Vec<Value>> {
        self.waiting.next()
    }
}

/// A statement that runs.
pub(super) struct Running {
    pub rows: Rows,
    pub formats: Vec<Format>,
    pub sink: Sink,
    pub cancelled: CancellationToken,
    /// Rows sent since the client asked last.
    pub sent: u64,
    has_begun: bool,
    /// What comes before the first row, in one message with it.
    head: Vec<u8>,
}

impl Running {
    pub fn new(answer: Answer, formats: Vec<Format>, sink: Sink, cancelled: CancellationToken) -> Self {
        Self {
            rows: Rows::new(answer),
            formats,
            sink,
            cancelled,
            sent: 0,
            has_begun: false,
            head: Vec::new(),
        }
    }

    /// The answer of SHOW; `None` is ALL.
    pub fn shown(
        settings: &Settings,
        name: Option<&str>,
        (formats, cancelled): (Vec<Format>, CancellationToken),
    ) -> Result<Self, SqlError> {
        let text = |text: &str| Value::Text(text.to_owned());
        let (fields, rows) = match name {
            Some(name) => {
                let (name, value) = settings.show(name)?;
                (vec![field(&name)], vec![vec![Value::Text(value)]])
            }
            None => {
                let rows = settings.all().map(|(name, value)| vec![text(name), Value::Text(value), text("")]);
                (Self::shown_fields(None), rows.collect())
            }
        };
        let batch = batch_of(&fields, &rows)?;
        let answer = Answer {
            tag: "SHOW".into(),
            notice: None,
            fields,
            schema: batch.schema(),
            batches: futures::stream::iter([Ok(batch)]).boxed(),
        };
        Ok(Self::new(answer, formats, Sink::Rows, cancelled))
    }

    /// The columns of SHOW.
    pub fn shown_fields(name: Option<&str>) -> Vec<Field> {
        match name {
            Some(name) => {
                vec![field(&Settings::default().show(name).map_or(name.to_owned(), |(name, _)| name))]
            }
            None => ["name", "setting", "description"].map(field).into(),
        }
    }

    pub fn fields(&self) -> &[Field] {
        &self.rows.answer.fields
    }

    /// True when the answer is rows, even if there are none.
    pub fn has_rows(&self) -> bool {
        self.rows.answer.has_rows()
    }

    /// The command tag, as PostgreSQL has it.
    pub fn tag(&self) -> String {
        match (&self.sink, self.rows.answer.tag.as_str()) {
            (Sink::Copy(_), _) => format!("COPY {}", self.sent),
            (Sink::Rows, tag @ ("SHOW" | "EXPLAIN")) => tag.to_owned(),
            (Sink::Rows, _) => self.rows.answer.tag_for(self.sent),
        }
    }

    /// Columns are still what the client was told, and formats fit them.
    pub fn check(&self, told: Option<&[Field]>) -> Result<(), SqlError> {
        let fields = self.fields();
        let same = |told: &[Field]| {
            told.len() == fields.len()
                && told
                    .iter()
                    .zip(fields)
                    .all(|(told, is)| types::oid(&told.data_type) == types::oid(&is.data_type))
        };
        if told.is_some_and(|told| !same(told)) && matches!(self.sink, Sink::Rows) {
            return Err(SqlError::new("0A000", "cached plan must not change result type")
                .with_hint("prepare the statement again"));
        }
        let formats = self.formats.len();
        if formats > 1 && formats != fields.len() {
            let columns = fields.len();
            let message =
                format!("bind message has {formats} result formats but query has {columns} columns");
            return Err(SqlError::new("08P01", message));
        }
        Ok(())
    }

    /// What comes before all rows.
    pub fn begin(&mut self, out: &mut Replies) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        if let Sink::Copy(options) = &self.sink {
            let binary = options.format == CopyFormat::Binary;
            out.copy_out(self.fields().len(), if binary { Format::Binary } else { Format::Text });
            match lines::head(self.fields(), options) {
                Some(head) if binary => self.head = head,
                Some(head) => out.put(b'd', |body| body.put_slice(&head)),
                None => {}
            }
        }
    }

    /// A row.
    pub fn write(&mut self, row: &[Value], out: &mut Replies) -> Result<(), SqlError> {
        self.sent += 1;
        let fields = &self.rows.answer.fields;
        if let Some((_, field)) = row.iter().zip(fields).find(|(value, _)| has_nul(value)) {
            return Err(nul(&field.name));
        }
        match &self.sink {
            Sink::Copy(options) => {
                let line = lines::row(row, fields, options)?;
                let head = std::mem::take(&mut self.head);
                out.put(b'd', |body| {
                    body.put_slice(&head);
                    body.put_slice(&line);
                });
                Ok(())
            }
            Sink::Rows => {
                let before = out.0.len();
                let mut written = Ok(());
                out.put(b'D', |body| written = data_row(row, fields, &self.formats, body));
                if written.is_err() {
                    out.0.truncate(before);
                }
                written
            }
        }
    }

    /// What comes behind all rows.
    pub fn end(&mut self, out: &mut Replies) {
        if let Sink::Copy(options) = &self.sink {
            if let Some(tail) = lines::tail(options) {
                let head = std::mem::take(&mut self.head);
                out.put(b'd', |body| {
                    body.put_slice(&head);
                    body.put_slice(&tail);
                });
            }
            out.plain(b'c');
        }
    }
}

fn field(name: &str) -> Field {
    Field { name: name.to_owned(), data_type: DataType::Text }
}

/// Clients of PostgreSQL, where texts have no NUL, would take the part before it for the whole.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => memchr::memchr(0, text.as_bytes()).is_some(),
        Value::List(values) | Value::Struct(values) => values.iter().any(has_nul),
        _ => false,
    }
}

#[cold]
fn nul(column: &str) -> SqlError {
    let message = format!("invalid byte sequence for encoding \"UTF8\": 0x00, in column \"{column}\"");
    SqlError::new("22021", message)
        .with_hint("texts of PostgreSQL have no NUL; HTTP and the SDKs answer them as they are")
}

fn data_row(
    row: &[Value],
    fields: &[Field],
    formats: &[Format],
    body: &mut BytesMut,
) -> Result<(), SqlError> {
    body.put_u16(u16::try_from(row.len()).unwrap_or(u16::MAX));
    for (at, (value, field)) in row.iter().zip(fields).enumerate() {
        if format_of(formats, at) == Format::Binary {
            binary::put(value, &field.data_type, body)?;
            continue;
        }
        match text::text(value, &field.data_type) {
            None => body.put_i32(-1),
            Some(text) => {
                body.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                body.put_slice(text.as_bytes());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_a_nul_are_not_sent() {
        let text = |text: &str| Value::Text(text.into());
        assert!(has_nul(&text("a\0b")) && has_nul(&Value::List(vec![Value::Null, text("\0")])));
        assert!(!has_nul(&text("ab")) && !has_nul(&Value::Bytes(vec![0])));
    }
}
