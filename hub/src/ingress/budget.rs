//! How many bytes of frames may be in the hub at a time: per connection, per door and in all.
//!
//! Two rules, because two kinds of harm. A body's announced size is taken from its own connection's share
//! before the first byte is read: who announces much waits for itself. From what connections share, bytes
//! are taken as they arrive: what is announced and never sent costs nobody else anything.
//!
//! Invariant: the memory of unfinished input is at most the hub's budget and `FINISHERS` frames.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies that may be completed above the shared budget at a time. Without them bodies that each hold a part
/// and wait for the rest could use the budget up and wait for each other.
const FINISHERS: usize = 4;

/// The hub's budget and, made from it, those of doors and connections.
#[derive(Clone, Debug)]
pub struct Budget {
    /// From the hub's inwards; the last one is a connection's own.
    levels: Vec<Arc<Semaphore>>,
    finishers: Arc<Semaphore>,
    /// Of the hub's.
    bytes: usize,
}

/// Bytes taken; dropping it gives them back.
#[derive(Debug)]
pub struct Taken {
    shared: Vec<Arc<Semaphore>>,
    finishers: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    finisher: Option<OwnedSemaphorePermit>,
    _claim: OwnedSemaphorePermit,
}

impl Budget {
    /// A hub's budget, in bytes.
    pub fn new(bytes: u32) -> Self {
        Self {
            levels: vec![Arc::new(Semaphore::new(bytes as usize))],
            finishers: Arc::new(Semaphore::new(FINISHERS)),
            bytes: bytes as usize,
        }
    }

    /// A door's or a connection's budget of `bytes` within this one.
    #[must_use]
    pub fn within(&self, bytes: u32) -> Self {
        let mut levels = self.levels.clone();
        levels.push(Arc::new(Semaphore::new(bytes as usize)));
        Self { levels, finishers: Arc::clone(&self.finishers), bytes: self.bytes }
    }

    /// Bytes of the hub's budget in use.
    pub fn used(&self) -> usize {
        self.levels.first().map_or(0, |all| self.bytes.saturating_sub(all.available_permits()))
    }

    /// Waits until the connection has room for a body of `bytes`. `None` when the budget was closed.
    pub async fn claim(&self, bytes: u32) -> Option<Taken> {
        let (mine, shared) = self.levels.split_last()?;
        let claim = Arc::clone(mine).acquire_many_owned(bytes).await.ok()?;
        Some(Taken {
            shared: shared.to_vec(),
            finishers: Arc::clone(&self.finishers),
            held: Vec::with_capacity(shared.len()),
            finisher: None,
            _claim: claim,
        })
    }
}

impl Taken {
    /// `bytes` more of the body arrived: waits until what connections share has room for them.
    pub async fn arrived(&mut self, bytes: usize) {
        if self.finisher.is_some() {
            return;
        }
        let Ok(bytes) = u32::try_from(bytes) else { return };
        let mut taken = Vec::with_capacity(self.shared.len());
        // A door's share first: a door that is full waits for itself and not with the hub's bytes in hand.
        for level in self.shared.iter().rev() {
            tokio::select! {
                biased;
                Ok(permit) = Arc::clone(level).acquire_many_owned(bytes) => taken.push(permit),
                Ok(permit) = Arc::clone(&self.finishers).acquire_owned() => {
                    self.finisher = Some(permit);
                    return;
                }
                else => return,
            }
        }
        self.keep(taken);
    }

    fn keep(&mut self, taken: Vec<OwnedSemaphorePermit>) {
        if self.held.is_empty() {
            self.held = taken;
            return;
        }
        for (held, more) in self.held.iter_mut().zip(taken) {
            held.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn claim(budget: &Budget, bytes: u32) -> Option<Taken> {
        budget.claim(bytes).now_or_never().flatten()
    }

    #[test]
    fn a_connection_waits_for_its_own_bytes_and_not_for_others() {
        let hub = Budget::new(100);
        let (first, second) = (hub.within(10), hub.within(10));
        let held = claim(&first, 8).expect("free");
        assert!(claim(&first, 3).is_none(), "over the connection's budget");
        assert!(claim(&second, 10).is_some());
        drop(held);
        assert!(claim(&first, 3).is_some());
    }

    #[test]
    fn what_is_announced_and_not_sent_costs_others_nothing() {
        let hub = Budget::new(10);
        let announced: Vec<_> = (0..100).filter_map(|_| claim(&hub.within(10), 10)).collect();
        let mut other = claim(&hub.within(10), 10).expect("free");
        assert_eq!((announced.len(), other.arrived(10).now_or_never()), (100, Some(())));
        drop(other);
        assert_eq!(hub.used(), 0, "given back");
    }

    #[test]
    fn a_full_door_leaves_the_rest_of_the_hub_to_others() {
        let hub = Budget::new(10 + 1);
        let door = hub.within(10);
        let mut bodies: Vec<_> = (0..10).filter_map(|_| claim(&door.within(9), 9)).collect();
        for body in &mut bodies {
            // Five bytes each: two bodies fill the door, four go on above it.
            let _ = body.arrived(5).now_or_never();
        }
        assert_eq!(hub.levels[0].available_permits(), 1);
        assert_eq!(bodies.iter().filter(|body| body.finisher.is_some()).count(), FINISHERS);
        assert_eq!(claim(&hub.within(9), 1).expect("free").arrived(1).now_or_never(), Some(()));
    }

    #[test]
    fn bodies_that_wait_for_each_other_are_completed() {
        let hub = Budget::new(10);
        let mut bodies: Vec<_> = (0..10).filter_map(|_| claim(&hub.within(2), 2)).collect();
        assert!(bodies.iter_mut().all(|body| body.arrived(1).now_or_never().is_some()));
        while let Some(mut body) = bodies.pop() {
            assert!(body.arrived(1).now_or_never().is_some(), "{} bodies wait for ever", bodies.len() + 1);
        }
    }
}
