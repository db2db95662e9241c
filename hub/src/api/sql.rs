//! `POST /v1/sql`: one statement in, rows out.
//!
//! The body is the statement as text, or JSON `{"sql": ..., "read_level": "replicated" | "durable"}`. Nothing is
//! sent before the answer is complete or 256 KiB of it are there: an error until then has its status. Then
//! answers stream; a later error ends a JSON answer with an `error` member and an NDJSON answer with an
//! `{"error":...}` line. CSV and Arrow have no place for one: the transfer is broken off, so that no client takes
//! the part for the whole, after a last line (CSV) or message (Arrow) that tells the reason, and the hub logs it. A
//! trailer would not do: it ends the transfer well. Readers of Arrow take the end of the bytes for the end of the
//! stream, but they refuse that last message.

use super::Api;
use super::format::{self, Format};
use crate::ingress::http::{read, token};
use crate::ingress::session::Close;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use headwater::schema::Field;
use headwater::value::Value;
use headwater::wire::{Query, ReadLevel};
use headwater_sql::arrow::error::ArrowError;
use headwater_sql::arrow::ipc::writer::StreamWriter;
use headwater_sql::arrow::{self, array::RecordBatch};
use headwater_sql::{Answer, SqlError, rows_of};
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// Bytes of an answer that are held back until it is clear that it goes on. Each statement may hold them on top of
/// its memory.
const HELD_BYTES: usize = 256 * 1024;

/// The JSON form of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    #[serde(default)]
    read_level: Option<String>,
}

/// The handler.
pub(super) async fn run(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let token = token(&parts.headers, &parts.uri);
    if let Err(close) = api.door.policy.check(token.as_deref()) {
        return unauthorized(&close);
    }
    if let Some(name) = unknown_parameter(parts.uri.query().unwrap_or_default()) {
        let message = format!("unknown query parameter {name:?}: there are format and token");
        return error(StatusCode::BAD_REQUEST, "08P01", &message);
    }
    let Some(format) = Format::wanted(&parts.uri, &parts.headers) else {
        return error(StatusCode::NOT_ACCEPTABLE, "0A000", "formats are json, ndjson, csv and arrow");
    };
    let bytes = match read(&api.door, &parts.extensions, content).await {
        Ok((bytes, _held)) => bytes,
        Err(close) => {
            let message = close.message.clone();
            return error(close.into_response().status(), "08P01", &message);
        }
    };
    let is_json = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    match statement(&bytes, is_json) {
        Ok(query) => answer(&api, query, format).await,
        Err(message) => error(StatusCode::BAD_REQUEST, "08P01", &message),
    }
}

/// A misspelt `format` would be answered in another one.
fn unknown_parameter(query: &str) -> Option<&str> {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.find(|name| !matches!(*name, "" | "format" | "token"))
}

fn statement(bytes: &[u8], is_json: bool) -> Result<Query, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8")?;
    if !(is_json || text.trim_start().starts_with('{')) {
        return Ok(Query { sql: text.into(), ..Query::default() });
    }
    let statement: Statement =
        serde_json::from_str(text).map_err(|e| format!("the body is not {{\"sql\": ...}}: {e}"))?;
    let read_level = match statement.read_level.as_deref() {
        None | Some("replicated") => ReadLevel::Replicated,
        Some("durable") => ReadLevel::Durable,
        Some(other) => return Err(format!("read_level {other:?} is neither replicated nor durable")),
    };
    Ok(Query { sql: statement.sql, read_level, token: None })
}

async fn answer(api: &Api, query: Query, format: Format) -> Response {
    let begun = match api.door.backend.query(query).await {
        Ok(answer) => begin(answer).await,
        Err(error) => Err(error),
    };
    let answer = match begun {
        Ok(answer) if format == Format::Arrow => answer,
        Ok(answer) => Answer { batches: answer.batches.flat_map(pieces).boxed(), ..answer },
        Err(error) => return failed(&error),
    };
    let body = match format {
        Format::Json => json_body(answer),
        Format::NdJson => Body::from_stream(chunks(answer, Vec::new(), ndjson_chunk)),
        Format::Csv => csv_body(answer),
        Format::Arrow => match arrow_body(answer) {
            Ok(body) => body,
            Err(error) => return failed(&SqlError::new("XX000", error.to_string())),
        },
    };
    ([(header::CONTENT_TYPE, format.media_type()), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// The answer, once it is complete or much of it is there.
async fn begin(mut answer: Answer) -> Result<Answer, SqlError> {
    let (mut held, mut bytes) = (Vec::new(), 0);
    while bytes < HELD_BYTES {
        let Some(batch) = answer.batches.next().await.transpose()? else { break };
        bytes += batch.get_array_memory_size();
        held.push(Ok(batch));
    }
    answer.batches = stream::iter(held).chain(answer.batches).boxed();
    Ok(answer)
}

/// A statement that failed before its answer began.
pub(super) fn failed(error: &SqlError) -> Response {
    (status(error.code), axum::Json(json!({ "error": error_object(error) }))).into_response()
}

/// An error of the request itself.
pub(super) fn error(status: StatusCode, code: &'static str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": error_object(&SqlError::new(code, message)) }))).into_response()
}

/// There is no token, or another than the hub's.
pub(super) fn unauthorized(close: &Close) -> Response {
    let error = SqlError::new("28000", close.message.clone())
        .with_hint("send the header `Authorization: Bearer TOKEN`, with one of the hub's tokens");
    failed(&error)
}

fn error_object(error: &SqlError) -> serde_json::Value {
    json!({ "code": error.code, "message": error.message, "position": error.position, "hint": error.hint })
}

/// The HTTP status of an SQLSTATE.
fn status(code: &str) -> StatusCode {
    match code {
        "42P01" => StatusCode::NOT_FOUND,
        "42P07" | "2BP01" => StatusCode::CONFLICT,
        "28000" => StatusCode::UNAUTHORIZED,
        "57014" => StatusCode::REQUEST_TIMEOUT,
        "53200" | "53300" | "53100" | "57P01" | "57P03" => StatusCode::SERVICE_UNAVAILABLE,
        "54000" => StatusCode::PAYLOAD_TOO_LARGE,
        "0A000" => StatusCode::NOT_IMPLEMENTED,
        _ if code.starts_with("XX") || code.starts_with("58") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

type Chunk = fn(Result<&[Vec<Value>], &SqlError>, &[Field]) -> io::Result<Vec<u8>>;

/// The answer's chunks through `write`, after `head`.
fn chunks(answer: Answer, head: Vec<u8>, write: Chunk) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let fields = answer.fields;
    let rest = answer.batches.map(move |batch| {
        let rows = batch.and_then(|batch| rows_of(&batch, &fields));
        write(rows.as_deref(), &fields).map(Bytes::from)
    });
    stream::once(async { Ok(Bytes::from(head)) }).chain(rest)
}

/// So few rows, and bytes of them, that writing them holds up nobody else on this thread.
fn pieces(batch: Result<RecordBatch, SqlError>) -> impl Stream<Item = Result<RecordBatch, SqlError>> + Send {
    let cut = |batch: RecordBatch| {
        let (rows, step) = (batch.num_rows(), piece_rows(&batch));
        (0..rows).step_by(step).map(move |at| Ok(batch.slice(at, step.min(rows - at))))
    };
    let (rows, error) = match batch {
        Ok(batch) => (Some(cut(batch)), None),
        Err(error) => (None, Some(Err(error))),
    };
    stream::iter(rows.into_iter().flatten().chain(error))
}

/// Rows of a piece, by the bytes that the batch's rows have on average.
fn piece_rows(batch: &RecordBatch) -> usize {
    const ROWS: usize = 512;
    let bytes = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    let bytes: usize = batch.columns().iter().map(bytes).sum();
    ROWS.min(batch.num_rows().saturating_mul(HELD_BYTES) / bytes.max(1)).max(1)
}

fn ndjson_chunk(rows: Result<&[Vec<Value>], &SqlError>, fields: &[Field]) -> io::Result<Vec<u8>> {
    let lines: Vec<String> = match rows {
        Ok(rows) => rows.iter().map(|row| format!("{}\n", format::json_object(row, fields))).collect(),
        Err(error) => vec![format!("{}\n", json!({ "error": error_object(error) }))],
    };
    Ok(lines.concat().into_bytes())
}

fn csv_body(answer: Answer) -> Body {
    let mut head = String::new();
    match answer.has_rows() {
        true => format::csv_header(&answer.fields, &mut head),
        // What a command did, which is all that it has to say.
        false => head = format!("{}\r\n", answer.tag_for(0)),
    }
    let chunks = chunks(answer, head.into_bytes(), csv_chunk);
    Body::from_stream(chunks.flat_map(|chunk| told_before_cut(chunk, csv_line)))
}

fn csv_chunk(rows: Result<&[Vec<Value>], &SqlError>, fields: &[Field]) -> io::Result<Vec<u8>> {
    let rows = rows.map_err(cut)?;
    let mut out = String::new();
    rows.iter().for_each(|row| format::csv_row(row, fields, &mut out));
    Ok(out.into_bytes())
}

/// Why a transfer is broken off; the client may not see it, so the log has it.
fn cut(error: &SqlError) -> io::Error {
    tracing::warn!(code = error.code, %error, "an answer was cut short");
    io::Error::other(error.clone())
}

/// Before an answer breaks off, its last bytes tell why.
fn told_before_cut(
    chunk: io::Result<Bytes>,
    frame: fn(&str) -> Vec<u8>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let error = match chunk {
        Ok(bytes) => return stream::once(std::future::ready(Ok(bytes))).boxed(),
        Err(error) => error,
    };
    let last = error.get_ref().and_then(|inner| inner.downcast_ref::<SqlError>()).map(|error| {
        let text = format!("ERROR {}: {error}", error.code).replace(['\r', '\n'], " ");
        Ok(Bytes::from(frame(&text)))
    });
    let broken = async {
        // The connection sends what it has when there is nothing more for a moment, and drops it on an error.
        tokio::task::yield_now().await;
        Err(error)
    };
    stream::iter(last).chain(stream::once(broken)).boxed()
}

fn csv_line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

/// An Arrow message whose metadata is the text, padded to 8 bytes. It is no flatbuffer, so every reader fails there.
fn arrow_message(text: &str) -> Vec<u8> {
    let padded = text.len().next_multiple_of(8);
    let length = i32::try_from(padded).unwrap_or(i32::MAX);
    let mut message = [[0xff; 4], length.to_le_bytes()].concat();
    message.extend_from_slice(text.as_bytes());
    message.resize(message.len() + padded - text.len(), b' ');
    message
}

/// An Arrow IPC stream; an error cuts it short before its end marker.
fn arrow_body(answer: Answer) -> Result<Body, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema)?;
    let head = std::mem::take(writer.get_mut());
    let state = (Some(writer), answer.batches);
    let rest = stream::unfold(state, |(writer, mut batches)| async move {
        let mut writer = writer?;
        match batches.next().await {
            Some(batch) => {
                let chunk = arrow_chunk(&mut writer, batch);
                let writer = chunk.is_ok().then_some(writer);
                Some((chunk, (writer, batches)))
            }
            None => Some((writer.into_inner().map_err(io::Error::other), (None, batches))),
        }
    });
    let all = stream::once(async { Ok(head) }).chain(rest);
    let told = |chunk: io::Result<Vec<u8>>| told_before_cut(chunk.map(Bytes::from), arrow_message);
    Ok(Body::from_stream(all.flat_map(told)))
}

fn arrow_chunk(
    writer: &mut StreamWriter<Vec<u8>>,
    batch: Result<RecordBatch, SqlError>,
) -> io::Result<Vec<u8>> {
    writer.write(&batch.map_err(|error| cut(&error))?).map_err(io::Error::other)?;
    Ok(std::mem::take(writer.get_mut()))
}

/// `{"columns":[...],"rows":[...],"tag":...}`, streamed: rows are never all in memory.
fn json_body(answer: Answer) -> Body {
    let head = format!("{{\"columns\":{},\"rows\":[", format::columns(&answer.fields));
    let state = Some(Json { answer, sent: 0 });
    let rest = stream::unfold(state, |state| async move {
        let mut state = state?;
        let (text, is_last) = state.next().await;
        Some((text, (!is_last).then_some(state)))
    });
    Body::from_stream(
        stream::once(async { head }).chain(rest).map(|text| Ok::<_, io::Error>(Bytes::from(text))),
    )
}

struct Json {
    answer: Answer,
    sent: u64,
}

impl Json {
    /// The next piece of text, and whether it is the last.
    async fn next(&mut self) -> (String, bool) {
        let Some(batch) = self.answer.batches.next().await else {
            return (format!("],\"tag\":{}}}", json!(self.answer.told(self.sent))), true);
        };
        match batch.and_then(|batch| rows_of(&batch, &self.answer.fields)) {
            Ok(rows) => (self.rows(&rows), false),
            Err(error) => (format!("],\"error\":{}}}", error_object(&error)), true),
        }
    }

    fn rows(&mut self, rows: &[Vec<Value>]) -> String {
        let mut out = String::new();
        for row in rows {
            out.push_str(if self.sent == 0 { "" } else { "," });
            out.push_str(&format::json_row(row, &self.answer.fields));
            self.sent += 1;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::value::DataType;

    #[test]
    fn a_body_is_text_or_json() {
        let query = |body: &str, is_json| statement(body.as_bytes(), is_json);
        assert_eq!(query("SELECT 1", false).map(|q| q.sql), Ok("SELECT 1".into()));
        let durable = query(r#"{"sql":"SELECT 1","read_level":"durable"}"#, true).expect("query");
        assert_eq!((durable.sql.as_str(), durable.read_level), ("SELECT 1", ReadLevel::Durable));
        assert!(query(r#"{"sql":"x","read_level":"mine"}"#, true).is_err());
        assert!(query(r#"{"query":"x"}"#, true).is_err());
        assert!(statement(&[0xff], false).is_err());
    }

    fn answer(batches: Vec<Result<i64, SqlError>>) -> Answer {
        let schema =
            Arc::new(arrow::datatypes::Schema::new(vec![headwater_sql::arrow_field("n", &DataType::Int64)]));
        let of_schema = Arc::clone(&schema);
        let batch = move |n: i64| {
            let array = Arc::new(arrow::array::Int64Array::from(vec![n]));
            RecordBatch::try_new(Arc::clone(&of_schema), vec![array]).expect("batch")
        };
        let batches: Vec<_> = batches.into_iter().map(|b| b.map(&batch)).collect();
        let fields = vec![Field { name: "n".into(), data_type: DataType::Int64 }];
        Answer { tag: "SELECT".into(), notice: None, fields, schema, batches: stream::iter(batches).boxed() }
    }

    #[tokio::test]
    async fn a_late_error_is_part_of_the_answer() {
        let answer = answer(vec![Ok(1), Err(SqlError::new("57014", "too slow"))]);
        let bytes = axum::body::to_bytes(json_body(answer), 10_000).await.expect("body");
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
        assert_eq!((&value["rows"], &value["error"]["code"]), (&json!([[1]]), &json!("57014")));
        assert!(value.get("tag").is_none());
    }

    #[tokio::test]
    async fn arrow_streams_are_whole_or_cut_short() {
        let bytes = axum::body::to_bytes(arrow_body(answer(vec![Ok(1), Ok(2)])).expect("body"), 10_000).await;
        let bytes = bytes.expect("whole");
        let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_ref(), None).expect("arrow");
        let rows: usize = reader.map(|batch| batch.expect("batch").num_rows()).sum();
        assert_eq!(rows, 2);
        let failed = answer(vec![Ok(1), Err(SqlError::new("57014", "too slow"))]);
        assert!(axum::body::to_bytes(arrow_body(failed).expect("body"), 10_000).await.is_err());
    }

    /// 512 rows of long text were one piece.
    #[test]
    fn pieces_are_few_rows_and_few_bytes() {
        let batch = |text: &str, rows: usize| {
            let schema =
                arrow::datatypes::Schema::new(vec![headwater_sql::arrow_field("t", &DataType::Text)]);
            let array = arrow::array::StringArray::from(vec![text; rows]);
            RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).expect("batch")
        };
        assert_eq!(piece_rows(&batch("x", 5_000)), 512);
        assert!((30..=33).contains(&piece_rows(&batch(&"x".repeat(8_000), 512))));
        assert_eq!(piece_rows(&batch(&"x".repeat(1 << 20), 3)), 1);
        assert!((30..=33).contains(&piece_rows(&batch(&"x".repeat(8_000), 512).slice(100, 40))));
        assert_eq!(piece_rows(&batch("x", 0)), 1);
    }

    /// The body was empty.
    #[tokio::test]
    async fn a_command_answers_with_its_tag_in_csv() {
        let command = Answer { tag: "INSERT 0 1".into(), fields: Vec::new(), ..answer(Vec::new()) };
        let body = csv_body(command);
        assert_eq!(axum::body::to_bytes(body, 100).await.expect("body"), "INSERT 0 1\r\n");
    }

    #[test]
    fn errors_have_fitting_statuses() {
        for (code, expected) in
            [("42601", 400), ("42P01", 404), ("42P07", 409), ("57014", 408), ("XX000", 500)]
        {
            assert_eq!(status(code).as_u16(), expected);
        }
    }
}
