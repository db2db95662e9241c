//! Batches on their way: the window, the order, the retries.
//!
//! Invariants: a batch's rows are in the journal before it is sent; at most [`IN_FLIGHT`] wait for their
//! fate; a batch is counted as done only when the hub says that it is durable. A dot conflict in a continued
//! load means that the hub has those rows already, built in an earlier run: done once it says that it holds them. After
//! every interruption the hub is asked for all of the producer's batches: one that came back with older data has lost
//! some that were done, and they are built and sent again.

use super::block::Odd;
use super::journal::{Journal, Range};
use super::link::{Fate, Link};
use super::rows::{Builder, Built};
use super::times::Times;
use super::{CliError, out};
use crate::cli::connect::{refused, unless_refused};
use headwater::client::ConnectOptions;
use headwater::ids::{Pid, Seq};
use headwater::wire::batch::DropCounts;
use headwater::wire::{RefusedCode, Resumed};
use indicatif::ProgressBar;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Batches sent and not answered (C3).
const IN_FLIGHT: usize = 8;
/// Between two tries to reach a hub that went away; the least that one may take.
const PAUSE: Duration = Duration::from_millis(500);
/// Silence after which it is worth asking whether anybody listens.
const QUIET: Duration = Duration::from_secs(1);

/// What a load did.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Rows of the file.
    pub rows: u64,
    /// Rows sent by this run.
    pub sent_rows: u64,
    /// Batches of the file.
    pub batches: u64,
    /// Bytes of the payloads sent by this run.
    pub bytes: u64,
    /// Groups left out.
    pub oversized: u64,
    /// Rows sent by this run that views left out, by reason, counted per view.
    pub rejected: DropCounts,
    /// What is odd about the rows sent by this run.
    pub odd: Odd,
}

/// A batch that was sent.
#[derive(Clone)]
struct Sent {
    range: Range,
    payload: Arc<Vec<u8>>,
}

/// What to do about a batch.
#[derive(Debug)]
enum Next {
    /// It is durable.
    Done,
    /// Whether the hub holds it durably is to be asked.
    Ask,
    /// It is to be sent again.
    Again(CliError),
    /// The load ends.
    End(CliError),
}

/// Moves a file's rows to a hub.
pub(super) struct Pump {
    options: ConnectOptions,
    stream: String,
    patience: Duration,
    times: Times,
    link: Link,
    /// When the link was opened.
    opened: Instant,
    pid: Pid,
    journal: Journal,
    builder: Builder,
    bar: ProgressBar,
    /// Batches of earlier runs, or lost by the hub, that it does not hold, in order.
    todo: VecDeque<Range>,
    /// Sequence numbers below this one were given by earlier runs, or before the hub lost what it held.
    fresh: u64,
    sent: BTreeMap<u64, Sent>,
    fates: JoinSet<(u64, Fate)>,
    /// Since when nothing became durable, once something failed.
    stalled: Option<Instant>,
    report: Report,
}

impl Pump {
    pub fn new(
        options: ConnectOptions,
        stream: String,
        link: Link,
        journal: Journal,
        builder: Builder,
        bar: ProgressBar,
        patience: Duration,
    ) -> Result<Self, CliError> {
        let pid = journal.pid().ok_or_else(|| CliError::Other("the journal's producer is not one".into()))?;
        let fresh = journal.next_seq();
        let times = if builder.has_times() { Times::Own } else { Times::Start };
        Ok(Self {
            options,
            stream,
            patience,
            times,
            link,
            opened: Instant::now(),
            pid,
            journal,
            builder,
            bar,
            todo: VecDeque::new(),
            fresh,
            sent: BTreeMap::new(),
            fates: JoinSet::new(),
            stalled: None,
            report: Report::default(),
        })
    }

    /// The rows are no history, though they bring their own time.
    pub fn live(mut self) -> Self {
        self.times = Times::Live;
        self
    }

    /// By the hub's clock, in microseconds.
    fn is_backfill(&self) -> bool {
        let since = i64::try_from(self.opened.elapsed().as_micros()).unwrap_or(i64::MAX);
        let now = self.link.welcome.time.0.saturating_add(since);
        self.times.is_backfill(now.saturating_sub(self.journal.head.started))
    }

    /// Sends everything that the hub does not hold yet; returns when all is durable.
    pub async fn run(mut self, batch_rows: u64) -> Result<Report, CliError> {
        self.tell_unfed();
        self.find_todo().await?;
        loop {
            while self.has_room() {
                match tokio::task::block_in_place(|| self.next(batch_rows))? {
                    Some(sent) => self.send(sent),
                    None => break,
                }
            }
            match tokio::time::timeout(QUIET, self.fates.join_next()).await {
                Ok(None) => break,
                Ok(Some(fate)) => {
                    let (seq, fate) = fate.map_err(|e| CliError::Other(e.to_string()))?;
                    self.settle(seq, fate).await?;
                }
                Err(_) => self.ask_in_silence().await?,
            }
        }
        self.adopt_plans()?;
        self.journal.finish()?;
        self.link.close().await;
        self.report.rows = self.journal.next_row();
        self.report.batches = self.journal.batches();
        Ok(self.report)
    }

    /// QUIC takes its time to see that a hub is gone; where nobody listens any more the system says so at once.
    async fn ask_in_silence(&mut self) -> Result<(), CliError> {
        match tokio::time::timeout(QUIET, refused(&self.options.addresses[0])).await {
            Ok(gone) => self.recover(gone).await,
            Err(_) => Ok(()),
        }
    }

    /// What earlier runs sent and the hub does not hold.
    async fn find_todo(&mut self) -> Result<(), CliError> {
        if self.journal.ranges.is_empty() {
            return Ok(());
        }
        let resumed = self.link.resume(self.pid, Seq(1)).await?;
        self.todo = missing(&resumed, &self.journal).into();
        if resumed.expired && self.todo.is_empty() {
            // All is held, and more of this producer would be refused: the rest of the file has another.
            self.pid = super::new_pid(self.link.welcome.time)?;
            self.journal.change_producer(self.pid)?;
            self.fresh = self.journal.next_seq();
        } else if resumed.expired {
            let rows: u64 = self.todo.iter().map(|range| range.rows).sum();
            let message = format!(
                "this load is older than the hub remembers: {} in doubt; finish it by hand",
                super::counted(rows, "row is", "rows are")
            );
            return Err(CliError::Other(message));
        }
        let held = self.journal.next_row() - self.todo.iter().map(|range| range.rows).sum::<u64>();
        self.bar.inc(held);
        self.bar.reset_eta();
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.sent.len() < IN_FLIGHT
    }

    /// The next batch: first those of earlier runs, then new rows.
    fn next(&mut self, batch_rows: u64) -> Result<Option<Sent>, CliError> {
        self.adopt_plans()?;
        if let Some(range) = self.todo.pop_front() {
            self.builder.skip_to(range.first)?;
            let built = self.builder.build_exactly(range.rows)?;
            return Ok(Some(self.sent(range, built)));
        }
        self.builder.skip_to(self.journal.next_row())?;
        let Some(built) = self.builder.build(batch_rows)? else { return Ok(None) };
        let range = self.journal.assign(built.rows)?;
        Ok(Some(self.sent(range, built)))
    }

    /// Goes over to plans that came meanwhile.
    fn adopt_plans(&mut self) -> Result<(), CliError> {
        if self.link.plans.has_changed().unwrap_or(false) {
            let plans = self.link.plans.borrow_and_update().clone();
            self.builder.set_plans(plans.as_ref())?;
            self.tell_unfed();
        }
        Ok(())
    }

    fn tell_unfed(&mut self) {
        for line in self.builder.take_news() {
            self.note(&line);
        }
    }

    fn sent(&mut self, range: Range, built: Built) -> Sent {
        self.report.oversized += built.oversized;
        self.report.rejected.merge(&built.rejected);
        self.report.odd.add(built.odd);
        self.report.bytes += built.bytes.len() as u64;
        self.report.sent_rows += range.rows;
        Sent { range, payload: Arc::new(built.bytes) }
    }

    fn send(&mut self, sent: Sent) {
        let seq = sent.range.seq;
        self.sent.insert(seq, sent.clone());
        let low_water = self.low_water();
        let fate = self.link.send(self.pid, Seq(seq), low_water, self.is_backfill(), &sent.payload);
        self.fates.spawn(async move { (seq, fate.await) });
    }

    /// The lowest number that is not known to be held.
    fn low_water(&self) -> Seq {
        let todo = self.todo.front().map(|range| range.seq);
        let sent = self.sent.keys().next().copied();
        Seq(todo.into_iter().chain(sent).min().unwrap_or_else(|| self.journal.next_seq()))
    }

    async fn settle(&mut self, seq: u64, fate: Fate) -> Result<(), CliError> {
        match next(fate, seq < self.fresh, self.is_backfill()) {
            Next::Done => self.done(seq),
            Next::Ask => return self.ask(seq).await,
            Next::Again(why) => return self.recover(why).await,
            Next::End(error) => return Err(error),
        }
        Ok(())
    }

    /// The hub has these rows, but a crash may still take them from it.
    async fn ask(&mut self, seq: u64) -> Result<(), CliError> {
        match self.link.resume(self.pid, Seq(1)).await {
            Ok(resumed) if holds(&resumed, Seq(seq)) => self.done(seq),
            Ok(_) => {
                let why = "rows of an earlier run are not durable at the hub yet";
                return self.recover(CliError::Other(why.into())).await;
            }
            Err(error) => return self.recover(error).await,
        }
        Ok(())
    }

    fn done(&mut self, seq: u64) {
        if let Some(sent) = self.sent.remove(&seq) {
            self.bar.inc(sent.range.rows);
            if self.stalled.take().is_some() {
                self.note("the hub takes rows again");
            }
        }
    }

    /// The hub went away or cannot write: connects anew, asks what it holds, sends the rest again. Same
    /// numbers, same bytes.
    async fn recover(&mut self, why: CliError) -> Result<(), CliError> {
        self.fates.abort_all();
        while self.fates.join_next().await.is_some() {}
        if self.stalled.is_none() {
            let seconds = self.patience.as_secs();
            self.note(&format!("warning: {why}; trying again for {seconds} s (--patience)"));
        }
        let (stalled, patience) = (*self.stalled.get_or_insert_with(Instant::now), self.patience);
        let resumed = loop {
            let left = || patience.saturating_sub(stalled.elapsed());
            tokio::time::sleep(PAUSE.min(left())).await;
            let tried = tokio::time::timeout(left().max(PAUSE), self.reconnect()).await;
            if let Ok(Err(
                error @ (CliError::StreamGone { .. } | CliError::OtherHub { .. } | CliError::Usage(_)),
            )) = tried
            {
                return Err(error);
            }
            if left().is_zero() {
                return Err(tried.ok().and_then(Result::err).unwrap_or(why).while_loading());
            }
            if let Ok(Ok(resumed)) = tried {
                break resumed;
            }
        };
        let held: Vec<u64> = self.sent.keys().copied().filter(|seq| holds(&resumed, Seq(*seq))).collect();
        held.into_iter().for_each(|seq| self.done(seq));
        // Before anything is sent: what is sent says that all below `low_water` is held.
        self.take_back(&resumed);
        for sent in self.sent.values().cloned().collect::<Vec<_>>() {
            self.send(sent);
        }
        Ok(())
    }

    /// What was done and the hub does not hold any more goes out again, and before what is on its way: a session takes
    /// numbers in order, within a window. What the hub has forgotten by now it once held.
    fn take_back(&mut self, resumed: &Resumed) {
        let missing = missing(resumed, &self.journal);
        let is_done = |range: &&Range| {
            !self.sent.contains_key(&range.seq)
                && self.todo.binary_search_by_key(&range.seq, |todo| todo.seq).is_err()
        };
        let lost: u64 = missing.iter().filter(is_done).map(|range| range.rows).sum();
        if lost == 0 || resumed.expired {
            return;
        }
        self.note(&lost_rows(lost));
        self.bar.set_position(self.bar.position().saturating_sub(lost));
        self.todo = missing.into();
        self.sent.clear();
        self.fresh = self.journal.next_seq();
    }

    /// Who waits should know what for.
    fn note(&self, line: &str) {
        self.bar.suspend(|| out::note(line));
    }

    async fn reconnect(&mut self) -> Result<Resumed, CliError> {
        let open = Link::open(&self.options, &self.stream);
        self.link = unless_refused(&self.options.addresses[0], open).await?;
        self.opened = Instant::now();
        let (cluster, expected) = (self.link.welcome.cluster.to_string(), &self.journal.head.cluster);
        if cluster != *expected {
            return Err(CliError::OtherHub { cluster, expected: expected.clone() });
        }
        // A new session's plans are news even if nothing changed.
        let plans = self.link.plans.borrow_and_update().clone();
        self.builder.set_plans(plans.as_ref())?;
        self.tell_unfed();
        self.link.resume(self.pid, Seq(1)).await
    }
}

/// What a batch's fate asks for. `is_rebuilt`: an earlier run may have sent other bytes under its number.
fn next(fate: Fate, is_rebuilt: bool, is_backfill: bool) -> Next {
    let refused = match fate {
        Fate::Held => return Next::Done,
        Fate::Lost(why) => return Next::Again(CliError::Gone(why)),
        Fate::Refused(refused) => refused,
    };
    let hint = match refused.code {
        RefusedCode::DotConflict if is_rebuilt => return Next::Ask,
        RefusedCode::Unavailable => return Next::Again(CliError::HubStorage(refused.message)),
        code if code.is_retryable() => return Next::Again(CliError::Other(refused.message)),
        RefusedCode::UnknownPlan => "; run the same command again",
        RefusedCode::Unauthorized if is_backfill => {
            "; start it with --backfill true, or leave out rows of the past with --live"
        }
        _ => "",
    };
    let message = format!("the hub refused rows: {} ({}){hint}", refused.message, refused.code.code());
    Next::End(CliError::Other(message))
}

/// What is told of acknowledged rows that the hub does not hold.
pub(super) fn lost_rows(rows: u64) -> String {
    format!(
        "warning: the hub lost {} that it had acknowledged (an older copy of its data?); sending again",
        super::counted(rows, "row", "rows")
    )
}

/// The batches of the journal's producer that the hub does not hold.
pub(super) fn missing(resumed: &Resumed, journal: &Journal) -> Vec<Range> {
    journal.ranges.iter().filter(|range| !holds(resumed, range.seq())).copied().collect()
}

/// True when the hub holds batch `seq`.
fn holds(resumed: &Resumed, seq: Seq) -> bool {
    match seq.0.checked_sub(resumed.floor.0) {
        None | Some(0) => true,
        Some(above) => above <= 64 && resumed.bitmap >> (above - 1) & 1 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::wire::{AckLevel, Refused};

    fn refused(code: RefusedCode) -> Fate {
        let pid = Pid::new(1, [0; 10]);
        Fate::Refused(Refused { pid, seq: Seq(1), code, message: "m".into(), retry_after_ms: 0 })
    }

    /// It was taken for done while the hub had it in memory only.
    #[test]
    fn a_conflict_with_an_earlier_run_is_done_only_when_the_hub_holds_it() {
        let conflict = || refused(RefusedCode::DotConflict);
        assert!(matches!(next(conflict(), true, true), Next::Ask));
        assert!(matches!(next(conflict(), false, true), Next::End(_)));
        assert!(matches!(next(Fate::Held, true, true), Next::Done));
        assert!(matches!(next(Fate::Lost("l".into()), true, true), Next::Again(CliError::Gone(_))));
        let unavailable = next(refused(RefusedCode::Unavailable), false, true);
        assert!(matches!(unavailable, Next::Again(CliError::HubStorage(_))));
    }

    #[test]
    fn what_is_held_is_the_floor_and_the_bits_above_it() {
        let pid = Pid::new(1, [0; 10]);
        let resumed =
            Resumed { pid, floor: Seq(10), bitmap: 0b101, level: AckLevel::Durable, expired: false };
        let held: Vec<u64> = (1..80).filter(|seq| holds(&resumed, Seq(*seq))).collect();
        assert_eq!(held, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13]);
    }
}
