//! One bidirectional stream: the control stream, a batch, or a query.

use super::Shared;
use super::connection::flush;
use crate::api::metrics::Present;
use crate::ingress::frames::{FrameLimits, Received, read_frame};
use crate::ingress::session::{Close, CloseCode, Control, Request, Session};
use crate::ingress::{Outcome, answer};
use crate::server::now;
use futures::StreamExt;
use headwater::wire::{BatchFrame, Body, FrameKind, Goodbye, Query, encode_frame};
use headwater_sql::Answer;
use headwater_sql::source::CatalogSnapshot;
use quinn::{RecvStream, SendStream, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What the streams of one connection share.
pub(super) struct Peer {
    pub shared: Arc<Shared>,
    pub frames: FrameLimits,
    /// A control stream exists.
    pub is_greeted: AtomicBool,
    /// The session is open.
    pub is_welcomed: AtomicBool,
}

/// Serves one stream. An error is the end of the connection; the peer was told.
pub(super) async fn serve(mut send: SendStream, mut recv: RecvStream, peer: Arc<Peer>) -> Result<(), Close> {
    let result = match read_frame(&mut recv, &peer.frames).await {
        Ok(Some(first)) => dispatch(&mut send, recv, &peer, first).await,
        Ok(None) => Ok(()),
        Err(close) => Err(close),
    };
    if let Err(close) = &result
        && close.code != CloseCode::Done
    {
        let _ = write(&mut send, &close.failure()).await;
    }
    flush(&mut send).await;
    result
}

async fn dispatch(
    send: &mut SendStream,
    recv: RecvStream,
    peer: &Peer,
    first: Received,
) -> Result<(), Close> {
    if first.frame()?.kind == FrameKind::Hello {
        if peer.is_greeted.swap(true, Ordering::Relaxed) {
            return Err(Close::new(CloseCode::Protocol, "a connection has one control stream"));
        }
        return control(send, recv, peer, first).await;
    }
    let request =
        peer.shared.policy.handle_request(&first.frame()?, peer.is_welcomed.load(Ordering::Acquire))?;
    match request {
        Request::Batch(frame) => batch(send, peer, frame, first).await,
        Request::Query(request) => {
            drop(first);
            query(send, peer, request).await
        }
    }
}

/// Sends every outcome of a batch. Its bytes stay in the budget until the hub has decided about them.
async fn batch(send: &mut SendStream, peer: &Peer, frame: BatchFrame, held: Received) -> Result<(), Close> {
    let metrics = &peer.shared.metrics;
    metrics.batches.inc();
    metrics.batch_bytes.inc_by(held.len() as u64);
    let mut outcomes = peer.shared.backend.submit(frame, &peer.shared.policy.limits).await;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Outcome::Ack(ack) => write(send, &ack).await?,
            Outcome::Refused(refused) => {
                metrics.refused(refused.code);
                write(send, &refused).await?;
            }
        }
    }
    drop(held);
    Ok(())
}

async fn query(send: &mut SendStream, peer: &Peer, query: Query) -> Result<(), Close> {
    let stopped = send.stopped();
    let run = async {
        match peer.shared.backend.query(query).await {
            Ok(answer) => rows(send, answer, peer.frames.body_bytes_max).await,
            Err(error) => write(send, &answer::failure(&error)).await,
        }
    };
    // A client that does not want the answer any more stops the stream: so does the query.
    tokio::select! {
        biased;
        result = run => result,
        _ = stopped => Ok(()),
    }
}

async fn rows(send: &mut SendStream, answer: Answer, frame_bytes_max: usize) -> Result<(), Close> {
    let mut frames = answer::frames(answer, frame_bytes_max);
    while let Some(frame) = frames.next().await {
        if !put(send, &frame).await? {
            break;
        }
    }
    Ok(())
}

/// The control stream, until the client finishes it or the hub goes away.
async fn control(send: &mut SendStream, recv: RecvStream, peer: &Peer, first: Received) -> Result<(), Close> {
    let mut catalog = peer.shared.backend.catalog();
    let mut session = Session::new(Arc::clone(&peer.shared.policy));
    let newest = snapshot(&mut catalog);
    control_frame(send, &mut session, peer, first, &newest).await?;
    let _present = Present::new(&peer.shared.metrics.sessions);
    control_loop(send, recv, peer, &mut session, catalog).await
}

async fn control_loop(
    send: &mut SendStream,
    recv: RecvStream,
    peer: &Peer,
    session: &mut Session,
    mut catalog: watch::Receiver<Arc<CatalogSnapshot>>,
) -> Result<(), Close> {
    // Owns the half-read frame across iterations: dropping it would lose bytes.
    let mut reading = Box::pin(read_next(recv, peer.frames.clone()));
    loop {
        tokio::select! {
            biased;
            () = peer.shared.shutdown.cancelled() => {
                return write(send, &Goodbye { reason: "the hub is shutting down".into() }).await;
            }
            Ok(()) = catalog.changed() => {
                if let Some(plans) = session.handle_catalog(&snapshot(&mut catalog))? {
                    write(send, &plans).await?;
                }
            }
            (recv, frame) = &mut reading => {
                let Some(frame) = frame? else { return Ok(()) };
                let newest = snapshot(&mut catalog);
                control_frame(send, session, peer, frame, &newest).await?;
                reading = Box::pin(read_next(recv, peer.frames.clone()));
            }
        }
    }
}

async fn read_next(
    mut recv: RecvStream,
    limits: FrameLimits,
) -> (RecvStream, Result<Option<Received>, Close>) {
    let frame = read_frame(&mut recv, &limits).await;
    (recv, frame)
}

/// The newest catalog, marked as seen.
fn snapshot(catalog: &mut watch::Receiver<Arc<CatalogSnapshot>>) -> Arc<CatalogSnapshot> {
    Arc::clone(&catalog.borrow_and_update())
}

async fn control_frame(
    send: &mut SendStream,
    session: &mut Session,
    peer: &Peer,
    received: Received,
    catalog: &CatalogSnapshot,
) -> Result<(), Close> {
    match session.handle_control(&received.frame()?, now(), catalog)? {
        Control::Welcome(welcome) => {
            // Before the peer can have it: its first batch may be here at once.
            peer.is_welcomed.store(true, Ordering::Release);
            write(send, &*welcome).await
        }
        Control::Clock(reply) => write(send, &reply).await,
        Control::Resume(resume) => match peer.shared.backend.resume(resume).await {
            Ok(resumed) => write(send, &resumed).await,
            Err(refused) => {
                peer.shared.metrics.refused(refused.code);
                write(send, &refused).await
            }
        },
    }
}

async fn write<T: Body>(send: &mut SendStream, body: &T) -> Result<(), Close> {
    put(send, &encode_frame(body)).await.map(|_| ())
}

/// False when the peer does not want the rest of this stream; that is no quarrel with the hub.
async fn put(send: &mut SendStream, bytes: &[u8]) -> Result<bool, Close> {
    match send.write_all(bytes).await {
        Ok(()) => Ok(true),
        Err(WriteError::Stopped(_)) => Ok(false),
        Err(error) => Err(Close::new(CloseCode::Done, error.to_string())),
    }
}
