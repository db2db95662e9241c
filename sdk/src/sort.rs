//! Sorting in one place: the standard library's where speed counts, and one small heap sort in WASM modules,
//! where every element type and order of the former costs 4 KB of code.

use crate::flavor::SMALL_SORTS;
use core::cmp::Ordering;

/// Sorts by `order`, which must be total. Equal elements may change places. O(n log n), in place.
pub fn sort_by<T: Copy>(all: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) {
    if SMALL_SORTS { heap_sort(all, &mut order) } else { all.sort_unstable_by(order) }
}

/// J. W. J. Williams, "Algorithm 232: Heapsort" (1964).
fn heap_sort<T: Copy>(all: &mut [T], order: &mut dyn FnMut(&T, &T) -> Ordering) {
    let len = all.len();
    for step in (0..len + len / 2).rev() {
        // First the heap is built from below, then the greatest goes to the end of what is left.
        let (root, end) = if step >= len { (step - len, len) } else { (0, step) };
        if step < len {
            all.swap(0, end);
        }
        sift(&mut all[..end], root, order);
    }
}

fn sift<T: Copy>(heap: &mut [T], mut root: usize, order: &mut dyn FnMut(&T, &T) -> Ordering) {
    loop {
        let left = 2 * root + 1;
        if left >= heap.len() {
            return;
        }
        let right = left + 1;
        let child = if right < heap.len() && order(&heap[left], &heap[right]).is_lt() { right } else { left };
        if order(&heap[root], &heap[child]).is_ge() {
            return;
        }
        heap.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use super::heap_sort;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_small_sort_sorts(mut all: Vec<u16>) {
            let mut sorted = all.clone();
            sorted.sort_unstable();
            heap_sort(&mut all, &mut |a, b| a.cmp(b));
            prop_assert_eq!(all, sorted);
        }
    }
}
