//! Framing: how a control body or a batch becomes bytes on a stream or in an HTTP body, and back.
//!
//! Owns: the frame header, [`FrameDecoder`], canonical control bodies, the batch body. Must not know:
//! sockets, sessions, what a frame leads to.
//! Invariants: a length is checked against its limit before anything is buffered for it; every frame has
//! one encoding, so a body is encoded again and compared after it was decoded; unknown kinds, newer
//! versions and trailing bytes are refused. Normative text: `FORMAT.md`, "Frames".

use super::lean::{self, Lean};
use super::{
    Ack, AckLevel, BatchFrame, ClockReply, ClockRequest, Failure, FrameKind, Goodbye, Hello, Plans, Query,
    Refused, Resume, Resumed, Rows, RowsEnd, RowsHeader, Welcome,
};
use crate::codec::{DecodeError, Reader, Writer};
use crate::flavor::LEAN_FRAMES;
use crate::ids::{Pid, RouteVersion, Seq};
use alloc::vec::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of every frame: `H`.
pub const FRAME_MAGIC: u8 = 0x48;
/// The version every frame of this build carries; readers refuse newer ones.
pub const FRAME_VERSION: u8 = 1;
/// Magic, kind, version and the longest length this build accepts (4 bytes hold 256 MiB).
pub const FRAME_HEADER_BYTES_MAX: usize = 3 + 5;
/// The most a batch body adds to its payload: pid, three varints, level.
pub const BATCH_HEADER_BYTES_MAX: usize = 16 + 10 + 1 + 5 + 1;
/// How far a batch may be ahead of its producer's lowest unacked one (C3).
pub const SEQ_WINDOW: u64 = 64;

impl FrameKind {
    /// All kinds, in tag order.
    pub const ALL: [Self; 16] = [
        Self::Hello,
        Self::Welcome,
        Self::Plans,
        Self::Resume,
        Self::Resumed,
        Self::Batch,
        Self::Ack,
        Self::Refused,
        Self::ClockRequest,
        Self::ClockReply,
        Self::Query,
        Self::RowsHeader,
        Self::Rows,
        Self::RowsEnd,
        Self::Failure,
        Self::Goodbye,
    ];

    /// The kind of a tag byte.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag).wrapping_sub(1)).copied()
    }
}

impl AckLevel {
    /// The level of a tag byte.
    pub fn from_tag(tag: u8) -> Option<Self> {
        [Self::Received, Self::Durable, Self::Replicated].get(usize::from(tag)).copied()
    }
}

/// What a frame can carry.
pub trait Body: Sized {
    /// The kind of frame that carries it.
    const KIND: FrameKind;

    /// Appends the canonical bytes.
    fn encode_body(&self, out: &mut Vec<u8>);

    /// Reads all of `body`; bytes that [`Body::encode_body`] would not write are refused.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Trailing`], [`DecodeError::Overlong`],
    /// [`DecodeError::TooLarge`], [`DecodeError::Invalid`].
    fn decode_body(body: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! control_bodies {
    ($($body:ident: $encode:path, $decode:path;)*) => {$(
        impl Body for $body {
            const KIND: FrameKind = FrameKind::$body;

            fn encode_body(&self, out: &mut Vec<u8>) {
                $encode(self, out);
            }

            fn decode_body(body: &[u8]) -> Result<Self, DecodeError> {
                $decode(body)
            }
        }
    )*};
}

control_bodies!(
    Hello: lean::put, decode_control;
    Welcome: encode_control, decode_from_hub;
    Plans: encode_control, decode_from_hub;
    Resume: lean::put, decode_control;
    Resumed: encode_control, decode_from_hub;
    Ack: encode_control, decode_from_hub;
    Refused: encode_control, decode_from_hub;
    ClockRequest: lean::put, decode_control;
    ClockReply: encode_control, decode_from_hub;
    Query: encode_control, decode_control;
    RowsHeader: encode_control, decode_control;
    Rows: encode_control, decode_control;
    RowsEnd: encode_control, decode_control;
    Failure: encode_control, decode_from_hub;
    Goodbye: encode_control, decode_from_hub;
);

/// Reads what hubs send to producers; pages do so without serde.
fn decode_from_hub<T: Lean + Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if LEAN_FRAMES { lean::read_all(body) } else { decode_control(body) }
}

/// Appends `value` as postcard: the encoding of control bodies and of plans.
pub fn encode_control<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let result = postcard::serialize_with_flavor(value, Append(out));
    // Appending to memory cannot fail, and no body has a sequence of unknown length.
    debug_assert!(result.is_ok());
}

/// Reads postcard strictly: no trailing bytes, and one encoding per value (postcard alone accepts overlong varints).
///
/// Memory: at most what the body's own length justifies. Nesting follows the types, so bodies that hold
/// nested types or values (plans, rows) are only ever read from an authenticated hub.
///
/// # Errors
/// [`DecodeError::Truncated`], [`DecodeError::Trailing`]; [`DecodeError::Overlong`] for another encoding of a value;
/// [`DecodeError::Invalid`] for anything else that is no `T`.
pub fn decode_control<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes::<T>(body).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
        postcard::Error::DeserializeBadVarint => DecodeError::Overlong,
        _ => DecodeError::Invalid("control body"),
    })?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    postcard::serialize_with_flavor(&value, Compare(body)).map_err(|_| DecodeError::Overlong)?;
    Ok(value)
}

struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Checks that what is written equals the bytes given, without keeping a second copy.
struct Compare<'a>(&'a [u8]);

impl postcard::ser_flavors::Flavor for Compare<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}

/// The bit beside the ack level that marks a backfill.
const BACKFILL: u8 = 0x80;

impl Body for BatchFrame {
    const KIND: FrameKind = FrameKind::Batch;

    /// # Panics
    /// When `low_water` is above `seq` or [`SEQ_WINDOW`] or more below: the sender broke rule C3.
    fn encode_body(&self, out: &mut Vec<u8>) {
        let behind = self.seq.0.checked_sub(self.low_water.0).filter(|b| *b < SEQ_WINDOW);
        assert!(behind.is_some(), "seq does not fit low water");
        out.reserve(BATCH_HEADER_BYTES_MAX + self.payload.len());
        out.extend_from_slice(&self.pid.0);
        out.put_varint(self.seq.0);
        out.push(behind.unwrap_or(0) as u8);
        out.put_varint(u64::from(self.route.0));
        out.push(self.level as u8 | if self.backfill { BACKFILL } else { 0 });
        out.extend_from_slice(&self.payload);
    }

    fn decode_body(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let pid = Pid(reader.array()?);
        let seq = reader.varint()?;
        let behind = u64::from(reader.u8()?);
        let route = u32::try_from(reader.varint()?).map_err(|_| DecodeError::TooLarge("route version"))?;
        let flags = reader.u8()?;
        let level = AckLevel::from_tag(flags & !BACKFILL).ok_or(DecodeError::Invalid("ack level"))?;
        if seq == 0 || behind >= SEQ_WINDOW || behind >= seq {
            return Err(DecodeError::Invalid("seq"));
        }
        Ok(Self {
            pid,
            seq: Seq(seq),
            low_water: Seq(seq - behind),
            route: RouteVersion(route),
            level,
            backfill: flags & BACKFILL != 0,
            payload: reader.peek_rest().to_vec(),
        })
    }
}

/// A frame whose body was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// Its bytes.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads one frame at the start of `bytes`; `None` when more bytes are needed. Returns the frame and
    /// the bytes it takes. `body_bytes_max` is checked as soon as the length is known.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] when it is no frame; [`DecodeError::TooNew`] for a later version of frames;
    /// [`DecodeError::TooLarge`] above `body_bytes_max`; [`DecodeError::Overlong`] for the length.
    pub fn read(bytes: &'a [u8], body_bytes_max: usize) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut reader = Reader::new(bytes);
        match Self::header(&mut reader, body_bytes_max) {
            Ok((kind, length)) => match reader.bytes(length) {
                Ok(body) => Ok(Some((Self { kind, body }, bytes.len() - reader.remaining()))),
                Err(_) => Ok(None),
            },
            Err(DecodeError::Truncated) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `bytes` as exactly one frame: an HTTP body, a datagram.
    ///
    /// # Errors
    /// Those of [`Frame::read`]; [`DecodeError::Truncated`] or [`DecodeError::Trailing`] when it is less or more than one.
    pub fn read_only(bytes: &'a [u8], body_bytes_max: usize) -> Result<Self, DecodeError> {
        let (frame, length) = Self::read(bytes, body_bytes_max)?.ok_or(DecodeError::Truncated)?;
        if length == bytes.len() { Ok(frame) } else { Err(DecodeError::Trailing) }
    }

    /// Reads the body as `T`; another kind is refused.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for another kind; those of [`Body::decode_body`].
    pub fn decode<T: Body>(&self) -> Result<T, DecodeError> {
        if self.kind == T::KIND { T::decode_body(self.body) } else { Err(DecodeError::Invalid("frame kind")) }
    }

    /// Reads a hub's frame as pages do, without serde, and encodes what was read; `None` when hubs send no such frame
    /// to producers. For fuzzing, which compares it with [`Frame::decode`].
    #[doc(hidden)]
    pub fn recode_as_pages(&self) -> Option<Result<Vec<u8>, DecodeError>> {
        fn recode<T: Body + Lean>(body: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
            Some(lean::read_all::<T>(body).map(|body| encode_frame(&body)))
        }
        match self.kind {
            FrameKind::Welcome => recode::<Welcome>(self.body),
            FrameKind::Plans => recode::<Plans>(self.body),
            FrameKind::Resumed => recode::<Resumed>(self.body),
            FrameKind::Ack => recode::<Ack>(self.body),
            FrameKind::Refused => recode::<Refused>(self.body),
            FrameKind::ClockReply => recode::<ClockReply>(self.body),
            FrameKind::Failure => recode::<Failure>(self.body),
            FrameKind::Goodbye => recode::<Goodbye>(self.body),
            _ => None,
        }
    }

    fn header(reader: &mut Reader<'_>, body_bytes_max: usize) -> Result<(FrameKind, usize), DecodeError> {
        if reader.u8()? != FRAME_MAGIC {
            return Err(DecodeError::Invalid("frame magic"));
        }
        let kind = FrameKind::from_tag(reader.u8()?).ok_or(DecodeError::Invalid("frame kind"))?;
        match reader.u8()? {
            FRAME_VERSION => {}
            0 => return Err(DecodeError::Invalid("frame version")),
            _ => return Err(DecodeError::TooNew),
        }
        let length = usize::try_from(reader.varint()?).map_err(|_| DecodeError::TooLarge("frame"))?;
        if length > body_bytes_max { Err(DecodeError::TooLarge("frame")) } else { Ok((kind, length)) }
    }
}

/// Appends a whole frame.
pub fn encode_frame_into<T: Body>(body: &T, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    body.encode_body(&mut bytes);
    out.reserve(FRAME_HEADER_BYTES_MAX + bytes.len());
    out.extend_from_slice(&[FRAME_MAGIC, T::KIND as u8, FRAME_VERSION]);
    out.put_blob(&bytes);
}

/// A whole frame.
pub fn encode_frame<T: Body>(body: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame_into(body, &mut out);
    out
}

/// Cuts a stream of bytes into frames.
///
/// Call order: [`push`](Self::push) what arrived, then [`next_frame`](Self::next_frame) until it has none;
/// at the end of the stream [`finish`](Self::finish). Memory: the bytes of the frames pushed and not taken,
/// at most the limit for one frame plus what one `push` brought. After an error the stream is out of step:
/// drop it.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    taken: usize,
    body_bytes_max: usize,
}

impl FrameDecoder {
    /// Refuses frames whose body is longer than `body_bytes_max`.
    pub fn new(body_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), taken: 0, body_bytes_max }
    }

    /// Changes the limit, for frames not taken yet.
    pub fn set_body_bytes_max(&mut self, body_bytes_max: usize) {
        self.body_bytes_max = body_bytes_max;
    }

    /// Adds bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// Those of [`Frame::read`].
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, DecodeError> {
        let Some((frame, length)) = Frame::read(&self.buffer[self.taken..], self.body_bytes_max)? else {
            return Ok(None);
        };
        self.taken += length;
        Ok(Some(frame))
    }

    /// True when bytes of an unfinished frame are held.
    pub fn is_partial(&self) -> bool {
        self.taken < self.buffer.len()
    }

    /// Refuses a stream that ended inside a frame.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when it did.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_partial() { Err(DecodeError::Truncated) } else { Ok(()) }
    }
}
