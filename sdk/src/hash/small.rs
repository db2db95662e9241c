//! XXH3_64bits with seed 0 in little code, for the WASM core module: the crate's is several times the size, because
//! it is unrolled for speed. After the description of the algorithm in xxHash 0.8 (`xxhash_spec.md`, XXH3).
//!
//! Owns: nothing but the function; tests compare it with the crate's at every length that takes another way.

/// The default secret.
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde,
    0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79,
    0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46,
    0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb,
    0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2,
    0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c,
    0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59,
    0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3,
    0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3,
    0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8,
    0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb,
    0xca, 0xbb, 0x4b, 0x40, 0x7e,
];
const PRIME32_1: u64 = 0x9e37_79b1;
const PRIME64_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME64_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_MX1: u64 = 0x1656_6791_9e37_79f9;
const PRIME_MX2: u64 = 0x9fb2_1c65_1e98_df25;
/// Where the accumulators of long inputs start.
const START: [u64; 8] = [
    0xc2b2_ae3d,
    PRIME64_1,
    PRIME64_2,
    PRIME64_3,
    0x85eb_ca77_c2b2_ae63,
    0x85eb_ca77,
    0x27d4_eb2f_1656_67c5,
    PRIME32_1,
];
/// Bytes that one accumulation takes.
const STRIPE: usize = 64;
/// Stripes between two scramblings: as many as the secret has places for.
const STRIPES: usize = (SECRET.len() - STRIPE) / 8;

/// The hash.
pub(super) fn xxh3_64(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    match len {
        0 => avalanche_xxh64(secret(56) ^ secret(64)),
        1..=3 => {
            let byte = |at: usize| u64::from(bytes[at]);
            let combined = byte(0) << 16 | byte(len >> 1) << 24 | byte(len - 1) | (len as u64) << 8;
            avalanche_xxh64(combined ^ ((secret(0) ^ secret(0) >> 32) & 0xffff_ffff))
        }
        4..=8 => {
            let input = read32(bytes, len - 4) | read32(bytes, 0) << 32;
            let mut hash = input ^ secret(8) ^ secret(16);
            hash = (hash ^ hash.rotate_left(49) ^ hash.rotate_left(24)).wrapping_mul(PRIME_MX2);
            hash = (hash ^ (hash >> 35).wrapping_add(len as u64)).wrapping_mul(PRIME_MX2);
            hash ^ hash >> 28
        }
        9..=16 => {
            let low = read64(bytes, 0) ^ secret(24) ^ secret(32);
            let high = read64(bytes, len - 8) ^ secret(40) ^ secret(48);
            let sum = (len as u64).wrapping_add(low.swap_bytes()).wrapping_add(high);
            avalanche(sum.wrapping_add(fold(low, high)))
        }
        17..=128 => {
            let mut sum = (len as u64).wrapping_mul(PRIME64_1);
            for i in 0..=(len - 1) / 32 {
                sum = sum.wrapping_add(mix(bytes, 16 * i, 32 * i));
                sum = sum.wrapping_add(mix(bytes, len - 16 * (i + 1), 32 * i + 16));
            }
            avalanche(sum)
        }
        129..=240 => {
            let mut sum = (len as u64).wrapping_mul(PRIME64_1);
            for i in 0..len / 16 {
                sum = sum.wrapping_add(mix(bytes, 16 * i, if i < 8 { 16 * i } else { 16 * (i - 8) + 3 }));
                if i == 7 {
                    sum = avalanche(sum);
                }
            }
            avalanche(sum.wrapping_add(mix(bytes, len - 16, 136 - 17)))
        }
        _ => long(bytes),
    }
}

#[inline(never)]
fn long(bytes: &[u8]) -> u64 {
    let mut sums = START;
    // All whole stripes but a last one that ends the input; that one is added by itself.
    for stripe in 0..(bytes.len() - 1) / STRIPE {
        accumulate(&mut sums, bytes, stripe * STRIPE, stripe % STRIPES * 8);
        if stripe % STRIPES == STRIPES - 1 {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let mixed = *sum ^ *sum >> 47 ^ secret(SECRET.len() - STRIPE + 8 * lane);
                *sum = mixed.wrapping_mul(PRIME32_1);
            }
        }
    }
    accumulate(&mut sums, bytes, bytes.len() - STRIPE, SECRET.len() - STRIPE - 7);
    let mut hash = (bytes.len() as u64).wrapping_mul(PRIME64_1);
    for lane in [0, 2, 4, 6] {
        let (low, high) = (secret(11 + 8 * lane), secret(19 + 8 * lane));
        hash = hash.wrapping_add(fold(sums[lane] ^ low, sums[lane + 1] ^ high));
    }
    avalanche(hash)
}

fn accumulate(sums: &mut [u64; 8], bytes: &[u8], at: usize, secret_at: usize) {
    for lane in 0..8 {
        let value = read64(bytes, at + 8 * lane);
        let keyed = value ^ secret(secret_at + 8 * lane);
        sums[lane ^ 1] = sums[lane ^ 1].wrapping_add(value);
        sums[lane] = sums[lane].wrapping_add((keyed & 0xffff_ffff).wrapping_mul(keyed >> 32));
    }
}

#[inline(never)]
fn mix(bytes: &[u8], at: usize, secret_at: usize) -> u64 {
    fold(read64(bytes, at) ^ secret(secret_at), read64(bytes, at + 8) ^ secret(secret_at + 8))
}

/// Both halves of the product.
#[inline(never)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 37).wrapping_mul(PRIME_MX1);
    hash ^ hash >> 32
}

fn avalanche_xxh64(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(PRIME64_2);
    let hash = (hash ^ hash >> 29).wrapping_mul(PRIME64_3);
    hash ^ hash >> 32
}

fn secret(at: usize) -> u64 {
    read64(&SECRET, at)
}

#[inline(never)]
fn read64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

fn read32(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |four| u64::from(u32::from_le_bytes(*four)))
}

#[cfg(test)]
mod tests {
    use super::xxh3_64;
    use alloc::vec::Vec;

    #[test]
    fn it_hashes_every_length_as_the_crate_does() {
        let bytes: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
        for len in (0..2_200).chain([3_071, 3_072, 3_073, 4_096, 4_097, 5_000]) {
            assert_eq!(xxh3_64(&bytes[..len]), xxhash_rust::xxh3::xxh3_64(&bytes[..len]), "{len} bytes");
        }
    }
}
