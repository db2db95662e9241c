//! A hub that lies, repeats itself and sends garbage: nothing panics, and every event is somewhere.

use super::*;
use crate::ids::{CatalogVersion, Epoch, Pid, RouteVersion, Seq};
use crate::limits::{InDoubt, OutboxLimits, Overflow};
use crate::outbox::{MemorySpool, Spool};
use crate::random::Random;
use crate::wire::{Ack, Resumed, StreamPlans};
use std::vec::Vec;

/// Chosen by a liar.
impl Random {
    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// Where numbers break.
    fn number(&mut self) -> u64 {
        match self.next() % 8 {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => 1 << 63,
            5 => 64 + self.next() % 3,
            6 => self.next() % 20,
            _ => self.next(),
        }
    }

    fn time(&mut self) -> Micros {
        Micros(self.number() as i64)
    }

    fn pid(&mut self, session: &ClientSession) -> Pid {
        if self.one_in(4) { Pid::new(self.number(), [1; 10]) } else { session.pid() }
    }
}

fn level(random: &mut Random) -> AckLevel {
    AckLevel::from_tag((random.next() % 3) as u8).expect("a level")
}

fn frame(random: &mut Random, session: &ClientSession) -> Vec<u8> {
    let (pid, seq) = (random.pid(session), Seq(random.number()));
    match random.next() % 8 {
        0 => encode_frame(&Welcome {
            version: if random.one_in(5) { random.number() as u16 } else { 1 },
            catalog: CatalogVersion(random.number()),
            route: RouteVersion(random.number() as u32),
            ack_level_max: level(random),
            limits: SessionLimits {
                frame_bytes_max: random.number() as u32,
                batch_groups_max: random.number() as u32,
                key_bytes_max: random.number() as u32,
                pid_lifetime_ms: random.number(),
            },
            ..welcome(random.time().0)
        }),
        1 => encode_frame(&Plans {
            catalog: CatalogVersion(random.number()),
            streams: Vec::<StreamPlans>::new(),
            unknown_streams: alloc::vec!["views".into(); (random.next() % 3) as usize],
        }),
        2 => encode_frame(&Resumed {
            pid,
            floor: seq,
            bitmap: random.number(),
            level: level(random),
            expired: random.one_in(4),
        }),
        3 | 4 => encode_frame(&Ack { pid, seq, level: level(random), epoch: Epoch(random.number()) }),
        5 => {
            let code = RefusedCode::ALL[(random.next() % 11) as usize];
            let retry_after_ms = random.number() as u32;
            encode_frame(&Refused { pid, seq, code, message: String::new(), retry_after_ms })
        }
        6 => encode_frame(&ClockReply { sent: random.time(), time: random.time() }),
        _ => {
            let mut bytes = encode_frame(&Goodbye { reason: "x".into() });
            let at = random.next() as usize % bytes.len();
            bytes[at] = random.next() as u8;
            bytes
        }
    }
}

fn balance(session: &ClientSession) {
    let ledger = session.ledger();
    let in_doubt = ledger.in_doubt_events - ledger.resent_events;
    let somewhere = ledger.acked_events + ledger.dropped.total() + in_doubt + ledger.held_events;
    assert_eq!(ledger.frozen_events, somewhere, "{ledger:?}");
}

/// What a driver does, over a spool that works.
fn drive(session: &mut ClientSession, spool: &mut MemorySpool, random: &mut Random, now: Micros) {
    if session.poll_timeout().is_some_and(|due| due <= now) {
        session.handle_timeout(now);
    }
    while let Some(event) = session.poll_event() {
        if event == Event::Connect {
            session.handle_connected(now);
        }
    }
    let mut requests = 0;
    while let Some(request) = session.poll_spool() {
        requests += 1;
        assert!(requests < 1_000, "{request:?} again and again");
        match request {
            SpoolRequest::Commit(ops) => {
                spool.commit(&ops).expect("an outbox asks for what is possible");
                session.handle_committed(now);
            }
            SpoolRequest::Load(id) => {
                let payload = spool.payload(id).ok();
                session.handle_loaded(now, id, payload);
            }
        }
    }
    let mut transmitted = 0;
    while let Some(transmit) = session.poll_transmit(now) {
        transmitted += 1;
        assert!(transmitted < 1_000, "{transmit:?} again and again");
        if let Channel::Batch(id) = transmit.channel
            && random.one_in(4)
        {
            session.handle_send_failed(now, id);
        }
    }
}

fn run(seed: u64) -> OutboxLedger {
    let mut random = Random::new(seed);
    let mut byte = Random::new(seed ^ 1);
    let fill = move |bytes: &mut [u8]| bytes.iter_mut().for_each(|b| *b = byte.next() as u8);
    let options = SessionOptions {
        persistent: seed.is_multiple_of(2),
        outbox: OutboxLimits {
            memory_bytes_max: 60,
            disk_bytes_max: 200,
            overflow: if seed.is_multiple_of(3) { Overflow::DropOldest } else { Overflow::Backpressure },
            in_doubt: if seed.is_multiple_of(5) { InDoubt::Resend } else { InDoubt::Drop },
            ..OutboxLimits::NATIVE
        },
        ..SessionOptions::default()
    };
    let mut spool = MemorySpool::default();
    let wall = random.time();
    let mut session = ClientSession::new(options, Box::new(fill), Micros(0), wall, None);
    let mut now = Micros(0);
    for _ in 0..400 {
        now.0 += (random.next() % 200_000) as i64;
        if random.one_in(3) && session.has_room() {
            session.freeze(now, alloc::vec![1, 1, 0, 0, 0], 1);
        }
        let bytes = frame(&mut random, &session);
        let broken = match Frame::read(&bytes, 1 << 20) {
            Ok(Some((frame, _))) => session.handle_frame(now, frame).is_err(),
            Ok(None) => false,
            Err(_) => true,
        };
        if broken || random.one_in(50) {
            session.handle_disconnected(now);
        }
        drive(&mut session, &mut spool, &mut random, now);
        let _ =
            (session.hub_now(now), session.batch_limits(), session.is_hungry(now), session.clock_offset());
        balance(&session);
    }
    session.ledger()
}

#[test]
fn a_hub_that_lies_makes_nothing_panic_and_loses_nothing_uncounted() {
    let mut acked = 0;
    for seed in 0..1_000 {
        acked += run(seed).acked_batches;
    }
    assert!(acked > 1_000, "only {acked}");
}
