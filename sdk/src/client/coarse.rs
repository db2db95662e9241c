//! The clock that emitters read: the hub's time, a few milliseconds coarse, for the price of a load.
//!
//! Invariants: never goes back; while nobody emits nobody ticks.

use crate::clock::STEP_MICROS;
use crate::ids::Micros;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Time between ticks while somebody emits: the error of an arrival timestamp.
pub(super) const TICK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct CoarseClock {
    start: Instant,
    /// Hub time minus local time.
    offset: AtomicI64,
    /// Hub time of the last tick.
    coarse: AtomicI64,
    ticking: AtomicBool,
}

impl CoarseClock {
    pub fn new(start: Instant, offset: i64) -> Self {
        let coarse = AtomicI64::new(offset);
        Self { start, offset: AtomicI64::new(offset), coarse, ticking: AtomicBool::new(false) }
    }

    /// Local time: microseconds since the client was made.
    pub fn local(&self) -> Micros {
        Micros(i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// The hub's time. The first reader after a pause wakes whoever ticks.
    #[inline]
    pub fn now(&self, wake: &Notify) -> Micros {
        if self.ticking.load(Ordering::Relaxed) {
            Micros(self.coarse.load(Ordering::Relaxed))
        } else {
            self.start_ticking(wake)
        }
    }

    #[cold]
    fn start_ticking(&self, wake: &Notify) -> Micros {
        let now = self.tick();
        self.ticking.store(true, Ordering::Relaxed);
        wake.notify_one();
        now
    }

    /// Moves the clock on.
    pub fn tick(&self) -> Micros {
        let now = self.hub_time(self.local());
        Micros(self.coarse.fetch_max(now.0, Ordering::Relaxed)).max(now)
    }

    pub fn set_offset(&self, offset: i64) {
        // Before the first answer of a hub the offset is a guess; if that was ahead, time must not stand still.
        let before = self.offset.swap(offset, Ordering::Relaxed);
        if before.saturating_sub(offset) > STEP_MICROS {
            self.coarse.store(self.local().0.saturating_add(offset), Ordering::Relaxed);
        } else {
            self.tick();
        }
    }

    /// What the hub's clock showed at a local time, as far as is known now.
    pub fn hub_time(&self, local: Micros) -> Micros {
        Micros(local.0.saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    pub fn is_ticking(&self) -> bool {
        self.ticking.load(Ordering::Relaxed)
    }

    pub fn stop_ticking(&self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_for_a_small_correction() {
        let (clock, wake) = (CoarseClock::new(Instant::now(), 5_000_000_000), Notify::new());
        let first = clock.now(&wake);
        assert!(clock.is_ticking());
        clock.set_offset(4_999_500_000);
        assert!(clock.now(&wake) >= first);
        clock.set_offset(6_000_000_000);
        assert!(clock.now(&wake).0 >= 6_000_000_000, "forwards it goes at once");
        clock.set_offset(1_000_000_000);
        assert!(clock.tick() < first, "a wrong guess is corrected at once");
    }
}
