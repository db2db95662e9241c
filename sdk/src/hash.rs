//! The one hash behind all sketches, equal everywhere and for ever.
//!
//! xxh3-64 (XXH3_64bits of xxHash 0.8) with seed 0 over a value's canonical key bytes
//! ([`crate::value::key`]), so that equal values hash alike whatever their column's width. It is public, so
//! it is no defence: hubs' own maps use keyed hashes.

#[cfg(any(test, not(feature = "functions")))]
mod small;

/// Seed of [`hash64`]. Part of the format.
pub const SEED: u64 = 0;

/// xxh3-64 with [`SEED`].
#[inline]
pub fn hash64(bytes: &[u8]) -> u64 {
    // Seed 0 is the plain function; naming it avoids deriving a secret for long inputs.
    const { assert!(SEED == 0) };
    #[cfg(not(feature = "functions"))]
    return small::xxh3_64(bytes);
    #[cfg(feature = "functions")]
    xxhash_rust::xxh3::xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values of xxHash's own `XXH3_64bits`: other languages must find the same.
    #[test]
    fn is_plain_xxh3() {
        assert_eq!(hash64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash64(b"a"), 0xe6c6_32b6_1e96_4e1f);
        assert_eq!(hash64(b"abc"), 0x78af_5f94_892f_3950);
    }
}
