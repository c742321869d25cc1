//! Descriptors that exist by agreement: a number on the command line, or the 3 of socket activation.
//!
//! # Safety
//!
//! `take` and `in_the_way` make an `OwnedFd` of a number. That is sound if the number is open and nobody else in this
//! process owns it. Open is checked here. Nobody else: both run at the very start of the process, when it has opened
//! nothing of its own beyond the standard three, which are refused. `close_on_exec_from` owns nothing, and borrows a number
//! for one call, which reads no memory and changes no more than a flag.

#![expect(unsafe_code, reason = "a descriptor that is agreed on by its number has no safe constructor")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes an inherited descriptor over; it is closed in what we start.
///
/// To be called before the process opens anything: otherwise the number of a descriptor that was *not* inherited might
/// be one of ours.
pub(crate) fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: borrowed only for this call, which says EBADF of a number that is not open.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC)?;
    // SAFETY: open, as the call above has shown, and by our caller's word nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The descriptor that is in the way of an agreed number, if there is one, to be replaced by `dup2`.
pub(crate) fn in_the_way(number: RawFd) -> Option<OwnedFd> {
    if number < 3 {
        return None;
    }
    // SAFETY: borrowed only for this call, which says EBADF of a number that is not open.
    fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
    // SAFETY: open, as the call above has shown, and inherited: we have opened nothing yet.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks all descriptors from `first` on to be closed by exec: what we were started with is not for those whom we start.
/// Closes nothing here.
pub(crate) fn close_on_exec_from(first: RawFd) {
    let numbers = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|&number| number >= first) {
        // SAFETY: borrowed only for this call, which says EBADF of a number that is not open (any more).
        let _ = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
    }
}
