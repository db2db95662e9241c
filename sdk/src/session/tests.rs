//! Random histories of a session, its outbox and its spool against a small fake hub: loss, duplication,
//! reordering, replay after reconnects, crashes on both sides, expiry. The seed of a failing history is printed.

mod history;
mod hostile;
mod hub;

use super::*;
use crate::ids::{BootId, ClusterId};
use crate::limits::InDoubt;
use crate::wire::encode_frame;
use history::{Bug, Faults, run};

#[test]
fn random_histories_keep_every_batch_exactly_once() {
    let seeds = std::env::var("HEADWATER_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut totals = history::Totals::default();
    for seed in 0..seeds {
        totals
            .add(&run(seed, Faults::default(), None).unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    // The faults did happen, and so did what they lead to.
    assert!(
        totals.client_crashes > 0 && totals.hub_crashes > 0 && totals.in_doubt > 0 && totals.identities > 0
    );
    assert!(totals.spool_losses > 0 && totals.left > 0 && totals.spools_mended > 0);
    assert!(totals.applied > totals.in_doubt);
}

#[test]
fn without_expiry_and_spool_failures_nothing_is_ever_in_doubt() {
    for seed in 0..200 {
        let totals =
            run(seed, Faults { expiry: false, spool: false, ..Faults::default() }, None).expect("holds");
        assert_eq!(totals.in_doubt, 0, "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    let bugs = [
        Bug::SendBeforeMark,
        Bug::SpoolForgetsMarks,
        Bug::IgnoresSpoolLoss,
        Bug::HubForgetsDots,
        Bug::AckBeforeSync,
    ];
    for bug in bugs {
        let caught = (0..400).any(|seed| run(seed, Faults::default(), Some(bug)).is_err());
        assert!(caught, "{bug:?} was not caught");
    }
}

fn session(options: SessionOptions) -> ClientSession {
    let mut byte = 0;
    let random = move |bytes: &mut [u8]| {
        bytes.iter_mut().for_each(|b| {
            byte += 1;
            *b = byte;
        });
    };
    ClientSession::new(options, Box::new(random), Micros(0), Micros(1_700_000_000_000_000), None)
}

fn welcome(time: i64) -> Welcome {
    Welcome {
        version: 1,
        time: Micros(time),
        boot: BootId(1),
        catalog: CatalogVersion(1),
        route: RouteVersion(1),
        ack_level_max: AckLevel::Durable,
        limits: SessionLimits {
            frame_bytes_max: 1 << 20,
            batch_groups_max: 100,
            key_bytes_max: 64,
            pid_lifetime_ms: 604_800_000,
        },
        streams: Vec::new(),
        unknown_streams: Vec::new(),
        cluster: ClusterId([1; 16]),
    }
}

fn deliver<T: Body>(session: &mut ClientSession, now: i64, body: &T) -> Result<(), SessionError> {
    let bytes = encode_frame(body);
    session.handle_frame(Micros(now), Frame::read_only(&bytes, 1 << 20).expect("own frame"))
}

fn opened(options: SessionOptions) -> ClientSession {
    let mut session = session(options);
    session.handle_timeout(Micros(0));
    session.handle_connected(Micros(0));
    deliver(&mut session, 10, &welcome(1_700_000_000_000_005)).expect("welcome");
    while session.poll_event().is_some() {}
    while session.poll_transmit(Micros(10)).is_some() {}
    session
}

#[test]
fn hello_comes_first_and_batches_wait_for_welcome() {
    let mut session = session(SessionOptions::default());
    session.freeze(Micros(0), vec![1, 1, 0, 0, 0], 1);
    assert_eq!(session.poll_timeout(), Some(Micros(0)));
    session.handle_timeout(Micros(0));
    assert_eq!(session.poll_event(), Some(Event::Connect));
    session.add_stream(Micros(0), "clicks");
    session.handle_connected(Micros(0));
    let hello = session.poll_transmit(Micros(0)).expect("hello");
    assert_eq!((hello.channel, hello.kind), (Channel::Control, FrameKind::Hello));
    assert_eq!(session.poll_transmit(Micros(0)), None);
    deliver(&mut session, 10, &welcome(1_700_000_000_000_005)).expect("welcome");
    let batch = session.poll_transmit(Micros(10)).expect("batch");
    assert_eq!((batch.channel, batch.kind), (Channel::Batch(BatchId(1)), FrameKind::Batch));
    session.add_stream(Micros(10), "views");
    assert_eq!(session.poll_transmit(Micros(10)).expect("hello again").kind, FrameKind::Hello);
    // For a stream that was unknown before: is it there by now?
    session.add_stream(Micros(10), "views");
    let hello = session.poll_transmit(Micros(10)).expect("asks again");
    assert_eq!(hello.kind, FrameKind::Hello);
    assert_eq!(session.hello().streams, ["clicks", "views"]);
}

#[test]
fn a_wrong_clock_gets_a_new_identity_before_anything_is_sent() {
    let mut session = session(SessionOptions::default());
    let wrong = session.pid();
    session.freeze(Micros(0), vec![1, 1, 0, 0, 0], 1);
    session.handle_connected(Micros(0));
    let hour = 3_600_000_000;
    deliver(&mut session, 10, &welcome(1_700_000_000_000_000 - hour)).expect("welcome");
    assert_ne!(session.pid(), wrong);
    assert_eq!(session.pid().birth_ms(), 1_700_000_000_000 - 3_600_000);
}

/// Prevents: while a hub's clock has gone back, every client sends batch after batch under identities that the hub
/// calls born in the future, and counts them all in doubt.
#[test]
fn a_hub_whose_clock_went_back_costs_only_what_was_under_way() {
    let mut session = opened(SessionOptions { clock_interval: Duration::ZERO, ..SessionOptions::default() });
    session.freeze(Micros(20), vec![1, 1, 0, 0, 0], 1);
    session.poll_transmit(Micros(20)).expect("batch");
    let (pid, hour) = (session.pid(), 3_600_000_000);
    let refused = Refused {
        pid,
        seq: crate::ids::Seq(1),
        code: RefusedCode::BornInFuture,
        message: String::new(),
        retry_after_ms: 0,
    };
    deliver(&mut session, 30, &refused).expect("refused");
    assert_eq!(session.ledger().in_doubt_batches, 1);
    session.freeze(Micros(40), vec![1, 1, 0, 0, 0], 1);
    assert_eq!(session.poll_transmit(Micros(40)).expect("asks").kind, FrameKind::Hello);
    assert_eq!(session.poll_transmit(Micros(40)), None, "what time is it?");
    deliver(&mut session, 50, &welcome(1_700_000_000_000_045 - hour)).expect("welcome");
    let later = session.poll_timeout().expect("waits");
    assert!((500_000..2_000_000).contains(&later.0), "{later:?}");
    session.handle_timeout(later);
    let batch = session.poll_transmit(later).expect("batch");
    assert_eq!(batch.channel, Channel::Batch(BatchId(2)));
    assert!(session.pid().birth_ms() < pid.birth_ms(), "born by the hub's new time");
    assert_eq!(session.ledger().in_doubt_batches, 1);
}

/// Prevents: for up to eight minutes after a hub's clock is set, events get the time before.
#[test]
fn a_clock_that_is_set_is_asked_again_at_once() {
    let mut session = opened(SessionOptions::default());
    let (start, hour) = (1_700_000_000_000_000, 3_600_000_000);
    let minute = 60_000_000;
    let reply = |sent: i64| ClockReply { sent: Micros(sent), time: Micros(start + sent - hour) };
    deliver(&mut session, minute + 10, &reply(minute)).expect("reply");
    assert_eq!(session.poll_transmit(Micros(minute + 10)).expect("asks").kind, FrameKind::Hello);
    deliver(&mut session, minute + 20, &welcome(start + minute + 15 - hour)).expect("welcome");
    let wrong = session.hub_now(Micros(minute + 20)).0 - (start + minute + 20 - hour);
    assert!(wrong.abs() <= 5, "{wrong}");
}

/// Prevents: a hub that calls every identity expired, the newest too, is sent the same events in new batches without a
/// pause (100 events were sent 1,351,100 times in 6 s), or gets every batch given up in doubt.
#[test]
fn an_identity_that_expires_at_birth_is_a_fault_to_wait_out() {
    for in_doubt in [InDoubt::Drop, InDoubt::Resend] {
        let outbox = OutboxLimits { in_doubt, ..OutboxLimits::NATIVE };
        let mut session = opened(SessionOptions { outbox, ..SessionOptions::default() });
        let mut now = 20;
        for _ in 0..100 {
            session.freeze(Micros(now), vec![1, 1, 0, 0, 0], 1);
        }
        let mut sent = 0;
        while now < 60_000_000 {
            let Some(transmit) = session.poll_transmit(Micros(now)) else {
                now = session.poll_timeout().expect("goes on").0.max(now + 1);
                session.handle_timeout(Micros(now));
                continue;
            };
            if transmit.kind == FrameKind::Hello {
                deliver(&mut session, now + 1, &welcome(1_700_000_000_000_000 + now)).expect("welcome");
            }
            if transmit.kind == FrameKind::Batch {
                sent += 1;
                let frame = Frame::read_only(&transmit.frame, 1 << 20).expect("own frame");
                let batch: crate::wire::BatchFrame = frame.decode().expect("batch");
                let (code, message) = (RefusedCode::Expired, String::new());
                let refused = Refused { pid: batch.pid, seq: batch.seq, code, message, retry_after_ms: 0 };
                deliver(&mut session, now + 1, &refused).expect("refused");
            }
            now += 1;
        }
        assert!((5..100).contains(&sent), "{in_doubt:?}: {sent} batches sent");
        let told = core::iter::from_fn(|| session.poll_event());
        assert!(told.filter(|event| matches!(event, Event::InDoubt { .. })).count() > 5, "it is reported");
        // The first answer that is none of these ends it.
        let mut at = now;
        let batch = loop {
            match session.poll_transmit(Micros(at)) {
                Some(transmit) if transmit.kind == FrameKind::Batch => break transmit,
                _ => at = session.poll_timeout().expect("goes on").0.max(at + 1),
            }
            session.handle_timeout(Micros(at));
        };
        let frame = Frame::read_only(&batch.frame, 1 << 20).expect("own frame");
        let batch: crate::wire::BatchFrame = frame.decode().expect("batch");
        let (pid, seq, level) = (batch.pid, batch.seq, AckLevel::Durable);
        deliver(&mut session, at, &Ack { pid, seq, level, epoch: Default::default() }).expect("ack");
        let more = core::iter::from_fn(|| session.poll_transmit(Micros(at)));
        assert_eq!(more.filter(|transmit| transmit.kind == FrameKind::Batch).count(), 8);
    }
}

#[test]
fn throttling_stops_batches_until_it_is_over() {
    let mut session = opened(SessionOptions::default());
    session.freeze(Micros(10), vec![1, 1, 0, 0, 0], 1);
    session.poll_transmit(Micros(10)).expect("batch");
    let refused = Refused {
        pid: session.pid(),
        seq: crate::ids::Seq(1),
        code: RefusedCode::Throttled,
        message: String::new(),
        retry_after_ms: 500,
    };
    deliver(&mut session, 20, &refused).expect("refused");
    session.freeze(Micros(30), vec![1, 1, 0, 0, 0], 1);
    assert_eq!(session.poll_transmit(Micros(30)), None);
    assert_eq!(session.poll_timeout(), Some(Micros(500_020)));
    session.handle_timeout(Micros(500_020));
    assert_eq!(session.poll_transmit(Micros(500_020)).map(|t| t.channel), Some(Channel::Batch(BatchId(1))));
    assert_eq!(session.poll_transmit(Micros(500_020)).map(|t| t.channel), Some(Channel::Batch(BatchId(2))));
}

#[test]
fn a_useless_batch_is_skipped_and_reported_with_the_next() {
    let mut session = opened(SessionOptions::default());
    session.freeze(Micros(10), vec![1, 7, 0, 0, 0], 7);
    session.poll_transmit(Micros(10)).expect("batch");
    let refused = Refused {
        pid: session.pid(),
        seq: crate::ids::Seq(1),
        code: RefusedCode::Malformed,
        message: "no".into(),
        retry_after_ms: 0,
    };
    deliver(&mut session, 20, &refused).expect("refused");
    assert!(matches!(
        session.poll_event(),
        Some(Event::Refused { code: RefusedCode::Malformed, events: 7, .. })
    ));
    assert_eq!(session.take_delta().dropped.get(DropReason::Refused), 7);
    assert_eq!(session.ledger().refused, [(RefusedCode::Malformed, 1)]);
    assert!(session.has_reached(session.last_id(), AckLevel::Durable));
}

#[test]
fn protocol_errors_are_named() {
    let mut session = opened(SessionOptions::default());
    let query = crate::wire::Query::default();
    assert_eq!(deliver(&mut session, 20, &query), Err(SessionError::Unexpected(FrameKind::Query)));
    let frame = Frame { kind: FrameKind::Ack, body: &[1] };
    assert!(matches!(
        session.handle_frame(Micros(20), frame),
        Err(SessionError::Malformed(FrameKind::Ack, _))
    ));
    let failure = Failure { code: "28000".into(), message: "bad token".into(), position: None, hint: None };
    assert_eq!(deliver(&mut session, 20, &failure).expect_err("ends").code(), "28000");
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again() {
    let mut session = opened(SessionOptions { clock_interval: Duration::ZERO, ..SessionOptions::default() });
    session.freeze(Micros(10), vec![1, 1, 0, 0, 0], 1);
    let first = session.poll_transmit(Micros(10)).expect("batch");
    assert_eq!(session.poll_timeout(), Some(Micros(30_000_010)));
    session.handle_timeout(Micros(30_000_010));
    assert_eq!(session.poll_transmit(Micros(30_000_010)), Some(first));
}

/// A hub that cannot answer Resume must not leave the session waiting, nor let it send what may be a duplicate.
#[test]
fn a_refused_resume_ends_the_session_or_the_identity() {
    for (code, ends) in [(RefusedCode::Unavailable, true), (RefusedCode::Expired, false)] {
        let mut session = opened(SessionOptions::default());
        session.freeze(Micros(10), vec![1, 1, 0, 0, 0], 1);
        session.poll_transmit(Micros(10)).expect("batch");
        session.handle_disconnected(Micros(20));
        session.handle_connected(Micros(30));
        deliver(&mut session, 40, &welcome(1_700_000_000_000_035)).expect("welcome");
        session.poll_transmit(Micros(40)).expect("hello");
        assert_eq!(session.poll_transmit(Micros(40)).expect("resume").kind, FrameKind::Resume);
        assert_eq!(session.poll_transmit(Micros(40)), None);
        let (pid, seq) = (session.pid(), crate::ids::Seq(0));
        let refused = Refused { pid, seq, code, message: String::new(), retry_after_ms: 0 };
        assert_eq!(deliver(&mut session, 50, &refused).is_err(), ends);
        assert_eq!((session.ledger().in_doubt_batches, session.pid() == pid), (u64::from(!ends), ends));
    }
}

/// A hub that answers Hello and then breaks was dialed twenty times a second.
#[test]
fn sessions_that_break_at_once_are_opened_more_rarely() {
    let mut session = opened(SessionOptions::default());
    let mut now = 100;
    let mut wait = |session: &mut ClientSession, held: i64| {
        session.handle_disconnected(Micros(now + held));
        let due = session.poll_timeout().expect("tries again").0;
        let waited = due - now - held;
        now = due;
        session.handle_timeout(Micros(now));
        session.handle_connected(Micros(now));
        deliver(session, now, &welcome(1_700_000_000_000_000 + now)).expect("welcome");
        waited
    };
    let waits: Vec<i64> = (0..9).map(|_| wait(&mut session, 1_000)).collect();
    assert!(waits[0] <= 100_000 && (400_000..=800_000).contains(&waits[8]), "{waits:?}");
    assert!(wait(&mut session, 6_000_000) <= 100_000, "one that lasted is a success");
}

/// A millisecond was believed: nine hundred copies of one batch in ten seconds.
#[test]
fn a_hub_that_asks_for_haste_is_not_flooded() {
    let mut session = opened(SessionOptions { clock_interval: Duration::ZERO, ..SessionOptions::default() });
    session.freeze(Micros(10), vec![1, 1, 0, 0, 0], 1);
    session.poll_transmit(Micros(10)).expect("batch");
    let (pid, seq, code) = (session.pid(), crate::ids::Seq(1), RefusedCode::Unavailable);
    let refused = Refused { pid, seq, code, message: String::new(), retry_after_ms: 1 };
    deliver(&mut session, 20, &refused).expect("refused");
    assert!(session.poll_timeout().expect("again").0 >= 100_000);
}

#[test]
fn a_hub_that_cannot_say_what_it_holds_is_asked_when_it_says() {
    let mut session = opened(SessionOptions::default());
    session.freeze(Micros(10), vec![1, 1, 0, 0, 0], 1);
    session.poll_transmit(Micros(10)).expect("batch");
    session.handle_disconnected(Micros(20));
    session.handle_connected(Micros(30));
    deliver(&mut session, 40, &welcome(1_700_000_000_000_035)).expect("welcome");
    let (pid, seq, code) = (session.pid(), crate::ids::Seq(1), RefusedCode::Unavailable);
    let refused = Refused { pid, seq, code, message: String::new(), retry_after_ms: 3_000 };
    deliver(&mut session, 50, &refused).expect_err("ends");
    session.handle_disconnected(Micros(60));
    assert!(session.poll_timeout().expect("again").0 >= 3_000_050);
}
