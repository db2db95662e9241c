//! What a shard group remembers of one producer: which of its batches it holds (rule P3).
//!
//! Everything up to `floor` is held or was given up by the producer; above it a bitmap says which. Payload
//! hashes are kept for batches that the producer may still send again (from its low water mark on): below it
//! a second copy can only be a network duplicate, so nothing needs comparing.
//!
//! Bytes (`session-2`): version u8 = 1, floor varint, bitmap u64 LE, low_water varint, hashes varint (<= 128),
//! then per hash, ascending by seq: seq - previous varint (the first: seq - floor, zigzag), hash u64 LE.

use headwater::codec::{DecodeError, Reader, Writer};
use headwater::ids::Seq;

/// Bits of the bitmap, and the most that `seq` may be above `low_water` (C3): `seq - low_water < WINDOW`.
pub const WINDOW: u64 = 64;

/// Most hashes a session holds: those at or above low water are within one window of it, and so are those
/// above the floor.
const HASHES_MAX: usize = 2 * WINDOW as usize;

const VERSION: u8 = 1;

/// One producer's batches, as far as this shard group holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    floor: u64,
    bitmap: u64,
    low_water: u64,
    /// Ascending by seq.
    hashes: Vec<(u64, u64)>,
}

/// What a session knows of a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not seen.
    No,
    /// Held, with these bytes or with bytes that need no comparing any more.
    Same,
    /// Held with other bytes.
    Conflict,
}

impl Session {
    /// Everything up to here is held or given up.
    pub fn floor(&self) -> Seq {
        Seq(self.floor)
    }

    /// Bit i: `floor + 1 + i` is held.
    pub fn bitmap(&self) -> u64 {
        self.bitmap
    }

    /// Looks a batch up.
    pub fn known(&self, seq: Seq, hash: u64) -> Known {
        if !self.holds(seq) {
            return Known::No;
        }
        match self.hashes.binary_search_by_key(&seq.0, |h| h.0) {
            Ok(at) if self.hashes[at].1 != hash => Known::Conflict,
            _ => Known::Same,
        }
    }

    /// True when the batch is held or was given up.
    pub fn holds(&self, seq: Seq) -> bool {
        match seq.0.checked_sub(self.floor) {
            None | Some(0) => true,
            Some(above @ 1..=WINDOW) => self.bitmap >> (above - 1) & 1 == 1,
            Some(_) => false,
        }
    }

    /// The highest batch number this session can take next to `low_water`.
    pub fn seq_max(&self, low_water: Seq) -> Seq {
        Seq(self.floor.max(low_water.0.saturating_sub(1)).saturating_add(WINDOW))
    }

    /// Adds a batch that [`Session::known`] does not know and that is not above [`Session::seq_max`].
    pub fn add(&mut self, seq: Seq, low_water: Seq, hash: u64) {
        self.raise_floor(low_water.0.saturating_sub(1));
        if let Some(above @ 1..=WINDOW) = seq.0.checked_sub(self.floor) {
            self.bitmap |= 1 << (above - 1);
        }
        if let Err(at) = self.hashes.binary_search_by_key(&seq.0, |h| h.0) {
            self.hashes.insert(at, (seq.0, hash));
        }
        let run = u64::from(self.bitmap.trailing_ones());
        self.raise_floor(self.floor + run);
        self.low_water = self.low_water.max(low_water.0);
        let low_water = self.low_water;
        self.hashes.retain(|h| h.0 >= low_water);
    }

    fn raise_floor(&mut self, floor: u64) {
        let up = floor.saturating_sub(self.floor);
        self.bitmap = self.bitmap.checked_shr(u32::try_from(up).unwrap_or(u32::MAX)).unwrap_or(0);
        self.floor += up;
        // Batches above the new floor may already be held without a gap.
        let run = u64::from(self.bitmap.trailing_ones());
        if up > 0 && run > 0 {
            self.raise_floor(self.floor + run);
        }
    }

    /// A planted bug of the model: believes in everything below the highest batch seen.
    #[cfg(test)]
    pub(super) fn jump_floor(&mut self, seq: Seq) {
        self.raise_floor(seq.0);
    }

    /// Appends the session's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.put_varint(self.floor);
        out.extend_from_slice(&self.bitmap.to_le_bytes());
        out.put_varint(self.low_water);
        out.put_varint(self.hashes.len() as u64);
        let mut previous = None;
        for (seq, hash) in &self.hashes {
            match previous {
                None => out.put_zigzag(seq.wrapping_sub(self.floor) as i64),
                Some(previous) => out.put_varint(seq - previous),
            }
            out.extend_from_slice(&hash.to_le_bytes());
            previous = Some(*seq);
        }
    }

    /// Reads a session's bytes.
    ///
    /// # Errors
    /// Any [`DecodeError`] but [`DecodeError::Checksum`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            0 => return Err(DecodeError::Invalid("session version")),
            _ => return Err(DecodeError::TooNew),
        }
        let floor = reader.varint()?;
        let bitmap = reader.u64()?;
        let low_water = reader.varint()?;
        let count = reader.count(9, HASHES_MAX)?;
        let mut hashes: Vec<(u64, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let seq = match hashes.last() {
                None => floor.wrapping_add(reader.zigzag()? as u64),
                Some(last) => {
                    last.0.checked_add(reader.varint()?).ok_or(DecodeError::Invalid("session seq"))?
                }
            };
            if hashes.last().is_some_and(|last| last.0 >= seq) {
                return Err(DecodeError::Invalid("session seq order"));
            }
            hashes.push((seq, reader.u64()?));
        }
        reader.finish()?;
        if bitmap & 1 == 1 {
            return Err(DecodeError::Invalid("session floor"));
        }
        Ok(Self { floor, bitmap, low_water, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn bytes(session: &Session) -> Vec<u8> {
        let mut out = Vec::new();
        session.encode(&mut out);
        out
    }

    #[test]
    fn out_of_order_batches_are_each_known_once() {
        let mut session = Session::default();
        for seq in [3, 1, 64, 2] {
            assert_eq!(session.known(Seq(seq), seq), Known::No);
            session.add(Seq(seq), Seq(1), seq);
            assert_eq!(session.known(Seq(seq), seq), Known::Same);
            assert_eq!(session.known(Seq(seq), seq + 1), Known::Conflict);
        }
        assert_eq!(session.floor(), Seq(3));
        assert_eq!(session.bitmap(), 1 << 60);
        assert_eq!(session.known(Seq(4), 0), Known::No);
        assert_eq!(Session::decode(&bytes(&session)), Ok(session));
    }

    #[test]
    fn low_water_gives_up_what_is_below_and_forgets_hashes() {
        let mut session = Session::default();
        session.add(Seq(2), Seq(1), 22);
        session.add(Seq(10), Seq(9), 100);
        assert_eq!(session.floor(), Seq(8));
        assert_eq!(session.known(Seq(5), 0), Known::Same, "given up: never to be applied");
        assert_eq!(session.known(Seq(2), 0), Known::Same, "no hash below low water");
        assert_eq!(session.known(Seq(10), 0), Known::Conflict);
        assert_eq!(session.known(Seq(9), 0), Known::No);
        assert_eq!(session.seq_max(Seq(9)), Seq(72));
        assert_eq!(Session::decode(&bytes(&session)), Ok(session));
    }

    #[test]
    fn agrees_with_a_set_of_numbers_over_random_windows() {
        let mut random = 7u64;
        let mut draw = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let (mut session, mut held, mut low_water) = (Session::default(), BTreeSet::new(), 1u64);
        for _ in 0..20_000 {
            let raised = low_water + draw(3) / 2;
            held.extend(low_water..raised);
            low_water = raised;
            let seq = low_water + draw(WINDOW);
            if session.known(Seq(seq), seq * 31) == Known::No && seq <= session.seq_max(Seq(low_water)).0 {
                assert!(held.insert(seq), "{seq} was held");
                session.add(Seq(seq), Seq(low_water), seq * 31);
            }
            assert!(session.holds(Seq(seq)));
            assert_eq!(session.bitmap() & 1, 0);
            assert!(session.hashes.len() <= HASHES_MAX);
        }
        assert!(held.iter().all(|s| session.holds(Seq(*s)) || *s > session.floor().0));
        assert_eq!(Session::decode(&bytes(&session)), Ok(session));
    }

    #[test]
    fn foreign_bytes_are_refused_without_panic() {
        let mut session = Session::default();
        session.add(Seq(5), Seq(3), 9);
        let good = bytes(&session);
        for len in 0..good.len() {
            assert!(Session::decode(&good[..len]).is_err());
        }
        assert_eq!(Session::decode(&[2]), Err(DecodeError::TooNew));
    }
}
