//! A hub as small as the protocol allows: an ordered log with an unsynced tail, dots, expiry.

use crate::ids::{BootId, CatalogVersion, ClusterId, Epoch, Micros, Pid, RouteVersion, Seq};
use crate::wire::{
    Ack, AckLevel, BatchFrame, Frame, FrameKind, Refused, RefusedCode, Resume, Resumed, SessionLimits,
    Welcome, encode_frame,
};
use std::collections::{BTreeMap, BTreeSet};

pub struct Hub {
    /// Batches in order; those from `synced` on are lost in a crash.
    log: Vec<(Pid, Seq, Seq, Vec<u8>)>,
    synced: usize,
    /// What was expired: counted for ever, its dots forgotten.
    base: Vec<Vec<u8>>,
    min_birth: u64,
    pub boot: u64,
    pub forgets_dots: bool,
    pub acks_before_sync: bool,
}

impl Hub {
    pub fn new() -> Self {
        let (log, base) = (Vec::new(), Vec::new());
        Self { log, synced: 0, base, min_birth: 0, boot: 1, forgets_dots: false, acks_before_sync: false }
    }

    /// How often each payload counts.
    pub fn counts(&self) -> BTreeMap<Vec<u8>, u32> {
        let mut counts = BTreeMap::new();
        let log = self.log.iter().map(|record| &record.3);
        self.base.iter().chain(log).for_each(|payload| *counts.entry(payload.clone()).or_default() += 1);
        counts
    }

    pub fn crash(&mut self) {
        self.log.truncate(self.synced);
        self.boot += 1;
    }

    /// Forgets producers born before `birth_ms`; only what is durable may be folded away.
    pub fn expire(&mut self, birth_ms: u64) {
        self.sync();
        self.min_birth = self.min_birth.max(birth_ms);
        let (old, log): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.log).into_iter().partition(|record| record.0.birth_ms() < birth_ms);
        self.base.extend(old.into_iter().map(|record| record.3));
        (self.synced, self.log) = (log.len(), log);
    }

    /// Makes the log durable; returns the acks that are now due.
    pub fn sync(&mut self) -> Vec<Vec<u8>> {
        let acks =
            self.log[self.synced..].iter().map(|record| ack(record.0, record.1, AckLevel::Durable)).collect();
        self.synced = self.log.len();
        acks
    }

    pub fn handle(&mut self, now: Micros, bytes: &[u8]) -> Vec<Vec<u8>> {
        let frame = Frame::read_only(bytes, 1 << 20).expect("clients send whole frames");
        match frame.kind {
            FrameKind::Hello => vec![self.welcome(now)],
            FrameKind::Resume => vec![self.resumed(&frame.decode().expect("resume"))],
            FrameKind::Batch => self.batch(frame.decode().expect("batch")),
            FrameKind::ClockRequest => Vec::new(),
            kind => panic!("client sent {kind:?}"),
        }
    }

    fn welcome(&self, now: Micros) -> Vec<u8> {
        let limits = SessionLimits {
            frame_bytes_max: 1 << 20,
            batch_groups_max: 1_000,
            key_bytes_max: 256,
            pid_lifetime_ms: super::history::LIFETIME_MS,
        };
        encode_frame(&Welcome {
            version: 1,
            time: now,
            boot: BootId(self.boot),
            catalog: CatalogVersion(1),
            route: RouteVersion(1),
            ack_level_max: AckLevel::Durable,
            limits,
            streams: Vec::new(),
            unknown_streams: Vec::new(),
            cluster: ClusterId([1; 16]),
        })
    }

    fn seen(&self, pid: Pid) -> (u64, BTreeSet<u64>) {
        let mine = || self.log.iter().filter(|record| record.0 == pid);
        let seqs: BTreeSet<u64> = mine().map(|record| record.1.0).collect();
        let mut floor = mine().map(|record| record.2.0 - 1).max().unwrap_or(0);
        while seqs.contains(&(floor + 1)) {
            floor += 1;
        }
        (floor, seqs)
    }

    fn resumed(&mut self, resume: &Resume) -> Vec<u8> {
        self.sync();
        let (floor, seqs) = self.seen(resume.pid);
        let bitmap = (0..64).filter(|i| seqs.contains(&(floor + 1 + i))).fold(0, |bits, i| bits | 1 << i);
        let expired = resume.pid.birth_ms() < self.min_birth;
        encode_frame(&Resumed {
            pid: resume.pid,
            floor: Seq(floor),
            bitmap,
            level: AckLevel::Durable,
            expired,
        })
    }

    fn batch(&mut self, batch: BatchFrame) -> Vec<Vec<u8>> {
        let refuse = |code| {
            let (message, retry_after_ms) = (String::new(), 0);
            vec![encode_frame(&Refused { pid: batch.pid, seq: batch.seq, code, message, retry_after_ms })]
        };
        if batch.pid.birth_ms() < self.min_birth {
            return refuse(RefusedCode::Expired);
        }
        let (floor, seqs) = self.seen(batch.pid);
        let known = (batch.seq.0 <= floor || seqs.contains(&batch.seq.0)) && !self.forgets_dots;
        if known {
            let held = self.log.iter().position(|r| (r.0, r.1) == (batch.pid, batch.seq));
            if held.is_some_and(|at| self.log[at].3 != batch.payload) {
                return refuse(RefusedCode::DotConflict);
            }
            let durable = held.is_none_or(|at| at < self.synced);
            return if durable { vec![ack(batch.pid, batch.seq, AckLevel::Durable)] } else { Vec::new() };
        }
        if batch.seq.0 > floor.max(batch.low_water.0 - 1) + 64 {
            return refuse(RefusedCode::WindowExceeded);
        }
        self.log.push((batch.pid, batch.seq, batch.low_water, batch.payload));
        let level = if self.acks_before_sync { AckLevel::Durable } else { AckLevel::Received };
        vec![ack(batch.pid, batch.seq, level)]
    }
}

fn ack(pid: Pid, seq: Seq, level: AckLevel) -> Vec<u8> {
    encode_frame(&Ack { pid, seq, level, epoch: Epoch(1) })
}
