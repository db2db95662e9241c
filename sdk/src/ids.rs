//! The newtypes that name things: ids, sequence numbers, versions. No arithmetic beyond "next".

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(/// A stream, for ever: numbers are not used again after DROP.
    StreamId(u32));
id!(/// A continuous view, for ever: numbers are not used again after DROP.
    ViewId(u32));
id!(/// A version of one view's plan; states of different versions are never mixed unless their specs are equal.
    PlanVersion(u32));
id!(/// A numbered slot: the unit of placement, log, dedup, replication and move.
    ShardGroupId(u16));
id!(/// A position in a shard group's log. The first record is 1; 0 means "nothing".
    Lsn(u64));
id!(/// A primary's term of office in one shard group.
    Epoch(u64));
id!(/// One start of one hub process; a restarted hub never resumes as primary in its old epoch.
    BootId(u64));
id!(/// A version of the routing function; a catalog commit.
    RouteVersion(u32));
id!(/// A version of the catalog: the number of commands applied.
    CatalogVersion(u64));
id!(/// A batch's number within its producer. The first is 1.
    Seq(u64));

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micros(pub i64);

impl Micros {
    /// From whole milliseconds.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// To whole milliseconds, rounded towards the past.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// One outbox's identity: 48 bits of birth time in milliseconds, then 80 random bits, big-endian.
/// The birth time lets a hub forget old producers safely (rule P9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Pid(pub [u8; 16]);

impl Pid {
    /// Makes the identity of an outbox born now; `random` must come from a cryptographic source.
    pub fn new(birth_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(birth_ms << 16).to_be_bytes());
        bytes[6..].copy_from_slice(&random);
        Self(bytes)
    }

    /// Milliseconds since the epoch at which the outbox was made.
    pub fn birth_ms(&self) -> u64 {
        self.0.first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight) >> 16)
    }

    /// 32 lowercase hex digits.
    pub fn to_hex(&self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A cluster of hubs, for ever: random, drawn when its first data directory is made. Batches that one cluster
/// holds say nothing about another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Pid(self.0).fmt(f)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Pid(self.0).fmt(f)
    }
}

/// Names a batch for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The producer.
    pub pid: Pid,
    /// Its batch number.
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_carries_its_birth() {
        let pid = Pid::new(1_700_000_000_123, [7; 10]);
        assert_eq!(pid.birth_ms(), 1_700_000_000_123);
        assert_eq!(pid.to_hex(), "018bcfe5687b07070707070707070707");
    }
}
