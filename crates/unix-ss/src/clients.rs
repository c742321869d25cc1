//! Clients whom no PROG has yet: whether somebody is queued, and whether somebody has gone again.

use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Is anybody queued? Of a listener that is shut nobody: it polls as readable for ever.
pub(crate) fn has_clients(listener: &UnixListener) -> bool {
    let state = state(listener);
    state.contains(PollFlags::IN) && !state.intersects(SHUT)
}

/// Has a copy of this listener been shut? That concerns all of them, for good: nobody can connect any more.
pub(crate) fn is_shut(listener: &UnixListener) -> bool {
    state(listener).intersects(SHUT)
}

const SHUT: PollFlags = PollFlags::RDHUP.union(PollFlags::HUP);

fn state(listener: &UnixListener) -> PollFlags {
    let mut fds = [PollFd::new(listener, PollFlags::IN | PollFlags::RDHUP)];
    if poll(&mut fds, Some(&NOW)).is_ok() { fds[0].revents() } else { PollFlags::empty() }
}

/// Has this client gone without having sent a byte? Then nobody would read an answer.
///
/// A client that has only shut down its sending side waits for an answer, and is no such one: it polls no POLLHUP.
pub(crate) fn hung_up(client: &UnixStream) -> bool {
    let mut fds = [PollFd::new(client, PollFlags::IN)];
    if poll(&mut fds, Some(&NOW)).is_err() || !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return false;
    }
    // Data that was sent before the end is served all the same.
    !matches!(recv(client, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}
