//! One random history, its faults and its oracle.

use super::hub::Hub;
use crate::codec::Writer;
use crate::ids::{Micros, Pid, Seq};
use crate::limits::{OutboxLimits, TimeLimits};
use crate::outbox::{BatchId, MemorySpool, OutboxLedger, Spool, SpoolOp};
use crate::random::Random;
use crate::session::{Channel, ClientSession, Event, SessionOptions, SpoolRequest};
use crate::wire::{Ack, AckLevel, BatchFrame, Frame, FrameKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Short, so that identities are renewed and expire within a history.
pub const LIFETIME_MS: u64 = 60_000;
const WALL: i64 = 1_700_000_000_000_000;

/// Which faults happen.
#[derive(Clone, Copy)]
pub struct Faults {
    pub loss: bool,
    pub crashes: bool,
    pub expiry: bool,
    /// Writes of the spool fail, for the rest of the process.
    pub spool: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self { loss: true, crashes: true, expiry: true, spool: true }
    }
}

/// A bug planted in the environment or the driver: the oracle must see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    /// The driver says that marks are durable without making them so.
    SendBeforeMark,
    /// The spool answers without the marks it was given.
    SpoolForgetsMarks,
    /// The driver says that a failed write succeeded, and goes on as if it were written.
    IgnoresSpoolLoss,
    HubForgetsDots,
    AckBeforeSync,
}

#[derive(Default)]
pub struct Totals {
    pub applied: u64,
    pub in_doubt: u64,
    pub client_crashes: u64,
    pub hub_crashes: u64,
    pub spool_losses: u64,
    pub spools_mended: u64,
    pub left: u64,
    pub identities: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.applied += other.applied;
        self.in_doubt += other.in_doubt;
        self.client_crashes += other.client_crashes;
        self.hub_crashes += other.hub_crashes;
        self.spool_losses += other.spool_losses;
        self.spools_mended += other.spools_mended;
        self.left += other.left;
        self.identities += other.identities;
    }
}

/// Frames to the hub, frames back.
type ControlStream = (VecDeque<Vec<u8>>, VecDeque<Vec<u8>>);

struct World {
    rng: Random,
    now: Micros,
    faults: Faults,
    bug: Option<Bug>,
    session: ClientSession,
    spool: MemorySpool,
    pending: Option<Vec<SpoolOp>>,
    /// The spool takes no more writes.
    broken: bool,
    hub: Hub,
    /// Batches under way; they outlive their connection.
    to_hub: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    /// The control stream of the present connection, in order.
    control: Option<ControlStream>,
    frozen: BTreeSet<Vec<u8>>,
    /// Frozen, and not in the spool when the process crashed.
    exposed: BTreeSet<Vec<u8>>,
    sent: BTreeMap<(Pid, Seq), Vec<u8>>,
    acked: BTreeSet<Vec<u8>>,
    past: Vec<OutboxLedger>,
    pids: BTreeSet<Pid>,
    totals: Totals,
}

pub fn run(seed: u64, faults: Faults, bug: Option<Bug>) -> Result<Totals, String> {
    let mut world = World::new(seed, faults, bug);
    for _ in 0..600 {
        world.step()?;
    }
    world.heal()?;
    world.check()?;
    world.totals.identities = world.pids.len() as u64 - 1;
    Ok(world.totals)
}

fn session(seed: u64, now: Micros, spool: &mut MemorySpool) -> ClientSession {
    let mut rng = Random::new(seed);
    let random = move |bytes: &mut [u8]| bytes.iter_mut().for_each(|b| *b = rng.next() as u8);
    let options = SessionOptions {
        persistent: true,
        outbox: OutboxLimits { memory_bytes_max: 100, ..OutboxLimits::NATIVE },
        times: TimeLimits { pid_lifetime: Duration::from_millis(LIFETIME_MS), ..TimeLimits::PERSISTENT },
        ..SessionOptions::default()
    };
    let saved = spool.load().expect("memory");
    ClientSession::new(options, Box::new(random), now, Micros(WALL + now.0), Some(&saved))
}

/// A payload that only its number tells from others.
fn payload(number: u64) -> Vec<u8> {
    let mut bytes = vec![1, 1, 0, 0, 1];
    bytes.put_varint(number);
    bytes.extend_from_slice(&[1, 1, 0, 0, 0]);
    bytes
}

impl World {
    fn new(seed: u64, faults: Faults, bug: Option<Bug>) -> Self {
        let (mut spool, mut hub) = (MemorySpool::default(), Hub::new());
        hub.forgets_dots = bug == Some(Bug::HubForgetsDots);
        hub.acks_before_sync = bug == Some(Bug::AckBeforeSync);
        let session = session(seed, Micros(0), &mut spool);
        Self {
            rng: Random::new(seed ^ 0x5eed),
            now: Micros(0),
            faults,
            bug,
            session,
            spool,
            pending: None,
            broken: false,
            hub,
            to_hub: Vec::new(),
            answers: Vec::new(),
            control: None,
            frozen: BTreeSet::new(),
            exposed: BTreeSet::new(),
            sent: BTreeMap::new(),
            acked: BTreeSet::new(),
            past: Vec::new(),
            pids: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now.0 += 1_000 * self.rng.below(50) as i64;
        match self.rng.below(100) {
            0..25 => self.freeze(),
            25..50 => self.deliver_batch(),
            50..70 => self.deliver_answer(),
            70..80 => self.deliver_control(),
            80..88 => self.answers.extend(self.hub.sync()),
            88..90 => self.disconnect(),
            91 if self.faults.crashes => self.crash_client(),
            92 if self.faults.crashes => self.crash_hub(),
            90 if self.faults.spool => self.lose_spool(),
            95..97 => self.mend_spool(),
            93 => self.now.0 += 1_000_000 * self.rng.below(30) as i64,
            94 if self.faults.expiry => {
                let old =
                    self.hub_ms().saturating_sub(LIFETIME_MS / if self.rng.percent(30) { 8 } else { 1 });
                self.hub.expire(old);
            }
            _ => self.commit(true),
        }
        self.drive();
        self.check_once()
    }

    fn hub_ms(&self) -> u64 {
        ((WALL + self.now.0) / 1_000) as u64
    }

    fn freeze(&mut self) {
        if self.session.has_room() && self.session.ledger().held_batches < 90 {
            let payload = payload(self.frozen.len() as u64);
            self.frozen.insert(payload.clone());
            self.session.freeze(self.now, payload, 1);
        }
    }

    /// What a driver does after every call.
    fn drive(&mut self) {
        if self.session.poll_timeout().is_some_and(|due| due <= self.now) {
            self.session.handle_timeout(self.now);
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connect if self.rng.percent(70) => {
                    self.control = Some((VecDeque::new(), VecDeque::new()));
                    self.session.handle_connected(self.now);
                }
                Event::Connect | Event::Unresponsive => self.disconnect(),
                _ => {}
            }
        }
        self.commit(false);
        while let Some(transmit) = self.session.poll_transmit(self.now) {
            self.pids.insert(self.session.pid());
            match transmit.channel {
                Channel::Control => {
                    if let Some((out, _)) = &mut self.control {
                        out.push_back(transmit.frame);
                    }
                }
                Channel::Batch(id) => self.send_batch(id, transmit.frame),
            }
        }
    }

    fn send_batch(&mut self, id: BatchId, bytes: Vec<u8>) {
        let batch: BatchFrame =
            Frame::read_only(&bytes, 1 << 20).and_then(|f| f.decode()).expect("own batch");
        let first = self.sent.entry((batch.pid, batch.seq)).or_insert_with(|| batch.payload.clone());
        assert!(*first == batch.payload || self.bug.is_some(), "a dot was used for two payloads");
        if self.faults.loss && self.rng.percent(15) {
            if self.rng.percent(50) {
                self.session.handle_send_failed(self.now, id);
            }
            return;
        }
        if self.faults.loss && self.rng.percent(10) {
            self.to_hub.push(bytes.clone());
        }
        self.to_hub.push(bytes);
    }

    /// Storage takes its time: a commit is asked for now and durable at some later step.
    fn commit(&mut self, finish: bool) {
        loop {
            if finish && let Some(ops) = self.pending.take() {
                self.apply(&ops);
                self.session.handle_committed(self.now);
            }
            match self.session.poll_spool() {
                Some(SpoolRequest::Commit(ops)) if self.bug == Some(Bug::SendBeforeMark) => {
                    self.session.handle_committed(self.now);
                    self.pending = Some([self.pending.take().unwrap_or_default(), ops].concat());
                }
                Some(SpoolRequest::Commit(_)) if self.broken => self.session.handle_committed(self.now),
                Some(SpoolRequest::Commit(ops)) => self.pending = Some(ops),
                Some(SpoolRequest::Load(id)) => {
                    let payload = self.spool.payload(id).ok();
                    self.session.handle_loaded(self.now, id, payload);
                }
                None => return,
            }
        }
    }

    /// The write under way fails, and may have reached the disk all the same; all later ones fail too.
    fn lose_spool(&mut self) {
        let Some(ops) = self.pending.take() else { return };
        if self.rng.percent(50) {
            self.apply(&ops);
        }
        self.broken = true;
        self.totals.spool_losses += 1;
        if self.bug == Some(Bug::IgnoresSpoolLoss) {
            self.session.handle_committed(self.now);
        } else {
            self.session.handle_spool_lost(self.now);
        }
    }

    /// The disk is well again, and the process opens its spool anew as soon as it can.
    fn mend_spool(&mut self) {
        let saved = self.spool.load().expect("memory");
        if self.broken && self.session.wants_spool() && self.session.handle_spool_reopened(self.now, &saved) {
            self.broken = false;
            self.totals.spools_mended += 1;
        }
    }

    fn apply(&mut self, ops: &[SpoolOp]) {
        let forgets = self.bug == Some(Bug::SpoolForgetsMarks);
        let keep = |op: &&SpoolOp| !(forgets && matches!(op, SpoolOp::Transmit { .. }));
        let ops: Vec<SpoolOp> = ops.iter().filter(keep).cloned().collect();
        self.spool.commit(&ops).expect("memory");
    }

    fn deliver_batch(&mut self) {
        if !self.to_hub.is_empty() {
            let at = self.rng.below(self.to_hub.len() as u64) as usize;
            let bytes = self.to_hub.swap_remove(at);
            let wall = Micros(WALL + self.now.0);
            self.answers.extend(self.hub.handle(wall, &bytes));
        }
    }

    fn deliver_answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let at = self.rng.below(self.answers.len() as u64) as usize;
        let bytes = self.answers.swap_remove(at);
        if self.faults.loss && self.rng.percent(15) {
            return;
        }
        if self.faults.loss && self.rng.percent(10) {
            self.answers.push(bytes.clone());
        }
        self.answer_client(&bytes);
    }

    fn answer_client(&mut self, bytes: &[u8]) {
        let frame = Frame::read_only(bytes, 1 << 20).expect("hub frame");
        if frame.kind == FrameKind::Ack {
            let ack: Ack = frame.decode().expect("ack");
            let payload = self.sent.get(&(ack.pid, ack.seq)).filter(|_| ack.level >= AckLevel::Durable);
            self.acked.extend(payload.cloned());
        }
        self.session.handle_frame(self.now, frame).expect("the hub keeps the protocol");
    }

    fn deliver_control(&mut self) {
        let Some((out, back)) = &mut self.control else { return };
        let wall = Micros(WALL + self.now.0);
        if let Some(bytes) = out.pop_front() {
            back.extend(self.hub.handle(wall, &bytes));
        } else if let Some(bytes) = back.pop_front() {
            self.answer_client(&bytes);
        }
    }

    fn disconnect(&mut self) {
        self.control = None;
        self.session.handle_disconnected(self.now);
    }

    fn crash_hub(&mut self) {
        self.totals.hub_crashes += 1;
        self.hub.crash();
        self.disconnect();
    }

    fn crash_client(&mut self) {
        self.totals.client_crashes += 1;
        if let Some(ops) = self.pending.take()
            && self.rng.percent(50)
        {
            self.apply(&ops);
        }
        let ids: Vec<BatchId> = self.spool.load().expect("memory").batches.iter().map(|b| b.id).collect();
        let kept: BTreeSet<Vec<u8>> =
            ids.into_iter().map(|id| self.spool.payload(id).expect("memory")).collect();
        self.exposed.extend(self.frozen.difference(&kept).cloned());
        self.restart();
    }

    /// The next process.
    fn restart(&mut self) {
        let ledger = self.session.ledger();
        self.totals.left += ledger.left_batches;
        self.past.push(ledger);
        (self.control, self.broken) = (None, false);
        let seed = self.rng.next();
        self.session = session(seed, self.now, &mut self.spool);
    }

    fn check_once(&self) -> Result<(), String> {
        match self.hub.counts().iter().find(|(_, count)| **count > 1) {
            Some((payload, count)) => Err(format!("{payload:?} counts {count} times")),
            None => Ok(()),
        }
    }

    fn heal(&mut self) -> Result<(), String> {
        (self.faults.loss, self.faults.crashes, self.faults.spool) = (false, false, false);
        for _ in 0..100_000 {
            let ledger = self.session.ledger();
            if ledger.left_batches > 0 && ledger.left_batches == ledger.held_batches {
                self.restart();
            } else if ledger.held_batches == 0 && self.pending.is_none() {
                self.hub.sync();
                return self.check_once();
            }
            self.now.0 += 20_000;
            self.drive();
            self.deliver_control();
            self.deliver_batch();
            self.answers.extend(self.hub.sync());
            self.deliver_answer();
            self.commit(true);
            self.check_once()?;
        }
        Err(format!("no progress: {:?}", self.session.ledger()))
    }

    fn check(&mut self) -> Result<(), String> {
        let counts = self.hub.counts();
        if let Some(lost) = self.acked.iter().find(|payload| !counts.contains_key(*payload)) {
            return Err(format!("{lost:?} was acked and is lost"));
        }
        let (mut dropped, mut doubt) = (0, 0);
        self.past.push(self.session.ledger());
        for ledger in &self.past {
            let sum = ledger.acked_batches
                + ledger.dropped_batches
                + ledger.dropped_in_doubt_batches
                + ledger.held_batches;
            if sum != ledger.frozen_batches || ledger.frozen_events != ledger.frozen_batches {
                return Err(format!("the ledger does not add up: {ledger:?}"));
            }
            dropped += ledger.dropped_batches;
            doubt += ledger.in_doubt_batches;
        }
        let missing =
            self.frozen.iter().filter(|p| !counts.contains_key(*p) && !self.exposed.contains(*p)).count();
        if missing as u64 > dropped + doubt {
            return Err(format!("{missing} batches lost, {dropped} dropped and {doubt} in doubt counted"));
        }
        self.totals.applied = counts.len() as u64;
        self.totals.in_doubt = doubt;
        Ok(())
    }
}
