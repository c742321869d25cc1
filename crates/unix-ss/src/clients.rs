//! Clients whom no PROG has yet: whether somebody is queued, and whether somebody has gone again.

use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Is anybody queued?
pub(crate) fn has_clients(listener: &UnixListener) -> bool {
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&NOW)).is_ok_and(|ready| ready > 0)
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
