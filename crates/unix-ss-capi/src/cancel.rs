//! Thread cancellation kept out: pthread_cancel(3) unwinds from within system calls, which would abort the process at
//! the first frame that catches unwinding, and leave a lock behind.
//!
//! # Safety
//!
//! `pthread_setcancelstate` is given one of its two values and a place for the old one; it concerns the calling thread
//! alone. bionic has no cancellation, and no such function.
#![cfg_attr(not(target_os = "android"), expect(unsafe_code, reason = "libc has no binding of this function"))]

/// The calling thread cannot be cancelled as long as this lives; a request made meanwhile is kept for later.
pub(crate) struct NoCancel {
    #[cfg(not(target_os = "android"))]
    before: std::ffi::c_int,
}

#[cfg(not(target_os = "android"))]
mod sys {
    use std::ffi::c_int;

    /// `PTHREAD_CANCEL_DISABLE`: 0 on Apple's systems, where 1 enables; 1 in glibc, musl and the BSDs.
    pub(super) const DISABLE: c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

    // SAFETY: as pthread_setcancelstate(3) has it.
    unsafe extern "C" {
        pub(super) fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
}

impl NoCancel {
    #[cfg(not(target_os = "android"))]
    pub(crate) fn new() -> Self {
        let mut before = 0;
        // SAFETY: see the head of this file.
        unsafe { sys::pthread_setcancelstate(sys::DISABLE, &raw mut before) };
        NoCancel { before }
    }

    #[cfg(target_os = "android")]
    pub(crate) fn new() -> Self {
        NoCancel {}
    }
}

#[cfg(not(target_os = "android"))]
impl Drop for NoCancel {
    fn drop(&mut self) {
        let mut before = 0;
        // SAFETY: see the head of this file; `self.before` is what the thread had.
        unsafe { sys::pthread_setcancelstate(self.before, &raw mut before) };
    }
}
