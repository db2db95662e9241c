//! The module's allocator: blocks of a few sizes, each with a list of free ones.
//!
//! Owns: the linear memory above the linker's data and stack. Must not know: what is kept there.
//! Why not a general one: dlmalloc is a tenth of the module. Here a block is 16 bytes times a power of two,
//! or 1.5 of one; it never splits and never joins, so memory is bounded by what each size held at its
//! busiest, a third of it unused at worst. Big blocks of a page's engine are few and alike: stages, tables, batches.
//! Invariants: a block is aligned to 16 bytes; a free one holds the address of the next free one of its size.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// Two sizes per power of two from 16 bytes to 3 GiB.
const SIZES: usize = 56;
const UNIT_BITS: u32 = 4;

/// Free blocks by size, and the fresh memory between `next` and `end`.
struct Blocks {
    free: [*mut *mut u8; SIZES],
    next: usize,
    end: usize,
}

/// The allocator of a program with one thread.
pub struct Heap(UnsafeCell<Blocks>);

// SAFETY: a WASM module without shared memory has one thread.
unsafe impl Sync for Heap {}

impl Heap {
    /// Nothing taken from the host yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Blocks { free: [null_mut(); SIZES], next: 0, end: 0 }))
    }
}

/// The number of a size that holds `bytes`: 16, 24 (rounded to 32 by the unit), 32, 48, 64, 96, ...
fn class(bytes: usize) -> usize {
    let last = (bytes.max(1) - 1) >> UNIT_BITS;
    if last == 0 {
        return 0;
    }
    let bits = usize::BITS - last.leading_zeros();
    // The half below the power of two, when it suffices and is made of whole units.
    let half = bits >= 2 && last >> (bits - 2) == 0b10;
    (bits * 2) as usize - usize::from(half)
}

/// The bytes of a size.
fn class_bytes(class: usize) -> usize {
    let power = 1usize << (class.div_ceil(2) as u32 + UNIT_BITS);
    if class.is_multiple_of(2) { power } else { power / 4 * 3 }
}

// SAFETY: blocks come from memory that only this allocator takes from the host; each is in one place at a
// time: given out, or in the list of its size; both sides compute the size from the same layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 1 << UNIT_BITS || layout.size() > isize::MAX as usize {
            return null_mut();
        }
        let class = class(layout.size());
        // SAFETY: one thread, and nothing below calls back.
        let blocks = unsafe { &mut *self.0.get() };
        let block = blocks.free[class];
        if block.is_null() {
            return blocks.fresh(class_bytes(class));
        }
        // SAFETY: a block in the list is free, and its first word is the next one's address.
        blocks.free[class] = unsafe { block.read() }.cast();
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = class(layout.size());
        // SAFETY: one thread, and nothing below calls back.
        let blocks = unsafe { &mut *self.0.get() };
        // SAFETY: the block is ours again, at least 16 bytes and aligned to as many.
        unsafe { block.cast::<*mut u8>().write(blocks.free[class].cast()) };
        blocks.free[class] = block.cast();
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if class(layout.size()) == class(bytes) {
            return block;
        }
        // SAFETY: the caller promises that `bytes`, rounded up to the alignment, does not overflow.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(bytes, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks hold at least the smaller size, and are different.
            unsafe {
                new.copy_from_nonoverlapping(block, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

impl Blocks {
    /// Memory that was never used; null when the host has no more.
    fn fresh(&mut self, bytes: usize) -> *mut u8 {
        if self.end - self.next < bytes && !self.grow(bytes) {
            return null_mut();
        }
        let block = self.next as *mut u8;
        self.next += bytes;
        block
    }

    /// Takes pages from the host. What was left of older ones is used on when the new ones follow them.
    #[cfg(target_arch = "wasm32")]
    fn grow(&mut self, bytes: usize) -> bool {
        const PAGE_BITS: u32 = 16;
        let pages = (bytes + (1 << PAGE_BITS) - 1) >> PAGE_BITS;
        let before = core::arch::wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return false;
        }
        let start = before << PAGE_BITS;
        if start != self.end {
            self.next = start;
        }
        self.end = start + (pages << PAGE_BITS);
        true
    }

    /// Outside WASM the tests bring their own memory.
    #[cfg(not(target_arch = "wasm32"))]
    fn grow(&mut self, _: usize) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_holds_what_it_is_for_and_little_more() {
        let mut last = 0;
        for bytes in
            (1..5000).chain([1 << 20, (1 << 20) + 1, 3 << 20, (3 << 20) + 1, isize::MAX as usize >> 1])
        {
            let class = class(bytes);
            assert!(class < SIZES || usize::BITS > 32, "{bytes}");
            assert!(class_bytes(class) >= bytes, "{bytes}: {}", class_bytes(class));
            assert!(class_bytes(class) <= (bytes * 3 / 2).max(32), "{bytes}: {}", class_bytes(class));
            assert_eq!(class_bytes(class) % 16, 0, "{bytes}");
            assert!(class >= last);
            last = class;
        }
    }

    #[test]
    fn blocks_never_overlap_and_are_used_again() {
        #[repr(align(16))]
        struct Memory([u8; 1 << 16]);
        let mut memory = Box::new(Memory([0; 1 << 16]));
        let heap = Heap::new();
        // SAFETY: nobody else uses the heap.
        unsafe {
            (*heap.0.get()).next = memory.0.as_mut_ptr() as usize;
            (*heap.0.get()).end = (*heap.0.get()).next + memory.0.len();
        }
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut seed = 7u64;
        for step in 0..20_000u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (roll, bytes) = ((seed >> 33) % 4, 1 + (seed >> 40) as usize % 300);
            let layout = Layout::from_size_align(bytes, 8).expect("small");
            // SAFETY: layouts are those the blocks were made with.
            unsafe {
                if roll < 2 && live.len() < 60 {
                    let block = heap.alloc(layout);
                    assert!(!block.is_null() && (block as usize).is_multiple_of(16), "step {step}");
                    block.write_bytes(step as u8, bytes);
                    live.push((block, layout, step as u8));
                } else if !live.is_empty() {
                    let (block, old, fill) = live.swap_remove(seed as usize % live.len());
                    assert!((0..old.size()).all(|at| block.add(at).read() == fill), "step {step}");
                    if roll == 2 {
                        heap.dealloc(block, old);
                    } else {
                        let moved = heap.realloc(block, old, bytes);
                        assert!(!moved.is_null());
                        assert!((0..bytes.min(old.size())).all(|at| moved.add(at).read() == fill));
                        moved.write_bytes(fill, bytes);
                        live.push((moved, layout, fill));
                    }
                }
            }
        }
    }
}
