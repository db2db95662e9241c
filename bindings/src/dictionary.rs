//! Strings that JavaScript hands over once and then names by number.
//!
//! Owns: the bytes behind handles. Must not know: streams, types.
//! Invariants: handles count up from 0, and from [`PASSING`] for values that can be forgotten; a handle that
//! was never given out, or was forgotten, reads as an empty value.

use headwater::value::column::BytesColumn;

/// The bit that marks the handles of values that [`Dictionary::forget`] removes.
pub const PASSING: u32 = 1 << 31;

/// Interned values.
#[derive(Default)]
pub struct Dictionary {
    pinned: BytesColumn,
    passing: BytesColumn,
    epoch: u32,
}

impl Dictionary {
    /// Adds a value for good.
    pub fn pin(&mut self, value: &[u8]) {
        self.pinned.push(value);
    }

    /// Adds a value until [`Dictionary::forget`]; gives its number, without the mark.
    pub fn add(&mut self, value: &[u8]) -> u32 {
        self.passing.push(value);
        self.passing.len() as u32 - 1
    }

    /// Forgets all values that were not pinned.
    pub fn forget(&mut self) {
        self.passing.clear();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Another number once handles have got another meaning.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The value of a handle.
    #[inline]
    pub fn get(&self, handle: u32) -> &[u8] {
        let values = if handle & PASSING == 0 { &self.pinned } else { &self.passing };
        let at = (handle & !PASSING) as usize;
        if at < values.len() { values.get(at) } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dictionary, PASSING};

    #[test]
    fn a_stale_handle_reads_as_empty() {
        let mut dictionary = Dictionary::default();
        dictionary.pin(b"pinned");
        assert_eq!(dictionary.add(b"passing"), 0);
        assert_eq!(dictionary.get(PASSING), b"passing");
        dictionary.forget();
        assert_eq!(dictionary.get(0), b"pinned");
        assert_eq!(dictionary.get(PASSING), b"");
        assert_eq!(dictionary.get(u32::MAX), b"");
        assert_eq!(dictionary.add(b"next"), 0);
        assert_eq!(dictionary.get(PASSING), b"next");
    }
}
