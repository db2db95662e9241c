//! A producer made by hand: it sends what a test wants, right or wrong, one HTTP request per frame.

use crate::harness::Hub;
use headwater::emit::EventBuffer;
use headwater::ids::{Micros, Pid, RouteVersion, Seq};
use headwater::limits::BatchLimits;
use headwater::rollup::{Rollup, RollupOptions};
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{
    Ack, AckLevel, BatchFrame, Body, Failure, Frame, FrameKind, Hello, Refused, Resume, Resumed, StreamPlans,
    Welcome, encode_frame,
};
use serde::Serialize;

const FRAME_BYTES_MAX: usize = 4 << 20;

/// What the hub said to a batch.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It is safe.
    Ack(Ack),
    /// It is not taken.
    Refused(Refused),
    /// The frame itself was refused: an HTTP status, and why.
    Failed(u16, Failure),
    /// Not an answer to a batch.
    Other(u16),
}

impl Answer {
    /// The stable code of a refusal.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refused) => refused.code.code(),
            Self::Ack(_) => "ack",
            Self::Failed(_, failure) => &failure.code,
            Self::Other(_) => "status",
        }
    }
}

/// Opens a session for one stream.
pub fn session(hub: &Hub, stream: &str) -> Welcome {
    let hello =
        Hello { versions: vec![1], streams: vec![stream.into()], capabilities: 1, ..Hello::default() };
    let (status, body) = send(hub, "/v1/session", &encode_frame(&hello));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    decode(&body)
}

/// Asks what the hub holds.
pub fn resume(hub: &Hub, pid: Pid, low_water: Seq) -> Resumed {
    let (status, body) = send(hub, "/v1/resume", &encode_frame(&Resume { pid, low_water }));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    decode(&body)
}

/// Sends raw bytes as a batch frame.
pub fn send_batch_bytes(hub: &Hub, bytes: &[u8]) -> Answer {
    send_bytes(hub, "/v1/batch", bytes)
}

/// Sends raw bytes to any of the routes for frames.
pub fn send_bytes(hub: &Hub, path: &str, bytes: &[u8]) -> Answer {
    let (status, body) = send(hub, path, bytes);
    let Ok(frame) = Frame::read_only(&body, FRAME_BYTES_MAX) else { return Answer::Other(status) };
    match frame.kind {
        FrameKind::Ack => Answer::Ack(frame.decode().expect("an ack")),
        FrameKind::Refused => Answer::Refused(frame.decode().expect("a refusal")),
        FrameKind::Failure => Answer::Failed(status, frame.decode().expect("a failure")),
        _ => Answer::Other(status),
    }
}

fn send(hub: &Hub, path: &str, bytes: &[u8]) -> (u16, Vec<u8>) {
    hub.post(path, "application/octet-stream", bytes)
}

fn decode<T: Body>(bytes: &[u8]) -> T {
    let frame = Frame::read_only(bytes, FRAME_BYTES_MAX).expect("one frame");
    assert_eq!(frame.kind, T::KIND);
    frame.decode().expect("a body of its kind")
}

/// A producer with an identity, whose batches are made from events.
pub struct Producer {
    /// Its identity.
    pub pid: Pid,
    /// The stream's schema and plans.
    pub plans: StreamPlans,
    /// The next batch's number.
    pub next: u64,
    /// Its lowest unacked batch.
    pub low_water: u64,
}

impl Producer {
    /// Opens a session and takes its plans.
    pub fn new(hub: &Hub, stream: &str, identity: u8) -> Self {
        let welcome = session(hub, stream);
        let birth_ms = welcome.time.millis() as u64;
        let plans = welcome.streams.into_iter().next().expect("a known stream");
        Self { pid: Pid::new(birth_ms, [identity; 10]), plans, next: 1, low_water: 1 }
    }

    /// The batch payload of these events.
    pub fn payload<T: Serialize>(&self, events: &[T]) -> Vec<u8> {
        let mut buffer = EventBuffer::new(self.plans.schema.clone());
        events.iter().for_each(|event| buffer.push(event, Micros(0)).expect("an event of the stream"));
        let mut rollup = Rollup::new(self.plans.schema.clone(), RollupOptions::default());
        assert!(rollup.set_plans(self.plans.schema.clone(), self.plans.plans.clone()).is_empty());
        rollup.push(buffer.batch());
        let partials = rollup.drain();
        let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
        let ledger = LedgerDelta { events: events.len() as u64, ..LedgerDelta::default() };
        let mut batches = encode_payloads(&ledger, &sections, &BatchLimits::NATIVE);
        assert_eq!(batches.payloads.len(), 1, "one batch");
        batches.payloads.remove(0).bytes
    }

    /// The next batch's frame.
    pub fn frame<T: Serialize>(&mut self, events: &[T]) -> BatchFrame {
        let payload = self.payload(events);
        let frame = BatchFrame {
            pid: self.pid,
            seq: Seq(self.next),
            low_water: Seq(self.low_water),
            route: RouteVersion(0),
            level: AckLevel::Durable,
            backfill: false,
            payload,
        };
        self.next += 1;
        frame
    }
}

/// Sends a batch.
pub fn send_batch(hub: &Hub, frame: &BatchFrame) -> Answer {
    send_batch_bytes(hub, &encode_frame(frame))
}
