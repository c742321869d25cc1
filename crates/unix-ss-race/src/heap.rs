//! Counts what is allocated and not freed, to the byte, in a program that chooses it as its allocator.
//!
//! # Safety
//!
//! [`Counted`] hands every call on to [`System`], unchanged, and gives back what that gives: all that the caller
//! promises to it, it promises to `System`, and the other way round. What it adds is an atomic counter.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counted: `#[global_allocator] static HEAP: Counted = Counted;`.
#[derive(Debug)]
pub struct Counted;

/// Bytes allocated and not freed; `None` in a program with another allocator than [`Counted`].
pub fn live() -> Option<u64> {
    u64::try_from(LIVE.load(Relaxed)).ok().filter(|&live| live > 0)
}

fn count(size: usize, sign: i64) {
    LIVE.fetch_add(sign * i64::try_from(size).unwrap_or(i64::MAX), Relaxed);
}

// SAFETY: every method is `System`'s own, with the caller's arguments.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above; the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}
