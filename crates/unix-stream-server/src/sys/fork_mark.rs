//! Which process this is, so that a fork can be told: a number that none of its forked children has, nor theirs.
//!
//! A process id does not do. A child in a pid namespace of its own can have its parent's number, which is 1 in every
//! container. So the number is kept in a page that the kernel wipes in a forked child (`MADV_WIPEONFORK`, since Linux
//! 4.14; madvise(2)), who then finds a zero there and makes a number of its own. Reading it is no system call.
//!
//! # Safety
//!
//! The page is made by an anonymous private mapping of our own, which is page-aligned, zeroed, at least as large as an
//! `AtomicU64`, and never unmapped once it is shared, so that a reference to it is good for ever. Wiping happens to a
//! child's copy, before the child runs, and leaves a zero, which is a value. All access is atomic.
#![expect(unsafe_code, reason = "mapping memory has no safe wrapper")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const SIZE: usize = size_of::<AtomicU64>(); // the kernel rounds up to a page

/// Null until the page is there. No lock: one that another thread held at a fork would stay held in the child.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// This process's number; `None` where the kernel wipes no pages.
pub(crate) fn mark() -> Option<u64> {
    let number = page()?;
    match number.load(Ordering::Relaxed) {
        0 => {
            // std draws a thread's keys once and counts on from there, so those of a forked child go on where its
            // parent's were: never the same again in one line of descent.
            let fresh = RandomState::new().build_hasher().finish() | 1;
            match number.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => Some(fresh),
                Err(another_threads) => Some(another_threads),
            }
        }
        number => Some(number),
    }
}

fn page() -> Option<&'static AtomicU64> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = map()?;
        match PAGE.compare_exchange(null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => page = fresh,
            Err(another_threads) => {
                // SAFETY: a mapping of our own of which nobody knows.
                let _ = unsafe { munmap(fresh.cast(), SIZE) };
                page = another_threads;
            }
        }
    }
    // SAFETY: see the head of this file.
    unsafe { page.as_ref() }
}

fn map() -> Option<*mut AtomicU64> {
    // SAFETY: a new mapping, wherever the kernel likes.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let page = page.ok()?;
    // SAFETY: the mapping just made, and an advice that changes nothing in this process.
    if unsafe { madvise(page, SIZE, Advice::LinuxWipeOnFork) }.is_ok() {
        return Some(page.cast());
    }
    // SAFETY: a mapping of our own of which nobody knows.
    let _ = unsafe { munmap(page, SIZE) };
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_number_in_all_its_threads() {
        let here = mark();
        assert!(here.is_some_and(|mark| mark != 0));
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(mark)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic") == here));
    }
}
