//! Large streams without copying: splice(2) between the socket and a pipe.
//!
//! # Race condition
//!
//! splice holds the lock of the pipe during all of its call, and whoever reads, writes or closes the other end of that
//! pipe waits for the lock, in the kernel, where no signal but SIGKILL reaches him. A call that slept until the server
//! says something would hang the reader of our standard output for as long. So no call here may sleep:
//! `SPLICE_F_NONBLOCK` speaks for the pipe and for reading from the socket; for writing to the socket only its own
//! O_NONBLOCK does (splice_to_socket() in the kernel's fs/splice.c). All waiting is done by poll(2), which holds nothing.

use std::os::fd::AsFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::transfer::wait;

/// Bytes that were read at once and promise more: the copying costs more than the calls then. A pipe has 64 KiB.
const MUCH: usize = 32 * 1024;
/// Where a call moves less, copying is better: each piece takes a page of the pipe, however short it is.
const LITTLE: usize = 1024;
/// For one call; a pipe takes less.
const MOST: usize = 1024 * 1024;

/// Is a stream that has just given so many bytes worth [`splice_while_much`]?
pub(crate) fn is_much(length: usize) -> bool {
    length >= MUCH
}

/// Moves bytes until only few come, or none any more: whoever reads next sees which.
///
/// The socket of the two must be non-blocking if it is `to`.
///
/// # Errors
///
/// `EINVAL` if neither is a pipe; the errors of reading `from` and of writing `to`. No byte is lost by any.
pub(crate) fn splice_while_much(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let mut dry = false;
    loop {
        match splice(&from, None, &to, None, MOST, SpliceFlags::NONBLOCK) {
            Ok(LITTLE..) => dry = false,
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            // It does not say which of the two it would have had to wait for.
            Err(Errno::AGAIN) => {
                dry = !dry;
                if dry { wait(&from, PollFlags::IN)? } else { wait(&to, PollFlags::OUT)? }
            }
            Err(errno) => return Err(errno),
        }
    }
}
