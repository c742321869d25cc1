//! Clients whom no PROG has yet: whether somebody is queued, and whether somebody has gone again.

use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use unix_stream_server::queued_clients;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Is anybody queued? One that is shut polls as readable for ever; those who had come before wait in it still, and the
/// kernel's list tells of them, where there is one.
pub(crate) fn has_clients(listener: &UnixListener) -> bool {
    let state = state(listener);
    if state.intersects(SHUT) {
        return queued_clients(listener).is_ok_and(|queue| !queue.is_empty());
    }
    state.contains(PollFlags::IN)
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

#[cfg(test)]
mod tests {
    use rustix::net::{Shutdown, shutdown};

    use super::*;

    #[test]
    fn in_a_listener_that_is_shut_wait_those_who_had_come_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("bind");
        assert!(!has_clients(&listener) && !is_shut(&listener));
        let _client = UnixStream::connect(&path).expect("connect");
        assert!(has_clients(&listener));
        let is_listed = queued_clients(&listener).is_ok();
        shutdown(&listener, Shutdown::Both).expect("shutdown");
        assert!(is_shut(&listener));
        assert_eq!(has_clients(&listener), is_listed);
        drop(listener.accept().expect("who has come before"));
        assert!(!has_clients(&listener) && is_shut(&listener));
    }
}
