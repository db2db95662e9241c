//! How fast the rows of a load must come, so that nobody holds its place for nothing.
//!
//! Owns: the time that was spent waiting. Must not know: what is waited for. The time that the hub takes for what has
//! come does not count.

use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The pace of one load.
#[derive(Debug)]
pub struct Pace {
    within: Duration,
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// So many bytes must come within each period, or the end.
    pub const BYTES: usize = 64 << 10;

    /// With periods of this length.
    pub fn new(within: Duration) -> Self {
        Self { within, waited: Duration::ZERO, bytes: 0 }
    }

    /// Waits for what comes next; `None` when it is late.
    pub async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let begun = Instant::now();
        let came = timeout(self.within.saturating_sub(self.waited), next).await.ok();
        self.waited += begun.elapsed();
        came
    }

    /// So many bytes have come.
    pub fn came(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= Self::BYTES {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    /// A byte every few seconds held a place for as long as its sender liked.
    #[tokio::test(start_paused = true)]
    async fn bytes_come_at_a_least_rate() {
        let seconds = Duration::from_secs;
        let mut pace = Pace::new(seconds(10));
        for _ in 0..3 {
            assert!(pace.wait(sleep(seconds(3))).await.is_some());
            pace.came(1);
            sleep(seconds(60)).await;
        }
        assert!(pace.wait(sleep(seconds(3))).await.is_none(), "a trickle");
        let mut pace = Pace::new(seconds(10));
        for _ in 0..10 {
            assert!(pace.wait(sleep(seconds(9))).await.is_some());
            pace.came(Pace::BYTES);
        }
    }
}
