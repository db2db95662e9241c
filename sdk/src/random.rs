//! Chance for tests: histories are named by their seed.

#[path = "../../tests/src/splitmix.rs"]
mod splitmix;

/// Choices.
#[derive(Clone, Debug)]
pub(crate) struct Random(splitmix::SplitMix);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(splitmix::SplitMix::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.bits()
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
