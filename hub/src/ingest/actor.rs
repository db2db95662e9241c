//! The task that gathers requests into rounds.
//!
//! Owns: what is in one flush, how many flushes are on their way, and the barriers. Must not know: how a flush is done
//! ([`round`]).
//! A round begins as soon as one may: while rounds are on their way requests gather, so that many inserters share a
//! sync and a lonely one does not wait.

use super::round::{self, Frozen, Reply, Request, Work};
use super::{Shared, stopping};
use headwater_sql::SqlError;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Rounds on their way at a time: while one waits for its sync the next is aggregated.
const ROUNDS_MAX: usize = 4;
/// Rows after which a round takes no more requests.
const ROUND_ROWS: u64 = 65_536;

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
    waiting: Vec<(u64, Reply)>,
    /// Events that were answered before, and are not durable; told by the next flush.
    lost: u64,
}

impl Barriers {
    fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.open.insert(self.begun);
        self.begun
    }

    /// Waits for all rounds that have begun.
    fn wait(&mut self, reply: Reply) {
        self.waiting.push((self.begun, reply));
        self.release();
    }

    fn end(&mut self, round: u64, lost: u64) {
        self.open.remove(&round);
        self.lost += lost;
        self.release();
    }

    fn release(&mut self) {
        let first_open = self.open.first().copied().unwrap_or(u64::MAX);
        for (upto, reply) in std::mem::take(&mut self.waiting) {
            if upto >= first_open {
                self.waiting.push((upto, reply));
                continue;
            }
            let result = match std::mem::take(&mut self.lost) {
                0 => Ok(()),
                lost => Err(SqlError::new(
                    "58030",
                    format!("{lost} events that were inserted before are not durable"),
                )
                .with_hint(
                    "storage failed; stream_insert_level = sync_commit answers each INSERT when it is safe",
                )),
            };
            drop(reply.send(result));
        }
    }
}

/// The task's state.
pub(super) struct Actor {
    shared: Arc<Shared>,
    work: Work,
    rows: u64,
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
        self.rows = 0;
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

    #[test]
    fn a_barrier_waits_for_what_began_before_it_and_for_nothing_else() {
        let mut barriers = Barriers::default();
        let (reply, mut answer) = oneshot::channel();
        barriers.wait(reply);
        assert_eq!(answer.try_recv(), Ok(Ok(())), "nothing to wait for");
        let (first, second) = (barriers.begin(), barriers.begin());
        let (reply, mut answer) = oneshot::channel();
        barriers.wait(reply);
        let third = barriers.begin();
        barriers.end(second, 0);
        assert!(answer.try_recv().is_err(), "the first one is open");
        barriers.end(first, 0);
        assert_eq!(answer.try_recv(), Ok(Ok(())), "the third one came later");
        barriers.end(third, 5);
        let (reply, mut answer) = oneshot::channel();
        barriers.wait(reply);
        let error = answer.try_recv().expect("answered").expect_err("lost");
        assert!(error.message.starts_with("5 events"), "{error}");
        let (reply, mut answer) = oneshot::channel();
        barriers.wait(reply);
        assert_eq!(answer.try_recv(), Ok(Ok(())), "told once");
    }
}
