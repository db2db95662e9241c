//! The bytes of the spool's rows (`FORMAT.md`, "The disk spool").
//!
//! Owns: what is in a row, its seal. Must not know: the file, transactions.
//! Invariant: nothing of a row is believed before its seal, which covers its key as well.

use crate::codec::{Reader, Writer};
use crate::hash::hash64;
use crate::ids::{RouteVersion, Seq};
use crate::outbox::{BatchId, SavedBatch, SpoolError};
use crate::wire::batch::LedgerDelta;

const SEAL_BYTES: usize = size_of::<u64>();

/// A batch without its bytes, and the hash that they must have.
pub(super) struct Row {
    pub saved: SavedBatch,
    pub payload_hash: u64,
}

impl Row {
    pub fn encode(&self) -> Vec<u8> {
        let saved = &self.saved;
        let mut out = Vec::new();
        out.put_varint(saved.seq.0);
        out.put_varint(saved.events);
        out.put_varint(saved.bytes as u64);
        out.put_varint(saved.route.map_or(0, |route| u64::from(route.0) + 1));
        out.extend_from_slice(&self.payload_hash.to_le_bytes());
        if !saved.report.is_empty() {
            saved.report.encode(&mut out);
        }
        seal(&saved.id.0.to_le_bytes(), &out)
    }

    pub fn decode(id: BatchId, row: &[u8]) -> Result<Self, SpoolError> {
        let mut reader = Reader::new(unseal(&id.0.to_le_bytes(), row)?);
        let (seq, events) = (Seq(reader.varint()?), reader.varint()?);
        let bytes =
            usize::try_from(reader.varint()?).map_err(|_| SpoolError::Corrupted("batch length".into()))?;
        let route = match reader.varint()?.checked_sub(1) {
            None => None,
            Some(route) => {
                let route =
                    u32::try_from(route).map_err(|_| SpoolError::Corrupted("route version".into()))?;
                Some(RouteVersion(route))
            }
        };
        let payload_hash = reader.u64()?;
        let has_report = !reader.is_empty();
        let report = if has_report { LedgerDelta::decode(&mut reader)? } else { LedgerDelta::default() };
        reader.finish()?;
        Ok(Self { saved: SavedBatch { id, seq, events, report, bytes, route }, payload_hash })
    }
}

/// `value` with the checksum of it and its key.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &checksum(key, value).to_le_bytes()].concat()
}

/// The value of a row that is what was written.
pub(super) fn unseal<'a>(key: &[u8], row: &'a [u8]) -> Result<&'a [u8], SpoolError> {
    let (value, seal) = row.split_last_chunk::<SEAL_BYTES>().unwrap_or((row, &[0; SEAL_BYTES]));
    if checksum(key, value) != u64::from_le_bytes(*seal) {
        return Err(SpoolError::Corrupted("a row has another checksum".into()));
    }
    Ok(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    hash64(&[key, value].concat())
}
