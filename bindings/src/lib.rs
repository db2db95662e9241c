//! The WASM surface of the core: converts between JavaScript and [`headwater`], decides nothing.
//!
//! Owns: what the functions that `js/src/engine.ts` calls do (`exports.rs` is their ABI). Must not know: transports, timers, what users see.
//! Invariants: times are whole microseconds of JavaScript's clock, in doubles (exact until the year 2255);
//! batch numbers and counts are doubles, exact to 2^53; errors are stable code strings; nothing here panics on
//! what the hub sent.
#![cfg_attr(target_arch = "wasm32", no_std)]
extern crate alloc;

mod dictionary;
mod events;
mod exports;
mod feed;
#[cfg(any(target_arch = "wasm32", test))]
mod heap;
mod runtime;
mod stage;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use dictionary::Dictionary;
use exports::Answer;
use feed::Feed;
use headwater::codec::Writer;
use headwater::ids::Micros;
use headwater::limits::{BatchLimits, FrameLimits, OutboxLimits, TimeLimits};
use headwater::outbox::BatchId;
use headwater::session::{Backoff, ClientSession, Event, PATIENCE, SessionOptions};
use headwater::wire::batch::DropReason;
use headwater::wire::{AckLevel, Frame, Plans, encode_frame};
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_random(bytes: &mut [u8]);
}

/// One producer: a session with its outbox, and the rollups that feed it.
pub struct Engine {
    session: ClientSession,
    feed: Feed,
    texts: Dictionary,
    /// Announced by the event `plans`, in force after [`Engine::apply_plans`].
    next_plans: Option<Plans>,
    /// True until JavaScript has heard of `next_plans`: plans that come faster replace each other.
    is_plans_new: bool,
    events: Vec<Vec<u8>>,
    /// How many of `events` JavaScript has heard of.
    heard: usize,
    traffic: events::Traffic,
    answer: Answer,
}

impl Engine {
    /// A producer that wants to connect. `level` is the ack level batches wait for, by its tag; an empty token
    /// is none.
    pub fn new(token: String, level: u8, now: f64) -> Engine {
        let options = SessionOptions {
            token: (!token.is_empty()).then(|| token.into()),
            sdk: String::from(concat!("headwater-js/", env!("CARGO_PKG_VERSION"))),
            level: AckLevel::from_tag(level).unwrap_or_default(),
            outbox: OutboxLimits::BROWSER,
            batch: BatchLimits::BROWSER,
            times: TimeLimits::MEMORY_ONLY,
            clock_interval: Duration::from_secs(60),
            capabilities: u32::from(cfg!(feature = "full")),
            persistent: false,
            backoff: Backoff::default(),
            patience: PATIENCE,
        };
        let random = Box::new(|bytes: &mut [u8]| fill_random(bytes));
        Engine {
            session: ClientSession::new(options, random, micros(now), micros(now), None),
            feed: Feed::default(),
            texts: Dictionary::default(),
            next_plans: None,
            is_plans_new: false,
            events: Vec::new(),
            heard: 0,
            traffic: events::Traffic::default(),
            answer: Answer::default(),
        }
    }

    /// Rows of a stage.
    pub fn rows(&self) -> u32 {
        stage::ROWS as u32
    }

    /// Adds a string that stays; its handle is the number of those before.
    pub fn intern_pinned(&mut self, text: &[u8]) {
        self.texts.pin(text);
    }

    /// Adds bytes that [`Engine::forget_passing`] removes; gives their number among those.
    pub fn intern_passing(&mut self, bytes: &[u8]) -> u32 {
        self.texts.add(bytes)
    }

    /// Forgets passing strings: no row that names one may be waiting.
    pub fn forget_passing(&mut self) {
        self.texts.forget();
    }

    /// Counts events that reached no rollup, by the tag of a [`DropReason`] that JavaScript has; the
    /// next flush tells the hub.
    pub fn count_dropped(&mut self, reason: u8, events: f64) {
        let reason = match reason {
            2 => DropReason::WaitingFull,
            7 => DropReason::Closed,
            9 => DropReason::StreamGone,
            _ => DropReason::Invalid,
        };
        self.session.count_dropped(reason, events as u64);
    }

    /// Asks for the plans of a stream, or again for those of one that the hub did not have.
    pub fn add_stream(&mut self, name: &[u8], now: f64) {
        self.session.add_stream(micros(now), core::str::from_utf8(name).unwrap_or_default());
    }

    /// Streams with plans, each its name and its columns: after each the byte 255, after the last 254, which no text
    /// has.
    pub fn schema(&self) -> Vec<u8> {
        self.feed.schema()
    }

    /// Where stream `table` of [`Engine::schema`] takes its rows (`stage::Stage::layout`).
    pub fn layout(&self, table: u32) -> Vec<f64> {
        self.feed.layout(table as usize, self.session.batch_limits().key_bytes_max)
    }

    /// Evaluates the first `rows` rows that JavaScript wrote.
    pub fn push(&mut self, table: u32, rows: u32) {
        self.feed.push(table as usize, rows as usize, &self.texts);
    }

    /// Freezes everything evaluated; gives the newest batch (0: there was never one).
    pub fn flush(&mut self, now: f64) -> f64 {
        let delta = self.session.take_delta();
        let batches = self.feed.freeze(delta, &self.session.batch_limits());
        self.session.count_oversized(batches.oversized_groups);
        for payload in batches.payloads {
            self.session.freeze_encoded(micros(now), payload);
        }
        self.session.last_id().0 as f64
    }

    /// Asks for a level for all batches up to `batch`.
    pub fn require(&mut self, batch: f64, level: u8) {
        self.session.require(BatchId(batch as u64), AckLevel::from_tag(level).unwrap_or_default());
    }

    /// True when all batches up to `batch` are safe at a level, or as safe as the hub can, or were given up.
    pub fn has_reached(&self, batch: f64, level: u8) -> bool {
        self.session.has_reached(BatchId(batch as u64), AckLevel::from_tag(level).unwrap_or_default())
    }

    /// True when a flush would leave at once; otherwise partials are better merged a little longer (C1).
    pub fn is_hungry(&self, now: f64) -> bool {
        self.session.is_hungry(micros(now))
    }

    /// The hub can be asked.
    pub fn handle_connected(&mut self, now: f64) {
        self.session.handle_connected(micros(now));
    }

    /// A request failed.
    pub fn handle_disconnected(&mut self, now: f64) {
        self.session.handle_disconnected(micros(now));
    }

    /// Frames from the hub, back to back. The answer is empty, or a code, NUL and a message: the connection is
    /// to be ended.
    pub fn handle_frames(&mut self, mut bytes: &[u8], now: f64) -> Vec<u8> {
        while !bytes.is_empty() {
            let (frame, length) = match Frame::read(bytes, FrameLimits::NATIVE.body_bytes_max) {
                Ok(Some(read)) => read,
                Ok(None) => return b"malformed\0truncated".to_vec(),
                Err(error) => return events::fields(&["malformed", error.code()]),
            };
            if let Err(error) = self.session.handle_frame(micros(now), frame) {
                return events::session_error(&error);
            }
            // After each: an answer of very many frames must not grow queues that are long to shift.
            self.take_events();
            bytes = &bytes[length..];
        }
        Vec::new()
    }

    /// The time of [`Engine::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: f64) {
        self.session.handle_timeout(micros(now));
    }

    /// The next frame to send; empty when there is none.
    pub fn poll_transmit(&mut self, now: f64) -> Vec<u8> {
        let transmit = self.session.poll_transmit(micros(now));
        transmit.map(|transmit| self.traffic.count(transmit)).unwrap_or_default()
    }

    /// What happened, fields joined by NUL: `connect`, `open`, `offline`, `unknown` with the name of a stream
    /// that the hub does not have, `plans` after all of those, `needs_full`, or `error` with a code and perhaps a message.
    /// Empty when nothing did.
    pub fn poll_event(&mut self) -> Vec<u8> {
        self.take_events();
        if self.heard == self.events.len() {
            self.events.clear();
            self.heard = 0;
            self.announce();
        }
        let Some(event) = self.events.get_mut(self.heard) else { return Vec::new() };
        self.heard += 1;
        core::mem::take(event)
    }

    /// Puts announced plans into force. Rows written before must have been pushed. Gives how many of their events
    /// nothing can count any more, because their stream was dropped.
    pub fn apply_plans(&mut self) -> f64 {
        let Some(plans) = self.next_plans.take() else { return 0.0 };
        let (refused, gone) = self.feed.set_plans(plans);
        if refused > 0 {
            self.events.push(b"error\0unsupported_plan".to_vec());
        }
        gone as f64
    }

    /// When to call [`Engine::handle_timeout`]; infinite for never.
    pub fn poll_timeout(&self) -> f64 {
        self.session.poll_timeout().map_or(f64::INFINITY, |at| at.0 as f64)
    }

    /// The body that waits for newer plans: Hello and the catalog version in hand.
    pub fn watch_body(&self) -> Vec<u8> {
        let mut out = encode_frame(self.session.hello());
        out.put_varint(self.session.catalog().unwrap_or_default().0);
        out
    }

    /// What to add to JavaScript's clock to get the hub's. That time does not stand still nor jump is up to JavaScript.
    pub fn clock_offset(&self) -> f64 {
        self.session.clock_offset() as f64
    }

    /// What became of events and batches, in the order of `COUNTERS` in `js/src/ledger.ts`.
    pub fn counters(&self) -> Vec<f64> {
        self.traffic.counters(&self.session.ledger())
    }
}

impl Engine {
    /// Moves what the session says to what JavaScript hears. Plans that this build cannot evaluate are left to the larger
    /// module; until then the old ones stay.
    fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            let text = events::text(&event);
            match event {
                Event::Plans(plans) if cfg!(feature = "full") || !feed::needs_full(&plans) => {
                    self.next_plans = Some(plans);
                    self.is_plans_new = true;
                }
                Event::Plans(_) => self.events.push(b"needs_full".to_vec()),
                _ => self.events.extend(text),
            }
        }
    }

    /// Tells of the newest plans, if it did not. What the hub does not have is named only where it was asked for: the
    /// hub may name anything, and as much as fits a frame.
    fn announce(&mut self) {
        let is_new = core::mem::take(&mut self.is_plans_new);
        let Some(plans) = self.next_plans.as_ref().filter(|_| is_new) else { return };
        for name in &self.session.hello().streams {
            if plans.unknown_streams.contains(name) {
                self.events.push(events::fields(&["unknown", name]));
            }
        }
        self.events.push(b"plans".to_vec());
    }
}

fn micros(now: f64) -> Micros {
    Micros(now as i64)
}
