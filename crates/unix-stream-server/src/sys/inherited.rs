//! Descriptors that are known by their number: what a service manager has put at 3 and on.
//!
//! # Safety
//!
//! An `OwnedFd` made of a number is sound if the number is open and nothing else in this process owns it.
//!
//! - **Open** is asked of the kernel (`F_GETFD`) just before.
//! - **Not owned by Rust code**: whatever came through exec has no close-on-exec flag, since exec closes what has one.
//!   Whatever std, rustix or this crate open has the flag from birth. So a number with the flag was opened here, or has
//!   been taken already (taking sets the flag, as sd_listen_fds(3) does too), and it is refused. What is left is a
//!   descriptor that code of this process opened, or made, without the flag; it can be confused with one that was handed
//!   in only if whoever started us lied, in LISTEN_PID and LISTEN_FDS, or handed in less than it said. That is the duty of
//!   the caller, and why [`crate::from_env`] is to be called before anything else runs.
//! - **Taken once**: by the flag, and by a mark that lets only one call at a time get here (`activation.rs`).
//!
//! A look borrows the number for one question of the kernel. If another thread closes it in the middle, the answer is of
//! another file or `EBADF`; no memory depends on it.
#![expect(unsafe_code, reason = "a descriptor that is agreed on by its number has no safe constructor")]

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

/// Whether a number can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Inherited,
    /// Opened by this process, or taken before: close-on-exec.
    TakenOrOpenedHere,
    Closed,
}

/// What stands at a number, without taking it.
pub(crate) fn number(number: RawFd) -> Number {
    match look(number, |fd| fcntl_getfd(fd)) {
        Ok(flags) if flags.contains(FdFlags::CLOEXEC) => Number::TakenOrOpenedHere,
        Ok(_) => Number::Inherited,
        Err(_) => Number::Closed,
    }
}

/// Asks the kernel something of a number, which stays whose it is.
pub(crate) fn look<T>(number: RawFd, question: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: not -1, and borrowed for the question only: see the head of this file.
    question(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Takes a number that [`number`] has shown to be inherited; it is closed in what we start.
pub(crate) fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    // Flag first: from here on a second call is refused.
    look(number, |fd| fcntl_setfd(fd, FdFlags::CLOEXEC))?;
    // SAFETY: open, as the call above has shown, and nobody else's: see the head of this file.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What was taken is as it was: open, and inherited by whoever is started.
pub(crate) fn give_back(fd: OwnedFd) {
    let _ = fcntl_setfd(&fd, FdFlags::empty()); // of an open descriptor it does not fail
    let _number = fd.into_raw_fd();
}
