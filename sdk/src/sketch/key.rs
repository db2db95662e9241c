//! A key that a map of a state holds: short ones in place, so that finding one costs no further cache miss.

use alloc::boxed::Box;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

/// Keys up to this length are held in place: with it a key takes 24 bytes.
const INLINE_MAX: usize = 22;

/// Immutable bytes.
#[derive(Clone, Debug)]
pub struct Key(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Key {
    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        if let Repr::Heap(bytes) = &self.0 { bytes.len() } else { 0 }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match bytes.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key);
                Self(Repr::Inline { len: key.len() as u8, bytes })
            }
            None => Self(Repr::Heap(key.into())),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `[u8]` hashes, so that a map finds keys by borrowed bytes.
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_any_length() {
        for len in [0, 1, 21, 22, 23, 1000] {
            let bytes: alloc::vec::Vec<u8> = (0..len).map(|i| i as u8).collect();
            let key = Key::from(&bytes[..]);
            assert_eq!(key.as_bytes(), bytes);
            assert_eq!(key.heap_bytes(), if len > 22 { len } else { 0 });
        }
        assert_eq!(core::mem::size_of::<Key>(), 24);
    }
}
