//! The one task that owns a client's session: it moves frames, commits, flushes and waits.
//!
//! Owns: the session, the connection, the spool, barriers. Must not know: how events become partials
//! (that is the producer's business), what the protocol decides (the session's).
//! Invariants: no byte of a batch leaves before the session allows it; one storage job at a time; every wait
//! ends by an event, a timer or cancellation.

use super::connection::{Dialer, Live, NET_QUEUE, Net, Tagged};
use super::error::ConnectError;
use super::flush::{self, Barrier};
use super::options::ConnectOptions;
use super::producer::Stream;
use super::{CloseReport, Command, Link, Shared, coarse, lock};
use crate::ids::Micros;
use crate::outbox::{BatchId, Saved, Spool, SpoolError};
use crate::session::{Channel, ClientSession, Event, SpoolRequest};
use crate::wire::batch::DropReason;
use crate::wire::{Frame, Plans};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a storage job did.
enum SpoolDone {
    Committed(Result<(), SpoolError>),
    Loaded(BatchId, Result<Vec<u8>, SpoolError>),
    Reopened(Result<Saved, SpoolError>),
}

pub(super) type SharedSpool = Arc<Mutex<dyn Spool + Send>>;

/// The task's state.
pub(super) struct Driver {
    pub(super) session: ClientSession,
    pub(super) shared: Arc<Shared>,
    pub(super) options: ConnectOptions,
    pub(super) streams: Vec<Arc<Stream>>,
    pub(super) barriers: Vec<Barrier>,
    /// When the oldest unflushed event was first noticed plus the flush interval; `None` while nothing waits.
    pub(super) flush_due: Option<Micros>,
    /// Events that emitters refused, among those that the ledger has as dropped.
    pub(super) refused: u64,
    /// When a persistent outbox takes what cannot be sent.
    pub(super) spool_due: Option<Micros>,
    /// When the memory of partials that cannot leave is measured again.
    pub(super) measure_due: Option<Micros>,
    dialer: Dialer,
    generation: u64,
    live: Option<Live>,
    net: mpsc::Sender<Tagged>,
    inbox: mpsc::Receiver<Tagged>,
    commands: mpsc::Receiver<Command>,
    dials: JoinSet<()>,
    spool: Option<SharedSpool>,
    /// When a failed spool is opened again; `None` while it works.
    reopen_due: Option<Micros>,
    reopen_wait: Duration,
    jobs: JoinSet<SpoolDone>,
}

impl Driver {
    pub fn new(
        session: ClientSession,
        shared: Arc<Shared>,
        options: ConnectOptions,
        dialer: Dialer,
        commands: mpsc::Receiver<Command>,
        spool: Option<SharedSpool>,
    ) -> Self {
        let (net, inbox) = mpsc::channel(NET_QUEUE);
        Self {
            session,
            shared,
            options,
            streams: Vec::new(),
            barriers: Vec::new(),
            flush_due: None,
            refused: 0,
            spool_due: None,
            measure_due: None,
            dialer,
            generation: 0,
            live: None,
            net,
            inbox,
            commands,
            dials: JoinSet::new(),
            spool,
            reopen_due: None,
            reopen_wait: REOPEN_WAIT_MIN,
            jobs: JoinSet::new(),
        }
    }

    pub(super) fn now(&self) -> Micros {
        self.shared.gate.clock.local()
    }

    /// Runs until cancelled, then sends what is left for as long as the options allow.
    pub async fn run(mut self, cancel: CancellationToken) -> CloseReport {
        let mut closing: Option<Instant> = None;
        loop {
            self.advance();
            if closing.is_some() && self.is_drained() {
                break;
            }
            let deadline = closing.map(|start| start + self.options.close_timeout);
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = cancel.cancelled(), if closing.is_none() => {
                    closing = Some(Instant::now());
                    self.begin_close();
                }
                () = sleep_until(deadline), if deadline.is_some() => break,
                Some(done) = self.jobs.join_next() => self.handle_job(done),
                Some(tagged) = self.inbox.recv() => self.handle_net(tagged),
                Some(command) = self.commands.recv() => self.handle_command(command),
                Some(_) = self.dials.join_next() => {}
                () = self.shared.gate.wake.notified() => self.handle_wake(),
                () = sleep_until(wake), if wake.is_some() => self.handle_time(),
            }
        }
        self.finish().await
    }

    /// Does everything that can be done now.
    fn advance(&mut self) {
        self.add_streams();
        flush::run_due(self);
        while let Some(event) = self.session.poll_event() {
            self.handle_event(event);
        }
        self.serve_spool();
        self.transmit();
        // Whoever waited for a flush finds its outcome in the ledger.
        self.publish();
        flush::release_barriers(self);
    }

    fn add_streams(&mut self) {
        let now = self.now();
        let all = lock(&self.shared.streams).clone();
        for stream in &all[self.streams.len()..] {
            self.session.add_stream(now, &stream.name);
        }
        self.streams = all;
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connect => self.dial(),
            Event::Connected { boot, .. } => {
                tracing::debug!(boot = boot.0, "session open");
                self.live.iter().for_each(|live| self.shared.set_link(Link::Up(live.connection.clone())));
            }
            Event::Disconnected | Event::Unresponsive => self.drop_connection(),
            Event::Goodbye { reason } => {
                tracing::debug!(reason, "the hub is going away");
            }
            Event::Plans(plans) => self.handle_plans(plans),
            Event::Acked { .. } => {}
            Event::Dropped { batches, reason } => {
                tracing::warn!(batches, reason = reason.code(), "batches dropped");
            }
            Event::Refused { code, message, events } => {
                tracing::warn!(code = code.code(), message, events, "the hub refused a batch");
            }
            Event::Retrying { code, .. } => {
                tracing::debug!(code = code.code(), "a batch is tried again later")
            }
            Event::InDoubt { batches, events } => {
                tracing::warn!(batches, events, "batches are in doubt: they may or may not be counted");
            }
        }
    }

    fn dial(&mut self) {
        self.drop_connection();
        self.generation += 1;
        let (generation, net, dial) = (self.generation, self.net.clone(), self.dialer.dial());
        self.dials.spawn(async move {
            let result = dial.await;
            // The driver may be gone: then nobody wants the connection.
            let _ = net.send((generation, Net::Dialed(result))).await;
        });
    }

    fn handle_net(&mut self, (generation, net): Tagged) {
        if generation != self.generation {
            return;
        }
        let now = self.now();
        match net {
            Net::Dialed(Ok(dialed)) => {
                let limit = self.options.frame.body_bytes_max;
                self.live = Some(Live::start(generation, dialed, self.net.clone(), limit));
                self.session.handle_connected(now);
            }
            Net::Dialed(Err(error)) | Net::Closed(error) => self.connection_failed(error),
            Net::Frame(kind, body) => {
                let result = self.session.handle_frame(now, Frame { kind, body: &body });
                if let (Err(error), Some(live)) = (result, &self.live) {
                    self.connection_failed(live.peer.session_error(error));
                }
            }
            Net::BatchEnded(id) => self.session.handle_send_failed(now, id),
        }
    }

    fn connection_failed(&mut self, error: ConnectError) {
        if self.shared.is_down() {
            tracing::debug!(%error, "still no connection");
        } else {
            tracing::warn!(%error, "no connection: it is tried again");
        }
        self.shared.set_failed(error);
        self.drop_connection();
        let now = self.now();
        self.session.handle_disconnected(now);
    }

    fn drop_connection(&mut self) {
        if let Some(live) = self.live.take() {
            self.shared.set_ended(|| live.peer.unreachable("the connection ended"));
            // What its tasks still report is not to hide why it was dropped.
            self.generation += 1;
            live.close();
        }
    }

    fn handle_plans(&mut self, plans: Plans) {
        let key_bytes_max = self.session.batch_limits().key_bytes_max;
        let offset = self.session.clock_offset();
        self.shared.gate.clock.set_offset(offset);
        for stream in &self.streams {
            let known = plans.streams.iter().find(|known| known.schema.name == stream.name);
            if known.is_some() || plans.unknown_streams.contains(&stream.name) {
                stream.set_plans(known.cloned(), key_bytes_max);
            }
        }
        self.shared.plans_changed.notify_waiters();
        // Events may have waited for these plans.
        self.handle_wake();
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Flush { level, done } => {
                let told = lock(&self.shared.status).told;
                self.barriers.push(Barrier::new(level, done, told));
            }
        }
    }

    fn handle_wake(&mut self) {
        if self.flush_due.is_none() {
            self.flush_due = Some(after(self.now(), self.options.flush.age_max));
        }
    }

    fn handle_time(&mut self) {
        let now = self.now();
        if self.shared.gate.clock.is_ticking() {
            self.shared.gate.clock.tick();
        }
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
            self.shared.gate.clock.set_offset(self.session.clock_offset());
        }
    }

    /// The next moment at which something is due.
    fn next_wake(&self) -> Option<Instant> {
        let now = self.now();
        let tick = self.shared.gate.clock.is_ticking().then(|| after(now, coarse::TICK));
        // A flush that is due and cannot leave is tried again on every change; time alone does not help it,
        // except that a spool takes it at some point.
        let flush = self.flush_due.filter(|due| *due > now);
        let spool = self.spool_due.filter(|due| *due > now);
        let measure = self.measure_due.filter(|due| *due > now);
        let reopen = self.reopen_due.filter(|due| *due > now);
        let next =
            [tick, flush, spool, measure, reopen, self.session.poll_timeout()].into_iter().flatten().min()?;
        let wait = Duration::from_micros(next.0.saturating_sub(now.0).max(0) as u64);
        Instant::now().checked_add(wait)
    }

    /// Starts the session's next storage job, unless one is running.
    fn serve_spool(&mut self) {
        let Some(spool) = self.spool.clone() else { return };
        self.reopen_spool(&spool);
        while self.jobs.is_empty() {
            let Some(request) = self.session.poll_spool() else { return };
            let spool = spool.clone();
            self.jobs.spawn_blocking(move || {
                let mut spool = lock(&spool);
                match request {
                    SpoolRequest::Commit(ops) => SpoolDone::Committed(spool.commit(&ops)),
                    SpoolRequest::Load(id) => SpoolDone::Loaded(id, spool.payload(id)),
                }
            });
        }
    }

    /// Opens a failed spool again when it is time. Not while closing: what it holds is the next process's then.
    fn reopen_spool(&mut self, spool: &SharedSpool) {
        let is_due = self.reopen_due.is_some_and(|due| due <= self.now());
        let is_closing = self.shared.gate.closed.load(Ordering::Relaxed);
        if is_due && !is_closing && self.jobs.is_empty() && self.session.wants_spool() {
            let spool = spool.clone();
            self.jobs.spawn_blocking(move || SpoolDone::Reopened(lock(&spool).reopen()));
        }
    }

    fn handle_reopened(&mut self, result: Result<Saved, SpoolError>) {
        let now = self.now();
        let taken = result.map(|saved| self.session.handle_spool_reopened(now, &saved));
        let mut status = lock(&self.shared.status);
        match taken {
            Ok(true) => {
                tracing::info!("the disk spool works again");
                status.spool_error = None;
                status.spool_reopened += 1;
                (self.reopen_due, self.reopen_wait) = (None, REOPEN_WAIT_MIN);
            }
            // Something was frozen meanwhile.
            Ok(false) => self.reopen_due = Some(after(now, REOPEN_WAIT_MIN)),
            Err(error) => {
                tracing::debug!(%error, "the disk spool still fails");
                status.spool_error = Some(error);
                self.reopen_wait = (2 * self.reopen_wait).min(REOPEN_WAIT_MAX);
                self.reopen_due = Some(after(now, self.reopen_wait));
            }
        }
    }

    fn handle_job(&mut self, done: Result<SpoolDone, tokio::task::JoinError>) {
        let now = self.now();
        match done {
            Ok(SpoolDone::Committed(Ok(()))) => self.session.handle_committed(now),
            Ok(SpoolDone::Committed(Err(error))) => self.lose_spool(&error),
            Ok(SpoolDone::Reopened(result)) => self.handle_reopened(result),
            Ok(SpoolDone::Loaded(id, Ok(payload))) => self.session.handle_loaded(now, id, Some(payload)),
            Ok(SpoolDone::Loaded(id, Err(error))) => {
                tracing::error!(%error, "the spool has lost a batch");
                self.session.handle_loaded(now, id, None);
            }
            Err(error) => self.lose_spool(&SpoolError::Io(error.to_string())),
        }
    }

    fn lose_spool(&mut self, error: &SpoolError) {
        tracing::error!(%error, "the disk spool failed: the outbox goes on in memory until it works again");
        lock(&self.shared.status).spool_error = Some(error.clone());
        let now = self.now();
        self.reopen_due = Some(after(now, self.reopen_wait));
        self.session.handle_spool_lost(now);
    }

    fn transmit(&mut self) {
        let now = self.now();
        while let Some(transmit) = self.session.poll_transmit(now) {
            let Some(live) = &mut self.live else { continue };
            match transmit.channel {
                Channel::Batch(id) => live.send_batch(id, transmit.frame),
                Channel::Control => {
                    if !live.send_control(transmit.frame) {
                        let stuck = live.peer.unreachable("it does not read what it is sent");
                        self.connection_failed(stuck);
                    }
                }
            }
        }
    }

    fn begin_close(&mut self) {
        self.shared.gate.closed.store(true, Ordering::Relaxed);
        flush::collect(self);
    }

    /// True when closing has nothing left to wait for.
    fn is_drained(&self) -> bool {
        // What a failed spool has leaves with the next process.
        let ledger = self.session.ledger();
        ledger.held_batches == ledger.left_batches
            && self.jobs.is_empty()
            && self.streams.iter().all(|s| s.held().0 == 0)
    }

    async fn finish(mut self) -> CloseReport {
        flush::collect(&mut self);
        let waiting: u64 = self.streams.iter().map(|stream| stream.abandon()).sum();
        self.session.count_dropped(DropReason::Closed, waiting);
        // What could not be sent is at least on disk, and so is what was acked a moment ago.
        self.serve_spool();
        while let Some(done) = self.jobs.join_next().await {
            self.handle_job(done);
            self.serve_spool();
        }
        let before = self.session.ledger();
        self.session.abandon();
        // Whoever waits is told that the client is closed.
        self.barriers.clear();
        self.publish();
        self.drop_connection();
        self.shared.set_failed(ConnectError::Closed);
        let _ = tokio::time::timeout(GOODBYE, self.dialer.finish()).await;
        let ledger = self.session.ledger();
        CloseReport {
            left_batches: ledger.held_batches,
            left_events: ledger.held_events,
            in_doubt_events: ledger.in_doubt_events - before.in_doubt_events,
            dropped_events: waiting + ledger.dropped.total() - before.dropped.total(),
        }
    }

    /// Copies what others may look at.
    fn publish(&self) {
        let mut status = lock(&self.shared.status);
        status.outbox = self.session.ledger();
        status.pid = self.session.pid();
        status.is_connected = self.session.is_open();
    }
}

/// How long a failed spool is left alone at first, and at most: doubled with every failure.
const REOPEN_WAIT_MIN: Duration = Duration::from_millis(500);
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long the last packets may take.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) fn after(now: Micros, wait: Duration) -> Micros {
    Micros(now.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
