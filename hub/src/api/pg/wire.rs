//! One connection's bytes: messages in, replies out, within limits of size and time.
//!
//! Owns: the socket and both buffers. Must not know: what messages mean.
//! Invariants: a message that is announced too long is refused before a byte of it is kept; memory grows with what
//! has arrived, never with what is announced; replies are at most [`OUTPUT_BYTES`] and one row.

use super::message::{self, Message, MessageError, Opening};
use super::reply::{Replies, Severity};
use crate::ingress::budget::{Budget, Taken};
use bytes::{Buf, Bytes, BytesMut};
use headwater_sql::SqlError;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Replies that wait before they are sent.
const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes read at a time.
const READ_BYTES: usize = 16 << 10;
/// Bytes that are read ahead while a statement runs; more wait in the socket.
const AHEAD_BYTES: usize = 64 << 10;
/// Messages up to this long come out of no budget: each connection has a buffer of that size anyway.
const SMALL_BYTES: usize = READ_BYTES;
/// Longest first message, and longest one before it is settled who sends them; as in PostgreSQL.
pub(super) const OPENING_BYTES_MAX: usize = 10_000;
/// A message's length has as many bytes.
const LENGTH_BYTES: usize = 4;

/// A connection's stream: plain, or TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client went, or its socket broke.
    Gone,
    /// The hub ends it, and tells why.
    Fatal(SqlError),
    /// The client took too long to send or to take something.
    Slow,
    /// It sent what is no message.
    Malformed(MessageError),
    /// A message longer than it may be.
    TooLarge(usize),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<MessageError> for End {
    fn from(error: MessageError) -> Self {
        Self::Malformed(error)
    }
}

/// The hub is shutting down.
pub(super) fn shutting_down() -> End {
    End::Fatal(SqlError::new("57P01", "terminating connection: the hub is shutting down"))
}

/// What a connection may take.
#[derive(Clone, Debug)]
pub(super) struct WireLimits {
    pub message_bytes_max: usize,
    /// For the rest of a message, or for the client to take replies.
    pub within: Duration,
    /// Between messages.
    pub idle: Duration,
}

/// A connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    pub out: Replies,
    pub limits: WireLimits,
    budget: Budget,
    shutdown: CancellationToken,
}

impl Wire {
    pub fn new(
        stream: Box<dyn Stream>,
        limits: WireLimits,
        budget: Budget,
        shutdown: CancellationToken,
    ) -> Self {
        Self { stream, input: BytesMut::new(), out: Replies::default(), limits, budget, shutdown }
    }

    /// The stream, to be wrapped in TLS; `None` when the client did not wait for the answer: what it sent in the
    /// clear would be taken for something that came encrypted (CVE-2021-23222).
    pub fn into_stream(self) -> Option<Box<dyn Stream>> {
        self.input.is_empty().then_some(self.stream)
    }

    /// The first message of a connection, by the deadline.
    pub async fn opening(&mut self, deadline: Instant) -> Result<Opening, End> {
        let body = self.body(0, OPENING_BYTES_MAX, deadline).await?;
        Ok(message::opening(body.0)?)
    }

    /// The next message of a client who has not proved anything, by the deadline.
    pub async fn stranger(&mut self, deadline: Instant) -> Result<Message, End> {
        self.fill(1, deadline).await?;
        let kind = self.input[0];
        let body = self.body(1, OPENING_BYTES_MAX, deadline).await?;
        Ok(message::message(kind, body.0)?)
    }

    /// The next message, and what it holds of the hub's budget.
    pub async fn message(&mut self) -> Result<(Message, Option<Taken>), End> {
        if self.input.is_empty() {
            self.wait().await?;
        }
        let kind = self.input[0];
        let deadline = Instant::now() + self.limits.within;
        let (body, taken) = self.body(1, self.limits.message_bytes_max, deadline).await?;
        Ok((message::message(kind, body)?, taken))
    }

    /// Until the client says something: this may take long, and ends with the hub.
    async fn wait(&mut self) -> Result<(), End> {
        let shutdown = self.shutdown.clone();
        let deadline = Instant::now() + self.limits.idle;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(shutting_down()),
            filled = self.fill(1, deadline) => match filled {
                Err(End::Slow) => {
                    let message = "terminating connection due to idle-session timeout";
                    Err(End::Fatal(SqlError::new("57P05", message)))
                }
                filled => filled,
            },
        }
    }

    /// The body of a message whose length stands `at`.
    async fn body(
        &mut self,
        at: usize,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<(Bytes, Option<Taken>), End> {
        self.fill(at + LENGTH_BYTES, deadline).await?;
        let announced = (&self.input[at..]).get_u32() as usize;
        if announced < LENGTH_BYTES {
            return Err(MessageError::Malformed("a length that does not count itself").into());
        }
        if announced > bytes_max {
            return Err(End::TooLarge(announced));
        }
        let taken = self.arrive(at + announced, deadline).await?;
        let mut message = self.input.split_to(at + announced);
        message.advance(at + LENGTH_BYTES);
        Ok((message.freeze(), taken))
    }

    /// Reads until `bytes` are there; large messages out of the budget.
    async fn arrive(&mut self, bytes: usize, deadline: Instant) -> Result<Option<Taken>, End> {
        if bytes <= SMALL_BYTES {
            return self.fill(bytes, deadline).await.map(|()| None);
        }
        let budget = self.budget.clone();
        let claimed = timeout_at(deadline, budget.claim(u32::try_from(bytes).unwrap_or(u32::MAX))).await;
        let Ok(Some(mut taken)) = claimed else { return Err(End::Slow) };
        let mut counted = 0;
        while self.input.len() < bytes {
            let there = self.input.len();
            if timeout_at(deadline, taken.arrived(there - counted)).await.is_err() {
                return Err(End::Slow);
            }
            counted = there;
            self.fill(there + 1, deadline).await?;
        }
        Ok(Some(taken))
    }

    /// Reads until at least `bytes` are there.
    async fn fill(&mut self, bytes: usize, deadline: Instant) -> Result<(), End> {
        while self.input.len() < bytes {
            match timeout_at(deadline, read(&mut self.stream, &mut self.input)).await {
                Ok(Ok(0)) => return Err(End::Gone),
                Ok(read) => drop(read?),
                Err(_) => return Err(End::Slow),
            }
        }
        Ok(())
    }

    /// Returns when the client has gone. Meanwhile what it sends is read ahead, up to a limit.
    pub async fn gone(&mut self) -> End {
        loop {
            if self.input.len() >= AHEAD_BYTES {
                std::future::pending::<()>().await;
            }
            match read(&mut self.stream, &mut self.input).await {
                Ok(0) | Err(_) => return End::Gone,
                Ok(_) => {}
            }
        }
    }

    /// Sends replies when there are many.
    pub async fn relieve(&mut self) -> Result<(), End> {
        if self.out.0.len() < OUTPUT_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Sends all replies. A client that takes nothing for too long is given up.
    pub async fn flush(&mut self) -> Result<(), End> {
        while !self.out.0.is_empty() {
            let deadline = Instant::now() + self.limits.within;
            match timeout_at(deadline, self.stream.write(&self.out.0)).await {
                Ok(Ok(0)) => return Err(End::Gone),
                Ok(written) => self.out.0.advance(written?),
                Err(_) => return Err(End::Slow),
            }
        }
        // One large row must not stay for as long as the connection.
        if self.out.0.capacity() > 4 * OUTPUT_BYTES {
            self.out.0 = BytesMut::new();
        }
        match timeout_at(Instant::now() + self.limits.within, self.stream.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(End::Slow),
        }
    }

    /// The last words, if the client takes them.
    pub async fn farewell(&mut self, error: Option<&SqlError>) {
        if let Some(error) = error {
            self.out.error(Severity::Fatal, error);
        }
        let _ = self.flush().await;
        let _ = tokio::time::timeout(self.limits.within, self.stream.shutdown()).await;
    }
}

async fn read(stream: &mut Box<dyn Stream>, input: &mut BytesMut) -> std::io::Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}
