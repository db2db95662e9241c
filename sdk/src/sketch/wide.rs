//! A 256-bit signed integer that only adds: the exact sum behind integer and decimal `sum`.
//!
//! Why 256 bits: with i128 the answer to "did a sum of decimals overflow?" depends on the order of the
//! events. Here 2^64 events of at most 2^127 need 192 bits, so addition never wraps while they are counted by
//! a u64, and overflow is a question only for the finisher. Bytes (`FORMAT.md`, "States"): zigzag LEB128, at most 37 bytes, canonical.

use crate::codec::{DecodeError, Reader};
use alloc::vec::Vec;

/// A 256-bit two's complement integer: `high * 2^128 + low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    low: u128,
    high: i128,
}

impl Wide {
    /// Adds `value`.
    #[inline]
    pub fn add(&mut self, value: i128) {
        let (low, carry) = self.low.overflowing_add(value as u128);
        self.low = low;
        self.high = self.high.wrapping_add((value >> 127) + i128::from(carry));
    }

    /// Adds another sum. Wraps only beyond 2^255: sums of at most 2^64 values of 2^127 stay far below.
    pub fn add_wide(&mut self, other: &Self) {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high = self.high.wrapping_add(other.high).wrapping_add(i128::from(carry));
    }

    /// The value when it fits.
    pub fn to_i128(self) -> Option<i128> {
        let low = self.low as i128;
        (self.high == low >> 127).then_some(low)
    }

    /// The nearest double, within one unit in the last place.
    pub fn to_f64(self) -> f64 {
        const TWO_POW_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
        match self.to_i128() {
            Some(value) => value as f64,
            None => self.high as f64 * TWO_POW_128 + self.low as f64,
        }
    }

    /// True when `|self| <= count * limit`: what `count` values of at most `limit` can sum to.
    pub fn within(self, count: u64, limit: u128) -> bool {
        let (mut low, mut high) = (self.low, self.high as u128);
        if self.high < 0 {
            (low, high) = (low.wrapping_neg(), (!high).wrapping_add(u128::from(low == 0)));
        }
        let count = u128::from(count);
        let bottom = count * (limit & u128::from(u64::MAX));
        let top = count * (limit >> 64) + (bottom >> 64);
        (high, low) <= (top >> 64, (top << 64) | (bottom & u128::from(u64::MAX)))
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let sign = (self.high >> 127) as u128;
        let mut high = (((self.high as u128) << 1) | (self.low >> 127)) ^ sign;
        let mut low = (self.low << 1) ^ sign;
        while high != 0 || low >= 0x80 {
            out.push(low as u8 | 0x80);
            low = (low >> 7) | (high << 121);
            high >>= 7;
        }
        out.push(low as u8);
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; [`DecodeError::Overlong`] for more bytes than it needs or more than 256 bits.
    pub fn decode(bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut low, mut high, mut shift) = (0u128, 0u128, 0u32);
        loop {
            let byte = bytes.u8()?;
            let part = u128::from(byte & 0x7f);
            if shift > 252 || (shift == 252 && part > 0xf) || (byte == 0 && shift > 0) {
                return Err(DecodeError::Overlong);
            }
            if shift < 128 {
                low |= part << shift;
                high |= if shift > 121 { part >> (128 - shift) } else { 0 };
            } else {
                high |= part << (shift - 128);
            }
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let sign = (low & 1).wrapping_neg();
        let low = (low >> 1) | (high << 127);
        Ok(Self { low: low ^ sign, high: ((high >> 1) ^ sign) as i128 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[i128]) -> Wide {
        let mut wide = Wide::default();
        values.iter().for_each(|&v| wide.add(v));
        wide
    }

    #[test]
    fn adds_past_i128_and_back() {
        let wide = sum(&[i128::MAX, i128::MAX, i128::MIN, i128::MIN, 5]);
        assert_eq!(wide.to_i128(), Some(3));
        assert_eq!(sum(&[i128::MAX, 1]).to_i128(), None);
        assert_eq!(sum(&[i128::MIN, -1]).to_i128(), None);
        assert_eq!(sum(&[i128::MIN, -1]).to_f64(), -(2f64.powi(127)));
    }

    #[test]
    fn bytes_round_trip_and_small_is_small() {
        for values in
            [&[0][..], &[1], &[-1], &[63], &[-64], &[i128::MAX; 3], &[i128::MIN; 9], &[1 << 100, -7]]
        {
            let wide = sum(values);
            let mut out = Vec::new();
            wide.encode(&mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(Wide::decode(&mut reader), Ok(wide));
            assert!(reader.is_empty());
        }
        let mut out = Vec::new();
        sum(&[-64]).encode(&mut out);
        assert_eq!(out, [0x7f]);
        assert_eq!(Wide::decode(&mut Reader::new(&[0x80, 0])), Err(DecodeError::Overlong));
        assert_eq!(Wide::decode(&mut Reader::new(&[0xff; 40])), Err(DecodeError::Overlong));
    }

    #[test]
    fn plausibility_compares_256_bit_products() {
        assert!(sum(&[-10]).within(2, 5) && !sum(&[-11]).within(2, 5));
        assert!(sum(&[i128::MIN, i128::MIN]).within(2, 1 << 127));
        assert!(!sum(&[i128::MIN, i128::MIN, -1]).within(2, 1 << 127));
        assert!(sum(&[]).within(0, 0));
    }
}
