//! Time: one true time for everybody, and clocks that show something else.

use headwater::ids::Micros;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A wall clock that may be wrong and may jump. Clones show the same.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    shown: Arc<AtomicI64>,
    error: i64,
}

impl Clock {
    /// A clock that is wrong by `error` microseconds.
    pub(crate) fn new(now: Micros, error: i64) -> Self {
        Self { shown: Arc::new(AtomicI64::new(now.0 + error)), error }
    }

    /// Follows the true time.
    pub(crate) fn set(&self, now: Micros) {
        self.shown.store(now.0 + self.error, Ordering::Relaxed);
    }

    /// From now on it is wrong by `error` microseconds.
    pub(crate) fn jump(&mut self, now: Micros, error: i64) {
        self.error = error;
        self.set(now);
    }

    pub(crate) fn now(&self) -> Micros {
        Micros(self.shown.load(Ordering::Relaxed))
    }

    /// As the rooms want it.
    pub(crate) fn reader(&self) -> crate::shard::Clock {
        let clock = self.clone();
        crate::shard::Clock::unset(Arc::new(move || clock.now()))
    }
}
