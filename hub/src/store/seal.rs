//! The check behind a value: four bytes that tell damage from data.
//!
//! redb has checksums of its pages and looks at them when it repairs a file, not when it reads one. So a value that must
//! not change unnoticed has a check of its own, which covers its key and its table too: a value cannot be taken for
//! another one's.

use super::Table;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a check. One damaged value in 2^32 passes for a sound one.
pub const CHECK_BYTES: usize = 4;

/// The check of a value: the lower half of xxh3-64 over the value, seeded by xxh3-64 of the key, which is seeded by the
/// table's number. Little-endian.
pub fn check(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    let seed = xxh3_64_with_seed(key, table as u64);
    (xxh3_64_with_seed(value, seed) as u32).to_le_bytes()
}

/// The value in front of its check; `None` when they do not fit each other.
pub fn open<'v>(table: Table, key: &[u8], sealed: &'v [u8]) -> Option<&'v [u8]> {
    let (value, found) = sealed.split_last_chunk::<CHECK_BYTES>()?;
    (*found == check(table, key, value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_key_and_value_is_noticed_and_no_other_table_takes_it() {
        let (key, value) = (b"key".to_vec(), b"some value".to_vec());
        let sealed = [&value[..], &check(Table::Base, &key, &value)].concat();
        assert_eq!(open(Table::Base, &key, &sealed), Some(&value[..]));
        assert_eq!(open(Table::Session, &key, &sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Table::Base, &key, &bad), None, "bit {bit}");
        }
        for bit in 0..key.len() * 8 {
            let mut bad = key.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Table::Base, &bad, &sealed), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(open(Table::Base, &key, &sealed[..len]), None);
        }
    }

    /// The bytes are a contract (`hub/DESIGN.md`); these are from another implementation, Python's `xxhash`.
    #[test]
    fn a_check_is_what_it_was() {
        assert_eq!(check(Table::Base, b"", b""), GOLDEN[0]);
        assert_eq!(check(Table::Session, b"key", b"some value"), GOLDEN[1]);
    }

    const GOLDEN: [[u8; CHECK_BYTES]; 2] = [[7, 220, 156, 91], [175, 220, 27, 3]];
}
