//! The hub's own producer: its identity, its numbers, and what is on its way.
//!
//! Owns: which dot the next batch has, and how far numbers may run ahead (C3). Must not know: what is in batches.
//! Invariants: a dot is given once; `low_water` is the lowest number that is not settled; a batch whose outcome is not
//! known is never sent again.

use headwater::ids::{Dot, Micros, Pid, Seq};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// `seq - low_water` stays below this (C3).
const WINDOW: u64 = 64;

/// The numbers of one identity.
#[derive(Debug)]
struct Numbers {
    pid: Pid,
    next: u64,
    open: BTreeSet<u64>,
}

impl Numbers {
    fn new(now: Micros) -> Self {
        let mut random = [0; 10];
        // Without randomness the time tells identities apart: one hub makes one at a time.
        let _ = getrandom::fill(&mut random);
        let birth = u64::try_from(now.millis()).unwrap_or(0);
        Self { pid: Pid::new(birth, random), next: 1, open: BTreeSet::new() }
    }

    fn low_water(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// The next dot and the low water to send with it; `None` while too many are open.
    fn take(&mut self) -> Option<(Dot, Seq)> {
        if self.next - self.low_water() >= WINDOW {
            return None;
        }
        let seq = self.next;
        self.next += 1;
        self.open.insert(seq);
        Some((Dot { pid: self.pid, seq: Seq(seq) }, Seq(self.low_water())))
    }
}

/// The producer; shared by the rounds that are on their way.
#[derive(Debug)]
pub(super) struct Flight {
    /// `None` before the first batch.
    numbers: Mutex<Option<Numbers>>,
    settled: Notify,
    lifetime: Duration,
}

impl Flight {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { numbers: Mutex::default(), settled: Notify::new(), lifetime }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Numbers>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A dot for a batch; waits while too many are open. Half-way through its life the producer has a new identity:
    /// hubs forget old ones.
    pub(super) async fn take(&self, now: Micros) -> (Dot, Seq) {
        loop {
            let settled = self.settled.notified();
            if let Some(taken) = self.try_take(now) {
                return taken;
            }
            settled.await;
        }
    }

    fn try_take(&self, now: Micros) -> Option<(Dot, Seq)> {
        let mut numbers = self.lock();
        let is_old = |numbers: &Numbers| {
            let age = u64::try_from(now.millis()).unwrap_or(0).abs_diff(numbers.pid.birth_ms());
            u128::from(age) > self.lifetime.as_millis() / 2
        };
        if numbers.as_ref().is_some_and(is_old) {
            *numbers = None;
        }
        numbers.get_or_insert_with(|| Numbers::new(now)).take()
    }

    /// The batch is answered, one way or the other.
    pub(super) fn settle(&self, dot: Dot) {
        if let Some(numbers) = self.lock().as_mut().filter(|numbers| numbers.pid == dot.pid) {
            numbers.open.remove(&dot.seq.0);
        }
        self.settled.notify_waiters();
    }

    /// The hub does not take this identity (a clock was set): the next batch has another.
    pub(super) fn abandon(&self, pid: Pid) {
        let mut numbers = self.lock();
        if numbers.as_ref().is_some_and(|numbers| numbers.pid == pid) {
            *numbers = None;
        }
        drop(numbers);
        self.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const DAY: Duration = Duration::from_secs(86_400);

    fn take(flight: &Flight, now: i64) -> Option<(Dot, u64)> {
        flight.take(Micros(now)).now_or_never().map(|(dot, low)| (dot, low.0))
    }

    #[test]
    fn numbers_do_not_run_ahead_of_what_is_open() {
        let flight = Flight::new(DAY);
        let dots: Vec<_> = std::iter::from_fn(|| take(&flight, 0)).collect();
        assert_eq!(dots.len() as u64, WINDOW);
        assert!(dots.iter().all(|(_, low)| *low == 1));
        flight.settle(dots[1].0);
        assert_eq!(take(&flight, 0), None, "the first one is open still");
        flight.settle(dots[0].0);
        assert_eq!(take(&flight, 0).map(|(dot, low)| (dot.seq, low)), Some((Seq(65), 3)));
    }

    #[test]
    fn identities_end_with_half_their_life_or_when_they_are_refused() {
        let flight = Flight::new(DAY);
        let first = take(&flight, 0).expect("a dot").0;
        let second = take(&flight, 11 * 3_600_000_000).expect("a dot").0;
        assert_eq!((first.pid, second.seq), (second.pid, Seq(2)));
        let third = take(&flight, 13 * 3_600_000_000).expect("a dot").0;
        assert!(third.pid != first.pid && third.seq == Seq(1));
        flight.settle(first);
        flight.abandon(third.pid);
        assert!(take(&flight, 13 * 3_600_000_000).is_some_and(|(dot, low)| dot.pid != third.pid && low == 1));
    }
}
