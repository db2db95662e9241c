//! Counts each thread's live heap bytes, so that a decoder that allocates on a liar's word is seen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

// Constants without destructors: reading them allocates nothing, so the allocator may. Signed, because a thread
// may free what another one allocated.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a meter.
pub struct Meter;

// SAFETY: every call goes to the system's allocator unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

fn add(bytes: usize) {
    let live = LIVE.get() + bytes as isize;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

/// Starts a measurement; returns the bytes live on this thread now.
pub fn reset_peak() -> isize {
    PEAK.set(LIVE.get());
    LIVE.get()
}

/// The most bytes live on this thread since [`reset_peak`].
pub fn peak() -> isize {
    PEAK.get()
}
