//! Memory that a forked child finds empty: `MADV_WIPEONFORK`, since Linux 4.14 (madvise(2)).
//!
//! # Safety
//!
//! The advice changes nothing in this process; what it does to a child is what the caller wants of its own mapping.
#![expect(unsafe_code, reason = "advice on memory has no safe wrapper")]

use std::ffi::{c_int, c_void};

const NO_SUCH_ADVICE: c_int = -1;

/// In a forked child the page is to be all zeros. False where the kernel cannot, or takes any advice for good and does
/// nothing: an emulator (qemu's user mode before 7.1), which is found out by advice that does not exist.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(page: *mut c_void, size: usize) -> bool {
    // SAFETY: by the caller's word. Advice that does not exist does nothing.
    let takes = |advice| unsafe { libc::madvise(page, size, advice) } == 0;
    !takes(NO_SUCH_ADVICE) && takes(libc::MADV_WIPEONFORK)
}
