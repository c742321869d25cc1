//! The clients that wait to be accepted.

use std::io;
use std::os::fd::AsFd;

use crate::sys::queue;

/// A client in a listener's queue: see [`queued_clients`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueuedClient {
    number: u32,
}

impl QueuedClient {
    /// It has closed its end already. What it may have sent before is still there to be read.
    #[must_use]
    pub fn is_gone(self) -> bool {
        self.number == 0
    }

    /// Has it sent anything? `None` if the kernel does not say: the client has gone, is of another network namespace, or
    /// has just been accepted and closed.
    #[must_use]
    pub fn has_sent(self) -> Option<bool> {
        if self.is_gone() { None } else { queue::has_sent(self.number).ok() }
    }
}

/// The clients in a listener's queue, first come first, without accepting any: those whose `connect` has succeeded. Two of
/// them are equal if they are the same socket, as long as it is open, or if both are gone.
///
/// The kernel is asked (`NETLINK_SOCK_DIAG`); it needs no privileges.
///
/// # Errors
///
/// Where the kernel has no `unix_diag` (`ENOENT`, `EOPNOTSUPP` or another), or the listener is of another network namespace
/// (`ENOENT`), or there are so many that they do not fit an answer (`EMSGSIZE`; some thousands).
pub fn queued_clients(listener: &impl AsFd) -> io::Result<Vec<QueuedClient>> {
    let numbers = queue::queued(listener.as_fd())?;
    Ok(numbers.into_iter().map(|number| QueuedClient { number }).collect())
}
