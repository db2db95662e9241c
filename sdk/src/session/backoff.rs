//! How long to wait before trying again.

use core::time::Duration;

/// Exponential waits with jitter and a cap. There is no giving up here: the outbox keeps what it has, and
/// its limits, not a number of attempts, decide what the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait. Default 100 ms: a hub that restarts is found again within a blink.
    pub min: Duration,
    /// The longest wait. Default 10 s: an outage of any length ends at most this much later for a client.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait before attempt number `attempt` (from 0): doubled each time up to the cap, of which the upper
    /// half is random, so that a thousand clients do not come back at once.
    pub fn wait(&self, attempt: u32, random: u16) -> Duration {
        let factor = 1u64 << attempt.min(31);
        let full = whole_micros(self.min).saturating_mul(factor).min(whole_micros(self.max));
        let half = full / 2;
        // half * random >> 16, without a product of more than 64 bits.
        let random = u64::from(random);
        Duration::from_micros(half + (half >> 16) * random + (((half & 0xffff) * random) >> 16))
    }
}

/// One copy, and no number of more than 64 bits: pages download this.
#[inline(never)]
pub(super) fn whole_micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_half_of_them_is_random() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(0, 0), Duration::from_millis(50));
        assert_eq!(backoff.wait(1, 0x8000), Duration::from_millis(150));
        assert_eq!(backoff.wait(60, 0), Duration::from_secs(5));
        assert!(backoff.wait(u32::MAX, u16::MAX) <= backoff.max);
    }
}
