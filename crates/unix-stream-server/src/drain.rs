//! The clients that were still queued when the server closed.

use std::iter::FusedIterator;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::io::Errno;

use crate::error::Error;
use crate::ownership::Ownership;
use crate::sys::{self, uninterrupted};
use crate::{Result, Status, trace};

/// More clients that have gone, in a row, than wait at a listener: then it is the listener itself of which accept() says so.
const MOST_GONE: usize = 10_000;

/// The clients whose `connect` had succeeded when the server was closed, each to be served like any other: from
/// [`ServerSocket::drain`](crate::ServerSocket::drain).
///
/// The path is already free for a successor and no new client gets in. Those left when this is dropped are reset
/// (`ECONNRESET`), and so is the life lock given back only then.
#[must_use = "the queued clients are reset when this is dropped"]
pub struct Drain {
    // The order is that of the drops: the life lock goes after the last client.
    listener: Option<UnixListener>,
    _ownership: Option<Ownership>,
    path: PathBuf,
    status: Result<Status>,
    ended: bool,
}

impl Drain {
    pub(crate) fn new(listener: UnixListener, ownership: Ownership, status: Result<Status>) -> Self {
        let path = ownership.local_path().to_owned();
        Drain { listener: Some(listener), _ownership: Some(ownership), path, status, ended: false }
    }

    /// Of an adopted socket whose queue others go on serving: nobody is handed out.
    pub(crate) fn handed_back(path: &Path, status: Option<Status>) -> Self {
        Drain { listener: None, _ownership: None, path: path.to_owned(), status: Ok(seen(status)), ended: true }
    }

    /// Of an adopted socket that was shut, and whose path stays.
    pub(crate) fn of_shut(listener: UnixListener, path: &Path, status: Option<Status>) -> Self {
        let status = Ok(seen(status));
        Drain { listener: Some(listener), _ownership: None, path: path.to_owned(), status, ended: false }
    }

    /// What stood at the path just before it was removed; anything but [`Status::Ours`] means it had been lost.
    ///
    /// # Errors
    ///
    /// The lock was not had, or the name could not be removed: a dead socket stays there until the next start. The
    /// server was closed and its clients are here all the same.
    pub fn status(&self) -> Result<Status, &Error> {
        self.status.as_ref().copied()
    }

    #[cfg(feature = "tokio1")]
    pub(crate) fn take_status(&mut self) -> Result<Status> {
        std::mem::replace(&mut self.status, Ok(Status::Gone))
    }

    /// The path that was served; empty for an [adopted socket](crate::AdoptedSocket) that had none.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        &self.path
    }
}

impl Iterator for Drain {
    type Item = io::Result<UnixStream>;

    /// The next client; `None` when all have been handed out.
    ///
    /// An error, such as `EMFILE`, loses nobody: the client is still queued, and the next call tries again.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match accept(self.listener.as_ref()?) {
            Ok(client) => Some(Ok(UnixStream::from(client))),
            Err(errno) if is_end(errno) => {
                self.ended = true;
                trace::queue_ended(&self.path);
                None
            }
            Err(errno) => Some(Err(errno.into())),
        }
    }
}

impl FusedIterator for Drain {}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("path", &self.local_path()).field("status", &self.status).finish()
    }
}

/// Where there is no path there was nothing to be seen.
fn seen(status: Option<Status>) -> Status {
    status.unwrap_or(Status::Unknown { errno: Errno::DESTADDRREQ.raw_os_error() })
}

/// The next client that has not gone meanwhile.
pub(crate) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    pass_over_gone(|| uninterrupted(|| sys::accept(&listener)))
}

/// What accept says of a shut and empty queue: INVAL, or AGAIN if the listener does not block. CONNABORTED, again and
/// again, where somebody has shut a copy of a listener on NetBSD or OpenBSD.
pub(crate) fn is_end(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::AGAIN | Errno::CONNABORTED)
}

fn pass_over_gone<T>(mut accept: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..MOST_GONE {
        match accept() {
            Err(Errno::CONNABORTED) => {} // that client has gone: to the next
            result => return result,
        }
    }
    Err(Errno::CONNABORTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_have_gone_are_passed_over_and_a_listener_that_says_nothing_else_is_at_its_end() {
        let mut queue = vec![Err(Errno::CONNABORTED); 5_000].into_iter().chain([Ok("client")]);
        assert_eq!(pass_over_gone(|| queue.next().unwrap_or(Err(Errno::AGAIN))), Ok("client"));
        let end = pass_over_gone(|| Err::<(), _>(Errno::CONNABORTED)).unwrap_err();
        assert!(is_end(end), "{end}");
    }
}
