//! How many bytes of frames may be in the hub at a time: per connection and in all.
//!
//! Invariant: a frame's bytes are taken from both budgets before the frame is buffered and given back when
//! it has left the hub's hands, so the memory of unfinished input is at most the hub's budget.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The hub's budget and, made from it, one per connection.
#[derive(Clone, Debug)]
pub struct Budget {
    all: Arc<Semaphore>,
    mine: Arc<Semaphore>,
}

/// Bytes taken; dropping it gives them back.
#[derive(Debug)]
pub struct Taken {
    _all: OwnedSemaphorePermit,
    _mine: OwnedSemaphorePermit,
}

impl Budget {
    /// A hub's budget, in bytes.
    pub fn new(bytes: u32) -> Self {
        let all = Arc::new(Semaphore::new(bytes as usize));
        Self { mine: Arc::clone(&all), all }
    }

    /// A connection's budget of `bytes` within the hub's.
    #[must_use]
    pub fn connection(&self, bytes: u32) -> Self {
        Self { all: Arc::clone(&self.all), mine: Arc::new(Semaphore::new(bytes as usize)) }
    }

    /// Waits until `bytes` are free. `None` when the budget could never hold them or is closed.
    pub async fn take(&self, bytes: u32) -> Option<Taken> {
        // The connection's first: who floods waits for itself and not with the hub's bytes in hand.
        let mine = Arc::clone(&self.mine).acquire_many_owned(bytes).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(bytes).await.ok()?;
        Some(Taken { _all: all, _mine: mine })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_connection_waits_for_its_own_bytes_and_not_for_others() {
        let hub = Budget::new(100);
        let (first, second) = (hub.connection(10), hub.connection(10));
        let held = first.take(8).now_or_never().flatten().expect("free");
        assert!(first.take(3).now_or_never().is_none(), "over the connection's budget");
        assert!(second.take(10).now_or_never().flatten().is_some());
        drop(held);
        assert!(first.take(3).now_or_never().flatten().is_some());
    }

    #[test]
    fn all_connections_share_the_hub() {
        let hub = Budget::new(10);
        let held = hub.connection(10).take(8).now_or_never().flatten();
        assert!(held.is_some() && hub.connection(10).take(8).now_or_never().is_none());
    }
}
