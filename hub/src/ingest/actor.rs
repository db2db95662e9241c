//! The task that gathers requests into rounds.
//!
//! Owns: what is in one flush, how many flushes are on their way, and the barriers. Must not know: how a flush is done
//! ([`round`]).
//! A round begins as soon as one may: while rounds are on their way requests gather, so that many inserters share a
//! sync and a lonely one does not wait.

use super::round::{self, Frozen, Reply, Request, Work};
use super::{Shared, stopping};
use headwater_sql::SqlError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Rounds on their way at a time: while one waits for its sync the next is aggregated.
const ROUNDS_MAX: usize = 4;
/// Rows after which a round takes no more requests.
const ROUND_ROWS: u64 = 65_536;
/// Bytes of rows after which it takes no more: what comes behind does not wait for all of them.
const ROUND_BYTES: usize = 8 << 20;

/// What the task is told.
pub(super) enum Message {
    Rows(Box<Request>),
    Frozen(Frozen),
    Flush(Reply),
    Shutdown(oneshot::Sender<()>),
}

/// Which rounds are on their way, and who waits for them.
#[derive(Default)]
struct Barriers {
    begun: u64,
    open: BTreeSet<u64>,
    flushes: u64,
    waiting: Vec<Barrier>,
    /// By round.
    losses: BTreeMap<u64, Loss>,
}

/// A flush that waits.
struct Barrier {
    number: u64,
    /// The last round that had begun when it came.
    upto: u64,
    reply: Reply,
}

/// Events of a round that were answered before, and are not durable.
struct Loss {
    events: u64,
    /// How many flushes had come when one was told first: those are told, too, and nobody after them.
    told: Option<u64>,
}

impl Barriers {
    fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.open.insert(self.begun);
        self.begun
    }

    /// Waits for all rounds that have begun.
    fn wait(&mut self, reply: Reply) {
        self.flushes += 1;
        self.waiting.push(Barrier { number: self.flushes, upto: self.begun, reply });
        self.release();
    }

    fn end(&mut self, round: u64, events: u64) {
        self.open.remove(&round);
        if events > 0 {
            self.losses.insert(round, Loss { events, told: None });
        }
        self.release();
    }

    fn release(&mut self) {
        let first_open = self.open.first().copied().unwrap_or(u64::MAX);
        for barrier in std::mem::take(&mut self.waiting) {
            match barrier.upto < first_open {
                true => self.tell(barrier),
                false => self.waiting.push(barrier),
            }
        }
        let Self { losses, waiting, .. } = self;
        losses.retain(|round, loss| {
            let may_hear = |told| waiting.iter().any(|b: &Barrier| b.upto >= *round && b.number <= told);
            loss.told.is_none_or(may_hear)
        });
    }

    fn tell(&mut self, Barrier { number, upto, reply }: Barrier) {
        let mut losses: Vec<&mut Loss> = self
            .losses
            .range_mut(..=upto)
            .map(|(_, loss)| loss)
            .filter(|loss| loss.told.is_none_or(|told| number <= told))
            .collect();
        let result = match losses.iter().map(|loss| loss.events).sum() {
            0 => Ok(()),
            events => Err(lost(events)),
        };
        // Whoever is gone was not told.
        if reply.send(result).is_ok() {
            losses.iter_mut().for_each(|loss| loss.told = loss.told.or(Some(self.flushes)));
        }
    }
}

fn lost(events: u64) -> SqlError {
    SqlError::new("58030", format!("{events} events that were inserted before are not durable")).with_hint(
        "storage failed, or they could not be counted after they were answered; stream_insert_level = sync_commit answers each INSERT when it is safe",
    )
}

/// The task's state.
pub(super) struct Actor {
    shared: Arc<Shared>,
    work: Work,
    rows: u64,
    bytes: usize,
    barriers: Barriers,
    rounds: JoinSet<(u64, u64)>,
    ending: Option<oneshot::Sender<()>>,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            work: Work::default(),
            rows: 0,
            bytes: 0,
            barriers: Barriers::default(),
            rounds: JoinSet::new(),
            ending: None,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        while self.ending.is_none() {
            tokio::select! {
                biased;
                Some(ended) = self.rounds.join_next(), if !self.rounds.is_empty() => self.settle(ended),
                message = inbox.recv(), if self.rounds.len() < ROUNDS_MAX => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
            }
            while self.rounds.len() < ROUNDS_MAX
                && self.rows < ROUND_ROWS
                && self.bytes < ROUND_BYTES
                && let Ok(message) = inbox.try_recv()
            {
                self.take(message);
            }
            self.begin_round();
        }
        self.drain(inbox).await;
    }

    /// Everything that was taken is answered.
    async fn drain(mut self, mut inbox: mpsc::Receiver<Message>) {
        inbox.close();
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Flush(reply) => drop(reply.send(Err(stopping()))),
                message => self.take(message),
            }
        }
        self.begin_round();
        while let Some(ended) = self.rounds.join_next().await {
            self.settle(ended);
        }
        if let Some(ending) = self.ending.take() {
            let _ = ending.send(());
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Rows(request) => {
                self.rows += request.rows();
                self.bytes += request.bytes;
                self.work.requests.push(*request);
            }
            Message::Frozen(frozen) => {
                self.rows += frozen.events;
                self.work.frozen.push(frozen);
            }
            Message::Flush(reply) => {
                self.begin_round();
                self.barriers.wait(reply);
            }
            Message::Shutdown(reply) => self.ending = Some(reply),
        }
    }

    fn begin_round(&mut self) {
        let work = std::mem::take(&mut self.work);
        (self.rows, self.bytes) = (0, 0);
        if work.requests.is_empty() && work.frozen.is_empty() {
            return;
        }
        let (shared, round) = (Arc::clone(&self.shared), self.barriers.begin());
        self.rounds.spawn(async move { (round, round::run(&shared, work).await) });
    }

    fn settle(&mut self, ended: Result<(u64, u64), tokio::task::JoinError>) {
        match ended {
            Ok((round, lost)) => self.barriers.end(round, lost),
            // Its waiters see their channel close. Which round it was is not known: when none is left it is over, too.
            Err(error) => tracing::error!(%error, "a flush ended badly"),
        }
        if self.rounds.is_empty() {
            self.barriers.open.clear();
            self.barriers.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(barriers: &mut Barriers) -> oneshot::Receiver<Result<(), SqlError>> {
        let (reply, answer) = oneshot::channel();
        barriers.wait(reply);
        answer
    }

    /// Events that a flush was told to be lost; `None` while it waits.
    fn told(answer: &mut oneshot::Receiver<Result<(), SqlError>>) -> Option<u64> {
        match answer.try_recv().ok()? {
            Ok(()) => Some(0),
            Err(error) => error.message.split(' ').next().and_then(|events| events.parse().ok()),
        }
    }

    #[test]
    fn a_barrier_waits_for_what_began_before_it_and_for_nothing_else() {
        let mut barriers = Barriers::default();
        assert_eq!(told(&mut flush(&mut barriers)), Some(0), "nothing to wait for");
        let (first, second) = (barriers.begin(), barriers.begin());
        let mut answer = flush(&mut barriers);
        let third = barriers.begin();
        barriers.end(second, 0);
        assert_eq!(told(&mut answer), None, "the first one is open");
        barriers.end(first, 0);
        assert_eq!(told(&mut answer), Some(0), "the third one came later");
        barriers.end(third, 5);
        assert_eq!(told(&mut flush(&mut barriers)), Some(5));
        assert_eq!(told(&mut flush(&mut barriers)), Some(0), "told once");
        assert!(barriers.losses.is_empty());
    }

    /// One of several flushes was told of a loss, and the others that nothing was lost.
    #[test]
    fn every_flush_that_waits_is_told_what_was_lost_before_it() {
        let mut barriers = Barriers::default();
        let (first, second) = (barriers.begin(), barriers.begin());
        let (mut one, mut two) = (flush(&mut barriers), flush(&mut barriers));
        let third = barriers.begin();
        let mut late = flush(&mut barriers);
        barriers.end(first, 3);
        barriers.end(second, 4);
        assert_eq!((told(&mut one), told(&mut two), told(&mut late)), (Some(7), Some(7), None));
        assert_eq!(told(&mut flush(&mut barriers)), None, "the third round is open");
        barriers.end(third, 5);
        assert_eq!(told(&mut late), Some(12), "it came before anybody was told");
        assert_eq!(told(&mut flush(&mut barriers)), Some(0));
        assert!(barriers.losses.is_empty());
    }

    #[test]
    fn what_is_lost_later_is_told_later_and_never_to_nobody() {
        let mut barriers = Barriers::default();
        let first = barriers.begin();
        let mut answer = flush(&mut barriers);
        let second = barriers.begin();
        barriers.end(second, 5);
        barriers.end(first, 0);
        assert_eq!(told(&mut answer), Some(0), "what was lost began behind it");
        assert_eq!(told(&mut flush(&mut barriers)), Some(5));
        let first = barriers.begin();
        drop(flush(&mut barriers));
        barriers.end(first, 5);
        assert_eq!(told(&mut flush(&mut barriers)), Some(5), "the other one had gone");
    }
}
