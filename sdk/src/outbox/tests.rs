//! The rules one by one; histories of all of them together are in the session's tests.

use super::*;
use crate::wire::Resumed;
use crate::wire::batch::DropCounts;

const LIMITS: OutboxLimits = OutboxLimits::NATIVE;
const ROUTE: RouteVersion = RouteVersion(1);

fn pid(n: u8) -> Pid {
    Pid::new(1_700_000_000_000 + u64::from(n), [n; 10])
}

fn outbox(limits: OutboxLimits, persistent: bool) -> Outbox {
    let mut outbox = Outbox::new(OutboxOptions { limits, level: AckLevel::Durable, persistent }, pid(1));
    commit(&mut outbox);
    outbox
}

/// A payload of one event whose report also says that one event was refused before it.
fn payload() -> Vec<u8> {
    vec![1, 1, 1, DropReason::Invalid as u8, 1, 0, 0]
}

fn commit(outbox: &mut Outbox) -> Vec<SpoolOp> {
    let ops = outbox.take_ops().unwrap_or_default();
    outbox.handle_committed();
    ops
}

/// Sends what may be sent; returns the numbers.
fn send(outbox: &mut Outbox) -> Vec<u64> {
    outbox.pump(Micros(0), ROUTE);
    let mut sent = Vec::new();
    while let Some((_, frame)) = outbox.poll_send(Micros(0)) {
        assert!(frame.seq.0 - frame.low_water.0 < SEQ_WINDOW);
        sent.push(frame.seq.0);
    }
    sent
}

fn ack(outbox: &mut Outbox, seq: u64) -> Option<u64> {
    let pid = outbox.pid();
    outbox.handle_ack(pid, Seq(seq), AckLevel::Durable)
}

#[test]
fn no_byte_leaves_before_its_mark_is_durable() {
    let mut outbox = outbox(LIMITS, true);
    let id = outbox.freeze(payload(), 1);
    assert!(send(&mut outbox).is_empty());
    let ops = outbox.take_ops().expect("a batch and its mark");
    assert!(
        matches!(ops[..], [SpoolOp::Put { .. }, SpoolOp::Transmit { id: marked, route: ROUTE }] if marked == id)
    );
    assert!(send(&mut outbox).is_empty() && outbox.take_ops().is_none());
    outbox.handle_committed();
    assert_eq!(send(&mut outbox), [1]);
}

/// What a client without a spool still held when it ended was in no count of its ledger.
#[test]
fn what_nothing_keeps_is_in_doubt_or_dropped_at_the_end() {
    let mut outbox = outbox(LIMITS, false);
    (0..10).for_each(|_| _ = outbox.freeze(payload(), 2));
    assert_eq!(send(&mut outbox).len(), 8);
    ack(&mut outbox, 3);
    outbox.abandon();
    let ledger = outbox.ledger();
    assert_eq!((ledger.acked_events, ledger.in_doubt_events, ledger.held_events), (2, 14, 0));
    assert_eq!((ledger.dropped_in_doubt_batches, ledger.dropped_batches), (7, 2));
    assert_eq!(ledger.dropped.get(DropReason::Closed), 4);
    assert_eq!((outbox.bytes(), outbox.is_empty()), (0, true));

    let mut spooled = self::outbox(LIMITS, true);
    spooled.freeze(payload(), 2);
    spooled.abandon();
    assert_eq!((spooled.len(), spooled.ledger().held_events), (1, 2), "the next process sends it");
}

#[test]
fn eight_are_in_flight_and_the_window_is_sixty_four() {
    let mut outbox = outbox(LIMITS, false);
    (0..100).for_each(|_| _ = outbox.freeze(payload(), 1));
    assert_eq!(send(&mut outbox), [1, 2, 3, 4, 5, 6, 7, 8]);
    // The first is never answered, all others are: sending stops at the window's end.
    for seq in 2..=64 {
        assert_eq!(ack(&mut outbox, seq), Some(1), "{seq}");
        send(&mut outbox);
    }
    assert_eq!(ack(&mut outbox, 65), None, "was never sent");
    assert!(send(&mut outbox).is_empty());
    assert_eq!(ack(&mut outbox, 1), Some(1));
    assert_eq!(send(&mut outbox), [65, 66, 67, 68, 69, 70, 71, 72]);
}

#[test]
fn acks_below_the_wanted_level_of_strangers_or_twice_change_nothing() {
    let mut outbox = outbox(LIMITS, false);
    let id = outbox.freeze(payload(), 1);
    assert_eq!(ack(&mut outbox, 1), None, "was not sent");
    send(&mut outbox);
    assert_eq!(outbox.handle_ack(pid(9), Seq(1), AckLevel::Durable), None);
    assert_eq!(outbox.handle_ack(pid(1), Seq(1), AckLevel::Received), None);
    assert!(outbox.has_reached(id, AckLevel::Received) && !outbox.has_reached(id, AckLevel::Durable));
    assert_eq!(ack(&mut outbox, 1), Some(1));
    assert_eq!(ack(&mut outbox, 1), None);
    assert!(outbox.has_reached(id, AckLevel::Replicated));
}

#[test]
fn a_stronger_level_is_asked_for_with_the_same_dot() {
    let mut outbox = outbox(LIMITS, false);
    let id = outbox.freeze(payload(), 1);
    send(&mut outbox);
    outbox.require(id, AckLevel::Replicated);
    assert_eq!(ack(&mut outbox, 1), None);
    assert_eq!(send(&mut outbox), [1]);
    outbox.set_level_max(AckLevel::Durable);
    assert!(outbox.is_empty(), "the hub gives no more than it has given");
}

#[test]
fn a_full_outbox_presses_back_or_drops_the_oldest_and_counts() {
    let small = OutboxLimits { memory_bytes_max: 3 * payload().len(), ..LIMITS };
    let mut patient = outbox(small, false);
    (0..3).for_each(|_| _ = patient.freeze(payload(), 1));
    assert!(!patient.has_room());

    let mut lossy = outbox(OutboxLimits { overflow: Overflow::DropOldest, ..small }, false);
    lossy.freeze(payload(), 1);
    send(&mut lossy);
    (0..4).for_each(|_| _ = lossy.freeze(payload(), 10));
    // The first was transmitted: what is certain to be lost goes before it.
    let ledger = lossy.ledger();
    assert_eq!((ledger.dropped_batches, ledger.in_doubt_batches, ledger.held_batches), (2, 0, 3));
    let mut dropped = DropCounts::default();
    dropped.add(DropReason::OutboxFull, 20);
    // What the dropped batches had to report is still to be reported.
    dropped.add(DropReason::Invalid, 2);
    assert_eq!(lossy.take_delta().dropped, dropped);
    assert_eq!(lossy.low_water(), Seq(1));
}

#[test]
fn resume_acks_what_is_held_and_sends_the_rest_again() {
    let mut outbox = outbox(LIMITS, false);
    (0..6).for_each(|_| _ = outbox.freeze(payload(), 1));
    send(&mut outbox);
    outbox.handle_disconnected();
    let level = AckLevel::Durable;
    let resumed = Resumed { pid: pid(1), floor: Seq(2), bitmap: 0b101, level, expired: false };
    assert_eq!(outbox.handle_resumed(&resumed), (4, false));
    assert_eq!(send(&mut outbox), [4, 6]);
    assert_eq!(outbox.handle_resumed(&Resumed { pid: pid(2), ..resumed }), (0, false));
}

#[test]
fn expiry_doubts_what_was_sent_and_renames_the_rest() {
    for in_doubt in [InDoubt::Drop, InDoubt::Resend] {
        let mut outbox = outbox(OutboxLimits { in_flight_max: 2, in_doubt, ..LIMITS }, false);
        (0..5).for_each(|_| _ = outbox.freeze(payload(), 10));
        assert_eq!(send(&mut outbox), [1, 2]);
        assert_eq!(outbox.expire(pid(2)), (2, 20));
        assert_eq!(outbox.take_delta().in_doubt_batches, 2);
        assert_eq!((outbox.pid(), outbox.low_water()), (pid(2), Seq(1)));
        assert_eq!(outbox.len(), if in_doubt == InDoubt::Drop { 3 } else { 5 });
        assert_eq!(send(&mut outbox), [1, 2]);
    }
}

#[test]
fn an_identity_is_left_only_when_nothing_transmitted_remains() {
    let mut outbox = outbox(LIMITS, false);
    outbox.freeze(payload(), 1);
    send(&mut outbox);
    outbox.retire();
    outbox.freeze(payload(), 1);
    assert!(!outbox.wants_identity() && send(&mut outbox).is_empty());
    ack(&mut outbox, 1);
    assert!(outbox.renew_if_drained(pid(2)));
    assert_eq!((outbox.pid(), send(&mut outbox)), (pid(2), vec![1]));
}

/// A commit under way when the identity changes must not let a byte out under a dot whose mark is not stored.
#[test]
fn marks_of_old_dots_do_not_count_for_new_ones() {
    let mut outbox = outbox(LIMITS, true);
    outbox.freeze(payload(), 1);
    outbox.pump(Micros(0), ROUTE);
    let old = outbox.take_ops().expect("put and mark");
    assert_eq!(outbox.expire(pid(2)), (0, 0), "no byte had left");
    outbox.pump(Micros(0), ROUTE);
    outbox.handle_committed();
    assert!(send(&mut outbox).is_empty(), "the new mark is not durable");
    let new = commit(&mut outbox);
    assert!(matches!(new[..], [SpoolOp::Redot { .. }, SpoolOp::Transmit { .. }]));
    assert_eq!((old.len(), send(&mut outbox)), (2, vec![1]));
}

/// Prevents: a mark that waits in the same commit as a later identity is taken for that identity's mark, and a byte
/// leaves that the next process does not know of.
#[test]
fn marks_queued_before_an_identity_do_not_count_for_it() {
    let mut outbox = outbox(LIMITS, true);
    outbox.freeze(payload(), 1);
    outbox.pump(Micros(0), ROUTE);
    outbox.expire(pid(2));
    let ops = outbox.take_ops().expect("put, mark and identity");
    assert!(matches!(ops[..], [SpoolOp::Put { .. }, SpoolOp::Transmit { .. }, SpoolOp::Redot { .. }]));
    outbox.pump(Micros(0), ROUTE);
    outbox.handle_committed();
    assert!(send(&mut outbox).is_empty(), "the new mark is not durable");
    commit(&mut outbox);
    assert_eq!(send(&mut outbox), [1]);
}

#[test]
fn beyond_its_memory_a_persistent_outbox_reads_back_from_disk() {
    let limits = OutboxLimits { memory_bytes_max: 2 * payload().len(), in_flight_max: 1, ..LIMITS };
    let mut outbox = outbox(limits, true);
    (0..4).for_each(|_| _ = outbox.freeze(payload(), 1));
    commit(&mut outbox);
    for seq in 1..=4 {
        outbox.pump(Micros(0), ROUTE);
        commit(&mut outbox);
        outbox.pump(Micros(0), ROUTE);
        if let Some(id) = outbox.poll_load() {
            assert!(seq > 2 && outbox.poll_load().is_none(), "one request per batch");
            outbox.handle_loaded(id, if seq == 4 { None } else { Some(payload()) });
        }
        let sent = send(&mut outbox);
        assert_eq!(sent, if seq == 4 { vec![] } else { vec![seq] });
        ack(&mut outbox, seq);
    }
    let ledger = outbox.ledger();
    assert_eq!((ledger.acked_batches, ledger.dropped_in_doubt_batches, ledger.held_bytes), (3, 1, 0));
}

#[test]
fn a_restored_outbox_drains_the_old_identity_before_a_new_one() {
    let batch = |id, seq, route| SavedBatch {
        id: BatchId(id),
        seq: Seq(seq),
        events: 5,
        report: LedgerDelta::default(),
        bytes: payload().len(),
        route,
    };
    let saved = Saved { pid: Some(pid(1)), batches: vec![batch(4, 7, Some(ROUTE)), batch(5, 8, None)] };
    let options = OutboxOptions { limits: LIMITS, level: AckLevel::Durable, persistent: true };
    let mut outbox = Outbox::restore(options, &saved, pid(2));
    assert_eq!((outbox.pid(), outbox.low_water(), outbox.ledger().adopted_events), (pid(1), Seq(7), 10));
    outbox.pump(Micros(0), ROUTE);
    let id = outbox.poll_load().expect("its bytes are on disk");
    outbox.handle_loaded(id, Some(payload()));
    assert_eq!(send(&mut outbox), [7]);
    ack(&mut outbox, 7);
    assert!(outbox.renew_if_drained(pid(2)));
    assert_eq!((outbox.pid(), outbox.low_water()), (pid(2), Seq(1)));
    // Nothing but unsent batches: the new identity starts at once.
    let unsent = Saved { pid: Some(pid(1)), batches: vec![batch(5, 8, None)] };
    assert_eq!(Outbox::restore(options, &unsent, pid(3)).pid(), pid(3));
}

/// Prevents: a batch left by the process before is dropped for want of room, and with it the only word of what
/// that process had lost.
#[test]
fn an_adopted_batch_that_is_dropped_is_still_reported_in_full() {
    let limits =
        OutboxLimits { disk_bytes_max: 2 * payload().len() as u64, overflow: Overflow::DropOldest, ..LIMITS };
    let mut spool = MemorySpool::default();
    let mut first = Outbox::new(OutboxOptions { limits, level: AckLevel::Durable, persistent: true }, pid(1));
    (0..2).for_each(|_| _ = first.freeze(payload(), 10));
    spool.commit(&first.take_ops().expect("two batches")).expect("memory");
    let saved = spool.load().expect("memory");
    let mut second = Outbox::restore(first.options, &saved, pid(2));
    (0..2).for_each(|_| _ = second.freeze(payload(), 10));
    assert!(second.take_delta().is_empty(), "the disk still has them");
    commit(&mut second);
    let delta = second.take_delta();
    assert_eq!((delta.dropped.get(DropReason::OutboxFull), delta.dropped.get(DropReason::Invalid)), (20, 2));
}

/// The next process sends what the spool has, under new dots where no mark is stored.
#[test]
fn after_its_spool_failed_an_outbox_leaves_what_is_stored_and_sends_the_rest() {
    let mut outbox = outbox(OutboxLimits { in_flight_max: 1, ..LIMITS }, true);
    (0..2).for_each(|_| _ = outbox.freeze(payload(), 10));
    outbox.pump(Micros(0), ROUTE);
    commit(&mut outbox);
    assert_eq!(send(&mut outbox), [1]);
    outbox.freeze(payload(), 100);
    outbox.take_ops().expect("a batch that may or may not be written");
    outbox.freeze(payload(), 1_000);
    outbox.handle_spool_lost();
    let ledger = outbox.ledger();
    assert_eq!((ledger.left_events, ledger.in_doubt_events, ledger.held_events), (10, 100, 1_020));
    assert!(send(&mut outbox).is_empty() && !outbox.wants_identity(), "the first is not answered");
    outbox.handle_disconnected();
    assert_eq!(send(&mut outbox), [1], "its mark is stored");
    ack(&mut outbox, 1);
    assert_eq!(outbox.low_water(), Seq(2), "the next process may send it under this dot");
    assert!(outbox.renew_if_drained(pid(2)));
    assert_eq!(send(&mut outbox), [1]);
    assert_eq!(ack(&mut outbox, 1), Some(1_000));
    let ledger = outbox.ledger();
    assert_eq!((ledger.acked_events, ledger.held_events, ledger.held_bytes), (1_010, 10, 7));
    assert!(outbox.is_empty() && outbox.take_ops().is_none());
}

#[test]
fn an_identity_that_expires_after_its_spool_failed_leaves_its_batches_too() {
    for in_doubt in [InDoubt::Drop, InDoubt::Resend] {
        let mut outbox = outbox(OutboxLimits { in_doubt, ..LIMITS }, true);
        outbox.freeze(payload(), 1);
        outbox.pump(Micros(0), ROUTE);
        commit(&mut outbox);
        assert_eq!(send(&mut outbox), [1]);
        outbox.handle_spool_lost();
        assert_eq!(outbox.expire(pid(2)), (0, 0));
        assert!(send(&mut outbox).is_empty());
        assert_eq!(outbox.ledger().left_batches, 1);
    }
}

#[test]
fn a_batch_dropped_while_only_the_disk_has_it_is_still_reported_in_full() {
    let limits = OutboxLimits {
        memory_bytes_max: 0,
        disk_bytes_max: 2 * payload().len() as u64,
        overflow: Overflow::DropOldest,
        ..LIMITS
    };
    let mut outbox = outbox(limits, true);
    for _ in 0..4 {
        outbox.freeze(payload(), 10);
        commit(&mut outbox);
    }
    assert!(outbox.entries.iter().all(|entry| entry.payload.is_none()));
    let delta = outbox.take_delta();
    assert_eq!((delta.dropped.get(DropReason::OutboxFull), delta.dropped.get(DropReason::Invalid)), (20, 2));
    assert_eq!(delta.events, 0);
}
