//! A new socket where a cleaner has deleted ours.

use std::iter::FusedIterator;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::{fmt, io};

use rustix::fs::{OFlags, fcntl_getfl};

use crate::drain::{accept, is_end};
use crate::sys::Handle;

pub(crate) const HEAL: &str = "put a new server socket at";

/// The clients that were let in by the socket that has lost its path, each to be served like any other: from
/// [`ServerSocket::heal`](crate::ServerSocket::heal).
///
/// New clients come to the new socket. Those left when this is dropped are reset (`ECONNRESET`).
#[must_use = "the queued clients are reset when this is dropped"]
pub struct OldQueue {
    listener: UnixListener,
    ended: bool,
}

impl OldQueue {
    pub(crate) fn new(listener: UnixListener) -> Self {
        OldQueue { listener, ended: false }
    }
}

impl Iterator for OldQueue {
    type Item = io::Result<UnixStream>;

    /// The next client; `None` when all have been handed out.
    ///
    /// An error, such as `EMFILE`, loses nobody: the client is still queued, and the next call tries again.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match accept(&self.listener) {
            Ok(client) => Some(Ok(UnixStream::from(client))),
            Err(errno) if is_end(errno) => {
                self.ended = true;
                None
            }
            Err(errno) => Some(Err(errno.into())),
        }
    }
}

impl FusedIterator for OldQueue {}

impl fmt::Debug for OldQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldQueue").field("listener", &self.listener).finish()
    }
}

/// The new listener takes its turn where the old one stood: it blocks, or does not, as that did. And the old one does not
/// block at the end of its queue, even where it could not be shut.
pub(crate) fn succeed(socket: Handle, old: impl AsFd, is_shut: bool) -> UnixListener {
    let listener = UnixListener::from(socket);
    let nonblocking = fcntl_getfl(&old).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK));
    // No Linux refuses either of a socket.
    if nonblocking {
        let _ = listener.set_nonblocking(true);
    }
    if !is_shut {
        let _ = rustix::io::ioctl_fionbio(&old, true);
    }
    listener
}
