//! One client process: the SDK's session over a spool that may fail, and its connection.

use super::{Bug, LIFETIME_MS};
use crate::ingress::session::Session;
use crate::sim::Random;
use headwater::ids::Micros;
use headwater::limits::{InDoubt, OutboxLimits, Overflow, TimeLimits};
use headwater::outbox::{BatchId, MemorySpool, Saved, Spool, SpoolOp};
use headwater::session::{ClientSession, SessionOptions, SpoolRequest};
use headwater::wire::AckLevel;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A control stream: reliable and in order, until it ends.
pub(super) struct Connection {
    /// The hub's half.
    pub(super) session: Session,
    pub(super) to_hub: VecDeque<Vec<u8>>,
    pub(super) to_client: VecDeque<Vec<u8>>,
    /// The hub is gone, and the client has not noticed.
    pub(super) is_dead: bool,
}

/// The disk of a client.
#[derive(Default)]
pub(super) struct Storage {
    spool: MemorySpool,
    /// Handed over, not known to be durable.
    pending: Option<Vec<SpoolOp>>,
    is_broken: bool,
}

pub(super) struct Client {
    number: u8,
    bug: Option<Bug>,
    /// Wrong by this, microseconds.
    wall_error: i64,
    overflow: Overflow,
    pub(super) session: ClientSession,
    pub(super) storage: Option<Storage>,
    pub(super) connection: Option<Connection>,
    /// Counts connections.
    pub(super) generation: u64,
    /// Events frozen or adopted by this process.
    pub(super) mine: BTreeSet<u64>,
}

impl Client {
    pub(super) fn new(number: u8, bug: Option<Bug>, random: &mut Random, now: Micros) -> Self {
        // Two of three have a disk; one of four drops its oldest batches.
        let mut storage = (number % 3 != 2).then(Storage::default);
        let overflow = if number == 3 { Overflow::DropOldest } else { Overflow::Backpressure };
        let wall_error = wall_error(random);
        let session = session(bug, overflow, wall_error, random.next(), now, storage.as_mut());
        Self {
            number,
            bug,
            wall_error,
            overflow,
            session,
            storage,
            connection: None,
            generation: 0,
            mine: BTreeSet::new(),
        }
    }

    /// Payloads that outlive a crash now.
    pub(super) fn kept(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let Some(storage) = &mut self.storage else { return Vec::new() };
        if let Some(ops) = storage.pending.take()
            && random.percent(50)
        {
            storage.apply(&ops, self.bug);
        }
        let ids: Vec<BatchId> = storage.spool.load().expect("memory").batches.iter().map(|b| b.id).collect();
        ids.into_iter().map(|id| storage.spool.payload(id).expect("memory")).collect()
    }

    /// The next process.
    pub(super) fn restart(&mut self, random: &mut Random, now: Micros) {
        if random.percent(30) {
            self.wall_error = wall_error(random);
        }
        if let Some(storage) = &mut self.storage {
            (storage.pending, storage.is_broken) = (None, false);
        }
        let seed = random.next() ^ u64::from(self.number);
        self.session = session(self.bug, self.overflow, self.wall_error, seed, now, self.storage.as_mut());
        self.connection = None;
        self.generation += 1;
    }

    /// Storage takes its time: what is asked for now is durable at some later step (`finish`).
    pub(super) fn commit(&mut self, now: Micros, finish: bool) {
        let Some(storage) = &mut self.storage else { return };
        loop {
            if finish && let Some(ops) = storage.pending.take() {
                storage.apply(&ops, self.bug);
                self.session.handle_committed(now);
            }
            match self.session.poll_spool() {
                Some(SpoolRequest::Commit(ops)) if self.bug == Some(Bug::SendBeforeMark) => {
                    self.session.handle_committed(now);
                    storage.pending = Some([storage.pending.take().unwrap_or_default(), ops].concat());
                }
                Some(SpoolRequest::Commit(_)) if storage.is_broken => self.session.handle_committed(now),
                Some(SpoolRequest::Commit(ops)) => storage.pending = Some(ops),
                Some(SpoolRequest::Load(id)) => {
                    let payload = storage.spool.payload(id).ok().filter(|_| !storage.is_broken);
                    self.session.handle_loaded(now, id, payload);
                }
                None => return,
            }
        }
    }

    /// The write under way fails, and may have reached the disk all the same. False when there is none.
    pub(super) fn lose_spool(&mut self, random: &mut Random, now: Micros) -> bool {
        let Some(storage) = &mut self.storage else { return false };
        let Some(ops) = storage.pending.take() else { return false };
        if random.percent(50) {
            storage.apply(&ops, self.bug);
        }
        storage.is_broken = true;
        if self.bug == Some(Bug::IgnoresSpoolLoss) {
            self.session.handle_committed(now);
        } else {
            self.session.handle_spool_lost(now);
        }
        true
    }

    pub(super) fn disconnect(&mut self, now: Micros) {
        self.connection = None;
        self.session.handle_disconnected(now);
    }

    /// What is left needs the next process.
    pub(super) fn is_stuck(&self) -> bool {
        let ledger = self.session.ledger();
        ledger.left_batches > 0 && ledger.left_batches == ledger.held_batches
    }

    pub(super) fn is_drained(&self) -> bool {
        let is_idle = self.storage.as_ref().is_none_or(|storage| storage.pending.is_none());
        self.session.ledger().held_batches == 0 && is_idle
    }
}

impl Storage {
    fn apply(&mut self, ops: &[SpoolOp], bug: Option<Bug>) {
        let forgets = bug == Some(Bug::SpoolForgetsMarks);
        let keep = |op: &&SpoolOp| !(forgets && matches!(op, SpoolOp::Transmit { .. }));
        let ops: Vec<SpoolOp> = ops.iter().filter(keep).cloned().collect();
        self.spool.commit(&ops).expect("memory");
    }
}

/// Most clocks are nearly right; some were never set, or are a day ahead.
fn wall_error(random: &mut Random) -> i64 {
    match random.below(10) {
        0 => -super::world::WALL,
        1 => 86_400_000_000,
        _ => random.between(-2_000_000, 2_000_000),
    }
}

fn session(
    bug: Option<Bug>,
    overflow: Overflow,
    wall_error: i64,
    seed: u64,
    now: Micros,
    storage: Option<&mut Storage>,
) -> ClientSession {
    let mut bytes = Random::new(seed);
    let random = move |out: &mut [u8]| out.iter_mut().for_each(|byte| *byte = bytes.next() as u8);
    let received = bug == Some(Bug::ClientDeletesReceived);
    let resends = bug == Some(Bug::ClientResendsInDoubt);
    let options = SessionOptions {
        persistent: storage.is_some(),
        level: if received { AckLevel::Received } else { AckLevel::Durable },
        outbox: OutboxLimits {
            // About five batches in memory, and a few more on disk where the oldest are dropped.
            memory_bytes_max: if storage.is_some() { 300 } else { 4_000 },
            disk_bytes_max: if overflow == Overflow::DropOldest { 500 } else { 4_000 },
            overflow,
            in_doubt: if resends { InDoubt::Resend } else { InDoubt::Drop },
            ..OutboxLimits::NATIVE
        },
        times: TimeLimits { pid_lifetime: Duration::from_millis(LIFETIME_MS), ..TimeLimits::PERSISTENT },
        patience: Duration::from_secs(2),
        clock_interval: Duration::from_secs(5),
        ..SessionOptions::default()
    };
    let saved: Option<Saved> = storage.map(|storage| storage.spool.load().expect("memory"));
    let wall = Micros((super::world::WALL + now.0 + wall_error).max(0));
    ClientSession::new(options, Box::new(random), now, wall, saved.as_ref())
}
