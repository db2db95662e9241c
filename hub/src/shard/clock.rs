//! The hub's clocks, and which time may remove things.
//!
//! Owns: the rule that what is removed by time (producers' sessions, rows past their `ttl`) is removed by a clock that
//! can be believed only. Must not know: what is removed, the store, any real clock but in [`Clock::system`].
//! Invariants: a wall clock is believed when steady time explains where it stands, or when it went back; one that is
//! ahead by more is believed once it has kept time for [`HOLD`] of one run. Until then time goes on from where it was
//! believed last: [`Belief::time`] is never later than the wall clock.

use headwater::ids::Micros;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How long a wall clock that jumped ahead has to keep time before it removes anything: long enough for NTP, or for
/// somebody who reads the warning.
const HOLD: i64 = 3_600_000_000;
/// A wall clock may be this far ahead of steady time: slewing is slower, and producers may be as far ahead (P2).
const STEP_MAX: i64 = 300_000_000;
/// A hub may have been down this long without its clock being asked.
const DOWN_MAX: i64 = 24 * HOLD;

type Now = Arc<dyn Fn() -> Micros + Send + Sync>;

/// What a hub knows time by.
#[derive(Clone)]
pub struct Clock {
    /// The time of day, which somebody may set.
    pub wall: Now,
    /// Time since some moment of this process, which nobody can set.
    pub steady: Now,
}

/// Both at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) wall: Micros,
    pub(super) steady: Micros,
}

impl Clock {
    /// Those of the machine.
    pub(super) fn system() -> Self {
        let (begun, micros) = (Instant::now(), |micros| Micros(i64::try_from(micros).unwrap_or(i64::MAX)));
        Self {
            wall: Arc::new(move || {
                micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros())
            }),
            steady: Arc::new(move || micros(begun.elapsed().as_micros())),
        }
    }

    /// A wall clock that nobody sets: whatever it shows, that time has passed.
    #[cfg(test)]
    pub(crate) fn unset(now: Now) -> Self {
        Self { wall: now.clone(), steady: now }
    }

    pub(super) fn read(&self) -> Reading {
        Reading { wall: (self.wall)(), steady: (self.steady)() }
    }
}

impl Reading {
    /// By how much the wall clock of `now` is ahead of this one, seen by steady time.
    fn ahead(&self, now: Reading) -> i64 {
        now.wall.0.saturating_sub(self.line(now.steady).0)
    }

    /// The wall time that `steady` should show.
    fn line(&self, steady: Micros) -> Micros {
        Micros(self.wall.0.saturating_add(steady.0.saturating_sub(self.steady.0)))
    }
}

/// What a look at the clocks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The wall clock is ahead by this (microseconds) without an explanation: what time removes waits.
    Jump(i64),
    /// It is back where it should be.
    Return,
    /// It has kept its time for [`HOLD`]: it is believed.
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    seen: Reading,
    /// Believed then, by steady time.
    until: Micros,
}

/// How far the wall clock is believed.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    believed: Reading,
    /// How far ahead of that it may be.
    ahead_max: i64,
    jump: Option<Jump>,
}

impl Belief {
    /// `stored` is the newest time that the hub believed in its last run.
    pub(super) fn new(stored: Micros, now: Reading) -> Self {
        let believed = Reading { wall: stored, steady: now.steady };
        Self { believed, ahead_max: DOWN_MAX, jump: None }
    }

    /// Compares the clocks. Call it often: the time between two looks is where a jump hides.
    pub(super) fn look(&mut self, now: Reading) -> Option<Found> {
        let ahead = self.believed.ahead(now);
        if ahead <= self.ahead_max {
            let jump = self.jump.take();
            self.believe(now);
            return jump.map(|_| Found::Return);
        }
        match &mut self.jump {
            Some(jump) if jump.seen.ahead(now).saturating_abs() <= STEP_MAX => {
                jump.seen = now;
                let is_kept = now.steady >= jump.until;
                is_kept.then(|| {
                    self.believe(now);
                    Found::Kept
                })
            }
            // Anew: a clock that goes on jumping keeps no time.
            _ => {
                self.jump = Some(Jump { seen: now, until: Micros(now.steady.0.saturating_add(HOLD)) });
                Some(Found::Jump(ahead))
            }
        }
    }

    fn believe(&mut self, now: Reading) {
        *self = Self { believed: now, ahead_max: STEP_MAX, jump: None };
    }

    /// The time by which things may be removed.
    pub(super) fn time(&self, now: Reading) -> Micros {
        match self.jump {
            None if self.believed.ahead(now) <= self.ahead_max => now.wall,
            _ => now.wall.min(self.believed.line(now.steady)),
        }
    }

    /// When the jump that is waited out will be believed, by steady time.
    pub(super) fn until(&self) -> Option<Micros> {
        self.jump.map(|jump| jump.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * HOLD;

    fn at(wall: i64, steady: i64) -> Reading {
        Reading { wall: Micros(wall), steady: Micros(steady) }
    }

    /// A hub whose clock was 30 days ahead for one start forgot everybody, for good.
    #[test]
    fn a_start_with_a_clock_ahead_removes_nothing() {
        let mut belief = Belief::new(Micros(1_000), at(30 * DAY, 7));
        assert_eq!(belief.time(at(30 * DAY, 7)), Micros(1_000), "not before the first look either");
        assert_eq!(belief.look(at(30 * DAY, 7)), Some(Found::Jump(30 * DAY - 1_000)));
        let later = at(30 * DAY + 60, 67);
        assert_eq!((belief.look(later), belief.time(later)), (None, Micros(1_060)));
        assert_eq!(belief.until(), Some(Micros(HOLD + 7)));
        let mended = at(1_090, 97);
        assert_eq!((belief.look(mended), belief.time(mended)), (Some(Found::Return), Micros(1_090)));
        assert_eq!(belief.until(), None);
    }

    #[test]
    fn a_hub_that_was_down_for_a_week_removes_again_after_an_hour() {
        let mut belief = Belief::new(Micros(0), at(7 * DAY, 0));
        assert_eq!(belief.look(at(7 * DAY, 0)), Some(Found::Jump(7 * DAY)));
        let hour = at(7 * DAY + HOLD, HOLD);
        assert_eq!((belief.look(hour), belief.time(hour)), (Some(Found::Kept), hour.wall));
        let mut short = Belief::new(Micros(0), at(DAY, 0));
        assert_eq!((short.look(at(DAY, 0)), short.time(at(DAY, 0))), (None, Micros(DAY)));
    }

    /// A clock that was set 40 days ahead emptied views with a `ttl` within a minute.
    #[test]
    fn a_step_while_running_is_waited_out() {
        let mut belief = Belief::new(Micros(0), at(0, 0));
        assert_eq!(belief.look(at(0, 0)), None);
        assert_eq!(belief.look(at(STEP_MAX, 0)), None, "as far as a clock may go");
        let step = at(40 * DAY, 1_000);
        assert_eq!(belief.time(step), Micros(STEP_MAX + 1_000), "not before it is looked at either");
        assert!(matches!(belief.look(step), Some(Found::Jump(_))));
        assert_eq!(belief.look(at(39 * DAY, 2_000)), Some(Found::Jump(39 * DAY - STEP_MAX - 2_000)));
        assert_eq!(belief.until(), Some(Micros(HOLD + 2_000)), "the wait begins anew");
    }

    #[test]
    fn a_step_back_is_taken_at_once_and_a_step_ahead_from_there_is_not() {
        let mut belief = Belief::new(Micros(DAY), at(DAY, 0));
        assert_eq!(belief.look(at(DAY, 0)), None);
        let back = at(0, 1);
        assert_eq!((belief.look(back), belief.time(back)), (None, Micros(0)));
        assert_eq!(belief.look(at(DAY, 2)), Some(Found::Jump(DAY - 1)));
        assert_eq!(belief.time(at(DAY, 2)), Micros(1));
        let _ = belief.look(at(i64::MAX, i64::MAX));
        let _ = belief.look(at(i64::MIN, i64::MAX));
    }
}
