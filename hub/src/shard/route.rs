//! Which shard group takes a producer's batches: SipHash-2-4 of the pid under the catalog's secret key.
//!
//! A pure function of (route version, pid). Route version 1 is `hash mod shard groups`, fixed when the data
//! directory is made. Keyed, so that nobody outside can aim all producers at one shard group.

use headwater::ids::{Pid, ShardGroupId};

/// The shard group of a producer (route version 1). `shard_groups` is at least 1.
pub fn route(key: &[u8; 16], pid: &Pid, shard_groups: u16) -> ShardGroupId {
    if shard_groups <= 1 {
        return ShardGroupId(0);
    }
    ShardGroupId((siphash24(key, &pid.0) % u64::from(shard_groups)) as u16)
}

/// SipHash-2-4 (Aumasson, Bernstein 2012) of 16 bytes.
fn siphash24(key: &[u8; 16], message: &[u8; 16]) -> u64 {
    let word =
        |bytes: &[u8], at: usize| bytes[at..at + 8].iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
    let (k0, k1) = (word(key, 0), word(key, 8));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // The last block holds the length in its top byte and no rest: 16 is a multiple of 8.
    for m in [word(message, 0), word(message, 8), 16 << 56] {
        v[3] ^= m;
        rounds(&mut v, 2);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    rounds(&mut v, 4);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn rounds(v: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference_implementation() {
        // vectors_sip64[16] of the reference implementation: key 00..0f, message 00..0f.
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(siphash24(&bytes, &bytes).to_le_bytes(), [0xdb, 0x9b, 0xc2, 0x57, 0x7f, 0xcc, 0x2a, 0x3f]);
    }

    #[test]
    fn producers_spread_over_all_shard_groups() {
        let mut counts = [0u32; 8];
        for i in 0..8_000u64 {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&i.to_le_bytes());
            counts[usize::from(route(&[3; 16], &Pid::new(1_700_000_000_000, random), 8).0)] += 1;
        }
        assert!(counts.iter().all(|c| (800..1_200).contains(c)), "{counts:?}");
    }
}
