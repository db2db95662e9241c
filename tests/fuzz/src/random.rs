//! A small fixed generator (xorshift64*), so that a seed names a case for ever, and its mutations.

/// Pseudo-random numbers.
pub struct Random(u64);

impl Random {
    /// A generator; every seed but 0 and 1 gives its own sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// One to three flips, cuts, insertions or repeats.
    pub fn mutate(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, self.bits() as u8),
                3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => bytes.extend_from_within(..at.min(64)),
            }
        }
        bytes
    }
}
