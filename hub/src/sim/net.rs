//! A network: packets are lost, doubled, delayed, overtaken, and cut off.

use super::Random;
use headwater::ids::Micros;
use std::collections::BTreeSet;

/// What the network does to packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetFaults {
    /// Percent that never arrive.
    pub(crate) loss: u64,
    /// Percent that arrive twice.
    pub(crate) doubled: u64,
    /// The longest way, microseconds; each packet takes any time up to that, so they overtake each other.
    pub(crate) delay_max: i64,
}

/// Packets under way between nodes named by `A`.
#[derive(Debug)]
pub(crate) struct Net<A, P> {
    faults: NetFaults,
    /// Directed pairs between which nothing arrives.
    cut: BTreeSet<(A, A)>,
    under_way: Vec<(Micros, A, A, P)>,
    /// Faults so far.
    pub(crate) injected: u64,
}

impl<A: Copy + Ord, P: Clone> Net<A, P> {
    pub(crate) fn new(faults: NetFaults) -> Self {
        Self { faults, cut: BTreeSet::new(), under_way: Vec::new(), injected: 0 }
    }

    /// From now on.
    pub(crate) fn set_faults(&mut self, faults: NetFaults) {
        self.faults = faults;
    }

    /// Nothing arrives between the two any more, in either direction.
    pub(crate) fn cut(&mut self, a: A, b: A) {
        self.injected += 1;
        self.cut.extend([(a, b), (b, a)]);
    }

    /// Every cut is mended.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, a: A, b: A) -> bool {
        self.cut.contains(&(a, b))
    }

    pub(crate) fn send(&mut self, random: &mut Random, now: Micros, from: A, to: A, packet: P) {
        let copies = match random.next() % 100 {
            chance if chance < self.faults.loss => 0,
            chance if chance < self.faults.loss + self.faults.doubled => 2,
            _ => 1,
        };
        self.injected += u64::from(copies != 1);
        for _ in 0..copies {
            let due = Micros(now.0 + random.between(0, self.faults.delay_max));
            self.under_way.push((due, from, to, packet.clone()));
        }
    }

    /// Any of the packets that are due: where from, where to, what.
    pub(crate) fn deliver(&mut self, random: &mut Random, now: Micros) -> Option<(A, A, P)> {
        let due: Vec<usize> = (0..self.under_way.len()).filter(|at| self.under_way[*at].0 <= now).collect();
        let (_, from, to, packet) = self.under_way.swap_remove(*due.get(random.below(due.len()))?);
        (!self.is_cut(from, to)).then_some((from, to, packet))
    }

    /// When the next packet is due.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        self.under_way.iter().map(|packet| packet.0).min()
    }
}
