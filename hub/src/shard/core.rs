//! One shard group's protocol state, pure: dots, log positions, commit point, expiry (rules P1-P9).
//!
//! Owns: which batch is new, which lsn it gets, what is durable, committed and folded. Must not know: disks,
//! states, views, other hubs' addresses, a clock of its own.
//! Call order: [`ShardCore::open`], then [`ShardCore::replay`] for every stored record behind the fold, then any
//! of the `handle_*`. A record that [`ShardCore::handle_batch`] or [`ShardCore::expire`] returns must be
//! stored before the next [`ShardCore::handle_synced`] names its lsn.
//! Invariants: one payload per dot; nothing above the commit point is folded; a dot is in a folded session
//! exactly when its states are in the base, because one transaction writes both.

use super::record::{Body, Chain, Record, Window, is_output, output_pid};
use super::session::{Known, Session, WINDOW};
use headwater::codec::{DecodeError, Reader, Writer};
use headwater::ids::{BootId, Dot, Epoch, Lsn, Micros, Pid, RouteVersion, Seq, ShardGroupId, ViewId};
use headwater::wire::batch::payload_hash;
use headwater::wire::{AckLevel, RefusedCode, Resumed};
use std::collections::{BTreeMap, HashMap, VecDeque};
use thiserror::Error;

/// A hub, as placements name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId(pub u64);

/// Who serves a shard group: a catalog value. On one hub it is made at every start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The primary's term of office.
    pub epoch: Epoch,
    /// The primary.
    pub primary: HubId,
    /// The start of the primary's process that was promoted (M2).
    pub boot: BootId,
    /// Other hubs whose fsync the commit point waits for.
    pub in_sync: Vec<HubId>,
}

/// Where a fold ended, and what a shard group needs to go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The newest epoch this copy has served or followed.
    pub epoch: Epoch,
    /// Everything up to here is in base and sessions.
    pub folded: Lsn,
    /// The epoch of the record at `folded`.
    pub folded_epoch: Epoch,
    /// The chain at `folded`.
    pub chain: Chain,
    /// Producers born before this (ms) are forgotten.
    pub min_birth: u64,
}

impl Image {
    const VERSION: u8 = 1;

    /// Bytes (`meta-2`): version u8 = 1, epoch, folded, folded epoch, min_birth varints, chain 16 bytes LE.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::VERSION];
        for value in [self.epoch.0, self.folded.0, self.folded_epoch.0, self.min_birth] {
            out.put_varint(value);
        }
        out.extend_from_slice(&self.chain.0.to_le_bytes());
        out
    }

    /// Reads an image's bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Trailing`], [`DecodeError::Overlong`];
    /// [`DecodeError::Invalid`] or [`DecodeError::TooNew`] for the version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            Self::VERSION => {}
            0 => return Err(DecodeError::Invalid("image version")),
            _ => return Err(DecodeError::TooNew),
        }
        let epoch = Epoch(reader.varint()?);
        let folded = Lsn(reader.varint()?);
        let folded_epoch = Epoch(reader.varint()?);
        let min_birth = reader.varint()?;
        let chain = Chain(u128::from_le_bytes(reader.array()?));
        reader.finish()?;
        Ok(Self { epoch, folded, folded_epoch, chain, min_birth })
    }
}

/// What a shard group refuses by.
#[derive(Clone, Copy, Debug)]
pub struct CoreOptions {
    /// How long after its birth a producer's batches are taken, ms.
    pub pid_lifetime_ms: u64,
    /// How far a birth may be in the future, ms.
    pub future_skew_ms: u64,
}

/// A batch, as the protocol sees it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Its name.
    pub dot: Dot,
    /// The producer's lowest unacked batch.
    pub low_water: Seq,
    /// The route version of its first transmission.
    pub route: RouteVersion,
    /// Which time buckets were taken of it.
    pub window: Window,
    /// The hash of `payload`.
    pub payload_hash: u64,
    /// The frozen bytes.
    pub payload: &'a [u8],
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New: the record to store. It is `received` now, `durable` once stored.
    Append(Appended),
    /// Known, with the same bytes: it is held at this lsn or below, to be acked again as that becomes safe.
    Duplicate(Lsn),
    /// Not taken.
    Refused(RefusedCode, &'static str),
}

/// A record to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a fold changed in one view, as a record to store with the fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The log's chain behind it.
    pub chain: Chain,
}

/// What one fold changes besides the base: written in the same transaction (P7, P9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The image after the fold.
    pub image: Image,
    /// Sessions to write.
    pub sessions: Vec<(Pid, Session)>,
    /// Sessions of producers born before this (ms) are deleted, before `sessions` are written.
    pub forget_below: Option<u64>,
}

/// A stored record or session contradicts the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("log record {lsn}: {what}")]
pub struct ReplayError {
    /// Where.
    pub lsn: Lsn,
    /// What is wrong.
    pub what: &'static str,
}

/// A record of the log that is not folded yet, without its payload.
#[derive(Clone, Copy, Debug)]
struct Entry {
    epoch: Epoch,
    chain: Chain,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Data {
        dot: Dot,
        low_water: Seq,
        hash: u64,
    },
    Expire {
        min_birth: u64,
    },
    /// What a fold changed: written in its transaction, so there is never a second copy to tell from it.
    Output,
}

/// A producer with batches in the tail, or one that is cached.
#[derive(Clone, Debug, Default)]
struct Live {
    /// As stored.
    folded: Session,
    /// With everything in the tail.
    newest: Session,
    /// Records in the tail.
    tail: usize,
}

/// The state machine of one shard group at its primary.
#[derive(Clone, Debug)]
pub struct ShardCore {
    hub: HubId,
    boot: BootId,
    placement: Placement,
    options: CoreOptions,
    image: Image,
    tail: VecDeque<Entry>,
    durable: Lsn,
    commit: Lsn,
    /// What the in-sync replicas hold.
    held: BTreeMap<HubId, Lsn>,
    live: HashMap<Pid, Live>,
    /// The highest expiry in the tail.
    tail_min_birth: u64,
    /// Bugs that the model plants, by the names of the executable model.
    #[cfg(test)]
    pub(super) bugs: std::collections::BTreeSet<&'static str>,
}

/// Sessions without tail records that are kept in memory; about 300 bytes each.
const CACHED_SESSIONS_MAX: usize = 65_536;

impl ShardCore {
    /// A shard group as it was folded, served by `placement`.
    pub fn open(hub: HubId, boot: BootId, placement: Placement, options: CoreOptions, image: Image) -> Self {
        Self {
            hub,
            boot,
            placement,
            options,
            image,
            tail: VecDeque::new(),
            durable: image.folded,
            commit: image.folded,
            held: BTreeMap::new(),
            live: HashMap::new(),
            tail_min_birth: 0,
            #[cfg(test)]
            bugs: Default::default(),
        }
    }

    /// Takes back a stored record, in order. `stored` is the producer's folded session.
    ///
    /// # Errors
    /// The record does not follow the log so far.
    pub fn replay<E: From<ReplayError>>(
        &mut self,
        record: &Record<'_>,
        chain: Chain,
        stored: impl FnOnce(&Pid) -> Result<Option<Session>, E>,
    ) -> Result<(), E> {
        let lsn = record.lsn;
        let wrong = |what| E::from(ReplayError { lsn, what });
        if lsn != self.last().next() {
            return Err(wrong("is not the next one"));
        }
        if record.epoch < self.last_epoch() {
            return Err(wrong("has an epoch below the one before it"));
        }
        let kind = match record.body {
            Body::Expire { min_birth } => Kind::Expire { min_birth },
            // Its fold is in the image, as one transaction wrote both.
            Body::Data { dot, .. } if is_output(&dot.pid) => {
                if dot.seq.0 > self.image.folded.0 {
                    return Err(wrong("is the output of a fold that never was"));
                }
                Kind::Output
            }
            Body::Data { dot, low_water, payload_hash, .. } => {
                let live = self.live(&dot.pid, stored)?;
                if live.newest.holds(dot.seq) {
                    return Err(wrong("repeats a dot"));
                }
                Kind::Data { dot, low_water, hash: payload_hash }
            }
        };
        self.push(Entry { epoch: record.epoch, chain, kind });
        self.handle_synced(lsn);
        Ok(())
    }

    /// Decides about a batch (P1-P4). `now` is the hub's clock; `stored` is the producer's folded session.
    ///
    /// # Errors
    /// Only those of `stored`.
    pub fn handle_batch<E>(
        &mut self,
        batch: &Incoming<'_>,
        now: Micros,
        stored: impl FnOnce(&Pid) -> Result<Option<Session>, E>,
    ) -> Result<Verdict, E> {
        if let Some(refusal) = self.refusal(&batch.dot.pid, now) {
            return Ok(refusal);
        }
        if batch.dot.seq.0 == 0 || batch.low_water.0 == 0 || batch.low_water > batch.dot.seq {
            return Ok(Verdict::Refused(RefusedCode::Malformed, "batch number or low water is impossible"));
        }
        let pid = batch.dot.pid;
        let newest = &self.live(&pid, stored)?.newest;
        let seq_max = newest.seq_max(batch.low_water);
        match newest.known(batch.dot.seq, batch.payload_hash) {
            Known::Conflict => {
                return Ok(Verdict::Refused(RefusedCode::DotConflict, "the dot is known with other bytes"));
            }
            Known::Same if !self.plants("no_dedup") => {
                return Ok(Verdict::Duplicate(self.position(&batch.dot)));
            }
            _ => {}
        }
        if batch.dot.seq.0 - batch.low_water.0 >= WINDOW || batch.dot.seq > seq_max {
            return Ok(Verdict::Refused(
                RefusedCode::WindowExceeded,
                "too far above the lowest unacked batch",
            ));
        }
        Ok(Verdict::Append(self.append_batch(batch, now)))
    }

    fn append_batch(&mut self, batch: &Incoming<'_>, now: Micros) -> Appended {
        let Incoming { dot, low_water, route, window, payload_hash, payload } = *batch;
        let window = Some(window);
        let body = Body::Data { dot, low_water, route, window, payload_hash, payload };
        self.append(now, body, Kind::Data { dot, low_water, hash: payload_hash })
    }

    /// Appends an expiry: producers older than their lifetime are forgotten once it is folded (P9).
    /// `None` when nobody would be forgotten: only births that somebody had may be refused for good, by a clock that may
    /// be wrong. `is_stored` tells whether the base has sessions of producers born before this (ms).
    ///
    /// # Errors
    /// Only those of `is_stored`.
    pub fn expire<E>(
        &mut self,
        now: Micros,
        is_stored: impl FnOnce(u64) -> Result<bool, E>,
    ) -> Result<Option<Appended>, E> {
        let now_ms = u64::try_from(now.millis()).unwrap_or(0);
        let min_birth = now_ms.saturating_sub(self.options.pid_lifetime_ms);
        if min_birth <= self.min_birth() || !self.is_primary() {
            return Ok(None);
        }
        let is_live = self.live.iter().any(|(pid, live)| live.tail > 0 && pid.birth_ms() < min_birth);
        let forgets = is_live || is_stored(min_birth)?;
        Ok(forgets.then(|| self.append(now, Body::Expire { min_birth }, Kind::Expire { min_birth })))
    }

    /// A record that changes nothing, for what only folds do: the expiry of what has expired.
    pub fn idle(&mut self, now: Micros) -> Option<Appended> {
        let min_birth = self.min_birth();
        let append =
            |core: &mut Self| core.append(now, Body::Expire { min_birth }, Kind::Expire { min_birth });
        self.is_primary().then(|| append(self))
    }

    fn append(&mut self, now: Micros, body: Body<'_>, kind: Kind) -> Appended {
        let lsn = self.last().next();
        let epoch = self.placement.epoch;
        let (bytes, chain) = Record { epoch, lsn, time: now, body }.encode(self.last_chain());
        self.push(Entry { epoch, chain, kind });
        Appended { lsn, bytes }
    }

    /// The records of what the fold up to `folded` changed, one per view that others read: they follow the log as it is.
    /// Nothing here changes before [`ShardCore::handle_outputs`].
    pub fn output_records(
        &self,
        group: ShardGroupId,
        (folded, now): (Lsn, Micros),
        payloads: &[(ViewId, Vec<u8>)],
    ) -> Vec<OutputRecord> {
        let (mut lsn, mut chain, epoch) = (self.last(), self.last_chain(), self.placement.epoch);
        let record = |(view, payload): &(ViewId, Vec<u8>)| {
            lsn = lsn.next();
            let seq = Seq(folded.0);
            let dot = Dot { pid: output_pid(*view, group, epoch), seq };
            let (route, window) = (RouteVersion(0), Some(Window::ANY));
            let payload_hash = payload_hash(payload);
            let body = Body::Data { dot, low_water: seq, route, window, payload_hash, payload };
            let (bytes, next) = Record { epoch, lsn, time: now, body }.encode(chain);
            chain = next;
            OutputRecord { lsn, bytes, chain }
        };
        payloads.iter().map(record).collect()
    }

    /// Output records were stored with their fold.
    pub fn handle_outputs(&mut self, records: &[OutputRecord]) {
        for record in records {
            assert_eq!(record.lsn, self.last().next(), "nothing was appended since they were made");
            self.push(Entry { epoch: self.placement.epoch, chain: record.chain, kind: Kind::Output });
            self.handle_synced(record.lsn);
        }
    }

    /// P1, P2: is this hub the primary, and may this producer still send?
    fn refusal(&self, pid: &Pid, now: Micros) -> Option<Verdict> {
        let now_ms = u64::try_from(now.millis()).unwrap_or(0);
        let born = pid.birth_ms();
        if !self.is_primary() {
            return Some(Verdict::Refused(RefusedCode::NotPrimary, "this hub is not the primary"));
        }
        if born > now_ms.saturating_add(self.options.future_skew_ms) {
            return Some(Verdict::Refused(RefusedCode::BornInFuture, "the producer was born in the future"));
        }
        (born < self.min_birth())
            .then_some(Verdict::Refused(RefusedCode::Expired, "the producer is older than the hub remembers"))
    }

    /// P1: promoted in this epoch, by this start of the process (M2).
    pub fn is_primary(&self) -> bool {
        self.placement.primary == self.hub
            && self.placement.boot == self.boot
            && self.placement.epoch >= self.image.epoch
    }

    /// Everything up to `lsn` is fsynced here (P4).
    pub fn handle_synced(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn.min(self.last()));
        self.advance_commit();
    }

    /// An in-sync replica holds everything up to `lsn`, fsynced (P5).
    pub fn handle_held(&mut self, hub: HubId, lsn: Lsn) {
        let held = self.held.entry(hub).or_default();
        *held = (*held).max(lsn);
        self.advance_commit();
    }

    /// P6: the lowest lsn that every in-sync copy holds.
    fn advance_commit(&mut self) {
        let replicas = self.placement.in_sync.iter().filter(|hub| **hub != self.hub);
        let lowest = replicas.map(|hub| self.held.get(hub).copied().unwrap_or_default()).min();
        let lowest = lowest.map_or(self.durable, |l| l.min(self.durable));
        self.commit = self.commit.max(lowest);
    }

    /// What folding everything up to `upto` changes; never past the commit point (P7). `None` when nothing
    /// would be folded.
    pub fn plan_fold(&self, upto: Lsn) -> Option<Fold> {
        let count = usize::try_from(upto.min(self.commit).0.checked_sub(self.image.folded.0)?).ok()?;
        let last = self.tail.get(count.checked_sub(1)?)?;
        let mut image = Image {
            epoch: self.placement.epoch.max(self.image.epoch),
            folded: Lsn(self.image.folded.0 + count as u64),
            folded_epoch: last.epoch,
            chain: last.chain,
            ..self.image
        };
        let mut sessions: BTreeMap<Pid, Session> = BTreeMap::new();
        let mut forget_below = None;
        for entry in self.tail.iter().take(count) {
            match entry.kind {
                Kind::Data { dot, low_water, hash } => {
                    let folded = || self.live.get(&dot.pid).map(|l| l.folded.clone()).unwrap_or_default();
                    let session = sessions.entry(dot.pid).or_insert_with(folded);
                    self.add(session, dot.seq, low_water, hash);
                }
                Kind::Output => {}
                Kind::Expire { min_birth } => {
                    forget_below = forget_below.max(Some(min_birth));
                    sessions.retain(|pid, _| pid.birth_ms() >= min_birth);
                    if !self.plants("expire_no_minbirth") {
                        image.min_birth = image.min_birth.max(min_birth);
                    }
                }
            }
        }
        Some(Fold { image, sessions: sessions.into_iter().collect(), forget_below })
    }

    /// The transaction of `fold` is durable.
    pub fn handle_folded(&mut self, fold: Fold) {
        let count = fold.image.folded.0.saturating_sub(self.image.folded.0) as usize;
        for entry in self.tail.drain(..count.min(self.tail.len())) {
            if let Kind::Data { dot, .. } = entry.kind
                && let Some(live) = self.live.get_mut(&dot.pid)
            {
                live.tail -= 1;
            }
        }
        for (pid, session) in fold.sessions {
            if let Some(live) = self.live.get_mut(&pid) {
                live.folded = session;
            }
        }
        if let Some(below) = fold.forget_below {
            self.live.retain(|pid, live| live.tail > 0 || pid.birth_ms() >= below);
        }
        if self.live.len() > CACHED_SESSIONS_MAX {
            self.live.retain(|_, live| live.tail > 0);
        }
        self.image = fold.image;
        self.durable = self.durable.max(self.image.folded);
        self.commit = self.commit.max(self.image.folded);
        let births = self.tail.iter().filter_map(|e| match e.kind {
            Kind::Expire { min_birth } => Some(min_birth),
            Kind::Data { .. } | Kind::Output => None,
        });
        self.tail_min_birth = births.max().unwrap_or(0);
    }

    /// Tells a reconnected producer what is held, durably (C5).
    ///
    /// # Errors
    /// Only those of `stored`.
    pub fn resume<E>(
        &mut self,
        pid: Pid,
        now: Micros,
        stored: impl FnOnce(&Pid) -> Result<Option<Session>, E>,
    ) -> Result<Resumed, E> {
        let now_ms = u64::try_from(now.millis()).unwrap_or(0);
        let expired = pid.birth_ms() < self.min_birth()
            || pid.birth_ms().saturating_add(self.options.pid_lifetime_ms) < now_ms;
        let durable = self.durable;
        let mut session = self.live(&pid, stored)?.folded.clone();
        for (lsn, entry) in self.entries() {
            if let Kind::Data { dot, low_water, hash } = entry.kind
                && dot.pid == pid
                && lsn <= durable
            {
                session.add(dot.seq, low_water, hash);
            }
        }
        let level = if self.commit >= durable { AckLevel::Replicated } else { AckLevel::Durable };
        Ok(Resumed { pid, floor: session.floor(), bitmap: session.bitmap(), level, expired })
    }

    /// The newest record.
    pub fn last(&self) -> Lsn {
        Lsn(self.image.folded.0 + self.tail.len() as u64)
    }

    /// Everything up to here is fsynced here.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Everything up to here is fsynced at every in-sync copy.
    pub fn commit(&self) -> Lsn {
        self.commit
    }

    /// The image of the last fold.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The current epoch.
    pub fn epoch(&self) -> Epoch {
        self.placement.epoch
    }

    /// Producers born before this (ms) are refused: folded expiries and those in the tail.
    pub fn min_birth(&self) -> u64 {
        self.image.min_birth.max(self.tail_min_birth)
    }

    /// Producers in memory.
    pub fn sessions(&self) -> usize {
        self.live.len()
    }

    /// How safe a record is.
    pub fn level(&self, lsn: Lsn) -> AckLevel {
        match lsn {
            l if l <= self.commit => AckLevel::Replicated,
            l if l <= self.durable => AckLevel::Durable,
            _ => AckLevel::Received,
        }
    }

    fn last_chain(&self) -> Chain {
        self.tail.back().map_or(self.image.chain, |e| e.chain)
    }

    fn last_epoch(&self) -> Epoch {
        self.tail.back().map_or(self.image.folded_epoch, |e| e.epoch)
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (Lsn, &Entry)> {
        let first = self.image.folded.0 + 1;
        (0..self.tail.len()).map(move |i| (Lsn(first + i as u64), &self.tail[i]))
    }

    /// Where a held dot is: its lsn while that is above the commit point, else the commit point.
    fn position(&self, wanted: &Dot) -> Lsn {
        let uncommitted = self.entries().rev().take_while(|(lsn, _)| *lsn > self.commit);
        let mut found =
            uncommitted.filter(|(_, e)| matches!(e.kind, Kind::Data { dot, .. } if dot == *wanted));
        found.next().map_or(self.commit, |(lsn, _)| lsn)
    }

    fn live<E>(
        &mut self,
        pid: &Pid,
        stored: impl FnOnce(&Pid) -> Result<Option<Session>, E>,
    ) -> Result<&mut Live, E> {
        use std::collections::hash_map::Entry;
        if self.live.len() >= 2 * CACHED_SESSIONS_MAX && !self.live.contains_key(pid) {
            self.live.retain(|_, live| live.tail > 0);
        }
        match self.live.entry(*pid) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let folded = stored(pid)?.unwrap_or_default();
                Ok(entry.insert(Live { newest: folded.clone(), folded, tail: 0 }))
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        match entry.kind {
            Kind::Output => {}
            Kind::Expire { min_birth } => self.tail_min_birth = self.tail_min_birth.max(min_birth),
            Kind::Data { dot, low_water, hash } => {
                let mut live = self.live.remove(&dot.pid).unwrap_or_default();
                self.add(&mut live.newest, dot.seq, low_water, hash);
                live.tail += 1;
                self.live.insert(dot.pid, live);
            }
        }
        self.tail.push_back(entry);
    }

    fn add(&self, session: &mut Session, seq: Seq, low_water: Seq, hash: u64) {
        session.add(seq, low_water, hash);
        #[cfg(test)]
        if self.plants("floor_max") {
            session.jump_floor(seq);
        }
    }

    #[cfg(test)]
    fn plants(&self, bug: &str) -> bool {
        self.bugs.contains(bug)
    }

    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "the same call as in tests")]
    fn plants(&self, _bug: &str) -> bool {
        false
    }
}
