//! The protocol model: random histories of the real client and the real hub, with faults, and an oracle afterwards.
//!
//! The port of the executable model that the rules of `ARCHITECTURE.md`, "Exactly once", were checked with, for one
//! copy: real sessions and outboxes of the SDK, with and without a spool, speak real frames to real session machines,
//! writer, core, overlay, folds and replay of one hub over a simulated network, disk and clock. Packets are lost,
//! doubled, delayed and overtaken; connections drop; clients crash and come back; the hub crashes and loses what it
//! had not stored; commits fail before or after they are durable; spools fail; producers expire; clocks jump. Then
//! everything heals and drains, and the oracle checks event by event.
//!
//! Each planted bug must be caught: a model that cannot fail proves nothing. `HEADWATER_SEED=n` replays one
//! history, `HEADWATER_RUNS=n` runs that many.

mod client;
mod hub;
mod oracle;
mod world;

use crate::sim::{Flaw, seeds};
use world::World;

/// Steps with faults.
const STEPS: u32 = 500;
/// Milliseconds that a producer lives: short, so that identities are renewed and expire within a history.
const LIFETIME_MS: u64 = 60_000;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    /// In the shard group's core, by its name in the executable model.
    Core(&'static str),
    /// Below the hub's store.
    Disk(Flaw),
    /// The hub acknowledges as durable what it has only received.
    AckBeforeStored,
    /// Batches leave the outbox when they are received.
    ClientDeletesReceived,
    /// Batches in doubt are sent again.
    ClientResendsInDoubt,
    /// What could not be sent is frozen again.
    NewDotAfterFailure,
    /// The driver says that marks are durable without making them so.
    SendBeforeMark,
    /// The spool loses the marks it was given.
    SpoolForgetsMarks,
    /// The driver says that a failed write of the spool succeeded.
    IgnoresSpoolLoss,
}

/// What happened in one history, or in many.
#[derive(Clone, Debug, Default)]
struct Stats {
    events: u64,
    applied: u64,
    in_doubt: u64,
    dropped: u64,
    faults: u64,
    client_crashes: u64,
    hub_crashes: u64,
    failed_commits: u64,
    spool_losses: u64,
    clock_jumps: u64,
    reads: u64,
}

impl Stats {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.applied += other.applied;
        self.in_doubt += other.in_doubt;
        self.dropped += other.dropped;
        self.faults += other.faults;
        self.client_crashes += other.client_crashes;
        self.hub_crashes += other.hub_crashes;
        self.failed_commits += other.failed_commits;
        self.spool_losses += other.spool_losses;
        self.clock_jumps += other.clock_jumps;
        self.reads += other.reads;
    }
}

/// One history: steps with faults, then healing, then the oracle.
fn run(seed: u64, bug: Option<Bug>) -> Result<Stats, String> {
    let mut world = World::new(seed, bug);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.heal()?;
    world.judge()
}

#[test]
fn random_histories_lose_nothing_and_count_nothing_twice() {
    let (mut sum, mut wrong, seeds) = (Stats::default(), Vec::new(), seeds(300));
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed, None)) {
            Ok(Ok(stats)) => sum.add(&stats),
            Ok(Err(error)) => wrong.push(format!("HEADWATER_SEED={seed}: {error}")),
            Err(_) => wrong.push(format!("HEADWATER_SEED={seed}: panicked")),
        }
    }
    assert!(wrong.is_empty(), "{} of {runs} histories:\n{}", wrong.len(), wrong.join("\n"));
    if runs >= 300 {
        let happened = [sum.client_crashes, sum.hub_crashes, sum.failed_commits, sum.spool_losses];
        assert!(happened.iter().all(|count| *count > runs / 2), "{sum:?}");
        assert!(sum.applied > 50 * runs && sum.faults > 10 * runs && sum.reads > 5 * runs, "{sum:?}");
        assert!(sum.in_doubt > 0 && sum.dropped > 0 && sum.clock_jumps > runs, "{sum:?}");
    }
}

const BUGS: [Bug; 15] = [
    Bug::Core("no_dedup"),
    Bug::Core("floor_max"),
    Bug::Core("expire_no_minbirth"),
    Bug::Disk(Flaw::LyingSync),
    Bug::Disk(Flaw::SplitFold),
    Bug::Disk(Flaw::NoSessions),
    Bug::Disk(Flaw::ForgetsSessions),
    Bug::Disk(Flaw::ForgetsLog),
    Bug::AckBeforeStored,
    Bug::ClientDeletesReceived,
    Bug::ClientResendsInDoubt,
    Bug::NewDotAfterFailure,
    Bug::SendBeforeMark,
    Bug::SpoolForgetsMarks,
    Bug::IgnoresSpoolLoss,
];

#[test]
fn every_planted_bug_is_caught() {
    let missed: Vec<Bug> = BUGS.into_iter().filter(|bug| !is_caught(*bug)).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

fn is_caught(bug: Bug) -> bool {
    let fails = |seed: &u64| std::panic::catch_unwind(|| run(*seed, Some(bug))).map_or(true, |r| r.is_err());
    (0..400).any(|seed| fails(&seed))
}
