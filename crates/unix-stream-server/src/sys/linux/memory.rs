//! Memory that a forked child finds empty: `MADV_WIPEONFORK`, since Linux 4.14 (madvise(2)).
//!
//! # Safety
//!
//! The advice changes nothing in this process; what it does to a child is what the caller wants of its own mapping.
#![expect(unsafe_code, reason = "advice on memory has no safe wrapper")]

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// In a forked child the page is to be all zeros. False where the kernel cannot.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(page: *mut c_void, size: usize) -> bool {
    // SAFETY: by the caller's word.
    unsafe { madvise(page, size, Advice::LinuxWipeOnFork) }.is_ok()
}
