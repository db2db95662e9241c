//! Where connections wait until it is settled who they are.
//!
//! Owns: who waits there, and who has to go when there are too many. Must not know: sockets.
//! Invariants: whoever comes in finds room; of one address at most [`SHARE`] wait, of all at most [`GUESTS_MAX`]. So
//! connections that never prove anything take places from each other only: from their own address first, then from
//! the address that has most.

use crate::ingress::addresses::network;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Connections that wait, of all addresses; each has buffers, and what TLS keeps: about 100 KiB.
pub(super) const GUESTS_MAX: usize = 256;
/// Of one address: a pool of a hundred opens its connections in a few milliseconds each.
pub(super) const SHARE: usize = 64;

/// Who waits, the oldest first.
#[derive(Debug)]
pub(super) struct Lobby {
    max: usize,
    share: usize,
    guests: Mutex<BTreeMap<u64, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    leaves: CancellationToken,
}

/// A connection that waits, for as long as this lives.
#[derive(Debug)]
pub(super) struct Guest {
    number: u64,
    leaves: CancellationToken,
    lobby: Arc<Lobby>,
}

impl Lobby {
    pub fn new(max: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { max, share, guests: Mutex::default() })
    }

    /// Lets a connection in; another one has to go when there are too many.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Guest {
        let address = network(address);
        let mut guests = self.lock();
        if let Some(number) = self.who_goes(&guests, address)
            && let Some(gone) = guests.remove(&number)
        {
            gone.leaves.cancel();
        }
        let number = guests.last_key_value().map_or(0, |(last, _)| last + 1);
        let leaves = CancellationToken::new();
        guests.insert(number, Waiting { address, leaves: leaves.clone() });
        Guest { number, leaves, lobby: Arc::clone(self) }
    }

    /// The oldest of an address that has its share; the oldest of the address with most when all places are taken.
    fn who_goes(&self, guests: &BTreeMap<u64, Waiting>, address: IpAddr) -> Option<u64> {
        let oldest =
            |of: IpAddr| guests.iter().find(|(_, guest)| guest.address == of).map(|(number, _)| *number);
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        guests.values().for_each(|guest| *counts.entry(guest.address).or_default() += 1);
        if counts.get(&address).is_some_and(|count| *count >= self.share) {
            return oldest(address);
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if guests.len() >= self.max { oldest(most.0) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Returns when this connection has to make room.
    pub async fn leaves(&self) {
        self.leaves.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Whoever had to go is not in there any more, and its number may be another's.
        let mut guests = self.lobby.lock();
        if !self.leaves.is_cancelled() {
            guests.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(lobby: &Arc<Lobby>, last: u8) -> Guest {
        lobby.enter(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_address_makes_room_for_itself() {
        let lobby = Lobby::new(10, 2);
        let (other, first, second) = (enter(&lobby, 2), enter(&lobby, 1), enter(&lobby, 1));
        let third = enter(&lobby, 1);
        assert!(first.leaves.is_cancelled() && !second.leaves.is_cancelled() && !other.leaves.is_cancelled());
        drop((first, third, second, other));
        assert!(lobby.lock().is_empty());
    }

    #[test]
    fn a_full_lobby_takes_from_the_address_with_most() {
        let lobby = Lobby::new(3, 2);
        let (other, first, second) = (enter(&lobby, 2), enter(&lobby, 1), enter(&lobby, 1));
        let third = enter(&lobby, 3);
        assert!(first.leaves.is_cancelled() && !second.leaves.is_cancelled() && !other.leaves.is_cancelled());
        drop(third);
        let fourth = enter(&lobby, 4);
        assert!(!second.leaves.is_cancelled(), "there was room");
        drop((fourth, other, second, first));
        assert!(lobby.lock().is_empty());
    }
}
