//! One connection: its control stream, its requests, its end.

use super::Shared;
use super::stream::{self, Peer};
use crate::ingress::session::{Close, CloseCode};
use quinn::{Connection, VarInt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// How long a peer may take to acknowledge the hub's last words before the connection closes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until the peer, an error or the hub ends it.
pub(super) async fn serve(connection: Connection, shared: Arc<Shared>) {
    let peer = Arc::new(Peer {
        frames: shared.frames(),
        shared: Arc::clone(&shared),
        is_greeted: AtomicBool::new(false),
        is_welcomed: AtomicBool::new(false),
    });
    let mut streams = JoinSet::new();
    let idle = Duration::from_millis(shared.limits.idle_ms);
    let mut quiet_until = Instant::now() + peer.frames.complete_within;
    let end = loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break drain(&mut streams).await,
            Some(ended) = streams.join_next() => if let Err(close) = outcome(ended) { break close },
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    quiet_until = Instant::now() + idle;
                    streams.spawn(stream::serve(send, recv, Arc::clone(&peer)));
                }
                Err(error) => break Close::new(CloseCode::Done, error.to_string()),
            },
            // The hub's keep-alives would let strangers who say nothing hold their places for ever.
            () = tokio::time::sleep_until(quiet_until) => {
                if streams.is_empty() && !peer.is_welcomed.load(Ordering::Acquire) {
                    break Close::new(CloseCode::Slow, "no session was opened in time");
                }
                quiet_until = Instant::now() + idle;
            }
        }
    };
    finish(&connection, &end, &shared);
}

/// Lets every stream finish; new ones are not accepted any more. The door bounds how long this takes.
async fn drain(streams: &mut JoinSet<Result<(), Close>>) -> Close {
    while streams.join_next().await.is_some() {}
    Close::new(CloseCode::Done, "the hub is going away")
}

fn outcome(ended: Result<Result<(), Close>, JoinError>) -> Result<(), Close> {
    match ended {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a stream's task ended badly");
            Err(Close::new(CloseCode::Protocol, "internal error"))
        }
    }
}

fn finish(connection: &Connection, end: &Close, shared: &Shared) {
    let peer = connection.remote_address();
    if end.code == CloseCode::Done {
        tracing::debug!(%peer, reason = end.message, "connection ended");
    } else {
        shared.metrics.session_ended(end.code);
        tracing::warn!(%peer, code = end.code.code(), reason = end.message, "connection closed");
    }
    connection.close(VarInt::from_u32(end.code as u32), end.message.as_bytes());
}

/// Sends a stream's end and waits until the peer has it all, so that closing the connection loses nothing.
pub(super) async fn flush(send: &mut quinn::SendStream) {
    let _ = send.finish();
    let _ = tokio::time::timeout(LAST_WORDS, send.stopped()).await;
}
