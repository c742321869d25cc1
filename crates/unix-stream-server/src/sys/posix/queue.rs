//! Who waits to be accepted: no system but Linux tells.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

pub(crate) fn queued(_listener: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) fn has_sent(_socket: u32) -> Result<bool, Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) fn number_of(_socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    Err(Errno::OPNOTSUPP)
}
