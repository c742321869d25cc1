//! Which process this is, so that a fork can be told: a number that none of its forked children has, nor theirs.
//!
//! A process id does not do. A child in a pid namespace of its own can have its parent's number, which is 1 in every
//! container. So the number is kept in a page that the kernel wipes in a forked child (`MADV_WIPEONFORK` of Linux
//! and its like), who then finds a zero there and makes a number of its own. Reading it is no system call. The
//! process's id is kept beside it, for people, so that it need not be asked for each time.
//!
//! # Safety
//!
//! The page is made by an anonymous private mapping of our own, which is page-aligned, zeroed, at least as large as a
//! `Page`, and never unmapped once it is shared, so that a reference to it is good for ever. Wiping happens to a
//! child's copy, before the child runs, and leaves zeros, which are values. All access is atomic.
#![expect(unsafe_code, reason = "mapping memory has no safe wrapper")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

const SIZE: usize = size_of::<Page>(); // the kernel rounds up to a page

#[repr(C)]
struct Page {
    /// 0: not made yet in this process.
    number: AtomicU64,
    /// Written before the number, by every thread the same.
    process: AtomicU32,
}

/// A process, as its page tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) number: u64,
    /// Its id.
    pub(crate) process: u32,
}

/// Null until the page is there. No lock: one that another thread held at a fork would stay held in the child.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(null_mut());

/// This process's mark; `None` where the kernel wipes no pages.
pub(crate) fn mark() -> Option<Mark> {
    let page = page()?;
    let number = match page.number.load(Ordering::Acquire) {
        0 => {
            page.process.store(std::process::id(), Ordering::Relaxed);
            // std draws a thread's keys once and counts on from there, so those of a forked child go on where its
            // parent's were: never the same again in one line of descent.
            let fresh = RandomState::new().build_hasher().finish() | 1;
            match page.number.compare_exchange(0, fresh, Ordering::Release, Ordering::Acquire) {
                Ok(_) => fresh,
                Err(another_threads) => another_threads,
            }
        }
        number => number,
    };
    Some(Mark { number, process: page.process.load(Ordering::Relaxed) })
}

fn page() -> Option<&'static Page> {
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

fn map() -> Option<*mut Page> {
    // SAFETY: a new mapping, wherever the kernel likes.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let page = page.ok()?;
    // SAFETY: the mapping just made, and an advice that changes nothing in this process.
    if unsafe { super::wipe_on_fork(page, SIZE) } {
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
    fn a_process_has_one_mark_in_all_its_threads() {
        let here = mark();
        assert!(here.is_some_and(|mark| mark.number != 0 && mark.process == std::process::id()));
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(mark)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic") == here));
    }
}
