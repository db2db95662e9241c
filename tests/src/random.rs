//! Random numbers from a seed that a failing run prints.

use crate::splitmix::SplitMix;

/// Choices of keys, values and faults.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix);

impl Rng {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix::new(seed))
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0.bits()
    }

    /// Uniform in `0..bound`; the bias of the multiplication (Lemire) is below `bound / 2^64`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `0.0..1.0`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
