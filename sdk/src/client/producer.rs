//! The producing half: streams, their plans, and per-thread emitters that roll up on their own.
//!
//! Owns: who holds which rollup, events that wait for a plan, counts of what was emitted and refused.
//! Must not know: sessions, batches, connections.
//! Invariants: an emitter's lock is its own and is otherwise only taken by a flush; emitting never waits for
//! the network or the disk; generated = rolled up + waiting + dropped.

use super::coarse::CoarseClock;
use super::long_keys::LongKeys;
use super::waiting::{Waiting, WaitingEvent};
use crate::emit::{self, EmitOptions, EventBuffer, KeptEvent};
use crate::ids::{Micros, PlanVersion, ViewId};
use crate::rollup::{Rollup, RollupOptions, ViewPartials};
use crate::schema::{BatchError, StreamSchema};
use crate::value::DataType;
use crate::value::column::{ColumnBatch, ColumnData};
use crate::wire::StreamPlans;
use crate::wire::batch::{DropCounts, DropReason};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::Notify;

/// Rows evaluated at a time: enough to amortise a plan's per-batch work, few enough to stay in cache.
const BUFFER_ROWS: usize = 1_024;

/// Why an event was not taken, or not by every view. It is counted, and nothing else is lost.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The event does not fit the stream.
    #[error(transparent)]
    Event(#[from] emit::EmitError),
    /// The column batch does not fit the stream.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The stream's schema is not known yet and the buffer for that time is full.
    #[error("the buffer for events before the first plan is full")]
    WaitingFull,
    /// A column batch was given before the stream's schema is known.
    #[error("the stream's schema is not known yet")]
    NoSchema,
    /// The hub is not keeping up, or is away, and memory limits are reached: try later.
    #[error("rollup and outbox are full; the hub is away or not keeping up")]
    Backpressure,
    /// The stream was dropped at the hub.
    #[error("the stream was dropped")]
    StreamGone,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The event's group key in some views is above the limit: those left it out and count it as rejected, the others
    /// have it. Emitting it again would count it again there.
    #[error(
        "the group key with column {column} ({bytes} bytes) is longer than {bytes_max} bytes in {views} of the \
         stream's views, which leave the event out; the others count it"
    )]
    KeyTooLong {
        /// The longest text among the columns that keys are made of.
        column: String,
        /// Its bytes.
        bytes: usize,
        /// Most bytes of a group key (`key_bytes_max` of the hub).
        bytes_max: usize,
        /// How many views left it out.
        views: u64,
    },
}

impl EmitError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Event(error) => error.code(),
            Self::Batch(error) => error.code(),
            Self::WaitingFull => "waiting_full",
            Self::NoSchema => "no_schema",
            Self::Backpressure => "backpressure",
            Self::StreamGone => "stream_gone",
            Self::Closed => "closed",
            Self::KeyTooLong { .. } => "key_too_long",
        }
    }

    /// As what the event is dropped; `None` when it was taken, and what rejected it counts that.
    fn reason(&self) -> Option<DropReason> {
        Some(match self {
            Self::WaitingFull | Self::NoSchema => DropReason::WaitingFull,
            Self::Backpressure => DropReason::Backpressure,
            Self::StreamGone => DropReason::StreamGone,
            Self::Closed => DropReason::Closed,
            Self::Event(_) | Self::Batch(_) => DropReason::Invalid,
            Self::KeyTooLong { .. } => return None,
        })
    }
}

/// What all streams of a client share.
#[derive(Debug)]
pub(super) struct Gate {
    pub clock: CoarseClock,
    /// Wakes the driver.
    pub wake: Notify,
    /// Memory limits are reached.
    pub pressed: AtomicBool,
    pub closed: AtomicBool,
    /// Some emitter holds more groups than a flush should wait for.
    pub full: AtomicBool,
    pub value_bytes_max: usize,
    pub waiting_bytes_max: usize,
    pub groups_max: usize,
}

/// What the hub has said about a stream.
#[derive(Clone, Debug, Default)]
enum Word {
    /// Nothing yet: events wait.
    #[default]
    None,
    /// There is no such stream yet: events wait.
    Unknown,
    Known(Arc<Known>),
    /// There was one, and it was dropped.
    Gone,
}

/// A stream's schema and plans.
#[derive(Clone, Debug)]
struct Known {
    plans: StreamPlans,
    key_bytes_max: usize,
}

/// One stream of a client.
#[derive(Debug)]
pub(super) struct Stream {
    pub name: String,
    gate: Arc<Gate>,
    /// Counts changes of `word`; emitters compare it with what they work by.
    generation: AtomicU64,
    word: Mutex<Word>,
    emitters: Mutex<Vec<Arc<Mutex<Local>>>>,
    /// Of the events that wait for the first plans.
    waiting_bytes: Arc<AtomicUsize>,
    /// What emitters that are gone had generated.
    past: Mutex<Counts>,
}

/// Counts of one emitter, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Every event given to `emit`, whatever became of it.
    pub generated: u64,
    /// Refused by `emit`, by the error's code.
    pub refused: Vec<(&'static str, u64)>,
}

impl Counts {
    fn refuse(&mut self, code: &'static str, events: u64) {
        match self.refused.iter_mut().find(|entry| entry.0 == code) {
            Some(entry) => entry.1 += events,
            None => self.refused.push((code, events)),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.generated += other.generated;
        other.refused.iter().for_each(|(code, events)| self.refuse(code, *events));
    }
}

/// What an emitter works with.
#[derive(Debug)]
struct Local {
    generation: u64,
    producer: Option<Producer>,
    /// The stream was dropped: events are refused.
    is_gone: bool,
    waiting: Waiting,
    counts: Counts,
    /// Refused by `emit` since the last drain: the caller knows.
    refused: DropCounts,
    /// Taken by `emit` and given up since the last drain.
    lost: DropCounts,
}

#[derive(Debug)]
struct Producer {
    buffer: EventBuffer,
    rollup: Rollup,
    long_keys: LongKeys,
    /// Views whose plans this build cannot run: they reject every event.
    unsupported: Vec<(ViewId, PlanVersion)>,
    /// Events in the rollup since the last drain.
    pending: u64,
}

/// What a stream's emitters gathered since the last drain.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub events: u64,
    /// What `emit` refused.
    pub refused: DropCounts,
    /// What `emit` had taken and nobody can have any more.
    pub lost: DropCounts,
    pub partials: Vec<ViewPartials>,
}

impl Stream {
    pub fn new(name: &str, gate: Arc<Gate>) -> Self {
        Self {
            name: name.into(),
            gate,
            generation: AtomicU64::new(0),
            word: Mutex::default(),
            emitters: Mutex::default(),
            waiting_bytes: Arc::default(),
            past: Mutex::default(),
        }
    }

    /// The hub's newest word: `None` when it has no such stream.
    pub fn set_plans(&self, plans: Option<StreamPlans>, key_bytes_max: usize) {
        let mut word = lock(&self.word);
        *word = match (plans, &*word) {
            (Some(plans), _) => Word::Known(Arc::new(Known { plans, key_bytes_max })),
            (None, Word::None | Word::Unknown) => Word::Unknown,
            (None, Word::Known(_) | Word::Gone) => Word::Gone,
        };
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub fn schema(&self) -> Option<StreamSchema> {
        match &*lock(&self.word) {
            Word::Known(known) => Some(known.plans.schema.clone()),
            Word::None | Word::Unknown | Word::Gone => None,
        }
    }

    /// The hub has said that it does not have the stream.
    pub fn is_unknown(&self) -> bool {
        matches!(*lock(&self.word), Word::Unknown | Word::Gone)
    }

    fn add_emitter(&self) -> Arc<Mutex<Local>> {
        let waiting = Waiting::new(self.waiting_bytes.clone());
        let local = Arc::new(Mutex::new(Local::new(waiting)));
        lock(&self.emitters).push(local.clone());
        local
    }

    /// Takes what all emitters gathered.
    pub fn drain(&self) -> Drained {
        let mut emitters = lock(&self.emitters);
        let mut all = Drained::default();
        // Threads roll up the same groups: they meet here.
        let mut merged: Option<Rollup> = None;
        for emitter in emitters.iter() {
            let mut local = lock(emitter);
            self.refresh(&mut local);
            all.refused.merge(&std::mem::take(&mut local.refused));
            all.lost.merge(&std::mem::take(&mut local.lost));
            let Some(producer) = &mut local.producer else { continue };
            producer.evaluate();
            all.events += std::mem::take(&mut producer.pending);
            let partials = producer.rollup.drain();
            let schema = producer.rollup.schema().clone();
            drop(local);
            if all.partials.is_empty() && merged.is_none() {
                all.partials = partials;
            } else if !partials.is_empty() {
                let rollup = merged.get_or_insert_with(|| self.meeting_place(schema));
                rollup.merge(std::mem::take(&mut all.partials));
                rollup.merge(partials);
            }
        }
        if let Some(mut rollup) = merged {
            all.partials = rollup.drain();
        }
        self.forget_dead(&mut emitters);
        all
    }

    /// A rollup by the newest plans: what emitters gathered by them is held to their group caps once more.
    fn meeting_place(&self, schema: StreamSchema) -> Rollup {
        let plans = match &*lock(&self.word) {
            Word::Known(known) if known.plans.schema == schema => known.plans.plans.clone(),
            _ => Vec::new(),
        };
        let mut rollup = Rollup::new(schema.clone(), RollupOptions::default());
        // Plans that this build cannot run gathered nothing.
        rollup.set_plans(schema, plans);
        rollup
    }

    fn forget_dead(&self, emitters: &mut Vec<Arc<Mutex<Local>>>) {
        emitters.retain(|emitter| {
            // Only this list holds it, so nobody can emit into it any more.
            let dead = Arc::strong_count(emitter) == 1;
            let local = lock(emitter);
            let done = dead && local.is_empty();
            if done {
                lock(&self.past).merge(&local.counts);
            }
            !done
        });
    }

    /// Events held: rolled up, or waiting for a plan.
    pub fn held(&self) -> (u64, u64) {
        lock(&self.emitters).iter().fold((0, 0), |(rolled, waiting), emitter| {
            let local = lock(emitter);
            (rolled + local.rolled_up(), waiting + local.waiting.len() as u64)
        })
    }

    /// Heap bytes of all rollups; walks them.
    pub fn heap_bytes(&self) -> usize {
        let bytes = |emitter: &Arc<Mutex<Local>>| {
            lock(emitter).producer.as_ref().map_or(0, |producer| producer.rollup.heap_bytes())
        };
        lock(&self.emitters).iter().map(bytes).sum()
    }

    /// Events counted as dropped that no flush has taken yet.
    pub fn dropped(&self) -> DropCounts {
        let mut dropped = DropCounts::default();
        lock(&self.emitters).iter().for_each(|emitter| {
            let local = lock(emitter);
            dropped.merge(&local.refused);
            dropped.merge(&local.lost);
        });
        dropped
    }

    /// Counts of all emitters, past and present.
    pub fn counts(&self) -> Counts {
        let mut counts = lock(&self.past).clone();
        lock(&self.emitters).iter().for_each(|emitter| counts.merge(&lock(emitter).counts));
        counts
    }

    /// Gives up what still waits or is not frozen: the client is closing. Returns the events.
    pub fn abandon(&self) -> u64 {
        let emitters = lock(&self.emitters);
        let waiting = |emitter: &Arc<Mutex<Local>>| lock(emitter).waiting.take().len() as u64;
        emitters.iter().map(waiting).sum()
    }

    #[inline]
    fn refresh(&self, local: &mut Local) {
        if local.generation != self.generation.load(Ordering::Acquire) {
            self.adopt(local);
        }
    }

    fn buffer(&self, schema: &StreamSchema) -> EventBuffer {
        let limits = EmitOptions { value_bytes_max: self.gate.value_bytes_max, ..EmitOptions::default() };
        EventBuffer::with_options(schema.clone(), limits)
    }

    /// Goes over to the newest plans. What was gathered by the old ones stays and is flushed with them.
    #[cold]
    fn adopt(&self, local: &mut Local) {
        let word = lock(&self.word);
        local.generation = self.generation.load(Ordering::Acquire);
        local.is_gone = matches!(*word, Word::Gone);
        let known = match &*word {
            Word::None | Word::Unknown => return,
            Word::Gone => return local.lose_stream(),
            Word::Known(known) => known.clone(),
        };
        drop(word);
        let StreamPlans { schema, plans } = known.plans.clone();
        let versions: Vec<_> = plans.iter().map(|plan| (plan.view, plan.version)).collect();
        // Dropped and made again under the same name: no view of the new one may see the old one's events.
        if local.producer.as_ref().is_some_and(|producer| producer.rollup.schema().id != schema.id) {
            local.lose_stream();
        }
        let options = RollupOptions { key_bytes_max: known.key_bytes_max };
        match &mut local.producer {
            Some(producer) => {
                producer.evaluate();
                if *producer.buffer.schema() != schema {
                    producer.buffer = self.buffer(&schema);
                }
            }
            None => {
                let (buffer, rollup) = (self.buffer(&schema), Rollup::new(schema.clone(), options));
                let (long_keys, unsupported) = (LongKeys::default(), Vec::new());
                local.producer = Some(Producer { buffer, rollup, long_keys, unsupported, pending: 0 });
            }
        }
        let Some(producer) = &mut local.producer else { return };
        producer.rollup.set_options(options);
        producer.long_keys = LongKeys::of(&plans, known.key_bytes_max);
        let refused = producer.rollup.set_plans(schema, plans);
        for (view, error) in &refused {
            tracing::warn!(stream = self.name, view = view.0, %error, "this build cannot run a view's plan");
        }
        producer.unsupported = versions;
        producer.unsupported.retain(|(view, version)| !producer.rollup.runs(*view, *version));
        for WaitingEvent { event, emitted } in local.waiting.take() {
            let arrival = self.gate.clock.hub_time(emitted);
            if let Err(error) = producer.push(|buffer| buffer.push(&event, arrival))
                && let Some(reason) = error.reason()
            {
                local.counts.refuse(error.code(), 1);
                local.lost.add(reason, 1);
            }
        }
    }
}

impl Local {
    fn new(waiting: Waiting) -> Self {
        Self {
            generation: 0,
            producer: None,
            is_gone: false,
            waiting,
            counts: Counts::default(),
            refused: DropCounts::default(),
            lost: DropCounts::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.rolled_up() + self.waiting.len() as u64 == 0 && self.refused.is_empty() && self.lost.is_empty()
    }

    /// Events in the rollup, or on their way there.
    fn rolled_up(&self) -> u64 {
        self.producer.as_ref().map_or(0, |p| p.pending + p.buffer.rows() as u64)
    }

    /// The stream was dropped, and its views with it: nothing can count what is held for it.
    fn lose_stream(&mut self) {
        let events = self.rolled_up() + self.waiting.take().len() as u64;
        self.producer = None;
        self.lost.add(DropReason::StreamGone, events);
    }
}

impl Producer {
    #[inline]
    fn push(
        &mut self,
        add: impl FnOnce(&mut EventBuffer) -> Result<(), emit::EmitError>,
    ) -> Result<(), EmitError> {
        add(&mut self.buffer)?;
        if self.long_keys.is_suspect(self.buffer.batch()) {
            return self.evaluate_last();
        }
        if self.buffer.rows() >= BUFFER_ROWS {
            self.evaluate();
        }
        Ok(())
    }

    /// Evaluates the last event now, to know what becomes of it.
    #[cold]
    fn evaluate_last(&mut self) -> Result<(), EmitError> {
        let Some(event) = self.buffer.take_last() else { return Ok(()) };
        let before = self.rollup.rejected(DropReason::KeyTooLong);
        self.pending += 1;
        roll_up(&mut self.rollup, &self.unsupported, &event);
        let views = self.rollup.rejected(DropReason::KeyTooLong) - before;
        if views == 0 {
            return Ok(());
        }
        let (column, bytes) = self.long_keys.longest(self.buffer.schema(), &event);
        Err(EmitError::KeyTooLong { column, bytes, bytes_max: self.long_keys.bytes_max, views })
    }

    fn evaluate(&mut self) {
        if !self.buffer.is_empty() {
            self.pending += self.buffer.rows() as u64;
            roll_up(&mut self.rollup, &self.unsupported, self.buffer.batch());
            self.buffer.clear();
        }
    }
}

fn roll_up(rollup: &mut Rollup, unsupported: &[(ViewId, PlanVersion)], batch: &ColumnBatch) {
    for (view, version) in unsupported {
        rollup.reject(*view, *version, DropReason::UnsupportedPlan, batch.rows() as u64);
    }
    rollup.push(batch);
}

/// Emits events of one stream. Give every thread its own clone: each rolls up on its own, and they merge at
/// flush; threads that share one by reference wait for each other's `emit`. Dropping it loses nothing.
#[derive(Debug)]
pub struct Emitter {
    stream: Arc<Stream>,
    gate: Arc<Gate>,
    local: Arc<Mutex<Local>>,
    /// Keeps the client alive.
    client: Arc<super::Handle>,
}

impl Emitter {
    pub(super) fn new(stream: Arc<Stream>, client: Arc<super::Handle>) -> Self {
        let (gate, local) = (stream.gate.clone(), stream.add_emitter());
        Self { stream, gate, local, client }
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.stream.name
    }

    /// The stream's schema, once the hub has said it.
    pub fn schema(&self) -> Option<StreamSchema> {
        self.stream.schema()
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.stream.is_unknown()
    }

    /// Counts an event: a struct or map whose fields are the stream's columns; columns left out are NULL. Never waits for
    /// the network, and after the first event of a type allocates only when a new group appears. What each SQL type takes,
    /// and in which unit, is a table in [`crate::emit`].
    ///
    /// # Errors
    /// The event is not taken, and counted by reason: it does not fit the stream, or limits are reached. Or it is taken,
    /// and left out and counted by the views in which its group key is too long ([`EmitError::KeyTooLong`]); keys that
    /// expressions make long, and those of [`Emitter::emit_columns`] and of events before the first plan, are only
    /// counted (`Stats::rejected`).
    #[inline]
    pub fn emit<T: Serialize + ?Sized>(&self, event: &T) -> Result<(), EmitError> {
        let mut guard = lock(&self.local);
        let local = &mut *guard;
        local.counts.generated += 1;
        let result = self.try_emit(local, event);
        if let Err(error) = &result {
            refuse(local, error, 1);
        }
        result
    }

    #[inline]
    fn try_emit<T: Serialize + ?Sized>(&self, local: &mut Local, event: &T) -> Result<(), EmitError> {
        self.check()?;
        self.stream.refresh(local);
        let arrival = self.gate.clock.now(&self.gate.wake);
        let Some(producer) = &mut local.producer else { return self.wait(local, event) };
        producer.push(|buffer| buffer.push(event, arrival))?;
        if producer.buffer.is_empty() {
            self.check_groups(&producer.rollup);
        }
        Ok(())
    }

    /// Counts many events at once. The last column is `arrival_timestamp`; [`Emitter::schema`] makes an empty
    /// batch of the right shape.
    ///
    /// # Errors
    /// As [`Emitter::emit`], for the whole batch, which one value that is too long refuses; also while the stream's schema
    /// is not known.
    pub fn emit_columns(&self, batch: &ColumnBatch) -> Result<(), EmitError> {
        let mut guard = lock(&self.local);
        let local = &mut *guard;
        local.counts.generated += batch.rows() as u64;
        let result = self.try_emit_columns(local, batch);
        if let Err(error) = &result {
            refuse(local, error, batch.rows() as u64);
        }
        result
    }

    fn try_emit_columns(&self, local: &mut Local, batch: &ColumnBatch) -> Result<(), EmitError> {
        self.check()?;
        self.stream.refresh(local);
        self.gate.clock.now(&self.gate.wake);
        if local.is_gone {
            return Err(EmitError::StreamGone);
        }
        let producer = local.producer.as_mut().ok_or(EmitError::NoSchema)?;
        batch.check(producer.rollup.schema())?;
        check_lengths(batch, producer.rollup.schema(), self.gate.value_bytes_max)?;
        producer.pending += batch.rows() as u64;
        roll_up(&mut producer.rollup, &producer.unsupported, batch);
        self.check_groups(&producer.rollup);
        Ok(())
    }

    /// The hub's time, as events get it.
    pub fn now(&self) -> Micros {
        self.gate.clock.now(&self.gate.wake)
    }

    #[inline]
    fn check(&self) -> Result<(), EmitError> {
        if self.gate.pressed.load(Ordering::Relaxed) {
            return Err(EmitError::Backpressure);
        }
        if self.gate.closed.load(Ordering::Relaxed) { Err(EmitError::Closed) } else { Ok(()) }
    }

    #[cold]
    fn wait<T: Serialize + ?Sized>(&self, local: &mut Local, event: &T) -> Result<(), EmitError> {
        if local.is_gone {
            return Err(EmitError::StreamGone);
        }
        let event = KeptEvent::of(event)?;
        let event = WaitingEvent { event, emitted: self.gate.clock.local() };
        if local.waiting.push(event, self.gate.waiting_bytes_max) {
            Ok(())
        } else {
            Err(EmitError::WaitingFull)
        }
    }

    fn check_groups(&self, rollup: &Rollup) {
        if rollup.groups() >= self.gate.groups_max && !self.gate.full.swap(true, Ordering::Relaxed) {
            self.gate.wake.notify_one();
        }
    }
}

impl Clone for Emitter {
    /// An emitter with a rollup of its own.
    fn clone(&self) -> Self {
        Self::new(self.stream.clone(), self.client.clone())
    }
}

/// Text and bytea are no longer than `emit` takes them.
fn check_lengths(batch: &ColumnBatch, schema: &StreamSchema, bytes_max: usize) -> Result<(), EmitError> {
    for (column, field) in batch.columns.iter().zip(&schema.fields) {
        if let ColumnData::Bytes(values) = &column.data
            && matches!(field.data_type, DataType::Text | DataType::Bytea)
            && (0..column.len()).any(|row| values.get(row).len() > bytes_max && column.is_valid(row))
        {
            return Err(emit::EmitError::TooLong(field.name.clone()).into());
        }
    }
    Ok(())
}

#[cold]
fn refuse(local: &mut Local, error: &EmitError, events: u64) {
    if let Some(reason) = error.reason() {
        local.counts.refuse(error.code(), events);
        local.refused.add(reason, events);
    }
}

/// A panic in a user's `Serialize` poisons nothing: rows are added whole or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
