//! The writer: the one thread that owns the data file's write transactions and all shard groups' cores.
//!
//! It gathers batches (group commit), stores their records in one durable transaction, merges them into the
//! overlay once they are committed, and only then acknowledges them: what is acknowledged is readable. Folds,
//! expiries and the removal of dead rows run here too, between commits or riding on one.

mod planned;
#[cfg(test)]
pub(super) mod stepper;

use super::admit::read_output;
use super::clock::{Belief, Found};
use super::core::{Appended, CoreOptions, HubId, Incoming, Verdict};
use super::fold::above_cap;
use super::janitor::{Expired, Janitor};
use super::ledger::Ledger;
use super::open::{Group, OpenOptions, has_sessions_below, load, next_boot, put_time, stored_session};
use super::options::ShardOptions;
use super::overlay::Partials;
use super::quarantine::set_rows_aside;
use super::shared::{Admitted, Message, Shared};
use super::status::{ShardGroupStatus, ShardStatus, ViewStatus};
use super::views::Views;
use super::{Clock, Outcome, refused};
use crate::catalog::Catalog;
use crate::store::tables::{group_key, log_key};
use crate::store::{Snapshot, Store, StoreError, Table};
use headwater::ids::{Dot, Lsn, Micros, Pid, ViewId};
use headwater::wire::{Ack, AckLevel, Refused, RefusedCode, Resume, Resumed};
use planned::{PlannedFold, folded_counts};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Groups that one fold transaction takes: bounds how long batches wait behind it.
const FOLD_GROUPS_MAX: usize = 65_536;
/// A fold of at most this many groups rides on a durable commit instead of costing fsyncs of its own.
const RIDING_GROUPS_MAX: usize = 4_096;
/// While batches come in, the writer waits this long for the next before it commits.
const GATHER: Duration = Duration::from_micros(500);
/// How often the writer looks around when nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// How often old producers are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);
/// How long the snapshot for session look-ups is kept: it pins pages.
const SESSIONS_AGE_MAX: Duration = Duration::from_secs(1);
/// Committed log between two measurements of the overlay's memory.
const MEASURE_BYTES: u64 = 1 << 20;

/// A record that is not committed yet, and who waits for it.
struct Pending {
    group: usize,
    lsn: Lsn,
    bytes: Vec<u8>,
    /// `None` for expiries and outputs.
    batch: Option<Box<Admitted>>,
    /// Of an output.
    partials: Option<Partials>,
    log_bytes: u64,
}

/// A known batch that is not as safe yet as its producer wants.
struct Waiting {
    group: usize,
    lsn: Lsn,
    dot: Dot,
    last: AckLevel,
    reply: mpsc::UnboundedSender<Outcome>,
}

pub(super) struct Writer {
    /// Weak while idle, so that the last handle's drop ends the thread.
    shared: Weak<Shared>,
    open: OpenOptions,
    groups: Vec<Group>,
    /// Appended, not stored.
    pending: Vec<Pending>,
    pending_bytes: usize,
    pending_since: Option<Instant>,
    /// Stored, not committed: waits for replicas.
    uncommitted: VecDeque<Pending>,
    waiting: Vec<Waiting>,
    sessions: Option<(Instant, Arc<dyn Snapshot>)>,
    last_fold: Instant,
    /// How long the last fold took.
    fold_cost: Duration,
    unmeasured_bytes: u64,
    next_expiry: Instant,
    belief: Belief,
    janitor: Janitor,
    failed: Option<StoreError>,
    next_retry: Instant,
}

/// Opens the shard groups of `store` and starts their writer.
pub(super) fn start(
    store: Arc<dyn Store>,
    options: ShardOptions,
    catalog: Catalog,
    clock: Clock,
) -> Result<Arc<Shared>, StoreError> {
    let (shared, writer, inbox) = open(store, options, catalog, clock)?;
    let thread = std::thread::Builder::new().name("headwater-writer".into());
    let thread = thread.spawn(move || writer.run(&inbox)).map_err(|e| StoreError::from_io(&e))?;
    *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(shared)
}

fn open(
    store: Arc<dyn Store>,
    options: ShardOptions,
    catalog: Catalog,
    clock: Clock,
) -> Result<(Arc<Shared>, Writer, Receiver<Message>), StoreError> {
    let settings = catalog.settings();
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let open = OpenOptions {
        cluster: settings.cluster,
        hub: HubId(settings.hub),
        shard_groups: settings.shard_groups.max(1),
        core: CoreOptions {
            pid_lifetime_ms: millis(options.pid_lifetime),
            future_skew_ms: millis(options.future_skew),
        },
    };
    let now = clock.read();
    let (boot, believed) = next_boot(&*store, &open, now.wall)?;
    let views = Views::new(&catalog.snapshot(), &Views::default());
    let (groups, overlays) = load(&*store, &open, boot, &views, options.window())?.into_iter().unzip();
    let (shared, inbox) = Shared::new(store, options, catalog, clock, boot, overlays);
    let mut writer = Writer::new(&shared, open, groups, Belief::new(believed, now));
    let last = shared.catalog.last_view();
    writer.janitor.remove_unheard(&shared, &mut writer.groups, last)?;
    writer.time(&shared);
    writer.publish(&shared);
    tell_if_behind(&shared.status());
    Ok((shared, writer, inbox))
}

impl Writer {
    fn new(shared: &Arc<Shared>, open: OpenOptions, groups: Vec<Group>, belief: Belief) -> Self {
        let now = Instant::now();
        Self {
            shared: Arc::downgrade(shared),
            open,
            groups,
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since: None,
            uncommitted: VecDeque::new(),
            waiting: Vec::new(),
            sessions: None,
            last_fold: now,
            fold_cost: Duration::ZERO,
            unmeasured_bytes: 0,
            next_expiry: now,
            belief,
            janitor: Janitor::default(),
            failed: None,
            next_retry: now,
        }
    }

    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let message = match inbox.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // All handles are gone: nobody waits for an answer, and what is acknowledged is in the log.
            let Some(shared) = self.shared.upgrade() else { return };
            let done = catch_unwind(AssertUnwindSafe(|| {
                let Some(Message::Shutdown(reply)) = self.cycle(&shared, message, inbox) else {
                    return false;
                };
                self.shut_down(&shared, reply);
                true
            }));
            match done {
                Ok(true) => return,
                Ok(false) => {}
                // Nothing in memory can be trusted any more: as after a failed write, start from what is on disk.
                Err(_panic) => self.fail(&shared, StoreError::Corrupted("the writer panicked".into())),
            }
            if shared.closed.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// How long to wait for the next message.
    fn patience(&self) -> Duration {
        if self.pending_since.is_some() { GATHER } else { TICK }
    }

    /// Handles what is waiting, then commits if it is time. Returns the shutdown message, once it comes.
    fn cycle(
        &mut self,
        shared: &Shared,
        first: Option<Message>,
        inbox: &Receiver<Message>,
    ) -> Option<Message> {
        let idle = first.is_none();
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Shutdown(_) => return Some(message),
                Message::Batch(batch) => self.handle_batch(shared, batch),
                Message::Resume(resume, reply) => {
                    let _ = reply.send(self.handle_resume(shared, resume));
                }
                Message::Expire(view, begin, reply) => {
                    let _ = reply.send(self.handle_expire(shared, view, begin));
                }
                Message::Settle(reply) => {
                    let _ = reply.send(self.settle(shared));
                }
            }
            next = if self.is_full(&shared.options) { None } else { inbox.try_recv().ok() };
        }
        if idle || self.is_full(&shared.options) {
            self.commit(shared);
        }
        self.background(shared);
        None
    }

    /// True when what is pending must not wait any longer.
    fn is_full(&self, options: &ShardOptions) -> bool {
        self.pending_bytes >= options.commit_bytes
            || self.pending_since.is_some_and(|since| since.elapsed() >= options.commit_delay)
    }

    fn handle_batch(&mut self, shared: &Shared, batch: Box<Admitted>) {
        let dot = Dot { pid: batch.frame.pid, seq: batch.frame.seq };
        let refuse = |code, message: &str| {
            shared.noted().fresh.refuse(code);
            let _ = batch.reply.send(Outcome::Refused(refused(dot.pid, dot.seq, code, message)));
        };
        if let Some(error) = &self.failed {
            return refuse(RefusedCode::Unavailable, &error.to_string());
        }
        let at = usize::from(batch.group.0);
        let incoming = Incoming {
            dot,
            low_water: batch.frame.low_water,
            route: batch.frame.route,
            window: batch.window,
            payload_hash: batch.hash,
            payload: &batch.frame.payload,
        };
        let sessions = &mut self.sessions;
        let group = &mut self.groups[at];
        let id = group.id;
        let stored = |pid: &Pid| stored_session(&*session_snapshot(sessions, shared)?, id, pid);
        match group.core.handle_batch(&incoming, batch.time, stored) {
            Ok(Verdict::Append(appended)) => {
                acknowledge(&batch.reply, dot, AckLevel::Received, group);
                self.pending_bytes += appended.bytes.len();
                self.pending_since.get_or_insert_with(Instant::now);
                let log_bytes = appended.bytes.len() as u64;
                let (lsn, bytes) = (appended.lsn, appended.bytes);
                let batch = Some(batch);
                self.pending.push(Pending { group: at, lsn, bytes, batch, partials: None, log_bytes });
            }
            Ok(Verdict::Duplicate(lsn)) => {
                shared.noted().fresh.duplicates += 1;
                let last = batch.frame.level.max(AckLevel::Durable);
                self.waiting.push(Waiting { group: at, lsn, dot, last, reply: batch.reply });
                self.answer_waiting();
            }
            Ok(Verdict::Refused(code, message)) => refuse(code, message),
            Err(error) => refuse(RefusedCode::Unavailable, &error.to_string()),
        }
    }

    fn handle_resume(&mut self, shared: &Shared, resume: Resume) -> Result<Resumed, Refused> {
        let (now, settings) = (self.time(shared), shared.catalog.settings());
        let id = super::route::route(&settings.routing_key, &resume.pid, settings.shard_groups);
        let sessions = &mut self.sessions;
        let stored = |pid: &Pid| stored_session(&*session_snapshot(sessions, shared)?, id, pid);
        let answer = self.groups[usize::from(id.0)].core.resume(resume.pid, now, stored);
        answer.map_err(|error: StoreError| {
            refused(resume.pid, resume.low_water, RefusedCode::Unavailable, &error.to_string())
        })
    }

    /// Rows past their `ttl`, also those that only the log has so far.
    fn handle_expire(&mut self, shared: &Shared, view: ViewId, begin: bool) -> Result<Expired, StoreError> {
        match begin {
            true => self.settle(shared)?,
            false => self.commit(shared),
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let now = self.time(shared);
        let expired = self.janitor.expire(shared, &mut self.groups, (view, begin), now);
        match &expired {
            Ok(_) => self.publish(shared),
            Err(error) => self.fail(shared, error.clone()),
        }
        expired
    }

    /// Commits and folds all there is, and what folds make for chained views, to the last of them.
    fn settle(&mut self, shared: &Shared) -> Result<(), StoreError> {
        self.commit(shared);
        while self.failed.is_none() && self.fold_is_left() {
            self.fold(shared);
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Acknowledges known batches that have become safe enough.
    fn answer_waiting(&mut self) {
        let groups = &self.groups;
        self.waiting.retain(|w| {
            let group = &groups[w.group];
            let level = group.core.level(w.lsn);
            if level < w.last {
                return true;
            }
            for level in [AckLevel::Durable, AckLevel::Replicated] {
                if level <= w.last {
                    acknowledge(&w.reply, w.dot, level, group);
                }
            }
            false
        });
    }

    /// Makes everything pending durable; a small fold that is due rides along.
    fn commit(&mut self, shared: &Shared) {
        if self.failed.is_some() || self.pending.is_empty() {
            return;
        }
        let ride = self.fold_is_due(shared) && self.overlay_groups(shared) <= RIDING_GROUPS_MAX;
        self.transact(shared, ride);
    }

    fn overlay_groups(&self, shared: &Shared) -> usize {
        shared.overlays.iter().map(|o| o.groups()).sum()
    }

    /// One durable transaction: pending records, and a fold if asked for. `false` when storage failed.
    fn transact(&mut self, shared: &Shared, fold: bool) -> bool {
        let views = shared.views();
        let mut folds = if fold { self.plan_folds(shared) } else { Vec::new() };
        let (pending, groups, options) = (&self.pending, &self.groups, &shared.options);
        let (is_log, started, now) = (!pending.is_empty(), Instant::now(), shared.now());
        let result = shared.store.write(&mut |txn| {
            for record in pending {
                txn.put(Table::Log, &log_key(groups[record.group].id, record.lsn), &record.bytes)?;
            }
            folds.iter_mut().try_for_each(|f| f.write(txn, &groups[f.group], (&views, now), options))
        });
        if let Err(error) = result {
            self.fail(shared, error);
            return false;
        }
        if is_log {
            shared.published().commits.observe(started.elapsed());
        }
        self.pending_bytes = 0;
        self.pending_since = None;
        for mut record in self.pending.drain(..) {
            record.bytes = Vec::new();
            self.groups[record.group].core.handle_synced(record.lsn);
            self.uncommitted.push_back(record);
        }
        self.finish_outputs(&views, now, &mut folds);
        self.finish_folds(shared, folds);
        let committed = self.finish_commits(shared);
        // Whoever is told looks at the status next: it must show the batch.
        self.publish(shared);
        for (group, batch) in committed {
            self.acknowledge_committed(group, &batch);
        }
        self.answer_waiting();
        true
    }

    /// Makes committed batches readable; returns those to acknowledge.
    fn finish_commits(&mut self, shared: &Shared) -> Vec<(usize, Box<Admitted>)> {
        let mut committed = Vec::new();
        while let Some(record) = self.uncommitted.pop_front() {
            let group = &mut self.groups[record.group];
            if record.lsn > group.core.commit() {
                self.uncommitted.push_front(record);
                break;
            }
            group.log.push(record.lsn, record.log_bytes);
            self.unmeasured_bytes += record.log_bytes;
            let overlay = &shared.overlays[record.group];
            if let Some(partials) = record.partials {
                group.total.merge(&partials.ledger);
                overlay.merge(record.lsn, partials);
                continue;
            }
            let Some(mut batch) = record.batch else {
                overlay.skip(record.lsn);
                continue;
            };
            let partials = std::mem::take(&mut batch.partials);
            group.total.merge(&partials.ledger);
            overlay.merge(record.lsn, partials);
            committed.push((record.group, batch));
        }
        committed
    }

    /// What folds changed in views that others read was stored with them, behind what was pending. It is read back as a
    /// replay would read it.
    fn finish_outputs(&mut self, views: &Views, now: Micros, folds: &mut [PlannedFold]) {
        for fold in folds {
            let records = std::mem::take(&mut fold.records);
            self.groups[fold.group].core.handle_outputs(&records);
            for (record, (_, payload)) in records.into_iter().zip(std::mem::take(&mut fold.outputs)) {
                let log_bytes = record.bytes.len() as u64;
                let partials = Some(read_output(&payload, now, views));
                let (group, lsn) = (fold.group, record.lsn);
                let output = Pending { group, lsn, bytes: Vec::new(), batch: None, partials, log_bytes };
                self.uncommitted.push_back(output);
            }
        }
    }

    fn acknowledge_committed(&self, group: usize, batch: &Admitted) {
        let dot = Dot { pid: batch.frame.pid, seq: batch.frame.seq };
        let group = &self.groups[group];
        acknowledge(&batch.reply, dot, AckLevel::Durable, group);
        if batch.frame.level >= AckLevel::Replicated {
            acknowledge(&batch.reply, dot, AckLevel::Replicated, group);
        }
    }

    fn background(&mut self, shared: &Shared) {
        shared.leases.end_old();
        if self.failed.is_some() {
            return self.retry(shared);
        }
        if self.fold_is_due(shared) && self.pending.is_empty() {
            self.fold(shared);
        }
        if Instant::now() >= self.next_expiry {
            self.next_expiry = Instant::now() + EXPIRY_INTERVAL;
            self.expire(shared);
            self.keep_time(shared);
        }
        self.go_on_sweeping(shared);
        if self.pending.is_empty() && self.failed.is_none() {
            match self.tidy(shared) {
                Ok(true) => self.publish(shared),
                Ok(false) => {}
                Err(error) => self.fail(shared, error),
            }
        }
    }

    /// Damaged and dead rows; `true` when counts have changed.
    fn tidy(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        let changed = set_rows_aside(shared, &mut self.groups)?;
        let now = self.time(shared);
        self.janitor.work(shared, &mut self.groups, now)?;
        Ok(changed)
    }

    /// Time since the last fold, log or memory say so. Folds take at most about a third of the writer's time,
    /// unless log or memory press.
    fn fold_is_due(&mut self, shared: &Shared) -> bool {
        let options = &shared.options;
        let log_bytes: u64 = self.groups.iter().map(|g| g.log.bytes()).sum();
        if log_bytes == 0 && self.groups.iter().all(|g| g.core.commit() == g.core.image().folded) {
            return false;
        }
        if self.last_fold.elapsed() >= self.fold_rest(shared) || log_bytes >= options.fold_log_bytes {
            return true;
        }
        if self.unmeasured_bytes < MEASURE_BYTES {
            return false;
        }
        self.unmeasured_bytes = 0;
        shared.overlays.iter().map(|o| o.size().1).sum::<usize>() >= options.fold_bytes
    }

    /// How long the writer does other things between folds.
    fn fold_rest(&self, shared: &Shared) -> Duration {
        shared.options.fold_interval.max(2 * self.fold_cost)
    }

    /// A fold in a transaction of its own (or with what happens to be pending).
    fn fold(&mut self, shared: &Shared) {
        let started = Instant::now();
        self.transact(shared, true);
        self.fold_cost = started.elapsed();
        self.last_fold = Instant::now();
        // A fold takes the oldest layers: where more are left than memory has room for, the next one is due at once.
        self.unmeasured_bytes = MEASURE_BYTES;
    }

    fn plan_folds(&mut self, shared: &Shared) -> Vec<PlannedFold> {
        self.last_fold = Instant::now();
        let mut plans = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let layers = shared.overlays[at].freeze(FOLD_GROUPS_MAX);
            let Some(upto) = layers.last().map(|l| l.upto) else { continue };
            let Some(fold) = group.core.plan_fold(upto) else { continue };
            assert_eq!(fold.image.folded, upto, "a layer holds only what is committed");
            let mut ledger = group.folded.clone();
            layers.iter().for_each(|l| ledger.merge(&l.ledger));
            if at == 0 {
                ledger.merge(&shared.noted().begin_fold());
            }
            let stats = group.stats.clone();
            let (outputs, records) = (Vec::new(), Vec::new());
            plans.push(PlannedFold { group: at, layers, fold, stats, ledger, outputs, records });
        }
        plans
    }

    fn finish_folds(&mut self, shared: &Shared, folds: Vec<PlannedFold>) {
        for plan in folds {
            let group = &mut self.groups[plan.group];
            group.total.merge(&folded_counts(&group.stats, &plan.stats));
            if plan.group == 0 {
                group.total.merge(&shared.noted().folding);
            }
            let folded = plan.fold.image.folded;
            group.core.handle_folded(plan.fold);
            group.stats = plan.stats;
            group.folded = plan.ledger;
            group.log.remove_folded(folded);
            shared.overlays[plan.group].remove_folded(folded);
            self.sessions = None;
        }
    }

    fn expire(&mut self, shared: &Shared) {
        let now = self.time(shared);
        for at in 0..self.groups.len() {
            let (group, sessions) = (&mut self.groups[at], &mut self.sessions);
            let id = group.id;
            let is_stored = |birth| has_sessions_below(&*session_snapshot(sessions, shared)?, id, birth);
            match group.core.expire(now, is_stored) {
                Ok(Some(appended)) => self.append(at, appended),
                Ok(None) => {}
                Err(error) => return self.fail(shared, error),
            }
        }
    }

    /// The time by which things may be removed: the wall clock's, while it can be believed.
    fn time(&mut self, shared: &Shared) -> Micros {
        let now = shared.clock.read();
        if let Some(found) = self.belief.look(now) {
            tell(found);
            shared.published().hold_until = self.belief.until();
        }
        self.belief.time(now)
    }

    /// For the next start to compare its clock with.
    fn keep_time(&mut self, shared: &Shared) {
        let now = self.time(shared);
        if self.failed.is_none()
            && let Err(error) = shared.store.write(&mut |txn| put_time(txn, now))
        {
            self.fail(shared, error);
        }
    }

    /// A record that nobody waits for.
    fn append(&mut self, group: usize, Appended { lsn, bytes }: Appended) {
        let log_bytes = bytes.len() as u64;
        self.pending.push(Pending { group, lsn, bytes, batch: None, partials: None, log_bytes });
        self.pending_since.get_or_insert_with(Instant::now);
    }

    /// Sweeps go on with folds. When nothing comes that could be folded, a record that says nothing new does: so what
    /// a sweep does still depends on the log alone.
    fn go_on_sweeping(&mut self, shared: &Shared) {
        if !self.pending.is_empty()
            || self.fold_is_left()
            || self.last_fold.elapsed() < self.fold_rest(shared)
        {
            return;
        }
        let (now, views, groups_max) = (shared.now(), shared.views(), shared.options.view_groups_max);
        for at in 0..self.groups.len() {
            let group = &mut self.groups[at];
            if above_cap(&views, groups_max, &group.stats).next().is_some()
                && let Some(appended) = group.core.idle(now)
            {
                self.append(at, appended);
            }
        }
    }

    /// Storage failed: nothing pending is acknowledged, and writes stop until the store opens again.
    fn fail(&mut self, shared: &Shared, error: StoreError) {
        tracing::error!(%error, code = error.code(), "storage failed: writes are stopped, reads go on");
        self.pending_bytes = 0;
        self.pending_since = None;
        self.sessions = None;
        self.next_retry = Instant::now() + shared.options.retry_interval;
        self.failed = Some(error.clone());
        self.publish(shared);
        let message = error.to_string();
        let refuse = |dot: Dot, reply: &mpsc::UnboundedSender<Outcome>| {
            shared.noted().fresh.refuse(RefusedCode::Unavailable);
            let _ =
                reply.send(Outcome::Refused(refused(dot.pid, dot.seq, RefusedCode::Unavailable, &message)));
        };
        let stopped = self.pending.drain(..).chain(self.uncommitted.drain(..));
        for batch in stopped.filter_map(|record| record.batch) {
            refuse(Dot { pid: batch.frame.pid, seq: batch.frame.seq }, &batch.reply);
        }
        self.waiting.drain(..).for_each(|waiting| refuse(waiting.dot, &waiting.reply));
    }

    /// Opens the store again and starts from what is on disk, as after a crash: a commit that failed may
    /// have become durable.
    fn retry(&mut self, shared: &Shared) {
        // Damage does not go away: taking batches that can never be folded would only fill log and memory.
        let is_damage = matches!(self.failed, Some(StoreError::Corrupted(_)));
        if is_damage || Instant::now() < self.next_retry {
            return;
        }
        self.next_retry = Instant::now() + shared.options.retry_interval;
        let reopened = shared.store.reopen().and_then(|()| {
            load(&*shared.store, &self.open, shared.boot, &shared.views(), shared.options.window())
        });
        match reopened {
            Ok(loaded) => {
                let (groups, overlays): (Vec<_>, Vec<_>) = loaded.into_iter().unzip();
                self.groups = groups;
                for (mine, fresh) in shared.overlays.iter().zip(overlays) {
                    mine.replace(fresh);
                }
                self.failed = None;
                self.sessions = None;
                self.publish(shared);
                tracing::info!("storage works again: writes are taken");
            }
            Err(error) => tracing::warn!(%error, "storage still fails"),
        }
    }

    fn shut_down(&mut self, shared: &Shared, reply: oneshot::Sender<Result<(), StoreError>>) {
        shared.closed.store(true, Ordering::Release);
        // The caller is told what is left of it below.
        let _ = self.settle(shared);
        self.write_noted(shared);
        self.publish(shared);
        let _ = reply.send(self.failed.clone().map_or(Ok(()), Err));
    }

    /// Refusals and duplicates that came after the last fold.
    fn write_noted(&mut self, shared: &Shared) {
        let Some(group) = self.groups.first_mut().filter(|_| self.failed.is_none()) else { return };
        let noted = shared.noted().begin_fold();
        if noted == Ledger::default() {
            return;
        }
        group.folded.merge(&noted);
        group.total.merge(&noted);
        let bytes = group.folded.encode();
        if let Err(error) =
            shared.store.write(&mut |txn| txn.put(Table::Ledger, &group_key(group.id), &bytes))
        {
            self.fail(shared, error);
        }
    }

    fn fold_is_left(&self) -> bool {
        self.groups.iter().any(|g| g.core.commit() > g.core.image().folded)
    }

    fn publish(&self, shared: &Shared) {
        let mut ledger = Ledger::default();
        let mut views: BTreeMap<ViewId, ViewStatus> = BTreeMap::new();
        for group in &self.groups {
            ledger.merge(&group.total);
            for (view, stats) in &group.stats {
                let row = views.entry(*view).or_default();
                row.view = *view;
                row.groups += stats.groups;
                row.other += stats.other;
                row.quarantined += stats.quarantined;
            }
        }
        let mut published = shared.published();
        published.storage_error.clone_from(&self.failed);
        published.ledger = ledger;
        published.views = views.into_values().collect();
        published.shards = self.groups.iter().map(shard_status).collect();
        // Under the same lock: a reader of the status sees each count in one of the two places.
        shared.noted().end_fold(self.failed.is_none());
    }
}

fn tell(found: Found) {
    match found {
        Found::Jump(micros) => tracing::warn!(
            ahead_seconds = micros / 1_000_000,
            "the clock is ahead of what time has passed (or the hub was down that long): no producer is forgotten and no row removed by its ttl until it has kept time for an hour"
        ),
        Found::Return => tracing::info!("the clock is right again: what is due by time is removed"),
        Found::Kept => tracing::info!("the clock has kept time for an hour: what is due by time is removed"),
    }
}

/// A clock that was ahead when producers were forgotten, or is behind now, refuses everybody: that must not be silent.
fn tell_if_behind(status: &ShardStatus) {
    if !status.clock_behind.is_zero() {
        tracing::error!(
            seconds = status.clock_behind.as_secs(),
            "the clock is behind births that are forgotten already: every batch is refused as expired until it has caught up. Set it right; if it is right, it was ahead before: wait that long, or restore a backup"
        );
    }
}

fn shard_status(group: &Group) -> ShardGroupStatus {
    ShardGroupStatus {
        group: group.id,
        epoch: group.core.epoch(),
        last: group.core.last(),
        durable: group.core.durable(),
        commit: group.core.commit(),
        folded: group.core.image().folded,
        min_birth: group.core.min_birth(),
        sessions: group.core.sessions() as u64,
        overlay_groups: 0,
        overlay_bytes: 0,
    }
}

fn acknowledge(reply: &mpsc::UnboundedSender<Outcome>, dot: Dot, level: AckLevel, group: &Group) {
    let Dot { pid, seq } = dot;
    // A caller that went away has nobody to tell.
    let _ = reply.send(Outcome::Ack(Ack { pid, seq, level, epoch: group.core.epoch() }));
}

/// A snapshot for session look-ups, renewed after every fold and once a second.
fn session_snapshot(
    slot: &mut Option<(Instant, Arc<dyn Snapshot>)>,
    shared: &Shared,
) -> Result<Arc<dyn Snapshot>, StoreError> {
    if slot.as_ref().is_none_or(|(since, _)| since.elapsed() > SESSIONS_AGE_MAX) {
        *slot = None;
        *slot = Some((Instant::now(), shared.store.snapshot()?));
    }
    slot.as_ref().map(|(_, snapshot)| snapshot.clone()).ok_or(StoreError::Closed)
}
