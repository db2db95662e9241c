//! `POST /v1/events?stream=NAME`: lines of JSON objects, or CSV with a header, as events.
//!
//! Owns: the request and its answer. Must not know: how lines are read or counted. The body is read as it comes; all of
//! its events are counted, or none.

use super::Api;
use super::sql::{failed, unauthorized};
use crate::ingest::events::Events;
use crate::ingest::lines::{Header, LineOptions, Lines};
use crate::ingest::{Load, Loading, Pace};
use crate::ingress::budget::{Budget, Taken};
use crate::ingress::http::{Peer, decoded, token};
use crate::server::now;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use headwater::value::column::ColumnBatch;
use headwater_sql::source::RowLines;
use headwater_sql::{CopyFormat, CopyOptions, Name, OnError, SqlError, WriteOptions};
use serde_json::json;
use std::sync::Arc;

/// The handler.
pub(super) async fn run(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(close) = api.door.policy.check(token(&parts.headers, &parts.uri).as_deref()) {
        return unauthorized(&close);
    }
    let (stream, format) = match wanted(&parts.uri, &parts.headers) {
        Ok(wanted) => wanted,
        Err(refused) => return failed(&refused),
    };
    let from = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let loading = Loading {
        target: Name { name: stream, position: None },
        columns: Vec::new(),
        write: WriteOptions::default(),
        from,
        tables: false,
    };
    let budget = parts.extensions.get::<Budget>().unwrap_or(&api.door.budget);
    match count(&api, &loading, format, (body, budget)).await {
        Ok(events) => axum::Json(json!({ "events": events })).into_response(),
        Err(refused) => failed(&refused),
    }
}

/// What bodies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    NdJson,
    Csv,
}

/// The stream and the format that a request names.
fn wanted(uri: &Uri, headers: &HeaderMap) -> Result<(String, Format), SqlError> {
    let mut stream = None;
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("stream", name)) if !name.is_empty() => {
                if stream.replace(decoded(name)).is_some() {
                    return Err(SqlError::new("08P01", "the query parameter stream is given twice"));
                }
            }
            Some(("token", _)) => {}
            _ => {
                let name = pair.split('=').next().unwrap_or_default();
                let message = format!("unknown query parameter {name:?}: there are stream and token");
                return Err(SqlError::new("08P01", message));
            }
        }
    }
    let stream = stream.ok_or_else(|| {
        SqlError::new("08P01", "no stream").with_hint("POST /v1/events?stream=NAME, one JSON object per line")
    })?;
    let of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = of(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_lowercase();
    let format = if media == "text/csv" { Format::Csv } else { Format::NdJson };
    Ok((stream, format))
}

async fn count(
    api: &Api,
    loading: &Loading,
    format: Format,
    (body, budget): (Body, &Budget),
) -> Result<u64, SqlError> {
    let mut load = api.door.backend.load(loading)?;
    let mut reader = Reader::new(format, &load)?;
    let (bytes_max, mut pace) = (load.options().body_bytes, Pace::new(load.options().pace));
    let mut unplaced = Unplaced { budget, taken: None };
    let mut bytes = 0;
    let mut chunks = body.into_data_stream();
    let slow =
        || SqlError::new("57014", "the body did not come in time: less than 64 KiB of it within frame_ms");
    while let Some(chunk) = pace.wait(chunks.next()).await.ok_or_else(slow)? {
        let chunk = chunk.map_err(|_| SqlError::new("08P01", "the body was cut short"))?;
        pace.came(chunk.len());
        bytes += chunk.len();
        if bytes > bytes_max {
            return Err(SqlError::new("54000", format!("the body is above {bytes_max} bytes"))
                .with_hint("send several bodies, or raise events_body_bytes_max"));
        }
        pace.wait(unplaced.hold(&load)).await.ok_or_else(busy)??;
        for chunk in chunk.chunks(load.step_bytes()) {
            reader.feed(chunk, &mut |batch| {
                load.push(batch);
                Ok(())
            })?;
            load.step(chunk.len()).await?;
            tokio::task::yield_now().await;
        }
    }
    reader.end(&mut |batch| {
        load.push(batch);
        Ok(())
    })?;
    load.finish(RowLines::default()).await
}

fn busy() -> SqlError {
    SqlError::new("53300", "the hub has no room for more bodies").with_hint("try again")
}

/// What a load without a place holds comes out of the budget of bodies: there may be many of them.
struct Unplaced<'a> {
    budget: &'a Budget,
    taken: Option<Taken>,
}

impl Unplaced<'_> {
    async fn hold(&mut self, load: &Load) -> Result<(), SqlError> {
        if load.has_place() {
            self.taken = None;
        } else if self.taken.is_none() {
            let bytes = load.options().body_bytes.min(Pace::BYTES);
            let mut taken =
                self.budget.claim(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok_or_else(busy)?;
            taken.arrived(bytes).await;
            self.taken = Some(taken);
        }
        Ok(())
    }
}

/// Reads a body.
enum Reader {
    NdJson(Box<Events>),
    Csv(Box<Lines>),
}

type Take<'a> = &'a mut dyn FnMut(ColumnBatch) -> Result<(), SqlError>;

impl Reader {
    fn new(format: Format, load: &Load) -> Result<Self, SqlError> {
        let line_bytes_max = load.options().line_bytes;
        let target = load.stream().ok_or_else(|| SqlError::new("XX000", "events for something else"))?;
        let (fields, name) = (target.fields.clone(), &target.stream.schema.name);
        Ok(match format {
            Format::NdJson => Self::NdJson(Box::new(Events::new(fields, name, line_bytes_max))),
            Format::Csv => {
                let copy = CopyOptions {
                    format: CopyFormat::Csv,
                    delimiter: ',',
                    null: String::new(),
                    header: true,
                    quote: '"',
                    escape: '"',
                    force_quote: false,
                };
                let (header, on_error) = (Header::Names, OnError::Stop);
                let options = LineOptions { copy, header, end_mark: false, on_error, line_bytes_max };
                Self::Csv(Box::new(Lines::new(options, fields, target.columns.clone(), name)))
            }
        })
    }

    fn feed(&mut self, bytes: &[u8], take: Take<'_>) -> Result<(), SqlError> {
        match self {
            Self::NdJson(events) => events.feed(bytes, now(), take),
            Self::Csv(lines) => lines.feed(bytes, now(), take),
        }
    }

    fn end(&mut self, take: Take<'_>) -> Result<(), SqlError> {
        match self {
            Self::NdJson(events) => events.end(now(), take),
            Self::Csv(lines) => lines.end(now(), take),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_stream_and_a_format() {
        let of = |uri: &str, media: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, media.parse().expect("a media type"));
            wanted(&uri.parse().expect("a URI"), &headers).map_err(|error| error.code)
        };
        assert_eq!(of("/v1/events?stream=s%20x&token=t", ""), Ok(("s x".into(), Format::NdJson)));
        assert_eq!(of("/v1/events?stream=s", "text/csv; charset=utf-8"), Ok(("s".into(), Format::Csv)));
        assert_eq!(of("/v1/events", ""), Err("08P01"));
        assert_eq!(of("/v1/events?stream=a&stream=b", ""), Err("08P01"), "one of them was taken");
        assert_eq!(of("/v1/events?stream=s&dedup_key=id", ""), Err("08P01"));
    }
}
