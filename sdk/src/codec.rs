//! Bytes in, bytes out: the one reader and the one writer behind every format in `FORMAT.md`.
//!
//! Owns: canonical LEB128 varints, zigzag, fixed little-endian integers, length-prefixed bytes.
//! Must not know: what the bytes mean.
//! Invariants: a [`Reader`] never panics, never reads past its slice and never allocates; every value
//! has one encoding, so overlong varints are refused.

use crate::flavor::SMALL;
use thiserror::Error;

/// Why foreign bytes were refused. Small and `Copy`: decoders are hot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes ended inside a value.
    #[error("truncated")]
    Truncated,
    /// Bytes were left after the last value.
    #[error("trailing bytes")]
    Trailing,
    /// A varint used more bytes than it needs, or more bits than its type.
    #[error("varint is not canonical")]
    Overlong,
    /// A length or count is above its limit.
    #[error("{0} is above its limit")]
    TooLarge(&'static str),
    /// A value breaks a rule of the format.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// Written by a newer version of the format.
    #[error("format is newer than this reader")]
    TooNew,
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
}

impl DecodeError {
    /// The stable code of this error, as it crosses the wire and the JS boundary.
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Trailing => "trailing_bytes",
            Self::Overlong => "overlong_varint",
            Self::TooLarge(_) => "too_large",
            Self::Invalid(_) => "invalid",
            Self::TooNew => "format_too_new",
            Self::Checksum => "checksum",
        }
    }
}

/// A cursor over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes not read yet, without consuming them.
    pub fn peek_rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes after the last value.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when there are any.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&byte, tail) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(byte)
    }

    /// A fixed little-endian `u32`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A fixed little-endian `u64`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A fixed little-endian double.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when less is left.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_le_bytes)
    }

    /// A canonical LEB128 varint.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; [`DecodeError::Overlong`] for more bytes than it needs or more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        if SMALL {
            return self.varint_rest(first);
        }
        self.varint128_rest(first).and_then(|v| u64::try_from(v).map_err(|_| DecodeError::Overlong))
    }

    /// A canonical LEB128 varint of up to 128 bits.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; [`DecodeError::Overlong`] for more bytes than it needs or more than 128 bits.
    pub fn varint128(&mut self) -> Result<u128, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 { Ok(u128::from(first)) } else { self.varint128_rest(first) }
    }

    /// The same without numbers of 128 bits.
    #[inline(never)]
    fn varint_rest(&mut self, first: u8) -> Result<u64, DecodeError> {
        let (mut value, mut shift) = (u64::from(first & 0x7f), 7u32);
        loop {
            let byte = self.u8()?;
            if shift > 63 || (shift == 63 && byte > 1) || byte == 0 {
                return Err(DecodeError::Overlong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    fn varint128_rest(&mut self, first: u8) -> Result<u128, DecodeError> {
        let mut value = u128::from(first & 0x7f);
        let mut shift = 7u32;
        loop {
            let byte = self.u8()?;
            let part = u128::from(byte & 0x7f);
            if shift > 126 || (shift == 126 && part > 3) {
                return Err(DecodeError::Overlong);
            }
            value |= part << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(DecodeError::Overlong) } else { Ok(value) };
            }
            shift += 7;
        }
    }

    /// A zigzag varint.
    ///
    /// # Errors
    /// Those of [`Reader::varint`].
    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(|v| (v >> 1) as i64 ^ -((v & 1) as i64))
    }

    /// A zigzag varint of up to 128 bits.
    ///
    /// # Errors
    /// Those of [`Reader::varint128`].
    pub fn zigzag128(&mut self) -> Result<i128, DecodeError> {
        self.varint128().map(|v| (v >> 1) as i128 ^ -((v & 1) as i128))
    }

    /// A count of things that each take at least `unit_bytes` of what is left, and at most `max`:
    /// a lying count is refused before anything is allocated for it.
    ///
    /// # Errors
    /// Those of [`Reader::varint`]; [`DecodeError::TooLarge`] above `max`; [`DecodeError::Truncated`] when what is left
    /// cannot hold as many.
    pub fn count(&mut self, unit_bytes: usize, max: usize) -> Result<usize, DecodeError> {
        let n = usize::try_from(self.varint()?).map_err(|_| DecodeError::TooLarge("count"))?;
        if n > max {
            return Err(DecodeError::TooLarge("count"));
        }
        if n.saturating_mul(unit_bytes) > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(n)
    }

    /// Length-prefixed bytes of at most `max`.
    ///
    /// # Errors
    /// Those of [`Reader::count`].
    #[inline]
    pub fn blob(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1, max)?;
        self.bytes(len)
    }

    /// Length-prefixed UTF-8 of at most `max` bytes.
    ///
    /// # Errors
    /// Those of [`Reader::blob`]; [`DecodeError::Invalid`] when it is not UTF-8.
    pub fn text(&mut self, max: usize) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(self.blob(max)?).map_err(|_| DecodeError::Invalid("utf-8"))
    }
}

/// Appends values to a byte vector; the inverse of [`Reader`].
pub trait Writer {
    /// A canonical LEB128 varint.
    fn put_varint(&mut self, value: u64);
    /// A canonical LEB128 varint of up to 128 bits.
    fn put_varint128(&mut self, value: u128);
    /// A zigzag varint.
    fn put_zigzag(&mut self, value: i64);
    /// A zigzag varint of up to 128 bits.
    fn put_zigzag128(&mut self, value: i128);
    /// Length-prefixed bytes.
    fn put_blob(&mut self, bytes: &[u8]);
}

impl Writer for alloc::vec::Vec<u8> {
    #[inline]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_varint128(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_zigzag(&mut self, value: i64) {
        self.put_varint((value << 1) as u64 ^ (value >> 63) as u64);
    }

    fn put_zigzag128(&mut self, value: i128) {
        self.put_varint128((value << 1) as u128 ^ (value >> 127) as u128);
    }

    fn put_blob(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn varints_round_trip_and_are_canonical() {
        for v in [0, 1, 127, 128, 300, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            out.put_varint(v);
            assert_eq!(Reader::new(&out).varint(), Ok(v));
        }
        for v in [0, u128::MAX, 1 << 126] {
            let mut out = Vec::new();
            out.put_varint128(v);
            assert_eq!(Reader::new(&out).varint128(), Ok(v));
        }
        for v in [0, -1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            out.put_zigzag(v);
            assert_eq!(Reader::new(&out).zigzag(), Ok(v));
        }
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(DecodeError::Overlong));
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xff; 30]).varint(), Err(DecodeError::Overlong));
    }

    #[test]
    fn a_lying_count_is_refused_before_allocation() {
        let mut out = Vec::new();
        out.put_varint(1 << 40);
        assert_eq!(Reader::new(&out).count(1, usize::MAX), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&out).count(1, 10), Err(DecodeError::TooLarge("count")));
    }
}
