//! How many connections one remote address has.
//!
//! Owns: the count by address. Must not know: who is refused then.
//! An IPv6 address counts as its /64: that is what one customer of a provider gets, all of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses that have connections.
#[derive(Debug)]
pub(crate) struct Addresses {
    max: u32,
    held: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection of an address, for as long as this lives.
#[derive(Debug)]
pub(crate) struct FromAddress {
    address: IpAddr,
    addresses: Arc<Addresses>,
}

impl Addresses {
    /// At most `max` connections from each.
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// Counts a connection; `None` when its address has as many as it may.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<FromAddress> {
        let address = network(address);
        let mut held = self.lock();
        let count = held.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(FromAddress { address, addresses: Arc::clone(self) })
    }

    /// True when an address has half of what it may, and more: somebody may be forging it.
    pub fn is_crowded(&self, address: IpAddr) -> bool {
        self.lock().get(&network(address)).is_some_and(|count| *count > self.max / 2)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FromAddress {
    fn drop(&mut self) {
        let mut held = self.addresses.lock();
        match held.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.address)),
        }
    }
}

/// IPv4 addresses whole, however they are written; of IPv6 the first half.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let addresses = Addresses::new(2);
        let take = |text: &str| addresses.take(text.parse().expect("an address"));
        let (one, two) = (take("10.0.0.1"), take("::ffff:10.0.0.1"));
        assert!(one.is_some() && two.is_some() && take("10.0.0.1").is_none());
        assert!(addresses.is_crowded(IpAddr::from([10, 0, 0, 1])));
        let (three, four) = (take("2001:db8::1"), take("2001:db8::ffff:2"));
        assert!(three.is_some() && four.is_some() && take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::1").is_some(), "another network");
        drop(one);
        assert!(take("10.0.0.1").is_some());
        drop((two, three, four));
        assert!(addresses.lock().is_empty(), "who has gone costs nothing");
    }
}
