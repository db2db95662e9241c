//! What happens, in which order, decided by one seed.

use super::client::{Client, Connection};
use super::hub::{Asker, Hub};
use super::oracle::{ALL, Oracle, balance, key};
use super::{Bug, LIFETIME_MS, Stats};
use crate::catalog::testing::view_def;
use crate::ingress::session::Session;
use crate::shard::testing::key as key_bytes;
use crate::sim::{Clock, Disk, Fault, Net, NetFaults, Random};
use headwater::group::GroupTable;
use headwater::ids::{Micros, PlanVersion, ViewId};
use headwater::limits::BatchLimits;
use headwater::outbox::BatchId;
use headwater::session::{Channel, Event};
use headwater::value::column::{Column, ColumnData};
use headwater::wire::batch::{DropCounts, LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{BatchFrame, Frame};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// True time at the start, microseconds since 1970.
pub(super) const WALL: i64 = 1_767_225_600_000_000;

const CLIENTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Hub,
    Client(usize),
}

#[derive(Clone, Debug)]
enum Packet {
    Batch(Asker, Vec<u8>),
    Answer(Asker, Vec<u8>),
}

/// What the network does while it is bad.
const BAD: NetFaults = NetFaults { loss: 12, doubled: 10, delay_max: 400_000 };
/// And when it has healed.
const GOOD: NetFaults = NetFaults { loss: 0, doubled: 0, delay_max: 20_000 };

pub(super) struct World {
    random: Random,
    bug: Option<Bug>,
    /// Microseconds since the start.
    now: Micros,
    clock: Clock,
    disk: Arc<Disk>,
    hub: Option<Hub>,
    clients: Vec<Client>,
    net: Net<Node, Packet>,
    oracle: Oracle,
    is_healing: bool,
    stats: Stats,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let flaw = match bug {
            Some(Bug::Disk(flaw)) => Some(flaw),
            _ => None,
        };
        let (now, clock, disk) = (Micros(0), Clock::new(Micros(WALL), 0), Disk::new(flaw.as_slice()));
        let hub = Hub::start(&disk, &clock, bug);
        let clients = (0..CLIENTS).map(|number| Client::new(number as u8, bug, &mut random, now)).collect();
        let (net, oracle) = (Net::new(BAD), Oracle::default());
        let stats = Stats::default();
        Self { random, bug, now, clock, disk, hub, clients, net, oracle, is_healing: false, stats }
    }

    fn true_time(&self) -> Micros {
        Micros(WALL + self.now.0)
    }

    fn pass_time(&mut self, micros: i64) {
        self.now.0 += micros;
        self.clock.set(self.true_time());
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        let ms = self.random.between(0, 50);
        self.pass_time(1_000 * ms);
        let at = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..20 => self.freeze(at),
            20..50 => self.deliver()?,
            50..62 => self.control(at)?,
            62..70 => self.clients[at].commit(self.now, true),
            70..78 => self.hub_commit(false),
            78..82 => self.hub_commit(true),
            82 => self.hub_expire(),
            83..85 => self.read()?,
            85 => self.clients[at].disconnect(self.now),
            86 => self.crash_client(at),
            87 => self.freeze(at),
            88 => self.crash_hub(),
            89..92 => self.start_hub(),
            92 => self.fail_commit(),
            93 => self.retry(),
            94 => self.lose_spool(at),
            95 => self.jump_clock(),
            96 => self.cut(at),
            97 => self.net.mend(),
            98 => {
                let ms = self.random.between(0, 20_000);
                self.pass_time(1_000 * ms);
            }
            _ => self.disk.flush(),
        }
        self.settle(at)
    }

    /// What follows from a step by itself.
    fn settle(&mut self, at: usize) -> Result<(), String> {
        if self.disk.takes_power() {
            self.crash_hub();
        }
        self.answer();
        self.drive(at)?;
        balance(&self.clients[at].session.ledger())
    }

    fn freeze(&mut self, at: usize) {
        let count = 1 + self.random.next() % 3;
        let client = &mut self.clients[at];
        if !client.session.has_room() || client.session.ledger().held_batches > 40 {
            return;
        }
        let events = self.oracle.generate(count);
        let payload = payload(events.clone(), client.session.take_delta());
        client.mine.extend(events.clone());
        self.oracle.frozen(payload.clone(), events);
        client.session.freeze(self.now, payload, count);
    }

    /// What a driver does after every call.
    fn drive(&mut self, at: usize) -> Result<(), String> {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.session.poll_timeout().is_some_and(|due| due <= now) {
            client.session.handle_timeout(now);
        }
        if client.connection.as_ref().is_some_and(|c| c.is_dead) && self.random.percent(30) {
            client.disconnect(now);
        }
        while let Some(event) = self.clients[at].session.poll_event() {
            match event {
                Event::Connect => self.connect(at),
                Event::Unresponsive => self.clients[at].connection = None,
                _ => {}
            }
        }
        self.clients[at].commit(now, false);
        self.transmit(at)
    }

    fn connect(&mut self, at: usize) {
        let is_cut = self.net.is_cut(Node::Client(at), Node::Hub);
        let reached = !is_cut && (self.is_healing || self.random.percent(70));
        let client = &mut self.clients[at];
        let Some(hub) = self.hub.as_ref().filter(|_| reached) else { return client.disconnect(self.now) };
        client.generation += 1;
        client.connection = Some(Connection {
            session: Session::new(hub.policy.clone()),
            to_hub: VecDeque::new(),
            to_client: VecDeque::new(),
            is_dead: false,
        });
        client.session.handle_connected(self.now);
    }

    fn transmit(&mut self, at: usize) -> Result<(), String> {
        while let Some(transmit) = self.clients[at].session.poll_transmit(self.now) {
            match transmit.channel {
                Channel::Control => {
                    if let Some(connection) = &mut self.clients[at].connection {
                        connection.to_hub.push_back(transmit.frame);
                    }
                }
                Channel::Batch(id) => self.send_batch(at, id, transmit.frame)?,
            }
        }
        Ok(())
    }

    fn send_batch(&mut self, at: usize, id: BatchId, bytes: Vec<u8>) -> Result<(), String> {
        let frame = Frame::read_only(&bytes, 1 << 20).and_then(|frame| frame.decode::<BatchFrame>());
        let batch = frame.map_err(|error| format!("a client sent {error}"))?;
        self.oracle.sent(&batch)?;
        let client = &mut self.clients[at];
        let asker = Asker { client: at, generation: client.generation, id };
        self.net.send(&mut self.random, self.now, Node::Client(at), Node::Hub, Packet::Batch(asker, bytes));
        if !self.is_healing && self.random.percent(6) {
            // Its stream breaks, whatever the hub has read of it.
            client.session.handle_send_failed(self.now, id);
            if self.bug == Some(Bug::NewDotAfterFailure) {
                client.session.freeze(self.now, batch.payload, 1);
            }
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        let Some((_, _, packet)) = self.net.deliver(&mut self.random, self.now) else { return Ok(()) };
        match packet {
            Packet::Batch(asker, bytes) => {
                if let Some(hub) = &mut self.hub
                    && let Some(answer) = hub.batch(asker, &bytes)
                {
                    self.send_answer(asker, answer);
                }
                Ok(())
            }
            Packet::Answer(asker, bytes) => self.client_frame(asker.client, asker.generation, &bytes),
        }
    }

    fn client_frame(&mut self, at: usize, generation: u64, bytes: &[u8]) -> Result<(), String> {
        let client = &mut self.clients[at];
        // Over QUIC answers end with their connection; over HTTP a late one is still true.
        if generation != client.generation && self.random.percent(50) {
            return Ok(());
        }
        let frame = Frame::read_only(bytes, 1 << 20).map_err(|error| format!("the hub sent {error}"))?;
        let kind = frame.kind;
        if client.session.handle_frame(self.now, frame).is_err() {
            // A refused Resume: the session ends, and another one asks again.
            client.disconnect(self.now);
        }
        self.drive(at).map_err(|error| format!("after {kind:?}: {error}"))
    }

    fn send_answer(&mut self, asker: Asker, bytes: Vec<u8>) {
        let (to, packet) = (Node::Client(asker.client), Packet::Answer(asker, bytes));
        self.net.send(&mut self.random, self.now, Node::Hub, to, packet);
    }

    fn answer(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        for (asker, bytes) in hub.answers(&mut self.oracle) {
            self.send_answer(asker, bytes);
        }
    }

    /// One frame of a control stream, in either direction.
    fn control(&mut self, at: usize) -> Result<(), String> {
        if self.net.is_cut(Node::Client(at), Node::Hub) {
            return Ok(());
        }
        let client = &mut self.clients[at];
        let Some(connection) = client.connection.as_mut().filter(|c| !c.is_dead) else { return Ok(()) };
        if let Some(bytes) = connection.to_hub.pop_front() {
            let Some(hub) = &mut self.hub else { return Ok(()) };
            let answer = hub.control(&mut connection.session, &bytes, self.clock.now());
            connection.to_client.push_back(answer);
        } else if let Some(bytes) = connection.to_client.pop_front() {
            let generation = client.generation;
            return self.client_frame(at, generation, &bytes);
        }
        Ok(())
    }

    fn hub_commit(&mut self, fold: bool) {
        if let Some(hub) = &mut self.hub {
            hub.stepper.commit(fold);
        }
    }

    fn hub_expire(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.stepper.expire();
        }
    }

    fn fail_commit(&mut self) {
        let fault = if self.random.percent(50) { Fault::Before } else { Fault::After };
        self.disk.fail_next(fault);
        self.stats.failed_commits += 1;
        self.hub_commit(true);
    }

    fn retry(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.stepper.retry();
        }
    }

    fn crash_hub(&mut self) {
        if self.hub.take().is_none() {
            return;
        }
        self.stats.hub_crashes += 1;
        self.disk.crash();
        for client in &mut self.clients {
            if let Some(connection) = &mut client.connection {
                connection.is_dead = true;
            }
        }
    }

    fn start_hub(&mut self) {
        if self.hub.is_none() {
            self.hub = Hub::start(&self.disk, &self.clock, self.bug);
            if self.hub.is_none() {
                self.disk.crash();
            }
        }
    }

    fn crash_client(&mut self, at: usize) {
        self.stats.client_crashes += 1;
        let client = &mut self.clients[at];
        let kept = client.kept(&mut self.random);
        let mine = self.oracle.crashed(&client.mine, &kept, client.session.ledger());
        client.restart(&mut self.random, self.now);
        client.mine = mine;
    }

    fn lose_spool(&mut self, at: usize) {
        let lost = self.clients[at].lose_spool(&mut self.random, self.now);
        self.stats.spool_losses += u64::from(lost);
    }

    fn jump_clock(&mut self) {
        self.stats.clock_jumps += 1;
        let far = 2_000 * LIFETIME_MS as i64;
        let error = match self.random.below(8) {
            0 => self.random.between(-far, far),
            _ => self.random.between(-1_000_000, 1_000_000),
        };
        let now = self.true_time();
        self.clock.jump(now, error);
    }

    fn cut(&mut self, at: usize) {
        self.net.cut(Node::Client(at), Node::Hub);
    }

    fn read(&mut self) -> Result<(), String> {
        let Some(hub) = &self.hub else { return Ok(()) };
        self.oracle.read(&hub.read())
    }

    /// Everything works from now on, until nothing is left to do.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.stats.faults = self.net.injected;
        self.is_healing = true;
        self.net.mend();
        self.net.set_faults(GOOD);
        let now = self.true_time();
        self.clock.jump(now, 0);
        for _ in 0..20_000 {
            self.start_hub();
            self.retry();
            self.pass_time(20_000);
            for at in 0..CLIENTS {
                if self.clients[at].is_stuck() {
                    self.crash_client(at);
                }
                self.clients[at].commit(self.now, true);
                self.control(at)?;
                self.deliver()?;
                self.settle(at)?;
            }
            self.hub_commit(true);
            self.answer();
            let is_settled = self.hub.as_ref().is_some_and(|hub| hub.stepper.is_settled());
            if is_settled && self.clients.iter().all(Client::is_drained) && self.net.next_due().is_none() {
                return Ok(());
            }
        }
        let ledgers: Vec<_> = self.clients.iter().map(|client| client.session.ledger()).collect();
        Err(format!("no progress after everything healed: {ledgers:?}"))
    }

    pub(super) fn judge(mut self) -> Result<Stats, String> {
        self.read()?;
        // The same once more, from the disk.
        self.crash_hub();
        self.start_hub();
        self.read()?;
        for client in &self.clients {
            self.oracle.ended(client.session.ledger());
        }
        self.oracle.judge(&mut self.stats)?;
        Ok(self.stats)
    }
}

/// A batch of some events: each in a group of its own, and all of them in one that everybody shares.
fn payload(events: Range<u64>, report: LedgerDelta) -> Vec<u8> {
    let mut partials =
        GroupTable::new(&view_def("v1", 1).plan.states.iter().map(|s| s.spec.clone()).collect::<Vec<_>>());
    let numbers: Vec<i64> = events.clone().flat_map(|event| [event as i64; 2]).collect();
    let names = events.clone().flat_map(|event| [key(event), ALL.into()]);
    let groups: Vec<u32> = names.map(|name| partials.group(&key_bytes(&name))).collect();
    let rows: Vec<u32> = (0..numbers.len() as u32).collect();
    let values = Column::valid(ColumnData::Int(numbers));
    partials.states_mut()[0].update(&rows, &groups, &[]);
    partials.states_mut()[1].update(&rows, &groups, &[&values]);
    let count = events.end - events.start;
    let section = SectionInput {
        view: ViewId(1),
        version: PlanVersion(1),
        events: count,
        rejected: DropCounts::default(),
        partials: &partials,
    };
    let report = LedgerDelta { events: count, ..report };
    let mut encoded = encode_payloads(&report, &[section], &BatchLimits::NATIVE);
    assert_eq!(encoded.payloads.len(), 1);
    encoded.payloads.remove(0).bytes
}
