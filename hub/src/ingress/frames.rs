//! Whole frames from a stream of bytes, with their limits kept before anything is buffered.
//!
//! Owns: when to give up on a peer that is too large, too slow or out of step. Must not know: what frames
//! mean. Invariant: a header's claim comes out of its own connection's [`Budget`] only; memory, and what is
//! taken from the hub's, grow with the bytes that arrived.

use super::budget::{Budget, Taken};
use super::session::{Close, CloseCode};
use headwater::codec::Reader;
use headwater::wire::{FRAME_HEADER_BYTES_MAX, Frame};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// Bytes of a body that are read at a time, at least and at most; between them, as many as have arrived.
const STEP: (usize, usize) = (1024, 64 * 1024);

/// What a reader keeps.
#[derive(Clone, Debug)]
pub struct FrameLimits {
    /// Longest body, bytes.
    pub body_bytes_max: usize,
    /// For a frame's header, once begun, and again for its body; waiting for the hub's budget is not counted,
    /// but also no longer than this.
    pub complete_within: Duration,
    /// Where the bytes of bodies come from.
    pub budget: Budget,
}

/// A frame's bytes, and their share of the budget for as long as they are kept.
#[derive(Debug)]
pub struct Received {
    bytes: Vec<u8>,
    body_bytes_max: usize,
    _taken: Taken,
}

impl Received {
    /// The frame.
    ///
    /// # Errors
    /// Never: [`read_frame`] has checked the header and read the whole body.
    pub fn frame(&self) -> Result<Frame<'_>, Close> {
        Ok(Frame::read_only(&self.bytes, self.body_bytes_max)?)
    }

    /// All bytes, header included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a frame has a header.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The next frame; `None` when the stream ended before one began.
///
/// # Errors
/// [`CloseCode::Malformed`], [`CloseCode::Version`] or [`CloseCode::TooLarge`] for what is no frame within the limits,
/// [`CloseCode::Slow`] for one that takes too long, [`CloseCode::Busy`] when the hub has no room for it in time,
/// [`CloseCode::Done`] when the stream breaks or the hub is going away.
pub async fn read_frame<R>(source: &mut R, limits: &FrameLimits) -> Result<Option<Received>, Close>
where
    R: AsyncRead + Unpin,
{
    let mut first = [0];
    match source.read(&mut first).await {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(lost(&error)),
    }
    let (mut bytes, length) = within(limits, read_header(source, first[0], limits.body_bytes_max)).await?;
    let claim = u32::try_from(bytes.len() + length).unwrap_or(u32::MAX);
    let taken = limits.budget.claim(claim).await;
    let mut taken = taken.ok_or_else(|| Close::new(CloseCode::Done, "the hub is going away"))?;
    read_body(source, length, &mut bytes, limits, &mut taken).await?;
    Ok(Some(Received { bytes, body_bytes_max: limits.body_bytes_max, _taken: taken }))
}

async fn within<T>(limits: &FrameLimits, step: impl Future<Output = Result<T, Close>>) -> Result<T, Close> {
    tokio::time::timeout(limits.complete_within, step).await.unwrap_or_else(|_| Err(slow()))
}

fn slow() -> Close {
    Close::new(CloseCode::Slow, "a frame was begun and not completed in time")
}

/// The header's bytes and the length of the body.
async fn read_header<R>(source: &mut R, first: u8, body_bytes_max: usize) -> Result<(Vec<u8>, usize), Close>
where
    R: AsyncRead + Unpin,
{
    let mut bytes = vec![first];
    loop {
        if let Some(length) = body_length(&bytes, body_bytes_max)? {
            return Ok((bytes, length));
        }
        bytes.push(source.read_u8().await.map_err(|e| lost(&e))?);
    }
}

async fn read_body<R>(
    source: &mut R,
    length: usize,
    bytes: &mut Vec<u8>,
    limits: &FrameLimits,
    taken: &mut Taken,
) -> Result<(), Close>
where
    R: AsyncRead + Unpin,
{
    let mut deadline = Instant::now() + limits.complete_within;
    let mut source = source.take(length as u64);
    while source.limit() > 0 {
        let step = bytes.len().clamp(STEP.0, STEP.1);
        bytes.reserve(step.min(usize::try_from(source.limit()).unwrap_or(step)));
        let read = tokio::time::timeout_at(deadline, source.read_buf(bytes)).await;
        match read.map_err(|_| slow())?.map_err(|e| lost(&e))? {
            0 => return Err(Close::new(CloseCode::Malformed, "truncated")),
            arrived => {
                let begun = Instant::now();
                let room = tokio::time::timeout(limits.complete_within, taken.arrived(arrived)).await;
                room.map_err(|_| Close::new(CloseCode::Busy, "the hub has no room for more frames"))?;
                deadline += begun.elapsed();
            }
        }
    }
    Ok(())
}

/// The body's length, once `header` is complete. Anything that is not the beginning of a frame is refused.
fn body_length(header: &[u8], body_bytes_max: usize) -> Result<Option<usize>, Close> {
    if let Some((_, length)) = Frame::read(header, body_bytes_max)? {
        debug_assert_eq!(length, header.len());
        return Ok(Some(0));
    }
    if header.len() > FRAME_HEADER_BYTES_MAX {
        return Err(Close::new(CloseCode::TooLarge, "frame is above its limit"));
    }
    // The checks of magic, kind, version and limit are behind us: what is missing is the length or the body.
    let length = header.get(3..).and_then(|varint| Reader::new(varint).varint().ok());
    Ok(length.and_then(|length| usize::try_from(length).ok()))
}

fn lost(error: &std::io::Error) -> Close {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Close::new(CloseCode::Malformed, "truncated"),
        _ => Close::new(CloseCode::Done, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::ids::Micros;
    use headwater::wire::{ClockRequest, FrameKind, Query, encode_frame};

    fn limits(body_bytes_max: usize) -> FrameLimits {
        FrameLimits { body_bytes_max, complete_within: Duration::from_secs(5), budget: Budget::new(10_000) }
    }

    async fn read(mut bytes: &[u8], max: usize) -> Result<Option<Received>, Close> {
        read_frame(&mut bytes, &limits(max)).await
    }

    #[tokio::test]
    async fn frames_follow_each_other() {
        let mut bytes = encode_frame(&ClockRequest { sent: Micros(1) });
        let long = Query { sql: "x".repeat(3000), ..Query::default() };
        bytes.extend(encode_frame(&long));
        let mut source = bytes.as_slice();
        let limits = limits(4000);
        let first = read_frame(&mut source, &limits).await.expect("frame").expect("first");
        assert_eq!(first.frame().expect("whole").kind, FrameKind::ClockRequest);
        let second = read_frame(&mut source, &limits).await.expect("frame").expect("second");
        assert_eq!(second.frame().expect("whole").decode::<Query>(), Ok(long));
        assert!(read_frame(&mut source, &limits).await.expect("end").is_none());
    }

    #[tokio::test]
    async fn what_is_not_a_frame_is_refused_at_its_first_wrong_byte() {
        for (bytes, code) in [
            (&b"GET / HTTP/1.1"[..], CloseCode::Malformed),
            (&[0x48, 99, 1, 0], CloseCode::Malformed),
            (&[0x48, 1, 2, 0], CloseCode::Version),
            (&[0x48, 1, 1], CloseCode::Malformed),
            (&[0x48, 1, 1, 5, 0], CloseCode::Malformed),
            (&[0x48, 1, 1, 0x80, 0x00], CloseCode::Malformed),
            (&[0x48, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], CloseCode::TooLarge),
            (&[0x48, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CloseCode::TooLarge),
        ] {
            assert_eq!(read(bytes, 100).await.expect_err("refused").code, code, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_in_steps_and_given_back() {
        let limits = limits(9000);
        let long = encode_frame(&Query { sql: "x".repeat(8000), ..Query::default() });
        for _ in 0..20 {
            let frame = read_frame(&mut long.as_slice(), &limits).await.expect("frame").expect("first");
            assert_eq!(frame.len(), long.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_without_room_says_so_and_not_that_the_peer_is_slow() {
        let hub = Budget::new(4000);
        let long = encode_frame(&Query { sql: "x".repeat(3500), ..Query::default() });
        let limits = |_| FrameLimits { budget: hub.within(9000), ..limits(9000) };
        let mut held = Vec::new();
        loop {
            match read_frame(&mut long.as_slice(), &limits(())).await {
                Ok(frame) => held.push(frame),
                Err(close) => break assert_eq!(close.code, CloseCode::Busy),
            }
            assert!(held.len() < 10, "more than the budget is held");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_is_never_completed_is_given_up() {
        let (mut peer, mut source) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut peer, &[0x48, 1, 1, 50, 0]).await.expect("write");
        assert_eq!(read_frame(&mut source, &limits(100)).await.expect_err("slow").code, CloseCode::Slow);
    }
}
