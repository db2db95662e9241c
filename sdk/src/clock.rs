//! Hub-corrected time: what `arrival_timestamp` and birth times are made from.
//!
//! Owns: the offset between a local monotonic clock and the hub's. Must not know: any real clock; local
//! readings are passed in.
//! Invariants: [`HubClock::now`] never goes back for a correction of up to [`STEP_MICROS`] (beyond, a clock was
//! wrong, and standing still until it is caught up would be worse); the offset in force is that of the shortest round trip among
//! the last [`SAMPLES`], because the error of a sample is at most half its round trip (Cristian, 1989). Two answers that
//! contradict these and agree with each other replace them: a clock was set. One alone is not enough.

use crate::ids::Micros;

/// Samples remembered: old ones leave, so that drift between the two clocks is followed.
pub const SAMPLES: usize = 8;

/// A correction backwards by more than this is a step, not a drift that is waited out.
pub const STEP_MICROS: i64 = 1_000_000;

/// Drift of two clocks over [`SAMPLES`] samples, generously: at a minute each 500 ppm. What is apart by more than this,
/// and by more than both round trips explain, was set.
const DRIFT_MICROS: u64 = 250_000;

/// The last time that an identity can be born at: 48 bits of milliseconds, the year 10889.
pub const TIME_MAX: Micros = Micros(((1 << 48) - 1) * 1_000);

#[derive(Clone, Copy, Debug)]
struct Sample {
    round_trip: i64,
    offset: i64,
}

impl Sample {
    /// False when no constant offset gives both answers: one of the clocks was set in between.
    fn agrees(self, other: Self) -> bool {
        // Offsets that wrap around are nonsense anyway; round trips are not negative.
        let apart = self.offset.wrapping_sub(other.offset).unsigned_abs();
        apart <= (self.round_trip as u64 >> 1) + (other.round_trip as u64 >> 1) + DRIFT_MICROS
    }
}

/// Maps local monotonic microseconds to the hub's microseconds since 1970.
#[derive(Clone, Debug)]
pub struct HubClock {
    guess: i64,
    samples: [Option<Sample>; SAMPLES],
    next: usize,
    /// Contradicts the samples; the next one decides.
    suspect: Option<Sample>,
    last: Micros,
}

impl HubClock {
    /// Until the first sample, the local wall clock is the best guess: `wall` is what it showed at `local`.
    pub fn new(wall: Micros, local: Micros) -> Self {
        let wall = wall.clamp(Micros(0), TIME_MAX);
        let guess = wall.0.saturating_sub(local.0);
        Self { guess, samples: [None; SAMPLES], next: 0, suspect: None, last: Micros(i64::MIN) }
    }

    /// Learns from one exchange: sent and received by the local clock, answered at `hub`. Nonsense (an answer
    /// before its question, a time before 1970 or beyond [`TIME_MAX`]) is ignored. True when a clock seems to have been
    /// set: ask again at once, the next answer decides.
    pub fn sample(&mut self, sent: Micros, received: Micros, hub: Micros) -> bool {
        let round_trip = received.0.saturating_sub(sent.0);
        if round_trip < 0 || hub < Micros(0) || hub > TIME_MAX {
            return false;
        }
        let offset = hub.0.saturating_sub(sent.0.saturating_add(round_trip / 2));
        let sample = Sample { round_trip, offset };
        let suspect = self.suspect.take();
        match self.best() {
            // Before the first answer nothing was promised: a wall clock that was ahead must not stop time.
            None => self.last = Micros(i64::MIN),
            Some(best) if best.agrees(sample) => {}
            Some(_) if suspect.is_some_and(|suspect| suspect.agrees(sample)) => self.doubt(),
            Some(_) => {
                self.suspect = Some(sample);
                // Not again for answers that contradict each other, too: whoever gives them would be asked for ever.
                return suspect.is_none();
            }
        }
        self.samples[self.next] = Some(sample);
        self.next = (self.next + 1) % SAMPLES;
        false
    }

    /// What was learnt is doubtful: another hub, or one whose clock has jumped. The next answer decides alone; until
    /// then the offset stays.
    pub fn doubt(&mut self) {
        self.guess = self.offset();
        self.suspect = None;
        self.samples = [None; SAMPLES];
    }

    /// True once a hub has answered.
    pub fn is_synced(&self) -> bool {
        self.best().is_some()
    }

    /// The largest error of [`now`](Self::now), microseconds; `None` before the first answer.
    pub fn error_max(&self) -> Option<i64> {
        self.best().map(|sample| sample.round_trip / 2)
    }

    /// What to add to a local reading.
    pub fn offset(&self) -> i64 {
        self.best().map_or(self.guess, |sample| sample.offset)
    }

    /// The hub's time at a local reading; not earlier than an answer before, unless a clock was wrong.
    pub fn now(&mut self, local: Micros) -> Micros {
        let now = Micros(local.0.saturating_add(self.offset())).clamp(Micros(0), TIME_MAX);
        let is_step = self.last.0.saturating_sub(now.0) > STEP_MICROS;
        self.last = if is_step { now } else { self.last.max(now) };
        self.last
    }

    fn best(&self) -> Option<Sample> {
        let mut best: Option<Sample> = None;
        for sample in self.samples.into_iter().flatten() {
            if best.is_none_or(|best| sample.round_trip < best.round_trip) {
                best = Some(sample);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_wins() {
        let mut clock = HubClock::new(Micros(5_000), Micros(0));
        assert_eq!((clock.now(Micros(10)), clock.is_synced()), (Micros(5_010), false));
        // The answer took 100 there and 100 back.
        clock.sample(Micros(100), Micros(300), Micros(1_000_200));
        assert_eq!(clock.offset(), 1_000_000);
        // A lopsided answer with a longer round trip changes nothing.
        clock.sample(Micros(400), Micros(1_400), Micros(1_000_410));
        assert_eq!((clock.offset(), clock.error_max()), (1_000_000, Some(100)));
        clock.sample(Micros(2_000), Micros(2_020), Micros(1_002_011));
        assert_eq!(clock.offset(), 1_000_001);
    }

    #[test]
    fn it_never_goes_back_once_synced() {
        let mut clock = HubClock::new(Micros(9_000_000), Micros(0));
        assert_eq!(clock.now(Micros(0)), Micros(9_000_000));
        clock.sample(Micros(0), Micros(20), Micros(1_010));
        assert_eq!(clock.now(Micros(20)), Micros(1_020), "the guess was ahead");
        clock.sample(Micros(30), Micros(40), Micros(535));
        assert_eq!(clock.now(Micros(41)), Micros(1_020));
        assert_eq!(clock.now(Micros(2_000)), Micros(2_500));
    }

    /// Prevents: a hub that once said 2100 makes a client's identities be born in the future for ever.
    #[test]
    fn a_clock_that_was_absurd_is_left_at_once() {
        let mut clock = HubClock::new(Micros(0), Micros(0));
        clock.sample(Micros(0), Micros(2), Micros(4_000_000_000_000_000));
        assert_eq!(clock.now(Micros(2)), Micros(4_000_000_000_000_001));
        clock.sample(Micros(10), Micros(30), Micros(5_000_020));
        assert!(clock.now(Micros(30)) > Micros(4_000_000_000_000_000), "the shorter round trip wins");
        clock.doubt();
        assert!(clock.now(Micros(40)) > Micros(4_000_000_000_000_000), "nothing better is known");
        clock.sample(Micros(40), Micros(60), Micros(5_000_050));
        assert_eq!(clock.now(Micros(60)), Micros(5_000_060));
    }

    /// Prevents: a hub's clock that is set with connections alive gives a wrong time until the best of eight samples,
    /// one a minute, has left.
    #[test]
    fn two_answers_that_agree_set_the_clock_and_one_does_not() {
        const HOUR: i64 = 3_600_000_000;
        let mut clock = HubClock::new(Micros(0), Micros(0));
        assert!(!clock.sample(Micros(0), Micros(100), Micros(2 * HOUR)));
        let known = clock.offset();
        assert!(clock.sample(Micros(1_000), Micros(9_000), Micros(HOUR + 5_000)), "ask again");
        assert_eq!(clock.offset(), known, "one alone does not decide");
        assert!(!clock.sample(Micros(9_000), Micros(9_900), Micros(HOUR + 9_450)), "it is so");
        assert_eq!(clock.offset(), HOUR);
        // An absurd one among good ones moves nothing, nor do two that contradict each other.
        assert!(clock.sample(Micros(20_000), Micros(20_100), Micros(50 * HOUR)));
        assert!(!clock.sample(Micros(21_000), Micros(21_100), Micros(90 * HOUR)), "not asked for ever");
        assert!(!clock.sample(Micros(22_000), Micros(22_900), Micros(HOUR + 22_450)));
        assert_eq!(clock.offset(), HOUR);
        assert!(clock.sample(Micros(23_000), Micros(23_100), Micros(90 * HOUR)), "the suspect was forgotten");
    }

    /// A long round trip explains a lot, and drift a little.
    #[test]
    fn what_round_trips_and_drift_explain_is_no_step() {
        let mut clock = HubClock::new(Micros(0), Micros(0));
        assert!(!clock.sample(Micros(0), Micros(20), Micros(10)));
        assert!(!clock.sample(Micros(0), Micros(30_000_000), Micros(30_000_000)));
        assert!(!clock.sample(Micros(480_000_000), Micros(480_000_020), Micros(480_240_010)));
        assert_eq!(clock.error_max(), Some(10));
    }

    #[test]
    fn old_samples_leave_and_nonsense_is_ignored() {
        let mut clock = HubClock::new(Micros(0), Micros(0));
        clock.sample(Micros(10), Micros(5), Micros(99));
        assert!(!clock.is_synced());
        clock.sample(Micros(0), Micros(0), Micros(100));
        for i in 0..SAMPLES as i64 {
            clock.sample(Micros(i), Micros(i + 10), Micros(i + 5 + 200));
        }
        assert_eq!(clock.offset(), 200);
        clock.sample(Micros(i64::MIN), Micros(i64::MAX), Micros(i64::MAX));
        let _ = clock.now(Micros(i64::MAX));
    }
}
