//! A session with a hub, for one load: frames out, fates of batches in.
//!
//! Owns: the connection and its streams. Must not know: files, journals. The load brings its own sequence
//! numbers, so it speaks the protocol itself instead of going through the client's outbox.

use super::CliError;
use headwater::client::{Client, ConnectError, ConnectOptions, dial};
use headwater::ids::{Pid, RouteVersion, Seq};
use headwater::wire::{
    AckLevel, BatchFrame, Body, CloseCode, Failure, Frame, FrameDecoder, FrameKind, Hello, Plans, Refused,
    RefusedCode, Resume, Resumed, StreamPlans, Welcome, encode_frame,
};
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Bytes read from a stream at a time.
const READ_BYTES: usize = 64 * 1024;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is durable at the hub.
    Held,
    /// The hub does not take it.
    Refused(Refused),
    /// No answer came: the connection broke, or the hub went away.
    Lost(String),
}

/// An open session.
pub(super) struct Link {
    connection: Connection,
    control: SendStream,
    answers: mpsc::Receiver<Result<Resumed, CliError>>,
    /// The newest plans of the stream; `None` once it was dropped.
    pub plans: watch::Receiver<Option<StreamPlans>>,
    /// Its plans at the start.
    pub first: StreamPlans,
    /// What the hub said at the start.
    pub welcome: Arc<Welcome>,
}

impl Link {
    /// Connects and opens a session for one stream.
    pub async fn open(options: &ConnectOptions, stream: &str) -> Result<Self, CliError> {
        let connection = dial(options).await?;
        let (mut control, recv) = connection.open_bi().await.map_err(|e| broken(&connection, &e))?;
        let hello = Hello {
            versions: vec![1],
            token: options.token.clone(),
            streams: vec![stream.into()],
            sdk: concat!("headwater-load/", env!("CARGO_PKG_VERSION")).into(),
            capabilities: u32::MAX,
        };
        control.write_all(&encode_frame(&hello)).await.map_err(|e| broken(&connection, &e))?;
        let mut reader = Reader::new(&connection, recv, options.frame.body_bytes_max);
        let welcome: Welcome = reader.expect().await?;
        let Some(first) = welcome.streams.first().cloned() else {
            connection.close(0u32.into(), b"no such stream");
            return Err(no_stream(options, stream).await);
        };
        let (plans_in, plans) = watch::channel(Some(first.clone()));
        let (answers_in, answers) = mpsc::channel(1);
        // Ends with the connection; it owns nothing else.
        tokio::spawn(listen(reader, plans_in, answers_in));
        Ok(Self { connection, control, answers, plans, first, welcome: Arc::new(welcome) })
    }

    /// Asks what the hub holds of a producer.
    pub async fn resume(&mut self, pid: Pid, low_water: Seq) -> Result<Resumed, CliError> {
        let request = encode_frame(&Resume { pid, low_water });
        self.control.write_all(&request).await.map_err(|e| broken(&self.connection, &e))?;
        match self.answers.recv().await {
            Some(answer) => answer,
            None => Err(broken(&self.connection, &"the session ended")),
        }
    }

    /// Sends a batch on a stream of its own and waits for its fate.
    pub fn send(
        &self,
        pid: Pid,
        seq: Seq,
        low_water: Seq,
        backfill: bool,
        payload: &[u8],
    ) -> impl Future<Output = Fate> + use<> {
        let route: RouteVersion = self.welcome.route;
        let level = AckLevel::Durable;
        let bytes = encode_frame(&BatchFrame {
            pid,
            seq,
            low_water,
            route,
            level,
            backfill,
            payload: payload.to_vec(),
        });
        let connection = self.connection.clone();
        async move {
            match exchange(&connection, &bytes).await {
                Ok(fate) => fate,
                Err(error) => Fate::Lost(error.to_string()),
            }
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.connection.close(0u32.into(), b"done");
    }
}

/// What the hub has instead of the stream: the name may be a view's or a table's.
async fn no_stream(options: &ConnectOptions, name: &str) -> CliError {
    let views = "SELECT name, stream FROM headwater.views";
    let streams = "SELECT name FROM headwater.streams ORDER BY 1";
    let tables = "SELECT name FROM headwater.tables";
    let (mut of_view, mut is_table, mut known) = (None, false, Vec::new());
    // Without an answer the message is only shorter.
    if let Ok(client) = Client::connect(options.clone()).await {
        let views: Vec<(String, String)> = client.query_as(views).await.unwrap_or_default();
        of_view = views.into_iter().find(|(view, _)| view == name).map(|(_, stream)| stream);
        let tables: Vec<(String,)> = client.query_as(tables).await.unwrap_or_default();
        is_table = tables.iter().any(|(table,)| table == name);
        let streams: Vec<(String,)> = client.query_as(streams).await.unwrap_or_default();
        known.extend(streams.into_iter().map(|(stream,)| stream));
        client.close().await;
    }
    CliError::Usage(match of_view {
        Some(stream) => format!("{name} is a view; load its stream: --stream {stream}"),
        None if is_table => {
            format!(
                "{name} is a table, and rows are loaded into streams: fill it with COPY {name} FROM STDIN or INSERT"
            )
        }
        None if known.is_empty() => {
            format!("the hub has no stream {name:?}; make it first: CREATE STREAM {name} (...)")
        }
        None => format!("the hub has no stream {name:?}; it has: {}", known.join(", ")),
    })
}

async fn exchange(connection: &Connection, bytes: &[u8]) -> Result<Fate, CliError> {
    let (mut send, recv) = connection.open_bi().await.map_err(|e| broken(connection, &e))?;
    send.write_all(bytes).await.map_err(|e| broken(connection, &e))?;
    send.finish().map_err(|e| broken(connection, &e))?;
    let mut reader = Reader::new(connection, recv, READ_BYTES);
    while let Some((kind, body)) = reader.next().await? {
        let frame = Frame { kind, body: &body };
        match kind {
            FrameKind::Ack if decode::<headwater::wire::Ack>(&frame)?.level >= AckLevel::Durable => {
                return Ok(Fate::Held);
            }
            FrameKind::Ack => {}
            FrameKind::Refused => return Ok(Fate::Refused(decode(&frame)?)),
            FrameKind::Failure => return Ok(Fate::Lost(decode::<Failure>(&frame)?.message)),
            _ => return Ok(Fate::Lost(format!("unexpected {kind:?} frame"))),
        }
    }
    Ok(Fate::Lost("the hub ended the stream".into()))
}

/// Plans and answers from the control stream, until it ends.
async fn listen(
    mut reader: Reader,
    plans: watch::Sender<Option<StreamPlans>>,
    answers: mpsc::Sender<Result<Resumed, CliError>>,
) {
    while let Ok(Some((kind, body))) = reader.next().await {
        let frame = Frame { kind, body: &body };
        match kind {
            FrameKind::Plans => {
                if let Ok(newest) = frame.decode::<Plans>() {
                    plans.send_replace(newest.streams.into_iter().next());
                }
            }
            FrameKind::Resumed => {
                let _ = answers.send(decode(&frame)).await;
            }
            FrameKind::Refused => {
                let refused = decode::<Refused>(&frame).map_or_else(|error| error, refusal);
                let _ = answers.send(Err(refused)).await;
            }
            _ => {}
        }
    }
}

fn refusal(refused: Refused) -> CliError {
    match refused.code {
        RefusedCode::Unavailable => CliError::HubStorage(refused.message),
        _ => CliError::Other(refused.message),
    }
}

/// Frames of one stream.
struct Reader {
    connection: Connection,
    recv: RecvStream,
    decoder: FrameDecoder,
}

impl Reader {
    fn new(connection: &Connection, recv: RecvStream, body_bytes_max: usize) -> Self {
        Self { connection: connection.clone(), recv, decoder: FrameDecoder::new(body_bytes_max) }
    }

    async fn next(&mut self) -> Result<Option<(FrameKind, Vec<u8>)>, CliError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|e| broken(&self.connection, &e))? {
                return Ok(Some((frame.kind, frame.body.to_vec())));
            }
            match self.recv.read_chunk(READ_BYTES, true).await.map_err(|e| broken(&self.connection, &e))? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }

    async fn expect<T: Body>(&mut self) -> Result<T, CliError> {
        let (kind, body) =
            self.next().await?.ok_or_else(|| broken(&self.connection, &"the session ended"))?;
        let frame = Frame { kind, body: &body };
        if kind == FrameKind::Failure {
            let failure: Failure = decode(&frame)?;
            if failure.code == CloseCode::Unauthorized.code() {
                let (address, message) = (self.connection.remote_address().to_string(), failure.message);
                return Err(CliError::Connect(ConnectError::Unauthorized { address, message }));
            }
            return Err(CliError::Other(format!("{} ({})", failure.message, failure.code)));
        }
        decode(&frame)
    }
}

fn decode<T: Body>(frame: &Frame<'_>) -> Result<T, CliError> {
    let unreadable = |error| CliError::Other(format!("the hub's {:?} frame: {error}", frame.kind));
    frame.decode().map_err(unreadable)
}

/// Why the connection ended says more than that it did.
fn broken(connection: &Connection, error: &dyn std::fmt::Display) -> CliError {
    let reason = connection.close_reason().map(|reason| reason.to_string());
    let (address, message) =
        (connection.remote_address().to_string(), reason.unwrap_or_else(|| error.to_string()));
    CliError::Connect(ConnectError::Unreachable { address, message })
}
