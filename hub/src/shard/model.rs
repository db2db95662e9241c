//! The protocol model: random histories against the real [`ShardCore`], with faults, and an oracle afterwards.
//!
//! A port of the executable model that DESIGN.md section 5 was checked with, for a shard group of one copy:
//! four producers, one hub. Messages are lost, doubled and reordered; the hub crashes at any moment and loses what
//! it had not stored; tabs vanish and return with their outbox; producers expire. Then everything heals and the
//! oracle checks: no dot twice, every acknowledged batch present, every other batch present or counted in doubt.
//! Each planted bug must be caught: a model that cannot fail proves nothing.

use super::core::{CoreOptions, HubId, Image, Incoming, Placement, ReplayError, ShardCore, Verdict};
use super::record::{self, Body, Window};
use super::session::Session;
use headwater::ids::{BootId, Dot, Lsn, Micros, Pid, RouteVersion, Seq};
use headwater::wire::batch::payload_hash;
use headwater::wire::{AckLevel, RefusedCode};
use std::collections::{BTreeMap, BTreeSet};

/// Ticks (ms) that a producer lives.
const LIFETIME: u64 = 60;
const STEPS: u32 = 800;

type Bugs = BTreeSet<&'static str>;

/// Violations by seed; empty when the oracle is content.
type Outcome = Result<Stats, String>;

#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    batches: u64,
    in_doubt: u64,
    faults: u64,
}

/// A small deterministic generator (SplitMix64): histories are named by their seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In thousandths.
    fn chance(&mut self, thousandths: u64) -> bool {
        self.next() % 1_000 < thousandths
    }
}

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    log: BTreeMap<u64, Vec<u8>>,
    base: BTreeMap<u64, u32>,
    sessions: BTreeMap<Pid, Session>,
    image: Image,
}

/// A running hub.
struct Hub {
    core: ShardCore,
    /// Appended, not stored.
    pending: Vec<(Lsn, Vec<u8>)>,
    /// Who waits for which dot.
    waiting: Vec<(Dot, Lsn, u64)>,
}

struct Client {
    number: u8,
    pid: Pid,
    seq: u64,
    /// seq -> (batch, transmitted)
    outbox: BTreeMap<u64, (u64, bool)>,
    gone: bool,
}

#[derive(Clone, Debug)]
enum Wire {
    Put { dot: Dot, low_water: u64, batch: u64 },
    Ack { dot: Dot, batch: u64, level: AckLevel },
    Expired { dot: Dot },
}

struct World {
    random: Random,
    bugs: Bugs,
    now: u64,
    disk: Disk,
    hub: Option<Hub>,
    boots: u64,
    clients: Vec<Client>,
    net: Vec<Wire>,
    births: u64,
    batches: u64,
    acked: BTreeSet<u64>,
    in_doubt: BTreeSet<u64>,
    healing: bool,
    faults: u64,
}

fn payload(batch: u64) -> [u8; 8] {
    batch.to_le_bytes()
}

impl Hub {
    fn start(disk: &Disk, boot: u64, bugs: &Bugs) -> Self {
        let options = CoreOptions { pid_lifetime_ms: LIFETIME, future_skew_ms: 5 };
        let (hub, boot) = (HubId(1), BootId(boot));
        let epoch = disk.image.epoch.next();
        let placement = Placement { epoch, primary: hub, boot, in_sync: Vec::new() };
        let mut core = ShardCore::open(hub, boot, placement, options, disk.image);
        core.bugs = bugs.clone();
        let mut chain = disk.image.chain;
        if !bugs.contains("restart_no_replay") {
            for bytes in disk.log.range(disk.image.folded.0 + 1..).map(|r| r.1) {
                let (record, next) = record::decode(bytes, chain).expect("a record that was stored");
                let replayed: Result<(), ReplayError> =
                    core.replay(&record, next, |pid| Ok(stored(disk, bugs, pid)));
                replayed.expect("a log that was stored");
                chain = next;
            }
        }
        Self { core, pending: Vec::new(), waiting: Vec::new() }
    }
}

fn stored(disk: &Disk, bugs: &Bugs, pid: &Pid) -> Option<Session> {
    if bugs.contains("restart_no_sessions") { None } else { disk.sessions.get(pid).cloned() }
}

impl World {
    fn new(seed: u64, bugs: Bugs) -> Self {
        let disk = Disk::default();
        let hub = Some(Hub::start(&disk, 1, &bugs));
        let clients = (0..4)
            .map(|number| Client {
                number,
                pid: Pid::default(),
                seq: 0,
                outbox: BTreeMap::new(),
                gone: false,
            })
            .collect();
        let mut world = Self {
            random: Random(seed),
            bugs,
            now: 1_000,
            disk,
            hub,
            boots: 1,
            clients,
            net: Vec::new(),
            births: 0,
            batches: 0,
            acked: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            healing: false,
            faults: 0,
        };
        (0..4).for_each(|c| world.renew(c));
        world
    }

    fn plants(&self, bug: &str) -> bool {
        self.bugs.contains(bug)
    }

    /// A new identity for a client.
    fn renew(&mut self, client: usize) {
        self.births += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.births.to_le_bytes());
        random[8] = self.clients[client].number;
        self.clients[client].pid = Pid::new(self.now, random);
        self.clients[client].seq = 0;
    }

    fn send(&mut self, message: Wire) {
        if !self.healing && self.random.chance(120) {
            self.faults += 1;
            return;
        }
        if !self.healing && self.random.chance(100) {
            self.faults += 1;
            self.net.push(message.clone());
        }
        self.net.push(message);
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.next() % 1_000 {
            0..30 => self.now += 1 + self.random.next() % 6,
            30..160 => self.client_flush(),
            160..330 => self.client_send(),
            330..360 => self.client_vanish(),
            360..470 => self.hub_store(),
            470..540 => self.hub_fold(),
            540..575 => self.hub_crash(),
            575..640 => self.hub_restart(),
            640..670 => self.hub_expire(),
            _ => self.deliver(),
        }
        match self.disk.base.iter().find(|(_, count)| **count > 1) {
            Some((batch, _)) => Err(format!("batch {batch} counts twice")),
            None => Ok(()),
        }
    }

    fn client_flush(&mut self) {
        let at = self.random.below(self.clients.len());
        let (pid, empty) = (self.clients[at].pid, self.clients[at].outbox.is_empty());
        if self.healing || self.clients[at].gone {
            return;
        }
        if empty && self.now - pid.birth_ms() > LIFETIME / 2 {
            self.renew(at);
        }
        let client = &mut self.clients[at];
        if client.outbox.len() < 8 {
            self.batches += 1;
            client.seq += 1;
            client.outbox.insert(client.seq, (self.batches, false));
        }
    }

    fn client_send(&mut self) {
        let at = self.random.below(self.clients.len());
        let pick = self.random.next() as usize;
        let back = self.healing || self.random.chance(200);
        let client = &mut self.clients[at];
        if client.gone {
            client.gone = !back;
            return;
        }
        let Some(low_water) = client.outbox.keys().next().copied() else { return };
        let nth = pick % client.outbox.len();
        let Some((seq, entry)) = client.outbox.iter_mut().nth(nth) else { return };
        if seq - low_water < 64 {
            entry.1 = true;
            let dot = Dot { pid: client.pid, seq: Seq(*seq) };
            let batch = entry.0;
            self.send(Wire::Put { dot, low_water, batch });
        }
    }

    fn client_vanish(&mut self) {
        let at = self.random.below(self.clients.len());
        if !self.healing {
            self.clients[at].gone = !self.clients[at].gone;
            self.faults += 1;
        }
    }

    /// A group commit.
    fn hub_store(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let Some(last) = hub.pending.last().map(|p| p.0) else { return };
        for (lsn, bytes) in hub.pending.drain(..) {
            self.disk.log.insert(lsn.0, bytes);
        }
        hub.core.handle_synced(last);
        self.answer();
    }

    /// Acknowledges what has become durable.
    fn answer(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let eager = self.bugs.contains("ack_before_stored");
        let core = &hub.core;
        let (ready, waiting) =
            hub.waiting.drain(..).partition(|w| eager || core.level(w.1) == AckLevel::Replicated);
        hub.waiting = waiting;
        let ready: Vec<(Dot, Lsn, u64)> = ready;
        for (dot, _, batch) in ready {
            self.acked.insert(batch);
            self.send(Wire::Ack { dot, batch, level: AckLevel::Replicated });
        }
    }

    fn hub_fold(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let Some(fold) = hub.core.plan_fold(Lsn(u64::MAX)) else { return };
        let (first, last) = (hub.core.image().folded.0 + 1, fold.image.folded.0);
        for bytes in self.disk.log.range(first..=last).map(|r| r.1) {
            let batch = batch_of(bytes);
            if let Some(batch) = batch {
                *self.disk.base.entry(batch).or_default() += 1;
            }
        }
        if self.bugs.contains("fold_in_two_transactions") && self.random.chance(100) {
            // The power goes between base and sessions.
            return self.hub_crash();
        }
        if let Some(below) = fold.forget_below {
            self.disk.sessions.retain(|pid, _| pid.birth_ms() >= below);
        }
        if !self.bugs.contains("fold_no_sessions") {
            self.disk.sessions.extend(fold.sessions.iter().cloned());
        }
        self.disk.image = fold.image;
        self.disk.log.retain(|lsn, _| *lsn > last);
        hub.core.handle_folded(fold);
    }

    fn hub_crash(&mut self) {
        if !self.healing {
            self.faults += 1;
            self.hub = None;
        }
    }

    fn hub_restart(&mut self) {
        if self.hub.is_none() {
            self.boots += 1;
            let hub = Hub::start(&self.disk, self.boots, &self.bugs);
            // Taking office is durable before anything is served.
            self.disk.image.epoch = hub.core.epoch();
            self.hub = Some(hub);
        }
    }

    fn hub_expire(&mut self) {
        let now = Micros::from_millis(self.now as i64);
        if let Some(hub) = &mut self.hub
            && !self.healing
            && let Some(appended) = hub.core.expire(now)
        {
            hub.pending.push((appended.lsn, appended.bytes));
        }
    }

    fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        let at = self.random.below(self.net.len());
        match self.net.swap_remove(at) {
            Wire::Put { dot, low_water, batch } => self.hub_put(dot, low_water, batch),
            Wire::Ack { dot, batch, level } => self.client_ack(dot, batch, level),
            Wire::Expired { dot } => self.client_expired(dot),
        }
    }

    fn hub_put(&mut self, dot: Dot, low_water: u64, batch: u64) {
        let Some(hub) = &mut self.hub else { return };
        let bytes = payload(batch);
        let incoming = Incoming {
            dot,
            low_water: Seq(low_water),
            route: RouteVersion(1),
            window: Window { late_max: None, future_skew: 0 },
            payload_hash: payload_hash(&bytes),
            payload: &bytes,
        };
        let now = Micros::from_millis(self.now as i64);
        let (disk, bugs) = (&self.disk, &self.bugs);
        let verdict: Result<Verdict, ()> =
            hub.core.handle_batch(&incoming, now, |pid| Ok(stored(disk, bugs, pid)));
        match verdict.expect("memory") {
            Verdict::Append(appended) => {
                hub.waiting.push((dot, appended.lsn, batch));
                hub.pending.push((appended.lsn, appended.bytes));
                self.send(Wire::Ack { dot, batch, level: AckLevel::Received });
            }
            Verdict::Duplicate(lsn) => hub.waiting.push((dot, lsn, batch)),
            Verdict::Refused(RefusedCode::Expired, _) => self.send(Wire::Expired { dot }),
            Verdict::Refused(RefusedCode::WindowExceeded, _) => {}
            refused => panic!("{refused:?}"),
        }
        self.answer();
    }

    fn client_ack(&mut self, dot: Dot, batch: u64, level: AckLevel) {
        let wanted = if self.plants("client_del_received") { AckLevel::Received } else { AckLevel::Durable };
        let mut clients = self.clients.iter_mut();
        if let Some(client) = clients.find(|c| c.pid == dot.pid && !c.gone)
            && level >= wanted
            && client.outbox.get(&dot.seq.0).is_some_and(|e| e.0 == batch)
        {
            client.outbox.remove(&dot.seq.0);
            self.acked.insert(batch);
        }
    }

    /// C6: transmitted batches are in doubt, the others get new dots.
    fn client_expired(&mut self, dot: Dot) {
        let found = self.clients.iter().position(|c| c.pid == dot.pid && !c.gone);
        let Some(at) = found.filter(|at| self.clients[*at].outbox.contains_key(&dot.seq.0)) else { return };
        let outbox = std::mem::take(&mut self.clients[at].outbox);
        self.renew(at);
        let resend = self.plants("client_resends_in_doubt");
        for (batch, transmitted) in outbox.into_values() {
            if transmitted && !resend {
                self.in_doubt.insert(batch);
                continue;
            }
            let client = &mut self.clients[at];
            client.seq += 1;
            client.outbox.insert(client.seq, (batch, false));
        }
    }

    fn is_settled(&self) -> bool {
        let folded = |hub: &Hub| hub.core.image().folded == hub.core.last();
        self.clients.iter().all(|c| c.outbox.is_empty()) && self.hub.as_ref().is_some_and(folded)
    }

    fn judge(&self) -> Result<(), String> {
        for batch in 1..=self.batches {
            let count = self.disk.base.get(&batch).copied().unwrap_or(0);
            if count > 1 {
                return Err(format!("batch {batch} counts {count} times"));
            }
            if count == 0 && self.acked.contains(&batch) {
                return Err(format!("batch {batch} was acknowledged and is lost"));
            }
            if count == 0 && !self.in_doubt.contains(&batch) {
                return Err(format!("batch {batch} is lost without being counted"));
            }
        }
        Ok(())
    }
}

fn batch_of(bytes: &[u8]) -> Option<u64> {
    // The record's own chain cannot be checked without the one before it; the body can be read.
    let chainless = record::parse_unchecked(bytes).expect("a record that was stored");
    match chainless.body {
        Body::Data { payload, .. } => Some(u64::from_le_bytes(payload.try_into().expect("eight bytes"))),
        Body::Expire { .. } => None,
    }
}

/// One history: steps with faults, then healing, then the oracle.
fn run(seed: u64, bugs: &[&'static str]) -> Outcome {
    let mut world = World::new(seed, bugs.iter().copied().collect());
    for _ in 0..STEPS {
        world.step()?;
    }
    world.healing = true;
    world.clients.iter_mut().for_each(|c| c.gone = false);
    for _ in 0..200 {
        (0..200).try_for_each(|_| world.step())?;
        if world.is_settled() {
            world.judge()?;
            let in_doubt = world.in_doubt.len() as u64;
            return Ok(Stats { batches: world.batches, in_doubt, faults: world.faults });
        }
    }
    Err("no progress after everything healed".into())
}

#[test]
fn random_histories_lose_nothing_and_count_nothing_twice() {
    let mut sum = Stats::default();
    for seed in 0..2_000 {
        let stats = run(seed, &[]).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.batches += stats.batches;
        sum.in_doubt += stats.in_doubt;
        sum.faults += stats.faults;
    }
    assert!(sum.batches > 50_000 && sum.faults > 100_000 && sum.in_doubt > 100, "{sum:?}");
}

/// Every planted bug, at its place: core, store, recovery or client.
const BUGS: [&str; 10] = [
    "no_dedup",
    "floor_max",
    "expire_no_minbirth",
    "ack_before_stored",
    "fold_in_two_transactions",
    "fold_no_sessions",
    "restart_no_sessions",
    "restart_no_replay",
    "client_del_received",
    "client_resends_in_doubt",
];

#[test]
fn every_planted_bug_is_caught() {
    for bug in BUGS {
        let caught = (0..2_000)
            .find(|seed| std::panic::catch_unwind(|| run(*seed, &[bug])).map_or(true, |r| r.is_err()));
        assert!(caught.is_some(), "{bug} was not caught");
    }
}
