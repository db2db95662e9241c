//! The functions that JavaScript calls, plain: numbers in, a number out.
//!
//! Owns: the C ABI of [`Engine`], how bytes cross. Must not know: what the calls mean.
//! Why not wasm-bindgen's classes: their reference counts, borrow flags and glue are a twentieth of the core module,
//! and `js/src/engine.ts` has its own.
//! Invariants: bytes go in through memory that [`engine_lend`] gives and the next call takes; bytes come back as the
//! address of a [`Answer`], which stays until the engine's next call that answers so. JavaScript passes engines
//! that [`engine_new`] gave and [`engine_free`] did not take, and never two at once: there is one thread.

use crate::Engine;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// The bytes of one answer: text and frames, or doubles as this machine has them, which is as WASM and JavaScript do.
#[repr(C)]
pub struct Answer {
    /// Their address.
    at: *const u8,
    /// How many.
    length: usize,
    bytes: Vec<u8>,
    numbers: Vec<f64>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { at: core::ptr::null(), length: 0, bytes: Vec::new(), numbers: Vec::new() }
    }
}

impl Answer {
    fn set(&mut self, bytes: Vec<u8>) -> &Self {
        self.bytes = bytes;
        (self.at, self.length) = (self.bytes.as_ptr(), self.bytes.len());
        self
    }

    fn set_numbers(&mut self, numbers: Vec<f64>) -> &Self {
        self.numbers = numbers;
        (self.at, self.length) = (self.numbers.as_ptr().cast(), size_of_val(self.numbers.as_slice()));
        self
    }
}

/// Memory for `bytes` bytes that the next call takes.
#[unsafe(no_mangle)]
pub extern "C" fn engine_lend(bytes: usize) -> *mut u8 {
    core::mem::ManuallyDrop::new(Vec::with_capacity(bytes)).as_mut_ptr()
}

/// What JavaScript wrote there.
///
/// # Safety
/// `at` is what [`engine_lend`] answered to `length`, all of it was written, and it was not taken before.
unsafe fn take(at: *mut u8, length: usize) -> Vec<u8> {
    // SAFETY: the allocator's sizes depend on the length alone, which is the capacity that was asked for.
    unsafe { Vec::from_raw_parts(at, length, length) }
}

/// See [`Engine::new`].
///
/// # Safety
/// The token was lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_new(at: *mut u8, length: usize, level: u8, now: f64) -> Box<Engine> {
    // SAFETY: as above.
    let token = String::from_utf8(unsafe { take(at, length) });
    Box::new(Engine::new(token.unwrap_or_default(), level, now))
}

/// Releases an engine.
#[unsafe(no_mangle)]
pub extern "C" fn engine_free(engine: Box<Engine>) {
    drop(engine);
}

/// Exports methods as they are.
macro_rules! plain {
    ($($export:ident: $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("See [`Engine::", stringify!($method), "`].")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $export(engine: &mut Engine, $($argument: $type),*) $(-> $result)? {
            engine.$method($($argument),*)
        }
    )*};
}
plain! {
    engine_rows: rows() -> u32;
    engine_forget_passing: forget_passing();
    engine_count_dropped: count_dropped(reason: u8, events: f64);
    engine_push: push(table: u32, rows: u32);
    engine_flush: flush(now: f64) -> f64;
    engine_require: require(batch: f64, level: u8);
    engine_has_reached: has_reached(batch: f64, level: u8) -> bool;
    engine_is_hungry: is_hungry(now: f64) -> bool;
    engine_handle_connected: handle_connected(now: f64);
    engine_handle_disconnected: handle_disconnected(now: f64);
    engine_handle_timeout: handle_timeout(now: f64);
    engine_apply_plans: apply_plans() -> f64;
    engine_poll_timeout: poll_timeout() -> f64;
    engine_clock_offset: clock_offset() -> f64;
}

/// Exports methods that take lent bytes first.
macro_rules! taking {
    ($($export:ident: $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("See [`Engine::", stringify!($method), "`].")]
        ///
        /// # Safety
        /// The bytes were lent.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $export(
            engine: &mut Engine, at: *mut u8, length: usize, $($argument: $type),*
        ) $(-> $result)? {
            // SAFETY: as above.
            let bytes = unsafe { take(at, length) };
            engine.$method(&bytes, $($argument),*)
        }
    )*};
}
taking! {
    engine_intern_pinned: intern_pinned();
    engine_intern_passing: intern_passing() -> u32;
    engine_add_stream: add_stream(now: f64);
}

/// Exports methods that answer with bytes.
macro_rules! answering {
    ($($export:ident: $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[doc = concat!("See [`Engine::", stringify!($method), "`].")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $export(engine: &mut Engine, $($argument: $type),*) -> *const Answer {
            let answer = engine.$method($($argument),*);
            engine.answer.set(answer)
        }
    )*};
}
answering! {
    engine_schema: schema();
    engine_poll_transmit: poll_transmit(now: f64);
    engine_poll_event: poll_event();
    engine_watch_body: watch_body();
}

/// See [`Engine::layout`].
#[unsafe(no_mangle)]
pub extern "C" fn engine_layout(engine: &mut Engine, table: u32) -> *const Answer {
    let numbers = engine.layout(table);
    engine.answer.set_numbers(numbers)
}

/// See [`Engine::counters`].
#[unsafe(no_mangle)]
pub extern "C" fn engine_counters(engine: &mut Engine) -> *const Answer {
    let numbers = engine.counters();
    engine.answer.set_numbers(numbers)
}

/// See [`Engine::handle_frames`].
///
/// # Safety
/// The bytes were lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_handle_frames(
    engine: &mut Engine,
    at: *mut u8,
    length: usize,
    now: f64,
) -> *const Answer {
    // SAFETY: as above.
    let bytes = unsafe { take(at, length) };
    let answer = engine.handle_frames(&bytes, now);
    engine.answer.set(answer)
}
