//! An outbox over a disk that fails at every single write and sync, and the process after it: rules C2 to C6
//! against an oracle that knows every event.
//!
//! Prevents: events under two dots of which the disk may have one, and a later process sends it; batches that are
//! counted as dropped and applied all the same; batches that nobody counts.

use super::tests::{DyingDisk, open};
use super::*;
use crate::ids::{Micros, RouteVersion};
use crate::limits::{InDoubt, OutboxLimits, Overflow};
use crate::outbox::{Outbox, OutboxLedger, OutboxOptions};
use crate::random::Random;
use crate::wire::{AckLevel, BatchFrame, RefusedCode};
use std::collections::{BTreeMap, BTreeSet};

/// Knows dots, and believes low water: what is below it was given up.
#[derive(Default)]
struct Hub {
    dots: BTreeMap<(Pid, Seq), Vec<u8>>,
    floors: BTreeMap<Pid, Seq>,
    counts: BTreeMap<Vec<u8>, u32>,
    /// Refused once, refused for ever.
    refused: BTreeSet<(Pid, Seq)>,
}

impl Hub {
    /// False when it is refused.
    fn apply(&mut self, frame: &BatchFrame) -> bool {
        if self.refused.contains(&(frame.pid, frame.seq)) {
            return false;
        }
        let floor = self.floors.entry(frame.pid).or_default();
        *floor = (*floor).max(frame.low_water);
        if let Some(known) = self.dots.get(&(frame.pid, frame.seq)) {
            assert_eq!(*known, frame.payload, "one payload per dot");
        } else if frame.seq >= *floor {
            self.dots.insert((frame.pid, frame.seq), frame.payload.clone());
            *self.counts.entry(frame.payload.clone()).or_default() += 1;
        }
        true
    }

    fn refuse(&mut self, frame: &BatchFrame) {
        if !self.dots.contains_key(&(frame.pid, frame.seq)) {
            self.refused.insert((frame.pid, frame.seq));
        }
    }
}

struct World {
    random: Random,
    hub: Hub,
    /// Everything that ever left: the network may deliver any of it again, at any time.
    sent: Vec<BatchFrame>,
    frozen: u64,
    pids: u64,
    policy: InDoubt,
    limits: OutboxLimits,
}

struct Process {
    outbox: Outbox,
    spool: DiskSpool,
    pending: Option<Vec<SpoolOp>>,
    failed: bool,
}

impl World {
    fn new(seed: u64, policy: InDoubt) -> Self {
        let limits = OutboxLimits {
            // Two payloads in memory, eight on disk.
            memory_bytes_max: 14,
            disk_bytes_max: 56,
            overflow: Overflow::DropOldest,
            in_doubt: policy,
            in_flight_max: 3,
        };
        let (random, hub) = (Random::new(seed), Hub::default());
        Self { random, hub, sent: Vec::new(), frozen: 0, pids: 0, policy, limits }
    }

    fn pid(&mut self) -> Pid {
        self.pids += 1;
        Pid::new(1_700_000_000_000 + self.pids, [self.pids as u8; 10])
    }

    fn start(&mut self, disk: DyingDisk) -> Option<Process> {
        let mut spool = open(disk).ok()?;
        let saved = spool.load().ok()?;
        let options = OutboxOptions { limits: self.limits, level: AckLevel::Durable, persistent: true };
        let outbox = Outbox::restore(options, &saved, self.pid());
        Some(Process { outbox, spool, pending: None, failed: false })
    }

    fn step(&mut self, process: &mut Process) {
        match self.random.below(20) {
            0..6 => self.freeze(process),
            6..9 => process.begin_commit(),
            9..13 => process.finish_commit(),
            13..18 => self.exchange(process, 60),
            18 if self.policy == InDoubt::Drop && self.random.below(3) == 0 => {
                let fresh = self.pid();
                process.outbox.expire(fresh);
            }
            18 => process.outbox.handle_disconnected(),
            _ => process.outbox.retire(),
        }
        let fresh = self.pid();
        process.outbox.renew_if_drained(fresh);
    }

    fn freeze(&mut self, process: &mut Process) {
        self.frozen += 1;
        let mut payload = vec![1, 1, 0, 0, 1];
        payload.extend_from_slice(&(self.frozen as u16).to_le_bytes());
        process.outbox.freeze(payload, 1);
    }

    /// Sends what may be sent; answers arrive with a chance of `percent`.
    fn exchange(&mut self, process: &mut Process, percent: u64) {
        process.outbox.pump(Micros(0), RouteVersion(1));
        while let Some(id) = process.outbox.poll_load() {
            let payload = process.spool.payload(id).ok();
            process.outbox.handle_loaded(id, payload);
        }
        while let Some((id, frame)) = process.outbox.poll_send(Micros(0)) {
            self.sent.push(frame.clone());
            let fate = self.random.below(100);
            if fate >= percent && fate % 3 == 1 {
                self.hub.refuse(&frame);
            }
            if fate >= percent && fate % 3 == 2 {
                process.outbox.handle_send_failed(id, Micros(0));
            } else if !self.hub.apply(&frame) {
                let code = RefusedCode::Malformed;
                process.outbox.handle_refused(frame.pid, frame.seq, code, Micros(0));
            } else if fate < percent {
                process.outbox.handle_ack(frame.pid, frame.seq, AckLevel::Durable);
            } else {
                process.outbox.handle_send_failed(id, Micros(0));
            }
        }
    }

    /// Sends all that this process can send.
    fn drain(&mut self, process: &mut Process) -> OutboxLedger {
        for _ in 0..200 {
            process.finish_commit();
            process.begin_commit();
            process.finish_commit();
            process.outbox.handle_disconnected();
            self.exchange(process, 100);
            let fresh = self.pid();
            process.outbox.renew_if_drained(fresh);
        }
        process.finish_commit();
        process.begin_commit();
        process.finish_commit();
        assert!(process.outbox.is_empty(), "no progress: {:#?}", process.outbox);
        process.outbox.ledger()
    }
}

impl Process {
    fn begin_commit(&mut self) {
        if !self.failed && self.pending.is_none() {
            self.pending = self.outbox.take_ops();
        }
    }

    fn finish_commit(&mut self) {
        let Some(ops) = self.pending.take() else { return };
        match self.spool.commit(&ops) {
            Ok(()) => _ = self.outbox.handle_committed(),
            Err(_) => {
                self.failed = true;
                self.outbox.handle_spool_lost();
            }
        }
    }
}

fn doubts(ledger: &OutboxLedger) -> u64 {
    ledger.in_doubt_events - ledger.resent_events
}

fn balance(ledger: &OutboxLedger) {
    let somewhere = ledger.acked_events + ledger.dropped.total() + doubts(ledger) + ledger.held_events;
    assert_eq!(ledger.frozen_events, somewhere, "{ledger:#?}");
}

/// What the oracle says of one history whose disk fails at operation `left`: the number of events not applied, or
/// `None` when the disk lived.
fn run(seed: u64, policy: InDoubt, image: &[u8], left: u64, power_cut: bool) -> Option<u64> {
    let mut world = World::new(seed, policy);
    let disk = DyingDisk::new(image.to_vec(), left);
    let mut first = OutboxLedger::default();
    let mut failed = true;
    if let Some(mut process) = world.start(disk.clone()) {
        for _ in 0..120 {
            world.step(&mut process);
        }
        first = world.drain(&mut process);
        failed = process.failed;
    }
    balance(&first);
    let [synced, written] = disk.images();
    let image = if power_cut { synced } else { written };
    let mut next = world.start(DyingDisk::new(image, u64::MAX)).expect("the next process opens it");
    assert!(next.outbox.ledger().adopted_events >= first.left_events, "what was left must be there");
    world.limits.overflow = Overflow::Backpressure;
    let second = world.drain(&mut next);
    balance(&second);
    assert_eq!(second.held_events, 0);
    for frame in std::mem::take(&mut world.sent) {
        world.hub.apply(&frame);
    }
    let doubled: Vec<_> = world.hub.counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "counted twice: {doubled:?}");
    let lost = world.frozen - world.hub.counts.len() as u64;
    let dropped = first.dropped.total() + second.dropped.total();
    let doubt = doubts(&first) + doubts(&second);
    assert!(dropped <= lost, "{dropped} events are counted as dropped, {lost} are not applied");
    assert!(lost <= dropped + doubt, "{lost} events are not applied, {dropped} dropped, {doubt} in doubt");
    failed.then_some(lost)
}

/// `HEADWATER_RUNS` says how many histories; 4 otherwise.
#[test]
fn wherever_the_disk_fails_no_event_counts_twice_or_is_lost_uncounted() {
    let fresh = DyingDisk::new(Vec::new(), u64::MAX);
    drop(open(fresh.clone()).expect("opens"));
    let image = fresh.images()[1].clone();
    let mut deaths = 0;
    let runs = std::env::var("HEADWATER_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(4);
    for seed in 1..=runs {
        let policy = if seed % 2 == 0 { InDoubt::Resend } else { InDoubt::Drop };
        for left in 0.. {
            let history = || run(seed, policy, &image, left, left % 2 == 0);
            match std::panic::catch_unwind(history) {
                Ok(Some(_)) => deaths += 1,
                Ok(None) => break,
                Err(_) => panic!("seed {seed}, {policy:?}: the disk failed at its operation {left}"),
            }
        }
    }
    assert!(deaths > 200, "only {deaths} failures");
}
