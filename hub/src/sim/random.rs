//! Chance.

#[path = "../../../tests/src/splitmix.rs"]
mod splitmix;

/// Choices.
#[derive(Clone, Debug)]
pub(crate) struct Random(splitmix::SplitMix);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give similar histories.
        let seed = splitmix::SplitMix::new(seed ^ 0x6a09_e667_f3bc_c908).bits();
        Self(splitmix::SplitMix::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.bits()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// From `min` to `max`, both included.
    pub(crate) fn between(&mut self, min: i64, max: i64) -> i64 {
        min + (self.next() % (max - min + 1) as u64) as i64
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}
