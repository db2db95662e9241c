//! MD5 (RFC 1321): for `md5(text)`, never for security.

use alloc::vec::Vec;

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The 64 constants `floor(2^32 * |sin(i + 1)|)`.
fn sines() -> [u32; 64] {
    core::array::from_fn(|i| (libm::sin((i + 1) as f64).abs() * 4_294_967_296.0) as u32)
}

/// The digest of `data`.
pub fn md5(data: &[u8]) -> [u8; 16] {
    let sines = sines();
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let (whole, rest) = data.split_at(data.len() / 64 * 64);
    whole.chunks_exact(64).for_each(|chunk| block(&mut state, chunk, &sines));
    let mut last = Vec::from(rest);
    last.push(0x80);
    while last.len() % 64 != 56 {
        last.push(0);
    }
    last.extend_from_slice(&(data.len() as u64).wrapping_mul(8).to_le_bytes());
    last.chunks_exact(64).for_each(|chunk| block(&mut state, chunk, &sines));
    let mut out = [0; 16];
    out.chunks_exact_mut(4).zip(state).for_each(|(o, s)| o.copy_from_slice(&s.to_le_bytes()));
    out
}

fn block(state: &mut [u32; 4], chunk: &[u8], sines: &[u32; 64]) {
    let word =
        |i: usize| u32::from_le_bytes([chunk[i * 4], chunk[i * 4 + 1], chunk[i * 4 + 2], chunk[i * 4 + 3]]);
    let [mut a, mut b, mut c, mut d] = *state;
    for (i, sine) in sines.iter().enumerate() {
        let (f, g) = match i / 16 {
            0 => ((b & c) | (!b & d), i),
            1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
            2 => (b ^ c ^ d, (3 * i + 5) % 16),
            _ => (c ^ (b | !d), (7 * i) % 16),
        };
        let sum = a.wrapping_add(f).wrapping_add(*sine).wrapping_add(word(g));
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
    }
    for (s, v) in state.iter_mut().zip([a, b, c, d]) {
        *s = s.wrapping_add(v);
    }
}
