//! Log records: what a shard group's log holds, byte by byte.
//!
//! All integers little-endian: magic `HWLG`, kind u8, version u8, zero u16, epoch u64, lsn u64, time i64
//! (the primary's clock at the append, microseconds), the body of the kind, chain 16 bytes.
//! `D` body, version 2: pid 16, seq u64, low_water u64, route u32, zero u32, late_max u32, future_skew u32 (the
//! window it was admitted by, seconds; late_max `ff ff ff ff`: any age), payload hash u64, payload (the rest).
//! Version 1 had no window. `X` body, version 1: min_birth u64 (ms). The chain is xxh3-128 of the previous record's chain and of all bytes before it:
//! it is the record's checksum, and equal chains at one lsn mean equal logs up to there.

use headwater::codec::{DecodeError, Reader};
use headwater::ids::{Dot, Epoch, Lsn, Micros, Pid, RouteVersion, Seq, ShardGroupId, ViewId};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: [u8; 4] = *b"HWLG";
/// Of `D`.
const DATA_VERSION: u8 = 2;
/// Of `X`, and of `D` before windows were recorded.
const VERSION: u8 = 1;
const ANY_AGE: u32 = u32::MAX;
const DATA: u8 = b'D';
const EXPIRE: u8 = b'X';
const CHAIN_BYTES: usize = 16;
/// Bytes of a `D` record without its payload.
pub const DATA_OVERHEAD_BYTES: usize = 32 + 56 + CHAIN_BYTES;

/// The hash that links a record to all records before it. The chain of an empty log is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u128);

/// One record, borrowing its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The primary's epoch at the append.
    pub epoch: Epoch,
    /// Its position.
    pub lsn: Lsn,
    /// The primary's clock at the append: what replays decide by, so that they decide alike.
    pub time: Micros,
    /// What happened.
    pub body: Body<'a>,
}

/// The producer of what the folds of one shard group change in one view, for the views that read it. It is born when
/// time ends, so that no door takes a batch of its name (P2). Its batches are numbered by the folds' lsn.
pub fn output_pid(view: ViewId, group: ShardGroupId, epoch: Epoch) -> Pid {
    let mut name = [0; 10];
    name[..4].copy_from_slice(&view.0.to_be_bytes());
    name[4..6].copy_from_slice(&group.0.to_be_bytes());
    // Epochs count starts of the hub: four bytes are enough for ever.
    name[6..].copy_from_slice(&(epoch.0 as u32).to_be_bytes());
    Pid::new(OUTPUT_BIRTH, name)
}

/// True for the producers that folds are.
pub fn is_output(pid: &Pid) -> bool {
    pid.birth_ms() == OUTPUT_BIRTH
}

/// 48 ones.
const OUTPUT_BIRTH: u64 = (1 << 48) - 1;

/// Which time buckets of `arrival_timestamp` a batch may name, around the record's time: the rest of its groups
/// was not taken, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How far in the past a bucket may end, seconds; `None` = any age.
    pub late_max: Option<u32>,
    /// How far in the future one may start, seconds.
    pub future_skew: u32,
}

impl Window {
    /// Takes any time.
    pub const ANY: Self = Self { late_max: None, future_skew: u32::MAX };

    /// Rounds up to seconds.
    pub fn new(late_max: Option<Duration>, future_skew: Duration) -> Self {
        let seconds = |d: Duration| d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0));
        let seconds = |d| u32::try_from(seconds(d)).unwrap_or(u32::MAX).min(ANY_AGE - 1);
        Self { late_max: late_max.map(seconds), future_skew: seconds(future_skew) }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A batch was taken.
    Data {
        /// Its name.
        dot: Dot,
        /// The producer's lowest unacked batch.
        low_water: Seq,
        /// The route version of its first transmission.
        route: RouteVersion,
        /// Which time buckets were taken; `None` in records of version 1.
        window: Option<Window>,
        /// What tells two payloads of one dot apart.
        payload_hash: u64,
        /// The frozen bytes.
        payload: &'a [u8],
    },
    /// Producers born before `min_birth` (ms) are forgotten (P9).
    Expire {
        /// The oldest birth still taken.
        min_birth: u64,
    },
}

impl Record<'_> {
    /// The record's bytes behind `previous`, and its own chain.
    pub fn encode(&self, previous: Chain) -> (Vec<u8>, Chain) {
        let payload_bytes = match &self.body {
            Body::Data { payload, .. } => payload.len(),
            Body::Expire { .. } => 0,
        };
        let mut out = Vec::with_capacity(DATA_OVERHEAD_BYTES + payload_bytes);
        out.extend_from_slice(&MAGIC);
        out.push(if matches!(self.body, Body::Data { .. }) { DATA } else { EXPIRE });
        let is_windowed = matches!(self.body, Body::Data { window: Some(_), .. });
        out.extend_from_slice(&[if is_windowed { DATA_VERSION } else { VERSION }, 0, 0]);
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.lsn.0.to_le_bytes());
        out.extend_from_slice(&self.time.0.to_le_bytes());
        match &self.body {
            Body::Data { dot, low_water, route, window, payload_hash, payload } => {
                out.extend_from_slice(&dot.pid.0);
                out.extend_from_slice(&dot.seq.0.to_le_bytes());
                out.extend_from_slice(&low_water.0.to_le_bytes());
                out.extend_from_slice(&route.0.to_le_bytes());
                out.extend_from_slice(&[0; 4]);
                if let Some(window) = window {
                    out.extend_from_slice(&window.late_max.unwrap_or(ANY_AGE).to_le_bytes());
                    out.extend_from_slice(&window.future_skew.to_le_bytes());
                }
                out.extend_from_slice(&payload_hash.to_le_bytes());
                out.extend_from_slice(payload);
            }
            Body::Expire { min_birth } => out.extend_from_slice(&min_birth.to_le_bytes()),
        }
        let chain = link(previous, &out);
        out.extend_from_slice(&chain.0.to_le_bytes());
        (out, chain)
    }
}

fn link(previous: Chain, bytes: &[u8]) -> Chain {
    let mut hasher = Xxh3::new();
    hasher.update(&previous.0.to_le_bytes());
    hasher.update(bytes);
    Chain(hasher.digest128())
}

/// Reads a record that follows `previous`; returns it with its own chain.
///
/// # Errors
/// [`DecodeError::Checksum`] when the bytes are damaged or follow another record.
pub fn decode(bytes: &[u8], previous: Chain) -> Result<(Record<'_>, Chain), DecodeError> {
    let at = bytes.len().checked_sub(CHAIN_BYTES).ok_or(DecodeError::Truncated)?;
    let (body, chain) = bytes.split_at(at);
    let record = parse(body)?;
    let expected = link(previous, body);
    if expected.0.to_le_bytes() != chain {
        return Err(DecodeError::Checksum);
    }
    Ok((record, expected))
}

fn parse(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(DecodeError::Invalid("log record magic"));
    }
    let kind = reader.u8()?;
    let newest = if kind == DATA { DATA_VERSION } else { VERSION };
    let version = match reader.array::<3>()? {
        [version, ..] if version > newest => return Err(DecodeError::TooNew),
        [version, 0, 0] if version > 0 => version,
        _ => return Err(DecodeError::Invalid("log record version")),
    };
    let epoch = Epoch(reader.u64()?);
    let lsn = Lsn(reader.u64()?);
    let time = Micros(i64::from_le_bytes(reader.array()?));
    let body = match kind {
        DATA => parse_data(&mut reader, version)?,
        EXPIRE => Body::Expire { min_birth: reader.u64()? },
        _ => return Err(DecodeError::Invalid("log record kind")),
    };
    reader.finish()?;
    Ok(Record { epoch, lsn, time, body })
}

fn parse_data<'a>(reader: &mut Reader<'a>, version: u8) -> Result<Body<'a>, DecodeError> {
    let pid = Pid(reader.array()?);
    let seq = Seq(reader.u64()?);
    let low_water = Seq(reader.u64()?);
    let route = RouteVersion(reader.u32()?);
    if reader.u32()? != 0 {
        return Err(DecodeError::Invalid("log record padding"));
    }
    let window = if version == DATA_VERSION { Some(parse_window(reader)?) } else { None };
    let payload_hash = reader.u64()?;
    let payload = reader.bytes(reader.remaining())?;
    Ok(Body::Data { dot: Dot { pid, seq }, low_water, route, window, payload_hash, payload })
}

fn parse_window(reader: &mut Reader<'_>) -> Result<Window, DecodeError> {
    let late_max = Some(reader.u32()?).filter(|s| *s != ANY_AGE);
    Ok(Window { late_max, future_skew: reader.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(payload: &[u8]) -> Record<'_> {
        let dot = Dot { pid: Pid::new(1_700_000_000_000, [9; 10]), seq: Seq(5) };
        let window = Some(Window { late_max: Some(0x0102), future_skew: 300 });
        let (low_water, route, payload_hash) = (Seq(3), RouteVersion(1), 0xabcd);
        let body = Body::Data { dot, low_water, route, window, payload_hash, payload };
        Record { epoch: Epoch(2), lsn: Lsn(7), time: Micros(1_234), body }
    }

    /// As version 1 was written, without a window.
    fn version_1(payload: &[u8]) -> Record<'_> {
        let mut record = data(payload);
        if let Body::Data { window, .. } = &mut record.body {
            *window = None;
        }
        record
    }

    #[test]
    fn records_read_back_and_every_flipped_bit_is_noticed() {
        let expire =
            Record { epoch: Epoch(2), lsn: Lsn(8), time: Micros(-1), body: Body::Expire { min_birth: 77 } };
        for record in [data(b"payload"), data(b""), version_1(b"payload"), expire] {
            let (bytes, chain) = record.encode(Chain(5));
            assert_eq!(decode(&bytes, Chain(5)), Ok((record, chain)));
            assert_eq!(decode(&bytes, Chain(6)), Err(DecodeError::Checksum));
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&bad, Chain(5)).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len], Chain(5)).is_err());
            }
        }
    }

    #[test]
    fn the_bytes_of_a_record_never_change() {
        let (bytes, chain) = data(b"abc").encode(Chain(0));
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let expected = concat!(
            "48574c47",
            "44",
            "02",
            "0000",
            "0200000000000000",
            "0700000000000000",
            "d204000000000000",
            "018bcfe5680009090909090909090909",
            "0500000000000000",
            "0300000000000000",
            "01000000",
            "00000000",
            "02010000",
            "2c010000",
            "cdab000000000000",
            "616263",
        );
        assert_eq!(hex[..expected.len()], *expected);
        assert_eq!(bytes.len(), DATA_OVERHEAD_BYTES + 3);
        assert_eq!(bytes[bytes.len() - 16..], chain.0.to_le_bytes());
        let (old, _) = version_1(b"abc").encode(Chain(0));
        let old: String = old.iter().map(|b| format!("{b:02x}")).collect();
        let expected = expected.replace("4402", "4401").replace("020100002c010000", "");
        assert_eq!(old[..expected.len()], expected);
    }

    #[test]
    fn windows_are_whole_seconds_and_any_age_is_none() {
        let window = Window::new(Some(Duration::from_millis(1_500)), Duration::from_secs(300));
        assert_eq!(window, Window { late_max: Some(2), future_skew: 300 });
        let window = Window::new(Some(Duration::MAX), Duration::ZERO);
        assert_eq!(window, Window { late_max: Some(ANY_AGE - 1), future_skew: 0 });
        assert_eq!(Window::new(None, Duration::ZERO).late_max, None);
    }

    #[test]
    fn a_newer_record_is_named_as_such() {
        let (mut bytes, _) = data(b"abc").encode(Chain(0));
        bytes[5] = 3;
        assert_eq!(decode(&bytes, Chain(0)), Err(DecodeError::TooNew));
    }
}
