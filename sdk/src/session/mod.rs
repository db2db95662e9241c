//! The client's side of the protocol as a pure state machine: frames in, frames out.
//!
//! Owns: the order of Hello, Welcome, Resume and batches; reconnecting with back-off; the clock; what plans
//! are in force. Must not know: sockets, HTTP, tasks, real clocks or randomness: time is passed to every
//! call as microseconds of any monotonic clock, random bytes come from the function given at the start.
//!
//! Call order: after every `handle_*` or [`flush`](ClientSession::freeze), drain [`poll_event`], serve
//! [`poll_spool`], then send everything from [`poll_transmit`]; come back no later than [`poll_timeout`] with
//! [`handle_timeout`].
//!
//! [`poll_event`]: ClientSession::poll_event
//! [`poll_spool`]: ClientSession::poll_spool
//! [`poll_transmit`]: ClientSession::poll_transmit
//! [`poll_timeout`]: ClientSession::poll_timeout
//! [`handle_timeout`]: ClientSession::handle_timeout
//!
//! Invariants: nothing but Hello is sent before Welcome; after a reconnect, transmitted batches wait for
//! Resumed (C5); identities are born by the hub's clock once it is known; all waits have jitter and a cap.

mod backoff;
mod event;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use event::{Channel, Event, SessionError, SpoolRequest, Transmit};

use crate::clock::HubClock;
use crate::codec::DecodeError;
use crate::flavor::SMALL;
use crate::ids::{CatalogVersion, Micros, Pid, RouteVersion};
use crate::limits::{BatchLimits, OutboxLimits, TimeLimits};
use crate::outbox::{BatchId, Outbox, OutboxLedger, OutboxOptions, RefusedOutcome, Saved};
use crate::wire::batch::{DropReason, EncodedPayload, LedgerDelta};
use crate::wire::{
    Ack, AckLevel, Body, ClockReply, ClockRequest, Failure, Frame, FrameKind, Goodbye, Hello, Plans, Refused,
    RefusedCode, Resume, Resumed, SessionLimits, Token, Welcome, encode_frame,
};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The protocol version of this build.
pub const PROTOCOL_VERSION: u16 = 1;

/// How long an answer may take by default.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Fills a slice with random bytes from a cryptographic source.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// What a session is made with.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// A key or token, when the hub asks for one.
    pub token: Option<Token>,
    /// Name and version of the SDK, for the hub's logs.
    pub sdk: String,
    /// What this build can evaluate ([`Hello::capabilities`]).
    pub capabilities: u32,
    /// The level batches wait for. Default durable.
    pub level: AckLevel,
    /// How much the outbox holds.
    pub outbox: OutboxLimits,
    /// What a batch may hold; the hub may ask for less.
    pub batch: BatchLimits,
    /// How long an identity lives; the hub may ask for less.
    pub times: TimeLimits,
    /// True when a spool keeps the outbox: [`ClientSession::poll_spool`] then has requests.
    pub persistent: bool,
    /// Waits between attempts to connect, and before a retryable refusal is tried again. Default 100 ms doubling to 10 s.
    pub backoff: Backoff,
    /// How long an answer may take before a batch is sent again. Default 30 s.
    pub patience: Duration,
    /// Time between clock requests. Default 60 s; zero asks never.
    pub clock_interval: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            token: None,
            sdk: String::from(concat!("headwater-rust/", env!("CARGO_PKG_VERSION"))),
            capabilities: u32::from(cfg!(feature = "sketches")),
            level: AckLevel::Durable,
            outbox: OutboxLimits::NATIVE,
            batch: BatchLimits::NATIVE,
            times: TimeLimits::PERSISTENT,
            persistent: false,
            backoff: Backoff::default(),
            patience: PATIENCE,
            clock_interval: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not connected; the next attempt is due then.
    Offline { retry_at: Micros },
    /// The driver is connecting.
    Connecting,
    /// Hello is out.
    Opening { sent: Micros },
    /// Welcome is in, Resume is out.
    Resuming { sent: Micros },
    /// Batches flow.
    Open,
}

/// One client's conversation with a hub, and its outbox.
pub struct ClientSession {
    options: SessionOptions,
    random: Random,
    outbox: Outbox,
    clock: HubClock,
    state: State,
    /// To connect, or to have an identity that the hub takes.
    attempts: u32,
    /// When the session was opened.
    opened: Micros,
    /// A hub that could not say what it holds named this time for the next attempt.
    not_before: Micros,
    hello: Hello,
    hub: Option<HubView>,
    blocked_until: Micros,
    next_clock: Option<Micros>,
    /// When the Hellos that are not answered yet were sent; answers come in order.
    hellos: Vec<Micros>,
    control: Vec<(FrameKind, Vec<u8>)>,
    events: Vec<Event>,
}

/// What the last Welcome said.
#[derive(Clone, Copy, Debug)]
struct HubView {
    limits: SessionLimits,
    route: RouteVersion,
    catalog: CatalogVersion,
}

impl ClientSession {
    /// A session that wants to connect at once. `now` is monotonic, `wall` the local wall clock at `now`;
    /// `saved` is the outbox of a process before.
    pub fn new(
        mut options: SessionOptions,
        mut random: Random,
        now: Micros,
        wall: Micros,
        saved: Option<&Saved>,
    ) -> Self {
        let outbox_options =
            OutboxOptions { limits: options.outbox, level: options.level, persistent: options.persistent };
        let mut clock = HubClock::new(wall, now);
        let pid = new_pid(&mut random, clock.now(now));
        let outbox = match saved {
            Some(saved) => Outbox::restore(outbox_options, saved, pid),
            None => Outbox::new(outbox_options, pid),
        };
        let hello = Hello {
            versions: alloc::vec![PROTOCOL_VERSION],
            token: options.token.take(),
            streams: Vec::new(),
            sdk: core::mem::take(&mut options.sdk),
            capabilities: options.capabilities,
        };
        Self {
            options,
            random,
            outbox,
            clock,
            state: State::Offline { retry_at: now },
            attempts: 0,
            opened: now,
            not_before: now,
            hello,
            hub: None,
            blocked_until: Micros(i64::MIN),
            next_clock: None,
            hellos: Vec::new(),
            control: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Adds a stream to those whose plans are wanted; an open session says Hello again. For a stream that was
    /// added before, this asks whether the hub has it by now.
    pub fn add_stream(&mut self, now: Micros, name: &str) {
        if !self.hello.streams.iter().any(|known| known == name) {
            self.hello.streams.push(String::from(name));
        }
        if matches!(self.state, State::Opening { .. } | State::Resuming { .. } | State::Open) {
            self.send_hello(now);
        }
    }

    /// The Hello of this session, as long-polling faces send it.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The hub's time; never goes back.
    pub fn hub_now(&mut self, now: Micros) -> Micros {
        self.clock.now(now)
    }

    /// What to add to a local time to get the hub's.
    pub fn clock_offset(&self) -> i64 {
        self.clock.offset()
    }

    /// True between Welcome and the end of the connection.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Resuming { .. })
    }

    /// The catalog of the plans in force; `None` before the first Welcome.
    pub fn catalog(&self) -> Option<CatalogVersion> {
        self.hub.map(|hub| hub.catalog)
    }

    /// What a batch may hold: this side's limits or the hub's, whichever is tighter.
    pub fn batch_limits(&self) -> BatchLimits {
        self.hub.map_or(self.options.batch, |hub| self.options.batch.within(&hub.limits))
    }

    /// The identity in use.
    pub fn pid(&self) -> Pid {
        self.outbox.pid()
    }

    /// Counts groups that no batch can hold.
    pub fn count_oversized(&mut self, groups: u64) {
        self.outbox.count_oversized(groups);
    }

    /// The client ends: see [`Outbox::abandon`].
    pub fn abandon(&mut self) {
        self.outbox.abandon();
    }

    /// What became of all batches.
    pub fn ledger(&self) -> OutboxLedger {
        self.outbox.ledger()
    }

    /// True when a flush would leave at once: otherwise partials are better merged a little longer (C1).
    pub fn is_hungry(&self, now: Micros) -> bool {
        self.state == State::Open && self.blocked_until <= now && self.outbox.is_hungry()
    }

    /// False when the outbox is full and its owner should wait.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// What the next flush reports about losses and doubts.
    pub fn take_delta(&mut self) -> LedgerDelta {
        self.outbox.take_delta()
    }

    /// Counts events lost before they were frozen.
    pub fn count_dropped(&mut self, reason: DropReason, events: u64) {
        self.outbox.count_dropped(reason, events);
    }

    /// Freezes one payload (C2).
    pub fn freeze(&mut self, now: Micros, payload: Vec<u8>, events: u64) -> BatchId {
        self.freeze_by(now, |outbox| outbox.freeze(payload, events))
    }

    /// Freezes one payload of a flush (C2).
    pub fn freeze_encoded(&mut self, now: Micros, payload: EncodedPayload) -> BatchId {
        let EncodedPayload { bytes, events, report, .. } = payload;
        self.freeze_by(now, |outbox| outbox.freeze_reporting(bytes, events, report))
    }

    fn freeze_by(&mut self, now: Micros, freeze: impl FnOnce(&mut Outbox) -> BatchId) -> BatchId {
        let dropped = self.outbox.dropped_batches();
        let id = freeze(&mut self.outbox);
        self.tell_dropped(self.outbox.dropped_batches() - dropped);
        self.pump(now);
        id
    }

    /// The newest batch frozen.
    pub fn last_id(&self) -> BatchId {
        self.outbox.last_id()
    }

    /// Asks for `level` for every batch up to `upto`.
    pub fn require(&mut self, upto: BatchId, level: AckLevel) {
        self.outbox.require(upto, level);
    }

    /// True when every batch up to `upto` has reached `level`, or the best the hub gives, or was given up.
    pub fn has_reached(&self, upto: BatchId, level: AckLevel) -> bool {
        self.outbox.has_reached(upto, level)
    }

    /// The connection is there: Hello goes first.
    pub fn handle_connected(&mut self, now: Micros) {
        self.control.clear();
        self.hellos.clear();
        self.state = State::Opening { sent: now };
        self.send_hello(now);
    }

    /// The connection is gone, or could not be made. It is tried again after a wait.
    pub fn handle_disconnected(&mut self, now: Micros) {
        if self.is_open() {
            self.events.push(Event::Disconnected);
            // One that broke at once is no success: whoever answers Hello and nothing else must not be asked in a loop. Nor
            // is it a hub that is away: on a network that loses much, sessions are short and batches get through.
            let most = if after(self.opened, HELD) <= now { 0 } else { SHORT_ATTEMPTS_MAX };
            self.attempts = self.attempts.min(most);
        }
        self.control.clear();
        self.outbox.handle_disconnected();
        let wait = self.backoff(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        self.next_clock = None;
        self.state = State::Offline { retry_at: after(now, wait).max(self.not_before) };
    }

    /// A frame arrived, on any channel. An error means that the peer broke the protocol: end the connection.
    ///
    /// # Errors
    /// [`SessionError::Malformed`] when the body does not read; [`SessionError::Unexpected`] for a frame that is not
    /// legal here; [`SessionError::Version`] when the hub chose a version that was not offered;
    /// [`SessionError::Rejected`] when it refused the session or does not say what it holds.
    pub fn handle_frame(&mut self, now: Micros, frame: Frame<'_>) -> Result<(), SessionError> {
        match frame.kind {
            FrameKind::Welcome => self.handle_welcome(now, decode(frame)?)?,
            FrameKind::Plans => self.handle_plans(decode(frame)?),
            FrameKind::Resumed => self.handle_resumed(now, &decode(frame)?),
            FrameKind::Ack => self.handle_ack(&decode(frame)?),
            FrameKind::Refused => self.handle_refused(now, &decode(frame)?)?,
            FrameKind::ClockReply => self.handle_clock(now, &decode(frame)?),
            FrameKind::Goodbye => {
                let Goodbye { reason } = decode(frame)?;
                self.note(Event::Goodbye { reason });
            }
            FrameKind::Failure => {
                let Failure { code, message, .. } = decode(frame)?;
                return Err(SessionError::Rejected { code, message });
            }
            kind => return Err(SessionError::Unexpected(kind)),
        }
        self.pump(now);
        Ok(())
    }

    /// A batch was sent and its channel ended without an answer.
    pub fn handle_send_failed(&mut self, now: Micros, id: BatchId) {
        let retry_at = after(now, self.backoff(0));
        self.outbox.handle_send_failed(id, retry_at);
    }

    /// The changes of the last [`SpoolRequest::Commit`] are durable.
    pub fn handle_committed(&mut self, now: Micros) {
        let dropped = self.outbox.handle_committed();
        self.tell_dropped(dropped);
        self.pump(now);
    }

    fn tell_dropped(&mut self, batches: u64) {
        if batches > 0 {
            self.events.push(Event::Dropped { batches, reason: DropReason::OutboxFull });
        }
    }

    /// The bytes a [`SpoolRequest::Load`] asked for; `None` when they are lost.
    pub fn handle_loaded(&mut self, now: Micros, id: BatchId, payload: Option<Vec<u8>>) {
        let before = self.outbox.ledger();
        self.outbox.handle_loaded(id, payload);
        self.tell_doubt(&before);
        self.pump(now);
    }

    /// Storage failed: the outbox goes on in memory only, without what the next process will send, until
    /// [`handle_spool_reopened`](Self::handle_spool_reopened).
    pub fn handle_spool_lost(&mut self, now: Micros) {
        let before = self.outbox.ledger();
        self.outbox.handle_spool_lost();
        self.tell_doubt(&before);
        self.pump(now);
    }

    fn tell_doubt(&mut self, before: &OutboxLedger) {
        let after = self.outbox.ledger();
        let batches = after.in_doubt_batches - before.in_doubt_batches;
        if batches > 0 {
            let events = after.in_doubt_events - before.in_doubt_events;
            self.events.push(Event::InDoubt { batches, events });
        }
    }

    /// True when a spool that was lost may be opened again: the outbox holds nothing of its own.
    pub fn wants_spool(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Storage works again, and has this. `false` when it cannot be taken now ([`Outbox::handle_spool_reopened`]). What
    /// it has may have been sent before: the connection starts anew, to ask what the hub holds (C5).
    pub fn handle_spool_reopened(&mut self, now: Micros, saved: &Saved) -> bool {
        let fresh = self.fresh_pid(now);
        let is_taken = self.outbox.handle_spool_reopened(saved, fresh);
        if is_taken && matches!(self.state, State::Open | State::Opening { .. } | State::Resuming { .. }) {
            self.events.push(Event::Unresponsive);
            self.handle_disconnected(now);
        }
        is_taken
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Micros) {
        match self.state {
            State::Offline { retry_at } if retry_at <= now => {
                self.state = State::Connecting;
                self.events.push(Event::Connect);
            }
            State::Opening { sent } | State::Resuming { sent }
                if after(sent, self.options.patience) <= now =>
            {
                self.events.push(Event::Unresponsive);
                self.handle_disconnected(now);
            }
            State::Open => {
                self.ask_time(now);
                self.outbox.handle_overdue(Micros(now.0.saturating_sub(micros(self.options.patience))));
                self.pump(now);
            }
            _ => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Micros> {
        match self.state {
            State::Offline { retry_at } => Some(retry_at),
            State::Connecting => None,
            State::Opening { sent } | State::Resuming { sent } => Some(after(sent, self.options.patience)),
            State::Open => {
                let due = self.outbox.next_due(Micros(micros(self.options.patience)));
                let due = due.map(|due| due.max(self.blocked_until));
                let blocked = (self.blocked_until.0 > i64::MIN).then_some(self.blocked_until);
                [due, blocked, self.next_clock].into_iter().flatten().min()
            }
        }
    }

    /// What storage should do; serve it before sending.
    pub fn poll_spool(&mut self) -> Option<SpoolRequest> {
        if let Some(ops) = self.outbox.take_ops() {
            return Some(SpoolRequest::Commit(ops));
        }
        self.outbox.poll_load().map(SpoolRequest::Load)
    }

    /// What to send next, and where.
    pub fn poll_transmit(&mut self, now: Micros) -> Option<Transmit> {
        if let Some((kind, frame)) = pop_front(&mut self.control) {
            return Some(Transmit { channel: Channel::Control, kind, frame });
        }
        if self.state != State::Open || self.blocked_until > now {
            return None;
        }
        let (id, batch) = self.outbox.poll_send(now)?;
        Some(Transmit { channel: Channel::Batch(id), kind: FrameKind::Batch, frame: encode_frame(&batch) })
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop_front(&mut self.events)
    }

    /// Tells what pages do not hear of.
    fn note(&mut self, event: Event) {
        if !SMALL {
            self.events.push(event);
        }
    }

    fn send<T: Body>(&mut self, body: &T) {
        self.control.push((T::KIND, encode_frame(body)));
    }

    fn send_hello(&mut self, now: Micros) {
        self.hellos.push(now);
        self.control.push((FrameKind::Hello, encode_frame(&self.hello)));
    }

    fn handle_welcome(&mut self, now: Micros, welcome: Welcome) -> Result<(), SessionError> {
        if welcome.version != PROTOCOL_VERSION {
            return Err(SessionError::Version(welcome.version));
        }
        let first = matches!(self.state, State::Opening { .. });
        if !first && !self.is_open() {
            return Err(SessionError::Unexpected(FrameKind::Welcome));
        }
        if first {
            // Perhaps another hub, with a clock of its own.
            self.clock.doubt();
        }
        if let Some(sent) = pop_front(&mut self.hellos) {
            self.learn_time(now, sent, welcome.time);
        }
        self.outbox.set_level_max(welcome.ack_level_max);
        self.hub = Some(HubView { limits: welcome.limits, route: welcome.route, catalog: welcome.catalog });
        self.events.push(Event::Plans(Plans {
            catalog: welcome.catalog,
            streams: welcome.streams,
            unknown_streams: welcome.unknown_streams,
        }));
        if first {
            self.start(now);
            self.events.push(Event::Connected { boot: welcome.boot, level_max: welcome.ack_level_max });
        }
        Ok(())
    }

    /// The session is open: first ask what the hub holds of what was transmitted before (C5).
    fn start(&mut self, now: Micros) {
        self.opened = now;
        self.blocked_until = Micros(i64::MIN);
        self.next_clock =
            (!self.options.clock_interval.is_zero()).then(|| after(now, Duration::from_secs(1)));
        if self.outbox.has_transmitted() {
            self.state = State::Resuming { sent: now };
            self.send(&Resume { pid: self.outbox.pid(), low_water: self.outbox.low_water() });
        } else {
            self.state = State::Open;
        }
    }

    fn handle_plans(&mut self, plans: Plans) {
        let Some(hub) = self.hub.as_mut().filter(|hub| hub.catalog < plans.catalog) else { return };
        hub.catalog = plans.catalog;
        self.events.push(Event::Plans(plans));
    }

    fn handle_resumed(&mut self, now: Micros, resumed: &Resumed) {
        if !matches!(self.state, State::Resuming { .. }) || resumed.pid != self.outbox.pid() {
            return;
        }
        let acked = self.outbox.acked_batches();
        let (events, expired) = self.outbox.handle_resumed(resumed);
        let batches = self.outbox.acked_batches() - acked;
        if batches > 0 {
            self.attempts = 0;
            self.note(Event::Acked { batches, events });
        }
        if expired {
            self.expire(now);
        }
        self.state = State::Open;
    }

    fn handle_ack(&mut self, ack: &Ack) {
        if let Some(events) = self.outbox.handle_ack(ack.pid, ack.seq, ack.level) {
            self.attempts = 0;
            self.note(Event::Acked { batches: 1, events });
        }
    }

    fn handle_refused(&mut self, now: Micros, refused: &Refused) -> Result<(), SessionError> {
        if matches!(self.state, State::Resuming { .. }) && refused.pid == self.outbox.pid() {
            return self.handle_resume_refused(now, refused);
        }
        // However soon the hub says, not in a loop.
        let retry_at = after(now, self.backoff(1)).max(self.named_time(now, refused));
        match self.outbox.handle_refused(refused.pid, refused.seq, refused.code, retry_at) {
            RefusedOutcome::Unknown => {}
            RefusedOutcome::Retry => {
                if refused.code == RefusedCode::Throttled {
                    self.blocked_until = retry_at;
                }
                self.note(Event::Retrying { code: refused.code, until: retry_at });
            }
            RefusedOutcome::Skipped { events } => {
                let message = refused.message.clone();
                self.events.push(Event::Refused { code: refused.code, message, events });
            }
            RefusedOutcome::Expired => {
                // Identities are used for half their life only: a clock is wrong, this side's or the hub's.
                self.ask_time_anew(now);
                self.expire(now);
            }
        }
        Ok(())
    }

    /// When the hub asks to be tried again, within the longest wait of this side.
    fn named_time(&self, now: Micros, refused: &Refused) -> Micros {
        after(now, Duration::from_millis(u64::from(refused.retry_after_ms)).min(self.options.backoff.max))
    }

    /// The hub cannot say what it holds: either it has forgotten this identity, or another attempt, perhaps at
    /// another hub, must find out. Nothing transmitted is sent before.
    fn handle_resume_refused(&mut self, now: Micros, refused: &Refused) -> Result<(), SessionError> {
        if !matches!(refused.code, RefusedCode::Expired | RefusedCode::BornInFuture) {
            let (code, message) = (refused.code.code().into(), refused.message.clone());
            self.not_before = self.named_time(now, refused);
            return Err(SessionError::Rejected { code, message });
        }
        self.expire(now);
        self.state = State::Open;
        Ok(())
    }

    fn handle_clock(&mut self, now: Micros, reply: &ClockReply) {
        self.learn_time(now, reply.sent, reply.time);
    }

    fn learn_time(&mut self, now: Micros, sent: Micros, hub: Micros) {
        if self.clock.sample(sent, now, hub) {
            self.ask_time_now(now);
        }
    }

    /// The hub's clock is not where it was: whatever is sent before its time is known would be refused again, and be
    /// in doubt. Every face answers Hello with a time. When identities go on to expire, the waits grow.
    fn ask_time_anew(&mut self, now: Micros) {
        self.clock.doubt();
        self.ask_time_now(now);
        let wait = self.backoff(TIME_ATTEMPT + self.attempts);
        self.attempts += 1;
        self.blocked_until = after(now, wait);
    }

    fn ask_time_now(&mut self, now: Micros) {
        if self.hellos.is_empty() {
            self.send_hello(now);
        }
    }

    fn ask_time(&mut self, now: Micros) {
        if self.next_clock.is_some_and(|due| due <= now) {
            self.next_clock = Some(after(now, self.options.clock_interval));
            self.send(&ClockRequest { sent: now });
        }
    }

    fn expire(&mut self, now: Micros) {
        let fresh = self.fresh_pid(now);
        let (batches, events) = self.outbox.expire(fresh);
        if batches > 0 {
            self.events.push(Event::InDoubt { batches, events });
        }
    }

    /// Moves what can be moved towards the hub.
    fn pump(&mut self, now: Micros) {
        let Some(hub) = self.hub.filter(|_| self.state == State::Open) else { return };
        if self.blocked_until > now {
            return;
        }
        self.blocked_until = Micros(i64::MIN);
        self.renew_identity(now, &hub);
        self.outbox.pump(now, hub.route);
    }

    /// An identity is used for half its life, so that its last batches never meet its end; and never when it
    /// was born by a clock that the hub would refuse.
    fn renew_identity(&mut self, now: Micros, hub: &HubView) {
        let lifetime = millis(self.options.times.pid_lifetime).min(hub.limits.pid_lifetime_ms);
        // A hub that remembers nobody must not make this side spin.
        let lifetime = lifetime.max(LIFETIME_MS_MIN);
        let skew = millis(self.options.times.future_skew_max) / 2;
        let hub_ms = self.clock.now(now).millis().max(0) as u64;
        let birth = self.outbox.pid().birth_ms();
        if hub_ms.saturating_sub(birth) > lifetime / 2 || birth.saturating_sub(hub_ms) > skew {
            self.outbox.retire();
        }
        if self.outbox.wants_identity() {
            let fresh = self.fresh_pid(now);
            self.outbox.renew_if_drained(fresh);
        }
    }

    fn fresh_pid(&mut self, now: Micros) -> Pid {
        new_pid(&mut self.random, self.clock.now(now))
    }

    fn backoff(&mut self, attempt: u32) -> Duration {
        let mut bytes = [0; 2];
        (self.random)(&mut bytes);
        self.options.backoff.wait(attempt, u16::from_le_bytes(bytes))
    }
}

/// How long a session has to last for the next one to be tried without the waits of those before it.
const HELD: Duration = Duration::from_secs(5);

/// What sessions that did not last count for, as attempts of the back-off: by default waits of 0.4 to 0.8 s.
const SHORT_ATTEMPTS_MAX: u32 = 3;

/// However short a hub says identities live, they are used for half of this.
const LIFETIME_MS_MIN: u64 = 2_000;

/// How long batches wait for an answer to the question what time it is, as an attempt of the back-off: by default 0.8 to
/// 1.6 s.
const TIME_ATTEMPT: u32 = 4;

fn decode<T: Body>(frame: Frame<'_>) -> Result<T, SessionError> {
    frame.decode().map_err(|error: DecodeError| SessionError::Malformed(frame.kind, error))
}

/// These queues are short, and a `VecDeque` of each would be more code for pages to download.
fn pop_front<T>(queue: &mut Vec<T>) -> Option<T> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

fn new_pid(random: &mut Random, born: Micros) -> Pid {
    let mut bytes = [0; 10];
    random(&mut bytes);
    Pid::new(born.millis().max(0) as u64, bytes)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(backoff::whole_micros(duration)).unwrap_or(i64::MAX)
}

/// One of 64 bits: more milliseconds than those are beyond every clock.
fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_millis()))
}

fn after(now: Micros, wait: Duration) -> Micros {
    Micros(now.0.saturating_add(micros(wait)))
}
